//! Knative's pod autoscaler (class `kpa.autoscaling.knative.dev`) as pure code: no clock, no cluster, no randomness.
//!
//! * [`KpaSpec`] is the autoscaler, read from a `Service`, `Revision` or `PodAutoscaler` manifest and the ConfigMap
//!   `config-autoscaler` ([`KpaSpec::from_yaml`]) with the checks and the defaults of Knative's webhook.
//! * [`Kpa`] is the autoscaler's state for one revision: [`Kpa::record`] takes a value each second, [`Kpa::scale`] says
//!   how many pods the windows ask for, and [`Kpa::reconcile`], once per tick, how many there are to be.
//!
//! What the modules follow, in knative/serving:
//!
//! | module | upstream |
//! |---|---|
//! | `wire`, `manifest`, `spec` | `pkg/apis/autoscaling/register.go`, `annotation_validation.go`, `pkg/autoscaler/config/config.go`, `pkg/reconciler/autoscaling/resources/{target,metric}.go` |
//! | `buckets` | `pkg/autoscaler/aggregation/bucketing.go` (`TimedFloat64Buckets`), `pkg/autoscaler/metrics/collector.go` |
//! | `delay` | `pkg/autoscaler/aggregation/max/{window,timewindow}.go` |
//! | `autoscaler` | `pkg/autoscaler/scaling/{autoscaler,multiscaler}.go` |
//! | `reconciler` | `pkg/reconciler/autoscaling/kpa/{kpa,scaler}.go` |
//!
//! The activator has no place here. Its probe before the last pod goes always succeeds, and whether the revision is
//! behind it ([`KpaDecision::proxy`]) is kept as upstream keeps the mode of the ServerlessService, because the grace
//! period counts from there.

mod autoscaler;
mod buckets;
mod delay;
mod manifest;
mod reason;
mod reconciler;
mod spec;
mod wire;

#[cfg(test)]
mod autoscaler_tests;
#[cfg(test)]
mod manifest_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reconciler_tests;

pub use crate::hpa::ManifestError;
pub use autoscaler::{Kpa, ScaleResult};
pub use reason::{KpaReason, Observed, ScaleReason};
pub use reconciler::{Activity, KpaDecision};
pub use spec::{KpaMetric, KpaSpec};
