//! `kisim compare`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kisim::arguments::ScenarioArgs;
use kisim::compare::compare;
use kisim::contender::Contender;
use kisim::prepared::Prepared;
use kisim::report::{comparison_table, write_comparison};
use kisim::scenario::Scenario;

use super::Format;
use super::progress::Bar;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kisim compare\n  kisim compare --autoscalers hpa:60,my-hpa.yaml,predictive,hindsight --seeds 10\n  \
                        kisim compare --tuned results/tuned\n\n\
                        Every autoscaler meets the same arrivals, seed by seed; differences to the first one named are paired."
)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Who takes part, comma-separated: fixed:4, fixed:gpu=4+cpu=2, hpa, hpa:60, hpa:queue:4, keda, keda:in_flight:24, kpa,
    /// kpa:8, predictive, scenario (its own), a manifest (.yaml) or .toml; foresight, foresight:90s, hindsight and
    /// hindsight:quick, who know the future. By default one of each
    #[arg(long, value_delimiter = ',')]
    autoscalers: Vec<String>,
    /// Further ones as `kisim tune` wrote them, comma-separated: files, or folders of them; KIND=FILE insists on a kind
    #[arg(long, value_delimiter = ',')]
    tuned: Vec<String>,
    /// Runs of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Write comparison.json, compare.svg and each autoscaler's timeline here
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn main(args: &CompareArgs, seed: Option<u64>, format: Format) -> Result<ExitCode> {
    let scenario = args.scenario.load(seed)?;
    let seed = scenario.seed;
    let mut configs: Vec<Contender> =
        args.autoscalers.iter().map(|a| Contender::parse(a, &scenario)).collect::<Result<_, _>>()?;
    for tuned in &args.tuned {
        configs.extend(Contender::tuned(tuned, &scenario)?);
    }
    if args.autoscalers.is_empty() {
        let mut all = defaults(&scenario, args.tuned.is_empty());
        all.splice(1..1, configs);
        configs = all;
    }
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    let prepared = Prepared::new(scenario)?;
    let bar = Bar::new("comparing");
    let result = compare(&prepared, &configs, seed, args.seeds as usize, &|share| bar.set(share));
    let took = bar.finish();
    let result = result?;
    if let Some(out) = &args.out {
        write_comparison(out, &prepared, &result)?;
        super::note(&format!("wrote {}", out.display()));
    }
    match format {
        Format::Json => super::print_json(&result)?,
        Format::Table => super::print(&format!(
            "{}: {} run{} of {:.0} s each, SLO {} ms\n{}",
            result.scenario,
            args.seeds,
            if args.seeds == 1 { "" } else { "s" },
            prepared.seconds(),
            prepared.scenario.slo.latency.as_secs_f64() * 1e3,
            comparison_table(&result)
        ))?,
    }
    let requests: u64 = result.autoscalers.iter().flat_map(|a| &a.runs).map(|r| r.requests.arrived).sum();
    super::note(&format!(
        "simulated {requests} requests in {:.2} s ({:.1e} requests/s)",
        took.as_secs_f64(),
        requests as f64 / took.as_secs_f64().max(1e-9)
    ));
    super::next_step(
        "kisim compare --out results/compare draws them over the same traffic; kisim scenario > mine.toml is a start for your own",
    );
    Ok(ExitCode::SUCCESS)
}

/// What to compare when nobody says: one of each kind, unless there are tuned ones, and the yardsticks.
fn defaults(scenario: &Scenario, untuned: bool) -> Vec<Contender> {
    let most = scenario.pools.values().map(|p| p.limits.max_replicas).max().unwrap_or(1);
    let mut candidates = vec!["scenario".to_owned(), format!("fixed:{}", most.div_ceil(2))];
    if untuned {
        candidates.extend(["keda", "kpa", "predictive"].map(str::to_owned));
    }
    candidates.extend(["foresight", "hindsight:quick"].map(str::to_owned));
    let mut configs: Vec<Contender> = Vec::new();
    for candidate in candidates {
        // Numbers out of a pool's limits are not offered.
        if let Ok(config) = Contender::parse(&candidate, scenario)
            && !configs.contains(&config)
        {
            configs.push(config);
        }
    }
    configs
}
