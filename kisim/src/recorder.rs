//! The figures of a run, kept as it goes: a row a scrape, the books of control steps, and the summary at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::View;
use crate::ledger::{Ledger, RequestRecord};
use crate::objective::{Judge, Reward, RewardMean};
use crate::oracle::Plan;
use crate::prepared::Prepared;
use crate::report::{
    LatencySummary, LittlesLaw, PoolRow, PoolSummary, QueueSummary, Requests, Row, SloSummary, Summary,
};
use crate::run::{DecisionRecord, Keep, Run};
use crate::simulation::Simulation;
use crate::steps::StepBooks;
use crate::time::SimTime;
use crate::window::Window;

/// Keeps the figures of a run.
pub(crate) struct Recorder {
    prepared: Arc<Prepared>,
    keep: Keep,
    books: StepBooks,
    rewards: RewardMean,
    last_reward: Reward,
    /// The books at the last row.
    row_ledger: Ledger,
    row_at: f64,
    row_busy: Vec<(u128, u128)>,
    started: Started,
    in_flight_sum: f64,
    in_flight_samples: u64,
    rows: Vec<Row>,
    pub(crate) requests: Vec<RequestRecord>,
    decisions: Vec<DecisionRecord>,
    /// What was last asked for, by pool.
    pub(crate) wanted: Vec<u32>,
    plan: Plan,
    pub(crate) on_steps: bool,
}

/// Meters at the end of the warm-up.
#[derive(Clone, Debug, Default)]
struct Started {
    at: f64,
    retried: u64,
    pools: Vec<(u128, u128, u128, u64)>,
}

impl Recorder {
    pub(crate) fn new(
        prepared: &Arc<Prepared>,
        simulation: &Simulation,
        reference: Option<(f64, f64)>,
        keep: Keep,
    ) -> Self {
        let scenario = &prepared.scenario;
        let mut recorder = Recorder {
            prepared: Arc::clone(prepared),
            keep,
            books: StepBooks::new(
                Judge::new(scenario.objective.clone(), scenario.published_pattern(), reference),
                simulation,
            ),
            rewards: RewardMean::new(&scenario.objective),
            last_reward: Reward::default(),
            row_ledger: Ledger::default(),
            row_at: 0.0,
            row_busy: vec![(0, 0); prepared.pools.len()],
            started: Started::default(),
            in_flight_sum: 0.0,
            in_flight_samples: 0,
            rows: Vec::new(),
            requests: Vec::new(),
            decisions: Vec::new(),
            wanted: prepared.pools.iter().map(|p| p.config.initial_replicas).collect(),
            plan: Plan { replicas: Vec::new() },
            on_steps: true,
        };
        recorder.restart(simulation);
        recorder
    }

    pub(crate) fn restart(&mut self, simulation: &Simulation) {
        let pools = 0..self.prepared.pools.len();
        self.started = Started {
            at: simulation.now().as_secs_f64(),
            retried: simulation.retried(),
            pools: pools
                .clone()
                .map(|p| {
                    let meter = simulation.meter(p);
                    (meter.bound_ns, meter.serving_ns, simulation.busy_ns(p), meter.churn)
                })
                .collect(),
        };
        self.rewards = RewardMean::new(&self.prepared.scenario.objective);
        self.in_flight_sum = 0.0;
        self.in_flight_samples = 0;
        self.rows.clear();
        self.requests.clear();
        self.decisions.clear();
        self.books.restart(simulation);
        self.row_ledger.copy_from(&simulation.fleet().sink.ledger);
        self.row_at = self.started.at;
        self.row_busy = pools.map(|p| (simulation.busy_ns(p), simulation.meter(p).serving_ns)).collect();
    }

    /// Notes what was asked for in the control step that ends now.
    pub(crate) fn planned(&mut self) {
        if self.keep.plan {
            self.plan.replicas.push(self.wanted.clone());
        }
    }

    /// Books the control step that ends now.
    pub(crate) fn step(&mut self, simulation: &Simulation, window: &Window) {
        let now = simulation.now();
        let cpu = window.highest_cpu(self.prepared.pools.len(), now);
        if let Some(outcome) = self.books.step(simulation, cpu) {
            self.rewards.add(&outcome);
            self.last_reward = outcome.reward;
        }
    }

    pub(crate) fn decided(
        &mut self,
        view: &View<'_>,
        pool: usize,
        before: u32,
        after: u32,
        reason: std::fmt::Arguments<'_>,
    ) {
        if self.keep.decisions {
            self.decisions.push(DecisionRecord {
                at: view.now.as_secs_f64(),
                pool: view.pools[pool].name.clone(),
                before,
                after,
                reason: reason.to_string(),
            });
        }
    }

    /// Somebody outside set replicas.
    pub(crate) fn set_from_outside(&mut self, now: SimTime, pool: usize, before: u32, after: u32, reason: &str) {
        if self.keep.decisions {
            let (at, pool) = (now.as_secs_f64(), self.prepared.pools[pool].name.clone());
            self.decisions.push(DecisionRecord { at, pool, before, after, reason: reason.to_owned() });
        }
    }

    /// A row of the timeline, about the time since the last.
    pub(crate) fn row(&mut self, simulation: &Simulation) {
        let now = simulation.now().as_secs_f64();
        let seconds = now - self.row_at;
        if seconds <= 0.0 {
            return;
        }
        let in_flight = simulation.fleet().in_flight();
        self.in_flight_sum += in_flight as f64;
        self.in_flight_samples += 1;
        if !self.keep.timeline {
            self.row_at = now;
            return;
        }
        let ledger = &simulation.fleet().sink.ledger;
        let before = &self.row_ledger;
        let quantile = |q| ledger.latency.quantile_since(Some(&before.latency), q).map(|ns| ns * 1e-6);
        let mut capacity = 0.0;
        let mut pools = Vec::new();
        for (number, pool) in self.prepared.pools.iter().enumerate() {
            let counts = simulation.counts(number);
            let (queued, outstanding) = simulation.held(number);
            let (busy, serving) = (simulation.busy_ns(number), simulation.meter(number).serving_ns);
            let (busy_before, serving_before) = self.row_busy[number];
            self.row_busy[number] = (busy, serving);
            let served = (serving - serving_before) as f64;
            let speed = pool.setup.speed * pool.spec.instances_gain();
            let best = pool.spec.batcher.max_batch();
            let per_pod = best as f64 / (pool.spec.service_ns[best] * 1e-9) * speed;
            capacity += f64::from(counts.ready) * per_pod;
            pools.push(PoolRow {
                name: pool.name.clone(),
                desired: counts.desired,
                scheduled: counts.scheduled,
                ready: counts.ready,
                draining: counts.draining,
                queued: queued as u64,
                in_flight: outstanding as u64,
                utilization: (served > 0.0).then(|| (busy - busy_before) as f64 / served),
            });
        }
        let ended = ledger.ended() - before.ended();
        let violations = ledger.violations() - before.violations();
        let waiting = simulation.fleet().activator().map_or(0, |a| a.len() as u64);
        let row = Row {
            time_s: now,
            arrival_rate: (ledger.arrived - before.arrived) as f64 / seconds,
            completion_rate: (ledger.completed - before.completed) as f64 / seconds,
            capacity_rate: capacity,
            queued: waiting + pools.iter().map(|p| p.queued).sum::<u64>(),
            in_flight: waiting + pools.iter().map(|p| p.in_flight).sum::<u64>(),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            violations,
            violation_ratio: (ended > 0).then(|| violations as f64 / ended as f64),
            reward: self.last_reward.parts().iter().map(|&(n, v)| (n.to_owned(), v)).collect(),
            reward_total: self.last_reward.total(),
            nodes: simulation.cluster().node_count() as u32,
            pools,
        };
        self.rows.push(row);
        self.row_ledger.copy_from(ledger);
        self.row_at = now;
    }

    pub(crate) fn finish(self, simulation: &Simulation, autoscaler: String, seed: u64) -> Run {
        let ledger = &simulation.fleet().sink.ledger;
        let seconds = simulation.now().as_secs_f64() - self.started.at;
        let ms = |ns: Option<f64>| ns.map(|ns| ns * 1e-6);
        let in_flight_at_end = simulation.fleet().in_flight() as u64;
        let q = |q| ms(ledger.latency.quantile(q));
        let pools: BTreeMap<String, PoolSummary> = self
            .prepared
            .pools
            .iter()
            .enumerate()
            .map(|(number, pool)| {
                let meter = simulation.meter(number);
                let (bound0, serving0, busy0, churn0) = self.started.pools[number];
                let replica_seconds = (meter.bound_ns - bound0) as f64 * 1e-9;
                let serving = (meter.serving_ns - serving0) as f64;
                let busy = (simulation.busy_ns(number) - busy0) as f64;
                let summary = PoolSummary {
                    replicas_mean: replica_seconds / seconds,
                    replicas_max: meter.bound_max,
                    replica_seconds,
                    utilization: if serving > 0.0 { busy / serving } else { 0.0 },
                    cost: replica_seconds / 3600.0 * pool.price_per_hour,
                    churn: meter.churn - churn0,
                };
                (pool.name.clone(), summary)
            })
            .collect();
        // What is still held and already late has broken the objective, whatever becomes of it.
        let late_from = simulation.now().saturating_sub(self.prepared.scenario.slo.latency.0).as_nanos();
        let overdue = simulation.fleet().sent_before(late_from) as u64;
        let violated = ledger.violations() + overdue;
        let judged = ledger.ended() + overdue;
        let sampled = self.in_flight_sum / self.in_flight_samples.max(1) as f64;
        // Requests spend the overhead outside the servers: there they are not in flight.
        let overhead = self.prepared.pools.iter().map(|p| p.spec.overhead_ns).max().unwrap_or(0) as f64;
        let in_system = (ledger.latency.mean().unwrap_or(overhead) - overhead) * 1e-9;
        let summary = Summary {
            scenario: self.prepared.scenario.name.clone(),
            autoscaler,
            seed,
            duration_s: seconds,
            requests: Requests {
                arrived: ledger.arrived,
                completed: ledger.completed,
                queue_full: ledger.queue_full,
                timed_out: ledger.timed_out,
                killed: ledger.killed,
                unserved: ledger.no_endpoint + in_flight_at_end,
                no_endpoint: ledger.no_endpoint,
                in_flight_at_end,
                retried: simulation.retried() - self.started.retried,
            },
            latency_ms: LatencySummary {
                mean: ms(ledger.latency.mean()),
                p50: q(0.5),
                p90: q(0.9),
                p95: q(0.95),
                p99: q(0.99),
                p999: q(0.999),
                max: ms(ledger.latency.max().map(|m| m as f64)),
            },
            queue_ms: QueueSummary {
                mean: ms(ledger.queue.mean()),
                p95: ms(ledger.queue.quantile(0.95)),
                share_waiting: ledger.queue.share_of_zero().map(|zero| 1.0 - zero),
            },
            slo: SloSummary {
                objective_ms: self.prepared.scenario.slo.latency.as_secs_f64() * 1e3,
                violation_ratio: if judged == 0 { 0.0 } else { violated as f64 / judged as f64 },
                violations: violated,
            },
            cost: pools.values().map(|p| p.cost).sum(),
            churn: pools.values().map(|p| p.churn).sum(),
            pools,
            reward: self.rewards.means(overdue),
            littles_law: LittlesLaw {
                mean_in_flight_sampled: sampled,
                rate_times_time: ledger.completed as f64 / seconds * in_system,
            },
        };
        let mut requests = self.requests;
        requests.sort_by_key(|r| (r.sent, r.tag, r.finished));
        Run { summary, rows: self.rows, requests, decisions: self.decisions, plan: self.plan, on_steps: self.on_steps }
    }
}
