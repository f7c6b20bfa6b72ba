//! The KIScalers there are: in the API, or in files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DeserializeGuard;
use kube::{Api, Client};

use crate::api::KIScaler;
use crate::cluster::{Notice, Table, follow};

/// A KIScaler, or what is wrong with what should be one.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A KIScaler.
    Valid(Box<KIScaler>),
    /// An object that this version does not understand. One of them is no reason not to serve the others.
    Invalid(String),
}

impl Entry {
    /// Whether they ask for the same. What the agent itself wrote to an object's status is no reason to look at it again.
    pub fn is_like(&self, other: &Entry) -> bool {
        match (self, other) {
            (Entry::Valid(one), Entry::Valid(other)) => {
                let (a, b) = (&one.metadata, &other.metadata);
                one.spec == other.spec
                    && (&a.uid, a.generation, &a.annotations) == (&b.uid, b.generation, &b.annotations)
            }
            (Entry::Invalid(one), Entry::Invalid(other)) => one == other,
            _ => false,
        }
    }
}

/// Follows the KIScalers in the API.
pub fn watch(client: &Client, namespace: Option<&str>, notice: Notice) -> Arc<Table<Entry>> {
    let table = Arc::new(Table::default());
    let api: Api<DeserializeGuard<KIScaler>> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let extract = |guard: &DeserializeGuard<KIScaler>| {
        Some(match &guard.0 {
            Ok(scaler) => Entry::Valid(Box::new(scaler.clone())),
            Err(error) => Entry::Invalid(error.error.clone()),
        })
    };
    tokio::spawn(follow(api, Arc::clone(&table), extract, "kiscalers", notice));
    table
}

/// Follows files, one KIScaler each. A file that is wrong leaves what it said before.
pub fn files(paths: Vec<PathBuf>) -> Arc<Table<Entry>> {
    let table: Arc<Table<Entry>> = Arc::new(Table::default());
    let followed = Arc::clone(&table);
    tokio::spawn(async move {
        let mut texts: Vec<Option<String>> = vec![None; paths.len()];
        let mut keys: Vec<Option<(String, String)>> = vec![None; paths.len()];
        loop {
            let mut changed = !followed.is_synced();
            for (number, path) in paths.iter().enumerate() {
                let text = tokio::fs::read_to_string(path).await;
                let text = match text {
                    Ok(text) => text,
                    Err(error) => {
                        tracing::warn!(file = %path.display(), %error, "cannot read the file; going on with what it said");
                        continue;
                    }
                };
                if texts[number].as_ref() == Some(&text) {
                    continue;
                }
                match KIScaler::parse(&text, &path.display().to_string()) {
                    Ok(scaler) => {
                        let key = (scaler.home().to_owned(), scaler.metadata.name.clone().unwrap_or_default());
                        if let Some(old) = keys[number].replace(key.clone()).filter(|old| *old != key) {
                            followed.put(old, None);
                        }
                        followed.put(key, Some(Entry::Valid(Box::new(scaler))));
                        changed = true;
                    }
                    Err(error) => tracing::error!(%error, "going on with what the file said before"),
                }
                texts[number] = Some(text);
            }
            if changed && !followed.is_synced() {
                let all = followed.all().into_iter().map(|(key, entry)| (key, Entry::clone(&entry))).collect();
                followed.replace(all);
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    table
}
