//! KEDA's ScaledObject (`keda.sh/v1alpha1`) as pure code: no clock, no cluster, no randomness.
//!
//! * [`ScaledObject`] is what is asked for, read from a manifest ([`ScaledObject::from_yaml`]) with KEDA's checks and
//!   defaults; [`ScaledObject::hpa_spec`] is the HorizontalPodAutoscaler KEDA makes of it.
//! * [`Keda`] is the operator's state for it and that of its HorizontalPodAutoscaler; [`Keda::tick`] runs what is due
//!   of the two.
//! * [`query`] reads the queries of `prometheus` triggers, [`formula`] those of `scalingModifiers`.
//!
//! Two loops share the work. The operator polls the triggers every `pollingInterval` and owns the step between none
//! (or `idleReplicaCount`) and some replicas; everything above is the [`Hpa`](crate::hpa::Hpa)'s, whose External
//! metrics KEDA serves. Both loops count the failures of a trigger.
//!
//! What the modules follow, in kedacore/keda v2.21:
//!
//! | module | upstream |
//! | --- | --- |
//! | `wire`, `spec` | `apis/keda/v1alpha1/scaledobject_types.go`, `scaletriggers_types.go` |
//! | `manifest`, `triggers` | `apis/keda/v1alpha1/scaledobject_webhook.go`, `pkg/scalers/*_scaler.go` |
//! | `target` | `controllers/keda/hpa.go` |
//! | `cron` | `pkg/scalers/cron_scaler.go` |
//! | `observe` | `pkg/scalers/scaler.go`, `pkg/fallback/fallback.go`, `pkg/scaling/modifiers/formula.go` |
//! | `executor` | `pkg/scaling/executor/scale_scaledobjects.go` |
//! | `operator` | `pkg/scaling/scale_handler.go` |
//!
//! Where upstream's integers would wrap around, these saturate.

mod cron;
mod executor;
pub mod formula;
mod manifest;
mod observe;
mod operator;
pub mod query;
mod spec;
mod target;
mod triggers;
mod wire;

pub use cron::{Schedule, ScheduleError};
pub use executor::PollOutcome;
pub use operator::{DEFAULT_START, Keda, KedaDecision, KedaInputs, KedaReason, TriggerInput};
pub use spec::{
    CronTrigger, Fallback, FallbackBehavior, MetricTarget, Pause, PrometheusTrigger, ResourceTrigger, ScaledObject,
    ScalingModifiers, Trigger, TriggerKind,
};

#[cfg(test)]
mod tests;
