//! Virtual time: a count of nanoseconds, never a clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// An instant of virtual time, in nanoseconds since the start of the simulation.
///
/// Integers, not floats: instants have a total order, sums do not drift, and the same scenario gives the same
/// bytes on every machine. `u64` nanoseconds hold 584 years.
///
/// ```
/// use kisim::time::SimTime;
/// use std::time::Duration;
/// let t = SimTime::ZERO + Duration::from_millis(1500);
/// assert_eq!(t.as_secs_f64(), 1.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SimTime(u64);

impl SimTime {
    /// The start of the simulation.
    pub const ZERO: SimTime = SimTime(0);
    /// Later than everything: "never".
    pub const NEVER: SimTime = SimTime(u64::MAX);

    /// The instant `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        SimTime(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant `seconds` after the start, rounded to the nanosecond; negative and NaN become zero, and
    /// what does not fit becomes [`SimTime::NEVER`].
    pub fn from_secs_f64(seconds: f64) -> Self {
        SimTime(nanos_from_secs(seconds))
    }

    /// Seconds since the start.
    pub fn as_secs_f64(self) -> f64 {
        // Divided, not multiplied by 1e-9, which has no exact double: whole seconds stay whole.
        self.0 as f64 / 1e9
    }

    /// The time from `earlier` to here, zero if `earlier` is later.
    pub const fn since(self, earlier: SimTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved back, at most to the start.
    pub fn saturating_sub(self, by: Duration) -> SimTime {
        SimTime(self.0.saturating_sub(duration_nanos(by)))
    }
}

/// Nanoseconds in `duration`, saturating: the longest [`Duration`] is longer than virtual time.
pub fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds nearest to `seconds`; the float-to-integer cast saturates and sends NaN to zero.
pub fn nanos_from_secs(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

impl Add<Duration> for SimTime {
    type Output = SimTime;
    fn add(self, duration: Duration) -> SimTime {
        SimTime(self.0.saturating_add(duration_nanos(duration)))
    }
}

impl AddAssign<Duration> for SimTime {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<SimTime> for SimTime {
    type Output = Duration;
    fn sub(self, earlier: SimTime) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_saturate_and_never_go_negative() {
        assert_eq!(SimTime::from_secs_f64(-1.0), SimTime::ZERO);
        assert_eq!(SimTime::from_secs_f64(f64::NAN), SimTime::ZERO);
        assert_eq!(SimTime::from_secs_f64(1e30), SimTime::NEVER);
        assert_eq!(SimTime::NEVER + Duration::from_secs(1), SimTime::NEVER);
        assert_eq!(SimTime::ZERO.since(SimTime::from_nanos(5)), Duration::ZERO);
        assert_eq!(SimTime::from_nanos(5).saturating_sub(Duration::from_secs(1)), SimTime::ZERO);
    }
}
