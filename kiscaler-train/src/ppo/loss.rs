//! The loss of one row, and its gradient with respect to what the networks say, in closed form.
//!
//! The losses are those of Schulman et al. 2017, eq. 7 and 9, in the form of CleanRL's `ppo.py`, plus what a teacher
//! would have its say cost. [`reference`](super::reference) has them once more, in tensors that differentiate
//! themselves; a test holds the two together, and another one holds both to finite differences.

use crate::heads::Heads;

/// How much each term counts, and where it is clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Of the clipped surrogate: 1, or 0 while only the teacher is imitated.
    pub policy: f32,
    /// Of half the squared error of the value.
    pub value: f32,
    /// Of the entropy, which is subtracted.
    pub entropy: f32,
    /// Of the expected cost by the teacher.
    pub teacher: f32,
    /// ε of the surrogate.
    pub clip: f32,
    /// How far a value may move from the rollout's, if limited.
    pub value_clip: Option<f32>,
}

/// Sums over rows of a minibatch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Clipped surrogate, negated.
    pub policy: f64,
    /// Half the squared error, clipped or not.
    pub value: f64,
    /// Entropy in nats.
    pub entropy: f64,
    /// Expected cost by the teacher, over rows that have one.
    pub teacher: f64,
    /// −log ratio, Schulman's estimator k1 of the divergence from the rollout's policy.
    pub k1: f64,
    /// ratio − 1 − log ratio, his k3: never negative.
    pub k3: f64,
    /// Rows whose ratio is beyond the clip.
    pub clipped: f64,
}

impl Sums {
    /// Adds those of other rows.
    pub fn add(&mut self, other: &Sums) {
        self.policy += other.policy;
        self.value += other.value;
        self.entropy += other.entropy;
        self.teacher += other.teacher;
        self.k1 += other.k1;
        self.k3 += other.k3;
        self.clipped += other.clipped;
    }
}

/// What the actor's loss of a row depends on, besides the logits.
#[derive(Clone, Copy, Debug)]
pub struct ActorRow<'a> {
    /// Which choices are allowed.
    pub mask: &'a [bool],
    /// What was chosen.
    pub actions: &'a [u32],
    /// Its log probability then.
    pub log_probability: f32,
    /// Its advantage, normalised.
    pub advantage: f32,
    /// Cost of each choice of the first head, 0 where it is forbidden; nothing if no teacher has spoken.
    pub teacher: Option<&'a [f32]>,
}

/// Weights over the number of rows that a mean goes over.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Of every row.
    pub row: f32,
    /// Of a row with a teacher.
    pub taught: f32,
}

/// Adds the row's loss to `sums`, turns `logits` into log probabilities and writes the gradient of the weighted mean
/// with respect to the logits, both [choices].
#[inline]
pub fn actor(
    heads: &Heads,
    weights: &Weights,
    shares: Shares,
    row: ActorRow<'_>,
    logits: &mut [f32],
    gradient: &mut [f32],
    sums: &mut Sums,
) {
    heads.log_softmax(logits, row.mask);
    let log_ratio = heads.log_probability(logits, row.actions) - row.log_probability;
    let ratio = log_ratio.exp();
    let clipped = ratio.clamp(1.0 - weights.clip, 1.0 + weights.clip);
    let (free, bound) = (-row.advantage * ratio, -row.advantage * clipped);
    sums.policy += f64::from(free.max(bound));
    sums.k1 -= f64::from(log_ratio);
    sums.k3 += f64::from(log_ratio.exp_m1() - log_ratio);
    sums.clipped += f64::from(u8::from((ratio - 1.0).abs() > weights.clip));
    // d(−A ratio)/d(log probability) = −A ratio, and nothing once the clip holds it.
    let slope = if free >= bound { shares.row * weights.policy * free } else { 0.0 };
    let entropy_share = shares.row * weights.entropy;
    for (range, &action) in heads.ranges().zip(row.actions) {
        let (log_probabilities, gradient) = (&logits[range.clone()], &mut gradient[range]);
        let mut entropy = 0.0;
        for (slot, &log_probability) in gradient.iter_mut().zip(log_probabilities) {
            *slot = log_probability.exp();
            if *slot > 0.0 {
                entropy -= *slot * log_probability;
            }
        }
        sums.entropy += f64::from(entropy);
        // The slot holds the probability p; d(log p_a)/dz = [a] − p and dH/dz = −p (log p + H).
        for (slot, &log_probability) in gradient.iter_mut().zip(log_probabilities) {
            let probability = *slot;
            *slot = if probability > 0.0 {
                probability * (entropy_share * (log_probability + entropy) - slope)
            } else {
                0.0
            };
        }
        gradient[action as usize] += slope;
    }
    if let Some(costs) = row.teacher {
        let mean: f32 = costs.iter().zip(&*logits).map(|(cost, log_probability)| cost * log_probability.exp()).sum();
        sums.teacher += f64::from(mean);
        let share = shares.taught * weights.teacher;
        for ((slot, cost), log_probability) in gradient.iter_mut().zip(costs).zip(&*logits) {
            *slot += share * log_probability.exp() * (cost - mean);
        }
    }
}

/// Adds the row's value loss to `sums`; returns the gradient of the weighted mean with respect to the value.
#[inline]
pub fn critic(weights: &Weights, share: f32, value: f32, before: f32, target: f32, sums: &mut Sums) -> f32 {
    let error = value - target;
    let (mut loss, mut slope) = (error * error, error);
    if let Some(clip) = weights.value_clip {
        let moved = value - before;
        let bound = before + moved.clamp(-clip, clip) - target;
        if bound * bound > loss {
            loss = bound * bound;
            slope = if moved.abs() <= clip { bound } else { 0.0 };
        }
    }
    sums.value += 0.5 * f64::from(loss);
    share * weights.value * slope
}
