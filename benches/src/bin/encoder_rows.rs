//! What there is to learn from: states of training episodes, the past as it was seen and as features have it, and what each
//! choice costs by the teacher. For [`encoders`](../../encoders/README.md), which compares ways to read a past.
//!
//! `cargo run --release -p kisim-benches --bin encoder_rows -- --episodes 1500 --seed 1 --out train.f32`: rows of `f32`, little-endian:
//! the episode's number, the features, [`PAST`] loads (newest first, logarithms over the level; 9 where there is none), and the
//! costs of choices (NaN where a choice is forbidden). Names of columns go to standard output.

#![allow(clippy::print_stdout, reason = "a command prints")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use kiscaler_train::config::{DEFAULT, TrainConfig};
use kiscaler_train::environment::{Environment, Look};
use kiscaler_train::scale_free::{AT_ANCHOR, HEADS, ScaleFree};
use kiscaler_train::training::distribution::Distribution;
use kiscaler_train::training::world::World;
use kisim::random::{Purpose, derive_seed, stream};
use rand::RngExt;

/// Loads of the past in a row: all that the observation's features are made of.
const PAST: usize = 256;

/// Where there is no load.
const NONE: f32 = 9.0;

/// Steps for which who drives stays beside the anchor.
const STRETCH: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let mut pairs = arguments.chunks_exact(2).filter(|pair| pair[0] == name);
        pairs
            .next()
            .map(|pair| pair[1].clone())
            .ok_or_else(|| format!("found no {name}, expected --episodes N --seed S --out FILE"))
    };
    let (episodes, seed): (u64, u64) = (value("--episodes")?.parse()?, value("--seed")?.parse()?);
    let mut out = BufWriter::new(File::create(value("--out")?)?);
    let mut config = TrainConfig::parse(DEFAULT, "the built-in configuration")?;
    // What choices cost, and nothing else.
    config.distribution.tether = 0.0;
    let distribution = Arc::new(Distribution::new(&config.distribution, seed)?);
    let mut world = World::new(distribution, true);
    let space = world.space();
    let (mut observation, mut privileged) = (vec![0.0; space.observation], vec![0.0; space.privileged]);
    let (mut mask, mut teacher) = (vec![false; space.choices()], vec![0.0; HEADS[0]]);
    let mut rows = 0u64;
    for episode in 0..episodes {
        let mut rng = stream(derive_seed(seed, episode), Purpose::Policy, 3);
        world.reset(derive_seed(seed, episode))?;
        let mut beside = 0;
        for step in 0.. {
            world.look(Look {
                observation: &mut observation,
                privileged: &mut privileged,
                mask: &mut mask,
                teacher: &mut teacher,
            });
            if teacher.iter().any(|cost| cost.is_finite()) {
                let level = world.level();
                let past = world.loads().map(|load| ((load + 0.03) / (level + 0.03)).ln() as f32);
                let past = past.chain(std::iter::repeat(NONE)).take(PAST);
                let costs = teacher.iter().zip(&mask).map(|(&cost, &allowed)| if allowed { cost } else { f32::NAN });
                let row = std::iter::once(episode as f32).chain(observation.iter().copied()).chain(past).chain(costs);
                row.map(f32::to_le_bytes).try_for_each(|bytes| out.write_all(&bytes))?;
                rows += 1;
            }
            // A policy goes where the leading rule would not, too.
            if step % STRETCH == 0 {
                beside = if rng.random::<bool>() { 0 } else { rng.random_range(-3..=3) };
            }
            let wanted = (1 + AT_ANCHOR as i32 + beside) as usize;
            let choice = if mask[wanted] { wanted } else { nearest(&mask[..HEADS[0]], wanted) };
            if world.step(&[choice as u32, 0, 0])?.end.is_some() {
                break;
            }
        }
    }
    out.flush()?;
    let names = ScaleFree::names();
    println!("{rows} rows: episode, {} features, {PAST} loads, {} costs", names.len(), HEADS[0]);
    println!("{}", names.join(" "));
    Ok(())
}

/// The allowed choice that is nearest to the one that is wanted.
fn nearest(mask: &[bool], wanted: usize) -> usize {
    (0..mask.len()).filter(|&choice| mask[choice]).min_by_key(|choice| choice.abs_diff(wanted)).unwrap_or(0)
}
