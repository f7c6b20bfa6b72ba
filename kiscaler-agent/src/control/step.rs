//! One decision after the other.

use std::sync::Arc;
use std::time::Duration;

use kisim::cluster::Phase;
use kisim::control::{Decision, PodView, PoolView, Verdict, View};
use kisim::prepared::Prepared;
use kisim::telemetry::Scrape;
use kisim::time::SimTime;
use kisim::window::Window;

use super::gate::{Gate, Limited};
use super::health::{Health, HealthRules};
use super::reason::Reason;
use crate::api::KIScalerSpec;
use crate::metrics::Found;
use crate::plan::{Decider, Observation, Plan};

/// The guards of a loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// What metrics must be like; none where nobody goes by metrics.
    pub health: Option<HealthRules>,
    /// Whether what training never saw is left to the fallback.
    pub in_distribution: bool,
    /// Whether a decrease waits until pods of the last one are gone.
    pub wait_for_draining: bool,
}

impl Rules {
    /// Those of a spec.
    pub fn of(spec: &KIScalerSpec, needs_metrics: bool) -> Rules {
        let safety = &spec.safety;
        let health = HealthRules {
            warm_up: safety.warm_up.duration(),
            stale_after: safety.stale_after.duration(),
            coverage: safety.coverage,
        };
        Rules {
            health: needs_metrics.then_some(health),
            in_distribution: true,
            wait_for_draining: safety.wait_for_draining,
        }
    }

    /// None: what a simulation runs with.
    pub const NONE: Rules = Rules { health: None, in_distribution: false, wait_for_draining: false };
}

/// Why nothing may be changed, whatever the numbers say: found outside the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// In one word.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// What a decision is made of.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// When.
    pub now: SimTime,
    /// What became visible since the last decision.
    pub scrape: Scrape,
    /// Pools, by number.
    pub pools: Vec<PoolView>,
    /// Pods, in order of creation.
    pub pods: Vec<PodView>,
    /// Why nothing may be changed.
    pub obstacle: Option<Obstacle>,
    /// Requests of each step before, the earliest first, where the policy was told of them just before this decision.
    pub recalled: Vec<f64>,
}

/// What was decided for a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOutcome {
    /// Its name.
    pub name: String,
    /// Replicas that are asked for now.
    pub current: u32,
    /// Ready pods.
    pub ready: u32,
    /// What whoever decides wants, before the limits; `None` where it holds.
    pub wanted: Option<u32>,
    /// What is to be set: within the limits, and the current number where the decision holds.
    pub target: u32,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// When.
    pub at: SimTime,
    /// By pool.
    pub pools: Vec<PoolOutcome>,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// The feature that training never saw with this value, if there is one.
    pub unseen: Option<String>,
    /// What is wrong with the metrics, if anything.
    pub metrics: Option<(Reason, String)>,
    /// Age of the newest sample.
    pub age: Option<Duration>,
}

impl Outcome {
    /// Whether nothing is to be changed for want of somebody who may say so.
    pub fn holds(&self) -> bool {
        let nobody = self.reason == Reason::OutOfDistribution && self.pools.iter().all(|pool| pool.wanted.is_none());
        self.reason.holds() || nobody
    }

    /// Whether anything is to be set.
    pub fn changes(&self) -> bool {
        self.pools.iter().any(|pool| pool.target != pool.current)
    }
}

/// One KIScaler's decisions. Time is an argument; state is what was seen and decided before.
#[derive(Debug)]
pub struct Loop {
    prepared: Arc<Prepared>,
    window: Window,
    decider: Decider,
    fallback: Option<Decider>,
    gates: Vec<Gate>,
    health: Option<Health>,
    rules: Rules,
    last: Option<SimTime>,
    /// What was wrong with the metrics of the last round.
    found: Vec<Found>,
}

impl Loop {
    /// A loop that decides by `plan` within `gates`, one a pool, under `rules`.
    pub fn new(plan: Plan, gates: Vec<Gate>, rules: Rules) -> Self {
        let Plan { prepared, decider, fallback, .. } = plan;
        let telemetry = &prepared.scenario.telemetry;
        let history = decider.history().max(fallback.as_ref().map_or(Duration::ZERO, Decider::history));
        // As a simulation's window: ten minutes, and whatever the range needs with a few missing scrapes.
        let retention = Duration::from_secs(600).max(4 * telemetry.window.0).max(2 * history);
        Loop {
            window: Window::new(retention, &prepared.bounds),
            health: rules.health.map(Health::new),
            prepared,
            decider,
            fallback,
            gates,
            rules,
            last: None,
            found: Vec::new(),
        }
    }

    /// Who decides.
    pub fn decider(&self) -> &Decider {
        &self.decider
    }

    /// What decisions are made of.
    pub fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }

    /// Takes over what another loop of the same pools saw.
    pub fn inherit(&mut self, before: Loop) {
        self.window = before.window;
        self.last = before.last;
        if let (Some(own), Some(before)) = (&mut self.health, before.health) {
            own.inherit(before);
        }
    }

    /// Lets `recalling`, who remembers a past, decide from now on, when there are `pools`. What its predecessor saw of
    /// pods that are on their way is forgotten.
    pub fn recall(&mut self, mut recalling: Decider, pools: &[PoolView]) {
        if let Some(pool) = pools.get(self.prepared.primary_pool()) {
            recalling.begin_again(pool.counts.desired);
        }
        self.decider = recalling;
    }

    /// Notes what was wrong with metrics, for the sentence about a hold.
    pub fn note_findings(&mut self, found: Vec<Found>) {
        self.found = found;
    }

    /// What the policy saw at the last decision.
    pub fn observation(&self) -> Option<Observation<'_>> {
        self.decider.observation()
    }

    /// Decides. Every number in the outcome has passed the gate of its pool, last.
    pub fn step(&mut self, inputs: &Inputs) -> Outcome {
        let now = inputs.now;
        if let Some(last) = self.last.filter(|last| now <= *last) {
            let back = last.since(now).as_secs_f64();
            let message = format!("the clock went back by {back:.1} s; waiting until it is where it was");
            return self.held(inputs, Reason::ClockStepped, message);
        }
        self.last = Some(now);
        self.window.push(&inputs.scrape, now);
        if let Some(health) = &mut self.health {
            health.push(&inputs.scrape);
        }
        let view = View {
            now,
            window: &self.window,
            range: self.prepared.scenario.telemetry.window.0,
            pools: &inputs.pools,
            pods: &inputs.pods,
        };
        // Both are asked every time, whoever is listened to: what they remember has no gaps.
        let decided = self.decider.decide(&view);
        let instead = self.fallback.as_mut().map(|fallback| (fallback.name(), fallback.decide(&view)));

        let metrics = self.health.as_ref().and_then(|health| health.problem(&inputs.pods, now));
        let seen = self.decider.observation().filter(|_| self.rules.in_distribution);
        // Without metrics, what the policy saw says nothing about distributions.
        let unseen = seen.filter(|_| metrics.is_none()).and_then(|o| o.unseen()).map(|(name, value, (low, high))| {
            format!("feature {name} is {value:.4}, between {low:.4} and {high:.4} in training")
        });
        let disabled = inputs.pools.iter().find(|pool| pool.counts.desired == 0 && pool.limits.min_replicas > 0);

        let mut outcome = if let Some(Obstacle { reason, message }) = &inputs.obstacle {
            self.shown(inputs, &decided, *reason, message.clone())
        } else if let Some(pool) = disabled {
            let message = format!("the replicas of pool {} were set to 0 by somebody else", pool.name);
            self.held(inputs, Reason::Disabled, message)
        } else if let Some((reason, message)) = metrics.clone() {
            let detail = self.found.first().map_or(String::new(), |found| match found.pod.as_str() {
                "" => format!("; {}", found.detail),
                pod => format!("; {pod}: {}", found.detail),
            });
            self.held(inputs, reason, message + &detail)
        } else if let Some(what) = &unseen {
            match &instead {
                Some((name, decision)) => {
                    let reason = (Reason::OutOfDistribution, format!("{what}; {name} decides"));
                    self.act(inputs, decision, Some(reason))
                }
                None => self.held(inputs, Reason::OutOfDistribution, format!("{what}; holding")),
            }
        } else {
            self.act(inputs, &decided, None)
        };
        outcome.unseen = unseen;
        outcome.metrics = metrics;
        outcome.age = self.health.as_ref().and_then(|health| health.age(now));
        outcome
    }

    /// Notes that the replicas of a pool were changed as the loop wanted.
    pub fn changed(&mut self, pool: usize, now: SimTime, from: u32, to: u32) {
        if let Some(gate) = self.gates.get_mut(pool) {
            gate.changed(now, from, to);
        }
    }

    /// Carries `decision` through the gates; `because` overrides the word for it.
    fn act(&mut self, inputs: &Inputs, decision: &Decision, because: Option<(Reason, String)>) -> Outcome {
        let mut words = Vec::new();
        let mut draining = false;
        let mut pools = Vec::with_capacity(inputs.pools.len());
        for (number, pool) in inputs.pools.iter().enumerate() {
            let current = pool.counts.desired;
            let verdict = decision.pools.get(number);
            let wanted = match verdict {
                Some(Verdict::Scale { replicas, .. }) => Some(*replicas),
                Some(Verdict::Hold { .. }) | None => None,
            };
            let waits = self.rules.wait_for_draining && is_draining(inputs, number);
            let asked = match wanted {
                Some(wanted) if wanted < current && waits => {
                    draining = true;
                    current
                }
                Some(wanted) => wanted,
                // Limits hold on every path: holding is asking for what there is.
                None => current,
            };
            let target = self.limited(number, inputs.now, current, asked);
            let mut word = verdict.map_or(String::new(), |v| v.reason().to_owned());
            if draining && target == current {
                word = format!("{word}; waiting for {} pods that are going", pool.counts.draining.max(1));
            } else if target != asked {
                word = format!("{word}; {}", Limited { wanted: asked, allowed: target });
            }
            words.push(if inputs.pools.len() > 1 { format!("{}: {word}", pool.name) } else { word });
            pools.push(PoolOutcome { name: pool.name.clone(), current, ready: pool.counts.ready, wanted, target });
        }
        let ups = pools.iter().any(|pool| pool.target > pool.current);
        let downs = pools.iter().any(|pool| pool.target < pool.current);
        let reason = match (ups, downs) {
            (true, _) => Reason::ScaleUp,
            (false, true) => Reason::ScaleDown,
            (false, false) if draining => Reason::Draining,
            (false, false) => Reason::Steady,
        };
        let own = words.join("; ");
        let (reason, message) = match because {
            Some((reason, message)) => (reason, format!("{message}: {own}")),
            None => (reason, own),
        };
        Outcome { at: inputs.now, pools, reason, message, unseen: None, metrics: None, age: None }
    }

    /// What would be done were there no obstacle; nothing is.
    fn shown(&mut self, inputs: &Inputs, decision: &Decision, reason: Reason, message: String) -> Outcome {
        let mut outcome = self.held(inputs, reason, message);
        for (pool, verdict) in outcome.pools.iter_mut().zip(&decision.pools) {
            if let Verdict::Scale { replicas, .. } = verdict {
                pool.wanted = Some(*replicas);
            }
        }
        outcome
    }

    /// Nothing is changed, nor are limits enforced: who does not know does nothing.
    fn held(&mut self, inputs: &Inputs, reason: Reason, message: String) -> Outcome {
        let mut pools = Vec::with_capacity(inputs.pools.len());
        for (number, pool) in inputs.pools.iter().enumerate() {
            let current = pool.counts.desired;
            // What is held counts for stabilisation: a decrease after it waits as after any other decision.
            self.limited(number, inputs.now, current, current);
            let (name, ready) = (pool.name.clone(), pool.counts.ready);
            pools.push(PoolOutcome { name, current, ready, wanted: None, target: current });
        }
        Outcome { at: inputs.now, pools, reason, message, unseen: None, metrics: None, age: None }
    }

    /// The one way to a number of replicas.
    fn limited(&mut self, pool: usize, now: SimTime, current: u32, wanted: u32) -> u32 {
        match self.gates.get_mut(pool) {
            Some(gate) => gate.apply(now, current, wanted),
            // A pool without limits is not ours.
            None => current,
        }
    }
}

fn is_draining(inputs: &Inputs, pool: usize) -> bool {
    inputs.pods.iter().any(|pod| pod.pool == pool && pod.phase == Phase::Draining)
}

#[cfg(test)]
mod tests;
