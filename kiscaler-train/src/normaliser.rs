//! Running mean and variance of observations and of returns, as Gymnasium's `NormalizeObservation` and
//! `NormalizeReward` keep them, and the frozen form that a policy carries.

use serde::{Deserialize, Serialize};

/// Added to a variance before its root is taken.
const EPSILON: f64 = 1e-8;
/// Normalised numbers stay within ± this.
pub const CLIP: f32 = 10.0;
/// Weight of the first guess (mean 0, variance 1), in observations.
const PRIOR: f64 = 1e-4;

/// Mean and variance of each of a number of features, over all rows ever shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normaliser {
    /// Rows so far.
    pub count: f64,
    /// Mean of each feature.
    pub mean: Vec<f64>,
    /// Sum of squared distances from the mean, of each feature.
    pub squares: Vec<f64>,
}

impl Normaliser {
    /// Nothing seen yet of `features` features.
    pub fn new(features: usize) -> Self {
        Normaliser { count: PRIOR, mean: vec![0.0; features], squares: vec![PRIOR; features] }
    }

    /// Adds `rows`, each at least as long as there are features; what is beyond is ignored.
    ///
    /// Mean and variance of the rows first, then merged with what was (Chan, Golub & LeVeque 1983): the order of rows
    /// is the order of additions, so the result does not depend on threads.
    pub fn update<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]> + Clone) {
        let features = self.mean.len();
        let count = rows.clone().count() as f64;
        if count < 1.0 {
            return;
        }
        let mut mean = vec![0.0; features];
        for row in rows.clone() {
            mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value));
        }
        mean.iter_mut().for_each(|mean| *mean /= count);
        let mut squares = vec![0.0; features];
        for row in rows {
            for ((square, mean), &value) in squares.iter_mut().zip(&mean).zip(row) {
                let distance = f64::from(value) - mean;
                *square += distance * distance;
            }
        }
        self.merge(&Normaliser { count, mean, squares });
    }

    /// Adds what another one has seen.
    pub fn merge(&mut self, other: &Normaliser) {
        let total = self.count + other.count;
        let there = other.count / total;
        let both = self.count * there;
        for feature in 0..self.mean.len() {
            let distance = other.mean[feature] - self.mean[feature];
            self.mean[feature] += distance * there;
            self.squares[feature] += other.squares[feature] + distance * distance * both;
        }
        self.count = total;
    }

    /// Variance of a feature (of the population).
    pub fn variance(&self, feature: usize) -> f64 {
        self.squares[feature] / self.count
    }

    /// What it does now, for good.
    pub fn frozen(&self) -> Scale {
        let mut scale = Scale::default();
        self.freeze_into(&mut scale);
        scale
    }

    /// [`Normaliser::frozen`] without allocating.
    pub fn freeze_into(&self, scale: &mut Scale) {
        scale.limit = CLIP;
        scale.mean.clear();
        scale.mean.extend(self.mean.iter().map(|&mean| mean as f32));
        scale.factor.clear();
        let count = self.count;
        scale.factor.extend(self.squares.iter().map(|square| (1.0 / (square / count + EPSILON).sqrt()) as f32));
    }
}

/// A normaliser that learns no more: (x − mean) / √(variance + 1e-8), within ±10.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Results stay within ± this.
    pub limit: f32,
    /// What is subtracted from each feature.
    pub mean: Vec<f32>,
    /// What it is then multiplied with.
    pub factor: Vec<f32>,
}

impl Scale {
    /// A scale that changes nothing at all, for observations that are learnt from as they are.
    pub fn identity(features: usize) -> Self {
        Scale { limit: f32::MAX, mean: vec![0.0; features], factor: vec![1.0; features] }
    }

    /// Normalises `row` into `out`: as many numbers as there are features, or as the shorter of the two has.
    #[inline]
    pub fn apply(&self, row: &[f32], out: &mut [f32]) {
        for (((out, &value), mean), factor) in out.iter_mut().zip(row).zip(&self.mean).zip(&self.factor) {
            *out = ((value - mean) * factor).clamp(-self.limit, self.limit);
        }
    }

    /// Of the first `features` only.
    pub fn truncated(&self, features: usize) -> Scale {
        let first = |values: &[f32]| values.iter().take(features).copied().collect();
        Scale { limit: self.limit, mean: first(&self.mean), factor: first(&self.factor) }
    }
}

/// Divides rewards by the standard deviation of their discounted sum, as Gymnasium's `NormalizeReward`: values then
/// have about the same size whatever the unit of the reward. The mean is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnNormaliser {
    /// Of the discounted sums.
    pub statistics: Normaliser,
    /// Discounted sum of rewards of each environment's running episode.
    pub running: Vec<f64>,
    gamma: f64,
}

impl ReturnNormaliser {
    /// For `environments` that step together.
    pub fn new(environments: usize, gamma: f64) -> Self {
        ReturnNormaliser { statistics: Normaliser::new(1), running: vec![0.0; environments], gamma }
    }

    /// Normalises the rewards of one time step in place, one of each environment. `ended` tells which episodes end
    /// with it, however they end.
    pub fn normalise(&mut self, rewards: &mut [f32], ended: impl Iterator<Item = bool>) {
        for (running, &reward) in self.running.iter_mut().zip(&*rewards) {
            *running = *running * self.gamma + f64::from(reward);
        }
        let count = self.running.len() as f64;
        let mean = self.running.iter().sum::<f64>() / count;
        let squares = self.running.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        self.statistics.merge(&Normaliser { count, mean: vec![mean], squares: vec![squares] });
        let factor = (1.0 / (self.statistics.variance(0) + EPSILON).sqrt()) as f32;
        for reward in rewards {
            *reward = (*reward * factor).clamp(-CLIP, CLIP);
        }
        for (running, ended) in self.running.iter_mut().zip(ended) {
            if ended {
                *running = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f32]) -> impl Iterator<Item = &[f32]> + Clone {
        values.chunks(1)
    }

    #[test]
    fn parts_give_the_whole() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 5.0 + 100.0).collect();
        let mut whole = Normaliser::new(1);
        whole.update(column(&values));
        let mut parts = Normaliser::new(1);
        for part in values.chunks(7) {
            parts.update(column(part));
        }
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1000.0;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 1000.0;
        for found in [&whole, &parts] {
            // The first guess still weighs 1e-4 of one row, 100 away from the mean.
            assert!((found.mean[0] - mean).abs() < 1e-4, "{} {mean}", found.mean[0]);
            assert!((found.variance(0) - variance).abs() < 2e-3, "{} {variance}", found.variance(0));
        }
        assert!((whole.mean[0] - parts.mean[0]).abs() < 1e-9);
        assert!((whole.variance(0) - parts.variance(0)).abs() < 1e-9);
    }

    #[test]
    fn frozen_is_centred_scaled_and_clipped() {
        let normaliser = Normaliser { count: 10.0, mean: vec![2.0, 0.0, 1.0], squares: vec![40.0, 0.0, 0.1] };
        let mut out = [0.0; 3];
        normaliser.frozen().apply(&[6.0, 0.0, 1e9], &mut out);
        assert!((out[0] - 2.0).abs() < 1e-6);
        // A feature that never changes and still has not: 0, not NaN.
        assert_eq!(out[1], 0.0);
        assert_eq!(out[2], CLIP);
    }

    #[test]
    fn returns_as_gymnasium_keeps_them() {
        // Two environments, gamma 0.5, by hand. Sums: step 1: 1, 3; step 2: 0.5 + 1, and 0 + 3 after an end.
        let mut normaliser = ReturnNormaliser::new(2, 0.5);
        let mut first = [1.0, 3.0];
        normaliser.normalise(&mut first, [false, true].into_iter());
        assert_eq!(normaliser.running, [1.0, 0.0]);
        // Mean 2, variance 1, but for the first guess.
        assert!((first[0] - 1.0).abs() < 2e-3 && (first[1] - 3.0).abs() < 5e-3, "{first:?}");
        let mut second = [1.0, 3.0];
        normaliser.normalise(&mut second, [false, false].into_iter());
        assert_eq!(normaliser.running, [1.5, 3.0]);
        // Of 1, 3, 1.5, 3: mean 2.125, variance 0.796875.
        assert!((f64::from(second[0]) - 1.0 / 0.796_875f64.sqrt()).abs() < 2e-3, "{second:?}");
    }
}
