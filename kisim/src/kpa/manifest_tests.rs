//! Manifests: what is read, which defaults hold, and what is refused with which words. Rows named as in upstream's
//! `annotation_validation_test.go` and `config_test.go` are theirs.

use std::time::Duration;

use super::wire::duration_ns;
use super::{KpaMetric, KpaSpec};

fn service(annotations: &[(&str, &str)], config: &[(&str, &str)]) -> String {
    let lines = |prefix: &str, pairs: &[(&str, &str)]| -> String {
        pairs.iter().map(|(key, value)| format!("{prefix}{key}: \"{value}\"\n")).collect()
    };
    let mut text = format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: serve}}\nspec:\n  template:\n    \
         metadata:\n      annotations:\n        other.example/x: \"1\"\n{}    \
         spec: {{containers: [{{image: serve, resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]}}\n",
        lines("        autoscaling.knative.dev/", annotations)
    );
    if !config.is_empty() {
        text += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: config-autoscaler}\ndata:\n";
        text += &lines("  ", config);
    }
    text
}

fn read(annotations: &[(&str, &str)], config: &[(&str, &str)]) -> Result<KpaSpec, String> {
    KpaSpec::from_yaml(&service(annotations, config), "serve.yaml").map_err(|e| e.to_string())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn defaults() {
    let spec = read(&[], &[]).unwrap();
    assert_eq!(spec, KpaSpec::default());
    assert!((spec.target_per_pod() - 70.0).abs() < 1e-12);
    assert_eq!((spec.tick, spec.stable_window, spec.panic_window()), (secs(2), secs(60), secs(6)));
    assert_eq!(read(&[], &[("_example", "all of it")]).unwrap(), spec);
}

#[test]
fn every_annotation_and_key() {
    let spec = read(
        &[
            ("class", "kpa.autoscaling.knative.dev"),
            ("metric", "rps"),
            ("target", "150.5"),
            ("target-utilization-percentage", "80"),
            ("target-burst-capacity", "-1"),
            ("min-scale", "2"),
            ("max-scale", "9"),
            ("initial-scale", "0"),
            ("activation-scale", "3"),
            ("scale-down-delay", "15m"),
            ("scale-to-zero-pod-retention-period", "1m5s"),
            ("window", "40s"),
            ("panic-window-percentage", "20.0"),
            ("panic-threshold-percentage", "150.0"),
        ],
        &[
            ("pod-autoscaler-class", "kpa.autoscaling.knative.dev"),
            ("container-concurrency-target-percentage", "50"),
            ("container-concurrency-target-default", "10"),
            ("requests-per-second-target-default", "20"),
            ("target-burst-capacity", "7"),
            ("stable-window", "100s"),
            ("panic-window-percentage", "30"),
            ("panic-threshold-percentage", "300"),
            ("max-scale-up-rate", "10.5"),
            ("max-scale-down-rate", "3"),
            ("enable-scale-to-zero", "false"),
            ("scale-to-zero-grace-period", "45s"),
            ("scale-to-zero-pod-retention-period", "1s"),
            ("scale-down-delay", "2s"),
            ("initial-scale", "4"),
            ("allow-zero-initial-scale", "true"),
            ("min-scale", "1"),
            ("max-scale", "5"),
            ("max-scale-limit", "10"),
            ("activator-capacity", "120"),
        ],
    )
    .unwrap();
    let want = KpaSpec {
        metric: KpaMetric::Rps,
        container_concurrency: 0,
        target: 150.5,
        target_utilization_percentage: 80.0,
        target_burst_capacity: -1.0,
        min_scale: 2,
        max_scale: 9,
        max_scale_limit: 10,
        initial_scale: 0,
        allow_zero_initial_scale: true,
        activation_scale: 3,
        scale_down_delay: secs(900),
        stable_window: secs(40),
        panic_window_percentage: 20.0,
        panic_threshold_percentage: 150.0,
        max_scale_up_rate: 10.5,
        max_scale_down_rate: 3.0,
        enable_scale_to_zero: false,
        scale_to_zero_grace_period: secs(45),
        scale_to_zero_pod_retention_period: secs(65),
        activator_capacity: 120.0,
        ..KpaSpec::default()
    };
    assert_eq!(spec, want);
    assert_eq!(KpaSpec::from_yaml(&want.to_yaml("serve \"1\""), "again.yaml").unwrap(), want);
}

#[test]
fn targets() {
    // `ResolveMetricTarget`: annotations, keys, containerConcurrency, target per pod.
    let revision = |limit: u32, annotations: &str| {
        let text = format!(
            "apiVersion: autoscaling.internal.knative.dev/v1alpha1\nkind: PodAutoscaler\n\
             metadata: {{annotations: {{{annotations}}}}}\nspec: {{containerConcurrency: {limit}, protocolType: http1}}"
        );
        KpaSpec::from_yaml(&text, "pa.yaml").unwrap()
    };
    let key = |name: &str, value: &str| format!("autoscaling.knative.dev/{name}: '{value}'");
    for (limit, annotations, want) in [
        (0, String::new(), 70.0),
        (10, String::new(), 7.0),
        (10, key("target", "5"), 3.5),
        (10, key("target", "50"), 7.0),
        (0, key("target", "0.01"), 0.01),
        (10, key("metric", "rps"), 140.0),
        (10, format!("{}, {}", key("metric", "rps"), key("target", "50")), 35.0),
        (0, key("targetUtilizationPercentage", "100"), 100.0),
    ] {
        let got = revision(limit, &annotations).target_per_pod();
        assert!((got - want).abs() < 1e-9, "{limit} {annotations}: {got}");
    }
    let spec = read(&[], &[("container-concurrency-target-percentage", "0.5")]).unwrap();
    assert!((spec.target_per_pod() - 50.0).abs() < 1e-9);
}

#[test]
fn refused() {
    type Pairs = &'static [(&'static str, &'static str)];
    let annotation = "spec.template.metadata.annotations.autoscaling.knative.dev";
    let rows: [(&str, Pairs, Pairs, String); 34] = [
        (
            "minScale is -1",
            &[("min-scale", "-1")],
            &[],
            format!("{annotation}/min-scale is `-1`, expected an integer from 0"),
        ),
        ("maxScale is -1", &[("maxScale", "-1")], &[], format!("{annotation}/maxScale is `-1`")),
        ("minScale is foo", &[("min-scale", "foo")], &[], "is `foo`, expected an integer".into()),
        (
            "minScale is 5, maxScale is 2",
            &[("min-scale", "5"), ("max-scale", "2")],
            &[],
            "max-scale is 2, expected 0 or at least min-scale, which is 5".into(),
        ),
        (
            "max-scale over the limit",
            &[("max-scale", "8")],
            &[("max-scale-limit", "6"), ("max-scale", "1")],
            "max-scale is `8`, expected 1 to max-scale-limit, which is 6".into(),
        ),
        (
            "no max-scale with a limit",
            &[("max-scale", "0")],
            &[("max-scale-limit", "6"), ("max-scale", "1")],
            "max-scale is `0`".into(),
        ),
        (
            "panic window percentage too small",
            &[("panic-window-percentage", "-1")],
            &[],
            "is `-1`, expected a number from 1 to 100".into(),
        ),
        ("panic window percentage too big", &[("panic-window-percentage", "101")], &[], "is `101`".into()),
        (
            "panic threshold too small",
            &[("panic-threshold-percentage", "109")],
            &[],
            "expected a number from 110 to 1000".into(),
        ),
        ("panic threshold too big", &[("panic-threshold-percentage", "10000")], &[], "is `10000`".into()),
        ("target negative", &[("target", "-42")], &[], "target is `-42`, expected a number of at least 0.01".into()),
        ("target 0", &[("target", "0")], &[], "target is `0`".into()),
        ("target not a number", &[("target", "NaN")], &[], "target is `NaN`".into()),
        ("TU too small", &[("target-utilization-percentage", "0")], &[], "expected a number from 1 to 100".into()),
        (
            "window too short",
            &[("window", "1s")],
            &[],
            "window is `1s`, expected a duration such as `60s` from 6 s to 3600 s".into(),
        ),
        ("window too long", &[("window", "365h")], &[], "window is `365h`".into()),
        ("window too precise", &[("window", "1m9s82ms")], &[], "window is `1m9s82ms`, expected whole seconds".into()),
        ("scale down delay with sub-second", &[("scale-down-delay", "7.5s")], &[], "expected whole seconds".into()),
        ("last pod retention bad", &[("scale-to-zero-pod-retention-period", "-1s")], &[], "from 0 s to 3600 s".into()),
        ("TBC negative", &[("target-burst-capacity", "-7")], &[], "expected -1 or a number of at least 0".into()),
        (
            "other than HPA and KPA class",
            &[("class", "other")],
            &[],
            "class is `other`, expected `kpa.autoscaling.knative.dev`".into(),
        ),
        (
            "invalid metric for default class(KPA)",
            &[("metric", "memory")],
            &[],
            "cpu and memory are for the class hpa.autoscaling.knative.dev".into(),
        ),
        (
            "initial scale is zero but cluster doesn't allow",
            &[("initial-scale", "0")],
            &[],
            "initial-scale is `0`, expected an integer from 1".into(),
        ),
        ("activation scale", &[("activation-scale", "0")], &[], "expected an integer from 1".into()),
        (
            "malformed float",
            &[],
            &[("max-scale-up-rate", "not a float")],
            "data.max-scale-up-rate is `not a float`".into(),
        ),
        ("malformed duration", &[], &[("stable-window", "not a duration")], "data.stable-window".into()),
        ("invalid target burst capacity", &[], &[("target-burst-capacity", "-11")], "-1 or".into()),
        ("invalid target %, too big", &[], &[("container-concurrency-target-percentage", "142.4")], "up to 100".into()),
        ("max scale up rate 1.0", &[], &[("max-scale-up-rate", "1")], "expected a number above 1".into()),
        ("max down down rate negative", &[], &[("max-scale-down-rate", "-55")], "data.max-scale-down-rate".into()),
        ("stable not seconds", &[], &[("stable-window", "61984ms")], "whole seconds".into()),
        ("grace period 0", &[], &[("scale-to-zero-grace-period", "0s")], "above 0".into()),
        ("ActivatorCapacity 0", &[], &[("activator-capacity", "0.95")], "at least 1".into()),
        ("unknown key", &[], &[("tick-interval", "2s")], "data.tick-interval is present, expected one of".into()),
    ];
    for (name, annotations, config, want) in rows {
        let error = read(annotations, config).unwrap_err();
        assert!(error.starts_with("serve.yaml: ") && error.contains(&want), "{name}: {error}");
    }
}

#[test]
fn refused_as_a_whole() {
    let head = "apiVersion: serving.knative.dev/v1\nkind: ";
    for (text, want) in [
        (String::new(), "kind is absent, expected a `Service`"),
        ("kind: Deployment".into(), "kind is `Deployment`, expected a `Service`"),
        ("apiVersion: v1\nkind: Service".into(), "apiVersion is `v1`, expected `serving.knative.dev/v1`"),
        (format!("{head}Revision\nmetadata: {{}}\nspc: {{}}"), "unknown field `spc`"),
        (format!("{head}Service\nmetadata: {{}}\nspec: {{template: {{}}, x: 1}}"), "unknown field `x`"),
        (
            format!("{head}Revision\nmetadata: {{}}\nspec: {{containerConcurrency: -1}}"),
            "spec.containerConcurrency is -1, expected 0 to 1000",
        ),
        (
            format!(
                "{head}Service\nmetadata: {{annotations: {{autoscaling.knative.dev/min-scale: '1'}}}}\nspec: {{template: {{}}}}"
            ),
            "metadata.annotations.autoscaling.knative.dev/min-scale is present",
        ),
        (
            format!("{head}Revision\nmetadata: {{annotations: {{autoscaling.knative.dev/mim: '1'}}}}"),
            "autoscaling.knative.dev/mim is present, expected one of class, metric",
        ),
        (format!("{head}Revision\nmetadata: {{}}\n---\n{head}Revision\nmetadata: {{}}"), "`Revision` once more"),
        (
            format!("{head}Revision\nmetadata: {{}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: other}}"),
            "is `other`, expected `config-autoscaler`",
        ),
        ("{".into(), "serve.yaml: "),
    ] {
        let error = KpaSpec::from_yaml(&text, "serve.yaml").unwrap_err().to_string();
        assert!(error.starts_with("serve.yaml: ") && error.contains(want), "{text}: {error}");
    }
}

#[test]
fn durations_of_go() {
    for (text, want) in [
        ("0", Some(0)),
        ("60s", Some(60_000_000_000)),
        ("1h15m30.918s", Some(4_530_918_000_000)),
        ("-.5m", Some(-30_000_000_000)),
        ("+1.5µs", Some(1_500)),
        ("5.s", Some(5_000_000_000)),
        ("", None),
        ("-", None),
        ("60", None),
        (".s", None),
        ("1d", None),
        ("1.2.3s", None),
        ("9999999999h", None),
    ] {
        assert_eq!(duration_ns(text), want, "{text}");
    }
}
