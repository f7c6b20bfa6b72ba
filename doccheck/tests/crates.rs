//! What crates say of themselves is so: the least Rust version, and what a registry shows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use kis_doccheck::page::repository;
use serde_json::Value;

const PUBLISHED: &[&str] = &["kisim", "kiscaler-train", "kiscaler-agent"];

fn metadata() -> Value {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version", "1"]).current_dir(repository());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn version(text: &str) -> Vec<u64> {
    let mut parts: Vec<u64> = text.split('.').map(|part| part.parse().unwrap()).collect();
    parts.resize(3, 0);
    parts
}

/// Each crate of the workspace, with everything that it is built from, asks for no newer Rust than it says.
#[test]
fn the_least_rust_version_is_that_of_all_dependencies() {
    let metadata = metadata();
    let by_id = |list: &'static str| -> BTreeMap<String, Value> {
        let list = if list == "nodes" { &metadata["resolve"]["nodes"] } else { &metadata[list] };
        list.as_array().unwrap().iter().map(|one| (one["id"].as_str().unwrap().to_owned(), one.clone())).collect()
    };
    let (packages, nodes) = (by_id("packages"), by_id("nodes"));
    let mut counted = 0;
    for member in metadata["workspace_members"].as_array().unwrap() {
        let own = version(packages[member.as_str().unwrap()]["rust_version"].as_str().unwrap());
        let (mut seen, mut left) = (BTreeSet::new(), vec![member.as_str().unwrap()]);
        while let Some(id) = left.pop() {
            if !seen.insert(id) {
                continue;
            }
            let package = &packages[id];
            if let Some(asked) = package["rust_version"].as_str() {
                assert!(version(asked) <= own, "{member}: {} {} needs {asked}", package["name"], package["version"]);
                counted += 1;
            }
            for dependency in nodes[id]["deps"].as_array().unwrap() {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    left.push(dependency["pkg"].as_str().unwrap());
                }
            }
        }
    }
    assert!(counted > 300, "{counted} versions only");
}

/// What a registry shows is there, and within its limits.
#[test]
fn what_is_published_says_what_it_is() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap().iter().filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().unwrap();
        if !PUBLISHED.contains(&name) {
            assert_eq!(package["publish"], serde_json::json!([]), "{name} would be published");
            continue;
        }
        for field in ["description", "license", "repository", "homepage", "readme", "rust_version"] {
            assert!(package[field].as_str().is_some_and(|text| !text.is_empty()), "{name}: {field}");
        }
        let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap());
        assert!(manifest.with_file_name(package["readme"].as_str().unwrap()).exists(), "{name}");
        let words = package["keywords"].as_array().unwrap();
        assert!(
            (3..=5).contains(&words.len()) && words.iter().all(|word| word.as_str().unwrap().len() <= 20),
            "{name}"
        );
        assert!(!package["categories"].as_array().unwrap().is_empty(), "{name}: categories");
        assert!(package["metadata"]["docs"]["rs"].is_object() || name == "kiscaler-agent", "{name}: docs.rs");
    }
}
