//! How many pods the windows ask for.
//!
//! Source: `pkg/autoscaler/scaling/autoscaler.go` (`Scale`), `multiscaler.go` (the state before the first result).

use super::buckets::{Buckets, second_of};
use super::delay::DelayWindow;
use super::reason::{Observed, ScaleReason};
use super::reconciler::Revision;
use super::spec::KpaSpec;
use crate::time::SimTime;

/// What the windows ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaleResult {
    /// Pods; 0 and without meaning unless `valid`.
    pub desired: u32,
    /// Whether there were data to go by.
    pub valid: bool,
    /// Mean of the metric over the stable window.
    pub stable: f64,
    /// Mean of the metric over the panic window.
    pub panic: f64,
    /// Whether the autoscaler is in panic after this.
    pub panicking: bool,
    /// What the ready pods could take beyond the current load and the target burst capacity, in units of the metric;
    /// below 0 the activator has to buffer.
    pub excess_burst_capacity: i32,
    /// Why.
    pub reason: ScaleReason,
}

/// The autoscaler's state for one revision.
#[derive(Clone, Debug)]
pub struct Kpa {
    pub(super) spec: KpaSpec,
    stable: Buckets,
    panic: Buckets,
    /// When the threshold was last exceeded; `None` out of panic.
    pub(super) panic_since: Option<SimTime>,
    pub(super) max_panic_pods: u32,
    delay: Option<DelayWindow>,
    pub(super) reachable: bool,
    pub(super) revision: Revision,
}

impl Kpa {
    /// The autoscaler of a new revision, which has no pods yet.
    pub fn new(spec: KpaSpec) -> Self {
        Self::restarted(spec, SimTime::ZERO, 0)
    }

    /// An autoscaler that starts at `now` with a revision that has `ready` pods already. With more than one it starts
    /// in panic, so that it keeps them until it has data of a stable window.
    pub fn restarted(spec: KpaSpec, now: SimTime, ready: u32) -> Self {
        let delay = (!spec.scale_down_delay.is_zero()).then(|| DelayWindow::new(spec.scale_down_delay, spec.tick));
        Self {
            stable: Buckets::new(spec.stable_window),
            panic: Buckets::new(spec.panic_window()),
            panic_since: (ready > 1).then_some(now),
            max_panic_pods: ready,
            delay,
            reachable: true,
            revision: Revision::new(&spec),
            spec,
        }
    }

    /// The autoscaler's spec.
    pub const fn spec(&self) -> &KpaSpec {
        &self.spec
    }

    /// Says whether any route leads to the revision; true at the start. Without one, neither `min-scale` nor the
    /// scale-down rate nor the scale-down delay hold.
    pub const fn set_reachable(&mut self, reachable: bool) {
        self.reachable = reachable;
    }

    /// Takes the revision's total concurrency, or requests per second, at an instant; to be called once per second.
    ///
    /// As upstream's collector adds up what pods and activators report, values of the same second add up. What is not
    /// finite is dropped.
    pub fn record(&mut self, at: SimTime, value: f64) {
        if value.is_finite() {
            self.stable.record(second_of(at), value);
            self.panic.record(second_of(at), value);
        }
    }

    /// How many pods the recorded values ask for at `now`, which must not be before the one of an earlier call.
    pub fn scale(&mut self, now: SimTime, ready_pods: u32) -> ScaleResult {
        let second = second_of(now);
        if self.stable.is_empty(second) {
            return ScaleResult {
                desired: 0,
                valid: false,
                stable: 0.0,
                panic: 0.0,
                panicking: self.panic_since.is_some(),
                excess_burst_capacity: 0,
                reason: ScaleReason::NoData,
            };
        }
        let (stable, panic) = (self.stable.average(second), self.panic.average(second));
        self.scale_for(now, ready_pods, stable, panic)
    }

    /// The same for means of the two windows that come from elsewhere.
    pub fn scale_for(&mut self, now: SimTime, ready_pods: u32, stable: f64, panic: f64) -> ScaleResult {
        let spec = &self.spec;
        let target = spec.target_per_pod();
        let ready = f64::from(ready_pods.max(1));
        // Rounded up, so that a small rate permits at least one more pod; and down, for one less.
        let most = (spec.max_scale_up_rate * ready).ceil();
        let least = if self.reachable { (ready / spec.max_scale_down_rate).floor() } else { 0.0 };
        let (wanted, wanted_panic) = ((stable / target).ceil(), (panic / target).ceil());
        // Saturating casts; a mean is never NaN, and one below zero is no pods.
        let limited = |pods: f64| pods.max(least).min(most) as u32;
        let activation = if spec.activation_scale > 1 { spec.activation_scale } else { 0 };
        let activated = |wanted: f64| if wanted > 0.0 { limited(wanted).max(activation) } else { limited(wanted) };
        let (by_stable, by_panic) = (activated(wanted), activated(wanted_panic));

        let over = wanted_panic / ready >= spec.panic_threshold_percentage / 100.0;
        if over {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(|since| since + spec.stable_window < now) {
            self.panic_since = None;
            self.max_panic_pods = 0;
        }
        let panicking = self.panic_since.is_some();
        let (mut desired, mut reason) = if panicking {
            // The stable window may hold more than the panic window.
            let larger = by_stable.max(by_panic);
            if larger >= self.max_panic_pods {
                self.max_panic_pods = larger;
                let observed = if by_stable > by_panic { Observed::Stable(stable) } else { Observed::Panic(panic) };
                (larger, ScaleReason::Panicking { pods: larger, observed })
            } else {
                let pods = self.max_panic_pods;
                (pods, ScaleReason::PanicHolds { pods, wanted: larger })
            }
        } else {
            let wanted_pods = wanted as u32;
            let reason = if by_stable > limited(wanted) {
                ScaleReason::ActivationScale(by_stable)
            } else if by_stable > wanted_pods {
                ScaleReason::ScaleDownRate { pods: by_stable, wanted: wanted_pods }
            } else if by_stable < wanted_pods {
                ScaleReason::ScaleUpRate { pods: by_stable, wanted: wanted_pods }
            } else {
                ScaleReason::Stable { pods: by_stable, observed: Observed::Stable(stable) }
            };
            (by_stable, reason)
        };

        if let Some(window) = &mut self.delay {
            window.record(now, desired);
            if self.reachable && window.current() != desired {
                reason = ScaleReason::Delayed { pods: window.current(), wanted: desired };
                desired = window.current();
            }
        }

        let burst = self.spec.target_burst_capacity;
        let excess = if burst > 0.0 {
            (f64::from(ready_pods) * self.spec.total_per_pod() - burst - panic).floor() as i32
        } else if burst < 0.0 {
            -1
        } else {
            0
        };
        ScaleResult { desired, valid: true, stable, panic, panicking, excess_burst_capacity: excess, reason }
    }
}
