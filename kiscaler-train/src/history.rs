//! What a service has seen before a run: an agent that has been at work for an hour knows its load.
//!
//! Rules are tuned to a scenario on runs with training seeds. A policy is not, but it may have watched one: the same
//! service under other arrivals of the same kind, or, where traffic is a trace, the trace before the run.

use std::sync::Arc;
use std::time::Duration;

use kisim::config::{ConfigError, Span};
use kisim::control::Autoscaler;
use kisim::oracle::ArrivalRecord;
use kisim::prepared::Prepared;
use kisim::run::{Keep, RunError, run_with, silent};
use kisim::scenario::Scenario;
use kisim::traffic::Traffic;
use kisim::tune::training_seeds;

/// Runs before the run.
#[derive(Clone, Debug)]
pub struct History {
    /// What is played, one after the other, and with which seeds.
    runs: Vec<(Arc<Prepared>, u64)>,
}

impl History {
    /// `length` of what rules are tuned on: runs of `scenario` with its training seeds, as many as it takes, the last of
    /// which may be cut short; of a trace, what comes before the run, or as much as there is. `None` for a trace that is
    /// played from its beginning.
    ///
    /// # Errors
    /// If that is no scenario.
    pub fn of(scenario: &Scenario, length: Span) -> Result<Option<History>, ConfigError> {
        let mut past = undisturbed(scenario);
        let pieces: Vec<Duration> = match &mut past.traffic {
            Traffic::Trace { start, length: used, time_scale, .. } => {
                let begins = start.map_or(Duration::ZERO, |start| start.0);
                // Lengths of a trace are as recorded, those of a run as played.
                let wanted = length.0.div_f64(time_scale.max(1e-9)).min(begins);
                if wanted.is_zero() {
                    return Ok(None);
                }
                (*start, *used) = (Some(Span(begins - wanted)), Some(Span(wanted)));
                vec![wanted.mul_f64(*time_scale)]
            }
            _ => {
                let run =
                    Duration::from_secs_f64(Prepared::new(scenario.clone())?.seconds()).max(Duration::from_secs(1));
                let mut left = length.0;
                let mut pieces = Vec::new();
                while !left.is_zero() {
                    pieces.push(run.min(left));
                    left = left.saturating_sub(run);
                }
                pieces
            }
        };
        let seeds = training_seeds(scenario.seed, pieces.len());
        let run = |(duration, seed)| {
            let mut past = past.clone();
            past.duration = Some(Span(duration));
            Ok((Prepared::new(past)?, seed))
        };
        let runs = pieces.into_iter().zip(seeds).map(run).collect::<Result<_, ConfigError>>()?;
        Ok(Some(History { runs }))
    }

    /// At most the first `length` of `other`, another scenario of the service in `scenario`, with the first training seed.
    ///
    /// # Errors
    /// If that is no scenario, or one of another service.
    pub fn elsewhere(scenario: &Scenario, other: &Scenario, length: Span) -> Result<History, ConfigError> {
        let names = |scenario: &Scenario| scenario.pools.keys().cloned().collect::<Vec<_>>().join(", ");
        if names(other) != names(scenario) {
            return Err(ConfigError::Field {
                origin: other.origin.clone(),
                field: "pools".into(),
                found: names(other),
                expected: format!("{}, those of {}", names(scenario), scenario.origin),
            });
        }
        let mut past = undisturbed(other);
        let whole = Duration::from_secs_f64(Prepared::new(past.clone())?.seconds());
        past.duration = Some(Span(whole.min(length.0)));
        let seeds = training_seeds(other.seed, 1);
        let prepared = Prepared::new(past)?;
        Ok(History { runs: seeds.into_iter().map(|seed| (Arc::clone(&prepared), seed)).collect() })
    }

    /// Lets `autoscaler` drive them, which is told before each of the next, and before the run after them, with how many
    /// pods it begins.
    ///
    /// # Errors
    /// If one cannot be played.
    pub fn play(&self, autoscaler: &mut dyn Acquainted) -> Result<(), Box<RunError>> {
        for (prepared, seed) in &self.runs {
            run_with(prepared, autoscaler, *seed, Keep::default(), &silent)?;
            autoscaler.begin_again(prepared.pools[prepared.primary_pool()].config.initial_replicas);
        }
        Ok(())
    }

    /// Tells `autoscaler` the load of them instead, as an agent is told that begins and asks whoever keeps metrics: it has
    /// driven nothing.
    ///
    /// # Errors
    /// If one cannot be played.
    pub fn tell(&self, autoscaler: &mut dyn Acquainted) -> Result<(), Box<RunError>> {
        for (prepared, seed) in &self.runs {
            let step = prepared.scenario.control.interval.0;
            let steps = (prepared.seconds() / step.as_secs_f64()) as usize;
            let bins = ArrivalRecord::of(prepared, *seed)?.bins(0, step.as_nanos() as u64, steps);
            autoscaler.recall(&bins, 1, prepared);
        }
        Ok(())
    }
}

/// `scenario` without faults, all of which counts.
fn undisturbed(scenario: &Scenario) -> Scenario {
    Scenario { warm_up: Span::default(), faults: Vec::new(), ..scenario.clone() }
}

/// Who can have a past.
pub trait Acquainted: Autoscaler {
    /// Another run of the same service begins, with `initial` pods.
    fn begin_again(&mut self, initial: u32);

    /// It is told what load was seen before, as [`ScaleFree::recall`](crate::scale_free::ScaleFree::recall) takes it; then it
    /// begins again. `prepared` is what it is to scale.
    fn recall(&mut self, bins: &[f64], parts: usize, prepared: &Prepared);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_played_as_long_as_asked_for() {
        let mut scenario = Scenario::builtin().unwrap();
        let history = History::of(&scenario, Span::secs(600)).unwrap().unwrap();
        let [(prepared, seed)] = history.runs.as_slice() else { panic!("{history:?}") };
        assert_eq!(prepared.seconds(), 600.0);
        assert_ne!(*seed, scenario.seed);
        // Longer than a run: several, each with arrivals of its own, and of the last what is left.
        scenario.duration = Some(Span::secs(240));
        let history = History::of(&scenario, Span::secs(600)).unwrap().unwrap();
        let lengths: Vec<f64> = history.runs.iter().map(|(prepared, _)| prepared.seconds().round()).collect();
        assert_eq!(lengths, [240.0, 240.0, 120.0]);
        let seeds: Vec<u64> = history.runs.iter().map(|&(_, seed)| seed).collect();
        assert_eq!(seeds, training_seeds(scenario.seed, 3));
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
            let Traffic::Trace { start, length, .. } = &history.runs[0].0.scenario.traffic else { panic!() };
            assert_eq!((start.unwrap(), length.unwrap()), (Span::secs(expected.0), Span::secs(expected.1)));
        }
    }

    #[test]
    fn another_scenario_is_played_from_its_beginning_if_it_is_of_the_same_service() {
        let scenario = Scenario::builtin().unwrap();
        let other = Scenario { seed: scenario.seed + 1, ..scenario.clone() };
        let history = History::elsewhere(&scenario, &other, Span::secs(120)).unwrap();
        let [(prepared, seed)] = history.runs.as_slice() else { panic!("{history:?}") };
        assert_eq!((prepared.seconds().round(), *seed), (120.0, training_seeds(other.seed, 1)[0]));
        let error = History::elsewhere(&scenario, &Scenario::named("paper").unwrap(), Span::secs(120)).unwrap_err();
        assert!(error.to_string().contains("field pools: found "), "{error}");
    }

    /// Remembers what it was told.
    #[derive(Debug, Default)]
    struct Listener(Vec<(usize, f64, usize)>);

    impl Autoscaler for Listener {
        fn name(&self) -> String {
            "listener".into()
        }

        fn decide(&mut self, _: &kisim::control::View<'_>) -> kisim::control::Decision {
            panic!("drives nothing")
        }
    }

    impl Acquainted for Listener {
        fn begin_again(&mut self, _: u32) {}

        fn recall(&mut self, bins: &[f64], parts: usize, _: &Prepared) {
            self.0.push((bins.len(), bins.iter().sum(), parts));
        }
    }

    #[test]
    fn who_is_told_hears_of_every_request_and_drives_nothing() {
        let scenario = Scenario::builtin().unwrap();
        let history = History::of(&scenario, Span::secs(2_400)).unwrap().unwrap();
        let mut listener = Listener::default();
        history.tell(&mut listener).unwrap();
        // A run of half an hour, and ten minutes of the next, by steps of 15 s.
        let [(first, all, 1), (second, part, 1)] = listener.0[..] else { panic!("{listener:?}") };
        assert_eq!((first, second), (120, 40));
        let sent = |number: usize| {
            let (prepared, seed) = &history.runs[number];
            ArrivalRecord::of(prepared, *seed).unwrap().times().len() as f64
        };
        assert_eq!((all, part), (sent(0), sent(1)));
    }
}
