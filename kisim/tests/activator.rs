//! The activator: requests wait while no endpoint is there, and nothing is lost whatever becomes of pods.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod world;

use std::sync::Arc;

use kisim::fleet::Placement;
use kisim::prepared::Prepared;
use kisim::simulation::{Options, Simulation, Stop};
use kisim::telemetry::Scrape;
use proptest::prelude::*;
use world::{Fate, MS, NODES, POD, drive, fates, one_pool, prepared, sent_at};

const ROUTINGS: [&str; 4] = ["random", "round_robin", "least_outstanding", "power_of_two"];

/// Every way in which the fleet keeps time: each routing, without and with clients who wait for outcomes.
fn paces(activator: &str, client: &str, initial: u32, rest: &str) -> Vec<Arc<Prepared>> {
    let mut all = Vec::new();
    for routing in ROUTINGS {
        for retries in ["", "retries = { attempts = 2, back_off = '1h' }"] {
            let client = [client, retries].iter().filter(|s| !s.is_empty()).copied().collect::<Vec<_>>().join(", ");
            let head = format!(
                "service = {{ routing = '{routing}'{activator} }}\nclient = {{ {client} }}\n{}",
                rest.lines().filter(|l| l.starts_with("faults")).collect::<String>()
            );
            let pool: String = rest.lines().filter(|l| l.starts_with("batcher")).collect();
            all.push(one_pool(&head, initial, &pool));
        }
    }
    all
}

const HELD: &str = ", activator = {}";

/// Fates with the activator, the same in every pace.
#[track_caller]
fn expect(client: &str, initial: u32, rest: &str, sent: &[u64], plan: &[(u64, usize, u32)], expected: &[Fate]) {
    for prepared in paces(HELD, client, initial, rest) {
        let routing = prepared.scenario.service.routing;
        let retries = prepared.scenario.client.retries.is_some();
        assert_eq!(fates(&prepared, &sent_at(sent), plan), expected, "{routing:?}, retries: {retries}");
    }
}

#[test]
fn requests_wait_for_the_first_pod_and_are_served_in_order() {
    // A pod asked for at 1 s is ready at 4 s and known at 4.5 s. Latency counts from when a request was sent.
    let expected = [
        (0, 4500, 4600, "completed"),
        (200, 4600, 4700, "completed"),
        (400, 4700, 4800, "completed"),
        (4600, 4800, 4900, "completed"),
    ];
    expect("", 0, "", &[0, 200, 400, 4600], &[(1, 0, 1)], &expected);
    let (_, simulation) = drive(&one_pool("service = { activator = {} }", 0, ""), &sent_at(&[0, 200]), 1, |s, stop| {
        if stop == Stop::Control && s.counts(0).desired == 0 {
            s.scale(0, 1).unwrap();
        }
    });
    let latency = &simulation.fleet().sink.ledger.latency;
    assert_eq!((latency.max(), latency.mean()), (Some(4600 * MS), Some(4550.0 * MS as f64)));
    assert_eq!(simulation.fleet().sink.ledger.late, 2);
}

#[test]
fn without_an_activator_they_find_no_endpoint() {
    for prepared in paces("", "", 0, "") {
        let expected = [(0, 0, 0, "no_endpoint"), (4499, 4499, 4499, "no_endpoint"), (4500, 4500, 4600, "completed")];
        assert_eq!(fates(&prepared, &sent_at(&[0, 4499, 4500]), &[(1, 0, 1)]), expected);
    }
}

#[test]
fn patience_ends_where_requests_wait() {
    let expected = [(0, 2000, 2000, "timed_out"), (200, 2200, 2200, "timed_out"), (3000, 4500, 4600, "completed")];
    expect("timeout = '2s'", 0, "", &[0, 200, 3000], &[(1, 0, 1)], &expected);
    // So does the time that a pod's queue allows.
    expect("", 0, "batcher = { queue_timeout = '2s' }", &[0, 200, 3000], &[(1, 0, 1)], &expected);
}

#[test]
fn a_client_hears_at_once_that_its_time_is_over() {
    // Nothing else happens for ten seconds.
    let head = "service = { activator = {} }\ntelemetry = { scrape_interval = '10s' }\n\
                client = { retries = { attempts = 2, back_off = '100ms' } }";
    let prepared = prepared(&format!(
        "name = 'quiet'\nduration = '30s'\nslo = {{ latency = '1s' }}\ncontrol = {{ interval = '10s' }}\n\
         traffic = {{ kind = 'open', rate = {{ shape = 'constant', rate = 1.0 }} }}\n{head}\n{NODES}[pools.gpu]\n\
         profile = 'clock.toml'\ninitial_replicas = 0\nlimits = {{ min_replicas = 0 }}\n\
         batcher = {{ queue_timeout = '2s' }}\n{POD}"
    ));
    let expected = [(0, 2000, 2000, "timed_out"), (2100, 4100, 4100, "timed_out")];
    let (records, _) = drive(&prepared, &sent_at(&[0]), 1, |simulation, _| {
        // It is all over by then, and not made up for afterwards.
        assert_eq!((simulation.retried(), simulation.fleet().sink.ledger.timed_out), (1, 2), "{}", simulation.now());
    });
    assert_eq!(records.iter().map(world::fate).collect::<Vec<_>>(), expected);
}

#[test]
fn a_full_activator_rejects_and_whose_time_is_over_makes_room() {
    for prepared in paces(", activator = { queue_limit = 2 }", "timeout = '1s'", 0, "") {
        let expected = [
            (200, 1200, 1200, "timed_out"),
            (300, 1300, 1300, "timed_out"),
            (400, 400, 400, "queue_full"),
            (1250, 2250, 2250, "timed_out"),
            (1260, 1260, 1260, "queue_full"),
        ];
        // Nobody looks between 1 s and 2 s but who sends.
        assert_eq!(fates(&prepared, &sent_at(&[200, 300, 400, 1250, 1260]), &[]), expected);
    }
}

#[test]
fn a_pod_gets_what_its_queue_holds_and_the_rest_follows() {
    // One is executed, two queue, three wait on; who comes meanwhile waits behind them. The pod is never idle.
    let expected = [
        (0, 4500, 4600, "completed"),
        (100, 4600, 4700, "completed"),
        (200, 4700, 4800, "completed"),
        (300, 4800, 4900, "completed"),
        (400, 4900, 5000, "completed"),
        (500, 5000, 5100, "completed"),
        (4610, 5100, 5200, "completed"),
        (4890, 5200, 5300, "completed"),
        (4990, 5300, 5400, "completed"),
    ];
    let sent = expected.map(|fate| fate.0);
    expect("", 0, "batcher = { queue_limit = 2 }", &sent, &[(1, 0, 1)], &expected);
}

#[test]
fn two_pods_share_what_waits() {
    // Both known at 4.5 s: the first gets what its queue holds, and the other comes at the same instant.
    let sent: Vec<u64> = (0..20).map(|n| 10 * n).collect();
    for prepared in paces(HELD, "", 0, "batcher = { queue_limit = 4 }") {
        let fates = fates(&prepared, &sent_at(&sent), &[(1, 0, 2)]);
        assert!(fates.iter().all(|f| f.3 == "completed"), "{fates:?}");
        // Twenty at 10 a second and pod; whoever finds the chosen queue full tries again 50 ms later.
        let last = fates.iter().map(|f| f.2).max().unwrap();
        assert!((5500..=6000).contains(&last), "{last}");
        // In order, as far as two pods with five each allow.
        assert!(fates.windows(11).all(|w| w[0].1 <= w[10].1), "{fates:?}");
    }
}

#[test]
fn a_crash_of_the_only_pod_kills_what_it_holds_and_others_wait() {
    // Known for 0.5 s to be there though it is gone; back after 10 s of back-off, 3 s of loading and 0.5 s.
    let fault = "faults = [{ kind = 'pod_crash', at = ['5s'] }]";
    let expected = [
        (4850, 4850, 4950, "completed"),
        (4960, 5000, 5000, "killed"),
        (5200, 5200, 5200, "killed"),
        (5600, 18500, 18600, "completed"),
        (9000, 18600, 18700, "completed"),
    ];
    expect("", 1, fault, &[4850, 4960, 5200, 5600, 9000], &[], &expected);
}

#[test]
fn to_zero_and_back() {
    // The pod deleted at 1 s is an endpoint until 1.5 s, the one asked for at 3 s is one from 6.5 s.
    let expected = [
        (900, 900, 1000, "completed"),
        (1200, 1200, 1300, "completed"),
        (1600, 6500, 6600, "completed"),
        (6550, 6600, 6700, "completed"),
        (20_000, 20_000, 20_100, "completed"),
    ];
    expect("", 1, "", &[900, 1200, 1600, 6550, 20_000], &[(1, 0, 0), (3, 0, 1)], &expected);
}

#[test]
fn what_waits_at_the_end_is_in_flight() {
    let prepared = one_pool("service = { activator = {} }", 0, "");
    let (records, simulation) = drive(&prepared, &sent_at(&[0, 29_500]), 1, |_, _| {});
    assert!(records.is_empty());
    assert_eq!((simulation.fleet().in_flight(), simulation.fleet().sent_before(29_000 * MS)), (2, 1));
}

/// A GPU and a CPU pool, both empty.
fn two_pools(placement: &str, gpu: &str, cpu: &str, initial_cpu: u32) -> Arc<Prepared> {
    prepared(&format!(
        "name = 'two'\nduration = '30s'\nslo = {{ latency = '1s' }}\ncontrol = {{ interval = '1s' }}\n\
         traffic = {{ kind = 'open', rate = {{ shape = 'constant', rate = 1.0 }} }}\n\
         service = {{ placement = {placement}, activator = {{}} }}\n{NODES}\
         [pools.gpu]\nprofile = 'clock.toml'\ninitial_replicas = 0\nlimits = {{ min_replicas = 0 }}\n{POD}{gpu}\n\
         [pools.cpu]\nprofile = 'sundial.toml'\ninitial_replicas = {initial_cpu}\nlimits = {{ min_replicas = 0 }}\n\
         {POD}{cpu}\n"
    ))
}

#[test]
fn requests_sent_to_another_pool_wait_no_longer() {
    let prepared = two_pools("{ rule = 'gpu_only' }", "", "", 1);
    let (records, _) = drive(&prepared, &sent_at(&[0, 100]), 1, |simulation, stop| {
        if stop == Stop::Control && simulation.now().as_nanos() == 2_000 * MS {
            simulation.place(Placement::CpuOnly);
        }
    });
    let fates: Vec<Fate> = records.iter().map(world::fate).collect();
    assert_eq!(fates, [(0, 2000, 2300, "completed"), (100, 2300, 2600, "completed")]);
}

#[test]
fn a_request_too_old_for_the_pool_it_goes_to_ends_there() {
    let gpu = "batcher = { queue_timeout = '1s' }";
    let cpu = "batcher = { queue_timeout = '9s' }";
    let prepared = two_pools("{ rule = 'gpu_first', spill_queue = 4 }", gpu, cpu, 0);
    // Pools are numbered by name: the GPU pool is the second.
    let expected = [(0, 4500, 4500, "timed_out"), (4000, 4500, 4600, "completed")];
    assert_eq!(fates(&prepared, &sent_at(&[0, 4000]), &[(1, 1, 1)]), expected);
}

fn samples(prepared: &Arc<Prepared>, sent: &[u64], scale_at: Option<u64>) -> Scrape {
    let mut all = Scrape::default();
    drive(prepared, &sent_at(sent), 1, |simulation, stop| {
        if stop == Stop::Control {
            let mut scrape = simulation.scraped();
            all.pods.append(&mut scrape.pods);
            all.cluster.append(&mut scrape.cluster);
            if scale_at.is_some_and(|second| second * 1_000 * MS == simulation.now().as_nanos()) {
                simulation.scale(0, 1).unwrap();
            }
        }
    });
    all
}

const SCRAPED: &str = "telemetry = { scrape_interval = '1s', lag = '0s' }\n";

#[test]
fn the_activator_exports_an_integral_that_never_falls() {
    let head = format!("service = {{ activator = {{}} }}\nclient = {{ timeout = '1500ms' }}\n{SCRAPED}");
    // Nobody looks between the scrapes: the first leaves at 1.5 s, the second at 1.7 s.
    let scrape = samples(&one_pool(&head, 0, ""), &[0, 200], None);
    let told: Vec<(u64, u64, u64)> =
        scrape.cluster.iter().map(|c| c.activator.unwrap()).map(|a| (a.waiting, a.arrived, a.held_ns / MS)).collect();
    assert_eq!(told[..3], [(2, 2, 1800), (0, 2, 3000), (0, 2, 3000)]);
    assert!(samples(&one_pool(SCRAPED, 0, ""), &[0], None).cluster.iter().all(|c| c.activator.is_none()));
}

#[test]
fn what_waited_in_the_activator_counts_there_and_not_at_the_pod() {
    let head = format!("service = {{ activator = {{}} }}\n{SCRAPED}");
    let scrape = samples(&one_pool(&head, 0, ""), &[0, 200], Some(1));
    // 4.5 s and 4.3 s there; here 100 ms, and 100 ms of queueing and 100 ms of service.
    assert_eq!(scrape.cluster.last().unwrap().activator.unwrap().held_ns, 8_800 * MS);
    let held: Vec<f64> = scrape.pods.iter().map(|p| p.in_flight_s).collect();
    assert!((held.last().unwrap() - 0.3).abs() < 1e-9, "{held:?}");
    assert!(held.is_sorted());
}

/// Two pools with everything in them that can go wrong, both down to zero.
fn troubled(
    routing: &str,
    placement: &str,
    activator: &str,
    traffic: &str,
    client: &str,
    queue: usize,
) -> Arc<Prepared> {
    prepared(&format!(
        r#"
name = "troubled"
duration = "3m"
warm_up = "20300ms"
slo = {{ latency = "150ms" }}
service = {{ routing = "{routing}", placement = {placement}, activator = {activator} }}
traffic = {traffic}
{client}
[[faults]]
kind = "pod_crash"
every = "25s"
[[faults]]
kind = "node_lost"
lasting = "30s"
detection = "5s"
eviction = "10s"
every = "1m"
[[faults]]
kind = "scale_refused"
lasting = "20s"
every = "90s"
[pools.gpu]
profile = "bert-large-trt-fp16-seq128-t4"
initial_replicas = 0
batcher = {{ max_batch = 8, max_queue_delay = "3ms", queue_limit = {queue}, queue_timeout = "7s" }}
limits = {{ min_replicas = 0, max_replicas = 4 }}
sharing = {{ mode = "time_slicing", replicas = 2 }}
startup = {{ load = {{ distribution = "uniform", low = "2s", high = "6s" }} }}
readiness = {{ initial_delay = "1s", period = "1s" }}
shutdown = {{ endpoint_propagation = "1s", grace_period = "2s" }}
[pools.cpu]
profile = "resnet50-torch-fp32-i7-12700h"
initial_replicas = 1
batcher = {{ max_batch = 4, queue_limit = {queue} }}
limits = {{ min_replicas = 0, max_replicas = 2 }}
readiness = {{ initial_delay = "1s", period = "1s" }}
[cluster]
nodes = [{{ name = "gpu", count = 2, cpus = 4.0, gpus = 1 }}, {{ name = "cpu", count = 1, cpus = 2.0 }}]
"#
    ))
}

const OPEN: &str = r#"{ kind = "open", rate = { shape = "random", low = 20.0, high = 300.0, every = "10s" } }"#;
const CLOSED: &str = r#"{ kind = "closed", users = [["0s", 40], ["1m", 90], ["2m", 10]], think = { distribution = "uniform", low = "20ms", high = "200ms" } }"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_at_any_stop_with_pods_that_come_and_go(
        routing in prop::sample::select(ROUTINGS.to_vec()),
        placement in prop::sample::select(vec![
            r#"{ rule = "gpu_only" }"#, r#"{ rule = "gpu_first", spill_queue = 4 }"#,
            r#"{ rule = "weighted", gpu_share = 0.6 }"#,
        ]),
        activator in prop::sample::select(vec!["{}", "{ queue_limit = 30 }", "{ queue_limit = 0 }"]),
        traffic in prop::sample::select(vec![OPEN, CLOSED]),
        client in prop::sample::select(vec![
            "", r#"client = { timeout = "4s" }"#,
            r#"client = { timeout = "3s", retries = { attempts = 3, back_off = "200ms", jitter = 0.5 } }"#,
        ]),
        queue in prop::sample::select(vec![0usize, 3, 40]),
        wishes in prop::collection::vec(0u32..5, 1..8),
        seed in 0u64..1_000,
    ) {
        let prepared = troubled(routing, placement, activator, traffic, client, queue);
        let mut simulation = Simulation::with(&prepared, seed, &Options { log: true, ..Options::default() }).unwrap();
        let (mut turn, mut now, mut over) = (0, 0, 0);
        // Records may be handed over a stop late.
        let mut settled = 0;
        let mut told = (0, 0);
        let mut records = 0;
        loop {
            let stop = simulation.run().unwrap();
            if simulation.now().as_nanos() > now {
                settled = over;
                over = now;
                now = simulation.now().as_nanos();
            }
            let fleet = simulation.fleet();
            let ledger = &fleet.sink.ledger;
            prop_assert_eq!(ledger.arrived, ledger.ended() + fleet.in_flight() as u64);
            let held: usize = (0..prepared.pools.len()).map(|p| simulation.held(p).1).sum();
            prop_assert_eq!(held + fleet.activator().unwrap().len(), fleet.in_flight());
            for r in simulation.take_log() {
                prop_assert!(r.sent <= r.started && r.started <= r.finished && r.finished <= now, "{r:?}");
                prop_assert!(r.finished >= settled, "{r:?} was already over at {settled}");
                if r.finished > prepared.scenario.warm_up.nanos() {
                    records += 1;
                }
            }
            for sample in simulation.scraped().cluster.iter().map(|c| c.activator.unwrap()) {
                prop_assert!(sample.held_ns >= told.0 && sample.arrived >= told.1);
                told = (sample.held_ns, sample.arrived);
            }
            match stop {
                Stop::End => break,
                Stop::Control => for pool in 0..prepared.pools.len() {
                    let _refused = simulation.scale(pool, wishes[turn % wishes.len()]);
                    turn += 1;
                },
                _ => {}
            }
        }
        prop_assert_eq!(records, simulation.fleet().sink.ledger.ended());
        // Nobody fails for want of an endpoint, and all who waited are accounted for.
        prop_assert_eq!(simulation.fleet().sink.ledger.no_endpoint, 0);
    }

    #[test]
    fn where_routing_does_not_matter_all_paces_give_the_same_fates(
        sent in prop::collection::vec(0u64..25_000, 1..120),
        wishes in prop::collection::vec(0u32..2, 1..6),
        queue in 0usize..4,
        batch in 1usize..3,
        timeout in prop_oneof![Just(None), (200u64..8_000).prop_map(Some)],
        limit in prop_oneof![Just(10_000usize), 0usize..12],
        crash in 1u64..25,
    ) {
        let mut sent = sent;
        sent.sort_unstable();
        let client = timeout.map_or(String::new(), |ms| format!("timeout = '{ms}ms'"));
        let rest = format!(
            "faults = [{{ kind = 'pod_crash', at = ['{crash}s'] }}]\n\
             batcher = {{ max_batch = {batch}, queue_limit = {queue} }}"
        );
        let activator = format!(", activator = {{ queue_limit = {limit} }}");
        let plan: Vec<(u64, usize, u32)> =
            wishes.iter().enumerate().map(|(n, &wish)| (1 + 5 * n as u64, 0, wish)).collect();
        let mut all = paces(&activator, &client, 0, &rest).into_iter().map(|p| fates(&p, &sent_at(&sent), &plan));
        let first = all.next().unwrap();
        for other in all {
            prop_assert_eq!(&first, &other);
        }
    }
}
