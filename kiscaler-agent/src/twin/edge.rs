//! The edge of a twin: watches of the API server, a clock, and an HTTP endpoint.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use hyper::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kisim::prepared::Prepared;
use kisim::run::{Keep, Run, RunError};
use kisim::time::SimTime;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

use super::core::{PodMetricsError, Twin};
use super::listing::{Listing, Shown};
use super::target::Target;
use crate::serve::{Answer, serve};

/// How often the simulation is brought up to the clock, asked or not.
const TICK: Duration = Duration::from_millis(50);

/// How often it says how far it is.
const NEWS: Duration = Duration::from_secs(30);

/// Why there is no twin.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// A target is not there, or has no scale subresource.
    #[error("cannot read the scale of {target} in namespace {namespace}: {reason}")]
    Target {
        /// The target.
        target: String,
        /// Its namespace.
        namespace: String,
        /// The API server's reason.
        reason: Box<kube::Error>,
    },
    /// Its scale does not say which pods are its.
    #[error("the scale of {target} in namespace {namespace}: found no selector, expected one in status.selector")]
    Selector {
        /// The target.
        target: String,
        /// Its namespace.
        namespace: String,
    },
    /// Targets and pools do not match.
    #[error("pool {pool}: found {found} targets, expected one; the scenario's pools are {pools}")]
    Pools {
        /// The pool.
        pool: String,
        /// Targets for it.
        found: usize,
        /// All pools.
        pools: String,
    },
    /// The scenario is over.
    #[error("the scenario is over")]
    Over,
    /// The simulation ended with an error.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
}

/// What is to be simulated behind what.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The scenario.
    pub prepared: Arc<Prepared>,
    /// The seed of all randomness.
    pub seed: u64,
    /// What to keep beside the summary.
    pub keep: Keep,
    /// What has the pods; one a pool.
    pub targets: Vec<Target>,
    /// The namespace.
    pub namespace: String,
    /// Seconds of the scenario a second.
    pub speed: f64,
}

/// Plays a twin until its scenario is over or `stop` is done, and serves its metrics on `listener`: `/metrics` those of
/// all pods, `/pods/NAME/metrics` one pod's. The scenario begins when all pods that are there are known.
///
/// The API server may go away: the simulation goes on with the pods it knows.
///
/// # Errors
/// If a target cannot be had, or the simulation fails.
pub async fn run(
    client: Client,
    setup: Setup,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<Run, TwinError> {
    let pools = assign(&setup)?;
    let mut shown = SelectAll::new();
    let mut replicas = Vec::new();
    for (target, &pool) in setup.targets.iter().zip(&pools) {
        let (streams, asked) = watch(&client, &setup.namespace, target, pool).await?;
        shown.extend(streams);
        replicas.push((pool, asked));
    }
    let mut twin = Twin::new(&setup.prepared, setup.seed, setup.keep, &setup.namespace, setup.speed)?;
    for (pool, asked) in replicas {
        twin.replicas(pool, asked);
    }
    let names = setup.targets.iter().map(Target::to_string).collect::<Vec<_>>().join(" and ");
    let who = format!("whoever scales {names}");

    tokio::pin!(stop);
    let mut listing = Listing::new(setup.prepared.pools.len());
    let mut missing = pools.len();
    while missing > 0 {
        tokio::select! {
            () = &mut stop => return Ok(twin.finish(who)),
            Some(event) = shown.next() => missing -= usize::from(listing.take(&mut twin, event)),
        }
    }

    let clock = Clock { origin: Instant::now(), speed: setup.speed };
    let twin: Shared = Arc::new(Mutex::new(Some(twin)));
    let server = tokio::spawn(serve(listener, endpoint(Arc::clone(&twin), clock)));
    let outcome = play(&twin, clock, &mut shown, &mut listing, stop).await;
    server.abort();
    outcome?;
    // Connections that are still open hear that it is over.
    let twin = lock(&twin).take().ok_or(TwinError::Over)?;
    Ok(twin.finish(who))
}

/// The twin, until it is over.
type Shared = Arc<Mutex<Option<Twin>>>;

/// Scenario time by a clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: Instant,
    speed: f64,
}

impl Clock {
    fn now(self) -> SimTime {
        SimTime::from_secs_f64(self.origin.elapsed().as_secs_f64() * self.speed)
    }
}

async fn play(
    twin: &Mutex<Option<Twin>>,
    clock: Clock,
    shown: &mut SelectAll<BoxStream<'static, Shown>>,
    listing: &mut Listing,
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<(), TwinError> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut said = Instant::now();
    loop {
        let event = tokio::select! {
            () = &mut stop => None,
            Some(event) = shown.next() => Some(Some(event)),
            _ = tick.tick() => Some(None),
        };
        let mut twin = lock(twin);
        let twin = twin.as_mut().ok_or(TwinError::Over)?;
        twin.advance(clock.now())?;
        match event {
            None => return Ok(()),
            Some(Some(event)) => {
                listing.take(twin, event);
            }
            Some(None) if twin.is_over() => return Ok(()),
            Some(None) => {}
        }
        if said.elapsed() >= NEWS {
            said = Instant::now();
            tracing::info!(scenario_s = twin.now().as_secs_f64(), ready = twin.ready(0), "playing");
        }
    }
}

fn lock(twin: &Mutex<Option<Twin>>) -> MutexGuard<'_, Option<Twin>> {
    twin.lock().unwrap_or_else(PoisonError::into_inner)
}

fn endpoint(twin: Shared, clock: Clock) -> impl Fn(&str) -> Answer + Send + Sync + 'static {
    move |path| {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts == ["healthz"] {
            return Answer::text(StatusCode::OK, "ok");
        }
        let mut twin = lock(&twin);
        let Some(twin) = twin.as_mut() else {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, TwinError::Over.to_string());
        };
        // What is wrong with the traffic ends the run at the next tick.
        if let Err(error) = twin.advance(clock.now()) {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        }
        match parts[..] {
            ["metrics"] => Answer::metrics(twin.metrics()),
            ["pods", name, "metrics"] => match twin.pod_metrics(name) {
                Ok(text) => Answer::metrics(text),
                Err(error @ PodMetricsError::Unknown) => {
                    Answer::text(StatusCode::NOT_FOUND, format!("{name}: {error}"))
                }
                Err(error @ PodMetricsError::NotRunning) => {
                    Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{name}: {error}"))
                }
            },
            _ => Answer::text(StatusCode::NOT_FOUND, "expected /metrics or /pods/NAME/metrics"),
        }
    }
}

/// The pool of each target.
fn assign(setup: &Setup) -> Result<Vec<usize>, TwinError> {
    let prepared = &setup.prepared;
    let names = || prepared.pools.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    let pools = setup.targets.iter().map(|target| match &target.pool {
        None => Ok(prepared.primary_pool()),
        Some(name) => prepared.pools.iter().position(|p| p.name == *name).ok_or_else(|| TwinError::Pools {
            pool: name.clone(),
            found: 1,
            pools: names(),
        }),
    });
    let pools = pools.collect::<Result<Vec<_>, _>>()?;
    for (number, pool) in prepared.pools.iter().enumerate() {
        let found = pools.iter().filter(|&&p| p == number).count();
        if found != 1 {
            return Err(TwinError::Pools { pool: pool.name.clone(), found, pools: names() });
        }
    }
    Ok(pools)
}

/// Watches a target and its pods; what comes of it, and the replicas asked for now.
async fn watch(
    client: &Client,
    namespace: &str,
    target: &Target,
    pool: usize,
) -> Result<([BoxStream<'static, Shown>; 2], u32), TwinError> {
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &target.resource);
    let scale = objects.get_scale(&target.name).await.map_err(|reason| TwinError::Target {
        target: target.to_string(),
        namespace: namespace.to_owned(),
        reason: Box::new(reason),
    })?;
    let selector = scale.status.as_ref().and_then(|s| s.selector.clone()).filter(|s| !s.is_empty());
    let selector =
        selector.ok_or_else(|| TwinError::Selector { target: target.to_string(), namespace: namespace.to_owned() })?;
    let asked = scale.spec.and_then(|s| s.replicas).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let of_target = watcher::Config::default().labels(&selector);
    let pods = watcher(pods, of_target).default_backoff().map(move |event| Shown::Pods(pool, Box::new(event))).boxed();
    let config = watcher::Config::default().fields(&format!("metadata.name={}", target.name));
    // All kinds with a scale subresource that are known here have their replicas in spec.replicas.
    let itself =
        watcher(objects, config).default_backoff().map(move |event| Shown::Target(pool, Box::new(event))).boxed();
    Ok(([pods, itself], asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::PodState;
    use kisim::scenario::Scenario;
    use kisim::traffic::Pattern;

    #[test]
    fn each_pool_has_one_target() {
        let prepared = Prepared::new(Scenario::pattern(Pattern::Spike).unwrap()).unwrap();
        let assigned = |targets: &[&str]| {
            let targets = targets.iter().map(|text| text.parse().unwrap()).collect();
            let (namespace, keep) = ("default".to_owned(), Keep::default());
            let prepared = Arc::clone(&prepared);
            assign(&Setup { prepared, seed: 1, keep, targets, namespace, speed: 1.0 }).map_err(|e| e.to_string())
        };
        // Pools are numbered by name.
        assert_eq!(assigned(&["deploy/a", "cpu=deploy/b"]), Ok(vec![1, 0]));
        assert_eq!(assigned(&["cpu=deploy/b", "gpu=sts/a"]), Ok(vec![0, 1]));
        let pools = "the scenario's pools are cpu, gpu";
        assert_eq!(assigned(&["deploy/a"]), Err(format!("pool cpu: found 0 targets, expected one; {pools}")));
        let twice = assigned(&["deploy/a", "gpu=deploy/b", "cpu=deploy/c"]);
        assert_eq!(twice, Err(format!("pool gpu: found 2 targets, expected one; {pools}")));
        assert!(assigned(&["tpu=deploy/a"]).unwrap_err().starts_with("pool tpu: "));
    }

    #[test]
    fn the_endpoint_tells_unknown_starting_and_over_apart() {
        let scenario = Scenario { duration: Some(kisim::config::Span::secs(60)), ..Scenario::builtin().unwrap() };
        let mut twin = Twin::new(&Prepared::new(scenario).unwrap(), 1, Keep::default(), "default", 1.0).unwrap();
        let pod = |name: &str, ready| PodState {
            uid: format!("uid-{name}"),
            name: name.to_owned(),
            node: Some("gpu-0".to_owned()),
            ready,
            ..PodState::default()
        };
        twin.pods_are(0, vec![pod("ready", true), pod("starting", false)]);
        let shared: Shared = Arc::new(Mutex::new(Some(twin)));
        let answer = endpoint(Arc::clone(&shared), Clock { origin: Instant::now(), speed: 1.0 });
        let status = |path: &str| answer(path).status.as_u16();
        assert_eq!((status("/metrics"), status("/pods/ready/metrics"), status("/healthz")), (200, 200, 200));
        assert_eq!((status("/pods/starting/metrics"), status("/pods/nobody/metrics"), status("/")), (503, 404, 404));
        assert!(answer("/metrics").body.contains(r#"istio_requests_total{namespace="default",pod="ready""#));
        *lock(&shared) = None;
        assert_eq!((status("/metrics"), answer("/metrics").body.as_str()), (503, "the scenario is over\n"));
    }
}
