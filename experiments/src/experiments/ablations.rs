//! Parts of the design, left out one at a time.

use anyhow::{Result, ensure};
use serde::Deserialize;
use toml::Table as Fields;

use crate::cell::{Cell, Row};
use crate::chart::{self, Axis, Frame, Series};
use crate::experiment::{All, Entry, Experiment, Outcome, Section, Size, Table, Verdict, sized};
use crate::scene::{Scene, merge};
use crate::summary::{groups, relative, value};
use crate::work::train::Base;
use crate::work::{Play, Train, Work};

/// Parts of the design, left out one at a time.
pub const ABLATIONS: Experiment = Experiment {
    name: "ablations",
    title: "Ablations",
    question: "Which parts of how the policy learns earn their keep? Each is left out or changed on its own, with the same number of \
               steps, and judged on traffic that no training saw. (Ours.)",
    config: include_str!("../../configs/ablations.toml"),
    needs: &[],
    cells,
    present,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    scenes: Vec<Scene>,
    contenders: Vec<String>,
    /// What all differ in from the built-in configuration.
    budget: Fields,
    variant: Vec<Variant>,
    seeds: u64,
    run_seeds: u64,
    seconds: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    name: String,
    /// What tables call it.
    says: String,
    overrides: Fields,
}

/// What everything is compared with.
const REFERENCE: &str = "reference";

impl Config {
    fn read(text: &str, size: Size) -> Result<Config> {
        let mut config: Config = sized(text, size)?;
        let reserved =
            config.variant.iter().any(|variant| variant.name == REFERENCE || variant.name.contains("-seed-"));
        ensure!(!reserved, "field variant.name: found {REFERENCE:?} or one with \"-seed-\", expected another name");
        let reference = Variant { name: REFERENCE.into(), says: "everything".into(), overrides: Fields::new() };
        config.variant.insert(0, reference);
        Ok(config)
    }
}

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config = Config::read(text, size)?;
    let cell = |variant: &Variant, seed: u64| {
        let mut overrides = config.budget.clone();
        merge(&mut overrides, &variant.overrides);
        let play = |scene: &Scene| Play {
            scene: scene.clone(),
            contenders: config.contenders.clone(),
            seeds: config.run_seeds,
            past: None,
        };
        let then = config.scenes.iter().map(play).collect();
        let train = Train { config: Base::Default, overrides, seed, episodes: 0, then };
        Cell { name: format!("{}-seed-{seed}", variant.name), seconds: config.seconds, work: Work::Train(train) }
    };
    Ok(config.variant.iter().flat_map(|variant| (1..=config.seeds).map(|seed| cell(variant, seed))).collect())
}

fn present(all: &All<'_>) -> Result<Section> {
    let config = Config::read(all.config, all.size)?;
    let runs: Vec<&Row> = all.own.with(&[("row", "run")]).collect();
    let of = |variant: &str, contender: &str| -> Vec<&Row> {
        let own = runs.iter().copied().filter(|row| {
            let cell = row.get_text("cell");
            cell.rsplit_once("-seed-").is_some_and(|(name, _)| name == variant)
                && row.get_text("autoscaler") == contender
        });
        own.collect()
    };
    let mut section = Section::default();
    section.text.push(format!(
        "{} training runs of each, with the seeds that the reference has, too; differences are of the same training seed, scene and arrivals. \
         Everybody takes the same number of steps, a fraction of what the built-in configuration takes: what needs more of them to pay is \
         judged too harshly here. Intervals over {} runs a scene are narrow (they hold the truth less than 95 times in 100): take one that \
         barely excludes zero for a hint.",
        config.seeds, config.seeds
    ));
    section.text.push(
        "Not here: the published observations and actions, whose policy cannot be played on these scenes (training-paper and performance \
         have them on the published testbed), and the leading rule without a policy, which the experiment traces has."
            .to_owned(),
    );

    let mut table = Table {
        name: "ablations".into(),
        caption: "The objective relative to the reference, over all scenes: above zero is worse.".into(),
        columns: ["variant", "policy", "objective against the reference, %"].map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    let mut by_scene = Table {
        name: "scenes".into(),
        caption: "The objective relative to the reference by scene, %: above zero is worse.".into(),
        columns: std::iter::once("variant".to_owned())
            .chain(config.scenes.iter().map(|scene| scene.name.clone()))
            .collect(),
        rows: Vec::new(),
    };
    let mut values = Table {
        name: "objectives".into(),
        caption: "Objectives: interquartile means over training runs.".into(),
        columns: ["variant", "policy", "traffic", "objective", "late, %", "cost, $"].map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    // What is judged: after an hour, where that is played.
    let judged = config.contenders.last().map_or("policy", String::as_str);
    let (mut dear, mut same, mut better) = (Vec::new(), Vec::new(), Vec::new());
    for variant in &config.variant {
        let says = || Entry::Text(variant.says.clone());
        for contender in &config.contenders {
            let own = of(&variant.name, contender);
            for group in groups(own.iter().copied(), &["scene"]) {
                let [objective, late, cost] =
                    ["objective", "violation_ratio", "cost_usd"].map(|column| value(&group.rows, column));
                let names = [says(), Entry::Text(contender.clone()), Entry::Text(group.key[0].clone())];
                values.rows.push(names.into_iter().chain([objective, late.scaled(100.0), cost]).collect());
            }
            if variant.name == REFERENCE {
                continue;
            }
            let difference = relative(&own, &of(REFERENCE, contender), "objective").scaled(100.0);
            table.rows.push(vec![says(), Entry::Text(contender.clone()), difference.clone()]);
            if contender != judged {
                continue;
            }
            let said = format!("{} ({} %)", variant.says, chart::text(&difference));
            match () {
                () if difference.is_above(0.0) => dear.push(said),
                () if difference.is_below(0.0) => better.push(said),
                () => same.push(said),
            }
            let cells = config.scenes.iter().map(|scene| {
                let on = |rows: Vec<&Row>| -> Vec<Row> {
                    rows.into_iter().filter(|row| row.get_text("scene") == scene.name).cloned().collect()
                };
                let (own, reference) = (on(own.clone()), on(of(REFERENCE, contender)));
                relative(&own.iter().collect::<Vec<_>>(), &reference.iter().collect::<Vec<_>>(), "objective")
                    .scaled(100.0)
            });
            by_scene.rows.push(std::iter::once(says()).chain(cells).collect());
        }
    }
    let frame = Frame {
        name: "ablations",
        title: "What it costs to leave something out",
        note: &format!(
            "objective against the reference, mean over scenes, {} training runs each; bars: 95 %",
            config.seeds
        ),
        caption: "The objective of each variant relative to the reference. Right of zero: worse without.",
    };
    let series = Series::By { by: "policy", value: "objective against the reference, %" };
    section.figures.push(chart::forest(&table, &frame, "variant", series, Axis::default(), Some((0.0, "reference")))?);
    section.tables.push(table);
    let frame = Frame {
        name: "scenes",
        title: "By scene",
        note: &format!("{judged}: objective against the reference, %; above zero is worse"),
        caption: "The objective of each variant relative to the reference, by scene.",
    };
    let columns: Vec<&str> = config.scenes.iter().map(|scene| scene.name.as_str()).collect();
    section.figures.push(chart::heat(&by_scene, &frame, "variant", &columns, "scene")?);
    section.tables.push(by_scene);
    section.tables.push(values);

    let outcome = match () {
        () if dear.is_empty() && same.is_empty() && better.is_empty() => Outcome::NotTestable,
        () if same.is_empty() && better.is_empty() => Outcome::Holds,
        () if dear.is_empty() => Outcome::DoesNotHold,
        () => Outcome::InPart,
    };
    let listed = |what: &[String]| if what.is_empty() { "none".to_owned() } else { what.join("; ") };
    section.verdicts.push(Verdict {
        claim: "Ours: every part of how the policy learns that is tried here earns its keep".into(),
        outcome,
        because: format!(
            "of {judged}, by the objective against the reference. Worse: {}. No difference that can be told: {}. Better: {}",
            listed(&dear),
            listed(&same),
            listed(&better)
        ),
    });
    Ok(section)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::results::Results;

    #[test]
    fn what_is_left_out_is_judged_against_the_same_training_seeds() {
        let config = "scenes = [{ name = 'a', scenario = 'default' }, { name = 'b', scenario = 'default' }]
            contenders = ['policy after 1h']
            budget = {}
            seconds = 1.0
            run_seeds = 1
            variant = [
                { name = 'worse', says = 'worse', overrides = {} },
                { name = 'alike', says = 'alike', overrides = {} },
                { name = 'better', says = 'better', overrides = {} },
            ]
            [quick]
            seeds = 4";
        let mut rows = Vec::new();
        for (variant, factor) in [("reference", 1.0), ("worse", 1.1), ("alike", 1.0), ("better", 0.9)] {
            for scene in ["a", "b"] {
                for trained in 1..=4u64 {
                    // Training runs differ by far more than variants do, and only pairs tell.
                    let wobble = if variant == "alike" { 0.01 * (trained as f64 - 2.5) } else { 0.0 };
                    let row = Row::new().text("cell", format!("{variant}-seed-{trained}")).text("row", "run");
                    let row = row.text("scene", scene).text("autoscaler", "policy after 1h").count("trained", trained);
                    let row = row.count("seed", 1).number("objective", trained as f64 * (factor + wobble));
                    rows.push(row.number("violation_ratio", 0.1).number("cost_usd", 1.0));
                }
            }
        }
        let own = Results { rows, missing: Vec::new() };
        let section = present(&All { own: &own, others: BTreeMap::new(), config, size: Size::Quick }).unwrap();
        let table = &section.tables[0];
        let point = |row: usize| table.rows[row][2].point().unwrap();
        assert!((point(0) - 10.0).abs() < 1e-9 && point(1).abs() < 1e-9 && (point(2) + 10.0).abs() < 1e-9);
        let verdict = &section.verdicts[0];
        assert_eq!(verdict.outcome, Outcome::InPart);
        let expected = ["Worse: worse (", "told: alike (", "Better: better ("];
        assert!(expected.iter().all(|text| verdict.because.contains(text)), "{}", verdict.because);
        assert_eq!(section.tables[1].rows[0].len(), 3);
    }

    #[test]
    fn every_variant_is_a_configuration_with_as_many_steps() {
        for size in Size::ALL {
            let mut steps = Vec::new();
            for cell in cells(ABLATIONS.config, size).unwrap() {
                let Work::Train(train) = cell.work else { panic!() };
                let ppo = train.configuration().unwrap().0.ppo;
                steps.push(ppo.updates() * ppo.rollout() as u64);
            }
            assert!(steps.iter().all(|own| *own == steps[0]), "{size:?}: {steps:?}");
        }
    }
}
