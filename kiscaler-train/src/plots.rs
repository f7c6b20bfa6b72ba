//! Drawings of what was learnt: curves over training with the spread of seeds.
//!
//! The drawing itself is [`kisim::plot`]'s.

use kisim::plot::{Curve, CurvePanel, CurvePoint, CurvesPlot, PlotError, curves};
use rand::Rng;

use crate::statistics::{Bootstrap, Interval, StatisticsError, interquartile_mean, of_all};

/// A figure in the course of one run: environment steps and values, ascending.
pub type Series = Vec<(u64, f64)>;

/// A figure in the course of training, of every seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measure {
    /// Its name, the title of its panel.
    pub title: String,
    /// What the axis shows, with its unit.
    pub unit: String,
    /// While training, by seed. Values of no number are left out.
    pub training: Vec<Series>,
    /// In evaluations, by seed; all seeds are evaluated at the same steps.
    pub evaluation: Vec<Series>,
    /// A value to compare with, and its name.
    pub level: Option<(f64, String)>,
}

/// Stretches of steps by which training is averaged: figures of single updates are noise.
const STRETCHES: u64 = 120;

/// Resampling for a band, at each of up to 120 stretches: enough for a drawing.
const BAND: Bootstrap = Bootstrap { repetitions: 400, level: 0.95 };

/// Draws each measure: the interquartile mean over seeds, in the band of its 95 % bootstrap interval, and a marker with a
/// bar for each evaluation. With one seed there is no band.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn learning_curves(
    title: &str,
    note: &str,
    measures: &[Measure],
    stream: &mut impl Rng,
) -> Result<String, PlotError> {
    let last = measures.iter().flat_map(|m| m.training.iter().chain(&m.evaluation)).flatten().map(|&(step, _)| step);
    let width = (last.max().unwrap_or(0) / STRETCHES).max(1);
    let panels = measures.iter().map(|measure| {
        let mut own = Vec::new();
        let several = measure.training.len().max(measure.evaluation.len()) > 1;
        let over = if several { ", IQM over seeds" } else { "" };
        let stretched: Vec<Series> = measure.training.iter().map(|series| stretches(series, width)).collect();
        for (name, series, sparse) in [("training", &stretched, false), ("evaluation", &measure.evaluation, true)] {
            let points = over_seeds(series, stream);
            if !points.is_empty() {
                own.push(Curve { name: format!("{name}{over}"), points, sparse });
            }
        }
        CurvePanel {
            title: measure.title.clone(),
            y_label: measure.unit.clone(),
            log: false,
            curves: own,
            level: measure.level.clone(),
        }
    });
    let panels = panels.collect();
    curves(&CurvesPlot { title: title.to_owned(), note: note.to_owned(), x_label: "environment steps".into(), panels })
}

/// Means of `series` over stretches of `width` steps, each at its middle.
fn stretches(series: &Series, width: u64) -> Series {
    let mut sums: Vec<(u64, f64, u32)> = Vec::new();
    for &(step, value) in series.iter().filter(|(_, value)| value.is_finite()) {
        let stretch = step.saturating_sub(1) / width;
        match sums.last_mut() {
            Some((at, sum, count)) if *at == stretch => {
                *sum += value;
                *count += 1;
            }
            _ => sums.push((stretch, value, 1)),
        }
    }
    sums.into_iter().map(|(stretch, sum, count)| (stretch * width + width / 2, sum / f64::from(count))).collect()
}

/// The interquartile mean over seeds wherever any has a value, and its interval where there are two.
fn over_seeds(seeds: &[Series], stream: &mut impl Rng) -> Vec<CurvePoint> {
    let mut steps: Vec<u64> = seeds.iter().flatten().map(|&(step, _)| step).collect();
    steps.sort_unstable();
    steps.dedup();
    let at = |series: &Series, step: u64| {
        let index = series.binary_search_by_key(&step, |&(step, _)| step).ok()?;
        Some(series[index].1).filter(|value| value.is_finite())
    };
    let point = |step: u64| {
        let values: Vec<f64> = seeds.iter().filter_map(|series| at(series, step)).collect();
        let several = values.len() > 1;
        let interval: Result<Interval, StatisticsError> = BAND.interval(&[values], of_all(interquartile_mean), stream);
        let interval = interval.ok()?;
        let (low, high) = (interval.low, interval.high);
        Some(CurvePoint { x: step as f64, value: interval.point, interval: several.then_some((low, high)) })
    };
    steps.into_iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn texts(svg: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        texts.map(|node| node.text().unwrap_or_default().trim().to_owned()).collect()
    }

    /// Written to the folder in `KISCALER_PLOTS`, if there is one, to be looked at.
    fn keep(name: &str, svg: &str) {
        if let Some(folder) = std::env::var_os("KISCALER_PLOTS") {
            std::fs::write(std::path::Path::new(&folder).join(name), svg).unwrap();
        }
    }

    fn run(seed: u64, updates: u64, from: f64, to: f64, noise: f64) -> Series {
        let mut stream = Xoshiro256PlusPlus::seed_from_u64(seed);
        let pace = 0.5 + stream.random::<f64>();
        let mut value = |i: u64| {
            let share = i as f64 / updates as f64;
            let learnt = to + (from - to) * (-5.0 * pace * share).exp();
            (i * 1_000_000 / updates, learnt + noise * (stream.random::<f64>() - 0.5))
        };
        (1..=updates).map(&mut value).collect()
    }

    #[test]
    fn curves_show_seeds_and_evaluations() {
        let measure = |title: &str, unit: &str, from: f64, to: f64| Measure {
            title: title.into(),
            unit: unit.into(),
            training: (0..8).map(|s| run(s, 500, from, to, (from - to).abs())).collect(),
            evaluation: (0..8).map(|s| run(s + 50, 10, from, to, (from - to).abs() * 0.1)).collect(),
            level: Some((to * 1.2, "predictive, tuned".into())),
        };
        let measures = [
            measure("Reward", "a control step", -0.9, -0.12),
            measure("SLO violations", "% of requests", 30.0, 1.0),
            measure("Cost", "$ an hour", 40.0, 20.0),
        ];
        let mut stream = Xoshiro256PlusPlus::seed_from_u64(1);
        let svg =
            learning_curves("Learning", "8 seeds, band: 95 % bootstrap interval", &measures, &mut stream).unwrap();
        keep("learning.svg", &svg);
        let found = texts(&svg);
        let expected =
            ["Reward", "% of requests", "environment steps", "training, IQM over seeds", "predictive, tuned"];
        for text in expected.into_iter().chain(["evaluation, IQM over seeds", "$ an hour"]) {
            assert!(found.iter().any(|f| f == text), "{text} in {found:?}");
        }
        // One seed has no spread.
        let one = Measure { training: vec![run(1, 50, 0.0, 1.0, 0.1)], title: "one".into(), ..Measure::default() };
        let found = texts(&learning_curves("", "", &[one], &mut stream).unwrap());
        assert!(found.iter().any(|f| f == "training"), "{found:?}");
        learning_curves("", "", &[], &mut stream).unwrap();
    }

    #[test]
    fn stretches_are_means() {
        let series = vec![(10, 1.0), (20, 3.0), (30, f64::NAN), (110, 5.0)];
        assert_eq!(stretches(&series, 100), [(50, 2.0), (150, 5.0)]);
    }

    #[test]
    fn interquartile_means_lie_in_their_bands() {
        let seeds: Vec<Series> =
            (0..8).map(|s| vec![(1, f64::from(s)), (2, if s == 0 { f64::NAN } else { 1.0 })]).collect();
        let points = over_seeds(&seeds, &mut Xoshiro256PlusPlus::seed_from_u64(1));
        assert_eq!(points[0].value, 3.5);
        let (low, high) = points[0].interval.unwrap();
        assert!(low > 0.5 && low < 3.0 && high > 4.0 && high < 6.5);
        assert_eq!(points[1].interval, Some((1.0, 1.0)));
    }
}
