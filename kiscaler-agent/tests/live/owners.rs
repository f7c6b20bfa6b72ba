//! Who else there is: field managers, other autoscalers, other agents, people.

use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use crate::world::{Answer, World, managers};

const SOON: Duration = Duration::from_secs(45);

#[test]
fn a_number_that_another_manager_owns_is_left_alone_and_said() -> Result<()> {
    let Some(world) = World::new("conflict")? else { return Ok(()) };
    world.apply_deployment("triton", json!({"replicas": 1}), "argocd")?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.scale("triton", json!({}))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("the conflict", SOON, || Ok(world.reason("triton")? == "Conflict"))?;
    assert_eq!(world.condition("triton", "ScalingActive")?, ("False".into(), "Conflict".into()));
    assert_eq!(world.condition("triton", "Ready")?, ("False".into(), "Conflict".into()));
    let message = world.message("triton")?;
    assert!(message.contains("argocd"), "{message}");
    assert_eq!(world.replicas("triton")?, 1);
    // Said to take it, it does.
    world.change("triton", json!({"safety": {"onConflict": "Force"}}))?;
    world.until("the number to be taken", SOON, || Ok(world.replicas("triton")? == 2))?;
    let own = managers(&world.deployment("triton")?.metadata);
    assert!(own.contains(&("kiscaler".to_owned(), "scale".to_owned())), "{own:?}");
    Ok(())
}

fn hpa(world: &World, target: &str) -> Result<()> {
    let manifest = format!(
        "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: other, namespace: {}}}, \
         spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {target}}}, maxReplicas: 3}}}}",
        world.namespace
    );
    world.cluster.kubectl(&["apply", "-f", "-"], Some(&manifest)).map(|_| ())
}

#[test]
fn a_target_of_an_hpa_is_refused_whenever_the_hpa_comes() -> Result<()> {
    let Some(world) = World::new("owned")? else { return Ok(()) };
    world.deploy("triton")?;
    hpa(&world, "triton")?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.scale(
        "triton",
        json!({"pools": {"gpu": {"maxStepUp": 1, "rate": {"up": {"replicas": 1, "period": "5s"}}}}}),
    )?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("the HPA to be seen", SOON, || Ok(world.reason("triton")? == "TargetOwned"))?;
    let message = world.message("triton")?;
    assert!(message.contains("HorizontalPodAutoscaler other"), "{message}");
    world.always("left alone", Duration::from_secs(4), || Ok(world.replicas("triton")? == 1))?;
    world.cluster.kubectl(&["delete", "hpa", "other", "--namespace", "owned"], None)?;
    world.until("it to begin", SOON, || Ok(world.replicas("triton")? == 2))?;
    hpa(&world, "triton")?;
    world.until("the HPA to be seen again", SOON, || Ok(world.reason("triton")? == "TargetOwned"))?;
    let replicas = world.replicas("triton")?;
    world.always("left alone", Duration::from_secs(7), || Ok(world.replicas("triton")? == replicas))
}

#[test]
fn of_two_kiscalers_of_one_target_the_older_scales() -> Result<()> {
    let Some(world) = World::new("two")? else { return Ok(()) };
    world.deploy("triton")?;
    world.scale(
        "first",
        json!({"pools": {"gpu": {"scaleTargetRef": {"name": "triton"}}}, "policy": {"baseline": "fixed:2"}}),
    )?;
    std::thread::sleep(Duration::from_millis(1100));
    world.scale(
        "second",
        json!({"pools": {"gpu": {"scaleTargetRef": {"name": "triton"}}}, "policy": {"baseline": "fixed:3"}}),
    )?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("the second to hold", SOON, || Ok(world.reason("second")? == "TargetOwned"))?;
    world.until("the first to scale", SOON, || Ok(world.replicas("triton")? == 2))?;
    world.always("the first alone", Duration::from_secs(4), || Ok(world.replicas("triton")? == 2))?;
    world.wait_on(world.scalers().delete("first", &Default::default()))?;
    world.until("the second to follow", SOON, || Ok(world.replicas("triton")? == 3))
}

#[test]
fn paused_it_decides_and_does_nothing() -> Result<()> {
    let Some(world) = World::new("paused")? else { return Ok(()) };
    world.deploy("triton")?;
    world.exporter.set(Answer::Busy(100.0, 30));
    world.scale("triton", json!({}))?;
    world.annotate("triton", "kiscaler.dev/paused", Some("true"))?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("the pause", SOON, || Ok(world.reason("triton")? == "Paused"))?;
    world.always("nothing", Duration::from_secs(5), || Ok(world.replicas("triton")? == 1))?;
    world.annotate("triton", "kiscaler.dev/paused", None)?;
    world.until("it to go on", SOON, || Ok(world.replicas("triton")? >= 2))
}

/// The one that leads is killed as `kill -9` does; the other takes over, and no write of either comes while the lease is
/// the other's.
#[test]
fn two_agents_never_write_at_once_when_the_leader_is_killed() -> Result<()> {
    let Some(world) = World::new("leader")? else { return Ok(()) };
    world.deploy("triton")?;
    world.scale("triton", json!({"policy": {"baseline": "fixed:2"}}))?;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "leader");
    let holder = || -> Result<String> {
        let lease = world.wait_on(leases.get_opt("kiscaler-agent"))?;
        Ok(lease.and_then(|l| l.spec).and_then(|s| s.holder_identity).unwrap_or_default())
    };
    let first = world.agent("first", &[])?;
    world.until("the first to lead", SOON, || Ok(holder()? == "first"))?;
    let second = world.agent("second", &[])?;
    world.until("the first to scale", SOON, || Ok(world.replicas("triton")? == 2))?;
    drop(first);
    let killed = Instant::now();
    world.change("triton", json!({"policy": {"baseline": "fixed:3"}}))?;
    // Until the lease has run out, nobody writes; afterwards, only who holds it.
    let mut taken = None;
    world.until("the second to scale", Duration::from_secs(60), || {
        let (replicas, holder) = (world.replicas("triton")?, holder()?);
        if holder == "second" {
            taken.get_or_insert(killed.elapsed());
        } else {
            assert_eq!(replicas, 2, "somebody wrote while {holder:?} held the lease");
        }
        Ok(replicas == 3)
    })?;
    let taken = taken.unwrap_or_default();
    assert!(taken > Duration::from_secs(10), "taken {taken:?} after the last renewal");
    let times: Vec<_> = world
        .deployment("triton")?
        .metadata
        .managed_fields
        .into_iter()
        .flatten()
        .filter(|f| f.manager.as_deref() == Some("kiscaler"))
        .filter_map(|f| f.time)
        .collect();
    let lease = world.wait_on(leases.get("kiscaler-agent"))?.spec.unwrap_or_default();
    let acquired = lease.acquire_time.map(|t| t.0);
    // Kubernetes keeps whole seconds there.
    let earliest = acquired.map(|t| t.as_second());
    assert!(times.iter().all(|t| Some(t.0.as_second()) >= earliest), "{times:?} {acquired:?}");
    assert_eq!(lease.lease_transitions, Some(2));
    drop(second);
    Ok(())
}
