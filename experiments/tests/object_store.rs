//! Shards that write to an object store: a folder by its URL, which is the same code but for the transport.

#![cfg(feature = "object-store")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::Command;

use experiments::experiments::ALL;

fn run(arguments: &[&str]) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_experiments")).args(arguments).env_remove("KISIM_TRACES").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn shards_upload_and_are_joined() {
    let (bucket, joined, whole) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = ALL[0].name;
    run(&["run", name, "--tiny", "--out", whole.path().to_str().unwrap()]);
    let url = format!("file://{}/some/prefix", bucket.path().display());
    for shard in ["0/2", "1/2"] {
        run(&["run", name, "--tiny", "--out", &url, "--shard", shard]);
    }
    let root = bucket.path().join("some/prefix");
    let cell = std::fs::read_dir(root.join(name).join("cells")).unwrap().next().unwrap().unwrap().path();
    let written = || std::fs::metadata(&cell).unwrap().modified().unwrap();
    let first = written();
    run(&["run", name, "--tiny", "--out", &url, "--shard", "0/2"]);
    run(&["run", name, "--tiny", "--out", &url, "--shard", "1/2"]);
    assert_eq!(written(), first, "what is there is not done again");
    run(&["collect", &url, "--out", joined.path().to_str().unwrap()]);
    for file in ["results.parquet", "results.csv"] {
        let read = |folder: &Path| std::fs::read(folder.join(name).join(file)).unwrap();
        assert_eq!(read(joined.path()), read(whole.path()), "{file}");
    }
}
