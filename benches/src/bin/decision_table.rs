//! How long a decision of each autoscaler takes at 64 pods, and whether its memory grows over a week.
//!
//! `cargo run --release -p kisim-benches --bin decision_table`: timed inside real runs, metrics scraped and all, so that
//! caches are as cold as they are in a run. Minutes long: a week of virtual time for each.

#![allow(clippy::print_stdout, reason = "a command prints")]

use std::path::Path;
use std::time::{Duration, Instant};

use kisim::autoscaler::AutoscalerConfig;
use kisim::control::{Autoscaler, Decision, Pipeline, View};
use kisim::oracle::{ArrivalRecord, Foresight, ForesightConfig};
use kisim::prepared::Prepared;
use kisim::run::{Keep, run_with};
use kisim::scenario::Scenario;

const PODS: u32 = 64;

fn scenario(hours: u64) -> Result<Scenario, kisim::config::ConfigError> {
    let text = format!(
        "name = 'decisions'\nduration = '{hours}h'\nslo = {{ latency = '250ms' }}\nclient = {{ timeout = '2s' }}\n\
         [traffic]\nkind = 'open'\nrate = {{ shape = 'periodic', mean = 60.0, amplitude = 40.0, period = '24h' }}\n\
         [service]\nrouting = 'least_outstanding'\nplacement = {{ rule = 'gpu_only' }}\n\
         [pools.gpu]\nprofile = 'bert-large-trt-fp16-seq128-t4'\ninitial_replicas = {PODS}\n\
         limits = {{ min_replicas = {PODS}, max_replicas = {PODS} }}\nbatcher = {{ max_batch = 8 }}\n\
         [cluster]\nnodes = [{{ name = 'n', count = 16, cpus = 16.0, gpus = 4 }}]\n"
    );
    Scenario::parse(&text, "decisions", Path::new("."))
}

/// Times what it wraps.
#[derive(Debug)]
struct Timed {
    inner: Box<dyn Autoscaler>,
    times: Vec<Duration>,
}

impl Autoscaler for Timed {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn interval(&self) -> Option<Duration> {
        self.inner.interval()
    }

    fn pipeline(&self) -> Option<Pipeline> {
        self.inner.pipeline()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let started = Instant::now();
        let decision = self.inner.decide(view);
        self.times.push(started.elapsed());
        decision
    }
}

/// Resident memory, bytes, where the system says.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names = [
        "fixed",
        "hpa",
        "hpa:in_flight:4",
        "hpa:request_rate:60",
        "hpa:cpu:70",
        "keda",
        "kpa",
        "predictive",
        "foresight",
    ];
    println!("| autoscaler | median µs | mean µs | 99 % µs | decisions | memory after 1 day MiB | after 7 days MiB |");
    println!("|---|---|---|---|---|---|---|");
    for name in names {
        let prepared = Prepared::new(scenario(7 * 24)?)?;
        let inner: Box<dyn Autoscaler> = if name == "foresight" {
            let record = ArrivalRecord::of(&prepared, 1)?;
            Box::new(Foresight::new(&prepared, &record, &ForesightConfig::default())?)
        } else {
            AutoscalerConfig::parse(name, &prepared.scenario)?.build(&prepared)?
        };
        let decisions = 7 * 24 * 3600;
        let mut timed = Timed { inner, times: Vec::with_capacity(decisions) };
        // Touched now, so that it does not look like growth.
        timed.times.resize(decisions, Duration::ZERO);
        timed.times.clear();
        let after_day = std::sync::atomic::AtomicU64::new(0);
        let watch = |share: f64| {
            if share >= 1.0 / 7.0 && after_day.load(std::sync::atomic::Ordering::Relaxed) == 0 {
                after_day.store(resident().unwrap_or(0), std::sync::atomic::Ordering::Relaxed);
            }
            true
        };
        run_with(&prepared, &mut timed, 1, Keep::default(), &watch)?;
        let after_week = resident().unwrap_or(0);
        let mut times = timed.times;
        times.sort_unstable();
        let micros = |d: Duration| d.as_secs_f64() * 1e6;
        let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e6 / times.len().max(1) as f64;
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "| {name} | {:.1} | {mean:.1} | {:.1} | {} | {:.1} | {:.1} |",
            micros(times[times.len() / 2]),
            micros(times[times.len() * 99 / 100]),
            times.len(),
            mebibytes(after_day.into_inner()),
            mebibytes(after_week),
        );
    }
    Ok(())
}
