//! The command as a user meets it: results on standard output, sentences on standard error, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn kisim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kisim")).args(arguments).output().expect("kisim starts")
}

fn json(arguments: &[&str]) -> Value {
    let output = kisim(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is JSON and nothing else")
}

/// The one sentence that a refused call prints.
fn refusal(arguments: &[&str]) -> String {
    let output = kisim(arguments);
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

/// A scenario that takes milliseconds.
const SMALL: &str = r#"
name = "small"
duration = "3m"
[traffic]
kind = "open"
rate = { shape = "constant", rate = 200.0 }
[client]
timeout = "1s"
[slo]
latency = "100ms"
[pools.gpu]
profile = "bert-large-trt-fp16-seq128-t4"
initial_replicas = 2
batcher = { max_batch = 8 }
limits = { min_replicas = 1, max_replicas = 6 }
[cluster]
nodes = [{ name = "n", count = 2, cpus = 32.0, gpus = 4 }]
"#;

fn small(folder: &Path, change: impl Fn(&str) -> String) -> String {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, change(SMALL)).expect("writable");
    path.display().to_string()
}

#[test]
fn run_prints_one_object_with_the_promised_fields() {
    let folder = tempfile::tempdir().expect("folder");
    let path = small(folder.path(), str::to_owned);
    let run = json(&["run", &path, "--format", "json", "--seed", "7"]);
    for field in [
        "/requests/arrived",
        "/requests/completed",
        "/requests/queue_full",
        "/requests/timed_out",
        "/requests/killed",
        "/requests/unserved",
        "/latency_ms/mean",
        "/latency_ms/p50",
        "/latency_ms/p90",
        "/latency_ms/p95",
        "/latency_ms/p99",
        "/latency_ms/p999",
        "/latency_ms/max",
        "/queue_ms/mean",
        "/queue_ms/p95",
        "/slo/objective_ms",
        "/slo/violation_ratio",
        "/pools/gpu/replicas_mean",
        "/pools/gpu/replicas_max",
        "/pools/gpu/replica_seconds",
        "/pools/gpu/utilization",
        "/pools/gpu/cost",
        "/cost",
        "/reward/mean",
        "/reward/violation",
        "/reward/cost",
        "/reward/churn",
        "/seed",
    ] {
        assert!(run.pointer(field).is_some_and(Value::is_number), "{field} in {run}");
    }
    assert_eq!(run["seed"], 7);
    assert_eq!(run["autoscaler"], "hpa:utilization:70");
    let count = |name: &str| run["requests"][name].as_u64().expect("a count");
    let ended = count("completed") + count("queue_full") + count("timed_out") + count("killed") + count("unserved");
    assert_eq!(count("arrived"), ended);
    let littles = &run["littles_law"];
    let (sampled, law) =
        (littles["mean_in_flight_sampled"].as_f64().unwrap(), littles["rate_times_time"].as_f64().unwrap());
    assert!((sampled / law - 1.0).abs() < 0.6, "{littles}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("folder");
    let path = small(folder.path(), str::to_owned);
    let compare = |threads: &str, seed: &str| {
        let arguments = [
            "compare",
            &path,
            "--autoscalers",
            "fixed:2,hpa",
            "--seeds",
            "3",
            "--format",
            "json",
            "--threads",
            threads,
            "--seed",
            seed,
        ];
        let output = kisim(&arguments);
        assert!(output.status.success());
        output.stdout
    };
    let one = compare("1", "5");
    assert_eq!(one, compare("2", "5"));
    assert_eq!(one, compare("1", "5"));
    assert_ne!(one, compare("1", "6"));
}

#[test]
fn compare_pairs_autoscalers_over_the_same_arrivals() {
    let folder = tempfile::tempdir().expect("folder");
    let path = small(folder.path(), str::to_owned);
    let result = json(&["compare", &path, "--autoscalers", "fixed:2,fixed:6", "--seeds", "4", "--format", "json"]);
    let [few, many] = [0, 1].map(|i| &result["autoscalers"][i]);
    for (a, b) in few["runs"].as_array().unwrap().iter().zip(many["runs"].as_array().unwrap()) {
        assert_eq!(a["requests"]["arrived"], b["requests"]["arrived"]);
        assert_eq!(a["seed"], b["seed"]);
    }
    let latency = &many["paired"]["latency_ms.mean"];
    assert!(latency["difference"]["mean"].as_f64().unwrap() < 0.0);
    assert_eq!(latency["significant"], true);
    assert!(few["metrics"]["cost"]["mean"].as_f64().unwrap() < many["metrics"]["cost"]["mean"].as_f64().unwrap());
}

#[test]
fn out_holds_whole_files_and_no_others() {
    let folder = tempfile::tempdir().expect("folder");
    let path = small(folder.path(), str::to_owned);
    let out = folder.path().join("results");
    let run = json(&["run", &path, "--format", "json", "--out", out.to_str().unwrap(), "--requests"]);
    let mut files: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["decisions.csv", "requests.csv", "summary.json", "timeline.csv", "timeline.svg"]);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("summary.json")).unwrap(), run);
    let ended = run["requests"]["completed"].as_u64().unwrap();
    assert_eq!(read("requests.csv").lines().filter(|l| l.ends_with(",completed")).count() as u64, ended);
    // A row a scrape: 15, 30, … 180 s.
    assert_eq!(read("timeline.csv").lines().count(), 13);
    assert!(read("timeline.svg").starts_with("<svg"));
}

#[test]
fn traffic_can_be_looked_at_and_replayed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = small(folder.path(), str::to_owned);
    let arrivals = folder.path().join("arrivals.csv");
    let traffic = json(&["traffic", &path, "--out", arrivals.to_str().unwrap(), "--format", "json"]);
    let run = json(&["run", &path, "--format", "json"]);
    assert_eq!(traffic["requests"], run["requests"]["arrived"]);
    assert!((traffic["interarrival_cv"].as_f64().unwrap() - 1.0).abs() < 0.03);
    let replay = json(&["run", &path, "--trace", arrivals.to_str().unwrap(), "--duration", "3m", "--format", "json"]);
    // The trace begins with its first arrival, which moves everything by a few milliseconds.
    let arrived = |v: &Value| v["requests"]["arrived"].as_i64().unwrap();
    assert!((arrived(&replay) - arrived(&run)).abs() <= 3);
}

#[test]
fn retries_make_a_storm() {
    let folder = tempfile::tempdir().expect("folder");
    let overload = |text: &str| text.replace("rate = 200.0", "rate = 900.0");
    let path = small(folder.path(), overload);
    let once = json(&["run", &path, "--autoscaler", "fixed:2", "--format", "json"]);
    let retried = small(folder.path(), |text| {
        overload(text).replace(
            "[client]",
            "[client]\nretries = { attempts = 3, back_off = \"100ms\", multiplier = 2.0, jitter = 0.5 }",
        )
    });
    let storm = json(&["run", &retried, "--autoscaler", "fixed:2", "--format", "json"]);
    let get = |v: &Value, name: &str| v["requests"][name].as_u64().unwrap();
    assert_eq!(get(&once, "retried"), 0);
    assert!(get(&storm, "retried") > get(&once, "arrived") / 4);
    assert_eq!(get(&storm, "arrived"), get(&once, "arrived") + get(&storm, "retried"));
    // More load, and no more answers: what is retried was already too much.
    assert!(get(&storm, "completed") as f64 <= 1.05 * get(&once, "completed") as f64);
}

#[test]
fn bad_input_is_one_sentence_with_place_found_and_expected() {
    let folder = tempfile::tempdir().expect("folder");
    let refuse = |from: &str, to: &str, parts: &[&str]| {
        let path = small(folder.path(), |text| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let message = refusal(&["run", &path]);
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(".toml"), "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    };
    refuse("initial_replicas", "intial_replicas", &["intial_replicas", "line", "expected"]);
    refuse("rate = 200.0", "rate = -200.0", &["traffic.rate.rate", "-200", "at least 0"]);
    refuse("rate = 200.0", "rate = nan", &["traffic.rate.rate", "NaN"]);
    refuse("latency = \"100ms\"", "latency = 100", &["slo.latency", "250ms"]);
    refuse("latency = \"100ms\"", "latency = \"-100ms\"", &["slo.latency", "not negative"]);
    refuse("min_replicas = 1, max_replicas = 6", "min_replicas = 7, max_replicas = 6", &["max_replicas", "6", "7"]);
    refuse("max_replicas = 6", "max_replicas = 0", &["max_replicas", "at least 1"]);
    refuse("max_replicas = 6", "max_replicas = -6", &["max_replicas", "line"]);
    refuse("initial_replicas = 2", "initial_replicas = 9", &["initial_replicas", "9", "6"]);
    refuse("max_batch = 8", "max_batch = 500", &["max_batch", "500", "128"]);
    refuse("duration = \"3m\"", "duration = \"0s\"", &["duration", "at least 1ms"]);
    refuse("duration = \"3m\"", "", &["duration", "expected a length"]);
    refuse("bert-large-trt-fp16-seq128-t4", "bert-huge", &["profile", "bert-huge", "bert-large"]);
    refuse("bert-large-trt-fp16-seq128-t4", "missing.toml", &["missing.toml", "cannot read"]);
    refuse("kind = \"open\"", "kind = \"opened\"", &["opened", "open"]);
    refuse("[pools.gpu]", "[faults]\n[pools.gpu]", &["line"]);
    refuse("[cluster]", "[[faults]]\nkind = \"slow_node\"\nlasting = \"1m\"\nat = [\"1m\"]\n[cluster]", &["factor"]);
    refuse("[cluster]", "[telemetry]\ndrop_probability = 1.5\n[cluster]", &["drop_probability", "1.5"]);
}

#[test]
fn bad_arguments_and_files_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = small(folder.path(), str::to_owned);
    let has = |arguments: &[&str], parts: &[&str]| {
        let message = refusal(arguments);
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    };
    has(&["run", "nowhere.toml"], &["nowhere.toml", "cannot read"]);
    has(&["run", &path, "--autoscaler", "fixed:99"], &["99", "max_replicas"]);
    has(&["run", &path, "--autoscaler", "fixed:cpu=1"], &["cpu", "gpu"]);
    has(&["run", &path, "--autoscaler", "magic"], &["magic", "fixed:N"]);
    has(&["run", &path, "--autoscaler", "hpa:-5"], &["-5", "above 0"]);
    has(&["run", "paper:zigzag"], &["zigzag", "ramp"]);
    has(&["compare", &path, "--seeds", "0"], &["0"]);
    has(&["profiles", "abacus"], &["abacus", "resnet50"]);
    has(&["scenario", "other"], &["other", "default"]);
    let trace = |name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.display().to_string()
    };
    let unsorted = trace("unsorted.csv", "timestamp_s\n1.0\n3.0\n2.0\n");
    has(&["run", &path, "--trace", &unsorted], &["unsorted.csv", "line 4"]);
    let empty = trace("empty.csv", "timestamp_s\n");
    has(&["run", &path, "--trace", &empty], &["empty.csv"]);
    let strange = trace("strange.csv", "a,b\n1,2\n");
    has(&["traffic", &path, "--trace", &strange], &["strange.csv", "a,b"]);
    has(&["run", &path, "--trace", &strange, "--trace-format", "tape"], &["tape", "azure-llm"]);
    has(&["run", &path, "--trace", "gone.csv"], &["gone.csv"]);
    let sweep = trace("sweep.csv", "batch,latency_ms\n1,2.0\n2,-1\n");
    has(&["calibrate", &sweep], &["sweep.csv", "line 3", "latency_ms"]);
    // A result that cannot be written leaves nothing behind.
    let file = trace("file", "");
    has(&["run", &path, "--out", &format!("{file}/below")], &["cannot write"]);
    let full = Path::new("/dev/full");
    if full.exists() {
        has(&["traffic", &path, "--out", "/dev/full/arrivals.csv"], &["cannot write"]);
    }
}

/// A HorizontalPodAutoscaler with `lines` in its spec and one metric.
fn hpa(lines: &str, metric: &str) -> String {
    format!(
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{ name: a }}\nspec:\n  \
         scaleTargetRef: {{ apiVersion: apps/v1, kind: Deployment, name: a }}\n  maxReplicas: 6\n{lines}  \
         metrics:\n  - {metric}\n"
    )
}

#[test]
fn manifests_are_refused_with_their_file_and_field() {
    const CPU: &str = "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}";
    const OTHER: &str = "{type: Pods, pods: {metric: {name: gpu}, target: {type: AverageValue, averageValue: 5}}}";
    let folder = tempfile::tempdir().expect("folder");
    let scenario = small(folder.path(), str::to_owned);
    let good = hpa("", CPU);
    let scaled = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: { name: a }\nspec:\n  \
                  scaleTargetRef: { name: a }\n  triggers:\n  - {type: cpu, metricType: Utilization, metadata: {value: '50'}}\n";
    let revision = "apiVersion: serving.knative.dev/v1\nkind: Revision\nmetadata:\n  name: a\n  annotations: \
                    {autoscaling.knative.dev/target: '8'}\nspec:\n  containers: [{image: a}]\n";
    let twice =
        "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 5, averageValue: 5}}}";
    let policy = |text: &str| hpa(&format!("  behavior: {{scaleUp: {{{text}}}}}\n"), CPU);
    let rows = [
        // Another kind, or none.
        (good.replace("HorizontalPodAutoscaler", "Deployment"), "field kind: found Deployment, expected HorizontalPod"),
        ("a: b\n".to_owned(), "field kind: found nothing"),
        ("a: [\n".to_owned(), "line 2"),
        // Another version.
        (good.replace("autoscaling/v2", "autoscaling/v1"), "apiVersion is `autoscaling/v1`, expected `autoscaling/v2`"),
        (scaled.replace("v1alpha1", "v1"), "apiVersion is `keda.sh/v1`, expected `keda.sh/v1alpha1`"),
        (revision.replace("dev/v1\n", "dev/v2\n"), "apiVersion"),
        // Unknown fields.
        (hpa("  maxReplica: 5\n", CPU), "unknown field `maxReplica`, expected one of"),
        (scaled.replace("triggers", "idleReplicas: 0\n  triggers"), "unknown field `idleReplicas`, expected one of"),
        (revision.replace("/target", "/targets"), "autoscaling.knative.dev/targets"),
        // A metric that is not offered, with those that are.
        (
            hpa("", OTHER),
            "spec.metrics[0].pods.metric.name: found metric \"gpu\", expected one that the simulation offers: DCGM_FI",
        ),
        (scaled.replace("type: cpu", "type: memory"), "memory"),
        // What does not go together.
        (policy("policies: []"), "spec.behavior.scaleUp.policies is empty, expected at least one policy"),
        (
            policy("policies: [{type: Pods, value: 0, periodSeconds: 15}]"),
            "spec.behavior.scaleUp.policies[0].value is 0, expected above 0",
        ),
        (
            policy("policies: [{type: Pods, value: 1, periodSeconds: 1801}]"),
            "spec.behavior.scaleUp.policies[0].periodSeconds is 1801, expected 1 to 1800",
        ),
        (policy("selectPolicy: Most"), "spec.behavior.scaleUp.selectPolicy: unknown variant `Most`"),
        (policy("selectPolicy: Min, selectPolicy: Max"), "duplicate"),
        (hpa("  minReplicas: 7\n", CPU), "spec.maxReplicas is 6, expected at least spec.minReplicas, which is 7"),
        (hpa("", twice), "spec.metrics[0].resource.target.averageValue is present, expected either it or averageUtil"),
        (
            scaled.replace("triggers", "minReplicaCount: 1\n  idleReplicaCount: 2\n  triggers"),
            "spec.idleReplicaCount is 2, expected less than spec.minReplicaCount, which is 1",
        ),
    ];
    let path = folder.path().join("mine.yaml");
    let file = path.to_str().expect("UTF-8");
    for (text, part) in rows {
        std::fs::write(&path, &text).expect("writable");
        for arguments in [["run", &scenario, "--autoscaler", file], ["compare", &scenario, "--tuned", file]] {
            let message = refusal(&arguments);
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains("mine.yaml") && message.contains(part), "{part:?} in {message:?}");
        }
    }
    // A tuned file for another autoscaler, by what is asked for or by its own name.
    std::fs::write(&path, &good).expect("writable");
    let asked = refusal(&["compare", &scenario, "--tuned", &format!("keda={file}")]);
    assert!(asked.ends_with("mine.yaml, field kind: found an autoscaler of kind hpa, expected keda"), "{asked}");
    let called = folder.path().join("kpa-tuned.yaml");
    std::fs::write(&called, &good).expect("writable");
    let message = refusal(&["compare", &scenario, "--tuned", folder.path().to_str().expect("UTF-8")]);
    assert!(
        message.ends_with("kpa-tuned.yaml, field kind: found an autoscaler of kind hpa, expected kpa"),
        "{message}"
    );
}

#[test]
fn calibrate_writes_a_profile_that_runs() {
    let folder = tempfile::tempdir().expect("folder");
    let sweep = folder.path().join("sweep.csv");
    std::fs::write(&sweep, "batch,latency_ms\n1,2.5\n2,3.0\n4,4.0\n8,6.0\n16,10.0\n").unwrap();
    let profile = folder.path().join("mine.toml");
    let svg = folder.path().join("fit.svg");
    let found = json(&[
        "calibrate",
        sweep.to_str().unwrap(),
        "--out",
        profile.to_str().unwrap(),
        "--svg",
        svg.to_str().unwrap(),
        "--format",
        "json",
    ]);
    let per_item = found["fit"]["affine"]["per_item_ms"].to_string();
    assert!(per_item.contains("0.5") || per_item.contains("0.49999"), "{per_item}");
    assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg"));
    let path = small(folder.path(), |text| text.replace("bert-large-trt-fp16-seq128-t4", "mine.toml"));
    let run = json(&["run", &path, "--format", "json"]);
    assert!(run["latency_ms"]["p50"].as_f64().unwrap() < 10.0);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let folder = tempfile::tempdir().expect("folder");
    let default = kisim(&["scenario"]);
    assert!(default.status.success() && default.stderr.is_empty());
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, &default.stdout).unwrap();
    let short = ["run", path.to_str().unwrap(), "--duration", "1m", "--format", "json"];
    assert_eq!(json(&short)["requests"], json(&["run", "--duration", "1m", "--format", "json"])["requests"]);
    let profiles = json(&["profiles", "--format", "json"]);
    assert!(profiles.as_array().unwrap().len() >= 14);
    for pattern in ["ramp", "spike", "periodic", "random"] {
        let run = json(&["run", &format!("paper:{pattern}"), "--format", "json"]);
        assert!(run["reward"]["latency"].is_number(), "{run}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_earlier_results_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let path = small(folder.path(), str::to_owned);
    let out = folder.path().join("results");
    let out = out.to_str().unwrap();
    let before = json(&["run", &path, "--format", "json", "--out", out]);
    // Long enough to be interrupted.
    let long = small(folder.path(), |text| text.replace("duration = \"3m\"", "duration = \"90h\""));
    let mut child = Command::new(env!("CARGO_BIN_EXE_kisim"))
        .args(["run", &long, "--out", out])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let summary = std::fs::read_to_string(Path::new(out).join("summary.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&summary).unwrap(), before);
    assert_eq!(std::fs::read_dir(out).unwrap().count(), 4);
}
