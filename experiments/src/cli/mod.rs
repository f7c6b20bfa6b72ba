//! Arguments, and what they set in motion. Standard output holds the result alone; everything else goes to standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod collect;
mod list;
mod remote;
mod report;
mod run;
mod watch;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use experiments::report::{Report, verdict};
use experiments::store::Store;
use kisim::manual::Manual;
use kisim::report::{reader_is_gone, write_result};

/// Every figure of the published system and ours, from runs.
#[derive(Debug, Parser)]
#[command(
    name = "experiments",
    version,
    about = "Every figure of the published system and ours, from runs",
    after_help = "Start with:\n  experiments list\n  experiments all --quick\n\n\
                  What is done is not done again, for as long as neither the cell nor the code that runs it changes."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What there is, and how long it takes
    List,
    /// Run experiments and those they need, and report
    Run(run::RunArgs),
    /// Run all experiments, and report
    All(run::AllArgs),
    /// Make the report of the results that are there
    Report(report::ReportArgs),
    /// Join the shards of a run, and report
    Collect(collect::CollectArgs),
    #[command(flatten)]
    Manual(Manual),
}

/// Set by Ctrl-C: what is done is kept, and what runs ends at its next progress report.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The exit code after Ctrl-C.
const STOPPED: u8 = 130;

/// The exit code where a cell failed, or an experiment could not be presented.
const FAILED: u8 = 1;

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    // Where no handler can be set, Ctrl-C ends the process at once, which is as safe: files are renamed when whole.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(STOPPED));
        }
        eprintln!("\nexperiments: ending; what is done stays. Ctrl-C again ends at once");
    });
    let outcome = match &cli.command {
        Command::List => list::main(),
        Command::Run(args) => run::main(args),
        Command::All(args) => run::all(args),
        Command::Report(args) => report::main(args),
        Command::Collect(args) => collect::main(args),
        Command::Manual(manual) => said(manual),
    };
    match outcome {
        Ok(code) => code,
        // A closed pipe (`experiments list | head`) is not an error of ours.
        Err(error) if reader_is_gone(error.as_ref()) => ExitCode::SUCCESS,
        Err(_) if interrupted() => {
            eprintln!("experiments: interrupted; what was done stays");
            ExitCode::from(STOPPED)
        }
        Err(error) => {
            eprintln!("experiments: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn said(manual: &Manual) -> Result<ExitCode> {
    print(&manual.write(Cli::command())?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the result.
fn print(text: &str) -> Result<()> {
    Ok(write_result(&mut std::io::stdout().lock(), text)?)
}

/// Says something beside the result, on standard error, to people: a program that reads the result gets nothing else.
fn note(text: &str) {
    if std::io::stdout().is_terminal() {
        eprintln!("{text}");
    }
}

/// Says what one could do next.
fn next_step(text: &str) {
    note(&format!("\nNext: {text}"));
}

/// Writes the report of what is in `store`, and prints its verdicts. Whether all of it could be presented.
fn write_report(store: &Store, folder: &Path) -> Result<bool> {
    let report = Report::gather(experiments::experiments::ALL, store)?;
    report.write(folder)?;
    let mut lines = Vec::new();
    let mut good = true;
    for part in &report.parts {
        match &part.section {
            Ok(section) => {
                let verdicts = section.verdicts.iter();
                lines.extend(
                    verdicts.map(|v| format!("{:<18} {}: {}", verdict(v.outcome), part.experiment.name, v.claim)),
                );
            }
            Err(why) => {
                good = false;
                eprintln!("experiments: {} cannot be presented: {why}", part.experiment.name);
            }
        }
        for (why, cells) in part.reasons() {
            eprintln!("experiments: {}: {} cells have no result ({why})", part.experiment.name, cells.len());
        }
    }
    lines.push(format!("{}", folder.join("report.html").display()));
    print(&lines.join("\n"))?;
    Ok(good)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_fit_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_jobs_command_is_one_of_ours() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/k8s/base/job.yaml")).unwrap();
        let job: serde_json::Value = serde_norway::from_str(&text).unwrap();
        let of = job["spec"]["completions"].as_u64().unwrap();
        let arguments: Vec<String> =
            serde_json::from_value(job.pointer("/spec/template/spec/containers/0/args").unwrap().clone()).unwrap();
        for index in 0..of {
            // As the kubelet expands it.
            let own = arguments.iter().map(|a| a.replace("$(JOB_COMPLETION_INDEX)", &index.to_string()));
            let cli = Cli::try_parse_from(std::iter::once("experiments".to_owned()).chain(own)).unwrap();
            let Command::All(args) = cli.command else { panic!("{arguments:?}") };
            let shard = args.common.shard.unwrap();
            assert_eq!((shard.index as u64, shard.of as u64), (index, of));
        }
    }
}
