//! What the simulator predicts for a row of a load sweep.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{LoadRow, Offered, Params, Prediction};
use crate::autoscaler::AutoscalerConfig;
use crate::batcher::Batcher;
use crate::config::Span;
use crate::distribution::TimeDistribution;
use crate::prepared::Prepared;
use crate::profile::Spread;
use crate::run::{Keep, run, silent};
use crate::scenario::Scenario;
use crate::traffic::{Process, Shape, Traffic};

/// How the measured server was set.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// `max_batch_size`.
    pub max_batch: usize,
    /// `max_queue_delay_microseconds`.
    pub max_queue_delay: Span,
    /// `instance_group.count`.
    pub instances: usize,
}

const SCENARIO: &str = "
name = 'load sweep'
duration = '1s'
slo = { latency = '1s' }
traffic = { kind = 'pattern', pattern = 'ramp' }
service = { routing = 'round_robin', placement = { rule = 'gpu_only' } }
cluster = { nodes = [{ name = 'node', count = 1, cpus = 64.0, gpus = 1 }] }
[pools.gpu]
profile = 'resnet50-onnx-trt-fp16-a100'
limits = { min_replicas = 1, max_replicas = 1 }
";

/// Requests a prediction is made from: enough for a P99 within about 2 %, few enough for a fit in seconds.
const REQUESTS: f64 = 20_000.0;

/// Predicts throughput and percentiles of `row` for a server with `params`. Always with the same random numbers, so that
/// a fit sees the parameters' effect and not the draw's. NaN where the scenario cannot be run.
pub fn predict(params: &Params, row: &LoadRow, server: &ServerSettings) -> Prediction {
    simulate(params, row, server).unwrap_or(Prediction {
        throughput: f64::NAN,
        p50_ms: f64::NAN,
        p95_ms: f64::NAN,
        p99_ms: f64::NAN,
    })
}

fn simulate(params: &Params, row: &LoadRow, server: &ServerSettings) -> Option<Prediction> {
    let mut scenario = Scenario::parse(SCENARIO, "calibration", Path::new(".")).ok()?;
    scenario.traffic = match row.offered {
        Offered::Rate(rate) => Traffic::Open { rate: Shape::Constant { rate }, arrivals: Process::Poisson },
        Offered::Concurrency(users) => Traffic::Closed {
            users: vec![(Span::default(), users)],
            ramp: false,
            think: TimeDistribution::constant(Span::default()),
        },
    };
    let seconds = REQUESTS / row.throughput;
    scenario.duration = Some(Span(Duration::from_secs_f64(1.1 * seconds)));
    scenario.warm_up = Span(Duration::from_secs_f64(0.1 * seconds));
    // One long step: nothing is controlled here.
    scenario.telemetry.scrape_interval = Span(Duration::from_secs_f64(seconds.max(0.2)));
    scenario.telemetry.window = scenario.telemetry.scrape_interval;
    scenario.control.interval = scenario.telemetry.scrape_interval;
    let mut prepared = Prepared::new(scenario).ok()?;
    let spec = &mut Arc::make_mut(&mut prepared).pools[0].spec;
    spec.batcher = Batcher::new(server.max_batch, server.max_queue_delay.0, &[]);
    spec.instances = server.instances;
    let batch_ns = |b: usize| (params.fixed_ms + params.per_item_ms * b as f64) * 1e6;
    spec.service_ns = (0..=server.max_batch).map(batch_ns).collect();
    spec.spread = match params.service_cv {
        cv if cv > 0.0 => Spread::LogNormal { sigma: (cv * cv).ln_1p().sqrt() },
        _ => Spread::Deterministic,
    };
    spec.overhead_ns = (params.overhead_ms * 1e6) as u64;
    let fixed = AutoscalerConfig::Fixed { replicas: Default::default() };
    let summary = run(&prepared, &fixed, 1, Keep::default(), &silent).ok()?.summary;
    let l = summary.latency_ms;
    Some(Prediction {
        throughput: summary.requests.completed as f64 / summary.duration_s,
        p50_ms: l.p50?,
        p95_ms: l.p95?,
        p99_ms: l.p99?,
    })
}
