//! What holds of the autoscaler for every spec, load and history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod hpa_common;

use hpa_common::{Metric, at, hpa, per_pod, pods, settings, spec, sync};
use kisim::hpa::{Hpa, HpaInputs, MetricInput};
use proptest::prelude::*;

/// A `behavior`, or none.
fn behavior() -> impl Strategy<Value = String> {
    let policy = (prop::bool::ANY, 1..200_i32, 1..120_i32).prop_map(|(pods, value, period)| {
        let kind = if pods { "Pods" } else { "Percent" };
        format!("{{type: {kind}, value: {value}, periodSeconds: {period}}}")
    });
    let select = prop::sample::select(vec!["Max", "Min", "Disabled"]);
    let rules = (0..120_u32, select, prop::collection::vec(policy, 1..3)).prop_map(|(window, select, policies)| {
        let policies = policies.join(", ");
        format!("{{stabilizationWindowSeconds: {window}, selectPolicy: {select}, policies: [{policies}]}}")
    });
    prop::option::of((rules.clone(), rules)).prop_map(|both| {
        both.map_or_else(String::new, |(up, down)| format!("behavior: {{scaleUp: {up}, scaleDown: {down}}}\n  "))
    })
}

/// The values served over time in thousandths; `None` for no answer.
fn values() -> impl Strategy<Value = Vec<Option<i64>>> {
    let value = prop_oneof![
        4 => (0..60_000_i64).prop_map(Some),
        1 => Just(None),
        1 => prop::sample::select(vec![i64::MIN, -1, 0, i64::MAX]).prop_map(Some),
    ];
    prop::collection::vec(value, 1..80)
}

fn metrics() -> impl Strategy<Value = Metric> {
    prop::sample::select(vec![
        Metric::ExternalAverage(1_000),
        Metric::ExternalValue(1_000),
        Metric::ObjectAverage(1_000),
        Metric::ObjectValue(1_000),
        Metric::Pods(1_000),
        Metric::Cpu(50),
    ])
}

/// One sync with a value that stands for the whole load, or for each pod.
fn step(
    hpa: &mut Hpa,
    metric: Metric,
    t: u64,
    replicas: i32,
    ready: u64,
    value: Option<i64>,
) -> kisim::hpa::HpaDecision {
    let mut running = pods(u64::try_from(replicas).unwrap_or(0));
    for pod in running.iter_mut().skip(usize::try_from(ready).unwrap_or(0)) {
        pod.phase = kisim::hpa::PodPhase::Pending;
        pod.ready = Some(false);
    }
    let answer = match (value, metric) {
        (None, _) => MetricInput::Unavailable("no answer".to_owned()),
        (Some(v), Metric::Pods(_) | Metric::Cpu(_)) => per_pod(&vec![v; usize::try_from(ready).unwrap_or(0)]),
        (Some(v), _) => MetricInput::Single(v),
    };
    sync(hpa, t, replicas, &running, vec![answer])
}

proptest! {
    #[test]
    fn always_within_the_bounds_and_never_against_the_metrics(
        metric in metrics(),
        behavior in behavior(),
        (min, span) in (1..10_i32, 0..40_i32),
        start in 1..60_i32,
        gap in 1..40_u64,
        unready in 0..4_u64,
        values in values(),
    ) {
        let max = min + span;
        let lines = format!("minReplicas: {min}\n  maxReplicas: {max}\n  {behavior}metrics:\n  - ");
        let mut hpa = hpa(&lines, &metric);
        let mut replicas = start;
        let mut asked = vec![start];
        for (i, value) in (0..).zip(values) {
            let ready = u64::try_from(replicas).unwrap_or(0).saturating_sub(unready).max(1);
            let decision = step(&mut hpa, metric, i * gap, replicas, ready, value);
            prop_assert!((min..=max).contains(&decision.desired), "{:?}", decision);
            if value.is_none() && (min..=max).contains(&replicas) {
                prop_assert_eq!(decision.desired, replicas, "no data, no change");
                prop_assert!(decision.error.is_some());
            }
            if let Some(stabilized) = decision.stabilized {
                // A limit holds the count or slows it, it never turns it around.
                let wanted = stabilized.cmp(&replicas);
                let moved = decision.desired.cmp(&replicas);
                prop_assert!(moved.is_eq() || moved == wanted, "{:?}", decision);
            }
            if let Some(recommended) = decision.recommended {
                asked.push(recommended);
                // What is decided lies among what was ever asked for and the bounds.
                let low = asked.iter().copied().min().unwrap_or(0).min(replicas).clamp(min, max);
                let high = asked.iter().copied().max().unwrap_or(0).max(replicas).clamp(min, max);
                prop_assert!((low..=high).contains(&decision.desired), "{:?}", decision);
            }
            prop_assert_eq!(decision.rescale.is_some(), decision.desired != replicas);
            replicas = decision.desired;
        }
    }

    #[test]
    fn a_constant_load_within_tolerance_never_moves(
        metric in metrics(),
        behavior in behavior(),
        replicas in 1..50_i32,
        off in -100..=100_i64,
        gap in 1..40_u64,
    ) {
        let lines = format!("maxReplicas: 60\n  {behavior}metrics:\n  - ");
        let mut hpa = hpa(&lines, &metric);
        let value = match metric {
            Metric::ExternalAverage(t) | Metric::ObjectAverage(t) => {
                // On this side of the ends, where rounding cannot step over them.
                (t + off * 99 / 100) * i64::from(replicas)
            }
            Metric::Cpu(percent) => i64::from(percent) * 10 + off * 45 / 100,
            Metric::Pods(t) | Metric::ExternalValue(t) | Metric::ObjectValue(t) => t + off * 99 / 100,
            _ => 0,
        };
        let ready = u64::try_from(replicas).unwrap_or(0);
        for i in 0..40 {
            let decision = step(&mut hpa, metric, i * gap, replicas, ready, Some(value));
            prop_assert_eq!(decision.desired, replicas);
        }
    }

    #[test]
    fn nothing_scales_down_within_the_first_window(
        start in 1..60_i32,
        loads in prop::collection::vec(0..60_000_i64, 1..21),
    ) {
        let mut hpa = hpa("maxReplicas: 60\n  metrics:\n  - ", &Metric::ExternalAverage(1_000));
        let mut replicas = start;
        for (i, load) in (0..).zip(loads) {
            let ready = u64::try_from(replicas).unwrap_or(0);
            let decision = step(&mut hpa, Metric::ExternalAverage(1_000), i * 15, replicas, ready, Some(load));
            prop_assert!(decision.desired >= replicas, "{:?}", decision);
            replicas = decision.desired;
        }
    }

    #[test]
    fn no_input_is_too_much(
        lines in behavior(),
        metric in metrics(),
        replicas in prop_oneof![Just(i32::MIN), Just(-1), Just(0), Just(i32::MAX), 1..9_i32],
        status in prop_oneof![Just(i32::MIN), Just(-1), Just(0), Just(i32::MAX), 1..9_i32],
        values in prop::collection::vec(prop::num::i64::ANY, 0..6),
        times in prop::collection::vec(0..u64::MAX / 1_000_000_000, 1..5),
        form in 0..4,
    ) {
        let yaml = format!("maxReplicas: 2147483647\n  {lines}metrics:\n  - {}", metric.yaml());
        let mut hpa = Hpa::new(spec(&yaml), settings());
        let mut times = times;
        times.sort_unstable();
        for t in times {
            let answer = match form {
                0 => per_pod(&values),
                1 => MetricInput::Series(values.clone()),
                2 => MetricInput::Single(values.first().copied().unwrap_or(0)),
                _ => MetricInput::Unavailable(String::new()),
            };
            let inputs = HpaInputs {
                spec_replicas: replicas,
                status_replicas: status,
                pods: &pods(4),
                metrics: &[answer],
            };
            let decision = hpa.sync(at(t), &inputs);
            prop_assert!(decision.desired >= 0 || replicas < 0);
        }
    }
}
