//! A ScaledObject after KEDA's checks and defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::Offset;

use super::cron::Schedule;
use super::formula::Formula;
use super::manifest;
use crate::hpa::{Behavior, ManifestError, ObjectRef, ResourceName, ResourceTarget};

/// A checked ScaledObject with every default filled in.
///
/// Source: `apis/keda/v1alpha1/scaledobject_types.go` and `scaledobject_webhook.go`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaledObject {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, `default` where absent.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`, those that follow included.
    pub annotations: BTreeMap<String, String>,
    /// `autoscaling.keda.sh/paused` and `autoscaling.keda.sh/paused-replicas`.
    pub pause: Option<Pause>,
    /// `autoscaling.keda.sh/paused-scale-in`: no step down, by the operator or the HorizontalPodAutoscaler.
    pub pause_scale_in: bool,
    /// `autoscaling.keda.sh/paused-scale-out`: no step up, by the operator or the HorizontalPodAutoscaler.
    pub pause_scale_out: bool,
    /// `autoscaling.keda.sh/force-activation`: always active, whatever the triggers say.
    pub force_activation: bool,
    /// `spec.scaleTargetRef`: what is scaled; `apps/v1`, `Deployment` where absent.
    pub scale_target: ObjectRef,
    /// `spec.pollingInterval`, 30 s where absent.
    pub polling_interval: Duration,
    /// `spec.cooldownPeriod`, 300 s where absent: from the last activity to the step to none or idle.
    pub cooldown: Duration,
    /// `spec.initialCooldownPeriod`, 0 where absent: the same from the creation, before any activity.
    pub initial_cooldown: Duration,
    /// `spec.idleReplicaCount`: how many replicas where no trigger is active.
    pub idle_replicas: Option<i32>,
    /// `spec.minReplicaCount`, 0 where absent.
    pub min_replicas: i32,
    /// `spec.maxReplicaCount`, 100 where absent.
    pub max_replicas: i32,
    /// `spec.fallback`.
    pub fallback: Option<Fallback>,
    /// `spec.advanced.restoreToOriginalReplicaCount`, `false` where absent: what happens when the object is deleted.
    pub restore_original: bool,
    /// `spec.advanced.horizontalPodAutoscalerConfig.name`, `keda-hpa-` and the object's name where absent.
    pub hpa_name: String,
    /// `spec.advanced.horizontalPodAutoscalerConfig.behavior`.
    pub behavior: Option<Behavior>,
    /// `spec.advanced.scalingModifiers`.
    pub modifiers: Option<ScalingModifiers>,
    /// `spec.triggers`, at least one.
    pub triggers: Vec<Trigger>,
}

impl ScaledObject {
    /// Reads a manifest of kind `ScaledObject`, `keda.sh/v1alpha1`, in YAML or JSON. `file` is the name errors give it.
    ///
    /// Stricter than KEDA in what it passes over in silence: unknown parameters of a trigger, and fields that KEDA
    /// only finds wrong when it runs, are errors here.
    ///
    /// # Errors
    ///
    /// [`ManifestError`], one sentence each: text that is not YAML, another kind or version, an unknown field, a value
    /// outside of its range, two fields that do not go together.
    pub fn from_yaml(text: &str, file: &str) -> Result<Self, ManifestError> {
        manifest::read(text, file)
    }

    /// Whether all triggers are of CPU or memory: then the object counts as active (`getScaledObjectState`).
    pub fn has_only_resources(&self) -> bool {
        self.triggers.iter().all(|t| matches!(t.kind, TriggerKind::Resource(_)))
    }

    /// Whether polls may take what the HorizontalPodAutoscaler's queries found instead of asking again
    /// (`UsesHPAObservations`): its minimum is above 0 and nothing else needs the polls.
    pub fn uses_hpa_observations(&self) -> bool {
        self.min_replicas > 0
            && self.idle_replicas.is_none()
            && self.modifiers.is_none()
            && !self.triggers.iter().any(|t| t.use_cached_metrics)
    }
}

/// Nothing is scaled, and there is no HorizontalPodAutoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// At the count there is (`autoscaling.keda.sh/paused`).
    AtCurrent,
    /// At a given count (`autoscaling.keda.sh/paused-replicas`).
    At(i32),
}

/// What counts where a trigger fails too often in a row (`spec.fallback`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// `failureThreshold`: how many failures in a row, of either loop, are borne.
    pub failure_threshold: i32,
    /// `replicas`.
    pub replicas: i32,
    /// `behavior`, [`FallbackBehavior::Static`] where absent.
    pub behavior: FallbackBehavior,
}

/// Which count a fallback asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackBehavior {
    /// `static`: that of the fallback.
    Static,
    /// `currentReplicas`: the current one.
    CurrentReplicas,
    /// `currentReplicasIfHigher`: the higher of the two.
    CurrentReplicasIfHigher,
    /// `currentReplicasIfLower`: the lower of the two.
    CurrentReplicasIfLower,
    /// `scalingModifiers`: the formula's, in which a failing trigger is `nil`.
    ScalingModifiers,
}

/// Whether a target is one value, or one for each replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricTarget {
    /// `AverageValue`, the default: for each replica.
    AverageValue,
    /// `Value`: the value as it is.
    Value,
}

/// One metric out of all triggers (`spec.advanced.scalingModifiers`).
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingModifiers {
    /// `formula`, over the names of the triggers; CPU and memory have no part in it.
    pub formula: Formula,
    /// `target` of the formula's result, above 0.
    pub target: f64,
    /// Whether a fallback goes with the target: only a whole number does (`HasValidFallback`).
    pub target_is_whole: bool,
    /// `activationTarget`, 0 where absent: the object is active above it.
    pub activation_target: f64,
    /// `metricType`.
    pub metric_target: MetricTarget,
}

/// One entry of `spec.triggers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// `name`, by which a formula knows it.
    pub name: Option<String>,
    /// `useCachedMetrics`: the HorizontalPodAutoscaler gets what the last poll found.
    pub use_cached_metrics: bool,
    /// `authenticationRef.name`; nothing here asks for a password.
    pub authentication: Option<String>,
    /// `type`, with its `metadata`.
    pub kind: TriggerKind,
}

/// What a trigger looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerKind {
    /// `prometheus`.
    Prometheus(PrometheusTrigger),
    /// `cpu` and `memory`.
    Resource(ResourceTrigger),
    /// `cron`.
    Cron(CronTrigger),
}

/// The result of a query (`pkg/scalers/prometheus_scaler.go`).
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusTrigger {
    /// `serverAddress`.
    pub server_address: String,
    /// `query`, as it is written; see [`Query`](super::query::Query).
    pub query: String,
    /// `threshold`, the target, at least a thousandth.
    pub threshold: f64,
    /// `activationThreshold`, 0 where absent: active above it.
    pub activation_threshold: f64,
    /// `ignoreNullValues`, `true` where absent: no result, or one that is no number, counts as 0 and not as a failure.
    pub ignore_null_values: bool,
    /// The trigger's `metricType`.
    pub metric_target: MetricTarget,
}

/// A resource of the pods (`pkg/scalers/cpu_memory_scaler.go`).
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceTrigger {
    /// CPU or memory.
    pub resource: ResourceName,
    /// `containerName`, for one container of every pod.
    pub container: Option<String>,
    /// `value`, by the trigger's `metricType`.
    pub target: ResourceTarget,
}

/// Replicas by the clock (`pkg/scalers/cron_scaler.go`).
#[derive(Clone, Debug, PartialEq)]
pub struct CronTrigger {
    /// `timezone`.
    pub timezone: String,
    /// How far that is from UTC, at all times.
    pub offset: Offset,
    /// `start`.
    pub start: Schedule,
    /// `end`.
    pub end: Schedule,
    /// `desiredReplicas` from a start to the next end, at least 1.
    pub desired_replicas: i64,
    /// The trigger's `metricType`.
    pub metric_target: MetricTarget,
}
