//! From a manifest to a checked [`ScaledObject`]: the checks and defaults of KEDA's admission webhook and of its
//! custom resource definition.
//!
//! Source: `apis/keda/v1alpha1/scaledobject_webhook.go`, `scaledobject_types.go`, `scaletriggers_types.go`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::formula::Formula;
use super::spec::{
    Fallback, FallbackBehavior, MetricTarget, Pause, ScaledObject, ScalingModifiers, Trigger, TriggerKind,
};
use super::wire::{FallbackFields, Header, Manifest, ModifierFields, ScaleTarget, Spec};
use crate::hpa::{Behavior, HpaSpec, ManifestError, ObjectRef};

const KIND: &str = "ScaledObject";
const API_VERSION: &str = "keda.sh/v1alpha1";

/// `maxK8sLabelValueLength`: both names become values of labels.
const MAX_NAME_LENGTH: usize = 63;

const PAUSED: &str = "autoscaling.keda.sh/paused";
const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
const PAUSED_SCALE_IN: &str = "autoscaling.keda.sh/paused-scale-in";
const PAUSED_SCALE_OUT: &str = "autoscaling.keda.sh/paused-scale-out";
const FORCE_ACTIVATION: &str = "autoscaling.keda.sh/force-activation";

const HPA_CONFIG: &str = "spec.advanced.horizontalPodAutoscalerConfig";
const MODIFIERS: &str = "spec.advanced.scalingModifiers";

/// Reads a manifest; see [`ScaledObject::from_yaml`].
pub(super) fn read(text: &str, file: &str) -> Result<ScaledObject, ManifestError> {
    let check = Check { file };
    let syntax = |error: serde_norway::Error| check.syntax(error.to_string());
    // What a manifest is comes before what is wrong with it.
    let header: Header = serde_norway::from_str(text).map_err(syntax)?;
    check.is_type("kind", header.kind.as_deref(), KIND)?;
    check.is_type("apiVersion", header.api_version.as_deref(), API_VERSION)?;
    let manifest: Manifest = serde_norway::from_str(text).map_err(syntax)?;
    check.object(manifest)
}

/// Whether an annotation is set: what is no truth value in Go (`strconv.ParseBool`) counts as true
/// (`getBoolAnnotation`).
fn flag(annotations: &BTreeMap<String, String>, name: &str) -> bool {
    annotations.get(name).is_some_and(|value| truth(value).unwrap_or(true))
}

/// What `strconv.ParseBool` of Go takes for a truth value.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// The checks for one file.
#[derive(Clone, Copy)]
pub(super) struct Check<'a> {
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

    fn syntax(&self, detail: String) -> ManifestError {
        ManifestError::Syntax { file: self.file.to_owned(), detail }
    }

    /// A value out of its range.
    pub(super) fn fail(
        &self,
        field: impl Into<String>,
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) -> ManifestError {
        ManifestError::Value {
            file: self.file.to_owned(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// The same for a text, in quotes.
    pub(super) fn fail_text(
        &self,
        field: impl Into<String>,
        found: &str,
        expected: impl Into<String>,
    ) -> ManifestError {
        self.fail(field, format_args!("`{found}`"), expected)
    }

    fn at_least(&self, field: &str, value: i32, least: i32) -> Result<i32, ManifestError> {
        if value < least {
            return Err(self.fail(field, value, format!("at least {least}")));
        }
        Ok(value)
    }

    fn seconds(&self, field: &str, value: Option<i32>, least: i32, default: i32) -> Result<Duration, ManifestError> {
        let seconds = self.at_least(field, value.unwrap_or(default), least)?;
        Ok(Duration::from_secs(u64::from(seconds.unsigned_abs())))
    }

    fn object(&self, manifest: Manifest) -> Result<ScaledObject, ManifestError> {
        let Manifest { metadata, spec, .. } = manifest;
        let Spec { scale_target_ref, advanced, triggers, fallback, .. } = spec;
        let advanced = advanced.unwrap_or_default();
        let hpa_config = advanced.horizontal_pod_autoscaler_config.unwrap_or_default();
        let annotations = metadata.annotations;

        let name = self.name("metadata.name", metadata.name)?;
        let hpa_name = match hpa_config.name.filter(|name| !name.is_empty()) {
            Some(name) => self.name(&format!("{HPA_CONFIG}.name"), name)?,
            None => self.generated_name(&name)?,
        };
        let triggers = super::triggers::read(self, triggers)?;
        let replicas =
            self.replicas(spec.idle_replica_count, spec.min_replica_count, spec.max_replica_count, &triggers)?;
        let modifiers = match advanced.scaling_modifiers.filter(|m| *m != ModifierFields::default()) {
            None => None,
            Some(fields) => Some(self.modifiers(&fields, &triggers)?),
        };
        let fallback = match fallback {
            None => None,
            Some(fields) => Some(self.fallback(&fields, modifiers.is_some(), &triggers)?),
        };
        Ok(ScaledObject {
            name,
            namespace: metadata.namespace.unwrap_or_else(|| "default".to_owned()),
            labels: metadata.labels,
            pause: self.pause(&annotations)?,
            pause_scale_in: flag(&annotations, PAUSED_SCALE_IN),
            pause_scale_out: flag(&annotations, PAUSED_SCALE_OUT),
            force_activation: flag(&annotations, FORCE_ACTIVATION),
            annotations,
            scale_target: self.target(scale_target_ref)?,
            polling_interval: self.seconds("spec.pollingInterval", spec.polling_interval, 1, 30)?,
            cooldown: self.seconds("spec.cooldownPeriod", spec.cooldown_period, 0, 300)?,
            initial_cooldown: self.seconds("spec.initialCooldownPeriod", spec.initial_cooldown_period, 0, 0)?,
            idle_replicas: spec.idle_replica_count,
            min_replicas: replicas.0,
            max_replicas: replicas.1,
            fallback,
            restore_original: advanced.restore_to_original_replica_count.unwrap_or(false),
            hpa_name,
            behavior: hpa_config.behavior.map(|value| self.behavior(value)).transpose()?,
            modifiers,
            triggers,
        })
    }

    fn name(&self, field: &str, name: String) -> Result<String, ManifestError> {
        if name.is_empty() {
            return Err(self.fail(field, "empty", "a name"));
        }
        if name.len() > MAX_NAME_LENGTH {
            let found = format!("{} characters long", name.len());
            return Err(self.fail(field, found, format!("at most {MAX_NAME_LENGTH}")));
        }
        Ok(name)
    }

    /// The name KEDA gives the HorizontalPodAutoscaler (`getDefaultHpaName`, `verifyName`).
    fn generated_name(&self, name: &str) -> Result<String, ManifestError> {
        let generated = format!("keda-hpa-{name}");
        if generated.len() > MAX_NAME_LENGTH {
            let found = format!("{} characters long", name.len());
            let most = MAX_NAME_LENGTH - (generated.len() - name.len());
            return Err(self.fail("metadata.name", found, format!("at most {most} without a {HPA_CONFIG}.name")));
        }
        Ok(generated)
    }

    fn target(&self, fields: ScaleTarget) -> Result<ObjectRef, ManifestError> {
        if fields.name.is_empty() {
            return Err(self.fail("spec.scaleTargetRef.name", "empty", "a name"));
        }
        let or = |text: Option<String>, default: &str| match text {
            Some(text) if !text.is_empty() => text,
            _ => default.to_owned(),
        };
        Ok(ObjectRef {
            api_version: or(fields.api_version, "apps/v1"),
            kind: or(fields.kind, "Deployment"),
            name: fields.name,
        })
    }

    /// `spec.minReplicaCount` and `spec.maxReplicaCount` (`CheckReplicaCountBoundsAreValid`,
    /// `verifyCPUMemoryScalers`).
    fn replicas(
        &self,
        idle: Option<i32>,
        min: Option<i32>,
        max: Option<i32>,
        triggers: &[Trigger],
    ) -> Result<(i32, i32), ManifestError> {
        const MIN: &str = "spec.minReplicaCount";
        const IDLE: &str = "spec.idleReplicaCount";
        let idle = idle.map(|idle| self.at_least(IDLE, idle, 0)).transpose()?;
        let least = self.at_least(MIN, min.unwrap_or(0), 0)?;
        let max = self.at_least("spec.maxReplicaCount", max.unwrap_or(100), 1)?;
        if least > max {
            return Err(self.fail(MIN, least, format!("at most spec.maxReplicaCount, which is {max}")));
        }
        // A minimum that is given counts as at least 1 here, and one that is absent as 0.
        let above = min.map_or(0, |min| min.max(1));
        if let Some(idle) = idle
            && idle >= above
        {
            let found = min.map_or_else(|| "absent".to_owned(), |min| min.to_string());
            return Err(self.fail(IDLE, idle, format!("less than {MIN}, which is {found}")));
        }
        if least == 0 && triggers.iter().all(|t| matches!(t.kind, TriggerKind::Resource(_))) {
            let found = min.map_or_else(|| "absent".to_owned(), |min| min.to_string());
            return Err(self.fail(MIN, found, "at least 1 where all triggers are cpu or memory"));
        }
        Ok((least, max))
    }

    fn pause(&self, annotations: &BTreeMap<String, String>) -> Result<Option<Pause>, ManifestError> {
        match annotations.get(PAUSED_REPLICAS) {
            Some(text) => match text.parse::<i32>() {
                Ok(count) if count >= 0 => Ok(Some(Pause::At(count))),
                _ => {
                    let field = format!("metadata.annotations.{PAUSED_REPLICAS}");
                    Err(self.fail_text(field, text, "a whole number of at least 0"))
                }
            },
            None => Ok(flag(annotations, PAUSED).then_some(Pause::AtCurrent)),
        }
    }

    /// `CheckFallbackValid`, and of `verifyScaledObjects` what is about fallbacks.
    fn fallback(
        &self,
        fields: &FallbackFields,
        modified: bool,
        triggers: &[Trigger],
    ) -> Result<Fallback, ManifestError> {
        let failure_threshold = self.at_least("spec.fallback.failureThreshold", fields.failure_threshold, 0)?;
        let replicas = self.at_least("spec.fallback.replicas", fields.replicas, 0)?;
        let behavior = match fields.behavior.as_deref() {
            None | Some("" | "static") => FallbackBehavior::Static,
            Some("currentReplicas") => FallbackBehavior::CurrentReplicas,
            Some("currentReplicasIfHigher") => FallbackBehavior::CurrentReplicasIfHigher,
            Some("currentReplicasIfLower") => FallbackBehavior::CurrentReplicasIfLower,
            Some("scalingModifiers") => FallbackBehavior::ScalingModifiers,
            Some(other) => {
                let expected = "static, currentReplicas, currentReplicasIfHigher, currentReplicasIfLower or \
                                scalingModifiers";
                return Err(self.fail_text("spec.fallback.behavior", other, expected));
            }
        };
        if !modified {
            if behavior == FallbackBehavior::ScalingModifiers {
                let expected = format!("another behavior without {MODIFIERS}.formula");
                return Err(self.fail_text("spec.fallback.behavior", "scalingModifiers", expected));
            }
            if triggers.iter().all(|t| matches!(t.kind, TriggerKind::Resource(_))) {
                return Err(self.fail("spec.fallback", "present", "no fallback where all triggers are cpu or memory"));
            }
        }
        Ok(Fallback { failure_threshold, replicas, behavior })
    }

    /// `ValidateAndCompileScalingModifiers`.
    fn modifiers(&self, fields: &ModifierFields, triggers: &[Trigger]) -> Result<ScalingModifiers, ManifestError> {
        let field = |name: &str| format!("{MODIFIERS}.{name}");
        for (name, text) in [("formula", &fields.formula), ("target", &fields.target)] {
            if text.is_empty() {
                return Err(self.fail(field(name), "absent", "a formula and its target, both or neither"));
            }
        }
        let names = formula_names(triggers);
        let formula = Formula::parse(&fields.formula, &names).and_then(|formula| {
            // As upstream, which tries a formula with -1 for each trigger.
            formula.evaluate(&vec![Some(-1.0); names.len()])?;
            Ok(formula)
        });
        let formula = formula.map_err(|error| {
            let found = format!("`{}` with {} at position {}", fields.formula, error.found, error.position);
            self.fail(field("formula"), found, error.expected)
        })?;
        let target = fields.target.parse::<f64>().ok().filter(|t| t.is_finite() && (*t * 1000.0) as i64 > 0);
        let target = target.ok_or_else(|| self.fail_text(field("target"), &fields.target, "a number above 0"))?;
        let activation = match fields.activation_target.as_str() {
            "" => Some(0.0),
            text => text.parse::<f64>().ok().filter(|a| !a.is_nan()),
        };
        let activation_target = activation
            .ok_or_else(|| self.fail_text(field("activationTarget"), &fields.activation_target, "a number"))?;
        Ok(ScalingModifiers {
            formula,
            target,
            target_is_whole: fields.target.parse::<i64>().is_ok(),
            activation_target,
            metric_target: self.metric_target(&field("metricType"), Some(&fields.metric_type))?,
        })
    }

    /// `GetMetricTargetType`: Utilization is for CPU and memory alone.
    pub(super) fn metric_target(&self, field: &str, text: Option<&str>) -> Result<MetricTarget, ManifestError> {
        match text {
            None | Some("" | "AverageValue") => Ok(MetricTarget::AverageValue),
            Some("Value") => Ok(MetricTarget::Value),
            Some(other) => Err(self.fail_text(field, other, "AverageValue or Value")),
        }
    }

    /// A behavior as the module for HorizontalPodAutoscalers reads it, in a manifest around it.
    fn behavior(&self, value: serde_norway::Value) -> Result<Behavior, ManifestError> {
        const INNER: &str = "spec.behavior";
        let outer = format!("{HPA_CONFIG}.behavior");
        let text = serde_norway::to_string(&BTreeMap::from([("behavior", value)]));
        let text = text.map_err(|error| self.syntax(format!("{outer}: {error}")))?;
        let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
        let manifest = format!(
            "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: x}}\nspec:\n  \
             maxReplicas: 1\n  scaleTargetRef: {{kind: x, name: x}}\n{indented}"
        );
        match HpaSpec::from_yaml(&manifest, self.file) {
            Ok(spec) => spec.behavior.ok_or_else(|| self.fail(outer, "null", "scaleUp, scaleDown or both")),
            Err(ManifestError::Value { file, field, found, expected }) => {
                Err(ManifestError::Value { file, field: field.replacen(INNER, &outer, 1), found, expected })
            }
            Err(ManifestError::Syntax { file, detail }) => {
                // The line is one of the manifest above.
                let detail = detail.split(" at line ").next().unwrap_or_default().replacen(INNER, &outer, 1);
                Err(ManifestError::Syntax { file, detail })
            }
            Err(other) => Err(other),
        }
    }
}

/// The behavior of a manifest that says `behavior: {}`.
pub(super) fn default_behavior() -> Option<Behavior> {
    let empty = serde_norway::Value::Mapping(serde_norway::Mapping::new());
    Check { file: "" }.behavior(empty).ok()
}

/// The names a formula may use, in the order of the triggers that are no CPU or memory; one without a name is empty,
/// which no formula can say.
pub(super) fn formula_names(triggers: &[Trigger]) -> Vec<&str> {
    let external = triggers.iter().filter(|t| !matches!(t.kind, TriggerKind::Resource(_)));
    external.map(|t| t.name.as_deref().unwrap_or_default()).collect()
}

/// A number in thousandths as KEDA turns it into a quantity (`quantityFromFloat64`): three decimals, and 0 for
/// negative ones and for what is no number.
pub(super) fn milli(value: f64) -> i64 {
    if value.is_finite() && value > 0.0 {
        match crate::hpa::Quantity::parse(&format!("{value:.3}")) {
            Ok(quantity) => quantity.milli(),
            Err(_) => i64::MAX,
        }
    } else {
        0
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
