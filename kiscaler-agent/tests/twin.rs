//! The core of the twin, told what an API server would show: the same figures as `kisim run`, and metrics as exporters
//! have them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kiscaler_agent::api::{KIScaler, Mode, PolicySpec};
use kiscaler_agent::plan::{Chosen, Plan, ProfileTexts};
use kiscaler_agent::twin::{PodMetricsError, PodState, Twin, kiscaler};
use kisim::autoscaler::AutoscalerConfig;
use kisim::cluster::Phase;
use kisim::config::Span;
use kisim::control::{Autoscaler, Decision, Verdict, View};
use kisim::prepared::Prepared;
use kisim::report::Summary;
use kisim::run::{Keep, Run, run_with, silent};
use kisim::scenario::Scenario;
use kisim::time::SimTime;

/// The default scenario on nodes with room for all pods, without the crash that a simulated cluster would play.
fn prepared(seconds: u64) -> Arc<Prepared> {
    let text = kisim::scenario::DEFAULT.replace("count = 3", "count = 4").replace("at = [\"21m\"]", "at = [\"99h\"]");
    let mut scenario = Scenario::parse(&text, "a test", std::path::Path::new(".")).unwrap();
    scenario.duration = Some(Span::secs(seconds));
    Prepared::new(scenario).unwrap()
}

/// What an API server shows while a simulated run goes on: pods as an autoscaler sees them listed at each decision, with
/// the times of their conditions.
#[derive(Debug)]
struct Recorder {
    inner: Box<dyn Autoscaler>,
    shown: Vec<(SimTime, Shown)>,
    pods: BTreeMap<u64, PodState>,
    replicas: u32,
    last: SimTime,
    until: SimTime,
}

#[derive(Clone, Debug)]
enum Shown {
    Replicas(u32),
    Pod(PodState),
}

impl Recorder {
    fn look(&mut self, view: &View<'_>) {
        let desired = view.pools[0].counts.desired;
        if desired != self.replicas {
            self.shown.push((self.last, Shown::Replicas(desired)));
            self.replicas = desired;
        }
        for pod in view.pods {
            let name = format!("triton-{}", pod.id);
            let new = PodState { uid: format!("uid-{}", pod.id), name, created: pod.id as i64, ..PodState::default() };
            let last = self.last;
            let shown = &mut self.shown;
            // What a watch would have shown at its own time, though it is noticed only now.
            let mut show = |at: SimTime, state: &PodState| shown.push((at, Shown::Pod(state.clone())));
            let state = self.pods.entry(pod.id).or_insert_with(|| {
                show(last, &new);
                new
            });
            if let (false, Some(started)) = (state.started, pod.started) {
                (state.node, state.started) = (Some("gpu-0".into()), true);
                show(started, state);
            }
            if let (false, Phase::Ready, Some(ready)) = (state.ready, pod.phase, pod.ready_transition) {
                state.ready = true;
                show(ready, state);
            }
        }
        for (id, state) in &mut self.pods {
            let there = view.pods.iter().any(|pod| pod.id == *id && pod.phase != Phase::Draining);
            if !there && !state.deleting {
                state.deleting = true;
                self.shown.push((self.last, Shown::Pod(state.clone())));
            }
        }
        self.last = view.now;
    }
}

impl Autoscaler for Recorder {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn decide(&mut self, view: &View<'_>) -> Decision {
        self.look(view);
        if view.now < self.until {
            return self.inner.decide(view);
        }
        // Near the end nobody decides, so that all that was decided is seen.
        let hold = Verdict::Hold { reason: "the end is near".into() };
        Decision { pools: vec![hold; view.pools.len()], placement: None }
    }
}

fn recorded(prepared: &Arc<Prepared>, autoscaler: &str, seed: u64) -> (Run, Vec<(SimTime, Shown)>) {
    let inner = AutoscalerConfig::parse(autoscaler, &prepared.scenario).unwrap().build(prepared).unwrap();
    let mut recorder = Recorder {
        inner,
        shown: Vec::new(),
        pods: BTreeMap::new(),
        replicas: u32::MAX,
        last: SimTime::ZERO,
        until: SimTime::from_nanos(prepared.end).saturating_sub(Duration::from_secs(90)),
    };
    let run = run_with(prepared, &mut recorder, seed, Keep::default(), &silent).unwrap();
    let mut shown = recorder.shown;
    // Of one instant, as they were found.
    shown.sort_by_key(|(at, _)| *at);
    (run, shown)
}

fn play(twin: &mut Twin, shown: &[(SimTime, Shown)], delay: Duration) {
    for (at, what) in shown {
        let at = if *at == SimTime::ZERO { *at } else { *at + delay };
        while twin.now() < at {
            // As the edge does: in small steps, with somebody reading along.
            let next = (twin.now() + Duration::from_millis(500)).min(at);
            twin.advance(next).unwrap();
            assert!(!twin.metrics().is_empty());
        }
        match what {
            Shown::Replicas(n) => twin.replicas(0, *n),
            Shown::Pod(state) => twin.pod(0, state.clone()),
        }
    }
    twin.advance(SimTime::NEVER).unwrap();
    assert!(twin.is_over());
}

#[test]
fn the_same_traffic_and_the_same_pods_give_the_same_figures_as_kisim_run() {
    let prepared = prepared(690);
    let (own, shown) = recorded(&prepared, "hpa:60", 3);
    assert!(own.summary.churn > 6 && own.summary.requests.completed > 100_000, "{:?}", own.summary);
    let mut twin = Twin::new(&prepared, 3, Keep::default(), "default", 1.0).unwrap();
    play(&mut twin, &shown, Duration::ZERO);
    let name = own.summary.autoscaler.clone();
    assert_eq!(twin.finish(name).summary, own.summary, "to the last bit");
}

#[test]
fn heard_of_late_they_differ_by_little() {
    let prepared = prepared(690);
    // What a watch needs, ten times over and at ten times the speed.
    let delay = Duration::from_millis(200);
    let mut worst = [0.0_f64; 4];
    for seed in 1..=8 {
        let (own, shown) = recorded(&prepared, "predictive", seed);
        let mut twin = Twin::new(&prepared, seed, Keep::default(), "default", 10.0).unwrap();
        play(&mut twin, &shown, delay);
        let (own, twin) = (own.summary, twin.finish("twin".into()).summary);
        assert_eq!(own.requests.arrived, twin.requests.arrived);
        let share = |a: f64, b: f64| (a / b - 1.0).abs();
        let p95 = |s: &Summary| s.latency_ms.p95.unwrap();
        let mean = |s: &Summary| s.latency_ms.mean.unwrap();
        let found = [
            share(twin.cost, own.cost),
            share(mean(&twin), mean(&own)),
            share(p95(&twin), p95(&own)),
            (twin.slo.violation_ratio - own.slo.violation_ratio).abs(),
        ];
        worst = std::array::from_fn(|i| worst[i].max(found[i]));
    }
    let [cost, mean, p95, violations] = worst;
    assert!(cost < 0.001 && mean < 0.05 && p95 < 0.04 && violations < 0.003, "{worst:?}");
}

fn ready(name: &str, uid: &str) -> PodState {
    PodState {
        uid: uid.into(),
        name: name.into(),
        node: Some("gpu-0".into()),
        started: true,
        ready: true,
        ..PodState::default()
    }
}

fn at(seconds: u64) -> SimTime {
    SimTime::ZERO + Duration::from_secs(seconds)
}

fn value(text: &str, start: &str) -> Option<f64> {
    text.lines().find(|line| line.starts_with(start)).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn played_ten_times_as_fast_it_looks_like_a_service_ten_times_as_fast() {
    let prepared = prepared(600);
    let read = |speed: f64| {
        let mut twin = Twin::new(&prepared, 1, Keep::default(), "default", speed).unwrap();
        twin.pods_are(0, (0..4).map(|n| ready(&format!("t-{n}"), &format!("u-{n}"))).collect());
        twin.advance(at(300)).unwrap();
        twin.pod_metrics("t-2").unwrap()
    };
    let (one, ten) = (read(1.0), read(10.0));
    let both = |name: &str| {
        let start = format!("{name}{{namespace=\"default\",pod=\"t-2\"");
        (value(&one, &start).unwrap(), value(&ten, &start).unwrap())
    };
    // Counted alike, and ten times as fast by a clock on the wall.
    let (a, b) = both("nv_inference_request_success");
    assert!(a == b && a > 10_000.0, "{a} {b}");
    let (a, b) = both("DCGM_FI_DEV_GPU_UTIL");
    assert!(a == b && a > 20.0 && a <= 100.0, "{a} {b}");
    for name in
        ["nv_inference_request_duration_us", "nv_inference_queue_duration_us", "nv_inference_compute_infer_duration_us"]
    {
        let (a, b) = both(name);
        assert!((a / b - 10.0).abs() < 1e-3, "{name}: {a} {b}");
    }
    let counts = |text: &str, le: &str| {
        value(
            text,
            &format!(
                "nv_inference_request_latency_ms_bucket{{namespace=\"default\",pod=\"t-2\",model=\"bert-large-trt-fp16-seq128-t4\",le=\"{le}\"}}"
            ),
        )
    };
    assert_eq!(counts(&one, "200").unwrap(), counts(&ten, "20").unwrap());
    assert_eq!(counts(&one, "+Inf").unwrap(), counts(&ten, "+Inf").unwrap());
}

#[test]
fn a_pods_life_is_followed() {
    let mut twin = Twin::new(&prepared(600), 1, Keep::default(), "ns", 1.0).unwrap();
    twin.pods_are(0, vec![ready("a", "1")]);
    twin.advance(at(5)).unwrap();
    assert_eq!(twin.ready(0), 1);

    // One that starts has no server yet; one that nobody knows is another matter.
    let starting = PodState { ready: false, ..ready("b", "2") };
    twin.pod(0, starting.clone());
    twin.advance(at(10)).unwrap();
    assert_eq!(twin.pod_metrics("b"), Err(PodMetricsError::NotRunning));
    assert_eq!(twin.pod_metrics("c"), Err(PodMetricsError::Unknown));
    assert_eq!(twin.metrics().matches("istio_requests_total{").count(), 1);

    twin.pod(0, PodState { ready: true, ..starting.clone() });
    twin.advance(at(60)).unwrap();
    let success =
        |twin: &mut Twin, name: &str| value(&twin.pod_metrics(name).unwrap(), "nv_inference_request_success{").unwrap();
    let before = success(&mut twin, "b");
    assert!(before > 1_000.0);

    // Its container dies and comes again: it counts from zero, as a process does.
    let restarted = PodState { restarts: 1, ready: false, started: true, ..starting.clone() };
    twin.pod(0, restarted.clone());
    assert_eq!(twin.pod_metrics("b"), Err(PodMetricsError::NotRunning));
    twin.advance(at(70)).unwrap();
    twin.pod(0, PodState { ready: true, ..restarted.clone() });
    twin.advance(at(75)).unwrap();
    assert!(success(&mut twin, "b") < before);

    // So does one whose being not ready was missed.
    let again = PodState { restarts: 2, ready: true, ..restarted };
    let counted = success(&mut twin, "b");
    twin.pod(0, again.clone());
    twin.advance(at(77)).unwrap();
    assert!(success(&mut twin, "b") < counted && twin.ready(0) == 2);

    // Deleted, it drains; the API may forget it meanwhile. Then it is unknown.
    twin.pod(0, PodState { deleting: true, ..again });
    twin.pod_gone("2", true);
    assert_eq!(twin.ready(0), 1);
    assert!(twin.pod_metrics("b").is_ok(), "it still has something to do");
    twin.advance(at(90)).unwrap();
    assert_eq!(twin.pod_metrics("b"), Err(PodMetricsError::Unknown));

    // A list without the other: it went while nobody looked.
    twin.pods_are(0, vec![ready("c", "3")]);
    twin.advance(at(120)).unwrap();
    assert_eq!((twin.ready(0), twin.pod_metrics("a")), (1, Err(PodMetricsError::Unknown)));

    // By force, and evicted: at once, with all they hold.
    twin.pod(0, ready("d", "4"));
    twin.advance(at(150)).unwrap();
    twin.pod_gone("3", true);
    twin.pod(0, PodState { ended: true, ready: false, ..ready("d", "4") });
    twin.advance(at(151)).unwrap();
    assert_eq!((twin.ready(0), twin.metrics()), (0, String::new()));
    let summary = twin.finish("nobody".into()).summary;
    assert!(summary.requests.killed > 0, "{:?}", summary.requests);
}

/// What a policy is told of the service by the KIScaler that fits a twin.
fn facts(prepared: &Prepared, speed: f64) -> kiscaler_train::facts::Facts {
    let target = "deploy/triton".parse().unwrap();
    let policy = PolicySpec { baseline: Some("hpa:60".into()), checkpoint: None };
    let address = "127.0.0.1:9400".parse().unwrap();
    let written = kiscaler(prepared, &[target], speed, address, policy, Mode::Shadow).unwrap();
    // As somebody would apply it.
    let scaler = KIScaler::parse(&serde_norway::to_string(&written).unwrap(), "a test").unwrap();
    assert_eq!(scaler, written);
    let texts = ProfileTexts::new();
    let plan = Plan::new(&scaler, &texts, &Chosen::Baseline("hpa:60".into()), &BTreeMap::new()).unwrap();
    kiscaler_train::facts::Facts::of(&plan.prepared).unwrap()
}

#[test]
fn ten_times_as_fast_is_a_change_of_units() {
    let prepared = prepared(600);
    let (one, ten) = (facts(&prepared, 1.0), facts(&prepared, 10.0));
    let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 0.02, "{a} and {b}");
    near(ten.saturation, 10.0 * one.saturation);
    near(ten.cold_start_s, one.cold_start_s / 10.0);
    near(ten.step_s, one.step_s / 10.0);
    // What a policy's features are made of has no unit, and is the same.
    near(ten.cold_start_steps(), one.cold_start_steps());
    near(ten.slack, one.slack);
    near(ten.most, one.most);
    assert_eq!(one.takes.len(), 17);
    for (a, b) in one.takes.iter().zip(ten.takes.iter()).skip(1) {
        near(*a, *b);
    }
    // And what the scenario itself says is what the KIScaler says.
    let own = kiscaler_train::facts::Facts::of(&prepared).unwrap();
    near(own.saturation, one.saturation);
    near(own.slack, one.slack);
    near(own.cold_start_s, one.cold_start_s);
}
