//! Actions of several heads (MultiDiscrete), each a categorical distribution over the choices that are allowed.
//!
//! The heads are independent given the observation: log probabilities and entropies add up.

use kisim::random::Stream;
use rand::Rng;

/// Numbers of choices of each head. Logits, masks and log probabilities of all heads stand one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    sizes: Vec<usize>,
}

impl Heads {
    /// Heads of so many choices.
    pub fn new(sizes: &[usize]) -> Self {
        Heads { sizes: sizes.to_vec() }
    }

    /// Choices of each head.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Choices of all heads together.
    pub fn choices(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// Where each head's choices stand.
    #[inline]
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.sizes.iter().scan(0, |start, &size| {
            let range = *start..*start + size;
            *start = range.end;
            Some(range)
        })
    }

    /// Turns `logits` into log probabilities, −∞ for what `mask` forbids. At least one choice of each head is allowed.
    #[inline]
    pub fn log_softmax(&self, logits: &mut [f32], mask: &[bool]) {
        for range in self.ranges() {
            let (logits, mask) = (&mut logits[range.clone()], &mask[range]);
            let mut largest = f32::NEG_INFINITY;
            for (logit, &allowed) in logits.iter_mut().zip(mask) {
                if !allowed {
                    *logit = f32::NEG_INFINITY;
                }
                // Not `max`, which would drop a NaN.
                if *logit > largest || logit.is_nan() {
                    largest = *logit;
                }
            }
            let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            let norm = largest + sum.ln();
            logits.iter_mut().for_each(|logit| *logit -= norm);
        }
    }

    /// Draws a choice of each head into `actions`, one number of `stream` a head; returns their log probability.
    #[inline]
    pub fn sample(&self, log_probabilities: &[f32], stream: &mut Stream, actions: &mut [u32]) -> f32 {
        let mut together = 0.0;
        for (range, action) in self.ranges().zip(actions) {
            let head = &log_probabilities[range];
            let mut left = uniform(stream) as f32;
            // The last one that is possible catches what rounding leaves over.
            let mut chosen = 0;
            for (choice, log_probability) in head.iter().enumerate() {
                let probability = log_probability.exp();
                if probability > 0.0 {
                    chosen = choice;
                    left -= probability;
                    if left < 0.0 {
                        break;
                    }
                }
            }
            *action = chosen as u32;
            together += head[chosen];
        }
        together
    }

    /// The likeliest choice of each head; the first of equals. Choices of the first head with equal numbers in `meanings`
    /// count together, and of those that are likeliest together the likeliest by itself is taken.
    #[inline]
    pub fn likeliest(&self, probabilities: &[f32], meanings: &[u32], actions: &mut [u32]) {
        for (head, (range, action)) in self.ranges().zip(actions).enumerate() {
            let own = &probabilities[range];
            let together = |choice: usize| -> f32 {
                match meanings.get(choice) {
                    Some(meaning) if head == 0 => {
                        own.iter().zip(meanings).filter(|(_, other)| *other == meaning).map(|(p, _)| p).sum()
                    }
                    _ => own[choice],
                }
            };
            let mut best = (0, 0.0);
            for (choice, &alone) in own.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                let sum = together(choice);
                if sum > best.1 || (sum == best.1 && alone > own[best.0]) {
                    best = (choice, sum);
                }
            }
            *action = best.0 as u32;
        }
    }

    /// Log probability of `actions`.
    #[inline]
    pub fn log_probability(&self, log_probabilities: &[f32], actions: &[u32]) -> f32 {
        self.ranges().zip(actions).map(|(range, &action)| log_probabilities[range.start + action as usize]).sum()
    }

    /// Entropy in nats, of all heads together.
    #[inline]
    pub fn entropy(&self, log_probabilities: &[f32]) -> f32 {
        let possible = log_probabilities.iter().filter(|value| **value > f32::NEG_INFINITY);
        -possible.map(|value| value.exp() * value).sum::<f32>()
    }
}

/// Uniform in [0, 1), from 53 bits.
#[inline]
pub(crate) fn uniform(stream: &mut Stream) -> f64 {
    (stream.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kisim::random::{Purpose, stream};

    #[test]
    fn masked_softmax_by_hand() {
        let heads = Heads::new(&[3, 2]);
        let mut logits = [0.0, 5.0, 3f32.ln(), 1.0, 1.0];
        heads.log_softmax(&mut logits, &[true, false, true, true, true]);
        let probabilities = logits.map(f32::exp);
        for (found, expected) in probabilities.iter().zip([0.25, 0.0, 0.75, 0.5, 0.5]) {
            assert!((found - expected).abs() < 1e-6, "{probabilities:?}");
        }
        let entropy = -(0.25 * 0.25f32.ln() + 0.75 * 0.75f32.ln()) + 2f32.ln();
        assert!((heads.entropy(&logits) - entropy).abs() < 1e-6);
        assert!((heads.log_probability(&logits, &[2, 0]) - (0.75f32 * 0.5).ln()).abs() < 1e-6);
    }

    #[test]
    fn large_logits_stay_finite() {
        let heads = Heads::new(&[2]);
        let mut logits = [1e4, -1e4];
        heads.log_softmax(&mut logits, &[true, true]);
        assert_eq!(logits[0], 0.0);
        assert_eq!(heads.entropy(&logits), 0.0);
    }

    #[test]
    fn draws_follow_the_probabilities_and_never_what_is_forbidden() {
        let heads = Heads::new(&[4, 2]);
        let mut logits = [0.1f32.ln(), 9.0, 0.6f32.ln(), 0.3f32.ln(), 7.0, 0.0];
        heads.log_softmax(&mut logits, &[true, false, true, true, false, true]);
        let mut stream = stream(1, Purpose::Policy, 0);
        let draws = 200_000;
        let mut counts = [0u32; 4];
        for _ in 0..draws {
            let mut action = [9, 9];
            let log_probability = heads.sample(&logits, &mut stream, &mut action);
            assert_eq!(action[1], 1);
            assert_eq!(log_probability, heads.log_probability(&logits, &action));
            counts[action[0] as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([0.1, 0.0, 0.6, 0.3]) {
            // Five standard deviations at most.
            let spread = (expected * (1.0 - expected) / f64::from(draws)).sqrt();
            assert!((f64::from(*count) / f64::from(draws) - expected).abs() <= 5.0 * spread, "{counts:?}");
        }
    }

    #[test]
    fn argmax_is_the_best_allowed_one() {
        let heads = Heads::new(&[3, 3]);
        let mut actions = [0, 0];
        heads.likeliest(&[0.0, 0.5, 0.5, 0.3, 0.7, 0.0], &[], &mut actions);
        assert_eq!(actions, [1, 1]);
    }

    #[test]
    fn what_means_the_same_counts_together() {
        let heads = Heads::new(&[4, 4]);
        let probabilities = [0.2, 0.4, 0.1, 0.3, 0.2, 0.4, 0.1, 0.3];
        let mut actions = [0, 0];
        // 0.2 and 0.3 together are more than 0.4; and of the two the likelier is taken. The second head is as it is.
        heads.likeliest(&probabilities, &[7, 8, 9, 7], &mut actions);
        assert_eq!(actions, [3, 1]);
        heads.likeliest(&probabilities, &[7, 8, 9, 10], &mut actions);
        assert_eq!(actions, [1, 1]);
        // What cannot be is not chosen, whatever it means.
        heads.likeliest(&[0.0, 0.45, 0.55, 0.0, 0.0, 0.0, 0.0, 1.0], &[1, 1, 2, 1], &mut actions);
        assert_eq!(actions, [2, 3]);
    }
}
