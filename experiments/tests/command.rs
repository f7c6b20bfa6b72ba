//! The command as a user runs it: all experiments at their least, in processes that are killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use experiments::experiment::Size;
use experiments::experiments::ALL;
use experiments::key::Traces;
use experiments::plan::Plan;
use experiments::report::markdown;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    // The same everywhere: without traces.
    command.args(arguments).env_remove("KISIM_TRACES").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn good(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {:?}\n{error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Names of experiments whose rows do not hold measured times.
fn untimed() -> Vec<&'static str> {
    let timed = |name: &str| {
        let plan = Plan::new(ALL, &[name.to_owned()], Size::Tiny, None, &Traces::default()).unwrap();
        plan.places().any(|place| plan.at(place).1.cell.work.timed())
    };
    ALL.iter().map(|experiment| experiment.name).filter(|name| !timed(name)).collect()
}

/// All files and their bytes, but those that say when and where; of reports what stands before that.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(folder).unwrap().to_owned();
        let mut content = std::fs::read(&path).unwrap();
        match name.file_name().unwrap().to_str().unwrap() {
            "provenance.json" => continue,
            _ if name.starts_with("shards") => continue,
            "report.md" => cut(&mut content, markdown::PROVENANCE),
            "report.html" => cut(&mut content, "<section id=\"provenance\">"),
            _ => {}
        }
        files.insert(name, content);
    }
    files
}

fn cut(content: &mut Vec<u8>, mark: &str) {
    let text = String::from_utf8(content.clone()).unwrap();
    content.truncate(text.find(mark).unwrap());
}

/// `run NAME… --tiny --out FOLDER`, and what else is said.
fn arguments<'a>(names: &[&'a str], folder: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let out = ["--tiny", "--out", folder.to_str().unwrap()];
    [&["run"], names, &out, more].concat()
}

#[test]
fn all_at_its_least_from_beginning_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let said = good(&["all", "--tiny", "--out", out]);
    assert!(said.contains("report.html"), "{said}");
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    for experiment in ALL {
        assert!(html.contains(&format!("<section id=\"{}\">", experiment.name)), "{}", experiment.name);
        assert!(folder.path().join(experiment.name).join("results.parquet").exists(), "{}", experiment.name);
    }
    assert!(!html.contains("Nothing can be shown"));
    // The same once more does nothing, and the report alone is the same report.
    let before = bytes(folder.path());
    good(&["all", "--tiny", "--out", out]);
    good(&["report", "--out", out]);
    assert_eq!(bytes(folder.path()), before);
}

#[test]
fn any_result_that_is_lost_comes_back_the_same_and_shards_that_are_killed_give_the_same() {
    let names = untimed();
    let whole = tempfile::tempdir().unwrap();
    good(&arguments(&names, whole.path(), &[]));
    let expected = bytes(whole.path());
    let mut stream = Xoshiro256PlusPlus::seed_from_u64(7);

    // A few of the files, whatever they are: removed, or cut off.
    let files: Vec<&PathBuf> = expected.keys().collect();
    for _ in 0..8 {
        let path = whole.path().join(files[stream.random_range(0..files.len())]);
        if stream.random_bool(0.5) { std::fs::remove_file(path).unwrap() } else { std::fs::write(path, "{\"").unwrap() }
    }
    good(&arguments(&names, whole.path(), &["--jobs", "1"]));
    assert_eq!(bytes(whole.path()), expected);

    // Three processes, each killed at random until it ends by itself, into a folder each.
    let parts = tempfile::tempdir().unwrap();
    let mut killed = 0;
    let mut folders = Vec::new();
    for index in 0..3 {
        let folder = parts.path().join(index.to_string());
        let shard = format!("{index}/3");
        let mut patience = Duration::from_millis(stream.random_range(50..400));
        loop {
            let arguments = arguments(&names, &folder, &["--shard", &shard]);
            let mut child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(patience);
            match child.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success(), "{status:?}");
                    break;
                }
                None => {
                    // SIGKILL: nothing can be tidied up.
                    child.kill().unwrap();
                    child.wait().unwrap();
                    killed += 1;
                    patience = patience * 3 / 2 + Duration::from_millis(stream.random_range(0..400));
                }
            }
        }
        folders.push(folder);
    }
    assert!(killed >= 3, "each was killed, or this says nothing");
    let joined = tempfile::tempdir().unwrap();
    let mut arguments = vec!["collect"];
    arguments.extend(folders.iter().map(|folder| folder.to_str().unwrap()));
    arguments.extend(["--out", joined.path().to_str().unwrap()]);
    good(&arguments);
    let found = bytes(joined.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, content) in &expected {
        assert!(found[name] == *content, "{} differs", name.display());
    }
}

#[test]
fn what_is_wrong_is_said_in_a_sentence_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let check = |arguments: &[&str], words: &[&str]| {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        for word in words {
            assert!(error.contains(word), "{arguments:?}: {word:?} is not in {error}");
        }
        assert!(output.stdout.is_empty());
    };
    check(&["run", "nothing-of-that-name", "--out", out], &["nothing-of-that-name", "expected one of"]);
    check(&["run", ALL[0].name, "--config", "/no/such/file.toml", "--out", out], &["/no/such/file.toml"]);
    check(&["all", "--traces", "/no/such/folder", "--out", out], &["--traces", "/no/such/folder"]);
    check(&["all", "--quick", "--full", "--out", out], &["--full"]);
    check(&["run", ALL[0].name, "--quick", "--full"], &["--full"]);
    check(&["all", "--shard", "3/3", "--out", out], &["3/3", "expected I/N"]);
    check(&["all", "--out", "s3://bucket/x"], &["s3://bucket/x"]);
    check(&["collect", out], &["no shards"]);
    check(&["report", "--out", "/no/such/folder"], &["/no/such/folder"]);
}
