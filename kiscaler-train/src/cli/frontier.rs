//! Violations against cost: a policy over its weights beside baselines over their headrooms.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::plots::{Frontier, Tradeoff, frontier};
use kiscaler_train::statistics::Interval;
use kisim::compare::compare;
use kisim::config::Span;
use kisim::contender::Contender;
use kisim::prepared::Prepared;
use kisim::report::write_atomically;

use super::watch::Bar;
use super::{interrupted, seams};

/// What a saved dollar counts against a late request.
const WEIGHTS: [f64; 7] = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0];

/// Factors on what a baseline wants to have room for.
const HEADROOMS: [f64; 7] = [0.6, 0.75, 0.9, 1.0, 1.2, 1.5, 2.0];

/// Compares all settings on `prepared` and writes `frontier.svg` and `frontier.csv` into `folder`.
pub(super) fn draw(
    folder: &Path,
    prepared: &Arc<Prepared>,
    checkpoint: &Arc<Checkpoint>,
    history: Option<Span>,
    rivals: &[Contender],
    seeds: u64,
) -> Result<()> {
    let scenario = &prepared.scenario;
    let mut all = Vec::new();
    let mut names = Vec::new();
    let own = history.map_or_else(|| "policy".to_owned(), |length| format!("policy after {length}"));
    for weight in WEIGHTS {
        names.push((own.clone(), weight));
        all.push(seams::policy(checkpoint, weight, history, scenario)?);
    }
    for rival in rivals {
        let (Contender::Autoscaler(config) | Contender::File(_, config)) = rival else { continue };
        if config.headroom().is_none() {
            continue;
        }
        for factor in HEADROOMS {
            names.push((rival.name(), factor));
            all.push(Contender::File(format!("{} × {factor}", rival.name()), config.with_headroom(factor, scenario)));
        }
    }
    let bar = Bar::new(&format!("frontier of {}", scenario.name));
    let result = compare(prepared, &all, scenario.seed, seeds as usize, &|share| bar.set(share));
    bar.finish();
    ensure!(!interrupted(), "interrupted: the comparison is written, the frontier is not");
    let hours = (prepared.seconds() - scenario.warm_up.as_secs_f64()).max(1e-9) / 3600.0;
    let mut lines: Vec<Frontier> = Vec::new();
    let mut csv =
        String::from("autoscaler,setting,cost_usd_per_hour,cost_half_width,violation_ratio,violation_half_width\n");
    for ((name, setting), own) in names.iter().zip(&result?.autoscalers) {
        let figure = |path: &str, unit: f64| {
            let known = own.metrics.get(path);
            known.map_or((f64::NAN, 0.0), |e| (e.mean / unit, e.half_width.unwrap_or(0.0) / unit))
        };
        let (cost, cost_half) = figure("cost", hours);
        let (late, late_half) = figure("slo.violation_ratio", 1.0);
        csv += &format!("{name},{setting},{cost},{cost_half},{late},{late_half}\n");
        let interval = |point: f64, half: f64| Interval { point, low: point - half, high: point + half };
        let point = Tradeoff { cost_per_hour: interval(cost, cost_half), violation_ratio: interval(late, late_half) };
        match lines.last_mut().filter(|line| line.name == *name) {
            Some(line) => line.settings.push(point),
            None => lines.push(Frontier { name: name.clone(), settings: vec![point] }),
        }
    }
    let note = format!(
        "{seeds} seeds each; the policy over what a saved dollar counts (0.1 to 10), rules over their headroom (0.6 to 2)"
    );
    let svg = frontier(&scenario.name, &note, &lines)?;
    write_atomically(&folder.join("frontier.svg"), |file| file.write_all(svg.as_bytes()))?;
    write_atomically(&folder.join("frontier.csv"), |file| file.write_all(csv.as_bytes()))?;
    Ok(())
}
