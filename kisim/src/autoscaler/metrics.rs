//! The metrics that a simulation offers, by the names real exporters use, to the manifests that ask for them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::Phase;
use crate::control::View;
use crate::hpa::{Container, PodMetric, PodPhase, PodStatus, ResourceName};
use crate::keda::query::{Aggregate, Query};
use crate::window::{Counter, Gauge};

/// What an HPA or a ScaledObject that is not written out watches: an average over a pool's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HpaMetric {
    /// Busy share of the device, per cent (`DCGM_FI_DEV_GPU_UTIL` for GPU pods).
    #[default]
    Utilization,
    /// CPU used over CPU asked for, per cent: the rule that does not know GPUs.
    Cpu,
    /// Requests waiting at a pod.
    Queue,
    /// Requests waiting or being executed at a pod.
    InFlight,
    /// Requests a second at a pod.
    RequestRate,
}

impl HpaMetric {
    /// The metric's name in a manifest of type Pods; CPU is a Resource metric.
    pub fn metric_name(self) -> &'static str {
        match self {
            HpaMetric::Utilization => "DCGM_FI_DEV_GPU_UTIL",
            HpaMetric::Cpu => "cpu",
            HpaMetric::Queue => "nv_inference_pending_request_count",
            HpaMetric::InFlight => "istio_requests_in_flight",
            HpaMetric::RequestRate => "istio_requests_per_second",
        }
    }

    /// The name in scenarios and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            HpaMetric::Utilization => "utilization",
            HpaMetric::Cpu => "cpu",
            HpaMetric::Queue => "queue",
            HpaMetric::InFlight => "in_flight",
            HpaMetric::RequestRate => "request_rate",
        }
    }

    /// The metric of that name; `rate` is short for `request_rate`.
    pub fn named(name: &str) -> Option<HpaMetric> {
        HpaMetric::ALL.into_iter().find(|m| m.name() == name || (name == "rate" && *m == HpaMetric::RequestRate))
    }

    /// All.
    pub const ALL: [HpaMetric; 5] =
        [HpaMetric::Utilization, HpaMetric::Cpu, HpaMetric::Queue, HpaMetric::InFlight, HpaMetric::RequestRate];
}

/// Requests waiting in the activator: one value for the whole Service.
pub(super) const ACTIVATOR: &str = "activator_request_concurrency";

const COUNTERS: [(&str, Counter, f64); 5] = [
    ("istio_requests_total", Counter::Requests, 1.0),
    ("nv_inference_request_success", Counter::Success, 1.0),
    ("nv_inference_exec_count", Counter::Executions, 1.0),
    ("nv_inference_queue_duration_us", Counter::QueueSeconds, 1e6),
    ("nv_inference_request_duration_us", Counter::LatencySeconds, 1e6),
];

/// Where the values of a metric come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// A gauge, times a factor.
    Gauge(Gauge, f64),
    /// A rate per pod, times a factor.
    Rate(Counter, f64),
    /// The activator's queue.
    Activator,
}

/// The source of the metric `name`, as it is.
pub(super) fn source(name: &str) -> Option<Source> {
    if name == ACTIVATOR {
        return Some(Source::Activator);
    }
    let metric = HpaMetric::ALL.into_iter().find(|m| m.metric_name() == name)?;
    Some(match metric {
        HpaMetric::Utilization => Source::Gauge(Gauge::Utilization, 100.0),
        HpaMetric::Cpu => Source::Gauge(Gauge::CpuUtilization, 100.0),
        HpaMetric::Queue => Source::Gauge(Gauge::Queued, 1.0),
        HpaMetric::InFlight => Source::Gauge(Gauge::InFlight, 1.0),
        HpaMetric::RequestRate => Source::Rate(Counter::Requests, 1.0),
    })
}

/// The source of what a query asks for, and the range of its rate.
pub(super) fn source_of(query: &Query) -> Option<Source> {
    match query.rate {
        None => source(&query.metric),
        Some(_) => {
            COUNTERS.iter().find(|c| c.0 == query.metric).map(|&(_, counter, factor)| Source::Rate(counter, factor))
        }
    }
}

/// The names there are, for messages.
pub(super) fn offered() -> String {
    format!("{}, {ACTIVATOR}", offered_by_pods())
}

/// Those of pods.
pub(super) fn offered_by_pods() -> String {
    HpaMetric::ALL.map(HpaMetric::metric_name).join(", ")
}

/// The counters there are, for messages about `rate(…)`.
pub(super) fn offered_counters() -> String {
    COUNTERS.map(|c| c.0).join(", ")
}

fn milli(value: f64) -> i64 {
    (value * 1000.0).round() as i64
}

/// The metric of each pod of `pool` that has one; `range` is for rates. The activator has no pods.
pub(super) fn pod_values(source: Source, view: &View<'_>, pool: usize, range: Duration) -> Vec<PodMetric> {
    match source {
        Source::Gauge(gauge, factor) => view
            .window
            .gauges(Some(pool), gauge, view.now)
            .map(|(pod, at, value)| PodMetric { pod, milli: milli(value * factor), at, window: Duration::ZERO })
            .collect(),
        Source::Rate(counter, factor) => view
            .window
            .rates(Some(pool), counter, range, view.now)
            .into_iter()
            .map(|(pod, rate)| PodMetric { pod, milli: milli(rate * factor), at: view.now, window: range })
            .collect(),
        Source::Activator => Vec::new(),
    }
}

/// What a query over the pods of `pool` gives; `None` for no series. Fails with the number of series where there are
/// several and the query does not say what to make of them.
pub(super) fn answer(query: &Query, source: Source, view: &View<'_>, pool: usize) -> Result<Option<f64>, usize> {
    let range = query.rate.unwrap_or(view.range);
    let values: Vec<f64> = match source {
        Source::Activator => view.window.activator(view.now).iter().map(|(_, sample)| sample.waiting as f64).collect(),
        _ => pod_values(source, view, pool, range).iter().map(|v| v.milli as f64 / 1000.0).collect(),
    };
    let count = values.len();
    if count == 0 {
        return Ok(None);
    }
    Ok(Some(match query.aggregate {
        Aggregate::One if count > 1 => return Err(count),
        Aggregate::Count => count as f64,
        Aggregate::Max => values.iter().copied().fold(f64::MIN, f64::max),
        Aggregate::Min => values.iter().copied().fold(f64::MAX, f64::min),
        Aggregate::Avg => values.iter().sum::<f64>() / count as f64,
        // Of one series, it is the value.
        Aggregate::Sum | Aggregate::One => values.iter().sum(),
    }))
}

/// CPU used by each pod of `pool`, in millicores of the `cpu_milli` it asks for.
pub(super) fn cpu_values(view: &View<'_>, pool: usize, cpu_milli: i64) -> Vec<PodMetric> {
    let mut values = pod_values(Source::Gauge(Gauge::CpuUtilization, 1.0), view, pool, view.range);
    for value in &mut values {
        value.milli = (value.milli as f64 / 1000.0 * cpu_milli as f64).round() as i64;
        // A value is about the time since the scrape before.
        value.window = view.window.scrape_interval().unwrap_or(view.range);
    }
    values
}

/// The one container of a pod that asks for `cpus` cores, and those in millicores.
pub(super) fn containers(cpus: f64) -> (Arc<[Container]>, i64) {
    let cpu_milli = (cpus * 1000.0).round() as i64;
    ([Container { name: "server".into(), requests: vec![(ResourceName::Cpu, cpu_milli)] }].into(), cpu_milli)
}

/// The pods of `pool` as the API lists them to a controller.
pub(super) fn pod_statuses(view: &View<'_>, pool: usize, containers: &Arc<[Container]>) -> Vec<PodStatus> {
    let status = |p: &crate::control::PodView| PodStatus {
        id: p.id,
        phase: match p.phase {
            Phase::Pending | Phase::Pulling => PodPhase::Pending,
            Phase::Lost => PodPhase::Unknown,
            _ => PodPhase::Running,
        },
        deleting: p.phase == Phase::Draining,
        ready: Some(p.phase == Phase::Ready),
        ready_transition: p.ready_transition.or(p.started),
        start_time: p.started,
        containers: Arc::clone(containers),
    };
    view.pods.iter().filter(|p| p.pool == pool).map(status).collect()
}
