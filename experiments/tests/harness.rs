//! Running, resuming, sharding, joining and reporting, with work that costs nothing: what is asked of the harness does not depend on
//! what cells do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use experiments::campaign;
use experiments::cell::{Cell, Row};
use experiments::experiment::{All, Entry, Experiment, Figure, Outcome as Holds, Section, Size, Table, Verdict};
use experiments::key::Traces;
use experiments::plan::{Place, Plan};
use experiments::provenance::{Provenance, Session};
use experiments::report::{Report, markdown};
use experiments::runner::{Outcome, Runner, Standing, Watch};
use experiments::scene::{Scene, Trace};
use experiments::shard::collect;
use experiments::store::{Record, Store};
use experiments::work::{Context, Play, Work};

fn cell(name: &str, seeds: u64, trace: Option<&str>) -> Cell {
    let trace = trace.map(|file| Trace { file: file.into(), start: None, length: None, series: None });
    let scene = Scene { name: name.into(), scenario: "default".into(), changes: toml::Table::new(), trace };
    let play = Play { scene, contenders: vec!["hpa".into()], seeds, past: None };
    Cell { name: name.into(), seconds: seeds as f64, work: Work::Play(play) }
}

fn cells(_: &str, size: Size) -> Result<Vec<Cell>> {
    let seeds = if size == Size::Full { 3 } else { 2 };
    Ok((0..7).map(|i| cell(&format!("cell-{i}"), seeds + i % 3, None)).collect())
}

fn with_trace(_: &str, _: Size) -> Result<Vec<Cell>> {
    Ok(vec![cell("plain", 1, None), cell("replayed", 1, Some("public/a.csv"))])
}

/// A table, a figure drawn from it, a verdict.
fn present(all: &All<'_>) -> Result<Section> {
    let rows: Vec<Vec<Entry>> = all
        .own
        .rows
        .iter()
        .map(|row| vec![Entry::Text(row.get_text("cell").to_owned()), Entry::Number(row.get_number("objective"))])
        .collect();
    let bars: String =
        rows.iter().enumerate().map(|(i, _)| format!("<rect x=\"{}\" width=\"5\" height=\"9\"/>", i * 6)).collect();
    let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"200\" height=\"20\">{bars}</svg>");
    Ok(Section {
        text: vec![format!("There are **{}** rows & a <tag>.", rows.len())],
        tables: vec![Table {
            name: "scores".into(),
            caption: "Scores".into(),
            columns: vec!["cell".into(), "objective".into()],
            rows,
        }],
        figures: vec![Figure { name: "scores".into(), caption: "Scores".into(), svg, table: "scores".into() }],
        verdicts: vec![Verdict { claim: "It works.".into(), outcome: Holds::InPart, because: "So far.".into() }],
    })
}

const ONE: Experiment = Experiment {
    name: "one",
    title: "The first one",
    question: "Does it *work*?",
    config: "a = 1",
    needs: &[],
    cells,
    present,
};
const TWO: Experiment = Experiment { name: "two", title: "The second one", needs: &["one"], cells: with_trace, ..ONE };
const ALL: [&Experiment; 2] = [&ONE, &TWO];

/// Rows that depend on the cell alone, and look like real ones.
fn rows(work: &Work, _: &Context<'_>) -> Result<Vec<Row>> {
    let Work::Play(play) = work else { bail!("found other work, expected a play") };
    let row = |seed: u64| {
        let objective = (seed as f64 + 0.1).sin() / 3.0;
        let row = Row::new()
            .text("scene", &play.scene.name)
            .count("trained", 0)
            .count("seed", seed)
            .number("objective", objective);
        if seed == 1 { row.number("paper_reward", f64::NAN).text("extra", "–") } else { row }
    };
    Ok((0..play.seeds).map(row).collect())
}

/// Whoever looks on, and ends it after so many cells.
struct Looker {
    kept: usize,
    most: usize,
    shown: Vec<Standing>,
}

impl Looker {
    fn new(most: usize) -> Looker {
        Looker { kept: 0, most, shown: Vec::new() }
    }
}

impl Watch for Looker {
    fn show(&mut self, standing: &Standing) {
        self.shown.push(standing.clone());
    }

    fn kept(&mut self, _: Place, _: &Record, _: f64) -> Result<()> {
        self.kept += 1;
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.kept >= self.most
    }
}

type Do<'a> = &'a (dyn Fn(&Work, &Context<'_>) -> Result<Vec<Row>> + Sync);

fn plan(names: &[&str], size: Size, traces: &Traces) -> Plan {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    Plan::new(&ALL, &names, size, None, traces).unwrap()
}

fn run_with(folder: &Path, names: &[&str], work: Do<'_>, looker: &mut Looker) -> Outcome {
    let traces = Traces::default();
    let (plan, store) = (plan(names, Size::Quick, &traces), Store::new(folder));
    let runner = Runner { plan: &plan, store: &store, traces: &traces, jobs: 3, work };
    campaign::run(&runner, &Session::begin(3, None), looker).unwrap()
}

fn run(folder: &Path, names: &[&str]) -> Outcome {
    run_with(folder, names, &rows, &mut Looker::new(usize::MAX))
}

fn run_shard(folder: &Path, index: usize, of: usize, size: Size, work: Do<'_>) -> Outcome {
    let traces = Traces::default();
    let (plan, store) = (plan(&["two"], size, &traces), Store::new(folder));
    let runner = Runner { plan: &plan, store: &store, traces: &traces, jobs: 2, work };
    let session = Session::begin(2, Some((index, of)));
    campaign::run_shard(&runner, (index, of), &session, &|_| Ok(()), &mut Looker::new(usize::MAX)).unwrap()
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

fn report(folder: &Path) -> Report {
    let report = Report::gather(&ALL, &Store::new(folder)).unwrap();
    report.write(folder).unwrap();
    report
}

#[test]
fn what_is_done_is_not_done_again_and_what_is_lost_comes_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), &["one"]);
    assert_eq!((first.ran.len(), first.skipped.len()), (7, 0));
    report(folder.path());
    let whole = bytes(folder.path());
    assert!(
        whole.contains_key(Path::new("one/results.parquet")) && whole.contains_key(Path::new("one/cells/cell-6.json"))
    );
    let again = run(folder.path(), &["one"]);
    assert_eq!((again.ran.len(), again.skipped.len()), (0, 7));
    // Whichever result is lost or damaged: it alone is run again, and all is as before.
    for (number, name) in whole.keys().enumerate() {
        let path = folder.path().join(name);
        if number % 2 == 0 {
            std::fs::remove_file(&path).unwrap()
        } else {
            std::fs::write(&path, "{").unwrap()
        }
        let outcome = run(folder.path(), &["one"]);
        let is_cell = name.starts_with("one/cells");
        assert_eq!(outcome.ran.len(), usize::from(is_cell), "{}", name.display());
        report(folder.path());
        assert_eq!(bytes(folder.path()), whole, "after the loss of {}", name.display());
    }
}

#[test]
fn an_end_before_the_end_loses_nothing() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The first one ends; the others work until they are told to.
    let begun = AtomicUsize::new(0);
    let slow = |work: &Work, context: &Context<'_>| {
        while begun.fetch_add(1, Ordering::Relaxed) > 0 {
            ensure!((context.progress)(0.5), "told to end");
            std::thread::sleep(Duration::from_millis(5));
        }
        rows(work, context)
    };
    let stopped = run_with(folder.path(), &["one"], &slow, &mut Looker::new(1));
    assert!(stopped.stopped && stopped.ran.len() == 1 && stopped.failed.is_empty(), "{stopped:?}");
    assert!(!folder.path().join("one/results.parquet").exists(), "nothing is joined");
    let rest = run(folder.path(), &["one"]);
    assert_eq!(rest.ran.len() + stopped.ran.len(), 7);
    let provenance = Provenance::load(&Store::new(folder.path()), "one").unwrap().unwrap();
    assert_eq!(provenance.cells.len(), 7, "of what ran before it is known, too, where it ran");
    run(other.path(), &["one"]);
    report(folder.path());
    report(other.path());
    assert_eq!(bytes(folder.path()), bytes(other.path()));
}

#[test]
fn what_a_cell_keeps_while_it_works_is_there_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let visits = Mutex::new(Vec::new());
    let work = |work: &Work, context: &Context<'_>| {
        let file = context.scratch.join("state");
        visits.lock().unwrap().push(file.exists());
        std::fs::write(&file, "half of it").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        ensure!((context.progress)(0.5), "told to end");
        rows(work, context)
    };
    // It is told to end before the first has begun to tell: the state stays.
    let traces = Traces::default();
    let (plan, store) = (plan(&["one"], Size::Quick, &traces), Store::new(folder.path()));
    let runner = Runner { plan: &plan, store: &store, traces: &traces, jobs: 1, work: &work };
    struct Stops(AtomicUsize);
    impl Watch for Stops {
        fn show(&mut self, _: &Standing) {}
        fn kept(&mut self, _: Place, _: &Record, _: f64) -> Result<()> {
            Ok(())
        }
        fn stopped(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed) > 0
        }
    }
    let mut stopped = 0;
    for _ in 0..10 {
        let outcome = campaign::run(&runner, &Session::begin(1, None), &mut Stops(AtomicUsize::new(0))).unwrap();
        assert!(outcome.failed.is_empty(), "an end that was asked for is no failure");
        if !outcome.stopped {
            break;
        }
        stopped += 1;
    }
    assert!(stopped > 0);
    campaign::run(&runner, &Session::begin(1, None), &mut Looker::new(usize::MAX)).unwrap();
    assert!(!folder.path().join(".scratch").exists(), "when all is done the folder goes");
    let visits = visits.into_inner().unwrap();
    let anew = visits.iter().filter(|seen| !**seen).count();
    assert_eq!(anew, 7, "each began from nothing once, and went on the other times");
}

#[test]
fn a_cell_that_fails_or_panics_is_named_and_the_others_run() {
    let folder = tempfile::tempdir().unwrap();
    let work = |work: &Work, context: &Context<'_>| {
        let Work::Play(play) = work else { bail!("found other work") };
        match play.scene.name.as_str() {
            "cell-2" => bail!("no luck"),
            "cell-4" => panic!("a bug"),
            _ => rows(work, context),
        }
    };
    let outcome = run_with(folder.path(), &["one"], &work, &mut Looker::new(usize::MAX));
    assert_eq!(outcome.ran.len(), 5);
    let why: BTreeSet<&str> = outcome.failed.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(why, BTreeSet::from(["no luck", "it panicked: a bug"]));
    let report = report(folder.path());
    let text = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
    assert!(text.contains("**Not run** (failed: no luck): `cell-2`"), "{text}");
    assert_eq!(report.parts[0].missing.len(), 2);
    // With the bug mended.
    assert_eq!(run(folder.path(), &["one"]).ran.len(), 2);
    self::report(folder.path());
    assert!(!std::fs::read_to_string(folder.path().join("report.md")).unwrap().contains("Not run"));
}

#[test]
fn progress_goes_from_nothing_to_all_and_never_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut looker = Looker::new(usize::MAX);
    let work = |work: &Work, context: &Context<'_>| {
        for step in 0..4 {
            assert!((context.progress)(f64::from(step) / 4.0));
            assert_eq!(rayon::current_num_threads(), 1, "a cell has one thread");
        }
        rows(work, context)
    };
    run_with(folder.path(), &["one"], &work, &mut looker);
    let shares: Vec<f64> = looker.shown.iter().map(|standing| standing.share).collect();
    assert!(shares.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12), "{shares:?}");
    let last = looker.shown.last().unwrap();
    assert_eq!((last.done, last.total, last.running.len()), (7, 7, 0));
    assert!((last.share - 1.0).abs() < 1e-12);
}

#[test]
fn without_traces_cells_that_need_them_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), &["two"]);
    assert_eq!(outcome.ran.len(), 8, "all but one");
    report(folder.path());
    for file in ["report.md", "report.html"] {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains("public/a.csv") && text.contains("traces/README.md"), "{file}");
    }
    // With them it runs; when the file is another, again.
    let traces = tempfile::tempdir().unwrap();
    std::fs::create_dir(traces.path().join("public")).unwrap();
    for content in ["1", "2"] {
        std::fs::write(traces.path().join("public/a.csv"), content).unwrap();
        let traces = Traces::new(Some(traces.path())).unwrap();
        let (plan, store) = (plan(&["two"], Size::Quick, &traces), Store::new(folder.path()));
        let runner = Runner { plan: &plan, store: &store, traces: &traces, jobs: 1, work: &rows };
        let outcome = campaign::run(&runner, &Session::begin(1, None), &mut Looker::new(usize::MAX)).unwrap();
        assert_eq!((outcome.ran.len(), outcome.skipped.len()), (1, 8));
    }
}

#[test]
fn shards_give_the_bytes_of_one_machine() {
    let whole = tempfile::tempdir().unwrap();
    run(whole.path(), &["two"]);
    report(whole.path());
    for of in [1, 3, 20] {
        let (parts, joined) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders: Vec<PathBuf> = (0..of).map(|index| parts.path().join(index.to_string())).collect();
        for (index, folder) in folders.iter().enumerate() {
            run_shard(folder, index, of, Size::Quick, &rows);
            assert!(!folder.join("one/results.parquet").exists(), "a shard joins nothing");
        }
        collect(&ALL, &folders, &Store::new(joined.path())).unwrap();
        report(joined.path());
        assert_eq!(bytes(joined.path()), bytes(whole.path()), "{of} shards");
    }
    // On a volume that all share.
    let shared = tempfile::tempdir().unwrap();
    for index in [2, 0, 1] {
        run_shard(shared.path(), index, 3, Size::Quick, &rows);
    }
    collect(&ALL, &[shared.path().to_owned()], &Store::new(shared.path())).unwrap();
    report(shared.path());
    assert_eq!(bytes(shared.path()), bytes(whole.path()));
}

#[test]
fn shards_that_do_not_fit_are_refused_by_name() {
    let base = tempfile::tempdir().unwrap();
    let folder = |name: &str| base.path().join(name);
    let refuse = |names: &[&str], words: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = names.iter().map(|name| folder(name)).collect();
        let error = collect(&ALL, &folders, &Store::new(out.path())).err().expect("a refusal");
        let error = format!("{error:#}");
        for word in words {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "nothing is written: {error}");
    };
    for index in 0..3 {
        run_shard(&folder(&index.to_string()), index, 3, Size::Quick, &rows);
    }
    refuse(&["0", "2"], &["no shard 1/3", "all 3"]);
    refuse(&["0", "nowhere"], &["nowhere", "no shards"]);

    run_shard(&folder("full-1"), 1, 3, Size::Full, &rows);
    refuse(&["0", "full-1", "2"], &["size", "found full, expected quick", "full-1", "0-of-3"]);
    run_shard(&folder("1-of-2"), 1, 2, Size::Quick, &rows);
    refuse(&["0", "1", "2", "1-of-2"], &["field of", "1-of-2.json"]);

    let other = |work: &Work, context: &Context<'_>| {
        Ok(rows(work, context)?.into_iter().map(|row| row.count("odd", 1)).collect())
    };
    run_shard(&folder("odd-1"), 1, 3, Size::Quick, &other);
    refuse(&["0", "1", "2", "odd-1"], &["different rows", "odd-1"]);

    let fails = |work: &Work, context: &Context<'_>| {
        let Work::Play(play) = work else { bail!("found other work") };
        ensure!(!play.scene.name.starts_with("cell"), "no luck");
        rows(work, context)
    };
    run_shard(&folder("failed-1"), 1, 3, Size::Quick, &fails);
    refuse(&["0", "failed-1", "2"], &["no result of", "one/cell-", "no luck"]);

    // A file that somebody removed, damaged, or that other code wrote.
    let victim = std::fs::read_dir(folder("1").join("one/cells")).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read_to_string(&victim).unwrap();
    std::fs::remove_file(&victim).unwrap();
    refuse(&["0", "1", "2"], &["no result of one/cell-"]);
    std::fs::write(&victim, &good[..good.len() / 2]).unwrap();
    refuse(&["0", "1", "2"], &["no result of a cell", "cells"]);
    std::fs::write(&victim, good.replace(experiments::key::CODE, &"0".repeat(64))).unwrap();
    refuse(&["0", "1", "2"], &["field code", "000000"]);
    std::fs::write(&victim, &good).unwrap();

    // A shard of other code, and one that was ended before its end.
    let manifest = folder("1").join("shards/1-of-3.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"whole\": true", "\"whole\": false")).unwrap();
    refuse(&["0", "1", "2"], &["1-of-3.json", "not come to its end", "--shard 1/3"]);
    std::fs::write(&manifest, text.replace(experiments::key::CODE, &"0".repeat(64))).unwrap();
    refuse(&["0", "1", "2"], &["field code", "1-of-3.json"]);
    std::fs::write(&manifest, text).unwrap();

    let out = tempfile::tempdir().unwrap();
    let folders: Vec<PathBuf> = ["0", "1", "2", "1"].iter().map(|name| folder(name)).collect();
    collect(&ALL, &folders, &Store::new(out.path())).expect("the same twice is no contradiction");
}

#[test]
fn the_report_holds_everything_and_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["two"]);
    report(folder.path());
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    for word in
        ["The first one", "It works.", "holds in part", "experiments run one --quick", "<svg", "a = 1", "&lt;tag&gt;"]
    {
        assert!(html.contains(word), "{word}");
    }
    for outside in ["src=", "http://www.w3.org/1999", "<script", "<link", "@import", "url(http"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let markdown = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
    for word in [
        "figures/one-scores.svg",
        "tables/one-scores.csv",
        "| cell-0 |",
        "Verdicts",
        "7 cells; 20 rows; 4 evaluation seeds",
    ] {
        assert!(markdown.contains(word), "{word} is not in {markdown}");
    }
    let png = cfg!(feature = "png").then_some("figures/one-scores.png");
    for file in ["figures/one-scores.svg", "tables/one-scores.csv", "tables/two-scores.csv"].into_iter().chain(png) {
        assert!(std::fs::metadata(folder.path().join(file)).unwrap().len() > 0, "{file}");
    }
    // Every number of the table of the Markdown is the one of the CSV.
    let csv = std::fs::read_to_string(folder.path().join("tables/one-scores.csv")).unwrap();
    for line in csv.lines().skip(1) {
        let (cell, value) = line.split_once(',').unwrap();
        let shown = kisim::report::number(value.parse().unwrap());
        assert!(markdown.contains(&format!("| {cell} | {shown} |")), "{line}");
    }
}

#[test]
fn what_cannot_be_presented_says_so() {
    fn drawn_from_nowhere(all: &All<'_>) -> Result<Section> {
        let mut section = present(all)?;
        section.figures[0].table = "other".into();
        Ok(section)
    }
    const WRONG: Experiment = Experiment { present: drawn_from_nowhere, ..ONE };
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["one"]);
    let report = Report::gather(&[&WRONG], &Store::new(folder.path())).unwrap();
    let error = report.parts[0].section.as_ref().unwrap_err();
    assert!(error.contains("figure scores") && error.contains("\"other\""), "{error}");
    report.write(folder.path()).unwrap();
    for file in ["report.md", "report.html"] {
        assert!(std::fs::read_to_string(folder.path().join(file)).unwrap().contains("Nothing can be shown"));
    }
    assert!(!folder.path().join("figures").exists());
}
