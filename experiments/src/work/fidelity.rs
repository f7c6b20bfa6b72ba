//! The simulator against what is known: closed forms, and a measured server.

use anyhow::{Result, ensure};
use kisim::calibrate::{LoadFitOptions, LoadRow, Offered, Params, Prediction, ServerSettings, fit_load_sweep, predict};
use kisim::config::Span;
use kisim::validate::{checks, online_table, run_checks};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::cell::Row;

/// A part of the comparison. Its rows say in the column `row` what they are:
///
/// | `row` | columns |
/// | --- | --- |
/// | `theory` | `check`, `source`, `expected`, `simulated`, `half_width` (of the 95 % interval), `within` (`yes`, `no`) |
/// | `measured` | `profile`, `concurrency`, `fitted` (`yes`, `no`), and `measured_` and `predicted_` of `rps`, `mean_ms`, `p50_ms`, `p95_ms`, `p99_ms`, empty where unknown |
/// | `parameters` | `profile`, `fixed_ms`, `per_item_ms`, `overhead_ms` |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "against", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fidelity {
    /// Checks of `kisim validate`, those whose number modulo `parts` is `part`.
    Theory {
        /// Which of the parts, from 0.
        part: usize,
        /// Of how many.
        parts: usize,
        /// A third of the requests.
        quick: bool,
        /// Seed.
        seed: u64,
    },
    /// The measured table, by the profile of the batch sweep of one client.
    BatchSweep {
        /// Seed.
        seed: u64,
    },
    /// The measured table, by a profile that is fitted to some of its rows.
    LoadSweep {
        /// What the profile is called.
        profile: String,
        /// The table.
        measured: Vec<Measured>,
        /// Concurrencies of the rows that it is fitted to.
        fitted: Vec<u32>,
        /// The server's `max_batch_size`.
        max_batch: usize,
    },
}

/// A row of a measured load sweep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Requests kept in flight.
    pub concurrency: u32,
    /// Answers a second.
    pub rps: f64,
    /// Mean latency, ms.
    pub mean_ms: f64,
    /// Median latency, ms.
    pub p50_ms: f64,
    /// 95th percentile, ms.
    pub p95_ms: f64,
    /// 99th percentile, ms.
    pub p99_ms: f64,
}

/// Where the search for a server's parameters begins; it finds its way from a tenth to ten times of it.
const START: Params = Params { fixed_ms: 2.0, per_item_ms: 0.2, overhead_ms: 0.5, service_cv: 0.05 };

impl Fidelity {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<Row>> {
        match self {
            Fidelity::Theory { part, parts, quick, seed } => {
                let own: Vec<_> = checks(*quick)
                    .into_iter()
                    .enumerate()
                    .filter(|(n, _)| n % parts == *part)
                    .map(|(_, c)| c)
                    .collect();
                let found = run_checks(&own, *seed, context.progress)?;
                let row = |found: kisim::validate::Finding| {
                    Row::new()
                        .text("row", "theory")
                        .text("check", found.name)
                        .text("source", found.source)
                        .number("expected", found.expected)
                        .number("simulated", found.simulated)
                        .number("half_width", found.half_width)
                        .text("within", if found.ok { "yes" } else { "no" })
                };
                Ok(found.into_iter().map(row).collect())
            }
            Fidelity::BatchSweep { seed } => {
                let row = |own: kisim::validate::DataRow| {
                    measured("batch sweep, one client", own.concurrency, false)
                        .number("measured_rps", own.measured_throughput)
                        .number("predicted_rps", own.predicted_throughput)
                        .number("measured_mean_ms", own.measured_mean_ms)
                        .number("predicted_mean_ms", own.predicted_mean_ms)
                        .number("measured_p95_ms", own.measured_p95_ms)
                        .number("predicted_p95_ms", own.predicted_p95_ms)
                };
                Ok(online_table(*seed)?.into_iter().map(row).collect())
            }
            Fidelity::LoadSweep { profile, measured: table, fitted, max_batch } => {
                let server = ServerSettings { max_batch: *max_batch, max_queue_delay: Span::default(), instances: 1 };
                let rows: Vec<LoadRow> = table.iter().enumerate().map(|(line, row)| row.load(line)).collect();
                let own: Vec<LoadRow> = rows.iter().copied().filter(|row| is_in(row, fitted)).collect();
                ensure!(
                    own.len() == fitted.len(),
                    "fidelity, field fitted: found {fitted:?}, expected concurrencies of the measured table"
                );
                let told = |params: &Params, row: &LoadRow| -> Prediction { predict(params, row, &server) };
                let fit = fit_load_sweep(&own, &LoadFitOptions::from_start(START), told)?;
                ensure!((context.progress)(0.9), "interrupted");
                let mut all = vec![
                    Row::new()
                        .text("row", "parameters")
                        .text("profile", profile)
                        .number("fixed_ms", fit.params.fixed_ms)
                        .number("per_item_ms", fit.params.per_item_ms)
                        .number("overhead_ms", fit.params.overhead_ms),
                ];
                for (row, known) in rows.iter().zip(table) {
                    let predicted = predict(&fit.params, row, &server);
                    all.push(
                        measured(profile, known.concurrency, is_in(row, fitted))
                            .number("measured_rps", known.rps)
                            .number("predicted_rps", predicted.throughput)
                            .number("measured_p50_ms", known.p50_ms)
                            .number("predicted_p50_ms", predicted.p50_ms)
                            .number("measured_p95_ms", known.p95_ms)
                            .number("predicted_p95_ms", predicted.p95_ms)
                            .number("measured_p99_ms", known.p99_ms)
                            .number("predicted_p99_ms", predicted.p99_ms),
                    );
                }
                Ok(all)
            }
        }
    }
}

fn measured(profile: &str, concurrency: u32, fitted: bool) -> Row {
    let row = Row::new().text("row", "measured").text("profile", profile);
    row.count("concurrency", u64::from(concurrency)).text("fitted", if fitted { "yes" } else { "no" })
}

fn is_in(row: &LoadRow, concurrencies: &[u32]) -> bool {
    matches!(row.offered, Offered::Concurrency(users) if concurrencies.contains(&users))
}

impl Measured {
    fn load(&self, line: usize) -> LoadRow {
        LoadRow {
            line: line as u64 + 1,
            offered: Offered::Concurrency(self.concurrency),
            throughput: self.rps,
            p50_ms: self.p50_ms,
            p95_ms: self.p95_ms,
            p99_ms: self.p99_ms,
            mean_ms: Some(self.mean_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(own: &Fidelity) -> Vec<Row> {
        let scratch = tempfile::tempdir().unwrap();
        own.run(&Context { traces: None, scratch: scratch.path(), progress: &|_| true }).unwrap()
    }

    #[test]
    fn a_server_that_is_simulated_is_found_again_and_predicted() {
        // The table of a server with known parameters, made by the simulator: what is fitted to a part must predict the rest.
        let server = ServerSettings { max_batch: 32, max_queue_delay: Span::default(), instances: 1 };
        let truth = Params { fixed_ms: 3.0, per_item_ms: 0.4, overhead_ms: 1.0, service_cv: 0.05 };
        let row = |concurrency: u32| {
            let guess = Measured { concurrency, rps: 1_000.0, mean_ms: 1.0, p50_ms: 1.0, p95_ms: 1.0, p99_ms: 1.0 };
            let found = predict(&truth, &guess.load(0), &server);
            let (p50_ms, p95_ms, p99_ms) = (found.p50_ms, found.p95_ms, found.p99_ms);
            Measured { rps: found.throughput, p50_ms, p95_ms, p99_ms, ..guess }
        };
        let own = Fidelity::LoadSweep {
            profile: "known".into(),
            measured: [1, 4, 16, 48].map(row).to_vec(),
            fitted: vec![1, 4, 16],
            max_batch: 32,
        };
        let rows = run(&own);
        assert!((rows[0].get_number("per_item_ms") / 0.4 - 1.0).abs() < 0.1, "{rows:?}");
        let last = rows.last().unwrap();
        assert_eq!((last.get_text("fitted"), last.get_number("concurrency")), ("no", 48.0));
        assert!((last.get_number("predicted_rps") / last.get_number("measured_rps") - 1.0).abs() < 0.05, "{last:?}");
    }

    #[test]
    fn parts_make_the_whole() {
        let all = checks(true).len();
        let parts = 7;
        let counts: Vec<usize> =
            (0..parts).map(|part| checks(true).iter().enumerate().filter(|(n, _)| n % parts == part).count()).collect();
        assert_eq!(counts.iter().sum::<usize>(), all);
        assert!(counts.iter().all(|count| *count > 0));
    }
}
