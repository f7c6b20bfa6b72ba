//! Late requests against cost.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kiscaler_train::statistics::Bootstrap;
use kisim::pareto::{LEVELS, cost_at, dominated_area};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Deserialize;
use toml::Table as Toml;

use super::traces::{outcome, table};
use crate::cell::{Cell, Row};
use crate::chart::{self, Frame, Scatter};
use crate::experiment::{All, Entry, Experiment, Figure, Section, Size, Table, Verdict, sized};
use crate::scene::Scene;
use crate::summary;
use crate::work::{Play, Work};

/// The experiment.
pub const FRONTIER: Experiment = Experiment {
    name: "frontier",
    title: "Late requests against cost",
    question: "What does each level of late requests cost, over everybody's own trade-off, and does one checkpoint serve every wish between \
               latency and cost?",
    config: include_str!("../../configs/frontier.toml"),
    needs: &[],
    cells,
    present,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    scenes: Vec<String>,
    contenders: Vec<String>,
    factors: Vec<f64>,
    seeds: u64,
    #[serde(default)]
    changes: Toml,
    #[serde(default)]
    run_seconds: BTreeMap<String, f64>,
}

/// The contender with a factor on its headroom.
fn at(who: &str, factor: f64) -> String {
    format!("{who} at {factor}")
}

/// The contender and the factor again.
fn split(name: &str) -> (&str, f64) {
    match name.rsplit_once(" at ") {
        Some((who, factor)) => (who, factor.parse().unwrap_or(f64::NAN)),
        None => (name, 1.0),
    }
}

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config: Config = sized(text, size)?;
    let mut cells = Vec::new();
    for scene in &config.scenes {
        for who in &config.contenders {
            let run = config.run_seconds.get(scene).copied().unwrap_or(0.03);
            cells.push(Cell {
                name: format!("{scene}.{}", super::traces::slug(who)),
                seconds: run * config.factors.len() as f64 * config.seeds as f64,
                work: Work::Play(Play {
                    scene: Scene {
                        name: scene.clone(),
                        scenario: scene.clone(),
                        changes: config.changes.clone(),
                        trace: None,
                    },
                    contenders: config.factors.iter().map(|&factor| at(who, factor)).collect(),
                    seeds: config.seeds,
                    past: None,
                }),
            });
        }
    }
    Ok(cells)
}

/// Means over the seeds drawn, by setting: (share of late requests, cost).
type Points = Vec<(f64, f64)>;

/// A contender's settings on a scene.
struct Sweep<'a> {
    scene: String,
    who: String,
    /// By factor, ascending.
    settings: Vec<(f64, Vec<&'a Row>)>,
    /// Those that all settings have.
    seeds: Vec<u64>,
}

impl<'a> Sweep<'a> {
    fn all(rows: &'a [Row]) -> Vec<Sweep<'a>> {
        let mut sweeps: Vec<Sweep<'a>> = Vec::new();
        for group in summary::groups(rows, &["scene", "autoscaler"]) {
            let (who, factor) = split(&group.key[1]);
            let place = sweeps.iter().position(|sweep| sweep.scene == group.key[0] && sweep.who == who);
            let place = place.unwrap_or_else(|| {
                let seeds = group.rows.iter().map(|row| row.get_number("seed") as u64).collect();
                sweeps.push(Sweep { scene: group.key[0].clone(), who: who.to_owned(), settings: Vec::new(), seeds });
                sweeps.len() - 1
            });
            sweeps[place].settings.push((factor, group.rows));
        }
        sweeps.iter_mut().for_each(|sweep| sweep.settings.sort_by(|a, b| a.0.total_cmp(&b.0)));
        sweeps
    }

    /// Means over `seeds`, which may be drawn several times.
    fn points(&self, seeds: &[u64]) -> Points {
        let mean = |rows: &[&Row], column: &str| {
            let value = |seed: &u64| {
                rows.iter()
                    .find(|row| row.get_number("seed") as u64 == *seed)
                    .map_or(f64::NAN, |row| row.get_number(column))
            };
            seeds.iter().map(value).sum::<f64>() / seeds.len() as f64
        };
        self.settings
            .iter()
            .map(|(_, rows)| (mean(rows, "violation_ratio"), mean(rows, "cost_usd") / mean(rows, "hours")))
            .collect()
    }

    /// A figure of the points, with its interval over seeds drawn anew; empty where it is not known for some draw.
    fn entry(&self, figure: impl Fn(&Points) -> Option<f64>) -> Entry {
        let of = |strata: &[Vec<u64>]| figure(&self.points(&strata.concat())).unwrap_or(f64::NAN);
        let strata = [self.seeds.clone()];
        let point = of(&strata);
        if !point.is_finite() {
            return Entry::Empty;
        }
        let mut stream = Xoshiro256PlusPlus::seed_from_u64(1);
        let bootstrap = Bootstrap { repetitions: 1_000, ..Bootstrap::default() };
        match bootstrap.interval(&strata, of, &mut stream) {
            Ok(interval) if self.seeds.len() > 1 => Entry::Interval(interval),
            _ => Entry::Number(point),
        }
    }
}

const LATE: &str = "late requests (%)";
const COST: &str = "cost (US$/h)";

fn present(all: &All<'_>) -> Result<Section> {
    let sweeps = Sweep::all(&all.own.rows);
    let points = points_table(&sweeps);
    let scenes: Vec<String> = summary::groups(&all.own.rows, &["scene"]).into_iter().map(|g| g.key.concat()).collect();
    let figures = scenes.iter().map(|scene| figure(&points, scene)).collect::<Result<_>>()?;
    let costs = costs_table(&sweeps);
    Ok(Section {
        text: vec![
            "A pair of numbers does not say who is better: whoever keeps more pods has fewer late requests. So everybody is played over \
             factors on the headroom, and what is compared are the lines. The policy is one checkpoint, which is told what a saved dollar \
             counts; rules are as they come. The cost at a level of late requests lies on the straight line between neighbours on somebody's own frontier, \
             and is not named where all settings are above the level or all below. The dominated area is measured from the worst of anybody on that traffic: \
             1 would be no late requests at no cost."
                .to_owned(),
        ],
        verdicts: vec![verdict(&sweeps)],
        tables: vec![costs, points],
        figures,
    })
}

fn points_table(sweeps: &[Sweep<'_>]) -> Table {
    let mut rows = Vec::new();
    for sweep in sweeps {
        let own = sweep.points(&sweep.seeds);
        let on = kisim::pareto::frontier(&own);
        for ((factor, runs), on) in sweep.settings.iter().zip(on) {
            let hourly: Vec<f64> =
                runs.iter().map(|row| row.get_number("cost_usd") / row.get_number("hours")).collect();
            rows.push(vec![
                Entry::Text(sweep.scene.clone()),
                Entry::Text(sweep.who.clone()),
                Entry::Number(*factor),
                summary::value(runs, "violation_ratio").scaled(100.0),
                summary::of_values(&hourly, false),
                Entry::Text(if on { "yes" } else { "no" }.into()),
            ]);
        }
    }
    let columns = ["traffic", "autoscaler", "factor on the headroom", LATE, COST, "on its own frontier"];
    table("points", "Every setting; intervals over seeds", &columns, rows)
}

/// The corner that areas are measured from: the worst of anybody on the scene.
fn corner(sweeps: &[Sweep<'_>], scene: &str) -> (f64, f64) {
    let points = sweeps.iter().filter(|sweep| sweep.scene == scene).flat_map(|sweep| sweep.points(&sweep.seeds));
    points.fold((0.0, 0.0), |worst: (f64, f64), point| (worst.0.max(point.0), worst.1.max(point.1)))
}

fn costs_table(sweeps: &[Sweep<'_>]) -> Table {
    let rows = sweeps.iter().map(|sweep| {
        let corner = corner(sweeps, &sweep.scene);
        let mut row = vec![Entry::Text(sweep.scene.clone()), Entry::Text(sweep.who.clone())];
        row.extend(LEVELS.map(|level| sweep.entry(|points| cost_at(points, level))));
        row.push(sweep.entry(|points| dominated_area(points, corner)));
        row
    });
    let columns = ["traffic", "autoscaler", "cost at 1 % late (US$/h)", "cost at 5 % late (US$/h)", "dominated area"];
    table("costs", "What levels of late requests cost on everybody's own frontier", &columns, rows.collect())
}

/// Late requests, percent, up to which settings are drawn: nobody runs a service beyond, and a few of them would leave no room for the
/// others.
const DRAWN: f64 = 20.0;

fn figure(points: &Table, scene: &str) -> Result<Figure> {
    let late = points.columns.iter().position(|column| column == LATE).context("no column of late requests")?;
    let own = |row: &&Vec<Entry>| row[0] == Entry::Text(scene.to_owned());
    let own: Vec<Vec<Entry>> = points.rows.iter().filter(own).cloned().collect();
    let drawn = |row: &&Vec<Entry>| row[late].point().is_some_and(|late| late <= DRAWN);
    let within: Vec<Vec<Entry>> = own.iter().filter(drawn).cloned().collect();
    // Where nobody is within, all is better than nothing.
    let (rows, left_out) = match within.is_empty() {
        true => (own, String::new()),
        false => (within, format!(" Settings with more than {DRAWN} % of late requests are in the table alone.")),
    };
    let part = Table { rows, ..points.clone() };
    let frame = Frame {
        name: &super::traces::slug(scene),
        title: &format!("Late requests against cost on {scene}"),
        note: "each point a factor on the headroom, mean over seeds with 95 % intervals; left and down is better",
        caption: &format!(
            "Everybody on {scene} over the factors; points of one are joined in the order of their factors.{left_out}"
        ),
    };
    chart::scatter(
        &part,
        &frame,
        Scatter { x: (COST, false), y: (LATE, false), by: "autoscaler", joined: true, diagonal: false },
    )
}

/// What it costs to have no more late requests than `level`; where all settings have fewer, the cheapest of them.
fn reached(points: &[(f64, f64)], level: f64) -> Option<f64> {
    let fewer = || points.iter().filter(|point| point.0 <= level).map(|point| point.1).min_by(f64::total_cmp);
    cost_at(points, level).or_else(fewer)
}

fn verdict(sweeps: &[Sweep<'_>]) -> Verdict {
    let (mut asked, mut holds, mut why) = (0, 0, Vec::new());
    for ours in sweeps.iter().filter(|sweep| sweep.who.starts_with("policy")) {
        let rules = |sweep: &&Sweep<'_>| sweep.scene == ours.scene && sweep.who != ours.who && sweep.who != "foresight";
        for level in LEVELS {
            let cost = |sweep: &Sweep<'_>| reached(&sweep.points(&sweep.seeds), level);
            let rivals = sweeps.iter().filter(rules).filter_map(|sweep| Some((cost(sweep)?, &sweep.who)));
            let Some((best, rival)) = rivals.min_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
            let percent = 100.0 * level;
            let number = kisim::report::number;
            asked += 1;
            match cost(ours) {
                Some(own) if own <= best => {
                    holds += 1;
                    why.push(format!(
                        "{} at {percent} %: {} $/h against {} of {rival}",
                        ours.scene,
                        number(own),
                        number(best)
                    ));
                }
                Some(own) => why.push(format!(
                    "not {} at {percent} %: {} $/h against {} of {rival}",
                    ours.scene,
                    number(own),
                    number(best)
                )),
                None => why.push(format!(
                    "not {} at {percent} %: no setting of the policy has as few, {rival} needs {} $/h",
                    ours.scene,
                    number(best)
                )),
            }
        }
    }
    Verdict {
        claim: "Ours: one checkpoint, told what a dollar counts, reaches 1 % and 5 % of late requests at no more cost than any rule over its headroom".into(),
        outcome: outcome(holds, asked),
        because: if why.is_empty() { "no rule reached these levels".into() } else { why.join("; ") },
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::{presented, run};
    use super::*;
    use crate::experiment::Outcome;

    /// Late requests and hourly cost of settings, each with two seeds that are as far below as above.
    fn rows(who: &str, settings: &[(f64, f64, f64)]) -> Vec<Row> {
        let runs = settings.iter().flat_map(|&(factor, late, cost)| {
            [(1, 0.9), (2, 1.1)].map(|(seed, f)| run("a", &at(who, factor), seed, 1.0, f * late, 2.0 * f * cost))
        });
        runs.collect()
    }

    #[test]
    fn whoever_is_always_below_a_level_reaches_it_at_the_cheapest() {
        assert_eq!(reached(&[(0.04, 3.0), (0.02, 5.0)], 0.05), Some(3.0));
        assert_eq!(reached(&[(0.04, 3.0), (0.02, 5.0)], 0.03), Some(4.0));
        assert_eq!(reached(&[(0.04, 3.0), (0.02, 5.0)], 0.01), None);
    }

    #[test]
    fn costs_lie_between_neighbours() {
        let mut all = rows("policy after 1h", &[(0.5, 0.09, 1.0), (1.0, 0.03, 2.0), (2.0, 0.005, 4.0)]);
        all.extend(rows("hpa", &[(1.0, 0.07, 2.0), (2.0, 0.03, 4.0)]));
        let sweeps = Sweep::all(&all);
        assert_eq!(sweeps.len(), 2);
        // From (9 %, 1 $) to (3 %, 2 $): 5 % are two thirds of the way; from (3 %, 2 $) to (0.5 %, 4 $): 1 % four fifths.
        let costs = |sweep: &Sweep<'_>| LEVELS.map(|level| cost_at(&sweep.points(&sweep.seeds), level));
        let near = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?}");
        near(costs(&sweeps[0])[0], 2.0 + 0.8 * 2.0);
        near(costs(&sweeps[0])[1], 1.0 + 2.0 / 3.0);
        assert_eq!(costs(&sweeps[1])[0], None);
        near(costs(&sweeps[1])[1], 3.0);
        let section = presented(&FRONTIER, all);
        // At 1 % no rule is there to compare with.
        assert_eq!(section.verdicts[0].outcome, Outcome::Holds);
        assert_eq!(section.tables[0].rows[1][2], Entry::Empty);
        let area = section.tables[0].rows[1][4].point().unwrap();
        // The corner is (9 %, 4 $): (9 − 7) · (4 − 2) of 36.
        assert!((area - 4.0 / 36.0).abs() < 1e-9, "{area}");
        assert_eq!(section.figures.len(), 1);
        assert_eq!(presented(&FRONTIER, Vec::new()).verdicts[0].outcome, Outcome::NotTestable);
    }
}
