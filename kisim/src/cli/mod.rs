//! Arguments, and what they set in motion. Standard output holds the result alone; everything else goes to standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod calibrate;
mod compare;
mod pareto;
mod progress;
mod run;
mod show;
mod traffic;
mod tune;
mod validate;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use kisim::manual::Manual;
use kisim::report::{reader_is_gone, write_result};

/// Simulate GPU inference pods on Kubernetes, and the autoscalers that drive them.
#[derive(Debug, Parser)]
#[command(
    name = "kisim",
    version,
    about = "Simulate GPU inference pods on Kubernetes, and the autoscalers that drive them",
    after_help = "Start with:\n  kisim compare\n  kisim run --out results/first"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What standard output holds
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Seed of all randomness; the scenario's by default
    #[arg(long, global = true)]
    seed: Option<u64>,
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
    /// Run one scenario under one autoscaler
    Run(run::RunArgs),
    /// Run several autoscalers over the same traffic, side by side
    Compare(compare::CompareArgs),
    /// Search an autoscaler's best parameters on training seeds
    Tune(tune::TuneArgs),
    /// Violations against cost, for each autoscaler over its headroom, with the frontier
    Pareto(pareto::ParetoArgs),
    /// Look at a scenario's traffic before simulating it
    Traffic(traffic::TrafficArgs),
    /// From a server's measurements to a profile
    Calibrate(calibrate::CalibrateArgs),
    /// Check the simulator against theory, with confidence intervals
    Validate(validate::ValidateArgs),
    /// List the built-in profiles, or print one
    #[command(after_help = "Example:\n  kisim profiles\n  kisim profiles resnet50-onnx-trt-fp16-a100 > my-gpu.toml")]
    Profiles {
        /// The profile to print
        name: Option<String>,
    },
    /// Print the default scenario, every field with its comment
    #[command(after_help = "Example:\n  kisim scenario > my-scenario.toml\n  kisim scenario paper")]
    Scenario {
        /// default, or paper (the published testbed)
        #[arg(default_value = "default")]
        name: String,
    },
    #[command(flatten)]
    Manual(Manual),
}

/// Set by Ctrl-C; whatever runs stops at its next progress report, and nothing half-written stays.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    // Where no handler can be set, Ctrl-C ends the process as usual, which is as safe: files are renamed when whole.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed));
    let outcome = match &cli.command {
        Command::Run(args) => run::main(args, cli.seed, cli.format),
        Command::Compare(args) => compare::main(args, cli.seed, cli.format),
        Command::Tune(args) => tune::main(args, cli.seed, cli.format),
        Command::Pareto(args) => pareto::main(args, cli.seed, cli.format),
        Command::Traffic(args) => traffic::main(args, cli.seed, cli.format),
        Command::Calibrate(args) => calibrate::main(args, cli.format),
        Command::Validate(args) => validate::main(args, cli.seed, cli.format),
        Command::Profiles { name } => show::profiles(name.as_deref(), cli.format),
        Command::Scenario { name } => show::scenario(name),
        Command::Manual(manual) => said(manual),
    };
    match outcome {
        Ok(code) => code,
        // A closed pipe (`kisim profiles | head`) is not an error of ours.
        Err(error) if reader_is_gone(error.as_ref()) => ExitCode::SUCCESS,
        Err(_) if interrupted() => {
            eprintln!("kisim: interrupted; nothing was written");
            ExitCode::from(130)
        }
        Err(error) => {
            // The outermost sentence says it all; sources would say it again.
            eprintln!("kisim: {error}");
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
    use std::io::IsTerminal;
    if std::io::stdout().is_terminal() {
        eprintln!("{text}");
    }
}

/// Says what one could do next.
fn next_step(text: &str) {
    note(&format!("\nNext: {text}"));
}
