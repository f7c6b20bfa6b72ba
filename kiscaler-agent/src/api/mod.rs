//! The custom resource `KIScaler`, which is also the format of a file: what to scale, by what, and how far.
//!
//! `kiscaler-agent crd` prints its definition. Whatever the schema and its CEL rules let through and is wrong all the
//! same (an unknown profile, a checkpoint that does not fit) is said in the object's conditions.

mod length;
mod metrics;
mod policy;
mod pool;
mod status;

use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use length::Length;
pub use metrics::{BasicAuth, DirectSource, HttpMetrics, KeyRef, MetricsSpec, Preset, PrometheusSource};
pub use policy::{CheckpointSource, PolicySpec};
pub use pool::{BatcherSpec, ColdStart, PoolSpec, Pools, ProfileSource, Rate, RateLimits, ScaleTargetRef};
pub use status::{ConditionType, KIScalerStatus, LastDecision, PolicyStatus, PoolStatus, PoolsStatus};

/// The API group.
pub const GROUP: &str = "kiscaler.dev";

/// The API version.
pub const VERSION: &str = "v1alpha1";

/// The field manager of everything that the agent writes.
pub const FIELD_MANAGER: &str = "kiscaler";

/// With the value `true` on a KIScaler, nothing is scaled until the annotation goes; decisions go on and are shown.
pub const PAUSED_ANNOTATION: &str = "kiscaler.dev/paused";

/// What is scaled, by what, and how far.
///
/// ```
/// use kiscaler_agent::api::{KIScaler, Mode};
/// let text = r#"
/// apiVersion: kiscaler.dev/v1alpha1
/// kind: KIScaler
/// metadata: {name: triton, namespace: default}
/// spec:
///   pools:
///     gpu:
///       scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: triton}
///       maxReplicas: 8
///       profile: {name: bert-large-trt-fp16-seq128-t4}
///   policy: {baseline: "hpa:60"}
///   slo: {latency: 250ms}
///   metrics: {preset: Triton, direct: {endpoints: ["http://{ip}:8002/metrics"]}}
/// "#;
/// let scaler = KIScaler::parse(text, "triton.yaml")?;
/// assert_eq!(scaler.spec.mode, Mode::Shadow);
/// assert_eq!(scaler.spec.pools.gpu.min_replicas, 1);
/// # Ok::<(), kiscaler_agent::api::ParseError>(())
/// ```
#[allow(clippy::duplicated_attributes, reason = "columns have types, and several have the same")]
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kiscaler.dev",
    version = "v1alpha1",
    kind = "KIScaler",
    plural = "kiscalers",
    shortname = "kis",
    category = "autoscaling",
    namespaced,
    status = "KIScalerStatus",
    derive = "PartialEq",
    doc = "Scales an inference service by a policy learnt in simulation, or by one of the simulator's baselines.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.pools.gpu.scaleTargetRef.name"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.pools.gpu.current"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.pools.gpu.desired"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.policy.name"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.lastDecision.reason"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.pools.cpu) || self.pools.cpu.scaleTargetRef.name != self.pools.gpu.scaleTargetRef.name || self.pools.cpu.scaleTargetRef.kind != self.pools.gpu.scaleTargetRef.kind")
        .message("pools.cpu.scaleTargetRef: found the gpu pool's target, expected another"),
    validation = Rule::new("!has(self.fallback) || self.fallback != '' ")
        .message("fallback: found nothing, expected Hold or a baseline such as hpa:60")
)]
pub struct KIScalerSpec {
    /// Shadow decides and shows what it decided; Active also scales.
    #[serde(default)]
    pub mode: Mode,
    /// What is scaled.
    pub pools: Pools,
    /// Who decides.
    pub policy: PolicySpec,
    /// The latency objective.
    pub slo: Slo,
    /// How much a saved dollar counts, relative to the policy's training: 1 is as trained, more saves more.
    #[serde(default = "one")]
    #[x_kube(validation = Rule::new("self > 0.0 && self <= 1000.0").message("costWeight: expected a number above 0, at most 1000"))]
    pub cost_weight: f64,
    /// Time between decisions. A policy must have been trained for it; most were for 15s.
    #[serde(default = "fifteen_seconds")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("interval: expected a time between 1s and 1h"))]
    pub interval: Length,
    /// Where metrics come from.
    pub metrics: MetricsSpec,
    /// Who decides when the policy cannot, or sees what training never showed it: Hold, or a baseline such as hpa:60.
    #[serde(default = "hold")]
    pub fallback: String,
    /// What must hold before anything is scaled.
    #[serde(default)]
    pub safety: Safety,
}

/// Whether decisions are carried out.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing is scaled; status, Events and metrics say what would be.
    #[default]
    Shadow,
    /// Decisions are carried out.
    Active,
}

/// The latency objective.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slo {
    /// A response later than this breaks it.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1h')")
        .message("slo.latency: expected a time between 1ms and 1h"))]
    pub latency: Length,
}

/// What to do where somebody else owns the number of replicas.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// Hold, and say who.
    #[default]
    Refuse,
    /// Take it over.
    Force,
}

/// What must hold before anything is scaled.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Safety {
    /// How long metrics must have been seen before the first change.
    #[serde(default = "minute")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('0s') && duration(self) <= duration('1h')")
        .message("safety.warmUp: expected a time of at most 1h"))]
    pub warm_up: Length,
    /// Metrics older than this are stale.
    #[serde(default = "minute")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("safety.staleAfter: expected a time between 1s and 1h"))]
    pub stale_after: Length,
    /// Share of the ready pods whose metrics must be fresh.
    #[serde(default = "half")]
    #[x_kube(validation = Rule::new("self > 0.0 && self <= 1.0").message("safety.coverage: expected a share above 0, at most 1"))]
    pub coverage: f64,
    /// Whether a decrease waits until pods of the last one are gone.
    #[serde(default = "yes")]
    pub wait_for_draining: bool,
    /// Whether a decrease prefers pods with few requests, by the annotation controller.kubernetes.io/pod-deletion-cost.
    #[serde(default = "yes")]
    pub prefer_idle_pods: bool,
    /// What to do where another field manager owns the number of replicas.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

impl Default for Safety {
    fn default() -> Self {
        Safety {
            warm_up: minute(),
            stale_after: minute(),
            coverage: half(),
            wait_for_draining: true,
            prefer_idle_pods: true,
            on_conflict: OnConflict::Refuse,
        }
    }
}

fn one() -> f64 {
    1.0
}

fn fifteen_seconds() -> Length {
    Length::secs(15)
}

fn minute() -> Length {
    Length::secs(60)
}

fn half() -> f64 {
    0.5
}

fn yes() -> bool {
    true
}

fn hold() -> String {
    "Hold".to_owned()
}

/// Why a text is no KIScaler.
#[derive(Debug, thiserror::Error)]
#[error("{origin}{}: {message}", if field.is_empty() { String::new() } else { format!(", field {field}") })]
pub struct ParseError {
    /// The file.
    pub origin: String,
    /// The path of the field, where known.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
}

impl KIScaler {
    /// Reads one from YAML; `origin` names the text in errors.
    ///
    /// # Errors
    /// The text is no YAML, has a field that is not known, or lacks one.
    pub fn parse(text: &str, origin: &str) -> Result<KIScaler, ParseError> {
        let error = |field: String, message: String| ParseError { origin: origin.to_owned(), field, message };
        let deserializer = serde_norway::Deserializer::from_str(text);
        let scaler: KIScaler = serde_path_to_error::deserialize(deserializer).map_err(|e| {
            let path = e.path().to_string();
            error(if path == "." { String::new() } else { path }, e.into_inner().to_string())
        })?;
        if scaler.metadata.name.as_deref().unwrap_or_default().is_empty() {
            return Err(error("metadata.name".into(), "found none, expected a name".into()));
        }
        Ok(scaler)
    }

    /// Its namespace; `default` in a file that does not say.
    pub fn home(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// `NAMESPACE/NAME`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.home(), self.metadata.name.as_deref().unwrap_or_default())
    }

    /// Whether the pause annotation is set.
    pub fn is_paused(&self) -> bool {
        self.metadata.annotations.as_ref().and_then(|a| a.get(PAUSED_ANNOTATION)).is_some_and(|value| value != "false")
    }
}

/// The definition of the custom resource, as YAML.
///
/// # Errors
/// Never for this type; the serializer's signature has one.
pub fn crd_yaml() -> Result<String, serde_norway::Error> {
    serde_norway::to_string(&KIScaler::crd())
}
