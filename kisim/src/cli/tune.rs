//! `kisim tune`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use kisim::arguments::ScenarioArgs;
use kisim::prepared::Prepared;
use kisim::report::{number, write_atomically};
use kisim::tune::{Kind, Trial, TuneOptions, Tuned, tune};
use serde_json::json;

use super::Format;
use super::progress::Bar;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kisim tune --autoscaler hpa --trials 40 --seeds 3 --out results/tuned\n  \
                  kisim tune scenarios/azure-code.toml --trace FILE --trace-length 28m --autoscaler all\n\n\
                  Trials are judged by the scenario's objective on training seeds, which no comparison uses. A trace is \
                  the same for every seed: tune on another part of it. Then: kisim compare --tuned results/tuned")]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// hpa, keda, kpa, predictive, or all
    #[arg(long, value_delimiter = ',', required = true, value_parser = ["hpa", "keda", "kpa", "predictive", "all"])]
    autoscaler: Vec<String>,
    /// Sets of parameters to try
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    trials: u64,
    /// Training seeds that the best have to show themselves on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Where the tuned files go, and the record of every trial, from which an interrupted search goes on
    #[arg(long, default_value = "results/tuned")]
    out: PathBuf,
}

pub(crate) fn main(args: &TuneArgs, seed: Option<u64>, format: Format) -> Result<ExitCode> {
    let scenario = args.scenario.load(seed)?;
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    let options = TuneOptions { trials: args.trials as usize, seeds: args.seeds as usize, seed: scenario.seed };
    let chosen = |kind: &Kind| args.autoscaler.iter().any(|a| a == "all" || a == kind.name());
    let prepared = Prepared::new(scenario)?;
    let mut results = Vec::new();
    for kind in Kind::ALL.into_iter().filter(chosen) {
        let record = args.out.join(format!("{}-trials.jsonl", kind.name()));
        let bar = Bar::new(&format!("tuning {}", kind.name()));
        let tuned = tune(&prepared, kind, &options, Some(&record), &|share| bar.set(share));
        bar.finish();
        let tuned = match tuned {
            Err(_) if super::interrupted() => {
                eprintln!("kisim: interrupted; {} keeps what was tried: the same command goes on", record.display());
                return Ok(ExitCode::from(130));
            }
            other => other?,
        };
        let file = args.out.join(kind.file());
        if tuned.file.is_empty() {
            // What an earlier search found is not what this one did.
            let _ = std::fs::remove_file(&file);
            super::note(&format!("{}: nothing tried was better than the untuned one", kind.name()));
        } else {
            let text = format!("{}{}", comment(&prepared, &options, &tuned), tuned.file);
            write_atomically(&file, |f| f.write_all(text.as_bytes()))?;
            super::note(&format!("wrote {}", file.display()));
        }
        if format == Format::Table {
            super::print(&table(kind, &options, &tuned))?;
        }
        results.push((kind, tuned));
    }
    if format == Format::Json {
        let all = results.iter().map(|(kind, tuned)| (kind.name().to_owned(), as_json(&options, tuned)));
        super::print_json(&serde_json::Value::Object(all.collect()))?;
    }
    super::next_step(&format!(
        "kisim compare {} --tuned {} shows them on traffic they were not tuned to",
        args.scenario.scenario,
        args.out.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What the file says of itself.
fn comment(prepared: &Prepared, options: &TuneOptions, tuned: &Tuned) -> String {
    let mean = |trial: &Trial| trial.mean(options.seeds, |e| e.objective);
    format!(
        "# Tuned with kisim {} on scenario {}: {} trials, {} training seeds, seed {}.\n# Objective {:.4}; untuned {:.4}.\n",
        env!("CARGO_PKG_VERSION"),
        prepared.scenario.name,
        options.trials,
        options.seeds,
        options.seed,
        mean(&tuned.best),
        mean(&tuned.untuned)
    )
}

fn figures(options: &TuneOptions, trial: &Trial) -> [f64; 4] {
    let mean = |figure: fn(&kisim::tune::Evaluation) -> f64| trial.mean(options.seeds, figure);
    [mean(|e| e.objective), mean(|e| e.violation_ratio), mean(|e| e.cost), mean(|e| e.churn as f64)]
}

fn table(kind: Kind, options: &TuneOptions, tuned: &Tuned) -> String {
    let mut rows = Table::new();
    rows.load_style(presets::ASCII_MARKDOWN).set_header(vec![
        kind.name(),
        "objective",
        "violations %",
        "cost $",
        "churn",
    ]);
    for column in rows.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (name, trial) in [("untuned", &tuned.untuned), ("tuned", &tuned.best)] {
        let [objective, violation, cost, churn] = figures(options, trial);
        rows.add_row([name.to_owned(), number(objective), number(violation * 100.0), number(cost), number(churn)]);
    }
    let parameters = tuned.best.evaluations.first().map(|e| &e.parameters);
    let parameters: Vec<String> = parameters
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} {}", value.to_string().trim_matches('"')))
        .collect();
    format!(
        "{rows}\nbest of {} trials on {} training seeds: {}\n",
        tuned.trials.len(),
        options.seeds,
        if parameters.is_empty() { "the untuned one".to_owned() } else { parameters.join(", ") }
    )
}

fn as_json(options: &TuneOptions, tuned: &Tuned) -> serde_json::Value {
    let one = |trial: &Trial| {
        let [objective, violation, cost, churn] = figures(options, trial);
        let parameters = trial.evaluations.first().map(|e| &e.parameters);
        json!({"trial": trial.number, "objective": objective, "violation_ratio": violation, "cost": cost,
               "churn": churn, "parameters": parameters})
    };
    json!({"untuned": one(&tuned.untuned), "best": one(&tuned.best), "trials": tuned.trials.len()})
}
