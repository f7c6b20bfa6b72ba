//! What each choice would cost, said by somebody who knows the arrivals.
//!
//! Arrivals do not depend on actions (an exogenous-input decision process), so for every state that the policy gets into
//! the costs of all its choices can be computed on the arrivals that came, and not just that of the one it took
//! (hindsight learning, Sinclair et al., ICML 2023). A plan that knew the arrivals would need no reserve, and whoever
//! imitates it learns to keep none. So what follows a choice is no such plan: it is played on as a policy that knows
//! nothing would, which goes on wanting the same multiple of the anchor. What the teacher says is then, in the mean over
//! all that may come, what the choice is worth to whoever sticks to it: one step of policy improvement by rollouts
//! (Bertsekas), of all choices, on the same arrivals.

use crate::facts::Facts;

/// Parts of a control step.
pub const BINS: usize = 5;

/// Steps that are played on.
const HORIZON: usize = 40;

/// Factor on what comes a step later.
const DISCOUNT: f64 = 0.97;

/// What things cost, in units of the reward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// A request that breaks the objective.
    pub late: f64,
    /// A pod for a control step.
    pub pod_step: f64,
    /// A pod added or removed.
    pub churn: f64,
}

/// The state in which a choice is made.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// Control steps that are over.
    pub step: usize,
    /// Pods asked for.
    pub desired: u32,
    /// Pods ready, now and at the end of each of the next steps, were nothing asked for.
    pub ready: &'a [u32],
    /// Requests that wait.
    pub backlog: f64,
}

/// Plays choices on.
#[derive(Clone, Debug)]
pub struct Teacher {
    facts: Facts,
    prices: Prices,
    /// Arrivals by bin.
    arrivals: Vec<f64>,
    /// Of each step: its arrivals, and those of its fullest bin.
    totals: Vec<(f64, f64)>,
    /// The anchor after each step.
    anchors: Vec<f64>,
    lead: usize,
    limits: (u32, u32),
    /// Scratch: pods asked for, by step ahead.
    asked: [u32; HORIZON],
}

impl Teacher {
    /// Of an episode: `arrivals` in bins, [`BINS`] a step; the `anchors` of [`ScaleFree::recall`](crate::scale_free::ScaleFree::recall).
    pub fn new(facts: Facts, prices: Prices, arrivals: Vec<f64>, anchors: Vec<f64>, limits: (u32, u32)) -> Teacher {
        let lead = (facts.lead_steps().round() as usize).clamp(1, 8);
        let total = |bins: &[f64]| (bins.iter().sum(), bins.iter().copied().fold(0.0, f64::max));
        let totals = arrivals.chunks_exact(BINS).map(total).collect();
        Teacher { facts, prices, arrivals, totals, anchors, lead, limits, asked: [0; HORIZON] }
    }

    /// Steps of a cold start.
    pub fn lead(&self) -> usize {
        self.lead
    }

    /// What it costs from here, discounted, to want `load` now and the same multiple of the anchor after; the mean of a
    /// step, by the discounted number of steps.
    pub fn cost(&mut self, state: &State<'_>, load: f64) -> f64 {
        let Teacher { facts, prices, arrivals, totals, anchors, lead, limits, asked } = self;
        let steps = totals.len().saturating_sub(state.step).min(HORIZON);
        let anchor = |step: usize| anchors.get(step.saturating_sub(1)).or(anchors.last()).copied().unwrap_or(load);
        let factor = load / anchor(state.step).max(1e-9);
        let (mut before, mut backlog) = (state.desired, state.backlog);
        let (mut cost, mut weight, mut discount) = (0.0, 0.0, 1.0);
        let mut known = (f64::NAN, 0);
        for ahead in 0..steps {
            let wanted = factor * anchor(state.step + ahead);
            if wanted != known.0 {
                known = (wanted, facts.pods_for(wanted).clamp(limits.0, limits.1));
            }
            let pods = known.1;
            asked[ahead] = pods;
            // A pod serves once it has been wanted for a cold start.
            let mut ready = asked[ahead.saturating_sub(*lead)..=ahead].iter().copied().min().unwrap_or(pods);
            if ahead < *lead {
                ready = ready.min(state.ready[ahead.min(state.ready.len() - 1)]);
            }
            let (mut late, bin_s) = (0.0, facts.step_s / BINS as f64);
            let (arrived, peak) = totals[state.step + ahead];
            // Most of the time nothing waits and there is room for the fullest bin, which is quickly said.
            if backlog > 0.0 || peak > facts.fluid.rate(ready) * bin_s {
                for &count in &arrivals[(state.step + ahead) * BINS..][..BINS] {
                    let (held, missed) = facts.fluid.step(backlog, count, ready, bin_s);
                    backlog = held;
                    late += missed;
                }
            }
            let usual = facts.late_share(ready, arrived / facts.step_s / facts.saturation) * arrived;
            cost += discount
                * (prices.late * late.max(usual)
                    + prices.pod_step * f64::from(pods)
                    + prices.churn * f64::from(pods.abs_diff(before)));
            weight += discount;
            discount *= DISCOUNT;
            before = pods;
        }
        if weight > 0.0 { cost / weight } else { 0.0 }
    }

    /// The costs of wanting each of `loads`, into `costs`, less the least of those `allowed`.
    pub fn costs(&mut self, state: &State<'_>, loads: &[f64], allowed: &[bool], costs: &mut [f32]) {
        let mut least = f64::INFINITY;
        for ((&load, &allowed), cost) in loads.iter().zip(allowed).zip(costs.iter_mut()) {
            let own = if allowed { self.cost(state, load) } else { f64::INFINITY };
            *cost = own as f32;
            least = least.min(own);
        }
        for (cost, &allowed) in costs.iter_mut().zip(allowed) {
            *cost = if allowed { *cost - least as f32 } else { 0.0 };
        }
    }

    /// What a step costs whoever follows the anchors from the start, with `initial` pods.
    pub fn follower(&mut self, initial: u32, steps: usize) -> f64 {
        let ready = [initial];
        let mut sum = 0.0;
        let stretches = steps.div_ceil(HORIZON).max(1);
        for stretch in 0..stretches {
            let step = stretch * HORIZON + 1;
            let load = self.anchors.get(step - 1).copied().unwrap_or(1.0);
            let pods =
                if stretch == 0 { initial } else { self.facts.pods_for(load).clamp(self.limits.0, self.limits.1) };
            let ready = if stretch == 0 { ready } else { [pods] };
            sum += self.cost(&State { step, desired: pods, ready: &ready, backlog: 0.0 }, load);
        }
        sum / stretches as f64
    }

    /// Arrivals of the step `ahead` of `step`.
    pub fn arrivals(&self, step: usize) -> f64 {
        self.totals.get(step).map_or(0.0, |&(arrived, _)| arrived)
    }
}
