//! The four published traffic patterns.

use anyhow::Result;
use serde::Deserialize;

use crate::cell::{Cell, Row};
use crate::chart::{self, Axis, Frame, Lines, Series};
use crate::experiment::{All, Entry, Experiment, Section, Size, Table, sized};
use crate::scene::Scene;
use crate::summary::of_values;
use crate::work::{Timeline, Work};

/// The four published traffic patterns.
pub const PATTERNS: Experiment = Experiment {
    name: "patterns",
    title: "Workload patterns",
    question: "What do the four published patterns look like, and what latency do they meet on the published testbed? (The paper's \
               figure of workload patterns: users over time, P95 beside them.)",
    config: include_str!("../../configs/patterns.toml"),
    needs: &[],
    cells,
    present,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    contender: String,
    patterns: Vec<String>,
    stretch_s: f64,
    seeds: u64,
}

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config: Config = sized(text, size)?;
    let cell = |pattern: &String| {
        let scene = Scene { name: pattern.clone(), scenario: format!("paper:{pattern}"), ..Scene::default() };
        let timeline = Timeline { scene, contender: config.contender.clone(), seeds: config.seeds };
        Cell { name: pattern.clone(), seconds: 0.1 * config.seeds as f64, work: Work::Timeline(timeline) }
    };
    Ok(config.patterns.iter().map(cell).collect())
}

const COLUMNS: [&str; 4] = ["time, min", "users", "served, requests/s", "P95, ms"];

fn present(all: &All<'_>) -> Result<Section> {
    let config: Config = sized(all.config, all.size)?;
    let mut section = Section::default();
    for pattern in &config.patterns {
        let mut stretches: Vec<(u64, Vec<&Row>)> = Vec::new();
        let mut rows: Vec<&Row> = all.own.with(&[("scene", pattern.as_str())]).collect();
        rows.sort_by(|a, b| a.get_number("time_s").total_cmp(&b.get_number("time_s")));
        for row in rows {
            let stretch = ((row.get_number("time_s") - 1e-9) / config.stretch_s) as u64;
            match stretches.last_mut() {
                Some((last, own)) if *last == stretch => own.push(row),
                _ => stretches.push((stretch, vec![row])),
            }
        }
        let mut table = Table {
            name: pattern.clone(),
            caption: format!("The pattern {pattern}: users, what was served, and the P95 of the latency."),
            columns: COLUMNS.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        };
        for (stretch, rows) in stretches {
            let over_seeds = |column: &str| {
                let mut seeds: std::collections::BTreeMap<u64, Vec<f64>> = std::collections::BTreeMap::new();
                for row in &rows {
                    seeds.entry(row.get_number("seed") as u64).or_default().push(row.get_number(column));
                }
                let means: Vec<f64> = seeds.values().map(|own| own.iter().sum::<f64>() / own.len() as f64).collect();
                of_values(&means, false)
            };
            let minutes = (stretch + 1) as f64 * config.stretch_s / 60.0;
            let columns = ["users", "completion_rps", "p95_ms"].map(over_seeds);
            table.rows.push(std::iter::once(Entry::Number(minutes)).chain(columns).collect());
        }
        let frame = Frame {
            name: pattern,
            title: pattern,
            note: &format!(
                "{} on the published testbed; mean over {} seeds and its 95 % interval",
                config.contender, config.seeds
            ),
            caption: &format!("The pattern {pattern}: users over time, and the latency they meet."),
        };
        let panel =
            |title, column| Lines { title, series: Series::Columns(column), axis: Axis::default(), level: None };
        let panels =
            [panel("Users", &["users"]), panel("Served", &["served, requests/s"]), panel("Latency", &["P95, ms"])];
        section.figures.push(chart::lines(&table, &frame, COLUMNS[0], &panels)?);
        section.tables.push(table);
    }
    let highest =
        section.tables.iter().flat_map(|table| &table.rows).filter_map(|row| row[3].point()).fold(f64::NAN, f64::max);
    section.text.push(format!(
        "Users are closed-loop clients: each sends, waits for the answer, and thinks for 1 to 2 s. {} seeds; bands are 95 % intervals over \
         seeds. Latencies are what a request meets in the simulated servers: a P95 of at most {} ms. The published baselines of the same \
         testbed have a P95 of 370 to 6,700 ms, which was mostly the load generator's own: one process that encoded 3 MB of JSON for every \
         request.",
        config.seeds,
        kisim::report::number(highest)
    ));
    Ok(section)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::results::Results;

    #[test]
    fn stretches_are_means_of_their_scrapes_and_intervals_are_over_seeds() {
        let row = |seed: u64, time_s: f64, p95: f64| {
            let row = Row::new().text("scene", "spike").count("seed", seed).number("time_s", time_s);
            row.number("users", 10.0).number("completion_rps", 6.0).number("p95_ms", p95)
        };
        // Of the first 30 s: seed 1 has 2 and 4, seed 2 has 10 and 12; of the next, one number each.
        let rows = vec![
            row(1, 15.0, 2.0),
            row(1, 30.0, 4.0),
            row(1, 45.0, 1.0),
            row(2, 15.0, 10.0),
            row(2, 30.0, 12.0),
            row(2, 45.0, 1.0),
        ];
        let own = Results { rows, missing: Vec::new() };
        let text = "contender = 'c'\npatterns = ['spike']\nstretch_s = 30.0\n[quick]\nseeds = 2";
        let all = All { own: &own, others: BTreeMap::new(), config: text, size: Size::Quick };
        let table = present(&all).unwrap().tables.remove(0);
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[0][0], Entry::Number(0.5));
        let first = table.rows[0][3].interval().unwrap();
        assert_eq!((first.point, first.low, first.high), (7.0, 3.0, 11.0));
        assert_eq!(table.rows[1][3].point(), Some(1.0));
        assert_eq!(table.rows[0][1].point(), Some(10.0));
    }
}
