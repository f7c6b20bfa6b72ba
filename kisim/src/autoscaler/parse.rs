//! Autoscalers as the command line names them, and as files describe them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::config::{AutoscalerConfig, HpaConfig, KedaConfig, KpaConfig, Manifest};
use super::error::AutoscalerError;
use super::metrics::HpaMetric;
use super::predictive::PredictiveConfig;
use crate::config::{ConfigError, parse_toml, read_file};
use crate::hpa::ManifestError;
use crate::scenario::Scenario;

const METRICS: &str = "one of utilization, cpu, queue, in_flight, rate";

impl AutoscalerConfig {
    /// Reads the command line's short form: `fixed:4`, `fixed:gpu=4+cpu=2`, `hpa`, `hpa:60`, `hpa:queue:4`, `keda`,
    /// `keda:in_flight:24`, `kpa`, `kpa:24`, `predictive`, `scenario` for the one in the scenario, or the path of a
    /// manifest or TOML file (see [`AutoscalerConfig::load`]).
    pub fn parse(text: &str, scenario: &Scenario) -> Result<AutoscalerConfig, AutoscalerError> {
        if AutoscalerConfig::is_file(text) {
            return AutoscalerConfig::load(Path::new(text), scenario);
        }
        let unknown =
            |expected: &str| AutoscalerError::Unknown { found: text.to_owned(), expected: expected.to_owned() };
        let number = |part: &str| part.parse::<f64>().ok();
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let arguments: Vec<&str> = parts.collect();
        let config = match (kind, arguments.as_slice()) {
            ("scenario", []) => scenario.autoscaler.clone(),
            ("fixed", []) => AutoscalerConfig::Fixed { replicas: BTreeMap::new() },
            ("fixed", [numbers]) => fixed(numbers, scenario).map_err(|expected| unknown(&expected))?,
            ("hpa", []) => AutoscalerConfig::Hpa(HpaConfig::default()),
            ("hpa", [target]) if number(target).is_some() => {
                AutoscalerConfig::Hpa(HpaConfig { target: number(target).unwrap_or(70.0), ..HpaConfig::default() })
            }
            ("hpa", [metric, target]) => {
                let metric = HpaMetric::named(metric)
                    .ok_or_else(|| unknown(&format!("hpa:METRIC:TARGET with METRIC {METRICS}")))?;
                let target = number(target).ok_or_else(|| unknown("a number after hpa:METRIC:"))?;
                AutoscalerConfig::Hpa(HpaConfig { metric, target, ..HpaConfig::default() })
            }
            ("hpa", _) => return Err(unknown("hpa, hpa:TARGET in per cent, or hpa:METRIC:TARGET")),
            ("keda", []) => AutoscalerConfig::Keda(KedaConfig::default()),
            ("keda", [metric] | [metric, _]) => {
                let metric = HpaMetric::named(metric)
                    .ok_or_else(|| unknown(&format!("keda:METRIC or keda:METRIC:THRESHOLD with METRIC {METRICS}")))?;
                let threshold = match arguments.get(1) {
                    Some(part) => Some(number(part).ok_or_else(|| unknown("a number after keda:METRIC:"))?),
                    None => None,
                };
                AutoscalerConfig::Keda(KedaConfig { metric, threshold, ..KedaConfig::default() })
            }
            ("kpa", []) => AutoscalerConfig::Kpa(KpaConfig::default()),
            ("kpa", [target]) => {
                let target = number(target).ok_or_else(|| unknown("kpa, or kpa:TARGET with a number of requests"))?;
                AutoscalerConfig::Kpa(KpaConfig { target: Some(target), ..KpaConfig::default() })
            }
            ("predictive", []) => AutoscalerConfig::Predictive(PredictiveConfig::default()),
            _ => {
                return Err(unknown(
                    "fixed:N, hpa, hpa:TARGET, hpa:METRIC:TARGET, keda, keda:METRIC:THRESHOLD, kpa, kpa:TARGET, \
                     predictive, scenario, or the path of a .yaml manifest or a .toml file",
                ));
            }
        };
        match config.check(scenario) {
            // What the command line says, not the scenario.
            Err(ConfigError::Field { found, expected, .. }) if kind != "scenario" => {
                Err(unknown(&format!("{expected}, not {found}")))
            }
            other => Ok(other.map(|()| config)?),
        }
    }

    /// Whether `text` names a file rather than a short form.
    pub fn is_file(text: &str) -> bool {
        [".yaml", ".yml", ".toml"].iter().any(|ending| text.ends_with(ending))
    }

    /// Reads a file: a HorizontalPodAutoscaler, a ScaledObject or a Knative Service, Revision or PodAutoscaler in YAML,
    /// for the primary pool (the GPU pool, else the only one), or an `[autoscaler]` table in TOML. Relative paths in it
    /// start where it is.
    pub fn load(path: &Path, scenario: &Scenario) -> Result<AutoscalerConfig, AutoscalerError> {
        let file = path.display().to_string();
        let text = read_file(path)?;
        if file.ends_with(".toml") {
            let table: File = parse_toml(&text, &file)?;
            let mut config = table.autoscaler;
            let base = std::path::absolute(path.parent().unwrap_or(Path::new("."))).unwrap_or_default();
            for manifest in config.manifests_mut() {
                if let Manifest::File(own) = manifest {
                    *own = base.join(&own);
                }
            }
            config.check(scenario).map_err(|e| match e {
                ConfigError::Field { field, found, expected, .. } => {
                    ConfigError::Field { origin: file.clone(), field, found, expected }
                }
                other => other,
            })?;
            return Ok(config);
        }
        let kind = kind_of(&text).map_err(|e| ManifestError::Syntax { file: file.clone(), detail: e.to_string() })?;
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let manifests = BTreeMap::from([(primary_pool(scenario).to_owned(), Manifest::File(whole))]);
        match kind.as_str() {
            "HorizontalPodAutoscaler" => Ok(AutoscalerConfig::Hpa(HpaConfig { manifests, ..HpaConfig::default() })),
            "ScaledObject" => Ok(AutoscalerConfig::Keda(KedaConfig { manifests, ..KedaConfig::default() })),
            "Service" | "Revision" | "PodAutoscaler" | "ConfigMap" => {
                Ok(AutoscalerConfig::Kpa(KpaConfig { manifests, ..KpaConfig::default() }))
            }
            _ => Err(AutoscalerError::Kind {
                file,
                found: if kind.is_empty() { "nothing".to_owned() } else { kind },
                expected: "HorizontalPodAutoscaler, ScaledObject, or a Knative Service, Revision or PodAutoscaler"
                    .into(),
            }),
        }
    }

    fn manifests_mut(&mut self) -> impl Iterator<Item = &mut Manifest> {
        let manifests = match self {
            AutoscalerConfig::Hpa(c) => Some(&mut c.manifests),
            AutoscalerConfig::Keda(c) => Some(&mut c.manifests),
            AutoscalerConfig::Kpa(c) => Some(&mut c.manifests),
            AutoscalerConfig::Fixed { .. } | AutoscalerConfig::Schedule(_) | AutoscalerConfig::Predictive(_) => None,
        };
        manifests.into_iter().flat_map(|m| m.values_mut())
    }
}

/// A file that holds an autoscaler and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    autoscaler: AutoscalerConfig,
}

/// The kind that the first document names, whatever else is in it: its own reader will say what is wrong.
fn kind_of(text: &str) -> Result<String, serde_norway::Error> {
    let first = serde_norway::Deserializer::from_str(text).next();
    let value = first.map(serde_norway::Value::deserialize).transpose()?;
    Ok(value.and_then(|value| Some(value.get("kind")?.as_str()?.to_owned())).unwrap_or_default())
}

fn fixed(numbers: &str, scenario: &Scenario) -> Result<AutoscalerConfig, String> {
    let mut replicas = BTreeMap::new();
    for part in numbers.split('+') {
        let (name, number) = match part.split_once('=') {
            Some((name, number)) => (name.to_owned(), number),
            None => (primary_pool(scenario).to_owned(), part),
        };
        if !scenario.pools.contains_key(&name) {
            let names = scenario.pools.keys().cloned().collect::<Vec<_>>().join(" or ");
            return Err(format!("the name of a pool, {names}, before \"=\""));
        }
        let number = number.parse().map_err(|_| "a whole number of replicas, as in fixed:4".to_owned())?;
        replicas.insert(name, number);
    }
    Ok(AutoscalerConfig::Fixed { replicas })
}

/// The pool a bare number is about: the GPU pool, else the only one.
fn primary_pool(scenario: &Scenario) -> &str {
    let is_gpu = |pool: &crate::scenario::Pool| {
        crate::profile::Profile::load(&pool.profile, &scenario.base)
            .is_ok_and(|p| p.hardware == crate::profile::Hardware::Gpu)
    };
    let gpu = scenario.pools.iter().find(|(_, pool)| is_gpu(pool));
    gpu.or_else(|| scenario.pools.iter().next()).map_or("", |(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_found_in_block_and_flow_style() {
        let check = |text: &str, kind: &str| assert_eq!(kind_of(text).unwrap(), kind, "{text}");
        check("apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n", "HorizontalPodAutoscaler");
        check("{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a}}", "ScaledObject");
        check("spec:\n  scaleTargetRef:\n    kind: Deployment\nkind: 'ScaledObject' # yes\n", "ScaledObject");
        check("{\n  \"kind\": \"Service\"\n}\n---\nkind: ConfigMap\n", "Service");
        check("nothing: here\n", "");
        check("", "");
        assert!(kind_of("kind: a\nspec: {b: 1, b: 2}\n").unwrap_err().to_string().contains("duplicate"));
    }
}
