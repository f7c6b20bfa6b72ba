//! `kiscaler-train tune`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use kisim::report::{number, write_atomically};
use serde_json::json;

use super::watch::Bar;
use super::{Format, STOPPED, interrupted, next_step, note, print, print_json, seams, table};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kiscaler-train tune my.toml --trials 20\n  \
                  kiscaler-train tune my.toml --trials 40 --out runs/tuned    (goes on with the 20)\n\n\
                  Sets are judged on the training distribution only, with seeds of their own; the first is the \
                  configuration as it is.")]
pub(crate) struct TuneArgs {
    /// The configuration to begin with
    config: PathBuf,
    /// Sets of hyper-parameters to try
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    trials: u64,
    /// Seed of the search; the configuration's by default
    #[arg(long)]
    seed: Option<u64>,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Where tuned.toml goes, and the record of every trial, from which an interrupted search goes on
    #[arg(long, default_value = "runs/tuned")]
    out: PathBuf,
}

pub(crate) fn main(args: &TuneArgs, format: Format) -> Result<ExitCode> {
    super::use_threads(args.threads)?;
    let plan = seams::plan(Some(&args.config), false)?;
    let record = args.out.join("trials.jsonl");
    let bar = Bar::new("tuning");
    let seed = args.seed.unwrap_or(plan.seed);
    let trials = seams::tune(&plan, args.trials, seed, &record, &|share| bar.set(share));
    bar.finish();
    let mut trials = match trials {
        Err(_) if interrupted() => {
            note(&format!("{} keeps what was tried: the same command goes on", record.display()));
            return Ok(ExitCode::from(STOPPED));
        }
        other => other?,
    };
    // Of equals the one tried first: nothing is changed without a reason.
    trials.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)));
    ensure!(!trials.is_empty(), "{}: found no trials, expected at least one", record.display());
    let file = args.out.join("tuned.toml");
    let text = seams::with_parameters(&plan, &trials[0])?;
    write_atomically(&file, |out| out.write_all(text.as_bytes()))?;
    match format {
        Format::Json => print_json(&json!({"trials": trials, "file": file}))?,
        Format::Table => {
            let mut t = table(&["trial", "score", "parameters"]);
            for trial in trials.iter().take(10) {
                let parameters: Vec<String> = trial.parameters.iter().map(|(name, v)| format!("{name} {v}")).collect();
                let parameters = if parameters.is_empty() { "as it is".to_owned() } else { parameters.join(", ") };
                t.add_row([trial.number.to_string(), number(trial.score), parameters]);
            }
            print(&format!("{t}\nthe best of {} trials, {} on top, is in {}\n", trials.len(), 10, file.display()))?;
        }
    }
    next_step(&format!("kiscaler-train train {} --seeds 8", file.display()));
    Ok(ExitCode::SUCCESS)
}
