//! One case of the replica calculator.
#![allow(dead_code, reason = "each test uses some of it")]

use std::sync::Arc;

use kisim::hpa::{Container, Hpa, HpaInputs, MetricInput, PodPhase, PodStatus, Reading, ResourceName};

use super::{Metric, at, pod, pods, settings, spec};

/// One case of the replica calculator: what the metrics ask for, before windows and bounds.
pub struct Case {
    name: &'static str,
    replicas: i32,
    pods: Vec<PodStatus>,
    metric: Metric,
    values: MetricInput,
    behavior: &'static str,
    expect: i32,
    reading: Option<Reading>,
}

pub fn case(
    name: &'static str,
    replicas: i32,
    pods: Vec<PodStatus>,
    metric: Metric,
    values: MetricInput,
    expect: i32,
) -> Case {
    Case { name, replicas, pods, metric, values, behavior: "", expect, reading: None }
}

impl Case {
    pub fn percent(mut self, percent: i32, average_milli: i64) -> Self {
        self.reading = Some(Reading::Utilization { percent, average_milli });
        self
    }

    pub fn average(mut self, milli: i64) -> Self {
        self.reading = Some(Reading::AverageMilli(milli));
        self
    }

    pub fn value(mut self, milli: i64) -> Self {
        self.reading = Some(Reading::ValueMilli(milli));
        self
    }

    pub fn behavior(mut self, behavior: &'static str) -> Self {
        self.behavior = behavior;
        self
    }

    pub fn check(self) {
        let yaml = format!(
            "minReplicas: 0\n  maxReplicas: 2147483647\n  metrics:\n  - {}\n  - {}\n  {}",
            self.metric.yaml(),
            // Never answers; it is there so that minReplicas may be 0.
            "{type: External, external: {metric: {name: none}, target: {type: Value, value: 1}}}",
            self.behavior
        );
        let only = spec(&yaml);
        let mut only_first = only.clone();
        only_first.metrics.truncate(1);
        let mut hpa = Hpa::new(only_first, settings());
        let decision = hpa.sync(
            at(3600),
            &HpaInputs {
                spec_replicas: self.replicas,
                status_replicas: self.replicas,
                pods: &self.pods,
                metrics: &[self.values],
            },
        );
        assert_eq!(decision.error, None, "{}", self.name);
        assert_eq!(decision.recommended, Some(self.expect), "{}", self.name);
        if let Some(reading) = self.reading {
            let found = decision.metrics.first().cloned();
            let found = found.and_then(Result::ok).map(|p| p.reading);
            assert_eq!(found, Some(reading), "{}", self.name);
        }
    }
}

/// Pods as `pods` gives them, with some of them not ready since their start ten seconds ago.
pub fn with_unready(count: u64, unready: &[u64]) -> Vec<PodStatus> {
    let mut pods = pods(count);
    for pod in pods.iter_mut().filter(|p| unready.contains(&p.id)) {
        pod.ready = Some(false);
        pod.start_time = Some(at(3590));
        pod.ready_transition = Some(at(3590));
    }
    pods
}

pub fn with_phase(count: u64, others: u64, phase: PodPhase) -> Vec<PodStatus> {
    let mut pods = pods(count + others);
    for pod in pods.iter_mut().filter(|p| p.id >= count) {
        pod.phase = phase;
        pod.ready = Some(false);
    }
    pods
}

pub fn with_requests(requests: &[i64]) -> Vec<PodStatus> {
    let with = |(id, milli): (u64, &i64)| {
        let mut pod = pod(id);
        pod.containers =
            Arc::from([Container { name: "main".to_owned(), requests: vec![(ResourceName::Cpu, *milli)] }]);
        pod
    };
    (0..).zip(requests).map(with).collect()
}
