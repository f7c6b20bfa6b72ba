//! How values are distributed.

use super::PlotError;
use super::scale::{Scale, range};
use super::sheet::{self, GREY, Mark, Panel};

/// A distribution: what it is of, and a height for each of the plot's bins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramPanel {
    /// Its title.
    pub title: String,
    /// Heights of the bars.
    pub heights: Vec<f64>,
}

/// Histograms under each other along one axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramPlot {
    /// What stands above it all.
    pub title: String,
    /// A sentence in small type under the title.
    pub note: String,
    /// What the horizontal axis shows, with its unit.
    pub x_label: String,
    /// What the heights are.
    pub y_label: String,
    /// Lower and upper end of each bin.
    pub bins: Vec<(f64, f64)>,
    /// The distributions.
    pub panels: Vec<HistogramPanel>,
}

/// Draws a bar a bin. All panels have the same axes.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn histogram(plot: &HistogramPlot) -> Result<String, PlotError> {
    let (lo, hi) = range(plot.bins.iter().flat_map(|&(a, b)| [a, b]));
    let mut x = Scale::linear(&plot.x_label, lo, hi);
    x.tick_densely();
    let y = Scale::from_zero(&plot.y_label, plot.panels.iter().flat_map(|panel| panel.heights.iter().copied()));
    let count = plot.panels.len();
    let panels = plot.panels.iter().enumerate().map(|(index, own)| {
        let mut panel = Panel::new(own.title.clone(), &x, y.clone(), if count == 1 { 300.0 } else { 110.0 });
        panel.x_texts = index + 1 == count;
        for (&(from, to), &height) in plot.bins.iter().zip(&own.heights) {
            let inset = (to - from) * 0.04;
            if height > 0.0 {
                let corners = [(from + inset, height), (to - inset, 0.0)];
                panel.add(Mark::Box { corners, colour: GREY, text: String::new() }, "");
            }
        }
        panel
    });
    sheet::draw(&plot.title, &plot.note, &panels.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, keep, texts};
    use super::*;

    #[test]
    fn a_bar_a_bin_that_holds_something() {
        let panel = |title: &str| HistogramPanel { title: title.into(), heights: vec![1.0, 0.0, 3.0, f64::NAN] };
        let plot = HistogramPlot {
            title: "rewards".into(),
            note: "100 episodes".into(),
            x_label: "reward".into(),
            y_label: "episodes".into(),
            bins: vec![(-1.0, -0.5), (-0.5, 0.0), (0.0, 0.5), (0.5, 1.0)],
            panels: vec![panel("ramp"), panel("spike")],
        };
        let svg = histogram(&plot).unwrap();
        keep("histogram.svg", &svg);
        assert_texts(&svg, &["rewards", "100 episodes", "reward", "episodes", "ramp", "spike"]);
        assert_eq!(svg.matches("<rect").count(), 1 + 2 * 2);
        texts(&histogram(&HistogramPlot::default()).unwrap());
    }
}
