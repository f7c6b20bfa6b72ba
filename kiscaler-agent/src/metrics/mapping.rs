//! Which of an exporter's series mean what.

use std::collections::HashMap;

use crate::api::{HttpMetrics, MetricsSpec, Preset};
use crate::plan::Needs;

/// A number that the simulator's pods export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Requests received.
    Arrived,
    /// Requests answered.
    Success,
    /// Requests rejected.
    Rejected,
    /// Requests that expired.
    TimedOut,
    /// Batches executed.
    Executions,
    /// Sum of latencies, seconds.
    Latency,
    /// Sum of times in the queue, seconds.
    QueueTime,
    /// Sum of times of batches, seconds.
    ComputeTime,
    /// Requests waiting.
    Queued,
    /// Requests in flight.
    InFlight,
    /// The GPU's busy share, 0–1.
    Utilization,
    /// A cumulative latency bucket.
    Bucket,
}

impl Quantity {
    /// How many there are.
    pub const COUNT: usize = 12;

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Quantity::Arrived => "requests received",
            Quantity::Success => "requests answered",
            Quantity::Rejected => "requests rejected",
            Quantity::TimedOut => "requests that expired",
            Quantity::Executions => "batches executed",
            Quantity::Latency => "latency",
            Quantity::QueueTime => "time in the queue",
            Quantity::ComputeTime => "time of batches",
            Quantity::Queued => "requests waiting",
            Quantity::InFlight => "requests in flight",
            Quantity::Utilization => "GPU utilization",
            Quantity::Bucket => "latency buckets",
        }
    }

    /// Whether several series of a pod are averaged rather than summed.
    pub(super) const fn is_mean(self) -> bool {
        matches!(self, Quantity::Utilization)
    }
}

/// What a series of a name means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub(super) quantity: Quantity,
    /// Which alternative: of several sources of a quantity, the first with any series is taken.
    pub(super) rank: usize,
    /// What its unit is, in ours.
    pub(super) scale: f64,
    /// Only series where the label is, or is not, this.
    pub(super) filter: Option<Filter>,
}

/// A condition on a label.
#[derive(Clone, Copy, Debug)]
pub(super) enum Filter {
    Is(&'static str, &'static str),
    IsNot(&'static str, &'static str),
}

impl Filter {
    /// Whether a series with labels of these values is meant.
    pub(super) fn passes<'a>(self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Filter::Is(key, wanted) => label(key) == Some(wanted),
            Filter::IsNot(key, other) => label(key) != Some(other),
        }
    }
}

/// Alternatives of a quantity at most.
pub(super) const RANKS: usize = 3;

/// Which of an exporter's series mean what.
#[derive(Clone, Debug)]
pub struct Mapping {
    by_name: HashMap<String, Vec<Meaning>>,
    /// The metric names of GPU exporters, which may be scraped apart from the service's.
    gpu: &'static [&'static str],
}

/// DCGM exporter's name, per cent.
const DCGM: &str = "DCGM_FI_DEV_GPU_UTIL";

impl Mapping {
    /// The mapping that a spec asks for.
    pub fn of(spec: &MetricsSpec) -> Mapping {
        let mut mapping = Mapping { by_name: HashMap::new(), gpu: &[DCGM] };
        match (&spec.preset, &spec.http) {
            (Preset::Triton, _) => mapping.triton(),
            (Preset::VLLM, _) => mapping.vllm(),
            (Preset::KServe, _) => mapping.kserve(),
            (Preset::HTTP, Some(names)) => mapping.http(names),
            // The schema does not allow it; then nothing is known of pods.
            (Preset::HTTP, None) => {}
        }
        mapping.add(DCGM, Quantity::Utilization, 0, 0.01);
        mapping
    }

    /// Whether the metric of that name is of interest.
    pub fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Names of metrics of interest that the service itself exports, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.by_name.keys().map(String::as_str).filter(|n| !self.gpu.contains(n)).collect();
        names.sort_unstable();
        names
    }

    /// Names of metrics that count requests that arrive, sorted.
    pub fn arrivals(&self) -> Vec<&str> {
        let counts = |name: &&str| self.meanings(name).iter().any(|m| m.quantity == Quantity::Arrived);
        self.names().into_iter().filter(counts).collect()
    }

    /// Which alternative a series of requests that arrive belongs to, and its unit in ours; `None` where it is none.
    pub(super) fn arrival<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> Option<(usize, f64)> {
        let own = self.meanings(name).iter().filter(|m| m.quantity == Quantity::Arrived);
        own.filter(|m| m.filter.is_none_or(|filter| filter.passes(&label)))
            .map(|m| (m.rank, m.scale))
            .min_by_key(|m| m.0)
    }

    /// Names of metrics that GPU exporters have.
    pub fn gpu_names(&self) -> &'static [&'static str] {
        self.gpu
    }

    /// What can be known by it.
    pub fn offers(&self) -> Needs {
        let has = |quantity: Quantity| self.by_name.values().flatten().any(|m| m.quantity == quantity);
        Needs {
            requests: has(Quantity::Arrived),
            queued: has(Quantity::Queued),
            // Without a gauge, the mean number in flight is what latencies add up to in a second.
            in_flight: has(Quantity::InFlight) || has(Quantity::Latency),
            utilization: has(Quantity::Utilization),
            cpu: false,
            latency: has(Quantity::Bucket),
        }
    }

    pub(super) fn meanings(&self, name: &str) -> &[Meaning] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, name: &str, quantity: Quantity, rank: usize, scale: f64) {
        self.put(name, Meaning { quantity, rank, scale, filter: None });
    }

    fn put(&mut self, name: &str, meaning: Meaning) {
        self.by_name.entry(name.to_owned()).or_default().push(meaning);
    }

    /// Triton's own names: <https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md>.
    /// Requests as a mesh's sidecar counts them come first: Triton itself counts those that ended.
    fn triton(&mut self) {
        let filtered = |quantity, rank, filter| Meaning { quantity, rank, scale: 1.0, filter: Some(filter) };
        // A sidecar counts requests twice where it is both ends of them.
        let received = Filter::IsNot("reporter", "source");
        self.put("istio_requests_total", filtered(Quantity::Arrived, 0, received));
        self.add("istio_requests_in_flight", Quantity::InFlight, 0, 1.0);
        for quantity in [Quantity::Arrived, Quantity::Success] {
            self.add("nv_inference_request_success", quantity, 1, 1.0);
        }
        self.add("nv_inference_request_failure", Quantity::Arrived, 1, 1.0);
        let rejected = Filter::Is("reason", "REJECTED");
        self.put("nv_inference_request_failure", filtered(Quantity::Rejected, 0, rejected));
        let others = Filter::IsNot("reason", "REJECTED");
        self.put("nv_inference_request_failure", filtered(Quantity::TimedOut, 0, others));
        self.add("nv_inference_exec_count", Quantity::Executions, 0, 1.0);
        self.add("nv_inference_request_duration_us", Quantity::Latency, 0, 1e-6);
        self.add("nv_inference_queue_duration_us", Quantity::QueueTime, 0, 1e-6);
        self.add("nv_inference_compute_infer_duration_us", Quantity::ComputeTime, 0, 1e-6);
        self.add("nv_inference_pending_request_count", Quantity::Queued, 0, 1.0);
        self.add("nv_gpu_utilization", Quantity::Utilization, 1, 1.0);
        self.add("nv_inference_request_latency_ms_bucket", Quantity::Bucket, 0, 1e-3);
        self.add("nv_inference_first_response_histogram_ms_bucket", Quantity::Bucket, 1, 1e-3);
    }

    /// vLLM's: <https://docs.vllm.ai/en/latest/usage/metrics.html>.
    fn vllm(&mut self) {
        for quantity in [Quantity::Arrived, Quantity::Success] {
            self.add("vllm:request_success_total", quantity, 0, 1.0);
        }
        self.add("vllm:num_requests_waiting", Quantity::Queued, 0, 1.0);
        self.add("vllm:num_requests_waiting", Quantity::InFlight, 0, 1.0);
        self.add("vllm:num_requests_running", Quantity::InFlight, 0, 1.0);
        self.add("vllm:request_queue_time_seconds_sum", Quantity::QueueTime, 0, 1.0);
        self.histogram("vllm:e2e_request_latency_seconds");
    }

    /// KServe's Python model server: `request_predict_seconds`, a histogram without a queue.
    fn kserve(&mut self) {
        for quantity in [Quantity::Arrived, Quantity::Success] {
            self.add("request_predict_seconds_count", quantity, 0, 1.0);
        }
        self.histogram("request_predict_seconds");
    }

    fn http(&mut self, names: &HttpMetrics) {
        let count = format!("{}_count", names.latency_histogram);
        self.add(&count, Quantity::Success, 0, 1.0);
        self.add(names.requests_total.as_deref().unwrap_or(&count), Quantity::Arrived, 0, 1.0);
        if let Some(name) = &names.in_flight {
            self.add(name, Quantity::InFlight, 0, 1.0);
        }
        if let Some(name) = &names.queued {
            self.add(name, Quantity::Queued, 0, 1.0);
        }
        self.histogram(&names.latency_histogram);
    }

    /// A histogram in seconds.
    fn histogram(&mut self, name: &str) {
        self.add(&format!("{name}_sum"), Quantity::Latency, 0, 1.0);
        self.add(&format!("{name}_bucket"), Quantity::Bucket, 0, 1.0);
    }
}
