//! All of it together: a real control plane, Deployments on it, twins behind them, and the agent that scales them by what
//! the twins export; once by a rule and once by the policy that ships. Ten times as fast as the scenario says.
//!
//! `KIS_FIGURE=FILE.svg` keeps the figure of the run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod processes;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiscaler_agent::api::{Mode, PolicySpec};
use kiscaler_agent::twin::kiscaler;
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::policy::{Policy, PolicyAutoscaler};
use kisim::autoscaler::AutoscalerConfig;
use kisim::config::Span;
use kisim::control::Autoscaler;
use kisim::distribution::TimeDistribution;
use kisim::plot::{ComparePlot, ComparedRun};
use kisim::prepared::Prepared;
use kisim::report::Summary;
use kisim::run::{Keep, run_with, silent};
use kisim::scenario::Scenario;
use kisim::traffic::{Shape, Traffic};
use processes::{Agent, cluster, deployment, eventually, get, repository, say, series, without_prometheus};
use testcluster::{Cluster, Process};

/// Seconds of the scenario a second.
const SPEED: u32 = 10;

/// Who scales, and where metrics come from.
struct Case {
    name: &'static str,
    policy: String,
    prometheus: bool,
}

/// A run that is going on.
struct Playing {
    twin: Agent,
    address: String,
    out: std::path::PathBuf,
}

#[test]
fn agent_and_twins_follow_a_spike() {
    let Some(cluster) = cluster("The agent and twins, end to end,", 6) else { return };
    let folder = tempfile::tempdir().unwrap();
    let scenario = repository("scenarios/spike.toml").display().to_string();
    let retimed = retimed(folder.path());
    let cases = [
        Case { name: "rule", policy: "predictive".into(), prometheus: false },
        Case { name: "policy", policy: retimed.clone(), prometheus: false },
        Case { name: "scraped", policy: retimed.clone(), prometheus: true },
    ];
    cluster.kubectl(&["apply", "--filename", "-"], Some(&kiscaler_agent::api::crd_yaml().unwrap())).unwrap();
    cluster.kubectl(&["wait", "crd/kiscalers.kiscaler.dev", "--for=condition=Established"], None).unwrap();
    // A tenth of the scenario's cold start, 2 s of scheduling and 1 s of endpoints left out.
    for case in &cases {
        cluster.kubectl(&["create", "namespace", case.name], None).unwrap();
        let manifest = deployment("triton", 3, "3s");
        cluster.kubectl(&["apply", "--namespace", case.name, "--filename", "-"], Some(&manifest)).unwrap();
    }
    for case in &cases {
        let wait = ["wait", "deployment/triton", "--namespace", case.name, "--for=condition=Available"];
        cluster.kubectl(&[&wait[..], &["--timeout=60s"]].concat(), None).unwrap();
    }

    let agent = Agent::start(&cluster, &["run", "--metrics-address", "127.0.0.1:0"]);
    let mut playing = Vec::new();
    let mut prometheus = None;
    for case in &cases {
        let run = play(&cluster, case, &scenario, folder.path());
        let url = case.prometheus.then(|| {
            let (process, url) = start_prometheus(&run.address, folder.path())?;
            prometheus = Some(process);
            Some(url)
        });
        if matches!(url, Some(None)) {
            without_prometheus("The agent with a real Prometheus");
        }
        apply(&cluster, case, &scenario, &run.address, url.flatten().as_deref());
        playing.push(run);
    }

    // 18 minutes of the scenario.
    let mut results = Vec::new();
    for (case, run) in cases.iter().zip(playing) {
        let (status, text) = run.twin.end();
        assert_eq!(status, Some(0), "{}: {text}", case.name);
        let summary: Summary = serde_json::from_str(&text).unwrap();
        results.push((case, summary, Timeline::read(&run.out.join("timeline.csv"))));
    }
    let said = cluster.kubectl(&["get", "kiscalers", "--all-namespaces", "--output", "wide"], None).unwrap();
    say(&said);
    drop((agent, prometheus));

    let (rule, policy) = (simulated(&scenario, None), simulated(&scenario, Some(&retimed)));
    say(&format!("{:>18} {:>12} {:>8} {:>8} {:>8} {:>6}", "", "violations %", "P95 ms", "cost $", "replicas", "churn"));
    let row = |name: &str, s: &Summary, scale: f64| {
        say(&format!(
            "{name:>18} {:>12.2} {:>8.1} {:>8.3} {:>8.2} {:>6}",
            s.slo.violation_ratio * 100.0,
            s.latency_ms.p95.unwrap() * scale,
            s.cost,
            s.pools["gpu"].replicas_mean,
            s.churn
        ));
    };
    row("rule, simulated", &rule, f64::from(SPEED));
    row("policy, simulated", &policy, f64::from(SPEED));
    for (case, summary, timeline) in &results {
        row(case.name, summary, 1.0);
        let pool = &summary.pools["gpu"];
        assert!(pool.replicas_max >= 7, "{}: they come with the spike: {pool:?}", case.name);
        assert!(summary.requests.completed as f64 > 0.85 * summary.requests.arrived as f64, "{}", case.name);
        assert!(summary.slo.violation_ratio < 0.25, "{}: {:?}", case.name, summary.slo);
        let (spike, before) = (timeline.highest_ready(300.0, 700.0), timeline.highest_ready(120.0, 300.0));
        assert!(spike >= before + 4.0, "{}: from {before} to {spike}", case.name);
        // And some of them go after it; the rule holds for a minute, which here is ten.
        let last = timeline.ready.last().copied().unwrap();
        assert!(case.name == "rule" || last < spike, "{}: from {spike} to {last}", case.name);
        // Who decides on the cluster is who decides in the simulator, a watch, a scheduler and scrapes apart.
        // When a policy lets the spike's pods go hangs on single scrapes: in the simulator one that comes two seconds later
        // moves its cost by up to a quarter.
        let (simulated, most) = if case.name == "rule" { (&rule, 0.2) } else { (&policy, 0.3) };
        assert!(
            (summary.cost / simulated.cost - 1.0).abs() < most,
            "{}: {} and {}",
            case.name,
            summary.cost,
            simulated.cost
        );
        let (live, simulated) = (summary.slo.violation_ratio, simulated.slo.violation_ratio);
        assert!((live - simulated).abs() < 0.06, "{}: {live} and {simulated}", case.name);
    }

    if let Some(file) = std::env::var_os("KIS_FIGURE") {
        let runs = results.iter().map(|(case, _, t)| t.compared(case)).collect();
        let first = &results[0].2;
        let plot = ComparePlot {
            title: format!("A spike on a real control plane, {SPEED} times as fast"),
            time_s: first.time_s.clone(),
            offered_rps: first.offered.clone(),
            runs,
            slo_ms: 250.0,
        };
        std::fs::write(file, kisim::plot::compare(&plot).unwrap()).unwrap();
    }
}

/// The shipped policy for a tenth of its interval: what it sees and does has no unit of time, so that in a service ten
/// times as fast it is the same policy (`tests/twin.rs`, `ten_times_as_fast_is_a_change_of_units`).
fn retimed(folder: &Path) -> String {
    let bytes = std::fs::read(repository("kiscaler-train/policies/default.safetensors")).unwrap();
    let mut checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
    checkpoint.control_interval = Span(checkpoint.control_interval.0 / SPEED);
    let path = folder.join("ten-times.safetensors");
    checkpoint.save(&path).unwrap();
    path.display().to_string()
}

fn play(cluster: &Cluster, case: &Case, scenario: &str, folder: &Path) -> Playing {
    let out = folder.join(case.name);
    let speed = SPEED.to_string();
    let shown = out.display().to_string();
    let twin = Agent::start(
        cluster,
        &[
            "twin",
            scenario,
            "--target",
            "deploy/triton",
            "--namespace",
            case.name,
            "--speed",
            &speed,
            "--listen",
            "127.0.0.1:0",
            "--format",
            "json",
            "--out",
            &shown,
        ],
    );
    let address = twin.address();
    eventually("its pods serve", Duration::from_secs(30), || {
        series(&get(&address, "/metrics").1, "istio_requests_total") == 3
    });
    Playing { twin, address, out }
}

/// Applies the KIScaler that fits the twin.
fn apply(cluster: &Cluster, case: &Case, scenario: &str, address: &str, prometheus: Option<&str>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"));
    command.args(["twin", scenario, "--target", "deploy/triton", "--listen", address, "--active"]);
    command.args(["--speed", &SPEED.to_string(), "--kiscaler", &case.policy]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut object: serde_json::Value = serde_norway::from_slice(&output.stdout).unwrap();
    // The Deployment's author said three; from here on the agent does.
    object["spec"]["safety"]["onConflict"] = "Force".into();
    if let Some(url) = prometheus {
        let metrics = &mut object["spec"]["metrics"];
        metrics.as_object_mut().unwrap().remove("direct");
        metrics["prometheus"] = serde_json::json!({"url": url, "gpuPodLabel": "pod"});
    }
    cluster.kubectl(&["apply", "--namespace", case.name, "--filename", "-"], Some(&object.to_string())).unwrap();
}

/// A real Prometheus that scrapes the twin ten times as often as usual; `None` where there is none.
fn start_prometheus(twin: &str, folder: &Path) -> Option<(Process, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = folder.join("prometheus.yml");
    let text = format!(
        "scrape_configs:\n- job_name: twin\n  scrape_interval: 1500ms\n  scrape_timeout: 1s\n  honor_labels: true\n  \
         static_configs: [{{targets: ['{twin}']}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    Command::new("prometheus").arg("--version").output().ok()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let process = Process::start(&mut command, &folder.join("prometheus.log")).unwrap();
    let address = format!("127.0.0.1:{port}");
    eventually("Prometheus is ready", Duration::from_secs(30), || get(&address, "/-/ready").0 == 200);
    Some((process, format!("http://{address}")))
}

/// The same scenario under the rule, or under the policy in a file, in the simulator alone: all its times divided, as it
/// was on the cluster.
fn simulated(path: &str, checkpoint: Option<&str>) -> Summary {
    let mut scenario = Scenario::load(Path::new(path)).unwrap();
    let target = "deploy/triton".parse().unwrap();
    let policy = PolicySpec { baseline: Some("predictive".into()), checkpoint: None };
    let prepared = Prepared::new(scenario.clone()).unwrap();
    let address = "127.0.0.1:1".parse().unwrap();
    let scaler = kiscaler(&prepared, &[target], f64::from(SPEED), address, policy, Mode::Shadow).unwrap();
    let faster = |span: &mut Span| span.0 /= SPEED;
    let Traffic::Open { rate: Shape::Sum { of }, .. } = &mut scenario.traffic else { panic!("the spike's traffic") };
    for shape in of {
        match shape {
            Shape::Spike { base, peak, start, lasting } => {
                (*base, *peak) = (*base * f64::from(SPEED), *peak * f64::from(SPEED));
                faster(start);
                faster(lasting);
            }
            Shape::Walk { mean, deviation, relaxation, every } => {
                (*mean, *deviation) = (*mean * f64::from(SPEED), *deviation * f64::from(SPEED));
                faster(relaxation);
                faster(every);
            }
            other => panic!("{other:?}"),
        }
    }
    let pool = scenario.pools.get_mut("gpu").unwrap();
    pool.profile = scaler.spec.pools.gpu.profile.inline.unwrap();
    pool.startup.load = Some(TimeDistribution::constant(Span::secs(3)));
    pool.startup.scheduling = Some(TimeDistribution::constant(Span::millis(50)));
    pool.readiness.initial_delay = Span::default();
    pool.readiness.period = Span::millis(50);
    faster(&mut pool.shutdown.endpoint_propagation);
    faster(&mut pool.shutdown.grace_period);
    faster(&mut pool.batcher.max_queue_delay);
    faster(&mut scenario.slo.latency);
    scenario.client.timeout.as_mut().map(faster);
    faster(scenario.duration.as_mut().unwrap());
    faster(&mut scenario.control.interval);
    let telemetry = &mut scenario.telemetry;
    telemetry.latency_buckets.iter_mut().for_each(faster);
    for span in [&mut telemetry.scrape_interval, &mut telemetry.lag, &mut telemetry.window] {
        faster(span);
    }
    let config = AutoscalerConfig::parse("predictive", &scenario).unwrap();
    let seed = scenario.seed;
    let prepared = Prepared::new(scenario).unwrap();
    let mut autoscaler: Box<dyn Autoscaler> = match checkpoint {
        None => config.build(&prepared).unwrap(),
        Some(path) => {
            let policy = Policy::new(&Checkpoint::load(Path::new(path)).unwrap().into()).unwrap();
            Box::new(PolicyAutoscaler::new(&policy.into(), &prepared, 1.0, "policy".into()).unwrap())
        }
    };
    run_with(&prepared, autoscaler.as_mut(), seed, Keep::default(), &silent).unwrap().summary
}

/// What timeline.csv says.
struct Timeline {
    time_s: Vec<f64>,
    offered: Vec<f64>,
    p95_ms: Vec<Option<f64>>,
    ready: Vec<f64>,
}

impl Timeline {
    fn read(path: &Path) -> Timeline {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column =
            |name: &str| header.iter().position(|h| *h == name).unwrap_or_else(|| panic!("{name} in {header:?}"));
        let rows: Vec<Vec<Option<f64>>> =
            lines.map(|line| line.split(',').map(|cell| cell.parse().ok()).collect()).collect();
        let of = |name: &str| rows.iter().map(|row| row[column(name)]).collect::<Vec<_>>();
        let known = |name: &str| of(name).into_iter().map(Option::unwrap).collect();
        Timeline {
            time_s: known("time_s"),
            offered: known("arrival_rate"),
            p95_ms: of("p95_ms"),
            ready: known("gpu_ready"),
        }
    }

    fn highest_ready(&self, from: f64, to: f64) -> f64 {
        let rows = self.time_s.iter().zip(&self.ready).filter(|(t, _)| (from..to).contains(*t));
        rows.map(|(_, ready)| *ready).fold(0.0, f64::max)
    }

    fn compared(&self, case: &Case) -> ComparedRun {
        let name = match case.name {
            "rule" => "predictive",
            "policy" => "policy",
            _ => "policy, through Prometheus",
        };
        ComparedRun { name: name.into(), ready: self.ready.clone(), p95_ms: self.p95_ms.clone() }
    }
}
