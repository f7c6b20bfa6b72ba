//! Measurements, the curve fitted to them, and what it misses.

use super::PlotError;
use super::scale::Scale;
use super::sheet::{self, BLACK, BLUE, Dash, GREEN, GREY, Mark, PURPLE, Panel, Shape, Stroke, VERMILION};

/// A measurement and the model's answer to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationPoint {
    /// Where it was measured, in the unit of [`CalibrationPlot::x_label`].
    pub x: f64,
    /// The measured value, in the unit of [`CalibrationPanel::y_label`].
    pub measured: f64,
    /// The fitted model's value, in the same unit; `None` if it has none.
    pub predicted: Option<f64>,
}

/// One measured quantity.
#[derive(Clone, Debug, Default)]
pub struct CalibrationSeries {
    /// Its name in the legend, e.g. "P95".
    pub name: String,
    /// The measurements.
    pub points: Vec<CalibrationPoint>,
    /// The fitted curve, `(x, y)`, by x; empty to join the points' predictions instead.
    pub curve: Vec<(f64, f64)>,
}

/// Quantities with one unit.
#[derive(Clone, Debug, Default)]
pub struct CalibrationPanel {
    /// What stands above the panel, e.g. "Latency".
    pub title: String,
    /// Name and unit of the vertical axis, e.g. "milliseconds".
    pub y_label: String,
    /// Whether the vertical axis is logarithmic.
    pub y_log: bool,
    /// What was measured; up to five look different.
    pub series: Vec<CalibrationSeries>,
}

/// A calibration: one panel a unit, and below them the relative errors of all.
#[derive(Clone, Debug, Default)]
pub struct CalibrationPlot {
    /// What stands above it all.
    pub title: String,
    /// Name and unit of what was varied, e.g. "batch, requests" or "offered load, requests/s".
    pub x_label: String,
    /// Whether the horizontal axis is logarithmic, as fits batch sizes.
    pub x_log: bool,
    /// The panels.
    pub panels: Vec<CalibrationPanel>,
}

/// Looks of a quantity: marker of the measurements and line of the curve.
const LOOKS: [(Shape, Stroke); 5] = [
    (Shape::Circle, Stroke::new(BLUE, 1.5, Dash::Solid)),
    (Shape::Triangle, Stroke::new(VERMILION, 1.5, Dash::Dashed)),
    (Shape::Square, Stroke::new(GREEN, 1.5, Dash::Chain)),
    (Shape::Diamond, Stroke::new(PURPLE, 1.7, Dash::Dotted)),
    (Shape::Ring, Stroke::new(BLACK, 1.5, Dash::Long)),
];

/// Draws measured points, fitted curves, and the fits' relative errors.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn calibration(plot: &CalibrationPlot) -> Result<String, PlotError> {
    let measured = || plot.panels.iter().flat_map(|panel| &panel.series).flat_map(|s| s.points.iter().map(|p| p.x));
    let curves = plot.panels.iter().flat_map(|panel| &panel.series).flat_map(|s| s.curve.iter().map(|p| p.0));
    let all: Vec<f64> = measured().chain(curves).filter(|x| x.is_finite()).collect();
    let mut x = if plot.x_log {
        let mut x = Scale::log(&plot.x_label, all.iter().copied());
        // Room beside the outermost markers, but no more: the data set the range, not round numbers.
        let logs = || all.iter().filter(|x| **x > 0.0).map(|x| x.log10());
        let (lo, hi) = (logs().fold(f64::INFINITY, f64::min), logs().fold(f64::NEG_INFINITY, f64::max));
        if lo < hi {
            let room = (hi - lo) * 0.03;
            (x.lo, x.hi) = (lo - room, hi + room);
        }
        x
    } else {
        Scale::linear(&plot.x_label, 0.0, all.iter().copied().fold(0.0, f64::max) * 1.04)
    };
    if plot.x_log {
        x.tick_at(&measured().collect::<Vec<_>>());
    } else {
        x.tick_densely();
    }

    let mut looks = LOOKS.into_iter().cycle();
    let mut panels = Vec::new();
    let mut errors = Vec::new();
    for panel in &plot.panels {
        let values = panel.series.iter().flat_map(|s| {
            let points = s.points.iter().flat_map(|p| [p.measured, p.predicted.unwrap_or(f64::NAN)]);
            points.chain(s.curve.iter().map(|p| p.1))
        });
        let y = if panel.y_log { Scale::log(&panel.y_label, values) } else { Scale::from_zero(&panel.y_label, values) };
        let mut drawn = Panel::new(&panel.title, &x, y, 210.0);
        for series in &panel.series {
            let (shape, stroke) = looks.next().unwrap_or(LOOKS[0]);
            let mut curve = match series.curve.is_empty() {
                false => series.curve.clone(),
                true => series.points.iter().filter_map(|p| Some((p.x, p.predicted?))).collect(),
            };
            if series.curve.is_empty() {
                curve.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            let points = series.points.iter().map(|p| (p.x, p.measured)).collect();
            drawn.line(curve, stroke, format!("{}, fitted", series.name));
            drawn.add(Mark::Dots { points, shape, colour: stroke.colour }, format!("{}, measured", series.name));
            let error = |p: &CalibrationPoint| Some((p.x, (p.predicted? - p.measured) / p.measured * 100.0));
            errors.push((series, shape, stroke, series.points.iter().filter_map(error).collect::<Vec<_>>()));
        }
        panels.push(drawn);
    }

    let values = errors.iter().flat_map(|e| e.3.iter().map(|p| p.1));
    let y = Scale::around_zero("percent of measured", values);
    let mut residuals = Panel::new("Fitted less measured", &x, y, 120.0);
    residuals.add(Mark::Level { at: 0.0, stroke: Stroke::new(GREY, 1.2, Dash::Solid) }, "");
    for (series, shape, stroke, points) in errors {
        residuals.add(Mark::Dots { points, shape, colour: stroke.colour }, series.name.clone());
    }
    residuals.x_texts = true;
    panels.push(residuals);
    sheet::draw(&plot.title, "", &panels)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, texts};
    use super::*;

    fn plot(points: usize, log: bool) -> CalibrationPlot {
        let series = |name: &str, scale: f64| CalibrationSeries {
            name: name.into(),
            points: (0..points)
                .map(|i| {
                    let x = f64::from(1u32 << i);
                    CalibrationPoint { x, measured: scale * (2.1 + x), predicted: Some(scale * (2.0 + x)) }
                })
                .collect(),
            curve: Vec::new(),
        };
        CalibrationPlot {
            title: "batch sweep".into(),
            x_label: "batch, requests".into(),
            x_log: log,
            panels: vec![CalibrationPanel {
                title: "Latency".into(),
                y_label: "milliseconds".into(),
                y_log: log,
                series: vec![series("P50", 1.0), series("P95", 2.0)],
            }],
        }
    }

    #[test]
    fn names_axes_series_and_measured_places() {
        let svg = calibration(&plot(6, true)).unwrap();
        assert_texts(&svg, &["batch, requests", "milliseconds", "percent of measured", "Fitted less measured"]);
        assert_texts(&svg, &["P50, measured", "P50, fitted", "P95", "1", "2", "4", "8", "16", "32"]);
        texts(&calibration(&plot(6, false)).unwrap());
    }

    #[test]
    fn few_and_odd_points_are_fine() {
        texts(&calibration(&CalibrationPlot::default()).unwrap());
        for log in [false, true] {
            texts(&calibration(&plot(0, log)).unwrap());
            texts(&calibration(&plot(1, log)).unwrap());
            let mut odd = plot(5, log);
            let points = &mut odd.panels[0].series[0].points;
            points[0].measured = 0.0;
            points[1].measured = f64::NAN;
            points[2].predicted = None;
            points[3].predicted = Some(f64::INFINITY);
            points[4].x = -1.0;
            odd.panels[0].series[1].curve = vec![(f64::NAN, 1.0), (0.0, 0.0), (3.0, f64::MAX), (9.0, 4.0)];
            texts(&calibration(&odd).unwrap());
        }
    }
}
