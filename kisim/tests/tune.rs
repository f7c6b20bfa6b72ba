//! `kisim tune` as a user meets it: what it writes, that it goes on where it stopped, and that `compare` takes the result.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A scenario that takes milliseconds, with room for tuning: a wave that the untuned rules follow too late.
const SMALL: &str = r#"
name = "small"
duration = "6m"
[traffic]
kind = "open"
rate = { shape = "periodic", mean = 300.0, amplitude = 200.0, period = "2m" }
[client]
timeout = "1s"
[slo]
latency = "250ms"
[service]
activator = {}
placement = { rule = "gpu_only" }
[pools.gpu]
profile = "bert-large-trt-fp16-seq128-t4"
initial_replicas = 2
batcher = { max_batch = 8 }
limits = { min_replicas = 1, max_replicas = 4 }
[cluster]
nodes = [{ name = "n", count = 2, cpus = 32.0, gpus = 4 }]
"#;

fn kisim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kisim")).args(arguments).output().expect("kisim starts")
}

fn json(arguments: &[&str]) -> Value {
    let output = kisim(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is JSON and nothing else")
}

fn small(folder: &Path) -> String {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, SMALL).unwrap();
    path.display().to_string()
}

/// The evaluations of a record, sorted.
fn evaluations(out: &Path, kind: &str) -> Vec<String> {
    let text = std::fs::read_to_string(out.join(format!("{kind}-trials.jsonl"))).unwrap();
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn every_kind_is_tuned_written_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (scenario, out) = (small(folder.path()), folder.path().join("tuned"));
    let to = out.to_str().unwrap();
    let found = json(&[
        "tune",
        &scenario,
        "--autoscaler",
        "all",
        "--trials",
        "14",
        "--seeds",
        "2",
        "--out",
        to,
        "--format",
        "json",
    ]);
    let mut better = Vec::new();
    for (kind, file) in [
        ("hpa", "hpa-tuned.yaml"),
        ("keda", "keda-tuned.yaml"),
        ("kpa", "kpa-tuned.yaml"),
        ("predictive", "predictive-tuned.toml"),
    ] {
        let objective = |which: &str| found[kind][which]["objective"].as_f64().unwrap();
        assert!(objective("best") <= objective("untuned"), "{kind}");
        // Every trial is recorded with what was tried, and the untuned one on every seed.
        let records: Vec<Value> = evaluations(&out, kind).iter().map(|l| serde_json::from_str(l).unwrap()).collect();
        let trials: std::collections::BTreeSet<u64> = records.iter().map(|r| r["trial"].as_u64().unwrap()).collect();
        assert_eq!(trials.into_iter().collect::<Vec<_>>(), (0..14).collect::<Vec<_>>(), "{kind}");
        assert_eq!(records.iter().filter(|r| r["trial"] == 0).count(), 2, "{kind}");
        assert!(records.iter().all(|r| r["objective"].is_number() && r["parameters"].is_object()), "{kind}");
        assert_eq!(out.join(file).exists(), objective("best") < objective("untuned"), "{kind}");
        if out.join(file).exists() {
            better.push(file.split('.').next().unwrap());
        }
    }
    assert!(!better.is_empty(), "nothing was better than the untuned ones: the scenario is no test");
    let results = folder.path().join("results");
    let compared = json(&[
        "compare",
        &scenario,
        "--autoscalers",
        "hpa",
        "--tuned",
        to,
        "--seeds",
        "2",
        "--format",
        "json",
        "--out",
        results.to_str().unwrap(),
    ]);
    let names: Vec<&str> =
        compared["autoscalers"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names[1..], better);
    for name in &better {
        assert!(results.join(format!("timeline-{name}.csv")).exists());
    }
    let svg = std::fs::read_to_string(results.join("compare.svg")).unwrap();
    assert!(svg.starts_with("<svg") && better.iter().all(|name| svg.contains(name)));
    let whole: Value = serde_json::from_slice(&std::fs::read(results.join("comparison.json")).unwrap()).unwrap();
    assert_eq!(whole, compared);
}

#[test]
fn what_was_interrupted_goes_on_and_ends_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = small(folder.path());
    let tune = |out: &Path, threads: &str| {
        let arguments = [
            "tune",
            &scenario,
            "--autoscaler",
            "hpa",
            "--trials",
            "10",
            "--seeds",
            "3",
            "--threads",
            threads,
            "--out",
            out.to_str().unwrap(),
            "--format",
            "json",
        ];
        json(&arguments)
    };
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let whole = tune(&one, "1");
    assert_eq!(tune(&two, "2"), whole);
    assert_eq!(evaluations(&two, "hpa"), evaluations(&one, "hpa"));
    // Cut off in the middle of a line, as by a power failure.
    let record = two.join("hpa-trials.jsonl");
    let text = std::fs::read_to_string(&record).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let half = lines.len() / 2;
    // What is known is not evaluated again: a figure that no run gives stays.
    let marked = lines[1].replacen("\"churn\":", "\"churn\":9", 1);
    let cut =
        format!("{}\n{marked}\n{}\n{}", lines[0], lines[2..half].join("\n"), &lines[half][..lines[half].len() / 2]);
    std::fs::write(&record, cut).unwrap();
    let again = tune(&two, "2");
    assert_eq!(again["best"]["objective"], whole["best"]["objective"]);
    let mut expected = evaluations(&one, "hpa");
    expected.retain(|line| *line != lines[1]);
    expected.push(marked);
    expected.sort();
    assert_eq!(evaluations(&two, "hpa"), expected);
}

#[test]
fn another_searchs_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (scenario, out) = (small(folder.path()), folder.path().join("tuned"));
    let tune = |more: &[&str]| {
        let mut arguments =
            vec!["tune", &scenario, "--autoscaler", "kpa", "--seeds", "1", "--out", out.to_str().unwrap()];
        arguments.extend(more);
        kisim(&arguments)
    };
    assert!(tune(&["--trials", "3"]).status.success());
    for (more, field) in [
        (vec!["--trials", "4"], "trials"),
        (vec!["--trials", "3", "--seed", "9"], "seed"),
        (vec!["--trials", "3", "--duration", "2m"], "fingerprint"),
    ] {
        let output = tune(&more);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("kpa-trials.jsonl") && message.contains(field), "{message}");
        assert_eq!(message.trim().lines().count(), 1, "{message}");
    }
    assert!(!kisim(&["tune", &scenario, "--autoscaler", "fixed"]).status.success());
}
