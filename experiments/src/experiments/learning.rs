//! What the experiments on training have in common: their cells, and curves over seeds.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use toml::Table as Fields;

use crate::cell::{Cell, Row};
use crate::experiment::{Entry, Size, Table, sized};
use crate::results::Results;
use crate::scene::Scene;
use crate::summary::of_values;
use crate::work::train::Base;
use crate::work::{Play, Train, Work};

/// A configuration of training runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    base: Base,
    scenes: Vec<Scene>,
    contenders: Vec<String>,
    /// Training runs.
    pub(super) seeds: u64,
    /// Seeds of each scene.
    pub(super) run_seeds: u64,
    /// A training run takes, on one core, about.
    seconds: f64,
    #[serde(default)]
    pub(super) episodes: u64,
    #[serde(default)]
    pub(super) overrides: Fields,
}

impl Config {
    pub(super) fn read(text: &str, size: Size) -> Result<Config> {
        sized(text, size)
    }
}

/// A cell a training run, with the seeds 1, 2, …
pub(super) fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config = Config::read(text, size)?;
    let play = |scene: &Scene| {
        // After an hour on the published testbed there is nothing new to be known: its patterns are shorter.
        let contenders = match scene.scenario.starts_with("paper:") {
            true => vec!["policy".to_owned()],
            false => config.contenders.clone(),
        };
        Play { scene: scene.clone(), contenders, seeds: config.run_seeds, past: None }
    };
    let cell = |seed: u64| {
        let train = Train {
            config: config.base,
            overrides: config.overrides.clone(),
            seed,
            episodes: config.episodes,
            then: config.scenes.iter().map(play).collect(),
        };
        Cell { name: format!("seed-{seed}"), seconds: config.seconds, work: Work::Train(train) }
    };
    Ok((1..=config.seeds).map(cell).collect())
}

/// A figure over steps, by training run.
pub(super) type Curves = BTreeMap<u64, BTreeMap<u64, f64>>;

/// Points of a curve.
const BINS: u64 = 60;
/// Points that a moving average goes over.
const WINDOW: usize = 10;

/// A scalar over steps, by seed: means of stretches of steps that are the same for all seeds.
pub(super) fn by_seed(results: &Results, name: &str) -> Curves {
    let all: Vec<&Row> = results.with(&[("row", "scalar")]).collect();
    let last = all.iter().map(|row| row.get_number("step")).fold(1.0, f64::max) as u64;
    let width = last.div_ceil(BINS).max(1);
    let mut sums: BTreeMap<u64, BTreeMap<u64, (f64, f64)>> = BTreeMap::new();
    for row in all.into_iter().filter(|row| row.get_text("name") == name && row.get_number("value").is_finite()) {
        let end = (row.get_number("step") as u64).div_ceil(width) * width;
        let sum = sums.entry(row.get_number("trained") as u64).or_default().entry(end).or_default();
        *sum = (sum.0 + row.get_number("value"), sum.1 + 1.0);
    }
    let mean = |curve: BTreeMap<u64, (f64, f64)>| curve.into_iter().map(|(end, (sum, n))| (end, sum / n)).collect();
    sums.into_iter().map(|(seed, curve)| (seed, mean(curve))).collect()
}

/// Means of the last ten points or fewer, by seed.
pub(super) fn moving(curves: &Curves) -> Curves {
    let one = |curve: &BTreeMap<u64, f64>| {
        let points: Vec<(u64, f64)> = curve.iter().map(|(&step, &value)| (step, value)).collect();
        let mean = |end: usize| {
            let window = &points[(end + 1).saturating_sub(WINDOW)..=end];
            (points[end].0, window.iter().map(|point| point.1).sum::<f64>() / window.len() as f64)
        };
        (0..points.len()).map(mean).collect()
    };
    curves.iter().map(|(&seed, curve)| (seed, one(curve))).collect()
}

/// The kinds of episode, and a table of the moving average of each one's reward.
pub(super) fn by_kind(own: &Results, name: &str, caption: &str) -> (Vec<String>, Table) {
    let all = kinds(own, "training/return/");
    let curve = |kind: &String| moving(&by_seed(own, &format!("training/return/{kind}")));
    let curves: Vec<(&str, Curves)> = all.iter().map(|kind| (kind.as_str(), curve(kind))).collect();
    let table = table(name, caption, &curves);
    (all, table)
}

/// A table of curves: the column `steps` and one for each, interquartile means over seeds with their intervals.
pub(super) fn table(name: &str, caption: &str, curves: &[(&str, Curves)]) -> Table {
    let mut steps: Vec<u64> =
        curves.iter().flat_map(|(_, seeds)| seeds.values()).flat_map(BTreeMap::keys).copied().collect();
    steps.sort_unstable();
    steps.dedup();
    let row = |step: u64| {
        let entries = curves.iter().map(|(_, seeds)| {
            let values: Vec<f64> = seeds.values().filter_map(|curve| curve.get(&step)).copied().collect();
            if values.is_empty() { Entry::Empty } else { of_values(&values, true) }
        });
        std::iter::once(Entry::Number(step as f64)).chain(entries).collect()
    };
    Table {
        name: name.to_owned(),
        caption: caption.to_owned(),
        columns: std::iter::once("steps".to_owned()).chain(curves.iter().map(|(name, _)| (*name).to_owned())).collect(),
        rows: steps.into_iter().map(row).collect(),
    }
}

/// What comes after `prefix` in the names of scalars, in alphabetical order.
pub(super) fn kinds(results: &Results, prefix: &str) -> Vec<String> {
    let names = results.with(&[("row", "scalar")]).filter_map(|row| row.get_text("name").strip_prefix(prefix));
    names.map(str::to_owned).collect::<std::collections::BTreeSet<String>>().into_iter().collect()
}

/// The first and the last `window` points of the scalar, of each seed: their means.
pub(super) fn ends(results: &Results, name: &str, window: usize) -> Vec<(f64, f64)> {
    let mut curves: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for row in results.with(&[("row", "scalar"), ("name", name)]) {
        let point = (row.get_number("step"), row.get_number("value"));
        curves.entry(row.get_number("trained") as u64).or_default().push(point);
    }
    let mean = |points: &[(f64, f64)]| points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64;
    let both = |points: &Vec<(f64, f64)>| {
        let window = window.clamp(1, points.len().max(1));
        (mean(&points[..window.min(points.len())]), mean(&points[points.len().saturating_sub(window)..]))
    };
    curves.values().map(both).collect()
}

/// Results of another experiment that this one needs.
pub(super) fn of<'a>(all: &crate::experiment::All<'a>, name: &str) -> Result<&'a Results> {
    all.others.get(name).copied().with_context(|| format!("found no results of {name}, expected those it needs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(trained: u64, step: u64, value: f64) -> Row {
        let row = Row::new().text("row", "scalar").count("trained", trained).count("step", step);
        row.text("name", "training/return").number("value", value)
    }

    #[test]
    fn curves_are_means_of_stretches_over_seeds() {
        // 60 stretches of 10 steps; seed 1 has two points in each, seed 2 one.
        let rows = (1..=120u64)
            .map(|i| scalar(1, i * 5, i as f64))
            .chain((1..=60u64).map(|i| scalar(2, i * 10, 0.0)))
            .collect();
        let results = Results { rows, missing: Vec::new() };
        let curves = by_seed(&results, "training/return");
        assert_eq!((curves.len(), curves[&1].len()), (2, 60));
        assert_eq!((curves[&1][&10], curves[&1][&600]), (1.5, 119.5));
        // The last ten stretches: (101 + … + 120) / 20.
        assert_eq!(moving(&curves)[&1][&600], 110.5);
        assert_eq!(moving(&curves)[&1][&10], 1.5);
        let table = table("t", "", &[("return", curves)]);
        assert_eq!(
            (table.rows.len(), table.rows[0][0].point(), table.rows[0][1].point()),
            (60, Some(10.0), Some(0.75))
        );
        let found = ends(&results, "training/return", 4);
        assert_eq!(found, [(2.5, 118.5), (0.0, 0.0)]);
        assert_eq!(kinds(&results, "training/"), ["return"]);
    }
}
