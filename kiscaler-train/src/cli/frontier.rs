//! Violations against cost: a policy over what a saved dollar counts, beside baselines over their headrooms.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use kisim::contender::Contender;
use kisim::pareto::pareto;
use kisim::prepared::Prepared;
use kisim::report::{pareto_svg, write_atomically, write_pareto};

use super::watch::Bar;

/// Factors on the headroom; a saved dollar counts one over that.
const FACTORS: [f64; 9] = [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 10.0];

/// Sweeps those of `contenders` that have something to vary, and writes `frontier.svg` and `frontier.csv` into `folder`.
pub(super) fn draw(folder: &Path, prepared: &Arc<Prepared>, contenders: &[Contender], seeds: u64) -> Result<()> {
    let varied = |contender: &&Contender| match contender {
        Contender::Autoscaler(config) | Contender::File(_, config) => config.headroom().is_some(),
        Contender::Policy { vary, .. } => vary.is_some(),
        Contender::Foresight(_) | Contender::Hindsight(_) => false,
    };
    let varied: Vec<Contender> = contenders.iter().filter(varied).cloned().collect();
    let bar = Bar::new(&format!("frontier of {}", prepared.scenario.name));
    let seed = prepared.scenario.seed;
    let result = pareto(prepared, &varied, &FACTORS, seed, seeds as usize, &|share| bar.set(share));
    bar.finish();
    let result = result?;
    let svg = pareto_svg(&result)?;
    write_atomically(&folder.join("frontier.svg"), |file| file.write_all(svg.as_bytes()))?;
    write_pareto(&folder.join("frontier.csv"), &result)?;
    Ok(())
}
