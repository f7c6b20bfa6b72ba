//! The Prometheus functions: every rule with values worked out by hand, and properties.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::VecDeque;
use std::time::Duration;

use kisim::promql::{
    DEFAULT_LOOKBACK, Sample, avg_over_time, histogram_quantile, increase, instant, max_over_time, rate,
};
use kisim::time::SimTime;
use proptest::prelude::*;

fn at(seconds: f64) -> SimTime {
    SimTime::from_nanos((seconds * 1000.0).round() as u64 * 1_000_000)
}

fn series(points: &[(f64, f64)]) -> Vec<Sample> {
    points.iter().map(|&(t, value)| Sample { at: at(t), value }).collect()
}

const MINUTE: Duration = Duration::from_secs(60);

fn close(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(a), Some(b)) => a == b || (a - b).abs() <= 1e-12 * b.abs(),
        (None, None) => true,
        _ => false,
    }
}

#[test]
fn increase_by_the_rules_of_extrapolated_rate() {
    // (rule, samples as (s, value), now s, increase over 60 s)
    type Row<'a> = (&'a str, &'a [(f64, f64)], f64, Option<f64>);
    let rows: &[Row<'_>] = &[
        ("no samples: no value", &[], 100.0, None),
        ("one sample: no value", &[(90.0, 5.0)], 100.0, None),
        ("samples outside the range do not count", &[(30.0, 1.0), (90.0, 5.0), (110.0, 9.0)], 100.0, None),
        (
            // The sample at 40 s is exactly 60 s old and outside: 30 in 45 s sampled, 15 s to
            // the start being within 1.1 gaps: 30 * (45 + 15)/45.
            "left-open range",
            &[(40.0, 100.0), (55.0, 110.0), (70.0, 120.0), (85.0, 130.0), (100.0, 140.0)],
            100.0,
            Some(40.0),
        ),
        (
            "left-open range: the sample on the left end is not the base",
            &[(40.0, 0.0), (70.0, 100.0), (100.0, 160.0)],
            100.0,
            Some(120.0),
        ),
        (
            // To the start 15 s < 1.1 * 15 s, to the end 5 s: 30 * (40 + 15 + 5)/40 with
            // gaps of 20 s.
            "extension to both ends",
            &[(55.0, 1000.0), (75.0, 1015.0), (95.0, 1030.0)],
            100.0,
            Some(45.0),
        ),
        (
            // 30 s to the start >= 1.1 * 10 s: half a gap; 10 s to the end < 11 s.
            // 20 * (20 + 5 + 10)/20.
            "half an interval where the series began inside the range",
            &[(70.0, 500.0), (80.0, 510.0), (90.0, 520.0)],
            100.0,
            Some(35.0),
        ),
        (
            // The end is 30 s away: half a gap there; the start 10 s away.
            // 20 * (20 + 10 + 5)/20.
            "half an interval where the series ended inside the range",
            &[(50.0, 500.0), (60.0, 510.0), (70.0, 520.0)],
            100.0,
            Some(35.0),
        ),
        (
            // Exactly 1.1 gaps is not below the threshold: gaps of 10 s, start 11 s away
            // (half a gap), end 9 s: 400 * (40 + 5 + 9)/40.
            "1.1 gaps is already far",
            &[(51.0, 900.0), (61.0, 1000.0), (71.0, 1100.0), (81.0, 1200.0), (91.0, 1300.0)],
            100.0,
            Some(540.0),
        ),
        (
            // 10.9 s is within: 400 * (40 + 10.9 + 9.1)/40.
            "just below 1.1 gaps is near",
            &[(50.9, 900.0), (60.9, 1000.0), (70.9, 1100.0), (80.9, 1200.0), (90.9, 1300.0)],
            100.0,
            Some(600.0),
        ),
        (
            // The counter was 0 only 20 * 2/20 = 2 s before its first sample, less than the
            // 10 s to the start: 20 * (20 + 2 + 5)/20,
            // the end being 30 s away and so half a gap.
            "zero-point clamp",
            &[(50.0, 2.0), (60.0, 12.0), (70.0, 22.0)],
            100.0,
            Some(27.0),
        ),
        (
            // Also where the start is far and half a gap (5 s) would pass the zero point 2 s
            // before: 20 * (20 + 2 + 10)/20.
            "zero-point clamp after the half interval",
            &[(70.0, 2.0), (80.0, 12.0), (90.0, 22.0)],
            100.0,
            Some(32.0),
        ),
        (
            // 30 -> 4 adds back 30: 14 - 10 + 30 = 34, zero point 40 * 10/34 = 11.76 s
            // before, the start 10 s away: 34 * (40 + 10 + 10)/40.
            "counter reset",
            &[(50.0, 10.0), (60.0, 20.0), (70.0, 30.0), (80.0, 4.0), (90.0, 14.0)],
            100.0,
            Some(51.0),
        ),
        (
            // 5 - 100 + 100 + 50 = 55, 10 s to the start, the end 20 s away and so half a gap:
            // 55 * (30 + 10 + 5)/30.
            "two counter resets",
            &[(50.0, 100.0), (60.0, 50.0), (70.0, 3.0), (80.0, 5.0)],
            100.0,
            Some(82.5),
        ),
        ("a flat counter has increased by nothing", &[(50.0, 7.0), (60.0, 7.0), (70.0, 7.0)], 100.0, Some(0.0)),
        ("two samples at one time have no rate", &[(50.0, 7.0), (50.0, 9.0)], 100.0, None),
    ];
    for (rule, points, now, expected) in rows {
        let samples = series(points);
        let found = increase(&samples, at(*now), MINUTE);
        assert!(close(found, *expected), "{rule}: {found:?}, expected {expected:?}");
        let per_second = rate(&samples, at(*now), MINUTE);
        let expected = expected.map(|x| x / 60.0);
        assert!(close(per_second, expected), "{rule}: {per_second:?}, expected {expected:?}");
    }
}

#[test]
fn staleness_markers_are_no_samples_of_a_range() {
    let mut samples = series(&[(50.0, 10.0), (60.0, 20.0), (80.0, 30.0)]);
    let without = increase(&samples, at(100.0), MINUTE);
    samples.insert(2, Sample::stale(at(70.0)));
    assert_eq!(increase(&samples, at(100.0), MINUTE), without);
    assert_eq!(avg_over_time(&samples, at(100.0), MINUTE), Some(20.0));
    assert_eq!(max_over_time(&samples, at(100.0), MINUTE), Some(30.0));
}

#[test]
fn instant_looks_back_five_minutes() {
    let samples = series(&[(10.0, 1.0), (20.0, 2.0)]);
    let rows: &[(&str, f64, Option<f64>)] = &[
        ("before the first sample", 9.999, None),
        ("at a sample", 10.0, Some(1.0)),
        ("between samples: the older", 19.9, Some(1.0)),
        ("after the last", 319.999, Some(2.0)),
        ("left-open lookback: 300 s old is too old", 320.0, None),
    ];
    for (rule, now, expected) in rows {
        assert_eq!(instant(&samples, at(*now), DEFAULT_LOOKBACK), *expected, "{rule}");
    }
    let mut gone = samples;
    gone.push(Sample::stale(at(25.0)));
    assert_eq!(instant(&gone, at(24.0), DEFAULT_LOOKBACK), Some(2.0));
    assert_eq!(instant(&gone, at(25.0), DEFAULT_LOOKBACK), None, "staleness marker");
    gone.push(Sample { at: at(30.0), value: f64::NAN });
    let nan = instant(&gone, at(30.0), DEFAULT_LOOKBACK);
    assert!(nan.is_some_and(f64::is_nan), "an ordinary NaN is a value");
}

#[test]
fn aggregates_over_time() {
    let samples = series(&[(40.0, 100.0), (50.0, 1.0), (60.0, 5.0), (70.0, 3.0), (101.0, 9.0)]);
    assert_eq!(avg_over_time(&samples, at(100.0), MINUTE), Some(3.0), "(now - range, now]");
    assert_eq!(max_over_time(&samples, at(100.0), MINUTE), Some(5.0));
    assert_eq!(avg_over_time(&[], at(100.0), MINUTE), None, "no data is not zero");
    assert_eq!(max_over_time(&[], at(100.0), MINUTE), None, "no data is not zero");
    let huge = series(&[(50.0, f64::MAX), (60.0, f64::MAX)]);
    assert_eq!(avg_over_time(&huge, at(100.0), MINUTE), Some(f64::MAX), "incremental mean");
    let mixed = series(&[(50.0, 1.0), (60.0, 1e100), (70.0, 1.0), (80.0, -1e100)]);
    assert_eq!(avg_over_time(&mixed, at(100.0), MINUTE), Some(0.5), "compensated sum");
    let nan = series(&[(50.0, f64::NAN), (60.0, 2.0), (70.0, f64::NAN)]);
    assert_eq!(max_over_time(&nan, at(100.0), MINUTE), Some(2.0), "NaN is below all");
}

#[test]
fn quantiles_of_classic_histograms() {
    const INF: f64 = f64::INFINITY;
    // 10 observations up to 1, 30 in (1, 2], 60 in (2, 4], none above.
    let plain: &[(f64, f64)] = &[(1.0, 10.0), (2.0, 40.0), (4.0, 100.0), (INF, 100.0)];
    let tail: &[(f64, f64)] = &[(1.0, 10.0), (2.0, 40.0), (INF, 100.0)];
    type Row<'a> = (&'a str, f64, &'a [(f64, f64)], Option<f64>);
    let rows: &[Row<'_>] = &[
        ("first bucket begins at 0", 0.05, plain, Some(0.5)),
        ("end of the first bucket", 0.1, plain, Some(1.0)),
        ("linear inside a bucket", 0.25, plain, Some(1.5)),
        ("linear inside a later bucket", 0.7, plain, Some(3.0)),
        ("q = 0", 0.0, plain, Some(0.0)),
        ("q = 1", 1.0, plain, Some(4.0)),
        ("+Inf bucket: second highest bound", 0.5, tail, Some(2.0)),
        ("q below 0", -0.1, plain, Some(-INF)),
        ("q above 1", 1.1, plain, Some(INF)),
        ("q not a number", f64::NAN, plain, None),
        ("no buckets", 0.5, &[], None),
        ("one bucket", 0.5, &[(INF, 5.0)], None),
        ("no +Inf bucket", 0.5, &[(1.0, 5.0), (2.0, 9.0)], None),
        ("no observations", 0.5, &[(1.0, 0.0), (INF, 0.0)], None),
        ("bound of the first bucket not positive", 0.05, &[(-1.0, 10.0), (1.0, 20.0), (INF, 20.0)], Some(-1.0)),
        ("interpolation from a negative bound", 0.75, &[(-1.0, 10.0), (1.0, 20.0), (INF, 20.0)], Some(0.0)),
        ("falling counts are raised", 0.9, &[(1.0, 50.0), (2.0, 40.0), (4.0, 100.0), (INF, 90.0)], Some(3.6)),
        (
            "rounding errors are levelled",
            0.500_000_000_000_025,
            &[(1.0, 100.0), (2.0, 100.000_000_000_01), (4.0, 200.0), (INF, 200.0)],
            Some(2.0),
        ),
        ("buckets in any order", 0.25, &[(INF, 100.0), (2.0, 40.0), (4.0, 100.0), (1.0, 10.0)], Some(1.5)),
        (
            "one bound twice adds up",
            0.25,
            &[(1.0, 4.0), (1.0, 6.0), (2.0, 40.0), (4.0, 100.0), (INF, 100.0)],
            Some(1.5),
        ),
        ("an empty first bucket at q = 0 is NaN upstream", 0.0, &[(1.0, 0.0), (2.0, 5.0), (INF, 5.0)], None),
    ];
    for (rule, q, buckets, expected) in rows {
        let found = histogram_quantile(*q, buckets);
        assert!(close(found, *expected), "{rule}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn a_ring_buffer_reads_like_a_slice() {
    let samples = series(&[(10.0, 1.0), (25.0, 4.0), (40.0, 2.0), (55.0, 9.0), (70.0, 11.0)]);
    let mut ring = VecDeque::with_capacity(5);
    // Three older samples go as the last three come, so that the five wrap around the end.
    ring.extend(series(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)]));
    for sample in &samples {
        if ring.len() == 5 {
            ring.pop_front();
        }
        ring.push_back(*sample);
    }
    assert!(!ring.as_slices().1.is_empty(), "wraps");
    for now in 0..140 {
        let now = at(f64::from(now));
        assert_eq!(rate(&ring, now, MINUTE), rate(&samples, now, MINUTE));
        assert_eq!(instant(&ring, now, MINUTE), instant(&samples, now, MINUTE));
        assert_eq!(avg_over_time(&ring, now, MINUTE), avg_over_time(&samples, now, MINUTE));
        assert_eq!(max_over_time(&ring, now, MINUTE), max_over_time(&samples, now, MINUTE));
    }
}

proptest! {
    #[test]
    fn rate_of_a_counter_is_never_negative(
        steps in prop::collection::vec((1_u64..40, 0.0_f64..1e6, prop::bool::weighted(0.1)), 0..40),
        now in 0_u64..1500,
    ) {
        let (mut t, mut value, mut samples) = (0, 0.0, Vec::new());
        for (gap, add, restart) in steps {
            t += gap;
            value = if restart { add } else { value + add };
            samples.push(Sample { at: at(t as f64), value });
        }
        for range in [60, 300] {
            let rate = rate(&samples, at(now as f64), Duration::from_secs(range));
            prop_assert!(rate.is_none_or(|r| r >= 0.0), "{:?}", rate);
        }
    }

    #[test]
    fn constant_rate_sampled_regularly_is_that_rate(
        per_second in 1_u32..1000,
        interval in 1_u32..30,
        offset in 0_u32..1000,
        restart_at in prop::option::of(1_u32..20),
    ) {
        // 20 intervals; the base is high enough that the zero point is out of the range. A
        // restart between two scrapes loses nothing when the counter is 0 at the scrape
        // before, so the sample after it holds one interval's increase.
        let interval = f64::from(interval);
        let rise = f64::from(per_second) * interval;
        let (mut value, mut samples) = (rise * 1000.0, Vec::new());
        for i in 0..=20_u32 {
            let t = f64::from(i) * interval + f64::from(offset) / 1000.0;
            samples.push(Sample { at: at(t), value });
            value = if restart_at == Some(i) { rise } else { value + rise };
        }
        let now = at(20.0 * interval + f64::from(offset) / 1000.0);
        let range = Duration::from_secs_f64(interval * 10.0);
        let found = rate(&samples, now, range);
        // The rise after a restart may put the zero point inside the range only when the
        // first sample in it is itself small.
        let first = &samples[11];
        prop_assume!(first.value >= rise);
        prop_assert!(found.is_some_and(|r| (r - f64::from(per_second)).abs()
            <= 1e-9 * f64::from(per_second)), "{:?} for {}", found, per_second);
    }

    #[test]
    fn quantiles_rise_with_q(
        counts in prop::collection::vec(0.0_f64..100.0, 2..12),
        qs in prop::collection::vec(0.0_f64..=1.0, 2..8),
    ) {
        let last = counts.len() - 1;
        let buckets: Vec<(f64, f64)> = counts.iter().enumerate()
            .map(|(i, c)| (if i == last { f64::INFINITY } else { (i + 1) as f64 }, *c))
            .collect();
        let mut qs = qs;
        qs.sort_by(f64::total_cmp);
        let found: Vec<f64> = qs.iter().filter_map(|q| histogram_quantile(*q, &buckets)).collect();
        prop_assert!(found.is_sorted(), "{:?}", found);
        prop_assert!(found.iter().all(|v| (0.0..=last as f64).contains(v)), "{:?}", found);
    }
}
