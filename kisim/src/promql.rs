//! The functions of Prometheus 3.x that autoscaling queries use, as pure functions.
//!
//! Sources: `promql/functions.go` (`extrapolatedRate`, `funcAvgOverTime`, `funcMaxOverTime`),
//! `promql/quantile.go` (`bucketQuantile` for classic histograms), `promql/engine.go` (selection
//! of samples) and `util/almost` of prometheus/prometheus.
//!
//! Every function returns an [`Option`]: a series without the samples a function needs has no
//! value, which is not the value 0. Times are in nanoseconds; Prometheus keeps milliseconds, and
//! samples stamped on whole milliseconds give bit for bit the same results here.
//!
//! A function takes anything that turns into a [`Series`]: a slice, a `Vec`, or a
//! [`VecDeque`], whose two halves are read in place. A range is found by
//! binary search, so the cost is that of the samples inside the range.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use crate::time::SimTime;

/// How far back an instant query looks for a sample: 5 minutes, the default of Prometheus
/// (`--query.lookback-delta`).
pub const DEFAULT_LOOKBACK: Duration = Duration::from_secs(300);

/// The bit pattern of the staleness marker (`StaleNaN` in `model/value/value.go`).
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Relative differences between neighbouring bucket counts up to this are taken for rounding
/// errors (`smallDeltaTolerance` in `promql/quantile.go`).
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// One scraped sample of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was scraped.
    pub at: SimTime,
    /// Its value, in the unit of the series.
    pub value: f64,
}

impl Sample {
    /// The marker Prometheus appends when a target or a series goes away: an instant query finds
    /// nothing from then on, and range functions skip it.
    pub const fn stale(at: SimTime) -> Self {
        Self { at, value: f64::from_bits(STALE_BITS) }
    }

    /// Whether this is the staleness marker (one particular NaN; other NaNs are values).
    pub const fn is_stale(&self) -> bool {
        self.value.to_bits() == STALE_BITS
    }
}

/// The samples of one series, oldest first, in up to two slices: all of `head` before all of
/// `tail`. Times must not decrease; the functions here give no error for a series out of order,
/// only a meaningless value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Series<'a> {
    head: &'a [Sample],
    tail: &'a [Sample],
}

impl<'a> Series<'a> {
    /// A series in two consecutive pieces, as [`VecDeque::as_slices`] gives them.
    pub const fn new(head: &'a [Sample], tail: &'a [Sample]) -> Self {
        Self { head, tail }
    }

    /// The samples with `now - range < at <= now`. The left end is open: since Prometheus 3.0 a
    /// sample exactly `range` old is outside, both for ranges and for the lookback.
    fn window(self, now: SimTime, range: Duration) -> Self {
        // `at + range > now` stands for `at > now - range`, which could fall before time zero.
        let old = |s: &Sample| plus(s.at, range) <= now.as_nanos();
        let past = |s: &Sample| s.at <= now;
        Self { head: between(self.head, old, past), tail: between(self.tail, old, past) }
    }

    /// The samples without staleness markers, oldest first.
    fn live(self) -> impl Iterator<Item = &'a Sample> {
        self.head.iter().chain(self.tail).filter(|s| !s.is_stale())
    }

    /// The newest sample, the staleness marker included.
    fn last(self) -> Option<&'a Sample> {
        self.tail.last().or_else(|| self.head.last())
    }
}

impl<'a> From<&'a [Sample]> for Series<'a> {
    fn from(samples: &'a [Sample]) -> Self {
        Self::new(samples, &[])
    }
}

impl<'a, const N: usize> From<&'a [Sample; N]> for Series<'a> {
    fn from(samples: &'a [Sample; N]) -> Self {
        Self::new(samples, &[])
    }
}

impl<'a> From<&'a Vec<Sample>> for Series<'a> {
    fn from(samples: &'a Vec<Sample>) -> Self {
        Self::new(samples, &[])
    }
}

impl<'a> From<&'a VecDeque<Sample>> for Series<'a> {
    fn from(samples: &'a VecDeque<Sample>) -> Self {
        let (head, tail) = samples.as_slices();
        Self::new(head, tail)
    }
}

/// `at + span` in nanoseconds, stopping at the largest time there is.
fn plus(at: SimTime, span: Duration) -> u64 {
    let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    at.as_nanos().saturating_add(span)
}

/// The part of a sorted slice after the samples `old` holds for, up to the last `past` holds for.
fn between(samples: &[Sample], old: impl Fn(&Sample) -> bool, past: impl Fn(&Sample) -> bool) -> &[Sample] {
    let start = samples.partition_point(old);
    let rest = samples.get(start..).unwrap_or_default();
    let end = rest.partition_point(past);
    rest.get(..end).unwrap_or_default()
}

/// The per-second rate of a counter over `(now - range, now]`: `rate(series[range])`.
///
/// `None` with fewer than two samples in the range. Source: `extrapolatedRate`.
pub fn rate<'a>(series: impl Into<Series<'a>>, now: SimTime, range: Duration) -> Option<f64> {
    extrapolated(series.into(), now, range, true)
}

/// The increase of a counter over `(now - range, now]`: `increase(series[range])`, in the
/// counter's unit.
///
/// `None` with fewer than two samples in the range. Source: `extrapolatedRate`.
pub fn increase<'a>(series: impl Into<Series<'a>>, now: SimTime, range: Duration) -> Option<f64> {
    extrapolated(series.into(), now, range, false)
}

/// [`rate`] of `samples` that all lie in the range, without some of those that were neither the first
/// nor the last of them and between which the counter did not fall: with these there are `gaps`.
pub(crate) fn rate_of_thinned(samples: &[Sample], gaps: u32, now: SimTime, range: Duration) -> Option<f64> {
    Rise { gaps, ..Rise::of(samples.iter())? }.stretched(now, range, true)
}

/// The rise of the series in the range, stretched to its ends.
fn extrapolated(series: Series<'_>, now: SimTime, range: Duration, per_second: bool) -> Option<f64> {
    Rise::of(series.window(now, range).live())?.stretched(now, range, per_second)
}

/// What a counter did between its first and its last sample.
struct Rise {
    first: Sample,
    last: Sample,
    /// Between samples.
    gaps: u32,
    lost_to_resets: f64,
}

impl Rise {
    /// `None` without a sample.
    fn of<'a>(mut samples: impl Iterator<Item = &'a Sample>) -> Option<Rise> {
        let first = *samples.next()?;
        let mut last = first;
        let mut gaps = 0_u32;
        let mut lost_to_resets = 0.0;
        for sample in samples {
            // A counter only falls by starting again from 0: what it held is added back.
            if sample.value < last.value {
                lost_to_resets += last.value;
            }
            last = *sample;
            gaps += 1;
        }
        Some(Rise { first, last, gaps, lost_to_resets })
    }

    /// The rise between the first and the last sample, counter resets added back, stretched to the
    /// ends of the range where the samples reach close enough to them.
    fn stretched(&self, now: SimTime, range: Duration, per_second: bool) -> Option<f64> {
        let Rise { first, last, gaps, lost_to_resets } = self;
        let sampled = seconds_between(first.at, last.at);
        if *gaps == 0 || sampled <= 0.0 {
            return None;
        }
        let rise = last.value - first.value + lost_to_resets;

        let average_gap = sampled / f64::from(*gaps);
        // A sample is expected a gap after the last one; with 10 % allowed for noise, a longer
        // silence means that the series began or ended inside the range, on average half a gap
        // beyond its outermost sample.
        let threshold = average_gap * 1.1;
        let mut to_start = range.as_secs_f64() - seconds_between(first.at, now);
        if to_start >= threshold {
            to_start = average_gap / 2.0;
        }
        if rise > 0.0 && first.value >= 0.0 {
            // A counter is never negative, so it is not extended to before its zero point.
            to_start = to_start.min(sampled * (first.value / rise));
        }
        let mut to_end = seconds_between(last.at, now);
        if to_end >= threshold {
            to_end = average_gap / 2.0;
        }

        let mut factor = (sampled + to_start + to_end) / sampled;
        if per_second {
            factor /= range.as_secs_f64();
        }
        Some(rise * factor)
    }
}

/// `to - from` in seconds, `from` being no later than `to`.
fn seconds_between(from: SimTime, to: SimTime) -> f64 {
    to.as_nanos().saturating_sub(from.as_nanos()) as f64 / 1e9
}

/// The newest value no older than `lookback`: an instant vector selector. A sample exactly
/// `lookback` old is too old.
///
/// `None` without such a sample, and after a staleness marker. Source: `promql/engine.go`
/// (`vectorSelectorSingle`).
pub fn instant<'a>(series: impl Into<Series<'a>>, now: SimTime, lookback: Duration) -> Option<f64> {
    let newest = series.into().window(now, lookback).last()?;
    (!newest.is_stale()).then_some(newest.value)
}

/// The mean of the samples in `(now - range, now]`: `avg_over_time(series[range])`.
///
/// `None` without a sample. Source: `funcAvgOverTime`: a compensated sum, and an incremental mean
/// once the sum leaves the range of a float.
pub fn avg_over_time<'a>(series: impl Into<Series<'a>>, now: SimTime, range: Duration) -> Option<f64> {
    let mut samples = series.into().window(now, range).live();
    let mut sum = samples.next()?.value;
    let mut compensation = 0.0;
    let mut count = 1.0;
    let mut incremental = false;
    for sample in samples {
        count += 1.0;
        if !incremental {
            let (next, next_compensation) = add_compensated(sample.value, sum, compensation);
            if !next.is_infinite() {
                (sum, compensation) = (next, next_compensation);
                continue;
            }
            incremental = true;
            sum /= count - 1.0;
            compensation /= count - 1.0;
        }
        let kept = (count - 1.0) / count;
        (sum, compensation) = add_compensated(sample.value / count, kept * sum, kept * compensation);
    }
    Some(if incremental { sum + compensation } else { sum / count + compensation / count })
}

/// One step of Neumaier's summation: the new sum and the new compensation (`kahanSumInc`).
fn add_compensated(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let next = sum + increment;
    let compensation = if next.is_infinite() {
        0.0
    } else if sum.abs() >= increment.abs() {
        compensation + ((sum - next) + increment)
    } else {
        compensation + ((increment - next) + sum)
    };
    (next, compensation)
}

/// The largest of the samples in `(now - range, now]`: `max_over_time(series[range])`. NaN only
/// where every sample is.
///
/// `None` without a sample. Source: `funcMaxOverTime`.
pub fn max_over_time<'a>(series: impl Into<Series<'a>>, now: SimTime, range: Duration) -> Option<f64> {
    let samples = series.into().window(now, range).live();
    samples.map(|s| s.value).reduce(|best, value| if value > best || best.is_nan() { value } else { best })
}

/// The `q`-quantile of a classic histogram given as (upper bound, cumulative count), with linear
/// interpolation inside a bucket: `histogram_quantile(q, buckets)`. The last bound must be
/// `+Inf`. The unit is that of the bounds; counts may be rates.
///
/// As upstream: -Inf below q = 0 and +Inf above q = 1; in the `+Inf` bucket the second highest
/// bound; the first bucket begins at 0 unless its bound is not positive, which is then the
/// answer; counts that fall from a bucket to the next are raised to the one before; buckets of
/// one bound are added up. Buckets in order are read in place, others are copied and sorted.
///
/// `None` where upstream gives NaN: fewer than two buckets, no `+Inf` bucket, no observations, or
/// `q` not a number. Source: `bucketQuantile` in `promql/quantile.go`.
pub fn histogram_quantile(q: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    if q.is_nan() || buckets.is_empty() {
        return None;
    }
    if q < 0.0 {
        return Some(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return Some(f64::INFINITY);
    }
    let buckets = in_order(buckets);
    let (last, finite) = buckets.split_last()?;
    let second_highest = finite.last()?.0;
    if last.0 != f64::INFINITY {
        return None;
    }
    let observations = repaired(&buckets).last()?.1;
    if observations == 0.0 || observations.is_nan() {
        return None;
    }
    let rank = q * observations;

    let mut start = None;
    for (bound, count) in repaired(&buckets).take(finite.len()) {
        if count < rank {
            start = Some((bound, count));
            continue;
        }
        let value = match start {
            None if bound <= 0.0 => bound,
            None => bound * (rank / count),
            Some((low, below)) => low + (bound - low) * ((rank - below) / (count - below)),
        };
        return (!value.is_nan()).then_some(value);
    }
    Some(second_highest)
}

/// The buckets by rising bound, each bound once.
fn in_order(buckets: &[(f64, f64)]) -> Cow<'_, [(f64, f64)]> {
    if buckets.is_sorted_by(|a, b| a.0 < b.0) {
        return Cow::Borrowed(buckets);
    }
    let mut sorted = buckets.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<(f64, f64)> = Vec::with_capacity(sorted.len());
    for (bound, count) in sorted {
        match merged.last_mut() {
            Some(last) if last.0 == bound => last.1 += count,
            _ => merged.push((bound, count)),
        }
    }
    Cow::Owned(merged)
}

/// The buckets with counts that never fall and with rounding errors levelled
/// (`ensureMonotonicAndIgnoreSmallDeltas`).
fn repaired(buckets: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    buckets.iter().scan(None, |previous: &mut Option<f64>, &(bound, count)| {
        let count = match *previous {
            Some(before) if count < before || almost_equal(before, count) => before,
            _ => count,
        };
        *previous = Some(count);
        Some((bound, count))
    })
}

/// Whether two counts differ by no more than a rounding error (`almost.Equal`).
fn almost_equal(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA_TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA_TOLERANCE
}
