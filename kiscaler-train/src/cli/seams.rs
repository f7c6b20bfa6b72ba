//! What the command needs of learning and acting: the only place that knows which learner, environment and policy there
//! are. Nothing here is connected yet; every function says so, and none pretends.
//!
//! Errors are one sentence that names file and field, as [`kisim::config::ConfigError`] does.

#![allow(unused_variables, reason = "not connected yet")]

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::ValueEnum;
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::drive::{Learner, Rhythm};
use kiscaler_train::explain::Effect;
use kisim::compare::Comparison;
use kisim::contender::Contender;
use kisim::prepared::Prepared;
use kisim::scenario::Scenario;

/// Where tensors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Device {
    /// In main memory.
    Cpu,
    /// On an NVIDIA GPU; needs a build with `--features cuda`.
    Cuda,
}

/// What to train: a configuration that was read and checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Its name, for the folder of a run.
    pub(super) name: String,
    /// Its text, TOML, as it goes into checkpoints.
    pub(super) text: String,
    /// Its seed, unless the command line names one.
    pub(super) seed: u64,
    /// How often to evaluate and save.
    pub(super) rhythm: Rhythm,
}

/// Reads the configuration at `path`, the built-in one without; `quick` makes of it one that ends in seconds.
pub(super) fn plan(path: Option<&Path>, quick: bool) -> Result<Plan> {
    bail!("train: found no learner in this build, expected one")
}

/// Reads the configuration in a checkpoint; `origin` is what errors call it.
pub(super) fn plan_of(text: &str, origin: &str) -> Result<Plan> {
    bail!("train: found no learner in this build, expected one")
}

/// A learner that knows nothing yet.
pub(super) fn begin(plan: &Plan, seed: u64, device: Device) -> Result<Box<dyn Learner>> {
    bail!("train: found no learner in this build, expected one")
}

/// The learner whose state `checkpoint` holds; [`drive::load`](kiscaler_train::drive::load) made sure there is one.
pub(super) fn restore(plan: &Plan, checkpoint: Checkpoint, device: Device) -> Result<Box<dyn Learner>> {
    bail!("train: found no learner in this build, expected one")
}

/// Scenarios that a policy of `plan` is compared on after training, each with those to compare with; none of it was
/// trained on.
pub(super) fn closing(plan: &Plan, quick: bool) -> Result<Vec<(Arc<Prepared>, Vec<Contender>)>> {
    bail!("train: found no comparison in this build, expected one")
}

/// The policy in `checkpoint` as an autoscaler for `scenario`, after [`Checkpoint::check`]; `weight` is what a saved
/// dollar counts against a late request, 1 as the scenario says.
pub(super) fn policy(checkpoint: &Arc<Checkpoint>, weight: f64, scenario: &Scenario) -> Result<Contender> {
    bail!("evaluate: found no policy in this build, expected one")
}

/// A decision, and what moved it.
#[derive(Clone, Debug)]
pub(super) struct Explained {
    /// When, seconds.
    pub(super) time_s: f64,
    /// What was decided, in words: a pool's pods before and after, and the policy's reason.
    pub(super) decision: String,
    /// The probability that the policy gave to it.
    pub(super) probability: f32,
    /// Strongest first, see [`kiscaler_train::explain::effects`].
    pub(super) effects: Vec<Effect>,
    /// Features that training never saw, by index.
    pub(super) unseen: Vec<usize>,
}

/// Plays `scenario` under the policy, and explains every decision.
pub(super) fn explain(checkpoint: &Arc<Checkpoint>, weight: f64, prepared: &Arc<Prepared>) -> Result<Vec<Explained>> {
    bail!("explain: found no policy in this build, expected one")
}

/// A set of hyper-parameters that was tried.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Trial {
    /// Its number, from 0; 0 is the configuration as it is.
    pub(super) number: u64,
    /// What was set, by field.
    pub(super) parameters: Vec<(String, String)>,
    /// What it was judged by, on training traffic; more is better.
    pub(super) score: f64,
}

/// Tries sets of hyper-parameters around `plan`, the first being the plan itself, and writes each to `record` as it ends;
/// what is there already is not tried again. `progress` is told the share done and answers whether to go on.
pub(super) fn tune(
    plan: &Plan,
    trials: u64,
    seed: u64,
    record: &Path,
    progress: &dyn Fn(f64) -> bool,
) -> Result<Vec<Trial>> {
    bail!("tune: found no learner in this build, expected one")
}

/// `plan`'s text with the parameters of `trial`.
pub(super) fn with_parameters(plan: &Plan, trial: &Trial) -> Result<String> {
    bail!("tune: found no learner in this build, expected one")
}

/// Verdicts of a comparison draw from here, so that they are the same every time.
pub(super) fn stream_of(comparisons: &[Comparison]) -> rand_xoshiro::Xoshiro256PlusPlus {
    use rand::SeedableRng;
    let seed = comparisons.first().and_then(|c| c.seeds.first()).copied().unwrap_or_default();
    rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed)
}
