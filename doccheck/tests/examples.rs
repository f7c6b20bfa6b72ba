//! Examples of the book run. What stands after a fence says what is checked:
//!
//! | fence | what happens |
//! | --- | --- |
//! | `console run` | its commands run, one shell a block, in a folder of the page's own; the exit code is 0, or that of `exit=N` |
//! | `console run output` | and the lines shown are among those printed, in their order |
//! | `toml scenario`, `toml profile`, `toml training` | it is read as that |
//! | `toml part` | it is read as part of the page's first scenario: its tables replace that one's |
//! | any with `file=NAME` | it is there, under that name, for what follows on the page |
//!
//! Programs are those that were built beside this test: `cargo test --workspace` builds them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kis_doccheck::page::{Block, Page, book, repository};
use kiscaler_train::config::TrainConfig;
use kisim::profile::Profile;
use kisim::scenario::Scenario;

/// Folders of the repository that examples use.
const FOLDERS: &[&str] = &["scenarios", "traces", "kiscaler-train", "deploy", "docs"];

const PROGRAMS: &[&str] = &["kisim", "kiscaler-train", "kiscaler-agent", "experiments"];

#[test]
fn examples_run() {
    let root = repository();
    let mut bin = Programs::default();
    let mut problems = Vec::new();
    let (mut commands, mut documents) = (0, 0);
    for page in book().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        for name in FOLDERS {
            std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
        }
        let mut scenario = None;
        for block in &page.blocks {
            let place = format!("{}:{}", page.path.display(), block.line);
            let outcome = match block.info.first().map(String::as_str) {
                Some("toml") => {
                    read(block, &place, folder.path(), &mut scenario).map(|known| documents += usize::from(known))
                }
                Some("console") if block.is("console", "run") => {
                    let started = std::time::Instant::now();
                    let outcome = play(block, folder.path(), &mut bin).map(|()| commands += 1);
                    eprintln!("{place}: {:.1} s", started.elapsed().as_secs_f64());
                    outcome
                }
                _ => Ok(()),
            };
            if let Err(problem) = outcome {
                problems.push(format!("{place}: {problem}"));
            } else if let (Some(name), false) = (block.value("file"), block.is("toml", "part")) {
                std::fs::write(folder.path().join(name), &block.text).unwrap();
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(
        commands >= 8 && documents >= 15,
        "{commands} blocks of commands, {documents} documents: are they all seen?"
    );
}

/// The programs that were built beside this test, and which of them are known to be current.
#[derive(Default)]
struct Programs {
    current: BTreeSet<String>,
}

impl Programs {
    /// Where they are.
    fn folder() -> PathBuf {
        let test = std::env::current_exe().unwrap();
        test.parent().and_then(Path::parent).unwrap().to_owned()
    }

    /// Whether it is there, and no older than what it is made of.
    fn check(&mut self, name: &str) -> Result<(), String> {
        if !self.current.insert(name.to_owned()) {
            return Ok(());
        }
        let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
        let program = Programs::folder().join(name);
        let advice = "cargo build --workspace --bins, or test the whole workspace";
        let built = changed(&program).map_err(|_| format!("{} is not there: {advice}", program.display()))?;
        // Cargo writes it for what was asked for by name. A program that was built as a part of its package's tests has none.
        let sources = match std::fs::read_to_string(program.with_extension("d")) {
            Ok(sources) => sources,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(format!("{}: {error}", program.with_extension("d").display())),
        };
        for source in sources.split_whitespace().skip(1).map(Path::new) {
            let code = source.extension().is_some_and(|ending| ending == "rs");
            if code && changed(source).is_ok_and(|changed| changed > built) {
                return Err(format!("{} is older than {}: {advice}", program.display(), source.display()));
            }
        }
        Ok(())
    }
}

/// Reads a TOML block as what it is marked; whether it is marked.
fn read(block: &Block, place: &str, folder: &Path, first: &mut Option<toml::Table>) -> Result<bool, String> {
    let table: toml::Table = toml::from_str(&block.text).map_err(|error| error.to_string())?;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    if block.is("toml", "scenario") {
        Scenario::parse(&block.text, place, folder).map_err(|error| text(&error))?;
        first.get_or_insert(table);
    } else if block.is("toml", "part") {
        let mut whole = first.clone().ok_or("a part, and no scenario before it on the page")?;
        for (name, value) in table {
            merge(&mut whole, name, value);
        }
        let whole = toml::to_string(&whole).map_err(|error| text(&error))?;
        Scenario::parse(&whole, place, folder).map_err(|error| text(&error))?;
        if let Some(name) = block.value("file") {
            std::fs::write(folder.join(name), whole).map_err(|error| text(&error))?;
        }
    } else if block.is("toml", "profile") {
        Profile::parse(&block.text, place).map_err(|error| text(&error))?;
    } else if block.is("toml", "training") {
        TrainConfig::parse(&block.text, place).map_err(|error| text(&error))?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Replaces a table's field; pools and the service keep what a part does not say.
fn merge(whole: &mut toml::Table, name: String, value: toml::Value) {
    let keeps = matches!(name.as_str(), "pools" | "service" | "gpu" | "cpu");
    match (whole.get_mut(&name), value) {
        (Some(toml::Value::Table(there)), toml::Value::Table(new)) if keeps => {
            for (name, value) in new {
                merge(there, name, value);
            }
        }
        (_, value) => drop(whole.insert(name, value)),
    }
}

/// Runs a block's commands.
fn play(block: &Block, folder: &Path, bin: &mut Programs) -> Result<(), String> {
    let mut script = String::new();
    let mut shown = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        let command = if goes_on { Some(line) } else { line.strip_prefix("$ ") };
        match command {
            Some(command) => {
                let program = command.split_whitespace().next().unwrap_or_default();
                if PROGRAMS.contains(&program) {
                    bin.check(program)?;
                } else if !goes_on && program != "cat" {
                    return Err(format!("{program:?} is none of {}", PROGRAMS.join(", ")));
                }
                goes_on = command.ends_with('\\');
                script.push_str(command);
                script.push('\n');
            }
            None => shown.push(line),
        }
    }
    let path = format!("{}:{}", Programs::folder().display(), std::env::var("PATH").unwrap_or_default());
    let script = format!("set -euo pipefail\nexec 2>&1\n{script}");
    let output =
        Command::new("timeout").args(["300", "bash", "-c", &script]).current_dir(folder).env("PATH", path).output();
    let output = output.map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = block.value("exit").unwrap_or("0");
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    if code != expected {
        return Err(format!("exit code: found {code}, expected {expected}\n{script}{printed}"));
    }
    if block.is("console", "output") {
        let mut lines = printed.lines().map(plain);
        for line in shown.into_iter().map(plain).filter(|line| !line.is_empty()) {
            if !lines.any(|printed| printed == line) {
                return Err(format!("{line:?} was not printed, or not there\n{printed}"));
            }
        }
    }
    Ok(())
}

/// A line without what depends on the widths of a table's other rows.
fn plain(line: &str) -> String {
    line.split(|c: char| c.is_whitespace())
        .map(|word| word.trim_start_matches("--"))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn what_is_wrong_with_an_example_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let block = |info: &str, text: &str| {
        let text = format!("```{info}\n{text}```\n");
        Page::parse(Path::new("page.md"), &text).blocks.remove(0)
    };
    let mut first = None;
    let typo = block("toml profile", "name = 'x'\nhardwear = 'gpu'\n");
    let problem = read(&typo, "page.md:1", folder.path(), &mut first).unwrap_err();
    assert!(problem.contains("hardwear"), "{problem}");
    let alone = block("toml part", "name = 'x'\n");
    assert!(read(&alone, "page.md:1", folder.path(), &mut first).unwrap_err().contains("no scenario"));
    let mut bin = Programs::default();
    let fails = play(&block("console run", "$ cat nowhere\n"), folder.path(), &mut bin).unwrap_err();
    assert!(fails.contains("found 1, expected 0"), "{fails}");
    assert!(play(&block("console run exit=1", "$ cat nowhere\n"), folder.path(), &mut bin).is_ok());
    std::fs::write(folder.path().join("a"), "one\ntwo  |\n").unwrap();
    assert!(play(&block("console run output", "$ cat a\ntwo |\n"), folder.path(), &mut bin).is_ok());
    let missing = play(&block("console run output", "$ cat a\ntwo |\none\n"), folder.path(), &mut bin).unwrap_err();
    assert!(missing.contains("was not printed"), "{missing}");
    assert!(play(&block("console run", "$ curl x\n"), folder.path(), &mut bin).is_err());
}

/// Every alert has an entry in the runbook, and every entry an alert.
#[test]
fn every_alert_is_in_the_runbook() {
    let root = repository();
    let rules = std::fs::read_to_string(root.join("deploy/monitoring/prometheusrule.yaml")).unwrap();
    let rules: serde_json::Value = serde_norway::from_str(&rules).unwrap();
    let groups = rules["spec"]["groups"].as_array().unwrap();
    let mut alerts: Vec<String> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .map(|rule| rule["alert"].as_str().unwrap().to_lowercase())
        .collect();
    let mut entries = Page::read(&root.join("docs/runbook.md")).unwrap().anchors;
    entries.retain(|anchor| anchor.starts_with("kiscaler"));
    alerts.sort();
    entries.sort();
    assert_eq!(entries, alerts);
    assert!(alerts.len() >= 8);
}
