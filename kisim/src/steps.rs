//! The books of control steps: what each brought, judged by the scenario's objective.

use crate::ledger::Ledger;
use crate::objective::{Judge, Reward, Step};
use crate::prepared::Prepared;
use crate::simulation::Simulation;

/// What a control step brought.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// Its reward, by parts.
    pub reward: Reward,
    /// Requests that ended in it late or without an answer.
    pub violations: u64,
    /// Requests that ended in it.
    pub ended: u64,
}

/// Meters at the end of the last control step.
#[derive(Clone, Debug)]
pub struct StepBooks {
    judge: Judge,
    ledger: Ledger,
    at_s: f64,
    cost: f64,
    churn: u64,
}

impl StepBooks {
    /// Books that begin now.
    pub fn new(judge: Judge, simulation: &Simulation) -> Self {
        let mut books = StepBooks { judge, ledger: Ledger::default(), at_s: 0.0, cost: 0.0, churn: 0 };
        books.restart(simulation);
        books
    }

    /// Begins again, now.
    pub fn restart(&mut self, simulation: &Simulation) {
        self.ledger.copy_from(&simulation.fleet().sink.ledger);
        self.at_s = simulation.now().as_secs_f64();
        self.cost = cost(simulation);
        self.churn = churn(simulation);
    }

    /// Books the step that ends now; `None` if no time has passed. `cpu_utilization` is the highest of a pool, 0–1, as
    /// last scraped, which the published reward asks for.
    pub fn step(&mut self, simulation: &Simulation, cpu_utilization: Option<f64>) -> Option<StepOutcome> {
        let now_s = simulation.now().as_secs_f64();
        let seconds = now_s - self.at_s;
        if seconds <= 0.0 {
            return None;
        }
        let prepared = simulation.prepared();
        let (cost, churn) = (cost(simulation), churn(simulation));
        let pools: Vec<_> =
            prepared.pools.iter().enumerate().map(|(n, p)| (p.hardware, simulation.counts(n))).collect();
        let ledger = &simulation.fleet().sink.ledger;
        let step = Step {
            ledger,
            before: &self.ledger,
            seconds,
            cost: cost - self.cost,
            cost_at_maximum: cost_at_maximum(prepared) * seconds,
            churn: churn - self.churn,
            max_replicas: prepared.pools.iter().map(|p| u64::from(p.config.limits.max_replicas)).sum(),
            pools: &pools,
            cpu_utilization,
        };
        let outcome = StepOutcome {
            reward: self.judge.judge(&step),
            violations: ledger.violations() - self.ledger.violations(),
            ended: ledger.ended() - self.ledger.ended(),
        };
        self.ledger.copy_from(ledger);
        (self.at_s, self.cost, self.churn) = (now_s, cost, churn);
        Some(outcome)
    }
}

/// What all pools at their maximum cost, dollars a second.
pub fn cost_at_maximum(prepared: &Prepared) -> f64 {
    let pools = prepared.pools.iter();
    pools.map(|p| f64::from(p.config.limits.max_replicas) * p.price_per_hour / 3600.0).sum()
}

/// Dollars spent since the start of the run.
fn cost(simulation: &Simulation) -> f64 {
    let pools = simulation.prepared().pools.iter().enumerate();
    pools.map(|(n, p)| simulation.meter(n).bound_ns as f64 * 1e-9 / 3600.0 * p.price_per_hour).sum()
}

/// Replicas added and removed since the start of the run.
fn churn(simulation: &Simulation) -> u64 {
    (0..simulation.prepared().pools.len()).map(|n| simulation.meter(n).churn).sum()
}
