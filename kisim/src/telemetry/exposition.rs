//! Samples as exporters would print them (Prometheus text format 0.0.4): Triton's, DCGM's and the mesh sidecar's names.

use std::fmt::Write as _;

use crate::telemetry::{Counters, PodSample};

/// A pod's series: its sample, the labels they all have (`pod`, `model`, …; names and values), and whether DCGM sees
/// the pod.
#[derive(Clone, Debug)]
pub struct Exposed<'a> {
    /// What was measured.
    pub sample: &'a PodSample,
    /// Labels of all its series.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Whether it runs on a GPU.
    pub gpu: bool,
}

const LATENCY: &str = "nv_inference_request_latency_ms";
const UTILIZATION: &str = "DCGM_FI_DEV_GPU_UTIL";

/// A family with one series a pod, or one a reason: name, type, label and value of the series.
type Family = (&'static str, &'static str, &'static [(&'static str, fn(&PodSample) -> u64)]);

const FAMILIES: [Family; 10] = [
    ("istio_requests_total", "counter", &[("", |s| s.counters.arrived)]),
    ("istio_requests_in_flight", "gauge", &[("", |s| s.in_flight)]),
    ("nv_inference_request_success", "counter", &[("", |s| s.counters.success)]),
    (
        "nv_inference_request_failure",
        "counter",
        &[("REJECTED", |s| s.counters.rejected), ("CANCELED", |s| s.counters.timed_out)],
    ),
    ("nv_inference_count", "counter", &[("", |s| s.counters.success)]),
    ("nv_inference_exec_count", "counter", &[("", |s| s.counters.executions)]),
    ("nv_inference_request_duration_us", "counter", &[("", |s| s.counters.latency_ns / 1_000)]),
    ("nv_inference_queue_duration_us", "counter", &[("", |s| s.counters.queue_ns / 1_000)]),
    ("nv_inference_compute_infer_duration_us", "counter", &[("", |s| s.counters.compute_ns / 1_000)]),
    ("nv_inference_pending_request_count", "gauge", &[("", |s| s.queued)]),
];

/// The text a scrape of one pod's exporters would have returned. `bounds` are the upper bounds of the latency buckets in
/// nanoseconds; `gpu` says whether DCGM sees the pod.
pub fn exposition(sample: &PodSample, pod: &str, model: &str, bounds: &[u64], gpu: bool) -> String {
    let bounds: Vec<f64> = bounds.iter().map(|&ns| ns as f64 / 1e6).collect();
    expositions(&[Exposed { sample, labels: vec![("pod", pod), ("model", model)], gpu }], &bounds)
}

/// The series of many pods, all of a family together, as the format asks for. `bounds_ms` are the upper bounds of the
/// latency buckets in milliseconds. Empty without a pod.
pub fn expositions(pods: &[Exposed<'_>], bounds_ms: &[f64]) -> String {
    let mut text = String::new();
    if pods.is_empty() {
        return text;
    }
    let labels: Vec<String> = pods.iter().map(|pod| labelled(&pod.labels)).collect();
    // Writing to a String cannot fail.
    for (name, kind, series) in FAMILIES {
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for (pod, labels) in pods.iter().zip(&labels) {
            for (reason, value) in series {
                let reason = if reason.is_empty() { String::new() } else { format!(",reason=\"{reason}\"") };
                let _ = writeln!(text, "{name}{{{labels}{reason}}} {}", value(pod.sample));
            }
        }
    }
    let _ = writeln!(text, "# TYPE {LATENCY} histogram");
    for (pod, labels) in pods.iter().zip(&labels) {
        histogram(&mut text, labels, &pod.sample.counters, bounds_ms);
    }
    if pods.iter().any(|pod| pod.gpu) {
        let _ = writeln!(text, "# TYPE {UTILIZATION} gauge");
        for (pod, labels) in pods.iter().zip(&labels).filter(|(pod, _)| pod.gpu) {
            let _ = writeln!(text, "{UTILIZATION}{{{labels}}} {:.0}", pod.sample.utilization * 100.0);
        }
    }
    text
}

fn histogram(text: &mut String, labels: &str, counters: &Counters, bounds_ms: &[f64]) {
    let mut cumulative = 0;
    for (index, count) in counters.buckets.iter().take(bounds_ms.len() + 1).enumerate() {
        cumulative += count;
        let bound = bounds_ms.get(index).map_or("+Inf".to_owned(), f64::to_string);
        let _ = writeln!(text, "{LATENCY}_bucket{{{labels},le=\"{bound}\"}} {cumulative}");
    }
    let _ = writeln!(text, "{LATENCY}_sum{{{labels}}} {}", counters.latency_ns as f64 / 1e6);
    let _ = writeln!(text, "{LATENCY}_count{{{labels}}} {}", counters.success);
}

fn labelled(labels: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SimTime;

    fn sample() -> PodSample {
        let mut counters = Counters { arrived: 4, ..Counters::default() };
        counters.record(0, 500_000, 0);
        counters.record(1, 3_000_000, 1_000_000);
        counters.record(2, 99_000_000, 90_000_000);
        PodSample {
            at: SimTime::ZERO,
            pod: 3,
            pool: 0,
            counters,
            queued: 1,
            in_flight: 1,
            in_flight_s: 0.1,
            utilization: 0.25,
            cpu_utilization: 0.1,
        }
    }

    #[test]
    fn buckets_are_cumulative_and_named_as_exporters_name_them() {
        let text = exposition(&sample(), "triton-3", "resnet50", &[1_000_000, 5_000_000], true);
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

    #[test]
    fn each_family_is_announced_once_and_its_series_stand_together() {
        let sample = sample();
        let of = |name, gpu| Exposed { sample: &sample, labels: vec![("namespace", "a\"b"), ("pod", name)], gpu };
        let text = expositions(&[of("one", true), of("two", false)], &[1.0]);
        let mut announced = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => announced.push(rest.split(' ').next().unwrap()),
                None => assert!(line.starts_with(announced.last().unwrap()), "{line}"),
            }
        }
        let mut once = announced.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), announced.len());
        assert!(text.contains(r#"istio_requests_total{namespace="a\"b",pod="two"} 4"#), "{text}");
        assert_eq!(text.matches("DCGM_FI_DEV_GPU_UTIL{").count(), 1, "a pod without a GPU has none");
        assert_eq!(expositions(&[], &[]), "");
    }
}
