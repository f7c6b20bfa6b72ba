//! One reconciliation: bounds, the initial scale, and the way to zero.
//!
//! Source: `pkg/reconciler/autoscaling/kpa/scaler.go` (`scale`, `handleScaleToZero`), `kpa.go` (`ReconcileKind`,
//! `computeActiveCondition`, `computeNumActivators`).

use std::time::Duration;

use super::autoscaler::{Kpa, ScaleResult};
use super::reason::{KpaReason, ScaleReason};
use super::spec::KpaSpec;
use crate::time::SimTime;

/// How long after the progress deadline a revision that does not come up is given up (`activationTimeoutBuffer`).
const ACTIVATION_TIMEOUT_BUFFER: Duration = Duration::from_secs(10);
/// The fewest activators that a revision gets (`minActivators`).
const MIN_ACTIVATORS: f64 = 2.0;

/// The `Active` condition of the PodAutoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Unknown: pods are wanted, and too few are ready.
    Activating,
    /// True: enough pods are ready.
    Active,
    /// False: no pods are wanted.
    Inactive,
}

/// What one reconciliation decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KpaDecision {
    /// Pods that the caller is to set; the count that it passed in for no change.
    pub desired: u32,
    /// Pods that are wanted, which on the way to zero are fewer than `desired` for a while; `None` for unknown.
    pub wanted: Option<u32>,
    /// What the windows asked for.
    pub scale: ScaleResult,
    /// The `Active` condition after this.
    pub activity: Activity,
    /// Whether requests go through the activator from now on.
    pub proxy: bool,
    /// How many activators those are.
    pub activators: u32,
    /// Why.
    pub reason: KpaReason,
}

/// What upstream keeps in the status of the PodAutoscaler, its decider and its ServerlessService.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revision {
    pub(super) activity: Activity,
    /// Since when; `None` before the first reconciliation.
    pub(super) since: Option<SimTime>,
    /// Whether the initial scale was reached.
    pub(super) initialized: bool,
    /// What the windows asked for when they last had data.
    desired: Option<u32>,
    excess_burst_capacity: i32,
    pub(super) proxy_since: Option<SimTime>,
}

impl Revision {
    pub(super) fn new(spec: &KpaSpec) -> Self {
        let burst = spec.target_burst_capacity;
        let initial = f64::from(spec.initial_scale) * spec.total_per_pod() - burst;
        Self {
            activity: Activity::Activating,
            since: None,
            initialized: false,
            desired: None,
            excess_burst_capacity: if burst > 0.0 { initial as i32 } else { burst as i32 },
            proxy_since: None,
        }
    }

    fn become_(&mut self, activity: Activity, now: SimTime) {
        if self.activity != activity {
            self.activity = activity;
            self.since = Some(now);
        }
    }
}

/// What is wanted (`None` for unknown), whether to set it, and why.
type Wanted = (Option<u32>, bool, KpaReason);

impl Kpa {
    /// One reconciliation at `now`, which must not be before the one of an earlier call; to be called every
    /// [`KpaSpec::tick`].
    ///
    /// `current_desired` is the pods' count as last set, `ready` how many of them are ready. Without data the count
    /// holds; if the last data asked for no pods, the periods on the way to zero run on, as upstream's do.
    ///
    /// Until `initial-scale` was first reached, it is a lower bound, and as upstream one above `max-scale`. A new
    /// revision without data gets that many pods, with which upstream creates the Deployment.
    pub fn reconcile(&mut self, now: SimTime, current_desired: u32, ready: u32) -> KpaDecision {
        let scale = self.scale(now, ready);
        self.reconcile_for(now, current_desired, ready, scale)
    }

    /// The same for a result of the windows that comes from elsewhere, or from [`Kpa::scale`] before.
    pub fn reconcile_for(&mut self, now: SimTime, current: u32, ready: u32, scale: ScaleResult) -> KpaDecision {
        self.revision.since.get_or_insert(now);
        if scale.valid {
            self.revision.desired = Some(scale.desired);
            self.revision.excess_burst_capacity = scale.excess_burst_capacity;
        }
        let (wanted, apply, reason) = self.wanted(now, current, scale.reason);

        let inactive = self.revision.activity == Activity::Inactive;
        let proxy = wanted == Some(0) || self.revision.excess_burst_capacity < 0 || (wanted.is_none() && inactive);
        if proxy {
            self.revision.proxy_since.get_or_insert(now);
        } else {
            self.revision.proxy_since = None;
        }
        self.note_activity(now, wanted, ready);
        KpaDecision {
            desired: wanted.filter(|_| apply).unwrap_or(current),
            wanted,
            scale,
            activity: self.revision.activity,
            proxy,
            activators: self.activators(ready),
            reason,
        }
    }

    fn min_scale(&self) -> u32 {
        if self.reachable { self.spec.min_scale } else { 0 }
    }

    fn wanted(&self, now: SimTime, current: u32, reason: ScaleReason) -> Wanted {
        let revision = &self.revision;
        let initial = if revision.initialized { 0 } else { self.spec.initial_scale };
        let Some(asked) = revision.desired else {
            let floor = self.min_scale().max(initial);
            return if revision.activity == Activity::Activating && floor > current {
                let because = if initial > self.min_scale() { KpaReason::InitialScale } else { KpaReason::MinScale };
                (Some(floor), true, because(floor))
            } else {
                (None, false, KpaReason::Scale(ScaleReason::NoData))
            };
        };
        let min = self.min_scale().max(if initial > 1 { initial } else { 0 });
        let max = self.spec.max_scale;
        if asked < min {
            let because = if min > self.min_scale() { KpaReason::InitialScale } else { KpaReason::MinScale };
            (Some(min), true, because(min))
        } else if max != 0 && asked > max {
            (Some(max), true, KpaReason::MaxScale(max))
        } else if asked == 0 {
            self.toward_zero(now, current)
        } else if reason == ScaleReason::NoData {
            // What the last data asked for has been set then.
            (Some(asked), false, KpaReason::Scale(ScaleReason::NoData))
        } else {
            (Some(asked), true, KpaReason::Scale(reason))
        }
    }

    fn toward_zero(&self, now: SimTime, current: u32) -> Wanted {
        let (spec, revision) = (&self.spec, &self.revision);
        if !spec.enable_scale_to_zero {
            return (Some(1), true, KpaReason::ScaleToZeroDisabled);
        }
        let so_far = now.since(revision.since.unwrap_or(now));
        let zero = if current == 0 { KpaReason::Zero } else { KpaReason::ScalingToZero };
        match revision.activity {
            Activity::Activating => {
                let timeout = spec.progress_deadline.saturating_add(ACTIVATION_TIMEOUT_BUFFER);
                if so_far > timeout {
                    (Some(0), true, KpaReason::ActivationTimedOut)
                } else {
                    (None, false, KpaReason::Activating(timeout - so_far))
                }
            }
            Activity::Active if so_far >= spec.stable_window => (Some(0), false, KpaReason::Deactivating),
            Activity::Active => (Some(1), true, KpaReason::Idle(spec.stable_window - so_far)),
            Activity::Inactive => {
                let retention = spec.scale_to_zero_pod_retention_period;
                let grace = spec.scale_to_zero_grace_period;
                if so_far >= grace.max(retention) {
                    return (Some(0), true, zero);
                }
                if so_far < retention {
                    return (Some(0), false, KpaReason::PodRetention(retention - so_far));
                }
                // The grace period is for the network to learn of the activator. Where requests went through it
                // before, for want of burst capacity, that has been so for longer than the revision is inactive.
                let proxied = revision.proxy_since.map_or(Duration::ZERO, |since| now.since(since));
                if proxied >= grace {
                    (Some(0), true, zero)
                } else {
                    (Some(0), false, KpaReason::GracePeriod(grace - proxied))
                }
            }
        }
    }

    /// `computeActiveCondition`, with the table that is there.
    fn note_activity(&mut self, now: SimTime, wanted: Option<u32>, ready: u32) {
        let floor = if self.revision.initialized { 1 } else { self.spec.initial_scale };
        let enough = self.min_scale().max(floor);
        let revision = &mut self.revision;
        revision.initialized |= ready >= enough;
        if wanted == Some(0) || enough == 0 {
            revision.become_(Activity::Inactive, now);
        } else if wanted.is_some() || revision.activity != Activity::Inactive {
            let activity = if ready < enough { Activity::Activating } else { Activity::Active };
            revision.become_(activity, now);
        }
    }

    /// `computeNumActivators`.
    fn activators(&self, ready: u32) -> u32 {
        let burst = self.spec.target_burst_capacity;
        let capacity = match burst {
            b if b > 0.0 => f64::from(ready) * self.spec.total_per_pod() + b,
            b if b < 0.0 => f64::from(ready) * self.spec.total_per_pod(),
            _ => 0.0,
        };
        (capacity / self.spec.activator_capacity).ceil().max(MIN_ACTIVATORS) as u32
    }
}
