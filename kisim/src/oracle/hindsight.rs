//! The plan of somebody who knew every arrival: a first plan, and a search on the simulator for a better one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::objective::Objective;
use crate::prepared::Prepared;
use crate::run::{Progress, RunError};
use crate::time::SimTime;

use super::dynamic_program::{Problem, solve};
use super::fluid::{Fluid, Weights};
use super::moves::{Move, candidates};
use super::record::ArrivalRecord;
use super::rollout::{Plan, Rollout, Score, State, StepScore, steps};

/// Most snapshots of a run held at once; what lies between two is simulated again.
const SNAPSHOTS: usize = 512;

/// Steps for which a changed run must look like the plan's own again before the rest is taken to be the same.
const SETTLED: usize = 2;

/// Steps after which a change is judged, whether the run looks the same again or not.
const PATIENCE: usize = 16;

/// How hard to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Control steps to simulate in all, as a multiple of the run's own. The search ends earlier where no change helps.
    pub runs: usize,
    /// Whether to try every kind of change, or a few.
    pub thorough: bool,
}

impl Effort {
    /// Until no change helps, within reason.
    pub const FULL: Effort = Effort { runs: 2_000, thorough: true };
    /// A first look: most of what there is to gain, in a fraction of the time (docs/baselines.md has the figures).
    pub const QUICK: Effort = Effort { runs: 40, thorough: false };
}

/// The planner.
#[derive(Clone, Copy, Debug)]
pub struct Hindsight {
    /// How hard it tries.
    pub effort: Effort,
}

/// What it found.
#[derive(Clone, Debug, PartialEq)]
pub struct HindsightPlan {
    /// The plan.
    pub plan: Plan,
    /// Its objective: the negative mean reward.
    pub objective: f64,
    /// That of the dynamic program's plan, before the search.
    pub first: f64,
    /// Whether no change that was tried helps any more.
    pub converged: bool,
    /// Changes taken over.
    pub improvements: usize,
    /// Control steps simulated.
    pub simulated: usize,
}

/// A run under a plan, with snapshots along the way.
struct Base {
    plan: Plan,
    score: Score,
    steps: Vec<StepScore>,
    /// Before step `i * stride`.
    snapshots: Vec<State>,
    stride: usize,
    /// Sums over the steps before each of what it brought beyond the price of the replicas asked for: violations, churn,
    /// pods that drain. No change of the plan can save more than that and what it asks for less.
    excess: Vec<f64>,
}

/// How a candidate fared.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// Change of the objective; below zero is better.
    delta: f64,
    /// Steps it was simulated over.
    from: usize,
    to: usize,
}

impl Hindsight {
    /// The best plan found for the arrivals in `record` and the random numbers of `seed`. `starts` are further plans to
    /// begin from, such as what autoscalers did; the result is at least as good as each of them. `reference` is the
    /// published reward's, where the scenario asks for it.
    pub fn plan(
        &self,
        prepared: &Arc<Prepared>,
        record: &ArrivalRecord,
        seed: u64,
        starts: &[Plan],
        reference: Option<(f64, f64)>,
        progress: Progress<'_>,
    ) -> Result<HindsightPlan, RunError> {
        let search = Search::new(prepared, record, seed, reference)?;
        let mut first = f64::NAN;
        let mut best: Option<Base> = None;
        for plan in first_plans(prepared, record)?.into_iter().chain(starts.iter().cloned()) {
            let base = search.base(plan, None)?;
            if first.is_nan() {
                first = base.score.objective();
            }
            if best.as_ref().is_none_or(|b| base.score.objective() < b.score.objective()) {
                best = Some(base);
            }
        }
        let Some(best) = best else {
            return Err(RunError::Interrupted { at: SimTime::ZERO });
        };
        search.improve(best, first, self.effort, progress)
    }
}

/// Plans to begin from: the dynamic program's with the primary pool, with more room and with less, and doing nothing.
fn first_plans(prepared: &Arc<Prepared>, record: &ArrivalRecord) -> Result<Vec<Plan>, RunError> {
    let pool = prepared.primary_pool();
    let fluid = Fluid::new(prepared, pool)?;
    let count = steps(prepared);
    let step_ns = prepared.scenario.control.interval.nanos().max(1);
    let bins = (step_ns as f64 * 1e-9).ceil().clamp(1.0, 60.0) as usize;
    let arrivals = record.bins(0, step_ns / bins as u64, count * bins);
    let step_s = step_ns as f64 * 1e-9;
    let requests: f64 = arrivals.iter().sum();
    let weights = Weights::new(prepared, pool, requests);
    let limits = prepared.pools[pool].config.limits;
    let lead = (prepared.cold_start_s(pool, 0.5) / step_s).ceil() as usize;
    let mut plans = Vec::new();
    for (room, ahead) in [(1.0, lead), (1.15, lead), (0.9, lead), (1.0, lead + 1)] {
        let scaled: Vec<f64> = arrivals.iter().map(|a| a * room).collect();
        let problem = Problem {
            fluid: &fluid,
            weights,
            arrivals: &scaled,
            bins,
            step_s,
            lead: ahead,
            min: limits.min_replicas,
            initial: prepared.pools[pool].config.initial_replicas,
        };
        let mut plan = Plan::still(prepared);
        for (row, replicas) in plan.replicas.iter_mut().zip(solve(&problem)) {
            row[pool] = replicas;
        }
        plans.push(plan);
    }
    plans.push(Plan::still(prepared));
    Ok(plans)
}

struct Search<'a> {
    prepared: &'a Arc<Prepared>,
    record: &'a ArrivalRecord,
    seed: u64,
    reference: Option<(f64, f64)>,
    rollout: Rollout,
    /// By pool: fewest and most replicas.
    limits: Vec<(u32, u32)>,
    /// A cold start, in steps.
    lead: usize,
    /// By pool: what a replica costs for a step, in units of the objective.
    prices: Vec<f64>,
}

impl<'a> Search<'a> {
    fn new(
        prepared: &'a Arc<Prepared>,
        record: &'a ArrivalRecord,
        seed: u64,
        reference: Option<(f64, f64)>,
    ) -> Result<Self, RunError> {
        let step_s = prepared.scenario.control.interval.as_secs_f64();
        let lead = (0..prepared.pools.len()).map(|p| (prepared.cold_start_s(p, 0.5) / step_s).ceil() as usize).max();
        let limits = prepared.pools.iter().map(|p| (p.config.limits.min_replicas, p.config.limits.max_replicas));
        let requests = record.times().len() as f64;
        let weights = (0..prepared.pools.len()).map(|pool| Weights::new(prepared, pool, requests));
        let prices = match prepared.scenario.objective {
            Objective::Slo { .. } => weights.map(|w| w.replica_second * step_s).collect(),
            // Its parts are not prices: so much is always to be saved that nothing is cut short.
            Objective::Paper { .. } => vec![1e6; prepared.pools.len()],
        };
        Ok(Search {
            prices,
            prepared,
            record,
            seed,
            reference,
            rollout: Rollout::new(prepared, record),
            limits: limits.collect(),
            lead: lead.unwrap_or(1),
        })
    }

    /// Simulates `plan` whole; of `before`, the part up to its first difference is taken over.
    fn base(&self, plan: Plan, before: Option<&Base>) -> Result<Base, RunError> {
        let count = self.rollout.steps;
        let stride = count.div_ceil(SNAPSHOTS).max(1);
        let same = before.map_or(0, |b| {
            (0..count).take_while(|&k| b.plan.replicas[k] == plan.replicas[k]).count().min(count - 1) / stride
        });
        let reused = before.and_then(|b| {
            let snapshots = b.snapshots[..=same].iter().map(State::fork).collect::<Option<Vec<_>>>()?;
            Some((snapshots, b.steps[..same * stride].to_vec()))
        });
        let (mut snapshots, mut steps) = match reused {
            Some(reused) => reused,
            None => {
                let start = self.rollout.start(self.prepared, self.record, self.seed, self.reference)?;
                (vec![start], Vec::with_capacity(count))
            }
        };
        let mut state = match snapshots.last().and_then(State::fork) {
            Some(state) => state,
            None => self.rollout.start(self.prepared, self.record, self.seed, self.reference)?,
        };
        for k in steps.len()..count {
            if k % stride == 0
                && k / stride >= snapshots.len()
                && let Some(snapshot) = state.fork()
            {
                snapshots.push(snapshot);
            }
            steps.push(self.rollout.step(&mut state, &plan.replicas[k])?);
        }
        let score = steps.iter().map(|s| s.score).sum();
        let mut excess = vec![0.0];
        for (k, step) in steps.iter().enumerate() {
            excess.push(excess[k] + (step.value - self.price(&plan.replicas[k])).max(0.0));
        }
        Ok(Base { plan, score, steps, snapshots, stride, excess })
    }

    /// What a step with the replicas of `row` costs at least.
    fn price(&self, row: &[u32]) -> f64 {
        row.iter().zip(&self.prices).map(|(&replicas, price)| f64::from(replicas) * price).sum()
    }

    /// What `change` does to the objective, as far as it can be told from the steps in which it shows.
    fn attempt(&self, base: &Base, change: &Move) -> Result<Trial, RunError> {
        let nothing = Trial { delta: 0.0, from: change.from, to: change.from };
        let Some(mut state) = base.snapshots[change.from / base.stride].fork() else { return Ok(nothing) };
        while state.next < change.from {
            let k = state.next;
            self.rollout.step(&mut state, &base.plan.replicas[k])?;
        }
        let limits = self.limits[change.pool];
        let mut row = Vec::new();
        let (mut delta, mut alike) = (0.0, 0);
        let end = change.from + change.length;
        let last = (end + self.lead + PATIENCE).min(self.rollout.steps);
        let asked = |k: usize| change.value(&base.plan, k, limits);
        let price = self.prices[change.pool];
        // What is saved by asking for less in the steps still to come.
        let mut to_save: f64 = (change.range())
            .map(|k| price * (f64::from(base.plan.replicas[k][change.pool]) - f64::from(asked(k))).max(0.0))
            .sum();
        for k in change.from..last {
            row.clone_from(&base.plan.replicas[k]);
            if k < end {
                row[change.pool] = asked(k);
                to_save -=
                    price * (f64::from(base.plan.replicas[k][change.pool]) - f64::from(row[change.pool])).max(0.0);
            }
            let step = self.rollout.step(&mut state, &row)?;
            delta += step.value - base.steps[k].value;
            // Beyond saving: the rest need not be known.
            if delta > to_save + base.excess[last] - base.excess[k + 1] {
                return Ok(Trial { delta, from: change.from, to: k + 1 });
            }
            let own = &base.steps[k];
            let pods: u32 = own.counts.iter().map(|c| c.ready).sum();
            let close = step.counts == own.counts
                && step.in_flight.abs_diff(own.in_flight) <= (own.in_flight / 4).max(4 * pods as usize + 4);
            alike = if close { alike + 1 } else { 0 };
            if k >= end && alike >= SETTLED {
                return Ok(Trial { delta, from: change.from, to: k + 1 });
            }
        }
        Ok(Trial { delta, from: change.from, to: last })
    }

    fn improve(
        &self,
        mut base: Base,
        first: f64,
        effort: Effort,
        progress: Progress<'_>,
    ) -> Result<HindsightPlan, RunError> {
        let budget = effort.runs * self.rollout.steps;
        let mut simulated = 0;
        let mut improvements = 0;
        let mut trials: BTreeMap<Move, Trial> = BTreeMap::new();
        let mut converged = false;
        while simulated < budget {
            if !progress(simulated as f64 / budget as f64) {
                return Err(RunError::Interrupted { at: SimTime::ZERO });
            }
            let violations: Vec<u64> = base.steps.iter().map(|s| s.violations).collect();
            let moves = candidates(&base.plan, &self.limits, &violations, self.lead, effort.thorough);
            let new: Vec<Move> = moves.iter().filter(|m| !trials.contains_key(m)).copied().collect();
            let tried: Vec<Trial> =
                new.par_iter().map(|change| self.attempt(&base, change)).collect::<Result<_, _>>()?;
            simulated += tried.iter().map(|t| t.to - t.from).sum::<usize>();
            trials.extend(new.into_iter().zip(tried));
            let mut good: Vec<(Move, Trial)> =
                moves.iter().filter_map(|m| Some((*m, *trials.get(m)?))).filter(|(_, t)| t.delta < -1e-12).collect();
            good.sort_by(|a, b| a.1.delta.total_cmp(&b.1.delta).then(a.0.cmp(&b.0)));
            let mut chosen: Vec<(Move, Trial)> = Vec::new();
            for (change, trial) in good {
                let apart = |other: &(Move, Trial)| trial.to < other.1.from || other.1.to < trial.from;
                if chosen.iter().all(apart) {
                    chosen.push((change, trial));
                }
            }
            let Some(better) = self.take(&base, &mut chosen, &mut trials, &mut simulated)? else {
                if chosen.is_empty() {
                    converged = true;
                    break;
                }
                continue;
            };
            improvements += chosen.len();
            // What was tried near a change has to be tried again.
            for (_, accepted) in &chosen {
                trials.retain(|m, t| t.to < accepted.from.saturating_sub(1) || m.from > accepted.to + 1);
            }
            base = better;
        }
        Ok(HindsightPlan {
            objective: base.score.objective(),
            plan: base.plan,
            first,
            converged,
            improvements,
            simulated,
        })
    }

    /// The base after the changes in `chosen`, or after the best half of them, and so on, if that helps in a whole run;
    /// what is left in `chosen` is what was done. A single change that turns out not to help is not tried again here.
    fn take(
        &self,
        base: &Base,
        chosen: &mut Vec<(Move, Trial)>,
        trials: &mut BTreeMap<Move, Trial>,
        simulated: &mut usize,
    ) -> Result<Option<Base>, RunError> {
        while !chosen.is_empty() {
            let mut plan = base.plan.clone();
            for (change, _) in chosen.iter() {
                change.apply(&mut plan, self.limits[change.pool]);
            }
            let from = chosen.iter().map(|(change, _)| change.from).min().unwrap_or(0);
            let better = self.base(plan, Some(base))?;
            *simulated += self.rollout.steps - from;
            if better.score.objective() < base.score.objective() - 1e-12 {
                return Ok(Some(better));
            }
            if let [(change, _)] = chosen.as_slice() {
                if let Some(trial) = trials.get_mut(change) {
                    trial.delta = 0.0;
                }
                return Ok(None);
            }
            chosen.truncate(chosen.len() / 2);
        }
        Ok(None)
    }
}
