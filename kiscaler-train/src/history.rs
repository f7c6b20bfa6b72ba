//! What a service has seen before a run: an agent that has been at work for an hour knows its load.
//!
//! Rules are tuned to a scenario on runs with training seeds. A policy is not, but it may have watched one: the same
//! service under other arrivals of the same kind, or, where traffic is a trace, the trace before the run.

use std::sync::Arc;
use std::time::Duration;

use kisim::config::{ConfigError, Span};
use kisim::control::Autoscaler;
use kisim::prepared::Prepared;
use kisim::run::{Keep, RunError, run_with, silent};
use kisim::scenario::Scenario;
use kisim::traffic::Traffic;
use kisim::tune::training_seeds;

/// A run before the run.
#[derive(Clone, Debug)]
pub struct History {
    /// What is played.
    pub prepared: Arc<Prepared>,
    /// With which seed.
    pub seed: u64,
}

impl History {
    /// The `length` before runs of `scenario`, or as much as there is; `None` for a trace that is played from its beginning.
    ///
    /// # Errors
    /// If that is no scenario.
    pub fn of(scenario: &Scenario, length: Span) -> Result<Option<History>, ConfigError> {
        let mut past = scenario.clone();
        let duration = match &mut past.traffic {
            Traffic::Trace { start, length: used, time_scale, .. } => {
                let begins = start.map_or(Duration::ZERO, |start| start.0);
                // Lengths of a trace are as recorded, those of a run as played.
                let wanted = length.0.div_f64(time_scale.max(1e-9)).min(begins);
                if wanted.is_zero() {
                    return Ok(None);
                }
                (*start, *used) = (Some(Span(begins - wanted)), Some(Span(wanted)));
                wanted.mul_f64(*time_scale)
            }
            _ => length.0,
        };
        past.duration = Some(Span(duration));
        past.warm_up = Span::default();
        past.faults.clear();
        let seed = training_seeds(scenario.seed, 1).first().copied().unwrap_or(scenario.seed);
        Ok(Some(History { prepared: Prepared::new(past)?, seed }))
    }

    /// Lets `autoscaler` drive it; returns the pods that the run after it begins with.
    ///
    /// # Errors
    /// If it cannot be played.
    pub fn play(&self, autoscaler: &mut dyn Autoscaler) -> Result<u32, Box<RunError>> {
        run_with(&self.prepared, autoscaler, self.seed, Keep::default(), &silent)?;
        Ok(self.prepared.pools[self.prepared.primary_pool()].config.initial_replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_played_as_long_as_asked_for() {
        let scenario = Scenario::builtin().unwrap();
        let history = History::of(&scenario, Span::secs(600)).unwrap().unwrap();
        assert_eq!(history.prepared.seconds(), 600.0);
        assert_ne!(history.seed, scenario.seed);
    }

    #[test]
    fn a_trace_is_played_before_where_the_run_begins() {
        let file = tempfile::NamedTempFile::with_suffix(".csv").unwrap();
        let lines: String = (0..600).map(|second| format!("{second}\n")).collect();
        std::fs::write(file.path(), format!("timestamp\n{lines}")).unwrap();
        let mut scenario = Scenario::builtin().unwrap();
        scenario.traffic = toml::from_str(&format!("kind = 'trace'\npath = {:?}", file.path())).unwrap();
        scenario.duration = None;
        assert!(History::of(&scenario, Span::secs(60)).unwrap().is_none());
        let Traffic::Trace { start, .. } = &mut scenario.traffic else { panic!() };
        *start = Some(Span::secs(200));
        for (wanted, expected) in [(60, (140, 60)), (900, (0, 200))] {
            let history = History::of(&scenario, Span::secs(wanted)).unwrap().unwrap();
            let Traffic::Trace { start, length, .. } = &history.prepared.scenario.traffic else { panic!() };
            assert_eq!((start.unwrap(), length.unwrap()), (Span::secs(expected.0), Span::secs(expected.1)));
        }
    }
}
