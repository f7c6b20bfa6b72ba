//! The invariants named in ARCHITECTURE.md, on whole simulations: random scenarios with scaling, faults and clients that wait.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use kisim::control::{Autoscaler, Decision, Verdict, View};
use kisim::ledger::RequestRecord;
use kisim::prepared::Prepared;
use kisim::run::{Keep, Run, run_with, silent};
use kisim::scenario::Scenario;
use kisim::simulation::{Simulation, Stop};
use kisim::window::Gauge;
use proptest::prelude::*;

/// A scenario with everything in it that can go wrong; `{…}` are filled in.
fn scenario(routing: &str, placement: &str, sharing: &str, traffic: &str, client: &str, faults: &str) -> Scenario {
    let text = format!(
        r#"
name = "random"
duration = "4m"
slo = {{ latency = "100ms" }}
service = {{ routing = "{routing}", placement = {placement} }}
traffic = {traffic}
{client}
{faults}
[pools.gpu]
profile = "bert-large-trt-fp16-seq128-t4"
initial_replicas = 3
batcher = {{ max_batch = 8, max_queue_delay = "3ms", queue_limit = 60, queue_timeout = "700ms" }}
limits = {{ min_replicas = 1, max_replicas = 8 }}
sharing = {sharing}
startup = {{ load = {{ distribution = "uniform", low = "3s", high = "9s" }} }}
readiness = {{ period = "2s" }}
shutdown = {{ endpoint_propagation = "1s", grace_period = "2s" }}
[pools.cpu]
profile = "resnet50-torch-fp32-i7-12700h"
initial_replicas = 2
batcher = {{ max_batch = 4 }}
limits = {{ min_replicas = 0, max_replicas = 4 }}
startup = {{ image_cached = false, pull = {{ distribution = "constant", value = "5s" }} }}
[cluster]
nodes = [
    {{ name = "gpu", count = 2, cpus = 16.0, gpus = 2, autoscaler = {{ max = 3, scale_down_after = "40s" }} }},
    {{ name = "cpu", count = 1, cpus = 3.0 }},
]
"#
    );
    Scenario::parse(&text, "test", Path::new(".")).expect("valid")
}

const FAULTS: &str = r#"
[[faults]]
kind = "pod_crash"
repeats = 1
every = "40s"
[[faults]]
kind = "gpu_lost"
lasting = "30s"
every = "2m"
[[faults]]
kind = "node_lost"
lasting = "1m"
detection = "5s"
eviction = "10s"
every = "3m"
[[faults]]
kind = "slow_node"
lasting = "30s"
factor = 3.0
every = "1m"
[[faults]]
kind = "scrape_dropout"
lasting = "20s"
every = "90s"
[[faults]]
kind = "scrape_lag"
lasting = "20s"
extra = "10s"
every = "90s"
[[faults]]
kind = "scale_refused"
lasting = "20s"
every = "90s"
"#;

const OPEN: &str = r#"{ kind = "open", rate = { shape = "random", low = 100.0, high = 900.0, every = "10s" } }"#;
const CLOSED: &str = r#"{ kind = "closed", users = [["0s", 60], ["1m", 250], ["2m", 20]], think = { distribution = "uniform", low = "20ms", high = "200ms" } }"#;
const RETRIES: &str = r#"client = { timeout = "400ms", retries = { attempts = 3, back_off = "50ms", jitter = 0.5 } }"#;

/// Wishes from a list, in turn, for both pools.
#[derive(Debug)]
struct Restless(Vec<u32>, usize);

impl Autoscaler for Restless {
    fn name(&self) -> String {
        "restless".into()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let mut pools = Vec::new();
        for _ in view.pools {
            let replicas = self.0[self.1 % self.0.len()];
            self.1 += 1;
            pools.push(Verdict::Scale { replicas, reason: String::new() });
        }
        Decision { pools, placement: None }
    }
}

fn keep_requests() -> Keep {
    Keep { requests: true, timeline: true, decisions: true, plan: true }
}

fn play(prepared: &Arc<Prepared>, wishes: &[u32], seed: u64) -> Run {
    run_with(prepared, &mut Restless(wishes.to_vec(), 0), seed, keep_requests(), &silent).expect("runs")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn conservation_causality_limits_and_determinism(
        routing in prop::sample::select(vec!["random", "round_robin", "least_outstanding", "power_of_two"]),
        placement in prop::sample::select(vec![
            r#"{ rule = "gpu_only" }"#, r#"{ rule = "cpu_only" }"#, r#"{ rule = "gpu_first", spill_queue = 4 }"#,
            r#"{ rule = "weighted", gpu_share = 0.8 }"#,
        ]),
        sharing in prop::sample::select(vec![
            r#"{ mode = "exclusive" }"#, r#"{ mode = "time_slicing", replicas = 2 }"#,
            r#"{ mode = "mps", thread_percentage = 33 }"#, r#"{ mode = "mig", slice = "3g" }"#,
        ]),
        traffic in prop::sample::select(vec![OPEN, CLOSED]),
        client in prop::sample::select(vec!["", r#"client = { timeout = "400ms" }"#, RETRIES]),
        wishes in prop::collection::vec(0u32..12, 1..8),
        seed in 0u64..1_000,
    ) {
        let prepared = Prepared::new(scenario(routing, placement, sharing, traffic, client, FAULTS)).expect("prepared");
        let mut simulation = Simulation::new(&prepared, seed, true).expect("starts");
        let (mut turn, mut now) = (0, 0);
        let mut records: Vec<RequestRecord> = Vec::new();
        loop {
            let stop = simulation.run().expect("runs");
            // Causality: the clock never goes back.
            prop_assert!(simulation.now().as_nanos() >= now);
            now = simulation.now().as_nanos();
            // Conservation, in total and by pod and pool.
            let fleet = simulation.fleet();
            let ledger = &fleet.sink.ledger;
            prop_assert_eq!(ledger.arrived, ledger.ended() + fleet.in_flight() as u64);
            for pod in simulation.cluster().pods() {
                if let Some(server) = pod.slot.map(|slot| fleet.server(slot)) {
                    let c = &server.counters;
                    let ended = c.success + c.rejected + c.timed_out + c.killed;
                    prop_assert_eq!(c.arrived, ended + server.outstanding() as u64, "pod {}", pod.id);
                    prop_assert_eq!(c.success, c.buckets.iter().sum::<u64>());
                }
            }
            let held: usize = (0..prepared.pools.len()).map(|p| simulation.held(p).1).sum();
            prop_assert_eq!(held, fleet.in_flight());
            records.extend(simulation.take_log());
            match stop {
                Stop::End => break,
                Stop::Control => {
                    simulation.scraped();
                    for pool in 0..prepared.pools.len() {
                        let _refused = simulation.scale(pool, wishes[turn % wishes.len()]);
                        turn += 1;
                        // Limits last.
                        let limits = prepared.pools[pool].config.limits;
                        let desired = simulation.counts(pool).desired;
                        prop_assert!(desired >= limits.min_replicas && desired <= limits.max_replicas);
                    }
                }
                _ => {}
            }
        }
        let ledger = &simulation.fleet().sink.ledger;
        prop_assert_eq!(records.len() as u64, ledger.ended());
        for r in &records {
            prop_assert!(r.sent <= r.started && r.started <= r.finished && r.finished <= now, "{r:?}");
        }
        // Determinism.
        let (one, two) = (play(&prepared, &wishes, seed), play(&prepared, &wishes, seed));
        prop_assert_eq!(&one.requests, &two.requests);
        prop_assert_eq!(&one.rows, &two.rows);
        prop_assert_eq!(&one.summary, &two.summary);
    }
}

#[test]
fn two_seeds_differ() {
    let prepared =
        Prepared::new(scenario("random", r#"{ rule = "gpu_only" }"#, r#"{ mode = "exclusive" }"#, OPEN, "", ""))
            .unwrap();
    assert_ne!(play(&prepared, &[3], 1).requests, play(&prepared, &[3], 2).requests);
}

#[test]
fn changing_one_consumer_of_random_numbers_does_not_shift_another() {
    let of = |telemetry: &str| {
        let faults = format!("[telemetry]\n{telemetry}\n");
        let scenario = scenario("random", r#"{ rule = "gpu_only" }"#, r#"{ mode = "exclusive" }"#, OPEN, "", &faults);
        play(&Prepared::new(scenario).unwrap(), &[4], 3).requests
    };
    // More scrapes and drop-outs draw more of the telemetry's numbers, and nobody else's.
    let (plain, other) = (of("drop_probability = 0.0"), of("drop_probability = 0.5\nscrape_interval = '5s'"));
    assert!(plain.len() > 50_000);
    assert_eq!(plain, other);
}

/// Looks at its view and holds.
#[derive(Debug, Default)]
struct Watcher {
    blind: Vec<bool>,
}

impl Autoscaler for Watcher {
    fn name(&self) -> String {
        "watcher".into()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        self.blind.push(view.window.average(Some(1), Gauge::Utilization, view.now).is_none());
        let hold = |_| Verdict::Hold { reason: String::new() };
        Decision { pools: view.pools.iter().map(hold).collect(), placement: None }
    }
}

#[test]
fn without_scrapes_there_is_no_data_and_the_hpa_holds() {
    // Nothing is scraped from the second minute to the end, five minutes later series are stale.
    let faults = "[[faults]]\nkind = 'scrape_dropout'\nlasting = '1h'\nat = ['2m']\n";
    let mut scenario = scenario("random", r#"{ rule = "gpu_only" }"#, r#"{ mode = "exclusive" }"#, OPEN, "", faults);
    scenario.duration = Some(kisim::config::Span::secs(900));
    let prepared = Prepared::new(scenario).unwrap();
    let mut watcher = Watcher::default();
    run_with(&prepared, &mut watcher, 1, Keep::default(), &silent).unwrap();
    let seen: Vec<usize> = (0..watcher.blind.len()).filter(|&i| !watcher.blind[i]).collect();
    // Control step i is at 15·(i+1) s; samples of up to 120 s are known for 300 s.
    assert!(seen.contains(&10) && seen.iter().all(|&i| 15 * (i + 1) <= 421), "{seen:?}");
    let config = kisim::autoscaler::AutoscalerConfig::parse("hpa:50", &prepared.scenario).unwrap();
    let run = kisim::run::run(&prepared, &config, 1, keep_requests(), &silent).unwrap();
    let late: Vec<_> = run.decisions.iter().filter(|d| d.at > 421.0).collect();
    assert!(late.len() > 20 && late.iter().all(|d| d.before == d.after && d.reason.contains("invalid")), "{late:?}");
}
