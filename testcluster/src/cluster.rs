//! The control plane.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{Process, random_token};
use crate::watch::Watch;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testcluster");
const KWOK_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/controlplane/kwok.yaml");

/// A control plane with fake nodes, on ports of loopback of its own. Dropped, it is gone.
#[derive(Debug)]
pub struct Cluster {
    /// In the order of their start; ended in the reverse order.
    processes: Vec<Process>,
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: TempDir,
}

impl Cluster {
    /// Starts etcd, API server, controller manager, scheduler and kwok with `nodes` fake nodes of 8 GPUs, and waits
    /// until pods can be made; some 10 s. `hpa_sync_period` is the controller manager's
    /// `--horizontal-pod-autoscaler-sync-period`, 15 s where nothing is said.
    ///
    /// `None` where the binaries have not been built. The caller has to say so, loudly: see [`not_built`].
    ///
    /// # Errors
    ///
    /// A component does not start or does not get ready. Its log is then kept, and named.
    pub fn start(nodes: usize, hpa_sync_period: Duration) -> Result<Option<Self>> {
        let Some(bin) = binaries()? else {
            return Ok(None);
        };
        let folder = tempfile::Builder::new().prefix("testcluster-").tempdir().context("no temporary folder")?;
        let mut cluster = Self {
            processes: Vec::new(),
            program: bin.join("controlplane"),
            kubeconfig: folder.path().join("kubeconfig"),
            folder,
        };
        if let Err(error) = cluster.bring_up(&bin.join("kwok"), nodes, hpa_sync_period) {
            cluster.folder.disable_cleanup(true);
            return Err(error.context(format!("the logs are in {}", cluster.folder.path().display())));
        }
        Ok(Some(cluster))
    }

    /// A kubeconfig file for the administrator of this cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder of logs, kept where the test panics.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs kubectl as the administrator; what it wrote.
    ///
    /// # Errors
    ///
    /// It failed: what it wrote to its error output.
    pub fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> Result<String> {
        let mut child = self
            .kubectl_command(args)
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            pipe.write_all(text.as_bytes()).context("cannot write to kubectl")?;
        }
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        String::from_utf8(output.stdout).context("kubectl wrote something else than text")
    }

    /// Follows all objects of a resource, such as `pods`, in all namespaces.
    ///
    /// # Errors
    ///
    /// kubectl cannot be started.
    pub fn watch(&self, resource: &str) -> Result<Watch> {
        let args = ["get", resource, "--all-namespaces", "--watch", "--output-watch-events", "--output", "json"];
        let log = self.folder.path().join(format!("watch-{resource}.log"));
        let (process, output) = Process::start_piped(&mut self.kubectl_command(&args), &log)?;
        Ok(Watch::follow(process, output))
    }

    fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("kubectl").arg("--kubeconfig").arg(&self.kubeconfig);
        // The folder of the user's own kubectl is none of our business.
        command.arg("--cache-dir").arg(self.folder.path().join("kubectl")).args(args);
        command
    }

    fn bring_up(&mut self, kwok: &Path, nodes: usize, hpa_sync_period: Duration) -> Result<()> {
        let folder = self.folder.path().to_owned();
        let path = |name: &str| folder.join(name).display().to_string();
        let [client, peer, api, manager, scheduler] = free_ports()?;
        let token = random_token()?;
        let config = self.kubeconfig.display().to_string();
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).with_context(|| format!("cannot write {}", path(name)))
        };

        let key = rcgen::KeyPair::generate().context("cannot make a key for service accounts")?;
        write("accounts.key", &key.serialize_pem())?;
        write("accounts.pub", &key.public_key_pem())?;
        write("tokens.csv", &format!("{token},admin,admin,\"system:masters\"\n"))?;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{api}"),
                "certificate-authority": path("certs/apiserver.crt"),
            }}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        });
        write("kubeconfig", &kubeconfig.to_string())?;

        self.component(
            "etcd",
            &[
                ("data-dir", path("etcd")),
                ("listen-client-urls", format!("http://127.0.0.1:{client}")),
                ("advertise-client-urls", format!("http://127.0.0.1:{client}")),
                ("listen-peer-urls", format!("http://127.0.0.1:{peer}")),
                ("unsafe-no-fsync", "true".to_owned()),
            ],
        )?;
        self.component(
            "kube-apiserver",
            &[
                ("etcd-servers", format!("http://127.0.0.1:{client}")),
                ("bind-address", "127.0.0.1".to_owned()),
                ("advertise-address", "127.0.0.1".to_owned()),
                ("secure-port", api.to_string()),
                ("cert-dir", path("certs")),
                ("token-auth-file", path("tokens.csv")),
                ("authorization-mode", "RBAC".to_owned()),
                ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
                ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
                ("service-account-key-file", path("accounts.pub")),
                ("service-account-signing-key-file", path("accounts.key")),
                ("allow-privileged", "true".to_owned()),
                ("endpoint-reconciler-type", "none".to_owned()),
            ],
        )?;
        self.wait_for("the API server", Duration::from_secs(120), &["get", "--raw", "/readyz"])?;
        self.component(
            "kube-controller-manager",
            &[
                ("kubeconfig", config.clone()),
                ("leader-elect", "false".to_owned()),
                ("bind-address", "127.0.0.1".to_owned()),
                ("secure-port", manager.to_string()),
                ("node-monitor-grace-period", "24h".to_owned()),
                ("horizontal-pod-autoscaler-sync-period", format!("{}ms", hpa_sync_period.as_millis())),
                // With the default of 20 requests a second one test's objects wait for another's.
                ("kube-api-qps", "200".to_owned()),
                ("kube-api-burst", "400".to_owned()),
                ("use-service-account-credentials", "true".to_owned()),
                ("service-account-private-key-file", path("accounts.key")),
                ("root-ca-file", path("certs/apiserver.crt")),
            ],
        )?;
        self.component(
            "kube-scheduler",
            &[
                ("kubeconfig", config.clone()),
                ("leader-elect", "false".to_owned()),
                ("bind-address", "127.0.0.1".to_owned()),
                ("secure-port", scheduler.to_string()),
            ],
        )?;
        let mut command = Command::new(kwok);
        command.args(["--config", KWOK_CONFIG, "--kubeconfig", &config, "--node-ip", "127.0.0.1"]);
        command.arg("--manage-all-nodes=false");
        command.args(["--manage-nodes-with-annotation-selector", "kwok.x-k8s.io/node=fake"]);
        self.processes.push(Process::start(&mut command, &folder.join("kwok.log"))?);

        let nodes: Vec<_> = (0..nodes).map(node).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
        self.kubectl(&["create", "--filename", "-"], Some(&list.to_string()))?;
        self.wait_for(
            "the default service account",
            Duration::from_secs(120),
            &["get", "serviceaccount", "default", "--namespace", "default"],
        )?;
        self.kubectl(&["wait", "nodes", "--all", "--for=condition=Ready", "--timeout=120s"], None)?;
        Ok(())
    }

    fn component(&mut self, name: &str, flags: &[(&str, String)]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(name).args(flags.iter().map(|(flag, value)| format!("--{flag}={value}")));
        let process = Process::start(&mut command, &self.folder.path().join(format!("{name}.log")))?;
        self.processes.push(process);
        Ok(())
    }

    /// Waits until kubectl succeeds with these arguments.
    ///
    /// # Errors
    ///
    /// It does not within `timeout`, or a component has ended meanwhile; why kubectl failed last.
    pub fn wait_for(&mut self, what: &str, timeout: Duration, args: &[&str]) -> Result<()> {
        let end = Instant::now() + timeout;
        loop {
            let Err(error) = self.kubectl(args, None) else {
                return Ok(());
            };
            if Instant::now() >= end {
                return Err(error.context(format!("{what} is not ready after {} s", timeout.as_secs())));
            }
            if !self.processes.iter_mut().all(Process::is_running) {
                bail!("a component ended while waiting for {what}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        while let Some(process) = self.processes.pop() {
            drop(process);
        }
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            // There is nobody left to return an error to.
            let _ = writeln!(std::io::stderr(), "the logs of the cluster are in {}", self.folder.path().display());
        }
    }
}

/// The folder of the binaries, if they are built and up to date.
fn binaries() -> Result<Option<PathBuf>> {
    let output = Command::new(SCRIPT).arg("check").output().with_context(|| format!("cannot run {SCRIPT}"))?;
    let folder = String::from_utf8(output.stdout).context("the folder of the binaries is not text")?;
    Ok(output.status.success().then(|| PathBuf::from(folder.trim_end())))
}

/// Some words for a test that finds no binaries: what did not run, and what to do.
pub fn not_built(test: &str) -> String {
    let line = "=".repeat(100);
    format!(
        "\n{line}\n{test} DID NOT RUN: the control plane is not built.\n\
         Build it, once, in about 6 minutes:\n\n    testcluster/testcluster build\n{line}\n"
    )
}

/// Ports of loopback that are free now.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut listeners = Vec::new();
    for port in &mut ports {
        // Held until all are found, so that they differ.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        *port = listener.local_addr().context("no free port")?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

fn node(i: usize) -> serde_json::Value {
    let name = format!("gpu-{i}");
    let offer = json!({"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name},
        },
        "status": {"allocatable": offer, "capacity": offer},
    })
}
