//! Where a KIScaler's metrics come from, ready to be asked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kisim::time::SimTime;

use super::artifacts::{ArtifactError, Artifacts, Holder};
use crate::api::{KeyRef, MetricsSpec, PrometheusSource};
use crate::metrics::{
    Credentials, Endpoints, Finding, Found, HttpClient, HttpError, Mapping, Prometheus, Round, Sampler, Tls, Wanted,
    unix_time,
};

/// HTTP clients, by what they trust: connections are shared.
#[derive(Debug, Default)]
pub struct Clients(Mutex<HashMap<Option<Vec<u8>>, HttpClient>>);

impl Clients {
    /// The client that trusts `tls`.
    ///
    /// # Errors
    /// The certificates are none.
    pub fn get(&self, tls: &Tls) -> Result<HttpClient, HttpError> {
        let key = match tls {
            Tls::System => None,
            Tls::Pem(pem) => Some(pem.clone()),
        };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = HttpClient::new(tls)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Why metrics cannot be asked for.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A Secret or a ConfigMap.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Certificates or credentials.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// What a Secret holds is no text.
    #[error("{field}: found bytes, expected text")]
    NoText {
        /// The field that names the key.
        field: &'static str,
    },
}

/// A source of metrics.
#[derive(Debug)]
pub enum Source {
    /// Pods themselves.
    Direct(Endpoints, HttpClient),
    /// Prometheus.
    Prometheus(Prometheus),
    /// None: then no pod is known to be anything.
    Nowhere,
}

impl Source {
    /// The source that a spec in `namespace` asks for.
    ///
    /// # Errors
    /// What it refers to is not there, or is not what it should be.
    pub async fn of(
        spec: &MetricsSpec,
        namespace: &str,
        artifacts: &Artifacts,
        clients: &Clients,
    ) -> Result<Source, SourceError> {
        if let Some(direct) = &spec.direct {
            return Ok(Source::Direct(Endpoints::new(direct), clients.get(&Tls::System)?));
        }
        let Some(prometheus) = &spec.prometheus else { return Ok(Source::Nowhere) };
        let tls = match &prometheus.ca {
            None => Tls::System,
            Some(key) => Tls::Pem(artifacts.get(Holder::ConfigMap, namespace, key).await?.bytes),
        };
        let credentials = credentials(prometheus, namespace, artifacts).await?;
        Ok(Source::Prometheus(Prometheus::new(prometheus, clients.get(&tls)?, credentials)))
    }

    /// Whether it knows the past.
    pub fn has_history(&self) -> bool {
        matches!(self, Source::Prometheus(_))
    }

    /// Asks once for `pods`; of the last `range`, where the past is known.
    pub async fn round(
        &self,
        mapping: &Mapping,
        sampler: &mut Sampler,
        pods: &[Wanted],
        (now, range): (SimTime, Duration),
    ) -> Round {
        match self {
            Source::Nowhere => Round::default(),
            Source::Direct(endpoints, client) => endpoints.round(client, mapping, sampler, pods, wall_clock).await,
            Source::Prometheus(prometheus) => {
                match prometheus.round(mapping, sampler, pods, (now, range)).await {
                    Ok(round) => round,
                    // Whoever did not answer said nothing about pods: what is known of them grows old.
                    Err(error) => {
                        let finding = match error {
                            crate::metrics::ApiError::Http(HttpError::Status { .. }) => Finding::BadAnswer,
                            crate::metrics::ApiError::Http(_) => Finding::Unreachable,
                            _ => Finding::BadAnswer,
                        };
                        let found = Found { pod: String::new(), finding, detail: error.to_string() };
                        Round { found: vec![found], ..Round::default() }
                    }
                }
            }
        }
    }
}

async fn credentials(
    source: &PrometheusSource,
    namespace: &str,
    artifacts: &Artifacts,
) -> Result<Credentials, SourceError> {
    let read = async |key: &KeyRef, field: &'static str| -> Result<String, SourceError> {
        let bytes = artifacts.get(Holder::Secret, namespace, key).await?.bytes;
        String::from_utf8(bytes).map_err(|_| SourceError::NoText { field })
    };
    if let Some(key) = &source.bearer_token {
        return Ok(Credentials::Bearer(read(key, "metrics.prometheus.bearerToken").await?));
    }
    match &source.basic_auth {
        None => Ok(Credentials::None),
        Some(basic) => Ok(Credentials::Basic {
            username: read(&basic.username, "metrics.prometheus.basicAuth.username").await?,
            password: read(&basic.password, "metrics.prometheus.basicAuth.password").await?,
        }),
    }
}

/// The time by the system's clock, which is what samples of others are stamped with.
pub(super) fn wall_clock() -> SimTime {
    unix_time(k8s_openapi::jiff::Timestamp::now())
}
