//! What is scaled: watched by kind, as metadata alone, so that a change is heard of and its scale is read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::{DynamicObject, GroupVersion, GroupVersionKind, PartialObjectMeta};
use kube::discovery::{ApiResource, pinned_kind};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};

use super::table::{Notice, Table, keep};
use super::within_dynamic;
use crate::api::ScaleTargetRef;

/// A target's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its UID: a new one after it was deleted and made again.
    pub uid: String,
    /// Changes with every change of it.
    pub resource_version: String,
}

/// A kind that is watched.
#[derive(Clone, Debug)]
pub struct TargetKind {
    /// Its API.
    pub resource: ApiResource,
    /// Its objects.
    pub objects: Arc<Table<Target>>,
}

/// All kinds that are scaled.
pub struct Targets {
    client: Client,
    namespace: Option<String>,
    notice: Notice,
    kinds: Mutex<HashMap<(String, String), TargetKind>>,
}

impl Targets {
    /// None yet.
    pub fn new(client: Client, namespace: Option<String>, notice: Notice) -> Self {
        Targets { client, namespace, notice, kinds: Mutex::default() }
    }

    /// The kind of `reference`, watched from the first question on.
    ///
    /// # Errors
    /// The API does not know the kind, or cannot be reached.
    pub async fn kind(&self, reference: &ScaleTargetRef) -> Result<TargetKind, kube::Error> {
        let key = (reference.api_version.clone(), reference.kind.clone());
        if let Some(kind) = self.lock().get(&key) {
            return Ok(kind.clone());
        }
        let resource = resource(&self.client, reference).await?;
        let mut kinds = self.lock();
        // Somebody else may have asked meanwhile: one watch is enough.
        let kind = kinds.entry(key).or_insert_with(|| self.watch(resource));
        Ok(kind.clone())
    }

    fn watch(&self, resource: ApiResource) -> TargetKind {
        let api: Api<PartialObjectMeta<DynamicObject>> =
            within_dynamic(&self.client, self.namespace.as_deref(), &resource);
        let objects = Arc::new(Table::default());
        let extract = |object: &PartialObjectMeta<DynamicObject>| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let metadata = &object.metadata;
            Some(Target { uid: text(&metadata.uid), resource_version: text(&metadata.resource_version) })
        };
        let stream = watcher(api, watcher::Config::default());
        tokio::spawn(keep(stream, Arc::clone(&objects), extract, "targets", self.notice.clone()));
        TargetKind { resource, objects }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), TargetKind>> {
        // Nothing is left half done under it.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The API of a kind: asked for, since its plural is nowhere in a reference.
async fn resource(client: &Client, reference: &ScaleTargetRef) -> Result<ApiResource, kube::Error> {
    let (group, version) = reference.api_version.rsplit_once('/').unwrap_or(("", &reference.api_version));
    let gvk = GroupVersion::gv(group, version).with_kind(&reference.kind);
    let known: GroupVersionKind = gvk;
    match (known.group.as_str(), known.kind.as_str()) {
        // Spares a question to the API, which need not answer while the agent starts.
        ("apps", "Deployment") => Ok(ApiResource::from_gvk_with_plural(&known, "deployments")),
        ("apps", "StatefulSet") => Ok(ApiResource::from_gvk_with_plural(&known, "statefulsets")),
        _ => Ok(pinned_kind(client, &known).await?.0),
    }
}
