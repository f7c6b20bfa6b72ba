//! The APIs of external and custom metrics, by values of the test's own.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufReader;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::http::{self, Request};
use crate::watch::lock;

const EXTERNAL: (&str, &str) = ("external.metrics.k8s.io", "v1beta1");
const CUSTOM: (&str, &str) = ("custom.metrics.k8s.io", "v1beta2");

/// What a metric is asked of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing in the cluster: an External metric.
    External,
    /// All pods of a label selector: a Pods metric.
    Pods {
        /// Such as `app=x`.
        selector: String,
    },
    /// One object: an Object metric.
    Object {
        /// Such as `services`.
        resource: String,
        /// The object's name.
        name: String,
    },
}

/// One question for a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The namespace of the autoscaler that asks.
    pub namespace: String,
    /// The metric's name.
    pub metric: String,
    /// What it is asked of.
    pub subject: Subject,
}

/// What is answered. Values are in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One value a series, or an object's value; an empty list for none.
    Values(Vec<i64>),
    /// A value for each pod that has one.
    Pods(Vec<(String, i64)>),
    /// No answer but this status of HTTP, such as 404.
    Status(u16),
}

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Served {
    /// When the question was read.
    pub asked: Instant,
    /// When the answer was written.
    pub answered: Instant,
    /// What was asked.
    pub question: Question,
    /// What was answered.
    pub answer: Answer,
}

type Source = dyn Fn(&Question, Instant) -> Answer + Send + Sync;

struct Shared {
    source: Box<Source>,
    served: Mutex<Vec<Served>>,
    /// Those that are open, by number: whoever stops the server ends them.
    connections: Mutex<BTreeMap<usize, TcpStream>>,
    stopped: AtomicBool,
}

/// A server of metrics over HTTPS, on a port of loopback of its own.
pub struct MetricsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl fmt::Debug for MetricsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl MetricsServer {
    /// Starts to answer by `source`, which gets the question and the time.
    ///
    /// # Errors
    ///
    /// No certificate can be made, or no port is free.
    pub fn start(source: impl Fn(&Question, Instant) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let config = Arc::new(tls_config()?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port for metrics")?;
        let address = listener.local_addr().context("no free port for metrics")?;
        let shared = Arc::new(Shared {
            source: Box::new(source),
            served: Mutex::default(),
            connections: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let state = Arc::clone(&shared);
        let listening = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if state.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if let Ok(copy) = stream.try_clone() {
                    lock(&state.connections).insert(number, copy);
                }
                let (state, config) = (Arc::clone(&state), Arc::clone(&config));
                std::thread::spawn(move || {
                    // A connection that breaks is the client's to see and to make anew.
                    let _ = serve(stream, config, &state);
                    lock(&state.connections).remove(&number);
                });
            }
        });
        Ok(Self { address, shared, listening: Some(listening) })
    }

    /// Makes this server the cluster's APIs of external and custom metrics, and waits until they are available.
    ///
    /// # Errors
    ///
    /// kubectl failed, or the API server cannot reach this server.
    pub fn register(&self, cluster: &Cluster) -> Result<()> {
        let port = self.address.port();
        let apis = [EXTERNAL, CUSTOM].map(|(group, version)| {
            json!({
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": format!("{version}.{group}")},
                "spec": {
                    "group": group,
                    "version": version,
                    "insecureSkipTLSVerify": true,
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "service": {"name": "test-metrics", "namespace": "kube-system", "port": port},
                },
            })
        });
        // Endpoints may not name addresses of loopback; an external name may.
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "test-metrics", "namespace": "kube-system"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        });
        let mut items = vec![service];
        items.extend(apis);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        cluster.kubectl(&["apply", "--filename", "-"], Some(&list.to_string()))?;
        for (group, version) in [EXTERNAL, CUSTOM] {
            let api = format!("apiservice/{version}.{group}");
            cluster.kubectl(&["wait", &api, "--for=condition=Available", "--timeout=60s"], None)?;
        }
        Ok(())
    }

    /// All questions so far with their answers, in the order of the answers.
    pub fn served(&self) -> Vec<Served> {
        lock(&self.shared.served).clone()
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is to stop.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
        if let Some(thread) = self.listening.take() {
            // It does not panic, and if it did there would be nothing left to stop.
            let _ = thread.join();
        }
        for connection in lock(&self.shared.connections).values() {
            // It may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn tls_config() -> Result<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).context("cannot make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()))
        .context("cannot use the certificate just made")
}

/// Answers one connection until it ends.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    while let Some(request) = http::read(&mut stream)? {
        let asked = Instant::now();
        let found = (request.method == "GET").then(|| route(&request)).flatten();
        let (question, (status, body)) = match found {
            None => (None, failure(404)),
            Some(Route::Discovery(body)) => (None, (200, body)),
            Some(Route::Metric(question)) => {
                let answer = (shared.source)(&question, asked);
                let reply = render(&question, &answer);
                (Some((question, answer)), reply)
            }
        };
        http::write(stream.get_mut(), status, &body)?;
        if let Some((question, answer)) = question {
            lock(&shared.served).push(Served { asked, answered: Instant::now(), question, answer });
        }
    }
    Ok(())
}

/// What a path leads to.
enum Route {
    /// What the API offers: nothing that anybody looks up there.
    Discovery(Value),
    Metric(Question),
}

fn route(request: &Request) -> Option<Route> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let ("apis", group, version, rest) = (*path.first()?, *path.get(1)?, *path.get(2)?, path.get(3..)?) else {
        return None;
    };
    let external = (group, version) == EXTERNAL;
    if !external && (group, version) != CUSTOM {
        return None;
    }
    let question = |namespace: &str, metric: &str, subject: Subject| {
        Some(Route::Metric(Question { namespace: namespace.to_owned(), metric: metric.to_owned(), subject }))
    };
    match *rest {
        [] => Some(Route::Discovery(json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": format!("{group}/{version}"),
            "resources": [],
        }))),
        ["namespaces", namespace, metric] if external => question(namespace, metric, Subject::External),
        ["namespaces", namespace, "pods", "*", metric] if !external => {
            let selector = request.query.iter().find(|(key, _)| key == "labelSelector");
            let selector = selector.map(|(_, value)| value.clone()).unwrap_or_default();
            question(namespace, metric, Subject::Pods { selector })
        }
        ["namespaces", namespace, resource, name, metric] if !external => {
            let subject = Subject::Object { resource: resource.to_owned(), name: name.to_owned() };
            question(namespace, metric, subject)
        }
        _ => None,
    }
}

/// An answer as its API spells it.
fn render(question: &Question, answer: &Answer) -> (u16, Value) {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let list = |kind: &str, (group, version): (&str, &str), items: Vec<Value>| {
        (200, json!({"kind": kind, "apiVersion": format!("{group}/{version}"), "metadata": {}, "items": items}))
    };
    let described = |kind: &str, name: &str, milli: i64| {
        json!({
            "describedObject": {"kind": kind, "namespace": question.namespace, "name": name, "apiVersion": "v1"},
            "metric": {"name": question.metric, "selector": null},
            "timestamp": now,
            "windowSeconds": 5,
            "value": format!("{milli}m"),
        })
    };
    match (answer, &question.subject) {
        (Answer::Status(status), _) => failure(*status),
        (Answer::Values(values), Subject::External) => {
            let item = |(i, milli): (usize, &i64)| {
                json!({
                    "metricName": question.metric,
                    "metricLabels": {"series": i.to_string()},
                    "timestamp": now,
                    "value": format!("{milli}m"),
                })
            };
            list("ExternalMetricValueList", EXTERNAL, values.iter().enumerate().map(item).collect())
        }
        (Answer::Values(values), Subject::Object { resource, name }) => {
            let items = values.iter().map(|milli| described(resource, name, *milli)).collect();
            list("MetricValueList", CUSTOM, items)
        }
        (Answer::Pods(values), Subject::Pods { .. }) => {
            let items = values.iter().map(|(pod, milli)| described("Pod", pod, *milli)).collect();
            list("MetricValueList", CUSTOM, items)
        }
        // A source that answers something else than was asked: no such metric.
        (Answer::Values(_), Subject::Pods { .. }) | (Answer::Pods(_), _) => failure(404),
    }
}

fn failure(status: u16) -> (u16, Value) {
    let reason = if status == 404 { "NotFound" } else { "InternalError" };
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "this metric has no value",
        "reason": reason,
        "code": status,
    });
    (status, body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The question in a request for a path, if there is one.
    fn question(target: &str) -> Option<Question> {
        let text = format!("GET {target} HTTP/1.1\r\n\r\n");
        match route(&http::read(&mut text.as_bytes()).unwrap().unwrap())? {
            Route::Metric(question) => Some(question),
            Route::Discovery(_) => None,
        }
    }

    #[test]
    fn paths_lead_to_metrics() {
        let about = |metric: &str, subject| Some(Question { namespace: "n".into(), metric: metric.into(), subject });
        let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/load?labelSelector=";
        assert_eq!(question(external), about("load", Subject::External));
        let pods = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/%2A/queue?labelSelector=app%3Dx";
        assert_eq!(question(pods), about("queue", Subject::Pods { selector: "app=x".into() }));
        let object = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/services/front/waiting";
        let subject = Subject::Object { resource: "services".into(), name: "front".into() };
        assert_eq!(question(object), about("waiting", subject));
        for other in ["/apis", "/openapi/v2", "/apis/external.metrics.k8s.io/v1/namespaces/n/load"] {
            assert_eq!(question(other), None, "{other}");
        }
    }

    #[test]
    fn values_are_in_thousandths() {
        let question = Question { namespace: "n".into(), metric: "load".into(), subject: Subject::External };
        let (status, body) = render(&question, &Answer::Values(vec![1500]));
        assert_eq!(status, 200);
        assert_eq!(body.pointer("/items/0/value").and_then(Value::as_str), Some("1500m"));
        assert_eq!(render(&question, &Answer::Status(503)).0, 503);
        assert_eq!(render(&question, &Answer::Pods(Vec::new())).0, 404);
    }
}
