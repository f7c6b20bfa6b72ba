//! Plans, and what comes of them on the simulator.

use std::sync::Arc;

use crate::cluster::PodCounts;
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::objective::{Judge, Objective};
use crate::prepared::Prepared;
use crate::run::RunError;
use crate::simulation::{Options, Simulation, Stop};
use crate::steps::StepBooks;
use crate::window::Window;

use super::record::ArrivalRecord;

/// Replicas over time: `replicas[k][pool]` is asked for at the end of the `k`-th control step, that is at `k` control
/// intervals. The first row is what there is at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By step and pool.
    pub replicas: Vec<Vec<u32>>,
}

impl Plan {
    /// The initial replicas of `prepared`, always.
    pub fn still(prepared: &Prepared) -> Plan {
        let initial: Vec<u32> = prepared.pools.iter().map(|p| p.config.initial_replicas).collect();
        Plan { replicas: vec![initial; steps(prepared)] }
    }
}

/// Control steps of a run.
pub(super) fn steps(prepared: &Prepared) -> usize {
    prepared.end.div_ceil(prepared.scenario.control.interval.nanos().max(1)) as usize
}

/// An autoscaler that does what a plan says, whatever it sees.
#[derive(Clone, Debug)]
pub struct Timetable {
    name: String,
    plan: Option<Plan>,
    step_ns: u64,
}

impl Timetable {
    /// Follows `plan`, whose steps are `prepared`'s control intervals.
    pub fn new(name: &str, plan: Plan, prepared: &Prepared) -> Self {
        Timetable { name: name.to_owned(), plan: Some(plan), step_ns: prepared.scenario.control.interval.nanos() }
    }

    /// Changes nothing.
    pub fn still() -> Self {
        Timetable { name: "still".to_owned(), plan: None, step_ns: 1 }
    }
}

impl Autoscaler for Timetable {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let row = self.plan.as_ref().and_then(|p| p.replicas.get((view.now.as_nanos() / self.step_ns) as usize));
        let verdict = |pool: usize| match row.and_then(|row| row.get(pool)) {
            Some(&replicas) => Verdict::Scale { replicas, reason: "planned".to_owned() },
            None => Verdict::Hold { reason: "nothing planned".to_owned() },
        };
        Decision { pools: (0..view.pools.len()).map(verdict).collect(), placement: None }
    }
}

/// How good a plan is on a record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Requests that broke the objective.
    violations: u64,
    /// Requests that ended, and those held at the end and already late.
    judged: u64,
    /// Sum over steps of the reward without the violation part, or of the whole where violations are not weighted by
    /// requests.
    rewards: f64,
    steps: u64,
    violation_weight: f64,
}

impl Score {
    /// The negative mean reward, as [`crate::objective::RewardMean`] has it: lower is better.
    pub fn objective(&self) -> f64 {
        let ratio = if self.judged == 0 { 0.0 } else { self.violations as f64 / self.judged as f64 };
        self.violation_weight * ratio - self.rewards / self.steps.max(1) as f64
    }

    fn add(&mut self, other: &Score) {
        self.violations += other.violations;
        self.judged += other.judged;
        self.rewards += other.rewards;
        self.steps += other.steps;
    }
}

/// A run between two control steps.
pub(super) struct State {
    simulation: Simulation,
    books: StepBooks,
    /// What was scraped, where the objective asks for it.
    window: Option<Window>,
    /// The step that comes next.
    pub(super) next: usize,
    scored: bool,
}

/// What a step of a rollout brought.
#[derive(Clone, Debug)]
pub(super) struct StepScore {
    pub(super) score: Score,
    /// Its share of the objective of the whole run, as if violations were counted against `requests`.
    pub(super) value: f64,
    pub(super) violations: u64,
    pub(super) counts: Vec<PodCounts>,
    pub(super) in_flight: usize,
}

/// The means to simulate plans.
pub(super) struct Rollout {
    pub(super) steps: usize,
    /// Steps that count.
    judged_steps: f64,
    /// Requests that count, about.
    requests: f64,
    violation_weight: f64,
    weights_requests: bool,
}

impl Rollout {
    pub(super) fn new(prepared: &Prepared, record: &ArrivalRecord) -> Rollout {
        let from = prepared.scenario.warm_up.nanos();
        let requests = record.times().len() - record.times().partition_point(|&t| t < from);
        let (violation_weight, weights_requests) = match prepared.scenario.objective {
            Objective::Slo { violation_weight, .. } => (violation_weight, true),
            Objective::Paper { .. } => (0.0, false),
        };
        let interval = prepared.scenario.control.interval.nanos().max(1);
        let judged_steps = (prepared.end - from.min(prepared.end)).div_ceil(interval).max(1) as f64;
        Rollout {
            steps: steps(prepared),
            judged_steps,
            requests: requests.max(1) as f64,
            violation_weight,
            weights_requests,
        }
    }

    /// A run at its beginning, and the judge's reference if the objective asks for one.
    pub(super) fn start(
        &self,
        prepared: &Arc<Prepared>,
        record: &ArrivalRecord,
        seed: u64,
        reference: Option<(f64, f64)>,
    ) -> Result<State, RunError> {
        let options = Options {
            decide_every: Some(std::time::Duration::MAX),
            arrivals: record.to_replay(),
            // The published reward looks at CPU utilisation as scraped; nothing else here looks at any metric.
            telemetry: !self.weights_requests,
            ..Options::default()
        };
        let simulation = Simulation::with(prepared, seed, &options)?;
        let judge = Judge::new(prepared.scenario.objective.clone(), prepared.scenario.published_pattern(), reference);
        let scored = prepared.scenario.warm_up.nanos() == 0;
        let window =
            (!self.weights_requests).then(|| Window::new(std::time::Duration::from_secs(600), &prepared.bounds));
        Ok(State { books: StepBooks::new(judge, &simulation), simulation, window, next: 0, scored })
    }

    /// Simulates the next step of `state` with `row` as the replicas asked for at its beginning.
    pub(super) fn step(&self, state: &mut State, row: &[u32]) -> Result<StepScore, RunError> {
        if state.next > 0 {
            for (pool, &replicas) in row.iter().enumerate() {
                // A refusal is the scenario's fault of that name; the plan finds its way round it.
                let _ = state.simulation.scale(pool, replicas);
            }
        }
        state.next += 1;
        let mut overdue = 0;
        loop {
            match state.simulation.run()? {
                Stop::Step => break,
                Stop::End => {
                    let scenario = &state.simulation.prepared().scenario;
                    let late = state.simulation.now().saturating_sub(scenario.slo.latency.0).as_nanos();
                    overdue = state.simulation.fleet().sent_before(late) as u64;
                    break;
                }
                Stop::WarmUpOver => {
                    state.books.restart(&state.simulation);
                    state.scored = true;
                }
                Stop::Row | Stop::Control => {}
            }
        }
        let mut score = Score { violation_weight: self.violation_weight, ..Score::default() };
        let mut value = 0.0;
        let mut cpu = None;
        if let Some(window) = &mut state.window {
            window.push(&state.simulation.scraped(), state.simulation.now());
            cpu = window.highest_cpu(state.simulation.prepared().pools.len(), state.simulation.now());
        }
        let outcome = state.books.step(&state.simulation, cpu).filter(|_| state.scored);
        let mut violations = 0;
        if let Some(outcome) = outcome {
            violations = outcome.violations + overdue;
            score.steps = 1;
            let parts = outcome.reward.parts().iter();
            if self.weights_requests {
                score.violations = violations;
                score.judged = outcome.ended + overdue;
                score.rewards = parts.filter(|(name, _)| *name != "violation").map(|(_, value)| value).sum();
                value = self.violation_weight * violations as f64 / self.requests;
            } else {
                score.rewards = outcome.reward.total();
            }
            value -= score.rewards / self.judged_steps;
        }
        let pools = 0..state.simulation.prepared().pools.len();
        Ok(StepScore {
            score,
            value,
            violations,
            counts: pools.map(|pool| state.simulation.counts(pool)).collect(),
            in_flight: state.simulation.fleet().in_flight(),
        })
    }
}

impl State {
    /// The same, to go on from here independently.
    pub(super) fn fork(&self) -> Option<State> {
        Some(State {
            simulation: self.simulation.fork()?,
            books: self.books.clone(),
            window: self.window.clone(),
            ..*self
        })
    }
}

/// The score of `plan` on the record of `prepared` with `seed`, simulated whole. `reference` is the published reward's.
pub fn score(
    prepared: &Arc<Prepared>,
    record: &ArrivalRecord,
    seed: u64,
    plan: &Plan,
    reference: Option<(f64, f64)>,
) -> Result<Score, RunError> {
    let rollout = Rollout::new(prepared, record);
    let mut state = rollout.start(prepared, record, seed, reference)?;
    let mut total = Score { violation_weight: rollout.violation_weight, ..Score::default() };
    for k in 0..rollout.steps {
        total.add(&rollout.step(&mut state, &plan.replicas[k])?.score);
    }
    Ok(total)
}

impl std::iter::Sum<Score> for Score {
    fn sum<I: Iterator<Item = Score>>(scores: I) -> Score {
        scores.fold(Score::default(), |mut total, score| {
            total.add(&score);
            total.violation_weight = total.violation_weight.max(score.violation_weight);
            total
        })
    }
}
