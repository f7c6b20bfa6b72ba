//! The agent's own metrics.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::control::{Outcome, Reason};
use crate::metrics::{Finding, Found};
use crate::plan::Observation;

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge<f64, AtomicU64>>;

/// The agent's own metrics.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    decisions: Counters<3>,
    held: Counters<3>,
    current: Gauges<3>,
    desired: Gauges<3>,
    ready: Gauges<3>,
    features: Gauges<3>,
    age: Gauges<2>,
    policy: Gauges<4>,
    recalled: Gauges<2>,
    findings: Counters<3>,
    writes: Counters<2>,
    watch_errors: Counters<1>,
    decision_seconds: Histogram,
    leader: Gauge,
}

impl Default for Telemetry {
    fn default() -> Self {
        let telemetry = Telemetry {
            registry: Registry::with_prefix("kiscaler"),
            decisions: Family::default(),
            held: Family::default(),
            current: Family::default(),
            desired: Family::default(),
            ready: Family::default(),
            features: Family::default(),
            age: Family::default(),
            policy: Family::default(),
            recalled: Family::default(),
            findings: Family::default(),
            writes: Family::default(),
            watch_errors: Family::default(),
            // From 10 µs to 40 ms.
            decision_seconds: Histogram::new(exponential_buckets(1e-5, 2.0, 13)),
            leader: Gauge::default(),
        };
        telemetry.registered()
    }
}

impl Telemetry {
    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("decisions", "Decisions by reason", self.decisions.clone());
        r.register("held", "Decisions that held, by reason", self.held.clone());
        r.register("replicas_current", "Replicas asked for", self.current.clone());
        r.register("replicas_desired", "Replicas that the decision wants, within the limits", self.desired.clone());
        r.register("replicas_ready", "Ready pods", self.ready.clone());
        r.register("observation", "What the policy saw at its last decision, by feature", self.features.clone());
        r.register("scrape_age_seconds", "Age of the newest sample of any pod", self.age.clone());
        r.register("policy", "The policy that decides, 1", self.policy.clone());
        r.register("recalled_seconds", "Past load that the policy was told when it began", self.recalled.clone());
        r.register("findings", "What was wrong with metrics of pods, by kind", self.findings.clone());
        r.register("writes", "Requests that change something, by what and how they ended", self.writes.clone());
        r.register("watch_errors", "Watches that failed, by resource", self.watch_errors.clone());
        r.register("decision_seconds", "Time that a decision takes, scraping excluded", self.decision_seconds.clone());
        r.register("leader", "Whether this agent may write", self.leader.clone());
        self
    }

    /// The text of all metrics.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Notes a decision of a KIScaler, and how long it took.
    pub fn decided(&self, (namespace, name): (&str, &str), outcome: &Outcome, took: Duration) {
        self.count((namespace, name), outcome.reason, outcome.holds());
        let labels = |pool: &str| with(namespace, name, "pool", pool);
        for pool in &outcome.pools {
            self.current.get_or_create(&labels(&pool.name)).set(f64::from(pool.current));
            self.desired.get_or_create(&labels(&pool.name)).set(f64::from(pool.target));
            self.ready.get_or_create(&labels(&pool.name)).set(f64::from(pool.ready));
        }
        if let Some(age) = outcome.age {
            self.age.get_or_create(&of(namespace, name)).set(age.as_secs_f64());
        }
        self.decision_seconds.observe(took.as_secs_f64());
    }

    /// Notes why a KIScaler could not decide.
    pub fn reason(&self, (namespace, name): (&str, &str), reason: Reason) {
        self.count((namespace, name), reason, reason.holds());
    }

    fn count(&self, (namespace, name): (&str, &str), reason: Reason, holds: bool) {
        let labels = with(namespace, name, "reason", reason.name());
        if holds {
            self.held.get_or_create(&labels).inc();
        }
        self.decisions.get_or_create(&labels).inc();
    }

    /// Notes what a policy saw.
    pub fn observed(&self, (namespace, name): (&str, &str), observation: &Observation<'_>) {
        for (feature, value) in observation.named() {
            self.features.get_or_create(&with(namespace, name, "feature", feature)).set(f64::from(value));
        }
    }

    /// Notes who decides.
    pub fn policy(&self, (namespace, name): (&str, &str), policy: &str, sha256: Option<&str>) {
        let text = |text: &str| text.to_owned();
        let labels = [
            ("namespace", text(namespace)),
            ("name", text(name)),
            ("policy", text(policy)),
            ("sha256", text(sha256.unwrap_or_default())),
        ];
        self.policy.get_or_create(&labels).set(1.0);
    }

    /// Notes that somebody else decides from now on, or nobody.
    pub fn no_policy(&self, (namespace, name): (&str, &str), policy: &str, sha256: Option<&str>) {
        let text = |text: &str| text.to_owned();
        self.policy.remove(&[
            ("namespace", text(namespace)),
            ("name", text(name)),
            ("policy", text(policy)),
            ("sha256", text(sha256.unwrap_or_default())),
        ]);
    }

    /// Notes how much of the past whoever decides was told.
    pub fn recalled(&self, (namespace, name): (&str, &str), past: Duration) {
        self.recalled.get_or_create(&of(namespace, name)).set(past.as_secs_f64());
    }

    /// Notes what was wrong with metrics.
    pub fn found(&self, (namespace, name): (&str, &str), found: &[Found]) {
        for one in found {
            self.findings.get_or_create(&with(namespace, name, "finding", one.finding.name())).inc();
        }
    }

    /// Notes a request that changes something.
    pub fn wrote(&self, what: &'static str, outcome: &'static str) {
        self.writes.get_or_create(&[("what", what.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    /// Notes a watch that failed.
    pub fn watch_failed(&self, resource: &'static str) {
        self.watch_errors.get_or_create(&[("resource", resource.to_owned())]).inc();
    }

    /// Notes whether this agent may write.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Forgets a KIScaler that is no more.
    pub fn forget(&self, (namespace, name): (&str, &str), features: &[String]) {
        for reason in Reason::ALL {
            let labels = with(namespace, name, "reason", reason.name());
            self.decisions.remove(&labels);
            self.held.remove(&labels);
        }
        for finding in Finding::ALL {
            self.findings.remove(&with(namespace, name, "finding", finding.name()));
        }
        for pool in ["cpu", "gpu"] {
            for gauges in [&self.current, &self.desired, &self.ready] {
                gauges.remove(&with(namespace, name, "pool", pool));
            }
        }
        for feature in features {
            self.features.remove(&with(namespace, name, "feature", feature));
        }
        self.age.remove(&of(namespace, name));
        self.recalled.remove(&of(namespace, name));
    }
}

fn of(namespace: &str, name: &str) -> Labels<2> {
    [("namespace", namespace.to_owned()), ("name", name.to_owned())]
}

fn with(namespace: &str, name: &str, key: &'static str, value: &str) -> Labels<3> {
    [("namespace", namespace.to_owned()), ("name", name.to_owned()), (key, value.to_owned())]
}
