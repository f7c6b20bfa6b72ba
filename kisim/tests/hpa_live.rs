//! Replays recordings of the real controller and asks for the same decisions.
//!
//! The recordings are of kube-controller-manager, sync period 5 s. They are no part of this
//! repository: the environment variable `KISIM_HPA_LIVE` names their folder, by default one
//! beside the repository. Without the folder the test says so and passes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kisim::hpa::{ControllerSettings, Hpa, HpaInputs, HpaSpec, MetricInput, PodMetric, PodPhase, PodStatus};
use kisim::time::SimTime;
use serde_json::Value;

/// The recordings that were published together, and how many decisions they hold. There may be others.
const RECORDINGS: [&str; 8] = [
    "fast-behavior.json",
    "missing.json",
    "noise-at-tolerance.json",
    "ramp.json",
    "slow-pods.json",
    "spike.json",
    "up-window.json",
    "value-target.json",
];
const DECISIONS: usize = 1432;

/// The recorded times are those of the metric's query. The controller reads its clock after the
/// answer, and stamps a scale event once the new scale is written, some 50 ms after the query.
/// The recordings bear an event stamped 0 to 30 ms after the clock its decision went by; with
/// 50 ms between the two, eight decisions would come out otherwise.
const QUERY: Duration = Duration::from_millis(30);

/// From the decision to its event: as recorded, and none, which is the default.
const RESCALE: [Duration; 2] = [Duration::from_millis(20), Duration::ZERO];

fn folder() -> PathBuf {
    std::env::var_os("KISIM_HPA_LIVE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance/hpa-live")),
        PathBuf::from,
    )
}

fn int(row: &Value, field: &str) -> Result<i64, Box<dyn Error>> {
    row.get(field)
        .and_then(Value::as_i64)
        .ok_or_else(|| format!("field {field}: expected a whole number, in {row}").into())
}

fn pod(id: u64, ready: bool, phase: PodPhase) -> PodStatus {
    PodStatus {
        id,
        phase,
        deleting: false,
        ready: Some(ready),
        ready_transition: Some(SimTime::ZERO),
        start_time: Some(SimTime::ZERO),
        containers: Arc::from([]),
    }
}

/// The pods of a row, and the metric as its API served it.
fn observed(row: &Value, now: SimTime) -> Result<(Vec<PodStatus>, MetricInput), Box<dyn Error>> {
    let Some(per_pod) = row.get("per_pod").and_then(Value::as_array) else {
        let (ready, pods) = (int(row, "ready")?, int(row, "pods")?);
        let pods = (0..pods).map(|i| pod(i.unsigned_abs(), i < ready, PodPhase::Running));
        let metric = match row.get("value").and_then(Value::as_i64) {
            Some(milli) => MetricInput::Single(milli),
            None => MetricInput::Unavailable("no metric was served".to_owned()),
        };
        return Ok((pods.collect(), metric));
    };
    let (mut pods, mut values) = (Vec::new(), Vec::new());
    for (i, entry) in (0..).zip(per_pod) {
        let ready = entry.get("ready").and_then(Value::as_bool) == Some(true);
        let milli = entry.get("metric").and_then(Value::as_i64);
        // A pod of this deployment that is not ready has not started its containers.
        let started = ready || milli.is_some();
        let phase = if started { PodPhase::Running } else { PodPhase::Pending };
        pods.push(pod(i, ready, phase));
        values.extend(milli.map(|milli| PodMetric { pod: i, milli, at: now, window: Duration::from_secs(5) }));
    }
    Ok((pods, MetricInput::PodValues(values)))
}

/// Replays one recording; the number of its decisions, and those that came out otherwise.
fn replay(text: &str, file: &str, rescale_latency: Duration) -> Result<(usize, Vec<String>), Box<dyn Error>> {
    let recording: Value = serde_json::from_str(text)?;
    let manifest = recording.get("manifest").ok_or("no manifest")?;
    let spec = HpaSpec::from_yaml(&manifest.to_string(), file)?;
    let settings =
        ControllerSettings { sync_period: Duration::from_secs(5), rescale_latency, ..ControllerSettings::default() };
    let mut hpa = Hpa::new(spec, settings);
    let syncs = recording.get("syncs").and_then(Value::as_array);
    let syncs = syncs.ok_or("no syncs")?;
    let mut otherwise = Vec::new();
    for row in syncs {
        let seconds = row.get("t").and_then(Value::as_f64).ok_or("no t")?;
        let now = SimTime::from_secs_f64(seconds + QUERY.as_secs_f64());
        let (pods, metric) = observed(row, now)?;
        let decision = hpa.sync(
            now,
            &HpaInputs {
                spec_replicas: i32::try_from(int(row, "spec_before")?)?,
                status_replicas: i32::try_from(int(row, "pods")?)?,
                pods: &pods,
                metrics: &[metric],
            },
        );
        if i64::from(decision.desired) != int(row, "spec_after")? {
            otherwise.push(format!("{file}: {} for {row}", decision.desired));
        }
    }
    Ok((syncs.len(), otherwise))
}

#[test]
fn every_recorded_decision_comes_out_the_same() -> Result<(), Box<dyn Error>> {
    let folder = folder();
    if !folder.is_dir() {
        // Past the capture of a passing test's output: this must be seen.
        writeln!(
            std::io::stderr(),
            "\nNOT RUN: no recordings of the real controller in {}; \
             set KISIM_HPA_LIVE to their folder",
            folder.display()
        )?;
        return Ok(());
    }
    let (mut decisions, mut published, mut otherwise) = (0, 0, Vec::new());
    let mut missing = RECORDINGS.to_vec();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(&path)?;
            let before = missing.len();
            missing.retain(|name| !path.ends_with(name));
            for latency in RESCALE {
                let (count, differ) = replay(&text, &file, latency)?;
                decisions += count;
                published += if missing.len() < before { count } else { 0 };
                otherwise.extend(differ);
            }
        }
    }
    let runs = RESCALE.len();
    let right = decisions - otherwise.len();
    writeln!(
        std::io::stderr(),
        "\nthe real controller's decisions: {right} of {decisions} came out the same ({} recorded, {runs} latencies)",
        decisions / runs
    )?;
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
    assert!(decisions > 0, "no recordings in {}", folder.display());
    if missing.is_empty() {
        assert_eq!(published, DECISIONS * runs, "decisions recorded");
    }
    Ok(())
}
