//! Figures with their intervals, a row each: a forest plot.

use super::PlotError;
use super::compare::LOOKS;
use super::scale::{Scale, range};
use super::sheet::{self, Dash, GREY, Mark, Panel, Stroke, text_width};

/// A figure and the interval that it lies in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForestValue {
    /// The figure.
    pub value: f64,
    /// Lower and upper end of its interval, if known.
    pub interval: Option<(f64, f64)>,
    /// What stands beside it.
    pub text: String,
}

/// What was measured of everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForestGroup {
    /// Its name, left of its rows.
    pub name: String,
    /// A value for each of the plot's series; `None` where nothing was measured, which takes no row.
    pub values: Vec<Option<ForestValue>>,
}

/// Groups under each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForestPlot {
    /// What stands above it all.
    pub title: String,
    /// A sentence in small type under the title.
    pub note: String,
    /// What the horizontal axis shows, with its unit.
    pub x_label: String,
    /// Whether it is logarithmic.
    pub log: bool,
    /// Names in the legend; up to eight look different.
    pub series: Vec<String>,
    /// The groups.
    pub groups: Vec<ForestGroup>,
    /// A value to compare with, and its name in the legend.
    pub level: Option<(f64, String)>,
}

/// Height of a value, and of the room between two groups, pixels.
const ROW: f64 = 15.0;
const BETWEEN: f64 = 7.0;

/// Draws a row a value, group after group, with a marker, a bar as long as the interval, and the text beside it.
///
/// A linear axis has its zero on it, unless all values are far from it.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn forest(plot: &ForestPlot) -> Result<String, PlotError> {
    let all = || plot.groups.iter().flat_map(|group| &group.values).flatten();
    let ends = || {
        let ends = all().flat_map(|v| {
            let (low, high) = v.interval.unwrap_or((v.value, v.value));
            [v.value, low, high]
        });
        ends.chain(plot.level.iter().map(|level| level.0))
    };
    let mut x = if plot.log { Scale::log(&plot.x_label, ends()) } else { Scale::with_zero(&plot.x_label, ends()) };
    let (lo, hi) = range(ends());
    if !plot.log && lo > 0.6 * hi {
        // From zero nothing could be told apart.
        x = Scale::linear(&plot.x_label, lo - (hi - lo) * 0.08, hi + (hi - lo) * 0.08);
    }
    if !plot.log {
        x.tick_densely();
    }

    // Heights grow downwards; a group's name stands in its middle.
    let mut height = 0.0;
    let mut values: Vec<Vec<(&ForestValue, f64)>> = vec![Vec::new(); plot.series.len()];
    let mut ticks = Vec::new();
    let mut minor = Vec::new();
    for (number, group) in plot.groups.iter().enumerate() {
        if number > 0 {
            minor.push(-height);
        }
        height += BETWEEN / 2.0;
        let begin = height;
        for (series, value) in group.values.iter().enumerate() {
            if let (Some(value), Some(own)) = (value, values.get_mut(series)) {
                own.push((value, -(height + ROW / 2.0)));
                height += ROW;
            }
        }
        height = height.max(begin + ROW);
        ticks.push((-(begin + height) / 2.0, group.name.clone()));
        height += BETWEEN / 2.0;
    }
    let mut y = Scale::linear("", -height.max(ROW), 0.0);
    (y.ticks, y.minor) = (ticks, minor);

    let mut panel = Panel::new("", &x, y, height.max(ROW));
    panel.x_texts = true;
    let widest = |texts: &mut dyn Iterator<Item = &String>, size: f64| {
        texts.map(|text| text_width(text, size)).fold(0.0, f64::max)
    };
    let left = widest(&mut plot.groups.iter().map(|group| &group.name), 11.0) + 14.0;
    let right = widest(&mut all().map(|v| &v.text), 10.0) + 14.0;
    panel.margins = (left.clamp(40.0, 330.0), right.clamp(sheet::RIGHT, 260.0));
    if let Some((at, name)) = &plot.level {
        panel.add(Mark::Upright { at: *at, stroke: Stroke::new(GREY, 1.4, Dash::Dashed) }, name.clone());
    }
    let looks = || values.iter().zip(&plot.series).zip(LOOKS.into_iter().cycle());
    for ((values, _), (stroke, _)) in looks() {
        let ends = values.iter().filter_map(|(v, y)| v.interval.map(|(low, high)| [(low, *y), (high, *y)]));
        panel.add(Mark::Bars { ends: ends.collect(), colour: stroke.colour }, "");
        panel.add(Mark::Beside { texts: values.iter().map(|(v, y)| (*y, v.text.clone())).collect() }, "");
    }
    for ((values, name), (stroke, shape)) in looks() {
        let points = values.iter().map(|(v, y)| (v.value, *y)).collect();
        panel.add(Mark::Dots { points, shape, colour: stroke.colour }, name.clone());
    }
    sheet::draw(&plot.title, &plot.note, &[panel])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, keep, texts};
    use super::*;

    fn value(value: f64) -> Option<ForestValue> {
        Some(ForestValue { value, interval: Some((value * 0.9, value * 1.2)), text: format!("{value:.3}") })
    }

    #[test]
    fn names_everything_and_says_the_numbers() {
        let group = |name: &str, factor: f64| ForestGroup {
            name: name.into(),
            values: (1..=4).map(|i| if i == 3 && factor > 1.0 { None } else { value(factor * f64::from(i)) }).collect(),
        };
        let mut plot = ForestPlot {
            title: "objective".into(),
            note: "bars: 95 %".into(),
            x_label: "P95, ms".into(),
            log: true,
            series: ["policy", "hpa", "keda", "foresight"].map(str::to_owned).to_vec(),
            groups: vec![group("ServeGen m-mid, second day", 0.5), group("llm-spike", 40.0)],
            level: Some((1.0, "as good".into())),
        };
        let svg = forest(&plot).unwrap();
        keep("forest.svg", &svg);
        let expected = ["objective", "P95, ms", "ServeGen m-mid, second day", "llm-spike", "keda", "as good", "0.500"];
        assert_texts(&svg, &expected);
        assert_texts(&svg, &["160.000", "10", "100"]);
        assert!(!texts(&svg).contains(&"120.000".to_owned()));
        plot.log = false;
        plot.groups[0].values[1] = Some(ForestValue { value: f64::NAN, interval: None, text: String::new() });
        texts(&forest(&plot).unwrap());
    }

    #[test]
    fn nothing_is_fine() {
        texts(&forest(&ForestPlot::default()).unwrap());
        let groups = vec![ForestGroup { name: "a".into(), values: vec![None] }];
        texts(&forest(&ForestPlot { series: vec!["s".into()], groups, ..ForestPlot::default() }).unwrap());
    }
}
