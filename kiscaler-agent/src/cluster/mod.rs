//! The cluster as watches show it: nothing is listed at a decision.

mod names;
mod owners;
mod pods;
mod selector;
mod table;
mod targets;

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, Client};

pub use names::pods_of;
pub use owners::{Owned, hpa_owns, scaled_object_owns};
pub use pods::{DELETION_COST, Facts, Numbers, facts_of};
pub use selector::{SelectorError, parse_selector};
pub use table::{Key, Notice, Table, follow};
pub use targets::{Target, TargetKind, Targets};

/// What is watched: pods, and who else scales.
#[derive(Clone)]
pub struct Cluster {
    /// Pods.
    pub pods: Arc<Table<Facts>>,
    /// HorizontalPodAutoscalers.
    pub hpas: Arc<Table<Owned>>,
    /// ScaledObjects, where KEDA is installed.
    pub scaled_objects: Arc<Table<Owned>>,
    /// Whatever is scaled, by kind.
    pub targets: Arc<Targets>,
}

/// KEDA's resource.
pub fn scaled_objects() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"), "scaledobjects")
}

impl Cluster {
    /// Begins to watch, in one namespace or in all.
    pub fn watch(client: &Client, namespace: Option<&str>, notice: &Notice) -> Cluster {
        let cluster = Cluster {
            pods: Arc::default(),
            hpas: Arc::default(),
            scaled_objects: Arc::default(),
            targets: Arc::new(Targets::new(client.clone(), namespace.map(str::to_owned), notice.clone())),
        };
        let pods: Api<Pod> = within(client, namespace);
        tokio::spawn(follow(pods, Arc::clone(&cluster.pods), facts_of, "pods", notice.clone()));
        let hpas: Api<HorizontalPodAutoscaler> = within(client, namespace);
        tokio::spawn(follow(hpas, Arc::clone(&cluster.hpas), hpa_owns, "horizontalpodautoscalers", notice.clone()));
        let objects: Api<DynamicObject> = within_dynamic(client, namespace, &scaled_objects());
        // Where KEDA is not installed, the watch is told so and asks again now and then.
        let table = Arc::clone(&cluster.scaled_objects);
        tokio::spawn(follow(objects, table, scaled_object_owns, "scaledobjects", notice.clone()));
        cluster
    }

    /// Whether pods and other autoscalers are known: before, nobody can say who owns what.
    pub fn is_synced(&self) -> bool {
        self.pods.is_synced() && self.hpas.is_synced() && self.scaled_objects.is_synced()
    }
}

/// The API of a kind, in one namespace or in all.
pub fn within<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The API of a kind that is only known at run time, in one namespace or in all.
pub fn within_dynamic<K>(client: &Client, namespace: Option<&str>, kind: &K::DynamicType) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::DynamicResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
        None => Api::all_with(client.clone(), kind),
    }
}
