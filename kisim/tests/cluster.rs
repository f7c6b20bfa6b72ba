//! Pods and nodes on a timetable: every stage constant, so that each instant can be worked out by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use kisim::cluster::{Phase, PodCounts};
use kisim::prepared::Prepared;
use kisim::scenario::Scenario;
use kisim::simulation::{Simulation, Stop};

/// Scheduling 2 s, load 10 s from a cached image, probes from 5 s every 5 s: ready 17 s after creation (container at 2 s,
/// loaded at 12 s, probed at 12 s), in the endpoints 1 s later. Control and scrapes every second.
fn simulation(change: impl Fn(&str) -> String) -> Simulation {
    let text = r#"
name = "timetable"
duration = "10m"
slo = { latency = "100ms" }
traffic = { kind = "open", rate = { shape = "constant", rate = 50.0 } }
service = { routing = "round_robin", placement = { rule = "gpu_only" } }
control = { interval = "1s" }
telemetry = { scrape_interval = "1s", window = "10s" }
FAULTS
[pools.gpu]
profile = "bert-large-trt-fp16-seq128-t4"
initial_replicas = 1
limits = { min_replicas = 0, max_replicas = 8 }
batcher = { max_batch = 4 }
startup = { image_cached = IMAGE, scheduling = { distribution = "constant", value = "2s" }, pull = { distribution = "constant", value = "30s" }, load = { distribution = "constant", value = "10s" } }
readiness = { initial_delay = "5s", period = "5s" }
shutdown = { endpoint_propagation = "1s", grace_period = "20s" }
[cluster]
nodes = [{ name = "n", count = 1, cpus = 8.0, gpus = 2 AUTOSCALER }]
"#;
    let text = change(text).replace("FAULTS", "").replace("IMAGE", "true").replace("AUTOSCALER", "");
    let scenario = Scenario::parse(&text, "test", Path::new(".")).expect("valid");
    Simulation::new(&Prepared::new(scenario).unwrap(), 1, false).unwrap()
}

/// Runs to the control tick at `seconds`.
fn at(simulation: &mut Simulation, seconds: u64) -> PodCounts {
    loop {
        let stop = simulation.run().unwrap();
        if stop == Stop::Control && simulation.now().as_nanos() == seconds * 1_000_000_000 {
            return simulation.counts(0);
        }
        assert_ne!(stop, Stop::End, "never at {seconds} s");
    }
}

fn counts(desired: u32, scheduled: u32, ready: u32, draining: u32, pending: u32) -> PodCounts {
    PodCounts { desired, scheduled, ready, draining, pending }
}

#[test]
fn a_pod_starts_stage_by_stage() {
    let mut s = simulation(str::to_owned);
    assert_eq!(at(&mut s, 10), counts(1, 1, 1, 0, 0));
    s.scale(0, 2).unwrap();
    assert_eq!(at(&mut s, 11), counts(2, 1, 1, 0, 1));
    assert_eq!(at(&mut s, 13), counts(2, 2, 1, 0, 0));
    // The container starts at 12 s, is loaded at 22 s and probed at 17, 22, … s.
    assert_eq!(at(&mut s, 21), counts(2, 2, 1, 0, 0));
    assert_eq!(at(&mut s, 23), counts(2, 2, 2, 0, 0));
    let endpoints = |s: &Simulation| s.fleet().endpoints(0).len();
    at(&mut s, 24);
    assert_eq!(endpoints(&s), 2);
}

#[test]
fn an_image_is_pulled_once_a_node() {
    let mut s = simulation(|text| text.replace("IMAGE", "false"));
    // The first pod was there before the run; its node has pulled nothing since.
    at(&mut s, 10);
    s.scale(0, 2).unwrap();
    assert_eq!(at(&mut s, 50).ready, 1);
    // 10 + 2 + 30 + 10 s, and the next probe.
    assert_eq!(at(&mut s, 53).ready, 2);
    s.scale(0, 1).unwrap();
    at(&mut s, 60);
    s.scale(0, 2).unwrap();
    assert_eq!(at(&mut s, 73).ready, 2);
}

#[test]
fn what_does_not_fit_stays_pending_until_something_goes() {
    let mut s = simulation(str::to_owned);
    at(&mut s, 10);
    s.scale(0, 4).unwrap();
    // Two GPUs, one taken.
    assert_eq!(at(&mut s, 60), counts(4, 2, 2, 0, 2));
    // Those without a node go first.
    s.scale(0, 3).unwrap();
    assert_eq!(at(&mut s, 61), counts(3, 2, 2, 0, 1));
    s.scale(0, 2).unwrap();
    assert_eq!(at(&mut s, 62), counts(2, 2, 2, 0, 0));
}

#[test]
fn a_pod_drains_and_what_is_left_is_killed() {
    let mut s = simulation(str::to_owned);
    at(&mut s, 10);
    s.scale(0, 0).unwrap();
    assert_eq!(at(&mut s, 11).draining, 1);
    // Requests arrive for another second, then nobody takes them; the pod ends when it is empty.
    assert_eq!(at(&mut s, 13), counts(0, 0, 0, 0, 0));
    let killed = s.fleet().sink.ledger.killed;
    assert_eq!(killed, 0);
    assert!(s.fleet().sink.ledger.no_endpoint > 0);

    // A queue of minutes outlives the grace period of 20 s.
    let mut s = simulation(|text| text.replace("rate = 50.0", "rate = 2000.0"));
    at(&mut s, 20);
    s.scale(0, 0).unwrap();
    assert_eq!(at(&mut s, 39).draining, 1);
    assert_eq!(s.fleet().sink.ledger.killed, 0);
    assert_eq!(at(&mut s, 41), counts(0, 0, 0, 0, 0));
    assert!(s.fleet().sink.ledger.killed > 10_000);
}

#[test]
fn the_node_autoscaler_follows_demand_up_and_down() {
    let autoscaler = ", autoscaler = { max = 3, provisioning = { distribution = \"constant\", value = \"60s\" }, scale_down_after = \"100s\" }";
    let mut s = simulation(|text| text.replace("AUTOSCALER", autoscaler));
    at(&mut s, 10);
    s.scale(0, 8).unwrap();
    // Six of eight fit on three nodes; the new ones, asked for at 12 s, come at 72 s without the image.
    at(&mut s, 71);
    assert_eq!(s.cluster().node_count(), 1);
    at(&mut s, 73);
    assert_eq!(s.cluster().node_count(), 3);
    assert_eq!(at(&mut s, 120), counts(8, 6, 6, 0, 2));
    s.scale(0, 1).unwrap();
    at(&mut s, 215);
    assert_eq!(s.cluster().node_count(), 3);
    at(&mut s, 225);
    assert_eq!(s.cluster().node_count(), 1);
}

#[test]
fn the_youngest_ready_pod_goes_first() {
    let mut s = simulation(str::to_owned);
    at(&mut s, 10);
    s.scale(0, 2).unwrap();
    at(&mut s, 40);
    s.scale(0, 1).unwrap();
    let draining: Vec<u64> = s.cluster().pods().filter(|p| p.is_draining()).map(|p| p.id).collect();
    assert_eq!(draining, [1]);
}

#[test]
fn a_crash_loops_with_growing_back_off() {
    let fault = "[[faults]]\nkind = \"pod_crash\"\nrepeats = 1\nat = [\"30s\"]\n";
    let mut s = simulation(|text| text.replace("FAULTS", fault));
    assert_eq!(at(&mut s, 29).ready, 1);
    assert_eq!(at(&mut s, 31).ready, 0);
    // Back-off 10 s, load 10 s: up and down again at 50 s; then 20 s and 10 s.
    assert_eq!(at(&mut s, 51).ready, 0);
    assert_eq!(at(&mut s, 79).ready, 0);
    assert_eq!(at(&mut s, 81).ready, 1);
    assert_eq!(s.cluster().pods().map(|p| p.restarts).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_lost_node_is_noticed_and_its_pods_replaced_later() {
    let fault =
        "[[faults]]\nkind = \"node_lost\"\nlasting = \"5m\"\ndetection = \"40s\"\neviction = \"60s\"\nat = [\"30s\"]\n";
    let mut s = simulation(|text| text.replace("FAULTS", fault));
    at(&mut s, 29);
    let killed = |s: &Simulation| s.fleet().sink.ledger.killed;
    // The API shows the pod ready, and clients send to it, until the node's silence is noticed.
    assert_eq!(at(&mut s, 69).ready, 1);
    assert!(killed(&s) > 1_500);
    assert_eq!(at(&mut s, 71).ready, 0);
    assert!(s.cluster().pods().all(|p| p.phase == Phase::Lost));
    assert_eq!(s.fleet().endpoints(0).len(), 0);
    // Replaced at 130 s, with nowhere to go until the node is back at 330 s.
    assert_eq!(at(&mut s, 135), counts(1, 0, 0, 0, 1));
    assert_eq!(at(&mut s, 360).ready, 1);
}

#[test]
fn a_lost_gpu_takes_its_pod_with_it() {
    let fault = "[[faults]]\nkind = \"gpu_lost\"\nlasting = \"1m\"\nat = [\"30s\"]\n";
    let mut s = simulation(|text| text.replace("FAULTS", fault).replace("gpus = 2", "gpus = 1"));
    at(&mut s, 29);
    assert_eq!(at(&mut s, 33), counts(1, 0, 0, 0, 1));
    assert_eq!(at(&mut s, 89).scheduled, 0);
    assert_eq!(at(&mut s, 110).ready, 1);
}
