//! What is scaled, and how far.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Length;
use super::metrics::KeyRef;

/// The pools of a service.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pools {
    /// Pods with a GPU, which carry the load.
    pub gpu: PoolSpec,
    /// Pods without, as a bridge while GPU pods start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<PoolSpec>,
}

impl Pools {
    /// By name, in the order in which the simulator numbers them: that of their names.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, &PoolSpec)> {
        self.cpu.iter().map(|pool| ("cpu", pool)).chain([("gpu", &self.gpu)])
    }
}

/// A pool of equal pods.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("minReplicas: expected at most maxReplicas"),
    validation = Rule::new("self.minReplicas > 0 || (has(self.scaleToZero) && self.scaleToZero)")
        .message("minReplicas: found 0, expected at least 1 unless scaleToZero is true")
)]
pub struct PoolSpec {
    /// What has the number of replicas: anything with a scale subresource.
    pub scale_target_ref: ScaleTargetRef,
    /// Fewest replicas.
    #[serde(default = "one")]
    #[schemars(with = "i32", range(min = 0, max = 10000))]
    pub min_replicas: u32,
    /// Most replicas.
    #[schemars(with = "i32", range(min = 1, max = 10000))]
    pub max_replicas: u32,
    /// Whether minReplicas may be 0: requests then fail unless something holds them, and something else has to wake it, as
    /// there is no pod whose metrics would say that requests come.
    #[serde(default)]
    pub scale_to_zero: bool,
    /// Most replicas that one decision adds; no limit where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10000))]
    pub max_step_up: Option<u32>,
    /// Most replicas that one decision removes; no limit where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10000))]
    pub max_step_down: Option<u32>,
    /// Most replicas added or removed within a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimits>,
    /// A decrease takes the highest decision of this long.
    #[serde(default)]
    pub scale_down_stabilization: Length,
    /// How long the service takes for a batch, as measured.
    pub profile: ProfileSource,
    /// How the server batches.
    #[serde(default)]
    pub batcher: BatcherSpec,
    /// From the request for a pod until it serves.
    #[serde(default)]
    pub cold_start: ColdStart,
    /// US dollars per replica-hour; the profile's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0.0").message("pricePerHour: expected a number of at least 0"))]
    pub price_per_hour: Option<f64>,
}

/// An object with a scale subresource, in the namespace of the KIScaler.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTargetRef {
    /// Its group and version.
    #[serde(default = "apps_v1")]
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Its kind.
    #[serde(default = "deployment")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Most replicas added or removed within a time.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RateLimits {
    /// Of those added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<Rate>,
    /// Of those removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<Rate>,
}

/// So many replicas within a time.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// How many.
    #[schemars(with = "i32", range(min = 1, max = 10000))]
    pub replicas: u32,
    /// Within what.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("period: expected a time between 1s and 24h"))]
    pub period: Length,
}

/// A profile: built in, or one's own.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(has(self.name) ? 1 : 0) + (has(self.inline) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) == 1")
        .message("profile: expected one of name, inline and configMapKeyRef")
)]
pub struct ProfileSource {
    /// One that is built in; `kisim profiles` lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Its TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub inline: Option<String>,
    /// A ConfigMap that holds its TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// How the server batches, by the names of Triton's config.pbtxt where it has them.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BatcherSpec {
    /// Largest batch; the profile's where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 65536))]
    pub max_batch: Option<u32>,
    /// How long a request waits for others.
    pub max_queue_delay: Length,
    /// Requests waiting beyond which a pod rejects; 0 for no limit.
    #[schemars(with = "i32", range(min = 0, max = 1000000))]
    pub queue_limit: u32,
    /// Model instances of a pod; 1 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 64))]
    pub instances: Option<u32>,
}

/// From the request for a pod until it serves, where a node has room.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("duration(self.median) >= duration('100ms') && duration(self.p90) >= duration(self.median)")
        .message("coldStart: expected a median of at least 100ms, and a p90 of at least the median")
)]
pub struct ColdStart {
    /// What half of the pods do not exceed.
    #[serde(default = "median")]
    pub median: Length,
    /// What nine of ten do not exceed.
    #[serde(default = "p90")]
    pub p90: Length,
}

impl Default for ColdStart {
    /// Those of kisim's default scenario.
    fn default() -> Self {
        ColdStart { median: median(), p90: p90() }
    }
}

fn median() -> Length {
    Length::secs(30)
}

fn p90() -> Length {
    Length::secs(40)
}

fn one() -> u32 {
    1
}

fn apps_v1() -> String {
    "apps/v1".to_owned()
}

fn deployment() -> String {
    "Deployment".to_owned()
}
