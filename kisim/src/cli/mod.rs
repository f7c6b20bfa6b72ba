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

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use kisim::scenario::Scenario;
use kisim::trace::TraceFormat;
use kisim::traffic::{Pattern, Traffic};

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
}

/// Which scenario, and what of it is different.
#[derive(Debug, Args)]
struct ScenarioArgs {
    /// Path of a scenario, `default`, `paper` (its ramp), or `paper:ramp`, `paper:spike`, `paper:periodic`, `paper:random`
    #[arg(default_value = "default")]
    scenario: String,
    #[command(flatten)]
    changes: Changes,
}

impl ScenarioArgs {
    fn load(&self, seed: Option<u64>) -> Result<Scenario> {
        self.changes.load(&self.scenario, seed)
    }
}

/// What of a scenario is different.
#[derive(Debug, Args)]
struct Changes {
    /// Replay this trace instead of the scenario's traffic
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Its format; detected by default: azure-llm, servegen-clients, servegen-rates, mooncake, nab, worldcup98, kisim,
    /// timestamps, rates
    #[arg(long)]
    trace_format: Option<String>,
    /// Which run, where the trace holds several
    #[arg(long, requires = "trace")]
    series: Option<String>,
    /// Begin this far into the trace, such as 30m
    #[arg(long)]
    trace_start: Option<kisim::config::Span>,
    /// Use this much of it
    #[arg(long)]
    trace_length: Option<kisim::config::Span>,
    /// Length of the run instead of the scenario's, such as 10m
    #[arg(long)]
    duration: Option<kisim::config::Span>,
}

impl Changes {
    /// Loads the scenario that `name` refers to, changed.
    fn load(&self, name: &str, seed: Option<u64>) -> Result<Scenario> {
        let mut scenario = Scenario::named(name)?;
        if let Some(trace) = &self.trace {
            let absolute = std::path::absolute(trace).with_context(|| format!("cannot resolve {}", trace.display()))?;
            let path = Some(absolute);
            match &mut scenario.traffic {
                // Keeps the scenario's scales, start and length.
                Traffic::Trace { path: own, format, series, .. } => {
                    *own = path;
                    *format = self.trace_format.clone();
                    *series = self.series.clone().or(series.take());
                }
                other => {
                    *other = Traffic::Trace {
                        path,
                        format: self.trace_format.clone(),
                        start: None,
                        length: None,
                        series: self.series.clone(),
                        rate_scale: 1.0,
                        time_scale: 1.0,
                        arrivals: kisim::traffic::Process::default(),
                        think: Pattern::think(),
                    };
                    // The old traffic's length and name say nothing about the trace's.
                    scenario.duration = None;
                    scenario.name = trace.file_stem().map_or(scenario.name, |s| s.to_string_lossy().into_owned());
                }
            }
        } else if let Some(format) = &self.trace_format {
            format.parse::<TraceFormat>()?;
            if let Traffic::Trace { format: own, .. } = &mut scenario.traffic {
                *own = Some(format.clone());
            } else {
                anyhow::bail!(
                    "--trace-format {format}: expected --trace FILE beside it, or a scenario whose traffic is a trace"
                );
            }
        }
        if self.trace_start.is_some() || self.trace_length.is_some() {
            let Traffic::Trace { start, length, .. } = &mut scenario.traffic else {
                anyhow::bail!(
                    "--trace-start, --trace-length: expected --trace FILE beside them, or a scenario whose traffic is a trace"
                );
            };
            *start = self.trace_start.or(*start);
            *length = self.trace_length.or(*length);
        }
        if let Some(duration) = self.duration {
            scenario.duration = Some(duration);
        }
        if let Some(seed) = seed {
            scenario.seed = seed;
        }
        scenario.check()?;
        Ok(scenario)
    }
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
    };
    match outcome {
        Ok(code) => code,
        // A closed pipe (`kisim profiles | head`) is not an error of ours.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|e| e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe))
}

/// Prints the result.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
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
