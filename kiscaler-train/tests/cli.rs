//! The command as a user meets it: results on standard output, sentences on standard error, exit codes.

#![cfg(feature = "trainer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use kiscaler_train::checkpoint::{Checkpoint, Choice, Data, Encoder, Envelope, Feature, Head, State, Tensor};
use kisim::config::Span;
use serde_json::{Value, json};

fn train(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kiscaler-train")).args(arguments).output().expect("kiscaler-train starts")
}

fn stdout(arguments: &[&str]) -> String {
    let output = train(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "a program that reads the result gets nothing else");
    String::from_utf8(output.stdout).expect("text")
}

/// The one sentence that a refused call prints.
fn refusal(arguments: &[&str]) -> String {
    let output = train(arguments);
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn checkpoint() -> Checkpoint {
    let envelope = Envelope { min: 0.0, low: 0.05, high: 1.9, max: 3.5 };
    Checkpoint {
        encoder: Encoder { name: "scale-free".into(), version: 1 },
        features: vec![Feature { name: "load / capacity".into(), mean: 0.75, variance: 0.25, envelope }],
        heads: vec![Head {
            name: "headroom".into(),
            choices: [0.8, 1.0, 1.3].map(|value| Choice { name: format!("×{value}"), value }).to_vec(),
        }],
        control_interval: Span::secs(15),
        envelope_quantile: 0.01,
        seed: 42,
        config: "[ppo]\nlearning_rate = 3e-4\n".into(),
        git_revision: "0123456789ab".into(),
        metrics: [("evaluation/violation_ratio".to_owned(), 0.0125)].into(),
        tensors: [("actor.0.weight".to_owned(), Tensor::f32([3, 1], vec![0.5; 3]).unwrap())].into(),
        ..Checkpoint::default()
    }
}

fn saved(folder: &Path, name: &str, checkpoint: &Checkpoint) -> String {
    let path = folder.join(name);
    checkpoint.save(&path).unwrap();
    path.display().to_string()
}

#[test]
fn inspect_shows_what_a_policy_sees_does_and_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path(), "best.safetensors", &checkpoint());
    let text = stdout(&["inspect", &path]);
    for expected in [
        "policy",
        "scale-free, version 1",
        "15s",
        "load / capacity",
        "0.750",
        "×0.8, ×1, ×1.3",
        "42",
        "0123456789ab",
        "actor.0.weight",
        "3 × 1",
        "evaluation/violation_ratio",
        "99 %",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let value: Value = serde_json::from_str(&stdout(&["inspect", &path, "--format", "json"])).unwrap();
    assert_eq!(value["features"][0]["envelope"]["high"], 1.9);
    assert_eq!(value["action"][0]["choices"][2]["value"], 1.3);
    assert_eq!(value["tensors"]["actor.0.weight"], json!([3, 1]));
    assert_eq!(value["control_interval_s"], 15.0);
    assert_eq!(value["state"], Value::Null);
    assert_eq!(stdout(&["inspect", &path, "--config"]), checkpoint().config);

    let tensors = [("adam/step".to_owned(), Tensor::new([1], Data::U64(vec![7])).unwrap())].into();
    let training = Checkpoint { state: Some(State { tensors, values: json!({}) }), ..checkpoint() };
    let path = saved(folder.path(), "last.safetensors", &training);
    let text = stdout(&["inspect", &path]);
    assert!(text.contains("training") && text.contains("state/adam/step"), "{text}");
}

#[test]
fn what_is_wrong_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let has = |arguments: &[&str], parts: &[&str]| {
        let sentence = refusal(arguments);
        parts.iter().for_each(|part| assert!(sentence.contains(part), "{part} in {sentence}"));
        sentence
    };
    let lines = |text: &str| text.lines().count();
    let path = saved(folder.path(), "a.safetensors", &checkpoint());
    let bytes = std::fs::read(&path).unwrap();
    let cut = folder.path().join("cut.safetensors").display().to_string();
    std::fs::write(&cut, &bytes[..bytes.len() - 5]).unwrap();
    let sentence = has(&["inspect", &cut], &["cut.safetensors: the file is cut short: found", "expected"]);
    assert_eq!(lines(&sentence), 1);
    has(&["inspect", "nowhere.safetensors"], &["nowhere.safetensors: cannot read it: "]);
    has(&["evaluate", &cut, "default"], &["cut short"]);
    has(&["explain", &cut], &["cut short"]);
    has(&["evaluate", &path], &["<SCENARIOS>"]);
    has(&["evaluate", &path, "default", "--weight", "0"], &["--weight", "expected a positive number"]);
    has(&["evaluate", &path, "nowhere.toml"], &["cannot read nowhere.toml"]);
    has(&["evaluate", &path, "paper:wave"], &["pattern \"wave\"", "ramp"]);
    let sentence = has(&["train", "--resume", &folder.path().display().to_string()], &["found no seeds.json"]);
    assert_eq!(lines(&sentence), 1);
    has(&["train", "x.toml", "--resume", "runs/a"], &["cannot be used with"]);
    has(&["train", "--device", "tpu"], &["tpu", "cpu", "cuda"]);
    if !cfg!(feature = "cuda") {
        let expected = "--device cuda: found a build without CUDA, expected one made with --features cuda";
        assert_eq!(has(&["train", "--device", "cuda"], &[]), format!("kiscaler-train: {expected}"));
    }
    has(&["tune"], &["<CONFIG>"]);
}

#[test]
fn help_has_examples() {
    for command in ["train", "evaluate", "inspect", "tune", "explain"] {
        let text = stdout(&[command, "--help"]);
        assert!(text.contains("Examples:\n  kiscaler-train "), "{text}");
    }
    assert!(stdout(&["--help"]).contains("Start with:\n  kiscaler-train train"));
}
