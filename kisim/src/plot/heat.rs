//! A matrix with its numbers.

use plotters::style::RGBColor;

use super::PlotError;
use super::scale::{Scale, range};
use super::sheet::{self, Mark, Panel, text_width};

/// A matrix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatPlot {
    /// What stands above it all.
    pub title: String,
    /// A sentence in small type under the title: what is shown, in which unit, and which way is better.
    pub note: String,
    /// What rows are.
    pub y_label: String,
    /// What columns are.
    pub x_label: String,
    /// Names of rows, from above.
    pub rows: Vec<String>,
    /// Names of columns.
    pub columns: Vec<String>,
    /// A value and its text for each column of each row; `None` where nothing was measured.
    pub cells: Vec<Vec<Option<(f64, String)>>>,
}

/// Height of a row, pixels.
const ROW: f64 = 26.0;

/// From light to dark, in greyscale too.
const LIGHT: RGBColor = RGBColor(247, 248, 250);
const DARK: RGBColor = RGBColor(8, 60, 110);

/// Draws a cell for each value, the darker the higher, with its text.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn heat(plot: &HeatPlot) -> Result<String, PlotError> {
    let (lo, hi) = range(plot.cells.iter().flatten().flatten().map(|cell| cell.0));
    let mut x = Scale::names(&plot.columns, false);
    x.label.clone_from(&plot.x_label);
    let y = Scale { label: plot.y_label.clone(), ..Scale::names(&plot.rows, true) };
    let mut panel = Panel::new("", &x, y, ROW * plot.rows.len().max(1) as f64);
    panel.x_texts = true;
    let widest = plot.rows.iter().map(|name| text_width(name, 11.0)).fold(0.0, f64::max);
    panel.margins.0 = (widest + 34.0).clamp(74.0, 330.0);
    for (row, cells) in plot.cells.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let Some((value, text)) = cell else { continue };
            if !value.is_finite() {
                continue;
            }
            let share = if hi > lo { (value - lo) / (hi - lo) } else { 0.0 };
            let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
            let colour = RGBColor(mix(LIGHT.0, DARK.0), mix(LIGHT.1, DARK.1), mix(LIGHT.2, DARK.2));
            let (at, height) = (column as f64, -(row as f64));
            // A gap between neighbours.
            let corners = [(at - 0.49, height + 0.46), (at + 0.49, height - 0.46)];
            panel.add(Mark::Box { corners, colour, text: text.clone() }, "");
        }
    }
    let note = match plot.note.is_empty() {
        true => "darker is higher".to_owned(),
        false => format!("{}; darker is higher", plot.note),
    };
    sheet::draw(&plot.title, &note, &[panel])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, keep, texts};
    use super::*;

    #[test]
    fn every_cell_says_its_number_and_the_highest_is_the_darkest() {
        let cell = |value: f64| Some((value, format!("{value:.2}")));
        let mut plot = HeatPlot {
            title: "zero-shot".into(),
            note: "objective over the best rule's".into(),
            y_label: "trained on".into(),
            x_label: "tested on".into(),
            rows: vec!["all".into(), "spikes alone".into()],
            columns: vec!["ramp".into(), "spike".into(), "held-out-gpu".into()],
            cells: vec![vec![cell(0.9), cell(1.1), cell(1.0)], vec![cell(1.73), None, cell(0.81)]],
        };
        let svg = heat(&plot).unwrap();
        keep("heat.svg", &svg);
        let expected = ["zero-shot", "trained on", "tested on", "spikes alone", "held-out-gpu", "0.90", "1.73", "0.81"];
        assert_texts(&svg, &expected);
        assert!(texts(&svg).contains(&"objective over the best rule's; darker is higher".to_owned()));
        let document = roxmltree::Document::parse(&svg).unwrap();
        let fills: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name("rect"))
            .filter_map(|node| node.attribute("fill"))
            .collect();
        // The page, and five cells: of 1.73 and of 0.81.
        assert_eq!(fills.len(), 6);
        assert_eq!((fills[4].to_uppercase().as_str(), fills[5].to_uppercase().as_str()), ("#083C6E", "#F7F8FA"));
        plot.cells[0][0] = Some((f64::NAN, String::new()));
        texts(&heat(&plot).unwrap());
        texts(&heat(&HeatPlot::default()).unwrap());
    }
}
