//! The published environment: a pattern drawn for each episode, closed-loop users, ten decisions, the published reward.
//!
//! An episode begins where its pattern does, so that it sees the first five and a half minutes of it: a decision comes
//! after the first control step, as in every run. The reference latencies and rates are the published table's.

use std::sync::Arc;

use kisim::config::{ConfigError, Span};
use kisim::objective::{Judge, Objective, PaperBaseline};
use kisim::prepared::Prepared;
use kisim::random::{Purpose, stream};
use kisim::scenario::Scenario;
use kisim::simulation::{Simulation, SimulationError, Stop};
use kisim::steps::{StepBooks, cost_at_maximum};
use kisim::traffic::Pattern;
use rand::RngExt;

use super::stage::Stage;
use super::world::Tally;
use crate::environment::{End, Environment, EnvironmentError, Look, Space, Transition};
use crate::paper::{CONTROL_INTERVAL, HEADS, NAMES, Paper, STEPS};

/// The published testbed under each pattern.
#[derive(Debug)]
pub struct Patterns {
    all: Vec<(Pattern, Arc<Prepared>)>,
}

impl Patterns {
    /// All four.
    ///
    /// # Errors
    /// If a built-in scenario is refused, which would be a bug.
    pub fn new() -> Result<Patterns, ConfigError> {
        let prepare = |pattern| {
            let mut scenario = Scenario::pattern(pattern)?;
            scenario.objective = Objective::Paper { baseline: PaperBaseline::Published };
            scenario.control.interval = CONTROL_INTERVAL;
            scenario.duration = Some(Span(CONTROL_INTERVAL.0 * (STEPS as u32 + 1)));
            Ok((pattern, Prepared::new(scenario)?))
        };
        Ok(Patterns { all: Pattern::ALL.into_iter().map(prepare).collect::<Result<_, ConfigError>>()? })
    }

    /// The pattern of the episode of `seed`, and its scenario.
    pub fn draw(&self, seed: u64) -> (Pattern, &Arc<Prepared>) {
        let (pattern, prepared) = &self.all[stream(seed, Purpose::Policy, 1).random_range(0..self.all.len())];
        (*pattern, prepared)
    }
}

/// An episode as it goes on.
struct Play {
    pattern: Pattern,
    stage: Stage,
    books: StepBooks,
    eyes: Paper,
    tally: Tally,
    /// Seconds of each pool's replicas so far, priced, in dollars.
    spent: f64,
    step: usize,
    seed: u64,
}

impl Play {
    fn new(patterns: &Patterns, seed: u64) -> Result<Play, Box<dyn std::error::Error>> {
        let (pattern, prepared) = patterns.draw(seed);
        let simulation = Simulation::new(prepared, seed, false)?;
        let judge = Judge::new(prepared.scenario.objective.clone(), Some(pattern), None);
        let books = StepBooks::new(judge, &simulation);
        let eyes = Paper::new(prepared).ok_or("found a testbed without GPU pods or CPU pods, expected both")?;
        let stage = Stage::new(simulation);
        let mut play = Play { pattern, stage, books, eyes, tally: Tally::default(), spent: 0.0, step: 0, seed };
        play.advance()?;
        play.tally = Tally::default();
        Ok(play)
    }

    /// Plays on to the next decision, or to the end; the reward of what lies between. Then looks.
    fn advance(&mut self) -> Result<f64, SimulationError> {
        let mut reward = 0.0;
        loop {
            let stop = self.stage.simulation.run()?;
            // The last control step ends with the run.
            if matches!(stop, Stop::Step | Stop::End) {
                self.stage.scrape();
                reward += self.book();
            }
            if matches!(stop, Stop::Control | Stop::End) {
                break;
            }
        }
        let eyes = &mut self.eyes;
        self.stage.with_view(|view| eyes.observe(view));
        Ok(reward)
    }

    /// Books the control step that ends now, if one does; its reward.
    fn book(&mut self) -> f64 {
        let simulation = &self.stage.simulation;
        let Some(outcome) = self.books.step(simulation, self.stage.highest_cpu()) else { return 0.0 };
        let prepared = simulation.prepared();
        let priced = prepared.pools.iter().enumerate();
        let spent: f64 =
            priced.map(|(n, pool)| simulation.meter(n).bound_ns as f64 * 1e-9 / 3600.0 * pool.price_per_hour).sum();
        let most = cost_at_maximum(prepared) * CONTROL_INTERVAL.as_secs_f64();
        self.tally.cost += (spent - std::mem::replace(&mut self.spent, spent)) / most;
        self.tally.late += outcome.violations;
        self.tally.ended += outcome.ended;
        self.tally.steps += 1;
        self.tally.reward += outcome.reward.total();
        outcome.reward.total()
    }
}

/// The published environment.
pub struct PaperWorld {
    patterns: Arc<Patterns>,
    play: Option<Box<Play>>,
}

impl std::fmt::Debug for PaperWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaperWorld").field("step", &self.play.as_ref().map(|p| p.step)).finish_non_exhaustive()
    }
}

impl PaperWorld {
    /// An environment of `patterns`.
    pub fn new(patterns: Arc<Patterns>) -> Self {
        PaperWorld { patterns, play: None }
    }

    /// Figures of the episode so far. Its reward is the plain sum of the published one's.
    pub fn tally(&self) -> Tally {
        self.play.as_ref().map(|play| play.tally).unwrap_or_default()
    }
}

impl Environment for PaperWorld {
    fn space(&self) -> Space {
        Space { observation: NAMES.len(), privileged: 0, heads: HEADS.to_vec(), teacher: false }
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        let play = Play::new(&self.patterns, seed);
        self.play = Some(Box::new(play.map_err(|e| EnvironmentError { seed, reason: e.to_string() })?));
        Ok(())
    }

    fn look(&mut self, look: Look<'_>) {
        let Some(play) = &self.play else { return };
        look.observation.copy_from_slice(play.eyes.features());
        look.mask.copy_from_slice(play.eyes.mask());
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        let Some(play) = &mut self.play else {
            return Err(EnvironmentError { seed: 0, reason: "a step before any reset".into() });
        };
        let decision = play.stage.with_view(|view| play.eyes.decide(view, action));
        play.stage.act(&decision);
        play.step += 1;
        let (last, seed) = (play.step >= STEPS, play.seed);
        let reward = play.advance().map_err(|e| EnvironmentError { seed, reason: e.to_string() })?;
        Ok(Transition { reward: reward as f32, end: last.then_some(End::Truncated) })
    }

    fn kind(&self) -> &str {
        self.play.as_ref().map_or("", |play| play.pattern.name())
    }
}
