//! What the driver of a run drives: PPO on the autoscaling environment, its evaluations and its checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use kisim::config::ConfigError;
use kisim::random::{Purpose, Stream, derive_seed, stream};
use rayon::prelude::*;
use serde_json::Value;

use crate::REVISION;
use crate::actor::{Actor, Buffers};
use crate::checkpoint::{Checkpoint, Data, Envelope, Feature, Refusal, Scaling, State, Tensor};
use crate::config::TrainConfig;
use crate::drive::{Evaluation, LearnError, Learner, Update};
use crate::envelope::EnvelopeSample;
use crate::environment::{Environment, EnvironmentError, Look};
use crate::policy::tensors;
use crate::ppo::{Resources, TrainError, Trainer, TrainerState};
use crate::progress::Standing;
use crate::training::arena::{Arena, Source};
use crate::training::distribution::{Distribution, DistributionError};
use crate::training::paper_world::Patterns;
use crate::training::world::Tally;

/// Which quantile of training an envelope's ends are.
const ENVELOPE_QUANTILE: f64 = 0.001;

/// Observations that envelopes are taken from.
const ENVELOPE_ROWS: usize = 20_000;

/// What the seeds of a run are for.
#[derive(Clone, Copy)]
enum Seeds {
    Services = 1,
    Evaluation = 2,
    Episodes = 3,
}

/// Why there is nothing to drive.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The training distribution.
    #[error(transparent)]
    Distribution(#[from] DistributionError),
    /// The published testbed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The learner.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// What it is to go on from.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// PPO on the autoscaling environment.
#[derive(Debug)]
pub struct AutoscalingLearner {
    config: TrainConfig,
    text: String,
    seed: u64,
    source: Source,
    trainer: Trainer<Arena>,
    envelopes: Vec<Envelope>,
    metrics: BTreeMap<String, f64>,
}

/// An episode played with the likeliest choices.
struct Played {
    kind: String,
    tally: Tally,
    worth: f64,
    observations: Vec<f32>,
}

impl AutoscalingLearner {
    /// A learner that knows nothing yet. `text` is what `config` was read from.
    ///
    /// # Errors
    /// If a drawn service cannot be measured, which would be a bug.
    pub fn new(config: &TrainConfig, text: &str, seed: u64, resources: Resources) -> Result<Self, SetupError> {
        let source = match config.observation.design() {
            Some(design) => {
                let services = derive_seed(seed, Seeds::Services as u64);
                Source::ScaleFree(Arc::new(Distribution::new(&config.distribution, services)?), design)
            }
            None => Source::Paper(Arc::new(Patterns::new()?)),
        };
        let teaches = config.ppo.teaches();
        let arenas = (0..config.ppo.environments).map(|_| source.arena(teaches)).collect();
        let trainer = Trainer::new(config.ppo.clone(), seed, resources, arenas)?;
        Ok(AutoscalingLearner {
            config: config.clone(),
            text: text.to_owned(),
            seed,
            source,
            trainer,
            envelopes: vec![Envelope::default(); config.observation.features().len()],
            metrics: BTreeMap::new(),
        })
    }

    /// The learner whose state `checkpoint` holds.
    ///
    /// # Errors
    /// If the state is not one of this configuration.
    pub fn restore(
        config: &TrainConfig,
        text: &str,
        checkpoint: &Checkpoint,
        resources: Resources,
    ) -> Result<Self, SetupError> {
        let mut learner = AutoscalingLearner::new(config, text, checkpoint.seed, resources)?;
        let refuse = |found: String| Refusal::Field {
            field: "state".into(),
            found,
            expected: "the state of a learner of this configuration".into(),
        };
        let state = checkpoint.state.as_ref().ok_or_else(|| refuse("none".into()))?;
        let mut values = state.values.get("trainer").cloned().ok_or_else(|| refuse("none of a trainer".into()))?;
        lower(&mut values, "trainer", &state.tensors);
        let state: TrainerState = serde_json::from_value(values).map_err(|e| refuse(e.to_string()))?;
        learner.trainer.restore(&state)?;
        learner.envelopes = checkpoint.features.iter().map(|f| f.envelope).collect();
        learner.metrics.clone_from(&checkpoint.metrics);
        Ok(learner)
    }

    /// What acts now.
    ///
    /// # Errors
    /// If its parameters are not finite.
    pub fn actor(&self) -> Result<Actor, TrainError> {
        self.trainer.actor()
    }

    /// Plays `count` episodes of the environment as training does, with choices drawn from the policy's probabilities: of each
    /// its kind and its mean reward a step, not weighted by its worth. Nothing that learning depends on changes by it.
    ///
    /// # Errors
    /// If an environment fails.
    pub fn episodes(&self, count: u64) -> Result<Vec<(String, f64)>, LearnError> {
        let actor = self.trainer.actor()?;
        let seeds = derive_seed(self.seed, Seeds::Episodes as u64);
        let play = |number: u64| {
            let seed = derive_seed(seeds, number);
            let played = self.play(&actor, seed, Some(stream(seed, Purpose::Policy, 2)))?;
            Ok((played.kind, played.tally.reward / played.tally.steps.max(1) as f64))
        };
        (0..count).into_par_iter().map(play).collect()
    }

    /// An episode with choices drawn from `draws`, or the likeliest.
    fn play(&self, actor: &Actor, seed: u64, mut draws: Option<Stream>) -> Result<Played, EnvironmentError> {
        let mut world = self.source.arena(false);
        world.reset(seed)?;
        let space = world.space();
        let mut buffers = Buffers::default();
        let (mut observation, mut privileged) = (vec![0.0; space.observation], vec![0.0; space.privileged]);
        let (mut mask, mut action) = (vec![false; space.choices()], vec![0; space.heads.len()]);
        let mut observations = Vec::new();
        loop {
            world.look(Look {
                observation: &mut observation,
                privileged: &mut privileged,
                mask: &mut mask,
                teacher: &mut [],
            });
            observations.extend_from_slice(&observation);
            match &mut draws {
                Some(stream) => {
                    let log_probabilities = actor.log_probabilities(&observation, &mask, &mut buffers);
                    actor.heads.sample(log_probabilities, stream, &mut action);
                }
                None => actor.decide(&observation, &mask, world.meanings(), &mut buffers, &mut action),
            }
            if world.step(&action)?.end.is_some() {
                break;
            }
        }
        Ok(Played { kind: world.kind().to_owned(), tally: world.tally(), worth: world.worth(), observations })
    }
}

impl From<TrainError> for LearnError {
    fn from(error: TrainError) -> Self {
        LearnError::Other(Box::new(error))
    }
}

impl From<EnvironmentError> for LearnError {
    fn from(error: EnvironmentError) -> Self {
        LearnError::Other(Box::new(error))
    }
}

impl From<Refusal> for LearnError {
    fn from(error: Refusal) -> Self {
        LearnError::Other(Box::new(error))
    }
}

impl Learner for AutoscalingLearner {
    fn total_steps(&self) -> u64 {
        self.config.ppo.updates() * self.config.ppo.rollout() as u64
    }

    fn steps(&self) -> u64 {
        self.trainer.steps()
    }

    fn updates(&self) -> u64 {
        self.trainer.updates()
    }

    fn is_done(&self) -> bool {
        self.trainer.finished()
    }

    fn update(&mut self) -> Result<Update, LearnError> {
        let stats = self.trainer.update()?;
        let per_step = |e: &crate::ppo::Episodes| Some(e.mean_return()? / e.mean_length()?);
        let mut scalars = vec![
            ("losses/policy".to_owned(), stats.policy_loss),
            ("losses/value".to_owned(), stats.value_loss),
            ("losses/teacher".to_owned(), stats.teacher_loss),
            ("losses/entropy".to_owned(), stats.entropy),
            ("losses/kl_k1".to_owned(), stats.kl_k1),
            ("losses/clip_fraction".to_owned(), stats.clip_fraction),
            ("losses/gradient_norm".to_owned(), stats.gradient_norm),
            ("schedule/learning_rate".to_owned(), stats.learning_rate),
            ("schedule/entropy_weight".to_owned(), stats.entropy_weight),
            ("schedule/teacher_weight".to_owned(), stats.teacher_weight),
            ("losses/epochs".to_owned(), stats.epochs as f64),
        ];
        scalars.extend(stats.explained_variance.map(|ev| ("losses/explained_variance".to_owned(), ev)));
        let kinds = stats.kinds.iter().filter_map(|(kind, e)| Some((format!("training/return/{kind}"), per_step(e)?)));
        scalars.extend(kinds);
        let standing = Standing {
            steps: stats.steps,
            total_steps: self.total_steps(),
            episode_return: per_step(&stats.episodes),
            violation_ratio: self.metrics.get("violation_ratio").copied(),
            cost_per_hour: self.metrics.get("cost_per_hour").copied(),
            kl: Some(stats.kl_k3),
        };
        Ok(Update { standing, scalars })
    }

    fn evaluate(&mut self) -> Result<Evaluation, LearnError> {
        let actor = self.trainer.actor()?;
        let seeds = derive_seed(self.seed, Seeds::Evaluation as u64);
        let played = (0..self.config.evaluation.episodes)
            .into_par_iter()
            .map(|number| self.play(&actor, derive_seed(seeds, number), None))
            .collect::<Result<Vec<_>, _>>()?;
        let features = self.config.observation.features().len();
        let mut sample = EnvelopeSample::new(features, ENVELOPE_ROWS, seeds);
        let mut kinds: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        let (mut score, mut late, mut cost, mut dollars) = (0.0, 0.0, 0.0, 0.0);
        for one in &played {
            one.observations.chunks_exact(features).for_each(|row| sample.observe(row));
            let steps = one.tally.steps.max(1) as f64;
            let own = one.worth * one.tally.reward / steps;
            score += own;
            late += one.tally.late as f64 / one.tally.ended.max(1) as f64;
            cost += one.tally.cost / steps;
            dollars += one.tally.dollars_per_hour / steps;
            let kind = kinds.entry(&one.kind).or_default();
            *kind = (kind.0 + own, kind.1 + 1.0);
        }
        let count = played.len() as f64;
        self.envelopes = sample.envelopes(ENVELOPE_QUANTILE);
        let cost_per_hour = (dollars > 0.0).then(|| dollars / count);
        self.metrics = BTreeMap::from([
            ("score".to_owned(), score / count),
            ("violation_ratio".to_owned(), late / count),
            ("cost_share".to_owned(), cost / count),
            ("updates".to_owned(), self.trainer.updates() as f64),
        ]);
        self.metrics.extend(cost_per_hour.map(|cost| ("cost_per_hour".to_owned(), cost)));
        let mut scalars = vec![("evaluation/cost_share".to_owned(), cost / count)];
        scalars.extend(kinds.iter().map(|(kind, (sum, n))| (format!("evaluation/score/{kind}"), sum / n)));
        Ok(Evaluation { score: score / count, violation_ratio: Some(late / count), cost_per_hour, scalars })
    }

    fn checkpoint(&self) -> Result<Checkpoint, LearnError> {
        let actor = self.trainer.actor()?;
        let observations = self.trainer.observations();
        let set = self.config.observation;
        // What is hidden was 0 throughout, so that any weight on it says the same: with 0 it says so where it is not hidden, too.
        let mut network = actor.network;
        let hidden = set.design().map_or_else(Vec::new, |_| self.config.distribution.hidden_features());
        let mut envelopes = self.envelopes.clone();
        for &feature in &hidden {
            network.ignore(feature);
            envelopes[feature] = Envelope::ANYTHING;
        }
        let features = set.features().into_iter().enumerate().map(|(index, name)| Feature {
            name,
            mean: observations.mean[index],
            variance: observations.variance(index),
            envelope: envelopes[index],
        });
        let state = serde_json::to_value(self.trainer.state()).map_err(|e| LearnError::Other(Box::new(e)))?;
        let mut lifted = BTreeMap::new();
        let mut values = serde_json::json!({ "trainer": state });
        lift(&mut values, "", &mut lifted)?;
        Ok(Checkpoint {
            encoder: set.encoder(),
            features: features.collect(),
            // Without normalisation nothing is cut either.
            scaling: Scaling { clip: f64::from(actor.scale.limit), ..Scaling::default() },
            heads: set.heads(),
            control_interval: set.control_interval(),
            envelope_quantile: ENVELOPE_QUANTILE,
            seed: self.seed,
            config: self.text.clone(),
            git_revision: REVISION.to_owned(),
            metrics: self.metrics.clone(),
            tensors: tensors(&network)?.into_iter().collect(),
            state: Some(State { tensors: lifted, values }),
        })
    }
}

/// Lists of at least as many numbers are tensors in a checkpoint.
const LIFTED: usize = 32;

/// Takes long lists of numbers out of `value` and into `tensors`, by their path: a megabyte of digits is no metadata.
fn lift(value: &mut Value, path: &str, tensors: &mut BTreeMap<String, Tensor>) -> Result<(), Refusal> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}/{key}") };
    match value {
        Value::Object(fields) => fields.iter_mut().try_for_each(|(key, inner)| lift(inner, &below(key), tensors)),
        Value::Array(items) if items.len() >= LIFTED && items.iter().all(Value::is_number) => {
            let whole: Option<Vec<u64>> = items.iter().map(Value::as_u64).collect();
            let data = match whole {
                Some(whole) => Data::U64(whole),
                None => Data::F64(items.iter().filter_map(Value::as_f64).collect()),
            };
            tensors.insert(path.to_owned(), Tensor::new([items.len()], data)?);
            *value = Value::String(LIFTED_TO.to_owned());
            Ok(())
        }
        Value::Array(items) => {
            items.iter_mut().enumerate().try_for_each(|(index, inner)| lift(inner, &below(&index.to_string()), tensors))
        }
        _ => Ok(()),
    }
}

/// Stands for what was taken out.
const LIFTED_TO: &str = "a tensor of this path";

/// Puts back what [`lift`] took out.
fn lower(value: &mut Value, path: &str, tensors: &BTreeMap<String, Tensor>) {
    match value {
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(key, inner)| lower(inner, &format!("{path}/{key}"), tensors));
        }
        Value::Array(items) => {
            items.iter_mut().enumerate().for_each(|(index, inner)| lower(inner, &format!("{path}/{index}"), tensors));
        }
        Value::String(text) if text == LIFTED_TO => {
            let number = |v: f64| serde_json::Number::from_f64(v).map_or(Value::Null, Value::Number);
            *value = match tensors.get(path).map(Tensor::data) {
                Some(Data::U64(numbers)) => numbers.iter().map(|&n| Value::from(n)).collect(),
                Some(Data::F64(numbers)) => numbers.iter().map(|&n| number(n)).collect(),
                Some(Data::F32(numbers)) => numbers.iter().map(|&n| number(f64::from(n))).collect(),
                None => Value::Null,
            };
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lifted_comes_back() {
        let floats: Vec<f32> = (0..100).map(|i| (i as f32).sin()).collect();
        let whole: Vec<u64> = (0..40).collect();
        let before = serde_json::json!({ "a": { "b": floats, "c": [1, 2] }, "d": [{ "e": whole }, "text"] });
        let mut value = serde_json::json!({ "x": before.clone() });
        let mut tensors = BTreeMap::new();
        lift(&mut value, "", &mut tensors).unwrap();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["x/a/b", "x/d/0/e"]);
        assert_ne!(value["x"], before);
        let mut back = value["x"].clone();
        lower(&mut back, "x", &tensors);
        assert_eq!(back, before);
    }
}
