//! From what watches show, piece by piece, to what the twin is told.

use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use kube::runtime::watcher;

use super::core::Twin;
use super::pods::PodState;

/// What the API server shows.
pub(super) enum Shown {
    /// A change of a pod of the pool of that number.
    Pods(usize, Box<watcher::Result<watcher::Event<Pod>>>),
    /// A change of that pool's target.
    Target(usize, Box<watcher::Result<watcher::Event<DynamicObject>>>),
}

/// A watch begins anew by itself.
fn failed(error: &watcher::Error) -> bool {
    tracing::warn!(%error, "cannot watch; what was known stays");
    false
}

/// Puts together what a watch shows in pieces, and tells the twin.
pub(super) struct Listing {
    /// By pool: the pods of a list that has not ended.
    begun: Vec<Option<Vec<PodState>>>,
    /// By pool: whether a list has ended.
    done: Vec<bool>,
}

impl Listing {
    pub(super) fn new(pools: usize) -> Self {
        Listing { begun: vec![None; pools], done: vec![false; pools] }
    }

    /// Takes in an event; whether with it the pods of one more pool are known.
    pub(super) fn take(&mut self, twin: &mut Twin, event: Shown) -> bool {
        match event {
            Shown::Pods(pool, event) => match *event {
                Ok(event) => self.take_pods(twin, pool, event),
                Err(error) => failed(&error),
            },
            Shown::Target(pool, event) => match *event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                    if let Some(replicas) = object.data.pointer("/spec/replicas").and_then(serde_json::Value::as_u64) {
                        twin.replicas(pool, u32::try_from(replicas).unwrap_or(u32::MAX));
                    }
                    false
                }
                Ok(watcher::Event::Delete(_)) => {
                    twin.replicas(pool, 0);
                    false
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => false,
                Err(error) => failed(&error),
            },
        }
    }

    fn take_pods(&mut self, twin: &mut Twin, pool: usize, event: watcher::Event<Pod>) -> bool {
        match event {
            watcher::Event::Init => self.begun[pool] = Some(Vec::new()),
            watcher::Event::InitApply(pod) => {
                if let Some(list) = &mut self.begun[pool] {
                    list.extend(PodState::of(&pod));
                }
            }
            watcher::Event::InitDone => {
                twin.pods_are(pool, self.begun[pool].take().unwrap_or_default());
                return !std::mem::replace(&mut self.done[pool], true);
            }
            watcher::Event::Apply(pod) => {
                if let Some(state) = PodState::of(&pod) {
                    twin.pod(pool, state);
                }
            }
            watcher::Event::Delete(pod) => {
                if let Some(uid) = &pod.metadata.uid {
                    twin.pod_gone(uid, true);
                }
            }
        }
        false
    }
}
