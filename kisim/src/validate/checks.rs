//! The checks against closed forms.

use super::station::SERVICE_S;
use super::station::Senders;
use super::{Demand, Station, StationResult};
use crate::profile::Spread;
use crate::theory;

/// A quantity of a station with a known value.
#[derive(Clone)]
pub struct Measure {
    /// What.
    pub name: &'static str,
    /// Its value.
    pub expected: f64,
    /// What is demanded.
    pub demand: Demand,
    /// Where the value comes from.
    pub source: &'static str,
    /// How to read it off a replication.
    pub value: fn(&StationResult) -> f64,
}

/// A station and what is known of it.
#[derive(Clone)]
pub struct Check {
    /// Name.
    pub name: String,
    /// The station.
    pub station: Station,
    /// What is known.
    pub measures: Vec<Measure>,
}

/// Requests a replication at a load, so that 16 of them give a 95 % half-width of 1–2 %. The variance of a queue's mean
/// grows with (1 − load)⁻² times its square.
fn requests(load: f64, quick: bool) -> u64 {
    let full = match load {
        l if l < 0.6 => 250_000,
        l if l < 0.9 => 1_000_000,
        _ => 4_500_000,
    };
    if quick { full / 3 } else { full }
}

/// All checks.
pub fn checks(quick: bool) -> Vec<Check> {
    let within = if quick { 0.025 } else { 0.02 };
    let equal = Demand::Equal { within };
    // Waits vary more than shares do; a third of the requests does not bring them within 2 %.
    let wait = Demand::Equal { within: if quick { 0.05 } else { within } };
    let mut checks = Vec::new();
    for servers in [1usize, 4, 16] {
        for load in [0.5, 0.8, 0.95] {
            // With many servers few requests wait at low load: their mean needs more of them.
            let factor = if servers == 16 && load < 0.6 { 16 } else { 1 };
            let station = Station::single(load, servers, Spread::Exponential, factor * requests(load, quick));
            let (c, rate) = (servers as u32, load * servers as f64 / SERVICE_S);
            let mut measures = vec![
                Measure {
                    name: "P(wait)",
                    expected: theory::erlang_c(c, load * servers as f64),
                    demand: equal,
                    source: "Erlang C",
                    value: |r| r.waited,
                },
                Measure {
                    name: "mean wait, s",
                    expected: theory::mmc_mean_wait(rate, 1.0 / SERVICE_S, c),
                    demand: wait,
                    source: "Erlang C",
                    value: |r| r.wait,
                },
            ];
            if servers == 4 {
                let expected = rate * (theory::mmc_mean_wait(rate, 1.0 / SERVICE_S, c) + SERVICE_S);
                measures.push(Measure {
                    name: "mean number (Little)",
                    expected,
                    demand: wait,
                    source: "L = λW",
                    value: |r| r.number,
                });
            }
            checks.push(Check { name: format!("M/M/{servers} at {load}"), station, measures });
        }
    }
    for load in [0.5, 0.8, 0.95] {
        checks.push(Check {
            name: format!("M/D/1 at {load}"),
            station: Station::single(load, 1, Spread::Deterministic, requests(load, quick)),
            measures: vec![Measure {
                name: "mean wait, s",
                expected: theory::md1_mean_wait(load / SERVICE_S, SERVICE_S),
                demand: wait,
                source: "Pollaczek–Khinchine",
                value: |r| r.wait,
            }],
        });
    }
    for (load, cv) in [(0.5, 0.5f64), (0.8, 0.5), (0.8, 1.5), (0.95, 0.5)] {
        let sigma = f64::sqrt(f64::ln_1p(cv * cv));
        checks.push(Check {
            name: format!("M/G/1 at {load}, log-normal, CV {cv}"),
            station: Station::single(load, 1, Spread::LogNormal { sigma }, 2 * requests(load, quick)),
            measures: vec![Measure {
                name: "mean wait, s",
                expected: theory::mg1_mean_wait(load / SERVICE_S, SERVICE_S, cv),
                demand: wait,
                source: "Pollaczek–Khinchine",
                value: |r| r.wait,
            }],
        });
    }
    for (load, limit) in [(0.8, 5u32), (1.2, 10)] {
        let mut station = Station::single(load, 1, Spread::Exponential, requests(0.8, quick));
        station.queue_limit = limit as usize - 1;
        checks.push(Check {
            name: format!("M/M/1/{limit} at {load}"),
            station,
            measures: vec![Measure {
                name: "loss",
                expected: theory::mm1k_loss(load, limit),
                demand: equal,
                source: "M/M/1/K",
                value: |r| r.loss,
            }],
        });
    }
    checks.extend(batch_checks(quick, within));
    checks.extend(closed_checks(quick, within));
    checks
}

/// Dynamic batching with a batch time of `FIXED + PER_ITEM · batch`, of a GPU's order.
const FIXED: f64 = 2e-3;
const PER_ITEM: f64 = 0.15e-3;

fn batch_station(rate: f64, max_batch: usize, requests: u64) -> Station {
    Station {
        senders: Senders::Poisson(rate),
        servers: 1,
        max_batch,
        service: (FIXED, PER_ITEM),
        spread: Spread::Deterministic,
        queue_limit: 0,
        requests,
    }
}

fn batch_checks(quick: bool, within: f64) -> Vec<Check> {
    let n = if quick { 200_000 } else { 1_000_000 };
    let mut checks = Vec::new();
    // Loads λ·PER_ITEM. Where the bound's two branches cross (about 0.07 here) it is up to 9 % above the exact value, by
    // its nature; away from there it is within 3 %.
    for load in [0.01, 0.3, 0.5, 0.8, 0.95] {
        let rate = load / PER_ITEM;
        checks.push(Check {
            name: format!("batch server at {load}"),
            station: batch_station(rate, 16_384, n),
            measures: vec![
                Measure {
                    name: "mean latency, s",
                    expected: theory::batch_latency_exact(rate, FIXED, PER_ITEM),
                    demand: Demand::Equal { within },
                    source: "embedded chain of batch sizes",
                    value: |r| r.time,
                },
                Measure {
                    name: "mean latency over bound",
                    expected: theory::batch_latency_bound(rate, FIXED, PER_ITEM),
                    demand: Demand::Between { low: 0.97, high: 1.0 },
                    source: "Inoue 2021, closed-form bound",
                    value: |r| r.time,
                },
            ],
        });
    }
    let max_batch = 16;
    let capacity = theory::batch_capacity(max_batch as u32, FIXED, PER_ITEM);
    for (share, expected) in [(0.95, 0.95 * capacity), (1.2, capacity)] {
        checks.push(Check {
            name: format!("batches of at most {max_batch} at {share} of capacity"),
            station: batch_station(share * capacity, max_batch, n),
            measures: vec![Measure {
                name: "throughput, 1/s",
                expected,
                demand: Demand::Equal { within },
                source: "b_max/(α + β·b_max)",
                value: |r| r.throughput,
            }],
        });
    }
    checks
}

fn closed_checks(quick: bool, within: f64) -> Vec<Check> {
    let n = if quick { 100_000 } else { 400_000 };
    let think = 20e-3;
    [5u32, 20, 60]
        .into_iter()
        .map(|users| {
            let mva = theory::closed_loop_mva(users, SERVICE_S, think);
            let mut station = Station::single(0.5, 1, Spread::Exponential, n);
            station.senders = Senders::Users(users, think);
            Check {
                name: format!("{users} users"),
                station,
                measures: vec![
                    Measure {
                        name: "throughput, 1/s",
                        expected: mva.throughput,
                        demand: Demand::Equal { within },
                        source: "mean value analysis",
                        value: |r| r.throughput,
                    },
                    Measure {
                        name: "response, s",
                        expected: mva.response,
                        demand: Demand::Equal { within },
                        source: "mean value analysis",
                        value: |r| r.time,
                    },
                    Measure {
                        name: "X·(R + Z) over N",
                        expected: f64::from(users),
                        demand: Demand::Equal { within },
                        source: "response time law",
                        value: |r| r.throughput * (r.time + 20e-3),
                    },
                ],
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{judge, run_checks};
    use super::*;
    use crate::run::silent;

    #[test]
    fn a_wrong_formula_fails() {
        let station = Station::single(0.8, 4, Spread::Exponential, 400_000);
        let rate = 0.8 * 4.0 / SERVICE_S;
        let values: Vec<f64> = (0..16).map(|seed| station.run(seed).expect("runs").wait).collect();
        let verdict = |expected| judge("", expected, &values, Demand::Equal { within: 0.05 }, "").ok;
        assert!(verdict(theory::mmc_mean_wait(rate, 1.0 / SERVICE_S, 4)));
        // Another number of servers, deterministic service, or a load 1 % off.
        assert!(!verdict(theory::mmc_mean_wait(rate, 1.0 / SERVICE_S, 5)));
        assert!(!verdict(theory::mmc_mean_wait(rate, 1.0 / SERVICE_S, 4) / 2.0));
        assert!(!verdict(theory::mmc_mean_wait(1.01 * rate, 1.0 / SERVICE_S, 4)));
    }

    #[test]
    fn low_and_high_loads_agree_with_theory() {
        let some: Vec<Check> = checks(true)
            .into_iter()
            .filter(|c| {
                c.name.starts_with("M/M/4 at 0.5")
                    || c.name.starts_with("M/D/1 at 0.8")
                    || c.name.starts_with("batch server at 0.5")
            })
            .collect();
        assert_eq!(some.len(), 3);
        for finding in run_checks(&some, 1, &silent).expect("runs") {
            assert!(finding.ok, "{finding:?}");
        }
    }
}
