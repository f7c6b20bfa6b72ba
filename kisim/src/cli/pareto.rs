//! `kisim pareto`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use kisim::arguments::Changes;
use kisim::contender::Contender;
use kisim::pareto::{Pareto, grid, pareto};
use kisim::prepared::Prepared;
use kisim::report::{pareto_svg, pareto_table, write_atomically, write_pareto};

use super::Format;
use super::progress::Bar;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kisim pareto --out results/pareto\n  kisim pareto paper:ramp paper:spike --autoscalers fixed,hpa,hpa:queue:8 --seeds 3\n  kisim pareto --autoscalers hpa,my-hpa.yaml --factors 0.8,1,1.25\n\n\
                        Every setting meets the same arrivals, seed by seed. Headroom divides an autoscaler's targets, or multiplies \
                        the demand it plans for; fixed runs over numbers of replicas instead."
)]
pub(crate) struct ParetoArgs {
    /// Scenarios: paths, `default`, `paper` (its ramp), or `paper:ramp`, `paper:spike`, `paper:periodic`, `paper:random`
    #[arg(default_value = "default")]
    scenario: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Autoscalers, comma-separated: those of `compare`, foresight, and .yaml or .toml files
    #[arg(long, value_delimiter = ',', default_value = "fixed,hpa,keda,kpa,predictive,foresight")]
    autoscalers: Vec<String>,
    /// Runs of each setting
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Factors on the headroom: how many, from 0.5 to 2.5, or a comma-separated list of them
    #[arg(long, default_value = "9")]
    factors: String,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Write pareto.json, pareto.csv and pareto.svg here; of several scenarios, each in a folder of its name
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn main(args: &ParetoArgs, seed: Option<u64>, format: Format) -> Result<ExitCode> {
    let factors = factors(&args.factors)?;
    one_scenario_or_no_changes(args)?;
    let mut entries = Vec::new();
    for name in &args.scenario {
        let scenario = args.changes.load(name, seed)?;
        let contenders =
            args.autoscalers.iter().map(|a| Contender::parse(a, &scenario)).collect::<Result<Vec<_>, _>>()?;
        entries.push((Prepared::new(scenario)?, contenders));
    }
    let folders = args.out.as_ref().map(|out| folders(out, &entries)).transpose()?.unwrap_or_default();
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }

    let bar = Bar::new("sweeping");
    let mut results: Vec<Pareto> = Vec::new();
    for (number, (prepared, contenders)) in entries.iter().enumerate() {
        let told = |share: f64| bar.set((number as f64 + share) / entries.len() as f64);
        match pareto(prepared, contenders, &factors, prepared.scenario.seed, args.seeds as usize, &told) {
            Ok(result) => results.push(result),
            Err(error) => {
                bar.finish();
                return Err(error.into());
            }
        }
    }
    let took = bar.finish();

    for (folder, result) in folders.iter().zip(&results) {
        write_all(folder, result)?;
    }
    if let Some(out) = &args.out {
        super::note(&format!("wrote {}", out.display()));
    }
    match (format, results.as_slice()) {
        (Format::Json, [only]) => super::print_json(only)?,
        (Format::Json, all) => super::print_json(&all)?,
        (Format::Table, all) => {
            let texts: Vec<String> = all.iter().zip(&entries).map(|(r, (prepared, _))| text(r, prepared)).collect();
            super::print(&texts.join("\n\n"))?;
        }
    }
    let settings: usize = results.iter().flat_map(|r| &r.contenders).map(|c| c.points.len()).sum();
    super::note(&format!("simulated {} runs in {:.1} s", settings * args.seeds as usize, took.as_secs_f64()));
    super::next_step(match &args.out {
        None => {
            "kisim pareto --out results/pareto draws the frontier; --autoscalers takes your own .yaml and .toml files"
        }
        Some(_) => "pareto.svg shows the frontier; kisim compare says whether two autoscalers on it differ, in pairs",
    });
    Ok(ExitCode::SUCCESS)
}

/// A trace or a length is about one scenario.
fn one_scenario_or_no_changes(args: &ParetoArgs) -> Result<()> {
    let changes = &args.changes;
    let given = [
        ("--trace", changes.trace.is_some()),
        ("--trace-format", changes.trace_format.is_some()),
        ("--duration", changes.duration.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) if args.scenario.len() > 1 => {
            bail!("{option}: expected one scenario beside it, found {}", args.scenario.join(" "))
        }
        _ => Ok(()),
    }
}

/// Reads `--factors`: a whole number is how many, anything else a list.
fn factors(text: &str) -> Result<Vec<f64>> {
    let list: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match (text.parse::<usize>(), list) {
        (Ok(count @ 2..=100), _) => Ok(grid(count)),
        (Err(_), Some(list)) if list.iter().all(|f| f.is_finite() && *f > 0.0) => Ok(list),
        _ => bail!(
            "--factors: found {text:?}, expected how many (2 to 100), or numbers above 0 with commas between them, such as 0.5,1,2"
        ),
    }
}

/// Where each scenario's files go: several have a folder each, by their names.
fn folders(out: &Path, entries: &[(Arc<Prepared>, Vec<Contender>)]) -> Result<Vec<PathBuf>> {
    if entries.len() == 1 {
        return Ok(vec![out.to_owned()]);
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for (prepared, _) in entries {
        let name = &prepared.scenario.name;
        // A name is free text; a folder's must not lead elsewhere.
        let safe = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '-' };
        let folder = out.join(match name.as_str() {
            "" => "scenario".to_owned(),
            name => name.chars().map(safe).collect(),
        });
        if folders.contains(&folder) {
            bail!(
                "--out with two scenarios called {name:?}: expected different names, since {} is the folder of both",
                folder.display()
            );
        }
        folders.push(folder);
    }
    Ok(folders)
}

fn text(result: &Pareto, prepared: &Prepared) -> String {
    let runs = result.seeds.len();
    format!(
        "{}: {runs} run{} of {:.0} s a setting, SLO {} ms\n{}",
        result.scenario,
        if runs == 1 { "" } else { "s" },
        prepared.seconds(),
        prepared.scenario.slo.latency.as_secs_f64() * 1e3,
        pareto_table(result)
    )
}

fn write_all(out: &Path, result: &Pareto) -> Result<()> {
    let svg = pareto_svg(result)?;
    write_pareto(&out.join("pareto.csv"), result)?;
    write_atomically(&out.join("pareto.svg"), |file| file.write_all(svg.as_bytes()))?;
    // Last, so that its presence says that the others are there.
    write_atomically(&out.join("pareto.json"), |file| {
        serde_json::to_writer_pretty(&mut *file, result)?;
        file.write_all(b"\n")
    })?;
    Ok(())
}
