//! The real controller of HorizontalPodAutoscalers against `kisim::hpa`, live.
//!
//! See the documentation of this crate for what it takes to run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "hpa/observe.rs"]
mod observe;
#[path = "hpa/replay.rs"]
mod replay;
#[path = "hpa/series.rs"]
mod series;

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use testcluster::{Answer, Cluster, MetricsServer, not_built};

use crate::observe::Observed;
use crate::series::{ALL, Series};

/// How often the controller decides: as often as its metrics and pods can follow.
const SYNC_PERIOD: Duration = Duration::from_secs(2);

/// How long the series last.
const LENGTH: Duration = Duration::from_secs(204);

/// Past the capture of a passing test's output: this must be seen.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

#[test]
fn the_real_controller_decides_the_same() -> Result<()> {
    let Some(cluster) = Cluster::start(2, SYNC_PERIOD)? else {
        say(&not_built("The comparison with the real HPA controller"))?;
        let required = std::env::var("KIS_REQUIRE_TESTCLUSTER").is_ok_and(|v| v == "1");
        assert!(!required, "KIS_REQUIRE_TESTCLUSTER=1, and the control plane is not built");
        return Ok(());
    };
    let pods = cluster.watch("pods")?;
    let deployments = cluster.watch("deployments")?;
    let autoscalers = cluster.watch("horizontalpodautoscalers")?;

    let start = Arc::new(OnceLock::new());
    let (clock, current) = (Arc::clone(&start), pods.current());
    let server = MetricsServer::start(move |question, now| {
        let Some(series) = ALL.iter().find(|s| s.name == question.namespace) else {
            return Answer::Status(404);
        };
        let seconds = clock.get().map_or(0.0, |start| now.saturating_duration_since(*start).as_secs_f64());
        let objects = current.lock().unwrap();
        let running: Vec<String> = objects
            .iter()
            .filter(|((namespace, _), pod)| *namespace == question.namespace && is_running(pod))
            .map(|((_, name), _)| name.clone())
            .collect();
        drop(objects);
        (series.answer)(&question.metric, seconds, &running)
    })?;
    server.register(&cluster)?;

    let targets: String = ALL.iter().map(|s| s.target()).collect();
    cluster.kubectl(&["apply", "--filename", "-"], Some(&targets))?;
    let ready = ["wait", "deployments", "--all", "--all-namespaces", "--for=condition=Available", "--timeout=120s"];
    cluster.kubectl(&ready, None)?;
    let manifests: Vec<String> = ALL.iter().map(|s| s.manifest()).collect();
    cluster.kubectl(&["apply", "--filename", "-"], Some(&manifests.join("---\n")))?;
    start.get_or_init(Instant::now);

    std::thread::sleep(LENGTH);

    let served = server.served();
    let (deployments, pods, autoscalers) = (deployments.changes(), pods.changes(), autoscalers.changes());
    let (mut syncs, mut equal, mut report, mut wrong) = (0, 0, String::new(), Vec::new());
    for series in ALL {
        let observed = Observed::new(series.name, series.metrics, &served, &deployments, &pods, &autoscalers);
        let outcome = replay::replay(series, &series.manifest(), &observed, SYNC_PERIOD);
        syncs += outcome.syncs;
        equal += outcome.equal + outcome.equal_by_lag;
        writeln!(
            report,
            "  {}: {} syncs, {} equal, of which {} by pods up to 0.25 s older or newer; replicas {:?}; {:?}",
            series.name,
            outcome.syncs,
            outcome.equal + outcome.equal_by_lag,
            outcome.equal_by_lag,
            outcome.counts,
            outcome.seen,
        )?;
        wrong.extend(outcome.otherwise.iter().cloned());
        wrong.extend(vacuous(series, &outcome));
        for change in series.noticed {
            let outcome = replay::replay(series, &series.altered(*change), &observed, SYNC_PERIOD);
            if outcome.otherwise.is_empty() {
                wrong.push(format!("{}: not noticed: {change:?}", series.name));
            }
        }
    }
    say(&format!("hpa live: {} series, {syncs} syncs, {equal} equal\n{report}", ALL.len()))?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn is_running(pod: &Value) -> bool {
    pod.pointer("/status/phase").and_then(Value::as_str) == Some("Running")
        && pod.pointer("/metadata/deletionTimestamp").is_none()
}

/// Where a series did not do what it is there for.
fn vacuous(series: &Series, outcome: &replay::Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let least = LENGTH.as_secs() / SYNC_PERIOD.as_secs() * 3 / 4;
    if outcome.syncs < usize::try_from(least).unwrap() {
        wrong.push(format!("{}: {} syncs, expected at least {least}", series.name, outcome.syncs));
    }
    // Ambiguity is for the few syncs that fall on a change of the pods.
    if outcome.equal_by_lag * 5 > outcome.syncs {
        wrong.push(format!("{}: {} of {} syncs by another state", series.name, outcome.equal_by_lag, outcome.syncs));
    }
    for mark in series.seen {
        if !outcome.seen.contains_key(*mark) {
            wrong.push(format!("{}: never seen: {mark}", series.name));
        }
    }
    wrong
}
