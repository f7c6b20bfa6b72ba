//! What holds of the autoscaler for every spec, load and history.

use std::time::Duration;

use proptest::prelude::*;

use super::{Kpa, KpaMetric, KpaSpec};
use crate::time::SimTime;

fn at(seconds: u64) -> SimTime {
    SimTime::ZERO + Duration::from_secs(seconds)
}

prop_compose! {
    fn specs()(
        rps in any::<bool>(),
        limit in 0..50_u32,
        target in 0.01..500.0_f64,
        utilization in 1.0..100.0_f64,
        burst in prop_oneof![Just(-1.0), Just(0.0), 0.0..500.0_f64],
        min in 0..5_u32,
        span in prop::option::of(0..40_u32),
        initial in 0..3_u32,
        activation in 1..4_u32,
        seconds in (6..200_u64, 0..60_u64, 1..60_u64, 0..60_u64),
        panic in (1.0..100.0_f64, 110.0..1000.0_f64),
        rates in (1.01..100.0_f64, 1.01..10.0_f64),
        zero in any::<bool>(),
        capacity in 1.0..1000.0_f64,
    ) -> KpaSpec {
        let max = span.map_or(0, |span| min + span.max(3));
        let secs = Duration::from_secs;
        KpaSpec {
            metric: if rps { KpaMetric::Rps } else { KpaMetric::Concurrency },
            container_concurrency: limit,
            target,
            target_utilization_percentage: utilization,
            target_burst_capacity: burst,
            min_scale: min,
            max_scale: max,
            max_scale_limit: max,
            initial_scale: initial,
            allow_zero_initial_scale: initial == 0,
            activation_scale: activation,
            scale_down_delay: secs(seconds.1),
            stable_window: secs(seconds.0),
            panic_window_percentage: panic.0,
            panic_threshold_percentage: panic.1,
            max_scale_up_rate: rates.0,
            max_scale_down_rate: rates.1,
            enable_scale_to_zero: zero,
            scale_to_zero_grace_period: secs(seconds.2),
            scale_to_zero_pod_retention_period: secs(seconds.3),
            activator_capacity: capacity,
            ..KpaSpec::default()
        }
    }
}

/// Loads in order, each for some seconds; `None` for nothing recorded.
fn loads() -> impl Strategy<Value = Vec<(Option<f64>, u64)>> {
    let load = prop_oneof![3 => (0.0..2000.0_f64).prop_map(Some), 1 => Just(Some(0.0)), 1 => Just(None)];
    prop::collection::vec((load, 1..90_u64), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn manifests_read_back_equal(spec in specs()) {
        let text = spec.to_yaml("serve");
        prop_assert_eq!(KpaSpec::from_yaml(&text, "serve.yaml").map_err(|e| e.to_string()), Ok(spec), "{}", text);
    }

    #[test]
    fn bounds_hold_and_panic_never_falls(spec in specs(), loads in loads(), lag in 1..20_u64) {
        let (min, max, enabled) = (spec.min_scale, spec.max_scale, spec.enable_scale_to_zero);
        let mut kpa = Kpa::new(spec);
        let mut pods = min.max(1);
        let mut ready = 0;
        let mut before: Option<(u32, bool)> = None;
        let mut second = 0;
        for (load, seconds) in loads {
            for _ in 0..seconds {
                if let Some(load) = load {
                    kpa.record(at(second), load);
                }
                if second % 2 == 0 {
                    let decision = kpa.reconcile(at(second), pods, ready);
                    prop_assert!(decision.desired >= min, "{}", decision.reason);
                    prop_assert!(max == 0 || decision.desired <= max, "{}", decision.reason);
                    prop_assert!(decision.desired > 0 || (min == 0 && enabled));
                    if decision.scale.valid {
                        // The panic's own count; the delay window may hold more, which falls as it passes.
                        let pods = kpa.max_panic_pods;
                        if let Some((highest, true)) = before
                            && decision.scale.panicking
                        {
                            prop_assert!(pods >= highest, "{}", decision.scale.reason);
                            prop_assert!(decision.scale.desired >= pods, "{}", decision.scale.reason);
                        }
                        before = Some((pods, decision.scale.panicking));
                    }
                    pods = decision.desired;
                }
                // Pods come up one every `lag` seconds, and go at once.
                if second % lag == 0 {
                    ready += 1;
                }
                ready = ready.min(pods);
                second += 1;
            }
        }
    }

    #[test]
    fn no_data_no_change(spec in specs(), start in 1..20_u32, load in 1.0..100.0_f64, recorded in 0..30_u64) {
        // The start is what the spec asks for, so that only data could change it.
        let mut kpa = Kpa::new(KpaSpec { max_scale: 0, max_scale_limit: 0, ..spec.clone() });
        let mut pods = start.max(spec.min_scale).max(spec.initial_scale);
        for second in 0..recorded {
            kpa.record(at(second), load);
            if second % 2 == 0 {
                pods = kpa.reconcile(at(second), pods, pods).desired;
            }
        }
        // Until the windows are empty, only zeros can be left in them; after that nothing changes.
        let late = recorded + spec.stable_window.as_secs() + 1;
        for second in (late..late + 2000).step_by(2) {
            let decision = kpa.reconcile(at(second), pods, pods);
            prop_assert!(!decision.scale.valid);
            prop_assert_eq!(decision.desired, pods, "{} s: {}", second, decision.reason);
        }
    }

    #[test]
    fn constant_load_constant_count(spec in specs(), load in 0.01..2000.0_f64) {
        let settle = spec.stable_window.as_secs() * 3 + spec.scale_down_delay.as_secs() + 10;
        // Rates that do not need many ticks.
        let mut kpa = Kpa::new(KpaSpec { max_scale_up_rate: 1e9, max_scale_down_rate: 1e9, ..spec });
        let mut pods = 1;
        let mut counts = Vec::new();
        for second in 0..settle + 300 {
            kpa.record(at(second), load);
            if second % 2 == 0 {
                pods = kpa.reconcile(at(second), pods, pods).desired;
                if second >= settle {
                    counts.push(pods);
                }
            }
        }
        prop_assert!(counts.iter().all(|&count| count == counts[0]), "{:?}", counts);
    }
}
