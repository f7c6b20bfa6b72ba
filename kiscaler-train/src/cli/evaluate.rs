//! `kiscaler-train evaluate`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::contenders::{self, ContenderError, Past};
use kiscaler_train::statistics::Interval;
use kiscaler_train::verdict::{Verdict, verdicts};
use kisim::arguments::Changes;
use kisim::compare::{Comparison, compare};
use kisim::config::Span;
use kisim::contender::Contender;
use kisim::prepared::Prepared;
use kisim::report::{comparison_table, number, write_comparison};
use kisim::scenario::Scenario;
use serde_json::json;

use super::watch::Bar;
use super::{Format, next_step, note, print, print_json, seams, table};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kiscaler-train evaluate runs/a/best.safetensors default scenarios/llm-spike.toml --against hpa,predictive,hindsight\n  \
                  kiscaler-train evaluate runs/a/best.safetensors scenarios/azure-code.toml --trace FILE --tuned results/tuned --seeds 20\n\n\
                  Everybody meets the same arrivals, seed by seed; differences to the policy are paired. Actions are the \
                  most likely ones, never drawn."
)]
pub(crate) struct EvaluateArgs {
    /// The policy; or a folder of several training runs, as train --seeds leaves it, for what they are worth together
    pub(super) checkpoint: PathBuf,
    /// Scenarios: paths, `default`, `paper`, or `paper:ramp`, `paper:spike`, `paper:periodic`, `paper:random`
    #[arg(required = true)]
    pub(super) scenarios: Vec<String>,
    #[command(flatten)]
    pub(super) changes: Changes,
    /// Whom to compare it with, comma-separated, as in kisim compare: fixed:4, hpa:60, keda, kpa, predictive, a manifest,
    /// foresight, hindsight, hindsight:quick; or leader, who follows the rule that leads in shadow and learns nothing
    #[arg(long, value_delimiter = ',', default_value = "hpa,keda,kpa,predictive")]
    pub(super) against: Vec<String>,
    /// Further ones as `kisim tune` wrote them, comma-separated: files, or folders of them; KIND=FILE insists on a kind
    #[arg(long, value_delimiter = ',')]
    pub(super) tuned: Vec<String>,
    /// How much a saved dollar counts against a late request; 1 as the scenario says. Several, comma-separated, are several
    /// policies
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = positive)]
    pub(super) weight: Vec<f64>,
    /// Let the policy have driven the service for so long before: the runs with training seeds that rules are tuned on, or the
    /// trace before --trace-start. The policy without is compared, too. 5h beside --tuned, which know as much; else, or with
    /// 0s, it knows nothing
    #[arg(long)]
    pub(super) history: Option<Span>,
    /// What it has driven before, if that is something else: another scenario of the same service
    #[arg(long, value_name = "SCENARIO")]
    pub(super) history_scenario: Option<String>,
    /// Compare the policy that has driven nothing and is told the load of that time, too: an agent that begins, and asks
    /// Prometheus
    #[arg(long)]
    pub(super) told: bool,
    /// Draw violations against cost over all weights and headrooms, too: frontier.svg and frontier.csv beside the rest.
    /// Takes some twenty times as long
    #[arg(long, requires = "out")]
    pub(super) frontier: bool,
    /// Runs of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) seeds: u64,
    /// Seed of all randomness; the scenario's by default
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    pub(super) threads: Option<usize>,
    /// Write comparison.json, compare.svg and everybody's timeline here, in a folder for each scenario
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

impl EvaluateArgs {
    /// The scenario that was driven before, if it is another.
    pub(super) fn elsewhere(&self) -> Result<Option<Scenario>> {
        Ok(self.history_scenario.as_deref().map(Scenario::named).transpose()?)
    }

    /// What was driven before, `elsewhere` or not: what it was told, or as much as rules are tuned on where there are such.
    pub(super) fn past<'a>(&self, elsewhere: Option<&'a Scenario>) -> Result<Option<Past<'a>>> {
        let unequal = !self.tuned.is_empty() || elsewhere.is_some();
        let length = self.history.or(unequal.then_some(AS_TUNED)).filter(|length| !length.0.is_zero());
        ensure!(length.is_some() || !self.told, "--told: found no --history, expected one to tell");
        Ok(length.map(|length| Past { length, elsewhere, told: false }))
    }

    /// The policies that are compared, by their pasts: with `past`, told of it, without.
    pub(super) fn pasts<'a>(&self, past: Option<Past<'a>>) -> Vec<Option<Past<'a>>> {
        let told = past.filter(|_| self.told).map(|past| Past { told: true, ..past });
        past.into_iter().chain(told).map(Some).chain([None]).collect()
    }

    /// Who is meant by `rival`; the leader has all the pasts that policies have.
    pub(super) fn rivals(
        &self,
        rival: &str,
        past: Option<Past<'_>>,
        scenario: &Scenario,
    ) -> Result<Vec<Contender>, ContenderError> {
        let pasts = if rival == "leader" { self.pasts(past) } else { vec![None] };
        pasts.into_iter().map(|past| contenders::rival(rival, past, scenario)).collect()
    }
}

/// What a policy has seen who is compared with rules that were tuned: `kisim tune` plays five runs of an hour.
const AS_TUNED: Span = Span::secs(5 * 3_600);

/// A positive number.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err(format!("found {text}, expected a positive number")),
    }
}

pub(crate) fn main(args: &EvaluateArgs, format: Format) -> Result<ExitCode> {
    super::use_threads(args.threads)?;
    if args.checkpoint.is_dir() {
        return super::population::main(args, format);
    }
    let checkpoint = Arc::new(Checkpoint::load(&args.checkpoint)?);
    // Whatever is wrong with any of them is said before the first is simulated.
    let mut prepared = Vec::new();
    let elsewhere = args.elsewhere()?;
    let past = args.past(elsewhere.as_ref())?;
    for name in &args.scenarios {
        let scenario = args.changes.load(name, args.seed)?;
        let mut contenders: Vec<Contender> = Vec::new();
        for &weight in &args.weight {
            for past in args.pasts(past) {
                contenders.push(contenders::policy(&checkpoint, weight, past, &scenario)?);
            }
        }
        for rival in &args.against {
            contenders.extend(args.rivals(rival, past, &scenario)?);
        }
        for tuned in &args.tuned {
            contenders.extend(Contender::tuned(tuned, &scenario)?);
        }
        let same = prepared.iter().any(|(other, _): &(Arc<Prepared>, _)| other.scenario.name == scenario.name);
        ensure!(!same, "scenario {name}: found a second one called {:?}, expected each once", scenario.name);
        prepared.push((Prepared::new(scenario)?, contenders));
    }
    let mut comparisons = Vec::new();
    for (prepared, contenders) in &prepared {
        let bar = Bar::new(&prepared.scenario.name);
        let seed = prepared.scenario.seed;
        let result = compare(prepared, contenders, seed, args.seeds as usize, &|share| bar.set(share));
        bar.finish();
        let result = result?;
        if let Some(out) = &args.out {
            write_comparison(&out.join(&result.scenario), prepared, &result)?;
        }
        if let (true, Some(out)) = (args.frontier, &args.out) {
            super::frontier::draw(&out.join(&result.scenario), prepared, contenders, args.seeds)?;
        }
        comparisons.push(result);
    }
    let verdicts = verdicts(&comparisons, &mut seams::stream_of(&comparisons))?;
    match format {
        Format::Json => print_json(&json!({"comparisons": comparisons, "verdicts": verdicts}))?,
        Format::Table => print(&format!("{}{}", comparisons_text(&comparisons), verdicts_text(&verdicts)))?,
    }
    if let Some(out) = &args.out {
        note(&format!("wrote {}", out.display()));
    }
    next_step(&format!(
        "kiscaler-train explain {} {} says why it decided as it did",
        args.checkpoint.display(),
        args.scenarios[0]
    ));
    Ok(ExitCode::SUCCESS)
}

/// A table for each scenario.
pub(super) fn comparisons_text(comparisons: &[Comparison]) -> String {
    let one = |c: &Comparison| {
        let runs = c.seeds.len();
        format!("{}: {runs} run{}\n{}\n\n", c.scenario, if runs == 1 { "" } else { "s" }, comparison_table(c))
    };
    comparisons.iter().map(one).collect()
}

/// The first one against everybody else, over all scenarios.
pub(super) fn verdicts_text(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let mut t = table(&["policy against", "cost", "violations, points", "reward", "better run"]);
    let cell = |i: &Interval, factor: f64, unit: &str, even: f64| {
        let mark = if i.excludes(even) { "*" } else { "" };
        let [point, low, high] = [i.point, i.low, i.high].map(|v| number(v * factor));
        format!("{point}{unit} [{low}, {high}]{mark}")
    };
    for v in verdicts {
        t.add_row([
            v.rival.clone(),
            cell(&v.cost, 100.0, " %", 0.0),
            cell(&v.violation_ratio, 100.0, "", 0.0),
            cell(&v.reward, 1.0, "", 0.0),
            cell(&v.improvement, 100.0, " %", 0.5),
        ]);
    }
    format!(
        "{t}\nover all scenarios, paired by seed: cost and violations averaged over scenarios, reward the interquartile mean of \
         all runs; [95 % bootstrap interval, runs drawn anew within each scenario]; * it excludes no difference\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_say_what_is_certain() {
        let interval = |point: f64, half: f64| Interval { point, low: point - half, high: point + half };
        let verdict = Verdict {
            rival: "predictive".into(),
            cost: interval(-0.12, 0.05),
            violation_ratio: interval(0.001, 0.002),
            reward: interval(0.25, 0.125),
            improvement: interval(0.75, 0.25),
        };
        let text = verdicts_text(&[verdict]);
        for expected in ["predictive", "-12 % [-17, -7", "]*", "0.100 [-0.100, 0.300] ", "75 % [50, 100] "] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert_eq!(verdicts_text(&[]), "");
        assert_eq!(positive("0.5"), Ok(0.5));
        assert_eq!(positive("-1").unwrap_err(), "found -1, expected a positive number");
    }
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: EvaluateArgs,
    }

    fn arguments(words: &str) -> EvaluateArgs {
        let line = format!("evaluate best.safetensors default {words}");
        <Line as clap::Parser>::try_parse_from(line.split_whitespace()).unwrap().args
    }

    #[test]
    fn beside_tuned_rules_a_policy_has_seen_as_much_as_they() {
        let past = |words: &str| arguments(words).past(None).unwrap().map(|past| past.length);
        assert_eq!(past(""), None);
        assert_eq!(past("--history 1h"), Some(Span::secs(3_600)));
        assert_eq!(past("--tuned rules"), Some(AS_TUNED));
        assert_eq!(past("--tuned rules --history 0s"), None);
        assert_eq!(past("--tuned rules --history 1h"), Some(Span::secs(3_600)));
    }

    #[test]
    fn who_is_told_a_past_is_compared_with_who_drove_it_and_who_knows_nothing() {
        let names = |words: &str, rival: &str| -> Vec<String> {
            let (args, scenario) = (arguments(words), Scenario::builtin().unwrap());
            args.rivals(rival, args.past(None).unwrap(), &scenario).unwrap().iter().map(Contender::name).collect()
        };
        assert_eq!(names("", "leader"), ["leader"]);
        assert_eq!(names("--history 10m", "leader"), ["leader after 10m", "leader"]);
        assert_eq!(names("--history 10m --told", "leader"), ["leader after 10m", "leader told 10m", "leader"]);
        assert_eq!(names("--history 10m --told", "predictive"), ["predictive"]);
        let error = arguments("--told").past(None).unwrap_err().to_string();
        assert_eq!(error, "--told: found no --history, expected one to tell");
    }
}
