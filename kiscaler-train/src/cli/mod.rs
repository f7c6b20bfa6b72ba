//! Arguments, and what they set in motion. Standard output holds the result alone; everything else goes to standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod evaluate;
mod explain;
mod frontier;
mod inspect;
mod population;
mod seams;
mod train;
mod tune;
mod watch;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use kisim::manual::Manual;
use kisim::report::{reader_is_gone, write_result};

/// Learn autoscaling policies in simulation, and say what they are worth.
#[derive(Debug, Parser)]
#[command(
    name = "kiscaler-train",
    version,
    about = "Learn autoscaling policies in simulation, and say what they are worth",
    after_help = "Start with:\n  kiscaler-train train\n  kiscaler-train inspect runs/default-1/best.safetensors"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What standard output holds
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What standard output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people.
    Table,
    /// One JSON value.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Learn a policy, and compare it with the baselines
    Train(train::TrainArgs),
    /// Compare a policy with others on scenarios and traces
    Evaluate(evaluate::EvaluateArgs),
    /// What a checkpoint expects to see, does, was trained on, and its metrics
    Inspect(inspect::InspectArgs),
    /// Search hyper-parameters, on training traffic only
    Tune(tune::TuneArgs),
    /// Each decision of a policy, with the inputs that moved it
    Explain(explain::ExplainArgs),
    #[command(flatten)]
    Manual(Manual),
}

/// Set by Ctrl-C: whatever runs saves and ends at its next step.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The exit code after Ctrl-C.
const STOPPED: u8 = 130;

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    // Where no handler can be set, Ctrl-C ends the process at once, which is as safe: files are renamed when whole.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            // Whoever presses it again does not want to wait for an update to end.
            std::process::exit(i32::from(STOPPED));
        }
        eprintln!("\nkiscaler-train: saving, then ending; Ctrl-C again ends at once");
    });
    let outcome = match &cli.command {
        Command::Train(args) => train::main(args, cli.format),
        Command::Evaluate(args) => evaluate::main(args, cli.format),
        Command::Inspect(args) => inspect::main(args, cli.format),
        Command::Tune(args) => tune::main(args, cli.format),
        Command::Explain(args) => explain::main(args, cli.format),
        Command::Manual(manual) => said(manual),
    };
    match outcome {
        Ok(code) => code,
        // A closed pipe (`inspect … | head`) is not an error of ours.
        Err(error) if reader_is_gone(error.as_ref()) => ExitCode::SUCCESS,
        Err(_) if interrupted() => {
            eprintln!("kiscaler-train: interrupted; what was saved before stays");
            ExitCode::from(STOPPED)
        }
        Err(error) => {
            // The outermost sentence says it all; sources would say it again.
            eprintln!("kiscaler-train: {error}");
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

/// Prints the result as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
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

/// A table whose columns after the first are numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Uses so many threads for everything; all cores if nobody says. No result depends on it.
fn use_threads(threads: Option<usize>) -> Result<()> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    Ok(())
}

/// Seconds since 1970.
fn now_s() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
