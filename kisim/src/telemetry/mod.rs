//! What an autoscaler may see, and no more (the oracle boundary).
//!
//! Servers export counters, gauges and latency buckets under the names real exporters use; a scraper collects them at
//! an interval, each pod at a phase of its own, late and with gaps. [`Scrape`] is all that crosses: rates, quantiles
//! and utilisation are computed from it by [`crate::window::Window`], in the simulator and live alike.

mod exposition;

use serde::{Deserialize, Serialize};

use crate::activator::ActivatorSample;
use crate::cluster::PodCounts;
use crate::config::Span;
use crate::time::SimTime;

pub use exposition::{Exposed, exposition, expositions};

/// Most latency buckets a server can export, +Inf included.
pub const MAX_BUCKETS: usize = 24;

/// A server's own counters: cumulative since its process started, as Triton's are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests received, as a mesh's sidecar counts them (`istio_requests_total`).
    pub arrived: u64,
    /// Requests answered in time (`nv_inference_request_success`).
    pub success: u64,
    /// Requests rejected by a full queue (`nv_inference_request_failure{reason="REJECTED"}`).
    pub rejected: u64,
    /// Requests that expired or were answered too late (`nv_inference_request_failure{reason="CANCELED"}`).
    pub timed_out: u64,
    /// Requests lost with the process (not exported: there is nobody left to).
    pub killed: u64,
    /// Batches executed (`nv_inference_exec_count`).
    pub executions: u64,
    /// Sum of latencies, nanoseconds (`nv_inference_request_duration_us`).
    pub latency_ns: u64,
    /// Sum of queueing times, nanoseconds (`nv_inference_queue_duration_us`).
    pub queue_ns: u64,
    /// Sum of batch times, nanoseconds (`nv_inference_compute_infer_duration_us`, per batch).
    pub compute_ns: u64,
    /// Time with at least one batch running, nanoseconds.
    pub busy_ns: u64,
    /// Time that requests which got no answer in time had spent here, nanoseconds.
    pub dropped_ns: u64,
    /// Answers by latency bucket, not cumulative over buckets.
    pub buckets: [u64; MAX_BUCKETS],
}

impl Counters {
    /// Counts an answer.
    #[inline(always)]
    pub fn record(&mut self, bucket: usize, latency_ns: u64, queue_ns: u64) {
        self.success += 1;
        self.latency_ns += latency_ns;
        self.queue_ns += queue_ns;
        self.buckets[bucket.min(MAX_BUCKETS - 1)] += 1;
    }
}

/// How telemetry is collected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Time between scrapes of a pod, at least 100ms; rows of the timeline come as often.
    pub scrape_interval: Span,
    /// From a scrape until an autoscaler can query it.
    pub lag: Span,
    /// Probability that a scrape fails.
    pub drop_probability: f64,
    /// Upper bounds of the latency buckets: 1 to 23, ascending, above 0; +Inf is added.
    pub latency_buckets: Vec<Span>,
    /// Range over which rates and quantiles are computed by default, `[1m]` in PromQL; at least `scrape_interval`, in practice
    /// several times it.
    pub window: Span,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        let bounds = [1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000];
        TelemetryConfig {
            scrape_interval: Span::secs(15),
            lag: Span::secs(1),
            drop_probability: 0.0,
            latency_buckets: bounds.map(Span::millis).to_vec(),
            window: Span::secs(60),
        }
    }
}

impl TelemetryConfig {
    /// What is wrong, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if self.scrape_interval < Span::millis(100) {
            return Some(("scrape_interval", self.scrape_interval.to_string(), "at least 100ms"));
        }
        if !(0.0..=1.0).contains(&self.drop_probability) {
            return Some(("drop_probability", self.drop_probability.to_string(), "a probability between 0 and 1"));
        }
        if self.latency_buckets.is_empty() || self.latency_buckets.len() >= MAX_BUCKETS {
            return Some(("latency_buckets", self.latency_buckets.len().to_string(), "between 1 and 23 bounds"));
        }
        if self.latency_buckets.windows(2).any(|w| w[1] <= w[0]) || self.latency_buckets[0] == Span::default() {
            return Some(("latency_buckets", "bounds that do not ascend".into(), "ascending bounds above 0"));
        }
        if self.window < self.scrape_interval {
            return Some((
                "window",
                self.window.to_string(),
                "at least scrape_interval, or rates never have two samples",
            ));
        }
        None
    }
}

/// One pod as scraped once.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSample {
    /// When it was scraped.
    pub at: SimTime,
    /// The pod.
    pub pod: u64,
    /// Its pool's number.
    pub pool: usize,
    /// Its counters.
    pub counters: Counters,
    /// Requests waiting (`nv_inference_pending_request_count`).
    pub queued: u64,
    /// Requests waiting or being executed (`istio_requests_in_flight`).
    pub in_flight: u64,
    /// Integral of that number since the process started, seconds: its rate is the mean concurrency, which Knative's
    /// queue-proxy reports.
    pub in_flight_s: f64,
    /// Share of the time since the previous scrape in which a batch was running, 0–1: `DCGM_FI_DEV_GPU_UTIL` / 100 for a
    /// GPU pod (NVML counts time with at least one kernel, not how full the GPU is).
    pub utilization: f64,
    /// CPU used since the previous scrape as a share of the cores asked for, 0–1 (and beyond, without a limit).
    pub cpu_utilization: f64,
}

/// What kube-state-metrics says, by pool (`kube_deployment_spec_replicas`, `kube_deployment_status_replicas_ready`, …).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSample {
    /// When it was scraped.
    pub at: SimTime,
    /// By pool.
    pub pools: Vec<PodCounts>,
    /// The activator's metrics, where there is one.
    pub activator: Option<ActivatorSample>,
}

/// Everything that became visible since the previous one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Pods, in order of scraping.
    pub pods: Vec<PodSample>,
    /// The cluster, in order of scraping.
    pub cluster: Vec<ClusterSample>,
    /// Scrapes that failed: (pod, when). Prometheus marks the target's series stale.
    pub failed: Vec<(u64, SimTime)>,
    /// Pods that are no longer targets, and since when: their series are stale from then on.
    pub gone: Vec<(u64, SimTime)>,
}
