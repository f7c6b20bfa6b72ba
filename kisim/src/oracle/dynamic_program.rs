//! The best number of ready pods over time on the fluid model: dynamic programming over (pods, backlog).
//!
//! With the whole record known, a cold start is no uncertainty but a price: a pod that is to be ready in a step is asked
//! for a cold start earlier, and is paid for meanwhile. So the program runs over *ready* pods, each addition costs the
//! replica-seconds of its start, and the plan asks ahead.

use super::fluid::{Fluid, Weights};

/// Backlogs told apart; between them, the next higher one is assumed.
const LEVELS: usize = 24;

/// The problem.
pub(super) struct Problem<'a> {
    pub(super) fluid: &'a Fluid,
    pub(super) weights: Weights,
    /// Arrivals by bin, `bins` of them a step.
    pub(super) arrivals: &'a [f64],
    pub(super) bins: usize,
    pub(super) step_s: f64,
    /// Steps from the request for a pod until it serves.
    pub(super) lead: usize,
    pub(super) min: u32,
    pub(super) initial: u32,
}

/// Replicas to ask for at the beginning of each step; the first is the initial number.
pub(super) fn solve(problem: &Problem<'_>) -> Vec<u32> {
    let steps = problem.arrivals.len() / problem.bins.max(1);
    let ready = ready_pods(problem, steps);
    // Asked for when the start of any pod needed until a cold start from now is due.
    (0..steps)
        .map(|k| {
            let until = (k + problem.lead).min(steps - 1);
            if k == 0 { problem.initial } else { ready[k..=until].iter().copied().max().unwrap_or(problem.min) }
        })
        .collect()
}

fn ready_pods(problem: &Problem<'_>, steps: usize) -> Vec<u32> {
    let Problem { fluid, weights, arrivals, bins, step_s, lead, min, initial } = *problem;
    let most = fluid.most();
    let numbers = (most + 1) as usize;
    let bin_s = step_s / bins as f64;
    let largest = arrivals.iter().sum::<f64>().min(fluid.rate(most).max(1.0) * 600.0);
    let level = |i: usize| largest * (i as f64 / (LEVELS - 1) as f64).powi(2);
    let nearest = |backlog: f64| {
        let i = ((backlog / largest.max(1e-9)).clamp(0.0, 1.0).sqrt() * (LEVELS - 1) as f64).round() as usize;
        // A trace of a backlog is none.
        if backlog < 0.5 { 0 } else { i.clamp(1, LEVELS - 1) }
    };
    let cell = |pods: usize, backlog: usize| pods * LEVELS + backlog;
    // What is still to come, and what to do, by pods and backlog at the start of each step.
    let mut to_come = vec![0.0f64; numbers * LEVELS];
    let mut choices = vec![0u16; steps * numbers * LEVELS];
    let mut after = vec![(0.0f64, 0usize); numbers * LEVELS];
    for k in (0..steps).rev() {
        let inside = &arrivals[k * bins..(k + 1) * bins];
        // Nothing asked for at the end of the first step is ready before a cold start is over.
        let reachable = if k <= lead { initial.min(most) } else { most };
        for pods in min..=reachable {
            for backlog in 0..LEVELS {
                let (mut held, mut late) = (level(backlog), 0.0);
                for &count in inside {
                    let (next, missed) = fluid.step(held, count, pods, bin_s);
                    held = next;
                    late += missed;
                }
                let cost = weights.violation * late + weights.replica_second * step_s * f64::from(pods);
                after[cell(pods as usize, backlog)] = (cost, nearest(held));
            }
        }
        let mut now = vec![f64::INFINITY; numbers * LEVELS];
        for before in 0..numbers {
            for backlog in 0..LEVELS {
                let mut best = (f64::INFINITY, min);
                for pods in min..=reachable {
                    let (cost, held) = after[cell(pods as usize, backlog)];
                    let change = f64::from(pods) - before as f64;
                    let started = change.max(0.0) * weights.replica_second * step_s * lead as f64;
                    let total = cost + started + weights.churn * change.abs() + to_come[cell(pods as usize, held)];
                    if total < best.0 {
                        best = (total, pods);
                    }
                }
                now[cell(before, backlog)] = best.0;
                choices[k * numbers * LEVELS + cell(before, backlog)] = best.1 as u16;
            }
        }
        to_come = now;
    }
    let (mut pods, mut held) = (initial.min(most), 0.0);
    (0..steps)
        .map(|k| {
            pods = u32::from(choices[k * numbers * LEVELS + cell(pods as usize, nearest(held))]);
            for &count in &arrivals[k * bins..(k + 1) * bins] {
                held = fluid.step(held, count, pods, bin_s).0;
            }
            pods
        })
        .collect()
}
