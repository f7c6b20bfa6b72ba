//! `kiscaler-train train`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use clap::Args;
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::contenders::{self, Past};
use kiscaler_train::drive::{self, BEST, Course, DriveError, LAST, Learner, Outcome, names};
use kiscaler_train::events::{Scalar, read_scalars};
use kiscaler_train::observation::ObservationSet;
use kiscaler_train::plots::{Measure, Series, learning_curves};
use kiscaler_train::statistics::interquartile_mean;
use kiscaler_train::verdict::verdicts;
use kisim::compare::{Comparison, compare};
use kisim::config::Span;
use kisim::random::derive_seed;
use kisim::report::{number, write_atomically, write_comparison};
use rand::SeedableRng;
use serde_json::{Value, json};

use super::evaluate::{comparisons_text, verdicts_text};
use super::seams::{self, Device, Plan};
use super::watch::{Bar, Terminal};
use super::{Format, STOPPED, interrupted, next_step, note, print, print_json, table};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kiscaler-train train\n  \
                  kiscaler-train train my.toml --out runs/a --seeds 8\n  \
                  kiscaler-train train --resume runs/a\n  \
                  tensorboard --logdir runs\n\n\
                  Ctrl-C saves and ends; --resume goes on as if nothing had happened.")]
pub(crate) struct TrainArgs {
    /// The configuration; the built-in one by default
    config: Option<PathBuf>,
    /// Folder of the run; by default the first of runs/NAME-1, runs/NAME-2, … that is not there
    #[arg(long)]
    out: Option<PathBuf>,
    /// Seed of all randomness; the configuration's by default
    #[arg(long)]
    seed: Option<u64>,
    /// Independent runs, each with its own seed and its own folder in the run's
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out", "seed", "seeds", "quick"])]
    resume: Option<PathBuf>,
    /// A few seconds instead of minutes: whether everything works, not what can be learnt
    #[arg(long)]
    quick: bool,
    /// Do not compare the policy with the baselines at the end
    #[arg(long)]
    no_comparison: bool,
}

/// One run of several, and its folder.
struct Member {
    seed: u64,
    folder: PathBuf,
}

pub(crate) fn main(args: &TrainArgs, format: Format) -> Result<ExitCode> {
    if args.device == Device::Cuda && !cfg!(feature = "cuda") {
        bail!("--device cuda: found a build without CUDA, expected one made with --features cuda");
    }
    super::use_threads(args.threads)?;
    let (plan, folder, members) = match &args.resume {
        Some(folder) => resumed(folder)?,
        None => fresh(args)?,
    };
    let mut outcomes = Vec::new();
    for member in &members {
        let label = if members.len() > 1 { format!("seed {}", member.seed) } else { String::new() };
        let outcome = learn(args, &plan, member, &label)?;
        let done = outcome.done;
        outcomes.push(outcome);
        if !done {
            note(&format!("saved; kiscaler-train train --resume {} goes on", folder.display()));
            return Ok(ExitCode::from(STOPPED));
        }
    }
    let folders: Vec<&Path> = members.iter().map(|m| m.folder.as_path()).collect();
    draw(&plan, &folder, &folders)?;
    let comparisons = if args.no_comparison { Vec::new() } else { closing(&plan, args.quick, &folder, &members)? };
    report(format, &members, &outcomes, &comparisons)?;
    let best = members.first().map_or(folder.clone(), |m| m.folder.join(BEST));
    note(&format!("\nwrote {}: learning.svg, and of each run {BEST}, {LAST}, scalars.csv", folder.display()));
    next_step(&format!(
        "kiscaler-train inspect {best}\n      kiscaler-train evaluate {best} default --against hpa,keda,kpa,predictive,hindsight:quick",
        best = best.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// A run that begins.
fn fresh(args: &TrainArgs) -> Result<(Plan, PathBuf, Vec<Member>)> {
    let plan = seams::plan(args.config.as_deref(), args.quick)?;
    let folder = args.out.clone().unwrap_or_else(|| free_folder(Path::new("runs"), &plan.name));
    let seed = args.seed.unwrap_or(plan.seed);
    let members = match args.seeds {
        1 => vec![Member { seed, folder: folder.clone() }],
        several => (0..several)
            .map(|i| {
                // The first is the one given, as in kisim compare.
                let seed = if i == 0 { seed } else { derive_seed(seed, i) };
                Member { seed, folder: folder.join(format!("seed-{}", i + 1)) }
            })
            .collect(),
    };
    if folder.join(MEMBERS).exists() {
        return Err(DriveError::Occupied { folder }.into());
    }
    // Whatever happens from here on, --resume has what it needs.
    let seeds: Vec<u64> = members.iter().map(|m| m.seed).collect();
    write_atomically(&folder.join(CONFIG), |file| file.write_all(plan.text.as_bytes()))?;
    write_atomically(&folder.join(MEMBERS), |file| Ok(serde_json::to_writer(file, &seeds)?))?;
    Ok((plan, folder, members))
}

/// The first of `NAME-1`, `NAME-2`, … in `parent` that is not there.
fn free_folder(parent: &Path, name: &str) -> PathBuf {
    let mut number = 1u64;
    loop {
        let folder = parent.join(format!("{name}-{number}"));
        if !folder.exists() {
            return folder;
        }
        number += 1;
    }
}

/// What says which runs belong together, so that those which had not begun can be begun.
const MEMBERS: &str = "seeds.json";
/// The configuration of all of them.
const CONFIG: &str = "config.toml";

/// A run, or several, to go on with.
fn resumed(folder: &Path) -> Result<(Plan, PathBuf, Vec<Member>)> {
    let list = folder.join(MEMBERS);
    let seeds: Vec<u64> = match std::fs::read_to_string(&list) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|e| anyhow::anyhow!("{}: found {e}, expected a list of seeds", list.display()))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!("--resume {}: found no {MEMBERS}, expected the folder of a run", folder.display())
        }
        Err(e) => bail!("cannot read {}: {e}", list.display()),
    };
    let several = seeds.len() > 1;
    let place = |(i, seed): (usize, &u64)| {
        let own = if several { folder.join(format!("seed-{}", i + 1)) } else { folder.to_owned() };
        Member { seed: *seed, folder: own }
    };
    let members: Vec<Member> = seeds.iter().enumerate().map(place).collect();
    ensure!(!members.is_empty(), "{}: found no seeds, expected at least one", list.display());
    let config = folder.join(CONFIG);
    let text =
        std::fs::read_to_string(&config).map_err(|e| anyhow::anyhow!("cannot read {}: {e}", config.display()))?;
    Ok((seams::plan_of(&text, &config.display().to_string())?, folder.to_owned(), members))
}

/// Trains one of them, from where it stands.
fn learn(args: &TrainArgs, plan: &Plan, member: &Member, label: &str) -> Result<Outcome> {
    let mut terminal = Terminal::new(label);
    let going_on = args.resume.is_some() && member.folder.join(LAST).exists();
    let (mut course, mut learner): (Course, Box<dyn Learner>) = if going_on {
        let restore = |checkpoint: Checkpoint| {
            // What a learner knows was learnt with its own configuration and no other.
            ensure!(
                checkpoint.config == plan.text,
                "{}: found a checkpoint of another configuration than config.toml beside it, expected the same",
                member.folder.join(LAST).display()
            );
            seams::restore(plan, checkpoint, args.device)
        };
        drive::resume(&member.folder, plan.rhythm, &terminal, restore)?
    } else {
        let learner = seams::begin(plan, member.seed, args.device)?;
        let course = drive::begin(&member.folder, plan.rhythm, &terminal)?;
        (course, learner)
    };
    let outcome = course.drive(&mut learner, &mut terminal);
    terminal.finish();
    Ok(outcome?)
}

/// The last value of the scalar `name`.
fn last(scalars: &[Scalar], name: &str) -> Option<f64> {
    scalars.iter().rev().find(|s| s.name == name).map(|s| s.value)
}

/// Draws `learning.svg` of all runs.
fn draw(plan: &Plan, folder: &Path, runs: &[&Path]) -> Result<()> {
    let recorded: Vec<Vec<Scalar>> = runs.iter().map(|run| read_scalars(run)).collect::<Result<_, _>>()?;
    let series = |name: &str, factor: f64| -> Vec<Series> {
        let of = |scalars: &Vec<Scalar>| {
            let own = scalars.iter().filter(|s| s.name == name);
            own.map(|s| (s.step, s.value * factor)).collect()
        };
        recorded.iter().map(of).collect()
    };
    let measures: Vec<Measure> = [
        ("Return of an episode", "reward", names::RETURN, "", 1.0),
        ("Score", "in evaluation", "", names::SCORE, 1.0),
        ("Violations", "% of requests", "", names::EVALUATION_VIOLATION, 100.0),
        ("Cost", "$ an hour", "", names::EVALUATION_COST, 1.0),
        ("KL of an update", "nats", names::KL, "", 1.0),
    ]
    .into_iter()
    .map(|(title, unit, training, evaluation, factor)| Measure {
        title: title.to_owned(),
        unit: unit.to_owned(),
        training: series(training, factor),
        evaluation: series(evaluation, factor),
        level: None,
    })
    .filter(|m| m.training.iter().chain(&m.evaluation).any(|series| !series.is_empty()))
    .collect();
    let note = match runs.len() {
        1 => "one run".to_owned(),
        n => format!("{n} runs, in the band of the 95 % bootstrap interval of their interquartile mean"),
    };
    // A drawing's own stream: the same runs give the same bytes.
    let mut stream = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(plan.seed);
    let svg = learning_curves(&plan.name, &note, &measures, &mut stream)?;
    write_atomically(&folder.join("learning.svg"), |file| file.write_all(svg.as_bytes()))?;
    Ok(())
}

/// Compares the best policy of the first run with the baselines, where nobody was trained.
fn closing(plan: &Plan, quick: bool, folder: &Path, members: &[Member]) -> Result<Vec<Comparison>> {
    let Some(first) = members.first() else { return Ok(Vec::new()) };
    let best = first.folder.join(BEST);
    if !best.exists() {
        return Ok(Vec::new());
    }
    let checkpoint = Arc::new(Checkpoint::load(&best)?);
    let mut all = Vec::new();
    for (prepared, rivals) in seams::closing(plan, quick)? {
        let mut contenders = vec![contenders::policy(&checkpoint, 1.0, None, &prepared.scenario)?];
        if !quick && plan.config.observation != ObservationSet::Paper {
            // As rules are tuned on runs with training seeds, so it may have seen one.
            let past = Past { length: Span::secs(3_600), elsewhere: None, told: false };
            contenders.push(contenders::policy(&checkpoint, 1.0, Some(past), &prepared.scenario)?);
        }
        contenders.extend(rivals);
        let bar = Bar::new(&format!("comparing on {}", prepared.scenario.name));
        let seed = prepared.scenario.seed;
        let result = compare(&prepared, &contenders, seed, if quick { 2 } else { 5 }, &|share| bar.set(share));
        bar.finish();
        let result = match result {
            // What was learnt is saved; only the comparison is cut short.
            Err(_) if interrupted() => return Ok(all),
            other => other?,
        };
        write_comparison(&folder.join("comparison").join(&result.scenario), &prepared, &result)?;
        all.push(result);
    }
    Ok(all)
}

/// Figures of a run's last evaluation, and of its best.
fn figures(member: &Member, outcome: &Outcome) -> Result<[Option<f64>; 5]> {
    let scalars = read_scalars(&member.folder)?;
    Ok([
        outcome.best.as_ref().map(|best| best.score),
        outcome.best.as_ref().map(|best| best.update as f64),
        last(&scalars, names::SCORE),
        last(&scalars, names::EVALUATION_VIOLATION).map(|v| v * 100.0),
        last(&scalars, names::EVALUATION_COST),
    ])
}

fn report(format: Format, members: &[Member], outcomes: &[Outcome], comparisons: &[Comparison]) -> Result<()> {
    let rows: Vec<[Option<f64>; 5]> =
        members.iter().zip(outcomes).map(|(member, outcome)| figures(member, outcome)).collect::<Result<_>>()?;
    let verdicts = verdicts(comparisons, &mut seams::stream_of(comparisons))?;
    if format == Format::Json {
        let runs = members.iter().zip(&rows).map(|(member, [best, update, score, violations, cost])| {
            json!({"seed": member.seed, "folder": member.folder, "best_score": best, "best_update": update,
                   "score": score, "violation_ratio": violations.map(|v| v / 100.0), "cost_per_hour": cost})
        });
        return print_json(&json!({
            "runs": runs.collect::<Vec<Value>>(),
            "comparisons": comparisons,
            "verdicts": verdicts,
        }));
    }
    let mut t = table(&["seed", "best score", "at update", "last score", "violations %", "cost $/h"]);
    let cell = |value: &Option<f64>| value.map_or("–".to_owned(), number);
    for (member, row) in members.iter().zip(&rows) {
        t.add_row([member.seed.to_string()].into_iter().chain(row.iter().map(cell)));
    }
    if rows.len() > 1 {
        let column = |i: usize| {
            let known: Vec<f64> = rows.iter().filter_map(|row| row[i]).collect();
            if known.is_empty() || i == 1 { "–".to_owned() } else { number(interquartile_mean(&known)) }
        };
        t.add_row(["IQM".to_owned()].into_iter().chain((0..5).map(column)));
    }
    let mut text = t.to_string();
    if !comparisons.is_empty() {
        text.push_str("\n\n");
        text.push_str(&comparisons_text(comparisons));
        text.push_str(&verdicts_text(&verdicts));
    }
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_folder_is_the_first_that_is_not_there() {
        let parent = tempfile::tempdir().unwrap();
        assert_eq!(free_folder(parent.path(), "a"), parent.path().join("a-1"));
        std::fs::create_dir(parent.path().join("a-1")).unwrap();
        std::fs::create_dir(parent.path().join("a-3")).unwrap();
        assert_eq!(free_folder(parent.path(), "a"), parent.path().join("a-2"));
    }

    #[test]
    fn drawing_takes_what_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let mut scalars = kiscaler_train::events::Scalars::create(folder.path(), 1e9).unwrap();
        for step in 1..50u64 {
            scalars.log(step * 100, 1e9, &[(names::RETURN, -1.0 / step as f64), (names::SCORE, 0.5)]).unwrap();
        }
        let plan = Plan { name: "mine".into(), ..seams::plan(None, false).unwrap() };
        draw(&plan, folder.path(), &[folder.path(), folder.path()]).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("learning.svg")).unwrap();
        assert!(svg.contains("Return of an episode") && svg.contains("Score") && !svg.contains("$ an hour"));
    }
}
