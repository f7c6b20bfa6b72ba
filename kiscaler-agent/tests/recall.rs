//! A real Prometheus that has known a service for hours, of whose pods most are gone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod processes;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kiscaler_agent::api::{KIScaler, ScaleTargetRef};
use kiscaler_agent::cluster::pods_of;
use kiscaler_agent::metrics::{Credentials, HttpClient, Mapping, Prometheus, Tls};
use kisim::time::SimTime;
use processes::{eventually, get, without_prometheus};
use testcluster::Process;

/// When it is, seconds since 1970.
const NOW: u64 = 1_750_000_020;

const HOURS: u64 = 5;

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Five hours of a Deployment `triton`, scraped every 15 s: one pod of 8 requests/s all the time, a second of 4 during the
/// third hour, another after every half hour of the fourth and fifth; and those of `triton-cpu`, and in another namespace.
fn history() -> String {
    let begin = NOW - HOURS * 3600 - 20;
    let mut text = String::from("# TYPE istio_requests counter\n");
    let mut pod = |labels: &str, rate: u64, (from, to): (u64, u64), value: u64| {
        for at in (from..=to).step_by(15) {
            let count = value + (at - from) * rate;
            writeln!(text, "istio_requests_total{{{labels}}} {count} {}", begin + at).unwrap();
        }
    };
    let name =
        |pod: &str| format!("namespace=\"default\",pod=\"{pod}\",reporter=\"destination\",response_code=\"200\"");
    pod(&name("triton-7d4b9c6f85-x2x4z"), 8, (0, HOURS * 3600), 123_456);
    pod(&name("triton-7d4b9c6f85-bbbbb"), 4, (2 * 3600, 3 * 3600), 60);
    for (half, suffix) in ["ccccc", "ddddd", "fffff", "ggggg"].into_iter().enumerate() {
        let from = 3 * 3600 + half as u64 * 1800;
        pod(&name(&format!("triton-59fcb-{suffix}")), 2, (from, from + 1800), 30);
    }
    pod(&name("triton-cpu-7d4b9c6f85-x2x4z"), 100, (0, HOURS * 3600), 0);
    let elsewhere = name("triton-7d4b9c6f85-x2x4z").replace("\"default\"", "\"other\"");
    pod(&elsewhere, 100, (0, HOURS * 3600), 0);
    pod(&name("triton-7d4b9c6f85-x2x4z").replace("destination", "source"), 100, (0, HOURS * 3600), 0);
    text + "# EOF\n"
}

fn start(prometheus: &Path, promtool: &Path, folder: &Path) -> (Process, String) {
    let file = |name: &str| folder.join(name);
    std::fs::write(file("history"), history()).unwrap();
    let made = Command::new(promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([file("history"), file("data")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(file("prometheus.yml"), "global: {}\n").unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new(prometheus);
    command.arg(format!("--config.file={}", file("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", file("data").display()));
    command.arg(format!("--web.listen-address={address}"));
    command.arg("--storage.tsdb.retention.time=100y");
    let process = Process::start(&mut command, &file("log")).unwrap();
    eventually("Prometheus is ready", Duration::from_secs(30), || get(&address, "/-/ready").0 == 200);
    (process, address)
}

#[test]
fn hours_of_a_service_are_recalled_from_a_real_prometheus() {
    let (Some(prometheus), Some(promtool)) = (program("prometheus"), program("promtool")) else {
        return without_prometheus("The past of a real Prometheus");
    };
    let folder = tempfile::tempdir().unwrap();
    let (_process, address) = start(&prometheus, &promtool, folder.path());
    let source = serde_json::json!({"url": format!("http://{address}")});
    let source = serde_json::from_value(source).unwrap();
    let asked = Prometheus::new(&source, HttpClient::new(&Tls::System).unwrap(), Credentials::None);
    let text = "{apiVersion: kiscaler.dev/v1alpha1, kind: KIScaler, metadata: {name: a}, spec: {pools: {gpu: \
                {scaleTargetRef: {name: triton}, maxReplicas: 2, profile: {name: a}}}, policy: {baseline: predictive}, \
                slo: {latency: 1s}, metrics: {preset: Triton, prometheus: {url: 'http://a'}}}}";
    let scaler = KIScaler::parse(text, "test").unwrap();
    let target: &ScaleTargetRef = &scaler.spec.pools.gpu.scale_target_ref;
    let (pods, mapping) = (pods_of(target), Mapping::of(&scaler.spec.metrics));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let step = Duration::from_secs(15);
    let past = |now: u64, range: Duration| {
        let now = SimTime::from_nanos(now * 1_000_000_000);
        runtime.block_on(asked.past(&mapping, ("default", &pods), now, (range, step))).map_err(|e| e.to_string())
    };
    let bins = past(NOW, source.recall.duration()).unwrap();
    // Of 1200 steps the first is known by a third, and in the second not every pod may have been seen; the last three end
    // later than one scrape before the last.
    assert_eq!(bins.len(), 1195);
    let at = |seconds_ago: usize| bins[bins.len() - seconds_ago / 15] / 15.0;
    let close =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "found {found}, expected {expected}");
    for (hours, rate) in [(4.5, 8.0), (3.5, 8.0), (2.9, 12.0), (2.1, 12.0), (1.9, 10.0), (1.4, 10.0), (0.1, 10.0)] {
        close(at((hours * 3600.0) as usize), rate);
    }
    // Nothing else is lost, nor counted twice: from 17970 s to 45 s before now, each pod's rate, and what it had served when
    // it was first seen.
    let expected = 8 * (17_970 - 45) + (4 * 3600 + 60) + 4 * (2 * 1800 + 30) - 2 * (45 - 20);
    close(bins.iter().sum(), f64::from(expected));
    // Before there was anything, and long after.
    assert!(past(NOW - 6 * 3600, source.recall.duration()).unwrap_err().contains("found no two samples"));
    assert!(past(NOW + 3600, source.recall.duration()).unwrap_err().contains("found the newest sample of requests 36"));
}
