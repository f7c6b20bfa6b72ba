//! Policies, and the rule that leads in shadow, as they take part in `kisim`'s comparisons.

use std::sync::Arc;

use kisim::autoscaler::AutoscalerError;
use kisim::config::{ConfigError, Span};
use kisim::contender::{Build, Contender};
use kisim::control::Autoscaler;
use kisim::prepared::Prepared;
use kisim::scenario::Scenario;

use crate::checkpoint::{Checkpoint, Refusal};
use crate::follower::Follower;
use crate::history::{Acquainted, History};
use crate::policy::{Policy, PolicyAutoscaler};

/// Why somebody cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum ContenderError {
    /// The checkpoint is none of a policy of this version.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The hour before cannot be had.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody is called that.
    #[error(transparent)]
    Unknown(#[from] AutoscalerError),
    /// The scenario decides in another rhythm than the policy.
    #[error("{scenario}, field control.interval: found {found}, expected the policy's {expected}")]
    Interval {
        /// Where the scenario is from.
        scenario: String,
        /// The scenario's.
        found: Span,
        /// The policy's.
        expected: Span,
    },
}

/// What somebody has driven before.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// For how long.
    pub length: Span,
    /// Another scenario of the service, if not the scenario itself.
    pub elsewhere: Option<&'a Scenario>,
    /// Whether it has driven nothing, and is told the load of that time: what an agent that begins learns from Prometheus.
    pub told: bool,
}

impl Past<'_> {
    /// `name`, of one with this past.
    fn of(&self, name: &str) -> String {
        format!("{name} {} {}", if self.told { "told" } else { "after" }, self.length)
    }

    fn history(&self, scenario: &Scenario) -> Result<Option<History>, ConfigError> {
        match self.elsewhere {
            Some(other) => History::elsewhere(scenario, other, self.length).map(Some),
            None => History::of(scenario, self.length),
        }
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AutoscalerError {
    AutoscalerError::Other(error.into())
}

/// Gives somebody a past.
type Acquaint = dyn Fn(&mut dyn Acquainted) -> Result<(), AutoscalerError> + Send + Sync;

/// Gives somebody who is to scale `scenario` that `past`, if there is one.
fn acquaintance(past: Option<Past<'_>>, scenario: &Scenario) -> Result<Arc<Acquaint>, ContenderError> {
    let told = past.is_some_and(|past| past.told);
    let history = past.map(|past| past.history(scenario)).transpose()?.flatten();
    Ok(Arc::new(move |somebody: &mut dyn Acquainted| match &history {
        None => Ok(()),
        Some(history) if told => history.tell(somebody).map_err(other),
        Some(history) => history.play(somebody).map_err(other),
    }))
}

/// The policy in `checkpoint` as an autoscaler for `scenario`; `weight` is what a saved dollar counts against a late
/// request, 1 as the scenario says. With a `past`, it has driven that before, or is told of it. It is called `policy`,
/// `policy/WEIGHT`, `policy after LENGTH`, `policy told LENGTH`.
///
/// # Errors
/// If the checkpoint does not fit this version or the scenario's control interval, or there is no such past.
pub fn policy(
    checkpoint: &Arc<Checkpoint>,
    weight: f64,
    past: Option<Past<'_>>,
    scenario: &Scenario,
) -> Result<Contender, ContenderError> {
    let policy = Arc::new(Policy::new(checkpoint)?);
    let mut name = if weight == 1.0 { "policy".to_owned() } else { format!("policy/{weight}") };
    if let Some(past) = past {
        name = past.of(&name);
    }
    let past = acquaintance(past, scenario)?;
    let own = name.clone();
    // Who has room wants no dollar saved: a factor on the headroom is one over the weight.
    let vary = move |factor: f64| -> Arc<Build> {
        let (policy, past, own) = (Arc::clone(&policy), Arc::clone(&past), own.clone());
        Arc::new(move |prepared: &Arc<Prepared>| -> Result<Box<dyn Autoscaler>, AutoscalerError> {
            let mut made = PolicyAutoscaler::new(&policy, prepared, weight / factor, own.clone()).map_err(other)?;
            past(&mut made)?;
            Ok(Box::new(made))
        })
    };
    // Said before anything is simulated.
    let interval = scenario.control.interval;
    if checkpoint.control_interval != interval {
        return Err(ContenderError::Interval {
            scenario: scenario.origin.clone(),
            found: interval,
            expected: checkpoint.control_interval,
        });
    }
    Ok(Contender::Policy { name, build: vary(1.0), vary: Some(Arc::new(vary)) })
}

/// A rival by its name: those of `kisim compare`, or `leader`, who follows the rule that leads in shadow and learns nothing.
///
/// # Errors
/// If there is nobody of that name, or no such past.
pub fn rival(text: &str, past: Option<Past<'_>>, scenario: &Scenario) -> Result<Contender, ContenderError> {
    if text != "leader" {
        return Ok(Contender::parse(text, scenario)?);
    }
    let name = past.map_or_else(|| text.to_owned(), |past| past.of(text));
    let past = acquaintance(past, scenario)?;
    let own = name.clone();
    let build = move |prepared: &Arc<Prepared>| -> Result<Box<dyn Autoscaler>, AutoscalerError> {
        let mut follower = Follower::new(prepared, own.clone())?;
        past(&mut follower)?;
        Ok(Box::new(follower))
    };
    Ok(Contender::Policy { name, build: Arc::new(build), vary: None })
}
