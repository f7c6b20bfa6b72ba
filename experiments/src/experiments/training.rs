//! Training by the built-in configuration.

use std::collections::BTreeMap;

use anyhow::Result;

use super::learning::{Config, Curves, by_kind, by_seed, cells, ends, moving, table};
use crate::chart::{self, Axis, Frame, Lines, Series};
use crate::experiment::{All, Entry, Experiment, Outcome, Section, Table, Verdict};
use crate::summary::{groups, of_values, value};

/// Training by the built-in configuration.
pub const TRAINING: Experiment = Experiment {
    name: "training",
    title: "Training",
    question: "What does training with the built-in configuration look like, how far apart are its runs, and what are its policies \
               worth on traffic that no training saw? (The paper's figures of training progress, losses and learning by pattern, for \
               our observation, action and reward.)",
    config: include_str!("../../configs/training.toml"),
    needs: &[],
    cells,
    present,
};

/// Panels of a figure of losses: the scalar, what tables call it, and its unit.
pub(super) const LOSSES: [(&str, &str, &str); 7] = [
    ("losses/policy", "policy loss", "loss"),
    ("losses/value", "value loss", "loss"),
    ("losses/entropy", "entropy", "nats"),
    ("losses/kl", "divergence", "nats an update"),
    ("losses/clip_fraction", "clipped", "share of rows"),
    ("losses/gradient_norm", "gradient", "norm before clipping"),
    ("losses/explained_variance", "explained variance", "share of the returns'"),
];

fn present(all: &All<'_>) -> Result<Section> {
    let config = Config::read(all.config, all.size)?;
    let own = all.own;
    let mut section = Section::default();
    section.text.push(format!(
        "{} training runs, which differ in their seeds alone. The reward of a step is in units of what whoever follows the leading rule \
         would pay, so −1 is as good as that rule by the fluid model and −0.9 a tenth better. Episodes are drawn anew all the time, so \
         there is no difference between training and test episodes but the choice: drawn while training, the likeliest in evaluations. \
         Bands and brackets are 95 % bootstrap intervals over training runs, of interquartile means.",
        config.seeds
    ));
    section.text.push(
        "An update of imitation comes first: there the teacher's costs alone move the policy, and the policy's loss has no meaning for \
         it."
        .to_owned(),
    );

    let reward = by_seed(own, "training/return");
    let score = by_seed(own, "evaluation/score");
    let progress = table(
        "progress",
        "Reward of a step in training, its moving average over ten stretches, and the score of evaluations.",
        &[("reward", reward.clone()), ("moving average", moving(&reward)), ("evaluation score", score)],
    );
    let note = format!("interquartile mean over {} training runs and its 95 % interval", config.seeds);
    let frame = Frame {
        name: "progress",
        title: "Training progress",
        note: &note,
        caption: "Reward of a step in the course of training, with the spread of training runs.",
    };
    let panel = |title, columns, label| Lines {
        title,
        series: Series::Columns(columns),
        axis: Axis { label, log: false },
        level: Some((-1.0, "follows the leading rule")),
    };
    let panels = [
        panel("Training", &["reward", "moving average"], "reward a step"),
        panel("Evaluations", &["evaluation score"], "score"),
    ];
    section.figures.push(chart::lines(&progress, &frame, "steps", &panels)?);
    section.tables.push(progress);

    let losses: Vec<(&str, Curves)> = LOSSES.iter().map(|(name, title, _)| (*title, by_seed(own, name))).collect();
    let losses = table("losses", "Terms of the loss and diagnostics of updates.", &losses);
    let frame = Frame {
        name: "losses",
        title: "Losses",
        note: &note,
        caption: "Losses and diagnostics in the course of training.",
    };
    let columns: Vec<[&str; 1]> = LOSSES.iter().map(|(_, title, _)| [*title]).collect();
    let panels: Vec<Lines<'_>> = LOSSES
        .iter()
        .zip(&columns)
        .map(|((_, title, label), columns)| Lines {
            title,
            series: Series::Columns(columns),
            axis: Axis { label, log: false },
            level: None,
        })
        .collect();
    section.figures.push(chart::lines(&losses, &frame, "steps", &panels)?);
    section.tables.push(losses);

    let (families, by_family) = by_kind(own, "families", "Moving average of the reward of a step, by family of load.");
    let frame = Frame {
        name: "families",
        title: "Learning by family of load",
        note: &note,
        caption: "The moving average of the reward of a step, by family of load.",
    };
    let groups_of: Vec<Vec<&str>> =
        families.chunks(3).map(|chunk| chunk.iter().map(String::as_str).collect()).collect();
    let panels: Vec<Lines<'_>> = groups_of
        .iter()
        .map(|columns| Lines {
            title: "",
            series: Series::Columns(columns),
            axis: Axis { label: "reward a step", log: false },
            level: None,
        })
        .collect();
    section.figures.push(chart::lines(&by_family, &frame, "steps", &panels)?);
    section.tables.push(by_family);

    let mut worth = Table {
        name: "policies".into(),
        caption: "The policies on traffic of no training: interquartile means over training runs. Lower is better."
            .into(),
        columns: ["traffic", "policy", "objective", "late, %", "cost, $", "least objective", "greatest"]
            .map(str::to_owned)
            .to_vec(),
        rows: Vec::new(),
    };
    // The published testbed has another objective; it is presented with the performance.
    let runs = own.with(&[("row", "run")]).filter(|row| row.get_number("paper_reward").is_nan());
    for group in groups(runs, &["scene", "autoscaler"]) {
        let one = |column: &str| value(&group.rows, column);
        let of_run: Vec<f64> = by_run(&group.rows);
        let extreme =
            |pick: fn(f64, f64) -> f64| of_run.iter().copied().reduce(pick).map_or(Entry::Empty, Entry::Number);
        worth.rows.push(vec![
            Entry::Text(group.key[0].clone()),
            Entry::Text(group.key[1].clone()),
            one("objective"),
            one("violation_ratio").scaled(100.0),
            one("cost_usd"),
            extreme(f64::min),
            extreme(f64::max),
        ]);
    }
    let frame = Frame {
        name: "policies",
        title: "Policies on traffic of no training",
        note: &note,
        caption: "Objective by traffic, lower is better.",
    };
    let series = Series::By { by: "policy", value: "objective" };
    section.figures.push(chart::forest(&worth, &frame, "traffic", series, Axis::default(), None)?);
    section.tables.push(worth);

    let scores = ends(own, "evaluation/score", 1);
    let gains: Vec<f64> = scores.iter().map(|(first, last)| last - first).collect();
    let gain = if gains.is_empty() { Entry::Empty } else { of_values(&gains, true) };
    let outcome = match () {
        () if gain.is_above(0.0) => Outcome::Holds,
        () if gain.point().is_some_and(|gain| gain > 0.0) => Outcome::InPart,
        () => Outcome::DoesNotHold,
    };
    section.verdicts.push(Verdict {
        claim: "Ours: training improves the policy on episodes that it was not trained on".into(),
        outcome,
        because: format!(
            "from a run's first evaluation to its last, the score rises by {} over {} training runs",
            chart::text(&gain),
            scores.len()
        ),
    });
    Ok(section)
}

/// The mean objective of each training run.
fn by_run(rows: &[&crate::cell::Row]) -> Vec<f64> {
    let mut runs: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in rows {
        runs.entry(row.get_number("trained") as u64).or_default().push(row.get_number("objective"));
    }
    runs.values().map(|values| values.iter().sum::<f64>() / values.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Row;
    use crate::experiment::Size;
    use crate::results::Results;

    fn scalar(trained: u64, step: u64, name: &str, value: f64) -> Row {
        let row = Row::new().text("row", "scalar").count("trained", trained).count("step", step);
        row.text("name", name).number("value", value)
    }

    fn results(last_score: [f64; 3]) -> Results {
        let mut rows = Vec::new();
        for (trained, last) in (1..).zip(last_score) {
            for step in 1..=5u64 {
                rows.push(scalar(trained, step * 100, "training/return", -2.0 + step as f64 * 0.1));
                rows.push(scalar(trained, step * 100, "training/return/calm", -1.0));
            }
            rows.push(scalar(trained, 100, "evaluation/score", -1.0));
            rows.push(scalar(trained, 500, "evaluation/score", last));
            let run =
                Row::new().text("row", "run").text("scene", "s").text("autoscaler", "policy").count("trained", trained);
            let run = run.count("seed", 1).number("objective", trained as f64).number("violation_ratio", 0.5);
            rows.push(run.number("cost_usd", 2.0).number("paper_reward", f64::NAN));
        }
        Results { rows, missing: Vec::new() }
    }

    fn presented(results: &Results) -> Section {
        present(&All { own: results, others: BTreeMap::new(), config: TRAINING.config, size: Size::Full }).unwrap()
    }

    #[test]
    fn what_is_learnt_is_told_from_what_is_not() {
        let outcome = |scores| presented(&results(scores)).verdicts[0].outcome;
        assert_eq!(outcome([-0.9, -0.8, -0.85]), Outcome::Holds);
        assert_eq!(outcome([-0.2, -1.1, -1.05]), Outcome::InPart);
        assert_eq!(outcome([-1.1, -1.2, -1.3]), Outcome::DoesNotHold);
    }

    #[test]
    fn policies_are_tabled_with_the_spread_of_their_runs() {
        let section = presented(&results([-0.9, -0.8, -0.85]));
        let table = section.tables.iter().find(|table| table.name == "policies").unwrap();
        assert_eq!(table.rows.len(), 1);
        assert_eq!((table.rows[0][2].point(), table.rows[0][3].point()), (Some(2.0), Some(50.0)));
        assert_eq!((&table.rows[0][5], &table.rows[0][6]), (&Entry::Number(1.0), &Entry::Number(3.0)));
        // Every figure is of a table that is there.
        for figure in &section.figures {
            assert!(section.tables.iter().any(|table| table.name == figure.table), "{}", figure.name);
        }
    }

    #[test]
    fn configurations_of_every_size_are_read() {
        for size in Size::ALL {
            for experiment in [&TRAINING, &super::super::training_paper::TRAINING_PAPER] {
                let cells = (experiment.cells)(experiment.config, size).unwrap();
                assert!(!cells.is_empty());
                for cell in cells {
                    let crate::work::Work::Train(train) = cell.work else { panic!() };
                    train.configuration().unwrap();
                }
            }
        }
    }
}
