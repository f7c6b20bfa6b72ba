//! Prints the speed of PPO on CartPole: environment steps per second, rollout and learning together, as
//! `benches/peers/ppo_peers.py` measures CleanRL's and Stable-Baselines3's. And the time of a single decision.
//!
//! 8 environments of 128 steps, two separate networks of 2 × 64 tanh, minibatches of 256, 4 epochs.
//!
//! ```text
//! cargo run --release -p kisim-benches --bin ppo_speed [--threads N] [--candle] [--steps N] [--json]
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use cartpole::CartPole;
use kiscaler_train::actor::{Actor, Buffers};
use kiscaler_train::device::{DeviceKind, device};
use kiscaler_train::heads::Heads;
use kiscaler_train::network::{Mlp, parameters};
use kiscaler_train::normaliser::Scale;
use kiscaler_train::ppo::{Backend, PpoConfig, Resources, Trainer};

#[path = "../../../kiscaler-train/tests/cartpole/mod.rs"]
mod cartpole;

/// Decisions that are timed together.
const BATCH: u32 = 50;

struct Options {
    threads: usize,
    candle: bool,
    steps: u64,
    json: bool,
}

fn options() -> Option<Options> {
    let mut options = Options { threads: 1, candle: false, steps: 500_000, json: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => options.threads = arguments.next()?.parse().ok()?,
            "--steps" => options.steps = arguments.next()?.parse().ok()?,
            "--candle" => options.candle = true,
            "--json" => options.json = true,
            _ => return None,
        }
    }
    Some(options)
}

/// Steps per second over the whole run, the share of the rollout, and the mean return at its end.
fn learn(options: &Options) -> Result<(f64, f64, f64), Box<dyn std::error::Error>> {
    let config = PpoConfig { total_steps: options.steps, ..PpoConfig::default() };
    let backend = if options.candle { Backend::Candle(device(DeviceKind::Cpu)?) } else { Backend::Fused };
    let environments = vec![CartPole::default(); config.environments];
    let resources = Resources { threads: options.threads, backend };
    let mut trainer = Trainer::new(config, 1, resources, environments)?;
    let (mut rollout, mut late) = (0.0, 0.0);
    let started = Instant::now();
    while !trainer.finished() {
        let stats = trainer.update()?;
        rollout += stats.rollout_seconds;
        late = stats.episodes.mean_return().unwrap_or(late);
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok((trainer.steps() as f64 / seconds, rollout / seconds, late))
}

/// Microseconds of one decision of 96→128→128→40, heads of 16, 16 and 8 choices.
fn decide() -> Result<f64, Box<dyn std::error::Error>> {
    let sizes = [96, 128, 128, 40];
    let flat: Vec<f32> = (0..parameters(&sizes)).map(|index| (index as f32).sin() * 0.1).collect();
    let actor =
        Actor { network: Mlp::from_flat(&sizes, &flat)?, scale: Scale::identity(96), heads: Heads::new(&[16, 16, 8]) };
    let mask = [true; 40];
    let (mut observation, mut buffers, mut action) = ([0.5f32; 96], Buffers::default(), [0; 3]);
    // A median of short batches: whoever else runs on the machine interrupts few of them.
    let mut batches: Vec<f64> = (0..1_000)
        .map(|batch| {
            let started = Instant::now();
            for round in 0..BATCH {
                observation[0] = (batch * BATCH + round) as f32;
                actor.decide(black_box(&observation), &mask, &[], &mut buffers, &mut action);
                black_box(&action);
            }
            started.elapsed().as_secs_f64() / f64::from(BATCH) * 1e6
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    Ok(batches[batches.len() / 2])
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: ppo_speed [--threads N] [--candle] [--steps N] [--json]");
        return ExitCode::FAILURE;
    };
    let result = learn(&options).and_then(|learnt| Ok((learnt, decide()?)));
    match result {
        Ok(((speed, rollout, late), decision)) if options.json => {
            println!(
                "{{\"steps_per_second\": {speed:.0}, \"rollout_share\": {rollout:.3}, \"return\": {late:.1}, \
                 \"decision_us\": {decision:.2}}}"
            );
            ExitCode::SUCCESS
        }
        Ok(((speed, rollout, late), decision)) => {
            println!("PPO on CartPole, {} threads: {speed:.0} steps/s", options.threads);
            println!("of which the rollout {:.0} %; mean return at the end {late:.0}", 100.0 * rollout);
            println!("one decision of 96→128→128→40: {decision:.1} µs");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
