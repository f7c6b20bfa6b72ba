//! One server under one load, run through the whole engine.

use std::path::Path;
use std::sync::Arc;

use crate::autoscaler::AutoscalerConfig;
use crate::batcher::Batcher;
use crate::prepared::Prepared;
use crate::profile::Spread;
use crate::run::{Keep, RunError, run, silent};
use crate::scenario::Scenario;
use crate::sharing::SharingRule;
use crate::simulation::SimulationError;

/// Mean service time of a request, seconds, where there is no batching.
pub const SERVICE_S: f64 = 1e-3;

/// Who sends requests to a station.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Senders {
    /// Poisson arrivals at this rate, requests a second.
    Poisson(f64),
    /// So many users with this mean (exponential) think time in seconds.
    Users(u32, f64),
}

/// A queueing station.
#[derive(Clone, Debug)]
pub struct Station {
    /// Who sends.
    pub senders: Senders,
    /// Servers behind one queue.
    pub servers: usize,
    /// Largest batch.
    pub max_batch: usize,
    /// Time of a batch: fixed part and part per request, seconds.
    pub service: (f64, f64),
    /// Its spread.
    pub spread: Spread,
    /// Requests that may wait; 0 for no limit.
    pub queue_limit: usize,
    /// Requests a replication, about.
    pub requests: u64,
}

/// What a replication measured. Times are seconds.
#[derive(Clone, Copy, Debug)]
pub struct StationResult {
    /// Mean wait for a server.
    pub wait: f64,
    /// Share of requests that waited.
    pub waited: f64,
    /// Mean time in the station.
    pub time: f64,
    /// Completions a second.
    pub throughput: f64,
    /// Share of requests rejected.
    pub loss: f64,
    /// Mean number in the station, counted at scrapes.
    pub number: f64,
    /// Busy share.
    pub utilization: f64,
}

const SCENARIO: &str = "
name = 'station'
duration = '1s'
slo = { latency = '1s' }
[traffic]
kind = 'open'
rate = { shape = 'constant', rate = 1.0 }
[service]
routing = 'round_robin'
placement = { rule = 'gpu_only' }
[pools.gpu]
profile = 'resnet50-onnx-trt-fp16-a100'
limits = { min_replicas = 1, max_replicas = 1 }
[cluster]
nodes = [{ name = 'node', count = 1, cpus = 64.0, gpus = 1 }]
[telemetry]
scrape_interval = '1s'
";

impl Station {
    /// M/M/c, M/D/1 and the like: `servers` servers at utilisation `load`, no batching.
    pub fn single(load: f64, servers: usize, spread: Spread, requests: u64) -> Self {
        Station {
            senders: Senders::Poisson(load * servers as f64 / SERVICE_S),
            servers,
            max_batch: 1,
            service: (SERVICE_S, 0.0),
            spread,
            queue_limit: 0,
            requests,
        }
    }

    /// Runs one replication.
    pub fn run(&self, seed: u64) -> Result<StationResult, RunError> {
        let prepared = self.prepare().map_err(SimulationError::from)?;
        let fixed = AutoscalerConfig::Fixed { replicas: Default::default() };
        let result = run(&prepared, &fixed, seed, Keep::default(), &silent)?.summary;
        let histogram_free = |v: Option<f64>| v.unwrap_or(f64::NAN) * 1e-3;
        Ok(StationResult {
            wait: histogram_free(result.queue_ms.mean),
            waited: result.queue_ms.share_waiting.unwrap_or(f64::NAN),
            time: histogram_free(result.latency_ms.mean),
            throughput: result.requests.completed as f64 / result.duration_s,
            loss: result.requests.queue_full as f64 / result.requests.arrived as f64,
            number: result.littles_law.mean_in_flight_sampled,
            utilization: result.pools.values().map(|p| p.utilization).sum(),
        })
    }

    fn prepare(&self) -> Result<Arc<Prepared>, crate::config::ConfigError> {
        let mut scenario = Scenario::parse(SCENARIO, "validation", Path::new("."))?;
        let rate = match self.senders {
            Senders::Poisson(rate) => {
                scenario.traffic = crate::traffic::Traffic::Open {
                    rate: crate::traffic::Shape::Constant { rate },
                    arrivals: crate::traffic::Process::Poisson,
                };
                rate
            }
            Senders::Users(users, think) => {
                let mean = crate::config::Span(std::time::Duration::from_secs_f64(think));
                scenario.traffic = crate::traffic::Traffic::Closed {
                    users: vec![(crate::config::Span::default(), users)],
                    ramp: false,
                    think: crate::distribution::TimeDistribution::Exponential { mean },
                };
                f64::from(users) / (think + self.service.0 + self.service.1)
            }
        };
        // A tenth more, to start from a steady state.
        let seconds = self.requests as f64 / rate;
        let span = |seconds: f64| crate::config::Span(std::time::Duration::from_secs_f64(seconds));
        scenario.duration = Some(span(1.1 * seconds));
        scenario.warm_up = span(0.1 * seconds);
        // Some thousand looks at the number in the station, a lifetime of a queue apart.
        scenario.telemetry.scrape_interval = span((seconds / 4_000.0).max(0.1));
        scenario.telemetry.window = scenario.telemetry.scrape_interval;
        scenario.control.interval = span((seconds / 10.0).max(0.1));
        let mut prepared = Prepared::new(scenario)?;
        let spec = &mut Arc::make_mut(&mut prepared).pools[0].spec;
        spec.batcher = Batcher::new(self.max_batch, std::time::Duration::ZERO, &[]);
        spec.instances = self.servers;
        spec.service_ns = (0..=self.max_batch).map(|b| (self.service.0 + self.service.1 * b as f64) * 1e9).collect();
        spec.spread = self.spread;
        spec.overhead_ns = 0;
        spec.queue_limit = if self.queue_limit == 0 { usize::MAX } else { self.queue_limit };
        // Servers of a queueing station do not slow each other.
        spec.rule = SharingRule { instance_gain: vec![(1.0, 1e6)], ..SharingRule::default() };
        Ok(prepared)
    }
}
