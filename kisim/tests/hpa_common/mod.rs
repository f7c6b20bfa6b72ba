//! What the tests of the autoscaler share.
#![allow(dead_code, reason = "each test uses some of it")]

pub mod case;

use std::sync::Arc;
use std::time::Duration;

use kisim::hpa::{
    Container, ControllerSettings, Hpa, HpaDecision, HpaInputs, HpaSpec, MetricInput, PodMetric, PodPhase, PodStatus,
    ResourceName,
};
use kisim::time::SimTime;

/// A metric of the spec, its target in per cent or thousandths.
#[derive(Clone, Copy, Debug)]
pub enum Metric {
    Cpu(i32),
    ContainerCpu(i32),
    Memory(i64),
    MemoryPercent(i32),
    Pods(i64),
    ObjectValue(i64),
    ObjectAverage(i64),
    ExternalValue(i64),
    ExternalAverage(i64),
}

impl Metric {
    /// The metric as an entry of `spec.metrics`.
    pub fn yaml(self) -> String {
        let percent = |p: i32| format!("target: {{type: Utilization, averageUtilization: {p}}}");
        let value = |m: i64| format!("target: {{type: Value, value: {m}m}}");
        let average = |m: i64| format!("target: {{type: AverageValue, averageValue: {m}m}}");
        let object = "describedObject: {apiVersion: v1, kind: Service, name: front}";
        match self {
            Self::Cpu(p) => format!("{{type: Resource, resource: {{name: cpu, {}}}}}", percent(p)),
            Self::ContainerCpu(p) => format!(
                "{{type: ContainerResource, containerResource: {{name: cpu, container: serve, {}}}}}",
                percent(p)
            ),
            Self::Memory(m) => {
                format!("{{type: Resource, resource: {{name: memory, {}}}}}", average(m))
            }
            Self::MemoryPercent(p) => {
                format!("{{type: Resource, resource: {{name: memory, {}}}}}", percent(p))
            }
            Self::Pods(m) => {
                format!("{{type: Pods, pods: {{metric: {{name: qps}}, {}}}}}", average(m))
            }
            Self::ObjectValue(m) => {
                format!("{{type: Object, object: {{{object}, metric: {{name: qps}}, {}}}}}", value(m))
            }
            Self::ObjectAverage(m) => {
                format!("{{type: Object, object: {{{object}, metric: {{name: qps}}, {}}}}}", average(m))
            }
            Self::ExternalValue(m) => format!("{{type: External, external: {{metric: {{name: qps}}, {}}}}}", value(m)),
            Self::ExternalAverage(m) => {
                format!("{{type: External, external: {{metric: {{name: qps}}, {}}}}}", average(m))
            }
        }
    }
}

/// The manifest with the given lines of its spec.
pub fn manifest(spec: &str) -> String {
    format!(
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: test\nspec:\n  \
         scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: test}}\n  {spec}\n"
    )
}

/// The spec of the given lines.
pub fn spec(lines: &str) -> HpaSpec {
    match HpaSpec::from_yaml(&manifest(lines), "test.yaml") {
        Ok(spec) => spec,
        Err(error) => panic!("{error}"),
    }
}

/// Upstream's unit tests run with these.
pub fn settings() -> ControllerSettings {
    ControllerSettings {
        cpu_initialization: Duration::from_secs(120),
        initial_readiness_delay: Duration::from_secs(10),
        ..ControllerSettings::default()
    }
}

/// An autoscaler of the given lines, which end where the metric goes.
pub fn hpa(lines: &str, metric: &Metric) -> Hpa {
    Hpa::new(spec(&format!("{lines}{}", metric.yaml())), settings())
}

/// One sync at `seconds`, with all replicas there.
pub fn sync(hpa: &mut Hpa, seconds: u64, replicas: i32, pods: &[PodStatus], metrics: Vec<MetricInput>) -> HpaDecision {
    let inputs = HpaInputs { spec_replicas: replicas, status_replicas: replicas, pods, metrics: &metrics };
    hpa.sync(at(seconds), &inputs)
}

/// The time so many seconds in.
pub fn at(seconds: u64) -> SimTime {
    SimTime::from_nanos(seconds * 1_000_000_000)
}

/// A pod ready for long that requests one core.
pub fn pod(id: u64) -> PodStatus {
    PodStatus {
        id,
        phase: PodPhase::Running,
        deleting: false,
        ready: Some(true),
        ready_transition: Some(at(60)),
        start_time: Some(at(0)),
        containers: Arc::from([Container { name: "main".to_owned(), requests: vec![(ResourceName::Cpu, 1000)] }]),
    }
}

/// So many of those.
pub fn pods(count: u64) -> Vec<PodStatus> {
    (0..count).map(pod).collect()
}

/// The values of the first pods, measured over the minute before 3600 s.
pub fn per_pod(milli: &[i64]) -> MetricInput {
    let values = (0..).zip(milli).map(|(pod, milli)| PodMetric {
        pod,
        milli: *milli,
        at: at(3600),
        window: Duration::from_secs(60),
    });
    MetricInput::PodValues(values.collect())
}
