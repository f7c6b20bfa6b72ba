//! How fast simulation and training are, on one thread. The only work whose rows hold times.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use kiscaler_train::config::{DEFAULT, TrainConfig};
use kiscaler_train::contenders;
use kiscaler_train::drive::Learner;
use kiscaler_train::environment::{Environment, Look};
use kiscaler_train::learner::AutoscalingLearner;
use kiscaler_train::ppo::{Backend, Resources};
use kiscaler_train::scale_free::Design;
use kiscaler_train::training::arena::Source;
use kiscaler_train::training::distribution::{Distribution, DistributionConfig};
use kisim::autoscaler::AutoscalerConfig;
use kisim::contender::Contender;
use kisim::control::{Autoscaler, Decision, Verdict, View};
use kisim::prepared::Prepared;
use kisim::random::derive_seed;
use kisim::run::{Keep, run, run_with, silent};
use serde::{Deserialize, Serialize};

use super::Context;
use super::play::shipped;
use crate::cell::Row;
use crate::scene::Scene;

/// What is measured, `rounds` times over, everything once a round: a machine that is slower for a while slows all of it. Columns:
/// `what`, `unit`, `round`, `value`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Scenes that are simulated under an HPA: requests a second.
    pub scenes: Vec<Scene>,
    /// The scene on which a policy looks and decides, and nothing is done of what it says: its time beside the simulation's.
    pub decisions: Scene,
    /// Steps of a training environment.
    pub steps: u64,
    /// Updates of training.
    pub updates: u64,
    /// Rounds, from 1.
    pub rounds: u64,
}

impl Speed {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let distribution = Distribution::new(&DistributionConfig { services: 8, ..DistributionConfig::default() }, 1)?;
        let source = Source::ScaleFree(distribution.into(), Design::default());
        for round in 0..self.rounds {
            let mut put = |what: String, unit: &str, value: f64| {
                rows.push(
                    Row::new().text("what", what).text("unit", unit).count("round", round + 1).number("value", value),
                );
            };
            for scene in &self.scenes {
                let scenario = scene.load(context.traces)?;
                let config = AutoscalerConfig::parse("hpa", &scenario)?;
                let prepared = Prepared::new(scenario)?;
                let started = Instant::now();
                let made = run(&prepared, &config, derive_seed(1, round), Keep::default(), &silent)?;
                let requests = made.summary.requests.arrived as f64;
                put(format!("simulation: {}", scene.name), "requests/s", requests / started.elapsed().as_secs_f64());
            }
            let decided = self.decide(context, round)?;
            put("simulation, a control step".into(), "µs", decided.simulation_us);
            put("requests in it".into(), "requests", decided.requests);
            put("policy, a decision: mean".into(), "µs", decided.decision_us);
            put("policy, a decision: median".into(), "µs", decided.median_us);
            put("overhead of looking and deciding".into(), "%", 100.0 * decided.decision_us / decided.simulation_us);
            let environment = self.environment(&source, round)?;
            put("training environment".into(), "steps/s", environment);
            let training = self.training(round)?;
            put("training: environment, PPO and teacher".into(), "steps/s", training);
            ensure!((context.progress)((round + 1) as f64 / self.rounds as f64), "interrupted");
        }
        Ok(rows)
    }

    /// A run in which the policy that ships looks on.
    fn decide(&self, context: &Context<'_>, round: u64) -> Result<Decided> {
        let scenario = self.decisions.load(context.traces)?;
        let Contender::Policy { build, .. } = contenders::policy(&shipped()?, 1.0, None, &scenario)? else {
            bail!("found no policy, expected the one that ships");
        };
        let prepared = Prepared::new(scenario)?;
        let mut onlooker = Onlooker { inner: build(&prepared)?, times: Vec::new() };
        let started = Instant::now();
        let run = run_with(&prepared, &mut onlooker, derive_seed(2, round), Keep::default(), &silent)?;
        let all = started.elapsed();
        let mut times = onlooker.times;
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let deciding: Duration = times.iter().sum();
        let steps = times.len().max(1) as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Ok(Decided {
            simulation_us: micros(all.saturating_sub(deciding)) / steps,
            requests: run.summary.requests.arrived as f64 / steps,
            decision_us: micros(deciding) / steps,
            median_us: micros(median),
        })
    }

    /// Steps a second of a training environment without a teacher, in which everything stays as it is.
    fn environment(&self, source: &Source, round: u64) -> Result<f64> {
        let mut arena = source.arena(false);
        let space = arena.space();
        let (mut observation, mut privileged) = (vec![0.0; space.observation], vec![0.0; space.privileged]);
        let mut mask = vec![false; space.choices()];
        let keep = vec![0; space.heads.len()];
        let (mut done, mut spent) = (0, Duration::ZERO);
        let mut episode = 0;
        while done < self.steps {
            arena.reset(derive_seed(derive_seed(3, round), episode))?;
            episode += 1;
            let started = Instant::now();
            loop {
                arena.look(Look {
                    observation: &mut observation,
                    privileged: &mut privileged,
                    mask: &mut mask,
                    teacher: &mut [],
                });
                done += 1;
                if arena.step(&keep)?.end.is_some() {
                    break;
                }
            }
            spent += started.elapsed();
        }
        Ok(done as f64 / spent.as_secs_f64())
    }

    /// Steps a second of training by the built-in configuration, imitation and PPO alike.
    fn training(&self, round: u64) -> Result<f64> {
        let mut config = TrainConfig::parse(DEFAULT, "the built-in configuration")?;
        config.distribution.services = 8;
        config.ppo.imitation_updates = self.updates / 2;
        let resources = Resources { threads: 1, backend: Backend::Fused };
        let mut learner = AutoscalingLearner::new(&config, DEFAULT, derive_seed(4, round), resources)?;
        let started = Instant::now();
        for _ in 0..self.updates {
            learner.update()?;
        }
        Ok(learner.steps() as f64 / started.elapsed().as_secs_f64())
    }
}

/// Times of a control step, microseconds.
struct Decided {
    simulation_us: f64,
    requests: f64,
    decision_us: f64,
    median_us: f64,
}

/// Lets another look and decide, times it, and changes nothing.
#[derive(Debug)]
struct Onlooker {
    inner: Box<dyn Autoscaler>,
    times: Vec<Duration>,
}

impl Autoscaler for Onlooker {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let started = Instant::now();
        let decision = self.inner.decide(view);
        self.times.push(started.elapsed());
        let hold = |_| Verdict::Hold { reason: "looks on".into() };
        Decision { pools: decision.pools.iter().map(hold).collect(), placement: None }
    }
}
