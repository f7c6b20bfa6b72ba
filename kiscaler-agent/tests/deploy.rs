//! What is in deploy/, on a real API server: it is taken as it is, and gives the agent what it needs and no more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod processes;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kiscaler_agent::control::{Outcome, PoolOutcome, Reason};
use kiscaler_agent::metrics::{Finding, Found};
use kiscaler_agent::observe::Telemetry;
use kiscaler_agent::plan::{Observation, load_policy};
use kisim::time::SimTime;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use processes::{Agent, cluster, deployment, eventually, repository, without_prometheus};
use serde_json::Value;
use testcluster::Cluster;

/// Kinds that are not Kubernetes' own and that something in deploy/ is of.
const FOREIGN: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: prometheusrules.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: PrometheusRule, plural: prometheusrules, singular: prometheusrule}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

fn folder(name: &str) -> String {
    repository("deploy").join(name).display().to_string()
}

#[test]
fn the_definition_in_the_repository_is_the_programs() {
    let file = std::fs::read_to_string(repository("deploy/base/crd.yaml")).unwrap();
    let program = kiscaler_agent::api::crd_yaml().unwrap();
    assert_eq!(file, program, "write it anew: kiscaler-agent crd > deploy/base/crd.yaml");
}

#[test]
fn the_example_names_the_policy_that_ships() {
    use sha2::Digest as _;
    let text = std::fs::read_to_string(repository("deploy/examples/triton/kiscaler.yaml")).unwrap();
    let scaler = kiscaler_agent::api::KIScaler::parse(&text, "kiscaler.yaml").unwrap();
    let policy = std::fs::read(repository("kiscaler-train/policies/default.safetensors")).unwrap();
    let digest: String = sha2::Sha256::digest(policy).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(scaler.spec.policy.checkpoint.unwrap().sha256, Some(digest));
}

#[test]
fn a_real_api_server_takes_it_all_and_gives_no_right_too_many() {
    let Some(cluster) = cluster("The manifests on a real API server", 2) else { return };
    let apply = |what: &str, extra: &[&str]| {
        let folder = folder(what);
        cluster.kubectl(&[&["apply", "--kustomize", &folder], extra].concat(), None).unwrap()
    };
    cluster.kubectl(&["apply", "--filename", "-"], Some(FOREIGN)).unwrap();
    // Namespaces and definitions must be there before the server can judge what is in them.
    apply("overlays/shadow", &[]);
    cluster.kubectl(&["wait", "crd/kiscalers.kiscaler.dev", "--for=condition=Established"], None).unwrap();
    apply("overlays/gpu-exporter", &[]);
    for what in [".", "overlays/shadow", "overlays/active", "overlays/gpu-exporter", "monitoring", "examples/triton"] {
        let strict = apply(what, &["--dry-run=server", "--validate=strict"]);
        assert!(strict.lines().all(|line| line.contains("(server dry run)")), "{what}: {strict}");
        // A warning, of Pod Security say, is an error here.
        apply(what, &["--validate=strict", "--warnings-as-errors"]);
    }

    // Two replicas, as fake kubelets run them, and the namespace's own rules (Pod Security "restricted") let them be.
    let ready = ["wait", "deployment/kiscaler-agent", "--namespace", "kiscaler-system", "--for=condition=Available"];
    cluster.kubectl(&[&ready[..], &["--timeout=60s"]].concat(), None).unwrap();
    let pods = cluster.kubectl(&["get", "pods", "--namespace", "kiscaler-system", "--output", "name"], None).unwrap();
    assert_eq!(pods.lines().count(), 2, "{pods}");
    hardened(&cluster);

    works_as_its_account(&cluster);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(rights(&cluster));
}

/// What a cautious administrator looks for in the agent's pods.
fn hardened(cluster: &Cluster) {
    let get = ["get", "deployment/kiscaler-agent", "--namespace", "kiscaler-system", "--output", "json"];
    let object: Value = serde_json::from_str(&cluster.kubectl(&get, None).unwrap()).unwrap();
    let at = |path: &str| object.pointer(&format!("/spec/template/spec/{path}")).cloned().unwrap_or(Value::Null);
    assert_eq!(at("securityContext/runAsNonRoot"), true);
    assert_eq!(at("securityContext/seccompProfile/type"), "RuntimeDefault");
    assert_eq!(at("containers/0/securityContext/readOnlyRootFilesystem"), true);
    assert_eq!(at("containers/0/securityContext/allowPrivilegeEscalation"), false);
    assert_eq!(at("containers/0/securityContext/capabilities/drop"), serde_json::json!(["ALL"]));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert!(at(&format!("containers/0/{probe}/httpGet")).is_object(), "{probe}");
    }
    assert!(at("containers/0/resources/limits/memory").is_string());
    assert_eq!(object.pointer("/spec/replicas"), Some(&Value::from(2)));
}

/// The agent itself, with its ServiceAccount's token: it does its work, and nothing that it asks for is refused.
fn works_as_its_account(cluster: &Cluster) {
    let target = deployment("served", 1, "1s").replace("  replicas: 1\n", "");
    // Server-side: what kubectl applies by itself, without a number of replicas, owns the one that it got by default.
    cluster.kubectl(&["apply", "--server-side", "--filename", "-"], Some(&target)).unwrap();
    let scaler = r#"
apiVersion: kiscaler.dev/v1alpha1
kind: KIScaler
metadata: {name: served, namespace: default}
spec:
  mode: Active
  interval: 1s
  pools:
    gpu:
      scaleTargetRef: {name: served}
      maxReplicas: 8
      profile: {name: bert-large-trt-fp16-seq128-t4}
  policy: {baseline: "fixed:3"}
  slo: {latency: 250ms}
  metrics: {preset: Triton, direct: {endpoints: ["http://127.0.0.1:9/metrics"]}}
"#;
    cluster.kubectl(&["apply", "--filename", "-"], Some(scaler)).unwrap();
    let token = token(cluster);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"));
    command.args(["run", "--metrics-address", "127.0.0.1:0", "--lease-namespace", "kiscaler-system", "--kubeconfig"]);
    command.arg(with_token(cluster, &token));
    let agent = Agent::spawn(command);
    let get =
        |path: &str| cluster.kubectl(&["get", "deployment/served", "--output", &format!("jsonpath={{{path}}}")], None);
    eventually("the target is scaled", Duration::from_secs(60), || get(".spec.replicas").unwrap() == "3");
    eventually("its pods are ready", Duration::from_secs(60), || get(".status.readyReplicas").unwrap() == "3");
    let shown = ["get", "kiscaler/served", "--output", "jsonpath={.status.pools.gpu.desired}"];
    eventually("its status says so", Duration::from_secs(30), || cluster.kubectl(&shown, None).unwrap() == "3");
    let events = ["get", "events.events.k8s.io", "--output", "jsonpath={.items[*].regarding.kind}"];
    eventually("its Events are there", Duration::from_secs(30), || {
        cluster.kubectl(&events, None).unwrap().contains("KIScaler")
    });
    let lease = [
        "get",
        "lease/kiscaler-agent",
        "--namespace",
        "kiscaler-system",
        "--output",
        "jsonpath={.spec.holderIdentity}",
    ];
    assert!(!cluster.kubectl(&lease, None).unwrap().is_empty());
    agent.signal("TERM");
    let said = agent.said();
    let refused: Vec<_> = said.iter().filter(|l| l.to_lowercase().contains("forbidden")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert_eq!(agent.end().0, Some(0));
    cluster.kubectl(&["delete", "kiscaler/served", "deployment/served"], None).unwrap();
}

/// A token of the agent's ServiceAccount, from the API.
fn token(cluster: &Cluster) -> String {
    let create = ["create", "token", "kiscaler-agent", "--namespace", "kiscaler-system"];
    cluster.kubectl(&create, None).unwrap().trim().to_owned()
}

/// Asked as the ServiceAccount, with a token from the API.
async fn rights(cluster: &Cluster) {
    let token = token(cluster);
    let client = client(&with_token(cluster, &token)).await;
    // (verb, group, resource, subresource, namespace, name)
    let allowed = [
        ("list", "kiscaler.dev", "kiscalers", "", "", ""),
        ("watch", "kiscaler.dev", "kiscalers", "", "", ""),
        ("patch", "kiscaler.dev", "kiscalers", "status", "default", "triton"),
        ("watch", "", "pods", "", "", ""),
        ("get", "apps", "deployments", "scale", "default", "triton"),
        ("patch", "apps", "deployments", "scale", "default", "triton"),
        ("patch", "apps", "statefulsets", "scale", "default", "triton"),
        ("watch", "apps", "deployments", "", "", ""),
        ("watch", "autoscaling", "horizontalpodautoscalers", "", "", ""),
        ("watch", "keda.sh", "scaledobjects", "", "", ""),
        ("patch", "", "pods", "", "default", "triton-1"),
        ("create", "events.k8s.io", "events", "", "default", ""),
        ("patch", "events.k8s.io", "events", "", "default", "triton.1"),
        ("create", "coordination.k8s.io", "leases", "", "kiscaler-system", ""),
        ("get", "coordination.k8s.io", "leases", "", "kiscaler-system", "kiscaler-agent"),
        ("update", "coordination.k8s.io", "leases", "", "kiscaler-system", "kiscaler-agent"),
    ];
    let refused = [
        // Of others' secrets nothing; of its own namespace's neither. The example's namespace, default, allows it.
        ("get", "", "secrets", "", "kube-public", "anything"),
        ("list", "", "secrets", "", "", ""),
        ("get", "", "secrets", "", "kiscaler-system", "anything"),
        ("get", "", "configmaps", "", "kube-system", "extension-apiserver-authentication"),
        ("list", "", "configmaps", "", "", ""),
        // The number of replicas, not what is replicated.
        ("patch", "apps", "deployments", "", "default", "triton"),
        ("update", "apps", "deployments", "", "default", "triton"),
        ("update", "apps", "deployments", "status", "default", "triton"),
        ("delete", "apps", "deployments", "", "default", "triton"),
        ("create", "apps", "deployments", "", "default", ""),
        // Pods are annotated, not made, unmade or entered.
        ("delete", "", "pods", "", "default", "triton-1"),
        ("create", "", "pods", "", "default", ""),
        ("create", "", "pods", "exec", "default", "triton-1"),
        ("create", "", "pods", "eviction", "default", "triton-1"),
        ("get", "", "pods", "log", "default", "triton-1"),
        // What users write is theirs, and so are others' autoscalers.
        ("patch", "kiscaler.dev", "kiscalers", "", "default", "triton"),
        ("delete", "kiscaler.dev", "kiscalers", "", "default", "triton"),
        ("patch", "autoscaling", "horizontalpodautoscalers", "", "default", "triton"),
        ("delete", "autoscaling", "horizontalpodautoscalers", "", "default", "triton"),
        ("patch", "keda.sh", "scaledobjects", "", "default", "triton"),
        // No other lease, no nodes, no rights for itself.
        ("update", "coordination.k8s.io", "leases", "", "kube-system", "kube-scheduler"),
        ("update", "coordination.k8s.io", "leases", "", "kiscaler-system", "another"),
        ("get", "", "nodes", "", "", "gpu-0"),
        ("create", "", "serviceaccounts", "token", "kiscaler-system", "kiscaler-agent"),
        ("patch", "rbac.authorization.k8s.io", "clusterroles", "", "", "kiscaler-agent"),
        ("impersonate", "", "users", "", "", "admin"),
    ];
    for (expected, table) in [(true, &allowed[..]), (false, &refused[..])] {
        for &(verb, group, resource, subresource, namespace, name) in table {
            let attributes = ResourceAttributes {
                verb: Some(verb.into()),
                group: Some(group.into()),
                resource: Some(resource.into()),
                subresource: Some(subresource.into()).filter(|s: &String| !s.is_empty()),
                namespace: Some(namespace.into()).filter(|s: &String| !s.is_empty()),
                name: Some(name.into()).filter(|s: &String| !s.is_empty()),
                ..ResourceAttributes::default()
            };
            let found = may(&client, attributes).await;
            assert_eq!(found, expected, "{verb} {group}/{resource}/{subresource} {namespace}/{name}");
        }
    }

    // The server's word is one thing, its deeds are another.
    cluster.kubectl(&["apply", "--filename", "-"], Some(&deployment("victim", 1, "1s"))).unwrap();
    let tokened = with_token(cluster, &token);
    let as_agent = |arguments: &[&str]| {
        let config = tokened.display().to_string();
        let all = [&["--kubeconfig", config.as_str()], arguments].concat();
        cluster.kubectl(&all, None).map_err(|error| error.to_string())
    };
    as_agent(&["get", "pods", "--all-namespaces"]).unwrap();
    as_agent(&["get", "kiscalers", "--all-namespaces"]).unwrap();
    // kubectl scale reads the object, and patches the scale.
    let scale = r#"{"spec":{"replicas":2}}"#;
    as_agent(&["patch", "deployment/victim", "--subresource=scale", "--type=merge", "--patch", scale]).unwrap();
    let image = r#"{"spec":{"template":{"spec":{"containers":[{"name":"triton","image":"evil"}]}}}}"#;
    for arguments in [
        &["patch", "deployment/victim", "--type=strategic", "--patch", image][..],
        &["patch", "deployment/victim", "--type=merge", "--patch", r#"{"spec":{"replicas":9}}"#],
        &["delete", "pods", "--all"],
        &["delete", "deployment/victim"],
        &["get", "secrets", "--namespace", "kube-system"],
        &["get", "configmaps", "--namespace", "kube-system"],
        &["create", "token", "kiscaler-agent", "--namespace", "kiscaler-system"],
        &["get", "nodes"],
    ] {
        let error = as_agent(arguments).expect_err(&arguments.join(" "));
        assert!(error.to_lowercase().contains("forbidden"), "{}: {error}", arguments.join(" "));
    }
    // Where a namespace says so, its inputs can be read; and nowhere else.
    cluster.kubectl(&["create", "secret", "generic", "credentials"], None).unwrap();
    as_agent(&["get", "secret", "credentials"]).unwrap();
    cluster.kubectl(&["delete", "rolebinding", "kiscaler-agent-inputs"], None).unwrap();
    as_agent(&["get", "secret", "credentials"]).unwrap_err();

    // Without the overlay it may look and not touch.
    cluster.kubectl(&["delete", "clusterrolebinding", "kiscaler-agent-scale"], None).unwrap();
    for (group, resource, subresource) in
        [("apps", "deployments", "scale"), ("apps", "statefulsets", "scale"), ("", "pods", "")]
    {
        let attributes = ResourceAttributes {
            verb: Some("patch".into()),
            group: Some(group.into()),
            resource: Some(resource.into()),
            subresource: Some(subresource.into()).filter(|s: &String| !s.is_empty()),
            namespace: Some("default".into()),
            ..ResourceAttributes::default()
        };
        assert!(!may(&client, attributes).await, "patch {resource}/{subresource} in the shadow");
    }
    let error = as_agent(&["patch", "deployment/victim", "--subresource=scale", "--type=merge", "--patch", scale]);
    assert!(error.unwrap_err().to_lowercase().contains("forbidden"));
}

/// A kubeconfig for whoever has `token`.
fn with_token(cluster: &Cluster, token: &str) -> PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    *config.pointer_mut("/users/0/user/token").unwrap() = token.into();
    let path = cluster.folder().join("kubeconfig-agent");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn may(client: &Client, attributes: ResourceAttributes) -> bool {
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let review = Api::all(client.clone()).create(&PostParams::default(), &review).await.unwrap();
    review.status.unwrap().allowed
}

#[test]
fn alerts_are_rules_that_prometheus_takes() {
    let text = std::fs::read_to_string(repository("deploy/monitoring/prometheusrule.yaml")).unwrap();
    let object: Value = serde_norway::from_str(&text).unwrap();
    let rules = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(rules.path(), serde_norway::to_string(&object["spec"]).unwrap()).unwrap();
    let Ok(output) = std::process::Command::new("promtool").args(["check", "rules"]).arg(rules.path()).output() else {
        return without_prometheus("The check of the alerts by promtool");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let text = std::fs::read_to_string(repository("deploy/Containerfile")).unwrap();
    let copied: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| line.split_whitespace().rev().skip(1))
        .collect();
    assert!(copied.len() > 8, "{copied:?}");
    for path in &copied {
        assert!(repository(path).exists(), "{path}");
    }
    // cargo wants to see all members, whatever it builds.
    let manifest = std::fs::read_to_string(repository("Cargo.toml")).unwrap();
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    for member in members.trim_matches(['[', ']']).split(", ").map(|name| name.trim_matches('"')) {
        assert!(copied.contains(&member), "{member}");
    }
}

/// Names of the agent's metrics that stand in `text`.
fn names(text: &str) -> std::collections::BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("kiscaler_"));
    words.map(str::to_owned).collect()
}

/// Names of all metrics of an agent to which everything has happened once.
fn exported() -> std::collections::BTreeSet<String> {
    let telemetry = Telemetry::default();
    let scaler = ("default", "triton");
    let pool = PoolOutcome { name: "gpu".into(), current: 2, ready: 1, wanted: Some(3), target: 3 };
    let outcome = Outcome {
        at: SimTime::ZERO,
        pools: vec![pool],
        reason: Reason::ScaleUp,
        message: String::new(),
        unseen: None,
        metrics: None,
        age: Some(Duration::from_secs(3)),
    };
    telemetry.decided(scaler, &outcome, Duration::from_micros(80));
    telemetry.reason(scaler, Reason::StaleMetrics);
    let bytes = std::fs::read(repository("kiscaler-train/policies/default.safetensors")).unwrap();
    let loaded = load_policy("default", &bytes, None).unwrap();
    let values = vec![0.0; loaded.policy.features().len()];
    telemetry.observed(scaler, &Observation { loaded: &loaded, values: &values });
    telemetry.policy(scaler, "default", Some("00"));
    telemetry.found(scaler, &[Found { pod: String::new(), finding: Finding::ALL[0], detail: String::new() }]);
    telemetry.wrote("status", "ok");
    telemetry.watch_failed("pods");
    telemetry.leads(true);
    let text = telemetry.encode();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_the_agent_has() {
    let dashboard = std::fs::read_to_string(repository("deploy/monitoring/kiscaler.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() >= 8);
    let alerts = std::fs::read_to_string(repository("deploy/monitoring/prometheusrule.yaml")).unwrap();
    let exported = exported();
    let (mut used, mut unknown) = (0, Vec::new());
    for name in names(&dashboard).into_iter().chain(names(&alerts)) {
        used += 1;
        if !exported.contains(&name) {
            unknown.push(name);
        }
    }
    assert!(used > 10, "{used}");
    assert!(unknown.is_empty(), "{unknown:?} are none of {exported:?}");
}
