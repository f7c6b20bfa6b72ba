//! The control loop: Window → Autoscaler → Limits → Action.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::{Phase, PodCounts};
use crate::config::Span;
use crate::fleet::Placement;
use crate::profile::Hardware;
use crate::time::SimTime;
use crate::window::Window;

/// What an autoscaler is told about a pool by the Kubernetes API.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// Name.
    pub name: String,
    /// GPU or CPU.
    pub hardware: Hardware,
    /// Pod numbers: the scale subresource's spec and status.
    pub counts: PodCounts,
    /// CPU cores a pod asks for.
    pub cpus: f64,
    /// What the pool's action must stay within.
    pub limits: Limits,
}

/// What an autoscaler is told about a pod by the Kubernetes API.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PodView {
    /// Its number.
    pub id: u64,
    /// Its pool's number.
    pub pool: usize,
    /// Its phase.
    pub phase: Phase,
    /// When its containers started, if they have.
    pub started: Option<SimTime>,
    /// When its Ready condition last changed.
    pub ready_transition: Option<SimTime>,
}

/// All an autoscaler may look at.
#[derive(Debug)]
pub struct View<'a> {
    /// The time.
    pub now: SimTime,
    /// Scraped metrics.
    pub window: &'a Window,
    /// Range over which to compute rates and quantiles.
    pub range: Duration,
    /// Pools, by number.
    pub pools: &'a [PoolView],
    /// Pods, in order of creation.
    pub pods: &'a [PodView],
}

/// What to do with one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This many replicas.
    Scale {
        /// How many.
        replicas: u32,
        /// Why, for people.
        reason: String,
    },
    /// No change.
    Hold {
        /// Why, for people.
        reason: String,
    },
}

impl Verdict {
    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Verdict::Scale { reason, .. } | Verdict::Hold { reason } => reason,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// By pool.
    pub pools: Vec<Verdict>,
    /// Where requests go from now on, if that is to change.
    pub placement: Option<Placement>,
}

/// A metrics pipeline of an autoscaler's own, such as Knative's, which scrapes queue-proxies itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Time between scrapes of a pod.
    pub scrape_interval: Duration,
    /// From a scrape until it can be used.
    pub lag: Duration,
}

/// Decides how many replicas there should be.
///
/// Called at every control interval with metrics as they were scraped: late, with gaps, from pods that come and go. It
/// keeps whatever state it needs; time is an argument. Without data it holds.
pub trait Autoscaler: fmt::Debug + Send {
    /// Its name in reports.
    fn name(&self) -> String;

    /// How often it wants to be asked; `None` for the scenario's control interval.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// How it collects metrics, where not through the scenario's pipeline.
    fn pipeline(&self) -> Option<Pipeline> {
        None
    }

    /// The longest range of the past it asks the window for, where that is longer than [`View::range`].
    fn history(&self) -> Duration {
        Duration::ZERO
    }

    /// What to do now.
    fn decide(&mut self, view: &View<'_>) -> Decision;
}

/// Bounds on a pool's replicas, applied after every decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Fewest replicas.
    pub min_replicas: u32,
    /// Most replicas; at least 1 and `min_replicas`.
    pub max_replicas: u32,
    /// Most replicas added by one decision; at least 1.
    pub max_step_up: u32,
    /// Most replicas removed by one decision; at least 1.
    pub max_step_down: u32,
    /// A decrease takes the highest decision of this long, so that a dip is no reason to shrink; beside any window of the
    /// autoscaler's own.
    pub scale_down_stabilization: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            min_replicas: 1,
            max_replicas: 10,
            max_step_up: u32::MAX,
            max_step_down: u32::MAX,
            scale_down_stabilization: Span::secs(0),
        }
    }
}

impl Limits {
    /// What is wrong, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, String)> {
        if self.max_replicas == 0 {
            return Some(("max_replicas", "0".into(), "at least 1".into()));
        }
        if self.max_replicas < self.min_replicas {
            let expected = format!("at least min_replicas, {}", self.min_replicas);
            return Some(("max_replicas", self.max_replicas.to_string(), expected));
        }
        if self.max_step_up == 0 || self.max_step_down == 0 {
            return Some(("max_step_up", "0".into(), "steps of at least 1".into()));
        }
        None
    }
}

/// [`Limits`] with the memory that stabilisation needs.
#[derive(Clone, Debug)]
pub struct Limiter {
    limits: Limits,
    recent: Vec<(SimTime, u32)>,
}

impl Limiter {
    /// A limiter without memory.
    pub fn new(limits: Limits) -> Self {
        Limiter { limits, recent: Vec::new() }
    }

    /// The number of replicas to set when `wanted` are wanted and `current` are set.
    pub fn apply(&mut self, now: SimTime, current: u32, wanted: u32) -> u32 {
        let Limits { min_replicas, max_replicas, max_step_up, max_step_down, scale_down_stabilization } = self.limits;
        let mut target = wanted;
        if scale_down_stabilization > Span::default() {
            let oldest = now.saturating_sub(scale_down_stabilization.0);
            self.recent.retain(|&(at, _)| at > oldest || oldest == SimTime::ZERO);
            self.recent.push((now, wanted));
            let highest = self.recent.iter().map(|&(_, n)| n).max().unwrap_or(wanted);
            // Never turns a decrease into an increase.
            target = wanted.max(highest.min(current));
        }
        let stepped = target.clamp(current.saturating_sub(max_step_down), current.saturating_add(max_step_up));
        stepped.clamp(min_replicas, max_replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stabilisation_keeps_the_highest_recent_decision() {
        let limits = Limits { scale_down_stabilization: Span::secs(60), ..Limits::default() };
        let mut limiter = Limiter::new(limits);
        let at = |s: u64| SimTime::from_nanos(s * 1_000_000_000);
        assert_eq!(limiter.apply(at(100), 5, 8), 8);
        assert_eq!(limiter.apply(at(115), 8, 2), 8);
        assert_eq!(limiter.apply(at(150), 8, 3), 8);
        assert_eq!(limiter.apply(at(165), 8, 3), 3);
    }

    proptest! {
        #[test]
        fn limits_always_hold_and_never_reverse_a_direction(
            min in 0u32..5, span in 0u32..20, up in 1u32..6, down in 1u32..6, stabilise in 0u64..90,
            wishes in prop::collection::vec(0u32..40, 1..50)
        ) {
            let limits = Limits {
                min_replicas: min, max_replicas: (min + span).max(1), max_step_up: up, max_step_down: down,
                scale_down_stabilization: Span::secs(stabilise),
            };
            let mut limiter = Limiter::new(limits);
            let mut current = limits.min_replicas;
            for (step, wanted) in wishes.into_iter().enumerate() {
                let next = limiter.apply(SimTime::from_nanos(step as u64 * 15_000_000_000), current, wanted);
                prop_assert!(next >= limits.min_replicas && next <= limits.max_replicas);
                prop_assert!(next <= current.saturating_add(up) && next >= current.saturating_sub(down));
                if wanted >= current { prop_assert!(next >= current) } else { prop_assert!(next <= current) }
                current = next;
            }
        }
    }
}
