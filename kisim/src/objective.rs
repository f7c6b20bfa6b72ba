//! The objective, one for all: autoscalers are compared, tuned and trained by the same number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::PodCounts;
use crate::ledger::Ledger;
use crate::profile::Hardware;
use crate::steps::StepOutcome;
use crate::traffic::Pattern;

/// What is rewarded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "reward", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// −(weighted violations + weighted cost + weighted churn); at most 0. See [`RewardMean`] for a whole run's.
    Slo {
        /// Weight of the share of requests that ended late or without an answer; like the others at least 0.
        #[serde(default = "three")]
        violation_weight: f64,
        /// Weight of the cost over the cost of all pools at their maximum.
        #[serde(default = "one")]
        cost_weight: f64,
        /// Weight of the replicas added and removed over the sum of the pools' maxima.
        #[serde(default = "tenth")]
        churn_weight: f64,
    },
    /// The published reward (KIS-S, arXiv 2507.07932).
    Paper {
        /// Where L0 and Q0 come from.
        #[serde(default)]
        baseline: PaperBaseline,
    },
}

fn one() -> f64 {
    1.0
}

fn three() -> f64 {
    3.0
}

fn tenth() -> f64 {
    0.1
}

impl Default for Objective {
    fn default() -> Self {
        Objective::Slo { violation_weight: 3.0, cost_weight: 1.0, churn_weight: 0.1 }
    }
}

/// Where the published reward's reference latency and throughput come from.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum PaperBaseline {
    /// Measured in the simulator before the run: the scenario's initial replicas, unchanged, GPU only and CPU only.
    #[default]
    Measured,
    /// The published table, which was set by hand; with a published pattern only.
    Published,
    /// These.
    Given {
        /// Reference P95, milliseconds.
        p95_ms: f64,
        /// Reference throughput, requests a second.
        throughput: f64,
    },
}

/// The published table: (pattern, GPU P95 ms, CPU P95 ms, GPU req/s, CPU req/s).
const PUBLISHED: [(Pattern, [f64; 4]); 4] = [
    (Pattern::Random, [2600.0, 5100.0, 10.40, 10.80]),
    (Pattern::Spike, [370.0, 470.0, 6.40, 5.70]),
    (Pattern::Ramp, [5800.0, 6700.0, 10.30, 10.20]),
    (Pattern::Periodic, [2300.0, 2300.0, 11.50, 12.10]),
];

/// Reference (P95 in ms, throughput in req/s) for a pattern: the GPU's for random and spike, the mean of GPU and CPU for
/// ramp and periodic.
pub fn paper_reference(pattern: Pattern, gpu: (f64, f64), cpu: (f64, f64)) -> (f64, f64) {
    match pattern {
        Pattern::Random | Pattern::Spike => gpu,
        Pattern::Ramp | Pattern::Periodic => ((gpu.0 + cpu.0) / 2.0, (gpu.1 + cpu.1) / 2.0),
    }
}

/// The published reference of a pattern.
pub fn published_reference(pattern: Pattern) -> (f64, f64) {
    let row = PUBLISHED.iter().find(|(p, _)| *p == pattern).map_or([f64::NAN; 4], |(_, row)| *row);
    paper_reference(pattern, (row[0], row[2]), (row[1], row[3]))
}

/// What a control step brought, as the simulator's books have it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The books at its end.
    pub ledger: &'a Ledger,
    /// The books at its start.
    pub before: &'a Ledger,
    /// Its length, seconds.
    pub seconds: f64,
    /// What it cost, and what all pools at their maximum would have, dollars.
    pub cost: f64,
    /// See `cost`.
    pub cost_at_maximum: f64,
    /// Replicas added and removed by the decision at its start.
    pub churn: u64,
    /// Sum of the pools' maxima.
    pub max_replicas: u64,
    /// By pool: hardware and pod numbers at its end.
    pub pools: &'a [(Hardware, PodCounts)],
    /// Highest CPU utilisation of a pool, 0–1, if known.
    pub cpu_utilization: Option<f64>,
}

impl Step<'_> {
    /// Share of the requests that ended in the step late or without an answer; 0 without any.
    pub fn violation(&self) -> f64 {
        let ended = self.ledger.ended() - self.before.ended();
        let violations = self.ledger.violations() - self.before.violations();
        if ended == 0 { 0.0 } else { violations as f64 / ended as f64 }
    }
}

/// A reward by parts; the total is their sum.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Reward {
    parts: [(&'static str, f64); 5],
    len: usize,
}

impl Reward {
    fn of(parts: &[(&'static str, f64)]) -> Self {
        let mut reward = Reward { parts: [("", 0.0); 5], len: parts.len().min(5) };
        reward.parts[..reward.len].copy_from_slice(&parts[..reward.len]);
        reward
    }

    /// The parts, weighted, by name.
    pub fn parts(&self) -> &[(&'static str, f64)] {
        &self.parts[..self.len]
    }

    /// Their sum.
    pub fn total(&self) -> f64 {
        self.parts().iter().map(|p| p.1).sum()
    }
}

/// The objective at work: it remembers what the published reward needs of the past.
#[derive(Clone, Debug)]
pub struct Judge {
    objective: Objective,
    pattern: Option<Pattern>,
    reference: (f64, f64),
    /// Whether each of the last five steps scaled.
    scaled: Vec<bool>,
    steps: u64,
}

impl Judge {
    /// A judge of a run with traffic `pattern`; `measured` is the reference for [`PaperBaseline::Measured`].
    pub fn new(objective: Objective, pattern: Option<Pattern>, measured: Option<(f64, f64)>) -> Self {
        let reference = match objective {
            Objective::Paper { baseline: PaperBaseline::Published } => {
                pattern.map_or((f64::NAN, f64::NAN), published_reference)
            }
            Objective::Paper { baseline: PaperBaseline::Given { p95_ms, throughput } } => (p95_ms, throughput),
            _ => measured.unwrap_or((f64::NAN, f64::NAN)),
        };
        Judge { objective, pattern, reference, scaled: Vec::new(), steps: 0 }
    }

    /// The reward of a step.
    pub fn judge(&mut self, step: &Step<'_>) -> Reward {
        match self.objective {
            Objective::Slo { violation_weight, cost_weight, churn_weight } => Reward::of(&[
                ("violation", -violation_weight * step.violation()),
                ("cost", -cost_weight * share(step.cost, step.cost_at_maximum)),
                ("churn", -churn_weight * share(step.churn as f64, step.max_replicas as f64)),
            ]),
            Objective::Paper { .. } => self.paper(step),
        }
    }

    fn paper(&mut self, step: &Step<'_>) -> Reward {
        let (l0, q0) = self.reference;
        let completed = (step.ledger.completed - step.before.completed) as f64;
        // No answer in the step: no latency to be better than the reference with.
        let p95_ms =
            step.ledger.latency.quantile_since(Some(&step.before.latency), 0.95).map_or(f64::INFINITY, |ns| ns * 1e-6);
        let throughput = completed / step.seconds;
        let count = |hardware| {
            step.pools.iter().filter(|(h, _)| *h == hardware).map(|(_, c)| f64::from(c.desired)).sum::<f64>()
        };
        let (gpu, cpu) = (count(Hardware::Gpu), count(Hardware::Cpu));
        let efficiency = match self.pattern {
            _ if gpu + cpu == 0.0 => 0.0,
            Some(Pattern::Ramp | Pattern::Periodic) => 1.0 - (gpu - cpu).abs() / (gpu + cpu),
            _ => gpu / (gpu + cpu),
        };
        self.steps += 1;
        self.scaled.push(step.churn > 0);
        if self.scaled.len() > 5 {
            self.scaled.remove(0);
        }
        let stability = match self.scaled.iter().filter(|s| **s).count() {
            _ if self.steps <= 2 => 0.0,
            0..=2 => 0.1,
            _ => -0.2,
        };
        let gain = |relative: f64| if relative.is_finite() { relative.max(0.0) } else { 0.0 };
        Reward::of(&[
            ("latency", 0.4 * gain((l0 - p95_ms) / l0)),
            ("throughput", 0.3 * gain((throughput - q0) / q0)),
            ("efficiency", 0.2 * efficiency),
            ("stability", 0.1 * stability),
            ("cpu_penalty", if step.cpu_utilization.is_some_and(|u| u > 0.9) { -0.5 } else { 0.0 }),
        ])
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Rewards of a run: means over control steps, but violations over requests.
///
/// A mean over steps of each step's share of violations would count a request in a quiet step for more than one in a
/// burst, and a burst that nobody could serve for next to nothing. So the violation part weights steps by their requests:
/// it is −weight · (violations / requests) of the whole run, the ratio that the reports show.
#[derive(Clone, Debug)]
pub struct RewardMean {
    /// Weight of violations, where the objective is about the SLO.
    violation_weight: Option<f64>,
    sums: BTreeMap<&'static str, f64>,
    steps: u64,
    violations: u64,
    ended: u64,
}

impl RewardMean {
    /// Nothing yet, of a run under `objective`.
    pub fn new(objective: &Objective) -> Self {
        let violation_weight = match objective {
            Objective::Slo { violation_weight, .. } => Some(*violation_weight),
            Objective::Paper { .. } => None,
        };
        RewardMean { violation_weight, sums: BTreeMap::new(), steps: 0, violations: 0, ended: 0 }
    }

    /// Counts a step.
    pub fn add(&mut self, outcome: &StepOutcome) {
        self.steps += 1;
        self.violations += outcome.violations;
        self.ended += outcome.ended;
        for (name, value) in outcome.reward.parts() {
            *self.sums.entry(name).or_insert(0.0) += value;
        }
    }

    /// Mean by part and, as `mean`, of the total; `overdue` requests are held at the end, already late.
    pub fn means(&self, overdue: u64) -> BTreeMap<String, f64> {
        let steps = self.steps.max(1) as f64;
        let mut means: BTreeMap<String, f64> =
            // Adding zero turns −0 into 0.
            self.sums.iter().map(|(name, sum)| ((*name).to_owned(), sum / steps + 0.0)).collect();
        if let Some(weight) = self.violation_weight {
            let ratio = share((self.violations + overdue) as f64, (self.ended + overdue) as f64);
            means.insert("violation".to_owned(), -weight * ratio + 0.0);
        }
        let total = means.values().sum::<f64>();
        means.insert("mean".to_owned(), total);
        means
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(desired: u32) -> PodCounts {
        PodCounts { desired, ..PodCounts::default() }
    }

    #[test]
    fn slo_reward_is_the_weighted_sum() {
        let before = Ledger::default();
        let ledger = Ledger { completed: 90, late: 10, queue_full: 10, ..Ledger::default() };
        let pools = [(Hardware::Gpu, counts(2))];
        let step = Step {
            ledger: &ledger,
            before: &before,
            seconds: 15.0,
            cost: 1.0,
            cost_at_maximum: 4.0,
            churn: 2,
            max_replicas: 10,
            pools: &pools,
            cpu_utilization: None,
        };
        let reward = Judge::new(Objective::default(), None, None).judge(&step);
        assert!((step.violation() - 0.2).abs() < 1e-12);
        assert!((reward.total() + (3.0 * 0.2 + 0.25 + 0.1 * 0.2)).abs() < 1e-12);
    }

    #[test]
    fn paper_reward_by_hand() {
        // Spike: L0 370 ms, Q0 6.4 req/s. P95 185 ms → .2; 12.8 req/s → .3; 3 of 4 replicas are GPUs → .15; third step
        // without scaling → .01.
        let mut ledger = Ledger::default();
        for _ in 0..384 {
            ledger.latency.record(185_000_000);
            ledger.completed += 1;
        }
        let before = Ledger::default();
        let pools = [(Hardware::Gpu, counts(3)), (Hardware::Cpu, counts(1))];
        let step = Step {
            ledger: &ledger,
            before: &before,
            seconds: 30.0,
            cost: 0.0,
            cost_at_maximum: 1.0,
            churn: 0,
            max_replicas: 20,
            pools: &pools,
            cpu_utilization: Some(0.95),
        };
        let objective = Objective::Paper { baseline: PaperBaseline::Published };
        let mut judge = Judge::new(objective, Some(Pattern::Spike), None);
        assert!((judge.judge(&step).total() - (0.2 + 0.3 + 0.15 - 0.5)).abs() < 0.002);
        judge.judge(&step);
        assert!((judge.judge(&step).total() - (0.2 + 0.3 + 0.15 + 0.01 - 0.5)).abs() < 0.002);
        assert_eq!(published_reference(Pattern::Ramp), (6250.0, 10.25));
    }
}
