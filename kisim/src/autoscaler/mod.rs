//! The autoscalers that are built in.

mod fixed;
mod hpa;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Span};
use crate::control::Autoscaler;
use crate::prepared::Prepared;
use crate::scenario::Scenario;
pub use fixed::Fixed;
pub use hpa::HpaAutoscaler;

/// Which autoscaler, and how it is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AutoscalerConfig {
    /// The same numbers, always.
    Fixed {
        /// By pool; a pool that is not named keeps its initial replicas.
        #[serde(default)]
        replicas: BTreeMap<String, u32>,
    },
    /// Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), one a pool.
    Hpa {
        /// What it watches.
        #[serde(default)]
        metric: HpaMetric,
        /// Its target, in the metric's unit.
        #[serde(default = "seventy")]
        target: f64,
        /// `behavior.scaleDown.stabilizationWindowSeconds`, 300 s in Kubernetes.
        #[serde(default = "five_minutes")]
        scale_down_stabilization: Span,
        /// By pool: a manifest (YAML) instead of the above, relative to the scenario.
        #[serde(default)]
        manifests: BTreeMap<String, PathBuf>,
    },
}

fn seventy() -> f64 {
    70.0
}

fn five_minutes() -> Span {
    Span::secs(300)
}

impl Default for AutoscalerConfig {
    fn default() -> Self {
        AutoscalerConfig::Hpa {
            metric: HpaMetric::default(),
            target: seventy(),
            scale_down_stabilization: five_minutes(),
            manifests: BTreeMap::new(),
        }
    }
}

/// What the HPA of a pool watches: an average over its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HpaMetric {
    /// Busy share of the device, per cent (`DCGM_FI_DEV_GPU_UTIL` for GPU pods).
    #[default]
    Utilization,
    /// CPU used over CPU asked for, per cent: the rule that does not know GPUs.
    Cpu,
    /// Requests waiting at a pod.
    Queue,
    /// Requests waiting or being executed at a pod.
    InFlight,
    /// Requests a second at a pod.
    RequestRate,
}

impl HpaMetric {
    /// The metric's name in a manifest of type Pods; CPU is a Resource metric.
    pub fn metric_name(self) -> &'static str {
        match self {
            HpaMetric::Utilization => "DCGM_FI_DEV_GPU_UTIL",
            HpaMetric::Cpu => "cpu",
            HpaMetric::Queue => "nv_inference_pending_request_count",
            HpaMetric::InFlight => "istio_requests_in_flight",
            HpaMetric::RequestRate => "istio_requests_per_second",
        }
    }

    /// All.
    pub const ALL: [HpaMetric; 5] =
        [HpaMetric::Utilization, HpaMetric::Cpu, HpaMetric::Queue, HpaMetric::InFlight, HpaMetric::RequestRate];
}

/// Why an autoscaler cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AutoscalerError {
    /// The short form on the command line is not one.
    #[error("autoscaler {found:?}: expected {expected}")]
    Unknown {
        /// What was given.
        found: String,
        /// What can be.
        expected: String,
    },
    /// The scenario or a manifest is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What its pods can take could not be measured.
    #[error("cannot measure what the pods can take: {0}")]
    Capacity(Box<crate::run::RunError>),
    /// A manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] crate::hpa::ManifestError),
    /// A manifest asks for a metric that the simulation does not offer.
    #[error("{file}: found metric {found:?}, expected one that the simulation offers: {expected}")]
    UnknownMetric {
        /// The manifest.
        file: String,
        /// Its metric.
        found: String,
        /// Metrics there are.
        expected: String,
    },
}

impl AutoscalerConfig {
    /// Reads the command line's short form: `fixed`, `fixed:4`, `fixed:gpu=4+cpu=2`, `hpa`, `hpa:60`,
    /// `hpa:queue:4`, `hpa:cpu:70`, or `scenario` for the one in the scenario.
    pub fn parse(text: &str, scenario: &Scenario) -> Result<AutoscalerConfig, AutoscalerError> {
        let unknown =
            |expected: &str| AutoscalerError::Unknown { found: text.to_owned(), expected: expected.to_owned() };
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let arguments: Vec<&str> = parts.collect();
        match (kind, arguments.as_slice()) {
            ("scenario", []) => Ok(scenario.autoscaler.clone()),
            ("fixed", []) => Ok(AutoscalerConfig::Fixed { replicas: BTreeMap::new() }),
            ("fixed", [numbers]) => {
                let mut replicas = BTreeMap::new();
                for part in numbers.split('+') {
                    let (name, number) = match part.split_once('=') {
                        Some((name, number)) => (name.to_owned(), number),
                        None => (primary_pool(scenario).to_owned(), part),
                    };
                    if !scenario.pools.contains_key(&name) {
                        let names = scenario.pools.keys().cloned().collect::<Vec<_>>().join(" or ");
                        return Err(unknown(&format!("the name of a pool, {names}, before \"=\"")));
                    }
                    let number = number.parse().map_err(|_| unknown("a whole number of replicas, as in fixed:4"))?;
                    replicas.insert(name, number);
                }
                let config = AutoscalerConfig::Fixed { replicas };
                config.check(scenario)?;
                Ok(config)
            }
            ("hpa", rest) => {
                let (metric, target) = match rest {
                    [] => (HpaMetric::Utilization, 70.0),
                    [target] if target.parse::<f64>().is_ok() => {
                        (HpaMetric::Utilization, target.parse().unwrap_or(70.0))
                    }
                    [metric, target] => {
                        let metric = match *metric {
                            "utilization" => HpaMetric::Utilization,
                            "cpu" => HpaMetric::Cpu,
                            "queue" => HpaMetric::Queue,
                            "in_flight" => HpaMetric::InFlight,
                            "rate" | "request_rate" => HpaMetric::RequestRate,
                            _ => {
                                return Err(unknown(
                                    "hpa:METRIC:TARGET with METRIC one of utilization, cpu, queue, in_flight, rate",
                                ));
                            }
                        };
                        let target = target.parse().map_err(|_| unknown("a number after hpa:METRIC:"))?;
                        (metric, target)
                    }
                    _ => return Err(unknown("hpa, hpa:TARGET in per cent, or hpa:METRIC:TARGET")),
                };
                let config = AutoscalerConfig::Hpa {
                    metric,
                    target,
                    scale_down_stabilization: five_minutes(),
                    manifests: BTreeMap::new(),
                };
                config.check(scenario)?;
                Ok(config)
            }
            _ => Err(unknown("fixed:N, hpa, hpa:TARGET, hpa:METRIC:TARGET, or scenario")),
        }
    }

    /// Checks it against a scenario.
    pub fn check(&self, scenario: &Scenario) -> Result<(), ConfigError> {
        let bad = |field: String, found: String, expected: String| {
            Err(ConfigError::Field { origin: scenario.origin.clone(), field, found, expected })
        };
        let names = || scenario.pools.keys().cloned().collect::<Vec<_>>().join(" or ");
        match self {
            AutoscalerConfig::Fixed { replicas } => {
                for (name, &number) in replicas {
                    let Some(pool) = scenario.pools.get(name) else {
                        return bad(format!("autoscaler.replicas.{name}"), format!("{name:?}"), names());
                    };
                    let (min, max) = (pool.limits.min_replicas, pool.limits.max_replicas);
                    if number < min || number > max {
                        let expected = format!("between min_replicas {min} and max_replicas {max} of pool {name}");
                        return bad(format!("autoscaler.replicas.{name}"), number.to_string(), expected);
                    }
                }
            }
            AutoscalerConfig::Hpa { target, manifests, .. } => {
                if !(target.is_finite() && *target > 0.0) {
                    return bad("autoscaler.target".into(), target.to_string(), "a number above 0".into());
                }
                if let Some(name) = manifests.keys().find(|name| !scenario.pools.contains_key(*name)) {
                    return bad(format!("autoscaler.manifests.{name}"), format!("{name:?}"), names());
                }
            }
        }
        Ok(())
    }

    /// Builds it for a run of `prepared`.
    pub fn build(&self, prepared: &Prepared) -> Result<Box<dyn Autoscaler>, AutoscalerError> {
        let scenario = &prepared.scenario;
        Ok(match self {
            AutoscalerConfig::Fixed { replicas } => Box::new(Fixed::new(scenario, replicas)),
            AutoscalerConfig::Hpa { .. } => Box::new(HpaAutoscaler::new(scenario, self)?),
        })
    }

    /// Its name in reports.
    pub fn name(&self) -> String {
        match self {
            AutoscalerConfig::Fixed { replicas } if replicas.is_empty() => "fixed".into(),
            AutoscalerConfig::Fixed { replicas } => {
                let parts: Vec<String> = replicas.iter().map(|(name, n)| format!("{name}={n}")).collect();
                format!("fixed:{}", parts.join("+"))
            }
            AutoscalerConfig::Hpa { manifests, .. } if !manifests.is_empty() => "hpa:manifest".into(),
            AutoscalerConfig::Hpa { metric, target, .. } => {
                let metric = match metric {
                    HpaMetric::Utilization => "utilization",
                    HpaMetric::Cpu => "cpu",
                    HpaMetric::Queue => "queue",
                    HpaMetric::InFlight => "in_flight",
                    HpaMetric::RequestRate => "rate",
                };
                format!("hpa:{metric}:{target}")
            }
        }
    }
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
