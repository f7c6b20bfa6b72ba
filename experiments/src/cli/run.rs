//! `experiments run` and `experiments all`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use experiments::campaign;
use experiments::experiment::Size;
use experiments::experiments::ALL;
use experiments::key::Traces;
use experiments::plan::Plan;
use experiments::provenance::Session;
use experiments::runner::{Outcome, Runner};
use experiments::shard::{Manifest, Shard};
use experiments::store::{Store, relative};
use experiments::work::Work;

use super::remote::Remote;
use super::watch::Terminal;
use super::{FAILED, STOPPED, next_step, note, write_report};

/// Where results are, if nobody says.
pub(super) const OUT: &str = "results/experiments";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  experiments run zero-shot\n  experiments run zero-shot --full --jobs 4\n  \
                        experiments run zero-shot --config my.toml --out results/mine\n\n\
                        Without --full it is --quick. Ctrl-C keeps what is done; the same again goes on.")]
pub(super) struct RunArgs {
    /// Which; `experiments list` names them. Those they need are run, too
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Another configuration for the one experiment named: a changed copy of experiments/configs/NAME.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Fewer seeds, shorter runs and trainings (the default)
    #[arg(long, conflicts_with_all = ["full", "tiny"])]
    #[allow(dead_code, reason = "it is the default")]
    quick: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  experiments all --quick\n  experiments all --out results/full\n  \
                        experiments all --shard 0/4 --out shard-0      # one of four machines; then experiments collect\n\n\
                        Without --quick it is --full. Ctrl-C keeps what is done; the same again goes on.")]
pub(super) struct AllArgs {
    /// Under five minutes on two cores: fewer seeds, shorter runs and trainings
    #[arg(long, conflicts_with_all = ["full", "tiny"])]
    quick: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// What the figures that are shown are made of
    #[arg(long, conflicts_with = "tiny")]
    full: bool,
    /// The least that touches everything: for tests
    #[arg(long, hide = true)]
    tiny: bool,
    /// Folder of the results; with --shard an s3://, gs:// or file:// URL, too, if built with object-store
    #[arg(long, value_name = "DIR", default_value = OUT)]
    pub(super) out: String,
    /// Cells side by side; as many as there are cores by default. No result depends on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// Folder of the public traces (traces/README.md), by default what KISIM_TRACES says; cells that replay one are left out without it
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// Only every N-th cell, beginning with number I (from 0). Writes neither joined results nor a report: `experiments collect` does
    #[arg(long, value_name = "I/N")]
    pub(super) shard: Option<Shard>,
}

pub(super) fn main(args: &RunArgs) -> Result<ExitCode> {
    let config = args
        .config
        .as_ref()
        .map(|path| std::fs::read_to_string(path).with_context(|| format!("--config: cannot read {}", path.display())));
    run(&args.names, config.transpose()?.as_deref(), Size::Quick, &args.common)
}

pub(super) fn all(args: &AllArgs) -> Result<ExitCode> {
    let names: Vec<String> = ALL.iter().map(|experiment| experiment.name.to_owned()).collect();
    run(&names, None, if args.quick { Size::Quick } else { Size::Full }, &args.common)
}

fn run(names: &[String], config: Option<&str>, by_default: Size, common: &Common) -> Result<ExitCode> {
    let size = match (common.tiny, common.full) {
        (true, _) => Size::Tiny,
        (_, true) => Size::Full,
        _ => by_default,
    };
    let by_environment = std::env::var_os("KISIM_TRACES").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let traces = Traces::new(common.traces.as_ref().or(by_environment.as_ref()).map(PathBuf::as_path))?;
    let plan = Plan::new(ALL, names, size, config, &traces)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = common.jobs.map_or(cores, |jobs| jobs as usize);
    let session = Session::begin(jobs, common.shard.map(|shard| (shard.index, shard.of)));
    let is_url = common.out.contains("://");
    if is_url && common.shard.is_none() {
        bail!("--out {}: found a URL, expected a folder without --shard", common.out);
    }
    // What is uploaded has to be made somewhere.
    let local = is_url.then(tempfile::tempdir).transpose()?;
    let store = Store::new(local.as_ref().map_or(common.out.as_ref(), tempfile::TempDir::path));
    let runner = Runner { plan: &plan, store: &store, traces: &traces, jobs, work: &Work::run };
    let mut terminal = Terminal::new();
    if let Some(shard) = common.shard {
        let outcome = run_shard(&runner, shard, &common.out, &session, &mut terminal);
        terminal.finish();
        return Ok(end_of_shard(&plan, &outcome?, shard, &common.out));
    }
    let outcome = campaign::run(&runner, &session, &mut terminal);
    terminal.finish();
    let outcome = outcome?;
    say(&plan, &outcome);
    if outcome.stopped {
        note("the same command goes on where it stopped");
        return Ok(ExitCode::from(STOPPED));
    }
    let good = write_report(&store, store.root())?;
    next_step(&format!("open {}", store.root().join("report.html").display()));
    Ok(if good && outcome.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Runs a shard where it is to be, or in a folder of its own from which each file is uploaded as soon as it is whole.
fn run_shard(
    runner: &Runner<'_>,
    shard: Shard,
    out: &str,
    session: &Session,
    terminal: &mut Terminal,
) -> Result<Outcome> {
    let part = (shard.index, shard.of);
    if !out.contains("://") {
        return campaign::run_shard(runner, part, session, &|_| Ok(()), terminal);
    }
    let remote = Remote::open(out)?;
    let root = runner.store.root();
    for place in runner.plan.shard(shard.index, shard.of) {
        let (planned, job) = runner.plan.at(place);
        remote.fetch(&relative(planned.experiment.name, &job.cell.name), root)?;
    }
    remote.fetch(&Manifest::relative(shard.index, shard.of), root)?;
    campaign::run_shard(runner, part, session, &|file| remote.upload(root, file), terminal)
}

fn end_of_shard(plan: &Plan, outcome: &Outcome, shard: Shard, out: &str) -> ExitCode {
    say(plan, outcome);
    if outcome.stopped {
        note("the same command goes on where it stopped");
        return ExitCode::from(STOPPED);
    }
    next_step(&format!("experiments collect {out}, once all {} shards are done", shard.of));
    if outcome.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// What came of it, in lines.
fn say(plan: &Plan, outcome: &Outcome) {
    for (place, why) in &outcome.failed {
        let (planned, job) = plan.at(*place);
        eprintln!("experiments: {}/{} failed: {why}", planned.experiment.name, job.cell.name);
    }
    let seconds: f64 = outcome.ran.iter().map(|(_, seconds)| seconds).sum();
    note(&format!(
        "{} cells ran in {:.0} core-seconds, {} were there, {} failed",
        outcome.ran.len(),
        seconds,
        outcome.skipped.len(),
        outcome.failed.len()
    ));
}
