//! Forks of a run: with the same decisions the same future, with others one of their own that the original never hears of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod world;

use std::sync::Arc;

use kisim::ledger::RequestRecord;
use kisim::prepared::Prepared;
use kisim::simulation::{Options, Simulation, Stop};
use kisim::telemetry::Scrape;
use proptest::prelude::*;
use world::prepared;

const OPEN: &str = r#"{ kind = "open", rate = { shape = "random", low = 20.0, high = 400.0, every = "7s" }, arrivals = { process = "gamma", cv = 2.0 } }"#;
const CLOSED: &str = r#"{ kind = "closed", users = [["0s", 40], ["40s", 90], ["80s", 10]], think = { distribution = "exponential", mean = "90ms" } }"#;
const RETRIES: &str = r#"client = { timeout = "900ms", retries = { attempts = 3, back_off = "50ms", jitter = 0.5 } }"#;
const FAULTS: &str = r#"
[[faults]]
kind = "pod_crash"
every = "20s"
repeats = 1
[[faults]]
kind = "slow_node"
lasting = "15s"
factor = 3.0
every = "30s"
[[faults]]
kind = "node_lost"
lasting = "20s"
detection = "3s"
eviction = "6s"
every = "1m"
[[faults]]
kind = "scrape_lag"
lasting = "20s"
extra = "10s"
every = "40s"
[[faults]]
kind = "scrape_dropout"
lasting = "10s"
every = "40s"
[[faults]]
kind = "scale_refused"
lasting = "20s"
every = "60s"
"#;

fn world(routing: &str, sharing: &str, activator: &str, traffic: &str, client: &str, faults: &str) -> Arc<Prepared> {
    prepared(&format!(
        r#"
name = "forked"
duration = "2m"
warm_up = "10300ms"
slo = {{ latency = "150ms" }}
service = {{ routing = "{routing}", placement = {{ rule = "weighted", gpu_share = 0.8 }}{activator} }}
traffic = {traffic}
control = {{ interval = "5s" }}
telemetry = {{ scrape_interval = "4s", drop_probability = 0.1 }}
{client}
{faults}
[pools.gpu]
profile = "bert-large-trt-fp16-seq128-t4"
initial_replicas = 2
batcher = {{ max_batch = 8, max_queue_delay = "3ms", queue_limit = 30 }}
limits = {{ min_replicas = 0, max_replicas = 5 }}
sharing = {sharing}
startup = {{ load = {{ distribution = "uniform", low = "2s", high = "6s" }} }}
readiness = {{ initial_delay = "1s", period = "1s" }}
[pools.cpu]
profile = "resnet50-torch-fp32-i7-12700h"
initial_replicas = 1
limits = {{ min_replicas = 0, max_replicas = 2, scale_down_stabilization = "20s" }}
readiness = {{ initial_delay = "1s", period = "1s" }}
[cluster]
nodes = [
    {{ name = "gpu", count = 1, cpus = 8.0, gpus = 2, autoscaler = {{ max = 3, provisioning = {{ distribution = "uniform", low = "3s", high = "9s" }}, scale_down_after = "15s" }} }},
    {{ name = "cpu", count = 1, cpus = 2.0 }},
]
"#
    ))
}

/// All that one can see of a run.
#[derive(Debug, PartialEq)]
struct Sight {
    now: u64,
    books: String,
    quantiles: Vec<Option<u64>>,
    meters: String,
    pods: String,
    held: Vec<(usize, usize)>,
    activator: String,
    nodes: usize,
    retried: u64,
}

fn sight(simulation: &Simulation) -> Sight {
    let ledger = &simulation.fleet().sink.ledger;
    let pools = 0..simulation.prepared().pools.len();
    let histograms = [&ledger.latency, &ledger.queue];
    let bits = |x: Option<f64>| x.map(f64::to_bits);
    let quantiles = |q: f64| histograms.map(|h| bits(h.quantile(q)));
    let counts = [
        ledger.arrived,
        ledger.completed,
        ledger.queue_full,
        ledger.timed_out,
        ledger.killed,
        ledger.no_endpoint,
        ledger.late,
    ];
    Sight {
        now: simulation.now().as_nanos(),
        books: format!("{counts:?} {:?}", histograms.map(|h| (h.count(), h.max(), bits(h.mean())))),
        quantiles: [0.0, 0.1, 0.5, 0.9, 0.99, 1.0].into_iter().flat_map(quantiles).collect(),
        meters: pools.clone().map(|p| format!("{:?} {}", simulation.meter(p), simulation.busy_ns(p))).collect(),
        pods: format!("{:?}", simulation.cluster().pods().collect::<Vec<_>>()),
        held: pools.map(|p| simulation.held(p)).collect(),
        activator: format!("{:?}", simulation.fleet().activator()),
        nodes: simulation.cluster().node_count(),
        retried: simulation.retried(),
    }
}

/// What came of some stops.
#[derive(Debug, Default, PartialEq)]
struct Story {
    sights: Vec<(Stop, Sight)>,
    scrapes: Vec<Scrape>,
    records: Vec<RequestRecord>,
}

/// Goes on for `stops` stops, or to the end, with the wishes from `turn` on.
fn go(simulation: &mut Simulation, wishes: &[u32], turn: &mut usize, stops: usize) -> Story {
    let mut story = Story::default();
    for _ in 0..stops {
        let stop = simulation.run().unwrap();
        story.sights.push((stop, sight(simulation)));
        story.records.append(&mut simulation.take_log());
        match stop {
            Stop::End => break,
            Stop::Control => {
                story.scrapes.push(simulation.scraped());
                for pool in 0..simulation.prepared().pools.len() {
                    let _refused = simulation.scale(pool, wishes[*turn % wishes.len()]);
                    *turn += 1;
                }
            }
            _ => {}
        }
    }
    story
}

fn same(one: &Story, two: &Story) -> Result<(), TestCaseError> {
    for (one, two) in one.sights.iter().zip(&two.sights) {
        prop_assert_eq!(one, two);
    }
    for (one, two) in one.records.iter().zip(&two.records) {
        prop_assert_eq!(one, two);
    }
    prop_assert_eq!(one, two);
    Ok(())
}

fn worlds() -> impl Strategy<Value = (Arc<Prepared>, Options)> {
    let routings = vec!["random", "round_robin", "least_outstanding", "power_of_two"];
    let sharing = vec![r#"{ mode = "exclusive" }"#, r#"{ mode = "time_slicing", replicas = 2 }"#];
    let listed = prop_oneof![
        2 => Just(None),
        1 => prop::collection::vec(0u64..120_000_000_000, 0..4_000).prop_map(|mut times| {
            times.sort_unstable();
            Some(times)
        }),
    ];
    (
        prop::sample::select(routings),
        prop::sample::select(sharing),
        prop::sample::select(vec!["", ", activator = {}", ", activator = { queue_limit = 20 }"]),
        prop::sample::select(vec![OPEN, CLOSED]),
        prop::sample::select(vec!["", r#"client = { timeout = "900ms" }"#, RETRIES]),
        prop::sample::select(vec!["", FAULTS]),
        listed,
        prop_oneof![Just(None), Just(Some(std::time::Duration::from_secs(3)))],
    )
        .prop_map(|(routing, sharing, activator, traffic, client, faults, listed, decide_every)| {
            let options = Options { log: true, decide_every, arrivals: listed.map(Into::into), ..Options::default() };
            (world(routing, sharing, activator, traffic, client, faults), options)
        })
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_fork_has_the_same_future_and_none_it_changes_is_the_originals(
        (prepared, options) in worlds(),
        wishes in prop::collection::vec(0u32..6, 1..6),
        others in prop::collection::vec(0u32..6, 1..6),
        at in 0usize..60,
        seed in 0u64..1_000,
    ) {
        // Nobody forks it.
        let mut alone = Simulation::with(&prepared, seed, &options).unwrap();
        let mut alone_turn = 0;
        let before = go(&mut alone, &wishes, &mut alone_turn, at);
        let expected = go(&mut alone, &wishes, &mut alone_turn, usize::MAX);

        let mut original = Simulation::with(&prepared, seed, &options).unwrap();
        let mut turn = 0;
        same(&go(&mut original, &wishes, &mut turn, at), &before)?;
        let at_fork = sight(&original);
        let mut same_way = original.fork().unwrap();
        let mut other_way = original.fork().unwrap();
        prop_assert_eq!(&sight(&same_way), &at_fork);
        // Goes its own way to the end, forked again under way.
        let mut other_turn = 0;
        go(&mut other_way, &others, &mut other_turn, 20);
        let mut third = other_way.fork().unwrap();
        let mut third_turn = other_turn;
        let of_other = go(&mut other_way, &others, &mut other_turn, usize::MAX);
        prop_assert_eq!(&sight(&original), &at_fork);
        let mut same_turn = turn;
        same(&go(&mut same_way, &wishes, &mut same_turn, usize::MAX), &expected)?;
        prop_assert_eq!(&sight(&original), &at_fork);
        same(&go(&mut original, &wishes, &mut turn, usize::MAX), &expected)?;
        same(&go(&mut third, &others, &mut third_turn, usize::MAX), &of_other)?;
    }

    #[test]
    fn without_telemetry_requests_have_the_same_fates(
        (prepared, options) in worlds(),
        wishes in prop::collection::vec(0u32..6, 1..6),
        seed in 0u64..1_000,
    ) {
        let fates = |telemetry: bool| {
            let options = Options { telemetry, ..options.clone() };
            let mut simulation = Simulation::with(&prepared, seed, &options).unwrap();
            let mut story = go(&mut simulation, &wishes, &mut 0, usize::MAX);
            if !telemetry {
                assert!(story.scrapes.iter().all(|scrape| *scrape == Scrape::default()));
            }
            // Servers report to the books when somebody looks at them.
            story.records.sort_by_key(|r| (r.finished, r.sent, r.tag));
            (story.sights, story.records)
        };
        let (one, two) = (fates(true), fates(false));
        for (one, two) in one.1.iter().zip(&two.1) {
            prop_assert_eq!(one, two);
        }
        prop_assert_eq!(one.1.len(), two.1.len());
        for (one, two) in one.0.iter().zip(&two.0) {
            prop_assert_eq!(one, two);
        }
    }

    #[test]
    fn how_often_somebody_decides_changes_nothing_by_itself(
        (prepared, options) in worlds(), every in 1u64..40, seed in 0u64..1_000,
    ) {
        let fates = |decide_every| {
            let options = Options { decide_every, ..options.clone() };
            let mut steps = Vec::new();
            let mut records = Vec::new();
            let mut simulation = Simulation::with(&prepared, seed, &options).unwrap();
            loop {
                let stop = simulation.run().unwrap();
                records.append(&mut simulation.take_log());
                match stop {
                    Stop::End => break,
                    Stop::Step => steps.push(sight(&simulation)),
                    _ => {}
                }
            }
            records.sort_by_key(|r| (r.finished, r.sent, r.tag));
            (steps, records)
        };
        let own = fates(None);
        let other = fates(Some(std::time::Duration::from_millis(every * 333)));
        prop_assert_eq!(own.0.len(), 23, "a step every 5 s of 2 min, but the last");
        prop_assert_eq!(own, other);
    }
}

#[test]
fn steps_come_before_decisions_of_the_same_instant_and_neither_shifts_the_other() {
    let prepared = world("random", r#"{ mode = "exclusive" }"#, "", OPEN, "", "");
    let options = Options { decide_every: Some(std::time::Duration::from_millis(2_500)), ..Options::default() };
    let mut simulation = Simulation::with(&prepared, 1, &options).unwrap();
    let mut stops = Vec::new();
    loop {
        let stop = simulation.run().unwrap();
        // A fork between a step and the decision at the same instant still has that decision to come.
        if stop == Stop::Step {
            let mut fork = simulation.fork().unwrap();
            assert_eq!((fork.run().unwrap(), fork.now()), (Stop::Control, simulation.now()));
        }
        match stop {
            Stop::End => break,
            Stop::Step | Stop::Control => stops.push((simulation.now().as_nanos() / 100_000_000, stop)),
            _ => {}
        }
    }
    let expected: Vec<(u64, Stop)> = (1..48)
        .flat_map(|n| {
            let step = (n % 2 == 0).then_some((25 * n, Stop::Step));
            step.into_iter().chain([(25 * n, Stop::Control)])
        })
        .collect();
    assert_eq!(stops, expected);
}

#[test]
fn a_trace_read_as_it_goes_cannot_be_forked_but_its_listed_arrivals_can() {
    let file = world::write("forks.csv", "timestamp_s\n0.5\n1.5\n2.25\n");
    let text = |traffic: &str| {
        format!(
            "name = 'trace'\nduration = '10s'\nslo = {{ latency = '1s' }}\ntraffic = {traffic}\n{}[pools.gpu]\n\
             profile = 'clock.toml'\n{}",
            world::NODES,
            world::POD
        )
    };
    let replay = prepared(&text(&format!("{{ kind = 'trace', path = '{}' }}", file.display())));
    let simulation = Simulation::new(&replay, 1, false).unwrap();
    assert!(simulation.fork().is_none());
    let times = replay.scenario.traffic.arrivals(world::base(), 10.0, 1).unwrap().unwrap();
    let options = Options { log: true, arrivals: Some(times.into()), ..Options::default() };
    let mut listed = Simulation::with(&replay, 1, &options).unwrap();
    let mut fork = listed.fork().unwrap();
    same(&go(&mut listed, &[1], &mut 0, usize::MAX), &go(&mut fork, &[1], &mut 0, usize::MAX)).unwrap();
    assert_eq!(fork.fleet().sink.ledger.completed, 3);
}
