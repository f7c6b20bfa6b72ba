//! The HorizontalPodAutoscaler of an object.

use super::*;
use crate::hpa::{HpaSpec, MetricSpec, Policy, PolicyKind, ResourceTarget, SelectPolicy, ValueTarget};

/// The metrics as names and targets.
fn metrics(spec: &HpaSpec) -> Vec<String> {
    let one = |metric: &MetricSpec| match metric {
        MetricSpec::External { metric, target } => match target {
            ValueTarget::Value(milli) => format!("{} at {milli}m", metric.name),
            ValueTarget::AverageValue(milli) => format!("{} at {milli}m each", metric.name),
        },
        MetricSpec::Resource { resource, target } => format!("{resource} at {target:?}"),
        MetricSpec::ContainerResource { resource, container, target } => {
            format!("{resource} of {container} at {target:?}")
        }
        other => format!("{other}"),
    };
    spec.metrics.iter().map(one).collect()
}

const ALL: &str = r"
  triggers:
  - {type: cpu, metricType: Utilization, metadata: {value: '60'}}
  - {type: prometheus, name: queue, metadata: {serverAddress: p, query: q, threshold: '2.5'}}
  - {type: memory, metricType: AverageValue, metadata: {value: 2Gi, containerName: main}}
  - {type: prometheus, name: rate, metricType: Value, metadata: {serverAddress: p, query: r, threshold: '0.0006'}}
  - {type: cron, name: day, metadata: {timezone: Etc/UTC, start: 0 */2 * * *, end: 0 1-23/2 * * *, desiredReplicas: '3'}}";

#[test]
fn one_metric_a_trigger() {
    let object = object(&format!("minReplicaCount: 0\n  maxReplicaCount: 7{ALL}"));
    let spec = object.hpa_spec();
    assert_eq!((spec.name.as_str(), spec.namespace.as_str()), ("keda-hpa-serve", "default"));
    assert_eq!((spec.min_replicas, spec.max_replicas), (1, 7));
    assert_eq!(spec.scale_target, object.scale_target);
    assert_eq!(spec.behavior, None);
    let expected = [
        "memory of main at AverageValue(2147483648000)",
        "s1-prometheus at 2500m each",
        "s3-prometheus at 1m",
        // The name is that of TestCronGetMetricSpecForScaling in cron_scaler_test.go, with this trigger's index.
        "s4-cron-Etc-UTC-0xSl2xxx-01-23Sl2xxx at 1000m each",
        "cpu at Utilization(60)",
    ];
    assert_eq!(metrics(&spec), expected);
    let Some(MetricSpec::External { metric, .. }) = spec.metrics.get(1) else { panic!("{spec:?}") };
    let selector = metric.selector.clone().expect("a selector").match_labels;
    assert_eq!(selector.get("scaledobject.keda.sh/name").map(String::as_str), Some("serve"));
}

#[test]
fn names_of_cron_metrics() {
    // TestCronGetMetricSpecForScaling.
    let rows = [
        ("0 0 * * Thu", "59 23 * * Thu", "s0-cron-Etc-UTC-00xxThu-5923xxThu"),
        ("0,30 * * * *", "15,45 * * * *", "s0-cron-Etc-UTC-0Cm30xxxx-15Cm45xxxx"),
    ];
    for (start, end, name) in rows {
        let object = object(&format!(
            "triggers: [{{type: cron, metadata: {{timezone: Etc/UTC, start: '{start}', end: '{end}', desiredReplicas: '10'}}}}]"
        ));
        assert_eq!(metrics(&object.hpa_spec()), [format!("{name} at 1000m each")]);
    }
}

#[test]
fn one_metric_for_a_formula() {
    let with = |more: &str| {
        object(&format!(
            "advanced: {{scalingModifiers: {{formula: queue + rate, target: '2.5'{more}}}}}\n  minReplicaCount: 2{ALL}"
        ))
        .hpa_spec()
    };
    // As upstream: the metric of one container is lost beside a formula.
    assert_eq!(metrics(&with("")), ["cpu at Utilization(60)", "composite-metric at 2500m each"]);
    assert_eq!(metrics(&with(", metricType: Value")), ["cpu at Utilization(60)", "composite-metric at 2500m"]);
    assert_eq!(with("").min_replicas, 2);
}

#[test]
fn a_behavior_is_passed_on() {
    let behavior = "advanced: {horizontalPodAutoscalerConfig: {name: mine, behavior: {scaleDown: \
                    {stabilizationWindowSeconds: 60, policies: [{type: Pods, value: 1, periodSeconds: 30}]}}}}";
    let spec = object(&format!("{behavior}\n  {ONE}")).hpa_spec();
    assert_eq!(spec.name, "mine");
    let down = spec.behavior.expect("a behavior").scale_down;
    assert_eq!(down.window_seconds, Some(60));
    assert_eq!(down.policies, [Policy { kind: PolicyKind::Pods, value: 1, period_seconds: 30 }]);
    assert_eq!(down.select, SelectPolicy::Max);
}

#[test]
fn pausing_a_direction_disables_it() {
    let select = |annotations: &str| {
        let behavior = annotated(annotations, ONE).hpa_spec().behavior;
        behavior.map(|b| (b.scale_down.select, b.scale_up.select))
    };
    assert_eq!(select(""), None);
    let (max, off) = (SelectPolicy::Max, SelectPolicy::Disabled);
    assert_eq!(select("autoscaling.keda.sh/paused-scale-in: 'true'"), Some((off, max)));
    assert_eq!(select("autoscaling.keda.sh/paused-scale-out: 'true'"), Some((max, off)));
    assert_eq!(select("autoscaling.keda.sh/paused-scale-out: 'false'"), None);
}

#[test]
fn resources_keep_their_target() {
    let object = object(&format!("minReplicaCount: 1{ALL}"));
    let Some(TriggerKind::Resource(cpu)) = object.triggers.first().map(|t| &t.kind) else { panic!("{object:?}") };
    assert_eq!((cpu.target, cpu.container.as_deref()), (ResourceTarget::Utilization(60), None));
}
