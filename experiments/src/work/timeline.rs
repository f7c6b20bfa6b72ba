//! A run in the course of time.

use std::sync::Arc;

use anyhow::Result;
use kiscaler_train::contenders;
use kisim::compare::{compare, seeds_from};
use kisim::prepared::Prepared;
use kisim::traffic::Load;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::cell::Row;
use crate::scene::Scene;

/// A rule on a scene, scrape by scrape. Columns of a row: `scene`, `autoscaler`, `seed`, `time_s` (the end of the scrape's
/// interval), `users` (where clients are users: how many there are), `arrival_rps`, `completion_rps`, `p50_ms`, `p95_ms`,
/// `p99_ms`, and for each pool `ready_POOL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// Where.
    pub scene: Scene,
    /// Who, by a name of `kisim compare`.
    pub contender: String,
    /// How many seeds, derived from the scenario's.
    pub seeds: u64,
}

impl Timeline {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<Row>> {
        let scenario = self.scene.load(context.traces)?;
        let contender = contenders::rival(&self.contender, None, &scenario)?;
        let prepared: Arc<Prepared> = Prepared::new(scenario)?;
        let scenario = &prepared.scenario;
        let mut rows = Vec::new();
        let seeds = seeds_from(scenario.seed, self.seeds as usize);
        for (number, &seed) in seeds.iter().enumerate() {
            let told = |within: f64| (context.progress)((number as f64 + within) / seeds.len() as f64);
            // A comparison keeps the timeline of its first seed.
            let result = compare(&prepared, std::slice::from_ref(&contender), seed, 1, &told)?;
            let schedule = match scenario.traffic.load(&scenario.base, prepared.seconds(), seed)? {
                Load::Closed(users) => users.schedule().to_vec(),
                Load::Open(_) => Vec::new(),
            };
            let users = |time_s: f64| {
                let before = schedule.iter().take_while(|(from, _)| (*from as f64) * 1e-9 < time_s).last();
                before.map_or(f64::NAN, |(_, users)| f64::from(*users))
            };
            let optional = |value: Option<f64>| value.unwrap_or(f64::NAN);
            for own in result.autoscalers.iter().flat_map(|autoscaler| &autoscaler.rows) {
                let mut row = Row::new()
                    .text("scene", &scenario.name)
                    .text("autoscaler", &self.contender)
                    .count("seed", seed)
                    .number("time_s", own.time_s)
                    .number("users", users(own.time_s))
                    .number("arrival_rps", own.arrival_rate)
                    .number("completion_rps", own.completion_rate)
                    .number("p50_ms", optional(own.p50_ms))
                    .number("p95_ms", optional(own.p95_ms))
                    .number("p99_ms", optional(own.p99_ms));
                for pool in &own.pools {
                    row = row.number(&format!("ready_{}", pool.name), f64::from(pool.ready));
                }
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_the_published_ramp_and_latencies_the_runs() {
        let scene: Scene =
            toml::from_str("name = 'ramp'\nscenario = 'paper:ramp'\nchanges = { duration = '6m' }").unwrap();
        let own = Timeline { scene, contender: "fixed:gpu=1+cpu=3".into(), seeds: 2 };
        let scratch = tempfile::tempdir().unwrap();
        let context = Context { traces: None, scratch: scratch.path(), progress: &|_| true };
        let rows = own.run(&context).unwrap();
        let at = |row: &Row, column: &str| row.get_number(column);
        // 20 steps from 1 to 100 in 20 minutes: within the first 6 minutes, steps 1 to 6 of 1 + 99 · i / 19.
        for row in &rows {
            let step = ((at(row, "time_s") - 1e-9) / 60.0).floor();
            assert_eq!(at(row, "users"), (1.0 + 99.0 * step / 19.0).round(), "{row:?}");
        }
        let seeds: std::collections::BTreeSet<u64> = rows.iter().map(|row| at(row, "seed") as u64).collect();
        assert_eq!(seeds.len(), 2);
        // A closed loop: a user sends every 1.5 s and a latency.
        let last = rows.iter().rfind(|row| at(row, "time_s") == 360.0).unwrap();
        let expected = at(last, "users") / (1.5 + at(last, "p50_ms") / 1e3);
        assert!((at(last, "arrival_rps") / expected - 1.0).abs() < 0.3, "{last:?}");
        assert!(at(last, "p95_ms") >= at(last, "p50_ms"));
    }
}
