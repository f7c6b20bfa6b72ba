//! What each choice would cost, said by somebody who knows the arrivals.
//!
//! Arrivals do not depend on actions (an exogenous-input decision process), so for every state that the policy gets into
//! the costs of all its choices can be computed with the future in hand, and not just that of the one it took (hindsight
//! learning, Sinclair et al., ICML 2023). On the fluid model of [`kisim::oracle::Fluid`]: what the choice does until the
//! pods it asks for are ready, played out; from there, the cost to go of a dynamic program over (ready pods, backlog),
//! solved once an episode. The teacher knows more than any policy can, so what it says is a start and no optimum.

use kisim::oracle::Fluid;

/// Backlogs told apart; between them costs are interpolated.
const LEVELS: usize = 12;

/// Parts of a control step.
pub const BINS: usize = 4;

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

/// Costs to go of an episode.
#[derive(Clone, Debug)]
pub struct Teacher {
    fluid: Fluid,
    prices: Prices,
    /// Arrivals by bin.
    arrivals: Vec<f64>,
    bin_s: f64,
    lead: usize,
    largest: f64,
    /// By step, pods and level of backlog, row-major: with any number of pods from that step on, had they been asked for
    /// in time.
    to_go: Vec<f64>,
    /// The same with at most that many pods in that step: more would have to be asked for already.
    kept: Vec<f64>,
    pods: usize,
}

impl Teacher {
    /// Solves an episode: `arrivals` in bins of `bin_s` seconds, [`BINS`] a step; a pod asked for serves after `lead`
    /// steps; at least `min` pods.
    pub fn new(fluid: Fluid, prices: Prices, arrivals: Vec<f64>, bin_s: f64, lead: usize, min: u32) -> Teacher {
        let pods = fluid.most() as usize + 1;
        let steps = arrivals.len() / BINS;
        // What arrives in some forty steps at most: more is not told apart.
        let largest = (arrivals.iter().sum::<f64>()).min(fluid.rate(fluid.most()) * bin_s * BINS as f64 * 8.0).max(1.0);
        let mut teacher = Teacher {
            fluid,
            prices,
            arrivals,
            bin_s,
            lead: lead.max(1),
            largest,
            to_go: vec![0.0; (steps + 1) * pods * LEVELS],
            kept: vec![0.0; (steps + 1) * pods * LEVELS],
            pods,
        };
        teacher.solve(steps, min as usize);
        teacher
    }

    /// Steps of a cold start.
    pub fn lead(&self) -> usize {
        self.lead
    }

    fn level(&self, index: usize) -> f64 {
        self.largest * (index as f64 / (LEVELS - 1) as f64).powi(2)
    }

    /// An entry of `table` for the start of `step` with `pods` ready pods and a backlog.
    fn value(&self, table: &[f64], step: usize, pods: u32, backlog: f64) -> f64 {
        let row = (step.min(self.arrivals.len() / BINS) * self.pods + (pods as usize).min(self.pods - 1)) * LEVELS;
        let place = (backlog / self.largest).clamp(0.0, 1.0).sqrt() * (LEVELS - 1) as f64;
        let low = (place as usize).min(LEVELS - 2);
        let (below, above) = (self.level(low), self.level(low + 1));
        let share = ((backlog - below) / (above - below)).clamp(0.0, 1.0);
        table[row + low] * (1.0 - share) + table[row + low + 1] * share
    }

    /// What a step costs with `pods` ready pods, without their price, and the backlog after.
    fn play(&self, step: usize, pods: u32, backlog: f64) -> (f64, f64) {
        let (mut held, mut late) = (backlog, 0.0);
        let bins = self.arrivals.get(step * BINS..(step + 1) * BINS).unwrap_or_default();
        for &count in bins {
            let (next, missed) = self.fluid.step(held, count, pods, self.bin_s);
            held = next;
            late += missed;
        }
        (self.prices.late * late, held)
    }

    fn solve(&mut self, steps: usize, min: usize) {
        let (pods, lead) = (self.pods, self.lead as f64);
        let up = lead * self.prices.pod_step + self.prices.churn;
        let mut stay = vec![0.0; pods * LEVELS];
        for step in (0..steps).rev() {
            for number in 0..pods {
                for level in 0..LEVELS {
                    let (cost, held) = self.play(step, number as u32, self.level(level));
                    stay[number * LEVELS + level] = cost
                        + self.prices.pod_step * number as f64
                        + self.value(&self.to_go, step + 1, number as u32, held);
                }
            }
            // The cheapest number from each: prices are linear in the change, so two sweeps find it.
            let row = step * pods * LEVELS;
            for level in 0..LEVELS {
                let mut best = f64::INFINITY;
                for number in (0..pods).rev() {
                    if number >= min {
                        best = best.min(stay[number * LEVELS + level]);
                    }
                    self.to_go[row + number * LEVELS + level] = best;
                    best += up;
                }
                let mut best = f64::INFINITY;
                for number in 0..pods {
                    if number >= min {
                        best = best.min(stay[number * LEVELS + level]);
                    }
                    let cell = row + number * LEVELS + level;
                    // Fewer than the least there are only where nobody asked for more in time.
                    self.kept[cell] = if number < min { stay[number * LEVELS + level] } else { best };
                    self.to_go[cell] = self.to_go[cell].min(best);
                    best += self.prices.churn;
                }
            }
        }
    }

    /// What it costs from here to have asked for each number of pods in `targets`, into `costs`, less the least of them.
    pub fn costs(&self, state: &State<'_>, targets: &[u32], allowed: &[bool], costs: &mut [f32]) {
        let ready = |step: usize| state.ready[step.min(state.ready.len() - 1)];
        let price = self.prices;
        // By number of pods: several choices may mean the same.
        let mut known: Vec<Option<f64>> = vec![None; self.pods];
        // What comes after the first step, having dropped to some number, from a backlog.
        let after = |pods: u32, from: u32, backlog: f64| {
            let (mut cost, mut held) = (price.churn * f64::from(from - pods), backlog);
            for ahead in 1..self.lead {
                let (late, next) = self.play(state.step + ahead, pods.min(ready(ahead)), held);
                cost += late + price.pod_step * f64::from(pods);
                held = next;
            }
            cost + self.value(&self.kept, state.step + self.lead, pods, held)
        };
        let mut least = f64::INFINITY;
        for ((&target, &allowed), cost) in targets.iter().zip(allowed).zip(costs.iter_mut()) {
            if !allowed {
                *cost = 0.0;
                continue;
            }
            let index = (target as usize).min(self.pods - 1);
            let total = match known[index] {
                Some(total) => total,
                None => {
                    let (late, held) = self.play(state.step, target.min(ready(0)), state.backlog);
                    // From the next step on it may be fewer; more would come too late to matter before the lead is over.
                    let mut rest = f64::INFINITY;
                    for fewer in (0..=target).rev() {
                        let own = after(fewer, target, held);
                        if own > rest + 2.0 * price.pod_step * self.lead as f64 {
                            break;
                        }
                        rest = rest.min(own);
                    }
                    let changed = f64::from(target.abs_diff(state.desired));
                    let total = late + price.pod_step * f64::from(target) + price.churn * changed + rest;
                    known[index] = Some(total);
                    total
                }
            };
            *cost = total as f32;
            least = least.min(total);
        }
        for (cost, _) in costs.iter_mut().zip(allowed).filter(|(_, allowed)| **allowed) {
            *cost -= least as f32;
        }
    }

    /// Cost to go of the state, for the critic.
    pub fn outlook(&self, state: &State<'_>) -> f64 {
        self.value(&self.kept, state.step, state.ready[0], state.backlog)
    }

    /// What a step of the first `steps` costs on average, at best, from the number of pods that begins best.
    pub fn at_best(&self, steps: usize) -> f64 {
        let from = |step| {
            (0..self.pods as u32).map(|pods| self.value(&self.to_go, step, pods, 0.0)).fold(f64::INFINITY, f64::min)
        };
        (from(0) - from(steps)).max(0.0) / steps.max(1) as f64
    }

    /// Arrivals of the step `ahead` of `step`.
    pub fn arrivals(&self, step: usize) -> f64 {
        self.arrivals.get(step * BINS..(step + 1) * BINS).map_or(0.0, |bins| bins.iter().sum())
    }
}
