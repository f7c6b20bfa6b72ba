//! Manifests: what is read, which defaults are filled in, and what is refused with which words.

use super::super::spec::{PrometheusTrigger, ResourceTrigger};
use super::*;
use crate::hpa::{ResourceName, ResourceTarget, SelectPolicy};

const PROMETHEUS: &str = "{type: prometheus, metadata: {serverAddress: http://p, query: q, threshold: '10'}}";

/// A manifest with the given annotations, lines of its spec and triggers.
fn manifest(annotations: &str, lines: &str, triggers: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: serve, annotations: {{{annotations}}}}}\n\
         spec:\n  scaleTargetRef: {{name: serve}}\n  triggers: [{triggers}]\n  {lines}\n"
    )
}

fn read_lines(lines: &str) -> Result<ScaledObject, String> {
    ScaledObject::from_yaml(&manifest("", lines, PROMETHEUS), "serve.yaml").map_err(|e| e.to_string())
}

fn read_triggers(triggers: &str) -> Result<ScaledObject, String> {
    ScaledObject::from_yaml(&manifest("", "", triggers), "serve.yaml").map_err(|e| e.to_string())
}

/// The refusal without the name of the file.
fn refusal(found: Result<ScaledObject, String>) -> String {
    match found {
        Ok(object) => format!("read: {object:?}"),
        Err(error) => error.strip_prefix("serve.yaml: ").unwrap_or(&error).to_owned(),
    }
}

const WHOLE: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: serve
  namespace: inference
  labels: {team: serving}
  annotations:
    autoscaling.keda.sh/paused-scale-in: "true"
    scaledobject.keda.sh/transfer-hpa-ownership: "true"
  creationTimestamp: "2025-01-01T00:00:00Z"
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: model, envSourceContainerName: main}
  pollingInterval: 5
  cooldownPeriod: 60
  initialCooldownPeriod: 90
  idleReplicaCount: 1
  minReplicaCount: 2
  maxReplicaCount: 20
  fallback: {failureThreshold: 3, replicas: 6, behavior: currentReplicasIfHigher}
  advanced:
    restoreToOriginalReplicaCount: true
    horizontalPodAutoscalerConfig:
      name: serve-hpa
      behavior: {scaleUp: {stabilizationWindowSeconds: 30, selectPolicy: Min}}
    scalingModifiers: {formula: "queue + day", target: "4.5", activationTarget: "1", metricType: Value}
  triggers:
  - type: prometheus
    name: queue
    useCachedMetrics: true
    metricType: Value
    metadata:
      serverAddress: http://prometheus:9090
      query: sum(vllm:num_requests_waiting)
      threshold: "2.5"
      activationThreshold: "0.5"
      ignoreNullValues: "false"
      namespace: monitoring
      timeout: "1000"
    authenticationRef: {name: prometheus-auth, kind: ClusterTriggerAuthentication}
  - {type: cpu, metricType: Utilization, metadata: {value: "60"}}
  - {type: memory, metricType: AverageValue, metadata: {value: 2Gi, containerName: main}}
  - type: cron
    name: day
    metadata: {timezone: Etc/GMT-8, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desiredReplicas: "4"}
status: {hpaName: serve-hpa}
"#;

#[test]
fn a_manifest_with_everything() {
    let object = ScaledObject::from_yaml(WHOLE, "serve.yaml").expect("the whole manifest");
    assert_eq!((object.name.as_str(), object.namespace.as_str()), ("serve", "inference"));
    assert_eq!(object.labels.get("team").map(String::as_str), Some("serving"));
    assert_eq!(object.annotations.len(), 2);
    assert_eq!((object.pause, object.pause_scale_in, object.pause_scale_out), (None, true, false));
    assert_eq!((object.scale_target.kind.as_str(), object.scale_target.name.as_str()), ("StatefulSet", "model"));
    let seconds = [object.polling_interval, object.cooldown, object.initial_cooldown].map(|d| d.as_secs());
    assert_eq!(seconds, [5, 60, 90]);
    assert_eq!((object.idle_replicas, object.min_replicas, object.max_replicas), (Some(1), 2, 20));
    let behavior = FallbackBehavior::CurrentReplicasIfHigher;
    assert_eq!(object.fallback, Some(Fallback { failure_threshold: 3, replicas: 6, behavior }));
    assert!(object.restore_original && !object.force_activation);
    assert_eq!(object.hpa_name, "serve-hpa");
    let up = object.behavior.expect("a behavior").scale_up;
    assert_eq!((up.window_seconds, up.select), (Some(30), SelectPolicy::Min));
    let modifiers = object.modifiers.expect("modifiers");
    assert_eq!((modifiers.formula.text(), modifiers.target, modifiers.activation_target), ("queue + day", 4.5, 1.0));
    assert_eq!((modifiers.metric_target, modifiers.target_is_whole), (MetricTarget::Value, false));

    let [queue, cpu, memory, day] = object.triggers.as_slice() else { panic!("{:?}", object.triggers) };
    assert_eq!((queue.name.as_deref(), queue.authentication.as_deref()), (Some("queue"), Some("prometheus-auth")));
    assert!(queue.use_cached_metrics && !cpu.use_cached_metrics);
    let prometheus = PrometheusTrigger {
        server_address: "http://prometheus:9090".to_owned(),
        query: "sum(vllm:num_requests_waiting)".to_owned(),
        threshold: 2.5,
        activation_threshold: 0.5,
        ignore_null_values: false,
        metric_target: MetricTarget::Value,
    };
    assert_eq!(queue.kind, TriggerKind::Prometheus(prometheus));
    let (resource, target) = (ResourceName::Memory, ResourceTarget::AverageValue(2_147_483_648_000));
    assert_eq!(
        memory.kind,
        TriggerKind::Resource(ResourceTrigger { resource, container: Some("main".to_owned()), target })
    );
    let TriggerKind::Cron(cron) = &day.kind else { panic!("{day:?}") };
    assert_eq!((cron.offset.seconds(), cron.desired_replicas, cron.end.text()), (8 * 3600, 4, "0 18 * * 1-5"));
}

#[test]
fn defaults() {
    let object = read_lines("").expect("the shortest manifest");
    assert_eq!(object.namespace, "default");
    assert_eq!(object.scale_target.api_version, "apps/v1");
    assert_eq!(object.scale_target.kind, "Deployment");
    let seconds = [object.polling_interval, object.cooldown, object.initial_cooldown].map(|d| d.as_secs());
    assert_eq!(seconds, [30, 300, 0]);
    assert_eq!((object.idle_replicas, object.min_replicas, object.max_replicas), (None, 0, 100));
    assert_eq!((object.hpa_name.as_str(), object.behavior, object.modifiers), ("keda-hpa-serve", None, None));
    assert_eq!((object.fallback, object.pause, object.restore_original), (None, None, false));
    let [trigger] = object.triggers.as_slice() else { panic!("{:?}", object.triggers) };
    assert_eq!((trigger.name.as_deref(), trigger.use_cached_metrics), (None, false));
    let TriggerKind::Prometheus(prometheus) = &trigger.kind else { panic!("{trigger:?}") };
    assert!(prometheus.ignore_null_values);
    assert_eq!((prometheus.activation_threshold, prometheus.metric_target), (0.0, MetricTarget::AverageValue));
    // A fallback's, and modifiers of no content.
    let object = read_lines("fallback: {failureThreshold: 0, replicas: 0}\n  advanced: {scalingModifiers: {}}");
    let object = object.expect("a fallback");
    assert_eq!(object.fallback.map(|f| f.behavior), Some(FallbackBehavior::Static));
    assert_eq!(object.modifiers, None);
}

#[test]
fn what_a_manifest_is() {
    let rows = [
        ("kind: Deployment\napiVersion: apps/v1", "kind is `Deployment`, expected `ScaledObject`"),
        ("apiVersion: keda.sh/v1alpha1", "kind is absent, expected `ScaledObject`"),
        ("kind: ScaledObject\napiVersion: keda.sh/v2", "apiVersion is `keda.sh/v2`, expected `keda.sh/v1alpha1`"),
        ("kind: ScaledJob\napiVersion: keda.sh/v1alpha1", "kind is `ScaledJob`, expected `ScaledObject`"),
    ];
    for (text, sentence) in rows {
        let found = ScaledObject::from_yaml(text, "serve.yaml").map_err(|e| e.to_string());
        assert_eq!(refusal(found), sentence, "{text}");
    }
    for (lines, parts) in [
        ("pollInterval: 5", ["spec: unknown field `pollInterval`", "at line 7"]),
        ("pollingInterval: soon", ["spec.pollingInterval: invalid type: string \"soon\"", "at line 7"]),
        ("advanced: {scalingModifiers: {target: 5}}", ["scalingModifiers.target: invalid type: integer `5`", "a text"]),
        ("advanced: {hpa: {}}", ["spec.advanced: unknown field `hpa`", "horizontalPodAutoscalerConfig"]),
        ("fallback: {replicas: 5}", ["missing field `failureThreshold`", "spec.fallback"]),
    ] {
        let found = refusal(read_lines(lines));
        assert!(parts.iter().all(|part| found.contains(part)), "{lines}: {found}");
    }
    // KEDA's parameters of triggers are texts.
    let found = refusal(read_triggers("{type: cpu, metricType: Utilization, metadata: {value: 60}}"));
    assert!(
        found.contains("spec.triggers[0].metadata.value: invalid type: integer `60`, expected a text, in quotes"),
        "{found}"
    );
}

#[test]
fn specs_that_are_refused() {
    const FORMULA: &str = "advanced: {scalingModifiers: {formula: FORMULA, target: '2'}}";
    let rows = [
        ("pollingInterval: 0", "spec.pollingInterval is 0, expected at least 1"),
        ("cooldownPeriod: -1", "spec.cooldownPeriod is -1, expected at least 0"),
        ("initialCooldownPeriod: -5", "spec.initialCooldownPeriod is -5, expected at least 0"),
        ("minReplicaCount: -1", "spec.minReplicaCount is -1, expected at least 0"),
        ("maxReplicaCount: 0", "spec.maxReplicaCount is 0, expected at least 1"),
        ("minReplicaCount: 101", "spec.minReplicaCount is 101, expected at most spec.maxReplicaCount, which is 100"),
        (
            "{minReplicaCount: 3, maxReplicaCount: 2}",
            "spec.minReplicaCount is 3, expected at most spec.maxReplicaCount, which is 2",
        ),
        ("idleReplicaCount: 0", "spec.idleReplicaCount is 0, expected less than spec.minReplicaCount, which is absent"),
        (
            "{minReplicaCount: 2, idleReplicaCount: 2}",
            "spec.idleReplicaCount is 2, expected less than spec.minReplicaCount, which is 2",
        ),
        ("{minReplicaCount: 2, idleReplicaCount: -1}", "spec.idleReplicaCount is -1, expected at least 0"),
        ("fallback: {failureThreshold: -1, replicas: 1}", "spec.fallback.failureThreshold is -1, expected at least 0"),
        ("fallback: {failureThreshold: 1, replicas: -1}", "spec.fallback.replicas is -1, expected at least 0"),
        (
            "fallback: {failureThreshold: 1, replicas: 1, behavior: lower}",
            "spec.fallback.behavior is `lower`, expected static, currentReplicas, currentReplicasIfHigher, \
             currentReplicasIfLower or scalingModifiers",
        ),
        (
            "fallback: {failureThreshold: 1, replicas: 1, behavior: scalingModifiers}",
            "spec.fallback.behavior is `scalingModifiers`, expected another behavior without \
             spec.advanced.scalingModifiers.formula",
        ),
        (
            "advanced: {scalingModifiers: {target: '2'}}",
            "spec.advanced.scalingModifiers.formula is absent, expected a formula and its target, both or neither",
        ),
        (
            "advanced: {scalingModifiers: {formula: '1'}}",
            "spec.advanced.scalingModifiers.target is absent, expected a formula and its target, both or neither",
        ),
        (
            "advanced: {scalingModifiers: {formula: '1', target: '0'}}",
            "spec.advanced.scalingModifiers.target is `0`, expected a number above 0",
        ),
        (
            "advanced: {scalingModifiers: {formula: '1', target: '1', activationTarget: some}}",
            "spec.advanced.scalingModifiers.activationTarget is `some`, expected a number",
        ),
        (
            "advanced: {scalingModifiers: {formula: '1', target: '1', metricType: Utilization}}",
            "spec.advanced.scalingModifiers.metricType is `Utilization`, expected AverageValue or Value",
        ),
        (
            "advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleUp: {stabilizationWindowSeconds: 3601}}}}",
            "spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.stabilizationWindowSeconds is 3601, \
             expected 0 to 3600",
        ),
        (
            "advanced: {horizontalPodAutoscalerConfig: {behavior: {up: {}}}}",
            "spec.advanced.horizontalPodAutoscalerConfig.behavior: unknown field `up`, expected `scaleUp` or `scaleDown`",
        ),
    ];
    for (lines, sentence) in rows {
        let lines = lines.strip_prefix("{min").map_or_else(
            || lines.to_owned(),
            |rest| format!("min{}", rest.trim_end_matches('}').replace(", ", "\n  ")),
        );
        assert_eq!(refusal(read_lines(&lines)), sentence, "{lines}");
    }
    let formula = |text: &str| refusal(read_lines(&FORMULA.replace("FORMULA", text)));
    assert_eq!(
        formula("one + 1"),
        "spec.advanced.scalingModifiers.formula is `one + 1` with `one` at position 1, expected no name: no trigger has one"
    );
    assert_eq!(
        formula("'1 +'"),
        "spec.advanced.scalingModifiers.formula is `1 +` with the end at position 4, expected a number, a name, a \
         function, an array or a parenthesis"
    );
    assert_eq!(
        formula("'max([])'"),
        "spec.advanced.scalingModifiers.formula is `max([])` with an array without elements at position 1, expected at \
         least one element"
    );
}

#[test]
fn triggers_that_are_refused() {
    let prometheus = |parameters: &str| format!("{{type: prometheus, metadata: {{{parameters}}}}}");
    let cron = |parameters: &str| format!("{{type: cron, metadata: {{{parameters}}}}}");
    const MEMORY: &str = "{type: memory, metricType: AverageValue, metadata: {value: VALUE}}";
    const ZONES: &str = "expected UTC or a zone without summer time from Etc/GMT-14 to Etc/GMT+12";
    let rows = [
        (String::new(), "spec.triggers is empty, expected at least one trigger".to_owned()),
        (
            "{type: kafka, metadata: {}}".to_owned(),
            "spec.triggers[0].type is `kafka`, expected prometheus, cpu, memory or cron".to_owned(),
        ),
        (
            format!("{}, {}", PROMETHEUS.replace("{type", "{name: a, type"), PROMETHEUS.replace("{type", "{name: a, type")),
            "spec.triggers[1].name is `a`, expected another name than that of spec.triggers[0]".to_owned(),
        ),
        (
            prometheus("query: q, threshold: '1'"),
            "spec.triggers[0].metadata.serverAddress is absent, expected the address of a Prometheus server".to_owned(),
        ),
        (
            prometheus("serverAddress: p, query: ' ', threshold: '1'"),
            "spec.triggers[0].metadata.query is absent, expected a query".to_owned(),
        ),
        (
            prometheus("serverAddress: p, query: q, threshold: much"),
            "spec.triggers[0].metadata.threshold is `much`, expected a number above 0".to_owned(),
        ),
        (
            prometheus("serverAddress: p, query: q, threshold: '0.0004'"),
            "spec.triggers[0].metadata.threshold is `0.0004`, expected a number above 0".to_owned(),
        ),
        (
            prometheus("serverAddress: p, query: q, threshold: '1', activationThreshold: x"),
            "spec.triggers[0].metadata.activationThreshold is `x`, expected a number".to_owned(),
        ),
        (
            prometheus("serverAddress: p, query: q, threshold: '1', ignoreNullValues: 'yes'"),
            "spec.triggers[0].metadata.ignoreNullValues is `yes`, expected true or false".to_owned(),
        ),
        (
            PROMETHEUS.replace("{type", "{metricType: Utilization, type"),
            "spec.triggers[0].metricType is `Utilization`, expected AverageValue or Value".to_owned(),
        ),
        (
            "{type: cpu, metricType: Utilization, metadata: {value: '50', type: Utilization}}".to_owned(),
            "spec.triggers[0].metadata.type is present, expected one of the parameters value, containerName".to_owned(),
        ),
        (
            "{type: cpu, metadata: {value: '50'}}".to_owned(),
            "spec.triggers[0].metricType is absent, expected Utilization or AverageValue".to_owned(),
        ),
        (
            "{type: cpu, metricType: Value, metadata: {value: '50'}}".to_owned(),
            "spec.triggers[0].metricType is `Value`, expected Utilization or AverageValue".to_owned(),
        ),
        (
            "{type: cpu, metricType: Utilization, metadata: {value: 50%}}".to_owned(),
            "spec.triggers[0].metadata.value is `50%`, expected a whole number of per cent of at least 1, by metricType"
                .to_owned(),
        ),
        (
            MEMORY.replace("VALUE", "2GB"),
            "spec.triggers[0].metadata.value is `2GB`, expected a quantity above 0 such as 500m or 2Gi, by metricType"
                .to_owned(),
        ),
        (
            MEMORY.replace("VALUE", "2Gi").replace("{type", "{useCachedMetrics: true, type"),
            "spec.triggers[0].useCachedMetrics is true, expected false for a trigger of type memory".to_owned(),
        ),
        (
            MEMORY.replace("VALUE", "2Gi"),
            "spec.minReplicaCount is absent, expected at least 1 where all triggers are cpu or memory".to_owned(),
        ),
        // TestCronParseMetadata.
        (
            cron("start: 30 * * * *, end: 45 * * * *, desiredReplicas: '10'"),
            format!("spec.triggers[0].metadata.timezone is absent, {ZONES}"),
        ),
        (
            cron("timezone: UTC, start: 30 * * * *, end: 45 * * * *"),
            "spec.triggers[0].metadata.desiredReplicas is absent, expected a whole number of replicas of at least 1"
                .to_owned(),
        ),
        (
            cron("timezone: UTC, start: '-30 * * * *', end: 45 * * * *, desiredReplicas: '10'"),
            "spec.triggers[0].metadata.start is `-30` for the minute, expected *, a number from 0 to 59, a range such as \
             0-59 or a step such as */2"
                .to_owned(),
        ),
        (
            cron("timezone: UTC, start: 30 * * * *, end: 50 * * -3 *, desiredReplicas: '10'"),
            "spec.triggers[0].metadata.end is `-3` for the month, expected *, a number from 1 to 12, a range such as \
             1-12 or a step such as */2"
                .to_owned(),
        ),
        (
            cron("timezone: UTC, start: 30 * * * *, end: 30 * * * *, desiredReplicas: '10'"),
            "spec.triggers[0].metadata.end is `30 * * * *`, expected another schedule than start".to_owned(),
        ),
        (
            cron("timezone: Asia/Kolkata, start: 30-33 * * * *, end: 45 * * * *, desiredReplicas: '10'"),
            format!("spec.triggers[0].metadata.timezone is `Asia/Kolkata`, {ZONES}"),
        ),
    ];
    for (triggers, sentence) in rows {
        assert_eq!(refusal(read_triggers(&triggers)), sentence, "{triggers}");
    }
}

#[test]
fn names_and_annotations_that_are_refused() {
    let long = manifest("", "", PROMETHEUS).replace("{name: serve, ann", &format!("{{name: {}, ann", "s".repeat(55)));
    let read = |text: &str| refusal(ScaledObject::from_yaml(text, "serve.yaml").map_err(|e| e.to_string()));
    assert_eq!(
        read(&long),
        "metadata.name is 55 characters long, expected at most 54 without a \
         spec.advanced.horizontalPodAutoscalerConfig.name"
    );
    let named = long.replace("spec:\n", "spec:\n  advanced: {horizontalPodAutoscalerConfig: {name: short}}\n");
    assert!(ScaledObject::from_yaml(&named, "serve.yaml").is_ok());
    assert_eq!(
        read(&long.replace(&"s".repeat(55), &"s".repeat(64))),
        "metadata.name is 64 characters long, expected at most 63"
    );
    assert_eq!(read(&long.replace(&"s".repeat(55), "''")), "metadata.name is empty, expected a name");
    assert_eq!(
        read(&manifest("autoscaling.keda.sh/paused-replicas: some", "", PROMETHEUS)),
        "metadata.annotations.autoscaling.keda.sh/paused-replicas is `some`, expected a whole number of at least 0"
    );
    let cpu = "{type: cpu, metricType: Utilization, metadata: {value: '50'}}";
    let fallback = "minReplicaCount: 1\n  fallback: {failureThreshold: 1, replicas: 1}";
    assert_eq!(
        read(&manifest("", fallback, cpu)),
        "spec.fallback is present, expected no fallback where all triggers are cpu or memory"
    );
}
