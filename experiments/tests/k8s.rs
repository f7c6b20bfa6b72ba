//! What is in k8s/, on a real API server with the real Job controller.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testcluster::{Cluster, not_built};

const NAMESPACE: [&str; 2] = ["--namespace", "kis-experiments"];

/// What a cluster's provisioner gives, which there is none of here.
const VOLUME: &str = r#"
apiVersion: v1
kind: PersistentVolume
metadata: {name: shared}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteMany]
  hostPath: {path: /tmp/nothing}
"#;

fn cluster() -> Option<Cluster> {
    let cluster = Cluster::start(2, Duration::from_secs(15)).unwrap();
    if cluster.is_none() {
        // Past the capture of a passing test's output: this must be seen.
        let _ = writeln!(std::io::stderr(), "{}", not_built("The sweep's Job on a real API server"));
        let required = std::env::var("KIS_REQUIRE_TESTCLUSTER").is_ok_and(|v| v == "1");
        assert!(!required, "KIS_REQUIRE_TESTCLUSTER=1, and the control plane is not built");
    }
    cluster
}

fn apply(cluster: &Cluster, what: &str, extra: &[&str]) -> String {
    let folder = format!("{}/k8s/{what}", env!("CARGO_MANIFEST_DIR"));
    cluster.kubectl(&[&["apply", "--kustomize", &folder], extra].concat(), None).unwrap()
}

fn get(cluster: &Cluster, what: &[&str]) -> Value {
    let text = cluster.kubectl(&[&["get"], what, &NAMESPACE, &["--output", "json"]].concat(), None).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < end, "not within 120 s: {what}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Its pods that are on their way or run, by completion index.
fn running(cluster: &Cluster) -> BTreeMap<u64, Value> {
    let pods = get(cluster, &["pods", "--selector", "batch.kubernetes.io/job-name=experiments"]);
    let alive = pods["items"].as_array().unwrap().iter().filter(|pod| {
        pod["metadata"]["deletionTimestamp"].is_null()
            && matches!(pod["status"]["phase"].as_str(), Some("Pending" | "Running"))
    });
    alive
        .map(|pod| {
            let label = &pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"];
            (label.as_str().unwrap().parse().unwrap(), pod.clone())
        })
        .collect()
}

/// What its kubelet would say of a pod.
fn end(cluster: &Cluster, pod: &Value, phase: &str, code: u64, condition: Option<&str>) {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let conditions = condition.map(|kind| {
        json!([{"type": kind, "status": "True", "reason": "EvictionByEvictionAPI", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    });
    let state = json!({"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z", "startedAt": "2026-01-01T00:00:00Z"}});
    let container = json!({
        "name": "experiments", "image": "x", "imageID": "x", "ready": false, "restartCount": 0, "state": state,
    });
    let status = json!({"status": {"phase": phase, "containerStatuses": [container], "conditions": conditions.unwrap_or(json!([]))}});
    let patch = status.to_string();
    let args = ["patch", "pod", name, "--subresource=status", "--type=merge", "--patch", &patch];
    cluster.kubectl(&[&args[..], &NAMESPACE].concat(), None).unwrap();
}

#[test]
fn a_real_job_controller_makes_the_shards() {
    let Some(cluster) = cluster() else { return };
    cluster.kubectl(&["apply", "--filename", "-"], Some(VOLUME)).unwrap();
    // The namespace must be there before the server can judge what is in it.
    let namespace = format!("{}/k8s/base/namespace.yaml", env!("CARGO_MANIFEST_DIR"));
    cluster.kubectl(&["apply", "--filename", &namespace], None).unwrap();
    for what in ["base", "collect", "kueue", "object-store"] {
        let strict = apply(&cluster, what, &["--dry-run=server", "--validate=strict", "--warnings-as-errors"]);
        assert!(strict.lines().all(|line| line.contains("(server dry run)")), "{what}: {strict}");
    }
    let job = |what: &str| -> Value {
        let folder = format!("{}/k8s/{what}", env!("CARGO_MANIFEST_DIR"));
        let text = cluster.kubectl(&["kustomize", &folder], None).unwrap();
        let mut all = text.split("\n---\n").map(|document| serde_norway::from_str::<Value>(document).unwrap());
        all.find(|item| item["kind"] == "Job").unwrap()
    };
    assert_eq!(job("kueue")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "experiments");
    let bucket = job("object-store");
    let arguments = bucket.pointer("/spec/template/spec/containers/0/args").unwrap().as_array().unwrap();
    let out = arguments.iter().position(|argument| argument == "--out").unwrap();
    assert_eq!(arguments[out + 1], "s3://BUCKET/experiments");
    let volumes = bucket.pointer("/spec/template/spec/volumes").unwrap().as_array().unwrap();
    assert!(volumes.iter().all(|volume| volume["name"] != "results"), "no shared volume");

    apply(&cluster, "base", &["--validate=strict", "--warnings-as-errors"]);
    let of = get(&cluster, &["job/experiments"])["spec"]["completions"].as_u64().unwrap();
    let pods = eventually("a running pod of each index", || {
        let pods = running(&cluster);
        let all = pods.len() as u64 == of && pods.values().all(|pod| pod["status"]["phase"] == "Running");
        all.then_some(pods)
    });
    assert_eq!(pods.keys().copied().collect::<Vec<_>>(), (0..of).collect::<Vec<_>>());
    for (index, pod) in &pods {
        assert_eq!(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"], index.to_string());
        let container = &pod["spec"]["containers"][0];
        // What the kubelet reads $(JOB_COMPLETION_INDEX) from.
        let env =
            container["env"].as_array().unwrap().iter().find(|env| env["name"] == "JOB_COMPLETION_INDEX").unwrap();
        let path = env.pointer("/valueFrom/fieldRef/fieldPath").unwrap().as_str().unwrap();
        assert!(path.contains("batch.kubernetes.io/job-completion-index"), "{path}");
        assert!(container["args"].as_array().unwrap().contains(&json!(format!("$(JOB_COMPLETION_INDEX)/{of}"))));
    }

    // A drained node: the index gets another pod, and nothing is counted against it.
    end(&cluster, &pods[&0], "Failed", 137, Some("DisruptionTarget"));
    let again = eventually("another pod for index 0", || running(&cluster).remove(&0));
    assert_ne!(again["metadata"]["uid"], pods[&0]["metadata"]["uid"]);
    // Out of memory, say: again.
    end(&cluster, &pods[&1], "Failed", 137, None);
    let again = eventually("another pod for index 1", || running(&cluster).remove(&1));
    assert_ne!(again["metadata"]["uid"], pods[&1]["metadata"]["uid"]);
    // A cell that failed fails again: not again, and the others run on.
    end(&cluster, &pods[&2], "Failed", 1, None);
    eventually("index 2 has failed", || {
        (get(&cluster, &["job/experiments"])["status"]["failedIndexes"] == "2").then_some(())
    });
    for (index, pod) in running(&cluster) {
        assert_ne!(index, 2);
        end(&cluster, &pod, "Succeeded", 0, None);
    }
    let status = eventually("the Job's end", || {
        let status = get(&cluster, &["job/experiments"])["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "Failed" && c["status"] == "True").then_some(status)
    });
    assert_eq!(status["completedIndexes"], format!("0,1,3-{}", of - 1));
}
