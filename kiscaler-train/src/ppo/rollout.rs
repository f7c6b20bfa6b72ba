//! Environments that step together, and what they have lived through between two updates.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::kernel::{ROWS, padded};
use crate::environment::{End, Environment, EnvironmentError, Look, Space};
use crate::heads::Heads;
use kisim::random::{Purpose, Stream, derive_seed, stream};

/// Where an environment stands: enough to bring a fresh one there, since an episode is determined by its seed and the
/// actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Number of the running episode of this environment.
    pub episode: u64,
    /// Its actions so far, head by head, step after step.
    pub actions: Vec<u32>,
}

/// An episode that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Its kind.
    pub kind: String,
    /// Sum of its rewards.
    pub episode_return: f64,
    /// Its length.
    pub steps: u64,
}

/// One environment, with what it shows and what it is told.
#[derive(Debug)]
pub struct Slot<E> {
    environment: E,
    heads: Heads,
    observation: usize,
    /// Seeds of its episodes derive from this; the same for a group with shared arrivals.
    seed: u64,
    position: Position,
    episode_return: f64,
    /// Observation and privileged numbers, padded.
    pub row: Vec<f32>,
    /// Which choices are allowed.
    pub mask: Vec<bool>,
    /// Costs by the teacher.
    pub teacher: Vec<f32>,
    /// Log probabilities of all choices.
    pub logits: Vec<f32>,
    /// What was chosen.
    pub action: Vec<u32>,
    /// Its log probability.
    pub log_probability: f32,
    /// What it brought.
    pub reward: f32,
    /// Whether it ended the episode.
    pub end: Option<End>,
    /// The last row of an episode that was truncated.
    pub last_row: Vec<f32>,
    /// Episodes that have ended.
    pub ended: Vec<Ended>,
    stream: Stream,
    /// Seed and length of the stretches in which the random numbers of actions stay the same, see
    /// [`PpoConfig::persistence`](super::PpoConfig::persistence).
    persistence: Option<(u64, u32)>,
}

impl<E: Environment> Slot<E> {
    /// `environment` at the start of its first episode.
    pub fn new(environment: E, space: &Space, seed: u64) -> Result<Self, EnvironmentError> {
        let stride = padded(space.observation + space.privileged);
        let mut slot = Slot {
            environment,
            heads: Heads::new(&space.heads),
            observation: space.observation,
            seed,
            position: Position::default(),
            episode_return: 0.0,
            row: vec![0.0; stride],
            mask: vec![true; space.choices()],
            teacher: vec![f32::NAN; if space.teacher { space.heads[0] } else { 0 }],
            logits: vec![0.0; space.choices()],
            action: vec![0; space.heads.len()],
            log_probability: 0.0,
            reward: 0.0,
            end: None,
            last_row: vec![0.0; stride],
            ended: Vec::new(),
            stream: stream(0, Purpose::Policy, 0),
            persistence: None,
        };
        slot.begin(space, 0)?;
        Ok(slot)
    }

    /// Where it stands.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// (episode, step) of what it shows.
    pub fn clock(&self) -> (u64, u32) {
        (self.position.episode, (self.position.actions.len() / self.action.len().max(1)) as u32)
    }

    /// Brings it to `position`, by living through the running episode again.
    pub fn replay(&mut self, space: &Space, position: &Position) -> Result<(), EnvironmentError> {
        self.begin(space, position.episode)?;
        for action in position.actions.chunks_exact(self.action.len().max(1)) {
            let transition = self.environment.step(action)?;
            self.episode_return += f64::from(transition.reward);
        }
        self.position.actions.extend_from_slice(&position.actions);
        self.look(space);
        Ok(())
    }

    /// Sets the random numbers of the steps that follow.
    pub fn draw_from(&mut self, stream: Stream) {
        self.stream = stream;
    }

    /// Lets the random numbers of actions stay the same for `steps` steps. They derive from `seed` and from where the
    /// environment stands, so nothing of them needs to be saved.
    pub fn persist(&mut self, seed: u64, steps: u32) {
        self.persistence = Some((seed, steps.max(1)));
    }

    /// Draws an action from `self.logits`, does it, and looks. An episode that ends is followed by the next one.
    pub fn step(&mut self, space: &Space) -> Result<(), EnvironmentError> {
        self.heads.log_softmax(&mut self.logits, &self.mask);
        if let Some((seed, steps)) = self.persistence {
            let (episode, step) = self.clock();
            // Not all environments draw anew at the same time.
            let stretch = (step + (seed % u64::from(steps)) as u32) / steps;
            self.stream = stream(derive_seed(seed, episode), Purpose::Policy, u64::from(stretch));
        }
        self.log_probability = self.heads.sample(&self.logits, &mut self.stream, &mut self.action);
        let transition = self.environment.step(&self.action)?;
        self.position.actions.extend_from_slice(&self.action);
        self.reward = transition.reward;
        self.end = transition.end;
        self.episode_return += f64::from(transition.reward);
        if let Some(end) = transition.end {
            if end == End::Truncated {
                self.look(space);
                self.last_row.copy_from_slice(&self.row);
            }
            let steps = u64::from(self.clock().1);
            let kind = self.environment.kind().to_owned();
            self.ended.push(Ended { kind, episode_return: self.episode_return, steps });
            self.begin(space, self.position.episode + 1)?;
        } else {
            self.look(space);
        }
        Ok(())
    }

    fn begin(&mut self, space: &Space, episode: u64) -> Result<(), EnvironmentError> {
        self.environment.reset(derive_seed(self.seed, episode))?;
        self.position.episode = episode;
        self.position.actions.clear();
        self.episode_return = 0.0;
        self.look(space);
        Ok(())
    }

    fn look(&mut self, space: &Space) {
        let (observation, rest) = self.row.split_at_mut(self.observation);
        let privileged = &mut rest[..space.privileged];
        self.environment.look(Look { observation, privileged, mask: &mut self.mask, teacher: &mut self.teacher });
    }
}

/// Does `work` to every slot, with the threads of the current pool if `threads`; the first failure by index, if any.
pub fn each<E: Environment>(
    slots: &mut [Slot<E>],
    threads: bool,
    work: impl Fn(usize, &mut Slot<E>) -> Result<(), EnvironmentError> + Sync,
) -> Result<(), EnvironmentError> {
    if threads && slots.len() > 1 {
        let results: Vec<_> = slots.par_iter_mut().enumerate().map(|(index, slot)| work(index, slot)).collect();
        results.into_iter().collect()
    } else {
        slots.iter_mut().enumerate().try_for_each(|(index, slot)| work(index, slot))
    }
}

/// What all environments have lived through. Rows stand by time, then by environment.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Floats of a row.
    pub stride: usize,
    /// Normalised observations and privileged numbers, shape [rows, stride], with room for whole groups of rows.
    pub rows: Vec<f32>,
    /// Shape [rows, choices].
    pub mask: Vec<bool>,
    /// Shape [rows, choices of the first head], or empty; 0 where forbidden or silent.
    pub teacher: Vec<f32>,
    /// Whether the teacher spoke.
    pub taught: Vec<bool>,
    /// Shape [rows, heads].
    pub actions: Vec<u32>,
    /// Shape [rows].
    pub log_probabilities: Vec<f32>,
    /// As they are learnt from: normalised, if the configuration says so.
    pub rewards: Vec<f32>,
    /// How episodes ended, shape [rows].
    pub ends: Vec<Option<End>>,
    /// (episode, step) of each row.
    pub clocks: Vec<(u64, u32)>,
    /// Which rows were truncated.
    pub truncated: Vec<usize>,
    /// What they led to, shape [truncated, stride], with room for whole groups of rows.
    pub last_rows: Vec<f32>,
    /// What the last rows led to, shape [environments, stride], with room for whole groups of rows.
    pub after: Vec<f32>,
    /// Values of all rows.
    pub values: Vec<f32>,
    /// Values of `last_rows`, at the rows that were truncated.
    pub finals: Vec<f32>,
    /// Shape [rows].
    pub advantages: Vec<f32>,
    /// Advantages before any baseline but the value, plus the values. Shape [rows].
    pub targets: Vec<f32>,
}

impl Rollout {
    /// Room for `steps` of `environments`.
    pub fn new(space: &Space, environments: usize, steps: usize) -> Self {
        let count = environments * steps;
        let stride = padded(space.observation + space.privileged);
        Rollout {
            stride,
            rows: vec![0.0; (count + ROWS) * stride],
            mask: vec![true; count * space.choices()],
            teacher: vec![0.0; if space.teacher { count * space.heads[0] } else { 0 }],
            taught: vec![false; count],
            actions: vec![0; count * space.heads.len()],
            log_probabilities: vec![0.0; count],
            rewards: vec![0.0; count],
            ends: vec![None; count],
            clocks: vec![(0, 0); count],
            truncated: Vec::new(),
            last_rows: Vec::new(),
            after: vec![0.0; (environments + ROWS) * stride],
            values: vec![0.0; count],
            finals: vec![0.0; count],
            advantages: vec![0.0; count],
            targets: vec![0.0; count],
        }
    }

    /// Keeps what `slot` shows, as row `row`. The row itself is kept by whoever normalises it.
    pub fn keep_look<E: Environment>(&mut self, row: usize, slot: &Slot<E>) {
        let choices = slot.mask.len();
        self.mask[row * choices..][..choices].copy_from_slice(&slot.mask);
        self.clocks[row] = slot.clock();
        let teacher = slot.teacher.len();
        if teacher > 0 {
            let mask = &slot.mask[..teacher];
            let speaks = slot.teacher.iter().zip(mask).all(|(cost, &allowed)| cost.is_finite() || !allowed);
            self.taught[row] = speaks;
            let costs = self.teacher[row * teacher..][..teacher].iter_mut();
            for ((kept, &cost), &allowed) in costs.zip(&slot.teacher).zip(mask) {
                *kept = if speaks && allowed { cost } else { 0.0 };
            }
        }
    }

    /// Keeps what `slot` did and what it brought.
    pub fn keep_step<E: Environment>(&mut self, row: usize, slot: &Slot<E>) {
        let heads = slot.action.len();
        self.actions[row * heads..][..heads].copy_from_slice(&slot.action);
        self.log_probabilities[row] = slot.log_probability;
        self.rewards[row] = slot.reward;
        self.ends[row] = slot.end;
    }
}
