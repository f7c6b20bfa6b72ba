//! From a recommendation to the next replica count: windows, policies and bounds.
//!
//! Source: `pkg/controller/podautoscaler/horizontal.go` (`normalizeDesiredReplicas` and
//! `normalizeDesiredReplicasWithBehaviors`, with what they call).

use std::collections::VecDeque;
use std::time::Duration;

use super::calculator::plus;
use super::condition::ConditionReason;
use super::spec::{Behavior, Policy, PolicyKind, ScalingRules, SelectPolicy};
use crate::time::SimTime;

/// The rate of scaling up without `behavior`: at most this many times the current count.
const SCALE_UP_FACTOR: i32 = 2;
/// The count that is always within that rate.
const SCALE_UP_MINIMUM: i32 = 4;

/// A window of `seconds`, none for a negative number.
fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The recommendations of the past, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Recommendations {
    entries: VecDeque<(SimTime, i32)>,
}

impl Recommendations {
    /// Records the replicas the first sync finds as the first recommendation, so that nothing
    /// scales down before a window has passed (`recordInitialRecommendation`).
    pub(super) fn begin(&mut self, now: SimTime, replicas: i32) {
        if self.entries.is_empty() {
            self.entries.push_back((now, replicas));
        }
    }

    /// Appends a recommendation after dropping those older than `keep`, the longest window.
    /// Upstream overwrites one of those instead; as none of them counts any more, only the
    /// length differs.
    pub(super) fn push(&mut self, now: SimTime, replicas: i32, keep: Duration) {
        while let Some((oldest, _)) = self.entries.front()
            && plus(*oldest, keep) < now.as_nanos()
        {
            self.entries.pop_front();
        }
        self.entries.push_back((now, replicas));
    }

    /// The entries younger than `age`, one of exactly that age not included.
    fn younger(&self, now: SimTime, age: Duration) -> impl Iterator<Item = i32> {
        self.since(age, move |end| end > now.as_nanos())
    }

    /// The entries of at most `age`.
    fn within(&self, now: SimTime, age: Duration) -> impl Iterator<Item = i32> {
        self.since(age, move |end| end >= now.as_nanos())
    }

    /// The entries for whose time plus `age` the test holds, newest first.
    fn since(&self, age: Duration, test: impl Fn(u64) -> bool) -> impl Iterator<Item = i32> {
        self.entries.iter().rev().take_while(move |(at, _)| test(plus(*at, age))).map(|(_, replicas)| *replicas)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The changes of the count in one direction, each a number of pods above 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Not always in order of time; see [`Changes::record`].
    entries: Vec<(SimTime, i32)>,
}

impl Changes {
    /// Adds a change made at `at`. Where changes are older than `longest`, the longest period of
    /// the direction's policies, it takes the place of the last of them (`storeScaleEvent`,
    /// `markScaleEventsOutdated`).
    ///
    /// Such old changes still count for longer periods of the other direction, so which of them
    /// goes matters, and dropping all of them would decide differently from upstream.
    pub(super) fn record(&mut self, at: SimTime, now: SimTime, change: i32, longest: Duration) {
        let outdated = |(at, _): &(SimTime, i32)| plus(*at, longest) < now.as_nanos();
        match self.entries.iter_mut().rfind(|e| outdated(e)) {
            Some(entry) => *entry = (at, change),
            None => self.entries.push((at, change)),
        }
    }

    /// The pods of the changes younger than a policy's period (`getReplicasChangePerPeriod`).
    fn within(&self, now: SimTime, policy: &Policy) -> i64 {
        let period = seconds(policy.period_seconds);
        let recent = |(at, _): &&(SimTime, i32)| plus(*at, period) > now.as_nanos();
        let changes = self.entries.iter().filter(recent);
        changes.map(|(_, change)| i64::from(*change)).sum()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The changes of the count in both directions.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    pub(super) up: Changes,
    pub(super) down: Changes,
}

impl Events {
    /// Records a change of the count made at `at` (`storeScaleEvent`).
    pub(super) fn record(&mut self, at: SimTime, now: SimTime, (from, to): (i32, i32), behavior: &Behavior) {
        let (changes, rules) =
            if to > from { (&mut self.up, &behavior.scale_up) } else { (&mut self.down, &behavior.scale_down) };
        let longest = rules.policies.iter().map(|p| p.period_seconds).max();
        let change = i32::try_from(to.abs_diff(from)).unwrap_or(i32::MAX);
        changes.record(at, now, change, seconds(longest.unwrap_or(0)));
    }

    /// The count at the start of a policy's period.
    fn period_start(&self, now: SimTime, current: i32, policy: &Policy) -> i64 {
        i64::from(current) - self.up.within(now, policy) + self.down.within(now, policy)
    }

    /// The most replicas the policies let a rise reach
    /// (`calculateScaleUpLimitWithScalingRules`).
    pub(super) fn up_limit(&self, now: SimTime, current: i32, rules: &ScalingRules) -> i32 {
        let limits = rules.policies.iter().map(|policy| {
            let start = self.period_start(now, current, policy);
            match policy.kind {
                PolicyKind::Pods => saturate(start + i64::from(policy.value)),
                // Rounded up: a small count could not grow by a small percentage otherwise.
                PolicyKind::Percent => (start as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
            }
        });
        match rules.select {
            SelectPolicy::Disabled => current,
            SelectPolicy::Min => limits.min().unwrap_or(i32::MAX),
            SelectPolicy::Max => limits.max().unwrap_or(i32::MIN),
        }
    }

    /// The fewest replicas the policies let a fall reach
    /// (`calculateScaleDownLimitWithBehaviors`).
    pub(super) fn down_limit(&self, now: SimTime, current: i32, rules: &ScalingRules) -> i32 {
        let limits = rules.policies.iter().map(|policy| {
            let start = self.period_start(now, current, policy);
            match policy.kind {
                PolicyKind::Pods => saturate(start - i64::from(policy.value)),
                PolicyKind::Percent => (start as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i32,
            }
        });
        match rules.select {
            SelectPolicy::Disabled => current,
            SelectPolicy::Min => limits.max().unwrap_or(i32::MIN),
            SelectPolicy::Max => limits.min().unwrap_or(i32::MAX),
        }
    }
}

/// A count back in 32 bits.
fn saturate(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

/// A count and why it is that.
pub(super) type Reasoned = (i32, ConditionReason);

/// Without `behavior`: the largest recommendation of the window, this one included, which is
/// recorded (`stabilizeRecommendation`).
pub(super) fn stabilize(log: &mut Recommendations, now: SimTime, recommended: i32, window: Duration) -> Reasoned {
    let stabilized = log.within(now, window).fold(recommended, i32::max);
    log.push(now, recommended, window);
    let reason = if stabilized == recommended {
        ConditionReason::ReadyForNewScale
    } else {
        ConditionReason::ScaleDownStabilized
    };
    (stabilized, reason)
}

/// Without `behavior`: the rate of scaling up and the bounds
/// (`convertDesiredReplicasWithRules`).
pub(super) fn limit(current: i32, desired: i32, min: i32, max: i32) -> Reasoned {
    let rate = current.saturating_mul(SCALE_UP_FACTOR).max(SCALE_UP_MINIMUM);
    let (most, reason) =
        if max > rate { (rate, ConditionReason::ScaleUpLimit) } else { (max, ConditionReason::TooManyReplicas) };
    if desired < min {
        (min, ConditionReason::TooFewReplicas)
    } else if desired > most {
        (most, reason)
    } else {
        (desired, ConditionReason::DesiredWithinRange)
    }
}

/// With `behavior`: the current count raised to the least recommendation of the window for
/// scaling up, then lowered to the largest of the window for scaling down; this one is recorded
/// (`stabilizeRecommendationWithBehaviors`).
pub(super) fn stabilize_with_behavior(
    log: &mut Recommendations,
    now: SimTime,
    current: i32,
    recommended: i32,
    up_window: Duration,
    down_window: Duration,
) -> Reasoned {
    let least = log.younger(now, up_window).fold(recommended, i32::min);
    let most = log.younger(now, down_window).fold(recommended, i32::max);
    log.push(now, recommended, up_window.max(down_window));
    let stabilized = current.max(least).min(most);
    let reason = if stabilized == recommended {
        ConditionReason::ReadyForNewScale
    } else if recommended >= current {
        ConditionReason::ScaleUpStabilized
    } else {
        ConditionReason::ScaleDownStabilized
    };
    (stabilized, reason)
}

/// With `behavior`: the policies and the bounds (`convertDesiredReplicasWithBehaviorRate`). A
/// limit holds the count, it never turns it around.
pub(super) fn limit_with_behavior(
    events: &Events,
    now: SimTime,
    current: i32,
    desired: i32,
    (min, max): (i32, i32),
    behavior: &Behavior,
) -> Reasoned {
    if desired > current {
        let rate = events.up_limit(now, current, &behavior.scale_up).max(current);
        let (most, reason) =
            if max > rate { (rate, ConditionReason::ScaleUpLimit) } else { (max, ConditionReason::TooManyReplicas) };
        if desired > most {
            return (most, reason);
        }
    } else if desired < current {
        let rate = events.down_limit(now, current, &behavior.scale_down).min(current);
        let (least, reason) =
            if min < rate { (rate, ConditionReason::ScaleDownLimit) } else { (min, ConditionReason::TooFewReplicas) };
        if desired < least {
            return (least, reason);
        }
    }
    (desired, ConditionReason::DesiredWithinRange)
}

#[cfg(test)]
#[path = "behavior_tests.rs"]
mod tests;
