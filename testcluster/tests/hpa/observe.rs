//! What the controller saw and did, out of watches and the log of the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kisim::hpa::{PodPhase, PodStatus};
use kisim::time::SimTime;
use serde_json::Value;
use testcluster::{Change, Served};

/// A value that changes at known times.
pub struct Timeline<T> {
    entries: Vec<(Instant, T)>,
}

impl<T: Clone + PartialEq> Timeline<T> {
    fn new() -> Self {
        Self { entries: Vec::new() }
    }

    fn push(&mut self, at: Instant, value: T) {
        if self.entries.last().is_none_or(|(_, last)| *last != value) {
            self.entries.push((at, value));
        }
    }

    /// The value at a time.
    pub fn at(&self, time: Instant) -> Option<&T> {
        self.entries.iter().take_while(|(at, _)| *at <= time).last().map(|(_, value)| value)
    }

    /// The value at `from` and all it changes to until `to`.
    pub fn within(&self, from: Instant, to: Instant) -> Vec<&T> {
        let changes = self.entries.iter().filter(|(at, _)| from < *at && *at <= to);
        self.at(from).into_iter().chain(changes.map(|(_, value)| value)).collect()
    }

    /// When it first changes after `from`, up to `to`, to a value the test holds for.
    pub fn first_after(&self, from: Instant, to: Instant, test: impl Fn(&T) -> bool) -> Option<Instant> {
        self.entries.iter().find(|(at, value)| from < *at && *at <= to && test(value)).map(|(at, _)| *at)
    }
}

/// A condition of the autoscaler's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: String,
    pub status: bool,
    pub reason: String,
    pub message: String,
}

/// The replicas of the Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub spec: i32,
    pub status: i32,
}

/// One sync: each metric of the autoscaler asked for once, in the order of its spec.
pub struct Sync {
    pub questions: Vec<Served>,
}

impl Sync {
    pub fn began(&self) -> Instant {
        self.questions.first().expect("a sync has questions").asked
    }

    pub fn answered(&self) -> Instant {
        self.questions.last().expect("a sync has questions").answered
    }
}

/// All about one namespace.
pub struct Observed {
    pub syncs: Vec<Sync>,
    pub replicas: Timeline<Replicas>,
    pub pods: Timeline<Vec<PodStatus>>,
    pub conditions: Timeline<Vec<Condition>>,
    ids: BTreeMap<String, u64>,
}

impl Observed {
    pub fn new(
        namespace: &str,
        metrics: &[&str],
        served: &[Served],
        deployments: &[Change],
        pods: &[Change],
        autoscalers: &[Change],
    ) -> Self {
        let here = |changes: &[Change]| -> Vec<Change> {
            changes.iter().filter(|c| c.namespace == namespace).cloned().collect()
        };
        let mut replicas = Timeline::new();
        for change in here(deployments) {
            if let Some(object) = &change.object {
                let status = int(object, "/status/replicas").unwrap_or(0);
                let spec = int(object, "/spec/replicas").expect("a Deployment has replicas");
                replicas.push(change.at, Replicas { spec, status });
            }
        }
        let mut conditions = Timeline::new();
        for change in here(autoscalers) {
            if let Some(object) = &change.object {
                conditions.push(change.at, conditions_of(object));
            }
        }
        let mut ids = BTreeMap::new();
        let mut current: BTreeMap<u64, PodStatus> = BTreeMap::new();
        let mut snapshots = Timeline::new();
        for change in here(pods) {
            let next = ids.len() as u64;
            let id = *ids.entry(change.name.clone()).or_insert(next);
            match &change.object {
                Some(object) => current.insert(id, pod(id, object)),
                None => current.remove(&id),
            };
            snapshots.push(change.at, current.values().cloned().collect());
        }
        let mut served: Vec<Served> = served.iter().filter(|s| s.question.namespace == namespace).cloned().collect();
        served.sort_by_key(|s| s.asked);
        Self { syncs: syncs(served, metrics), replicas, pods: snapshots, conditions, ids }
    }

    /// The number a pod goes by; strangers have one that no pod has.
    pub fn id(&self, pod: &str) -> u64 {
        self.ids.get(pod).copied().unwrap_or(u64::MAX)
    }
}

/// Questions to syncs: each asks for every metric once and in order, whatever the answers.
fn syncs(served: Vec<Served>, metrics: &[&str]) -> Vec<Sync> {
    let mut syncs: Vec<Sync> = Vec::new();
    for (i, question) in served.into_iter().enumerate() {
        assert_eq!(question.question.metric, metrics[i % metrics.len()], "question {i}: {:?}", question.question);
        match syncs.last_mut().filter(|sync| sync.questions.len() < metrics.len()) {
            None => syncs.push(Sync { questions: vec![question] }),
            Some(sync) => {
                let pause = question.asked - sync.answered();
                assert!(pause < Duration::from_secs(1), "question {i}: {pause:?} within one sync");
                sync.questions.push(question);
            }
        }
    }
    syncs
}

fn int(object: &Value, pointer: &str) -> Option<i32> {
    object.pointer(pointer).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok())
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn conditions_in(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

fn conditions_of(autoscaler: &Value) -> Vec<Condition> {
    conditions_in(autoscaler)
        .map(|c| Condition {
            kind: text(c, "type").to_owned(),
            status: text(c, "status") == "True",
            reason: text(c, "reason").to_owned(),
            message: text(c, "message").to_owned(),
        })
        .collect()
}

fn pod(id: u64, object: &Value) -> PodStatus {
    let phase = match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Pending") | None => PodPhase::Pending,
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some(_) => PodPhase::Unknown,
    };
    PodStatus {
        id,
        phase,
        deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
        ready: conditions_in(object).find(|c| text(c, "type") == "Ready").map(|c| text(c, "status") == "True"),
        // Only metrics of CPU go by the two times.
        ready_transition: None,
        start_time: Some(SimTime::ZERO),
        containers: Arc::from([]),
    }
}
