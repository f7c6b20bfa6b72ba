//! Limits: the last thing that happens to a number of replicas, on every path.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use kisim::control::{Limiter, Limits};
use kisim::time::SimTime;

use crate::api::{PoolSpec, Rate};

/// What a number of replicas was limited from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// What was wanted.
    pub wanted: u32,
    /// What may be.
    pub allowed: u32,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limited from {} to {}", self.wanted, self.allowed)
    }
}

/// The limits of a pool, with the memory that stabilisation and rates need.
#[derive(Clone, Debug)]
pub struct Gate {
    limits: Limits,
    limiter: Limiter,
    up: Option<Rate>,
    down: Option<Rate>,
    /// Changes that were made: (when, replicas added; negative where removed).
    changes: VecDeque<(SimTime, i64)>,
}

impl Gate {
    /// With the simulator's limits, and rates of change beside them.
    pub fn new(limits: Limits, up: Option<Rate>, down: Option<Rate>) -> Self {
        Gate { limits, limiter: Limiter::new(limits), up, down, changes: VecDeque::new() }
    }

    /// The gate of a pool of a spec.
    pub fn of(limits: Limits, pool: &PoolSpec) -> Self {
        let rate = pool.rate.clone().unwrap_or_default();
        Gate::new(limits, rate.up, rate.down)
    }

    /// The number of replicas that may be set when `wanted` are wanted and `current` are set. Always within the limits.
    pub fn apply(&mut self, now: SimTime, current: u32, wanted: u32) -> u32 {
        let stepped = self.limiter.apply(now, current, wanted);
        // Rates bend a change, never its direction; a number outside the limits comes back whatever the rate.
        let most = current.saturating_add(self.left(now, self.up, |change| change.max(0)));
        let least = current.saturating_sub(self.left(now, self.down, |change| (-change).max(0)));
        stepped.clamp(least, most.max(least)).clamp(self.limits.min_replicas, self.limits.max_replicas)
    }

    /// Notes that the number of replicas was changed by us.
    pub fn changed(&mut self, now: SimTime, from: u32, to: u32) {
        self.changes.push_back((now, i64::from(to) - i64::from(from)));
        let longest = [self.up, self.down].into_iter().flatten().map(|rate| rate.period.duration()).max();
        let oldest = now.saturating_sub(longest.unwrap_or(Duration::ZERO));
        while self.changes.front().is_some_and(|&(at, _)| at < oldest) {
            self.changes.pop_front();
        }
    }

    /// Replicas that a rate still allows.
    fn left(&self, now: SimTime, rate: Option<Rate>, of: impl Fn(i64) -> i64) -> u32 {
        let Some(rate) = rate else { return u32::MAX };
        let oldest = now.saturating_sub(rate.period.duration());
        let spent: i64 = self.changes.iter().filter(|(at, _)| *at > oldest).map(|&(_, change)| of(change)).sum();
        rate.replicas.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Length;
    use kisim::config::Span;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SimTime {
        SimTime::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
    }

    #[test]
    fn a_rate_spreads_a_change_over_time() {
        let limits = Limits { max_replicas: 20, ..Limits::default() };
        let rate = |replicas| Some(Rate { replicas, period: Length::secs(60) });
        let mut gate = Gate::new(limits, rate(4), rate(1));
        let mut current = 2;
        let mut step = |seconds: u64, wanted: u32| {
            let next = gate.apply(at(seconds), current, wanted);
            if next != current {
                gate.changed(at(seconds), current, next);
            }
            current = next;
            next
        };
        assert_eq!(step(0, 20), 6);
        assert_eq!(step(15, 20), 6);
        assert_eq!(step(59, 20), 6);
        assert_eq!(step(61, 20), 10);
        assert_eq!(step(62, 1), 9);
        assert_eq!(step(63, 1), 9);
        assert_eq!(step(123, 1), 8);
    }

    proptest! {
        #[test]
        fn limits_are_last_whatever_comes(
            min in 0u32..5, span in 0u32..20, up in 1u32..6, down in 1u32..6, stabilise in 0u64..90,
            rates in prop::option::of((1u32..5, 1u64..120)),
            wishes in prop::collection::vec((0u32..60, 0u32..60), 1..50)
        ) {
            let limits = Limits {
                min_replicas: min, max_replicas: (min + span).max(1), max_step_up: up, max_step_down: down,
                scale_down_stabilization: Span::secs(stabilise),
            };
            let rate = rates.map(|(replicas, seconds)| Rate { replicas, period: Length::secs(seconds) });
            let mut gate = Gate::new(limits, rate, rate);
            for (step, (current, wanted)) in wishes.into_iter().enumerate() {
                let now = at(15 * step as u64);
                let next = gate.apply(now, current, wanted);
                prop_assert!(next >= limits.min_replicas && next <= limits.max_replicas);
                let inside = current >= limits.min_replicas && current <= limits.max_replicas;
                if inside {
                    prop_assert!(next <= current.saturating_add(up) && next >= current.saturating_sub(down));
                    if wanted >= current { prop_assert!(next >= current) } else { prop_assert!(next <= current) }
                    if let Some(rate) = rate { prop_assert!(next.abs_diff(current) <= rate.replicas) }
                }
                gate.changed(now, current, next);
            }
        }
    }
}
