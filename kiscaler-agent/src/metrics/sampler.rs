//! From readings to the samples that the window takes: one at a time, with what was known of the pod before.

use std::collections::BTreeMap;

use kisim::telemetry::{Counters, PodSample};
use kisim::time::SimTime;

use super::mapping::Quantity;
use super::reading::Reading;
use super::{Finding, Found};
use crate::plan::Needs;

/// What is known of a pod from its last sample.
#[derive(Clone, Copy, Debug)]
struct Before {
    at: SimTime,
    arrived: u64,
    latency_s: f64,
    in_flight_s: f64,
}

/// Makes samples of readings.
#[derive(Clone, Debug)]
pub struct Sampler {
    needs: Needs,
    /// Upper bounds of the latency buckets, nanoseconds.
    bounds: Vec<u64>,
    before: BTreeMap<u64, Before>,
}

impl Sampler {
    /// For pods of which `needs` must be known, with latency buckets of these upper `bounds` (nanoseconds).
    pub fn new(needs: Needs, bounds: &[u64]) -> Self {
        Sampler { needs, bounds: bounds.to_vec(), before: BTreeMap::new() }
    }

    /// Forgets pods that are no more.
    pub fn retain(&mut self, exists: impl Fn(u64) -> bool) {
        self.before.retain(|&pod, _| exists(pod));
    }

    /// When the last sample of a pod was taken.
    pub fn last(&self, pod: u64) -> Option<SimTime> {
        self.before.get(&pod).map(|before| before.at)
    }

    /// The sample that a reading of pod `name`, number `pod` of pool `pool`, at `at` makes; [`Finding::Reset`] comes beside a
    /// sample, all others instead.
    pub fn sample(
        &mut self,
        reading: &Reading,
        name: &str,
        (pod, pool): (u64, usize),
        at: SimTime,
    ) -> (Option<PodSample>, Option<Found>) {
        let found = |finding, detail: String| Some(Found { pod: name.to_owned(), finding, detail });
        if reading.is_empty() && !self.needs.is_none() {
            return (None, found(Finding::BadAnswer, "none of the metrics that are expected is there".into()));
        }
        let before = self.before.get(&pod).copied();
        let values = match self.values(reading, before, at) {
            Ok(values) => values,
            Err((finding, quantity)) => {
                let what = if finding == Finding::Partial { "has no" } else { "has no number of" };
                return (None, found(finding, format!("{what} {}", quantity.name())));
            }
        };
        let mut counters = Counters {
            arrived: values.arrived,
            success: whole(values.optional(reading, Quantity::Success)),
            rejected: whole(values.optional(reading, Quantity::Rejected)),
            timed_out: whole(values.optional(reading, Quantity::TimedOut)),
            executions: whole(values.optional(reading, Quantity::Executions)),
            latency_ns: whole(values.latency_s * 1e9),
            queue_ns: whole(values.optional(reading, Quantity::QueueTime) * 1e9),
            compute_ns: whole(values.optional(reading, Quantity::ComputeTime) * 1e9),
            ..Counters::default()
        };
        for (ours, counted) in counters.buckets.iter_mut().zip(reading.buckets(&self.bounds).unwrap_or_default()) {
            *ours = counted;
        }
        let elapsed = before.map_or(0.0, |before| at.since(before.at).as_secs_f64());
        let in_flight_s = before.map_or(0.0, |before| before.in_flight_s) + values.in_flight * elapsed;
        let reset = before.filter(|before| values.arrived < before.arrived).map(|before| before.arrived);
        let known = Before { at, arrived: values.arrived, latency_s: values.latency_s, in_flight_s };
        self.before.insert(pod, known);
        let sample = PodSample {
            at,
            pod,
            pool,
            counters,
            queued: whole(values.queued),
            in_flight: whole(values.in_flight),
            in_flight_s,
            utilization: values.utilization,
            cpu_utilization: 0.0,
        };
        let reset = reset.and_then(|was| {
            found(Finding::Reset, format!("requests went from {was} to {}: the process restarted", values.arrived))
        });
        (Some(sample), reset)
    }

    fn values(&self, reading: &Reading, before: Option<Before>, at: SimTime) -> Result<Values, (Finding, Quantity)> {
        let get = |quantity: Quantity, needed: bool| match reading.value(quantity) {
            Ok(Some(value)) => Ok(Some(value)),
            Ok(None) if needed => Err((Finding::Partial, quantity)),
            Err(_) if needed => Err((Finding::NotANumber, quantity)),
            Ok(None) | Err(_) => Ok(None),
        };
        let arrived = get(Quantity::Arrived, self.needs.requests)?;
        let latency = get(Quantity::Latency, false)?;
        let queued = get(Quantity::Queued, self.needs.queued)?;
        let in_flight = match (get(Quantity::InFlight, false)?, latency, before) {
            (Some(gauge), _, _) => gauge,
            // Little's law: what latencies add up to in a second is the mean number in flight.
            (None, Some(latency), Some(before)) => {
                let seconds = at.since(before.at).as_secs_f64();
                let spent = if latency >= before.latency_s { latency - before.latency_s } else { latency };
                if seconds > 0.0 { spent / seconds } else { 0.0 }
            }
            // The first look: at least those that wait.
            (None, Some(_), None) => queued.unwrap_or(0.0),
            (None, None, _) if self.needs.in_flight => return Err((Finding::Partial, Quantity::InFlight)),
            (None, None, _) => 0.0,
        };
        if self.needs.latency && reading.buckets(&self.bounds).is_none() {
            return Err((Finding::Partial, Quantity::Bucket));
        }
        Ok(Values {
            arrived: whole(arrived.unwrap_or(0.0)),
            latency_s: latency.unwrap_or(0.0),
            queued: queued.unwrap_or(0.0),
            in_flight,
            utilization: get(Quantity::Utilization, self.needs.utilization)?.unwrap_or(0.0).min(1.0),
        })
    }
}

/// What decisions are made by.
struct Values {
    arrived: u64,
    latency_s: f64,
    queued: f64,
    in_flight: f64,
    utilization: f64,
}

impl Values {
    /// A number that nobody decides by: 0 where it is not there.
    fn optional(&self, reading: &Reading, quantity: Quantity) -> f64 {
        reading.value(quantity).ok().flatten().unwrap_or(0.0)
    }
}

/// The nearest whole number; the cast saturates.
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Mapping, parse};
    use crate::plan::testing::scaler;
    use kisim::telemetry::exposition;

    const ALL: Needs =
        Needs { requests: true, queued: true, in_flight: true, utilization: true, cpu: false, latency: true };

    fn read(text: &str) -> Reading {
        let mapping = Mapping::of(&scaler("hpa:60").spec.metrics);
        let (lines, _) = parse(text, |name| mapping.knows(name));
        let mut reading = Reading::default();
        for line in &lines {
            let label = |key: &str| line.labels.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_ref());
            reading.add(&mapping, line.name, label, line.value);
        }
        reading
    }

    fn at(seconds: u64) -> SimTime {
        SimTime::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
    }

    fn original() -> PodSample {
        let mut counters = Counters { arrived: 20, rejected: 2, timed_out: 3, executions: 7, ..Counters::default() };
        counters.record(0, 500_000, 0);
        counters.record(1, 3_000_000, 1_000_000);
        counters.record(2, 99_000_000, 90_000_000);
        counters.compute_ns = 12_000_000;
        PodSample {
            at: at(0),
            pod: 3,
            pool: 1,
            counters,
            queued: 4,
            in_flight: 6,
            in_flight_s: 0.0,
            utilization: 0.25,
            cpu_utilization: 0.0,
        }
    }

    /// What the simulator exports, read back, is what the simulator knew, but for what the text rounds.
    #[test]
    fn the_simulators_own_text_comes_back() {
        let bounds = [1_000_000, 5_000_000];
        let original = original();
        let text = exposition(&original, "triton-3", "resnet50", &bounds, true);
        let (sample, found) = Sampler::new(ALL, &bounds).sample(&read(&text), "triton-3", (3, 1), at(0));
        assert_eq!(found, None);
        assert_eq!(sample, Some(original));
    }

    #[test]
    fn what_is_missing_or_no_number_is_told_apart_and_never_zero() {
        let text = exposition(&original(), "p", "m", &[1_000_000], true);
        let without = |name: &str| text.lines().filter(|l| !l.starts_with(name)).collect::<Vec<_>>().join("\n");
        let mut sampler = Sampler::new(ALL, &[1_000_000]);
        let mut finding = |text: &str| {
            let (sample, found) = sampler.sample(&read(text), "p", (3, 0), at(1));
            (sample.is_some(), found.map(|f| f.finding))
        };
        assert_eq!(finding(&without("DCGM")), (false, Some(Finding::Partial)));
        assert_eq!(finding(&without("nv_inference_pending")), (false, Some(Finding::Partial)));
        assert_eq!(finding(&without("nv_inference_request_latency_ms_bucket")), (false, Some(Finding::Partial)));
        assert_eq!(finding(&text.replace("} 25", "} NaN")), (false, Some(Finding::NotANumber)));
        assert_eq!(finding("go_goroutines 7\n"), (false, Some(Finding::BadAnswer)));
        assert_eq!(finding(&text), (true, None));
        let restarted = text.replace("istio_requests_total{pod=\"p\",model=\"m\"} 20", "istio_requests_total 1");
        assert_eq!(finding(&restarted), (true, Some(Finding::Reset)));
    }

    #[test]
    fn requests_in_flight_follow_from_latencies_where_nobody_counts_them() {
        let needs = Needs { in_flight: true, ..Needs::default() };
        let mut sampler = Sampler::new(needs, &[]);
        let text = |seconds: f64| format!("nv_inference_request_duration_us {}\n", seconds * 1e6);
        let first = sampler.sample(&read(&text(100.0)), "p", (1, 0), at(0)).0.unwrap();
        assert_eq!(first.in_flight, 0);
        let second = sampler.sample(&read(&text(160.0)), "p", (1, 0), at(15)).0.unwrap();
        assert_eq!((second.in_flight, second.in_flight_s), (4, 60.0));
        assert_eq!(sampler.last(1), Some(at(15)));
    }
}
