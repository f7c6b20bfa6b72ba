//! The fields of a manifest as they are written, under the names of `keda.sh/v1alpha1`
//! (`apis/keda/v1alpha1/scaledobject_types.go`, `scaletriggers_types.go`).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

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
    #[serde(default, deserialize_with = "texts")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "texts")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) scale_target_ref: ScaleTarget,
    pub(super) polling_interval: Option<i32>,
    pub(super) initial_cooldown_period: Option<i32>,
    pub(super) cooldown_period: Option<i32>,
    pub(super) idle_replica_count: Option<i32>,
    pub(super) min_replica_count: Option<i32>,
    pub(super) max_replica_count: Option<i32>,
    pub(super) advanced: Option<Advanced>,
    pub(super) triggers: Vec<TriggerFields>,
    pub(super) fallback: Option<FallbackFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ScaleTarget {
    pub(super) name: String,
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    /// Where triggers find variables of an environment; no trigger here reads any.
    #[serde(rename = "envSourceContainerName")]
    _env_source_container_name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FallbackFields {
    pub(super) failure_threshold: i32,
    pub(super) replicas: i32,
    pub(super) behavior: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Advanced {
    pub(super) horizontal_pod_autoscaler_config: Option<HpaConfig>,
    pub(super) restore_to_original_replica_count: Option<bool>,
    pub(super) scaling_modifiers: Option<ModifierFields>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HpaConfig {
    /// Read by the module for HorizontalPodAutoscalers, see `manifest::behavior`.
    pub(super) behavior: Option<serde_norway::Value>,
    pub(super) name: Option<String>,
}

#[derive(Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ModifierFields {
    #[serde(deserialize_with = "text")]
    pub(super) formula: String,
    #[serde(deserialize_with = "text")]
    pub(super) target: String,
    #[serde(deserialize_with = "text")]
    pub(super) activation_target: String,
    #[serde(deserialize_with = "text")]
    pub(super) metric_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TriggerFields {
    pub(super) r#type: String,
    pub(super) name: Option<String>,
    pub(super) use_cached_metrics: Option<bool>,
    #[serde(deserialize_with = "texts")]
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) authentication_ref: Option<AuthenticationRef>,
    pub(super) metric_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthenticationRef {
    pub(super) name: String,
    #[serde(rename = "kind")]
    _kind: Option<IgnoredAny>,
}

/// A text and nothing else: the API server refuses a bare `10` or `true` in its place, which YAML would let through.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let texts = Option::<BTreeMap<String, Text>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(texts.into_iter().map(|(key, text)| (key, text.0)).collect())
}
