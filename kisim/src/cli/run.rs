//! `kisim run`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kisim::arguments::ScenarioArgs;
use kisim::autoscaler::AutoscalerConfig;
use kisim::prepared::Prepared;
use kisim::report::{summary_table, write_run};
use kisim::run::{Keep, run};

use super::Format;
use super::progress::Bar;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kisim run\n  kisim run scenarios/azure-code.toml --trace AzureLLMInferenceTrace_code.csv --out results/azure\n  \
                        kisim run paper:spike --autoscaler fixed:gpu=1+cpu=3 --format json"
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Autoscaler instead of the scenario's: fixed:4, fixed:gpu=4+cpu=2, hpa, hpa:60, hpa:queue:4, hpa:cpu:70, keda,
    /// keda:in_flight:24, kpa, kpa:8, predictive, a manifest (.yaml) or a .toml
    #[arg(long, default_value = "scenario")]
    autoscaler: String,
    /// Write summary.json, timeline.csv, decisions.csv and timeline.svg here
    #[arg(long)]
    out: Option<PathBuf>,
    /// With --out, write requests.csv too: a row a request
    #[arg(long, requires = "out")]
    requests: bool,
}

pub(crate) fn main(args: &RunArgs, seed: Option<u64>, format: Format) -> Result<ExitCode> {
    let scenario = args.scenario.load(seed)?;
    let seed = scenario.seed;
    let config = AutoscalerConfig::parse(&args.autoscaler, &scenario)?;
    let prepared = Prepared::new(scenario)?;
    let keep = Keep {
        timeline: args.out.is_some(),
        requests: args.requests,
        decisions: args.out.is_some(),
        ..Keep::default()
    };
    let bar = Bar::new("simulating");
    let result = run(&prepared, &config, seed, keep, &|share| bar.set(share));
    let took = bar.finish();
    let result = result?;
    if let Some(out) = &args.out {
        write_run(out, &prepared, &result, args.requests)?;
        super::note(&format!("wrote {}", out.display()));
    }
    match format {
        Format::Json => super::print_json(&result.summary)?,
        Format::Table => {
            let s = &result.summary;
            super::print(&format!("{} under {}, seed {}\n{}", s.scenario, s.autoscaler, s.seed, summary_table(s)))?;
        }
    }
    let arrived = result.summary.requests.arrived;
    super::note(&format!(
        "simulated {:.0} s and {arrived} requests in {:.2} s ({:.1e} requests/s)",
        prepared.seconds(),
        took.as_secs_f64(),
        arrived as f64 / took.as_secs_f64().max(1e-9)
    ));
    match &args.out {
        Some(out) => super::next_step(&format!("look at {}", out.join("timeline.svg").display())),
        None => super::next_step(
            "kisim run --out results/first draws a timeline; kisim compare puts autoscalers side by side",
        ),
    }
    Ok(ExitCode::SUCCESS)
}
