//! From a manifest to a checked [`HpaSpec`]: the checks and defaults of the API server.
//!
//! Source: `pkg/apis/autoscaling/validation/validation.go`, `pkg/apis/autoscaling/v2/defaults.go`.

use std::fmt;

use super::quantity::Quantity;
use super::spec::{
    Behavior, HpaSpec, LabelRequirement, MetricId, MetricSpec, ObjectRef, Policy, PolicyKind, ResourceName,
    ResourceTarget, ScalingRules, SelectPolicy, Selector, ValueTarget,
};
use super::wire::{
    Header, Identifier, Manifest, Metric, MetricType, PolicyFields, Reference, RulesFields, Target, TargetType,
};

const KIND: &str = "HorizontalPodAutoscaler";
const API_VERSION: &str = "autoscaling/v2";

/// `MaxStabilizationWindowSeconds` in `validation.go`.
const MAX_WINDOW_SECONDS: i32 = 3600;
/// `MaxPeriodSeconds` in `validation.go`.
const MAX_PERIOD_SECONDS: i32 = 1800;

/// Why a manifest is refused; each is one sentence with the file, the field, what stands there
/// and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The text is not YAML, or a field is unknown, missing or of another type.
    #[error("{file}: {detail}")]
    Syntax {
        /// The name of the file.
        file: String,
        /// The field, what stands there, what was expected, and the line.
        detail: String,
    },
    /// The manifest is of another kind or version.
    #[error("{file}: {field} is {found}, expected `{expected}`")]
    Type {
        /// The name of the file.
        file: String,
        /// `kind` or `apiVersion`.
        field: &'static str,
        /// What stands there.
        found: String,
        /// The one kind or version that is read.
        expected: &'static str,
    },
    /// A value is out of its range, or two fields do not go together.
    #[error("{file}: {field} is {found}, expected {expected}")]
    Value {
        /// The name of the file.
        file: String,
        /// The path of the field, such as `spec.metrics[0].pods.target.averageValue`.
        field: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
}

/// Reads a manifest; see [`HpaSpec::from_yaml`].
pub(super) fn read(text: &str, file: &str) -> Result<HpaSpec, ManifestError> {
    let check = Check { file };
    let syntax =
        |error: serde_norway::Error| ManifestError::Syntax { file: file.to_owned(), detail: error.to_string() };
    // What a manifest is comes before what is wrong with it: a Deployment is not a
    // HorizontalPodAutoscaler with unknown fields.
    let header: Header = serde_norway::from_str(text).map_err(syntax)?;
    check.is_type("kind", header.kind.as_deref(), KIND)?;
    check.is_type("apiVersion", header.api_version.as_deref(), API_VERSION)?;
    let manifest: Manifest = serde_norway::from_str(text).map_err(syntax)?;
    check.spec(manifest)
}

/// The checks of `validation.go`, for one file.
struct Check<'a> {
    file: &'a str,
}

impl Check<'_> {
    fn is_type(&self, field: &'static str, found: Option<&str>, expected: &'static str) -> Result<(), ManifestError> {
        if found == Some(expected) {
            return Ok(());
        }
        Err(ManifestError::Type {
            file: self.file.to_owned(),
            field,
            found: found.map_or_else(|| "absent".to_owned(), |f| format!("`{f}`")),
            expected,
        })
    }

    fn fail(&self, field: impl Into<String>, found: impl fmt::Display, expected: impl Into<String>) -> ManifestError {
        ManifestError::Value {
            file: self.file.to_owned(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    fn spec(&self, manifest: Manifest) -> Result<HpaSpec, ManifestError> {
        let spec = manifest.spec;
        let name = self.filled("metadata.name", manifest.metadata.name)?;
        let scale_target = self.reference("spec.scaleTargetRef", spec.scale_target_ref)?;
        let min_replicas = spec.min_replicas.unwrap_or(1);
        if min_replicas < 0 {
            return Err(self.fail("spec.minReplicas", min_replicas, "at least 0"));
        }
        if spec.max_replicas < 1 {
            return Err(self.fail("spec.maxReplicas", spec.max_replicas, "at least 1"));
        }
        if spec.max_replicas < min_replicas {
            return Err(self.fail(
                "spec.maxReplicas",
                spec.max_replicas,
                format!("at least spec.minReplicas, which is {min_replicas}"),
            ));
        }

        let mut metrics = Vec::new();
        for (i, metric) in spec.metrics.unwrap_or_default().into_iter().enumerate() {
            metrics.push(self.metric(&format!("spec.metrics[{i}]"), metric)?);
        }
        if metrics.is_empty() {
            metrics.push(MetricSpec::Resource { resource: ResourceName::Cpu, target: ResourceTarget::Utilization(80) });
        }
        if min_replicas == 0 && !metrics.iter().any(MetricSpec::is_object_or_external) {
            return Err(self.fail("spec.minReplicas", 0, "at least 1 without a metric of type Object or External"));
        }

        let behavior = match spec.behavior {
            None => None,
            Some(fields) => Some(Behavior {
                scale_up: self.rules(
                    "spec.behavior.scaleUp",
                    fields.scale_up.unwrap_or_default(),
                    Some(0),
                    &[(PolicyKind::Pods, 4), (PolicyKind::Percent, 100)],
                )?,
                scale_down: self.rules(
                    "spec.behavior.scaleDown",
                    fields.scale_down.unwrap_or_default(),
                    None,
                    &[(PolicyKind::Percent, 100)],
                )?,
            }),
        };
        let namespace = manifest.metadata.namespace;
        Ok(HpaSpec {
            name,
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            scale_target,
            min_replicas,
            max_replicas: spec.max_replicas,
            metrics,
            behavior,
        })
    }

    fn filled(&self, field: &str, text: String) -> Result<String, ManifestError> {
        if text.is_empty() {
            return Err(self.fail(field, "empty", "a name"));
        }
        Ok(text)
    }

    fn reference(&self, path: &str, fields: Reference) -> Result<ObjectRef, ManifestError> {
        Ok(ObjectRef {
            api_version: fields.api_version.unwrap_or_default(),
            kind: self.filled(&format!("{path}.kind"), fields.kind)?,
            name: self.filled(&format!("{path}.name"), fields.name)?,
        })
    }

    fn metric(&self, path: &str, metric: Metric) -> Result<MetricSpec, ManifestError> {
        let sources = [
            ("resource", metric.resource.is_some()),
            ("containerResource", metric.container_resource.is_some()),
            ("pods", metric.pods.is_some()),
            ("object", metric.object.is_some()),
            ("external", metric.external.is_some()),
        ];
        let own = match metric.r#type {
            MetricType::Resource => "resource",
            MetricType::ContainerResource => "containerResource",
            MetricType::Pods => "pods",
            MetricType::Object => "object",
            MetricType::External => "external",
        };
        if let Some((other, _)) = sources.iter().find(|(name, set)| *set && *name != own) {
            return Err(self.fail(format!("{path}.{other}"), "present", format!("only `{own}`, by the metric's type")));
        }
        let absent = || self.fail(format!("{path}.{own}"), "absent", "the metric's source");
        let path = format!("{path}.{own}");
        Ok(match metric.r#type {
            MetricType::Resource => {
                let source = metric.resource.ok_or_else(absent)?;
                MetricSpec::Resource {
                    resource: self.filled(&format!("{path}.name"), source.name)?.into(),
                    target: self.resource_target(&path, &source.target)?,
                }
            }
            MetricType::ContainerResource => {
                let source = metric.container_resource.ok_or_else(absent)?;
                MetricSpec::ContainerResource {
                    resource: self.filled(&format!("{path}.name"), source.name)?.into(),
                    container: self.filled(&format!("{path}.container"), source.container)?,
                    target: self.resource_target(&path, &source.target)?,
                }
            }
            MetricType::Pods => {
                let source = metric.pods.ok_or_else(absent)?;
                MetricSpec::Pods {
                    metric: self.identifier(&path, source.metric)?,
                    average_milli: self.pods_target(&path, &source.target)?,
                }
            }
            MetricType::Object => {
                let source = metric.object.ok_or_else(absent)?;
                MetricSpec::Object {
                    described: self.reference(&format!("{path}.describedObject"), source.described_object)?,
                    metric: self.identifier(&path, source.metric)?,
                    target: self.object_target(&path, &source.target)?,
                }
            }
            MetricType::External => {
                let source = metric.external.ok_or_else(absent)?;
                MetricSpec::External {
                    metric: self.identifier(&path, source.metric)?,
                    target: self.external_target(&path, &source.target)?,
                }
            }
        })
    }

    fn identifier(&self, path: &str, fields: Identifier) -> Result<MetricId, ManifestError> {
        let selector = fields.selector.map(|s| Selector {
            match_labels: s.match_labels.unwrap_or_default(),
            match_expressions: s
                .match_expressions
                .unwrap_or_default()
                .into_iter()
                .map(|e| LabelRequirement { key: e.key, operator: e.operator, values: e.values.unwrap_or_default() })
                .collect(),
        });
        Ok(MetricId { name: self.filled(&format!("{path}.metric.name"), fields.name)?, selector })
    }

    /// A target's quantity in thousandths, above 0.
    fn positive(&self, path: &str, field: &str, quantity: Option<Quantity>) -> Result<Option<i64>, ManifestError> {
        match quantity.map(Quantity::milli) {
            Some(milli) if milli <= 0 => {
                let found = format!("{milli}m");
                Err(self.fail(format!("{path}.target.{field}"), found, "above 0"))
            }
            milli => Ok(milli),
        }
    }

    /// Fails where a field is set that says nothing for this type of metric. Upstream passes
    /// over such a field in silence.
    fn without(&self, path: &str, field: &str, set: bool) -> Result<(), ManifestError> {
        if set {
            let field = format!("{path}.target.{field}");
            return Err(self.fail(field, "present", "no such target for this type of metric"));
        }
        Ok(())
    }

    fn resource_target(&self, path: &str, target: &Target) -> Result<ResourceTarget, ManifestError> {
        self.without(path, "value", target.value.is_some())?;
        let average = self.positive(path, "averageValue", target.average_value)?;
        match (target.average_utilization, average) {
            (Some(percent), None) if percent < 1 => {
                let field = format!("{path}.target.averageUtilization");
                Err(self.fail(field, percent, "at least 1"))
            }
            (Some(percent), None) => Ok(ResourceTarget::Utilization(percent)),
            (None, Some(milli)) => Ok(ResourceTarget::AverageValue(milli)),
            (Some(_), Some(_)) => {
                Err(self.fail(format!("{path}.target.averageValue"), "present", "either it or averageUtilization"))
            }
            (None, None) => {
                Err(self.fail(format!("{path}.target.averageUtilization"), "absent", "either it or averageValue"))
            }
        }
    }

    fn pods_target(&self, path: &str, target: &Target) -> Result<i64, ManifestError> {
        self.without(path, "value", target.value.is_some())?;
        let utilization = target.average_utilization.is_some();
        self.without(path, "averageUtilization", utilization)?;
        self.positive(path, "averageValue", target.average_value)?.ok_or_else(|| {
            let field = format!("{path}.target.averageValue");
            self.fail(field, "absent", "the mean to keep the pods at")
        })
    }

    fn object_target(&self, path: &str, target: &Target) -> Result<ValueTarget, ManifestError> {
        let utilization = target.average_utilization.is_some();
        self.without(path, "averageUtilization", utilization)?;
        let value = self.positive(path, "value", target.value)?;
        let average = self.positive(path, "averageValue", target.average_value)?;
        // For this type alone upstream goes by the target's type, and fails at every sync where
        // the field of that type is absent.
        let (field, found) = match target.r#type {
            TargetType::Value => ("value", value.map(ValueTarget::Value)),
            TargetType::AverageValue => ("averageValue", average.map(ValueTarget::AverageValue)),
            TargetType::Utilization => {
                let field = format!("{path}.target.type");
                return Err(self.fail(field, "Utilization", "Value or AverageValue"));
            }
        };
        found.ok_or_else(|| {
            let expected = format!("a quantity, by target.type {:?}", target.r#type);
            self.fail(format!("{path}.target.{field}"), "absent", expected)
        })
    }

    fn external_target(&self, path: &str, target: &Target) -> Result<ValueTarget, ManifestError> {
        let utilization = target.average_utilization.is_some();
        self.without(path, "averageUtilization", utilization)?;
        let value = self.positive(path, "value", target.value)?;
        let average = self.positive(path, "averageValue", target.average_value)?;
        let field = |name: &str| format!("{path}.target.{name}");
        match (value, average) {
            (Some(milli), None) => Ok(ValueTarget::Value(milli)),
            (None, Some(milli)) => Ok(ValueTarget::AverageValue(milli)),
            (Some(_), Some(_)) => Err(self.fail(field("value"), "present", "either it or averageValue")),
            (None, None) => Err(self.fail(field("averageValue"), "absent", "either it or value")),
        }
    }

    fn rules(
        &self,
        path: &str,
        fields: RulesFields,
        default_window: Option<i32>,
        default_policies: &[(PolicyKind, i32)],
    ) -> Result<ScalingRules, ManifestError> {
        let window_seconds = fields.stabilization_window_seconds.or(default_window);
        if let Some(window) = window_seconds
            && !(0..=MAX_WINDOW_SECONDS).contains(&window)
        {
            return Err(self.fail(
                format!("{path}.stabilizationWindowSeconds"),
                window,
                format!("0 to {MAX_WINDOW_SECONDS}"),
            ));
        }
        let tolerance = fields.tolerance.map(Quantity::approximate);
        if let Some(tolerance) = tolerance
            && tolerance < 0.0
        {
            return Err(self.fail(format!("{path}.tolerance"), tolerance, "at least 0"));
        }
        let policies = match fields.policies {
            None => default_policies.iter().map(|&(kind, value)| Policy { kind, value, period_seconds: 15 }).collect(),
            Some(list) if list.is_empty() => {
                let field = format!("{path}.policies");
                return Err(self.fail(field, "empty", "at least one policy"));
            }
            Some(list) => list
                .into_iter()
                .enumerate()
                .map(|(i, policy)| self.policy(&format!("{path}.policies[{i}]"), &policy))
                .collect::<Result<_, _>>()?,
        };
        Ok(ScalingRules {
            window_seconds,
            select: fields.select_policy.unwrap_or(SelectPolicy::Max),
            policies,
            tolerance,
        })
    }

    fn policy(&self, path: &str, fields: &PolicyFields) -> Result<Policy, ManifestError> {
        if fields.value <= 0 {
            return Err(self.fail(format!("{path}.value"), fields.value, "above 0"));
        }
        if !(1..=MAX_PERIOD_SECONDS).contains(&fields.period_seconds) {
            return Err(self.fail(
                format!("{path}.periodSeconds"),
                fields.period_seconds,
                format!("1 to {MAX_PERIOD_SECONDS}"),
            ));
        }
        Ok(Policy { kind: fields.r#type, value: fields.value, period_seconds: fields.period_seconds })
    }
}
