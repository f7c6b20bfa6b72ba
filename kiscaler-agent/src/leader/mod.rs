//! One writer among several agents, by a Lease.

mod election;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kisim::time::SimTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;

use crate::shutdown::Stop;

pub use election::{Election, Move, Record, Timing};

/// Time that never goes back, from whose start nobody but this process counts.
#[derive(Clone, Copy, Debug)]
struct Monotonic(Instant);

impl Monotonic {
    fn now(self) -> SimTime {
        SimTime::ZERO + self.0.elapsed()
    }
}

/// Whether this agent may write, and until when.
#[derive(Clone, Debug)]
pub struct Leadership {
    clock: Monotonic,
    timing: Timing,
    /// `None` where nobody else is there: then it always may.
    election: Option<Arc<Mutex<Election>>>,
    leads: watch::Sender<bool>,
}

/// The right to one write.
#[derive(Clone, Copy, Debug)]
pub struct Permit {
    longest: Duration,
}

/// A write that was given up, because a right to it would have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct GivenUp(pub Duration);

impl Permit {
    /// Does the write, for as long as the right lasts.
    ///
    /// # Errors
    /// It took too long. Whether it was done, nobody knows.
    pub async fn spend<T>(self, write: impl Future<Output = T>) -> Result<T, GivenUp> {
        tokio::time::timeout(self.longest, write).await.map_err(|_| GivenUp(self.longest))
    }
}

impl Leadership {
    /// Of one who is alone.
    pub fn alone() -> Leadership {
        Leadership {
            clock: Monotonic(Instant::now()),
            timing: Timing::default(),
            election: None,
            leads: watch::Sender::new(true),
        }
    }

    /// Of one among several, who campaigns from now on.
    pub fn among(timing: Timing, identity: String) -> Leadership {
        Leadership {
            clock: Monotonic(Instant::now()),
            timing,
            election: Some(Arc::new(Mutex::new(Election::new(identity, timing)))),
            leads: watch::Sender::new(false),
        }
    }

    /// The right to a write that begins now, if there is one.
    pub fn permit(&self) -> Option<Permit> {
        match &self.election {
            None => Some(Permit { longest: self.timing.write }),
            Some(election) => lock(election).until(self.clock.now()).map(|_| Permit { longest: self.timing.write }),
        }
    }

    /// Tells whoever waits when it begins or ends to lead.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Campaigns for the Lease `name` in `namespace` until `stop`, and then gives it back.
    pub async fn campaign(&self, client: Client, (namespace, name): (&str, &str), identity: &str, mut stop: Stop) {
        let Some(election) = &self.election else { return };
        let api: Api<Lease> = Api::namespaced(client, namespace);
        loop {
            if let Err(error) = self.round(&api, election, name, identity).await {
                tracing::warn!(lease = name, %error, "cannot renew the lease");
            }
            let leads = lock(election).until(self.clock.now()).is_some();
            self.leads.send_if_modified(|was| {
                if *was != leads {
                    tracing::info!(lease = name, identity, leads, "leadership changed");
                }
                std::mem::replace(was, leads) != leads
            });
            tokio::select! {
                () = tokio::time::sleep(self.timing.retry) => {}
                () = stop.heard() => break,
            }
        }
        // Writes that have begun end by themselves; none begins from here on.
        let led = lock(election).until(self.clock.now()).is_some();
        lock(election).resign();
        self.leads.send_replace(false);
        if led {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = self.give_back(&api, name, identity).await {
                tracing::info!(lease = name, %error, "the lease was not given back and will expire");
            }
        }
    }

    /// Looks at the lease once, and renews or takes it.
    async fn round(
        &self,
        api: &Api<Lease>,
        election: &Mutex<Election>,
        name: &str,
        identity: &str,
    ) -> Result<(), String> {
        let within = self.timing.write;
        let read = tokio::time::timeout(within, api.get_opt(name)).await;
        let lease = read.map_err(|_| format!("no answer within {within:?}"))?.map_err(|e| e.to_string())?;
        let now = self.clock.now();
        let record = lease.as_ref().map(record);
        let step = lock(election).look(record.as_ref(), now);
        if step == Move::Wait {
            return Ok(());
        }
        let sent = self.clock.now();
        let parameters =
            PostParams { field_manager: Some(crate::api::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let written = self.renewal(lease, name, identity, step);
        let write = async {
            match written.metadata.resource_version {
                Some(_) => api.replace(name, &parameters, &written).await,
                None => api.create(&parameters, &written).await,
            }
        };
        match tokio::time::timeout(within, write).await {
            Ok(Ok(_)) => {
                lock(election).renewed(sent);
                Ok(())
            }
            // Somebody else was faster.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {within:?}")),
        }
    }

    /// The lease as it is written next.
    fn renewal(&self, lease: Option<Lease>, name: &str, identity: &str, step: Move) -> Lease {
        let mut lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if step == Move::Take {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(identity.to_owned());
        spec.lease_duration_seconds = i32::try_from(self.timing.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        lease.metadata.managed_fields = None;
        lease
    }

    async fn give_back(&self, api: &Api<Lease>, name: &str, identity: &str) -> Result<(), kube::Error> {
        let Some(mut lease) = api.get_opt(name).await? else { return Ok(()) };
        if record(&lease).holder != identity {
            return Ok(());
        }
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = None;
        lease.metadata.managed_fields = None;
        api.replace(name, &PostParams::default(), &lease).await.map(|_| ())
    }
}

fn record(lease: &Lease) -> Record {
    Record {
        holder: lease.spec.as_ref().and_then(|s| s.holder_identity.clone()).unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

fn lock(election: &Mutex<Election>) -> std::sync::MutexGuard<'_, Election> {
    // Nothing is left half done under it.
    election.lock().unwrap_or_else(PoisonError::into_inner)
}
