//! What a number of pods can take: the latency-versus-load curve of a pool, measured in the simulator itself, and its
//! inversion.
//!
//! Utilisation does not say how close to its objective a pool of batching servers is: a GPU at 60 % may be fine or lost,
//! depending on batch sizes, their latencies and how many pods share the load. So the curve is measured: constant Poisson
//! traffic on `n` ready pods of the calibrated profile under the scenario's own batcher, routing and objective, for several
//! `n` and loads. [`Capacity::max_rate`] turns it round.

use std::sync::Arc;
use std::time::Duration;

use crate::autoscaler::AutoscalerError;
use crate::cluster::NodeGroup;
use crate::config::Span;
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::fleet::Placement;
use crate::objective::Objective;
use crate::prepared::Prepared;
use crate::profile::Hardware;
use crate::random::{Purpose, stream};
use crate::run::{Keep, RunError, run_with, silent};
use crate::telemetry::TelemetryConfig;
use crate::traffic::{Process, Shape, Traffic};

/// Loads at which the curve is measured, as shares of the rate that saturates the pods.
const LOADS: [f64; 12] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0];

/// Requests a point: the share of violations is known to about 0.3 percentage points near 1 %.
const REQUESTS: f64 = 10_000.0;

/// The measured curve of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    /// Requests a second that saturate one pod: full batches, one after the other.
    saturation: f64,
    /// By number of pods, ascending.
    curves: Vec<Curve>,
}

#[derive(Clone, Debug, PartialEq)]
struct Curve {
    pods: u32,
    /// (load as a share of saturation, share of requests that broke the objective), both not descending.
    points: Vec<(f64, f64)>,
}

impl Capacity {
    /// Measures pool number `pool` of `prepared`.
    pub fn measure(prepared: &Prepared, pool: usize) -> Result<Capacity, RunError> {
        let own = &prepared.pools[pool];
        let batch = own.spec.batcher.max_batch();
        let speed = own.setup.speed * own.spec.instances_gain();
        let saturation = batch as f64 / (own.spec.service_ns[batch] * 1e-9) * speed;
        let most = own.config.limits.max_replicas.max(1);
        let mut numbers: Vec<u32> =
            std::iter::successors(Some(1u32), |n| n.checked_mul(2)).take_while(|&n| n < most).collect();
        numbers.push(most);
        let mut curves = Vec::new();
        for pods in numbers {
            let mut points = vec![(0.0, 0.0)];
            let mut worst: f64 = 0.0;
            for load in LOADS {
                let ratio = violations(prepared, pool, pods, load * saturation * f64::from(pods))?;
                // More load is never better; what says so is noise.
                worst = worst.max(ratio);
                points.push((load, worst));
                // Beyond, it only gets worse, and long queues take long to simulate.
                if worst > 0.5 {
                    break;
                }
            }
            curves.push(Curve { pods, points });
        }
        Ok(Capacity { saturation, curves })
    }

    /// Requests a second that saturate one pod.
    pub fn saturation(&self) -> f64 {
        self.saturation
    }

    /// The highest rate (requests a second) at which `pods` pods break the objective for at most `violation` (0–1) of the
    /// requests; 0 for no pods.
    pub fn max_rate(&self, pods: u32, violation: f64) -> f64 {
        if pods == 0 {
            return 0.0;
        }
        let at = self.curves.partition_point(|c| c.pods < pods);
        let (low, high) = match (at.checked_sub(1).and_then(|i| self.curves.get(i)), self.curves.get(at)) {
            (_, Some(exact)) if exact.pods == pods => (exact, exact),
            (Some(low), Some(high)) => (low, high),
            (Some(last), None) => (last, last),
            (None, Some(first)) => (first, first),
            (None, None) => return 0.0,
        };
        let share = if high.pods == low.pods {
            0.0
        } else {
            // Pooling gains shrink with the logarithm of the number.
            (f64::from(pods) / f64::from(low.pods)).ln() / (f64::from(high.pods) / f64::from(low.pods)).ln()
        };
        let load = low.max_load(violation) + share * (high.max_load(violation) - low.max_load(violation));
        load * self.saturation * f64::from(pods)
    }

    /// The fewest pods, at most `most`, that take `rate` requests a second with at most `violation` of them breaking the
    /// objective.
    pub fn pods_for(&self, rate: f64, violation: f64, most: u32) -> u32 {
        if rate <= 0.0 {
            return 0;
        }
        // The rate grows with the number: bisection.
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.max_rate(middle, violation) >= rate { high = middle } else { low = middle + 1 }
        }
        low
    }
}

impl Curve {
    /// The highest load with at most `violation`.
    fn max_load(&self, violation: f64) -> f64 {
        let at = self.points.partition_point(|&(_, v)| v <= violation);
        match (at.checked_sub(1).map(|i| self.points[i]), self.points.get(at)) {
            (Some((load, v)), Some(&(next_load, next_v))) => {
                load + (next_load - load) * ((violation - v) / (next_v - v)).clamp(0.0, 1.0)
            }
            (Some((load, _)), None) => load,
            (None, _) => 0.0,
        }
    }
}

/// The share of requests that break the objective with `pods` pods under Poisson traffic of `rate`.
fn violations(prepared: &Prepared, pool: usize, pods: u32, rate: f64) -> Result<f64, RunError> {
    let mut alone = prepared.clone();
    let seconds = (REQUESTS / rate).max(2.0);
    let mut own = alone.pools.swap_remove(pool);
    own.config.initial_replicas = pods;
    own.config.limits.min_replicas = own.config.limits.min_replicas.min(pods);
    own.spec.pool = 0;
    let gpu = own.hardware == Hardware::Gpu;
    let demand = own.setup.demand;
    alone.pools = vec![own];
    let scenario = &mut alone.scenario;
    scenario.traffic = Traffic::Open { rate: Shape::Constant { rate }, arrivals: Process::Poisson };
    scenario.faults.clear();
    scenario.objective = Objective::default();
    scenario.service.placement = if gpu { Placement::GpuOnly } else { Placement::CpuOnly };
    scenario.warm_up = Span(Duration::from_secs_f64(0.1 * seconds));
    scenario.client.retries = None;
    let gpus = if gpu { pods.div_ceil(demand.per_gpu.max(1)) } else { 0 };
    scenario.cluster.nodes = vec![NodeGroup {
        name: "measuring".to_owned(),
        count: 1,
        cpus: demand.cpus * f64::from(pods) + 1.0,
        gpus,
        autoscaler: None,
    }];
    // Nobody looks, nobody decides.
    let never = Span(Duration::from_secs_f64(2.0 * seconds));
    scenario.telemetry = TelemetryConfig { scrape_interval: never, window: never, ..TelemetryConfig::default() };
    scenario.control.interval = never;
    alone.end = crate::time::nanos_from_secs(1.1 * seconds);
    let alone = Arc::new(alone);
    let summary = run_with(&alone, &mut Still, 1, Keep::default(), &silent)?.summary;
    Ok(summary.slo.violation_ratio)
}

/// Changes nothing.
#[derive(Debug)]
struct Still;

impl Autoscaler for Still {
    fn name(&self) -> String {
        "still".to_owned()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let pools = view.pools.iter().map(|_| Verdict::Hold { reason: String::new() }).collect();
        Decision { pools, placement: None }
    }
}

impl Prepared {
    /// The capacity of pool number `pool`, measured once.
    pub fn capacity(&self, pool: usize) -> Result<Arc<Capacity>, AutoscalerError> {
        let cell = &self.pools[pool].capacity;
        if let Some(capacity) = cell.get() {
            return Ok(Arc::clone(capacity));
        }
        let measured = Capacity::measure(self, pool).map_err(|e| AutoscalerError::Capacity(Box::new(e)))?;
        let measured = Arc::new(measured);
        // Whoever comes first wins; the same is measured either way.
        Ok(Arc::clone(cell.get_or_init(|| measured)))
    }

    /// From the request for a pod of `pool` until clients send to it, where a node has room, seconds: the time that `share`
    /// (0–1) of the pods do not exceed.
    pub fn cold_start_s(&self, pool: usize, share: f64) -> f64 {
        const DRAWS: usize = 500;
        let own = &self.pools[pool];
        let stages = &own.setup.stages;
        let mut rng = stream(0, Purpose::ColdStart, pool as u64);
        let mut times: Vec<u64> = (0..DRAWS)
            .map(|_| {
                let scheduled = stages.scheduling.sample(&mut rng);
                let pulled = if own.setup.image_cached { 0 } else { stages.pull.sample(&mut rng) };
                let started = scheduled + pulled;
                let ready = own.setup.readiness.ready_at(started, started + stages.load.sample(&mut rng));
                ready + own.setup.shutdown.endpoint_propagation.nanos()
            })
            .collect();
        times.sort_unstable();
        let rank = (share * DRAWS as f64).ceil().clamp(1.0, DRAWS as f64) as usize;
        times[rank - 1] as f64 * 1e-9
    }

    /// The pool that carries the load: the GPU pool where there is one.
    pub fn primary_pool(&self) -> usize {
        self.pools.iter().position(|p| p.hardware == Hardware::Gpu).unwrap_or(0)
    }
}
