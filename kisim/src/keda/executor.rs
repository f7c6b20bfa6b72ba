//! What the operator does after a poll: the step between none or idle replicas and some.
//!
//! Source: `pkg/scaling/executor/scale_scaledobjects.go` (`RequestScale`).

use std::fmt;

use super::spec::ScaledObject;
use crate::time::SimTime;

/// What a poll of the operator came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// Active at none, or below the minimum with idle replicas: up to the minimum, at least 1.
    Activated,
    /// Active; the HorizontalPodAutoscaler does the rest.
    Active,
    /// Active by some triggers while others fail. The time of the last activity stays.
    PartialError,
    /// Active, and the step up is not done: scaling out is paused.
    ScaleOutPaused,
    /// Inactive for longer than the cooldown: down to none or idle.
    Deactivated,
    /// Inactive, but not for long enough.
    CoolingDown,
    /// Inactive, and the step down is not done: scaling in is paused.
    ScaleInPaused,
    /// Inactive below the minimum: up to it.
    RaisedToMinimum,
    /// Inactive, with nothing to do.
    Inactive,
    /// No trigger is active and some fail: nothing is done.
    TriggerError,
    /// The same with a fallback: nothing is done until it comes into force.
    AwaitingFallback,
}

impl fmt::Display for PollOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Activated => "triggers are active, scaled up from none or idle",
            Self::Active => "triggers are active",
            Self::PartialError => "triggers are active and some fail",
            Self::ScaleOutPaused => "triggers are active, but scaling out is paused",
            Self::Deactivated => "triggers are not active, scaled down to none or idle",
            Self::CoolingDown => "triggers are not active, cooling down",
            Self::ScaleInPaused => "triggers are not active, but scaling in is paused",
            Self::RaisedToMinimum => "triggers are not active, scaled up to the minimum",
            Self::Inactive => "triggers are not active",
            Self::TriggerError => "no trigger is active and some fail",
            Self::AwaitingFallback => "no trigger is active and some fail, waiting for the fallback",
        })
    }
}

/// What the operator remembers between polls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Executor {
    /// `status.lastActiveTime`.
    last_active: Option<SimTime>,
}

/// What a poll of the triggers found.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) active: bool,
    /// Whether some trigger failed without a fallback in force.
    pub(super) error: bool,
}

impl Executor {
    /// The time of the last activity, if any.
    pub(super) const fn last_active(&self) -> Option<SimTime> {
        self.last_active
    }

    /// The count of replicas from now on.
    pub(super) fn request_scale(
        &mut self,
        object: &ScaledObject,
        now: SimTime,
        created: SimTime,
        current: i32,
        state: State,
    ) -> (i32, PollOutcome) {
        let min = object.min_replicas;
        let idle = object.idle_replicas;
        if state.active || object.force_activation {
            if current == 0 || (idle.is_some() && current < min) {
                if object.pause_scale_out {
                    return (current, PollOutcome::ScaleOutPaused);
                }
                self.last_active = Some(now);
                return (min.max(1), PollOutcome::Activated);
            }
            if state.error {
                return (current, PollOutcome::PartialError);
            }
            self.last_active = Some(now);
            return (current, PollOutcome::Active);
        }
        let fallback_replicas = object.fallback.as_ref().map(|f| f.replicas);
        match fallback_replicas {
            // At none the fallback could not be had: there the HorizontalPodAutoscaler is switched off.
            Some(1..) if state.error => return (current, PollOutcome::AwaitingFallback),
            None if state.error => return (current, PollOutcome::TriggerError),
            _ => {}
        }
        if idle.is_some_and(|idle| current > idle) || (current > 0 && min == 0) {
            if object.pause_scale_in {
                return (current, PollOutcome::ScaleInPaused);
            }
            if self.has_cooled_down(object, now, created) {
                return (idle.unwrap_or(min), PollOutcome::Deactivated);
            }
            return (current, PollOutcome::CoolingDown);
        }
        if idle.is_none() && current < min {
            return (min, PollOutcome::RaisedToMinimum);
        }
        (current, PollOutcome::Inactive)
    }

    /// Whether the cooldown is over (`scaleToZeroOrIdle`). The end of the cooldown itself is not after it; the first
    /// poll however comes after the creation, be it at the same time here.
    fn has_cooled_down(&self, object: &ScaledObject, now: SimTime, created: SimTime) -> bool {
        match self.last_active {
            Some(last) => now > last + object.cooldown,
            None => now >= created + object.initial_cooldown,
        }
    }
}
