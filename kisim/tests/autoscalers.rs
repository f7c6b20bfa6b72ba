//! The built-in autoscalers in whole runs: to zero and back, laws that hold for all of them, and what they say of files that
//! are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod world;

use std::sync::Arc;
use std::time::Duration;

use kisim::autoscaler::AutoscalerConfig;
use kisim::config::Span;
use kisim::ledger::Outcome;
use kisim::prepared::Prepared;
use kisim::run::{DecisionRecord, Keep, Run, run, run_with, silent};
use kisim::telemetry::{Counters, PodSample, Scrape};
use kisim::time::SimTime;
use kisim::window::{Counter, Window};
use proptest::prelude::*;
use world::{NODES, POD, Restless, prepared, scenario};

const KEEP: Keep = Keep { timeline: true, requests: true, decisions: true, plan: false };

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The autoscaler of an `[autoscaler]` table.
fn config(table: &str) -> AutoscalerConfig {
    toml::from_str(table).unwrap_or_else(|e| panic!("{table}: {e}"))
}

// To zero and back.

/// Five requests a second for a minute, nothing for six, one request, five a second for half a minute, nothing.
fn interrupted() -> Arc<Prepared> {
    let times = (0..300).map(|n| 0.2 * f64::from(n)).chain((0..150).map(|n| 420.0 + 0.2 * f64::from(n)));
    let rows: String = times.map(|t| format!("{t:.3}\n")).collect();
    let file = world::write("interrupted.csv", &format!("timestamp_s\n{rows}"));
    prepared(&format!(
        "name = 'interrupted'\nduration = '15m'\nslo = {{ latency = '1s' }}\nservice = {{ activator = {{}} }}\n\
         traffic = {{ kind = 'trace', path = '{}' }}\n{NODES}[pools.gpu]\nprofile = 'clock.toml'\n\
         initial_replicas = 1\nlimits = {{ min_replicas = 0, max_replicas = 4 }}\nbatcher = {{ max_batch = 2 }}\n{POD}",
        file.display()
    ))
}

/// When the count became 0 and when it was no longer 0, seconds.
fn changes_of_zero(decisions: &[DecisionRecord]) -> (Vec<f64>, Vec<f64>) {
    let at = |from_zero: bool| {
        let changed = decisions.iter().filter(|d| (d.before == 0) == from_zero && (d.after == 0) != from_zero);
        changed.map(|d| d.at).collect()
    };
    (at(false), at(true))
}

fn all_are_served(run: &Run) {
    assert_eq!(run.requests.len(), 450);
    assert!(run.requests.iter().all(|r| r.outcome == Outcome::Completed));
    assert_eq!((run.summary.requests.completed, run.summary.requests.in_flight_at_end), (450, 0));
    // In order, since one pod or a few serve what waited.
    assert!(run.summary.latency_ms.max.unwrap() < 45_000.0, "{:?}", run.summary.latency_ms);
}

#[test]
fn keda_goes_to_zero_after_its_cooldown_and_comes_back_when_a_request_waits() {
    let prepared = interrupted();
    for metric in ["in_flight", "request_rate"] {
        let keda = format!("kind = 'keda'\nmetric = '{metric}'\npolling_interval = '10s'\ncooldown = '60s'");
        let run = run(&prepared, &config(&keda), 1, KEEP, &silent).unwrap();
        let (to_zero, back) = changes_of_zero(&run.decisions);
        all_are_served(&run);
        let [first, second] = to_zero[..] else { panic!("{to_zero:?}") };
        let [back] = back[..] else { panic!("{back:?}") };
        // The last poll that saw a request is up to a scrape (15 s), its lag (1 s) and a rate's range (60 s) late.
        let late = if metric == "in_flight" { 16.0 } else { 76.0 };
        assert!((110.0..=130.0 + late).contains(&first), "{metric}: {first}");
        assert!((420.0..=447.0).contains(&back), "{metric}: {back}");
        assert!((500.0..=520.0 + 45.0 + late).contains(&second), "{metric}: {second}");
    }
}

#[test]
fn kpa_goes_to_zero_after_its_window_and_the_grace_period_and_comes_back_when_a_request_waits() {
    let prepared = interrupted();
    let run = run(&prepared, &config("kind = 'kpa'"), 1, KEEP, &silent).unwrap();
    let (to_zero, back) = changes_of_zero(&run.decisions);
    all_are_served(&run);
    let [first, second] = to_zero[..] else { panic!("{to_zero:?}") };
    let [back] = back[..] else { panic!("{back:?}") };
    // 60 s of window, and at most 30 s of grace on top, every 2 s.
    assert!((118.0..=156.0).contains(&first), "{first}");
    assert!((420.0..=424.0).contains(&back), "{back}");
    assert!((508.0..=546.0).contains(&second), "{second}");
    // What waited 4 s for a pod asked for no more pods than requests were there to be served at once.
    let most = run.decisions.iter().map(|d| d.after).max().unwrap();
    assert!(most <= 4);
    assert!(run.summary.latency_ms.max.unwrap() < 8_000.0);
}

#[test]
fn a_lost_second_of_metrics_is_not_made_up_for_by_the_next() {
    // Twenty requests wait for ever: no pod may start. Ten seconds without a scrape must not look like two hundred.
    let prepared = prepared(&format!(
        "name = 'gap'\nduration = '100s'\nslo = {{ latency = '1s' }}\nservice = {{ activator = {{}} }}\n\
         traffic = {{ kind = 'closed', users = [['0s', 20]], think = {{ distribution = 'constant', value = '1s' }} }}\n\
         faults = [{{ kind = 'scrape_dropout', at = ['40s'], lasting = '10s' }}, {{ kind = 'scrape_lag', at = ['60s'], \
         lasting = '5s', extra = '7s' }}]\n[cluster]\nnodes = [{{ name = 'none', count = 1, cpus = 1.0, gpus = 0 }}]\n\
         [pools.gpu]\nprofile = 'clock.toml'\ninitial_replicas = 0\n\
         limits = {{ min_replicas = 0, max_replicas = 1000 }}\n{POD}"
    ));
    let run = run(&prepared, &config("kind = 'kpa'\ntarget = 2.0"), 1, KEEP, &silent).unwrap();
    // 20 / (70 % of 2) is 14.3; twice as many would be panic's upper bound of a mean that is constant.
    let most = run.decisions.iter().map(|d| d.after).max().unwrap();
    assert!((14..=16).contains(&most), "{most}");
}

// Laws for all of them.

#[derive(Clone, Debug)]
struct Plan {
    traffic: &'static str,
    client: &'static str,
    faults: &'static str,
    routing: &'static str,
    limits: (u32, u32, u32),
    steps: (u32, u32),
    stabilization: u64,
    warm_up: bool,
    drop: f64,
}

const CALM: &str = r#"{ kind = "open", rate = { shape = "constant", rate = 60.0 } }"#;
const WILD: &str = r#"{ kind = "open", rate = { shape = "random", low = 0.0, high = 500.0, every = "40s" } }"#;
const USERS: &str = r#"{ kind = "closed", users = [["0s", 10], ["2m", 200], ["4m", 3]], think = { distribution = "exponential", mean = "300ms" } }"#;
const FAULTS: &str = "faults = [{ kind = 'pod_crash', every = '50s' }, { kind = 'scrape_dropout', every = '90s', \
                      lasting = '25s' }, { kind = 'scrape_lag', every = '70s', lasting = '30s', extra = '9s' }, \
                      { kind = 'scale_refused', every = '80s', lasting = '20s' }]";

impl Plan {
    fn prepared(&self) -> Arc<Prepared> {
        let (min, max, initial) = self.limits;
        prepared(&format!(
            "name = 'random'\nduration = '6m'\nwarm_up = '{}'\nslo = {{ latency = '120ms' }}\ntraffic = {}\n{}\n{}\n\
             service = {{ routing = '{}', activator = {{}} }}\ntelemetry = {{ drop_probability = {:?} }}\n{NODES}\
             [pools.gpu]\nprofile = 'bert-large-trt-fp16-seq128-t4'\ninitial_replicas = {initial}\n\
             batcher = {{ max_batch = 8, queue_limit = 100 }}\nlimits = {{ min_replicas = {min}, max_replicas = {max}, \
             max_step_up = {}, max_step_down = {}, scale_down_stabilization = '{}s' }}\n{POD}",
            if self.warm_up { "47300ms" } else { "0s" },
            self.traffic,
            self.client,
            self.faults,
            self.routing,
            self.drop,
            self.steps.0,
            self.steps.1,
            self.stabilization,
        ))
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let limits = (0u32..4, 0u32..5, 0.0..=1.0).prop_map(|(min, more, share): (u32, u32, f64)| {
        let max = (min + more).max(1);
        (min, max, min + (f64::from(max - min) * share).round() as u32)
    });
    let client = vec![
        "",
        "client = { timeout = '2s' }",
        "client = { timeout = '1s', retries = { attempts = 2, back_off = '100ms' } }",
    ];
    (
        prop::sample::select(vec![CALM, WILD, USERS]),
        prop::sample::select(client),
        prop::sample::select(vec!["", FAULTS]),
        prop::sample::select(vec!["random", "round_robin", "least_outstanding", "power_of_two"]),
        limits,
        (1u32..6, 1u32..6),
        prop_oneof![Just(0u64), 1u64..90],
        any::<bool>(),
        prop_oneof![Just(0.0), Just(0.3)],
    )
        .prop_map(|(traffic, client, faults, routing, limits, steps, stabilization, warm_up, drop)| Plan {
            traffic,
            client,
            faults,
            routing,
            limits,
            steps,
            stabilization,
            warm_up,
            drop,
        })
}

const KINDS: [&str; 10] = [
    "kind = 'hpa'",
    "kind = 'hpa'\nmetric = 'in_flight'\ntarget = 6.0\nscale_down_stabilization = '30s'",
    "kind = 'hpa'\nmetric = 'request_rate'\ntarget = 80.0\nscale_down_stabilization = '30s'\nheadroom = 1.3",
    "kind = 'keda'\npolling_interval = '10s'\ncooldown = '30s'",
    "kind = 'keda'\nmetric = 'cpu'\ncooldown = '30s'",
    "kind = 'kpa'",
    "kind = 'kpa'\ntarget = 3.0",
    "kind = 'predictive'\nhold = '20s'",
    "kind = 'schedule'\nperiod = '2m'\nentries = [{ at = '10s', replicas = { gpu = MAX } }, { at = '70s', replicas = { gpu = MIN } }]",
    "kind = 'fixed'",
];

/// `kind` with the numbers of a timetable within limits.
fn within(kind: &str, min: u32, max: u32) -> String {
    kind.replace("MAX", &max.to_string()).replace("MIN", &min.to_string())
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn replicas_stay_within_limits_and_the_reward_is_the_violation_ratio_of_the_summary(
        plan in plans(), kind in prop::sample::select(KINDS.to_vec()), seed in 0u64..1_000,
    ) {
        let prepared = plan.prepared();
        let (min, max, _) = plan.limits;
        let mut autoscaler = config(&within(kind, min, max)).build(&prepared).unwrap();
        let run = run_with(&prepared, autoscaler.as_mut(), seed, KEEP, &silent).unwrap();
        let mut panicking = false;
        for d in &run.decisions {
            prop_assert!((min..=max).contains(&d.after), "{d:?}");
            prop_assert!(d.after <= d.before + plan.steps.0 && d.before <= d.after + plan.steps.1, "{d:?}");
            // The first decision of a panic may be less than what was asked for before, none after it is.
            let panics = d.reason.starts_with("panicking");
            prop_assert!(!(panicking && panics) || d.after >= d.before, "{d:?}");
            if d.reason != "between ticks" {
                panicking = panics;
            }
        }
        let desired = run.rows.iter().flat_map(|row| &row.pools).map(|pool| pool.desired);
        prop_assert!(desired.into_iter().all(|n| (min..=max).contains(&n)));
        // The books agree with each other, the warm-up left out of all.
        let summary = &run.summary;
        let expected = -3.0 * summary.slo.violation_ratio;
        prop_assert!((summary.reward["violation"] - expected).abs() < 1e-12, "{:?}, {expected}", summary.reward);
        let r = &summary.requests;
        let ended = r.completed + r.queue_full + r.timed_out + r.killed + r.no_endpoint;
        prop_assert_eq!(run.requests.len() as u64, ended);
        prop_assert_eq!(r.arrived, ended + r.in_flight_at_end);
        let parts: f64 = summary.reward.iter().filter(|(name, _)| *name != "mean").map(|(_, v)| v).sum();
        prop_assert!((summary.reward["mean"] - parts).abs() < 1e-9);
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn without_data_nobody_moves_but_who_needs_none(
        plan in plans(), kind in prop::sample::select(KINDS.to_vec()), seed in 0u64..1_000,
    ) {
        // Pods that have nothing to say, and no activator beside them that has.
        let mut scenario = Plan { drop: 1.0, faults: "", stabilization: 0, ..plan.clone() }.prepared().scenario.clone();
        scenario.service.activator = None;
        let (min, max, initial) = plan.limits;
        let (min, initial) = (min.max(1), initial.max(1));
        let pool = scenario.pools.get_mut("gpu").unwrap();
        (pool.limits.min_replicas, pool.initial_replicas) = (min, initial);
        let prepared = Prepared::new(scenario).unwrap();
        let config = config(&within(kind, min, max));
        let run = run(&prepared, &config, seed, Keep { decisions: true, ..Keep::default() }, &silent).unwrap();
        let count = run.decisions.iter().map(|d| d.after);
        match kind.split('\'').nth(1).unwrap() {
            // It goes by the clock: the most and the least in turn.
            "schedule" => prop_assert!(max == min || run.decisions.iter().any(|d| d.after != initial)),
            // `ignoreNullValues` of the Prometheus scaler, true by default: what has no series is 0, and 0 needs the
            // minimum. A resource trigger holds.
            "keda" if !kind.contains("cpu") => {
                prop_assert!(count.is_sorted_by(|a, b| a >= b));
                prop_assert!(run.decisions.last().unwrap().after >= min);
            }
            _ => for d in &run.decisions {
                prop_assert_eq!(d.after, initial, "{:?}", d);
            },
        }
    }

    #[test]
    fn under_a_constant_load_hpa_and_keda_come_to_rest(
        pods in 1u32..5, initial in 1u32..7, keda in any::<bool>(), rate in any::<bool>(), seed in 0u64..1_000,
    ) {
        // A pod serves 10 requests a second; half a pod below a whole number of pods at the target.
        let per_pod = 6.0;
        let load = (f64::from(pods) - 0.5) * per_pod;
        let prepared = prepared(&format!(
            "name = 'constant'\nduration = '20m'\nslo = {{ latency = '1s' }}\ntraffic = {{ kind = 'open', arrivals = {{ \
             process = 'regular' }}, rate = {{ shape = 'constant', rate = {load:?} }} }}\n\
             service = {{ routing = 'round_robin' }}\n{NODES}[pools.gpu]\nprofile = 'clock.toml'\n\
             initial_replicas = {initial}\nlimits = {{ max_replicas = 8 }}\n{POD}"
        ));
        let (metric, target) = if rate { ("request_rate", per_pod) } else { ("utilization", 10.0 * per_pod) };
        let table = match keda {
            true => format!("kind = 'keda'\nmetric = '{metric}'\nthreshold = {target:?}"),
            false => format!("kind = 'hpa'\nmetric = '{metric}'\ntarget = {target:?}"),
        };
        let run = run(&prepared, &config(&table), seed, Keep { decisions: true, ..Keep::default() }, &silent).unwrap();
        let late: Vec<_> = run.decisions.iter().filter(|d| d.at > 700.0).collect();
        prop_assert!(late.iter().all(|d| d.before == d.after), "{late:?}");
        prop_assert_eq!(late[0].after, pods);
    }
}

#[test]
fn the_reward_counts_violations_as_the_summary_does_under_any_decisions() {
    for (seed, traffic) in [(1, CALM), (2, WILD), (3, USERS)] {
        for warm_up in [false, true] {
            let plan = Plan {
                traffic,
                client: "client = { timeout = '2s' }",
                faults: FAULTS,
                routing: "random",
                limits: (0, 4, 1),
                steps: (9, 9),
                stabilization: 0,
                warm_up,
                drop: 0.0,
            };
            let prepared = plan.prepared();
            let run = run_with(&prepared, &mut Restless(vec![0, 3, 1, 1, 4], 0), seed, KEEP, &silent).unwrap();
            let ratio = run.summary.slo.violation_ratio;
            assert!(ratio > 0.01, "{ratio}");
            assert!((run.summary.reward["violation"] + 3.0 * ratio).abs() < 1e-12);
        }
    }
}

// The rate of the last scrapes.

fn seconds(seconds: u64) -> SimTime {
    SimTime::from_nanos(seconds * 1_000_000_000)
}

fn sample(pod: u64, at: u64, arrived: u64) -> PodSample {
    PodSample {
        at: seconds(at),
        pod,
        pool: usize::from(pod >= 10),
        counters: Counters { arrived, ..Counters::default() },
        queued: 0,
        in_flight: 0,
        in_flight_s: 0.0,
        utilization: 0.0,
        cpu_utilization: 0.0,
    }
}

#[test]
fn the_latest_rate_is_that_of_the_last_two_samples_of_each_pod() {
    // (pod, at, counter), gone, now, fresh, rate and pods.
    type Row = (&'static str, &'static [(u64, u64, u64)], Option<(u64, u64)>, u64, u64, (f64, usize));
    let table: [Row; 11] = [
        ("nothing", &[], None, 10, 30, (0.0, 0)),
        ("two samples", &[(1, 0, 5), (1, 10, 45)], None, 10, 30, (4.0, 1)),
        ("only the last two", &[(1, 0, 0), (1, 10, 900), (1, 20, 930)], None, 20, 30, (3.0, 1)),
        ("a lost scrape between", &[(1, 0, 0), (1, 10, 100), (1, 30, 140)], None, 30, 30, (2.0, 1)),
        ("a restart", &[(1, 0, 500), (1, 10, 20)], None, 10, 30, (2.0, 1)),
        ("two pods", &[(1, 0, 0), (2, 1, 0), (1, 10, 10), (2, 11, 30)], None, 12, 30, (4.0, 2)),
        ("another pool", &[(1, 0, 0), (10, 1, 0), (1, 10, 10), (10, 11, 30)], None, 12, 30, (1.0, 1)),
        // A first sample is of the time since the scrape before it, once the interval is known.
        ("the first of all", &[(1, 10, 50)], None, 10, 30, (0.0, 0)),
        ("the first of a pod", &[(1, 0, 0), (1, 10, 10), (2, 11, 50)], None, 12, 30, (6.0, 2)),
        ("a pod that is silent for long", &[(1, 0, 0), (1, 10, 90), (2, 30, 0), (2, 40, 20)], None, 41, 30, (2.0, 1)),
        ("a pod that is gone", &[(1, 0, 0), (1, 10, 90), (2, 0, 0), (2, 10, 20)], Some((1, 11)), 12, 30, (2.0, 1)),
    ];
    for (name, samples, gone, now, fresh, expected) in table {
        let mut window = Window::new(Duration::from_secs(600), &[]);
        for &(pod, at, counter) in samples {
            window.push(&Scrape { pods: vec![sample(pod, at, counter)], ..Scrape::default() }, seconds(at));
        }
        let gone = gone.map(|(pod, at)| (pod, seconds(at)));
        window.push(&Scrape { gone: gone.into_iter().collect(), ..Scrape::default() }, seconds(now));
        let found = window.latest_rate(Some(0), Counter::Requests, seconds(now), Duration::from_secs(fresh));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_scraped_later_than_now_is_not_known_yet_and_late_samples_find_their_place() {
    let mut window = Window::new(Duration::from_secs(600), &[]);
    for (at, counter) in [(0, 0), (20, 70), (10, 10)] {
        window.push(&Scrape { pods: vec![sample(1, at, counter)], ..Scrape::default() }, seconds(20));
    }
    let rate = |now| window.latest_rate(None, Counter::Requests, seconds(now), Duration::from_secs(30));
    assert_eq!((rate(20), rate(19), rate(51)), ((6.0, 1), (1.0, 1), (0.0, 0)));
}

// What is wrong with files.

const HPA: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec:\n  \
                   scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}\n  maxReplicas: 4\n  metrics:\n  \
                   - {type: Pods, pods: {metric: {name: DCGM_FI_DEV_GPU_UTIL}, target: {type: AverageValue, \
                   averageValue: 70}}}\n";
const KEDA: &str = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec:\n  scaleTargetRef: \
                    {name: a}\n  triggers:\n  - {type: prometheus, metadata: {serverAddress: 'http://p', query: \
                    'sum(istio_requests_in_flight)', threshold: '8'}}\n";
const KPA: &str = "apiVersion: serving.knative.dev/v1\nkind: Revision\nmetadata:\n  name: a\n  annotations: \
                   {autoscaling.knative.dev/target: '8'}\nspec:\n  containers: [{image: a}]\n";

#[test]
fn what_is_wrong_with_a_file_is_one_sentence_with_its_name_and_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let text = |activator: &str| {
        format!(
            "name = 'a'\nduration = '1m'\nslo = {{ latency = '1s' }}\nservice = {{ {activator} }}\n\
             traffic = {{ kind = 'open', rate = {{ shape = 'constant', rate = 1.0 }} }}\n{NODES}[pools.gpu]\n\
             profile = 'clock.toml'\nlimits = {{ min_replicas = 0 }}\n{POD}"
        )
    };
    let with = prepared(&text("activator = {}"));
    let without = prepared(&text(""));
    let build = |prepared: &Prepared, name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let parsed = AutoscalerConfig::parse(&path.display().to_string(), &prepared.scenario);
        parsed.and_then(|config| config.build(prepared)).map(|_| ()).map_err(|e| e.to_string())
    };
    for good in [HPA, KEDA, KPA] {
        build(&with, "good.yaml", good).unwrap();
    }
    for good in [HPA, KEDA] {
        build(&without, "good.yaml", good).unwrap();
    }
    std::fs::write(folder.path().join("hpa.yaml"), HPA).unwrap();
    let kpa_file = folder.path().join("kpa.yaml");
    std::fs::write(&kpa_file, KPA).unwrap();
    let of = |kind: &str, file: &str| format!("[autoscaler]\nkind = '{kind}'\nmanifests = {{ gpu = '{file}' }}\n");
    let table = [
        // Metrics that the simulation does not offer.
        ("metric.yaml", HPA.replace("DCGM_FI_DEV_GPU_UTIL", "gpu"), "spec.metrics[0].pods.metric.name"),
        (
            "metric.yaml",
            HPA.replace("DCGM_FI_DEV_GPU_UTIL", "activator_request_concurrency"),
            "spec.metrics[0].pods.metric.name",
        ),
        ("metric.yaml", KEDA.replace("istio_requests_in_flight", "gpu"), "spec.triggers[0].metadata.query"),
        ("metric.yaml", KEDA.replace("istio_requests_in_flight", "rate(gpu[1m])"), "spec.triggers[0].metadata.query"),
        ("metric.yaml", KEDA.replace("sum(", "histogram_quantile(0.9, "), "spec.triggers[0].metadata.query"),
        // Other kinds, other versions.
        ("kind.yaml", HPA.replace("HorizontalPodAutoscaler", "Deployment"), "kind"),
        ("kind.yaml", "nothing: here\n".to_owned(), "kind"),
        ("version.yaml", HPA.replace("autoscaling/v2", "autoscaling/v1"), "apiVersion"),
        ("version.yaml", KEDA.replace("v1alpha1", "v2"), "apiVersion"),
        ("version.yaml", KPA.replace("dev/v1\n", "dev/v1beta1\n"), "apiVersion"),
        // Fields there are not.
        ("field.yaml", HPA.replace("maxReplicas", "maxReplica"), "maxReplica"),
        ("field.yaml", KEDA.replace("triggers", "trigger"), "trigger"),
        ("field.yaml", KPA.replace("/target", "/targets"), "autoscaling.knative.dev/targets"),
        // Tables.
        ("predictive.toml", "[autoscaler]\nkind = 'predictive'\nquantile = 1.5\n".to_owned(), "autoscaler.quantile"),
        ("predictive.toml", "[autoscaler]\nkind = 'predictive'\nquantil = 0.5\n".to_owned(), "quantil"),
        ("predictive.toml", "[autoscaler]\nkind = 'predictive'\ntarget = 70.0\n".to_owned(), "target"),
        ("predictive.toml", "[autoscaler]\nkind = 'predictive'\nhold = 20\n".to_owned(), "hold"),
        ("predictive.toml", "[autoscaler]\nkind = 'predictive'\n[other]\n".to_owned(), "other"),
        (
            "keda.toml",
            "[autoscaler]\nkind = 'keda'\npolling_interval = '0s'\n".to_owned(),
            "autoscaler.polling_interval",
        ),
        ("hpa.toml", "[autoscaler]\nkind = 'hpa'\nheadroom = 0.0\n".to_owned(), "autoscaler.headroom"),
        ("fixed.toml", "[autoscaler]\nkind = 'fixed'\nreplicas = { gpu = 99 }\n".to_owned(), "autoscaler.replicas.gpu"),
        ("schedule.toml", "[autoscaler]\nkind = 'schedule'\nentries = []\n".to_owned(), "autoscaler.entries"),
        ("pool.toml", of("hpa", "hpa.yaml").replace("gpu", "tpu"), "autoscaler.manifests.tpu"),
        ("kind.toml", "[autoscaler]\nkind = 'magic'\n".to_owned(), "magic"),
    ];
    let one_sentence = |message: &str, file: &str, field: &str| {
        assert!(message.contains(file) && message.contains(field), "{message}");
        assert!(!message.contains('\n') && !message.ends_with('.') && !message.contains(". "), "{message}");
    };
    for (name, content, field) in &table {
        let message = build(&with, name, content).unwrap_err();
        one_sentence(&message, name, field);
    }
    // Another autoscaler's manifest: the file that is wrong is the manifest.
    for (kind, file) in [("keda", "hpa.yaml"), ("kpa", "hpa.yaml"), ("hpa", "kpa.yaml"), ("keda", "kpa.yaml")] {
        one_sentence(&build(&with, "other.toml", &of(kind, file)).unwrap_err(), file, "kind");
    }
    one_sentence(&build(&with, "other.toml", &of("hpa", "absent.yaml")).unwrap_err(), "absent.yaml", "");
    // Nothing holds requests while there is no pod.
    let message = build(&without, "kpa.yaml", KPA).unwrap_err();
    one_sentence(&message, "a test", "service.activator");
    assert_eq!(build(&without, "kpa.toml", "[autoscaler]\nkind = 'kpa'\n").unwrap_err(), message);
    let mut never_zero = without.scenario.clone();
    never_zero.pools.get_mut("gpu").unwrap().limits.min_replicas = 1;
    build(&Prepared::new(never_zero).unwrap(), "kpa.yaml", KPA).unwrap();
}

// What pods can take.

fn bert(max_replicas: u32, rate: f64) -> Arc<Prepared> {
    let mut scenario = scenario(&format!(
        "name = 'bert'\nduration = '5m'\nwarm_up = '20s'\nslo = {{ latency = '100ms' }}\n\
         traffic = {{ kind = 'open', rate = {{ shape = 'constant', rate = {rate:?} }} }}\n{NODES}[pools.gpu]\n\
         profile = 'bert-large-trt-fp16-seq128-t4'\nbatcher = {{ max_batch = 8, queue_limit = 200 }}\n\
         limits = {{ min_replicas = 0, max_replicas = {max_replicas} }}\n"
    ));
    scenario.telemetry.scrape_interval = Span::secs(15);
    Prepared::new(scenario).unwrap()
}

#[test]
fn more_pods_take_more_and_the_number_for_a_rate_is_the_least_that_takes_it() {
    let prepared = bert(6, 100.0);
    let capacity = prepared.capacity(0).unwrap();
    assert!(Arc::ptr_eq(&capacity, &prepared.capacity(0).unwrap()));
    for violation in [0.001, 0.01, 0.05, 0.3] {
        let rates: Vec<f64> = (0..=9).map(|pods| capacity.max_rate(pods, violation)).collect();
        assert_eq!(rates[0], 0.0);
        assert!(rates.windows(2).all(|w| w[0] < w[1]), "{rates:?}");
        assert!(rates.iter().zip(0..).all(|(rate, pods)| *rate <= capacity.saturation() * f64::from(pods)));
        for (pods, &rate) in (0u32..).zip(&rates) {
            assert_eq!(capacity.pods_for(rate, violation, 9), pods);
            assert_eq!(capacity.pods_for(rate + 0.1, violation, 9), (pods + 1).min(9));
            // No more than there may be.
            assert_eq!(capacity.pods_for(rate, violation, 3), pods.min(3));
        }
    }
    for pods in 1..6 {
        let rates: Vec<f64> = [0.0, 0.001, 0.01, 0.1, 0.4].map(|v| capacity.max_rate(pods, v)).to_vec();
        assert!(rates.is_sorted(), "{rates:?}");
    }
}

#[test]
fn the_simulator_agrees_with_what_was_measured_in_it() {
    let level = 0.05;
    for pods in [1u32, 3] {
        let rate = bert(pods, 1.0).capacity(0).unwrap().max_rate(pods, level);
        let ratio = |rate: f64| {
            let mut scenario = bert(pods, rate).scenario.clone();
            scenario.pools.get_mut("gpu").unwrap().initial_replicas = pods;
            let prepared = Prepared::new(scenario).unwrap();
            run(&prepared, &config("kind = 'fixed'"), 7, Keep::default(), &silent).unwrap().summary.slo.violation_ratio
        };
        let (below, beyond) = (ratio(0.9 * rate), ratio(1.15 * rate));
        assert!(below < level && level < beyond, "{pods} pods: {below} at 0.9 and {beyond} at 1.15 of {rate}");
    }
}
