//! The agent at work: one task for each KIScaler, one writer among agents.
//!
//! ```text
//! watches ─► tables ─┐                       ┌─► scale subresource   (Active, and only then)
//!                    ├─► Worker: scrape ─► Loop ─► status, Events     (the leader)
//! metrics ───────────┘                       └─► telemetry, log       (everybody)
//! ```

mod artifacts;
mod deciding;
mod recall;
mod report;
mod scale;
mod scalers;
mod setup;
mod source;
mod worker;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use artifacts::{Artifact, ArtifactError, Artifacts, Holder};
pub use recall::past;
pub use scale::{ScaleState, blockers, foreign_owner, read as read_scale};
pub use scalers::{Entry, files, watch};
pub use setup::{Setup, SetupError, setup};
pub use source::{Clients, Source};

use crate::api::FIELD_MANAGER;
use crate::cluster::{Cluster, Key, Notice, Table};
use crate::control::Inputs;
use crate::leader::{Leadership, Timing};
use crate::observe::{Readiness, Telemetry, serve};
use crate::serve::ListenError;
use crate::shutdown::Stop;
use worker::Worker;

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one namespace that it looks at; all where none is said.
    pub namespace: Option<String>,
    /// KIScalers in files, instead of those in the API.
    pub files: Vec<PathBuf>,
    /// Namespace and name of the Lease; none where no other agent runs.
    pub lease: Option<(String, String)>,
    /// The rhythm of the Lease.
    pub timing: Timing,
    /// Its name among agents.
    pub identity: String,
    /// Where metrics and probes are served; nowhere where none is said.
    pub address: Option<SocketAddr>,
    /// Whether observations are among the metrics: one series a feature and KIScaler.
    pub observations: bool,
    /// Where everything that decisions are made of goes, too.
    pub record: Option<mpsc::Sender<Inputs>>,
    /// Whether nothing is scaled, whatever a spec says.
    pub only_shadow: bool,
}

/// What all workers share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) cluster: Cluster,
    pub(crate) scalers: Arc<Table<Entry>>,
    pub(crate) artifacts: Artifacts,
    pub(crate) clients: Clients,
    pub(crate) leadership: Leadership,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) recorder: Recorder,
    /// Whether KIScalers are objects in the API, which have a status and Events.
    pub(crate) in_api: bool,
    pub(crate) observations: bool,
    pub(crate) record: Option<mpsc::Sender<Inputs>>,
    pub(crate) only_shadow: bool,
}

/// Runs until `stop`.
///
/// # Errors
/// The address for metrics cannot be had. Everything else is waited for: the API may come later.
pub async fn run(client: Client, options: Options, mut stop: Stop) -> Result<(), ListenError> {
    let telemetry = Arc::new(Telemetry::default());
    let readiness = Readiness::default();
    if let Some(address) = options.address {
        let bound = serve(address, Arc::clone(&telemetry), readiness.clone(), stop.clone()).await?;
        tracing::info!(address = %bound, "serving /metrics, /healthz and /readyz");
    }
    let heard = Arc::clone(&telemetry);
    let notice = Notice::new(move |resource, error| {
        heard.watch_failed(resource);
        tracing::warn!(resource, %error, "a watch failed; trying again");
    });
    let namespace = options.namespace.as_deref();
    let in_api = options.files.is_empty();
    let scalers = match in_api {
        true => watch(&client, namespace, notice.clone()),
        false => files(options.files.clone()),
    };
    let leadership = match &options.lease {
        Some(_) => Leadership::among(options.timing, options.identity.clone()),
        None => Leadership::alone(),
    };
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(options.identity.clone()) };
    let context = Arc::new(Context {
        cluster: Cluster::watch(&client, namespace, &notice),
        scalers: Arc::clone(&scalers),
        artifacts: Artifacts::new(client.clone()),
        clients: Clients::default(),
        leadership: leadership.clone(),
        telemetry: Arc::clone(&telemetry),
        recorder: Recorder::new(client.clone(), reporter),
        in_api,
        observations: options.observations,
        record: options.record.clone(),
        only_shadow: options.only_shadow,
        client: client.clone(),
    });
    let campaign = options.lease.clone().map(|(namespace, name)| {
        let (leadership, identity, stop) = (leadership.clone(), options.identity.clone(), stop.clone());
        tokio::spawn(async move { leadership.campaign(client, (&namespace, &name), &identity, stop).await })
    });
    let followed = follow_leadership(&leadership, Arc::clone(&telemetry));
    tokio::select! {
        () = supervise(&context, &readiness) => {}
        () = stop.heard() => {}
    }
    readiness.set(false);
    followed.abort();
    if let Some(campaign) = campaign {
        // The lease is given back after the last write: workers ended with the supervisor.
        let _ = campaign.await;
    }
    Ok(())
}

fn follow_leadership(leadership: &Leadership, telemetry: Arc<Telemetry>) -> JoinHandle<()> {
    let mut changes = leadership.changes();
    tokio::spawn(async move {
        loop {
            telemetry.leads(*changes.borrow_and_update());
            if changes.changed().await.is_err() {
                return;
            }
        }
    })
}

/// A worker's task, which ends with this.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a worker for each KIScaler there is.
async fn supervise(context: &Arc<Context>, readiness: &Readiness) {
    let mut changes = context.scalers.changes();
    let mut workers: HashMap<Key, (tokio::sync::watch::Sender<Arc<Entry>>, Running)> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let synced = context.cluster.is_synced() && context.scalers.is_synced();
        readiness.set(synced);
        // Before pods and other autoscalers are known, nobody can say who owns what.
        if synced {
            let wanted = context.scalers.all();
            workers.retain(|key, _| wanted.contains_key(key));
            for (key, entry) in wanted {
                match workers.get(&key) {
                    Some((sender, running)) if !running.0.is_finished() => {
                        sender.send_if_modified(|known| {
                            let other = !known.is_like(&entry);
                            if other {
                                *known = entry;
                            }
                            other
                        });
                    }
                    // A worker ends only with a bug in it: then it begins anew.
                    _ => {
                        let (sender, receiver) = tokio::sync::watch::channel(entry);
                        let worker = Worker::new(Arc::clone(context), key.clone(), receiver);
                        workers.insert(key, (sender, Running(tokio::spawn(worker.run()))));
                    }
                }
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            // Whether all is known, and whether all workers live, is looked at now and then.
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
