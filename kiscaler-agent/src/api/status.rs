//! What became of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What became of a KIScaler. Written when it changes, not at every decision.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KIScalerStatus {
    /// The generation of the spec that the rest is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods, by pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<PoolsStatus>,
    /// Who decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// The last decision that was unlike the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<LastDecision>,
    /// Ready, MetricsAvailable, PolicyLoaded, ScalingActive, InDistribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Option<Vec<Condition>>,
}

/// Pods, by pool.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolsStatus {
    /// Of the GPU pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<PoolStatus>,
    /// Of the CPU pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<PoolStatus>,
}

/// Pods of a pool.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Replicas that are asked for now.
    #[schemars(with = "i32", range(min = 0))]
    pub current: u32,
    /// Replicas that the decision wants, within the limits. In Shadow, nobody asks for them.
    #[schemars(with = "i32", range(min = 0))]
    pub desired: u32,
    /// Ready pods.
    #[schemars(with = "i32", range(min = 0))]
    pub ready: u32,
}

/// Who decides.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// A baseline's name, or where the checkpoint is.
    pub name: String,
    /// The checkpoint's SHA-256, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A decision.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// When it was made.
    #[schemars(schema_with = "time_schema")]
    pub time: Time,
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The conditions of a KIScaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// All of the others but ScalingActive are true.
    Ready,
    /// Metrics are there, fresh, and of enough pods.
    MetricsAvailable,
    /// The policy is loaded and fits.
    PolicyLoaded,
    /// Decisions are carried out.
    ScalingActive,
    /// What is seen is like what training showed.
    InDistribution,
}

impl ConditionType {
    /// All, in the order in which they are shown.
    pub const ALL: [ConditionType; 5] = [
        ConditionType::Ready,
        ConditionType::MetricsAvailable,
        ConditionType::PolicyLoaded,
        ConditionType::ScalingActive,
        ConditionType::InDistribution,
    ];

    /// Its type in Kubernetes.
    pub const fn name(self) -> &'static str {
        match self {
            ConditionType::Ready => "Ready",
            ConditionType::MetricsAvailable => "MetricsAvailable",
            ConditionType::PolicyLoaded => "PolicyLoaded",
            ConditionType::ScalingActive => "ScalingActive",
            ConditionType::InDistribution => "InDistribution",
        }
    }
}

/// Written out: k8s-openapi's own schemas would bring those of all of Kubernetes.
fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// `metav1.Condition`, one of each type.
fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "nullable": true,
        "description": "Ready, MetricsAvailable, PolicyLoaded, ScalingActive, InDistribution.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32768},
            },
        },
    })
}
