//! Figures over steps, with the spread of independent runs.

use super::PlotError;
use super::compare::LOOKS;
use super::scale::{Scale, range};
use super::sheet::{self, Dash, GREY, Mark, Panel, Stroke};

/// A figure at a step, with the interval that it lies in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CurvePoint {
    /// Where on the horizontal axis.
    pub x: f64,
    /// The figure.
    pub value: f64,
    /// Lower and upper end of its interval, if known.
    pub interval: Option<(f64, f64)>,
}

/// One figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, ascending.
    pub points: Vec<CurvePoint>,
    /// Whether its points are few and each of them counts: a marker and a bar each, instead of a line in a band.
    pub sparse: bool,
}

/// A pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CurvePanel {
    /// Its title.
    pub title: String,
    /// What the vertical axis shows, with its unit.
    pub y_label: String,
    /// Whether that axis is logarithmic.
    pub log: bool,
    /// Up to six look different.
    pub curves: Vec<Curve>,
    /// A value to compare with, and its name in the legend.
    pub level: Option<(f64, String)>,
}

/// Panels under each other along one axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CurvesPlot {
    /// What stands above it all.
    pub title: String,
    /// A sentence in small type under the title.
    pub note: String,
    /// What the horizontal axis shows, with its unit.
    pub x_label: String,
    /// The panels.
    pub panels: Vec<CurvePanel>,
}

/// How dark a band is: two over each other leave a line in them readable on a grey printer.
const OPACITY: f64 = 0.2;

/// Draws each curve as a line in the band of its intervals, or, if sparse, as markers with bars.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn curves(plot: &CurvesPlot) -> Result<String, PlotError> {
    let all = || plot.panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
    let (lo, hi) = range(all().map(|p| p.x));
    let mut x = Scale::linear(&plot.x_label, lo.min(0.0), hi);
    x.tick_densely();
    let count = plot.panels.len();
    let panels = plot.panels.iter().enumerate().map(|(index, own)| {
        let ends = own.curves.iter().flat_map(|curve| &curve.points).flat_map(|point| {
            let (low, high) = point.interval.unwrap_or((point.value, point.value));
            [point.value, low, high]
        });
        let ends = ends.chain(own.level.iter().map(|level| level.0));
        let y = if own.log { Scale::log(&own.y_label, ends) } else { Scale::with_zero(&own.y_label, ends) };
        let mut panel = Panel::new(own.title.clone(), &x, y, if count == 1 { 330.0 } else { 190.0 });
        panel.x_texts = index + 1 == count;
        if let Some((at, name)) = &own.level {
            panel.add(Mark::Level { at: *at, stroke: Stroke::new(GREY, 1.4, Dash::Dashed) }, name.clone());
        }
        let looks = || own.curves.iter().zip(LOOKS.into_iter().cycle());
        let lines = own.curves.iter().filter(|curve| !curve.sparse).count();
        // All bands beneath all lines.
        for (curve, (stroke, _)) in looks() {
            let known = curve.points.iter().filter_map(|p| Some((p, p.interval?)));
            let mark = if curve.sparse {
                let ends = known.map(|(p, (low, high))| [(p.x, low), (p.x, high)]).collect();
                Mark::Bars { ends, colour: stroke.colour }
            } else {
                let edges = known.map(|(p, (low, high))| (p.x, low, high)).collect();
                Mark::Band { edges, colour: stroke.colour, opacity: OPACITY }
            };
            panel.add(mark, "");
        }
        for (curve, (stroke, shape)) in looks() {
            let points = curve.points.iter().map(|p| (p.x, p.value)).collect();
            let mark = match curve.sparse {
                true => Mark::Joined { points, stroke: Stroke { width: 1.3, ..stroke }, shape },
                // A line alone needs no markers, which would look like points that count.
                false => Mark::Line { points, stroke, marker: Some(shape).filter(|_| lines > 1) },
            };
            panel.add(mark, curve.name.clone());
        }
        panel
    });
    sheet::draw(&plot.title, &plot.note, &panels.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, texts};
    use super::*;

    fn curve(name: &str, value: impl Fn(f64) -> f64, sparse: bool) -> Curve {
        let point = |i: u32| {
            let (x, value) = (f64::from(i) * 1_000.0, value(f64::from(i)));
            CurvePoint { x, value, interval: Some((value - 1.0, value + 2.0)) }
        };
        Curve { name: name.into(), points: (0..40).map(point).collect(), sparse }
    }

    #[test]
    fn names_every_curve_axis_and_level() {
        let panel = |title: &str, value: fn(f64) -> f64| CurvePanel {
            title: title.into(),
            y_label: "reward a step".into(),
            log: false,
            curves: vec![curve("training", value, false), curve("evaluation", |i| 3.0 - i / 20.0, true)],
            level: Some((2.5, "predictive".into())),
        };
        let mut plot = CurvesPlot {
            title: "learning".into(),
            note: "8 seeds".into(),
            x_label: "environment steps".into(),
            panels: vec![panel("Return", |i| i.sqrt() - 8.0), panel("Violations", |i| 10.0 / (1.0 + i))],
        };
        let expected = [
            "learning",
            "8 seeds",
            "environment steps",
            "Return",
            "training",
            "evaluation",
            "predictive",
            "reward a step",
        ];
        assert_texts(&curves(&plot).unwrap(), &expected);
        plot.panels[0].curves[0].points[3].value = f64::NAN;
        plot.panels[0].curves[0].points[4].interval = Some((f64::NEG_INFINITY, f64::NAN));
        plot.panels[0].curves[0].points[5].interval = None;
        plot.panels[1].curves[1].points.truncate(1);
        texts(&curves(&plot).unwrap());
    }

    #[test]
    fn nothing_is_fine() {
        texts(&curves(&CurvesPlot::default()).unwrap());
        texts(&curves(&CurvesPlot { panels: vec![CurvePanel::default()], ..CurvesPlot::default() }).unwrap());
        let one = Curve { points: vec![CurvePoint { x: 5.0, value: -3.0, interval: None }], ..Curve::default() };
        let panels = vec![CurvePanel { curves: vec![one], ..CurvePanel::default() }];
        texts(&curves(&CurvesPlot { panels, ..CurvesPlot::default() }).unwrap());
    }
}
