//! Manifests: what is read, which defaults are filled in, and what is refused with which words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod hpa_common;

use hpa_common::{manifest, spec};
use kisim::hpa::{
    HpaSpec, MetricSpec, Policy, PolicyKind, ResourceName, ResourceTarget, ScalingRules, SelectPolicy, ValueTarget,
};

const CPU: &str =
    "metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]";

fn refusal(text: &str) -> String {
    match HpaSpec::from_yaml(text, "web.yaml") {
        Ok(spec) => format!("read: {spec:?}"),
        Err(error) => error.to_string(),
    }
}

const WHOLE: &str = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: serve
  namespace: inference
  labels: {team: serving}
  creationTimestamp: "2025-01-01T00:00:00Z"
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: serve
  minReplicas: 0
  maxReplicas: 20
  metrics:
  - type: Resource
    resource: {name: memory, target: {type: AverageValue, averageValue: 2Gi}}
  - type: ContainerResource
    containerResource:
      name: cpu
      container: serve
      target: {type: Utilization, averageUtilization: 70}
  - type: Pods
    pods: {metric: {name: queue}, target: {type: AverageValue, averageValue: "4"}}
  - type: Object
    object:
      describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: front}
      metric: {name: rps}
      target: {type: Value, value: 10k}
  - type: External
    external:
      metric:
        name: pending
        selector:
          matchLabels: {model: large}
          matchExpressions: [{key: zone, operator: In, values: [a, b]}]
      target: {type: AverageValue, averageValue: 0.5}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 45
      selectPolicy: Min
      tolerance: 50m
      policies:
      - {type: Pods, value: 3, periodSeconds: 30}
      - {type: Percent, value: 50, periodSeconds: 1800}
status: {currentReplicas: 3}
"#;

#[test]
fn a_manifest_with_everything() {
    let spec = match HpaSpec::from_yaml(WHOLE, "web.yaml") {
        Ok(spec) => spec,
        Err(error) => panic!("{error}"),
    };
    assert_eq!((spec.name.as_str(), spec.namespace.as_str()), ("serve", "inference"));
    assert_eq!(spec.scale_target.kind, "Deployment");
    assert_eq!((spec.min_replicas, spec.max_replicas), (0, 20));
    let names: Vec<String> = spec.metrics.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "memory resource",
            "cpu container resource utilization (percentage of request)",
            "pods metric queue",
            "Ingress metric rps",
            "external metric pending(&LabelSelector{MatchLabels:map[string]string{model: large,},\
             MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:zone,\
             Operator:In,Values:[a b],},},})",
        ]
    );
    let targets: Vec<Option<i64>> = spec
        .metrics
        .iter()
        .map(|metric| match metric {
            MetricSpec::Resource { target: ResourceTarget::AverageValue(m), .. }
            | MetricSpec::Pods { average_milli: m, .. }
            | MetricSpec::Object { target: ValueTarget::Value(m), .. }
            | MetricSpec::External { target: ValueTarget::AverageValue(m), .. } => Some(*m),
            _ => None,
        })
        .collect();
    let gi = 1024 * 1024 * 1024;
    assert_eq!(targets, [Some(2 * gi * 1000), None, Some(4_000), Some(10_000_000), Some(500)]);
    let Some(behavior) = spec.behavior else {
        panic!("a behavior");
    };
    assert_eq!(
        behavior.scale_up,
        ScalingRules {
            window_seconds: Some(45),
            select: SelectPolicy::Min,
            policies: vec![
                Policy { kind: PolicyKind::Pods, value: 3, period_seconds: 30 },
                Policy { kind: PolicyKind::Percent, value: 50, period_seconds: 1800 },
            ],
            tolerance: Some(0.05),
        }
    );
    let hundred_percent = Policy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 };
    assert_eq!(
        behavior.scale_down,
        ScalingRules {
            window_seconds: None,
            select: SelectPolicy::Max,
            policies: vec![hundred_percent],
            tolerance: None,
        }
    );
}

#[test]
fn defaults() {
    let plain = spec("maxReplicas: 3");
    assert_eq!((plain.min_replicas, plain.namespace.as_str()), (1, "default"));
    assert_eq!(plain.behavior, None);
    let cpu = MetricSpec::Resource { resource: ResourceName::Cpu, target: ResourceTarget::Utilization(80) };
    assert_eq!(plain.metrics, std::slice::from_ref(&cpu));
    assert_eq!(spec("maxReplicas: 3\n  metrics: []").metrics, [cpu]);

    let Some(behavior) = spec("maxReplicas: 3\n  behavior: {}").behavior else {
        panic!("a behavior");
    };
    let policies = |rules: &ScalingRules| -> Vec<(PolicyKind, i32, i32)> {
        let all = rules.policies.iter();
        all.map(|p| (p.kind, p.value, p.period_seconds)).collect()
    };
    let up = [(PolicyKind::Pods, 4, 15), (PolicyKind::Percent, 100, 15)];
    assert_eq!(policies(&behavior.scale_up), up);
    assert_eq!(behavior.scale_up.window_seconds, Some(0));
    assert_eq!(policies(&behavior.scale_down), [(PolicyKind::Percent, 100, 15)]);
    assert_eq!(behavior.scale_down.window_seconds, None);
}

#[test]
fn json_is_read_as_well() {
    let text = r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler",
        "metadata":{"name":"a"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"a"},
        "maxReplicas":2}}"#;
    assert!(HpaSpec::from_yaml(text, "a.json").is_ok());
}

#[test]
fn other_kinds_and_versions_are_refused() {
    let rows = [
        ("kind: Deployment\napiVersion: apps/v1", "web.yaml: kind is `Deployment`, expected `HorizontalPodAutoscaler`"),
        ("apiVersion: autoscaling/v2", "web.yaml: kind is absent, expected `HorizontalPodAutoscaler`"),
        (
            "kind: HorizontalPodAutoscaler\napiVersion: autoscaling/v1\nspec: {}",
            "web.yaml: apiVersion is `autoscaling/v1`, expected `autoscaling/v2`",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(refusal(text), expected);
    }
    for (text, part) in [
        ("", "web.yaml: "),
        ("- 1", "invalid type: sequence"),
        ("a: [", "web.yaml: "),
        ("kind: a\n---\nkind: b", "more than one document"),
    ] {
        let found = refusal(text);
        assert!(found.starts_with("web.yaml: ") && found.contains(part), "{text}: {found}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let pods = |target: &str| {
        format!("maxReplicas: 3\n  metrics: [{{type: Pods, pods: {{metric: {{name: q}}, target: {{{target}}}}}}}]")
    };
    let external = |target: &str| {
        format!(
            "maxReplicas: 3\n  metrics: [{{type: External, external: {{metric: {{name: q}}, target: {{{target}}}}}}}]"
        )
    };
    let object = |target: &str| {
        format!(
            "maxReplicas: 3\n  metrics: [{{type: Object, object: {{describedObject: {{kind: a, name: b}}, metric: {{name: q}}, target: {{{target}}}}}}}]"
        )
    };
    let resource = |target: &str| {
        format!("maxReplicas: 3\n  metrics: [{{type: Resource, resource: {{name: cpu, target: {{{target}}}}}}}]")
    };
    let up = |rules: &str| format!("maxReplicas: 3\n  behavior: {{scaleUp: {{{rules}}}}}");
    let rows = [
        (
            format!("minReplicas: 0\n  maxReplicas: 3\n  {CPU}"),
            "spec.minReplicas is 0, expected at least 1 without a metric of type Object or External",
        ),
        ("minReplicas: -1\n  maxReplicas: 3".to_owned(), "spec.minReplicas is -1, expected at least 0"),
        ("maxReplicas: 0".to_owned(), "spec.maxReplicas is 0, expected at least 1"),
        (
            "minReplicas: 4\n  maxReplicas: 3".to_owned(),
            "spec.maxReplicas is 3, expected at least spec.minReplicas, which is 4",
        ),
        (
            pods("type: AverageValue, averageValue: 0"),
            "spec.metrics[0].pods.target.averageValue is 0m, expected above 0",
        ),
        (
            pods("type: AverageValue"),
            "spec.metrics[0].pods.target.averageValue is absent, expected the mean to keep the pods at",
        ),
        (
            pods("type: Value, value: 1"),
            "spec.metrics[0].pods.target.value is present, expected no such target for this type of metric",
        ),
        (
            external("type: Value"),
            "spec.metrics[0].external.target.averageValue is absent, expected either it or value",
        ),
        (
            external("type: Value, value: 1, averageValue: 2"),
            "spec.metrics[0].external.target.value is present, expected either it or averageValue",
        ),
        (external("type: Value, value: -1"), "spec.metrics[0].external.target.value is -1000m, expected above 0"),
        (
            object("type: Utilization, value: 1"),
            "spec.metrics[0].object.target.type is Utilization, expected Value or AverageValue",
        ),
        (
            object("type: Value, averageValue: 1"),
            "spec.metrics[0].object.target.value is absent, expected a quantity, by target.type Value",
        ),
        (
            resource("type: Utilization, averageUtilization: 0"),
            "spec.metrics[0].resource.target.averageUtilization is 0, expected at least 1",
        ),
        (
            resource("type: Utilization"),
            "spec.metrics[0].resource.target.averageUtilization is absent, expected either it or averageValue",
        ),
        (
            resource("type: Utilization, averageUtilization: 5, averageValue: 1"),
            "spec.metrics[0].resource.target.averageValue is present, expected either it or averageUtilization",
        ),
        (
            "maxReplicas: 3\n  metrics: [{type: Pods}]".to_owned(),
            "spec.metrics[0].pods is absent, expected the metric's source",
        ),
        (
            "maxReplicas: 3\n  metrics: [{type: Pods, resource: {name: cpu, target: {type: Utilization}}}]".to_owned(),
            "spec.metrics[0].resource is present, expected only `pods`, by the metric's type",
        ),
        (
            "maxReplicas: 3\n  metrics: [{type: Resource, resource: {name: '', target: {type: Utilization}}}]"
                .to_owned(),
            "spec.metrics[0].resource.name is empty, expected a name",
        ),
        (
            up("stabilizationWindowSeconds: -1"),
            "spec.behavior.scaleUp.stabilizationWindowSeconds is -1, expected 0 to 3600",
        ),
        (
            up("stabilizationWindowSeconds: 3601"),
            "spec.behavior.scaleUp.stabilizationWindowSeconds is 3601, expected 0 to 3600",
        ),
        (up("policies: []"), "spec.behavior.scaleUp.policies is empty, expected at least one policy"),
        (
            up("policies: [{type: Pods, value: 0, periodSeconds: 1}]"),
            "spec.behavior.scaleUp.policies[0].value is 0, expected above 0",
        ),
        (
            up("policies: [{type: Pods, value: 1, periodSeconds: 0}]"),
            "spec.behavior.scaleUp.policies[0].periodSeconds is 0, expected 1 to 1800",
        ),
        (
            up("policies: [{type: Pods, value: 1, periodSeconds: 1801}]"),
            "spec.behavior.scaleUp.policies[0].periodSeconds is 1801, expected 1 to 1800",
        ),
        (up("tolerance: -1m"), "spec.behavior.scaleUp.tolerance is -0.001, expected at least 0"),
    ];
    for (lines, expected) in rows {
        assert_eq!(refusal(&manifest(&lines)), format!("web.yaml: {expected}"));
    }
}

#[test]
fn unknown_fields_and_types_are_named() {
    let rows = [
        ("maxReplicas: 3\n  maxReplica: 4", "unknown field `maxReplica`, expected one of"),
        ("minReplicas: 3", "missing field `maxReplicas`"),
        ("maxReplicas: '3'", "spec.maxReplicas: invalid type: string \"3\", expected i32"),
        ("maxReplicas: 3000000000", "spec.maxReplicas: invalid value: integer `3000000000`, expected i32"),
        ("maxReplicas: 3\n  metrics: [{type: Foo}]", "spec.metrics[0].type: unknown variant `Foo`, expected one of"),
        (
            "maxReplicas: 3\n  behavior: {scaleUp: {selectPolicy: Most}}",
            "spec.behavior.scaleUp.selectPolicy: unknown variant `Most`",
        ),
        ("maxReplicas: 3\n  behavior: {scaleSideways: {}}", "unknown field `scaleSideways`"),
        (
            "maxReplicas: 3\n  metrics: [{type: Pods, pods: {metric: {name: q}, target: {type: AverageValue, averageValue: 1K}}}]",
            "`1K` is not a quantity, expected a number with",
        ),
        (
            "maxReplicas: 3\n  metrics: [{type: Pods, pods: {metric: {name: q}, target: {type: AverageValue, averageValue: true}}}]",
            "expected a quantity such as",
        ),
    ];
    for (lines, part) in rows {
        let found = refusal(&manifest(lines));
        assert!(found.starts_with("web.yaml: ") && found.contains(part), "{lines}: {found}");
    }
}
