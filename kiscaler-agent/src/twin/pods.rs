//! What of a pod matters to its simulated server.

use k8s_openapi::api::core::v1::Pod;

/// What the API shows of a pod, at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Its unique identifier: a later pod of the same name has another.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// When it was created, seconds since 1970, for an order among those that are found.
    pub created: i64,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Whether a container of it runs.
    pub started: bool,
    /// Whether its Ready condition is true.
    pub ready: bool,
    /// Restarts of its containers.
    pub restarts: u64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether all its containers have ended for good.
    pub ended: bool,
}

impl PodState {
    /// What `pod` says; `None` for one that no API server wrote, without a UID.
    pub fn of(pod: &Pod) -> Option<PodState> {
        let uid = pod.metadata.uid.clone()?;
        let status = pod.status.as_ref();
        let containers = || status.iter().flat_map(|s| s.container_statuses.iter().flatten());
        let condition = |kind: &str| {
            let mut conditions = status.iter().flat_map(|s| s.conditions.iter().flatten());
            conditions.any(|c| c.type_ == kind && c.status == "True")
        };
        Some(PodState {
            uid,
            name: pod.metadata.name.clone().unwrap_or_default(),
            created: pod.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second()),
            node: pod.spec.as_ref().and_then(|s| s.node_name.clone()).filter(|node| !node.is_empty()),
            started: containers().any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some())),
            ready: condition("Ready"),
            restarts: containers().map(|c| u64::try_from(c.restart_count).unwrap_or(0)).sum(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            ended: matches!(status.and_then(|s| s.phase.as_deref()), Some("Failed" | "Succeeded")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> Option<PodState> {
        PodState::of(&serde_norway::from_str(text).unwrap())
    }

    #[test]
    fn a_pod_is_read_as_the_api_shows_it() {
        let ready = r#"
metadata: {name: triton-1, uid: u-1, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {nodeName: gpu-0, containers: []}
status:
  phase: Running
  conditions: [{type: PodScheduled, status: "True"}, {type: Ready, status: "True"}]
  containerStatuses:
    - {name: a, ready: true, restartCount: 2, image: "", imageID: "", state: {running: {}}}
    - {name: b, ready: true, restartCount: 1, image: "", imageID: ""}
"#;
        let expected = PodState {
            uid: "u-1".into(),
            name: "triton-1".into(),
            created: 1_767_225_600,
            node: Some("gpu-0".into()),
            started: true,
            ready: true,
            restarts: 3,
            ..PodState::default()
        };
        assert_eq!(state(ready).as_ref(), Some(&expected));
        let not_ready = ready.replace(r#"Ready, status: "True""#, r#"Ready, status: "False""#);
        assert_eq!(state(&not_ready), Some(PodState { ready: false, ..expected.clone() }));
        let going = ready.replace("uid: u-1,", "uid: u-1, deletionTimestamp: \"2026-01-01T00:01:00Z\",");
        assert_eq!(state(&going), Some(PodState { deleting: true, ..expected.clone() }));
        let evicted = ready.replace("phase: Running", "phase: Failed");
        assert_eq!(state(&evicted), Some(PodState { ended: true, ..expected }));
    }

    #[test]
    fn a_pod_without_a_node_or_a_status_is_nothing_yet() {
        let pending = state("metadata: {name: p, uid: u-2}\nspec: {nodeName: '', containers: []}\n");
        assert_eq!(pending, Some(PodState { uid: "u-2".into(), name: "p".into(), ..PodState::default() }));
        assert_eq!(state("metadata: {name: p}\n"), None);
    }
}
