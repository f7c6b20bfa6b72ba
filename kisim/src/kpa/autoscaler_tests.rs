//! The examples of the algorithm and the cases of upstream's `pkg/autoscaler/scaling/autoscaler_test.go`, by their names.

use std::time::Duration;

use super::{Kpa, KpaMetric, KpaSpec, Observed, ScaleReason, ScaleResult};
use crate::time::SimTime;

/// `newTestAutoscaler`: rates 10, panic threshold 2, stable window 60 s, the total 4/3 of the target.
fn spec(target: f64, burst: f64) -> KpaSpec {
    KpaSpec {
        target: target / 0.75,
        target_utilization_percentage: 75.0,
        target_burst_capacity: burst,
        max_scale_up_rate: 10.0,
        max_scale_down_rate: 10.0,
        ..KpaSpec::default()
    }
}

fn at(seconds: u64) -> SimTime {
    // Away from the start, as a few tests look back.
    SimTime::ZERO + Duration::from_secs(10_000 + seconds)
}

/// `expectedEBC`.
fn burst(target: f64, burst: f64, load: f64, pods: u32) -> i32 {
    (target / 0.75 * f64::from(pods) - burst - load).floor() as i32
}

#[track_caller]
fn expect(name: &str, got: ScaleResult, desired: u32, excess: i32) {
    assert!(got.valid, "{name}");
    assert_eq!(got.desired, desired, "{name}: {}", got.reason);
    assert!((got.excess_burst_capacity - excess).abs() <= 1, "{name}: {} for {excess}", got.excess_burst_capacity);
}

#[test]
fn cases_of_test_autoscaler_scale() {
    struct Row {
        name: &'static str,
        /// Target, target burst capacity.
        spec: (f64, f64),
        change: fn(&mut KpaSpec),
        /// Pods and seconds of a panic that goes on.
        panic: Option<(u32, u64)>,
        reachable: bool,
        ready: u32,
        /// Stable, panic.
        load: (f64, f64),
        desired: u32,
    }
    const ROW: Row = Row {
        name: "",
        spec: (10.0, 100.0),
        change: |_| (),
        panic: None,
        reachable: true,
        ready: 1,
        load: (0.0, 0.0),
        desired: 0,
    };
    let rows = [
        Row { name: "AutoscalerNoDataAtZeroNoAutoscale", ..ROW },
        Row { name: "AutoscalerStableModeUnlimitedTBC", spec: (181.0, -1.0), load: (21.0, 26.0), desired: 1, ..ROW },
        Row { name: "Autoscaler0TBC", spec: (10.0, 0.0), load: (50.0, 49.0), desired: 5, ..ROW },
        Row { name: "AutoscalerStableModeNoChange", load: (50.0, 50.0), desired: 5, ..ROW },
        Row {
            name: "AutoscalerPanicStableLargerThanPanic",
            spec: (1.0, 100.0),
            panic: Some((5, 5)),
            ready: 5,
            load: (50.0, 30.0),
            desired: 50,
            ..ROW
        },
        Row {
            name: "AutoscalerPanicStableLessThanPanic",
            spec: (1.0, 100.0),
            panic: Some((5, 5)),
            ready: 5,
            load: (20.0, 30.0),
            desired: 30,
            ..ROW
        },
        Row { name: "AutoscalerStableModeNoChangeAlreadyScaled", ready: 5, load: (50.0, 50.0), desired: 5, ..ROW },
        Row {
            name: "AutoscalerStableModeIncreaseWithSmallScaleUpRate",
            spec: (1.0, 1982.0),
            change: |s| s.max_scale_up_rate = 1.1,
            ready: 2,
            load: (3.0, 3.1),
            desired: 3,
            ..ROW
        },
        Row {
            name: "AutoscalerStableModeDecreaseWithSmallScaleDownRate",
            spec: (10.0, 1982.0),
            change: |s| s.max_scale_down_rate = 1.1,
            ready: 100,
            load: (1.0, 1.0),
            desired: 90,
            ..ROW
        },
        Row {
            name: "AutoscalerStableModeDecreaseNonReachable",
            spec: (10.0, 1982.0),
            change: |s| s.max_scale_down_rate = 1.1,
            reachable: false,
            ready: 100,
            load: (1.0, 1.0),
            desired: 1,
            ..ROW
        },
        Row { name: "AutoscalerPanicModeDoublePodCount", spec: (10.0, 84.0), load: (50.0, 100.0), desired: 10, ..ROW },
        Row {
            name: "TestAutoscalerStableModeIncreaseWithConcurrencyDefault",
            spec: (10.0, 101.0),
            load: (100.0, 10.0),
            desired: 10,
            ..ROW
        },
        Row {
            name: "TestAutoscalerStableModeNoTrafficScaleToZero, still traffic",
            spec: (10.0, 75.0),
            load: (1.0, 0.0),
            desired: 1,
            ..ROW
        },
        Row { name: "TestAutoscalerStableModeNoTrafficScaleToZero", spec: (10.0, 75.0), ..ROW },
        Row {
            name: "TestAutoscalerActivationScale, no traffic",
            spec: (10.0, 75.0),
            change: |s| s.activation_scale = 2,
            ..ROW
        },
        Row {
            name: "TestAutoscalerActivationScale",
            spec: (10.0, 75.0),
            change: |s| s.activation_scale = 2,
            load: (1.0, 0.0),
            desired: 2,
            ..ROW
        },
        Row { name: "TestAutoscalerMetrics", load: (50.0, 50.0), desired: 5, ..ROW },
        Row {
            name: "TestAutoscalerMetricsWithRPS",
            change: |s| s.metric = KpaMetric::Rps,
            load: (100.0, 99.0),
            desired: 10,
            ..ROW
        },
        Row {
            name: "TestAutoscalerUseOnePodAsMinimumIfEndpointsNotFound",
            spec: (10.0, 81.0),
            ready: 0,
            load: (1000.0, 888.0),
            desired: 10,
            ..ROW
        },
    ];
    for row in rows {
        let (target, tbc) = row.spec;
        let mut spec = spec(target, tbc);
        (row.change)(&mut spec);
        let mut kpa = Kpa::new(spec);
        kpa.set_reachable(row.reachable);
        if let Some((pods, ago)) = row.panic {
            kpa.max_panic_pods = pods;
            kpa.panic_since = Some(at(0).saturating_sub(Duration::from_secs(ago)));
        }
        let excess = match tbc {
            t if t < 0.0 => -1,
            t if t > 0.0 => burst(target, tbc, row.load.1, row.ready),
            _ => 0,
        };
        expect(row.name, kpa.scale_for(at(0), row.ready, row.load.0, row.load.1), row.desired, excess);
    }
}

/// One step of a sequence: second, ready, stable, panic, desired, since when in panic.
type Step = (u64, u32, f64, f64, u32, Option<u64>);

fn run(name: &str, kpa: &mut Kpa, target: f64, tbc: f64, steps: &[Step]) {
    for &(second, ready, stable, panic, desired, since) in steps {
        let result = kpa.scale_for(at(second), ready, stable, panic);
        expect(name, result, desired, burst(target, tbc, panic, ready));
        assert_eq!(kpa.panic_since, since.map(at), "{name} at {second} s");
        assert_eq!(result.panicking, since.is_some(), "{name} at {second} s");
    }
}

#[test]
fn sequences_of_upstream() {
    let rows: [(&str, f64, f64, &[Step]); 8] = [
        (
            "TestAutoscalerUnpanicAfterSlowIncrease",
            1.0,
            98.0,
            &[(0, 10, 11.0, 25.0, 25, Some(0)), (30, 40, 30.0, 41.0, 41, Some(0)), (62, 55, 50.0, 56.0, 50, None)],
        ),
        (
            "TestAutoscalerExtendPanicWindow",
            1.0,
            98.0,
            &[(0, 10, 11.0, 25.0, 25, Some(0)), (30, 40, 30.0, 80.0, 80, Some(30))],
        ),
        (
            "TestAutoscalerPanicThenUnPanicScaleDown",
            10.0,
            93.0,
            &[
                (0, 1, 100.0, 100.0, 10, Some(0)),
                (0, 10, 100.0, 1000.0, 100, Some(0)),
                (30, 10, 1.0, 1.0, 100, Some(0)),
                (60, 10, 1.0, 1.0, 100, Some(0)),
                (61, 10, 1.0, 1.0, 1, None),
            ],
        ),
        (
            "TestAutoscalerPanicModeExponentialTrackAndStabilize",
            1.0,
            101.0,
            &[
                (0, 1, 6.0, 6.0, 6, Some(0)),
                (0, 6, 36.0, 36.0, 36, Some(0)),
                (1, 36, 216.0, 216.0, 216, Some(1)),
                (1, 216, 1296.0, 1296.0, 1296, Some(1)),
                (2, 1296, 1296.0, 1296.0, 1296, Some(1)),
            ],
        ),
        (
            "TestAutoscalerRateLimitScaleUp",
            10.0,
            61.0,
            &[(0, 1, 1000.0, 1001.0, 10, Some(0)), (0, 10, 1000.0, 1001.0, 100, Some(0))],
        ),
        ("TestAutoscalerRateLimitScaleDown", 10.0, 61.0, &[(0, 100, 1.0, 1.0, 10, None), (0, 10, 1.0, 1.0, 1, None)]),
        (
            "TestAutoscalerStableModeDecrease",
            10.0,
            98.0,
            &[(0, 8, 100.0, 100.0, 10, None), (0, 8, 50.0, 50.0, 5, None)],
        ),
        (
            "TestAutoscalerStableModeIncreaseWithRPS",
            10.0,
            101.0,
            &[(0, 1, 50.0, 50.0, 5, Some(0)), (0, 1, 100.0, 99.0, 10, Some(0))],
        ),
    ];
    for (name, target, tbc, steps) in rows {
        run(name, &mut Kpa::new(spec(target, tbc)), target, tbc, steps);
    }
}

#[test]
fn scale_down_delay() {
    let delayed = |delay| {
        let spec = KpaSpec {
            target: 10.0,
            target_utilization_percentage: 100.0,
            panic_threshold_percentage: 10_000.0,
            target_burst_capacity: 0.0,
            scale_down_delay: Duration::from_secs(delay),
            ..spec(10.0, 0.0)
        };
        Kpa::new(spec)
    };
    // TestAutoscalerScaleDownDelay: simple, gradual; seconds, load, pods.
    let mut kpa = delayed(300);
    let start = SimTime::ZERO;
    for (second, load, want) in [
        (2, 40.0, 4),
        (300, 0.0, 4),
        (302, 0.0, 0),
        (540, 40.0, 4),
        (600, 30.0, 4),
        (660, 0.0, 4),
        (840, 0.0, 3),
        (900, 0.0, 0),
    ] {
        let result = kpa.scale_for(start + Duration::from_secs(second), 0, load, load);
        assert_eq!(result.desired, want, "at {second} s: {}", result.reason);
    }
    // TestAutoscalerScaleDownDelayNotReachable.
    let mut kpa = delayed(300);
    assert_eq!(kpa.scale_for(at(2), 0, 40.0, 40.0).desired, 4);
    let result = kpa.scale_for(at(60), 0, 0.0, 0.0);
    assert_eq!((result.desired, result.reason), (4, ScaleReason::Delayed { pods: 4, wanted: 0 }));
    kpa.set_reachable(false);
    assert_eq!(kpa.scale_for(at(62), 0, 0.0, 0.0).desired, 0);
    // TestAutoscalerScaleDownDelayZero.
    let mut kpa = delayed(0);
    assert_eq!(kpa.scale_for(at(0), 0, 40.0, 40.0).desired, 4);
    assert_eq!(kpa.scale_for(at(0) + Duration::from_millis(500), 0, 20.0, 20.0).desired, 2);
}

/// TestAutoscalerNoDataNoAutoscale.
#[test]
fn no_data_is_invalid() {
    let mut kpa = Kpa::new(spec(10.0, 100.0));
    let result = kpa.scale(at(0), 5);
    assert!(!result.valid);
    assert_eq!(result.reason.to_string(), "holding: no data");
    kpa.record(at(0), f64::NAN);
    kpa.record(at(0), f64::INFINITY);
    assert!(!kpa.scale(at(0), 5).valid);
    kpa.record(at(0), 50.0);
    assert_eq!(kpa.scale(at(0), 5).desired, 5);
    // A whole stable window later there are data still, of nothing; then none.
    let result = kpa.scale(at(60), 5);
    assert!(result.valid && result.stable.abs() < 1e-12);
    assert!(!kpa.scale(at(61), 5).valid);
}

/// TestStartInPanicMode.
#[test]
fn starts_in_panic_with_more_than_one_pod() {
    for ready in 0..4 {
        let kpa = Kpa::restarted(spec(100.0, 11.0), at(0), ready);
        assert_eq!((kpa.panic_since.is_some(), kpa.max_panic_pods), (ready > 1, ready));
    }
}

#[test]
fn a_surge_through_the_windows() {
    // 10 in flight for a minute, then 100: the panic window sees it, the stable one follows.
    let mut kpa = Kpa::new(KpaSpec { target: 10.0, target_utilization_percentage: 70.0, ..KpaSpec::default() });
    for second in 0..60 {
        kpa.record(at(second), 10.0);
    }
    let calm = kpa.scale(at(59), 2);
    assert_eq!((calm.desired, calm.panicking), (2, false));
    for second in 60..66 {
        kpa.record(at(second), 100.0);
    }
    let surge = kpa.scale(at(65), 2);
    assert_eq!(surge.desired, 15); // 100 / 7
    assert_eq!(surge.reason, ScaleReason::Panicking { pods: 15, observed: Observed::Panic(100.0) });
    assert_eq!(surge.reason.to_string(), "panicking: 15 pods for 100 in the panic window");
    assert!((surge.stable - 19.0).abs() < 1e-9, "{}", surge.stable);
    for second in 66..140 {
        kpa.record(at(second), 10.0);
        let result = kpa.scale(at(second), 15);
        // Over the threshold no more since 65 s: 15 pods are ready.
        let want = if second <= 125 { 15 } else { 7 };
        assert_eq!(result.desired, want, "at {second} s: {}", result.reason);
    }
    // From 15 ready pods at most by half; from 7 the rest.
    let result = kpa.scale(at(140), 7);
    assert_eq!(
        (result.desired, result.reason.to_string()),
        (3, "limited by the scale-down rate: 3 pods, 2 would do".into())
    );
}
