//! Reports of runs: figures for programs and for people.

mod files;
mod pareto;
mod run;
mod standard_output;
mod stats;
mod tables;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use files::{
    OutputError, write_atomically, write_comparison, write_csv_atomically, write_pareto, write_requests, write_timeline,
};
pub use pareto::pareto_svg;
pub use run::write_run;
pub use standard_output::{reader_is_gone, write_result};
pub use stats::{Estimate, PairedDifference, mean_interval, paired_difference};
pub use tables::{comparison_table, number, pareto_table, summary_table};

/// The figures of a run. Times are milliseconds unless named otherwise; `None` (null) where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: String,
    /// The autoscaler's name.
    pub autoscaler: String,
    /// The seed.
    pub seed: u64,
    /// Length, warm-up excluded, seconds.
    pub duration_s: f64,
    /// What became of the requests.
    pub requests: Requests,
    /// Latency of completed requests as clients see it.
    pub latency_ms: LatencySummary,
    /// The part of it spent waiting for an instance.
    pub queue_ms: QueueSummary,
    /// The objective.
    pub slo: SloSummary,
    /// By pool.
    pub pools: BTreeMap<String, PoolSummary>,
    /// US dollars.
    pub cost: f64,
    /// Replicas added and removed.
    pub churn: u64,
    /// Mean over control steps: the total as `mean`, and each part.
    pub reward: BTreeMap<String, f64>,
    /// Little's law, as a check on the run itself.
    pub littles_law: LittlesLaw,
}

/// What became of the requests: `arrived` is the sum of the next five.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// Sent by clients; retries count again.
    pub arrived: u64,
    /// Answered before the client gave up.
    pub completed: u64,
    /// Rejected by a full queue.
    pub queue_full: u64,
    /// Expired in a queue, or answered too late.
    pub timed_out: u64,
    /// Lost with their pod.
    pub killed: u64,
    /// Neither: no endpoint was ready, or the run ended first.
    pub unserved: u64,
    /// Of the unserved, those that found no endpoint.
    pub no_endpoint: u64,
    /// Of the unserved, those a pod held when the run ended.
    pub in_flight_at_end: u64,
    /// Of the arrived, second and later attempts.
    pub retried: u64,
}

/// Latency percentiles, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Maximum.
    pub max: Option<f64>,
}

/// Waiting time, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueSummary {
    /// Mean.
    pub mean: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// Share of completed requests that waited at all.
    pub share_waiting: Option<f64>,
}

/// The objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloSummary {
    /// The latency objective, milliseconds.
    pub objective_ms: f64,
    /// Share of requests that were late or failed, of those that ended or were overdue when the run did.
    pub violation_ratio: f64,
    /// Their number.
    pub violations: u64,
}

/// A pool's use of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// Pods on nodes, mean over time: loading and draining ones occupy theirs too.
    pub replicas_mean: f64,
    /// Most of them at once.
    pub replicas_max: u32,
    /// Their sum over time, seconds.
    pub replica_seconds: f64,
    /// Share of the running servers' time in which they were busy.
    pub utilization: f64,
    /// US dollars.
    pub cost: f64,
    /// Replicas added and removed.
    pub churn: u64,
}

/// Mean number of requests in servers, counted at scrapes and by Little's law. They agree in long stationary runs without
/// failures; a gap says that one of those is not so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LittlesLaw {
    /// Mean over scrapes.
    pub mean_in_flight_sampled: f64,
    /// Completions a second times mean time in the server.
    pub rate_times_time: f64,
}

/// A row of the timeline: a scrape interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its end, seconds.
    pub time_s: f64,
    /// Requests sent a second.
    pub arrival_rate: f64,
    /// Requests completed a second.
    pub completion_rate: f64,
    /// Requests a second that ready pods can complete with full batches.
    pub capacity_rate: f64,
    /// Requests waiting at its end.
    pub queued: u64,
    /// Requests in servers at its end.
    pub in_flight: u64,
    /// Median latency of those completed in it, ms.
    pub p50_ms: Option<f64>,
    /// 95th percentile, ms.
    pub p95_ms: Option<f64>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
    /// Requests that ended late or without an answer.
    pub violations: u64,
    /// Their share of those that ended; `None` when none did.
    pub violation_ratio: Option<f64>,
    /// Parts of the last control step's reward.
    pub reward: Vec<(String, f64)>,
    /// Their sum.
    pub reward_total: f64,
    /// Nodes.
    pub nodes: u32,
    /// By pool.
    pub pools: Vec<PoolRow>,
}

/// A pool in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolRow {
    /// Name.
    pub name: String,
    /// Pods asked for.
    pub desired: u32,
    /// Pods on nodes and not being deleted.
    pub scheduled: u32,
    /// Pods ready.
    pub ready: u32,
    /// Pods being deleted.
    pub draining: u32,
    /// Requests waiting.
    pub queued: u64,
    /// Requests in servers.
    pub in_flight: u64,
    /// Busy share of the servers' time in the interval; `None` without servers.
    pub utilization: Option<f64>,
}
