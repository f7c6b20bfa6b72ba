//! Count, duration, mean and peak of a trace.

use std::fmt;

use crate::time::SimTime;

/// The span over which the peak rate of arrivals is measured: one minute.
///
/// A minute spans several decisions of an autoscaler, where the peak of single seconds would show bursts that no
/// scaling can follow.
pub const PEAK_WINDOW: SimTime = SimTime::from_nanos(60_000_000_000);

/// What a load is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadUnit {
    /// Requests per second.
    RequestsPerSecond,
    /// Closed-loop users that run at once.
    Users,
}

impl fmt::Display for LoadUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LoadUnit::RequestsPerSecond => "req/s",
            LoadUnit::Users => "users",
        })
    }
}

/// A trace in a few figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSummary {
    /// Arrivals, rows with a rate, rows of clients, or steps of users.
    pub count: u64,
    /// From the first to the last arrival, or from time zero to the end of the last window or step.
    pub duration: SimTime,
    /// What the two loads below are measured in.
    pub unit: LoadUnit,
    /// Mean load over the duration; for arrivals the inverse of the mean inter-arrival time.
    pub mean_load: f64,
    /// Highest load of a window or step; for arrivals of the aligned stretches of [`PEAK_WINDOW`], but never below
    /// the mean, which a trace shorter than one stretch would otherwise yield.
    pub peak_load: f64,
    /// Standard deviation of the inter-arrival times over their mean. For client windows the mean over the clients'
    /// CVs, weighted by their requests. `None` where the trace does not tell, or with fewer than two inter-arrival
    /// times.
    pub interarrival_cv: Option<f64>,
}

impl fmt::Display for TraceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceSummary { count, duration, unit, mean_load, peak_load, interarrival_cv } = self;
        let seconds = duration.as_secs_f64();
        write!(f, "{count} rows over {seconds:.3} s, mean {mean_load:.3} {unit}, peak {peak_load:.3} {unit}")?;
        match interarrival_cv {
            Some(cv) => write!(f, ", inter-arrival CV {cv:.3}"),
            None => Ok(()),
        }
    }
}

/// Running mean and variance (Welford's recurrence), stable where a sum of squares would cancel.
#[derive(Clone, Copy, Debug, Default)]
struct Welford {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Welford {
    fn push(&mut self, value: f64) {
        self.count += 1;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (value - self.mean);
    }

    /// Population standard deviation over mean, from two values on with a mean above zero.
    fn cv(&self) -> Option<f64> {
        (self.count >= 2 && self.mean > 0.0).then(|| (self.squares / self.count as f64).sqrt() / self.mean)
    }
}

/// Gathers a [`TraceSummary`] from arrivals in constant memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ArrivalStatistics {
    count: u64,
    first: SimTime,
    last: SimTime,
    gaps: Welford,
    /// Index of the current stretch of [`PEAK_WINDOW`], and its arrivals so far.
    stretch: (u64, u64),
    busiest: u64,
}

impl ArrivalStatistics {
    /// Adds an arrival that is not earlier than those before it.
    pub(super) fn push(&mut self, arrival: SimTime) {
        if self.count == 0 {
            self.first = arrival;
        } else {
            let gap = arrival.as_nanos().saturating_sub(self.last.as_nanos());
            self.gaps.push(SimTime::from_nanos(gap).as_secs_f64());
        }
        self.last = arrival;
        self.count += 1;
        let index = arrival.as_nanos() / PEAK_WINDOW.as_nanos();
        self.stretch = if index == self.stretch.0 { (index, self.stretch.1 + 1) } else { (index, 1) };
        self.busiest = self.busiest.max(self.stretch.1);
    }

    /// The summary of the arrivals so far.
    pub(super) fn summary(&self) -> TraceSummary {
        let duration = SimTime::from_nanos(self.last.as_nanos().saturating_sub(self.first.as_nanos()));
        let seconds = duration.as_secs_f64();
        let mean_load = if seconds > 0.0 { self.gaps.count as f64 / seconds } else { 0.0 };
        let busiest_minute = self.busiest as f64 / PEAK_WINDOW.as_secs_f64();
        TraceSummary {
            count: self.count,
            duration,
            unit: LoadUnit::RequestsPerSecond,
            mean_load,
            peak_load: busiest_minute.max(mean_load),
            interarrival_cv: self.gaps.cv(),
        }
    }
}

/// Gathers a [`TraceSummary`] from windows of constant load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowStatistics {
    nanos: u64,
    /// Load times seconds.
    volume: f64,
    peak: f64,
}

impl WindowStatistics {
    /// Adds a window of `length` with the load `load`.
    pub(super) fn push(&mut self, length: SimTime, load: f64) {
        self.nanos = self.nanos.saturating_add(length.as_nanos());
        self.volume += load * length.as_secs_f64();
        self.peak = self.peak.max(load);
    }

    /// Adds time without load.
    pub(super) fn pass(&mut self, length: SimTime) {
        self.push(length, 0.0);
    }

    /// The summary of the windows so far.
    pub(super) fn summary(&self, count: u64, unit: LoadUnit, interarrival_cv: Option<f64>) -> TraceSummary {
        let duration = SimTime::from_nanos(self.nanos);
        let seconds = duration.as_secs_f64();
        let mean_load = if seconds > 0.0 { self.volume / seconds } else { 0.0 };
        TraceSummary { count, duration, unit, mean_load, peak_load: self.peak, interarrival_cv }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_arrivals(seconds: &[f64]) -> TraceSummary {
        let mut statistics = ArrivalStatistics::default();
        for second in seconds {
            statistics.push(SimTime::from_secs_f64(*second));
        }
        statistics.summary()
    }

    #[test]
    fn arrivals_have_rate_and_variation() {
        let summary = of_arrivals(&[10.0, 11.0, 14.0]);
        assert_eq!((summary.count, summary.duration.as_secs_f64()), (3, 4.0));
        assert_eq!(summary.mean_load, 0.5);
        assert_eq!(summary.peak_load, 0.5, "a trace shorter than a minute peaks at its mean");
        assert_eq!(summary.interarrival_cv, Some(0.5));
        assert_eq!(
            summary.to_string(),
            "3 rows over 4.000 s, mean 0.500 req/s, peak 0.500 req/s, inter-arrival CV 0.500"
        );
    }

    #[test]
    fn the_peak_is_that_of_the_busiest_minute() {
        let mut seconds: Vec<f64> = (0..10).map(|minute| f64::from(minute) * 60.0).collect();
        seconds.extend((0..29).map(|second| 541.0 + f64::from(second)));
        assert_eq!(of_arrivals(&seconds).peak_load, 0.5);
    }

    #[test]
    fn few_arrivals_have_no_variation() {
        assert_eq!(of_arrivals(&[]).mean_load, 0.0);
        assert_eq!(of_arrivals(&[1.0]).interarrival_cv, None);
        assert_eq!(of_arrivals(&[1.0, 2.0]).interarrival_cv, None);
        let burst = of_arrivals(&[1.0, 1.0, 1.0]);
        assert_eq!((burst.mean_load, burst.interarrival_cv), (0.0, None));
        assert_eq!(of_arrivals(&[0.0, 1.0, 2.0]).interarrival_cv, Some(0.0));
    }

    #[test]
    fn windows_are_weighted_by_their_length() {
        let mut statistics = WindowStatistics::default();
        statistics.push(SimTime::from_secs_f64(30.0), 2.0);
        statistics.pass(SimTime::from_secs_f64(10.0));
        let summary = statistics.summary(1, LoadUnit::Users, None);
        assert_eq!((summary.mean_load, summary.peak_load, summary.duration.as_secs_f64()), (1.5, 2.0, 40.0));
        assert_eq!(summary.to_string(), "1 rows over 40.000 s, mean 1.500 users, peak 2.000 users");
    }
}
