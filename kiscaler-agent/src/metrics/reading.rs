//! What one scrape of one pod says, series by series.

use std::collections::BTreeMap;

use super::mapping::{Mapping, Meaning, Quantity, RANKS};

/// Sums of one quantity's series, by alternative.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sum: f64,
    count: u32,
    not_a_number: bool,
}

/// What one scrape of one pod says so far.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    slots: [[Slot; RANKS]; Quantity::COUNT],
    /// Cumulative counts by upper bound (nanoseconds; `u64::MAX` for +Inf), by alternative.
    buckets: [BTreeMap<u64, f64>; RANKS],
    /// Series taken in.
    series: usize,
}

/// A value that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotANumber;

impl Reading {
    /// Takes in one sample of the series `name`; `label` gives its labels' values.
    pub fn add<'a>(&mut self, mapping: &Mapping, name: &str, label: impl Fn(&str) -> Option<&'a str>, value: f64) {
        for meaning in mapping.meanings(name) {
            let Meaning { quantity, rank, scale, filter } = *meaning;
            if !filter.is_none_or(|filter| filter.passes(&label)) {
                continue;
            }
            self.series += 1;
            if quantity == Quantity::Bucket {
                // Bounds are in the histogram's unit, counts have none.
                let Some(bound) = label("le").and_then(|le| le.parse::<f64>().ok()) else { continue };
                let bound = if bound.is_finite() { (bound * scale * 1e9).round() as u64 } else { u64::MAX };
                if is_number(value) {
                    *self.buckets[rank].entry(bound).or_default() += value;
                }
                continue;
            }
            let slot = &mut self.slots[quantity as usize][rank];
            slot.count += 1;
            match is_number(value) {
                true => slot.sum += value * scale,
                false => slot.not_a_number = true,
            }
        }
    }

    /// Whether nothing of interest was in it.
    pub fn is_empty(&self) -> bool {
        self.series == 0
    }

    /// The value of a quantity; `None` where no series has it.
    pub(super) fn value(&self, quantity: Quantity) -> Result<Option<f64>, NotANumber> {
        match self.slots[quantity as usize].iter().find(|slot| slot.count > 0) {
            None => Ok(None),
            Some(slot) if slot.not_a_number => Err(NotANumber),
            Some(slot) if quantity.is_mean() => Ok(Some(slot.sum / f64::from(slot.count))),
            Some(slot) => Ok(Some(slot.sum)),
        }
    }

    /// Answers by latency bucket with upper bounds `bounds` (nanoseconds, ascending), +Inf last, not cumulative. An
    /// exporter's bucket counts as the next of ours: latencies are rounded up, never down.
    pub(super) fn buckets(&self, bounds: &[u64]) -> Option<Vec<u64>> {
        let own = self.buckets.iter().find(|own| !own.is_empty())?;
        let mut counts = vec![0; bounds.len() + 1];
        let mut before = 0.0;
        for (&bound, &cumulative) in own {
            let place = bounds.partition_point(|&ours| ours < bound);
            counts[place] += (cumulative - before).max(0.0).round() as u64;
            before = cumulative.max(before);
        }
        Some(counts)
    }
}

/// Whether a counter or a gauge of ours can have this value.
fn is_number(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::parse;
    use crate::plan::testing::scaler;

    fn reading(text: &str) -> Reading {
        let mapping = Mapping::of(&scaler("hpa:60").spec.metrics);
        let (lines, error) = parse(text, |name| mapping.knows(name));
        assert_eq!(error, None);
        let mut reading = Reading::default();
        for line in &lines {
            let label = |key: &str| line.labels.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_ref());
            reading.add(&mapping, line.name, label, line.value);
        }
        reading
    }

    #[test]
    fn the_first_source_with_series_is_taken() {
        let triton = "nv_inference_request_success{model=\"a\"} 10\nnv_inference_request_success{model=\"b\"} 5\n\
                      nv_inference_request_failure{reason=\"REJECTED\"} 2\nnv_inference_request_failure{reason=\"OTHER\"} 3\n";
        let alone = reading(triton);
        assert_eq!(alone.value(Quantity::Arrived), Ok(Some(20.0)));
        assert_eq!(alone.value(Quantity::Rejected), Ok(Some(2.0)));
        assert_eq!(alone.value(Quantity::TimedOut), Ok(Some(3.0)));
        let meshed = reading(&format!(
            "istio_requests_total{{reporter=\"destination\"}} 40\nistio_requests_total{{reporter=\"source\"}} 7\n{triton}"
        ));
        assert_eq!(meshed.value(Quantity::Arrived), Ok(Some(40.0)));
        assert_eq!(meshed.value(Quantity::Success), Ok(Some(15.0)));
    }

    #[test]
    fn presets_know_their_servers_names() {
        let spec = |preset: &str, more: &str| {
            let text = format!("{{preset: {preset}, direct: {{endpoints: ['http://a']}}{more}}}");
            serde_norway::from_str::<crate::api::MetricsSpec>(&text).unwrap()
        };
        let read = |spec: &crate::api::MetricsSpec, text: &str| {
            let mapping = Mapping::of(spec);
            let mut reading = Reading::default();
            for line in &parse(text, |name| mapping.knows(name)).0 {
                let label = |key: &str| line.labels.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_ref());
                reading.add(&mapping, line.name, label, line.value);
            }
            reading
        };
        let vllm = "vllm:request_success_total{finished_reason=\"stop\"} 5\nvllm:request_success_total{finished_reason=\"length\"} 2\n\
                    vllm:num_requests_waiting 3\nvllm:num_requests_running 4\nvllm:e2e_request_latency_seconds_sum 9.5\n\
                    vllm:e2e_request_latency_seconds_bucket{le=\"0.3\"} 6\nvllm:e2e_request_latency_seconds_bucket{le=\"+Inf\"} 7\n";
        let seen = read(&spec("VLLM", ""), vllm);
        let value = |reading: &Reading, quantity| reading.value(quantity).unwrap();
        assert_eq!(value(&seen, Quantity::Arrived), Some(7.0));
        assert_eq!((value(&seen, Quantity::Queued), value(&seen, Quantity::InFlight)), (Some(3.0), Some(7.0)));
        assert_eq!(seen.buckets(&[300_000_000]), Some(vec![6, 1]));
        let kserve = read(&spec("KServe", ""), "request_predict_seconds_count 8\nrequest_predict_seconds_sum 2.0\n");
        assert_eq!((value(&kserve, Quantity::Success), value(&kserve, Quantity::Latency)), (Some(8.0), Some(2.0)));
        let own = ", http: {latencyHistogram: http_seconds, inFlight: http_busy, requestsTotal: http_received}";
        let own = read(&spec("HTTP", own), "http_seconds_count 4\nhttp_received 6\nhttp_busy 2\n");
        assert_eq!((value(&own, Quantity::Success), value(&own, Quantity::Arrived)), (Some(4.0), Some(6.0)));
        assert_eq!(value(&own, Quantity::InFlight), Some(2.0));
        // What a preset has no name for, nobody may go by.
        assert!(
            !Mapping::of(&spec("KServe", "")).offers().queued && Mapping::of(&spec("KServe", "")).offers().in_flight
        );
    }

    #[test]
    fn gpus_are_averaged_and_no_series_is_no_value() {
        let two =
            reading("DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 50\nDCGM_FI_DEV_GPU_UTIL{gpu=\"1\"} 70\nnv_gpu_utilization 0.1\n");
        let utilization = two.value(Quantity::Utilization).unwrap().unwrap();
        assert!((utilization - 0.6).abs() < 1e-12, "{utilization}");
        assert_eq!(two.value(Quantity::Queued), Ok(None));
        assert_eq!(reading("nv_gpu_utilization NaN").value(Quantity::Utilization), Err(NotANumber));
        assert!(reading("something_else 1").is_empty());
    }

    #[test]
    fn buckets_are_rounded_up_to_ours() {
        let text = "nv_inference_request_latency_ms_bucket{le=\"1\"} 3\nnv_inference_request_latency_ms_bucket{le=\"4\"} 5\n\
                    nv_inference_request_latency_ms_bucket{le=\"10\"} 9\nnv_inference_request_latency_ms_bucket{le=\"+Inf\"} 10\n";
        let ms = 1_000_000;
        assert_eq!(reading(text).buckets(&[ms, 5 * ms, 20 * ms]), Some(vec![3, 2, 4, 1]));
        assert_eq!(reading("").buckets(&[ms]), None);
    }
}
