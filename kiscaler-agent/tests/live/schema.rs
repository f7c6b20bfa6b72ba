//! What the API server lets through, and what it refuses.

use anyhow::Result;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::world::{World, merge};

fn valid() -> Value {
    json!({
        "mode": "Shadow",
        "pools": {"gpu": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triton"},
            "maxReplicas": 8,
            "profile": {"name": "bert-large-trt-fp16-seq128-t4"},
        }},
        "policy": {"baseline": "hpa:60"},
        "slo": {"latency": "250ms"},
        "metrics": {"preset": "Triton", "direct": {"endpoints": ["http://{ip}:8002/metrics"]}},
    })
}

/// (what it is about, change, what the refusal must say; nothing where it is to be accepted).
fn rows() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let gpu = |change: Value| json!({"pools": {"gpu": change}});
    let checkpoint = |change: Value| json!({"policy": {"baseline": null, "checkpoint": change}});
    let prometheus = |change: Value| json!({"metrics": {"direct": null, "prometheus": change}});
    let cpu = json!({
        "scaleTargetRef": {"name": "triton-cpu"}, "minReplicas": 0, "scaleToZero": true, "maxReplicas": 4,
        "profile": {"name": "resnet50-torch-fp32-i7-12700h"},
    });
    let same = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triton"}, "maxReplicas": 4,
        "profile": {"name": "resnet50-torch-fp32-i7-12700h"},
    });
    let key = json!({"name": "policy", "key": "policy.safetensors"});
    vec![
        ("as it is", json!({}), None),
        ("active", json!({"mode": "Active"}), None),
        ("another mode", json!({"mode": "Yolo"}), Some("Unsupported value: \"Yolo\"")),
        ("two pools", json!({"pools": {"cpu": cpu}}), None),
        ("two pools of one target", json!({"pools": {"cpu": same}}), Some("expected another")),
        ("no pool", json!({"pools": null}), Some("Required value")),
        ("no maximum", gpu(json!({"maxReplicas": null})), Some("Required value")),
        ("less than the minimum", gpu(json!({"minReplicas": 9})), Some("expected at most maxReplicas")),
        ("a negative minimum", gpu(json!({"minReplicas": -1})), Some("should be greater than or equal to 0")),
        ("to zero unasked", gpu(json!({"minReplicas": 0})), Some("unless scaleToZero")),
        ("to zero asked for", gpu(json!({"minReplicas": 0, "scaleToZero": true})), None),
        ("a step of nothing", gpu(json!({"maxStepUp": 0})), Some("should be greater than or equal to 1")),
        ("steps", gpu(json!({"maxStepUp": 4, "maxStepDown": 1})), None),
        ("a rate", gpu(json!({"rate": {"up": {"replicas": 4, "period": "1m"}}})), None),
        ("a rate without time", gpu(json!({"rate": {"up": {"replicas": 4}}})), Some("Required value")),
        (
            "a rate of no time",
            gpu(json!({"rate": {"up": {"replicas": 4, "period": "0s"}}})),
            Some("between 1s and 24h"),
        ),
        ("stabilisation", gpu(json!({"scaleDownStabilization": "5m"})), None),
        ("a time without a unit", gpu(json!({"scaleDownStabilization": "300"})), Some("should match")),
        ("a profile of one's own", gpu(json!({"profile": {"name": null, "inline": "name='x'"}})), None),
        ("two profiles", gpu(json!({"profile": {"inline": "name='x'"}})), Some("expected one of name, inline")),
        ("no profile", gpu(json!({"profile": {"name": null}})), Some("expected one of name, inline")),
        ("a cold start", gpu(json!({"coldStart": {"median": "90s", "p90": "2m"}})), None),
        ("an impossible cold start", gpu(json!({"coldStart": {"median": "90s", "p90": "1m"}})), Some("coldStart:")),
        ("a negative price", gpu(json!({"pricePerHour": -0.5})), Some("pricePerHour")),
        ("a target without a name", gpu(json!({"scaleTargetRef": {"name": ""}})), Some("at least 1 chars")),
        ("a checkpoint", checkpoint(json!({"configMapKeyRef": key})), None),
        ("a checkpoint in a Secret", checkpoint(json!({"secretKeyRef": key, "sha256": "a".repeat(64)})), None),
        ("a checkpoint nowhere", checkpoint(json!({})), Some("expected one of configMapKeyRef")),
        ("a checkpoint twice", checkpoint(json!({"configMapKeyRef": key, "path": "/p"})), Some("expected one of")),
        ("no digest", checkpoint(json!({"path": "/p", "sha256": "abc"})), Some("should match")),
        ("nobody decides", json!({"policy": {"baseline": null}}), Some("expected one of checkpoint and baseline")),
        (
            "two decide",
            json!({"policy": {"checkpoint": {"path": "/p"}}}),
            Some("expected one of checkpoint and baseline"),
        ),
        ("no latency", json!({"slo": {"latency": "0s"}}), Some("between 1ms and 1h")),
        ("a weight of nothing", json!({"costWeight": 0}), Some("above 0")),
        ("another weight", json!({"costWeight": 2.5}), None),
        ("too often", json!({"interval": "100ms"}), Some("between 1s and 1h")),
        ("no metrics", json!({"metrics": {"direct": null}}), Some("expected one of direct and prometheus")),
        ("metrics twice", json!({"metrics": {"prometheus": {"url": "http://p:9090"}}}), Some("expected one of direct")),
        ("no URL", json!({"metrics": {"direct": {"endpoints": ["{ip}:8002"]}}}), Some("http:// or https://")),
        ("no endpoint", json!({"metrics": {"direct": {"endpoints": []}}}), Some("at least 1 items")),
        ("Prometheus", prometheus(json!({"url": "https://p:9090", "ca": {"name": "ca", "key": "ca.crt"}})), None),
        (
            "two ways to sign in",
            prometheus(json!({"url": "http://p", "bearerToken": key, "basicAuth": {"username": key, "password": key}})),
            Some("at most one of bearerToken"),
        ),
        ("no past", prometheus(json!({"url": "http://p", "recall": "0s"})), None),
        (
            "two days of it",
            prometheus(json!({"url": "http://p", "recall": "48h"})),
            Some("recall: expected a time of at most"),
        ),
        ("HTTP without names", json!({"metrics": {"preset": "HTTP"}}), Some("expected with preset HTTP")),
        (
            "HTTP with names",
            json!({"metrics": {"preset": "HTTP", "http": {"latencyHistogram": "http_request_seconds"}}}),
            None,
        ),
        ("a share above all", json!({"safety": {"coverage": 1.5}}), Some("at most 1")),
        ("a fallback", json!({"fallback": "predictive"}), None),
        ("an empty fallback", json!({"fallback": ""}), Some("fallback: found nothing")),
    ]
}

#[test]
fn the_schema_accepts_and_refuses() -> Result<()> {
    let Some(world) = World::new("schema")? else { return Ok(()) };
    let kind =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("kiscaler.dev", "v1alpha1", "KIScaler"), "kiscalers");
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &kind);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let mut wrong = Vec::new();
    let rows = rows();
    assert!(rows.len() >= 30);
    for (what, change, refusal) in rows {
        let mut spec = valid();
        merge(&mut spec, change);
        let object = DynamicObject::new("row", &kind).data(json!({ "spec": spec }));
        let outcome = world.wait_on(api.create(&parameters, &object));
        match (outcome, refusal) {
            (Ok(_), None) => {}
            (Ok(_), Some(expected)) => wrong.push(format!("{what}: accepted, expected a refusal with {expected:?}")),
            (Err(error), None) => wrong.push(format!("{what}: refused: {error}")),
            (Err(error), Some(expected)) if error.to_string().contains(expected) => {}
            (Err(error), Some(expected)) => wrong.push(format!("{what}: refused with {error}, expected {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn kubectl_shows_what_matters_and_refuses_typos() -> Result<()> {
    let Some(world) = World::new("columns")? else { return Ok(()) };
    world.deploy("triton")?;
    world.scale("triton", json!({"mode": "Shadow"}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("a decision", std::time::Duration::from_secs(40), || Ok(!world.reason("triton")?.is_empty()))?;
    let table = world.cluster.kubectl(&["get", "kis", "--namespace", "columns"], None)?;
    let header: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(header, ["NAME", "TARGET", "MODE", "REPLICAS", "DESIRED", "POLICY", "REASON", "AGE"], "{table}");
    let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..3], ["triton", "triton", "Shadow"], "{table}");
    let typo = "{apiVersion: kiscaler.dev/v1alpha1, kind: KIScaler, metadata: {name: typo}, spec: {modus: Active}}";
    let error = world.cluster.kubectl(&["create", "--namespace", "columns", "-f", "-"], Some(typo)).unwrap_err();
    assert!(error.to_string().contains("unknown field \"spec.modus\""), "{error}");
    Ok(())
}
