//! Programs that a test starts, and what it says over HTTP.
#![allow(dead_code, reason = "each test uses some of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testcluster::{Cluster, not_built};

/// Past the capture of a passing test's output: this must be seen.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A control plane, or `None`, said loudly, where it is not built.
pub fn cluster(test: &str, nodes: usize) -> Option<Cluster> {
    cluster_with(test, nodes, Duration::from_secs(15))
}

/// The same with this period of the HPA controller.
pub fn cluster_with(test: &str, nodes: usize, hpa_sync_period: Duration) -> Option<Cluster> {
    let cluster = Cluster::start(nodes, hpa_sync_period).unwrap();
    if cluster.is_none() {
        say(&not_built(test));
        let required = std::env::var("KIS_REQUIRE_TESTCLUSTER").is_ok_and(|v| v == "1");
        assert!(!required, "KIS_REQUIRE_TESTCLUSTER=1, and the control plane is not built");
    }
    cluster
}

/// Says loudly that something did not run for want of Prometheus; fails where it is required.
pub fn without_prometheus(what: &str) {
    say(&format!("\n{what} DID NOT RUN: Prometheus is not installed (Debian: prometheus).\n"));
    let required = std::env::var("KIS_REQUIRE_PROMETHEUS").is_ok_and(|v| v == "1");
    assert!(!required, "KIS_REQUIRE_PROMETHEUS=1, and there is none");
}

/// A Deployment of pods with one GPU each, and the time until they are ready.
pub fn deployment(name: &str, replicas: u32, ready_after: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}, annotations: {{testcluster/ready-after: {ready_after}}}}}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
        - {{name: triton, image: triton, resources: {{limits: {{nvidia.com/gpu: "1"}}}}}}
"#
    )
}

/// The agent's program, running; killed with us.
pub struct Agent {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    /// Starts it with these arguments.
    pub fn start(cluster: &Cluster, arguments: &[&str]) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"));
        command.args(arguments).arg("--kubeconfig").arg(cluster.kubeconfig());
        Agent::spawn(command)
    }

    /// Starts it as it is.
    pub fn spawn(mut command: Command) -> Agent {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (lines, log) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&said));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| log.lock().unwrap().push(line)));
        Agent { child, said }
    }

    /// What it has said so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it says where it serves; the address.
    pub fn address(&self) -> String {
        let mut found = None;
        eventually("it serves", Duration::from_secs(30), || {
            let line = self.said().into_iter().find_map(|l| l.strip_prefix("serving http://").map(str::to_owned));
            found = line.map(|l| l.trim_end_matches("/metrics").to_owned());
            found.is_some()
        });
        found.unwrap()
    }

    /// Sends it a signal, such as INT.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end; its status and what it printed.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(address) else { return (0, String::new()) };
    let mut text = String::new();
    let sent = write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    if sent.and_then(|()| stream.read_to_string(&mut text)).is_err() {
        return (0, String::new());
    }
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return (0, String::new()) };
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, body.to_owned())
}

/// Waits until `what` holds.
pub fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "not within {} s: {what}", patience.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The number of series of a metric.
pub fn series(text: &str, name: &str) -> usize {
    text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count()
}

/// The sum of a metric over its series.
pub fn total(text: &str, name: &str) -> f64 {
    let own = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    own.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// A file of the repository.
pub fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
