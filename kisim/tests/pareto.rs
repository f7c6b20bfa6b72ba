//! `kisim pareto` as a user meets it: files, fields, the same bytes on any number of threads, and refusals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn kisim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kisim")).args(arguments).output().expect("kisim starts")
}

/// A scenario that takes milliseconds.
const SMALL: &str = r#"
name = "small"
duration = "2m"
[traffic]
kind = "open"
rate = { shape = "ramp", from = 100.0, to = 600.0, over = "2m" }
[client]
timeout = "1s"
[slo]
latency = "100ms"
[pools.gpu]
profile = "bert-large-trt-fp16-seq128-t4"
initial_replicas = 2
batcher = { max_batch = 8 }
limits = { min_replicas = 1, max_replicas = 4 }
[cluster]
nodes = [{ name = "n", count = 2, cpus = 32.0, gpus = 4 }]
"#;

const TOML: &str = "[autoscaler]\nkind = \"kpa\"\ntarget = 6.0\n";

const HPA: &str = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: bert }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: bert }
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - type: Resource
    resource: { name: cpu, target: { type: Utilization, averageUtilization: 50 } }
";

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

#[test]
fn the_files_agree_and_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().expect("folder");
    let path = write(folder.path(), "scenario.toml", SMALL);
    let own = write(folder.path(), "mine.toml", TOML);
    let manifest = write(folder.path(), "bert.yaml", HPA);
    let autoscalers = format!("fixed,hpa,foresight,{own},{manifest}");
    let sweep = |threads: &str| {
        let out = folder.path().join(format!("out-{threads}"));
        let arguments = ["pareto", &path, "--autoscalers", &autoscalers, "--factors", "0.5,1,2", "--seeds", "2"];
        let rest = ["--threads", threads, "--format", "json", "--out", out.to_str().unwrap()];
        let output = kisim(&[&arguments[..], &rest[..]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 3);
        (output.stdout, ["pareto.json", "pareto.csv", "pareto.svg"].map(read))
    };
    let (stdout, [json, csv, svg]) = sweep("1");
    assert_eq!((stdout.clone(), [json.clone(), csv.clone(), svg.clone()]), sweep("2"));
    let result: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&stdout).unwrap(), result);

    assert_eq!(result["scenario"], "small");
    assert_eq!(result["seeds"].as_array().unwrap().len(), 2);
    assert_eq!(result["duration_s"], 120.0);
    assert!(result["reference"]["cost"].as_f64().unwrap() > 0.0);
    let contenders = result["contenders"].as_array().unwrap();
    let names: Vec<&str> = contenders.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fixed", "hpa:utilization:70", "foresight", "mine", "bert"]);
    let mut on_frontier = 0;
    for contender in contenders {
        let replicas = contender["name"] == "fixed";
        assert_eq!(contender["parameter"], if replicas { "replicas" } else { "headroom" });
        let values: Vec<f64> =
            contender["points"].as_array().unwrap().iter().map(|p| p["value"].as_f64().unwrap()).collect();
        assert_eq!(values, if replicas { vec![1.0, 2.0, 3.0, 4.0] } else { vec![0.5, 1.0, 2.0] });
        for point in contender["points"].as_array().unwrap() {
            for figure in ["violation_ratio", "cost", "replicas_mean", "p95_ms", "reward"] {
                assert!(point[figure]["mean"].is_number() && point[figure]["half_width"].is_number(), "{point}");
            }
            on_frontier += usize::from(point["on_frontier"] == true);
        }
        assert_eq!(contender["cost_at"][0]["violation_ratio"], 0.01);
        assert_eq!(contender["cost_at"][1]["violation_ratio"], 0.05);
        assert!((0.0..=1.0).contains(&contender["area"].as_f64().unwrap()));
    }

    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 1 + 4 + 4 * 3);
    assert!(
        rows[0].starts_with("scenario,autoscaler,parameter,value,seeds,violation_ratio,violation_ratio_half_width")
    );
    assert!(rows[1].starts_with("small,fixed,replicas,1,2,"), "{}", rows[1]);
    assert_eq!(rows.iter().filter(|r| r.contains(",true,")).count(), on_frontier);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = document.descendants().filter_map(|n| n.text()).map(str::trim).collect();
    for text in names.iter().chain(&["small, 2 seeds", "frontier of all"]) {
        assert!(texts.contains(text), "{text:?} is not among {texts:?}");
    }
}

#[test]
fn several_scenarios_have_a_folder_each() {
    let folder = tempfile::tempdir().expect("folder");
    let path = write(folder.path(), "a.toml", SMALL);
    let other = write(folder.path(), "b.toml", &SMALL.replace("\"small\"", "\"../other day\""));
    let out = folder.path().join("results");
    let sweep = |format: &str| {
        let arguments = ["pareto", &path, &other, "--autoscalers", "hpa", "--factors", "2", "--seeds", "1"];
        let output = kisim(&[&arguments[..], &["--format", format, "--out", out.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let both: Value = serde_json::from_str(&sweep("json")).unwrap();
    assert_eq!(both.as_array().unwrap().len(), 2);
    for (name, expected) in ["small", "---other-day"].iter().zip(both.as_array().unwrap()) {
        let json = std::fs::read_to_string(out.join(name).join("pareto.json")).unwrap();
        assert_eq!(&serde_json::from_str::<Value>(&json).unwrap(), expected);
    }
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2);
    let table = sweep("table");
    for part in ["small: 1 run of 120 s", "../other day: ", "×0.5", "×2.5", "dominated area", "cost $ at 1 %"] {
        assert!(table.contains(part), "{part:?} in {table}");
    }
}

#[test]
fn bad_input_is_one_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    let path = write(folder.path(), "scenario.toml", SMALL);
    let refuse = |arguments: &[&str], parts: &[&str]| {
        let output = kisim(&[&["pareto", &path], arguments].concat());
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(message.lines().count(), 1, "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    };
    refuse(&["paper", "--duration", "1m"], &["--duration", "one scenario", "paper"]);
    refuse(&["paper", "--trace", "gone.csv"], &["--trace", "one scenario"]);
    refuse(&["nowhere.toml"], &["nowhere.toml", "cannot read"]);
    refuse(&["--autoscalers", "hpa,magic"], &["magic", "hpa"]);
    refuse(&["--autoscalers", "hindsight"], &["hindsight", "headroom"]);
    refuse(&["--autoscalers", "gone.yaml"], &["gone.yaml", "cannot read"]);
    for factors in ["0", "1", "1,x", "0.5,0", "1,,2", "nan,1", ""] {
        refuse(&["--factors", factors], &["--factors", factors, "expected"]);
    }
    let out = folder.path().join("out");
    refuse(&[&path, "--out", out.to_str().unwrap()], &["small", "different names"]);
    let file = write(folder.path(), "file", "");
    let below = format!("{file}/below");
    refuse(&["--autoscalers", "hpa", "--factors", "2", "--seeds", "1", "--out", &below], &["cannot write"]);
}
