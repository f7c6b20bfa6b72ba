//! A watch's objects, reduced to what is needed of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::backoff::{Backoff, seed};

/// Namespace and name.
pub type Key = (String, String);

type Namespaces<V> = BTreeMap<String, BTreeMap<String, Arc<V>>>;

/// Objects of one kind, by namespace and name.
#[derive(Debug)]
pub struct Table<V> {
    objects: RwLock<Namespaces<V>>,
    synced: AtomicBool,
    version: watch::Sender<u64>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Table { objects: RwLock::default(), synced: AtomicBool::new(false), version: watch::Sender::new(0) }
    }
}

impl<V> Table<V> {
    /// Whether all objects that there were at some time are known.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// The object of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<V>> {
        self.read(|objects| objects.get(namespace)?.get(name).cloned())
    }

    /// All objects of a namespace that `keep` keeps, with their names, in their order.
    pub fn select(&self, namespace: &str, keep: impl Fn(&V) -> bool) -> Vec<(String, Arc<V>)> {
        self.read(|objects| {
            let own = objects.get(namespace).into_iter().flatten();
            own.filter(|(_, value)| keep(value)).map(|(name, value)| (name.clone(), Arc::clone(value))).collect()
        })
    }

    /// All objects.
    pub fn all(&self) -> BTreeMap<Key, Arc<V>> {
        self.read(|objects| {
            let flat = objects.iter().flat_map(|(namespace, own)| own.iter().map(move |(n, v)| (namespace, n, v)));
            flat.map(|(namespace, name, value)| ((namespace.clone(), name.clone()), Arc::clone(value))).collect()
        })
    }

    /// Counts changes: whoever waits on it hears of every one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Sets or removes an object.
    pub fn put(&self, (namespace, name): Key, value: Option<V>) {
        self.write(|objects| match value {
            Some(value) => {
                objects.entry(namespace).or_default().insert(name, Arc::new(value));
            }
            None => {
                if let Some(own) = objects.get_mut(&namespace) {
                    own.remove(&name);
                    if own.is_empty() {
                        objects.remove(&namespace);
                    }
                }
            }
        });
    }

    /// Sets all objects at once; from now on, all are known.
    pub fn replace(&self, all: Vec<(Key, V)>) {
        let mut objects = Namespaces::new();
        for ((namespace, name), value) in all {
            objects.entry(namespace).or_default().insert(name, Arc::new(value));
        }
        self.write(|current| *current = objects);
        self.synced.store(true, Ordering::Release);
        self.version.send_modify(|version| *version += 1);
    }

    // No code panics while it holds the lock, so a poisoned one is whole.
    fn read<T>(&self, look: impl FnOnce(&Namespaces<V>) -> T) -> T {
        look(&self.objects.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Namespaces<V>)) {
        change(&mut self.objects.write().unwrap_or_else(PoisonError::into_inner));
        self.version.send_modify(|version| *version += 1);
    }
}

/// What is done about a watch that failed: the resource, and what was said.
type Hear = dyn Fn(&'static str, &watcher::Error) + Send + Sync;

/// Hears of watches that fail.
#[derive(Clone)]
pub struct Notice(Arc<Hear>);

impl Notice {
    /// Calls `hear` at each failure.
    pub fn new(hear: impl Fn(&'static str, &watcher::Error) + Send + Sync + 'static) -> Notice {
        Notice(Arc::new(hear))
    }

    pub(super) fn failed(&self, resource: &'static str, error: &watcher::Error) {
        (self.0)(resource, error);
    }
}

impl Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notice")
    }
}

/// Keeps `table` as the API has it, for ever; `extract` says what is kept of an object, if anything.
///
/// A resource that the API does not know (its definition is not installed) is a table without objects.
pub async fn follow<K, V>(
    api: Api<K>,
    table: Arc<Table<V>>,
    extract: impl Fn(&K) -> Option<V>,
    resource: &'static str,
    notice: Notice,
) where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // Old objects go with the page they came in, so a first list need not be small.
    let stream = watcher(api, watcher::Config::default());
    keep(stream, table, extract, resource, notice).await;
}

pub(super) async fn keep<K, V>(
    stream: impl futures::Stream<Item = watcher::Result<Event<K>>>,
    table: Arc<Table<V>>,
    extract: impl Fn(&K) -> Option<V>,
    resource: &'static str,
    notice: Notice,
) where
    K: kube::Resource + Clone,
{
    let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15), seed(resource));
    let mut stream = pin!(stream.backoff(backoff));
    let mut incoming: Vec<(Key, V)> = Vec::new();
    let key = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Apply(object)) => table.put(key(&object), extract(&object)),
            Ok(Event::Delete(object)) => table.put(key(&object), None),
            Ok(Event::Init) => incoming.clear(),
            Ok(Event::InitApply(object)) => incoming.extend(extract(&object).map(|value| (key(&object), value))),
            Ok(Event::InitDone) => table.replace(std::mem::take(&mut incoming)),
            Err(error) if is_unknown(&error) => {
                if !table.is_synced() || !table.all().is_empty() {
                    table.replace(Vec::new());
                }
            }
            Err(error) => notice.failed(resource, &error),
        }
    }
}

/// Whether the API does not know the resource.
fn is_unknown(error: &watcher::Error) -> bool {
    let inner = match error {
        watcher::Error::InitialListFailed(inner) | watcher::Error::WatchStartFailed(inner) => inner,
        _ => return false,
    };
    matches!(inner, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;
    use kube::core::Status;

    fn map(name: &str) -> ConfigMap {
        let metadata = ObjectMeta { namespace: Some("n".into()), name: Some(name.into()), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn names(table: &Table<String>) -> Vec<String> {
        table.all().into_keys().map(|(_, name)| name).collect()
    }

    async fn after(events: Vec<watcher::Result<Event<ConfigMap>>>) -> (Arc<Table<String>>, usize) {
        let table = Arc::new(Table::default());
        let failures = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&failures);
        let notice = Notice::new(move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let extract = |map: &ConfigMap| Some(map.name_any());
        keep(futures::stream::iter(events), Arc::clone(&table), extract, "configmaps", notice).await;
        (table, failures.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn objects_come_and_go_and_a_new_list_replaces_the_old() {
        let (table, _) = after(vec![
            Ok(Event::Init),
            Ok(Event::InitApply(map("a"))),
            Ok(Event::InitApply(map("b"))),
            Ok(Event::InitDone),
            Ok(Event::Apply(map("c"))),
            Ok(Event::Delete(map("a"))),
        ])
        .await;
        assert_eq!(names(&table), ["b", "c"]);
        let failed = Status { code: 500, ..Status::default() };
        let error = || Err(watcher::Error::WatchError(Box::new(failed.clone())));
        let (table, failures) = after(vec![
            Ok(Event::Init),
            Ok(Event::InitApply(map("a"))),
            Ok(Event::InitDone),
            error(),
            Ok(Event::Init),
            Ok(Event::InitApply(map("z"))),
            error(),
        ])
        .await;
        // Until the new list is whole, the old one stands.
        assert_eq!((names(&table), failures, table.is_synced()), (vec!["a".to_owned()], 2, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_resource_that_is_not_installed_has_no_objects() {
        let status = Status { code: 404, ..Status::default() };
        let unknown = watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)));
        let (table, failures) = after(vec![Err(unknown)]).await;
        assert!(table.is_synced() && table.all().is_empty() && failures == 0);
    }
}
