//! A namespace of a real cluster, with a target, an exporter and agents in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::events::v1::Event;
use kiscaler_agent::api::KIScaler;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, CustomResourceExt as _, ResourceExt as _};
use serde_json::{Value, json};
use testcluster::{Cluster, Process, not_built};
use tokio::runtime::Runtime;

/// The cluster of all tests that run at the same time; gone with the last of them.
fn shared() -> Result<Option<Arc<Cluster>>> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    if let Some(cluster) = shared.upgrade() {
        return Ok(Some(cluster));
    }
    let Some(cluster) = Cluster::start(8, Duration::from_secs(2))? else { return Ok(None) };
    let crd = serde_json::to_string(&KIScaler::crd())?;
    cluster.kubectl(&["apply", "--server-side", "--filename", "-"], Some(&crd))?;
    let established = ["wait", "crd/kiscalers.kiscaler.dev", "--for=condition=Established", "--timeout=60s"];
    cluster.kubectl(&established, None)?;
    let cluster = Arc::new(cluster);
    *shared = Arc::downgrade(&cluster);
    Ok(Some(cluster))
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// A namespace of one's own in the cluster.
pub struct World {
    pub cluster: Arc<Cluster>,
    pub client: Client,
    pub namespace: String,
    pub exporter: Exporter,
}

impl World {
    /// `None` where the control plane is not built; that is said, and is a failure where it is required.
    pub fn new(namespace: &str) -> Result<Option<World>> {
        let Some(cluster) = shared()? else {
            writeln!(std::io::stderr(), "{}", not_built(&format!("The live test {namespace}")))?;
            let required = std::env::var("KIS_REQUIRE_TESTCLUSTER").is_ok_and(|v| v == "1");
            assert!(!required, "KIS_REQUIRE_TESTCLUSTER=1, and the control plane is not built");
            return Ok(None);
        };
        let client = client(cluster.kubeconfig())?;
        let world = World { cluster, client, namespace: namespace.to_owned(), exporter: Exporter::start()? };
        world.wait_on(async {
            let api: Api<Namespace> = Api::all(world.client.clone());
            let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await
        })?;
        Ok(Some(world))
    }

    pub fn wait_on<T>(&self, future: impl Future<Output = T>) -> T {
        runtime().block_on(future)
    }

    /// A Deployment without a number of replicas, as somebody writes it who leaves that to an autoscaler.
    pub fn deploy(&self, name: &str) -> Result<()> {
        self.apply_deployment(name, json!({}), "deployer")
    }

    pub fn apply_deployment(&self, name: &str, spec: Value, manager: &str) -> Result<()> {
        let mut deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}, "annotations": {"testcluster/ready-after": "500ms"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{
                            "name": "serve", "image": "none",
                            "resources": {"limits": {"nvidia.com/gpu": "1"}},
                        }],
                    },
                },
            },
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            deployment["spec"][key] = value.clone();
        }
        self.wait_on(async {
            let parameters = PatchParams::apply(manager).force();
            self.deployments().patch(name, &parameters, &Patch::Apply(&deployment)).await
        })?;
        Ok(())
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn scalers(&self) -> Api<KIScaler> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn deployment(&self, name: &str) -> Result<Deployment> {
        Ok(self.wait_on(self.deployments().get(name))?)
    }

    pub fn replicas(&self, name: &str) -> Result<i32> {
        Ok(self.deployment(name)?.spec.replicas.unwrap_or(-1))
    }

    pub fn ready(&self, name: &str) -> Result<i32> {
        Ok(self.deployment(name)?.status.and_then(|s| s.ready_replicas).unwrap_or(0))
    }

    pub fn pods(&self) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(self.wait_on(api.list(&ListParams::default()))?.items)
    }

    pub fn scaler(&self, name: &str) -> Result<KIScaler> {
        Ok(self.wait_on(self.scalers().get(name))?)
    }

    /// The reason of the last decision.
    pub fn reason(&self, name: &str) -> Result<String> {
        let status = self.scaler(name)?.status.unwrap_or_default();
        Ok(status.last_decision.map(|d| d.reason).unwrap_or_default())
    }

    pub fn message(&self, name: &str) -> Result<String> {
        let status = self.scaler(name)?.status.unwrap_or_default();
        Ok(status.last_decision.map(|d| d.message).unwrap_or_default())
    }

    /// Status and reason of a condition.
    pub fn condition(&self, name: &str, kind: &str) -> Result<(String, String)> {
        let status = self.scaler(name)?.status.unwrap_or_default();
        let found = status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == kind);
        Ok(found.map(|c| (c.status, c.reason)).unwrap_or_default())
    }

    /// Reasons of the Events about a KIScaler.
    pub fn events(&self, name: &str) -> Result<Vec<Event>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = self.wait_on(api.list(&ListParams::default()))?.items;
        let about = |event: &Event| {
            event
                .regarding
                .as_ref()
                .is_some_and(|r| r.kind.as_deref() == Some("KIScaler") && r.name.as_deref() == Some(name))
        };
        Ok(all.into_iter().filter(about).collect())
    }

    /// A KIScaler of the Deployment of the same name that decides every second; `change` is merged into its spec.
    pub fn scale(&self, name: &str, change: Value) -> Result<()> {
        let mut object = json!({
            "apiVersion": "kiscaler.dev/v1alpha1",
            "kind": "KIScaler",
            "metadata": {"name": name},
            "spec": {
                "mode": "Active",
                "pools": {"gpu": {
                    "scaleTargetRef": {"name": name},
                    "minReplicas": 1,
                    "maxReplicas": 4,
                    "profile": {"name": "bert-large-trt-fp16-seq128-t4"},
                    "batcher": {"maxBatch": 32},
                }},
                "policy": {"baseline": "hpa:60"},
                "slo": {"latency": "250ms"},
                "interval": "1s",
                "metrics": {
                    "preset": "Triton",
                    "window": "4s",
                    "direct": {"endpoints": [self.exporter.template()], "timeout": "500ms"},
                },
                "safety": {"warmUp": "2s", "staleAfter": "3s"},
            },
        });
        merge(&mut object["spec"], change);
        self.wait_on(async {
            let parameters = PatchParams::apply("somebody").force();
            self.scalers().patch(name, &parameters, &Patch::Apply(&object)).await
        })?;
        Ok(())
    }

    /// Merges into a KIScaler's spec.
    pub fn change(&self, name: &str, change: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": change }));
        self.wait_on(self.scalers().patch(name, &PatchParams::default(), &patch))?;
        Ok(())
    }

    pub fn annotate(&self, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
        self.wait_on(self.scalers().patch(name, &PatchParams::default(), &patch))?;
        Ok(())
    }

    /// An agent that looks at this namespace alone.
    pub fn agent(&self, name: &str, more: &[&str]) -> Result<Agent> {
        self.agent_by(self.cluster.kubeconfig().to_owned(), name, more)
    }

    pub fn agent_by(&self, kubeconfig: PathBuf, name: &str, more: &[&str]) -> Result<Agent> {
        let log = self.cluster.folder().join(format!("agent-{}-{name}.log", self.namespace));
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"));
        command.args(["run", "--metrics-address", "none", "--log-format", "json", "--identity", name]);
        command.args(["--namespace", &self.namespace, "--lease-namespace", &self.namespace]);
        command.arg("--kubeconfig").arg(kubeconfig).args(more).env("RUST_LOG", "info,kiscaler_agent=debug");
        Ok(Agent { process: Process::start(&mut command, &log)?, log })
    }

    /// Waits until `look` says so.
    pub fn until(&self, what: &str, timeout: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + timeout;
        loop {
            let outcome = look();
            if matches!(outcome, Ok(true)) {
                return Ok(());
            }
            if Instant::now() >= end {
                let status: Vec<Value> = self
                    .wait_on(self.scalers().list(&ListParams::default()))
                    .map(|all| all.items.iter().map(|s| json!({"name": s.name_any(), "status": s.status})).collect())
                    .unwrap_or_default();
                outcome?;
                bail!("not within {timeout:?}: {what}\n{}", serde_json::to_string_pretty(&status)?);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Whether `look` says so all the time.
    pub fn always(&self, what: &str, time: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if !look()? {
                bail!("not any more: {what}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for World {
    /// GPUs are few: whoever is done gives them back. Best effort, the cluster goes anyway.
    fn drop(&mut self) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let _ = self.wait_on(api.delete(&self.namespace, &Default::default()));
    }
}

/// A client by a kubeconfig file.
pub fn client(kubeconfig: &std::path::Path) -> Result<Client> {
    runtime().block_on(async {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    })
}

/// A running agent; dropped, it is killed as `kill -9` would.
pub struct Agent {
    pub process: Process,
    pub log: PathBuf,
}

impl Agent {
    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

pub fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                match value {
                    Value::Null => _ = into.remove(&key),
                    value => merge(into.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (into, change) => *into = change,
    }
}

/// What pods say of themselves.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Utilisation, in per cent, and requests that wait.
    Busy(f64, u64),
    /// This text.
    Text(String),
    /// This status.
    Status(u16),
    /// Nothing, ever.
    Silence,
}

/// Serves `/pods/NAME/metrics`.
pub struct Exporter {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    answer: Answer,
    /// Of single pods.
    pods: BTreeMap<String, Answer>,
    requests: u64,
}

impl Exporter {
    fn start() -> Result<Exporter> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State { answer: Answer::Busy(50.0, 0), pods: BTreeMap::new(), requests: 0 }));
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&served);
                std::thread::spawn(move || _ = serve(stream, &state));
            }
        });
        Ok(Exporter { port, state })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn template(&self) -> String {
        format!("http://127.0.0.1:{}/pods/{{pod}}/metrics", self.port)
    }

    pub fn set(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    pub fn set_pod(&self, pod: &str, answer: Answer) {
        self.state.lock().unwrap().pods.insert(pod.to_owned(), answer);
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let pod = request.split('/').nth(2).unwrap_or_default().to_owned();
        let (answer, requests) = {
            let mut state = state.lock().unwrap();
            state.requests += 100;
            (state.pods.get(&pod).unwrap_or(&state.answer).clone(), state.requests)
        };
        let (status, body) = match answer {
            Answer::Busy(utilization, queued) => (200, text(&pod, utilization, queued, requests)),
            Answer::Text(text) => (200, text),
            Answer::Status(status) => (status, String::new()),
            Answer::Silence => {
                std::thread::sleep(Duration::from_secs(30));
                return Ok(());
            }
        };
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

/// In the names that Triton, DCGM and istio use.
pub fn text(pod: &str, utilization: f64, queued: u64, requests: u64) -> String {
    format!(
        "istio_requests_total{{pod=\"{pod}\"}} {requests}\nistio_requests_in_flight{{pod=\"{pod}\"}} {queued}\n\
         nv_inference_request_success{{pod=\"{pod}\"}} {requests}\n\
         nv_inference_pending_request_count{{pod=\"{pod}\"}} {queued}\nDCGM_FI_DEV_GPU_UTIL{{pod=\"{pod}\"}} {utilization}\n"
    )
}

/// The managers of an object's fields, with their subresource.
pub fn managers(metadata: &ObjectMeta) -> Vec<(String, String)> {
    let fields = metadata.managed_fields.iter().flatten();
    fields.map(|f| (f.manager.clone().unwrap_or_default(), f.subresource.clone().unwrap_or_default())).collect()
}
