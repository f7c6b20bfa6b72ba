//! Autoscalers on a scene.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::contenders::{self, Past};
use kisim::autoscaler::AutoscalerConfig;
use kisim::compare::{compare, seeds_from};
use kisim::config::Span;
use kisim::contender::Contender;
use kisim::fleet::Placement;
use kisim::objective::{Objective, PaperBaseline};
use kisim::prepared::Prepared;
use kisim::profile::Hardware;
use kisim::report::Summary;
use kisim::run::{Progress, paper_baseline, silent};
use kisim::scenario::Scenario;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::cell::Row;
use crate::scene::Scene;

/// The policy that ships.
const SHIPPED: &[u8] = include_bytes!("../../../kiscaler-train/policies/default.safetensors");

/// Autoscalers on a scene. Whoever plays the same scene with the same seeds meets the same arrivals, in whatever cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// Where.
    pub scene: Scene,
    /// Who, as rows call them: names of `kisim compare` (`hpa`, `fixed:4`, `foresight`, `hindsight:quick`, …), `policy`, the
    /// one that ships, `policy/0.5`, to whom a saved dollar counts half, and `leader`, the rule that leads in shadow.
    /// `policy after 1h` has driven the service that long before; `hpa at 1.25` has a quarter more headroom; `hpa on cpu` and
    /// `fixed:gpu=1 on gpu` have no pods of the other kind.
    pub contenders: Vec<String>,
    /// How many seeds, derived from the scenario's.
    pub seeds: u64,
    /// What `policy after 1h` has driven before, if not the scene itself: another one of the same service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Scene>,
}

impl Play {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<Row>> {
        let scenario = self.scene.load(context.traces)?;
        let past = self.past.as_ref().map(|past| past.load(context.traces)).transpose()?;
        let who = Company { who: &self.contenders, past: past.as_ref() };
        play(&scenario, who, &shipped()?, 0, self.seeds, context.progress)
    }
}

/// The policy that ships.
///
/// # Errors
/// If it is damaged.
pub fn shipped() -> Result<Arc<Checkpoint>> {
    Ok(Arc::new(Checkpoint::from_bytes(SHIPPED).context("the policy that ships")?))
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Company<'a> {
    /// As rows call them.
    pub who: &'a [String],
    /// What those have driven who are `after` some time, if not the scenario itself.
    pub past: Option<&'a Scenario>,
}

impl<'a> Company<'a> {
    /// Those in `who`, whose past is the scenario itself.
    pub fn new(who: &'a [String]) -> Self {
        Company { who, past: None }
    }
}

/// The rows of the `company` in `scenario`, with `seeds` seeds; `policy` is who is meant by `policy`, of the training run `trained`.
///
/// # Errors
/// If somebody is unknown or cannot take part, or `progress` says to end.
pub fn play(
    scenario: &Scenario,
    Company { who, past }: Company<'_>,
    policy: &Arc<Checkpoint>,
    trained: u64,
    seeds: u64,
    progress: Progress<'_>,
) -> Result<Vec<Row>> {
    let same = who.iter().find(|one| who.iter().filter(|other| other == one).count() > 1);
    ensure!(same.is_none(), "{}, contenders: found {} twice, expected once", scenario.origin, same.map_or("", |s| s));
    let parsed = who.iter().map(|text| Who::parse(text)).collect::<Result<Vec<_>>>()?;
    let mut rows: Vec<Vec<Row>> = vec![Vec::new(); who.len()];
    let mut done = 0.0;
    let own = seeds_from(scenario.seed, seeds as usize);
    // Those without pods of one kind do not meet the others in one comparison, but they meet the same arrivals.
    for hardware in parsed.iter().map(|who| who.hardware).collect::<BTreeSet<_>>() {
        let group: Vec<usize> = (0..who.len()).filter(|&index| parsed[index].hardware == hardware).collect();
        let scenes = match hardware {
            None => vec![(scenario.clone(), own.as_slice())],
            Some(hardware) => {
                own.chunks(1).map(|seed| Ok((only(scenario, hardware, seed[0])?, seed))).collect::<Result<_>>()?
            }
        };
        for (scenario, seeds) in scenes {
            let all = group
                .iter()
                .map(|&index| parsed[index].contender(policy, past, &scenario))
                .collect::<Result<Vec<_>>>()?;
            let prepared = Prepared::new(scenario)?;
            let part = (group.len() * seeds.len()) as f64;
            let told = |share: f64| progress((done + share * part) / (who.len() * own.len()) as f64);
            let result = compare(&prepared, &all, seeds[0], seeds.len(), &told)?;
            for (&index, autoscaler) in group.iter().zip(&result.autoscalers) {
                rows[index].extend(autoscaler.runs.iter().map(|run| row(run, &who[index], trained, &prepared)));
            }
            done += part;
        }
    }
    Ok(rows.concat())
}

/// One who takes part, as written.
#[derive(Clone, Debug, PartialEq)]
struct Who<'a> {
    /// Name without what follows.
    name: &'a str,
    /// `after 1h`.
    history: Option<Span>,
    /// `at 1.25`.
    headroom: Option<f64>,
    /// `on cpu`.
    hardware: Option<Hardware>,
}

impl<'a> Who<'a> {
    fn parse(text: &'a str) -> Result<Who<'a>> {
        let unknown = |expected| format!("contender {text:?}: expected {expected}");
        let (rest, hardware) = match text.rsplit_once(" on ") {
            None => (text, None),
            Some((rest, "gpu")) => (rest, Some(Hardware::Gpu)),
            Some((rest, "cpu")) => (rest, Some(Hardware::Cpu)),
            Some(_) => anyhow::bail!(unknown("gpu or cpu after \"on\"")),
        };
        let (rest, headroom) = match rest.rsplit_once(" at ") {
            None => (rest, None),
            Some((rest, factor)) => {
                let found = factor.parse::<f64>().ok().filter(|factor| factor.is_finite() && *factor > 0.0);
                (rest, Some(found.with_context(|| unknown("a positive number after \"at\""))?))
            }
        };
        let (name, history) = match rest.rsplit_once(" after ") {
            None => (rest, None),
            Some((name, length)) => (
                name,
                Some(
                    length
                        .parse()
                        .map_err(anyhow::Error::msg)
                        .with_context(|| unknown("a length of time after \"after\""))?,
                ),
            ),
        };
        // What is played is data, not what a file says today.
        ensure!(!AutoscalerConfig::is_file(name), unknown("a name, no file"));
        let remembers = name == "leader" || Who::weight(name)?.is_some();
        ensure!(
            history.is_none() || remembers,
            unknown("nothing after \"after\", which is for policies and the leader")
        );
        // Others would start a pod of the other kind.
        let stays_off = ["fixed", "hpa"].contains(&name.split_once(':').map_or(name, |(kind, _)| kind));
        ensure!(hardware.is_none() || stays_off, unknown("fixed or hpa before \"on\""));
        Ok(Who { name, history, headroom, hardware })
    }

    /// What a saved dollar counts to `policy` or `policy/WEIGHT`; `None` for anybody else.
    fn weight(name: &str) -> Result<Option<f64>> {
        match name.split_once('/') {
            _ if name == "policy" => Ok(Some(1.0)),
            Some(("policy", weight)) => {
                let found = weight.parse::<f64>().ok().filter(|weight| weight.is_finite() && *weight > 0.0);
                Ok(Some(found.with_context(|| format!("contender {name:?}: expected a positive number after \"/\""))?))
            }
            _ => Ok(None),
        }
    }

    fn contender(
        &self,
        policy: &Arc<Checkpoint>,
        elsewhere: Option<&Scenario>,
        scenario: &Scenario,
    ) -> Result<Contender> {
        let past = self.history.map(|length| Past { length, elsewhere, told: false });
        let plain = match Who::weight(self.name)? {
            Some(weight) => contenders::policy(policy, weight, past, scenario)?,
            None => contenders::rival(self.name, past, scenario)?,
        };
        match self.headroom {
            None => Ok(plain),
            Some(factor) => plain
                .with_headroom(factor, scenario)
                .with_context(|| format!("contender {:?}: expected one with a headroom before \"at\"", self.name)),
        }
    }
}

/// `scenario` without pods of the other kind, for runs with `seed`.
fn only(scenario: &Scenario, hardware: Hardware, seed: u64) -> Result<Scenario> {
    let prepared = Prepared::new(scenario.clone())?;
    let mut alone = scenario.clone();
    // The published reward compares with what either kind does, which cannot be measured any more.
    if let Some((p95_ms, throughput)) = paper_baseline(&prepared, seed, &silent)? {
        alone.objective = Objective::Paper { baseline: PaperBaseline::Given { p95_ms, throughput } };
    }
    // Maxima stay, by which the objective's cost is counted.
    for pool in prepared.pools.iter().filter(|pool| pool.hardware != hardware) {
        if let Some(other) = alone.pools.get_mut(&pool.name) {
            (other.limits.min_replicas, other.initial_replicas) = (0, 0);
        }
    }
    alone.service.placement = match hardware {
        Hardware::Gpu => Placement::GpuOnly,
        Hardware::Cpu => Placement::CpuOnly,
    };
    alone.seed = seed;
    alone.check()?;
    Ok(alone)
}

/// A row of a run of `who`.
pub(super) fn row(run: &Summary, who: &str, trained: u64, prepared: &Prepared) -> Row {
    let mean = run.reward.get("mean").copied().unwrap_or(f64::NAN);
    let published = matches!(prepared.scenario.objective, Objective::Paper { .. });
    let pods = |hardware: Option<Hardware>| {
        let own = prepared.pools.iter().filter(|pool| hardware.is_none_or(|hardware| pool.hardware == hardware));
        let means: Vec<f64> = own.filter_map(|pool| Some(run.pools.get(&pool.name)?.replicas_mean)).collect();
        if means.is_empty() { f64::NAN } else { means.iter().sum() }
    };
    let ms = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Row::new()
        .text("scene", &prepared.scenario.name)
        .text("autoscaler", who)
        .count("trained", trained)
        .count("seed", run.seed)
        .number("objective", -mean)
        .number("violation_ratio", run.slo.violation_ratio)
        .number("cost_usd", run.cost)
        .number("hours", run.duration_s / 3600.0)
        .number("requests", run.requests.arrived as f64)
        .number("p50_ms", ms(run.latency_ms.p50))
        .number("p95_ms", ms(run.latency_ms.p95))
        .number("p99_ms", ms(run.latency_ms.p99))
        .number("mean_replicas", pods(None))
        .number("churn", run.churn as f64)
        .number("paper_reward", if published { mean } else { f64::NAN })
        .number("completed", run.requests.completed as f64)
        .number("gpu_replicas", pods(Some(Hardware::Gpu)))
        .number("cpu_replicas", pods(Some(Hardware::Cpu)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kisim::compare::Comparison;

    fn scenario(text: &str) -> Scenario {
        toml::from_str::<Scene>(text).unwrap().load(None).unwrap()
    }

    fn played(scenario: &Scenario, who: &[&str], seeds: u64) -> Vec<Row> {
        let who: Vec<String> = who.iter().map(|&who| who.to_owned()).collect();
        play(scenario, Company::new(&who), &shipped().unwrap(), 0, seeds, &silent).unwrap()
    }

    fn short(name: &str) -> Scenario {
        scenario(&format!("name = 'short'\nscenario = '{name}'\nchanges = {{ duration = '5m' }}"))
    }

    #[test]
    fn rows_are_what_a_comparison_says_in_whatever_company() {
        let scenario = short("default");
        let rows = played(&scenario, &["hpa", "policy", "fixed:4"], 2);
        let all = ["hpa", "fixed:4"].map(|text| Contender::parse(text, &scenario).unwrap());
        let expected: Comparison = compare(&Prepared::new(scenario.clone()).unwrap(), &all, 1, 2, &silent).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.get_text("autoscaler")).collect();
        assert_eq!(names, ["hpa", "hpa", "policy", "policy", "fixed:4", "fixed:4"]);
        for (row, run) in rows
            .iter()
            .filter(|row| row.get_text("autoscaler") != "policy")
            .zip(expected.autoscalers.iter().flat_map(|autoscaler| &autoscaler.runs))
        {
            assert_eq!(row.get_number("seed"), run.seed as f64);
            assert_eq!(row.get_number("objective"), -run.reward["mean"]);
            assert_eq!(row.get_number("cost_usd"), run.cost);
            assert_eq!(row.get_number("hours"), 300.0 / 3600.0);
            assert!(row.get_number("paper_reward").is_nan());
        }
        // Alone, and with more seeds: the same.
        let alone = played(&scenario, &["policy"], 3);
        assert_eq!(alone[..2], rows[2..4]);
        // Everybody met the same arrivals.
        assert_eq!(rows[0].get_number("requests"), rows[4].get_number("requests"));
    }

    #[test]
    fn weights_and_a_past_make_others_of_the_policy() {
        let scenario = short("llm-periodic");
        let rows = played(
            &scenario,
            &["policy", "policy/4", "policy after 10m", "leader", "leader after 10m", "policy at 0.25"],
            1,
        );
        let costs: Vec<f64> = rows.iter().map(|row| row.get_number("cost_usd")).collect();
        assert!(costs[1] <= costs[0], "a dollar that counts four times is saved: {costs:?}");
        assert_eq!(costs[5], costs[1], "a quarter of the headroom is four times the dollar");
        assert!(costs[2] != costs[0] && costs[4] != costs[3], "what was seen before is known: {costs:?}");
    }

    #[test]
    fn without_pods_of_the_other_kind() {
        let scenario = scenario("name = 'short'\nscenario = 'paper:spike'\nchanges = { duration = '5m' }");
        let rows = played(&scenario, &["fixed:cpu=3 on cpu", "fixed:gpu=1 on gpu", "fixed:gpu=1+cpu=3"], 2);
        let pods = |index: usize| (rows[index].get_number("gpu_replicas"), rows[index].get_number("cpu_replicas"));
        assert_eq!([pods(0), pods(1), pods(2), pods(4)], [(0.0, 3.0), (0.0, 3.0), (1.0, 0.0), (1.0, 3.0)]);
        // On spikes the published reward's reference is what the testbed does with all requests on the GPU.
        let mut given = scenario.clone();
        given.service.placement = Placement::GpuOnly;
        let measured = played(&given, &["fixed"], 1);
        let (p95_ms, throughput) = (measured[0].get_number("p95_ms"), measured[0].get_number("completed") / 300.0);
        given.objective = Objective::Paper { baseline: PaperBaseline::Given { p95_ms, throughput } };
        let again = played(&given, &["fixed:gpu=1 on gpu"], 1);
        assert!((again[0].get_number("paper_reward") - rows[2].get_number("paper_reward")).abs() < 1e-9);
        assert_eq!(rows[0].get_number("paper_reward"), -rows[0].get_number("objective"));
        assert!(rows[0].get_number("p95_ms") > rows[2].get_number("p95_ms"), "{rows:?}");
    }

    #[test]
    fn whoever_is_nobody_is_named() {
        let check = |text: &str, expected: &str| {
            let error = format!("{:#}", Who::parse(text).unwrap_err());
            assert!(error.starts_with(&format!("contender {text:?}: expected {expected}")), "{error}");
        };
        check("hpa on tpu", "gpu or cpu");
        check("keda on cpu", "fixed or hpa");
        check("policy after noon", "a length of time");
        check("hpa at least", "a positive number");
        check("hpa after 1h", "nothing after");
        check("mine.yaml", "a name, no file");
        check("policy/-1", "a positive number");
        let error =
            play(&short("default"), Company::new(&["kpa".into(), "kpa".into()]), &shipped().unwrap(), 0, 1, &silent);
        assert!(error.unwrap_err().to_string().contains("contenders: found kpa twice"));
    }

    #[test]
    fn progress_grows_to_the_end_and_can_end_it() {
        let scenario = short("default");
        let who = ["fixed:2".to_owned(), "hpa on gpu".to_owned()];
        let highest = std::sync::Mutex::new(0.0);
        let told = |share: f64| {
            let mut highest = highest.lock().unwrap();
            assert!(share >= *highest - 1e-9 && share <= 1.0, "{share} after {highest}");
            *highest = share;
            true
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| play(&scenario, Company::new(&who), &shipped().unwrap(), 0, 2, &told)).unwrap();
        assert!(*highest.lock().unwrap() > 0.9);
        assert!(play(&scenario, Company::new(&who), &shipped().unwrap(), 0, 2, &|_| false).is_err());
    }
}
