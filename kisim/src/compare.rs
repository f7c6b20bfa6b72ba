//! Autoscalers side by side, over the same seeds and therefore the same arrivals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::oracle::{ArrivalRecord, Effort, Foresight, Hindsight, Plan, Timetable};
use crate::prepared::Prepared;
use crate::random::derive_seed;
use crate::report::{Estimate, PairedDifference, Row, Summary, mean_interval, paired_difference};
use crate::run::{Keep, Progress, Run, RunError, paper_baseline, run, run_with};
use crate::time::SimTime;

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
    /// Mean and 95 % interval over seeds of each figure, by its path in a run's summary; `regret` and
    /// `regret_to_foresight` where those yardsticks take part.
    pub metrics: BTreeMap<String, Estimate>,
    /// Paired differences to the first autoscaler, of the same figures; empty for the first itself.
    pub paired: BTreeMap<String, PairedDifference>,
    /// The runs, by seed.
    pub runs: Vec<Summary>,
    /// The first seed's timeline.
    #[serde(skip)]
    pub rows: Vec<Row>,
}

/// Runs each of `contenders` with `count` seeds derived from `seed`, on all cores. The result does not depend on how many
/// there are. `progress` is told the share of the work done.
pub fn compare(
    prepared: &Arc<Prepared>,
    contenders: &[Contender],
    seed: u64,
    count: usize,
    progress: Progress<'_>,
) -> Result<Comparison, RunError> {
    let seeds = seeds_from(seed, count);
    let planned = contenders.iter().any(|c| matches!(c, Contender::Hindsight(_)));
    let work = Work { done: AtomicUsize::new(0), plans: if planned { seeds.len() } else { 0 }, runs: 0 };
    let others: Vec<(usize, &Contender)> =
        contenders.iter().enumerate().filter(|(_, c)| !matches!(c, Contender::Hindsight(_))).collect();
    let jobs: Vec<(&Contender, usize)> =
        others.iter().flat_map(|&(_, c)| (0..seeds.len()).map(move |s| (c, s))).collect();
    let work = Work { runs: jobs.len(), ..work };
    let mut runs = jobs
        .par_iter()
        .map(|&(contender, s)| {
            let keep = Keep { timeline: s == 0, plan: planned, ..Keep::default() };
            let told = |within: f64| progress(work.share(within));
            let result = match contender {
                Contender::Autoscaler(config) | Contender::File(_, config) => {
                    run(prepared, config, seeds[s], keep, &told)?
                }
                Contender::Policy { build, .. } => {
                    run_with(prepared, build(prepared)?.as_mut(), seeds[s], keep, &told)?
                }
                Contender::Foresight(config) => {
                    let record = ArrivalRecord::of(prepared, seeds[s])?;
                    let mut foresight = Foresight::new(prepared, &record, config)?;
                    run_with(prepared, &mut foresight, seeds[s], keep, &told)?
                }
                // Planned below, when it is known what the others did.
                Contender::Hindsight(_) => return Err(RunError::Interrupted { at: SimTime::ZERO }),
            };
            work.done.fetch_add(1, Ordering::Relaxed);
            Ok(result)
        })
        .collect::<Result<Vec<_>, RunError>>()?;
    let mut by_contender: BTreeMap<usize, Vec<Run>> =
        others.iter().map(|&(index, _)| (index, runs.drain(..seeds.len()).collect())).collect();
    for (index, contender) in contenders.iter().enumerate() {
        let Contender::Hindsight(effort) = contender else { continue };
        let plans: Vec<Run> = seeds
            .par_iter()
            .enumerate()
            .map(|(s, &seed)| {
                // Another hindsight is none.
                let rivals: Vec<&Run> =
                    by_contender.values().map(|runs| &runs[s]).filter(|run| !run.plan.replicas.is_empty()).collect();
                let told = |within: f64| progress(work.share_of_plans(within));
                let result = hindsight(prepared, *effort, seed, s == 0, &rivals, &told);
                work.done.fetch_add(PLAN_RUNS, Ordering::Relaxed);
                result
            })
            .collect::<Result<_, _>>()?;
        by_contender.insert(index, plans);
    }
    let mut results: Vec<AutoscalerResult> = Vec::new();
    let of = |wanted: fn(&Contender) -> bool| contenders.iter().position(wanted);
    let best = of(|c| matches!(c, Contender::Hindsight(_))).and_then(|i| by_contender.get(&i)).map(|r| rewards(r));
    let seer = of(|c| matches!(c, Contender::Foresight(_))).and_then(|i| by_contender.get(&i)).map(|r| rewards(r));
    for (index, contender) in contenders.iter().enumerate() {
        let own = by_contender.remove(&index).unwrap_or_default();
        let reward = rewards(&own);
        let rows = own.first().map(|r| r.rows.clone()).unwrap_or_default();
        let summaries: Vec<Summary> = own.into_iter().map(|r| r.summary).collect();
        let mut figures = columns(&summaries);
        for (name, yardstick) in [("regret", &best), ("regret_to_foresight", &seer)] {
            if let Some(yardstick) = yardstick {
                let regret = yardstick.iter().zip(&reward).map(|(best, own)| best - own).collect();
                figures.insert(name.to_owned(), regret);
            }
        }
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
        // Two of one name are told apart by number.
        let name = contender.name();
        let same = contenders[..index].iter().filter(|c| c.name() == name).count();
        let name = if same == 0 { name } else { format!("{name} ({})", same + 1) };
        results.push(AutoscalerResult { name, metrics, paired, runs: summaries, rows });
    }
    Ok(Comparison { scenario: prepared.scenario.name.clone(), seeds, autoscalers: results })
}

/// `count` seeds derived from `seed`. The first is the one given, so that `run --seed` shows what `compare --seed`
/// compared.
pub fn seeds_from(seed: u64, count: usize) -> Vec<u64> {
    (0..count as u64).map(|i| if i == 0 { seed } else { derive_seed(seed, i) }).collect()
}

/// What a plan costs, in runs, about: for the progress bar.
const PLAN_RUNS: usize = 200;

struct Work {
    done: AtomicUsize,
    runs: usize,
    plans: usize,
}

impl Work {
    fn share(&self, within: f64) -> f64 {
        (self.done.load(Ordering::Relaxed) as f64 + within) / (self.runs + self.plans * PLAN_RUNS).max(1) as f64
    }

    fn share_of_plans(&self, within: f64) -> f64 {
        self.share(within * PLAN_RUNS as f64)
    }
}

fn rewards(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|r| r.summary.reward.get("mean").copied().unwrap_or(f64::NAN)).collect()
}

/// The best plan found for the run with `seed`: the search begins with what `rivals` did, too, and must not end worse.
///
/// A plan has control steps. A rival that decides more often can, in principle, do what no plan can; then what it did is
/// the best that was found.
fn hindsight(
    prepared: &Arc<Prepared>,
    effort: Effort,
    seed: u64,
    timeline: bool,
    rivals: &[&Run],
    progress: Progress<'_>,
) -> Result<Run, RunError> {
    let record = ArrivalRecord::of(prepared, seed)?;
    let reference = paper_baseline(prepared, seed, progress)?;
    let starts: Vec<Plan> = rivals.iter().map(|r| r.plan.clone()).collect();
    let found = Hindsight { effort }.plan(prepared, &record, seed, &starts, reference, progress)?;
    let keep = Keep { timeline, ..Keep::default() };
    let mut table = Timetable::new("hindsight", found.plan, prepared);
    let mut own = run_with(prepared, &mut table, seed, keep, progress)?;
    let reward = |run: &Run| run.summary.reward.get("mean").copied().unwrap_or(f64::NAN);
    let better = rivals.iter().filter(|rival| reward(rival) > reward(&own) + 1e-9);
    let Some(rival) = better.max_by(|a, b| reward(a).total_cmp(&reward(b))) else { return Ok(own) };
    if rival.on_steps {
        return Err(RunError::Hindsight {
            hindsight: -reward(&own),
            rival: rival.summary.autoscaler.clone(),
            found: -reward(rival),
            seed,
        });
    }
    own.summary = Summary { autoscaler: own.summary.autoscaler, ..rival.summary.clone() };
    own.rows.clone_from(&rival.rows);
    Ok(own)
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
