//! One figure against another.

use super::PlotError;
use super::compare::LOOKS;
use super::scale::{Scale, range};
use super::sheet::{self, Mark, Panel, Stroke};

/// A point, with its intervals if they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScatterPoint {
    /// Along.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Lower and upper end of the interval of `x`.
    pub x_interval: Option<(f64, f64)>,
    /// Lower and upper end of the interval of `y`.
    pub y_interval: Option<(f64, f64)>,
}

/// Points that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterSeries {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<ScatterPoint>,
    /// Whether neighbours are joined.
    pub joined: bool,
}

/// Points on a pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterPlot {
    /// What stands above it all.
    pub title: String,
    /// A sentence in small type under the title.
    pub note: String,
    /// What the horizontal axis shows, with its unit.
    pub x_label: String,
    /// What the vertical axis shows, with its unit.
    pub y_label: String,
    /// Whether the horizontal axis is logarithmic.
    pub x_log: bool,
    /// Whether the vertical axis is.
    pub y_log: bool,
    /// The points; up to eight series look different.
    pub series: Vec<ScatterSeries>,
    /// Whether to draw where both figures are the same.
    pub diagonal: bool,
}

/// Draws a marker a point, and bars as long as the intervals.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn scatter(plot: &ScatterPlot) -> Result<String, PlotError> {
    let all = || plot.series.iter().flat_map(|series| &series.points);
    let ends = |value: f64, interval: Option<(f64, f64)>| {
        let (low, high) = interval.unwrap_or((value, value));
        [value, low, high]
    };
    let axis = |label: &str, log: bool, values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.collect();
        let values = values.iter().copied();
        if log { Scale::log(label, values) } else { Scale::with_zero(label, values) }
    };
    let mut x = axis(&plot.x_label, plot.x_log, &mut all().flat_map(|p| ends(p.x, p.x_interval)));
    if !plot.x_log {
        x.tick_densely();
    }
    let y = axis(&plot.y_label, plot.y_log, &mut all().flat_map(|p| ends(p.y, p.y_interval)));
    let mut panel = Panel::new("", &x, y, 400.0);
    panel.x_texts = true;
    if plot.diagonal {
        // Within both axes: beyond, it would be bent.
        let (across, along) = (range(all().map(|p| p.x)), range(all().map(|p| p.y)));
        let (least, most) = (across.0.max(along.0), across.1.min(along.1));
        let stroke = Stroke::new(sheet::GREY, 1.2, sheet::Dash::Dashed);
        panel.line(vec![(least, least), (most, most)], stroke, "the same");
    }
    let looks = || plot.series.iter().zip(LOOKS.into_iter().cycle());
    for (series, (stroke, _)) in looks() {
        let bars = series.points.iter().flat_map(|p| {
            let across = p.x_interval.map(|(low, high)| [(low, p.y), (high, p.y)]);
            let along = p.y_interval.map(|(low, high)| [(p.x, low), (p.x, high)]);
            across.into_iter().chain(along)
        });
        panel.add(Mark::Bars { ends: bars.collect(), colour: stroke.colour }, "");
    }
    for (series, (stroke, shape)) in looks() {
        let points: Vec<(f64, f64)> = series.points.iter().map(|p| (p.x, p.y)).collect();
        let mark = match series.joined {
            true => Mark::Joined { points, stroke: Stroke { width: 1.3, ..stroke }, shape },
            false => Mark::Dots { points, shape, colour: stroke.colour },
        };
        panel.add(mark, series.name.clone());
    }
    sheet::draw(&plot.title, &plot.note, &[panel])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, keep, texts};
    use super::*;

    #[test]
    fn names_every_series_and_both_axes() {
        let point = |i: f64| ScatterPoint {
            x: i,
            y: 100.0 / i,
            x_interval: Some((i * 0.9, i * 1.1)),
            y_interval: Some((90.0 / i, 130.0 / i)),
        };
        let series = |name: &str, joined| ScatterSeries {
            name: name.into(),
            points: (1..8).map(f64::from).map(point).collect(),
            joined,
        };
        let mut plot = ScatterPlot {
            title: "simulated against measured".into(),
            note: "bars".into(),
            x_label: "measured, ms".into(),
            y_label: "simulated, ms".into(),
            x_log: true,
            y_log: true,
            series: vec![series("P95", true), series("P99", false)],
            diagonal: true,
        };
        let svg = scatter(&plot).unwrap();
        keep("scatter.svg", &svg);
        assert_texts(&svg, &["simulated against measured", "measured, ms", "simulated, ms", "P95", "P99", "the same"]);
        (plot.x_log, plot.y_log) = (false, false);
        plot.series[0].points[2].x = f64::NAN;
        plot.series[0].points[3].y_interval = Some((f64::NEG_INFINITY, f64::NAN));
        texts(&scatter(&plot).unwrap());
        texts(&scatter(&ScatterPlot { diagonal: true, ..ScatterPlot::default() }).unwrap());
    }
}
