//! The command `kiscaler-agent`. Standard output holds the result alone; logs go to standard error.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod check;
mod connect;
mod crd;
mod gpu_exporter;
mod record;
mod replay;
mod run;
mod twin;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use kisim::manual::Manual;
use kisim::report::{reader_is_gone, write_result};

/// Drive inference deployments on a Kubernetes cluster with a policy learnt in simulation
#[derive(Debug, Parser)]
#[command(
    name = "kiscaler-agent",
    version,
    about = "Drive inference deployments on a Kubernetes cluster with a policy learnt in simulation",
    after_help = "Start with:\n  kiscaler-agent crd | kubectl apply -f -\n  kiscaler-agent run"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the definition of the custom resource KIScaler
    #[command(after_help = "Example:\n  kiscaler-agent crd | kubectl apply -f -")]
    Crd,
    /// Simulate an inference service behind a real Deployment: each Ready pod gets a simulated server
    Twin(Box<twin::TwinArgs>),
    /// Serve a node's GPU metrics under the DCGM exporter's names
    GpuExporter(gpu_exporter::GpuExporterArgs),
    /// Look at everything that a KIScaler needs, before it runs
    Check(check::CheckArgs),
    /// Keep what decisions would be made of, in a file
    Record(record::RecordArgs),
    /// Say what would have been decided by a recording
    Replay(replay::ReplayArgs),
    /// Run the agent, in the cluster or from anywhere with a kubeconfig
    Run(run::RunArgs),
    #[command(flatten)]
    Manual(Manual),
}

/// Runs the command; 2 where it could not do what it was asked for.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Crd => crd::main(),
        Command::Twin(args) => twin::main(*args),
        Command::GpuExporter(args) => gpu_exporter::main(args),
        Command::Check(args) => check::main(&args),
        Command::Record(args) => record::main(&args),
        Command::Replay(args) => replay::main(&args),
        Command::Run(args) => run::main(args),
        Command::Manual(manual) => said(&manual),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if reader_is_gone(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kiscaler-agent: {error:#}");
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
