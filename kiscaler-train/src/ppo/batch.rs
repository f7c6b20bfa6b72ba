//! The rows of a minibatch, side by side in memory.

use super::kernel::{ROWS, padded};
use super::rollout::Rollout;
use crate::environment::Space;

/// Rows that one step of the optimiser is computed from. Buffers are kept from minibatch to minibatch.
#[derive(Clone, Debug)]
pub struct Minibatch {
    /// Rows in it.
    pub count: usize,
    /// Floats of a row: observation and privileged numbers, padded to whole vectors.
    pub stride: usize,
    /// Normalised observations, then privileged numbers. Shape [count, stride], with room for whole groups of rows.
    pub rows: Vec<f32>,
    /// Shape [count, choices].
    pub mask: Vec<bool>,
    /// Shape [count, heads].
    pub actions: Vec<u32>,
    /// Log probability of the actions when they were chosen, shape [count].
    pub log_probabilities: Vec<f32>,
    /// Shape [count], normalised if the configuration says so.
    pub advantages: Vec<f32>,
    /// Value when the actions were chosen, shape [count].
    pub values: Vec<f32>,
    /// What the value should have been, shape [count].
    pub targets: Vec<f32>,
    /// Costs by the teacher, shape [count, choices of the first head], or empty. 0 where it is masked or silent.
    pub teacher: Vec<f32>,
    /// Whether the teacher spoke, shape [count].
    pub taught: Vec<bool>,
}

impl Minibatch {
    /// Room for `capacity` rows.
    pub fn new(space: &Space, capacity: usize) -> Self {
        let stride = padded(space.observation + space.privileged);
        let teacher = if space.teacher { space.heads[0] } else { 0 };
        Minibatch {
            count: 0,
            stride,
            rows: vec![0.0; capacity.next_multiple_of(ROWS) * stride],
            mask: vec![true; capacity * space.choices()],
            actions: vec![0; capacity * space.heads.len()],
            log_probabilities: vec![0.0; capacity],
            advantages: vec![0.0; capacity],
            values: vec![0.0; capacity],
            targets: vec![0.0; capacity],
            teacher: vec![0.0; capacity * teacher],
            taught: vec![false; capacity],
        }
    }

    /// Takes the rows `chosen` from `rollout`.
    pub fn gather(&mut self, rollout: &Rollout, chosen: &[u32]) {
        let rows = || chosen.iter().map(|&row| row as usize);
        self.count = chosen.len();
        gather(rows(), &rollout.rows, &mut self.rows, self.stride);
        let total = rollout.values.len();
        gather(rows(), &rollout.mask, &mut self.mask, rollout.mask.len() / total);
        gather(rows(), &rollout.actions, &mut self.actions, rollout.actions.len() / total);
        if !rollout.teacher.is_empty() {
            gather(rows(), &rollout.teacher, &mut self.teacher, rollout.teacher.len() / total);
        }
        for (index, row) in rows().enumerate() {
            self.log_probabilities[index] = rollout.log_probabilities[row];
            self.advantages[index] = rollout.advantages[row];
            self.values[index] = rollout.values[row];
            self.targets[index] = rollout.targets[row];
            self.taught[index] = rollout.taught[row];
        }
    }

    /// Centres and scales the advantages (Huang et al. 2022, detail 7), and cuts them at ± `limit`.
    pub fn normalise_advantages(&mut self, limit: Option<f32>) {
        let values = &mut self.advantages[..self.count];
        if values.len() < 2 {
            return;
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
        let factor = 1.0 / ((squares / (count - 1.0)).sqrt() + 1e-8);
        let limit = limit.unwrap_or(f32::INFINITY);
        let scaled = |value: f32| ((f64::from(value) - mean) * factor) as f32;
        values.iter_mut().for_each(|value| *value = scaled(*value).clamp(-limit, limit));
    }

    /// Rows for which the teacher spoke.
    pub fn taught(&self) -> usize {
        self.taught[..self.count].iter().filter(|taught| **taught).count()
    }
}

fn gather<T: Copy>(rows: impl Iterator<Item = usize>, from: &[T], to: &mut [T], width: usize) {
    for (to, row) in to.chunks_exact_mut(width).zip(rows) {
        to.copy_from_slice(&from[row * width..][..width]);
    }
}
