//! Choices: how much headroom on the anchor (or, to compare, how many pods more or fewer), how many CPU pods as a bridge,
//! where requests go.

use std::fmt::{self, Write as _};

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

/// Pods more or fewer than there are, where choices are such; as many of them as factors.
pub const CHANGES: [i32; FACTORS.len()] = [-16, -13, -10, -8, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16];

/// What choices mean, and of which anchor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Design {
    /// Factors on what the leading rule wants.
    #[default]
    Factors,
    /// Factors on what is expected and its error, held for a minute: the rule that leads while nothing is known. Which rule
    /// is cheapest so far makes no difference to it.
    Forecast,
    /// Pods more or fewer.
    Changes,
}

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
        (pool, bridge): (&PoolView, Option<&PoolView>),
        (design, anchor): (Design, f64),
        has_data: bool,
    ) {
        let (limits, current) = (pool.limits, pool.counts.desired);
        let low = limits.min_replicas.max(current.saturating_sub(limits.max_step_down));
        let high = limits.max_replicas.min(current.saturating_add(limits.max_step_up)).max(low);
        self.mask = [false; TOTAL];
        self.targets[0] = current;
        // Without data, keep; a number outside the limits cannot be kept.
        self.mask[0] = !has_data || (limits.min_replicas..=limits.max_replicas).contains(&current);
        let wanted: [u32; FACTORS.len()] = match design {
            Design::Factors | Design::Forecast => FACTORS.map(|factor| facts.pods_for(factor * anchor)),
            Design::Changes => CHANGES.map(|change| current.saturating_add_signed(change)),
        };
        for (choice, pods) in wanted.into_iter().enumerate() {
            self.targets[choice + 1] = pods.clamp(low, high);
            // Choices beyond a limit all mean the limit: one of them is enough.
            let beyond = (pods > high && choice > 0 && self.targets[choice] >= high)
                || (pods < low && wanted[(choice + 1).min(FACTORS.len() - 1)] <= low);
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

    pub(super) fn decision(&self, facts: &Facts, view: &View<'_>, action: &[u32], why: Why<'_>) -> Decision {
        let choice = |head: usize| action.get(head).map_or(0, |&c| (c as usize).min(HEADS[head] - 1));
        let pools = view.pools.iter().enumerate().map(|(number, pool)| {
            let (replicas, reason) = if number == facts.pool {
                (self.targets[choice(0)], why.reason(facts, choice(0).checked_sub(1)))
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

/// What a reason is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Why<'a> {
    pub design: Design,
    pub demand: &'a Demand,
    pub council: &'a Council,
}

impl Why<'_> {
    /// Why the `choice` of the first head, counted from the one after keeping what there is.
    fn reason(&self, facts: &Facts, choice: Option<usize>) -> String {
        let mut reason = String::with_capacity(128);
        // Writing into a string does not fail.
        let _ = self.write(facts, choice, &mut reason);
        reason
    }

    fn write(&self, facts: &Facts, choice: Option<usize>, to: &mut String) -> fmt::Result {
        match (choice, self.design) {
            (None, _) => to.write_str("as many as there are")?,
            (Some(choice), Design::Changes) => write!(to, "{:+} pods", CHANGES[choice])?,
            (Some(choice), Design::Factors | Design::Forecast) => {
                write!(to, "{} × (", FACTORS[choice])?;
                self.council.describe(facts, to)?;
                to.write_char(')')?;
            }
        }
        to.write_str(": ")?;
        self.demand.describe(facts, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchor_is_among_the_factors() {
        assert_eq!(FACTORS.iter().position(|factor| factor.to_bits() == 1.0f64.to_bits()), Some(AT_ANCHOR));
        assert!(FACTORS.is_sorted() && CHANGES.is_sorted() && !CHANGES.contains(&0));
    }
}
