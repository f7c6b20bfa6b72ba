//! From scrapes to rates, quantiles and utilisation, as Prometheus computes them.
//!
//! The same code in training, in evaluation and on a live cluster. Every query is `Option`: no data is not zero.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::activator::ActivatorSample;
use crate::cluster::PodCounts;
use crate::promql::{self, DEFAULT_LOOKBACK, Sample};
use crate::telemetry::{ClusterSample, MAX_BUCKETS, PodSample, Scrape};
use crate::time::SimTime;

/// A counter of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `istio_requests_total`
    Requests,
    /// `nv_inference_request_success`
    Success,
    /// `nv_inference_request_failure`, all reasons.
    Failure,
    /// `nv_inference_exec_count`
    Executions,
    /// `nv_inference_queue_duration_us`, in seconds.
    QueueSeconds,
    /// `nv_inference_request_duration_us`, in seconds.
    LatencySeconds,
    /// Integral of requests in flight; its rate is their mean number.
    InFlightSeconds,
}

/// A gauge of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// `DCGM_FI_DEV_GPU_UTIL` / 100, or the busy share of a CPU pod.
    Utilization,
    /// CPU used over CPU asked for.
    CpuUtilization,
    /// `nv_inference_pending_request_count`
    Queued,
    /// `istio_requests_in_flight`
    InFlight,
}

impl Counter {
    fn of(self, sample: &PodSample) -> f64 {
        let c = &sample.counters;
        match self {
            Counter::Requests => c.arrived as f64,
            Counter::Success => c.success as f64,
            Counter::Failure => (c.rejected + c.timed_out) as f64,
            Counter::Executions => c.executions as f64,
            Counter::QueueSeconds => c.queue_ns as f64 * 1e-9,
            Counter::LatencySeconds => c.latency_ns as f64 * 1e-9,
            Counter::InFlightSeconds => sample.in_flight_s,
        }
    }
}

impl Gauge {
    fn of(self, sample: &PodSample) -> f64 {
        match self {
            Gauge::Utilization => sample.utilization,
            Gauge::CpuUtilization => sample.cpu_utilization,
            Gauge::Queued => sample.queued as f64,
            Gauge::InFlight => sample.in_flight as f64,
        }
    }
}

#[derive(Clone, Debug)]
struct Series {
    pool: usize,
    samples: VecDeque<PodSample>,
    /// When a scrape last failed: older samples are stale.
    failed: Option<SimTime>,
    gone: Option<SimTime>,
}

/// The recent past of every series.
#[derive(Clone, Debug)]
pub struct Window {
    retention: Duration,
    /// Upper bounds of the latency buckets, seconds.
    bounds: Vec<f64>,
    pods: BTreeMap<u64, Series>,
    cluster: Option<ClusterSample>,
    newest: Option<SimTime>,
    /// Time between two scrapes of a pod, once seen.
    interval: Option<Duration>,
}

impl Window {
    /// A window that keeps samples for `retention` and reads latency buckets with upper bounds `bounds` (nanoseconds).
    pub fn new(retention: Duration, bounds: &[u64]) -> Self {
        Window {
            retention,
            bounds: bounds.iter().map(|&b| b as f64 * 1e-9).collect(),
            pods: BTreeMap::new(),
            cluster: None,
            newest: None,
            interval: None,
        }
    }

    /// Takes in what became visible by `now`, and forgets what is too old.
    pub fn push(&mut self, scrape: &Scrape, now: SimTime) {
        for sample in &scrape.pods {
            self.newest = self.newest.max(Some(sample.at));
            let series = self.pods.entry(sample.pod).or_insert_with(|| Series {
                pool: sample.pool,
                samples: VecDeque::new(),
                failed: None,
                gone: None,
            });
            // Lags differ, so an older sample may come after a newer one.
            let place = series.samples.partition_point(|s| s.at <= sample.at);
            if let Some(before) = series.samples.back().filter(|before| before.at < sample.at) {
                let apart = sample.at.since(before.at);
                self.interval = Some(self.interval.map_or(apart, |interval| interval.min(apart)));
            }
            series.samples.insert(place, sample.clone());
        }
        for &(pod, at) in &scrape.failed {
            if let Some(series) = self.pods.get_mut(&pod) {
                series.failed = series.failed.max(Some(at));
            }
        }
        for &(pod, at) in &scrape.gone {
            if let Some(series) = self.pods.get_mut(&pod) {
                series.gone = Some(at);
            }
        }
        // Lags differ, see above: the latest is not always the last to come.
        if let Some(latest) = scrape.cluster.last()
            && self.cluster.as_ref().is_none_or(|known| known.at < latest.at)
        {
            self.cluster = Some(latest.clone());
        }
        let oldest = now.saturating_sub(self.retention);
        for series in self.pods.values_mut() {
            while series.samples.front().is_some_and(|s| s.at < oldest) {
                series.samples.pop_front();
            }
        }
        self.pods.retain(|_, series| !series.samples.is_empty());
    }

    /// When the newest sample of any pod was taken; `None` before the first.
    pub fn newest(&self) -> Option<SimTime> {
        self.newest
    }

    /// What kube-state-metrics last said of `pool`; `None` before its first scrape.
    pub fn counts(&self, pool: usize) -> Option<PodCounts> {
        self.cluster.as_ref().and_then(|c| c.pools.get(pool)).copied()
    }

    /// What the activator last said of itself, and when, as an instant query at `now` sees it; `None` where there is none.
    pub fn activator(&self, now: SimTime) -> Option<(SimTime, ActivatorSample)> {
        let latest = self.cluster.as_ref().filter(|c| c.at <= now && now.since(c.at) < DEFAULT_LOOKBACK)?;
        latest.activator.map(|sample| (latest.at, sample))
    }

    /// The increase of `counter` between the last two samples of each pod of `pool`, a second, summed, and the number of
    /// pods in it: `irate`, but that a series' first sample counts from zero, as exporters with created timestamps
    /// allow. Pods whose latest sample is older than `fresh` do not count.
    pub fn latest_rate(&self, pool: Option<usize>, counter: Counter, now: SimTime, fresh: Duration) -> (f64, usize) {
        self.latest(pool, now, fresh, |sample| counter.of(sample))
    }

    /// As [`latest_rate`](Window::latest_rate), of requests that took longer than `objective` seconds, were refused or ran
    /// out of time. Within the bucket that holds the objective, latencies are taken to be spread evenly, as
    /// `histogram_quantile` does.
    pub fn latest_late_rate(&self, pool: Option<usize>, objective: f64, now: SimTime, fresh: Duration) -> (f64, usize) {
        self.latest(pool, now, fresh, |sample| {
            let c = &sample.counters;
            let mut late = (c.rejected + c.timed_out) as f64;
            let mut low = 0.0;
            for (count, &high) in c.buckets.iter().zip(self.bounds.iter().chain([&f64::INFINITY])) {
                if high > objective {
                    // Without an upper bound: all of them, if the bucket begins there.
                    let beyond = if high.is_finite() { ((high - objective) / (high - low)).min(1.0) } else { 1.0 };
                    late += *count as f64 * beyond;
                }
                low = high;
            }
            late
        })
    }

    fn latest(
        &self,
        pool: Option<usize>,
        now: SimTime,
        fresh: Duration,
        of: impl Fn(&PodSample) -> f64,
    ) -> (f64, usize) {
        let (mut sum, mut pods) = (0.0, 0);
        for (_, series) in self.series(pool).filter(|(_, s)| s.gone.is_none_or(|gone| gone > now)) {
            let mut samples = series.samples.iter().rev().skip_while(|s| s.at > now);
            let Some(last) = samples.next().filter(|last| now.since(last.at) <= fresh) else { continue };
            let value = of(last);
            let rate = match samples.next() {
                // A restarted process counts from zero again.
                Some(before) if of(before) <= value => {
                    (value - of(before)) / last.at.since(before.at).as_secs_f64().max(1e-9)
                }
                Some(before) => value / last.at.since(before.at).as_secs_f64().max(1e-9),
                None => match self.interval {
                    Some(interval) => value / interval.as_secs_f64(),
                    None => continue,
                },
            };
            sum += rate;
            pods += 1;
        }
        (sum, pods)
    }

    fn series(&self, pool: Option<usize>) -> impl Iterator<Item = (u64, &Series)> {
        self.pods.iter().filter(move |(_, s)| pool.is_none_or(|p| s.pool == p)).map(|(&id, s)| (id, s))
    }

    /// `sum(rate(counter[range]))` at `now` over the pods of `pool`, or of all.
    pub fn rate(&self, pool: Option<usize>, counter: Counter, range: Duration, now: SimTime) -> Option<f64> {
        let rates = self.rates(pool, counter, range, now);
        (!rates.is_empty()).then(|| rates.iter().map(|r| r.1).sum())
    }

    /// `rate(counter[range])` at `now` of each pod of `pool` that has one.
    pub fn rates(&self, pool: Option<usize>, counter: Counter, range: Duration, now: SimTime) -> Vec<(u64, f64)> {
        let mut buffer = Vec::new();
        self.series(pool)
            .filter_map(|(id, s)| Some((id, series_rate(s, range, now, &mut buffer, |s| counter.of(s))?)))
            .collect()
    }

    /// `histogram_quantile(q, sum by (le) (rate(latency_bucket[range])))` at `now`, seconds.
    pub fn latency_quantile(&self, pool: Option<usize>, q: f64, range: Duration, now: SimTime) -> Option<f64> {
        let (mut held, mut buffer): (Vec<&PodSample>, Vec<Sample>) = (Vec::new(), Vec::new());
        let mut rates = [0.0; MAX_BUCKETS];
        let mut any = false;
        for (_, series) in self.series(pool) {
            held.clear();
            held.extend(in_range(series, range, now));
            held.reverse();
            let gaps = held.len().saturating_sub(1) as u32;
            // Where no bucket ever fell, what lies between the ends changes nothing.
            let rises = |pair: &[&PodSample]| {
                pair[0].counters.buckets.iter().zip(&pair[1].counters.buckets).all(|(before, after)| before <= after)
            };
            if held.len() > 2 && held.windows(2).all(rises) {
                held.drain(1..held.len() - 1);
            }
            buffer.clear();
            buffer.extend(held.iter().map(|s| Sample { at: s.at, value: 0.0 }));
            // A series too short for one bucket is too short for all.
            let Some(mut rate) = promql::rate_of_thinned(&buffer, gaps, now, range) else { continue };
            any = true;
            for (index, total) in rates.iter_mut().enumerate().take(self.bounds.len() + 1) {
                // As exported, buckets are cumulative; one that adds nothing has the rate of the one before.
                let mut adds = false;
                for (sample, from) in buffer.iter_mut().zip(&held) {
                    let count = from.counters.buckets[index];
                    adds |= count > 0;
                    sample.value += count as f64;
                }
                if adds {
                    rate = promql::rate_of_thinned(&buffer, gaps, now, range).unwrap_or(rate);
                }
                *total += rate;
            }
        }
        if !any {
            return None;
        }
        let mut buckets = [(f64::INFINITY, 0.0); MAX_BUCKETS];
        for (index, (bucket, rate)) in buckets.iter_mut().zip(rates).enumerate() {
            *bucket = (self.bounds.get(index).copied().unwrap_or(f64::INFINITY), rate);
        }
        promql::histogram_quantile(q, buckets.get(..=self.bounds.len())?)
    }

    /// The gauge of each pod of `pool` as an instant query at `now` sees it: the latest sample of the last five minutes,
    /// unless the pod is gone.
    pub fn gauges(&self, pool: Option<usize>, gauge: Gauge, now: SimTime) -> impl Iterator<Item = (u64, SimTime, f64)> {
        self.series(pool).filter(move |(_, s)| s.gone.is_none_or(|gone| gone > now)).filter_map(move |(id, s)| {
            let latest = s.samples.iter().rev().find(|s| s.at <= now)?;
            let stale = s.failed.is_some_and(|failed| failed > latest.at && failed <= now);
            (!stale && now.since(latest.at) < DEFAULT_LOOKBACK).then(|| (id, latest.at, gauge.of(latest)))
        })
    }

    /// Sum and number of the gauges of `pool`; `None` where there is none.
    fn total(&self, pool: Option<usize>, gauge: Gauge, now: SimTime) -> Option<(f64, usize)> {
        let values = self.gauges(pool, gauge, now).map(|v| v.2);
        let total = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
        (total.1 > 0).then_some(total)
    }

    /// `avg(gauge)` over the pods of `pool`.
    pub fn average(&self, pool: Option<usize>, gauge: Gauge, now: SimTime) -> Option<f64> {
        self.total(pool, gauge, now).map(|(sum, count)| sum / count as f64)
    }

    /// The highest of the first `pools` pools' average CPU utilisations, 0–1.
    pub fn highest_cpu(&self, pools: usize, now: SimTime) -> Option<f64> {
        let averages = (0..pools).filter_map(|pool| self.average(Some(pool), Gauge::CpuUtilization, now));
        averages.fold(None, |highest: Option<f64>, average| Some(highest.map_or(average, |h| h.max(average))))
    }

    /// Time between two scrapes of a pod; `None` before one was scraped twice.
    pub fn scrape_interval(&self) -> Option<Duration> {
        self.interval
    }

    /// `sum(gauge)` over the pods of `pool`.
    pub fn sum(&self, pool: Option<usize>, gauge: Gauge, now: SimTime) -> Option<f64> {
        self.total(pool, gauge, now).map(|(sum, _)| sum)
    }

    /// Samples held, for tests of memory.
    pub fn len(&self) -> usize {
        self.pods.values().map(|s| s.samples.len()).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}

/// `rate` of one series. A pod that is gone still counts while its last samples are in range, as in Prometheus.
fn series_rate(
    series: &Series,
    range: Duration,
    now: SimTime,
    buffer: &mut Vec<Sample>,
    value: impl Fn(&PodSample) -> f64,
) -> Option<f64> {
    buffer.clear();
    buffer.extend(in_range(series, range, now).map(|s| Sample { at: s.at, value: value(s) }));
    buffer.reverse();
    promql::rate(buffer.as_slice(), now, range)
}

/// Samples of a series in a range at `now`, newest first. The range's left end is open, as in Prometheus.
fn in_range(series: &Series, range: Duration, now: SimTime) -> impl Iterator<Item = &PodSample> {
    let recent = series.samples.iter().rev().take_while(move |s| s.at > now || now.since(s.at) < range);
    recent.filter(move |s| s.at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Counters;

    fn sample(pod: u64, seconds: u64, requests: u64, buckets: [u64; 3]) -> PodSample {
        let mut counters = Counters { arrived: requests, ..Counters::default() };
        counters.buckets[..3].copy_from_slice(&buckets);
        PodSample {
            at: SimTime::from_nanos(seconds * 1_000_000_000),
            pod,
            pool: 0,
            counters,
            queued: 2,
            in_flight: 3,
            in_flight_s: 0.0,
            utilization: 0.5,
            cpu_utilization: 0.1,
        }
    }

    fn at(seconds: u64) -> SimTime {
        SimTime::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn rates_add_over_pods_and_survive_a_restart() {
        let mut window = Window::new(Duration::from_secs(600), &[100_000_000, 200_000_000]);
        let mut scrape = Scrape::default();
        for step in 0..5u64 {
            scrape.pods.push(sample(1, 15 * step, 150 * step, [10 * step, 20 * step, 0]));
            // Restarts between the third and fourth scrape.
            let count = if step < 3 { 300 * step } else { 300 * (step - 3) + 75 };
            scrape.pods.push(sample(2, 15 * step, count, [0, 0, 0]));
        }
        window.push(&scrape, at(60));
        let range = Duration::from_secs(61);
        let rate = window.rate(Some(0), Counter::Requests, range, at(60)).expect("data");
        // 10/s, and 600 + 75 + 300 in 60 s.
        assert!((rate - (10.0 + 16.25)).abs() < 0.5, "{rate}");
        // A third of the answers are in the first bucket: the median is a quarter into the second.
        let median = window.latency_quantile(None, 0.5, range, at(60)).expect("data");
        assert!((median - 0.125).abs() < 1e-9, "{median}");
        assert_eq!(window.rate(Some(1), Counter::Requests, range, at(60)), None);
    }

    #[test]
    fn quantiles_are_those_of_every_bucket_by_itself() {
        let bounds = [100_000_000, 200_000_000, 400_000_000];
        let mut window = Window::new(Duration::from_secs(600), &bounds);
        let mut scrape = Scrape::default();
        // One that only rises, one that restarts with less in one bucket and more in another, one with a single sample in range.
        for step in 0..8u64 {
            scrape.pods.push(sample(1, 15 * step, 60 * step, [10 * step, 20 * step * step, 30 * step]));
            let again = if step < 5 { [40 * step, step, 7 * step] } else { [step - 4, 100 + step, 70 * step] };
            scrape.pods.push(sample(2, 15 * step + 3, 10 * step, again));
        }
        scrape.pods.push(sample(3, 100, 5, [1, 2, 2]));
        window.push(&scrape, at(110));
        for (range, now) in [(61, 110), (90, 110), (75, 105), (15, 108), (110, 110), (300, 110)] {
            let (range, now) = (Duration::from_secs(range), at(now));
            let mut below = [0.0; 4];
            for pod in [1, 2, 3] {
                for (index, below) in below.iter_mut().enumerate() {
                    let of = |s: &&PodSample| Sample {
                        at: s.at,
                        value: s.counters.buckets[..=index].iter().sum::<u64>() as f64,
                    };
                    let own: Vec<Sample> = scrape.pods.iter().filter(|s| s.pod == pod).map(|s| of(&s)).collect();
                    *below += promql::rate(&own, now, range).unwrap_or(0.0);
                }
            }
            let buckets: Vec<(f64, f64)> = [0.1, 0.2, 0.4, f64::INFINITY].into_iter().zip(below).collect();
            let expected = promql::histogram_quantile(0.6, &buckets).filter(|_| below[3] > 0.0);
            let found = window.latency_quantile(None, 0.6, range, now);
            assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{range:?} {now:?}");
        }
    }

    #[test]
    fn late_samples_are_put_in_order() {
        let mut window = Window::new(Duration::from_secs(600), &[100_000_000, 200_000_000]);
        for seconds in [0u64, 15, 45, 30, 60] {
            let scrape = Scrape { pods: vec![sample(1, seconds, 10 * seconds, [0; 3])], ..Scrape::default() };
            window.push(&scrape, at(60));
        }
        // Out of order, 300 after 450 would look like a counter that was reset.
        let rate = window.rate(None, Counter::Requests, Duration::from_secs(61), at(60)).expect("data");
        assert!((rate - 10.0).abs() < 0.2, "{rate}");
    }

    #[test]
    fn no_data_is_not_zero() {
        let mut window = Window::new(Duration::from_secs(600), &[100_000_000, 200_000_000]);
        assert_eq!(window.average(None, Gauge::Utilization, at(0)), None);
        assert_eq!(window.latency_quantile(None, 0.95, Duration::from_secs(60), at(0)), None);
        window.push(&Scrape { pods: vec![sample(1, 10, 5, [0; 3])], ..Scrape::default() }, at(10));
        // One sample makes no rate, but a gauge.
        assert_eq!(window.rate(None, Counter::Requests, Duration::from_secs(60), at(10)), None);
        assert_eq!(window.average(None, Gauge::Utilization, at(10)), Some(0.5));
        // Stale when a later scrape failed, until one succeeds.
        window.push(&Scrape { failed: vec![(1, at(11))], ..Scrape::default() }, at(11));
        assert_eq!(window.average(None, Gauge::Utilization, at(11)), None);
        window.push(&Scrape { pods: vec![sample(1, 11, 5, [0; 3])], ..Scrape::default() }, at(11));
        // Stale after five minutes, or at once when the target is gone.
        assert_eq!(window.average(None, Gauge::Utilization, at(12)), Some(0.5));
        assert_eq!(window.average(None, Gauge::Utilization, at(312)), None);
        window.push(&Scrape { gone: vec![(1, at(12))], ..Scrape::default() }, at(15));
        assert_eq!(window.average(None, Gauge::Utilization, at(15)), None);
        window.push(&Scrape::default(), at(700));
        assert!(window.is_empty());
    }
}
