//! The algorithm, top to bottom.

use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::adam::{Adam, norm};
use super::batch::Minibatch;
use super::config::{PpoConfig, Schedule};
use super::error::TrainError;
use super::fused::Fused;
use super::gae::{self, Steps};
use super::kernel::ROWS;
use super::loss::{Sums, Weights};
use super::model::Model;
use super::reference::Reference;
use super::rollout::{Position, Rollout, Slot, each};
use super::stats::{UpdateStats, explained_variance};
use crate::actor::Actor;
use crate::device::{DeviceError, DeviceKind, device};
use crate::environment::{End, Environment, Space};
use crate::heads::Heads;
use crate::network::Mlp;
use crate::normaliser::{Normaliser, ReturnNormaliser, Scale};
use kisim::random::{Purpose, derive_seed, stream};

/// What a stream of random numbers is for, so that none shifts another. The streams of an update derive from its
/// number: none needs to be saved.
#[derive(Clone, Copy)]
enum Draws {
    Initial = 1,
    Episodes = 2,
    Actions = 3,
    Shuffles = 4,
}

/// What computes the networks.
#[derive(Clone, Debug)]
pub enum Backend {
    /// Kernels of our own, on the processor.
    Fused,
    /// Candle's tensors and its differentiation, on any device.
    Candle(Device),
}

impl Backend {
    /// The one to use on a kind of device.
    pub fn of(kind: DeviceKind) -> Result<Self, DeviceError> {
        match kind {
            DeviceKind::Cpu => Ok(Backend::Fused),
            DeviceKind::Cuda => Ok(Backend::Candle(device(kind)?)),
        }
    }
}

/// What a trainer may use. None of it changes a result, but for rounding between backends.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Threads to step environments and to compute with. At least 1.
    pub threads: usize,
    /// What computes the networks.
    pub backend: Backend,
}

impl Default for Resources {
    fn default() -> Self {
        Resources { threads: 1, backend: Backend::Fused }
    }
}

/// Everything that changes in the course of a run: with it, a fresh trainer of the same configuration, seed and
/// environments goes on as if there had been no interruption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerState {
    /// Seed of the run.
    pub seed: u64,
    /// Updates done.
    pub update: u64,
    /// Steps of all environments done.
    pub steps: u64,
    /// The actor's, then the critic's; of each layer its weight [outputs, inputs], then its bias.
    pub parameters: Vec<f32>,
    /// Their mean over the last updates.
    pub averaged: Vec<f32>,
    /// Of the optimiser.
    pub adam: Adam,
    /// Of observations and privileged numbers.
    pub observations: Normaliser,
    /// Of returns.
    pub returns: ReturnNormaliser,
    /// Where each environment stands.
    pub environments: Vec<Position>,
}

/// Learns to act in environments.
#[derive(Debug)]
pub struct Trainer<E> {
    config: PpoConfig,
    seed: u64,
    space: Space,
    heads: Heads,
    model: Model,
    engine: Engine,
    pool: Option<Arc<rayon::ThreadPool>>,
    slots: Vec<Slot<E>>,
    parameters: Vec<f32>,
    averaged: Vec<f32>,
    adam: Adam,
    observations: Normaliser,
    scale: Scale,
    returns: ReturnNormaliser,
    update: u64,
    steps: u64,
    rollout: Rollout,
    batch: Minibatch,
    gradient: Vec<f32>,
    logits: Vec<f32>,
    order: Vec<u32>,
}

impl<E: Environment> Trainer<E> {
    /// A trainer at its first update, with fresh environments of one shape, as many as `config` says.
    pub fn new(config: PpoConfig, seed: u64, resources: Resources, environments: Vec<E>) -> Result<Self, TrainError> {
        if let Some(problem) = config.problem() {
            return Err(TrainError::Config(problem));
        }
        let wrong = |found: String, expected: String| Err(TrainError::Environments { found, expected });
        let Some(space) = environments.first().map(Environment::space) else {
            return wrong("none".to_owned(), config.environments.to_string());
        };
        if environments.len() != config.environments {
            return wrong(environments.len().to_string(), config.environments.to_string());
        }
        if let Some(other) = environments.iter().map(Environment::space).find(|other| *other != space) {
            return wrong(format!("{other:?} among them"), format!("{space:?} everywhere"));
        }
        if space.observation == 0 || space.heads.is_empty() || space.heads.contains(&0) {
            return wrong(format!("{space:?}"), "an observation, and heads of at least one choice".to_owned());
        }
        if resources.threads == 0 {
            return Err(TrainError::Threads("found 0, expected at least 1".to_owned()));
        }
        let pool = (resources.threads > 1)
            .then(|| rayon::ThreadPoolBuilder::new().num_threads(resources.threads).build())
            .transpose()
            .map_err(|error| TrainError::Threads(error.to_string()))?
            .map(Arc::new);
        let model = Model::new(&space, &config.actor_hidden, &config.critic_hidden);
        let heads = Heads::new(&space.heads);
        let engine = match &resources.backend {
            Backend::Fused => Engine::Fused(Box::new(Fused::new(&model, &heads, pool.is_some()))),
            Backend::Candle(device) => Engine::Candle(Box::new(Reference::new(&model, &heads, device)?)),
        };
        let mut parameters = model.initial(derive_seed(seed, Draws::Initial as u64));
        if let Some(prior) = environments.first().and_then(Environment::prior) {
            let bias = &mut parameters[model.last_bias()];
            if prior.len() != bias.len() {
                return wrong(format!("a prior of {} choices", prior.len()), bias.len().to_string());
            }
            bias.copy_from_slice(&prior);
        }
        let episodes = derive_seed(seed, Draws::Episodes as u64);
        let mut slots = Vec::with_capacity(environments.len());
        for (index, environment) in environments.into_iter().enumerate() {
            let group = (index / config.shared_arrivals) as u64;
            let mut slot = Slot::new(environment, &space, derive_seed(episodes, group))?;
            if config.persistence > 1 {
                let own = derive_seed(derive_seed(seed, Draws::Actions as u64), index as u64);
                slot.persist(own, config.persistence);
            }
            slots.push(slot);
        }
        let features = space.observation + space.privileged;
        Ok(Trainer {
            adam: Adam::new(parameters.len()),
            observations: Normaliser::new(features),
            scale: Scale::identity(features),
            returns: ReturnNormaliser::new(config.environments, config.gamma),
            update: 0,
            steps: 0,
            rollout: Rollout::new(&space, config.environments, config.steps_per_rollout),
            batch: Minibatch::new(&space, config.minibatch.min(config.rollout())),
            gradient: vec![0.0; parameters.len()],
            logits: vec![0.0; config.environments * space.choices()],
            order: Vec::with_capacity(config.rollout()),
            config,
            seed,
            space,
            heads,
            model,
            engine,
            pool,
            slots,
            averaged: parameters.clone(),
            parameters,
        })
    }

    /// Whether all updates are done.
    pub fn finished(&self) -> bool {
        self.update >= self.config.updates()
    }

    /// Updates done.
    pub fn updates(&self) -> u64 {
        self.update
    }

    /// Steps of all environments done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Its configuration.
    pub fn config(&self) -> &PpoConfig {
        &self.config
    }

    /// The shape of its environments.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The policy as it is now.
    pub fn actor(&self) -> Result<Actor, TrainError> {
        Ok(Actor {
            network: self.model.actor(&self.averaged)?,
            scale: self.frozen().truncated(self.space.observation),
            heads: self.heads.clone(),
        })
    }

    /// The critic as it is now: from normalised observation and privileged numbers to a value.
    pub fn critic(&self) -> Result<Mlp, TrainError> {
        Ok(self.model.critic(&self.parameters)?)
    }

    /// Statistics of observations and privileged numbers.
    pub fn observations(&self) -> &Normaliser {
        &self.observations
    }

    /// All that is needed to go on later.
    pub fn state(&self) -> TrainerState {
        TrainerState {
            seed: self.seed,
            update: self.update,
            steps: self.steps,
            parameters: self.parameters.clone(),
            averaged: self.averaged.clone(),
            adam: self.adam.clone(),
            observations: self.observations.clone(),
            returns: self.returns.clone(),
            environments: self.slots.iter().map(|slot| slot.position().clone()).collect(),
        }
    }

    /// Goes on from `state`, which a trainer of the same configuration and environments has given. The environments
    /// live through their running episodes again.
    pub fn restore(&mut self, state: &TrainerState) -> Result<(), TrainError> {
        let features = self.space.observation + self.space.privileged;
        let parameters = self.parameters.len();
        for (field, found, expected) in [
            ("parameters", state.parameters.len(), parameters),
            ("averaged", state.averaged.len(), parameters),
            ("adam.first", state.adam.first.len(), parameters),
            ("adam.second", state.adam.second.len(), parameters),
            ("observations.mean", state.observations.mean.len(), features),
            ("observations.squares", state.observations.squares.len(), features),
            ("returns.running", state.returns.running.len(), self.slots.len()),
            ("environments", state.environments.len(), self.slots.len()),
        ] {
            if found != expected {
                let (found, expected) = (format!("{found} numbers"), format!("{expected} numbers"));
                return Err(TrainError::State { field: field.to_owned(), found, expected });
            }
        }
        if state.seed != self.seed {
            let (found, expected) = (state.seed.to_string(), self.seed.to_string());
            return Err(TrainError::State { field: "seed".to_owned(), found, expected });
        }
        check_finite(state.update, &state.parameters, |index| self.model.tensor(index))?;
        self.update = state.update;
        self.steps = state.steps;
        self.parameters.copy_from_slice(&state.parameters);
        self.averaged.copy_from_slice(&state.averaged);
        self.adam = state.adam.clone();
        self.observations = state.observations.clone();
        self.returns = state.returns.clone();
        let (space, slots, threads) = (&self.space, &mut self.slots, self.pool.is_some());
        let mut replay = || each(slots, threads, |index, slot| slot.replay(space, &state.environments[index]));
        match &self.pool {
            Some(pool) => pool.install(replay)?,
            None => replay()?,
        }
        Ok(())
    }

    /// One turn: a rollout, and what there is to learn from it. An error leaves the trainer of no further use.
    pub fn update(&mut self) -> Result<UpdateStats, TrainError> {
        match self.pool.clone() {
            Some(pool) => pool.install(|| self.turn()),
            None => self.turn(),
        }
    }

    fn turn(&mut self) -> Result<UpdateStats, TrainError> {
        let started = Instant::now();
        let schedule = self.config.schedule(self.update);
        self.engine.load(&self.parameters)?;
        self.roll_out()?;
        let rollout_seconds = started.elapsed().as_secs_f64();
        self.steps += self.config.rollout() as u64;
        self.evaluate()?;

        let mut stats = UpdateStats {
            update: self.update,
            steps: self.steps,
            imitation: schedule.imitation,
            learning_rate: schedule.learning_rate,
            entropy_weight: f64::from(schedule.entropy),
            teacher_weight: f64::from(schedule.teacher),
            explained_variance: explained_variance(&self.rollout.values, &self.rollout.targets),
            rollout_seconds,
            ..UpdateStats::default()
        };
        for ended in self.slots.iter_mut().flat_map(|slot| slot.ended.drain(..)) {
            stats.episodes.push(ended.episode_return, ended.steps);
            let kind = stats.kinds.entry(ended.kind).or_default();
            kind.push(ended.episode_return, ended.steps);
        }
        self.learn(&schedule, &mut stats)?;
        // At first the mean of all there are, so that the very first ones do not linger.
        let share = 1.0 / (self.update + 1).min(u64::from(self.config.averaged_updates)) as f32;
        for (mean, &latest) in self.averaged.iter_mut().zip(&self.parameters) {
            *mean += share * (latest - *mean);
        }
        self.update += 1;
        stats.steps_per_second = self.config.rollout() as f64 / started.elapsed().as_secs_f64();
        Ok(stats)
    }

    /// Steps all environments, observations batched through one forward pass a step.
    fn roll_out(&mut self) -> Result<(), TrainError> {
        let Trainer { space, slots, rollout, engine, logits, observations, scale, config, .. } = self;
        let (n, threads, choices) = (slots.len(), self.pool.is_some(), space.choices());
        let stride = rollout.stride;
        let draws = derive_seed(derive_seed(self.seed, Draws::Actions as u64), self.update);
        for (index, slot) in slots.iter_mut().enumerate() {
            slot.draw_from(stream(draws, Purpose::Policy, index as u64));
        }
        rollout.truncated.clear();
        rollout.last_rows.clear();
        for time in 0..config.steps_per_rollout {
            for (index, slot) in slots.iter().enumerate() {
                check_finite(self.update, &slot.row, |at| feature(space, at, index))?;
            }
            // As Gymnasium does: statistics take in a step's observations before these are normalised.
            if config.normalise_observations {
                observations.update(slots.iter().map(|slot| slot.row.as_slice()));
                observations.freeze_into(scale);
            }
            let normalise = |from: &[f32], to: &mut [f32]| match config.normalise_observations {
                true => scale.apply(from, to),
                false => to.copy_from_slice(from),
            };
            let start = time * n;
            for (index, slot) in slots.iter().enumerate() {
                normalise(&slot.row, &mut rollout.rows[(start + index) * stride..][..stride]);
                rollout.keep_look(start + index, slot);
            }
            engine.logits(&rollout.rows[start * stride..], stride, n, logits)?;
            each(slots, threads, |index, slot| {
                slot.logits.copy_from_slice(&logits[index * choices..][..choices]);
                slot.step(space)
            })?;
            for (index, slot) in slots.iter().enumerate() {
                rollout.keep_step(start + index, slot);
                if slot.end == Some(End::Truncated) {
                    let at = rollout.last_rows.len();
                    rollout.truncated.push(start + index);
                    rollout.last_rows.resize(at + stride, 0.0);
                    check_finite(self.update, &slot.last_row, |at| feature(space, at, index))?;
                    normalise(&slot.last_row, &mut rollout.last_rows[at..]);
                }
                if !slot.reward.is_finite() {
                    let tensor = format!("the reward of environment {index}");
                    return Err(TrainError::NotFinite { update: self.update, tensor, value: slot.reward.into() });
                }
            }
            if time + 1 == config.steps_per_rollout {
                for (index, (slot, row)) in slots.iter().zip(rollout.after.chunks_exact_mut(stride)).enumerate() {
                    check_finite(self.update, &slot.row, |at| feature(space, at, index))?;
                    normalise(&slot.row, row);
                }
            }
        }
        Ok(())
    }

    /// Values, advantages and targets of the rollout.
    fn evaluate(&mut self) -> Result<(), TrainError> {
        let Trainer { rollout, engine, returns, config, .. } = self;
        let (n, stride) = (config.environments, rollout.stride);
        engine.values(&rollout.rows, stride, config.rollout(), &mut rollout.values)?;
        let mut after = vec![0.0; n];
        engine.values(&rollout.after, stride, n, &mut after)?;
        let truncated = rollout.truncated.len();
        if truncated > 0 {
            let mut finals = vec![0.0; truncated];
            rollout.last_rows.resize(truncated.next_multiple_of(ROWS) * stride, 0.0);
            engine.values(&rollout.last_rows, stride, truncated, &mut finals)?;
            for (&row, value) in rollout.truncated.iter().zip(finals) {
                rollout.finals[row] = value;
            }
        }
        if config.normalise_returns {
            for (rewards, ends) in rollout.rewards.chunks_mut(n).zip(rollout.ends.chunks(n)) {
                returns.normalise(rewards, ends.iter().map(Option::is_some));
            }
        }
        let steps = Steps {
            environments: n,
            rewards: &rollout.rewards,
            values: &rollout.values,
            ends: &rollout.ends,
            finals: &rollout.finals,
            after: &after,
        };
        gae::advantages(steps, config.gamma, config.lambda, &mut rollout.advantages);
        for ((target, advantage), value) in rollout.targets.iter_mut().zip(&rollout.advantages).zip(&rollout.values) {
            *target = advantage + value;
        }
        if config.shared_baseline {
            gae::subtract_group_means(&mut rollout.advantages, &rollout.clocks, config.shared_arrivals);
        }
        Ok(())
    }

    /// Epochs of minibatches, each with one step of the optimiser.
    fn learn(&mut self, schedule: &Schedule, stats: &mut UpdateStats) -> Result<(), TrainError> {
        let config = &self.config;
        let weights = Weights {
            policy: if schedule.imitation { 0.0 } else { 1.0 },
            value: config.value_coefficient,
            entropy: schedule.entropy,
            teacher: schedule.teacher,
            clip: config.clip,
            value_clip: config.value_clip,
        };
        let draws = derive_seed(derive_seed(self.seed, Draws::Shuffles as u64), self.update);
        let mut shuffle = stream(draws, Purpose::Policy, 0);
        self.order.clear();
        self.order.extend(0..config.rollout() as u32);
        let (mut all, mut rows, mut taught, mut norms, mut minibatches) = (Sums::default(), 0.0, 0.0, 0.0, 0.0);
        for _ in 0..config.epochs {
            self.order.shuffle(&mut shuffle);
            for chosen in self.order.chunks(config.minibatch) {
                self.batch.gather(&self.rollout, chosen);
                if config.normalise_advantages {
                    self.batch.normalise_advantages(self.config.advantage_limit);
                }
                let sums = self.engine.gradient(&self.parameters, &self.batch, &weights, &mut self.gradient)?;
                let length = norm(&self.gradient);
                check_loss(self.update, &sums)?;
                if !length.is_finite() {
                    check_finite(self.update, &self.gradient, |at| {
                        format!("the gradient of {}", self.model.tensor(at))
                    })?;
                }
                // As PyTorch's clip_grad_norm_.
                let scale = (config.max_gradient_norm / (length + 1e-6)).min(1.0);
                let rate = schedule.learning_rate;
                self.adam.step(&mut self.parameters, &self.gradient, scale, rate, config.adam_epsilon);
                check_finite(self.update, &self.parameters, |at| self.model.tensor(at))?;
                all.add(&sums);
                rows += chosen.len() as f64;
                taught += self.batch.taught() as f64;
                norms += f64::from(length);
                minibatches += 1.0;
                stats.kl_k1 = sums.k1 / chosen.len() as f64;
                stats.kl_k3 = sums.k3 / chosen.len() as f64;
            }
            stats.epochs += 1;
            if config.target_kl.is_some_and(|target| stats.kl_k3 > target) {
                break;
            }
        }
        stats.policy_loss = all.policy / rows;
        stats.value_loss = all.value / rows;
        stats.entropy = all.entropy / rows;
        stats.teacher_loss = all.teacher / f64::max(taught, 1.0);
        stats.clip_fraction = all.clipped / rows;
        stats.gradient_norm = norms / minibatches;
        Ok(())
    }

    fn frozen(&self) -> Scale {
        match self.config.normalise_observations {
            true => self.observations.frozen(),
            false => Scale::identity(self.observations.mean.len()),
        }
    }
}

/// What computes, by backend.
#[derive(Debug)]
enum Engine {
    Fused(Box<Fused>),
    Candle(Box<Reference>),
}

impl Engine {
    fn load(&mut self, parameters: &[f32]) -> Result<(), TrainError> {
        match self {
            Engine::Fused(engine) => engine.load(parameters),
            Engine::Candle(engine) => engine.load(parameters)?,
        }
        Ok(())
    }

    fn logits(&mut self, rows: &[f32], stride: usize, count: usize, out: &mut [f32]) -> Result<(), TrainError> {
        match self {
            Engine::Fused(engine) => engine.logits(rows, stride, count, out),
            Engine::Candle(engine) => engine.logits(rows, stride, count, out)?,
        }
        Ok(())
    }

    fn values(&mut self, rows: &[f32], stride: usize, count: usize, out: &mut [f32]) -> Result<(), TrainError> {
        match self {
            Engine::Fused(engine) => engine.values(rows, stride, count, out),
            Engine::Candle(engine) => engine.values(rows, stride, count, out)?,
        }
        Ok(())
    }

    fn gradient(
        &mut self,
        parameters: &[f32],
        batch: &Minibatch,
        weights: &Weights,
        gradient: &mut [f32],
    ) -> Result<Sums, TrainError> {
        Ok(match self {
            Engine::Fused(engine) => engine.gradient(parameters, batch, weights, gradient),
            Engine::Candle(engine) => engine.gradient(parameters, batch, weights, gradient)?,
        })
    }
}

fn feature(space: &Space, at: usize, environment: usize) -> String {
    match at.checked_sub(space.observation) {
        None => format!("observation {at} of environment {environment}"),
        Some(at) => format!("privileged number {at} of environment {environment}"),
    }
}

/// Names the first number that is not finite, if any.
fn check_finite(update: u64, values: &[f32], name: impl Fn(usize) -> String) -> Result<(), TrainError> {
    // In blocks without a branch inside, which the compiler turns into vectors.
    let clean = values.chunks(64).all(|block| !block.iter().fold(false, |bad, value| bad | !value.is_finite()));
    if clean {
        return Ok(());
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(TrainError::NotFinite { update, tensor: name(at), value: values[at].into() }),
        None => Ok(()),
    }
}

fn check_loss(update: u64, sums: &Sums) -> Result<(), TrainError> {
    let losses = [("policy", sums.policy), ("value", sums.value), ("entropy", sums.entropy), ("teacher", sums.teacher)];
    match losses.iter().find(|(_, loss)| !loss.is_finite()) {
        Some((name, value)) => Err(TrainError::NotFinite { update, tensor: format!("the {name} loss"), value: *value }),
        None => Ok(()),
    }
}
