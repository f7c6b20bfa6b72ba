//! Everything that a spec refers to, read and made ready.

use std::collections::BTreeMap;

use super::artifacts::{ArtifactError, Artifacts, Holder};
use crate::api::{CheckpointSource, KIScaler};
use crate::plan::{Chosen, Plan, PlanError, ProfileTexts};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A ConfigMap, a Secret or a file that the policy is in.
    #[error("policy.checkpoint: {0}")]
    Checkpoint(String),
    /// A ConfigMap that a profile is in.
    #[error("pools.{pool}.profile: {error}")]
    Profile {
        /// The pool.
        pool: &'static str,
        /// What is wrong.
        error: ArtifactError,
    },
    /// The spec does not fit together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The measurement of what pods can take ended without a result.
    #[error("measuring what pods can take: {0}")]
    Measuring(String),
}

impl SetupError {
    /// Whether it is about the policy rather than about the rest of the spec.
    pub fn is_about_policy(&self) -> bool {
        match self {
            SetupError::Checkpoint(_) => true,
            SetupError::Plan(error) => error.is_about_policy(),
            SetupError::Profile { .. } | SetupError::Measuring(_) => false,
        }
    }
}

/// A plan, and what it was made of.
#[derive(Debug)]
pub struct Setup {
    /// The plan.
    pub plan: Plan,
    /// Why the policy does not decide, where a fallback stands in for it.
    pub standing_in: Option<String>,
}

/// Versions of the objects that a spec refers to: where one changes, what was made of it is old.
///
/// # Errors
/// As [`setup`].
pub async fn versions(scaler: &KIScaler, artifacts: &Artifacts) -> Vec<String> {
    let mut versions = Vec::new();
    let namespace = scaler.home();
    for (_, pool) in scaler.spec.pools.by_name() {
        if let Some(key) = &pool.profile.config_map_key_ref {
            versions.push(version(artifacts.get(Holder::ConfigMap, namespace, key).await.map(|a| a.version)));
        }
    }
    if let Some(source) = &scaler.spec.policy.checkpoint {
        let found = match (&source.config_map_key_ref, &source.secret_key_ref, &source.path) {
            (Some(key), _, _) => artifacts.get(Holder::ConfigMap, namespace, key).await.map(|a| a.version),
            (_, Some(key), _) => artifacts.get(Holder::Secret, namespace, key).await.map(|a| a.version),
            (_, _, Some(path)) => Ok(modified(path).await),
            _ => Ok(String::new()),
        };
        versions.push(version(found));
    }
    versions
}

/// An error is a version, too: it changes to another when what is wrong changes.
fn version(found: Result<String, ArtifactError>) -> String {
    found.unwrap_or_else(|error| error.to_string())
}

async fn modified(path: &str) -> String {
    match tokio::fs::metadata(path).await.and_then(|m| Ok((m.modified()?, m.len()))) {
        Ok((modified, length)) => format!("{modified:?} {length}"),
        Err(error) => error.to_string(),
    }
}

/// Reads what `scaler` refers to and makes a plan of it. `current` are the replicas of each pool, by name.
///
/// Where the policy cannot be had and the fallback is a baseline, the baseline stands in for it.
///
/// # Errors
/// Something is not there, or does not fit.
pub async fn setup(
    scaler: &KIScaler,
    artifacts: &Artifacts,
    current: &BTreeMap<&'static str, u32>,
) -> Result<Setup, SetupError> {
    let mut profiles = ProfileTexts::new();
    for (pool, spec) in scaler.spec.pools.by_name() {
        if let Some(key) = &spec.profile.config_map_key_ref {
            let found = artifacts.get(Holder::ConfigMap, scaler.home(), key).await;
            let found = found.map_err(|error| SetupError::Profile { pool, error })?;
            profiles.insert(pool, String::from_utf8_lossy(&found.bytes).into_owned());
        }
    }
    let first = match chosen(scaler, artifacts).await {
        Ok(chosen) => plan(scaler, profiles.clone(), chosen, current.clone()).await,
        Err(error) => Err(error),
    };
    match first {
        Ok(plan) => Ok(Setup { plan, standing_in: None }),
        Err(error) if error.is_about_policy() && scaler.spec.fallback != "Hold" => {
            let instead = Chosen::Baseline(scaler.spec.fallback.clone());
            let plan = plan(scaler, profiles, instead, current.clone()).await?;
            Ok(Setup { plan, standing_in: Some(error.to_string()) })
        }
        Err(error) => Err(error),
    }
}

/// Measuring takes the processor for a while, so it is done where nobody waits for it.
async fn plan(
    scaler: &KIScaler,
    profiles: ProfileTexts,
    chosen: Chosen,
    current: BTreeMap<&'static str, u32>,
) -> Result<Plan, SetupError> {
    let scaler = scaler.clone();
    let made = tokio::task::spawn_blocking(move || Plan::new(&scaler, &profiles, &chosen, &current)).await;
    Ok(made.map_err(|e| SetupError::Measuring(e.to_string()))??)
}

async fn chosen(scaler: &KIScaler, artifacts: &Artifacts) -> Result<Chosen, SetupError> {
    let policy = &scaler.spec.policy;
    if let Some(source) = &policy.checkpoint {
        let bytes = checkpoint(source, scaler.home(), artifacts).await.map_err(SetupError::Checkpoint)?;
        let loaded = artifacts.policy(&source.label(), &bytes, source.sha256.as_deref())?;
        return Ok(Chosen::Policy(loaded));
    }
    Ok(Chosen::Baseline(policy.baseline.clone().unwrap_or_default()))
}

async fn checkpoint(source: &CheckpointSource, namespace: &str, artifacts: &Artifacts) -> Result<Vec<u8>, String> {
    let key = match (&source.config_map_key_ref, &source.secret_key_ref, &source.path) {
        (Some(key), _, _) => (Holder::ConfigMap, key),
        (_, Some(key), _) => (Holder::Secret, key),
        (_, _, Some(path)) => {
            return tokio::fs::read(path).await.map_err(|e| format!("cannot read {path}: {e}"));
        }
        _ => return Err("found none, expected one of configMapKeyRef, secretKeyRef and path".to_owned()),
    };
    artifacts.get(key.0, namespace, key.1).await.map(|a| a.bytes).map_err(|e| e.to_string())
}
