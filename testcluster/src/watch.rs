//! What happens to the objects of a resource, as it happens.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Deserializer, Value};

use crate::process::Process;

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// When we heard of it: a few milliseconds after it was stored.
    pub at: Instant,
    /// The object's namespace, empty where it has none.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object as it is from now on; `None` once it is deleted.
    pub object: Option<Arc<Value>>,
}

/// The changes of all objects of a resource since the watch began, starting with the objects there were.
#[derive(Debug)]
pub struct Watch {
    changes: Arc<Mutex<Vec<Change>>>,
    current: Arc<Mutex<Objects>>,
    /// Ends with us.
    _process: Process,
}

/// The objects there are, by namespace and name.
pub type Objects = BTreeMap<(String, String), Arc<Value>>;

impl Watch {
    /// Reads watch events, one JSON value after the other, from what a process writes.
    pub(crate) fn follow(process: Process, output: impl Read + Send + 'static) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let current = Arc::new(Mutex::new(Objects::new()));
        let (log, objects) = (Arc::clone(&changes), Arc::clone(&current));
        // The thread ends with the process, at the end of its output.
        std::thread::spawn(move || {
            for event in Deserializer::from_reader(BufReader::new(output)).into_iter::<Value>() {
                let Ok(mut event) = event else {
                    return;
                };
                let Some(change) = change(&mut event) else {
                    continue;
                };
                let key = (change.namespace.clone(), change.name.clone());
                let mut objects = lock(&objects);
                match &change.object {
                    Some(object) => objects.insert(key, Arc::clone(object)),
                    None => objects.remove(&key),
                };
                drop(objects);
                lock(&log).push(change);
            }
        });
        Self { changes, current, _process: process }
    }

    /// All changes so far, in the order in which they came.
    pub fn changes(&self) -> Vec<Change> {
        lock(&self.changes).clone()
    }

    /// The objects as they are now, for whoever has to look at them while the watch goes on.
    pub fn current(&self) -> Arc<Mutex<Objects>> {
        Arc::clone(&self.current)
    }
}

/// The lock, also after a panic of another thread: nothing here is ever left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn change(event: &mut Value) -> Option<Change> {
    let at = Instant::now();
    let object = event.get_mut("object")?.take();
    let meta = |field: &str| object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (meta("namespace").to_owned(), meta("name").to_owned());
    let object = match event.get("type").and_then(Value::as_str)? {
        "ADDED" | "MODIFIED" => Some(Arc::new(object)),
        "DELETED" => None,
        _ => return None,
    };
    Some(Change { at, namespace, name, object })
}
