//! What it does when nothing is wrong.

use std::time::Duration;

use anyhow::Result;
use kube::ResourceExt as _;
use serde_json::json;

use crate::world::{Answer, World, managers};

const SOON: Duration = Duration::from_secs(45);

#[test]
fn shadow_writes_nothing_but_what_it_says() -> Result<()> {
    let Some(world) = World::new("shadow")? else { return Ok(()) };
    world.deploy("triton")?;
    world.until("a ready pod", SOON, || Ok(world.ready("triton")? == 1))?;
    world.exporter.set(Answer::Busy(100.0, 30));
    let versions = || -> Result<Vec<String>> {
        let deployment = world.deployment("triton")?;
        let mut all = vec![deployment.resource_version().unwrap_or_default()];
        all.extend(world.pods()?.iter().map(|pod| pod.resource_version().unwrap_or_default()));
        assert!(managers(&deployment.metadata).iter().all(|(manager, _)| manager != "kiscaler"));
        Ok(all)
    };
    // The Deployment's own controllers come to rest first.
    let mut before = versions()?;
    world.until("a Deployment at rest", SOON, || {
        std::thread::sleep(Duration::from_secs(2));
        let now = versions()?;
        Ok(std::mem::replace(&mut before, now.clone()) == now)
    })?;
    world.scale("triton", json!({"mode": "Shadow"}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("a decision to grow", SOON, || Ok(world.reason("triton")? == "ScaleUp"))?;
    let pools = world.scaler("triton")?.status.unwrap_or_default().pools.unwrap_or_default();
    let gpu = pools.gpu.unwrap_or_default();
    assert_eq!((gpu.current, gpu.desired), (1, 2));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(versions()?, before);
    let reasons: Vec<_> = world.events("triton")?.into_iter().filter_map(|e| e.reason).collect();
    assert!(reasons.iter().any(|r| r == "WouldScaleUp"), "{reasons:?}");
    assert_eq!(world.condition("triton", "ScalingActive")?, ("False".into(), "Shadow".into()));
    assert_eq!(world.condition("triton", "Ready")?.0, "True");
    Ok(())
}

#[test]
fn active_follows_through_the_scale_subresource_alone() -> Result<()> {
    let Some(world) = World::new("active")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(100.0, 30));
    // The HPA's own five minutes of stabilisation would outlast the test.
    world.scale("triton", json!({"policy": {"baseline": "keda:queue:10"}}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("three replicas", SOON, || Ok(world.replicas("triton")? >= 3))?;
    let deployment = world.deployment("triton")?;
    let own: Vec<_> = managers(&deployment.metadata).into_iter().filter(|(m, _)| m == "kiscaler").collect();
    assert_eq!(own, [("kiscaler".to_owned(), "scale".to_owned())]);
    assert_eq!(world.condition("triton", "ScalingActive")?, ("True".into(), "Active".into()));
    let reasons: Vec<_> = world.events("triton")?.into_iter().filter_map(|e| e.reason).collect();
    assert!(reasons.iter().any(|r| r == "ScaleUp"), "{reasons:?}");
    // More than the limits allow is wanted, and not given.
    world.exporter.set(Answer::Busy(100.0, 300));
    world.until("the maximum", SOON, || Ok(world.replicas("triton")? == 4))?;
    world.always("at most the maximum", Duration::from_secs(4), || Ok(world.replicas("triton")? <= 4))
}

#[test]
fn a_decrease_takes_pods_that_have_nothing_to_do() -> Result<()> {
    let Some(world) = World::new("idle")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(90.0, 20));
    world.scale("triton", json!({"policy": {"baseline": "fixed:3"}, "fallback": "hpa:in_flight:10"}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("three ready pods", SOON, || Ok(world.ready("triton")? == 3))?;
    // The oldest would be the last to go.
    let mut pods = world.pods()?;
    pods.sort_by_key(|pod| pod.creation_timestamp().map(|t| t.0));
    let idle = pods[0].name_any();
    world.exporter.set_pod(&idle, Answer::Busy(0.0, 0));
    std::thread::sleep(Duration::from_secs(4));
    world.change("triton", json!({"policy": {"baseline": "fixed:2"}}))?;
    world.until("two replicas", SOON, || Ok(world.replicas("triton")? == 2))?;
    world.until("the idle pod to go", SOON, || Ok(world.pods()?.iter().all(|pod| pod.name_any() != idle)))?;
    assert_eq!(world.pods()?.len(), 2);
    Ok(())
}

#[test]
fn a_target_that_is_deleted_and_made_again_begins_anew() -> Result<()> {
    let Some(world) = World::new("again")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(50.0, 1));
    world.scale("triton", json!({"safety": {"warmUp": "5s"}}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("a decision", SOON, || Ok(world.reason("triton")? == "Steady"))?;
    world.wait_on(world.deployments().delete("triton", &Default::default()))?;
    world.until("the target to be missed", SOON, || Ok(world.reason("triton")? == "TargetMissing"))?;
    assert_eq!(world.condition("triton", "Ready")?, ("False".into(), "TargetMissing".into()));
    world.deploy("triton")?;
    world.until("a warm-up", SOON, || Ok(world.reason("triton")? == "WarmingUp"))?;
    world.until("a decision", SOON, || Ok(world.reason("triton")? == "Steady"))
}

#[test]
fn a_file_does_instead_of_the_custom_resource() -> Result<()> {
    let Some(world) = World::new("file")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.scale("triton", json!({}))?;
    let mut scaler = world.scaler("triton")?;
    world.wait_on(world.scalers().delete("triton", &Default::default()))?;
    (scaler.metadata.managed_fields, scaler.status) = (None, None);
    let file = world.cluster.folder().join("scaler.yaml");
    std::fs::write(&file, serde_norway::to_string(&scaler)?)?;
    let path = file.display().to_string();
    let _agent = world.agent("a", &["--no-leader-election", "--file", &path])?;
    world.until("the file to be followed", SOON, || Ok(world.replicas("triton")? >= 2))
}

#[test]
fn a_restart_makes_no_jump() -> Result<()> {
    let Some(world) = World::new("restart")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(90.0, 30));
    world.scale("triton", json!({"policy": {"baseline": "keda:queue:10"}, "safety": {"warmUp": "6s"}}))?;
    let agent = world.agent("first", &["--no-leader-election"])?;
    world.until("it to grow", SOON, || Ok(world.replicas("triton")? >= 3))?;
    // As `kill -9`: nothing is said, nothing is saved.
    drop(agent);
    let replicas = world.replicas("triton")?;
    world.exporter.set(Answer::Busy(90.0, 300));
    let _agent = world.agent("second", &["--no-leader-election"])?;
    world.until("a new warm-up", SOON, || Ok(world.reason("triton")? == "WarmingUp"))?;
    assert_eq!(world.replicas("triton")?, replicas);
    world.until("it to go on", SOON, || Ok(world.replicas("triton")? > replicas))
}
