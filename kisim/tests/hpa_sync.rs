//! Whole syncs: several metrics, bounds, zero replicas, conditions and errors; upstream's cases
//! (`horizontal_test.go`) by their names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod hpa_common;

use hpa_common::case::{with_requests, with_unready};
use hpa_common::{Metric, at, hpa, per_pod, pods, sync};
use kisim::hpa::{ConditionKind, ConditionReason, Hpa, HpaInputs, MetricError, MetricInput, RescaleReason};
use kisim::time::SimTime;

#[test]
fn metric_errors() {
    let rows = [
        (
            "no answer",
            Metric::Cpu(50),
            pods(1),
            MetricInput::Unavailable("down".to_owned()),
            "unable to get the metric: down",
        ),
        ("empty answer", Metric::Cpu(50), pods(1), per_pod(&[]), "returned no values"),
        ("no series", Metric::ExternalValue(1), pods(1), MetricInput::Series(vec![]), "returned no values"),
        ("no pods", Metric::Cpu(50), vec![], per_pod(&[1]), "no pods returned"),
        ("only unready pods", Metric::Cpu(50), with_unready(1, &[0]), per_pod(&[1]), "might be unready"),
        ("no request", Metric::Memory(1), with_requests(&[0]), MetricInput::Single(1), "expected a value per pod"),
        (
            "no request",
            Metric::MemoryPercent(50),
            pods(1),
            per_pod(&[1]),
            "missing request for memory in container main of pod 0",
        ),
        ("no container", Metric::ContainerCpu(50), pods(1), per_pod(&[1]), "container serve not found in pod 0"),
        ("requests of nothing", Metric::Cpu(50), with_requests(&[0]), per_pod(&[1]), "matched known pods"),
        (
            "wrong form",
            Metric::Pods(50),
            pods(1),
            MetricInput::Series(vec![1]),
            "returned a list of values, expected a value per pod",
        ),
        ("wrong form", Metric::ObjectValue(50), pods(1), MetricInput::Series(vec![1]), "expected one value"),
        ("value without pods", Metric::ExternalValue(1), vec![], MetricInput::Single(9), "no pods returned"),
    ];
    for (name, metric, pods, values, expected) in rows {
        let mut hpa = hpa("maxReplicas: 10\n  metrics:\n  - ", &metric);
        let decision = sync(&mut hpa, 3600, 1, &pods, vec![values]);
        let error = decision.error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.starts_with("invalid metrics (1 invalid out of 1)"), "{name}: {error}");
        assert_eq!((decision.desired, decision.recommended), (1, None), "{name}");
    }
}

const CPU_AND_EXTERNAL: &str = "maxReplicas: 10\n  metrics:\n  \
    - {type: External, external: {metric: {name: queue}, target: {type: Value, value: 1}}}\n  - ";

#[test]
fn one_of_two_metrics_invalid() {
    let down = || MetricInput::Unavailable("no metrics".to_owned());
    // ScaleUpOneMetricEmpty: CPU asks for 4, and gets it, with the error reported.
    let mut hpa1 = hpa(CPU_AND_EXTERNAL, &Metric::Cpu(30));
    let metrics = vec![down(), per_pod(&[300, 400, 500])];
    let decision = sync(&mut hpa1, 0, 3, &pods(3), metrics);
    assert_eq!((decision.desired, decision.deciding_metric), (4, Some(1)));
    let error = decision.error.as_ref().map(|e| (e.invalid, e.total));
    assert_eq!(error, Some((1, 2)));
    let active = decision.condition(ConditionKind::ScalingActive);
    assert!(active.is_some_and(|c| c.status && c.reason == ConditionReason::ValidMetricFound));

    // NoScaleDownOneMetricInvalid: CPU asks for fewer than 5, so nothing happens.
    let mut hpa2 = hpa(CPU_AND_EXTERNAL, &Metric::Cpu(50));
    let metrics = vec![down(), per_pod(&[100, 300, 500, 250, 250])];
    let decision = sync(&mut hpa2, 0, 5, &pods(5), metrics);
    assert_eq!((decision.desired, decision.recommended), (5, None));
    let active = decision.condition(ConditionKind::ScalingActive);
    assert!(active.is_some_and(|c| !c.status && c.reason == ConditionReason::FailedGetExternalMetric));

    // Exactly the current count is no fall: the sync goes on, with the error reported.
    let mut hpa3 = hpa(CPU_AND_EXTERNAL, &Metric::Cpu(50));
    let decision = sync(&mut hpa3, 0, 2, &pods(2), vec![down(), per_pod(&[500, 500])]);
    assert_eq!((decision.desired, decision.recommended), (2, Some(2)));
    assert!(decision.error.is_some());

    // A metric left out by the caller counts as unavailable.
    let mut hpa4 = hpa(CPU_AND_EXTERNAL, &Metric::Cpu(50));
    let decision = sync(&mut hpa4, 0, 2, &pods(2), vec![MetricInput::Single(4_000)]);
    assert_eq!(decision.desired, 4, "the rate of scaling up");
    assert!(matches!(decision.metrics[1], Err(MetricError::Unavailable { .. })));
}

#[test]
fn bounds_hold_before_metrics_and_past_every_limit() {
    let frozen = "minReplicas: 2\n  maxReplicas: 5\n  \
        behavior: {scaleUp: {selectPolicy: Disabled}, scaleDown: {selectPolicy: Disabled}}\n  metrics:\n  - ";
    for head in ["minReplicas: 2\n  maxReplicas: 5\n  metrics:\n  - ", frozen] {
        let none = || vec![MetricInput::Unavailable("down".to_owned())];
        // ScaleUpRCImmediately, ScaleDownRCImmediately.
        for (current, desired, reason) in [
            (1, 2, RescaleReason::BelowMinimum),
            (6, 5, RescaleReason::AboveMaximum),
            (1000, 5, RescaleReason::AboveMaximum),
        ] {
            let mut hpa = hpa(head, &Metric::Cpu(50));
            let decision = sync(&mut hpa, 0, current, &pods(1), none());
            assert_eq!((decision.desired, decision.rescale), (desired, Some(reason)));
            assert_eq!((decision.metrics.len(), decision.error), (0, None), "no metric is asked");
        }
        let mut hpa = hpa(head, &Metric::Cpu(50));
        let decision = sync(&mut hpa, 0, 0, &[], none());
        assert_eq!(decision.desired, 0);
        let active = decision.condition(ConditionKind::ScalingActive);
        assert!(active.is_some_and(|c| !c.status && c.reason == ConditionReason::ScalingDisabled));
    }
}

#[test]
fn to_zero_and_back() {
    let mut hpa = hpa("minReplicas: 0\n  maxReplicas: 9\n  metrics:\n  - ", &Metric::ExternalAverage(1_000));
    let mut replicas = 2;
    let mut counts = Vec::new();
    for (t, value) in [(0, 0), (15, 0), (300, 0), (301, 0), (316, 0), (331, 7_000), (346, 7_000)] {
        let running = pods(u64::try_from(replicas).unwrap_or(0));
        let decision = sync(&mut hpa, t, replicas, &running, vec![MetricInput::Single(value)]);
        replicas = decision.desired;
        counts.push(replicas);
    }
    // The replicas found at 0 s hold until more than 300 s later; from none the rate is 4.
    assert_eq!(counts, [2, 2, 2, 0, 0, 4, 7]);
}

#[test]
fn conditions_of_a_scale_up_and_what_follows() {
    let mut hpa = hpa("maxReplicas: 6\n  metrics:\n  - ", &Metric::ExternalAverage(1_000));
    let found = |hpa: &mut Hpa, t, n: i32, value: Option<i64>| {
        let running = pods(u64::try_from(n).unwrap_or(0));
        let down = || MetricInput::Unavailable("down".to_owned());
        let decision = sync(hpa, t, n, &running, vec![value.map_or_else(down, MetricInput::Single)]);
        let conditions = decision.conditions.iter();
        let conditions: Vec<String> = conditions.map(|c| format!("{} {} {}", c.kind, c.status, c.reason)).collect();
        (decision.desired, conditions)
    };
    let expect = |desired, able, active, limited| {
        (
            desired,
            vec![
                format!("AbleToScale true {able}"),
                format!("ScalingActive {active}"),
                format!("ScalingLimited {limited}"),
            ],
        )
    };
    assert_eq!(
        found(&mut hpa, 0, 2, Some(5_000)),
        expect(4, "SucceededRescale", "true ValidMetricFound", "true ScaleUpLimit")
    );
    assert_eq!(
        found(&mut hpa, 15, 4, Some(9_000)),
        expect(6, "SucceededRescale", "true ValidMetricFound", "true TooManyReplicas")
    );
    assert_eq!(
        found(&mut hpa, 30, 6, Some(6_000)),
        expect(6, "ScaleDownStabilized", "true ValidMetricFound", "true TooManyReplicas")
    );
    assert_eq!(
        found(&mut hpa, 45, 6, Some(1_000)),
        expect(6, "ScaleDownStabilized", "true ValidMetricFound", "true TooManyReplicas")
    );
    // A failed sync sets two conditions and leaves the third.
    assert_eq!(
        found(&mut hpa, 60, 6, None),
        expect(6, "SucceededGetScale", "false FailedGetExternalMetric", "true TooManyReplicas")
    );
    assert_eq!(
        found(&mut hpa, 400, 6, Some(100)),
        expect(1, "SucceededRescale", "true ValidMetricFound", "false DesiredWithinRange")
    );
}

#[test]
fn messages_are_those_of_kubernetes() {
    let head = "maxReplicas: 6\n  metrics:\n  \
        - {type: External, external: {metric: {name: q, selector: {matchLabels: {a: b}}}, target: {type: Value, value: 1}}}\n  - ";
    let mut hpa = hpa(head, &Metric::ExternalAverage(1_000));
    let decision = sync(&mut hpa, 5, 2, &pods(2), vec![MetricInput::Single(2_000), MetricInput::Single(0)]);
    let active = decision.condition(ConditionKind::ScalingActive);
    assert_eq!(
        active.map(|c| c.message.as_ref()),
        Some(
            "the HPA was able to successfully calculate a replica count from external metric \
              q(&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},})"
        )
    );
    assert_eq!(active.map(|c| c.since), Some(at(5)));
    assert_eq!(
        decision.rescale.map(|r| r.to_string()).as_deref(),
        Some(
            "external metric q(&LabelSelector{MatchLabels:map[string]string{a: b,},\
         MatchExpressions:[]LabelSelectorRequirement{},}) above target"
        )
    );
    let later = sync(&mut hpa, 9, 4, &pods(4), vec![MetricInput::Single(1_000), MetricInput::Single(0)]);
    let active = later.condition(ConditionKind::ScalingActive);
    assert_eq!(active.map(|c| c.since), Some(at(5)), "the status has not changed since");
}

#[test]
fn the_time_before_the_first_window_is_not_cut_off() {
    // At time zero every window reaches back before it.
    let mut hpa = hpa(
        "maxReplicas: 50\n  behavior: {scaleUp: {policies: [{type: Pods, value: 2, periodSeconds: 60}]}}\n  metrics:\n  - ",
        &Metric::ExternalAverage(1_000),
    );
    let mut replicas = 1;
    for (t, expect) in [(0, 3), (15, 3), (59, 3), (60, 5)] {
        let now = SimTime::from_nanos(t * 1_000_000_000);
        let running = pods(u64::try_from(replicas).unwrap_or(0));
        let inputs = HpaInputs {
            spec_replicas: replicas,
            status_replicas: replicas,
            pods: &running,
            metrics: &[MetricInput::Single(50_000)],
        };
        replicas = hpa.sync(now, &inputs).desired;
        assert_eq!(replicas, expect, "{t} s");
    }
}
