//! The triggers of a manifest.
//!
//! Source: `ValidateTriggers` in `apis/keda/v1alpha1/scaletriggers_types.go`, and of each type its scaler in
//! `pkg/scalers`. As there, a parameter that is empty counts as absent.

use std::collections::BTreeMap;

use super::cron::{Schedule, fixed_offset};
use super::manifest::{Check, milli, truth};
use super::spec::{CronTrigger, PrometheusTrigger, ResourceTrigger, Trigger, TriggerKind};
use super::wire::TriggerFields;
use crate::hpa::{ManifestError, Quantity, ResourceName, ResourceTarget};

/// The parameters of each type. Of `prometheus` some only say how to reach the server, and `metricName` has had no
/// meaning since KEDA 2.13; they are accepted and passed over.
const PROMETHEUS: [&str; 16] = [
    "serverAddress",
    "query",
    "threshold",
    "activationThreshold",
    "ignoreNullValues",
    "queryParameters",
    "namespace",
    "customHeaders",
    "unsafeSsl",
    "timeout",
    "authModes",
    "authMode",
    "awsRegion",
    "identityOwner",
    "credentialsFromEnv",
    "metricName",
];
const RESOURCE: [&str; 2] = ["value", "containerName"];
const CRON: [&str; 4] = ["timezone", "start", "end", "desiredReplicas"];

/// The triggers, checked one by one and together.
pub(super) fn read(check: &Check<'_>, fields: Vec<TriggerFields>) -> Result<Vec<Trigger>, ManifestError> {
    if fields.is_empty() {
        return Err(check.fail("spec.triggers", "empty", "at least one trigger"));
    }
    let mut triggers: Vec<Trigger> = Vec::with_capacity(fields.len());
    for (i, fields) in fields.into_iter().enumerate() {
        let path = format!("spec.triggers[{i}]");
        let trigger = one(check, &path, fields)?;
        if let Some(name) = &trigger.name
            && let Some(first) = triggers.iter().position(|t| t.name.as_ref() == Some(name))
        {
            let expected = format!("another name than that of spec.triggers[{first}]");
            return Err(check.fail_text(format!("{path}.name"), name, expected));
        }
        triggers.push(trigger);
    }
    Ok(triggers)
}

fn one(check: &Check<'_>, path: &str, fields: TriggerFields) -> Result<Trigger, ManifestError> {
    let use_cached_metrics = fields.use_cached_metrics.unwrap_or(false);
    let metadata = Metadata { check, path: format!("{path}.metadata"), fields: &fields.metadata };
    let metric_type = (format!("{path}.metricType"), fields.metric_type.as_deref());
    let (kind, cacheable) = match fields.r#type.as_str() {
        "prometheus" => (TriggerKind::Prometheus(metadata.prometheus(&metric_type)?), true),
        "cpu" => (TriggerKind::Resource(metadata.resource(ResourceName::Cpu, &metric_type)?), false),
        "memory" => (TriggerKind::Resource(metadata.resource(ResourceName::Memory, &metric_type)?), false),
        "cron" => (TriggerKind::Cron(metadata.cron(&metric_type)?), false),
        other => {
            return Err(check.fail_text(format!("{path}.type"), other, "prometheus, cpu, memory or cron"));
        }
    };
    if use_cached_metrics && !cacheable {
        let expected = format!("false for a trigger of type {}", fields.r#type);
        return Err(check.fail(format!("{path}.useCachedMetrics"), "true", expected));
    }
    Ok(Trigger {
        name: fields.name.filter(|name| !name.is_empty()),
        use_cached_metrics,
        authentication: fields.authentication_ref.map(|reference| reference.name),
        kind,
    })
}

/// The path of `metricType` and what it says.
type MetricType<'a> = (String, Option<&'a str>);

struct Metadata<'a> {
    check: &'a Check<'a>,
    path: String,
    fields: &'a BTreeMap<String, String>,
}

impl Metadata<'_> {
    fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// Fails for a parameter that is none of the known.
    fn only(&self, known: &[&str]) -> Result<(), ManifestError> {
        match self.fields.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let expected = format!("one of the parameters {}", known.join(", "));
                Err(self.check.fail(self.field(unknown), "present", expected))
            }
        }
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn required(&self, name: &str, expected: &str) -> Result<&str, ManifestError> {
        self.optional(name).ok_or_else(|| self.check.fail(self.field(name), "absent", expected))
    }

    fn fail<T>(&self, name: &str, found: &str, expected: impl Into<String>) -> Result<T, ManifestError> {
        Err(self.check.fail_text(self.field(name), found, expected))
    }

    fn prometheus(&self, metric_type: &MetricType<'_>) -> Result<PrometheusTrigger, ManifestError> {
        self.only(&PROMETHEUS)?;
        let server_address = self.required("serverAddress", "the address of a Prometheus server")?.to_owned();
        let query = self.required("query", "a query")?.to_owned();
        let text = self.required("threshold", "a number above 0")?;
        let threshold = match text.parse::<f64>() {
            // What rounds to no thousandth would be a target of 0, which the API server refuses.
            Ok(number) if number.is_finite() && milli(number) > 0 => number,
            _ => return self.fail("threshold", text, "a number above 0"),
        };
        let activation_threshold = match self.optional("activationThreshold") {
            None => 0.0,
            Some(text) => match text.parse::<f64>() {
                Ok(number) if !number.is_nan() => number,
                _ => return self.fail("activationThreshold", text, "a number"),
            },
        };
        let ignore_null_values = match self.optional("ignoreNullValues") {
            None => true,
            Some(text) => match truth(text) {
                Some(truth) => truth,
                None => return self.fail("ignoreNullValues", text, "true or false"),
            },
        };
        let metric_target = self.check.metric_target(&metric_type.0, metric_type.1)?;
        Ok(PrometheusTrigger {
            server_address,
            query,
            threshold,
            activation_threshold,
            ignore_null_values,
            metric_target,
        })
    }

    fn resource(&self, resource: ResourceName, metric_type: &MetricType<'_>) -> Result<ResourceTrigger, ManifestError> {
        self.only(&RESOURCE)?;
        let text = self.required("value", "the target")?;
        let target = match metric_type.1 {
            Some("Utilization") => match text.parse::<i32>() {
                Ok(percent) if percent >= 1 => ResourceTarget::Utilization(percent),
                _ => return self.fail("value", text, "a whole number of per cent of at least 1, by metricType"),
            },
            Some("AverageValue") => match Quantity::parse(text).map(Quantity::milli) {
                Ok(milli) if milli > 0 => ResourceTarget::AverageValue(milli),
                _ => return self.fail("value", text, "a quantity above 0 such as 500m or 2Gi, by metricType"),
            },
            other => {
                let found = other.map_or_else(|| "absent".to_owned(), |text| format!("`{text}`"));
                return Err(self.check.fail(metric_type.0.clone(), found, "Utilization or AverageValue"));
            }
        };
        Ok(ResourceTrigger { resource, container: self.optional("containerName").map(str::to_owned), target })
    }

    fn cron(&self, metric_type: &MetricType<'_>) -> Result<CronTrigger, ManifestError> {
        const REPLICAS: &str = "a whole number of replicas of at least 1";
        const ZONES: &str = "UTC or a zone without summer time from Etc/GMT-14 to Etc/GMT+12";
        self.only(&CRON)?;
        let start = self.schedule("start")?;
        let end = self.schedule("end")?;
        if start.text() == end.text() {
            return self.fail("end", end.text(), "another schedule than start");
        }
        let timezone = self.required("timezone", ZONES)?.to_owned();
        let Some(offset) = fixed_offset(&timezone) else {
            return self.fail("timezone", &timezone, ZONES);
        };
        let text = self.required("desiredReplicas", REPLICAS)?;
        let desired_replicas = match text.parse::<i64>() {
            Ok(count) if count >= 1 => count,
            _ => return self.fail("desiredReplicas", text, REPLICAS),
        };
        let metric_target = self.check.metric_target(&metric_type.0, metric_type.1)?;
        Ok(CronTrigger { timezone, offset, start, end, desired_replicas, metric_target })
    }

    fn schedule(&self, name: &str) -> Result<Schedule, ManifestError> {
        let text = self.required(name, "a schedule such as 0 8 * * 1-5")?;
        Schedule::parse(text).map_err(|error| self.check.fail(self.field(name), error.found, error.expected))
    }
}
