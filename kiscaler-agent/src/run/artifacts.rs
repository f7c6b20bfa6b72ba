//! ConfigMaps and Secrets that KIScalers refer to: read by name, never listed, and read again when they change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::api::KeyRef;
use crate::plan::{Loaded, PlanError, digest, load_policy};

/// How long what was read is believed.
const BELIEVED: Duration = Duration::from_secs(20);

/// Which kind of object holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Holder {
    fn name(self) -> &'static str {
        match self {
            Holder::ConfigMap => "ConfigMap",
            Holder::Secret => "Secret",
        }
    }
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Changes whenever the object changes.
    pub version: String,
}

/// Why there is nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such object, or no such key in it.
    #[error("{holder} {name}: found no {what}, expected one")]
    Missing {
        /// Its kind.
        holder: &'static str,
        /// Its name.
        name: String,
        /// What is missing.
        what: String,
    },
    /// The API did not say.
    #[error("{holder} {name} cannot be read: {reason}")]
    Unreadable {
        /// Its kind.
        holder: &'static str,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

type Content = Option<(String, Arc<BTreeMap<String, Vec<u8>>>)>;
type Place = (Holder, String, String);

/// Reads artifacts, and remembers them.
pub struct Artifacts {
    client: Client,
    /// What was read, and when; `None` where there was no such object.
    known: Mutex<HashMap<Place, (Instant, Content)>>,
    /// Policies in use, by name and digest: hundreds of KIScalers of one policy hold it once.
    policies: Mutex<HashMap<(String, String), Weak<Loaded>>>,
}

impl Artifacts {
    /// Of which nothing is known yet.
    pub fn new(client: Client) -> Self {
        Artifacts { client, known: Mutex::default(), policies: Mutex::default() }
    }

    /// What a key of an object in `namespace` holds.
    ///
    /// # Errors
    /// There is nothing there. An API that cannot be reached is no error as long as something was read before.
    pub async fn get(&self, holder: Holder, namespace: &str, key: &KeyRef) -> Result<Artifact, ArtifactError> {
        let missing = |what: String| ArtifactError::Missing { holder: holder.name(), name: key.name.clone(), what };
        let content = self.content(holder, namespace, &key.name).await.map_err(|reason| ArtifactError::Unreadable {
            holder: holder.name(),
            name: key.name.clone(),
            reason,
        })?;
        let Some((version, keys)) = content else { return Err(missing("object of that name".to_owned())) };
        match keys.get(&key.key) {
            Some(bytes) => Ok(Artifact { bytes: bytes.clone(), version }),
            None => Err(missing(format!("key {:?}", key.key))),
        }
    }

    /// The policy in `bytes`, as [`load_policy`] has it; the one that somebody else uses where it is the same.
    ///
    /// # Errors
    /// As [`load_policy`].
    pub fn policy(&self, name: &str, bytes: &[u8], sha256: Option<&str>) -> Result<Arc<Loaded>, PlanError> {
        let key = (name.to_owned(), digest(bytes));
        let pinned = sha256.is_none_or(|expected| expected == key.1);
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = policies.get(&key).filter(|_| pinned).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let loaded = Arc::new(load_policy(name, bytes, sha256)?);
        policies.retain(|_, policy| policy.strong_count() > 0);
        policies.insert(key, Arc::downgrade(&loaded));
        Ok(loaded)
    }

    async fn content(&self, holder: Holder, namespace: &str, name: &str) -> Result<Content, String> {
        let place = (holder, namespace.to_owned(), name.to_owned());
        let known = self.lock().get(&place).cloned();
        if let Some((_, content)) = known.as_ref().filter(|(at, _)| at.elapsed() < BELIEVED) {
            return Ok(content.clone());
        }
        let before = known.map(|(_, content)| content);
        let answer = match tokio::time::timeout(Duration::from_secs(10), self.read(&place, before.as_ref())).await {
            Ok(Ok(content)) => Ok(content),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => return Err(status.message.clone()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer within 10 s".to_owned()),
        };
        match (answer, before) {
            (Ok(content), _) => {
                self.lock().insert(place, (Instant::now(), content.clone()));
                Ok(content)
            }
            // What was read before is as good as it was.
            (Err(_), Some(before)) => Ok(before),
            (Err(reason), None) => Err(reason),
        }
    }

    /// Reads the object, or its metadata alone where it is as it was.
    async fn read(&self, (holder, namespace, name): &Place, before: Option<&Content>) -> Result<Content, kube::Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        if let Some(Some((version, _))) = before {
            let metadata = match holder {
                Holder::ConfigMap => maps.get_metadata(name).await?.metadata,
                Holder::Secret => secrets.get_metadata(name).await?.metadata,
            };
            if metadata.resource_version.as_ref() == Some(version) {
                return Ok(before.cloned().flatten());
            }
        }
        let mut keys = BTreeMap::new();
        let version = match holder {
            Holder::ConfigMap => {
                let map = maps.get(name).await?;
                keys.extend(map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes())));
                keys.extend(map.binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)));
                map.metadata.resource_version
            }
            Holder::Secret => {
                let secret = secrets.get(name).await?;
                keys.extend(secret.data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)));
                secret.metadata.resource_version
            }
        };
        Ok(Some((version.unwrap_or_default(), Arc::new(keys))))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, (Instant, Content)>> {
        // Nothing is left half done under it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
