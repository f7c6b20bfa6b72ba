//! Averages over the last seconds.
//!
//! Source: `pkg/autoscaler/aggregation/bucketing.go` (`TimedFloat64Buckets`) with buckets of 1 s, as
//! `pkg/autoscaler/metrics/collector.go` makes them.

use std::time::Duration;

use crate::time::SimTime;

/// The second that an instant falls in: upstream truncates times to the size of a bucket, 1 s.
pub(super) const fn second_of(at: SimTime) -> u64 {
    at.as_nanos() / 1_000_000_000
}

/// One bucket per second of a window; a ring, so that memory does not grow.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    ring: Box<[f64]>,
    /// The first second written since the window was last empty.
    first: u64,
    /// The last second written.
    last: Option<u64>,
    /// The sum over the ring.
    total: f64,
}

impl Buckets {
    /// Buckets for a window, which is rounded up to whole seconds.
    pub(super) fn new(window: Duration) -> Self {
        let seconds = window.as_secs() + u64::from(window.subsec_nanos() > 0);
        let seconds = usize::try_from(seconds).unwrap_or(usize::MAX).max(1);
        Self { ring: vec![0.0; seconds].into_boxed_slice(), first: 0, last: None, total: 0.0 }
    }

    fn len(&self) -> u64 {
        self.ring.len() as u64
    }

    fn index(&self, second: u64) -> usize {
        // Below the ring's length, so it fits.
        (second % self.len()) as usize
    }

    /// Adds `value` to the bucket of a second. Values of the same second add up. Seconds that nobody wrote count as
    /// zero once a later one is written; values from before the window are dropped.
    pub(super) fn record(&mut self, second: u64, value: f64) {
        let len = self.len();
        match self.last {
            Some(last) if second <= last => {
                if last - second >= len {
                    return;
                }
                self.first = self.first.min(second);
            }
            Some(last) if second - last < len => {
                let mut wrapped = false;
                for passed in last + 1..=second {
                    let index = self.index(passed);
                    self.total -= self.ring[index];
                    self.ring[index] = 0.0;
                    wrapped |= index == 0;
                }
                if wrapped {
                    // Upstream lets the rounding errors of the running sum be; summed anew once per turn they end.
                    self.total = self.ring.iter().sum();
                }
                self.last = Some(second);
            }
            _ => {
                self.ring.fill(0.0);
                self.total = 0.0;
                self.first = second;
                self.last = Some(second);
            }
        }
        let index = self.index(second);
        self.ring[index] += value;
        self.total += value;
    }

    /// Whether nothing was written for more than the window.
    pub(super) fn is_empty(&self, now: u64) -> bool {
        self.last.is_none_or(|last| now.saturating_sub(last) > self.len())
    }

    /// The mean over the window that ends with the second `now`, rounded down to 6 digits.
    ///
    /// A window that began to fill less than its length ago is averaged over the seconds since. Where the last seconds
    /// were not written (yet), the mean is over those before.
    pub(super) fn average(&self, now: u64) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let unwritten = now.saturating_sub(last);
        if unwritten >= self.len() {
            return 0.0;
        }
        let left: f64 = (last + 1..=last + unwritten).map(|second| self.ring[self.index(second)]).sum();
        let count = (last - self.first + 1).min(self.len() - unwritten);
        round_down((self.total - left) / count as f64)
    }
}

/// `roundToNDigits(6, x)` upstream, so that rounding errors do not ask for a pod of their own.
fn round_down(x: f64) -> f64 {
    (x * 1e6).floor() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(window: u64, values: &[(u64, f64)]) -> Buckets {
        let mut buckets = Buckets::new(Duration::from_secs(window));
        for &(second, value) in values {
            buckets.record(second, value);
        }
        buckets
    }

    /// TestTimedFloat64BucketsSimple, granularity = 1s.
    #[test]
    fn values_of_one_second_add_up() {
        let buckets = filled(120, &[(100, 1.0), (100, 10.0), (101, 1.0), (103, 1.0)]);
        let got: Vec<f64> = (100..=103).map(|s| buckets.ring[buckets.index(s)]).collect();
        assert_eq!(got, [11.0, 1.0, 0.0, 1.0]);
        let none = filled(120, &[]);
        assert!(none.is_empty(100));
        assert!((none.average(100)).abs() < 1e-12);
    }

    /// TestTimedFloat64BucketsManyReps and ...WithNonMonotonicalOrder.
    #[test]
    fn many_values_in_any_order() {
        for order in [[0, 1, 2, 3, 4], [0, 3, 2, 1, 4]] {
            let mut buckets = filled(60, &[]);
            for (p, second) in order.into_iter().enumerate() {
                for t in 0..5 {
                    buckets.record(1000 + second, (p + t) as f64);
                }
            }
            assert!((buckets.total - 100.0).abs() < 1e-12);
            assert!((buckets.average(1004) - 20.0).abs() < 1e-12);
        }
    }

    /// TestTimedFloat64BucketsWindowAverage, step by step.
    #[test]
    fn averages_over_what_there_is() {
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-6, "{got}, expected {want}");
        let mut buckets = filled(5, &[(100, 1.0)]);
        close(buckets.average(100), 1.0);
        for i in 1..5 {
            buckets.record(100 + i, i as f64 + 1.0);
        }
        close(buckets.average(104), 3.0);
        close(buckets.average(103), 3.0); // `now` lags behind
        close(buckets.average(106), (15.0 - 1.0 - 2.0) / 3.0); // a short hole
        close(buckets.average(110), 0.0); // a long one
        buckets.record(106, 91.0);
        close(buckets.average(106), (15.0 - 1.0 - 2.0 + 91.0) / 5.0); // written after a hole
        buckets.record(160, 1984.0);
        close(buckets.average(160), 1984.0); // much later
        buckets.record(157, 4.0);
        close(buckets.average(160), (4.0 + 1984.0) / 4.0); // an earlier second
        buckets.record(161, 5.0);
        close(buckets.average(161), (4.0 + 1984.0 + 5.0) / 5.0);
        buckets.record(158, 10.0);
        close(buckets.average(161), (4.0 + 10.0 + 1984.0 + 5.0) / 5.0);
        buckets.record(155, 10.0); // before the window
        close(buckets.average(161), (4.0 + 10.0 + 1984.0 + 5.0) / 5.0);
    }

    /// TestDescendingRecord.
    #[test]
    fn descending_seconds() {
        let values: Vec<_> = (0..=8).rev().map(|i| (100 + i, 5.0)).collect();
        assert!((filled(5, &values).average(105) - 5.0).abs() < 1e-12);
    }

    /// TestTimedFloat64BucketsHoles.
    #[test]
    fn holes_are_zero() {
        let values: Vec<_> = (0..5).map(|i| (100 + i, i as f64 + 1.0)).collect();
        let mut buckets = filled(5, &values);
        buckets.record(108, 2.0);
        assert!((buckets.total - 7.0).abs() < 1e-12);
        assert!((buckets.average(108) - 1.4).abs() < 1e-12);
    }

    /// TestMetricCollectorRecord: the second value makes the first, 70 s older, drop out.
    #[test]
    fn outdated_values_drop_out() {
        let buckets = filled(60, &[(1000, 100.0), (1070, 10.0)]);
        assert!((buckets.average(1070) - 10.0).abs() < 1e-12);
    }

    /// TestMetricCollectorScraperMovingTime: 3 scrapes in one second, 4 in the next.
    #[test]
    fn scrapes_of_a_second_add_up() {
        let values: Vec<_> = (0..7).map(|i| (if i < 3 { 50 } else { 51 }, 10.0)).collect();
        for window in [60, 6] {
            assert!((filled(window, &values).average(51) - 35.0).abs() < 1e-12);
        }
    }

    /// TestMetricCollectorScraper: an old value still counts 55 s later.
    #[test]
    fn a_value_counts_until_the_window_has_passed() {
        let buckets = filled(60, &[(50, 50.0)]);
        assert!((buckets.average(105) - 50.0).abs() < 1e-12);
        assert!((buckets.average(109) - 50.0).abs() < 1e-12);
        assert!(buckets.average(110).abs() < 1e-12);
        assert!(!buckets.is_empty(110));
        assert!(buckets.is_empty(111));
    }

    /// TestRoundToNDigits.
    #[test]
    fn rounding() {
        for (x, want) in [(3.6e-17, 0.0), (12_345.0, 12_345.0), (1.234_567_8, 1.234_567)] {
            assert!((round_down(x) - want).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn the_sum_does_not_drift() {
        let mut buckets = filled(60, &[]);
        buckets.record(0, 1e15);
        for second in 1..1000 {
            buckets.record(second, 0.1);
        }
        assert!((buckets.average(999) - 0.1).abs() < 2e-6, "{}", buckets.average(999));
        assert_eq!(buckets.ring.len(), 60);
    }
}
