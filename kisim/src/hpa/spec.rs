//! A HorizontalPodAutoscaler after the API server's checks and defaults.

use std::collections::BTreeMap;
use std::fmt;

use super::manifest::{self, ManifestError};

/// A checked HorizontalPodAutoscaler with every default filled in.
///
/// Source: `pkg/apis/autoscaling/v2/defaults.go` and
/// `pkg/apis/autoscaling/validation/validation.go`.
#[derive(Clone, Debug, PartialEq)]
pub struct HpaSpec {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, `default` where absent.
    pub namespace: String,
    /// `spec.scaleTargetRef`: what is scaled.
    pub scale_target: ObjectRef,
    /// `spec.minReplicas`, 1 where absent; 0 only beside an Object or External metric.
    pub min_replicas: i32,
    /// `spec.maxReplicas`, at least 1 and at least `min_replicas`.
    pub max_replicas: i32,
    /// `spec.metrics`, never empty: CPU utilisation of 80 % where absent.
    pub metrics: Vec<MetricSpec>,
    /// `spec.behavior`: `None` where absent, which is not the same as its defaults.
    pub behavior: Option<Behavior>,
}

impl HpaSpec {
    /// Reads a manifest of kind `HorizontalPodAutoscaler`, `autoscaling/v2`, in YAML or JSON.
    /// `file` is the name errors give it.
    ///
    /// # Errors
    ///
    /// [`ManifestError`], one sentence each: text that is not YAML, another kind or version, an
    /// unknown field, a value outside of its range.
    pub fn from_yaml(text: &str, file: &str) -> Result<Self, ManifestError> {
        manifest::read(text, file)
    }
}

/// A reference to an object in the namespace (`CrossVersionObjectReference`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// `apiVersion`, empty for the core group where absent.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `name`.
    pub name: String,
}

/// One entry of `spec.metrics`.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricSpec {
    /// A resource of whole pods, such as CPU.
    Resource {
        /// Which resource.
        resource: ResourceName,
        /// What it is kept at.
        target: ResourceTarget,
    },
    /// A resource of one container of every pod.
    ContainerResource {
        /// Which resource.
        resource: ResourceName,
        /// The container's name.
        container: String,
        /// What it is kept at.
        target: ResourceTarget,
    },
    /// A custom metric with one value per pod.
    Pods {
        /// Which metric.
        metric: MetricId,
        /// The mean it is kept at, in thousandths.
        average_milli: i64,
    },
    /// A custom metric with one value, of some object.
    Object {
        /// The object.
        described: ObjectRef,
        /// Which metric.
        metric: MetricId,
        /// What it is kept at.
        target: ValueTarget,
    },
    /// A metric from outside the cluster; its series are added up.
    External {
        /// Which metric.
        metric: MetricId,
        /// What it is kept at.
        target: ValueTarget,
    },
}

impl MetricSpec {
    /// Whether this metric can scale to and from zero pods: it exists without pods.
    pub const fn is_object_or_external(&self) -> bool {
        matches!(self, Self::Object { .. } | Self::External { .. })
    }
}

/// The metric as events and conditions name it (`computeReplicasForMetric`).
impl fmt::Display for MetricSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource { resource, target } => match target {
                ResourceTarget::AverageValue(_) => write!(f, "{resource} resource"),
                ResourceTarget::Utilization(_) => {
                    write!(f, "{resource} resource utilization (percentage of request)")
                }
            },
            Self::ContainerResource { resource, target, .. } => match target {
                ResourceTarget::AverageValue(_) => write!(f, "{resource} resource"),
                ResourceTarget::Utilization(_) => {
                    write!(f, "{resource} container resource utilization (percentage of request)")
                }
            },
            Self::Pods { metric, .. } => write!(f, "pods metric {}", metric.name),
            Self::Object { described, metric, target: ValueTarget::Value(_) } => {
                write!(f, "{} metric {}", described.kind, metric.name)
            }
            // Upstream calls an Object metric with a target per pod external.
            Self::Object { metric, .. } | Self::External { metric, .. } => {
                write!(f, "external metric {}(", metric.name)?;
                match &metric.selector {
                    None => f.write_str("nil")?,
                    Some(selector) => write!(f, "{selector}")?,
                }
                f.write_str(")")
            }
        }
    }
}

/// A resource of containers. CPU has rules of its own: it is not counted while a pod starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResourceName {
    /// `cpu`, in cores.
    Cpu,
    /// `memory`, in bytes.
    Memory,
    /// Any other, such as `nvidia.com/gpu`.
    Other(String),
}

impl From<String> for ResourceName {
    fn from(name: String) -> Self {
        match name.as_str() {
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            _ => Self::Other(name),
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Other(name) => name,
        })
    }
}

/// What a resource is kept at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceTarget {
    /// `averageUtilization`: per cent of the pods' requests, at least 1.
    Utilization(i32),
    /// `averageValue`: thousandths per pod, above 0.
    AverageValue(i64),
}

/// What a metric with one value is kept at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueTarget {
    /// `value`: thousandths of the value as it is, above 0.
    Value(i64),
    /// `averageValue`: thousandths of the value divided by the number of pods, above 0.
    AverageValue(i64),
}

/// The name of a metric and the series of it that count (`MetricIdentifier`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricId {
    /// `name`.
    pub name: String,
    /// `selector`, if any.
    pub selector: Option<Selector>,
}

/// A label selector: all of its terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `matchLabels`.
    pub match_labels: BTreeMap<String, String>,
    /// `matchExpressions`.
    pub match_expressions: Vec<LabelRequirement>,
}

/// One term of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// How its value is compared.
    pub operator: SelectorOperator,
    /// With what, for `In` and `NotIn`.
    pub values: Vec<String>,
}

/// How a term of `matchExpressions` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum SelectorOperator {
    /// The value is one of the list.
    In,
    /// The value is none of the list.
    NotIn,
    /// There is such a label.
    Exists,
    /// There is no such label.
    DoesNotExist,
}

/// A selector as Go prints it, which is how it stands in conditions.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("&LabelSelector{MatchLabels:map[string]string{")?;
        for (key, value) in &self.match_labels {
            write!(f, "{key}: {value},")?;
        }
        f.write_str("},MatchExpressions:[]LabelSelectorRequirement{")?;
        for term in &self.match_expressions {
            write!(
                f,
                "LabelSelectorRequirement{{Key:{},Operator:{:?},Values:[{}],}},",
                term.key,
                term.operator,
                term.values.join(" ")
            )?;
        }
        f.write_str("},}")
    }
}

/// `spec.behavior`, with the defaults of each direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// `scaleUp`: by default no window and the more of 4 pods and 100 % every 15 s.
    pub scale_up: ScalingRules,
    /// `scaleDown`: by default the controller's window and 100 % every 15 s.
    pub scale_down: ScalingRules,
}

/// How fast and how steadily one direction scales (`HPAScalingRules`).
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingRules {
    /// `stabilizationWindowSeconds`, 0 to 3600; `None`, only for scaling down, means
    /// [`ControllerSettings::downscale_stabilization`](super::ControllerSettings).
    pub window_seconds: Option<i32>,
    /// `selectPolicy`: which of the policies holds.
    pub select: SelectPolicy,
    /// `policies`, at least one.
    pub policies: Vec<Policy>,
    /// `tolerance`: how far the ratio of usage to target may be off before this direction
    /// scales; `None` means the controller's.
    pub tolerance: Option<f64>,
}

/// Which of several policies holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum SelectPolicy {
    /// The one that allows the most change.
    Max,
    /// The one that allows the least change.
    Min,
    /// None: this direction does not scale.
    Disabled,
}

/// A limit on change: so much in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What `value` counts.
    pub kind: PolicyKind,
    /// The allowed change, above 0.
    pub value: i32,
    /// The time in seconds, 1 to 1800.
    pub period_seconds: i32,
}

/// What a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Per cent of the pods at the start of the period.
    Percent,
}
