//! What it does when something is wrong: nothing, and it says so; and that it goes on when it is right again.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::proxy::Proxy;
use crate::world::{Answer, World, text};

const SOON: Duration = Duration::from_secs(45);
const POLICY: &[u8] = include_bytes!("../../../kiscaler-train/policies/default.safetensors");

#[test]
fn metrics_that_are_missing_stale_or_no_numbers_hold() -> Result<()> {
    let Some(world) = World::new("metrics")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(50.0, 1));
    world.scale("triton", json!({}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("a decision", SOON, || Ok(world.reason("triton")? == "Steady"))?;
    let without = text("", 100.0, 30, 1).lines().filter(|l| !l.starts_with("DCGM")).collect::<Vec<_>>().join("\n");
    let faults = [
        ("an error", Answer::Status(500), "answered 500"),
        ("no answer", Answer::Silence, "no answer"),
        ("no metrics", Answer::Text("<html>sorry</html>".into()), "expected a metric's name"),
        ("no series of ours", Answer::Text("go_goroutines 7\n".into()), "none of the metrics"),
        ("one series missing", Answer::Text(without), "has no GPU utilization"),
        ("NaN", Answer::Text("DCGM_FI_DEV_GPU_UTIL NaN\n".into()), "no number of GPU utilization"),
        ("empty", Answer::Text(String::new()), "none of the metrics"),
    ];
    for (what, answer, said) in faults {
        world.exporter.set(answer);
        world.until(what, SOON, || Ok(["NoMetrics", "StaleMetrics"].contains(&world.reason("triton")?.as_str())))?;
        assert_eq!(world.condition("triton", "MetricsAvailable")?.0, "False", "{what}");
        assert_eq!(world.replicas("triton")?, 1, "{what}");
        let message = world.message("triton")?;
        assert!(message.contains(said), "{what}: {message}");
        world.exporter.set(Answer::Busy(50.0, 1));
        world.until("it to go on", SOON, || Ok(world.reason("triton")? == "Steady"))?;
    }
    Ok(())
}

fn policy(world: &World, bytes: &[u8]) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("policy".into()), ..ObjectMeta::default() },
        binary_data: Some([("policy".to_owned(), ByteString(bytes.to_vec()))].into()),
        ..ConfigMap::default()
    };
    world.wait_on(async {
        match api.get_opt("policy").await? {
            None => api.create(&PostParams::default(), &map).await,
            Some(_) => {
                let patch = json!({"binaryData": map.binary_data});
                api.patch("policy", &PatchParams::default(), &Patch::Merge(patch)).await
            }
        }
    })?;
    Ok(())
}

fn by_policy(sha256: Option<&str>) -> serde_json::Value {
    let key = json!({"name": "policy", "key": "policy"});
    json!({
        "interval": "15s",
        "policy": {"baseline": null, "checkpoint": {"configMapKeyRef": key, "sha256": sha256}},
        "safety": {"warmUp": "0s", "staleAfter": "60s"},
        "metrics": {"window": "60s"},
    })
}

#[test]
fn a_checkpoint_is_loaded_as_it_is_or_refused_with_a_reason() -> Result<()> {
    let Some(world) = World::new("checkpoint")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(50.0, 1));
    policy(&world, POLICY)?;
    world.scale("good", by_policy(None))?;
    let wrong = "0".repeat(64);
    world.deploy("good")?;
    world.deploy("pinned")?;
    world.scale("pinned", by_policy(Some(&wrong)))?;
    world.deploy("rescued")?;
    let mut rescued = by_policy(Some(&wrong));
    rescued["fallback"] = json!("fixed:2");
    world.scale("rescued", rescued)?;
    world.deploy("slow")?;
    let mut slow = by_policy(None);
    slow["interval"] = json!("5s");
    world.scale("slow", slow)?;
    let _agent = world.agent("a", &["--no-leader-election"])?;

    world.until("the policy to be loaded", SOON, || {
        let scaler = world.scaler("good")?;
        Ok(scaler.status.and_then(|s| s.policy).and_then(|p| p.sha256).is_some())
    })?;
    assert_eq!(world.condition("good", "PolicyLoaded")?, ("True".into(), "Loaded".into()));
    let refused = |name: &str, said: &str| -> Result<()> {
        world.until(said, SOON, || Ok(world.condition(name, "PolicyLoaded")?.1 == "PolicyUnavailable"))?;
        let status = world.scaler(name)?.status.unwrap_or_default();
        let message = status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "PolicyLoaded");
        let message = message.map(|c| c.message).unwrap_or_default();
        assert!(message.contains(said), "{name}: {message}");
        Ok(())
    };
    refused("pinned", &format!("expected {wrong}"))?;
    assert_eq!(world.replicas("pinned")?, 1);
    refused("slow", "control interval: found 15s, expected 5s")?;
    // A baseline stands in, and the condition says for what.
    refused("rescued", "expected 0000")?;
    world.until("the baseline to act", SOON, || Ok(world.replicas("rescued")? == 2))?;

    policy(&world, &POLICY[..POLICY.len() / 2])?;
    refused("good", "checkpoint configmap/policy/policy")?;
    policy(&world, POLICY)?;
    world
        .until("the whole one", Duration::from_secs(90), || Ok(world.condition("good", "PolicyLoaded")?.0 == "True"))?;
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), "checkpoint");
    world.wait_on(api.delete("policy", &Default::default()))?;
    refused("good", "found no object of that name")
}

#[test]
fn what_the_schema_cannot_know_is_said_in_the_conditions() -> Result<()> {
    let Some(world) = World::new("invalid")? else { return Ok(()) };
    world.deploy("triton")?;
    world.scale("triton", json!({"pools": {"gpu": {"profile": {"name": "h9000"}}}}))?;
    world.scale(
        "metric",
        json!({"policy": {"baseline": "hpa:cpu:50"}, "pools": {"gpu": {"scaleTargetRef": {"name": "triton"}}}}),
    )?;
    world.scale("kind", json!({"pools": {"gpu": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deploymint", "name": "triton"}}}}))?;
    world.scale("unscalable", json!({"pools": {"gpu": {"scaleTargetRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt"}}}}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    for (name, reason, said) in [
        ("triton", "InvalidSpec", "found \"h9000\", expected one of"),
        ("metric", "InvalidSpec", "no metric of CPU utilization"),
        ("kind", "NotScalable", "no kind Deploymint"),
        ("unscalable", "NotScalable", "no scale subresource"),
    ] {
        world.until(name, SOON, || Ok(world.reason(name)? == reason))?;
        let message = world.message(name)?;
        assert!(message.contains(said), "{name}: {message}");
        assert_eq!(world.condition(name, "Ready")?.0, "False", "{name}");
    }
    Ok(())
}

#[test]
fn an_api_server_that_vanishes_and_returns_is_waited_for() -> Result<()> {
    let Some(world) = World::new("vanished")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(50.0, 1));
    world.scale("triton", json!({}))?;
    let proxy = Proxy::start(world.cluster.kubeconfig(), world.cluster.folder(), "vanished")?;
    let mut agent = world.agent_by(proxy.kubeconfig().to_owned(), "a", &["--no-leader-election"])?;
    world.until("a decision", SOON, || Ok(world.reason("triton")? == "Steady"))?;
    proxy.close();
    world.exporter.set(Answer::Busy(100.0, 30));
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(world.replicas("triton")?, 1);
    assert!(agent.process.is_running(), "{}", agent.log());
    let log = agent.log();
    assert!(log.contains("ApiUnavailable"), "{log}");
    proxy.reopen();
    world.until("it to go on", Duration::from_secs(60), || Ok(world.replicas("triton")? >= 2))?;
    assert!(!agent.log().contains("panicked"));
    Ok(())
}

#[test]
fn pods_that_find_no_gpu_do_not_make_it_ask_for_ever_more() -> Result<()> {
    let Some(world) = World::new("pending")? else { return Ok(()) };
    // Each wants more GPUs than any node has.
    let template = json!({"template": {
        "metadata": {"labels": {"app": "triton"}, "annotations": {"testcluster/ready-after": "500ms"}},
        "spec": {"containers": [{"name": "serve", "image": "none", "resources": {"limits": {"nvidia.com/gpu": "9"}}}]},
    }});
    world.apply_deployment("triton", template, "deployer")?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.scale("triton", json!({}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("nobody to be ready", SOON, || Ok(world.reason("triton")? == "NoReadyPods"))?;
    world.always("held", Duration::from_secs(5), || Ok(world.replicas("triton")? == 1))
}

#[test]
fn somebody_who_sets_it_to_zero_is_heeded() -> Result<()> {
    let Some(world) = World::new("zero")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.scale("triton", json!({}))?;
    world.cluster.kubectl(&["scale", "deployment/triton", "--replicas=0", "--namespace", "zero"], None)?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("it to be seen", SOON, || Ok(world.reason("triton")? == "Disabled"))?;
    world.always("zero", Duration::from_secs(4), || Ok(world.replicas("triton")? == 0))
}

#[test]
fn pods_that_crash_hold_what_there_is() -> Result<()> {
    let Some(world) = World::new("crashing")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(50.0, 1));
    world.scale("triton", json!({}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("a decision", SOON, || Ok(world.reason("triton")? == "Steady"))?;
    // What a kubelet says of a container that keeps ending.
    let pod = world.pods()?[0].name_any();
    let crashed = json!({"status": {
        "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "ContainersReady", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ],
        "containerStatuses": [{
            "name": "serve", "image": "none", "imageID": "", "ready": false, "restartCount": 5,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        }],
    }});
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(world.client.clone(), "crashing");
    world.wait_on(api.patch_status(&pod, &PatchParams::default(), &Patch::Merge(&crashed)))?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.until("it to be seen", SOON, || Ok(world.reason("triton")? == "NoReadyPods"))?;
    world.always("held", Duration::from_secs(4), || Ok(world.replicas("triton")? == 1))
}

/// Where KEDA is installed, after the agent began to watch: its ScaledObjects are heeded.
#[test]
fn a_scaled_object_is_heeded_once_keda_is_installed() -> Result<()> {
    let Some(world) = World::new("keda")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(50.0, 1));
    world.scale("triton", json!({}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("a decision", SOON, || Ok(world.reason("triton")? == "Steady"))?;
    let crd = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: scaledobjects.keda.sh}, \
               spec: {group: keda.sh, scope: Namespaced, names: {kind: ScaledObject, plural: scaledobjects, \
               singular: scaledobject}, versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: \
               {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}";
    world.cluster.kubectl(&["apply", "-f", "-"], Some(crd))?;
    world.cluster.kubectl(&["wait", "crd/scaledobjects.keda.sh", "--for=condition=Established"], None)?;
    let object = "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: other, namespace: keda}, \
                  spec: {scaleTargetRef: {name: triton}}}";
    world.until("the definition to be served", SOON, || {
        Ok(world.cluster.kubectl(&["apply", "-f", "-"], Some(object)).is_ok())
    })?;
    world.until("it to be seen", SOON, || Ok(world.reason("triton")? == "TargetOwned"))?;
    let message = world.message("triton")?;
    assert!(message.contains("ScaledObject other"), "{message}");
    Ok(())
}

#[test]
fn preflight_says_what_is_wrong_and_how_to_mend_it() -> Result<()> {
    let Some(world) = World::new("check")? else { return Ok(()) };
    world.deploy("triton")?;
    world.until("a pod", SOON, || Ok(world.ready("triton")? == 1))?;
    world.scale("triton", json!({}))?;
    let mut scaler = world.scaler("triton")?;
    (scaler.metadata.managed_fields, scaler.metadata.resource_version) = (None, None);
    let check = |scaler: &kiscaler_agent::api::KIScaler| -> Result<(Option<i32>, String)> {
        let file = world.cluster.folder().join("check.yaml");
        std::fs::write(&file, serde_norway::to_string(scaler)?)?;
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"))
            .args(["check", "--kubeconfig", &world.cluster.kubeconfig().display().to_string(), "-f"])
            .arg(&file)
            .output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?))
    };
    let (code, text) = check(&scaler)?;
    assert_eq!(code, Some(0), "{text}");
    for line in ["ok       rights", "ok       target of gpu", "ok       policy", "ok       metrics"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    world.exporter.set(Answer::Status(404));
    world.cluster.kubectl(&["autoscale", "deployment/triton", "--max=3", "--name=other", "--namespace=check"], None)?;
    let (code, text) = check(&scaler)?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("HorizontalPodAutoscaler other") && text.contains("answered 404"), "{text}");
    scaler.spec.pools.gpu.scale_target_ref.name = "nobody".into();
    let (code, text) = check(&scaler)?;
    assert!(code == Some(1) && text.contains("there is no Deployment nobody"), "{text}");
    scaler.metadata.name = None;
    let (code, text) = check(&scaler)?;
    assert!(code == Some(2) && text.contains("metadata.name: found none"), "{text}");
    Ok(())
}

#[test]
fn what_is_recorded_can_be_replayed() -> Result<()> {
    let Some(world) = World::new("recording")? else { return Ok(()) };
    world.deploy("triton")?;
    world.until("a pod", SOON, || Ok(world.ready("triton")? == 1))?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.scale("triton", json!({}))?;
    let mut scaler = world.scaler("triton")?;
    world.wait_on(world.scalers().delete("triton", &Default::default()))?;
    scaler.metadata.managed_fields = None;
    let (file, out) = (world.cluster.folder().join("record.yaml"), world.cluster.folder().join("scrapes.jsonl"));
    let rates = world.cluster.folder().join("rates.csv");
    std::fs::write(&file, serde_norway::to_string(&scaler)?)?;
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"));
    let kubeconfig = world.cluster.kubeconfig().display().to_string();
    let recorded = program()
        .args(["record", "--length", "8s", "--kubeconfig", &kubeconfig, "-f"])
        .args([&file, &"--out".into(), &out])
        .output()?;
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    // Nothing was scaled, though the file says Active.
    assert_eq!(world.replicas("triton")?, 1);
    let replayed = program().arg("replay").arg(&out).args(["--policy", "hpa:60", "--rates"]).arg(&rates).output()?;
    let text = String::from_utf8(replayed.stdout)?;
    assert!(text.lines().count() >= 5, "{text}");
    assert!(text.contains("WarmingUp") && text.contains("ScaleUp"), "{text}");
    assert!(std::fs::read_to_string(&rates)?.lines().count() >= 4);
    Ok(())
}

/// A definition of a version to come lets through what this agent does not know: that object holds, and no other does.
#[test]
fn an_object_that_is_not_understood_is_said_and_stops_no_other() -> Result<()> {
    let Some(world) = World::new("unknown")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(50.0, 1));
    world.scale("triton", json!({}))?;
    world.scale("strange", json!({}))?;
    let patch = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/novelty",
        "value": {"type": "string"}}]);
    let kubectl = ["patch", "crd", "kiscalers.kiscaler.dev", "--type=json", "-p"];
    let text = patch.to_string();
    world.cluster.kubectl(&[&kubectl[..], &[text.as_str()]].concat(), None)?;
    let strange = json!({"spec": {"novelty": "yes"}}).to_string();
    let name = ["patch", "kiscaler", "strange", "--namespace", "unknown", "--type=merge", "-p", strange.as_str()];
    let read = ["get", "kiscaler", "strange", "--namespace", "unknown", "-o", "jsonpath={.spec.novelty}"];
    world.until("the definition to be served", SOON, || {
        world.cluster.kubectl(&name, None)?;
        Ok(world.cluster.kubectl(&read, None)? == "yes")
    })?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("the other to be served", SOON, || Ok(world.reason("triton")? == "Steady"))?;
    let shown = || {
        let columns = "jsonpath={.status.lastDecision.reason} {.status.lastDecision.message}";
        world.cluster.kubectl(&["get", "kiscaler", "strange", "--namespace", "unknown", "-o", columns], None)
    };
    world.until("it to be said", SOON, || Ok(shown()?.starts_with("InvalidSpec")))?;
    let shown = shown()?;
    assert!(shown.contains("novelty"), "{shown}");
    Ok(())
}
