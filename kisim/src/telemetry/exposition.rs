//! Samples as an exporter would print them (Prometheus text format).

use std::fmt::Write as _;

use crate::telemetry::PodSample;

/// The text a scrape of the pod's exporters would have returned: Triton's, DCGM's and the mesh sidecar's names.
/// `bounds` are the upper bounds of the latency buckets in nanoseconds; `gpu` says whether DCGM sees the pod.
pub fn exposition(sample: &PodSample, pod: &str, model: &str, bounds: &[u64], gpu: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, labels: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}{{pod=\"{pod}\",model=\"{model}\"{labels}}} {value}");
    };
    let c = &sample.counters;
    let micros = |ns: u64| (ns / 1_000).to_string();
    line("istio_requests_total", "", c.arrived.to_string());
    line("istio_requests_in_flight", "", sample.in_flight.to_string());
    line("nv_inference_request_success", "", c.success.to_string());
    line("nv_inference_request_failure", ",reason=\"REJECTED\"", c.rejected.to_string());
    line("nv_inference_request_failure", ",reason=\"CANCELED\"", c.timed_out.to_string());
    line("nv_inference_count", "", c.success.to_string());
    line("nv_inference_exec_count", "", c.executions.to_string());
    line("nv_inference_request_duration_us", "", micros(c.latency_ns));
    line("nv_inference_queue_duration_us", "", micros(c.queue_ns));
    line("nv_inference_compute_infer_duration_us", "", micros(c.compute_ns));
    line("nv_inference_pending_request_count", "", sample.queued.to_string());
    let mut cumulative = 0;
    for (index, count) in c.buckets.iter().take(bounds.len() + 1).enumerate() {
        cumulative += count;
        let bound = bounds.get(index).map_or("+Inf".to_owned(), |b| (*b as f64 / 1e6).to_string());
        line("nv_inference_request_latency_ms_bucket", &format!(",le=\"{bound}\""), cumulative.to_string());
    }
    line("nv_inference_request_latency_ms_count", "", c.success.to_string());
    line("nv_inference_request_latency_ms_sum", "", (c.latency_ns as f64 / 1e6).to_string());
    if gpu {
        line("DCGM_FI_DEV_GPU_UTIL", "", format!("{:.0}", sample.utilization * 100.0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Counters;
    use crate::time::SimTime;

    #[test]
    fn buckets_are_cumulative_and_named_as_exporters_name_them() {
        let mut counters = Counters { arrived: 4, ..Counters::default() };
        counters.record(0, 500_000, 0);
        counters.record(1, 3_000_000, 1_000_000);
        counters.record(2, 99_000_000, 90_000_000);
        let sample = PodSample {
            at: SimTime::ZERO,
            pod: 3,
            pool: 0,
            counters,
            queued: 1,
            in_flight: 1,
            in_flight_s: 0.1,
            utilization: 0.25,
            cpu_utilization: 0.1,
        };
        let text = exposition(&sample, "triton-3", "resnet50", &[1_000_000, 5_000_000], true);
        for expected in [
            "nv_inference_request_success{pod=\"triton-3\",model=\"resnet50\"} 3\n",
            "nv_inference_request_latency_ms_bucket{pod=\"triton-3\",model=\"resnet50\",le=\"1\"} 1\n",
            "nv_inference_request_latency_ms_bucket{pod=\"triton-3\",model=\"resnet50\",le=\"5\"} 2\n",
            "nv_inference_request_latency_ms_bucket{pod=\"triton-3\",model=\"resnet50\",le=\"+Inf\"} 3\n",
            "nv_inference_queue_duration_us{pod=\"triton-3\",model=\"resnet50\"} 91000\n",
            "DCGM_FI_DEV_GPU_UTIL{pod=\"triton-3\",model=\"resnet50\"} 25\n",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
