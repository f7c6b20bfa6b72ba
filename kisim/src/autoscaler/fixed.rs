//! The same number of replicas, always.

use std::collections::BTreeMap;

use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::scenario::Scenario;

/// Keeps every pool at a number of replicas.
#[derive(Clone, Debug)]
pub struct Fixed {
    name: String,
    /// By pool.
    replicas: Vec<u32>,
}

impl Fixed {
    /// Keeps the pools named in `replicas` at those numbers, the others at their initial ones.
    pub fn new(scenario: &Scenario, replicas: &BTreeMap<String, u32>) -> Self {
        let name = super::AutoscalerConfig::Fixed { replicas: replicas.clone() }.name();
        let number = |(name, pool): (&String, &crate::scenario::Pool)| {
            replicas.get(name).copied().unwrap_or(pool.initial_replicas)
        };
        Fixed { name, replicas: scenario.pools.iter().map(number).collect() }
    }
}

impl Autoscaler for Fixed {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, _view: &View<'_>) -> Decision {
        let scale = |&replicas| Verdict::Scale { replicas, reason: "fixed".to_owned() };
        Decision { pools: self.replicas.iter().map(scale).collect(), placement: None }
    }
}
