//! `kiscaler-agent twin`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use kisim::arguments::ScenarioArgs;
use kisim::prepared::Prepared;
use kisim::report::{summary_table, write_run};
use kisim::run::{Keep, Run};

use super::connect::{Connection, runtime};
use super::run::{LogFormat, log, signalled};
use crate::api::{CheckpointSource, Mode, PolicySpec};
use crate::serve::listen;
use crate::twin::{Setup, Target, kiscaler, run};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kiscaler-agent twin default --target deploy/triton\n  \
                        kiscaler-agent twin paper:spike --target gpu=deploy/triton --target cpu=deploy/triton-cpu\n  \
                        kiscaler-agent twin my.toml --target deploy/triton --speed 10 --out results/spike")]
pub(crate) struct TwinArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// What has the pods, as kubectl names it; POOL=KIND/NAME for each pool where the scenario has two
    #[arg(long, required = true)]
    target: Vec<Target>,
    #[command(flatten)]
    connection: Connection,
    /// The namespace of the targets; the context's by default
    #[arg(long, short)]
    namespace: Option<String>,
    /// Seconds of the scenario a second; what is exported is of a service as much faster
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Where to serve /metrics and /pods/NAME/metrics; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9400")]
    listen: SocketAddr,
    /// Seed of all randomness; the scenario's by default
    #[arg(long)]
    seed: Option<u64>,
    /// Print the KIScaler that fits this twin under this policy (a baseline such as hpa:60, or a .safetensors file), and end
    #[arg(long, value_name = "POLICY")]
    kiscaler: Option<String>,
    /// With --kiscaler, in mode Active
    #[arg(long, requires = "kiscaler")]
    active: bool,
    /// Write summary.json, timeline.csv, decisions.csv and timeline.svg here at the end
    #[arg(long)]
    out: Option<PathBuf>,
    /// What standard output holds at the end
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What standard output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people.
    Table,
    /// One JSON value.
    Json,
}

/// A policy by what the command line calls it.
fn named(policy: &str) -> PolicySpec {
    match policy.ends_with(".safetensors") {
        true => PolicySpec {
            checkpoint: Some(CheckpointSource { path: Some(policy.to_owned()), ..CheckpointSource::default() }),
            baseline: None,
        },
        false => PolicySpec { baseline: Some(policy.to_owned()), checkpoint: None },
    }
}

/// Plays a twin to its end, or until it is asked to stop; either way it reports.
pub(crate) fn main(args: TwinArgs) -> Result<ExitCode> {
    if !(args.speed.is_finite() && args.speed > 0.0 && args.speed <= 1000.0) {
        bail!("--speed: found {}, expected a number above 0, at most 1000", args.speed);
    }
    let scenario = args.scenario.load(args.seed)?;
    let seed = scenario.seed;
    let prepared = Prepared::new(scenario)?;
    if let Some(policy) = &args.kiscaler {
        let mode = if args.active { Mode::Active } else { Mode::Shadow };
        let scaler = kiscaler(&prepared, &args.target, args.speed, args.listen, named(policy), mode)?;
        super::print(&serde_norway::to_string(&scaler)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    log(LogFormat::Text);
    let result = runtime()?.block_on(play(&args, seed, &prepared))?;
    if let Some(out) = &args.out {
        write_run(out, &prepared, &result, false)?;
    }
    let s = &result.summary;
    match args.format {
        Format::Json => super::print(&serde_json::to_string_pretty(s)?)?,
        Format::Table => {
            super::print(&format!("{} under {}, seed {}\n{}", s.scenario, s.autoscaler, s.seed, summary_table(s)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn play(args: &TwinArgs, seed: u64, prepared: &Arc<Prepared>) -> Result<Run> {
    let (client, home) = args.connection.client().await?;
    let listener = listen(args.listen).await?;
    eprintln!("serving http://{}/metrics", listener.local_addr()?);
    let setup = Setup {
        prepared: Arc::clone(prepared),
        seed,
        keep: Keep { timeline: args.out.is_some(), decisions: args.out.is_some(), ..Keep::default() },
        targets: args.target.clone(),
        namespace: args.namespace.clone().unwrap_or(home),
        speed: args.speed,
    };
    Ok(run(client, setup, listener, signalled()).await?)
}
