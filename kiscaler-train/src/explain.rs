//! Which inputs moved a decision.

use crate::checkpoint::Feature;

/// What an input did to a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Which feature.
    pub feature: usize,
    /// Its value, not normalised.
    pub value: f32,
    /// By how much the decision's log-probability is above what it would be were this feature at its mean in training,
    /// all others as they are (occlusion): positive spoke for it. Effects do not add up: features speak together.
    pub effect: f32,
}

/// Effects of every feature of `observation` (not normalised) on the decision to take `choices`, one of each head,
/// strongest first.
///
/// `logits` is the policy: the logits of all heads, head after head, of an observation that is not normalised. `heads` are
/// numbers of choices, `mask` says which are allowed. It is called once a feature, and once more.
pub fn effects(
    features: &[Feature],
    observation: &[f32],
    heads: &[usize],
    mask: &[bool],
    choices: &[u32],
    mut logits: impl FnMut(&[f32]) -> Vec<f32>,
) -> Vec<Effect> {
    let mut changed = observation.to_vec();
    let as_is = log_probability(&logits(&changed), heads, mask, choices);
    let mut all = Vec::with_capacity(features.len());
    for (index, feature) in features.iter().enumerate().take(observation.len()) {
        let value = std::mem::replace(&mut changed[index], feature.mean as f32);
        let without = log_probability(&logits(&changed), heads, mask, choices);
        changed[index] = value;
        all.push(Effect { feature: index, value, effect: as_is - without });
    }
    all.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()));
    all
}

/// Of `choices` together, among what `mask` allows.
fn log_probability(logits: &[f32], heads: &[usize], mask: &[bool], choices: &[u32]) -> f32 {
    let mut start = 0;
    let mut sum = 0.0;
    for (&size, &choice) in heads.iter().zip(choices) {
        let range = start..(start + size).min(logits.len());
        start += size;
        let own = &logits[range.clone()];
        let allowed = own.iter().zip(mask.get(range).unwrap_or_default()).filter(|(_, allowed)| **allowed);
        let allowed: Vec<f32> = allowed.map(|(logit, _)| *logit).collect();
        let most = allowed.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = allowed.iter().map(|logit| (logit - most).exp()).sum();
        sum += own.get(choice as usize).map_or(f32::NAN, |logit| logit - most - total.ln());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Envelope;

    #[test]
    fn what_matters_comes_first_and_with_its_sign() {
        let feature = |mean| Feature { name: String::new(), mean, variance: 1.0, envelope: Envelope::default() };
        let features = [feature(0.0), feature(1.0), feature(0.0)];
        // The second head looks at feature 2 alone; nobody at feature 0.
        let logits = |o: &[f32]| vec![0.0, 3.0 * (o[1] - 1.0), 9.0, 0.0, -o[2]];
        let mask = [true, true, false, true, true];
        let found = effects(&features, &[5.0, 2.0, 1.0], &[3, 2], &mask, &[1, 1], logits);
        let order: Vec<usize> = found.iter().map(|e| e.feature).collect();
        assert_eq!(order, [1, 2, 0]);
        // ln σ(3) − ln σ(0), and ln σ(−1) − ln σ(0): the masked choice has no say.
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        assert!((found[0].effect - (sigmoid(3.0) / 0.5).ln()).abs() < 1e-5, "{found:?}");
        assert!((found[1].effect - (sigmoid(-1.0) / 0.5).ln()).abs() < 1e-5, "{found:?}");
        assert_eq!((found[2].effect, found[2].value), (0.0, 5.0));
    }
}
