//! Autoscalers side by side, over the same seeds and therefore the same arrivals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::autoscaler::AutoscalerConfig;
use crate::prepared::Prepared;
use crate::random::derive_seed;
use crate::report::{Estimate, PairedDifference, Row, Summary, mean_interval, paired_difference};
use crate::run::{Keep, Progress, RunError, run};

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The scenario's name.
    pub scenario: String,
    /// The seeds of the runs.
    pub seeds: Vec<u64>,
    /// By autoscaler, in the order given.
    pub autoscalers: Vec<AutoscalerResult>,
}

/// An autoscaler over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutoscalerResult {
    /// Its name.
    pub name: String,
    /// Mean and 95 % interval over seeds of each figure, by its path in a run's summary.
    pub metrics: BTreeMap<String, Estimate>,
    /// Paired differences to the first autoscaler, of the same figures; empty for the first itself.
    pub paired: BTreeMap<String, PairedDifference>,
    /// The runs, by seed.
    pub runs: Vec<Summary>,
    /// The first seed's timeline.
    #[serde(skip)]
    pub rows: Vec<Row>,
}

/// Runs each of `autoscalers` with `count` seeds derived from `seed`, on all cores. The result does not depend on how
/// many there are. `progress` is told the share of runs done.
pub fn compare(
    prepared: &Arc<Prepared>,
    autoscalers: &[AutoscalerConfig],
    seed: u64,
    count: usize,
    progress: Progress<'_>,
) -> Result<Comparison, RunError> {
    // The first seed is the one given, so that `run --seed` shows what `compare --seed` compared.
    let seeds: Vec<u64> = (0..count as u64).map(|i| if i == 0 { seed } else { derive_seed(seed, i) }).collect();
    let jobs: Vec<(usize, usize)> =
        (0..autoscalers.len()).flat_map(|a| (0..seeds.len()).map(move |s| (a, s))).collect();
    let done = AtomicUsize::new(0);
    let share = |within: f64| (done.load(Ordering::Relaxed) as f64 + within) / jobs.len() as f64;
    let mut runs = jobs
        .par_iter()
        .map(|&(a, s)| {
            let keep = Keep { timeline: s == 0, ..Keep::default() };
            let result = run(prepared, &autoscalers[a], seeds[s], keep, &|within| progress(share(within)));
            done.fetch_add(1, Ordering::Relaxed);
            result
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut results: Vec<AutoscalerResult> = Vec::new();
    for config in autoscalers {
        let own: Vec<_> = runs.drain(..seeds.len()).collect();
        let rows = own.first().map(|r| r.rows.clone()).unwrap_or_default();
        let summaries: Vec<Summary> = own.into_iter().map(|r| r.summary).collect();
        let figures = columns(&summaries);
        let metrics = figures.iter().map(|(name, values)| (name.clone(), mean_interval(values))).collect();
        let paired = match results.first() {
            None => BTreeMap::new(),
            Some(first) => {
                let reference = columns(&first.runs);
                let pair = |(name, values): (&String, &Vec<f64>)| {
                    Some((name.clone(), paired_difference(values, reference.get(name)?)))
                };
                figures.iter().filter_map(pair).collect()
            }
        };
        results.push(AutoscalerResult { name: config.name(), metrics, paired, runs: summaries, rows });
    }
    Ok(Comparison { scenario: prepared.scenario.name.clone(), seeds, autoscalers: results })
}

/// Every number of the summaries, by path, a value a run; NaN where a run has none.
fn columns(summaries: &[Summary]) -> BTreeMap<String, Vec<f64>> {
    let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (index, summary) in summaries.iter().enumerate() {
        let mut flat = BTreeMap::new();
        if let Ok(value) = serde_json::to_value(summary) {
            flatten("", &value, &mut flat);
        }
        flat.insert("replicas_mean".into(), summary.pools.values().map(|p| p.replicas_mean).sum());
        for (name, value) in flat {
            let column = columns.entry(name).or_default();
            column.resize(index, f64::NAN);
            column.push(value);
        }
    }
    columns.remove("seed");
    for column in columns.values_mut() {
        column.resize(summaries.len(), f64::NAN);
    }
    columns
}

fn flatten(path: &str, value: &serde_json::Value, into: &mut BTreeMap<String, f64>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, inner) in fields {
                let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&inner_path, inner, into);
            }
        }
        serde_json::Value::Number(number) => {
            into.insert(path.to_owned(), number.as_f64().unwrap_or(f64::NAN));
        }
        _ => {}
    }
}
