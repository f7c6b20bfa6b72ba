//! The scale subresource: reading it when it changed, and applying a number of replicas to it.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::core::{DynamicObject, Selector, Status};
use kube::{Api, Client};
use serde_json::json;

use super::scalers::Entry;
use crate::api::{FIELD_MANAGER, KIScaler, OnConflict, ScaleTargetRef};
use crate::cluster::{Cluster, Table, TargetKind, parse_selector};
use crate::control::{Obstacle, Reason};
use crate::leader::{GivenUp, Permit};

/// How long the API may take to say what a target's scale is.
const PATIENCE: Duration = Duration::from_secs(5);

/// A target's scale, as last read.
#[derive(Clone, Debug)]
pub struct ScaleState {
    /// The target's UID.
    pub uid: String,
    /// The version it was read at.
    pub version: String,
    /// Replicas that are asked for.
    pub replicas: u32,
    /// Which pods are its.
    pub selector: Selector,
}

fn obstacle(reason: Reason, message: String) -> Obstacle {
    Obstacle { reason, message }
}

fn describe(reference: &ScaleTargetRef) -> String {
    format!("{} {}", reference.kind, reference.name)
}

/// Reads the scale of a target, unless `known` is what it still is.
///
/// # Errors
/// There is no such target, it has no scale, or the API does not say.
pub async fn read(
    client: &Client,
    cluster: &Cluster,
    namespace: &str,
    reference: &ScaleTargetRef,
    known: Option<&ScaleState>,
) -> Result<ScaleState, Obstacle> {
    let what = describe(reference);
    let kind = tokio::time::timeout(PATIENCE, cluster.targets.kind(reference)).await;
    let kind = match kind {
        Ok(Ok(kind)) => kind,
        Ok(Err(error)) if is_absent(&error) => {
            let message = format!("the API has no kind {} in {}", reference.kind, reference.api_version);
            return Err(obstacle(Reason::NotScalable, message));
        }
        Ok(Err(error)) => return Err(obstacle(Reason::ApiUnavailable, error.to_string())),
        Err(_) => return Err(unanswered(&what)),
    };
    let seen = kind.objects.get(namespace, &reference.name);
    if let (Some(seen), Some(known)) = (&seen, known)
        && seen.resource_version == known.version
    {
        return Ok(known.clone());
    }
    // Before the watch has told of all, only the API itself knows whether there is one.
    if seen.is_none() && kind.objects.is_synced() {
        return Err(obstacle(Reason::TargetMissing, format!("there is no {what}")));
    }
    let api = api(client, namespace, &kind);
    match tokio::time::timeout(PATIENCE, api.get_scale(&reference.name)).await {
        Ok(Ok(scale)) => state(&what, &scale),
        Ok(Err(error)) if is_absent(&error) && seen.is_some() => {
            Err(obstacle(Reason::NotScalable, format!("{what} has no scale subresource")))
        }
        Ok(Err(error)) if is_absent(&error) => Err(obstacle(Reason::TargetMissing, format!("there is no {what}"))),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(obstacle(Reason::ApiUnavailable, status.message.clone()))
        }
        Ok(Err(error)) => Err(obstacle(Reason::ApiUnavailable, format!("the scale of {what}: {error}"))),
        Err(_) => Err(unanswered(&what)),
    }
}

fn unanswered(what: &str) -> Obstacle {
    obstacle(Reason::ApiUnavailable, format!("the scale of {what}: no answer within {PATIENCE:?}"))
}

fn api(client: &Client, namespace: &str, kind: &TargetKind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.resource)
}

fn is_absent(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 404,
        kube::Error::Discovery(_) => true,
        _ => false,
    }
}

fn state(what: &str, scale: &Scale) -> Result<ScaleState, Obstacle> {
    let selector = scale.status.as_ref().and_then(|s| s.selector.clone()).unwrap_or_default();
    if selector.is_empty() {
        // Its pods would be all of the namespace's.
        let message = format!("the scale of {what}: found no selector, expected one");
        return Err(obstacle(Reason::NotScalable, message));
    }
    let selector = parse_selector(&selector)
        .map_err(|error| obstacle(Reason::NotScalable, format!("the scale of {what}: {error}")))?;
    Ok(ScaleState {
        uid: scale.metadata.uid.clone().unwrap_or_default(),
        version: scale.metadata.resource_version.clone().unwrap_or_default(),
        replicas: scale.spec.as_ref().and_then(|s| s.replicas).and_then(|r| u32::try_from(r).ok()).unwrap_or(0),
        selector,
    })
}

/// Why a number of replicas was not set.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another field manager owns it.
    #[error("{0}")]
    Conflict(String),
    /// The API refused.
    #[error("{0}")]
    Refused(String),
    /// The API could not be reached, or the right to write was at its end.
    #[error("{0}")]
    Unanswered(String),
}

impl WriteError {
    /// In one word.
    pub fn reason(&self) -> Reason {
        match self {
            WriteError::Conflict(_) => Reason::Conflict,
            WriteError::Refused(_) => Reason::WriteRefused,
            WriteError::Unanswered(_) => Reason::ApiUnavailable,
        }
    }

    /// Its name in metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            WriteError::Conflict(_) => "conflict",
            WriteError::Refused(_) => "refused",
            WriteError::Unanswered(_) => "unanswered",
        }
    }
}

impl From<GivenUp> for WriteError {
    fn from(error: GivenUp) -> Self {
        WriteError::Unanswered(error.to_string())
    }
}

/// Applies `replicas` to a target's scale subresource, and to nothing else, as the field manager `kiscaler`.
///
/// A number that nobody ever applied or updated (the API server's own default) has no owner, and yet a first apply to a
/// scale subresource conflicts with one that it calls `before-first-apply`. Such a number is taken, on condition that the
/// object is still as it was when it was seen to have no owner.
///
/// # Errors
/// Another manager owns the number (and the spec does not say to take it), or the API does not do it.
pub async fn write(
    client: &Client,
    cluster: &Cluster,
    (namespace, reference): (&str, &ScaleTargetRef),
    replicas: u32,
    on_conflict: OnConflict,
    permit: Permit,
) -> Result<ScaleState, WriteError> {
    let kind = permit.spend(cluster.targets.kind(reference)).await?;
    let kind = kind.map_err(|e| WriteError::Unanswered(e.to_string()))?;
    let api = api(client, namespace, &kind);
    permit.spend(apply_scale(&api, (namespace, reference), replicas, on_conflict)).await?
}

async fn apply_scale(
    api: &Api<DynamicObject>,
    (namespace, reference): (&str, &ScaleTargetRef),
    replicas: u32,
    on_conflict: OnConflict,
) -> Result<ScaleState, WriteError> {
    let mut patch = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": reference.name, "namespace": namespace},
        "spec": {"replicas": replicas},
    });
    let name = &reference.name;
    let mut parameters = PatchParams::apply(FIELD_MANAGER);
    parameters.force = on_conflict == OnConflict::Force;
    let first = api.patch_scale(name, &parameters, &Patch::Apply(&patch)).await;
    let written = match first {
        Err(kube::Error::Api(status)) if is_unowned(&status) => {
            let metadata = api.get_metadata(name).await.map_err(failed)?.metadata;
            if let Some(owner) = owner_of_replicas(&metadata) {
                return Err(WriteError::Conflict(format!("{owner} owns .spec.replicas")));
            }
            patch["metadata"]["resourceVersion"] = json!(metadata.resource_version);
            parameters.force = true;
            api.patch_scale(name, &parameters, &Patch::Apply(&patch)).await
        }
        other => other,
    };
    let scale = written.map_err(failed)?;
    state(&describe(reference), &scale).map_err(|obstacle| WriteError::Refused(obstacle.message))
}

fn failed(error: kube::Error) -> WriteError {
    match error {
        kube::Error::Api(status) if status.code == 409 && has_managers(&status) => {
            WriteError::Conflict(status.message.clone())
        }
        // The object changed in between: the next decision sees it as it is then.
        kube::Error::Api(status) if status.code == 409 => WriteError::Unanswered(status.message.clone()),
        kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
            WriteError::Refused(format!("{} ({})", status.message, status.code))
        }
        other => WriteError::Unanswered(other.to_string()),
    }
}

/// Causes of a conflict between field managers.
fn conflicts(status: &Status) -> impl Iterator<Item = &str> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.filter(|cause| cause.reason == "FieldManagerConflict").map(|cause| cause.message.as_str())
}

fn has_managers(status: &Status) -> bool {
    conflicts(status).next().is_some()
}

/// Whether the only conflict is with whatever was there before anybody applied anything.
fn is_unowned(status: &Status) -> bool {
    status.code == 409
        && has_managers(status)
        && conflicts(status).all(|message| message.contains("\"before-first-apply\""))
}

/// The manager of `.spec.replicas` other than ours, if there is one.
fn owner_of_replicas(metadata: &ObjectMeta) -> Option<String> {
    let owns = |fields: &ManagedFieldsEntry| {
        fields.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    };
    let all = metadata.managed_fields.iter().flatten();
    let others = all.filter(|fields| fields.manager.as_deref() != Some(FIELD_MANAGER));
    others.filter(|fields| owns(fields)).find_map(|fields| fields.manager.clone())
}

/// Who else scales a target, if anybody does: a HorizontalPodAutoscaler, a ScaledObject, or a KIScaler that was there
/// before this one.
pub fn foreign_owner(
    cluster: &Cluster,
    scalers: &Table<Entry>,
    scaler: &KIScaler,
    reference: &ScaleTargetRef,
) -> Option<String> {
    let namespace = scaler.home();
    let named = |kind: &str, names: Vec<String>| names.first().map(|name| format!("{kind} {name}"));
    let names = |table: &Table<crate::cluster::Owned>| -> Vec<String> {
        table.select(namespace, |owned| owned.is(reference)).into_iter().map(|(name, _)| name).collect()
    };
    // KEDA scales through an HPA of its own: the ScaledObject is the one to name.
    named("ScaledObject", names(&cluster.scaled_objects))
        .or_else(|| named("HorizontalPodAutoscaler", names(&cluster.hpas)))
        .or_else(|| named("KIScaler", older_scalers(scalers, scaler, reference)))
}

/// KIScalers of the same target that come before `scaler`: the oldest owns it; of the same age, the first by name.
fn older_scalers(scalers: &Table<Entry>, scaler: &KIScaler, reference: &ScaleTargetRef) -> Vec<String> {
    let rank = |scaler: &KIScaler| {
        let created = scaler.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (created, scaler.metadata.name.clone())
    };
    let own = rank(scaler);
    let scales = |entry: &Entry| match entry {
        Entry::Valid(other) => {
            other.metadata.name != scaler.metadata.name
                && other.spec.pools.by_name().any(|(_, pool)| pool.scale_target_ref == *reference)
                && rank(other) < own
        }
        Entry::Invalid(_) => false,
    };
    scalers.select(scaler.home(), scales).into_iter().map(|(name, _)| name).collect()
}

/// Why the targets of `scaler` may not be scaled, whatever their state.
pub fn blockers(cluster: &Cluster, scalers: &Table<Entry>, scaler: &KIScaler) -> Option<Obstacle> {
    for (_, pool) in scaler.spec.pools.by_name() {
        let reference = &pool.scale_target_ref;
        if let Some(owner) = foreign_owner(cluster, scalers, scaler, reference) {
            let message = format!("{} is scaled by {owner} already", describe(reference));
            return Some(obstacle(Reason::TargetOwned, message));
        }
    }
    scaler.is_paused().then(|| obstacle(Reason::Paused, format!("annotation {}", crate::api::PAUSED_ANNOTATION)))
}
