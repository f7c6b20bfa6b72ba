//! Where metrics come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Length;

/// Where metrics come from: which names, and from where.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.direct) != has(self.prometheus)")
        .message("metrics: expected one of direct and prometheus"),
    validation = Rule::new("(self.preset == 'HTTP') == has(self.http)")
        .message("metrics.http: expected with preset HTTP, and with no other"),
    validation = Rule::new("!has(self.latencyBuckets) || self.latencyBuckets.all(b, duration(b) > duration('0s'))")
        .message("metrics.latencyBuckets: expected times above 0s")
)]
pub struct MetricsSpec {
    /// Whose names the service's metrics have.
    pub preset: Preset,
    /// Read from the pods themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectSource>,
    /// Read from Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSource>,
    /// Names of a service of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpMetrics>,
    /// Range over which rates and quantiles are computed.
    #[serde(default = "minute")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('2s') && duration(self) <= duration('1h')")
        .message("metrics.window: expected a time between 2s and 1h"))]
    pub window: Length,
    /// Upper bounds of the latency buckets, ascending; an exporter's bucket counts as the next of these. The simulator's
    /// own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 23))]
    pub latency_buckets: Option<Vec<Length>>,
}

/// Whose names metrics have.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preset {
    /// NVIDIA Triton Inference Server, with istio's where a sidecar is there.
    Triton,
    /// vLLM's OpenAI-compatible server.
    VLLM,
    /// KServe's Python model server.
    KServe,
    /// A latency histogram of one's own, see `http`.
    HTTP,
}

/// Reads `/metrics` of the target's pods.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectSource {
    /// URLs to read for each ready pod, as one; {ip}, {pod}, {namespace}, {node} and {hostIP} are the pod's. A node's
    /// DCGM exporter can be one: series that name another pod are left out.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(validation = Rule::new("self.all(e, e.startsWith('http://') || e.startsWith('https://'))")
        .message("metrics.direct.endpoints: expected URLs that start with http:// or https://"))]
    pub endpoints: Vec<String>,
    /// How long an answer may take.
    #[serde(default = "two_seconds")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('50ms') && duration(self) <= duration('30s')")
        .message("metrics.direct.timeout: expected a time between 50ms and 30s"))]
    pub timeout: Length,
}

/// Reads from Prometheus' HTTP API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!(has(self.bearerToken) && has(self.basicAuth))")
        .message("metrics.prometheus: expected at most one of bearerToken and basicAuth"),
    validation = Rule::new("self.url.startsWith('http://') || self.url.startsWith('https://')")
        .message("metrics.prometheus.url: expected a URL that starts with http:// or https://")
)]
pub struct PrometheusSource {
    /// Its address, up to where `/api/v1` follows.
    #[schemars(length(min = 8, max = 2048))]
    pub url: String,
    /// The label with a pod's name.
    #[serde(default = "pod")]
    #[schemars(regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub pod_label: String,
    /// The label with a pod's name in series of the DCGM exporter.
    #[serde(default = "exported_pod")]
    #[schemars(regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub gpu_pod_label: String,
    /// A Secret's key that holds a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<KeyRef>,
    /// A Secret with a user's name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// A ConfigMap's key that holds the certificates to trust, PEM; the system's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<KeyRef>,
    /// How long an answer may take.
    #[serde(default = "five_seconds")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('50ms') && duration(self) <= duration('60s')")
        .message("metrics.prometheus.timeout: expected a time between 50ms and 60s"))]
    pub timeout: Length,
    /// How much of the service's past load a policy is told when it begins, as far as Prometheus has it: one that knows
    /// hours of it decides better, and an agent that restarts has forgotten them. 0s for none.
    #[serde(default = "five_hours")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('0s') && duration(self) <= duration('24h')")
        .message("metrics.prometheus.recall: expected a time of at most 24h"))]
    pub recall: Length,
}

impl PrometheusSource {
    /// The most of the past that is asked for: what repeats daily is in it, and every hour is work for Prometheus.
    pub const LONGEST_RECALL: Length = Length::secs(24 * 3600);
}

/// A key in a ConfigMap or a Secret.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret with a user's name and password.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuth {
    /// The key of the name.
    pub username: KeyRef,
    /// The key of the password.
    pub password: KeyRef,
}

/// Names of a service's metrics: a latency histogram in seconds, and gauges.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMetrics {
    /// The histogram's name, without `_bucket`.
    #[schemars(regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub latency_histogram: String,
    /// A counter of requests received; those answered where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub requests_total: Option<String>,
    /// A gauge of requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub in_flight: Option<String>,
    /// A gauge of requests waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub queued: Option<String>,
}

fn minute() -> Length {
    Length::secs(60)
}

fn two_seconds() -> Length {
    Length::secs(2)
}

fn five_seconds() -> Length {
    Length::secs(5)
}

fn five_hours() -> Length {
    Length::secs(5 * 3600)
}

fn pod() -> String {
    "pod".to_owned()
}

fn exported_pod() -> String {
    "exported_pod".to_owned()
}
