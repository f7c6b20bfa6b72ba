//! Pods that come and go as somebody outside says: played back what a run's own cluster did, they give that run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kisim::autoscaler::AutoscalerConfig;
use kisim::cluster::Phase;
use kisim::control::{Autoscaler, Decision, Verdict, View};
use kisim::external::ExternalRun;
use kisim::prepared::Prepared;
use kisim::run::{Keep, Run, run_with, silent};
use kisim::scenario::Scenario;
use kisim::time::SimTime;
use proptest::prelude::*;
use world::{MS, fate, one_pool};

const KEEP: Keep = Keep { timeline: true, requests: true, decisions: true, plan: false };

/// What became of a pod, seen by an autoscaler that looks at the API every second.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    pool: usize,
    created: Option<SimTime>,
    started: Option<SimTime>,
    ready: Option<SimTime>,
    deleted: Option<SimTime>,
}

/// An autoscaler that writes down what the API shows when another decides. Near the end nobody decides any more, so that
/// what was decided is seen.
#[derive(Debug)]
struct Witness {
    inner: Box<dyn Autoscaler>,
    pods: BTreeMap<u64, Seen>,
    replicas: Vec<(SimTime, Told)>,
    last: SimTime,
    until: SimTime,
}

impl Witness {
    fn look(&mut self, view: &View<'_>) {
        for pod in view.pods {
            let seen = self.pods.entry(pod.id).or_insert(Seen { pool: pod.pool, ..Seen::default() });
            // Pods are created and deleted by decisions: by the one before.
            seen.created.get_or_insert(self.last);
            seen.started = seen.started.or(pod.started);
            if pod.phase == Phase::Ready {
                seen.ready = pod.ready_transition;
            }
        }
        for (id, seen) in &mut self.pods {
            let there = view.pods.iter().any(|pod| pod.id == *id && pod.phase != Phase::Draining);
            if !there {
                seen.deleted.get_or_insert(self.last);
            }
        }
        for (number, pool) in view.pools.iter().enumerate() {
            self.replicas.push((self.last, Told::Replicas(number, pool.counts.desired)));
        }
        self.last = view.now;
    }
}

impl Autoscaler for Witness {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn interval(&self) -> Option<Duration> {
        self.inner.interval()
    }
    fn decide(&mut self, view: &View<'_>) -> Decision {
        self.look(view);
        if view.now < self.until {
            return self.inner.decide(view);
        }
        let hold = Verdict::Hold { reason: "the end is near".into() };
        Decision { pools: vec![hold; view.pools.len()], placement: None }
    }
}

/// What happens to a pod from outside, in the order in which it happens at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Replicas(usize, u32),
    Delete(u64),
    Create(u64, usize),
    Bind(u64),
    Start(u64),
    Ready(u64),
}

/// The run's figures, and what its cluster did.
fn witnessed(prepared: &Arc<Prepared>, autoscaler: &str, seed: u64) -> (Run, Vec<(SimTime, Told)>) {
    let inner = AutoscalerConfig::parse(autoscaler, &prepared.scenario).unwrap().build(prepared).unwrap();
    let until = SimTime::from_nanos(prepared.end).saturating_sub(Duration::from_secs(90));
    let mut witness = Witness { inner, pods: BTreeMap::new(), replicas: Vec::new(), last: SimTime::ZERO, until };
    let run = run_with(prepared, &mut witness, seed, KEEP, &silent).unwrap();
    let mut told = witness.replicas;
    for (&id, seen) in &witness.pods {
        told.push((seen.created.unwrap(), Told::Create(id, seen.pool)));
        // Images are cached: the container starts when the pod is bound.
        for (at, what) in [
            (seen.started, Told::Bind(id)),
            (seen.started, Told::Start(id)),
            (seen.ready, Told::Ready(id)),
            (seen.deleted, Told::Delete(id)),
        ] {
            told.extend(at.map(|at| (at, what)));
        }
    }
    told.sort();
    (run, told)
}

/// The same from outside. `pauses`: besides, it stops this often to be looked at.
fn played(prepared: &Arc<Prepared>, told: &[(SimTime, Told)], name: String, seed: u64, pauses: Duration) -> Run {
    let mut run = ExternalRun::new(prepared, seed, KEEP).unwrap();
    let mut next = SimTime::ZERO;
    for &(at, what) in told {
        while next < at {
            run.advance(next).unwrap();
            for pod in 0..8 {
                let _looked_at = run.sample(pod);
            }
            next += pauses;
        }
        // The beginning is before the first step.
        if at > SimTime::ZERO {
            run.advance(at).unwrap();
        }
        match what {
            Told::Replicas(pool, replicas) => run.replicas(pool, replicas, "played back"),
            Told::Create(id, pool) => assert_eq!(run.create(pool), id),
            Told::Bind(id) => run.bind(id, 0),
            Told::Start(id) => run.start(id),
            Told::Ready(id) => run.ready(id),
            Told::Delete(id) => run.delete(id),
        }
    }
    run.advance(SimTime::NEVER).unwrap();
    assert!(run.is_over());
    run.finish(name)
}

fn short(seconds: u64, interval: &str, routing: &str) -> Arc<Prepared> {
    let text = kisim::scenario::DEFAULT
        .replace("count = 3", "count = 4")
        .replace("at = [\"21m\"]", "at = [\"99h\"]")
        .replace("routing = \"least_outstanding\"", &format!("routing = \"{routing}\""))
        .replace("interval = \"15s\"", &format!("interval = \"{interval}\""));
    let mut scenario = Scenario::parse(&text, "a test", std::path::Path::new(".")).unwrap();
    scenario.duration = Some(kisim::config::Span::secs(seconds));
    scenario.warm_up = kisim::config::Span::secs(45);
    Prepared::new(scenario).unwrap()
}

fn the_same(prepared: &Arc<Prepared>, autoscaler: &str, seed: u64, pauses: Duration) -> Run {
    let (own, told) = witnessed(prepared, autoscaler, seed);
    let external = played(prepared, &told, own.summary.autoscaler.clone(), seed, pauses);
    assert!(own.requests.len() > 10_000);
    assert_eq!(own.requests.len(), external.requests.len());
    let first = own.requests.iter().zip(&external.requests).position(|(a, b)| a != b);
    assert_eq!(first, None, "request by request");
    assert_eq!(own.summary, external.summary);
    assert_eq!(own.rows.len(), external.rows.len());
    // Nodes are the simulated cluster's alone; pods of a row at the instant of a decision are counted after it in one and
    // before it in the other.
    for (a, b) in own.rows.iter().zip(&external.rows) {
        assert_eq!((a.p99_ms, a.in_flight, a.violations), (b.p99_ms, b.in_flight, b.violations), "at {}", a.time_s);
    }
    own
}

#[test]
fn a_run_played_back_is_that_run_to_the_last_bit() {
    let mut went = 0;
    for (routing, autoscaler) in [("least_outstanding", "hpa:60"), ("random", "kpa:24")] {
        let run = the_same(&short(690, "15s", routing), autoscaler, 3, Duration::from_millis(700));
        let pool = &run.summary.pools["gpu"];
        assert!(pool.replicas_max > 6 && run.summary.churn > 6, "pods came: {pool:?}");
        went += run.decisions.iter().filter(|d| d.after < d.before).count();
    }
    assert!(went > 3, "and went");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whenever_somebody_looks(seed in 0u64..1_000, pauses in 50u64..20_000) {
        the_same(&short(330, "5s", "power_of_two"), "kpa:24", seed, Duration::from_millis(pauses));
    }
}

/// Requests every 200 ms; a pod takes 100 ms for one; endpoints propagate in 500 ms.
fn by_hand() -> ExternalRun {
    let prepared = one_pool("", 0, "");
    let mut scenario = prepared.scenario.clone();
    scenario.traffic =
        toml::from_str("kind = 'open'\nrate = { shape = 'constant', rate = 5.0 }\narrivals = { process = 'regular' }")
            .unwrap();
    ExternalRun::new(&Prepared::new(scenario).unwrap(), 1, Keep { requests: true, ..Keep::default() }).unwrap()
}

fn at(ms: u64) -> SimTime {
    SimTime::from_nanos(ms * MS)
}

#[test]
fn a_probe_that_fails_takes_a_pod_out_and_a_crash_takes_its_requests() {
    let mut run = by_hand();
    let pod = run.create(0);
    // Nobody is ready who has no node.
    run.ready(pod);
    assert_eq!(run.phase(pod), Some(Phase::Pending));
    run.bind(pod, 4);
    run.ready(pod);
    run.advance(at(5_050)).unwrap();
    run.unready(pod);
    run.advance(at(5_500)).unwrap();
    // Its process runs on, and counts.
    let before = run.sample(pod).unwrap().counters.success;
    run.advance(at(7_500)).unwrap();
    assert!(run.sample(pod).unwrap().counters.success <= before + 1, "no endpoint since 5.55 s");
    run.ready(pod);
    run.advance(at(10_000)).unwrap();
    assert!(run.sample(pod).unwrap().counters.success > before + 5);
    run.crash(pod);
    assert_eq!(run.sample(pod), None, "nobody answers");
    run.start(pod);
    run.advance(at(15_000)).unwrap();
    run.ready(pod);
    run.advance(at(20_000)).unwrap();
    let counted = run.sample(pod).unwrap().counters.success;
    assert!((15..=25).contains(&counted), "from zero again: {counted}");
    run.kill(pod);
    assert_eq!(run.phase(pod), None);
    run.advance(SimTime::NEVER).unwrap();
    let result = run.finish("by hand".into());
    let r = result.summary.requests;
    assert_eq!(r.arrived, r.completed + r.killed + r.no_endpoint + r.in_flight_at_end);
    let served: Vec<u64> = result.requests.iter().filter(|r| fate(r).3 == "completed").map(|r| r.sent / MS).collect();
    let none = |from: u64, to: u64| !served.iter().any(|&ms| ms > from && ms < to);
    assert!(none(5_550, 8_000) && none(10_000, 15_500) && none(20_000, 30_000), "{served:?}");
    assert!((result.summary.pools["gpu"].replica_seconds - 20.0).abs() < 1e-6, "it cost while it had a node");
}

#[test]
fn a_deleted_pod_finishes_what_it_holds_and_what_is_not_done_in_time_is_killed() {
    let mut run = by_hand();
    let (one, other) = (run.create(0), run.create(0));
    for pod in [one, other] {
        run.bind(pod, 0);
        run.ready(pod);
    }
    run.advance(at(2_950)).unwrap();
    run.delete(one);
    assert_eq!((run.counts(0).draining, run.phase(one)), (1, Some(Phase::Draining)));
    run.advance(at(5_000)).unwrap();
    // Told again, or that it is ready: it is neither.
    run.delete(one);
    run.ready(one);
    assert_eq!(run.phase(one), None);
    run.advance(SimTime::NEVER).unwrap();
    let summary = run.finish("by hand".into()).summary;
    assert_eq!((summary.requests.killed, summary.requests.no_endpoint), (0, 0));
    // 30 s for one, and 2.95 s, half a second of endpoints and at most a request for the other.
    let seconds = summary.pools["gpu"].replica_seconds - 30.0;
    assert!((3.45..3.8).contains(&seconds), "{seconds}");
}

#[test]
fn stopped_half_way_it_reports_what_it_has() {
    let mut run = by_hand();
    let pod = run.create(0);
    run.bind(pod, 0);
    run.ready(pod);
    run.replicas(0, 1, "found");
    run.advance(at(10_000)).unwrap();
    run.replicas(0, 3, "kubectl");
    assert!(!run.is_over());
    let summary = run.finish("kubectl".into()).summary;
    assert_eq!((summary.duration_s, summary.churn), (10.0, 2));
    assert!((49..=50).contains(&summary.requests.arrived), "{}", summary.requests.arrived);
}
