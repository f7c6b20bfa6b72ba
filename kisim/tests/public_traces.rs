//! Imports the public traces where they are at hand.
//!
//! `KISIM_TRACES` names their folder; without it the folder `shared/traces` two levels above the crate is tried.

// Tests fail by panicking, and say so where they did not run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use kisim::time::SimTime;
use kisim::trace::{
    ClientWindows, InterarrivalDistribution, LoadUnit, RateWindows, Trace, TraceError, TraceFormat, TraceOptions,
    TraceSummary, UserSteps,
};

const AZURE: &str = "azure-llm-2023/AzureLLMInferenceTrace_code.csv";
const MOONCAKE: &str = "mooncake/synthetic_trace.csv";
const NAB: &str = "nab/elb_request_count_8c0756.csv";
const WORLDCUP98: &str = "worldcup98/requests_per_minute_to_1998-05-31.csv";
const SERVEGEN_SMALL: &str = "servegen/m-small_aggregate_rate_days0-6.csv";
const SERVEGEN_MID: &str = "servegen/m-mid_aggregate_rate_days0-6.csv";
const SERVEGEN_CLIENTS: &str = "servegen/m-small_client_windows_days0-6.csv";
const KISIM: &str = "kisim/kisim_timeseries.csv";

const DAY: Duration = Duration::from_secs(86_400);

/// The path of a public trace, or `None` with a note where the traces are absent.
fn public(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("KISIM_TRACES").map_or_else(
        || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces")).to_path_buf(),
        PathBuf::from,
    );
    if folder.is_dir() {
        Some(folder.join(name))
    } else {
        println!("public traces not present: not run");
        None
    }
}

fn summary(path: &Path, options: &TraceOptions) -> TraceSummary {
    Trace::open(path, options).unwrap().summary().unwrap()
}

fn rates(path: &Path, options: &TraceOptions) -> RateWindows {
    match Trace::open(path, options).unwrap() {
        Trace::Rates(rates) => rates,
        other => panic!("not rates: {other:?}"),
    }
}

fn clients(path: &Path, options: &TraceOptions) -> ClientWindows {
    match Trace::open(path, options).unwrap() {
        Trace::Clients(clients) => clients,
        other => panic!("not clients: {other:?}"),
    }
}

fn users(path: &Path, options: &TraceOptions) -> UserSteps {
    match Trace::open(path, options).unwrap() {
        Trace::Users(users) => users,
        other => panic!("not users: {other:?}"),
    }
}

/// Asserts that two figures agree to the given relative error.
fn assert_close(found: f64, expected: f64, error: f64) {
    assert!((found / expected - 1.0).abs() <= error, "found {found}, expected {expected}");
}

#[test]
fn azure_llm() {
    let Some(path) = public(AZURE) else { return };
    let whole = summary(&path, &TraceOptions::default());
    assert_eq!(whole.count, 8_819);
    assert_eq!(whole.duration, SimTime::from_nanos(3_435_948_056_000));
    assert_close(whole.mean_load, 2.5664, 1e-4);
    assert_close(whole.interarrival_cv.unwrap(), 13.1513, 1e-4);
    assert!(whole.peak_load > whole.mean_load);

    let minutes = |start: u64, length: u64| TraceOptions {
        start: Some(Duration::from_secs(start * 60)),
        duration: Some(Duration::from_secs(length * 60)),
        ..TraceOptions::default()
    };
    let parts: u64 = (0..6).map(|part| summary(&path, &minutes(part * 10, 10)).count).sum();
    assert_eq!(parts, whole.count, "adjoining ranges hold every arrival once");
}

#[test]
fn mooncake() {
    let Some(path) = public(MOONCAKE) else { return };
    let whole = summary(&path, &TraceOptions::default());
    assert_eq!((whole.count, whole.duration), (3_993, SimTime::from_nanos(1_022_025_000_000)));
    assert_close(whole.mean_load, 3.906, 1e-3);
    assert_close(whole.interarrival_cv.unwrap(), 1.0113, 1e-3);
}

#[test]
fn nab() {
    let Some(path) = public(NAB) else { return };
    let trace = rates(&path, &TraceOptions::default());
    assert_eq!(trace.rows, 4_032);
    assert_eq!(trace.windows.len(), 4_032 + 8, "eight gaps of one row each");
    assert_eq!(trace.end().as_secs_f64(), 14.0 * 86_400.0 + 40.0 * 60.0);
    let total = trace.summary();
    assert_close(total.mean_load * total.duration.as_secs_f64(), 249_327.0, 1e-9);
    assert_close(total.peak_load, 656.0 / 300.0, 1e-12);
}

#[test]
fn worldcup98() {
    let Some(path) = public(WORLDCUP98) else {
        return;
    };
    let trace = rates(&path, &TraceOptions::default());
    assert_eq!(trace.rows, 44_780);
    assert_eq!(trace.windows.len(), 44_780 + 7, "seven gaps");
    let total = trace.summary();
    assert_close(total.mean_load * total.duration.as_secs_f64(), 71_072_997.0, 1e-9);
    assert_close(total.peak_load, 57_509.0 / 60.0, 1e-12);

    let day = TraceOptions { start: Some(DAY), duration: Some(DAY), ..TraceOptions::default() };
    let part = rates(&path, &day);
    assert_eq!((part.rows, part.end().as_secs_f64()), (1_440, 86_400.0));
}

#[test]
fn servegen_rates() {
    for (name, first) in [(SERVEGEN_SMALL, 809.76167), (SERVEGEN_MID, 986.565)] {
        let Some(path) = public(name) else { return };
        let trace = rates(&path, &TraceOptions::default());
        assert_eq!((trace.rows, trace.windows.len()), (1_008, 1_008));
        assert_eq!(trace.windows[0].rate, first);
        assert_eq!(trace.end().as_secs_f64(), 7.0 * 86_400.0);
    }
}

#[test]
fn servegen_clients_add_up_to_the_aggregate() {
    let (Some(path), Some(aggregate)) = (public(SERVEGEN_CLIENTS), public(SERVEGEN_SMALL)) else {
        return;
    };
    let trace = clients(&path, &TraceOptions::default());
    assert_eq!((trace.len(), trace.client_ids().len(), trace.groups().count()), (19_640, 35, 1_008));
    assert_eq!(trace.summary().count, 19_640);
    let aggregate = rates(&aggregate, &TraceOptions::default());
    for (group, window) in trace.groups().zip(&aggregate.windows) {
        assert_eq!((group.start, group.length), (window.start, window.length));
        assert_close(group.rate(), window.rate, 1e-4);
    }

    let day = TraceOptions { start: Some(3 * DAY), duration: Some(DAY), ..TraceOptions::default() };
    let part = clients(&path, &day);
    assert_eq!(part.groups().count(), 144);
    let window = trace.groups().nth(3 * 144).unwrap();
    assert_eq!(part.groups().next().unwrap().clients, window.clients);
}

/// What the documentation of [`InterarrivalDistribution`] says about the parameters.
#[test]
fn servegen_parameters_are_shape_and_scale_in_seconds() {
    let Some(path) = public(SERVEGEN_CLIENTS) else {
        return;
    };
    let trace = clients(&path, &TraceOptions::default());
    let (mut gamma, mut weibull, mut weibull_cv) = (Vec::new(), Vec::new(), Vec::new());
    for client in trace.groups().flat_map(|group| group.clients) {
        let law = client.interarrival;
        match law {
            InterarrivalDistribution::Gamma { .. } => {
                assert_close(law.cv(), client.cv, 2e-7);
                gamma.push(law.mean() * client.rate);
            }
            InterarrivalDistribution::Weibull { .. } => {
                weibull.push(law.mean() * client.rate);
                weibull_cv.push(law.cv() / client.cv);
            }
        }
        assert_close(law.with_mean(1.0 / client.rate).mean() * client.rate, 1.0, 1e-9);
    }
    assert_eq!((gamma.len(), weibull.len()), (13_744, 5_896));
    let close = gamma.iter().filter(|ratio| (**ratio - 1.0).abs() < 0.01).count();
    assert_close(close as f64 / gamma.len() as f64, 0.866, 1e-3);
    let quantile = |values: &mut Vec<f64>, share: f64| {
        values.sort_by(f64::total_cmp);
        values[(values.len() as f64 * share) as usize]
    };
    assert_close(quantile(&mut gamma, 0.5), 1.0, 1e-4);
    assert_close(quantile(&mut weibull, 0.5), 1.34, 1e-2);
    assert_close(quantile(&mut weibull, 0.05), 0.84, 1e-2);
    assert_close(quantile(&mut weibull, 0.95), 2.68, 1e-2);
    assert_close(quantile(&mut weibull_cv, 0.5), 0.73, 1e-2);
}

#[test]
fn kisim_runs() {
    let Some(path) = public(KISIM) else { return };
    let error = Trace::open(&path, &TraceOptions::default()).unwrap_err();
    let TraceError::AmbiguousSeries { runs, .. } = &error else { panic!("{error}") };
    assert_eq!(runs.len(), 8);
    let mut steps = 0;
    for run in runs {
        let options = TraceOptions { series: Some(run.clone()), ..TraceOptions::default() };
        let run = users(&path, &options);
        assert_eq!(run.steps[0].0, SimTime::ZERO);
        assert_eq!(run.summary().unit, LoadUnit::Users);
        steps += run.steps.len();
    }
    assert_eq!(steps, 228 - 8, "every row but each run's closing one");

    let ramp = TraceOptions { series: Some("gpu_ramp_20250523_173843".into()), ..TraceOptions::default() };
    let ramp = users(&path, &ramp);
    assert_eq!((ramp.steps[0].1, ramp.steps[1]), (14, (SimTime::from_nanos(15_353_000_000), 19)));
    assert_eq!(ramp.steps.last(), Some(&(SimTime::from_nanos(316_165_000_000), 100)));
}

#[test]
fn every_public_trace_is_detected() {
    let expected = [
        (AZURE, TraceFormat::AzureLlm),
        (MOONCAKE, TraceFormat::Mooncake),
        (NAB, TraceFormat::Nab),
        (WORLDCUP98, TraceFormat::WorldCup98),
        (SERVEGEN_SMALL, TraceFormat::ServegenRates),
        (SERVEGEN_MID, TraceFormat::ServegenRates),
        (SERVEGEN_CLIENTS, TraceFormat::ServegenClients),
        (KISIM, TraceFormat::Kisim),
    ];
    for (name, format) in expected {
        let Some(path) = public(name) else { return };
        let text = std::fs::read_to_string(&path).unwrap();
        let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        assert_eq!(TraceFormat::detect(&header), Some(format), "{name}");
    }
    let Some(path) = public("kisim/kisim_by_endpoint.csv") else {
        return;
    };
    let error = Trace::open(&path, &TraceOptions::default()).unwrap_err();
    assert!(matches!(error, TraceError::UnknownFormat { .. }), "{error}");
}
