//! What an update tells about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Episodes that ended in a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Episodes {
    /// How many.
    pub count: u64,
    /// Sum of their returns: rewards undiscounted and as the environment gives them.
    pub returns: f64,
    /// Sum of their lengths in steps.
    pub steps: u64,
}

impl Episodes {
    /// Adds one.
    pub fn push(&mut self, episode_return: f64, steps: u64) {
        self.count += 1;
        self.returns += episode_return;
        self.steps += steps;
    }

    /// Mean return, if any has ended.
    pub fn mean_return(&self) -> Option<f64> {
        (self.count > 0).then(|| self.returns / self.count as f64)
    }

    /// Mean length in steps, if any has ended.
    pub fn mean_length(&self) -> Option<f64> {
        (self.count > 0).then(|| self.steps as f64 / self.count as f64)
    }
}

/// Diagnostics of one update. Losses are means over all minibatches of all epochs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateStats {
    /// Which update, from 0.
    pub update: u64,
    /// Steps of all environments so far, this rollout's included.
    pub steps: u64,
    /// Whether the teacher was only imitated.
    pub imitation: bool,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Weight of the entropy.
    pub entropy_weight: f64,
    /// Weight of the teacher's loss.
    pub teacher_weight: f64,
    /// Clipped surrogate, negated.
    pub policy_loss: f64,
    /// Half the squared error of the value.
    pub value_loss: f64,
    /// Expected cost of the policy by the teacher, relative to its best choice; 0 without one.
    pub teacher_loss: f64,
    /// Entropy of the policy, nats, all heads together.
    pub entropy: f64,
    /// Divergence from the rollout's policy by Schulman's k1, in the last minibatch.
    pub kl_k1: f64,
    /// By his k3, which has less variance and is never negative.
    pub kl_k3: f64,
    /// Share of rows beyond the clip.
    pub clip_fraction: f64,
    /// Norm of the gradient before it is clipped, mean.
    pub gradient_norm: f64,
    /// Share of the returns' variance that the values explained before the update; none where returns do not vary.
    pub explained_variance: Option<f64>,
    /// Epochs that were run; fewer than configured where the divergence stopped them.
    pub epochs: usize,
    /// Environment steps per second of wall clock, rollout and learning together.
    pub steps_per_second: f64,
    /// Seconds that the rollout took.
    pub rollout_seconds: f64,
    /// Episodes that ended in this rollout.
    pub episodes: Episodes,
    /// The same by kind of episode.
    pub kinds: BTreeMap<String, Episodes>,
}

/// 1 − Var(returns − values) / Var(returns); none where returns do not vary.
pub fn explained_variance(values: &[f32], returns: &[f32]) -> Option<f64> {
    let variance = |numbers: &mut dyn Iterator<Item = f64>| {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for number in numbers {
            count += 1.0;
            let distance: f64 = number - mean;
            mean += distance / count;
            squares += distance * (number - mean);
        }
        squares / count
    };
    let total = variance(&mut returns.iter().map(|&target| f64::from(target)));
    let left = variance(&mut returns.iter().zip(values).map(|(&r, &v)| f64::from(r) - f64::from(v)));
    (total > 0.0).then(|| 1.0 - left / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explained_variance_of_a_perfect_a_constant_and_a_wrong_guess() {
        let returns = [1.0, 2.0, 3.0];
        assert_eq!(explained_variance(&returns, &returns), Some(1.0));
        assert_eq!(explained_variance(&[5.0; 3], &returns), Some(0.0));
        assert_eq!(explained_variance(&[3.0, 2.0, 1.0], &returns), Some(-3.0));
        assert_eq!(explained_variance(&[1.0, 2.0], &[4.0, 4.0]), None);
    }
}
