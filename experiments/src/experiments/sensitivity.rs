//! Would the ranking change if the simulator's parameters were wrong?

use std::path::Path;

use anyhow::{Context, Result};
use kiscaler_train::statistics::{Bootstrap, mean};
use kisim::config::Span;
use kisim::profile::Profile;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Deserialize;
use toml::{Table as Toml, Value};

use super::traces::{outcome, slug, table};
use crate::cell::{Cell, Row};
use crate::chart::{self, Frame};
use crate::experiment::{All, Entry, Experiment, Outcome, Section, Size, Table, Verdict, sized};
use crate::scene::{Scene, merge};
use crate::summary;
use crate::work::{Play, Work};

/// The experiment.
pub const SENSITIVITY: Experiment = Experiment {
    name: "sensitivity",
    title: "Were the simulator's parameters wrong",
    question: "Would the ranking of autoscalers change if pods started in half the time or twice it, service were 20 % faster or slower or \
               less regular, and clients more or less patient?",
    config: include_str!("../../configs/sensitivity.toml"),
    needs: &[],
    cells,
    present,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    scenes: Vec<String>,
    contenders: Vec<String>,
    variations: Vec<Variation>,
    seeds: u64,
    #[serde(default)]
    changes: Toml,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variation {
    name: String,
    cold_start: Option<f64>,
    service: Option<f64>,
    service_cv: Option<f64>,
    timeout: Option<f64>,
}

impl Variation {
    fn scene(&self, scene: &Scene) -> Result<Scene> {
        let scenario = scene.load(None)?;
        let mut changes = Toml::new();
        let mut pools = Toml::new();
        for (name, pool) in &scenario.pools {
            let mut own = Toml::new();
            if let Some(factor) = self.cold_start {
                // Without the probe's delay: that is the operator's choice.
                let load = Value::try_from(pool.startup.stages().load.scaled(factor))?;
                own.insert("startup".into(), Toml::from_iter([("load".to_owned(), load)]).into());
            }
            if self.service.is_some() || self.service_cv.is_some() {
                let profile = Profile::load(&pool.profile, Path::new("."))?;
                own.insert("profile".into(), self.profile(profile)?.into());
            }
            if !own.is_empty() {
                pools.insert(name.clone(), own.into());
            }
        }
        if !pools.is_empty() {
            changes.insert("pools".into(), pools.into());
        }
        if let Some(factor) = self.timeout {
            let own =
                scenario.client.timeout.with_context(|| format!("scene {}: found no client.timeout", scene.name))?;
            let timeout = Value::String(Span(own.0.mul_f64(factor)).to_string());
            changes.insert("client".into(), Toml::from_iter([("timeout".to_owned(), timeout)]).into());
        }
        let mut varied = Scene { name: self.scene_name(&scene.name), ..scene.clone() };
        merge(&mut varied.changes, &changes);
        Ok(varied)
    }

    /// A profile's text, which scenarios take in the place of its name.
    fn profile(&self, mut profile: Profile) -> Result<String> {
        let factor = self.service.unwrap_or(1.0);
        profile.latency_ms.iter_mut().for_each(|(_, ms)| *ms *= factor);
        if let Some(affine) = &mut profile.affine_ms {
            affine.fixed *= factor;
            affine.per_item *= factor;
        }
        profile.service_cv = self.service_cv.unwrap_or(profile.service_cv);
        Ok(toml::to_string(&profile)?)
    }

    fn scene_name(&self, scene: &str) -> String {
        format!("{scene}, {}", self.name)
    }
}

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config: Config = sized(text, size)?;
    let mut cells = Vec::new();
    for scenario in &config.scenes {
        let scene =
            Scene { name: scenario.clone(), scenario: scenario.clone(), changes: config.changes.clone(), trace: None };
        let mut scenes = vec![scene.clone()];
        for variation in &config.variations {
            scenes.push(variation.scene(&scene)?);
        }
        cells.extend(scenes.into_iter().map(|scene| Cell {
            name: slug(&scene.name),
            seconds: 0.04 * config.contenders.len() as f64 * config.seeds as f64,
            work: Work::Play(Play { scene, contenders: config.contenders.clone(), seeds: config.seeds, past: None }),
        }));
    }
    Ok(cells)
}

/// Objectives by contender and seed, in the contenders' order.
struct Objectives(Vec<Vec<f64>>);

impl Objectives {
    /// `None` where somebody did not play all seeds.
    fn of(rows: &[Row], contenders: &[String], scene: &str) -> Option<Objectives> {
        let of = |who: &String| -> Vec<f64> {
            let own = rows.iter().filter(|row| row.get_text("scene") == scene && row.get_text("autoscaler") == who);
            own.map(|row| row.get_number("objective")).collect()
        };
        let all: Vec<Vec<f64>> = contenders.iter().map(of).collect();
        let seeds = all.first().map_or(0, Vec::len);
        let whole = seeds > 0 && all.iter().all(|own| own.len() == seeds && own.iter().all(|x| x.is_finite()));
        whole.then_some(Objectives(all))
    }

    fn seeds(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// Mean objectives over the seeds drawn.
    fn means(&self, drawn: &[usize]) -> Vec<f64> {
        self.0.iter().map(|own| mean(&drawn.iter().map(|&seed| own[seed]).collect::<Vec<_>>())).collect()
    }
}

/// Kendall's τ (a) of two lists of scores: 1 where they rank alike, −1 where one is the reverse of the other. Ties count nothing.
fn kendall(a: &[f64], b: &[f64]) -> f64 {
    let pairs: Vec<(usize, usize)> = (0..a.len()).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
    let sign = |x: f64, y: f64| x.partial_cmp(&y).map_or(0.0, |order| f64::from(order as i8));
    let agreed: f64 = pairs.iter().map(|&(i, j)| sign(a[i], a[j]) * sign(b[i], b[j])).sum();
    agreed / pairs.len() as f64
}

fn first(scores: &[f64]) -> usize {
    (0..scores.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0)
}

/// A variation against the scene as it is.
struct Change {
    scene: String,
    variation: String,
    tau: Entry,
    /// Who is first, as it is and varied.
    firsts: (String, String),
    /// Share of draws of seeds in which the one who is first as it is is first when varied, too.
    stays: f64,
    /// The same where nothing is varied: how certain the first is at all.
    certain: f64,
}

impl Change {
    fn of(rows: &[Row], config: &Config, scene: &str, variation: &Variation) -> Option<Change> {
        let of = |scene: &str| Objectives::of(rows, &config.contenders, scene);
        let (base, varied) = (of(scene)?, of(&variation.scene_name(scene))?);
        let all: Vec<usize> = (0..base.seeds().min(varied.seeds())).collect();
        let tau = |drawn: &[Vec<usize>]| kendall(&base.means(&drawn.concat()), &varied.means(&drawn.concat()));
        let bootstrap = Bootstrap { repetitions: 2_000, ..Bootstrap::default() };
        let mut stream = Xoshiro256PlusPlus::seed_from_u64(1);
        let tau = match bootstrap.interval(std::slice::from_ref(&all), tau, &mut stream) {
            Ok(interval) if all.len() > 1 => Entry::Interval(interval),
            Ok(interval) => Entry::Number(interval.point),
            Err(_) => return None,
        };
        let (winner, now) = (first(&base.means(&all)), first(&varied.means(&all)));
        let (mut stays, mut certain) = (0, 0);
        for _ in 0..bootstrap.repetitions {
            let drawn: Vec<usize> = all.iter().map(|_| stream.random_range(0..all.len())).collect();
            stays += usize::from(first(&varied.means(&drawn)) == winner);
            certain += usize::from(first(&base.means(&drawn)) == winner);
        }
        let share = |count: usize| count as f64 / bootstrap.repetitions as f64;
        Some(Change {
            scene: scene.to_owned(),
            variation: variation.name.clone(),
            tau,
            firsts: (config.contenders[winner].clone(), config.contenders[now].clone()),
            stays: share(stays),
            certain: share(certain),
        })
    }
}

fn present(all: &All<'_>) -> Result<Section> {
    let config: Config = sized(all.config, all.size)?;
    let rows = &all.own.rows;
    let changes: Vec<Change> = config
        .scenes
        .iter()
        .flat_map(|scene| config.variations.iter().filter_map(|variation| Change::of(rows, &config, scene, variation)))
        .collect();
    let tau = tau_table(&changes, &config);
    let columns: Vec<&str> = tau.columns.iter().skip(1).map(String::as_str).collect();
    let frame = Frame {
        name: "tau",
        title: "Agreement of rankings with the scenario as it is",
        note: "Kendall's tau of mean objectives: 1 is the same ranking, −1 its reverse",
        caption: "How far the ranking of autoscalers with a parameter varied agrees with that of the scenario as it is.",
    };
    let figure = chart::heat(&tau, &frame, "traffic", &columns, "what is varied")?;
    Ok(Section {
        text: vec![format!(
            "{} autoscalers are ranked by their mean objective on each traffic as it is, and again with one of the simulator's parameters \
             wrong. A ranking that survives does not hang on that parameter. Where two are close the first changes by chance alone, so beside \
             how often he stays the first over seeds drawn anew stands how often he is it where nothing is varied.",
            config.contenders.len()
        )],
        verdicts: verdicts(&changes),
        tables: vec![firsts_table(&changes), tau, objectives_table(rows, &config)],
        figures: vec![figure],
    })
}

fn firsts_table(changes: &[Change]) -> Table {
    let columns = [
        "traffic",
        "what is varied",
        "Kendall's tau",
        "first as it is",
        "first when varied",
        "the first stays it (% of draws)",
        "… where nothing is varied (%)",
    ];
    let row = |change: &Change| {
        vec![
            Entry::Text(change.scene.clone()),
            Entry::Text(change.variation.clone()),
            change.tau.clone(),
            Entry::Text(change.firsts.0.clone()),
            Entry::Text(change.firsts.1.clone()),
            Entry::Number(100.0 * change.stays),
            Entry::Number(100.0 * change.certain),
        ]
    };
    table(
        "firsts",
        "Whether the ranking and its first change; intervals over seeds",
        &columns,
        changes.iter().map(row).collect(),
    )
}

fn tau_table(changes: &[Change], config: &Config) -> Table {
    let mut columns = vec!["traffic"];
    columns.extend(config.variations.iter().map(|variation| variation.name.as_str()));
    let rows = config.scenes.iter().map(|scene| {
        let of =
            |variation: &Variation| changes.iter().find(|own| own.scene == *scene && own.variation == variation.name);
        let tau = |variation| of(variation).map_or(Entry::Empty, |change| change.tau.clone());
        std::iter::once(Entry::Text(scene.clone())).chain(config.variations.iter().map(tau)).collect()
    });
    table("tau", "Kendall's tau of the ranking with that of the scenario as it is", &columns, rows.collect())
}

fn objectives_table(rows: &[Row], config: &Config) -> Table {
    let mut columns = vec!["traffic", "what is varied"];
    columns.extend(config.contenders.iter().map(String::as_str));
    let mut lines = Vec::new();
    for scene in &config.scenes {
        let varied = config.variations.iter().map(|variation| (variation.name.as_str(), variation.scene_name(scene)));
        for (name, own) in std::iter::once(("nothing", scene.clone())).chain(varied) {
            let mut line = vec![Entry::Text(scene.clone()), Entry::Text(name.to_owned())];
            line.extend(config.contenders.iter().map(|who| {
                let runs = rows.iter().filter(|row| row.get_text("scene") == own && row.get_text("autoscaler") == who);
                summary::value(&runs.collect::<Vec<_>>(), "objective")
            }));
            lines.push(line);
        }
    }
    table("objectives", "The objective, lower is better", &columns, lines)
}

fn verdicts(changes: &[Change]) -> Vec<Verdict> {
    let holds = changes.iter().filter(|change| change.firsts.0 == change.firsts.1).count();
    let other = changes.iter().filter(|change| change.firsts.0 != change.firsts.1);
    let other: Vec<String> = other
        .map(|change| {
            let Change { scene, variation, firsts, stays, .. } = change;
            format!(
                "{scene} with {variation}: {} instead of {}, who stays first in {:.0} % of draws",
                firsts.1,
                firsts.0,
                100.0 * stays
            )
        })
        .collect();
    let lowest =
        changes.iter().filter_map(|change| Some((change.tau.point()?, change))).min_by(|a, b| a.0.total_cmp(&b.0));
    let because = match lowest {
        None => "nothing was played".to_owned(),
        Some((tau, change)) => format!(
            "the first is the same in {holds} of {}{}{}; the least agreement is a tau of {} ({} with {})",
            changes.len(),
            if other.is_empty() { "" } else { ". Not on " },
            other.join("; "),
            kisim::report::number(tau),
            change.scene,
            change.variation
        ),
    };
    let outcome = if lowest.is_none() { Outcome::NotTestable } else { outcome(holds, changes.len()) };
    vec![Verdict {
        claim: "Ours: who is best does not depend on the simulator's parameters within what is varied here".into(),
        outcome,
        because,
    }]
}

#[cfg(test)]
mod tests {
    use super::super::traces::{presented, run};
    use super::*;

    #[test]
    fn kendalls_tau_by_hand() {
        let base = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(kendall(&base, &[10.0, 20.0, 30.0, 40.0]), 1.0);
        assert_eq!(kendall(&base, &[4.0, 3.0, 2.0, 1.0]), -1.0);
        // One of six pairs is turned round; a tie counts nothing.
        assert!((kendall(&base, &[2.0, 1.0, 3.0, 4.0]) - 4.0 / 6.0).abs() < 1e-12);
        assert!((kendall(&base, &[1.0, 1.0, 3.0, 4.0]) - 5.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn variations_are_what_they_say() {
        let config: Config = sized(SENSITIVITY.config, Size::Full).unwrap();
        let base = Scene { name: "x".into(), scenario: "llm-periodic".into(), changes: Toml::new(), trace: None };
        let scenario = base.load(None).unwrap();
        let own = kisim::prepared::Prepared::new(scenario.clone()).unwrap();
        for variation in &config.variations {
            let varied = variation.scene(&base).unwrap().load(None).unwrap();
            let other = kisim::prepared::Prepared::new(varied.clone()).unwrap();
            let ratio = |a: f64, b: f64, expected: Option<f64>| {
                assert!((a / b - expected.unwrap_or(1.0)).abs() < 1e-3, "{}: {a} over {b}", variation.name);
            };
            let (a, b) = (&other.pools[0], &own.pools[0]);
            ratio(a.setup.stages.load.mean_secs(), b.setup.stages.load.mean_secs(), variation.cold_start);
            ratio(a.spec.service_ns[32], b.spec.service_ns[32], variation.service);
            assert_eq!(a.spec.spread != b.spec.spread, variation.service_cv.is_some(), "{}", variation.name);
            let seconds = |scenario: &kisim::scenario::Scenario| scenario.client.timeout.unwrap().as_secs_f64();
            ratio(seconds(&varied), seconds(&scenario), variation.timeout);
        }
    }

    #[test]
    fn a_change_of_the_first_is_seen() {
        let config: Config = sized(SENSITIVITY.config, Size::Tiny).unwrap();
        let mut rows = Vec::new();
        for seed in 1..=3 {
            let mut add = |scene: &str, objectives: [f64; 3]| {
                for (who, objective) in config.contenders.iter().zip(objectives) {
                    rows.push(run(scene, who, seed, objective + 0.1 * seed as f64, 0.0, 1.0));
                }
            };
            add("llm-periodic", [1.0, 3.0, 2.0]);
            for (number, variation) in config.variations.iter().enumerate() {
                let turned = if number == 0 { [3.0, 1.0, 2.0] } else { [1.5, 3.0, 2.5] };
                add(&variation.scene_name("llm-periodic"), turned);
            }
        }
        let section = presented(&SENSITIVITY, rows);
        let firsts = &section.tables[0].rows;
        assert_eq!((firsts[0][2].point(), firsts[1][2].point()), (Some(-1.0), Some(1.0)));
        assert_eq!(firsts[0][4], Entry::Text("hpa".into()));
        assert_eq!((&firsts[0][5], &firsts[1][5]), (&Entry::Number(0.0), &Entry::Number(100.0)));
        assert_eq!(section.verdicts[0].outcome, Outcome::InPart);
        assert!(section.verdicts[0].because.contains("6 of 7"), "{}", section.verdicts[0].because);
        assert_eq!(presented(&SENSITIVITY, Vec::new()).verdicts[0].outcome, Outcome::NotTestable);
    }
}
