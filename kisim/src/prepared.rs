//! A scenario made ready: profiles loaded, traffic measured, rules worked out.

use std::sync::{Arc, OnceLock};

use crate::batcher::Batcher;
use crate::capacity::Capacity;
use crate::cluster::{Demand, PoolSetup};
use crate::config::ConfigError;
use crate::profile::{Hardware, Profile};
use crate::scenario::Scenario;
use crate::server::ServerSpec;
use crate::sharing::{Sharing, SharingRule};

/// What a run needs of a pool, looked up once.
#[derive(Clone, Debug)]
pub struct PreparedPool {
    /// Name.
    pub name: String,
    /// GPU or CPU.
    pub hardware: Hardware,
    /// US dollars per replica-hour.
    pub price_per_hour: f64,
    /// The rules of its servers.
    pub spec: ServerSpec,
    /// What the cluster must know.
    pub setup: PoolSetup,
    /// The scenario's words.
    pub config: crate::scenario::Pool,
    /// Measured when somebody asks, see [`Prepared::capacity`].
    pub(crate) capacity: OnceLock<Arc<Capacity>>,
}

/// A scenario with its profiles loaded and its length known, shared by all runs of it.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The scenario.
    pub scenario: Scenario,
    /// Its pools, in order of name.
    pub pools: Vec<PreparedPool>,
    /// Length of a run, nanoseconds.
    pub end: u64,
    /// Upper bounds of the latency buckets, nanoseconds.
    pub bounds: Vec<u64>,
}

impl Prepared {
    /// Loads what `scenario` refers to.
    pub fn new(scenario: Scenario) -> Result<Arc<Prepared>, ConfigError> {
        scenario.check()?;
        let duration = match scenario.duration {
            Some(duration) => Some(duration),
            None => {
                let own = scenario.traffic.natural_duration(&scenario.base);
                own.map_err(|e| e.from_origin(&scenario.origin))?
            }
        };
        let Some(duration) = duration else {
            return Err(ConfigError::Field {
                origin: scenario.origin.clone(),
                field: "duration".into(),
                found: "none".into(),
                expected: "a length, since this traffic has none of its own".into(),
            });
        };
        if scenario.warm_up >= duration {
            return Err(ConfigError::Field {
                origin: scenario.origin.clone(),
                field: "warm_up".into(),
                found: scenario.warm_up.to_string(),
                expected: format!("less than the run's {duration}"),
            });
        }
        let pools = scenario
            .pools
            .iter()
            .enumerate()
            .map(|(number, (name, config))| prepare_pool(&scenario, number, name, config))
            .collect::<Result<Vec<_>, _>>()?;
        let bounds = scenario.telemetry.latency_buckets.iter().map(|b| b.nanos()).collect();
        Ok(Arc::new(Prepared { end: duration.nanos(), pools, bounds, scenario }))
    }

    /// Length of a run, seconds.
    pub fn seconds(&self) -> f64 {
        self.end as f64 * 1e-9
    }
}

fn prepare_pool(
    scenario: &Scenario,
    number: usize,
    name: &str,
    config: &crate::scenario::Pool,
) -> Result<PreparedPool, ConfigError> {
    let profile = Profile::load(&config.profile, &scenario.base)?;
    let rule: SharingRule = profile.sharing.clone().unwrap_or_default();
    let overhead_ns = (profile.overhead_ms * 1e6).round() as u64;
    let patience = scenario.client.timeout.map_or(u64::MAX, |t| t.nanos());
    let batcher = &config.batcher;
    let spec = ServerSpec {
        pool: number,
        batcher: Batcher::new(batcher.max_batch, batcher.max_queue_delay.0, &batcher.preferred_batch_sizes),
        instances: batcher.instances,
        service_ns: profile.service_ns(batcher.max_batch),
        spread: profile.spread(),
        overhead_ns,
        queue_limit: if batcher.queue_limit == 0 { usize::MAX } else { batcher.queue_limit },
        queue_deadline: batcher.queue_timeout.map_or(u64::MAX, |t| t.nanos()).min(patience),
        response_deadline: if patience == u64::MAX { u64::MAX } else { patience - overhead_ns.min(patience) },
        sharing: config.sharing.clone(),
        rule: rule.clone(),
    };
    let gpu = profile.hardware == Hardware::Gpu;
    let per_gpu = if gpu { config.sharing.replicas_per_gpu() } else { 1 };
    let setup = PoolSetup {
        name: name.to_owned(),
        demand: Demand { cpus: config.cpus, gpu, per_gpu },
        stages: config.startup.stages(),
        image_cached: config.startup.image_cached,
        readiness: config.readiness.clone(),
        shutdown: config.shutdown.clone(),
        speed: if gpu { config.sharing.lone_speed(&rule) } else { 1.0 },
    };
    let shared_price =
        profile.price_per_hour / if config.sharing == Sharing::Exclusive { 1.0 } else { f64::from(per_gpu) };
    Ok(PreparedPool {
        name: name.to_owned(),
        hardware: profile.hardware,
        price_per_hour: config.price_per_hour.unwrap_or(shared_price),
        spec,
        setup,
        config: config.clone(),
        capacity: OnceLock::new(),
    })
}
