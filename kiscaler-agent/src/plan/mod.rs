//! From a KIScaler to what the simulator's own code decides with.
//!
//! Policies and baselines are built from a [`Prepared`] scenario, in training and here alike: so a spec becomes a
//! scenario, of which only the facts matter (pools, profile, limits, objective, interval). Its traffic is never sent.

mod decider;
mod needs;
mod scenario;

use std::collections::BTreeMap;
use std::sync::Arc;

use kiscaler_train::checkpoint::Refusal;
use kiscaler_train::policy::{Policy, PolicyError};
use kisim::autoscaler::{AutoscalerConfig, AutoscalerError};
use kisim::config::ConfigError;
use kisim::prepared::Prepared;

pub use decider::{Decider, Loaded, Observation};
pub use needs::Needs;
pub use scenario::{ProfileTexts, scenario};

use crate::api::{KIScaler, PrometheusSource};

/// Why a KIScaler cannot be acted on. Each is for people, in the object's conditions.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A field of the spec says what cannot be.
    #[error("{field}: found {found}, expected {expected}")]
    Field {
        /// Its path.
        field: String,
        /// What it says.
        found: String,
        /// What would do.
        expected: String,
    },
    /// The simulator's own checks.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The baseline is none.
    #[error(transparent)]
    Autoscaler(Box<AutoscalerError>),
    /// The checkpoint does not fit this version.
    #[error("checkpoint {name}: {refusal}")]
    Refused {
        /// Where it is.
        name: String,
        /// The first difference.
        refusal: Box<Refusal>,
    },
    /// The checkpoint does not have the digest that was asked for.
    #[error("policy.checkpoint.sha256: found {found} in {name}, expected {expected}")]
    Digest {
        /// Where it is.
        name: String,
        /// Its digest.
        found: String,
        /// The one in the spec.
        expected: String,
    },
    /// The policy cannot scale this.
    #[error("policy {name}: {error}")]
    Policy {
        /// Its name.
        name: String,
        /// Why not.
        error: Box<PolicyError>,
    },
    /// Metrics that the policy or baseline goes by have no source.
    #[error("metrics.preset: found {preset}, which has no metric of {what}, expected one that has: {name} goes by it")]
    Unobservable {
        /// The preset.
        preset: String,
        /// What is missing.
        what: &'static str,
        /// Who needs it.
        name: String,
    },
}

impl From<ConfigError> for PlanError {
    fn from(error: ConfigError) -> Self {
        PlanError::Config(Box::new(error))
    }
}

impl From<AutoscalerError> for PlanError {
    fn from(error: AutoscalerError) -> Self {
        PlanError::Autoscaler(Box::new(error))
    }
}

impl PlanError {
    /// Whether it is about the policy rather than about the rest of the spec.
    pub fn is_about_policy(&self) -> bool {
        matches!(self, PlanError::Refused { .. } | PlanError::Digest { .. } | PlanError::Policy { .. })
    }
}

/// Who decides, as the spec has it, with everything it refers to in hand.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// A learnt policy.
    Policy(Arc<Loaded>),
    /// A baseline by name.
    Baseline(String),
}

/// All that decisions are made with.
#[derive(Debug)]
pub struct Plan {
    /// The scenario, made ready.
    pub prepared: Arc<Prepared>,
    /// Who decides.
    pub decider: Decider,
    /// Who decides when that one cannot; none holds.
    pub fallback: Option<Decider>,
    /// What must be known of each pod.
    pub needs: Needs,
}

impl Plan {
    /// The plan of `scaler`: `profiles` are the texts of profiles that are not built in, `current` the replicas of each pool
    /// now, by name.
    ///
    /// Measures what pods can take, which costs some 10 ms of processor time a pool.
    ///
    /// # Errors
    /// The spec says something that cannot be, or the policy does not fit it.
    pub fn new(
        scaler: &KIScaler,
        profiles: &ProfileTexts,
        chosen: &Chosen,
        current: &BTreeMap<&'static str, u32>,
    ) -> Result<Plan, PlanError> {
        let spec = &scaler.spec;
        if let Some(prometheus) = &spec.metrics.prometheus {
            let (recall, longest) = (prometheus.recall, PrometheusSource::LONGEST_RECALL);
            if recall > longest {
                return Err(PlanError::Field {
                    field: "metrics.prometheus.recall".to_owned(),
                    found: recall.span().to_string(),
                    expected: format!("a time of at most {}", longest.span()),
                });
            }
        }
        let scenario = scenario(scaler, profiles, current)?;
        let prepared = Prepared::new(scenario)?;
        let offered = crate::metrics::Mapping::of(&spec.metrics).offers();
        let check = |needs: Needs, name: &str| match needs.missing(offered) {
            Some(what) => {
                Err(PlanError::Unobservable { preset: format!("{:?}", spec.metrics.preset), what, name: name.into() })
            }
            None => Ok(needs),
        };
        let (decider, mut needs) = match chosen {
            Chosen::Policy(loaded) => (
                Decider::policy(loaded, &prepared, spec.cost_weight)?,
                check(Needs::of_policy(loaded.policy.set()), &loaded.name)?,
            ),
            Chosen::Baseline(name) => {
                let config = baseline("policy.baseline", name, &prepared)?;
                (Decider::baseline(&config, &prepared)?, check(Needs::of_baseline(&config), name)?)
            }
        };
        let fallback = match spec.fallback.as_str() {
            "Hold" => None,
            name => {
                let config = baseline("fallback", name, &prepared)?;
                needs = needs | check(Needs::of_baseline(&config), name)?;
                Some(Decider::baseline(&config, &prepared)?)
            }
        };
        Ok(Plan { prepared, decider, fallback, needs })
    }
}

/// A baseline by its short name. Files are not read: a KIScaler's author is not the agent's administrator.
fn baseline(field: &str, name: &str, prepared: &Prepared) -> Result<AutoscalerConfig, PlanError> {
    if AutoscalerConfig::is_file(name) || name == "scenario" {
        return Err(PlanError::Field {
            field: field.to_owned(),
            found: format!("{name:?}"),
            expected: "a baseline's short name, such as hpa:60, keda:in_flight:24, kpa or predictive".to_owned(),
        });
    }
    Ok(AutoscalerConfig::parse(name, &prepared.scenario)?)
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The policy in `bytes`, if it has the digest that is asked for and fits this version; `name` says where it is.
///
/// # Errors
/// The digest is another, or the checkpoint is damaged or of another version.
pub fn load_policy(name: &str, bytes: &[u8], sha256: Option<&str>) -> Result<Loaded, PlanError> {
    use kiscaler_train::checkpoint::Checkpoint;
    let digest = digest(bytes);
    if let Some(expected) = sha256.filter(|expected| *expected != digest) {
        return Err(PlanError::Digest { name: name.to_owned(), found: digest, expected: expected.to_owned() });
    }
    let refused = |refusal| PlanError::Refused { name: name.to_owned(), refusal: Box::new(refusal) };
    let checkpoint = Checkpoint::from_bytes(bytes).map_err(refused)?;
    let policy = Policy::new(&Arc::new(checkpoint)).map_err(refused)?;
    Ok(Loaded { name: name.to_owned(), sha256: digest, policy: Arc::new(policy) })
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::api::KIScaler;

    /// BERT on T4s, between 1 and 8 of them, scaled by a baseline.
    pub(crate) fn scaler(baseline: &str) -> KIScaler {
        let text = format!(
            "apiVersion: kiscaler.dev/v1alpha1\nkind: KIScaler\nmetadata: {{name: triton, namespace: default}}\nspec:\n  \
             pools:\n    gpu:\n      scaleTargetRef: {{name: triton}}\n      maxReplicas: 8\n      \
             profile: {{name: bert-large-trt-fp16-seq128-t4}}\n      batcher: {{maxBatch: 32}}\n  policy: {{baseline: '{baseline}'}}\n  \
             slo: {{latency: 250ms}}\n  metrics: {{preset: Triton, direct: {{endpoints: ['http://{{ip}}/metrics']}}}}\n"
        );
        KIScaler::parse(&text, "test").unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::scaler;
    use super::*;

    const POLICY: &[u8] = include_bytes!("../../../kiscaler-train/policies/default.safetensors");

    fn plan(scaler: &KIScaler, chosen: &Chosen) -> Result<Plan, PlanError> {
        Plan::new(scaler, &ProfileTexts::new(), chosen, &BTreeMap::from([("gpu", 2)]))
    }

    #[test]
    fn the_shipped_policy_and_baselines_have_a_plan() {
        let loaded = Arc::new(load_policy("default", POLICY, None).unwrap());
        let made = plan(&scaler("hpa:60"), &Chosen::Policy(Arc::clone(&loaded))).unwrap();
        assert!(made.needs.utilization && made.needs.requests && made.fallback.is_none());
        assert_eq!(made.decider.loaded().unwrap().sha256, loaded.sha256);
        let mut with_fallback = scaler("hpa:60");
        with_fallback.spec.fallback = "keda:queue:4".into();
        for name in ["hpa:60", "hpa:queue:4", "keda", "kpa", "predictive", "fixed:3"] {
            let made = plan(&with_fallback, &Chosen::Baseline(name.into())).unwrap();
            assert!(made.needs.queued && made.fallback.is_some(), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_sides() {
        let refuse = |bytes: &[u8], sha256: Option<&str>, part: &str| {
            let error = load_policy("configmap/p/policy", bytes, sha256).unwrap_err();
            assert!(error.is_about_policy());
            assert!(error.to_string().contains(part), "{error}");
        };
        refuse(POLICY, Some(&"0".repeat(64)), "expected 000000");
        refuse(&POLICY[..POLICY.len() / 2], None, "configmap/p/policy");
        refuse(b"hello", None, "expected");
        let mut damaged = POLICY.to_vec();
        let last = damaged.len() - 3;
        damaged[last] ^= 0x10;
        refuse(&damaged, None, "digest");
        let mut other_interval = scaler("hpa:60");
        other_interval.spec.interval = crate::api::Length::secs(30);
        let loaded = Arc::new(load_policy("default", POLICY, None).unwrap());
        let error = plan(&other_interval, &Chosen::Policy(loaded)).unwrap_err();
        assert!(error.to_string().contains("control interval: found 15s, expected 30s"), "{error}");
    }

    #[test]
    fn a_past_of_more_than_a_day_is_refused() {
        let recalling = |recall: &str| {
            let mut scaler = scaler("hpa:60");
            let source = serde_json::json!({"url": "http://p:9090", "recall": recall});
            (scaler.spec.metrics.direct, scaler.spec.metrics.prometheus) =
                (None, serde_json::from_value(source).unwrap());
            plan(&scaler, &Chosen::Baseline("hpa:60".into())).map(|_| ())
        };
        for fits in ["0s", "5h", "24h"] {
            recalling(fits).unwrap();
        }
        let error = recalling("25h").unwrap_err().to_string();
        assert_eq!(error, "metrics.prometheus.recall: found 25h, expected a time of at most 24h");
        let source: PrometheusSource = serde_json::from_str(r#"{"url": "http://p:9090"}"#).unwrap();
        assert_eq!(source.recall, crate::api::Length::secs(5 * 3600));
    }

    #[test]
    fn a_baseline_without_its_metric_and_a_file_are_refused() {
        let error = plan(&scaler("hpa:60"), &Chosen::Baseline("hpa:cpu:60".into())).unwrap_err().to_string();
        assert!(error.contains("no metric of CPU utilization"), "{error}");
        for file in ["/etc/passwd.yaml", "hpa.toml", "scenario"] {
            let error = plan(&scaler("hpa:60"), &Chosen::Baseline(file.into())).unwrap_err().to_string();
            assert!(error.contains("expected a baseline's short name"), "{error}");
        }
        assert!(plan(&scaler("hpa:60"), &Chosen::Baseline("hpa:nothing".into())).is_err());
    }
}
