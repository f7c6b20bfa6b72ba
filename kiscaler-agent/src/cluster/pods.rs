//! Pods, reduced to what a decision needs of them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kisim::cluster::{Phase, PodCounts};
use kisim::control::PodView;
use kisim::time::SimTime;

use crate::metrics::{PodAddress, unix_time};

/// The annotation by which a ReplicaSet chooses the pods that go first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    pub created: SimTime,
    /// Its phase, as the simulator tells them apart.
    pub phase: Phase,
    /// When it should be gone, if it is being deleted.
    pub gone_by: Option<SimTime>,
    /// When its containers started.
    pub started: Option<SimTime>,
    /// When its Ready condition last changed.
    pub ready_transition: Option<SimTime>,
    /// Whether a node has it.
    pub scheduled: bool,
    /// Where it is.
    pub address: PodAddress,
    /// Its deletion cost, where it has one.
    pub deletion_cost: Option<String>,
}

/// What is kept of `pod`; nothing once it has ended.
pub fn facts_of(pod: &Pod) -> Option<Facts> {
    let metadata = &pod.metadata;
    let status = pod.status.as_ref();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let ready = status.and_then(|s| s.conditions.iter().flatten().find(|c| c.type_ == "Ready"));
    let phase = phase(pod, node.is_some())?;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Some(Facts {
        uid: text(&metadata.uid),
        labels: metadata.labels.clone().unwrap_or_default(),
        created: metadata.creation_timestamp.as_ref().map(|t| unix_time(t.0)).unwrap_or_default(),
        phase,
        // Kubernetes' deletion timestamp has the grace period in it.
        gone_by: metadata.deletion_timestamp.as_ref().map(|t| unix_time(t.0)),
        started: status.and_then(|s| s.start_time.as_ref()).map(|t| unix_time(t.0)),
        ready_transition: ready.and_then(|c| c.last_transition_time.as_ref()).map(|t| unix_time(t.0)),
        scheduled: node.is_some(),
        address: PodAddress {
            name: text(&metadata.name),
            namespace: text(&metadata.namespace),
            ip: status.and_then(|s| s.pod_ip.clone()).unwrap_or_default(),
            node: node.unwrap_or_default(),
            host_ip: status.and_then(|s| s.host_ip.clone()).unwrap_or_default(),
        },
        deletion_cost: metadata.annotations.as_ref().and_then(|a| a.get(DELETION_COST).cloned()),
    })
}

/// The simulator's phase of a pod; `None` for one that has ended.
fn phase(pod: &Pod, scheduled: bool) -> Option<Phase> {
    let status = pod.status.as_ref();
    let is = |kind: &str, value: &str| {
        let conditions = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
        conditions.clone().any(|c| c.type_ == kind && c.status == value)
    };
    let waits = |reason: &str| {
        let containers = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
        let waiting = |state: &ContainerState| state.waiting.as_ref().and_then(|w| w.reason.clone());
        containers.filter_map(|c| c.state.as_ref()).filter_map(waiting).any(|found| found == reason)
    };
    Some(match status.and_then(|s| s.phase.as_deref()).unwrap_or("Pending") {
        "Succeeded" | "Failed" => return None,
        _ if pod.metadata.deletion_timestamp.is_some() => Phase::Draining,
        "Unknown" => Phase::Lost,
        // What a node that is lost leaves behind.
        _ if is("Ready", "Unknown") => Phase::Lost,
        _ if waits("CrashLoopBackOff") => Phase::BackOff,
        "Pending" if scheduled => Phase::Pulling,
        "Pending" => Phase::Pending,
        _ if is("Ready", "True") => Phase::Ready,
        _ => Phase::Loading,
    })
}

/// Numbers for pods: one for each UID, as long as the process lives, in order of creation.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    by_uid: HashMap<String, u64>,
    next: u64,
}

impl Numbers {
    /// The number of the pod with this UID.
    pub fn of(&mut self, uid: &str) -> u64 {
        if let Some(&number) = self.by_uid.get(uid) {
            return number;
        }
        let number = self.next;
        self.next += 1;
        self.by_uid.insert(uid.to_owned(), number);
        number
    }

    /// Forgets pods that are no more; the numbers of those.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> Vec<u64> {
        let mut gone = Vec::new();
        self.by_uid.retain(|uid, number| {
            let keep = exists(uid);
            if !keep {
                gone.push(*number);
            }
            keep
        });
        gone.sort_unstable();
        gone
    }
}

/// How long after it should be gone a pod is waited for. Its node may be lost, and then nobody ever says that it is gone.
const PATIENCE: Duration = Duration::from_secs(120);

impl Facts {
    /// Its phase at `now`: a pod that should long be gone is lost, and nobody drains it.
    pub fn phase_at(&self, now: SimTime) -> Phase {
        match self.phase {
            Phase::Draining if self.gone_by.is_some_and(|by| now > by + PATIENCE) => Phase::Lost,
            phase => phase,
        }
    }

    /// As an autoscaler sees it at `now`.
    pub fn view(&self, id: u64, pool: usize, now: SimTime) -> PodView {
        let phase = self.phase_at(now);
        PodView { id, pool, phase, started: self.started, ready_transition: self.ready_transition }
    }

    /// Adds itself to the numbers of its pool at `now`.
    pub fn count(&self, counts: &mut PodCounts, now: SimTime) {
        counts.add(self.phase_at(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(change: serde_json::Value) -> Option<Phase> {
        let mut pod = serde_json::json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"nodeName": "gpu-0", "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        merge(&mut pod, change);
        facts_of(&serde_json::from_value(pod).unwrap()).map(|facts| facts.phase)
    }

    fn merge(into: &mut serde_json::Value, change: serde_json::Value) {
        match (into, change) {
            (serde_json::Value::Object(into), serde_json::Value::Object(change)) => {
                for (key, value) in change {
                    merge(into.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (into, change) => *into = change,
        }
    }

    #[test]
    fn phases_are_told_apart() {
        let json = |text: &str| serde_json::from_str(text).unwrap();
        let check = |change: &str, phase: Option<Phase>| assert_eq!(pod(json(change)), phase, "{change}");
        check("{}", Some(Phase::Ready));
        check(r#"{"status": {"conditions": [{"type": "Ready", "status": "False"}]}}"#, Some(Phase::Loading));
        check(r#"{"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}"#, Some(Phase::Lost));
        check(r#"{"status": {"phase": "Pending", "conditions": []}}"#, Some(Phase::Pulling));
        check(
            r#"{"spec": {"nodeName": null}, "status": {"phase": "Pending", "conditions": []}}"#,
            Some(Phase::Pending),
        );
        check(r#"{"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}"#, Some(Phase::Draining));
        check(r#"{"status": {"phase": "Failed"}}"#, None);
        let waiting = r#"{"status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
            "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}"#;
        check(waiting, Some(Phase::BackOff));
    }

    #[test]
    fn a_pod_that_should_long_be_gone_is_waited_for_no_more() {
        let json = serde_json::json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "deletionTimestamp": "1970-01-01T00:10:00Z"},
            "status": {"phase": "Running"},
        });
        let facts = facts_of(&serde_json::from_value(json).unwrap()).unwrap();
        let at = |seconds: f64| facts.phase_at(SimTime::from_secs_f64(seconds));
        assert_eq!((at(500.0), at(719.0), at(721.0)), (Phase::Draining, Phase::Draining, Phase::Lost));
    }

    #[test]
    fn numbers_are_kept_and_never_given_twice() {
        let mut numbers = Numbers::default();
        assert_eq!((numbers.of("a"), numbers.of("b"), numbers.of("a")), (0, 1, 0));
        assert_eq!(numbers.retain(|uid| uid == "b"), [0]);
        assert_eq!((numbers.of("a"), numbers.of("b")), (2, 1));
    }
}
