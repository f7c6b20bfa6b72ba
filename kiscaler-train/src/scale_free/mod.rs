//! Our observation and action: everything a ratio, so that one policy serves other models, GPUs and rates.
//!
//! Load is in saturated pods: requests a second over what saturates one pod of the calibrated profile. The series of it
//! is kept; features are logarithms of its past, of forecasts and of what pods take, all relative to its level now.
//! Actions are factors on an anchor, which is what the best of many rules wants that are played in shadow: a policy that
//! knows nothing is right where a rule is.

mod action;
mod council;
mod demand;
mod features;
mod pipeline;

use kisim::control::{Decision, Verdict, View};
use kisim::prepared::Prepared;

use crate::facts::Facts;
pub use action::{AT_ANCHOR, BRIDGE, CHANGES, Design, FACTORS, HEADS, PLACEMENTS};
use action::{Choices, Why};
use council::Council;
use demand::Demand;
use features::Features;
use pipeline::Pipeline;

/// The version of what features mean. Raised whenever one changes.
pub const VERSION: u32 = 4;

/// Watches a run and says what a policy is to see, and what its choices mean.
#[derive(Clone, Debug)]
pub struct ScaleFree {
    design: Design,
    facts: Facts,
    demand: Demand,
    council: Council,
    pipeline: Pipeline,
    features: Features,
    choices: Choices,
    ready_to_act: bool,
}

impl ScaleFree {
    /// For runs of a scenario.
    pub fn new(prepared: &Prepared, facts: Facts) -> Self {
        ScaleFree::designed(prepared, facts, Design::default())
    }

    /// The same, with choices of another design.
    pub fn designed(prepared: &Prepared, facts: Facts, design: Design) -> Self {
        let initial = prepared.pools[facts.pool].config.initial_replicas;
        ScaleFree {
            design,
            demand: Demand::new(&facts),
            council: Council::new(&facts, initial, design != Design::Forecast),
            pipeline: Pipeline::new(initial),
            features: Features::new(),
            choices: Choices::new(),
            ready_to_act: false,
            facts,
        }
    }

    /// Takes in loads that were seen before, as whoever followed the anchors would have seen them, and returns the anchor
    /// after each step, in saturated pods. `bins` are the requests of each part of a step, `parts` of them a step.
    pub fn recall(&mut self, bins: &[f64], parts: usize, limits: (u32, u32)) -> Vec<f64> {
        let facts = &self.facts;
        let lead = (facts.lead_steps().round() as usize).max(1);
        let mut asked = vec![self.pipeline.desired(); lead + 1];
        let mut backlog = 0.0;
        let step = |bins: &[f64]| {
            let ready = asked[asked.len() - lead - 1..].iter().copied().min().unwrap_or(0);
            let (mut arrived, mut late) = (0.0, 0.0);
            for &count in bins {
                let (held, missed) = facts.fluid.step(backlog, count, ready, facts.step_s / parts as f64);
                backlog = held;
                late += missed;
                arrived += count;
            }
            let load = arrived / facts.step_s / facts.saturation;
            self.demand.take(Some(load));
            self.demand.note_late((late / arrived.max(1e-9)).max(facts.late_share(ready, load)).min(1.0));
            self.council.observe(facts, &self.demand, ready, limits);
            let anchor = self.council.load();
            asked.push(facts.pods_for(anchor).clamp(limits.0, limits.1));
            anchor
        };
        bins.chunks_exact(parts).map(step).collect()
    }

    /// The same with the limits of `prepared`, a run of which begins then.
    pub(crate) fn recall_all(&mut self, bins: &[f64], parts: usize, prepared: &Prepared) {
        let pool = &prepared.pools[self.facts.pool].config;
        self.recall(bins, parts, (pool.limits.min_replicas, pool.limits.max_replicas));
        self.begin_again(pool.initial_replicas);
    }

    /// Begins another run of the same service with `initial` pods: what was learnt of its load is kept, what was known of
    /// its pods is not.
    pub fn begin_again(&mut self, initial: u32) {
        self.pipeline = Pipeline::new(initial);
        self.demand.begin_again();
        self.council.begin_again(initial);
        self.ready_to_act = false;
    }

    /// Names of the features, in order.
    pub fn names() -> Vec<String> {
        features::names()
    }

    /// What it knows of the service.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes in what there is to see at a decision. Without data, the only choice left is to keep what there is.
    pub fn observe(&mut self, view: &View<'_>) {
        let pool = &view.pools[self.facts.pool];
        self.pipeline.observe(view.now, pool.counts.desired, pool.counts.ready);
        self.ready_to_act = self.demand.observe(view, &self.facts);
        let limits = (pool.limits.min_replicas, pool.limits.max_replicas);
        self.council.observe(&self.facts, &self.demand, pool.counts.ready, limits);
        let bridge = self.facts.bridge.map(|pool| &view.pools[pool]);
        self.choices.set(&self.facts, (pool, bridge), (self.design, self.council.load()), self.ready_to_act);
        self.features.set(&self.facts, &self.demand, &self.pipeline, view, &self.council);
    }

    /// Whether there were data at the last look.
    pub fn has_data(&self) -> bool {
        self.ready_to_act
    }

    /// The features at the last look.
    pub fn features(&self) -> &[f32] {
        self.features.values()
    }

    /// Which choices are allowed, head after head.
    pub fn mask(&self) -> &[bool] {
        self.choices.mask()
    }

    /// Replicas that each choice of the first head asks for.
    pub fn targets(&self) -> &[u32] {
        self.choices.targets()
    }

    /// Pods that should be ready now and at the start of each of the next `steps` steps, if nothing is asked for.
    pub fn outlook(&self, steps: usize, ready: &mut Vec<u32>) {
        let after = |step: usize| self.pipeline.ready_in(step as f64 * self.facts.step_s, self.facts.cold_start_s);
        ready.clear();
        ready.extend((0..=steps).map(after));
    }

    /// Loads that were seen, newest first, in saturated pods.
    pub fn loads(&self) -> impl Iterator<Item = f64> + '_ {
        self.demand.past()
    }

    /// The load now: of the last four steps, or the newest, whichever is higher, in saturated pods.
    pub fn level(&self) -> f64 {
        self.demand.level()
    }

    /// The anchor: the load that the leading rule wants to be able to take, in saturated pods.
    pub fn anchor(&self) -> f64 {
        self.council.load()
    }

    /// The load that a choice of the first head is to take, in saturated pods: by a factor on the anchor, or what its pods take.
    pub fn wanted(&self, choice: usize) -> f64 {
        match (choice.checked_sub(1), self.design) {
            (Some(factor), Design::Factors | Design::Forecast) => {
                FACTORS[factor.min(FACTORS.len() - 1)] * self.council.load()
            }
            (Some(_), Design::Changes) => self.facts.takes(self.choices.targets()[choice.min(HEADS[0] - 1)]),
            (None, _) => self.facts.takes(self.pipeline.desired()),
        }
    }

    /// The decision that `action` means.
    pub fn decide(&self, view: &View<'_>, action: &[u32]) -> Decision {
        if !self.ready_to_act {
            let hold = || Verdict::Hold { reason: "no data of the arrival rate yet".to_owned() };
            return Decision { pools: view.pools.iter().map(|_| hold()).collect(), placement: None };
        }
        let why = Why { design: self.design, demand: &self.demand, council: &self.council };
        self.choices.decision(&self.facts, view, action, why)
    }
}
