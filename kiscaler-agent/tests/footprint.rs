//! What an agent costs that drives 500 targets, measured on a real API server.
//!
//! ```console
//! $ cargo test --release -p kiscaler-agent --test footprint -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

#[allow(dead_code, reason = "shared with the live tests, which use all of it")]
#[path = "live/world.rs"]
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::world::{Answer, World};

const TARGETS: usize = 500;
const MEASURED: Duration = Duration::from_secs(90);
const POLICY: &[u8] = include_bytes!("../../kiscaler-train/policies/default.safetensors");

/// Seconds of processor time of a process, and its resident memory in MiB.
fn usage(pid: u32) -> Result<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = resident.trim().trim_end_matches(" kB").trim().parse()?;
    // Linux counts in hundredths of a second.
    Ok((ticks / 100.0, kib / 1024.0))
}

fn objects(name: &str, endpoint: &str) -> (Value, Value) {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "serve", "image": "none"}]},
            },
        },
    });
    let key = json!({"name": "policy", "key": "policy"});
    let scaler = json!({
        "apiVersion": "kiscaler.dev/v1alpha1", "kind": "KIScaler", "metadata": {"name": name},
        "spec": {
            "mode": "Active",
            "pools": {"gpu": {
                "scaleTargetRef": {"name": name}, "maxReplicas": 2, "batcher": {"maxBatch": 32},
                "profile": {"name": "bert-large-trt-fp16-seq128-t4"},
            }},
            "policy": {"checkpoint": {"configMapKeyRef": key}},
            "slo": {"latency": "250ms"},
            "metrics": {"preset": "Triton", "direct": {"endpoints": [endpoint]}},
        },
    });
    (deployment, scaler)
}

#[test]
#[ignore = "takes some five minutes and means something in a release build alone"]
fn five_hundred_targets_cost_little() -> Result<()> {
    let Some(world) = World::new("footprint")? else { return Ok(()) };
    world.exporter.set(Answer::Busy(50.0, 1));
    let endpoint = world.exporter.template();
    world.wait_on(async {
        let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "footprint");
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some("policy".into()), ..ObjectMeta::default() },
            binary_data: Some([("policy".to_owned(), ByteString(POLICY.to_vec()))].into()),
            ..ConfigMap::default()
        };
        maps.create(&PostParams::default(), &map).await?;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("kiscaler.dev", "v1alpha1", "KIScaler"));
        let scalers: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), "footprint", &kind);
        let (deployments, scalers, endpoint) = (&world.deployments(), &scalers, &endpoint);
        stream::iter(0..TARGETS)
            .map(|number| async move {
                let name = format!("service-{number}");
                let (deployment, scaler) = objects(&name, endpoint);
                let parameters = PatchParams::apply("deployer").force();
                deployments.patch(&name, &parameters, &Patch::Apply(&deployment)).await?;
                scalers.patch(&name, &parameters, &Patch::Apply(&scaler)).await?;
                Ok::<_, kube::Error>(())
            })
            .buffer_unordered(16)
            .try_collect::<Vec<()>>()
            .await
    })?;
    let all_ready = || Ok(world.pods()?.iter().filter(|pod| is_ready(pod)).count() >= TARGETS);
    world.until("all pods", Duration::from_secs(300), all_ready)?;

    let agent = world.agent("a", &["--no-leader-election"])?;
    let pid = agent.process.id();
    let started = Instant::now();
    let decided = || {
        let list = world.wait_on(world.scalers().list(&Default::default()))?;
        let with = |s: &&kiscaler_agent::api::KIScaler| {
            let reason = s.status.as_ref().and_then(|s| s.last_decision.as_ref()).map(|d| d.reason.as_str());
            matches!(reason, Some("Steady" | "ScaleUp" | "ScaleDown" | "OutOfDistribution"))
        };
        Ok(list.items.iter().filter(with).count() == TARGETS)
    };
    world.until("all to be past their warm-up", Duration::from_secs(400), decided)?;
    let (begun, _) = usage(pid)?;
    eprintln!("all decide after {:.0} s, {begun:.1} s of processor time", started.elapsed().as_secs_f64());
    // What was asked for at once is done by now.
    std::thread::sleep(Duration::from_secs(20));
    let (before, _) = usage(pid)?;
    let from = Instant::now();
    std::thread::sleep(MEASURED);
    let (after, memory) = usage(pid)?;
    let share = (after - before) / from.elapsed().as_secs_f64();
    eprintln!("{TARGETS} targets at 15 s: {:.1} % of a core, {memory:.0} MiB", 100.0 * share);
    assert!(share < 0.10, "{share}");
    assert!(memory < 200.0, "{memory}");
    Ok(())
}

fn is_ready(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
