//! Who decides.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::metrics::KeyRef;

/// Who decides: a learnt policy, or one of the simulator's own rules.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.checkpoint) != has(self.baseline)")
        .message("policy: expected one of checkpoint and baseline")
)]
pub struct PolicySpec {
    /// A policy that kiscaler-train wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointSource>,
    /// A rule by the simulator's name for it: hpa, hpa:60, hpa:queue:4, keda:in_flight:24, kpa, predictive, fixed:4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub baseline: Option<String>,
}

/// Where a checkpoint is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(has(self.configMapKeyRef) ? 1 : 0) + (has(self.secretKeyRef) ? 1 : 0) + (has(self.path) ? 1 : 0) == 1")
        .message("checkpoint: expected one of configMapKeyRef, secretKeyRef and path")
)]
pub struct CheckpointSource {
    /// In binaryData of a ConfigMap in the KIScaler's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// In data of a Secret in the KIScaler's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A file where the agent runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub path: Option<String>,
    /// The SHA-256 that the file must have, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
}

impl PolicySpec {
    /// Its name for people, before it is loaded.
    pub fn label(&self) -> String {
        match (&self.baseline, &self.checkpoint) {
            (Some(baseline), _) => baseline.clone(),
            (None, Some(checkpoint)) => checkpoint.label(),
            (None, None) => String::new(),
        }
    }
}

impl CheckpointSource {
    /// Where it is, for people.
    pub fn label(&self) -> String {
        let key = |what: &str, key: &KeyRef| format!("{what}/{}/{}", key.name, key.key);
        match (&self.config_map_key_ref, &self.secret_key_ref, &self.path) {
            (Some(map), _, _) => key("configmap", map),
            (_, Some(secret), _) => key("secret", secret),
            (_, _, Some(path)) => path.clone(),
            _ => String::new(),
        }
    }
}
