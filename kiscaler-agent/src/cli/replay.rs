//! `kiscaler-agent replay`: what would have been decided by what was recorded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use kisim::window::{Counter, Window};
use serde_json::json;

use super::print;
use crate::control::{Gate, Inputs, Loop, Outcome, Rules};
use crate::plan::{Chosen, Decider, Plan, ProfileTexts, load_policy};
use crate::recording::{Header, Reader};

/// Arguments of `kiscaler-agent replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kiscaler-agent replay scrapes.jsonl --policy best.safetensors\n  \
                  kiscaler-agent replay scrapes.jsonl --policy hpa:60 --json\n  \
                  kiscaler-agent replay scrapes.jsonl --rates traffic.csv")]
pub(crate) struct ReplayArgs {
    /// The recording
    recording: PathBuf,
    /// A checkpoint, or a baseline such as hpa:60; the recorded KIScaler's baseline by default
    #[arg(long)]
    policy: Option<String>,
    /// One JSON object a decision instead of a table
    #[arg(long)]
    json: bool,
    /// Write the rate of requests over time to this file, which kisim reads as a trace of format "rates"
    #[arg(long)]
    rates: Option<PathBuf>,
}

pub(crate) fn main(args: &ReplayArgs) -> Result<ExitCode> {
    let file = File::open(&args.recording).with_context(|| format!("cannot read {}", args.recording.display()))?;
    let (mut reader, header) = Reader::new(BufReader::new(file), &args.recording.display().to_string())?;
    let policy = args.policy.as_deref();
    // Whoever decided began with the pods that there were.
    let prepared = Arc::clone(self::steps(&header, policy, &BTreeMap::new())?.prepared());
    let mut next = reader.next(&prepared)?;
    let counts = next.iter().flat_map(|first| &first.pools).map(|pool| (pool.name.as_str(), pool.counts.desired));
    let mut steps = self::steps(&header, policy, &counts.collect())?;
    let prepared = Arc::clone(steps.prepared());
    let mut rates = args.rates.as_deref().map(|path| Rates::new(path, &prepared)).transpose()?;
    let mut text = String::new();
    if !args.json {
        text += &format!("{:20} {:>4} {:>4} {:>6}  {:18} {}\n", "time", "pool", "was", "would", "reason", "because");
    }
    while let Some(inputs) = next {
        // Of whoever decides by this recording, a policy is told what the one that was at work was told.
        if let Some(loaded) = steps.decider().loaded().cloned().filter(|_| !inputs.recalled.is_empty()) {
            let weight = header.scaler.spec.cost_weight;
            steps.recall(Decider::recalling(&loaded, &prepared, weight, &inputs.recalled)?, &inputs.pools);
        }
        let outcome = steps.step(&inputs);
        text += &if args.json { as_json(&outcome) } else { as_row(&outcome) };
        if let Some(rates) = &mut rates {
            rates.push(&inputs)?;
        }
        next = reader.next(&prepared)?;
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn steps(header: &Header, policy: Option<&str>, current: &BTreeMap<&str, u32>) -> Result<Loop> {
    let scaler = &header.scaler;
    let texts = scaler.spec.pools.by_name().filter_map(|(name, _)| Some((name, header.profiles.get(name)?.clone())));
    let texts: ProfileTexts = texts.collect();
    let chosen = match (policy, &scaler.spec.policy.baseline) {
        (Some(path), _) if path.ends_with(".safetensors") => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
            Chosen::Policy(Arc::new(load_policy(path, &bytes, None)?))
        }
        (Some(baseline), _) => Chosen::Baseline(baseline.to_owned()),
        (None, Some(baseline)) => Chosen::Baseline(baseline.clone()),
        (None, None) => anyhow::bail!("--policy: found none, expected one: the recorded KIScaler's is in the cluster"),
    };
    let current = scaler.spec.pools.by_name().filter_map(|(name, _)| Some((name, *current.get(name)?)));
    let plan = Plan::new(scaler, &texts, &chosen, &current.collect())?;
    let pools = scaler.spec.pools.by_name().zip(&plan.prepared.pools);
    let gates = pools.map(|((_, pool), prepared)| Gate::of(prepared.config.limits, pool)).collect();
    let rules = Rules::of(&scaler.spec, !plan.needs.is_none());
    Ok(Loop::new(plan, gates, rules))
}

fn time(outcome: &Outcome) -> String {
    let nanos = i128::from(outcome.at.as_nanos());
    k8s_openapi::jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| nanos.to_string(), |t| format!("{t:.0}"))
}

fn as_row(outcome: &Outcome) -> String {
    let row = |pool: &crate::control::PoolOutcome| {
        let (name, current, target) = (&pool.name, pool.current, pool.target);
        let (reason, message) = (outcome.reason.name(), &outcome.message);
        format!("{:20} {name:>4} {current:>4} {target:>6}  {reason:18} {message}\n", time(outcome))
    };
    outcome.pools.iter().map(row).collect()
}

fn as_json(outcome: &Outcome) -> String {
    let pool = |pool: &crate::control::PoolOutcome| json!({"name": pool.name, "current": pool.current, "ready": pool.ready, "wanted": pool.wanted, "target": pool.target});
    let line = json!({
        "time": time(outcome),
        "pools": outcome.pools.iter().map(pool).collect::<Vec<_>>(),
        "reason": outcome.reason.name(),
        "message": outcome.message,
    });
    format!("{line}\n")
}

/// Writes what arrived, interval by interval.
struct Rates {
    out: File,
    window: Window,
    /// When the recording began, and the decision before.
    first: Option<kisim::time::SimTime>,
    before: Option<kisim::time::SimTime>,
    range: std::time::Duration,
}

impl Rates {
    fn new(path: &Path, prepared: &kisim::prepared::Prepared) -> Result<Rates> {
        let mut out = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(out, "start_s,rate")?;
        let range = prepared.scenario.telemetry.window.0;
        Ok(Rates { out, window: Window::new(10 * range, &prepared.bounds), first: None, before: None, range })
    }

    fn push(&mut self, inputs: &Inputs) -> Result<()> {
        self.window.push(&inputs.scrape, inputs.now);
        let (rate, pods) = self.window.latest_rate(None, Counter::Requests, inputs.now, 2 * self.range);
        let first = *self.first.get_or_insert(inputs.now);
        // A rate is about the time since the decision before. Where nobody was scraped, nothing is known or written.
        if let Some(before) = self.before.replace(inputs.now).filter(|_| pods > 0) {
            writeln!(self.out, "{:.3},{rate:.4}", before.since(first).as_secs_f64())?;
        }
        Ok(())
    }
}
