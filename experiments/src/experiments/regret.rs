//! What is left to win, split at what nobody without the future can have.

use anyhow::{Result, ensure};

use super::traces::{HINDSIGHT, OURS, Runs, outcome, table};
use crate::chart::{self, Axis, Frame, Series};
use crate::experiment::{All, Entry, Experiment, Section, Table, Verdict};
use crate::summary;

/// The experiment.
pub const REGRET: Experiment = Experiment {
    name: "regret",
    title: "Regret, split at foresight",
    question: "How much more does each pay than who knows all arrivals, and how much of that could only be saved by seeing one cold start \
               ahead?",
    config: include_str!("../../configs/regret.toml"),
    needs: &["traces"],
    cells: |_, _| Ok(Vec::new()),
    present,
};

const WANT: &str = "for want of a cold start's sight";
const REST: &str = "even with it";

fn present(all: &All<'_>) -> Result<Section> {
    let results = all.others.get("traces");
    ensure!(results.is_some(), "experiment regret: found no results of traces, expected them beside its own");
    let Some(results) = results else { return Ok(Section::default()) };
    let runs = Runs::of(results);
    let split = split_table(&runs);
    let frame = Frame {
        name: "split",
        title: "Regret to hindsight, split at foresight",
        note: "objective; 95 % intervals over seeds",
        caption: "What the policy after an hour at work and the best tuned rule pay more than foresight, which sees one cold start ahead, and \
                  what foresight pays more than who knows everything. The first part nobody gets back where onsets are chance; below 0 foresight itself is beaten.",
    };
    let few = Table {
        rows: split.rows.iter().filter(|row| row[2] == Entry::Text("yes".into())).cloned().collect(),
        name: "split".into(),
        ..split.clone()
    };
    let figure = chart::forest(
        &few,
        &frame,
        "who, where",
        Series::Columns(&[WANT, REST]),
        Axis { label: "objective", log: false },
        Some((0.0, "no regret")),
    )?;
    Ok(Section {
        text: vec![
            "Regret is the objective less that of the best plan known for the same arrivals. Foresight knows the arrivals of the next cold \
             start and plans no further, so it splits regret in two: what is lost for want of that sight, and what even that sight \
             does not save. Of the first part a policy can win back only what the past says of the next minute. Where foresight is beaten it \
             is no yardstick, and the first part is negative."
                .to_owned(),
        ],
        tables: vec![split],
        figures: vec![figure],
        verdicts: vec![verdict(&runs)],
    })
}

fn split_table(runs: &Runs) -> Table {
    let columns = ["who, where", "traffic", "in the figure", "regret to hindsight", WANT, REST];
    let mut rows = Vec::new();
    for scene in runs.scenes() {
        let (best, foresight) = (runs.get(&scene, HINDSIGHT), runs.get(&scene, "foresight"));
        let tuned = runs.best_tuned(&scene);
        for who in runs.contenders(&scene).into_iter().filter(|who| who != HINDSIGHT && who != "foresight") {
            let own = runs.get(&scene, &who);
            let shown = who == OURS || Some(&who) == tuned.as_ref();
            rows.push(vec![
                Entry::Text(format!("{who}, {scene}")),
                Entry::Text(scene.clone()),
                Entry::Text(if shown { "yes" } else { "no" }.into()),
                summary::difference(&own, &best, "objective"),
                summary::difference(&own, &foresight, "objective"),
                summary::difference(&foresight, &best, "objective"),
            ]);
        }
    }
    table(
        "split",
        "Regret of everybody, the objective less hindsight's, and its two parts; paired by seed",
        &columns,
        rows,
    )
}

fn verdict(runs: &Runs) -> Verdict {
    let (mut less, mut asked) = (Vec::new(), Vec::new());
    for scene in runs.scenes() {
        let Some(tuned) = runs.best_tuned(&scene) else { continue };
        let best = runs.get(&scene, HINDSIGHT);
        let regret = |who: &str| summary::difference(&runs.get(&scene, who), &best, "objective").point();
        let (Some(ours), Some(theirs)) = (regret(OURS), regret(&tuned)) else { continue };
        let figures = format!("{scene} ({} against {})", kisim::report::number(ours), kisim::report::number(theirs));
        if ours < theirs {
            less.push(figures.clone());
        }
        asked.push(figures);
    }
    let because = match less.len() {
        0 if asked.is_empty() => "no tuned rule was played".to_owned(),
        0 => format!("nowhere: {}", asked.join("; ")),
        _ => format!("on {} of {}: {}", less.len(), asked.len(), less.join("; ")),
    };
    Verdict {
        claim: "Ours: the policy's mean regret to hindsight is less than that of the best tuned rule".into(),
        outcome: outcome(less.len(), asked.len()),
        because,
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::{presented, run};
    use super::*;
    use crate::experiment::Outcome;

    #[test]
    fn parts_add_up_to_the_regret() {
        let mut rows = Vec::new();
        for (seed, shift) in [(1, 0.0), (2, 0.5)] {
            let objectives = [(OURS, 1.4), ("kpa-tuned", 1.7), ("foresight", 1.1), ("hindsight:quick", 1.0)];
            rows.extend(objectives.map(|(who, objective)| run("a", who, seed, objective + shift, 0.0, 1.0)));
        }
        let section = presented(&REGRET, rows);
        let table = &section.tables[0];
        assert_eq!(table.rows.len(), 2);
        let number = |row: usize, column: usize| table.rows[row][column].point().unwrap();
        for (row, expected) in [(0, [0.4, 0.3, 0.1]), (1, [0.7, 0.6, 0.1])] {
            for (column, expected) in expected.into_iter().enumerate() {
                assert!((number(row, column + 3) - expected).abs() < 1e-9);
            }
        }
        assert_eq!(section.verdicts[0].outcome, Outcome::Holds);
        assert_eq!(presented(&REGRET, Vec::new()).verdicts[0].outcome, Outcome::NotTestable);
    }
}
