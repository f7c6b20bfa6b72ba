//! Several training runs of one configuration, as `train --seeds` leaves them: what the configuration is worth, and not
//! just one run of it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::contenders;
use kiscaler_train::statistics::{Bootstrap, Interval, interquartile_mean, of_all};
use kisim::compare::{AutoscalerResult, compare};
use kisim::contender::Contender;
use kisim::prepared::Prepared;
use kisim::report::{Summary, number};
use rand::Rng;
use serde::Serialize;
use serde_json::json;

use super::evaluate::EvaluateArgs;
use super::watch::Bar;
use super::{Format, next_step, print, print_json, seams, table};

/// One line of a scenario's table.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// Training runs; 0 for who was not trained.
    trained: usize,
    /// What the objective is, lower is better: interquartile mean over training runs of the mean over runs, with its 95 %
    /// bootstrap interval over training runs.
    objective: Interval,
    violation_ratio: Interval,
    cost: Interval,
    /// The mean objective of each training run.
    objectives: Vec<f64>,
}

/// The policies in folders of `folder`, in the order of their names.
fn policies(folder: &Path) -> Result<Vec<Arc<Checkpoint>>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.retain(|path| path.join(kiscaler_train::drive::BEST).is_file());
    ensure!(
        !files.is_empty(),
        "{}: found no folder with a {} in it, expected those of train --seeds",
        folder.display(),
        kiscaler_train::drive::BEST
    );
    files.iter().map(|path| Ok(Arc::new(Checkpoint::load(&path.join(kiscaler_train::drive::BEST))?))).collect()
}

pub(super) fn main(args: &EvaluateArgs, format: Format) -> Result<ExitCode> {
    ensure!(!args.frontier && args.out.is_none(), "--out, --frontier: found with a folder, expected one checkpoint");
    let policies = policies(&args.checkpoint)?;
    let mut tables = Vec::new();
    let elsewhere = args.elsewhere()?;
    let past = args.past(elsewhere.as_ref())?;
    let mut text = String::new();
    for name in &args.scenarios {
        let scenario = args.changes.load(name, args.seed)?;
        let mut contenders = Vec::new();
        let mut groups: Vec<(String, usize)> = Vec::new();
        let pasts = args.pasts(past);
        for &weight in &args.weight {
            for &past in &pasts {
                for (number, checkpoint) in policies.iter().enumerate() {
                    let Contender::Policy { name, build, vary } =
                        contenders::policy(checkpoint, weight, past, &scenario)?
                    else {
                        continue;
                    };
                    if number == 0 {
                        groups.push((name.clone(), policies.len()));
                    }
                    contenders.push(Contender::Policy { name: format!("{name}, run {}", number + 1), build, vary });
                }
            }
        }
        let mut rivals = Vec::new();
        for rival in &args.against {
            rivals.extend(args.rivals(rival, past, &scenario)?);
        }
        for tuned in &args.tuned {
            rivals.extend(Contender::tuned(tuned, &scenario)?);
        }
        groups.extend(rivals.iter().map(|rival| (rival.name(), 0)));
        contenders.extend(rivals);
        let prepared = Prepared::new(scenario)?;
        let bar = Bar::new(&prepared.scenario.name);
        let seed = prepared.scenario.seed;
        let result = compare(&prepared, &contenders, seed, args.seeds as usize, &|share| bar.set(share));
        bar.finish();
        let result = result?;
        let mut stream = seams::stream_of(std::slice::from_ref(&result));
        let mut rest = result.autoscalers.as_slice();
        let mut lines = Vec::new();
        for (name, trained) in groups {
            let (own, others) = rest.split_at(trained.max(1));
            rest = others;
            lines.push(line(name, trained, own, &mut stream)?);
        }
        text += &lines_text(&result.scenario, args.seeds, &lines);
        tables.push(json!({ "scenario": result.scenario, "runs": args.seeds, "lines": lines }));
    }
    match format {
        Format::Json => print_json(&json!({ "tables": tables }))?,
        Format::Table => print(&text)?,
    }
    next_step("kiscaler-train evaluate FOLDER/seed-1/best.safetensors … compares one of them, run by run");
    Ok(ExitCode::SUCCESS)
}

fn line(name: String, trained: usize, own: &[AutoscalerResult], stream: &mut impl Rng) -> Result<Line> {
    let means = |figure: fn(&Summary) -> f64| -> Vec<f64> {
        let mean = |one: &AutoscalerResult| one.runs.iter().map(figure).sum::<f64>() / one.runs.len().max(1) as f64;
        own.iter().map(mean).collect()
    };
    let mut over = |means: &[f64]| Bootstrap::default().interval(&[means.to_vec()], of_all(interquartile_mean), stream);
    let objectives = means(|run| -run.reward.get("mean").copied().unwrap_or(f64::NAN));
    Ok(Line {
        name,
        trained,
        objective: over(&objectives)?,
        violation_ratio: over(&means(|run| run.slo.violation_ratio))?,
        cost: over(&means(|run| run.cost))?,
        objectives,
    })
}

fn lines_text(scenario: &str, runs: u64, lines: &[Line]) -> String {
    let mut t = table(&["autoscaler", "trained", "objective", "violations %", "cost $"]);
    for line in lines {
        let cell = |i: &Interval, factor: f64| match line.trained {
            0 | 1 => number(i.point * factor),
            _ => format!("{} [{}, {}]", number(i.point * factor), number(i.low * factor), number(i.high * factor)),
        };
        t.add_row([
            line.name.clone(),
            if line.trained == 0 { "–".to_owned() } else { line.trained.to_string() },
            cell(&line.objective, 1.0),
            cell(&line.violation_ratio, 100.0),
            cell(&line.cost, 1.0),
        ]);
    }
    format!(
        "{scenario}: {runs} run{} of each\n{t}\nobjective: lower is better; interquartile mean over training runs [95 % bootstrap \
         interval over them]\n\n",
        if runs == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_policies_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("seed-1")).unwrap();
        let error = policies(folder.path()).unwrap_err().to_string();
        assert!(error.contains("found no folder with a best.safetensors"), "{error}");
    }

    #[test]
    fn intervals_are_over_training_runs() {
        let interval = |point: f64| Interval { point, low: point - 0.1, high: point + 0.1 };
        let line = |name: &str, trained: usize| Line {
            name: name.to_owned(),
            trained,
            objective: interval(0.5),
            violation_ratio: interval(0.02),
            cost: interval(7.0),
            objectives: Vec::new(),
        };
        let text = lines_text("day", 5, &[line("policy", 8), line("predictive", 0)]);
        assert!(text.contains("0.500 [0.400, 0.600]"), "{text}");
        let untrained = text.lines().find(|l| l.contains("predictive")).unwrap();
        assert!(untrained.contains('–') && !untrained.contains('['), "{untrained}");
    }
}
