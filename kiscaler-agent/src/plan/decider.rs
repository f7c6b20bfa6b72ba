//! Somebody who decides.

use std::sync::Arc;
use std::time::Duration;

use kiscaler_train::history::Acquainted as _;
use kiscaler_train::policy::{Policy, PolicyAutoscaler};
use kisim::autoscaler::AutoscalerConfig;
use kisim::control::{Autoscaler, Decision, View};
use kisim::prepared::Prepared;

use super::PlanError;

/// A policy, and where it comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Where it is.
    pub name: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// The policy.
    pub policy: Arc<Policy>,
}

impl Loaded {
    /// Whether it decides otherwise for having seen the service's load for hours.
    pub fn remembers(&self) -> bool {
        self.policy.set().design().is_some()
    }
}

/// A policy or a baseline, at work.
#[derive(Debug)]
pub enum Decider {
    /// A learnt policy.
    Policy(Box<PolicyAutoscaler>, Arc<Loaded>),
    /// One of the simulator's rules.
    Baseline(Box<dyn Autoscaler>),
}

/// What a policy saw at its last decision.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The policy.
    pub loaded: &'a Loaded,
    /// Values, in the order of the policy's features, not normalised.
    pub values: &'a [f32],
}

impl<'a> Observation<'a> {
    /// The first value that training never saw: the feature's name, the value, and the range that training saw.
    pub fn unseen(&self) -> Option<(&'a str, f32, (f64, f64))> {
        let checkpoint = self.loaded.policy.checkpoint();
        let index = checkpoint.unseen(self.values).next()?;
        let feature = self.loaded.policy.features().get(index)?;
        Some((&feature.name, *self.values.get(index)?, (feature.envelope.min, feature.envelope.max)))
    }

    /// Names and values.
    pub fn named(&self) -> impl Iterator<Item = (&'a str, f32)> {
        self.loaded.policy.features().iter().map(|f| f.name.as_str()).zip(self.values.iter().copied())
    }
}

impl Decider {
    /// A policy for what is `prepared`.
    ///
    /// # Errors
    /// It was trained for another interval, or the pools are not what it scales.
    pub fn policy(loaded: &Arc<Loaded>, prepared: &Arc<Prepared>, cost_weight: f64) -> Result<Decider, PlanError> {
        let name = loaded.name.clone();
        match PolicyAutoscaler::new(&loaded.policy, prepared, cost_weight, name.clone()) {
            Ok(policy) => Ok(Decider::Policy(Box::new(policy), Arc::clone(loaded))),
            Err(error) => Err(PlanError::Policy { name, error: Box::new(error) }),
        }
    }

    /// The same, which remembers `bins`, the requests that arrived in each step before, the earliest first: whoever
    /// followed its anchors is played over them.
    ///
    /// # Errors
    /// As [`policy`](Decider::policy).
    pub fn recalling(
        loaded: &Arc<Loaded>,
        prepared: &Arc<Prepared>,
        cost_weight: f64,
        bins: &[f64],
    ) -> Result<Decider, PlanError> {
        let mut decider = Decider::policy(loaded, prepared, cost_weight)?;
        if let Decider::Policy(policy, _) = &mut decider {
            policy.recall(bins, 1, prepared);
        }
        Ok(decider)
    }

    /// Begins with `replicas` of the pool that it scales: what it knows of the load is kept.
    pub fn begin_again(&mut self, replicas: u32) {
        if let Decider::Policy(policy, _) = self {
            policy.begin_again(replicas);
        }
    }

    /// A baseline for what is `prepared`.
    ///
    /// # Errors
    /// Its configuration is wrong, or what pods take cannot be measured.
    pub fn baseline(config: &AutoscalerConfig, prepared: &Arc<Prepared>) -> Result<Decider, PlanError> {
        Ok(Decider::Baseline(config.build(prepared)?))
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        match self {
            Decider::Policy(policy, _) => policy.name(),
            Decider::Baseline(baseline) => baseline.name(),
        }
    }

    /// The policy's file, if it is one.
    pub fn loaded(&self) -> Option<&Arc<Loaded>> {
        match self {
            Decider::Policy(_, loaded) => Some(loaded),
            Decider::Baseline(_) => None,
        }
    }

    /// How often it wants to be asked; `None` for the spec's interval.
    pub fn interval(&self) -> Option<Duration> {
        self.autoscaler().interval()
    }

    /// The longest range of the past it asks for.
    pub fn history(&self) -> Duration {
        self.autoscaler().history()
    }

    /// What to do now.
    pub fn decide(&mut self, view: &View<'_>) -> Decision {
        match self {
            Decider::Policy(policy, _) => policy.decide(view),
            Decider::Baseline(baseline) => baseline.decide(view),
        }
    }

    /// What it saw at its last decision, if it is a policy.
    pub fn observation(&self) -> Option<Observation<'_>> {
        match self {
            Decider::Policy(policy, loaded) => Some(Observation { loaded, values: policy.last().observation }),
            Decider::Baseline(_) => None,
        }
    }

    fn autoscaler(&self) -> &dyn Autoscaler {
        match self {
            Decider::Policy(policy, _) => policy.as_ref(),
            Decider::Baseline(baseline) => baseline.as_ref(),
        }
    }
}
