//! Why there are to be that many pods.

use std::fmt;
use std::time::Duration;

/// The mean that decided, and of which window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observed {
    /// Concurrency or requests per second over the stable window.
    Stable(f64),
    /// Concurrency or requests per second over the panic window.
    Panic(f64),
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stable(value) => write!(f, "{value} in the stable window"),
            Self::Panic(value) => write!(f, "{value} in the panic window"),
        }
    }
}

/// Why the windows ask for a count of pods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaleReason {
    /// Nothing was recorded for the stable window.
    NoData,
    /// By the stable window.
    Stable {
        /// Pods asked for.
        pods: u32,
        /// The mean.
        observed: Observed,
    },
    /// Panicking: more pods than before.
    Panicking {
        /// Pods asked for.
        pods: u32,
        /// The larger mean.
        observed: Observed,
    },
    /// Panicking: fewer would do, but in panic the count never falls.
    PanicHolds {
        /// The most pods of this panic.
        pods: u32,
        /// Pods that the windows ask for.
        wanted: u32,
    },
    /// `max-scale-up-rate` times the ready pods is less than the windows ask for.
    ScaleUpRate {
        /// Pods allowed.
        pods: u32,
        /// Pods that the windows ask for.
        wanted: u32,
    },
    /// The ready pods by `max-scale-down-rate` are more than the windows ask for.
    ScaleDownRate {
        /// Pods that have to stay.
        pods: u32,
        /// Pods that the windows ask for.
        wanted: u32,
    },
    /// There is traffic, and `activation-scale` is more than the windows ask for.
    ActivationScale(u32),
    /// `scale-down-delay` has not passed.
    Delayed {
        /// The most pods of the delay window.
        pods: u32,
        /// Pods that are asked for now.
        wanted: u32,
    },
}

impl fmt::Display for ScaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("holding: no data"),
            Self::Stable { pods, observed } => write!(f, "{pods} pods for {observed}"),
            Self::Panicking { pods, observed } => write!(f, "panicking: {pods} pods for {observed}"),
            Self::PanicHolds { pods, wanted } => write!(f, "panicking: staying at {pods} pods, {wanted} would do"),
            Self::ScaleUpRate { pods, wanted } => write!(f, "limited by the scale-up rate: {pods} pods of {wanted}"),
            Self::ScaleDownRate { pods, wanted } => {
                write!(f, "limited by the scale-down rate: {pods} pods, {wanted} would do")
            }
            Self::ActivationScale(pods) => write!(f, "activating: {pods} pods"),
            Self::Delayed { pods, wanted } => {
                write!(f, "delaying the scale-down: staying at {pods} pods, {wanted} would do")
            }
        }
    }
}

/// Why a reconciliation sets the count that it sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KpaReason {
    /// What the windows ask for, within all bounds.
    Scale(ScaleReason),
    /// `min-scale` is more.
    MinScale(u32),
    /// `max-scale` is less.
    MaxScale(u32),
    /// `initial-scale` has not been reached yet.
    InitialScale(u32),
    /// There is no traffic, but `enable-scale-to-zero` is false.
    ScaleToZeroDisabled,
    /// There is no traffic, but the revision has not come up yet; time left until it is given up.
    Activating(Duration),
    /// There is no traffic, and the revision did not come up in time.
    ActivationTimedOut,
    /// There is no traffic, but the revision has not been active for the stable window; time left of it.
    Idle(Duration),
    /// There is no traffic: the revision is inactive from now on, its pods stay for the time being.
    Deactivating,
    /// Inactive, in `scale-to-zero-pod-retention-period`; time left of it.
    PodRetention(Duration),
    /// Inactive, in `scale-to-zero-grace-period`; time left of it.
    GracePeriod(Duration),
    /// Inactive for long enough.
    ScalingToZero,
    /// There is no traffic, and no pods either.
    Zero,
}

impl fmt::Display for KpaReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scale(reason) => reason.fmt(f),
            Self::MinScale(pods) => write!(f, "min-scale: {pods} pods"),
            Self::MaxScale(pods) => write!(f, "max-scale: {pods} pods"),
            Self::InitialScale(pods) => write!(f, "initial-scale: {pods} pods"),
            Self::ScaleToZeroDisabled => f.write_str("no traffic: one pod, scale to zero is disabled"),
            Self::Activating(left) => {
                write!(f, "holding: no traffic while activating, giving up in {} s", left.as_secs_f64())
            }
            Self::ActivationTimedOut => f.write_str("scaling to zero: the revision did not come up in time"),
            Self::Idle(left) => write!(f, "no traffic: one pod for another {} s", left.as_secs_f64()),
            Self::Deactivating => f.write_str("no traffic: inactive from now on"),
            Self::PodRetention(left) => {
                write!(f, "no traffic: {} s left of the pod retention period", left.as_secs_f64())
            }
            Self::GracePeriod(left) => write!(f, "no traffic: {} s left of the grace period", left.as_secs_f64()),
            Self::ScalingToZero => f.write_str("scaling to zero after the grace period"),
            Self::Zero => f.write_str("no traffic and no pods"),
        }
    }
}
