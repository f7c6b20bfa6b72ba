//! Whole reconciliations; upstream's cases (`pkg/reconciler/autoscaling/kpa/scaler_test.go`) by their names.

use std::time::Duration;

use super::{Activity, Kpa, KpaDecision, KpaReason, KpaSpec, ScaleReason, ScaleResult};
use crate::time::SimTime;

fn at(seconds: u64) -> SimTime {
    SimTime::ZERO + Duration::from_secs(seconds)
}

/// A result of the windows that asks for `desired`, or has no data.
fn asks(desired: Option<u32>) -> ScaleResult {
    ScaleResult {
        desired: desired.unwrap_or(0),
        valid: desired.is_some(),
        stable: 0.0,
        panic: 0.0,
        panicking: false,
        excess_burst_capacity: 0,
        reason: if desired.is_some() { ScaleReason::ActivationScale(0) } else { ScaleReason::NoData },
    }
}

use Activity::{Activating, Active, Inactive};

/// The stable window, the grace period and the activation timeout in seconds.
const STABLE: u64 = 60;
const GRACE: u64 = 30;
const TIMEOUT: u64 = 610;
const NOW: u64 = 5000;

struct Row {
    name: &'static str,
    start: u32,
    asks: Option<u32>,
    /// The condition, and for how many seconds.
    status: (Activity, u64),
    /// Seconds that requests have gone through the activator.
    proxy: Option<u64>,
    change: fn(&mut KpaSpec),
    reachable: bool,
    /// The initial scale is yet to be reached.
    fresh: bool,
    /// What is wanted, and what is set.
    want: (Option<u32>, u32),
}

const ROW: Row = Row {
    name: "",
    start: 1,
    asks: Some(0),
    status: (Active, 0),
    proxy: None,
    change: |_| (),
    reachable: true,
    fresh: false,
    want: (Some(0), 0),
};

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn cases_of_test_scaler() {
    let rows = [
        Row {
            name: "waits to scale to zero (just before idle period)",
            status: (Active, STABLE - 1),
            want: (Some(1), 1),
            ..ROW
        },
        Row {
            name: "waits to scale to zero (just before idle period), custom PA window",
            status: (Active, 89),
            change: |s| s.stable_window = Duration::from_secs(90),
            want: (Some(1), 1),
            ..ROW
        },
        Row {
            name: "custom PA window, check for standard window, no probe",
            status: (Active, STABLE),
            change: |s| s.stable_window = Duration::from_secs(30),
            want: (Some(0), 1),
            ..ROW
        },
        Row {
            name: "scale to 1 waiting for idle expires",
            start: 10,
            status: (Active, STABLE - 1),
            want: (Some(1), 1),
            ..ROW
        },
        Row { name: "waits to scale to zero after idle period", status: (Active, STABLE), want: (Some(0), 1), ..ROW },
        Row {
            name: "waits to scale to zero after idle period (custom PA window)",
            status: (Active, 90),
            change: |s| s.stable_window = Duration::from_secs(90),
            want: (Some(0), 1),
            ..ROW
        },
        Row { name: "scale to zero after grace period", status: (Inactive, GRACE), ..ROW },
        Row {
            name: "waits to scale to zero (just before grace period)",
            status: (Inactive, GRACE - 1),
            want: (Some(0), 1),
            ..ROW
        },
        Row {
            name: "waits to scale to zero (just before grace period, sks short)",
            status: (Inactive, GRACE - 1),
            proxy: Some(GRACE - 1),
            want: (Some(0), 1),
            ..ROW
        },
        Row {
            name: "waits to scale to zero (just before grace period, sks in proxy long)",
            status: (Inactive, GRACE - 1),
            proxy: Some(GRACE),
            ..ROW
        },
        Row {
            name: "before last pod retention",
            status: (Inactive, 90 - 1),
            proxy: Some(1000),
            change: |s| s.scale_to_zero_pod_retention_period = Duration::from_secs(90),
            want: (Some(0), 1),
            ..ROW
        },
        Row {
            name: "after last pod retention",
            status: (Inactive, 90),
            change: |s| s.scale_to_zero_pod_retention_period = Duration::from_secs(90),
            ..ROW
        },
        Row {
            name: "after a retention shorter than the grace period",
            status: (Inactive, 10),
            change: |s| s.scale_to_zero_pod_retention_period = Duration::from_secs(10),
            want: (Some(0), 1),
            ..ROW
        },
        Row {
            name: "waits to scale to zero while activating until after deadline exceeded",
            status: (Activating, TIMEOUT / 2),
            want: (None, 1),
            ..ROW
        },
        Row {
            name: "scale to zero while activating after deadline exceeded",
            status: (Activating, TIMEOUT + 1),
            ..ROW
        },
        Row {
            name: "scale down to minScale before grace period",
            start: 10,
            status: (Inactive, GRACE - 1),
            change: |s| s.min_scale = 2,
            want: (Some(2), 2),
            ..ROW
        },
        Row {
            name: "scale down to minScale after grace period",
            start: 10,
            status: (Inactive, GRACE),
            change: |s| s.min_scale = 2,
            want: (Some(2), 2),
            ..ROW
        },
        Row {
            name: "ignore minScale if unreachable",
            start: 10,
            status: (Inactive, GRACE),
            change: |s| s.min_scale = 2,
            reachable: false,
            ..ROW
        },
        Row { name: "scales up", asks: Some(10), want: (Some(10), 10), ..ROW },
        Row { name: "scales up to maxScale", asks: Some(10), change: |s| s.max_scale = 8, want: (Some(8), 8), ..ROW },
        Row {
            name: "scale up inactive revision",
            asks: Some(10),
            status: (Inactive, GRACE / 2),
            want: (Some(10), 10),
            ..ROW
        },
        Row {
            name: "does not scale up from zero with no metrics",
            start: 0,
            asks: None,
            status: (Inactive, 0),
            want: (None, 0),
            ..ROW
        },
        Row { name: "scales up from zero to desired one", start: 0, asks: Some(1), want: (Some(1), 1), ..ROW },
        Row {
            name: "scales up from zero to desired high scale",
            start: 0,
            asks: Some(10),
            want: (Some(10), 10),
            ..ROW
        },
        Row { name: "negative scale does not scale", start: 12, asks: None, want: (None, 12), ..ROW },
        Row {
            name: "initial scale attained, but now time to scale down",
            start: 5,
            status: (Inactive, GRACE),
            change: |s| s.initial_scale = 5,
            ..ROW
        },
        Row {
            name: "haven't scaled to initial scale, override desired scale with initial scale",
            asks: Some(1),
            status: (Activating, 0),
            change: |s| s.initial_scale = 2,
            fresh: true,
            want: (Some(2), 2),
            ..ROW
        },
        Row {
            name: "initial scale less than min scale: the latter",
            asks: Some(1),
            status: (Activating, 0),
            change: |s| (s.initial_scale, s.min_scale) = (2, 3),
            fresh: true,
            want: (Some(3), 3),
            ..ROW
        },
        Row {
            name: "desired scale greater than initial scale",
            asks: Some(5),
            status: (Activating, 0),
            change: |s| s.initial_scale = 2,
            fresh: true,
            want: (Some(5), 5),
            ..ROW
        },
        Row {
            name: "a new revision without data",
            start: 0,
            asks: None,
            status: (Activating, 0),
            change: |s| s.initial_scale = 4,
            fresh: true,
            want: (Some(4), 4),
            ..ROW
        },
        Row {
            name: "EnableScaleToZero == false and minScale == 0",
            start: 10,
            change: |s| s.enable_scale_to_zero = false,
            want: (Some(1), 1),
            ..ROW
        },
        Row {
            name: "EnableScaleToZero == false and minScale == 2",
            start: 10,
            change: |s| (s.enable_scale_to_zero, s.min_scale) = (false, 2),
            want: (Some(2), 2),
            ..ROW
        },
        Row {
            name: "EnableScaleToZero == false and desire pod is -1(initial value)",
            start: 10,
            asks: None,
            change: |s| s.enable_scale_to_zero = false,
            want: (None, 10),
            ..ROW
        },
    ];
    for row in rows {
        // Without burst capacity: requests go through the activator only while no pods are wanted.
        let mut spec = KpaSpec { target_burst_capacity: 0.0, ..KpaSpec::default() };
        (row.change)(&mut spec);
        let mut kpa = Kpa::new(spec);
        kpa.set_reachable(row.reachable);
        kpa.revision.activity = row.status.0;
        kpa.revision.since = Some(at(NOW - row.status.1));
        kpa.revision.proxy_since = row.proxy.map(|ago| at(NOW - ago));
        kpa.revision.initialized = !row.fresh;
        let decision = kpa.reconcile_for(at(NOW), row.start, row.start, asks(row.asks));
        assert_eq!((decision.wanted, decision.desired), row.want, "{}: {}", row.name, decision.reason);
    }
}

/// The table over `computeActiveCondition` in `kpa.go`: wanted, enough ready, before, after.
#[test]
fn active_condition() {
    let rows = [
        (Some(0), true, Activating, Inactive),
        (Some(0), true, Active, Inactive),
        (Some(1), false, Inactive, Activating),
        (Some(1), false, Active, Activating),
        (Some(1), true, Inactive, Active),
        (Some(1), true, Activating, Active),
        (None, false, Inactive, Inactive),
        (None, false, Activating, Activating),
        (None, false, Active, Activating),
        (None, true, Inactive, Inactive),
        (None, true, Activating, Active),
        (None, true, Active, Active),
    ];
    for (wanted, enough, before, after) in rows {
        let mut kpa = Kpa::new(KpaSpec { target_burst_capacity: 0.0, ..KpaSpec::default() });
        kpa.revision.activity = before;
        // Long enough in the state for zero to be wanted.
        kpa.revision.since = Some(at(NOW - 1000));
        kpa.revision.initialized = true;
        let decision = kpa.reconcile_for(at(NOW), 1, u32::from(enough), asks(wanted));
        assert_eq!(decision.wanted, wanted, "{}", decision.reason);
        assert_eq!(decision.activity, after, "{wanted:?}, {enough}, {before:?}");
    }
    let mut kpa = Kpa::new(KpaSpec { initial_scale: 0, allow_zero_initial_scale: true, ..KpaSpec::default() });
    let decision = kpa.reconcile(at(0), 0, 0);
    assert_eq!((decision.desired, decision.activity), (0, Inactive));
}

/// `computeNumActivators`.
#[test]
fn activators() {
    for (burst, ready, want) in [(0.0, 1000, 2), (-1.0, 10, 10), (-1.0, 0, 2), (200.0, 10, 12), (200.0, 0, 2)] {
        let mut kpa = Kpa::new(KpaSpec { target_burst_capacity: burst, ..KpaSpec::default() });
        assert_eq!(kpa.reconcile(at(0), ready, ready).activators, want, "{burst} {ready}");
    }
}

/// Ticks of 2 s with a load that is recorded each second; pods are ready at once.
fn play(kpa: &mut Kpa, pods: &mut u32, seconds: std::ops::Range<u64>, load: f64) -> Vec<(u64, KpaDecision)> {
    let mut decisions = Vec::new();
    for second in seconds {
        kpa.record(at(second), load);
        if second % 2 == 0 {
            let decision = kpa.reconcile(at(second), *pods, *pods);
            *pods = decision.desired;
            decisions.push((second, decision));
        }
    }
    decisions
}

/// When the count becomes 0, and the reasons on the way in order.
fn way_to_zero(spec: KpaSpec) -> (Option<u64>, Vec<String>) {
    let mut kpa = Kpa::new(spec);
    let mut pods = 0;
    play(&mut kpa, &mut pods, 0..100, 300.0);
    assert_eq!(pods, 5); // 300 / 70
    let mut reasons: Vec<String> = Vec::new();
    let mut zero = None;
    for (second, decision) in play(&mut kpa, &mut pods, 100..400, 0.0) {
        if decision.desired == 0 && zero.is_none() {
            zero = Some(second);
            reasons.push(decision.reason.to_string());
        }
        let kind = match decision.reason {
            KpaReason::Deactivating | KpaReason::GracePeriod(_) | KpaReason::PodRetention(_) => {
                decision.reason.to_string()
            }
            _ => continue,
        };
        if reasons.last().is_none_or(|last| last.split(' ').next_back() != kind.split(' ').next_back()) {
            reasons.push(kind);
        }
    }
    (zero, reasons)
}

#[test]
fn the_way_to_zero() {
    let plain = KpaSpec { target_burst_capacity: 0.0, ..KpaSpec::default() };
    // The last load is of second 99, so from 159 s on the stable window holds none, which the tick at 160 s sees.
    let (zero, reasons) = way_to_zero(plain.clone());
    assert_eq!(zero, Some(190));
    assert_eq!(
        reasons,
        [
            "no traffic: inactive from now on",
            "no traffic: 28 s left of the grace period",
            "scaling to zero after the grace period",
        ]
    );
    // Behind the activator all along, the grace period has long passed.
    assert_eq!(way_to_zero(KpaSpec { target_burst_capacity: -1.0, ..plain.clone() }).0, Some(162));
    // So it is in part by default: the last pod could not take 200 more.
    assert_eq!(way_to_zero(KpaSpec::default()).0, Some(178));
    let retained = KpaSpec { scale_to_zero_pod_retention_period: Duration::from_secs(100), ..plain.clone() };
    assert_eq!(way_to_zero(retained).0, Some(260));
    let kept = KpaSpec { min_scale: 2, ..plain.clone() };
    assert_eq!(way_to_zero(kept).0, None);
    assert_eq!(way_to_zero(KpaSpec { enable_scale_to_zero: false, ..plain }).0, None);
}

#[test]
fn from_zero_and_back_to_no_data() {
    let mut kpa = Kpa::new(KpaSpec { target_burst_capacity: 0.0, activation_scale: 3, ..KpaSpec::default() });
    let mut pods = 0;
    let first = kpa.reconcile(at(0), 0, 0);
    assert_eq!((first.desired, first.reason), (1, KpaReason::InitialScale(1)));
    play(&mut kpa, &mut pods, 1..200, 0.0);
    assert_eq!(pods, 0);
    let up = play(&mut kpa, &mut pods, 200..202, 1.0);
    assert_eq!((pods, up[0].1.activity), (3, Activity::Activating));
    assert!(up[0].1.reason.to_string().starts_with("activating: 3"), "{}", up[0].1.reason);
    // Nothing is recorded any more: the windows run empty, and then the count holds.
    let late = kpa.reconcile(at(400), 3, 3);
    assert_eq!((late.desired, late.reason.to_string()), (3, "holding: no data".to_owned()));
}
