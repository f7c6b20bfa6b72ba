//! Choices: how much headroom on the anchor, how many CPU pods as a bridge, where requests go.

use std::fmt::Write as _;

use kisim::control::{Decision, PoolView, Verdict, View};
use kisim::fleet::Placement;

use super::council::Council;
use super::demand::Demand;
use crate::facts::Facts;

/// Factors on the anchor. The first choice of the head is to keep the number of pods; these follow.
pub const FACTORS: [f64; 20] =
    [0.25, 0.35, 0.45, 0.55, 0.64, 0.73, 0.82, 0.91, 1.0, 1.1, 1.22, 1.35, 1.5, 1.7, 1.95, 2.3, 2.75, 3.3, 4.1, 5.2];

/// The place of the factor 1 among them.
pub const AT_ANCHOR: usize = 8;

/// Shares of the CPU pool's range that are asked for as a bridge.
pub const BRIDGE: [f64; 3] = [0.0, 0.5, 1.0];

/// Where requests go: to GPU pods alone, or to CPU pods too where a GPU pod's queue is longer than a batch, or four.
pub const PLACEMENTS: [Option<f64>; 3] = [None, Some(1.0), Some(4.0)];

/// Choices by head.
pub const HEADS: [usize; 3] = [FACTORS.len() + 1, BRIDGE.len(), PLACEMENTS.len()];

const TOTAL: usize = HEADS[0] + HEADS[1] + HEADS[2];

/// What the choices mean now.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    targets: [u32; HEADS[0]],
    bridge: [u32; HEADS[1]],
    mask: [bool; TOTAL],
}

impl Choices {
    pub(super) fn new() -> Self {
        Choices { targets: [0; HEADS[0]], bridge: [0; HEADS[1]], mask: [false; TOTAL] }
    }

    pub(super) fn set(
        &mut self,
        facts: &Facts,
        pool: &PoolView,
        bridge: Option<&PoolView>,
        anchor: f64,
        has_data: bool,
    ) {
        let (limits, current) = (pool.limits, pool.counts.desired);
        let low = limits.min_replicas.max(current.saturating_sub(limits.max_step_down));
        let high = limits.max_replicas.min(current.saturating_add(limits.max_step_up)).max(low);
        self.mask = [false; TOTAL];
        self.targets[0] = current;
        // Without data, keep; a number outside the limits cannot be kept.
        self.mask[0] = !has_data || (limits.min_replicas..=limits.max_replicas).contains(&current);
        for (choice, factor) in FACTORS.into_iter().enumerate() {
            let wanted = facts.pods_for(factor * anchor);
            self.targets[choice + 1] = wanted.clamp(low, high);
            // Choices beyond a limit all mean the limit: one of them is enough.
            let beyond = (wanted > high && choice > 0 && self.targets[choice] >= high)
                || (wanted < low && facts.pods_for(FACTORS[(choice + 1).min(FACTORS.len() - 1)] * anchor) <= low);
            self.mask[choice + 1] = has_data && !beyond;
        }
        if has_data && self.mask[..HEADS[0]].iter().all(|allowed| !allowed) {
            self.mask[1] = true;
        }
        let (second, third) = (HEADS[0], HEADS[0] + HEADS[1]);
        self.mask[second] = true;
        self.mask[third] = true;
        if let Some(bridge) = bridge.filter(|_| has_data) {
            let (low, high) = (bridge.limits.min_replicas, bridge.limits.max_replicas);
            for (choice, share) in BRIDGE.into_iter().enumerate() {
                self.bridge[choice] = low + (share * f64::from(high - low)).round() as u32;
            }
            self.mask[second..].fill(true);
        }
    }

    pub(super) fn mask(&self) -> &[bool] {
        &self.mask
    }

    pub(super) fn targets(&self) -> &[u32] {
        &self.targets
    }

    pub(super) fn decision(
        &self,
        facts: &Facts,
        view: &View<'_>,
        action: &[u32],
        why: (&Demand, &Council),
    ) -> Decision {
        let choice = |head: usize| action.get(head).map_or(0, |&c| (c as usize).min(HEADS[head] - 1));
        let pools = view.pools.iter().enumerate().map(|(number, pool)| {
            let (replicas, reason) = if number == facts.pool {
                let mut reason = String::with_capacity(128);
                // Writing into a string does not fail.
                let _ = match choice(0).checked_sub(1) {
                    Some(factor) => write!(reason, "{} × (", FACTORS[factor])
                        .and_then(|()| why.1.describe(facts, &mut reason))
                        .and_then(|()| reason.write_char(')')),
                    None => reason.write_str("as many as there are"),
                }
                .and_then(|()| reason.write_str(": "))
                .and_then(|()| why.0.describe(facts, &mut reason));
                (self.targets[choice(0)], reason)
            } else if Some(number) == facts.bridge {
                (self.bridge[choice(1)], format!("{:.0} % of the bridge", 100.0 * BRIDGE[choice(1)]))
            } else {
                (pool.counts.desired, "not a pool it scales".to_owned())
            };
            match replicas == pool.counts.desired {
                true => Verdict::Hold { reason },
                false => Verdict::Scale { replicas, reason },
            }
        });
        let placement = facts.bridge.map(|_| match PLACEMENTS[choice(2)] {
            None => Placement::GpuOnly,
            Some(batches) => Placement::GpuFirst { spill_queue: (batches * facts.max_batch) as usize },
        });
        Decision { pools: pools.collect(), placement }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchor_is_among_the_factors() {
        assert_eq!(FACTORS.iter().position(|factor| factor.to_bits() == 1.0f64.to_bits()), Some(AT_ANCHOR));
        assert!(FACTORS.is_sorted());
    }
}
