//! What becomes of everybody when metrics and machines misbehave.

use anyhow::Result;
use serde::Deserialize;
use toml::Table as Toml;

use super::traces::{OURS, outcome, slug, table};
use crate::cell::{Cell, Row};
use crate::chart::{self, Axis, Frame, Lines, Series};
use crate::experiment::{All, Entry, Experiment, Section, Size, Table, Verdict, sized};
use crate::scene::{Scene, merge};
use crate::summary;
use crate::work::{Play, Work};

/// The experiment.
pub const ROBUSTNESS: Experiment = Experiment {
    name: "robustness",
    title: "Bad metrics and bad machines",
    question: "How much worse does everybody get when scrapes are lost or late, pods crash and nodes are slow?",
    config: include_str!("../../configs/robustness.toml"),
    needs: &[],
    cells,
    present,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    scenes: Vec<String>,
    contenders: Vec<String>,
    disturbances: Vec<Disturbance>,
    seeds: u64,
    #[serde(default)]
    changes: Toml,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disturbance {
    name: String,
    levels: Vec<Level>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    label: String,
    changes: Toml,
}

impl Config {
    /// Every disturbance with its levels, from 1.
    fn levels(&self) -> impl Iterator<Item = (&Disturbance, usize, &Level)> {
        self.disturbances
            .iter()
            .flat_map(|own| own.levels.iter().enumerate().map(move |(at, level)| (own, at + 1, level)))
    }

    fn scene(&self, scenario: &str, disturbed: Option<(&str, usize, &Level)>) -> Scene {
        let mut scene = Scene {
            name: scenario.to_owned(),
            scenario: scenario.to_owned(),
            changes: self.changes.clone(),
            trace: None,
        };
        if let Some((name, at, level)) = disturbed {
            scene.name = disturbed_name(scenario, name, at);
            merge(&mut scene.changes, &level.changes);
        }
        scene
    }
}

fn disturbed_name(scenario: &str, disturbance: &str, level: usize) -> String {
    format!("{scenario}, {disturbance} {level}")
}

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config: Config = sized(text, size)?;
    let mut cells = Vec::new();
    for scenario in &config.scenes {
        let disturbed = config.levels().map(|(own, at, level)| config.scene(scenario, Some((&own.name, at, level))));
        for scene in std::iter::once(config.scene(scenario, None)).chain(disturbed) {
            cells.push(Cell {
                name: slug(&scene.name),
                seconds: 0.04 * config.contenders.len() as f64 * config.seeds as f64,
                work: Work::Play(Play {
                    scene,
                    contenders: config.contenders.clone(),
                    seeds: config.seeds,
                    past: None,
                }),
            });
        }
    }
    Ok(cells)
}

/// Runs of `who` under a disturbance, or none, with the scenario for a scene: they pair with the undisturbed ones.
fn runs(rows: &[Row], config: &Config, who: &str, disturbed: Option<(&str, usize)>) -> Vec<Row> {
    let mut found = Vec::new();
    for scenario in &config.scenes {
        let scene = disturbed.map_or_else(|| scenario.clone(), |(name, level)| disturbed_name(scenario, name, level));
        for row in rows.iter().filter(|row| row.get_text("autoscaler") == who && row.get_text("scene") == scene) {
            let mut row = row.clone();
            row.0.retain(|(column, _)| column != "scene");
            found.push(row.text("scene", scenario));
        }
    }
    found
}

fn refs(rows: &[Row]) -> Vec<&Row> {
    rows.iter().collect()
}

fn present(all: &All<'_>) -> Result<Section> {
    let config: Config = sized(all.config, all.size)?;
    let rows = &all.own.rows;
    let increases = increases_table(rows, &config);
    let columns: Vec<String> = config.disturbances.iter().map(|own| increase_column(&own.name)).collect();
    let panels: Vec<Lines<'_>> = config
        .disturbances
        .iter()
        .zip(&columns)
        .map(|(own, column)| Lines {
            title: &own.name,
            series: Series::By { by: "autoscaler", value: column },
            axis: Axis { label: "objective (%)", log: false },
            level: Some((0.0, "undisturbed")),
        })
        .collect();
    let frame = Frame {
        name: "levels",
        title: "How much worse the objective gets",
        note: "against the same autoscaler on the same arrivals undisturbed; bands are 95 % intervals over seeds",
        caption: "Each by how much its objective rises over its own undisturbed one, by the level of the disturbance; the table of levels \
                  says what they are. Low and flat is robust.",
    };
    let figure = chart::lines(&increases, &frame, LEVEL, &panels)?;
    Ok(Section {
        text: vec![format!(
            "Everybody is played on {} undisturbed and with each disturbance at three levels, with the same arrivals. What is shown is \
                 the share by which somebody's objective rises over its own undisturbed one: whoever is bad to begin with has less to lose, so \
                 the objectives themselves stand beside it.",
            config.scenes.join(" and ")
        )],
        tables: vec![objectives_table(rows, &config), increases, levels_table(&config)],
        figures: vec![figure],
        verdicts: verdicts(rows, &config),
    })
}

const LEVEL: &str = "level of the disturbance";

fn increase_column(disturbance: &str) -> String {
    format!("{disturbance}: objective (%)")
}

fn increases_table(rows: &[Row], config: &Config) -> Table {
    let names: Vec<String> = config.disturbances.iter().map(|own| increase_column(&own.name)).collect();
    let mut columns = vec![LEVEL, "autoscaler"];
    columns.extend(names.iter().map(String::as_str));
    let most = config.disturbances.iter().map(|own| own.levels.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for who in &config.contenders {
        let undisturbed = runs(rows, config, who, None);
        for level in 0..=most {
            let mut line = vec![Entry::Number(level as f64), Entry::Text(who.clone())];
            line.extend(config.disturbances.iter().map(|own| match level {
                0 => Entry::Number(0.0),
                _ => {
                    let disturbed = runs(rows, config, who, Some((&own.name, level)));
                    summary::relative(&refs(&disturbed), &refs(&undisturbed), "objective").scaled(100.0)
                }
            }));
            lines.push(line);
        }
    }
    table("increases", "By how much the objective rises over the same autoscaler's undisturbed one", &columns, lines)
}

fn objectives_table(rows: &[Row], config: &Config) -> Table {
    let mut columns = vec!["disturbance", "level"];
    columns.extend(config.contenders.iter().map(String::as_str));
    let line = |name: &str, label: &str, disturbed: Option<(&str, usize)>| {
        let mut line = vec![Entry::Text(name.to_owned()), Entry::Text(label.to_owned())];
        line.extend(
            config.contenders.iter().map(|who| summary::value(&refs(&runs(rows, config, who, disturbed)), "objective")),
        );
        line
    };
    let disturbed = config.levels().map(|(own, at, level)| line(&own.name, &level.label, Some((&own.name, at))));
    let lines = std::iter::once(line("none", "", None)).chain(disturbed).collect();
    table("objectives", "The objective, lower is better: mean over traffic and seeds", &columns, lines)
}

fn levels_table(config: &Config) -> Table {
    let line = |(own, at, level): (&Disturbance, usize, &Level)| {
        vec![Entry::Text(own.name.clone()), Entry::Number(at as f64), Entry::Text(level.label.clone())]
    };
    table("levels", "What the levels are", &["disturbance", "level", "is"], config.levels().map(line).collect())
}

fn verdicts(rows: &[Row], config: &Config) -> Vec<Verdict> {
    let ours = config.contenders.iter().find(|who| *who == OURS).or_else(|| config.contenders.first());
    let rules: Vec<&String> = config.contenders.iter().filter(|who| !who.starts_with("policy")).collect();
    let (mut best, mut steadiest) = (Vec::new(), Vec::new());
    for (own, at) in config.disturbances.iter().map(|own| (own, own.levels.len())) {
        let of = |who: &String| runs(rows, config, who, Some((&own.name, at)));
        let increase = |who: &String| {
            summary::relative(&refs(&of(who)), &refs(&runs(rows, config, who, None)), "objective").point()
        };
        let objective = |who: &String| summary::value(&refs(&of(who)), "objective").point();
        let Some(ours) = ours else { continue };
        let least = |figure: &dyn Fn(&String) -> Option<f64>| {
            rules.iter().filter_map(|rule| Some((figure(rule)?, *rule))).min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let number = kisim::report::number;
        if let (Some(mine), Some((theirs, rule))) = (objective(ours), least(&objective)) {
            best.push((mine <= theirs, format!("{} {} against {} of {rule}", own.name, number(mine), number(theirs))));
        }
        if let (Some(mine), Some((theirs, rule))) = (increase(ours), least(&increase)) {
            let percent = |share: f64| number(100.0 * share);
            steadiest.push((
                mine <= theirs,
                format!("{} {} % against {} % of {rule}", own.name, percent(mine), percent(theirs)),
            ));
        }
    }
    let verdict = |claim: &str, asked: Vec<(bool, String)>| Verdict {
        claim: claim.to_owned(),
        outcome: outcome(asked.iter().filter(|(holds, _)| *holds).count(), asked.len()),
        because: match asked.is_empty() {
            true => "nothing was played".to_owned(),
            false => asked
                .into_iter()
                .map(|(holds, why)| if holds { why } else { format!("not under {why}") })
                .collect::<Vec<_>>()
                .join("; "),
        },
    };
    vec![
        verdict(
            "Ours: at its worst, no disturbance leaves the policy with a higher objective than the best rule as it comes",
            best,
        ),
        verdict(
            "Ours: at its worst, no disturbance raises the policy's objective by a larger share than the steadiest rule's",
            steadiest,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::traces::{presented, run};
    use super::*;
    use crate::experiment::Outcome;

    #[test]
    fn increases_are_over_ones_own_undisturbed_run() {
        let config: Config = sized(ROBUSTNESS.config, Size::Tiny).unwrap();
        let mut rows = Vec::new();
        for seed in 1..=2 {
            let mut add = |scene: String, who: &str, objective: f64| {
                rows.push(run(&scene, who, seed, objective * seed as f64, 0.0, 1.0));
            };
            add("llm-periodic".into(), "policy", 1.0);
            add("llm-periodic".into(), "predictive", 2.0);
            for (own, at, _) in config.levels() {
                add(disturbed_name("llm-periodic", &own.name, at), "policy", 1.0 + 0.5 * at as f64);
                add(disturbed_name("llm-periodic", &own.name, at), "predictive", 2.0 + 0.2 * at as f64);
            }
        }
        let section = presented(&ROBUSTNESS, rows);
        let increases = section.tables.iter().find(|table| table.name == "increases").unwrap();
        let last = &increases.rows[3];
        assert_eq!((&last[0], &last[1]), (&Entry::Number(3.0), &Entry::Text("policy".into())));
        assert!(last[2..].iter().all(|entry| (entry.point().unwrap() - 150.0).abs() < 1e-9), "{last:?}");
        // 2.5 against 2.6, but two and a half times as much against 1.3 times.
        let outcomes: Vec<Outcome> = section.verdicts.iter().map(|verdict| verdict.outcome).collect();
        assert_eq!(outcomes, [Outcome::Holds, Outcome::DoesNotHold]);
        assert_eq!(presented(&ROBUSTNESS, Vec::new()).verdicts[0].outcome, Outcome::NotTestable);
    }
}
