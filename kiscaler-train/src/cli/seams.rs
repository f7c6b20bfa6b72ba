//! What the command needs of learning and acting: the only place that knows which learner, environment and policy there
//! are.
//!
//! Errors are one sentence that names file and field, as [`kisim::config::ConfigError`] does.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ValueEnum;
use kiscaler_train::actor::Buffers;
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::config::{DEFAULT, TrainConfig};
use kiscaler_train::device::DeviceKind;
use kiscaler_train::drive::{Learner, Rhythm};
use kiscaler_train::explain::{Effect, effects};
use kiscaler_train::learner::AutoscalingLearner;
use kiscaler_train::observation::ObservationSet;
use kiscaler_train::policy::{Policy, PolicyAutoscaler};
use kiscaler_train::ppo::{Backend, Resources};
use kisim::compare::Comparison;
use kisim::contender::Contender;
use kisim::control::{Autoscaler, Decision, Verdict, View};
use kisim::prepared::Prepared;
use kisim::run::{Keep, run_with, silent};
use kisim::scenario::Scenario;
use kisim::traffic::Pattern;

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
    /// The same, read.
    pub(super) config: TrainConfig,
}

/// What `--quick` changes, as a configuration of its own: whoever resumes the run reads no flag.
const QUICK: [(&str, &str); 4] =
    [("total_steps", "8_192"), ("imitation_updates", "2"), ("services", "4"), ("episodes", "8")];

/// Reads the configuration at `path`, the built-in one without; `quick` makes of it one that ends in seconds.
pub(super) fn plan(path: Option<&Path>, quick: bool) -> Result<Plan> {
    let (text, origin) = match path {
        Some(path) => (TrainConfig::load(path)?.1, path.display().to_string()),
        None => (DEFAULT.to_owned(), "the built-in configuration".to_owned()),
    };
    if !quick {
        return plan_of(&text, &origin);
    }
    let line = |line: &str| {
        let field = line.split_once('=').map_or("", |(field, _)| field.trim());
        match QUICK.iter().find(|(name, _)| *name == field) {
            Some((name, value)) => format!("{name} = {value}\n"),
            None => format!("{line}\n"),
        }
    };
    plan_of(&text.lines().map(line).collect::<String>(), &origin)
}

/// Reads the configuration in a checkpoint; `origin` is what errors call it.
pub(super) fn plan_of(text: &str, origin: &str) -> Result<Plan> {
    let config = TrainConfig::parse(text, origin)?;
    Ok(Plan {
        name: config.name.clone(),
        text: text.to_owned(),
        seed: config.seed,
        rhythm: Rhythm { evaluate: config.evaluation.every, save: config.save_every },
        config,
    })
}

/// All threads there are, and the device.
fn resources(device: Device) -> Result<Resources> {
    let kind = match device {
        Device::Cpu => DeviceKind::Cpu,
        Device::Cuda => DeviceKind::Cuda,
    };
    Ok(Resources { threads: rayon::current_num_threads(), backend: Backend::of(kind)? })
}

/// A learner that knows nothing yet.
pub(super) fn begin(plan: &Plan, seed: u64, device: Device) -> Result<Box<dyn Learner>> {
    Ok(Box::new(AutoscalingLearner::new(&plan.config, &plan.text, seed, resources(device)?)?))
}

/// The learner whose state `checkpoint` holds; [`drive::load`](kiscaler_train::drive::load) made sure there is one.
pub(super) fn restore(plan: &Plan, checkpoint: Checkpoint, device: Device) -> Result<Box<dyn Learner>> {
    Ok(Box::new(AutoscalingLearner::restore(&plan.config, &plan.text, &checkpoint, resources(device)?)?))
}

/// Scenarios that a policy of `plan` is compared on after training, each with those to compare with; none of it was
/// trained on.
pub(super) fn closing(plan: &Plan, quick: bool) -> Result<Vec<(Arc<Prepared>, Vec<Contender>)>> {
    if plan.config.observation == ObservationSet::Paper {
        // The published patterns whole, of which training saw how they begin.
        let patterns: &[Pattern] = if quick { &[Pattern::Spike] } else { &Pattern::ALL };
        let of = |&pattern: &Pattern| {
            let scenario = Scenario::pattern(pattern)?;
            let rivals = ["hpa", "predictive"].iter().map(|name| Contender::parse(name, &scenario));
            let rivals = rivals.collect::<Result<Vec<_>, _>>()?;
            Ok((Prepared::new(scenario)?, rivals))
        };
        return patterns.iter().map(of).collect();
    }
    let mut scenario = Scenario::builtin()?;
    if quick {
        scenario.duration = Some(kisim::config::Span::secs(300));
    }
    let rivals: &[&str] = if quick { &["hpa"] } else { &["hpa", "keda", "kpa", "predictive", "foresight"] };
    let rivals = rivals.iter().map(|name| Contender::parse(name, &scenario)).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![(Prepared::new(scenario)?, rivals)])
}

/// A decision, and what moved it.
#[derive(Clone)]
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

/// A policy that notes why.
#[derive(Debug)]
struct Witness {
    inner: PolicyAutoscaler,
    policy: Arc<Policy>,
    explained: Vec<Explained>,
}

impl std::fmt::Debug for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s: {}", self.time_s, self.decision)
    }
}

impl Autoscaler for Witness {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let decision = self.inner.decide(view);
        let last = self.inner.last();
        let mut buffers = Buffers::default();
        let sizes = self.policy.set().sizes();
        let everything = vec![true; sizes.iter().sum()];
        let mut logits = |observation: &[f32]| {
            self.policy.actor().log_probabilities(observation, &everything, &mut buffers).to_vec()
        };
        let found = effects(self.policy.features(), last.observation, &sizes, last.mask, last.action, &mut logits);
        let own = self.policy.actor().log_probabilities(last.observation, last.mask, &mut buffers);
        let mut start = 0;
        let mut probability = 1.0;
        for (&size, &choice) in sizes.iter().zip(last.action) {
            probability *= own[start + choice as usize].exp();
            start += size;
        }
        let words: Vec<String> = view
            .pools
            .iter()
            .zip(&decision.pools)
            .map(|(pool, verdict)| {
                let (name, before) = (&pool.name, pool.counts.desired);
                match verdict {
                    Verdict::Hold { reason } => format!("{name} {before}: {reason}"),
                    Verdict::Scale { replicas, reason } => format!("{name} {before} → {replicas}: {reason}"),
                }
            })
            .collect();
        self.explained.push(Explained {
            time_s: view.now.as_secs_f64(),
            decision: words.join("; "),
            probability,
            effects: found,
            unseen: self.policy.checkpoint().unseen(last.observation).collect(),
        });
        decision
    }
}

/// Plays `scenario` under the policy, and explains every decision.
pub(super) fn explain(checkpoint: &Arc<Checkpoint>, weight: f64, prepared: &Arc<Prepared>) -> Result<Vec<Explained>> {
    let policy = Arc::new(Policy::new(checkpoint)?);
    let inner = PolicyAutoscaler::new(&policy, prepared, weight, "policy".to_owned())?;
    let mut witness = Witness { inner, policy, explained: Vec::new() };
    run_with(prepared, &mut witness, prepared.scenario.seed, Keep::default(), &silent)?;
    Ok(witness.explained)
}

/// A set of hyper-parameters that was tried.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Trial {
    /// Its number, from 0; 0 is the configuration as it is.
    pub(super) number: u64,
    /// What was set, by field.
    pub(super) parameters: Vec<(String, String)>,
    /// What it was judged by, on training traffic; more is better.
    pub(super) score: f64,
}

/// Fields that are tried, with values around the default's.
const SPACE: [(&str, &[&str]); 7] = [
    ("learning_rate", &["3e-4", "5e-4", "1e-3", "2e-3"]),
    ("gamma", &["0.93", "0.95", "0.97", "0.985"]),
    ("lambda", &["0.8", "0.9", "0.95"]),
    ("entropy_start", &["0.003", "0.01", "0.02", "0.03"]),
    ("epochs", &["2", "4", "6"]),
    ("minibatch", &["256", "512", "1024"]),
    ("imitation_updates", &["0", "20", "40", "60"]),
];

/// Tries sets of hyper-parameters around `plan`, the first being the plan itself, and writes each to `record` as it ends;
/// what is there already is not tried again. `progress` is told the share done and answers whether to go on.
pub(super) fn tune(
    plan: &Plan,
    trials: u64,
    seed: u64,
    record: &Path,
    progress: &dyn Fn(f64) -> bool,
) -> Result<Vec<Trial>> {
    let mut done: Vec<Trial> = Vec::new();
    if let Ok(text) = std::fs::read_to_string(record) {
        for (line, entry) in text.lines().enumerate() {
            let trial = serde_json::from_str(entry).with_context(|| {
                format!("{}, line {}: found no trial of kiscaler-train tune, expected one", record.display(), line + 1)
            })?;
            done.push(trial);
        }
    }
    for number in done.len() as u64..trials {
        let parameters: Vec<(String, String)> = match number {
            0 => Vec::new(),
            _ => SPACE
                .iter()
                .enumerate()
                // There is nobody to imitate under the published set.
                .filter(|(_, (name, _))| {
                    plan.config.observation != ObservationSet::Paper || *name != "imitation_updates"
                })
                .map(|(field, (name, values))| {
                    let draw = kisim::random::derive_seed(kisim::random::derive_seed(seed, number), field as u64);
                    ((*name).to_owned(), values[(draw % values.len() as u64) as usize].to_owned())
                })
                .collect(),
        };
        let mut trial = Trial { number, parameters, score: f64::NAN };
        let own = plan_of(&with_parameters(plan, &trial)?, "the configuration tried")?;
        let mut learner = begin(&own, seed, Device::Cpu)?;
        while !learner.is_done() {
            learner.update()?;
            let within = learner.steps() as f64 / learner.total_steps() as f64;
            anyhow::ensure!(progress((number as f64 + within) / trials as f64), "interrupted");
        }
        trial.score = learner.evaluate()?.score;
        done.push(trial);
        let lines: Vec<String> = done.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        kisim::report::write_atomically(record, |file| writeln!(file, "{}", lines.join("\n")))?;
    }
    Ok(done)
}

/// `plan`'s text with the parameters of `trial`.
pub(super) fn with_parameters(plan: &Plan, trial: &Trial) -> Result<String> {
    let mut text = plan.text.clone();
    for (name, value) in &trial.parameters {
        let field = |line: &&str| line.split_once('=').is_some_and(|(field, _)| field.trim() == name);
        let set = format!("{name} = {value}");
        text = match text.lines().find(field).map(str::to_owned) {
            Some(line) => text.replacen(&line, &set, 1),
            // Not said so far: it is the table's to say.
            None => text.replacen("[ppo]", &format!("[ppo]\n{set}"), 1),
        };
    }
    Ok(text)
}

/// Verdicts of a comparison draw from here, so that they are the same every time.
pub(super) fn stream_of(comparisons: &[Comparison]) -> rand_xoshiro::Xoshiro256PlusPlus {
    use rand::SeedableRng;
    let seed = comparisons.first().and_then(|c| c.seeds.first()).copied().unwrap_or_default();
    rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed)
}
