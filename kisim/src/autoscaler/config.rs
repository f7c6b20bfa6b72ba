//! Which autoscaler, and how it is set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::AutoscalerError;
use super::metrics::HpaMetric;
use super::predictive::{Predictive, PredictiveConfig};
use super::schedule::{Schedule, ScheduleConfig};
use super::{Fixed, HpaAutoscaler, KedaAutoscaler, KpaAutoscaler};
use crate::config::{ConfigError, Span, read_file};
use crate::control::Autoscaler;
use crate::prepared::Prepared;
use crate::scenario::Scenario;

/// Which autoscaler, and how it is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!try_from))]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "toml::Table")]
pub enum AutoscalerConfig {
    /// The same numbers from the first decision on.
    Fixed {
        /// By pool, within its limits; a pool that is not named keeps its initial replicas.
        #[serde(default)]
        replicas: BTreeMap<String, u32>,
    },
    /// A timetable.
    Schedule(ScheduleConfig),
    /// Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), one a pool.
    Hpa(HpaConfig),
    /// KEDA's ScaledObject, one a pool.
    Keda(KedaConfig),
    /// Knative's pod autoscaler, one a pool.
    Kpa(KpaConfig),
    /// A forecast one cold start ahead, and the profile's capacity.
    Predictive(PredictiveConfig),
}

/// [`AutoscalerConfig::Fixed`] as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FixedFields {
    #[serde(default)]
    replicas: BTreeMap<String, u32>,
}

/// By hand: of a tagged enum, serde cannot say which field is wrong.
impl TryFrom<toml::Table> for AutoscalerConfig {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        const KINDS: &str = "one of fixed, schedule, hpa, keda, kpa, predictive";
        let kind = table.remove("kind").ok_or_else(|| format!("missing field `kind`, expected {KINDS}"))?;
        Ok(match kind.as_str() {
            Some("fixed") => {
                let FixedFields { replicas } = fields(table)?;
                AutoscalerConfig::Fixed { replicas }
            }
            Some("schedule") => AutoscalerConfig::Schedule(fields(table)?),
            Some("hpa") => AutoscalerConfig::Hpa(fields(table)?),
            Some("keda") => AutoscalerConfig::Keda(fields(table)?),
            Some("kpa") => AutoscalerConfig::Kpa(fields(table)?),
            Some("predictive") => AutoscalerConfig::Predictive(fields(table)?),
            _ => return Err(format!("found kind {kind}, expected {KINDS}")),
        })
    }
}

fn fields<T: DeserializeOwned>(table: toml::Table) -> Result<T, String> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
        let field = error.path().to_string();
        // Of what a field holds, only the first line: the others show where, which is not known here.
        let text = error.into_inner().to_string();
        let text = text.lines().next().unwrap_or_default();
        if field == "." { text.to_owned() } else { format!("{field}: {text}") }
    })
}

/// How HPAs are set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct HpaConfig {
    /// What they watch.
    pub metric: HpaMetric,
    /// The target, in the metric's unit; above 0.
    pub target: f64,
    /// `behavior.scaleDown.stabilizationWindowSeconds`, 300 s in Kubernetes; to whole seconds.
    pub scale_down_stabilization: Span,
    /// By pool: a manifest instead of the above.
    pub manifests: BTreeMap<String, Manifest>,
    /// Divides every target: 1.25 keeps a quarter more.
    pub headroom: f64,
}

impl Default for HpaConfig {
    fn default() -> Self {
        HpaConfig {
            metric: HpaMetric::default(),
            target: 70.0,
            scale_down_stabilization: Span::secs(300),
            manifests: BTreeMap::new(),
            headroom: 1.0,
        }
    }
}

/// How ScaledObjects are set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct KedaConfig {
    /// What they watch, summed over pods.
    pub metric: HpaMetric,
    /// `threshold`, a pod, in the metric's unit, above 0; by default a batch in flight, or 70 % of what saturates a pod.
    pub threshold: Option<f64>,
    /// `pollingInterval`, at least 1s; to whole seconds.
    pub polling_interval: Span,
    /// `cooldownPeriod`; to whole seconds.
    pub cooldown: Span,
    /// By pool: a manifest instead of the above.
    pub manifests: BTreeMap<String, Manifest>,
    /// Divides every threshold: 1.25 keeps a quarter more.
    pub headroom: f64,
}

impl Default for KedaConfig {
    fn default() -> Self {
        KedaConfig {
            metric: HpaMetric::InFlight,
            threshold: None,
            polling_interval: Span::secs(30),
            cooldown: Span::secs(300),
            manifests: BTreeMap::new(),
            headroom: 1.0,
        }
    }
}

/// How Knative's autoscalers are set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct KpaConfig {
    /// `autoscaling.knative.dev/target`, concurrent requests a pod, of which 70 % are aimed for; by default a full batch.
    pub target: Option<f64>,
    /// By pool: a manifest instead of the above.
    pub manifests: BTreeMap<String, Manifest>,
    /// Divides the target: 1.25 keeps a quarter more.
    pub headroom: f64,
}

impl Default for KpaConfig {
    fn default() -> Self {
        KpaConfig { target: None, manifests: BTreeMap::new(), headroom: 1.0 }
    }
}

/// A Kubernetes manifest: a file, or the text itself. In TOML, what has more than one line is a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// A file, relative to the scenario.
    File(PathBuf),
    /// A text.
    Text(String),
}

impl Manifest {
    /// Its text, and its name for errors.
    pub(super) fn read(&self, base: &Path) -> Result<(String, String), ConfigError> {
        match self {
            Manifest::File(path) => {
                let file = base.join(path);
                Ok((read_file(&file)?, file.display().to_string()))
            }
            Manifest::Text(text) => Ok((text.clone(), "the manifest in the configuration".to_owned())),
        }
    }

    /// The name, for errors, of a manifest that nobody wrote.
    pub(super) fn generated(pool: &str) -> String {
        format!("the manifest generated for pool {pool}")
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Manifest::File(path) => path.serialize(serializer),
            Manifest::Text(text) => text.serialize(serializer),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Manifest {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Manifest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "manifest"})
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text.contains('\n') { Manifest::Text(text) } else { Manifest::File(text.into()) })
    }
}

impl Default for AutoscalerConfig {
    fn default() -> Self {
        AutoscalerConfig::Hpa(HpaConfig::default())
    }
}

impl AutoscalerConfig {
    /// Checks it against a scenario.
    pub fn check(&self, scenario: &Scenario) -> Result<(), ConfigError> {
        let bad = |field: &str, found: String, expected: String| {
            let field = format!("autoscaler.{field}");
            Err(ConfigError::Field { origin: scenario.origin.clone(), field, found, expected })
        };
        let pools: Vec<String> = scenario.pools.keys().cloned().collect();
        let positive = |field: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => bad(field, value.to_string(), "a number above 0".into()),
        };
        let known = |manifests: &BTreeMap<String, Manifest>| match manifests.keys().find(|name| !pools.contains(name)) {
            Some(name) => bad(&format!("manifests.{name}"), format!("{name:?}"), pools.join(" or ")),
            None => Ok(()),
        };
        match self {
            AutoscalerConfig::Fixed { replicas } => {
                for (name, &number) in replicas {
                    let Some(pool) = scenario.pools.get(name) else {
                        return bad(&format!("replicas.{name}"), format!("{name:?}"), pools.join(" or "));
                    };
                    let (min, max) = (pool.limits.min_replicas, pool.limits.max_replicas);
                    if number < min || number > max {
                        let expected = format!("between min_replicas {min} and max_replicas {max} of pool {name}");
                        return bad(&format!("replicas.{name}"), number.to_string(), expected);
                    }
                }
                Ok(())
            }
            AutoscalerConfig::Schedule(schedule) => {
                if let Some((field, found, expected)) = schedule.problem(&pools) {
                    return bad(&field, found, expected);
                }
                for (index, entry) in schedule.entries.iter().enumerate() {
                    for (name, &number) in &entry.replicas {
                        let limits = scenario.pools[name].limits;
                        let (min, max) = (limits.min_replicas, limits.max_replicas);
                        if number < min || number > max {
                            let expected = format!("between min_replicas {min} and max_replicas {max} of pool {name}");
                            return bad(&format!("entries[{index}].replicas.{name}"), number.to_string(), expected);
                        }
                    }
                }
                Ok(())
            }
            AutoscalerConfig::Hpa(hpa) => {
                positive("target", hpa.target)?;
                positive("headroom", hpa.headroom)?;
                known(&hpa.manifests)
            }
            AutoscalerConfig::Keda(keda) => {
                positive("threshold", keda.threshold.unwrap_or(1.0))?;
                positive("headroom", keda.headroom)?;
                if keda.polling_interval < Span::secs(1) {
                    return bad("polling_interval", keda.polling_interval.to_string(), "at least 1s".into());
                }
                known(&keda.manifests)
            }
            AutoscalerConfig::Kpa(kpa) => {
                positive("target", kpa.target.unwrap_or(1.0))?;
                positive("headroom", kpa.headroom)?;
                known(&kpa.manifests)
            }
            AutoscalerConfig::Predictive(predictive) => match predictive.problem() {
                Some((field, found, expected)) => bad(field, found, expected.to_owned()),
                None => Ok(()),
            },
        }
    }

    /// Builds it for a run of `prepared`.
    pub fn build(&self, prepared: &Prepared) -> Result<Box<dyn Autoscaler>, AutoscalerError> {
        self.check(&prepared.scenario)?;
        let name = self.name();
        Ok(match self {
            AutoscalerConfig::Fixed { replicas } => Box::new(Fixed::new(prepared, replicas)),
            AutoscalerConfig::Schedule(config) => Box::new(Schedule::new(prepared, config, name)),
            AutoscalerConfig::Hpa(config) => Box::new(HpaAutoscaler::new(prepared, config, name)?),
            AutoscalerConfig::Keda(config) => Box::new(KedaAutoscaler::new(prepared, config, name)?),
            AutoscalerConfig::Kpa(config) => Box::new(KpaAutoscaler::new(prepared, config, name)?),
            AutoscalerConfig::Predictive(config) => Box::new(Predictive::new(prepared, config, name)?),
        })
    }

    /// Its kind, as in TOML.
    pub fn kind(&self) -> &'static str {
        match self {
            AutoscalerConfig::Fixed { .. } => "fixed",
            AutoscalerConfig::Schedule(_) => "schedule",
            AutoscalerConfig::Hpa(_) => "hpa",
            AutoscalerConfig::Keda(_) => "keda",
            AutoscalerConfig::Kpa(_) => "kpa",
            AutoscalerConfig::Predictive(_) => "predictive",
        }
    }

    /// Its name in reports.
    pub fn name(&self) -> String {
        let manifest_of = |manifests: &BTreeMap<String, Manifest>| {
            manifests.values().next().map(|manifest| match manifest {
                Manifest::File(path) => path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned()),
                Manifest::Text(_) => format!("{}:manifest", self.kind()),
            })
        };
        let base = match self {
            AutoscalerConfig::Fixed { replicas } if replicas.is_empty() => "fixed".into(),
            AutoscalerConfig::Fixed { replicas } => {
                let parts: Vec<String> = replicas.iter().map(|(name, n)| format!("{name}={n}")).collect();
                format!("fixed:{}", parts.join("+"))
            }
            AutoscalerConfig::Schedule(_) => "schedule".into(),
            AutoscalerConfig::Hpa(c) => {
                manifest_of(&c.manifests).unwrap_or_else(|| format!("hpa:{}:{}", c.metric.name(), c.target))
            }
            AutoscalerConfig::Keda(c) => manifest_of(&c.manifests).unwrap_or_else(|| match c.threshold {
                Some(threshold) => format!("keda:{}:{threshold}", c.metric.name()),
                None => format!("keda:{}", c.metric.name()),
            }),
            AutoscalerConfig::Kpa(c) => manifest_of(&c.manifests).unwrap_or_else(|| match c.target {
                Some(target) => format!("kpa:{target}"),
                None => "kpa".into(),
            }),
            AutoscalerConfig::Predictive(c) => {
                match *c == (PredictiveConfig { headroom: c.headroom, ..PredictiveConfig::default() }) {
                    true => "predictive".into(),
                    false => format!("predictive:q{}", c.quantile),
                }
            }
        };
        match self.headroom() {
            Some(headroom) if headroom != 1.0 => format!("{base}/{headroom}"),
            _ => base,
        }
    }

    /// The one parameter that trades violations for cost, where there is one: what targets are divided by, or demand is
    /// multiplied by.
    pub fn headroom(&self) -> Option<f64> {
        match self {
            AutoscalerConfig::Fixed { .. } | AutoscalerConfig::Schedule(_) => None,
            AutoscalerConfig::Hpa(c) => Some(c.headroom),
            AutoscalerConfig::Keda(c) => Some(c.headroom),
            AutoscalerConfig::Kpa(c) => Some(c.headroom),
            AutoscalerConfig::Predictive(c) => Some(c.headroom),
        }
    }

    /// The same with `factor` times the headroom; replicas of `fixed` are multiplied, within the pools' limits.
    pub fn with_headroom(&self, factor: f64, scenario: &Scenario) -> AutoscalerConfig {
        let mut config = self.clone();
        let scaled = |name: &str, number: u32| {
            let limits = scenario.pools.get(name).map(|p| p.limits).unwrap_or_default();
            let number = (f64::from(number) * factor).round() as u32;
            number.clamp(limits.min_replicas, limits.max_replicas)
        };
        match &mut config {
            AutoscalerConfig::Fixed { replicas } => {
                for (name, number) in replicas {
                    *number = scaled(name, *number);
                }
            }
            AutoscalerConfig::Schedule(schedule) => {
                for entry in &mut schedule.entries {
                    for (name, number) in &mut entry.replicas {
                        *number = scaled(name, *number);
                    }
                }
            }
            AutoscalerConfig::Hpa(c) => c.headroom *= factor,
            AutoscalerConfig::Keda(c) => c.headroom *= factor,
            AutoscalerConfig::Kpa(c) => c.headroom *= factor,
            AutoscalerConfig::Predictive(c) => c.headroom *= factor,
        }
        config
    }
}
