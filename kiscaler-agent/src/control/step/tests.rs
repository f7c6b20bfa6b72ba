//! The loop under what can happen to it.

use std::collections::BTreeMap;

use kisim::cluster::PodCounts;
use kisim::control::Limits;
use kisim::profile::Hardware;
use kisim::telemetry::{Counters, PodSample};
use proptest::prelude::*;

use super::*;
use crate::plan::testing::scaler;
use crate::plan::{Chosen, ProfileTexts, load_policy};

const POLICY: &[u8] = include_bytes!("../../../../kiscaler-train/policies/default.safetensors");

fn at(seconds: u64) -> SimTime {
    SimTime::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
}

/// A loop, and a cluster that does what it says at once.
struct Stage {
    steps: Loop,
    replicas: u32,
    requests: u64,
    utilization: f64,
    limits: Limits,
}

impl Stage {
    fn new(chosen: &Chosen, fallback: &str) -> Stage {
        let mut scaler = scaler("hpa:60");
        scaler.spec.fallback = fallback.to_owned();
        let plan = Plan::new(&scaler, &ProfileTexts::new(), chosen, &BTreeMap::from([("gpu", 2)])).unwrap();
        let limits = plan.prepared.pools[0].config.limits;
        let rules = Rules::of(&scaler.spec, !plan.needs.is_none());
        let steps = Loop::new(plan, vec![Gate::of(limits, &scaler.spec.pools.gpu)], rules);
        Stage { steps, replicas: 2, requests: 0, utilization: 0.3, limits }
    }

    fn baseline(name: &str) -> Stage {
        Stage::new(&Chosen::Baseline(name.into()), "Hold")
    }

    fn inputs(&mut self, seconds: u64) -> Inputs {
        self.requests += 3000;
        let pods: Vec<PodView> = (0..u64::from(self.replicas))
            .map(|id| PodView { id, pool: 0, phase: Phase::Ready, started: Some(at(0)), ready_transition: Some(at(0)) })
            .collect();
        let sample = |pod: &PodView| PodSample {
            at: at(seconds),
            pod: pod.id,
            pool: 0,
            counters: Counters { arrived: self.requests, success: self.requests, ..Counters::default() },
            queued: 1,
            in_flight: 2,
            in_flight_s: 0.0,
            utilization: self.utilization,
            cpu_utilization: 0.0,
        };
        let scrape = Scrape { pods: pods.iter().map(sample).collect(), ..Scrape::default() };
        let counts = PodCounts {
            desired: self.replicas,
            scheduled: self.replicas,
            ready: self.replicas,
            ..PodCounts::default()
        };
        let pool = PoolView { name: "gpu".into(), hardware: Hardware::Gpu, counts, cpus: 1.0, limits: self.limits };
        Inputs { now: at(seconds), scrape, pools: vec![pool], pods, obstacle: None, recalled: Vec::new() }
    }

    /// Steps every 15 s up to `seconds`; the last outcome.
    fn warm(&mut self, seconds: u64) -> Outcome {
        let mut outcome = None;
        for now in (0..=seconds).step_by(15) {
            let inputs = self.inputs(now);
            outcome = Some(self.steps.step(&inputs));
        }
        outcome.unwrap()
    }
}

#[test]
fn nothing_is_scaled_on_a_first_sight() {
    let mut stage = Stage::baseline("hpa:60");
    stage.utilization = 1.0;
    for seconds in [100, 115, 130, 145] {
        let inputs = stage.inputs(seconds);
        let outcome = stage.steps.step(&inputs);
        assert_eq!((outcome.reason, outcome.changes()), (Reason::WarmingUp, false), "{}", outcome.message);
    }
    let inputs = stage.inputs(161);
    let outcome = stage.steps.step(&inputs);
    assert_eq!((outcome.reason, outcome.pools[0].target), (Reason::ScaleUp, 4), "{}", outcome.message);
}

#[test]
fn what_is_not_known_holds_and_says_why() {
    let mut stage = Stage::baseline("hpa:60");
    stage.utilization = 1.0;
    stage.warm(90);
    let reason = |stage: &mut Stage, seconds: u64, change: &dyn Fn(&mut Inputs)| {
        let mut inputs = stage.inputs(seconds);
        change(&mut inputs);
        let outcome = stage.steps.step(&inputs);
        assert!(outcome.reason == Reason::ScaleUp || !outcome.changes(), "{outcome:?}");
        outcome.reason
    };
    assert_eq!(reason(&mut stage, 105, &|_| ()), Reason::ScaleUp);
    // One of two pods is half of them, which is enough; a failed scrape of both is not.
    assert_eq!(reason(&mut stage, 120, &|i| i.scrape.failed = vec![(0, at(121))]), Reason::ScaleUp);
    let failed = |i: &mut Inputs| i.scrape = Scrape { failed: vec![(0, at(135)), (1, at(135))], ..Scrape::default() };
    assert_eq!(reason(&mut stage, 135, &failed), Reason::NoMetrics);
    assert_eq!(reason(&mut stage, 150, &|_| ()), Reason::ScaleUp);
    // Nothing is scraped any more.
    let nothing = |i: &mut Inputs| i.scrape = Scrape::default();
    assert_eq!(reason(&mut stage, 165, &nothing), Reason::ScaleUp);
    assert_eq!(reason(&mut stage, 225, &nothing), Reason::StaleMetrics);
    assert_eq!(reason(&mut stage, 240, &|_| ()), Reason::ScaleUp);
    // Not one of the pods is ready.
    assert_eq!(
        reason(&mut stage, 255, &|i| i.pods.iter_mut().for_each(|p| p.phase = Phase::BackOff)),
        Reason::NoReadyPods
    );
    // Somebody switched the service off.
    assert_eq!(reason(&mut stage, 270, &|i| i.pools[0].counts.desired = 0), Reason::Disabled);
    // The clock went back, and came again.
    assert_eq!(reason(&mut stage, 200, &|_| ()), Reason::ClockStepped);
    assert_eq!(reason(&mut stage, 285, &|_| ()), Reason::ScaleUp);
}

#[test]
fn an_obstacle_shows_what_is_wanted_and_changes_nothing() {
    let mut stage = Stage::baseline("hpa:60");
    stage.utilization = 1.0;
    stage.warm(90);
    let mut inputs = stage.inputs(105);
    inputs.obstacle = Some(Obstacle { reason: Reason::Paused, message: "paused".into() });
    let outcome = stage.steps.step(&inputs);
    assert_eq!((outcome.reason, outcome.changes(), outcome.pools[0].wanted), (Reason::Paused, false, Some(4)));
}

#[test]
fn a_decrease_waits_for_pods_that_are_going() {
    let mut stage = Stage::baseline("fixed:1");
    let mut inputs = stage.inputs(0);
    inputs.pods[1].phase = Phase::Draining;
    let outcome = stage.steps.step(&inputs);
    assert_eq!((outcome.reason, outcome.changes()), (Reason::Draining, false), "{}", outcome.message);
    let inputs = stage.inputs(15);
    let outcome = stage.steps.step(&inputs);
    assert_eq!((outcome.reason, outcome.pools[0].target), (Reason::ScaleDown, 1));
}

#[test]
fn what_training_never_saw_goes_to_the_fallback_with_the_feature_named() {
    let loaded = Arc::new(load_policy("default", POLICY, None).unwrap());
    for (fallback, expected) in [("Hold", None), ("fixed:5", Some(5))] {
        let mut stage = Stage::new(&Chosen::Policy(Arc::clone(&loaded)), fallback);
        let usual = stage.warm(300);
        assert_ne!(usual.reason, Reason::OutOfDistribution, "{}", usual.message);
        // A million requests a second is more than a policy for eight pods was ever shown.
        stage.requests += 100_000_000_000;
        let inputs = stage.inputs(315);
        let outcome = stage.steps.step(&inputs);
        assert_eq!(outcome.reason, Reason::OutOfDistribution, "{}", outcome.message);
        assert!(outcome.message.contains("feature "), "{}", outcome.message);
        assert_eq!(outcome.pools[0].target, expected.unwrap_or(2));
        assert_eq!(outcome.holds(), expected.is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_seen_the_target_is_within_the_limits_or_what_there_is(
        steps in prop::collection::vec((0u64..200, 0.0f64..1.0, any::<bool>(), any::<bool>(), 0u32..12), 1..40)
    ) {
        let mut stage = Stage::baseline("hpa:60");
        let mut now = 0;
        for (wait, utilization, lost, obstacle, replicas) in steps {
            now += wait;
            stage.utilization = utilization;
            stage.replicas = replicas;
            let mut inputs = stage.inputs(now);
            if lost { inputs.scrape = Scrape::default() }
            if obstacle { inputs.obstacle = Some(Obstacle { reason: Reason::TargetOwned, message: String::new() }) }
            let outcome = stage.steps.step(&inputs);
            let pool = &outcome.pools[0];
            prop_assert!(pool.target == pool.current || (1..=8).contains(&pool.target));
            if outcome.reason.holds() { prop_assert_eq!(pool.target, pool.current) }
        }
    }
}
