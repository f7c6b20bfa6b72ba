//! The fields of a manifest as they are written, under the names of `autoscaling/v2`
//! (`staging/src/k8s.io/api/autoscaling/v2/types.go`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::quantity::Quantity;
use super::spec::{PolicyKind, SelectPolicy, SelectorOperator};

/// The two fields that say what the rest is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Manifest {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
    /// What a cluster adds; the state of an autoscaler here is its own.
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

/// `metadata`. Its many fields have no part in autoscaling, so unknown ones are let through.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) scale_target_ref: Reference,
    pub(super) min_replicas: Option<i32>,
    pub(super) max_replicas: i32,
    pub(super) metrics: Option<Vec<Metric>>,
    pub(super) behavior: Option<BehaviorFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reference {
    pub(super) api_version: Option<String>,
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum MetricType {
    Resource,
    ContainerResource,
    Pods,
    Object,
    External,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metric {
    pub(super) r#type: MetricType,
    pub(super) resource: Option<ResourceSource>,
    pub(super) container_resource: Option<ContainerResourceSource>,
    pub(super) pods: Option<PodsSource>,
    pub(super) object: Option<ObjectSource>,
    pub(super) external: Option<ExternalSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceSource {
    pub(super) name: String,
    pub(super) target: Target,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContainerResourceSource {
    pub(super) name: String,
    pub(super) container: String,
    pub(super) target: Target,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PodsSource {
    pub(super) metric: Identifier,
    pub(super) target: Target,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ObjectSource {
    pub(super) described_object: Reference,
    pub(super) metric: Identifier,
    pub(super) target: Target,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalSource {
    pub(super) metric: Identifier,
    pub(super) target: Target,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identifier {
    pub(super) name: String,
    pub(super) selector: Option<SelectorFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SelectorFields {
    pub(super) match_labels: Option<BTreeMap<String, String>>,
    pub(super) match_expressions: Option<Vec<Expression>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expression {
    pub(super) key: String,
    pub(super) operator: SelectorOperator,
    pub(super) values: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum TargetType {
    Utilization,
    Value,
    AverageValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Target {
    pub(super) r#type: TargetType,
    pub(super) average_utilization: Option<i32>,
    pub(super) average_value: Option<Quantity>,
    pub(super) value: Option<Quantity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BehaviorFields {
    pub(super) scale_up: Option<RulesFields>,
    pub(super) scale_down: Option<RulesFields>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RulesFields {
    pub(super) stabilization_window_seconds: Option<i32>,
    pub(super) select_policy: Option<SelectPolicy>,
    pub(super) policies: Option<Vec<PolicyFields>>,
    pub(super) tolerance: Option<Quantity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PolicyFields {
    pub(super) r#type: PolicyKind,
    pub(super) value: i32,
    pub(super) period_seconds: i32,
}
