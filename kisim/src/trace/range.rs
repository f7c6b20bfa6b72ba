//! The part of a trace that was asked for.

use std::fmt;
use std::time::Duration;

use crate::time::SimTime;

/// A half-open range of nanoseconds since the trace's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeRange {
    start: u64,
    end: Option<u64>,
}

impl TimeRange {
    /// The range of `duration` from `start`, each reaching to the trace's end where absent.
    pub(super) fn new(start: Option<Duration>, duration: Option<Duration>) -> Self {
        // 584 years, more than any trace has, stand for a longer duration.
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let start = start.map_or(0, nanos);
        TimeRange { start, end: duration.map(|duration| start.saturating_add(nanos(duration))) }
    }

    /// Whether `time` lies at or behind the end.
    pub(super) fn is_past(self, time: u64) -> bool {
        self.end.is_some_and(|end| time >= end)
    }

    /// `time` relative to the range's start, or `None` before it.
    pub(super) fn rebase(self, time: u64) -> Option<SimTime> {
        time.checked_sub(self.start).map(SimTime::from_nanos)
    }

    /// The part of `start..end` inside the range as its start, relative to the range's start, and its length.
    pub(super) fn clip(self, start: u64, end: u64) -> Option<(SimTime, SimTime)> {
        let from = start.max(self.start);
        let to = self.end.map_or(end, |limit| end.min(limit));
        (from < to).then(|| (SimTime::from_nanos(from - self.start), SimTime::from_nanos(to - from)))
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |nanos: u64| SimTime::from_nanos(nanos).as_secs_f64();
        match self.end {
            Some(end) => write!(f, "from {} s to before {} s", seconds(self.start), seconds(end)),
            None => write!(f, "from {} s on", seconds(self.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, duration: u64) -> TimeRange {
        TimeRange::new(Some(Duration::from_nanos(start)), Some(Duration::from_nanos(duration)))
    }

    #[test]
    fn windows_are_clipped_and_rebased() {
        let at = |start, length| Some((SimTime::from_nanos(start), SimTime::from_nanos(length)));
        let range = range(10, 20);
        assert_eq!(range.clip(0, 10), None);
        assert_eq!(range.clip(0, 15), at(0, 5));
        assert_eq!(range.clip(12, 15), at(2, 3));
        assert_eq!(range.clip(0, 100), at(0, 20));
        assert_eq!(range.clip(25, 40), at(15, 5));
        assert_eq!(range.clip(30, 40), None);
        assert_eq!(TimeRange::new(None, None).clip(3, 9), at(3, 6));
    }

    #[test]
    fn ends_are_exclusive_and_saturate() {
        assert!(!range(10, 20).is_past(29));
        assert!(range(10, 20).is_past(30));
        assert!(range(5, 0).is_past(5));
        let all = TimeRange::new(Some(Duration::from_secs(1)), Some(Duration::MAX));
        assert!(!all.is_past(u64::MAX - 1));
        assert_eq!(range(10, 20).rebase(9), None);
        assert_eq!(range(10, 20).rebase(10), Some(SimTime::ZERO));
    }
}
