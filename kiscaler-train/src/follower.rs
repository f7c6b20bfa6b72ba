//! Whoever follows the leading rule and learns nothing: what a policy is worth beyond its anchor is the difference.

use kisim::autoscaler::AutoscalerError;
use kisim::control::{Autoscaler, Decision, View};
use kisim::prepared::Prepared;

use crate::facts::Facts;
use crate::history::Acquainted;
use crate::scale_free::{AT_ANCHOR, ScaleFree};

/// Always wants what the rule wants that would have been cheapest so far.
#[derive(Clone, Debug)]
pub struct Follower {
    name: String,
    eyes: ScaleFree,
}

impl Follower {
    /// For runs of `prepared`.
    ///
    /// # Errors
    /// If the pool's capacity cannot be measured.
    pub fn new(prepared: &Prepared, name: String) -> Result<Follower, AutoscalerError> {
        Ok(Follower { name, eyes: ScaleFree::new(prepared, Facts::of(prepared)?) })
    }
}

impl Acquainted for Follower {
    fn begin_again(&mut self, initial: u32) {
        self.eyes.begin_again(initial);
    }

    fn recall(&mut self, bins: &[f64], parts: usize, prepared: &Prepared) {
        self.eyes.recall_all(bins, parts, prepared);
    }
}

impl Autoscaler for Follower {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        self.eyes.observe(view);
        // The first choice is to keep.
        self.eyes.decide(view, &[1 + AT_ANCHOR as u32, 0, 0])
    }
}
