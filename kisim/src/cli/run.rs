//! `kisim run`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kisim::arguments::ScenarioArgs;
use kisim::autoscaler::AutoscalerConfig;
use kisim::plot;
use kisim::prepared::Prepared;
use kisim::report::{Row, summary_table, write_atomically, write_csv_atomically, write_requests, write_timeline};
use kisim::run::{Keep, Run, run};

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
        write_all(out, &prepared, &result, args.requests)?;
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

fn write_all(out: &Path, prepared: &Prepared, run: &Run, requests: bool) -> Result<()> {
    let pools: Vec<String> = prepared.pools.iter().map(|p| p.name.clone()).collect();
    write_timeline(&out.join("timeline.csv"), &run.rows)?;
    write_csv_atomically(&out.join("decisions.csv"), |csv| {
        csv.write_record(["time_s", "pool", "replicas_before", "replicas_after", "reason"])?;
        for d in &run.decisions {
            let numbers = [format!("{:.3}", d.at), d.pool.clone(), d.before.to_string(), d.after.to_string()];
            csv.write_record(numbers.iter().map(String::as_str).chain([d.reason.as_str()]))?;
        }
        Ok(())
    })?;
    let title = format!("{} under {}, seed {}", run.summary.scenario, run.summary.autoscaler, run.summary.seed);
    let svg = plot::timeline(&timeline_plot(title, prepared, &run.rows))?;
    write_atomically(&out.join("timeline.svg"), |file| file.write_all(svg.as_bytes()))?;
    if requests {
        write_requests(&out.join("requests.csv"), &run.requests, &pools)?;
    }
    // Last, so that its presence says that the others are there.
    write_atomically(&out.join("summary.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, &run.summary)?;
        file.write_all(b"\n")
    })?;
    Ok(())
}

fn timeline_plot(title: String, prepared: &Prepared, rows: &[Row]) -> plot::TimelinePlot {
    let column = |f: &dyn Fn(&Row) -> f64| rows.iter().map(f).collect::<Vec<f64>>();
    let optional = |f: &dyn Fn(&Row) -> Option<f64>| rows.iter().map(f).collect::<Vec<Option<f64>>>();
    let pools = (0..prepared.pools.len())
        .map(|number| plot::TimelinePool {
            name: prepared.pools[number].name.clone(),
            desired: column(&|r| f64::from(r.pools[number].desired)),
            scheduled: column(&|r| f64::from(r.pools[number].scheduled)),
            ready: column(&|r| f64::from(r.pools[number].ready)),
            draining: column(&|r| f64::from(r.pools[number].draining)),
            utilization: optional(&|r| r.pools[number].utilization),
        })
        .collect();
    plot::TimelinePlot {
        title,
        time_s: column(&|r| r.time_s),
        offered_rps: column(&|r| r.arrival_rate),
        capacity_rps: column(&|r| r.capacity_rate),
        pools,
        p50_ms: optional(&|r| r.p50_ms),
        p95_ms: optional(&|r| r.p95_ms),
        p99_ms: optional(&|r| r.p99_ms),
        slo_ms: prepared.scenario.slo.latency.as_secs_f64() * 1e3,
        violation_share: column(&|r| r.violation_ratio.unwrap_or(f64::NAN)),
    }
}
