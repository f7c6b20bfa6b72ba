//! What the tests of ScaledObjects share.

mod cron;
mod executor;
mod fallback;
mod loops;
mod modifiers;
mod properties;
mod target;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::hpa::{Container, ControllerSettings, PodMetric, PodPhase, PodStatus, ResourceName};
use crate::time::SimTime;

/// One trigger, `prometheus` with a target of 10.
const ONE: &str = "triggers: [{type: prometheus, metadata: {serverAddress: http://p, query: queue, threshold: '10'}}]";

/// An object of the given lines of its spec and of its annotations.
fn annotated(annotations: &str, spec: &str) -> ScaledObject {
    let text = format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: serve, annotations: {{{annotations}}}}}\n\
         spec:\n  scaleTargetRef: {{name: serve}}\n  {spec}\n"
    );
    match ScaledObject::from_yaml(&text, "test.yaml") {
        Ok(object) => object,
        Err(error) => panic!("{error}"),
    }
}

fn object(spec: &str) -> ScaledObject {
    annotated("", spec)
}

fn at(seconds: u64) -> SimTime {
    SimTime::from_nanos(seconds * 1_000_000_000)
}

/// Pods that have long been ready and request one core.
fn pods(count: i32) -> Vec<PodStatus> {
    let pod = |id| PodStatus {
        id,
        phase: PodPhase::Running,
        deleting: false,
        ready: Some(true),
        ready_transition: Some(at(0)),
        start_time: Some(at(0)),
        containers: Arc::from([Container { name: "main".to_owned(), requests: vec![(ResourceName::Cpu, 1000)] }]),
    };
    (0..u64::from(count.unsigned_abs())).map(pod).collect()
}

/// Milli-cores of the first pods, measured now.
fn cpu(seconds: u64, milli: &[i64]) -> TriggerInput {
    let metric =
        |(pod, milli): (u64, &i64)| PodMetric { pod, milli: *milli, at: at(seconds), window: Duration::from_secs(30) };
    TriggerInput::Pods((0..).zip(milli).map(metric).collect())
}

fn failed() -> TriggerInput {
    TriggerInput::Failed("no answer".to_owned())
}

/// One tick with all replicas there.
fn tick(keda: &mut Keda, seconds: u64, replicas: i32, triggers: &[TriggerInput]) -> KedaDecision {
    let pods = pods(replicas);
    let inputs = KedaInputs { spec_replicas: replicas, status_replicas: replicas, pods: &pods, triggers };
    keda.tick(at(seconds), &inputs)
}

fn keda(object: ScaledObject) -> Keda {
    Keda::new(object, ControllerSettings::default())
}
