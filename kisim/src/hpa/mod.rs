//! The HorizontalPodAutoscaler of Kubernetes (`autoscaling/v2`) as pure code: no clock, no
//! cluster, no randomness.
//!
//! * [`HpaSpec`] is the autoscaler, read from a manifest ([`HpaSpec::from_yaml`]) with the checks
//!   and the defaults of the API server.
//! * [`Hpa`] is the controller's state for it; one [`Hpa::sync`] is one reconciliation.
//!
//! What the modules follow, in kubernetes/kubernetes:
//!
//! | module | upstream |
//! |---|---|
//! | `quantity` | `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go` |
//! | `wire`, `manifest`, `spec` | `pkg/apis/autoscaling/v2/defaults.go`, `pkg/apis/autoscaling/validation/validation.go` |
//! | `calculator` | `pkg/controller/podautoscaler/replica_calculator.go`, `metrics/utilization.go` |
//! | `behavior`, `controller`, `condition` | `pkg/controller/podautoscaler/horizontal.go` |
//!
//! Where upstream's integers would wrap around, these saturate.

mod behavior;
mod calculator;
mod condition;
mod controller;
mod input;
mod manifest;
mod quantity;
mod spec;
mod wire;

pub use calculator::{MetricError, Proposal, Reading, Tolerances};
pub use condition::{Condition, ConditionKind, ConditionReason};
pub use controller::{ControllerSettings, Hpa, HpaDecision, RescaleReason, SyncError};
pub use input::{Container, HpaInputs, MetricInput, PodMetric, PodPhase, PodStatus};
pub use manifest::ManifestError;
pub use quantity::{Quantity, QuantityError};
pub use spec::{
    Behavior, HpaSpec, LabelRequirement, MetricId, MetricSpec, ObjectRef, Policy, PolicyKind, ResourceName,
    ResourceTarget, ScalingRules, SelectPolicy, Selector, SelectorOperator, ValueTarget,
};
