//! Trained on, tested on.

use anyhow::Result;
use kiscaler_train::training::traffic::Family;
use serde::Deserialize;
use toml::{Table as Toml, Value};

use super::traces::{OURS, outcome, slug, table};
use crate::cell::{Cell, Row};
use crate::chart::{self, Axis, Frame, Series};
use crate::experiment::{All, Entry, Experiment, Outcome, Section, Size, Table, Verdict, sized};
use crate::scene::{Scene, merge};
use crate::summary;
use crate::work::train::Base;
use crate::work::{Play, Train, Work};

/// The experiment.
pub const ZERO_SHOT: Experiment = Experiment {
    name: "zero-shot",
    title: "Trained on, tested on",
    question: "What is a policy worth on patterns, rates, models, GPUs, cold starts and traces that its training had nothing of, and what \
               does it lose where a part of its training is left out? (The paper's \"unseen traffic without retraining\".)",
    config: include_str!("../../configs/zero-shot.toml"),
    needs: &[],
    cells,
    present,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    contenders: Vec<String>,
    policies: Vec<String>,
    axes: Vec<HeldOut>,
    trainings: Vec<Training>,
    tests: Vec<Scene>,
    /// Names of axes and trainings to do; all if empty.
    #[serde(default)]
    axes_of: Vec<String>,
    #[serde(default)]
    trainings_of: Vec<String>,
    /// Of every scene.
    #[serde(default)]
    changes: Toml,
    /// Of every training.
    overrides: Toml,
    training_seeds: u64,
    training_seconds: f64,
    seeds: u64,
}

/// In what something is new.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldOut {
    name: String,
    saw: String,
    scenes: Vec<Tested>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tested {
    tested: String,
    scene: Scene,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Training {
    name: String,
    /// Families of load that are left out.
    #[serde(default)]
    without: Vec<Family>,
    #[serde(default)]
    overrides: Toml,
    /// The scene that is about what is left out.
    #[serde(default)]
    about: String,
}

impl Config {
    fn of(text: &str, size: Size) -> Result<Config> {
        let mut config: Config = sized(text, size)?;
        let chosen = |only: &[String], name: &String| only.is_empty() || only.contains(name);
        config.axes.retain(|axis| chosen(&config.axes_of, &axis.name));
        config.trainings.retain(|training| chosen(&config.trainings_of, &training.name));
        let about: Vec<&str> = config.trainings.iter().map(|training| training.about.as_str()).collect();
        config.tests.retain(|scene| about.contains(&scene.name.as_str()));
        let scenes = config.axes.iter_mut().flat_map(|axis| &mut axis.scenes).map(|tested| &mut tested.scene);
        for scene in scenes.chain(&mut config.tests) {
            merge(&mut scene.changes, &config.changes);
        }
        Ok(config)
    }
}

impl Training {
    fn overrides(&self, common: &Toml) -> Result<Toml> {
        let mut all = common.clone();
        merge(&mut all, &self.overrides);
        if !self.without.is_empty() {
            let families: Vec<Family> =
                Family::ALL.into_iter().filter(|family| !self.without.contains(family)).collect();
            let own = Toml::from_iter([("families".to_owned(), Value::try_from(families)?)]);
            merge(&mut all, &Toml::from_iter([("distribution".to_owned(), own.into())]));
        }
        Ok(all)
    }

    fn cell(&self, seed: u64) -> String {
        format!("trained.{}.{seed}", slug(&self.name))
    }
}

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config = Config::of(text, size)?;
    let mut cells = Vec::new();
    for tested in config.axes.iter().flat_map(|axis| &axis.scenes) {
        cells.push(Cell {
            name: format!("shipped.{}", slug(&tested.scene.name)),
            seconds: 0.1 * config.contenders.len() as f64 * config.seeds as f64,
            work: Work::Play(Play {
                scene: tested.scene.clone(),
                contenders: config.contenders.clone(),
                seeds: config.seeds,
                past: None,
            }),
        });
    }
    for training in &config.trainings {
        for seed in 1..=config.training_seeds {
            let play = |scene: &Scene| Play {
                scene: scene.clone(),
                contenders: config.policies.clone(),
                seeds: config.seeds,
                past: None,
            };
            cells.push(Cell {
                name: training.cell(seed),
                seconds: config.training_seconds,
                work: Work::Train(Train {
                    config: Base::Default,
                    overrides: training.overrides(&config.overrides)?,
                    seed,
                    episodes: 0,
                    then: config.tests.iter().map(play).collect(),
                }),
            });
        }
    }
    Ok(cells)
}

/// Runs of the policy that ships and its rivals.
fn shipped<'a>(rows: &'a [Row], scene: &str, who: &str) -> Vec<&'a Row> {
    let own = rows.iter().filter(|row| row.get_text("cell").starts_with("shipped."));
    own.filter(|row| row.get_text("scene") == scene && row.get_text("autoscaler") == who).collect()
}

/// Runs of policies of a training.
fn trained<'a>(rows: &'a [Row], config: &Config, training: &Training, scene: &str) -> Vec<&'a Row> {
    let cells: Vec<String> = (1..=config.training_seeds).map(|seed| training.cell(seed)).collect();
    let own =
        rows.iter().filter(|row| row.get_text("row") == "run" && cells.iter().any(|cell| cell == row.get_text("cell")));
    own.filter(|row| row.get_text("scene") == scene && row.get_text("autoscaler") == OURS).collect()
}

fn present(all: &All<'_>) -> Result<Section> {
    let config = Config::of(all.config, all.size)?;
    let rows = &all.own.rows;
    let held_out = shipped_table(rows, &config);
    let matrix = matrix_table(rows, &config);
    let frame = Frame {
        name: "held-out",
        title: "The shipped policy on what its training had nothing of",
        note: "objective over that of the predictive rule as it comes; 95 % intervals over seeds",
        caption: "Left of 1 is better than the predictive rule as it comes, on the same arrivals. Nobody here is tuned to anything.",
    };
    let series = Series::By { by: "autoscaler", value: RATIO };
    let forest = chart::forest(
        &held_out,
        &frame,
        "tested on",
        series,
        Axis { label: "", log: true },
        Some((1.0, "predictive")),
    )?;
    let columns: Vec<&str> = matrix.columns.iter().skip(1).map(String::as_str).collect();
    let frame = Frame {
        name: "matrix",
        title: "What leaving something out of training costs (%)",
        note: "objective of the policy after an hour against that of the same training with everything; negative is better",
        caption: "Rows are what was trained on, columns what was tested on. Were what is left out needed, the cell that is about it would stand out.",
    };
    let heat = chart::heat(&matrix, &frame, "trained on", &columns, "tested on")?;
    Ok(Section {
        text: vec![
            "The policy that ships is played where something lies outside its training: pattern, rate, model and GPU, cold start, recorded \
             traces. Nobody is tuned, so this is what one gets without knowing the traffic."
                .to_owned(),
            format!(
                "Then policies are trained without a part of the distribution, {} run{} each, and compared with those of the same length and seed \
                 that were trained on everything. These trainings are shorter than that of the policy that ships, so its level is not to be expected, \
                 and a difference of few runs is an indication.",
                config.training_seeds,
                if config.training_seeds == 1 { "" } else { "s" }
            ),
        ],
        verdicts: vec![shipped_verdict(rows, &config), matrix_verdict(rows, &config)],
        tables: vec![objectives_table(rows, &config), matrix, trained_table(rows, &config), held_out],
        figures: vec![forest, heat],
    })
}

const RATIO: &str = "objective over predictive's";

fn objectives_table(rows: &[Row], config: &Config) -> Table {
    let mut columns = vec!["new in", "in training", "tested on"];
    columns.extend(config.contenders.iter().map(String::as_str));
    let mut lines = Vec::new();
    for axis in &config.axes {
        for tested in &axis.scenes {
            let mut line: Vec<Entry> =
                [&axis.name, &axis.saw, &tested.tested].into_iter().cloned().map(Entry::Text).collect();
            line.extend(
                config
                    .contenders
                    .iter()
                    .map(|who| summary::value(&shipped(rows, &tested.scene.name, who), "objective")),
            );
            lines.push(line);
        }
    }
    table("objectives", "The objective of the shipped policy and untuned rules, lower is better", &columns, lines)
}

fn shipped_table(rows: &[Row], config: &Config) -> Table {
    let mut lines = Vec::new();
    for axis in &config.axes {
        for tested in &axis.scenes {
            let predictive = shipped(rows, &tested.scene.name, "predictive");
            for who in config.contenders.iter().filter(|who| *who != "predictive") {
                lines.push(vec![
                    Entry::Text(format!("{}: {}", axis.name, tested.tested)),
                    Entry::Text(who.clone()),
                    summary::times(&predictive, &shipped(rows, &tested.scene.name, who), "objective"),
                ]);
            }
        }
    }
    table(
        "held-out",
        "Objective over that of the predictive rule as it comes, paired by seed",
        &["tested on", "autoscaler", RATIO],
        lines,
    )
}

/// The training that leaves nothing out.
fn everything(config: &Config) -> Option<&Training> {
    config.trainings.iter().find(|training| training.about.is_empty())
}

fn against_everything(rows: &[Row], config: &Config, training: &Training, scene: &str) -> Entry {
    let Some(everything) = everything(config) else { return Entry::Empty };
    let theirs = trained(rows, config, everything, scene);
    summary::relative(&trained(rows, config, training, scene), &theirs, "objective").scaled(100.0)
}

fn matrix_table(rows: &[Row], config: &Config) -> Table {
    let mut columns = vec!["trained on"];
    columns.extend(config.tests.iter().map(|scene| scene.name.as_str()));
    let lines = config.trainings.iter().filter(|training| !training.about.is_empty()).map(|training| {
        let of = |scene: &Scene| against_everything(rows, config, training, &scene.name);
        std::iter::once(Entry::Text(training.name.clone())).chain(config.tests.iter().map(of)).collect()
    });
    let caption = "By how much the objective is above that of policies trained on everything (%), paired by training seed and arrivals";
    table("matrix", caption, &columns, lines.collect())
}

fn trained_table(rows: &[Row], config: &Config) -> Table {
    let mut columns = vec!["trained on"];
    columns.extend(config.tests.iter().map(|scene| scene.name.as_str()));
    let lines = config.trainings.iter().map(|training| {
        let of = |scene: &Scene| summary::value(&trained(rows, config, training, &scene.name), "objective");
        std::iter::once(Entry::Text(training.name.clone())).chain(config.tests.iter().map(of)).collect()
    });
    table("trained", "The objective of the policies trained here, after an hour at work", &columns, lines.collect())
}

fn shipped_verdict(rows: &[Row], config: &Config) -> Verdict {
    let (mut holds, mut asked, mut why) = (0, 0, Vec::new());
    for tested in config.axes.iter().flat_map(|axis| &axis.scenes) {
        let scene = &tested.scene.name;
        let rules = ["hpa", "keda", "kpa", "predictive"]
            .into_iter()
            .filter_map(|rule| Some((summary::value(&shipped(rows, scene, rule), "objective").point()?, rule)));
        let Some((_, best)) = rules.min_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
        let difference =
            summary::relative(&shipped(rows, scene, OURS), &shipped(rows, scene, best), "objective").scaled(100.0);
        let Some(percent) = difference.point() else { continue };
        asked += 1;
        holds += usize::from(percent <= 0.0);
        let certain = if difference.is_below(0.0) || difference.is_above(0.0) { "" } else { ", not certain" };
        why.push(format!("{} {} % against {best}{certain}", tested.tested, kisim::report::number(percent)));
    }
    Verdict {
        claim: "The paper's \"unseen traffic without retraining\", as it can be tested: the shipped policy after an hour has no higher mean \
                objective than the best of four rules as they come, wherever something is new to it"
            .into(),
        outcome: outcome(holds, asked),
        because: if why.is_empty() { "nothing was played".into() } else { format!("on {holds} of {asked}: {}", why.join("; ")) },
    }
}

fn matrix_verdict(rows: &[Row], config: &Config) -> Verdict {
    let (mut holds, mut asked, mut why) = (0, 0, Vec::new());
    for training in config.trainings.iter().filter(|training| !training.about.is_empty()) {
        let cell = against_everything(rows, config, training, &training.about);
        let Some(percent) = cell.point() else { continue };
        asked += 1;
        // Within a tenth: less than what runs of the same training differ by.
        holds += usize::from(percent <= 10.0);
        why.push(format!("{} on {}: {} %", training.name, training.about, kisim::report::number(percent)));
    }
    Verdict {
        claim:
            "Ours: leaving a part out of training raises the objective on traffic of that part by no more than a tenth"
                .into(),
        outcome: if asked == 0 { Outcome::NotTestable } else { outcome(holds, asked) },
        because: if why.is_empty() { "no such policy was trained".into() } else { why.join("; ") },
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::{presented, run};
    use super::*;

    fn rows() -> Vec<Row> {
        let config = Config::of(ZERO_SHOT.config, Size::Tiny).unwrap();
        let mut rows = Vec::new();
        for seed in 1..=2 {
            for scene in config.axes.iter().flat_map(|axis| &axis.scenes).map(|tested| &tested.scene.name) {
                // Better than the best rule on one pattern, worse on all others.
                let ours = if scene == "llm-ramp" { 1.8 } else { 2.2 };
                for (who, objective) in [(OURS, ours), ("hpa", 3.0), ("predictive", 2.0)] {
                    let row = Row::new().text("cell", format!("shipped.{}", slug(scene)));
                    rows.push(Row([row.0, run(scene, who, seed, objective, 0.0, 1.0).0].concat()));
                }
            }
            for (training, objective) in config.trainings.iter().zip([1.0, 1.3]) {
                let row = Row::new().text("cell", training.cell(1)).text("row", "run");
                rows.push(Row([row.0, run("llm-ramp", OURS, seed, objective, 0.0, 1.0).0].concat()));
            }
        }
        rows
    }

    #[test]
    fn the_matrix_is_relative_to_the_training_on_everything() {
        let section = presented(&ZERO_SHOT, rows());
        let table = |name: &str| section.tables.iter().find(|table| table.name == name).unwrap();
        let matrix = table("matrix");
        assert_eq!((matrix.rows.len(), matrix.columns.len()), (1, 2));
        assert!((matrix.rows[0][1].point().unwrap() - 30.0).abs() < 1e-9);
        assert_eq!(section.verdicts[1].outcome, Outcome::DoesNotHold);
        let held_out = table("held-out");
        assert!((held_out.rows[0][2].point().unwrap() - 0.9).abs() < 1e-9);
        assert_eq!(section.verdicts[0].outcome, Outcome::InPart);
        assert!(section.verdicts[0].because.starts_with("on 1 of 5"), "{}", section.verdicts[0].because);
        assert!(presented(&ZERO_SHOT, Vec::new()).verdicts.iter().all(|v| v.outcome == Outcome::NotTestable));
    }

    #[test]
    fn what_is_left_out_is_left_out() {
        for cell in cells(ZERO_SHOT.config, Size::Full).unwrap() {
            let Work::Train(train) = cell.work else { continue };
            let (config, _) = train.configuration().unwrap();
            let missing = Family::ALL.len() - config.distribution.families.len();
            assert_eq!(config.distribution.families.contains(&Family::Ramp), !cell.name.contains("no-ramps"));
            assert!(missing <= 3 && (missing > 0) == cell.name.contains(".no-"), "{}: {missing}", cell.name);
            assert_eq!(config.distribution.cold_start_s.1 == 20.0, cell.name.contains("cold-starts"));
        }
    }
}
