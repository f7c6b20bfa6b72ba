//! `kisim traffic`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kisim::arguments::ScenarioArgs;
use kisim::plot;
use kisim::prepared::Prepared;
use kisim::report::{number, write_atomically, write_csv_atomically};
use kisim::run::{Keep, run};
use kisim::scenario::Scenario;
use serde::Serialize;

use super::Format;
use super::progress::Bar;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kisim traffic --out arrivals.csv\n  kisim traffic --trace requests_per_minute.csv --trace-format worldcup98 --svg traffic.svg\n\n\
                        Closed-loop traffic depends on the system: its arrivals are those of a run under the scenario's autoscaler."
)]
pub(crate) struct TrafficArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Write a row an arrival here
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draw the rate over time and the times between arrivals
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// What traffic amounts to.
#[derive(Debug, Serialize)]
struct TrafficSummary {
    scenario: String,
    seed: u64,
    duration_s: f64,
    requests: usize,
    mean_rate: f64,
    /// Highest rate over any second, ten seconds and minute, requests a second.
    peak_rate_1s: f64,
    peak_rate_10s: f64,
    peak_rate_60s: f64,
    /// Standard deviation over mean of the times between arrivals; a Poisson process has 1.
    interarrival_cv: Option<f64>,
    /// Variance over mean of the counts by second; a Poisson process of constant rate has 1.
    dispersion_1s: Option<f64>,
}

pub(crate) fn main(args: &TrafficArgs, seed: Option<u64>, format: Format) -> Result<ExitCode> {
    let scenario = args.scenario.load(seed)?;
    let seed = scenario.seed;
    let prepared = Prepared::new(scenario)?;
    let scenario = &prepared.scenario;
    let seconds = prepared.seconds();
    let times = match scenario.traffic.arrivals(&scenario.base, seconds, seed)? {
        Some(times) => times,
        None => closed_loop(&prepared, scenario, seed)?,
    };
    let summary = summarise(scenario, seed, seconds, &times);
    if let Some(path) = &args.out {
        write_arrivals(path, &times)?;
        super::note(&format!("wrote {}", path.display()));
    }
    if let Some(path) = &args.svg {
        let svg = plot::traffic(&traffic_plot(format!("{}, seed {seed}", scenario.name), seconds, &times))?;
        write_atomically(path, |file| file.write_all(svg.as_bytes()))?;
        super::note(&format!("wrote {}", path.display()));
    }
    match format {
        Format::Json => super::print_json(&summary)?,
        Format::Table => {
            let optional = |v: Option<f64>| v.map_or("–".to_owned(), number);
            let lines = [
                ("requests", number(summary.requests as f64), ""),
                ("duration", number(seconds), "s"),
                ("mean rate", number(summary.mean_rate), "requests/s"),
                ("peak rate, 1 s", number(summary.peak_rate_1s), "requests/s"),
                ("peak rate, 10 s", number(summary.peak_rate_10s), "requests/s"),
                ("peak rate, 60 s", number(summary.peak_rate_60s), "requests/s"),
                ("CV of times between arrivals", optional(summary.interarrival_cv), ""),
                ("variance/mean of counts by second", optional(summary.dispersion_1s), ""),
            ];
            let body: Vec<String> = lines.iter().map(|(n, v, u)| format!("  {n:<34} {v:>12} {u}")).collect();
            super::print(&format!("{}, seed {seed}\n{}", scenario.name, body.join("\n")))?;
        }
    }
    super::next_step("kisim run with the same arguments simulates it");
    Ok(ExitCode::SUCCESS)
}

/// Bins of the rate panel, and bins a decade of the gaps' histogram.
const RATE_BINS: f64 = 400.0;
const GAP_BINS_A_DECADE: f64 = 10.0;

fn traffic_plot(title: String, seconds: f64, times: &[u64]) -> plot::TrafficPlot {
    let bin_s = (seconds / RATE_BINS).max(1e-3);
    let bins = counts(times, seconds, bin_s);
    let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64 * 1e-9).collect();
    let mut histogram = std::collections::BTreeMap::new();
    for gap in &gaps {
        let bin = (gap.max(1e-9).log10() * GAP_BINS_A_DECADE).floor() as i64;
        *histogram.entry(bin).or_insert(0.0) += 1.0;
    }
    let edge = |bin: i64| 10f64.powf(bin as f64 / GAP_BINS_A_DECADE);
    plot::TrafficPlot {
        title,
        time_s: (0..bins.len()).map(|i| i as f64 * bin_s).collect(),
        bin_s,
        arrivals: bins.iter().map(|&c| c as f64).collect(),
        gaps: histogram
            .iter()
            .map(|(&bin, &count)| plot::GapBin { from_s: edge(bin), to_s: edge(bin + 1), count })
            .collect(),
        mean_gap_s: (!gaps.is_empty()).then(|| gaps.iter().sum::<f64>() / gaps.len() as f64),
    }
}

fn closed_loop(prepared: &std::sync::Arc<Prepared>, scenario: &Scenario, seed: u64) -> Result<Vec<u64>> {
    let bar = Bar::new("simulating");
    let keep = Keep { requests: true, ..Keep::default() };
    let result = run(prepared, &scenario.autoscaler, seed, keep, &|share| bar.set(share));
    bar.finish();
    Ok(result?.requests.iter().map(|r| r.sent).collect())
}

fn summarise(scenario: &Scenario, seed: u64, seconds: f64, times: &[u64]) -> TrafficSummary {
    let peak = |window: f64| {
        let bins = counts(times, seconds, window);
        bins.iter().copied().max().unwrap_or(0) as f64 / window
    };
    let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
    let ratio = |values: &[f64]| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        (values.len() > 1 && mean > 0.0).then_some((mean, variance))
    };
    let by_second: Vec<f64> = counts(times, seconds, 1.0).iter().map(|&c| c as f64).collect();
    TrafficSummary {
        scenario: scenario.name.clone(),
        seed,
        duration_s: seconds,
        requests: times.len(),
        mean_rate: times.len() as f64 / seconds,
        peak_rate_1s: peak(1.0),
        peak_rate_10s: peak(10.0),
        peak_rate_60s: peak(60.0),
        interarrival_cv: ratio(&gaps).map(|(mean, variance)| variance.sqrt() / mean),
        dispersion_1s: ratio(&by_second).map(|(mean, variance)| variance / mean),
    }
}

fn counts(times: &[u64], seconds: f64, window: f64) -> Vec<u64> {
    let mut bins = vec![0; (seconds / window).ceil().max(1.0) as usize];
    for &time in times {
        let bin = (time as f64 * 1e-9 / window) as usize;
        if let Some(count) = bins.get_mut(bin) {
            *count += 1;
        }
    }
    bins
}

fn write_arrivals(path: &Path, times: &[u64]) -> Result<()> {
    write_csv_atomically(path, |csv| {
        csv.write_record(["timestamp_s"])?;
        for time in times {
            csv.write_record([format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000)])?;
        }
        Ok(())
    })?;
    Ok(())
}
