//! Shards that write to an object store: a folder by its URL, which is the same code but for the transport, and S3's API.

#![cfg(feature = "object-store")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use experiments::experiments::ALL;

fn run(arguments: &[&str]) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_experiments")).args(arguments).env_remove("KISIM_TRACES").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two shards into `url`, played again, and joined: the bytes of one machine. `written` says when a cell was, if it can.
fn shards_are_joined(url: &str, written: impl Fn(&str) -> Option<SystemTime>) {
    let (joined, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = ALL[0].name;
    run(&["run", name, "--tiny", "--out", whole.path().to_str().unwrap()]);
    for shard in ["0/2", "1/2"] {
        run(&["run", name, "--tiny", "--out", url, "--shard", shard]);
    }
    let first = written(name);
    run(&["run", name, "--tiny", "--out", url, "--shard", "0/2"]);
    run(&["run", name, "--tiny", "--out", url, "--shard", "1/2"]);
    assert_eq!(written(name), first, "what is there is not done again");
    run(&["collect", url, "--out", joined.path().to_str().unwrap()]);
    for file in ["results.parquet", "results.csv"] {
        let read = |folder: &Path| std::fs::read(folder.join(name).join(file)).unwrap();
        assert_eq!(read(joined.path()), read(whole.path()), "{file}");
    }
}

#[test]
fn shards_upload_and_are_joined() {
    let bucket = tempfile::tempdir().unwrap();
    shards_are_joined(&format!("file://{}/some/prefix", bucket.path().display()), |name| {
        let cells = bucket.path().join("some/prefix").join(name).join("cells");
        let cell = std::fs::read_dir(cells).unwrap().next().unwrap().unwrap();
        Some(cell.metadata().unwrap().modified().unwrap())
    });
}

/// The same through S3's API, where `EXPERIMENTS_BUCKET` names an empty place and `AWS_…` say where and who, as `.ci/run` does.
#[test]
fn shards_upload_and_are_joined_through_s3() {
    match std::env::var("EXPERIMENTS_BUCKET") {
        Ok(url) => shards_are_joined(&url, |_| None),
        Err(_) => eprintln!("left out: EXPERIMENTS_BUCKET names no bucket"),
    }
}
