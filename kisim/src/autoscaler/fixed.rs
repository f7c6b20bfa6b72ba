//! The same number of replicas, always.

use std::collections::BTreeMap;

use super::AutoscalerConfig;
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::prepared::Prepared;

/// Asks for a number of replicas of every pool.
#[derive(Clone, Debug)]
pub struct Fixed {
    name: String,
    /// By pool.
    replicas: Vec<u32>,
}

impl Fixed {
    /// Asks for the numbers in `replicas` of the pools named there, and for the initial ones of the others.
    pub fn new(prepared: &Prepared, replicas: &BTreeMap<String, u32>) -> Self {
        let name = AutoscalerConfig::Fixed { replicas: replicas.clone() }.name();
        let number = |pool: &crate::prepared::PreparedPool| {
            replicas.get(&pool.name).copied().unwrap_or(pool.config.initial_replicas)
        };
        Fixed { name, replicas: prepared.pools.iter().map(number).collect() }
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
