//! The search itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::record::{Evaluation, Header, Record, RecordError};
use super::space::{Kind, Space};
use crate::autoscaler::AutoscalerConfig;
use crate::prepared::Prepared;
use crate::random::{Purpose, derive_seed, stream};
use crate::run::{Keep, Progress, RunError, run};
use crate::traffic::Traffic;

/// Of three trials, one goes on to the next rung.
const KEPT_OF: usize = 3;

/// Trials whose neighbourhood the later generations search.
const PARENTS: usize = 5;

/// How long to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TuneOptions {
    /// Sets of parameters tried, the untuned one included.
    pub trials: usize,
    /// Training seeds that the best have to show themselves on.
    pub seeds: usize,
    /// Seed of the search, and of the training seeds.
    pub seed: u64,
}

/// A set of parameters and how it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number; 0 is the untuned one.
    pub number: usize,
    /// Its place in the unit cube; empty for the untuned one.
    pub point: Vec<f64>,
    /// By training seed, as far as it got.
    pub evaluations: Vec<Evaluation>,
}

impl Trial {
    /// Mean of `figure` over the first `seeds` training seeds; infinite where it did not get that far.
    pub fn mean(&self, seeds: usize, figure: impl Fn(&Evaluation) -> f64) -> f64 {
        if self.evaluations.len() < seeds || seeds == 0 {
            return f64::INFINITY;
        }
        self.evaluations[..seeds].iter().map(figure).sum::<f64>() / seeds as f64
    }

    fn objective(&self, seeds: usize) -> f64 {
        self.mean(seeds, |e| e.objective)
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The best on all training seeds.
    pub best: Trial,
    /// The untuned one, on all training seeds.
    pub untuned: Trial,
    /// All trials, by number.
    pub trials: Vec<Trial>,
    /// The best one's file: a manifest, or TOML.
    pub file: String,
    /// The best one.
    pub config: AutoscalerConfig,
}

/// Why a search ends early.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// A run failed.
    #[error(transparent)]
    Run(Box<RunError>),
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<RunError> for TuneError {
    fn from(error: RunError) -> Self {
        TuneError::Run(Box::new(error))
    }
}

/// The training seeds of a search with `seed`: other ones than any comparison's.
pub fn training_seeds(seed: u64, count: usize) -> Vec<u64> {
    let own = derive_seed(seed, u64::from_be_bytes(*b"training"));
    (0..count as u64).map(|i| derive_seed(own, i)).collect()
}

/// Searches the parameters of `kind` on `prepared`, on all cores; the result does not depend on how many there are.
/// Evaluations are recorded at `record`, if given, and those already there are not made again.
pub fn tune(
    prepared: &Arc<Prepared>,
    kind: Kind,
    options: &TuneOptions,
    record: Option<&Path>,
    progress: Progress<'_>,
) -> Result<Tuned, TuneError> {
    let space = Space::new(kind, prepared);
    let record = match record {
        Some(path) => Record::open(path, &header(prepared, kind, options))?,
        None => Record::none(),
    };
    let seeds = training_seeds(options.seed, options.seeds);
    let search =
        Search { prepared, space: &space, record: &record, seeds: &seeds, progress, done: AtomicUsize::new(0) };
    // Half at random, then two generations near the best so far.
    let total = options.trials.max(2);
    let first = total.div_ceil(2);
    let sizes = [first, (total - first).div_ceil(2), (total - first) / 2];
    let expected = sizes.iter().map(|&size| rungs(size, seeds.len()).iter().map(|r| r.0 * r.1).sum::<usize>()).sum();
    let mut trials: Vec<Trial> = Vec::new();
    for (generation, &size) in sizes.iter().enumerate() {
        let parents = best_of(&trials, PARENTS);
        let mut own: Vec<Trial> = (0..size)
            .map(|i| {
                let number = trials.len() + i;
                let mut rng = stream(options.seed, Purpose::Policy, number as u64);
                let point = match parents.get(i % parents.len().max(1)) {
                    _ if number == 0 => Vec::new(),
                    Some(parent) if generation > 0 && !parent.is_empty() => space.near(parent, &mut rng),
                    _ => space.draw(&mut rng),
                };
                Trial { number, point, evaluations: Vec::new() }
            })
            .collect();
        search.halve(&mut own, expected)?;
        trials.append(&mut own);
    }
    // The untuned one is judged on every seed, to say what tuning was worth.
    search.extend(&mut trials[..1], seeds.len(), expected)?;
    let all = seeds.len();
    let best = trials.iter().min_by(|a, b| a.objective(all).total_cmp(&b.objective(all)));
    let (Some(best), Some(untuned)) = (best.cloned(), trials.first().cloned()) else {
        return Err(RunError::Interrupted { at: crate::time::SimTime::ZERO }.into());
    };
    let (file, config) = match best.point.as_slice() {
        [] => (String::new(), space.untuned()),
        point => (space.file_text(point), space.config(point)),
    };
    Ok(Tuned { best, untuned, trials, file, config })
}

fn header(prepared: &Prepared, kind: Kind, options: &TuneOptions) -> Header {
    let scenario = &prepared.scenario;
    let mut text = serde_json::to_string(scenario).unwrap_or_default().into_bytes();
    // What it refers to, too: profiles as they were read, and the trace.
    for pool in &prepared.pools {
        text.extend_from_slice(format!("{:?}", pool.spec).as_bytes());
    }
    if let Traffic::Trace { path: Some(path), .. } = &scenario.traffic {
        text.extend(std::fs::read(scenario.base.join(path)).unwrap_or_default());
    }
    Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: prepared.scenario.name.clone(),
        fingerprint: format!("{:016x}", fnv1a(&text)),
        autoscaler: kind,
        seed: options.seed,
        trials: options.trials,
        seeds: options.seeds,
    }
}

/// FNV-1a (Fowler, Noll, Vo), which is the same everywhere and always.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The points of the best trials, judged by as many seeds as each has seen, those with more first.
fn best_of(trials: &[Trial], count: usize) -> Vec<Vec<f64>> {
    let mut sorted: Vec<&Trial> = trials.iter().collect();
    sorted.sort_by(|a, b| {
        let (na, nb) = (a.evaluations.len(), b.evaluations.len());
        nb.cmp(&na).then(a.objective(na).total_cmp(&b.objective(nb)))
    });
    sorted.into_iter().filter(|t| !t.point.is_empty()).take(count).map(|t| t.point.clone()).collect()
}

/// Rungs for `size` trials: (how many are left, seeds in all), until all seeds are used.
fn rungs(size: usize, seeds: usize) -> Vec<(usize, usize)> {
    let mut rungs = Vec::new();
    let (mut left, mut used) = (size, 1);
    loop {
        let used_now = used.min(seeds);
        rungs.push((left, used_now));
        if used_now == seeds || left == 0 {
            return rungs;
        }
        left = left.div_ceil(KEPT_OF);
        used *= KEPT_OF;
    }
}

struct Search<'a> {
    prepared: &'a Arc<Prepared>,
    space: &'a Space,
    record: &'a Record,
    seeds: &'a [u64],
    progress: Progress<'a>,
    done: AtomicUsize,
}

impl Search<'_> {
    /// Tries `trials` on more and more seeds, and ever fewer of them.
    fn halve(&self, trials: &mut [Trial], expected: usize) -> Result<(), TuneError> {
        for (left, seeds) in rungs(trials.len(), self.seeds.len()) {
            // Best first; the order among those left behind does not matter any more.
            let before = trials.first().map_or(0, |t| t.evaluations.len());
            if before > 0 {
                trials
                    .sort_by(|a, b| a.objective(before).total_cmp(&b.objective(before)).then(a.number.cmp(&b.number)));
            }
            self.extend(&mut trials[..left], seeds, expected)?;
        }
        trials.sort_by_key(|t| t.number);
        Ok(())
    }

    /// Evaluates each of `trials` up to the first `seeds` seeds.
    fn extend(&self, trials: &mut [Trial], seeds: usize, expected: usize) -> Result<(), TuneError> {
        let jobs: Vec<(usize, usize)> = trials
            .iter()
            .enumerate()
            .flat_map(|(index, trial)| (trial.evaluations.len()..seeds).map(move |seed| (index, seed)))
            .collect();
        let new = jobs
            .par_iter()
            .map(|&(index, seed)| self.evaluate(&trials[index], seed, expected))
            .collect::<Result<Vec<_>, _>>()?;
        for ((index, _), evaluation) in jobs.into_iter().zip(new) {
            trials[index].evaluations.push(evaluation);
        }
        Ok(())
    }

    fn evaluate(&self, trial: &Trial, seed_index: usize, expected: usize) -> Result<Evaluation, TuneError> {
        let done = || self.done.load(Ordering::Relaxed) as f64;
        let evaluation = match self.record.known(trial.number, seed_index, &trial.point) {
            Some(known) => known.clone(),
            None => {
                let config = match trial.point.as_slice() {
                    [] => self.space.untuned(),
                    point => self.space.config(point),
                };
                let told = |within: f64| (self.progress)((done() + within) / expected.max(1) as f64);
                let seed = self.seeds[seed_index];
                let summary = run(self.prepared, &config, seed, Keep::default(), &told)?.summary;
                let evaluation = Evaluation {
                    trial: trial.number,
                    seed_index,
                    objective: -summary.reward.get("mean").copied().unwrap_or(f64::NAN),
                    violation_ratio: summary.slo.violation_ratio,
                    cost: summary.cost,
                    churn: summary.churn,
                    point: trial.point.clone(),
                    parameters: self.space.describe(&trial.point),
                };
                self.record.add(&evaluation)?;
                evaluation
            }
        };
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(evaluation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_thin_out_until_all_seeds_are_used() {
        assert_eq!(rungs(30, 5), [(30, 1), (10, 3), (4, 5)]);
        assert_eq!(rungs(4, 1), [(4, 1)]);
        assert_eq!(rungs(1, 9), [(1, 1), (1, 3), (1, 9)]);
    }

    #[test]
    fn training_seeds_are_nobody_elses() {
        let training = training_seeds(1, 20);
        let compared: Vec<u64> = (0..20).map(|i| derive_seed(1, i)).collect();
        assert!(training.iter().all(|s| !compared.contains(s) && *s != 1));
    }
}
