//! The environment: an episode of the distribution, played in the simulator, seen as an agent would see it.

use std::sync::Arc;

use kisim::autoscaler::AutoscalerError;
use kisim::control::Autoscaler;
use kisim::objective::Judge;
use kisim::prepared::Prepared;
use kisim::simulation::{Options, Simulation, SimulationError, Stop};
use kisim::steps::{StepBooks, cost_at_maximum};

use super::distribution::{Distribution, Episode};
use super::stage::Stage;
use super::teacher::{BINS, Prices, State, Teacher};
use crate::environment::{End, Environment, EnvironmentError, Look, Space, Transition};
use crate::facts::Facts;
use crate::scale_free::{AT_ANCHOR, CHANGES, Design, FACTORS, HEADS, ScaleFree};

/// Steps ahead whose arrivals the critic sees.
const AHEAD: usize = 12;

/// Numbers that only the critic sees: arrivals to come, what the teacher expects, the true backlog, what a late request
/// costs.
const PRIVILEGED: usize = AHEAD + 4;

/// What the logit of keeping what there is begins with; that of the anchor itself begins with 0.
const KEEP: f32 = -0.5;

/// By which change of the anchor, as a logarithm, a policy that knows nothing is e times less likely to want it.
const RELUCTANCE: f64 = 0.2;

/// By how many pods more or fewer it is e times less likely to want them, where choices are such.
const PODS: f32 = 2.0;

/// What an episode's violations, cost and churn were, for figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Requests that broke the objective.
    pub late: u64,
    /// Requests that ended.
    pub ended: u64,
    /// Sum of the costs of its steps, as shares of the cost at maximum.
    pub cost: f64,
    /// Sum over its steps of what the pods cost, US dollars an hour; 0 where nobody counts it.
    pub dollars_per_hour: f64,
    /// Steps.
    pub steps: u64,
    /// Sum of the rewards, in units of what the mean load would cost for a step.
    pub reward: f64,
}

/// An episode under one clock: simulation, what was scraped of it, and its books.
struct Course {
    stage: Stage,
    books: StepBooks,
    /// Reward of a request that breaks the objective, and factor on the other parts of the objective.
    late: f64,
    scale: f64,
    mean_arrivals: f64,
    /// What a share of 1 of the weighted cost is, US dollars an hour.
    dollars_per_hour: f64,
    tally: Tally,
}

impl Course {
    fn new(episode: &Episode, seed: u64, facts: &Facts) -> Result<Course, SimulationError> {
        let prepared = &episode.prepared;
        let options = Options { arrivals: Some(Arc::clone(&episode.arrivals)), ..Options::default() };
        let simulation = Simulation::with(prepared, seed, &options)?;
        let judge = Judge::new(prepared.scenario.objective.clone(), None, None);
        let books = StepBooks::new(judge, &simulation);
        let counted = episode.arrivals.partition_point(|&t| (t as f64) < episode.steps as f64 * facts.step_s * 1e9);
        let mean_arrivals = (counted as f64 / episode.steps as f64).max(0.1);
        let mean_load = mean_arrivals / facts.step_s / facts.saturation;
        // The unit of reward: what the mean load would cost for a step, were pods not whole and always saturated.
        let scale = facts.most / facts.preference.cost / mean_load.max(0.05);
        Ok(Course {
            stage: Stage::new(simulation),
            books,
            // The objective weighs all requests of a run alike; a request's share of that, in the same unit.
            late: facts.preference.violation / mean_arrivals * scale,
            scale,
            mean_arrivals,
            dollars_per_hour: cost_at_maximum(prepared) * 3600.0 / facts.preference.cost,
            tally: Tally::default(),
        })
    }

    /// Plays on to the next decision, or to the end; the reward of what lies between.
    fn advance(&mut self) -> Result<f64, SimulationError> {
        let mut reward = 0.0;
        loop {
            let stop = self.stage.simulation.run()?;
            // The last control step ends with the run, and no stop of its own says so.
            if matches!(stop, Stop::Step | Stop::End) {
                self.stage.scrape();
                reward += self.book();
            }
            // The step that ended at this instant has taken in its scrapes.
            if matches!(stop, Stop::Control | Stop::End) {
                self.tally.reward += reward;
                return Ok(reward);
            }
        }
    }

    /// Books the control step that ends now; its reward.
    fn book(&mut self) -> f64 {
        let Some(outcome) = self.books.step(&self.stage.simulation, None) else { return 0.0 };
        let mut reward = -self.late * outcome.violations as f64;
        for &(part, value) in outcome.reward.parts().iter().filter(|(part, _)| *part != "violation") {
            reward += value * self.scale;
            if part == "cost" {
                self.tally.cost -= value;
                self.tally.dollars_per_hour -= value * self.dollars_per_hour;
            }
        }
        self.tally.late += outcome.violations;
        self.tally.ended += outcome.ended;
        self.tally.steps += 1;
        reward
    }
}

/// Makes an autoscaler for an episode.
pub type Builder<'a> = dyn Fn(&Arc<Prepared>) -> Result<Box<dyn Autoscaler>, AutoscalerError> + 'a;

/// What any autoscaler makes of the episode of `seed`: the yardstick of training, for baselines.
pub fn score(distribution: &Distribution, seed: u64, build: &Builder<'_>) -> Result<Tally, EnvironmentError> {
    let failed = |error: &dyn std::fmt::Display| failed(seed, error);
    let episode = distribution.episode(seed);
    let facts = Facts::of(&episode.prepared).map_err(|e| failed(&e))?;
    let mut course = Course::new(&episode, seed, &facts).map_err(|e| failed(&e))?;
    let mut autoscaler = build(&episode.prepared).map_err(|e| failed(&e))?;
    course.advance().map_err(|e| failed(&e))?;
    for step in 0..episode.steps {
        if step <= episode.warm {
            course.tally = Tally::default();
        }
        let decision = course.stage.with_view(|view| autoscaler.decide(view));
        course.stage.act(&decision);
        course.advance().map_err(|e| failed(&e))?;
    }
    Ok(course.tally)
}

/// An episode as it goes on.
struct Play {
    episode: Episode,
    course: Course,
    eyes: ScaleFree,
    teacher: Teacher,
    /// What an episode is worth: one over what the teacher would pay for a step, so that no kind of episode drowns the
    /// others.
    worth: f64,
    step: usize,
    waiting: f64,
}

/// An autoscaling environment.
pub struct World {
    distribution: Arc<Distribution>,
    teaches: bool,
    design: Design,
    /// Features that are hidden.
    hidden: Vec<usize>,
    play: Option<Play>,
    /// Scratch: pods ready at the end of each of the next steps.
    ready: Vec<u32>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("step", &self.play.as_ref().map(|p| p.step)).finish_non_exhaustive()
    }
}

impl World {
    /// An environment of `distribution`; with a teacher, if it `teaches`.
    pub fn new(distribution: Arc<Distribution>, teaches: bool) -> Self {
        World::designed(distribution, teaches, Design::default())
    }

    /// The same, with choices of another design.
    pub fn designed(distribution: Arc<Distribution>, teaches: bool, design: Design) -> Self {
        let hidden = distribution.config().hidden_features();
        World { distribution, teaches, design, hidden, play: None, ready: Vec::new() }
    }

    /// Figures of the episode so far.
    pub fn tally(&self) -> Tally {
        self.play.as_ref().map(|play| play.course.tally).unwrap_or_default()
    }

    /// What rewards of the running episode are multiplied with: one over what the teacher would pay for a step.
    pub fn worth(&self) -> f64 {
        self.play.as_ref().map_or(1.0, |play| play.worth)
    }

    /// Replicas that each choice of the first head asks for now.
    pub fn meanings(&self) -> &[u32] {
        self.play.as_ref().map_or(&[], |play| play.eyes.targets())
    }

    /// Loads that were seen, newest first, in saturated pods: what the history in the observation is made of.
    pub fn loads(&self) -> impl Iterator<Item = f64> + '_ {
        self.play.iter().flat_map(|play| play.eyes.loads())
    }

    /// The load now, which they are relative to there.
    pub fn level(&self) -> f64 {
        self.play.as_ref().map_or(0.0, |play| play.eyes.level())
    }

    /// Begins `episode`, whoever drew it, with `seed` for all that is left to chance in it.
    ///
    /// # Errors
    /// If it cannot be simulated.
    pub fn play(&mut self, episode: Episode, seed: u64) -> Result<(), EnvironmentError> {
        self.begin(episode, seed).map_err(|e| failed(seed, &e))
    }

    fn begin(&mut self, episode: Episode, seed: u64) -> Result<(), Box<dyn std::error::Error>> {
        let prepared = &episode.prepared;
        let facts = Facts::of(prepared)?;
        let course = Course::new(&episode, seed, &facts)?;
        let pool = &prepared.pools[facts.pool].config;
        let (initial, limits) = (pool.initial_replicas, (pool.limits.min_replicas, pool.limits.max_replicas));
        let mut eyes = ScaleFree::designed(prepared, facts, self.design);
        eyes.recall(&episode.past, BINS, limits);
        eyes.begin_again(initial);
        let mut teacher = teacher(&episode, &course, &eyes, self.distribution.config().caution);
        let worth = match self.distribution.config().equal_worth {
            true => 1.0 / teacher.follower(initial, episode.steps).max(1.0),
            false => 1.0,
        };
        self.play = Some(Play { course, eyes, teacher, worth, step: 0, waiting: 0.0, episode });
        self.advance()?;
        for _ in 0..self.play.as_ref().map_or(0, |play| play.episode.warm) {
            // The first choice is to keep.
            self.act(&[1 + AT_ANCHOR as u32, 0, 0])?;
        }
        if let Some(play) = &mut self.play {
            play.course.tally = Tally::default();
        }
        Ok(())
    }

    /// Does what `action` means, and plays on to the next decision; the reward of what lies between.
    fn act(&mut self, action: &[u32]) -> Result<f64, SimulationError> {
        if let Some(play) = &mut self.play {
            let eyes = &play.eyes;
            let decision = play.course.stage.with_view(|view| eyes.decide(view, action));
            play.course.stage.act(&decision);
            play.step += 1;
        }
        self.advance()
    }

    /// Plays on to the next decision, and looks; the reward of what lies between.
    fn advance(&mut self) -> Result<f64, SimulationError> {
        let Some(play) = &mut self.play else { return Ok(0.0) };
        let reward = play.course.advance()?;
        let eyes = &mut play.eyes;
        play.course.stage.with_view(|view| eyes.observe(view));
        play.waiting = play.course.stage.simulation.held(eyes.facts().pool).0 as f64;
        Ok(reward)
    }
}

/// The teacher of an episode, who sees at its start what `eyes` see.
fn teacher(episode: &Episode, course: &Course, eyes: &ScaleFree, caution: f64) -> Teacher {
    let facts = eyes.facts();
    let limits = episode.prepared.pools[facts.pool].config.limits;
    let prices = Prices {
        late: course.late * caution,
        pod_step: facts.preference.cost / facts.most * course.scale,
        churn: facts.preference.churn / f64::from(limits.max_replicas) * course.scale,
    };
    let bins = episode.to_come();
    let limits = (limits.min_replicas, limits.max_replicas);
    let anchors = eyes.clone().recall(&bins, BINS, limits);
    Teacher::new(facts.clone(), prices, bins, anchors, limits)
}

fn failed(seed: u64, error: &dyn std::fmt::Display) -> EnvironmentError {
    EnvironmentError { seed, reason: error.to_string() }
}

impl Environment for World {
    fn space(&self) -> Space {
        Space {
            observation: ScaleFree::names().len(),
            privileged: PRIVILEGED,
            heads: HEADS.to_vec(),
            teacher: self.teaches,
        }
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        self.play(self.distribution.episode(seed), seed)
    }

    fn look(&mut self, look: Look<'_>) {
        let Some(play) = &mut self.play else { return };
        look.observation.copy_from_slice(play.eyes.features());
        self.hidden.iter().for_each(|&feature| look.observation[feature] = 0.0);
        look.mask.copy_from_slice(play.eyes.mask());
        look.privileged.fill(0.0);
        let teacher = &mut play.teacher;
        let counts = play.course.stage.simulation.counts(play.eyes.facts().pool);
        play.eyes.outlook(teacher.lead(), &mut self.ready);
        let state = State {
            // The first decision is at the end of the first step.
            step: play.step + 1,
            desired: counts.desired,
            ready: &self.ready,
            backlog: play.waiting,
        };
        for (ahead, to) in look.privileged[..AHEAD].iter_mut().enumerate() {
            *to = ((teacher.arrivals(state.step + ahead) + 1.0) / (play.course.mean_arrivals + 1.0)).ln() as f32;
        }
        // Of what there is, and of the anchor.
        look.privileged[AHEAD] = (play.worth * teacher.cost(&state, play.eyes.wanted(0))) as f32;
        look.privileged[AHEAD + 3] = (play.worth * teacher.cost(&state, play.eyes.anchor())) as f32;
        look.privileged[AHEAD + 1] = (1.0 + play.waiting / play.course.mean_arrivals).ln() as f32;
        look.privileged[AHEAD + 2] = (play.worth * play.course.late).ln() as f32;
        if !self.teaches {
            return;
        }
        if play.eyes.has_data() {
            let loads: [f64; HEADS[0]] = std::array::from_fn(|choice| play.eyes.wanted(choice));
            teacher.costs(&state, &loads, &play.eyes.mask()[..HEADS[0]], look.teacher);
            let (tether, anchor) = (self.distribution.config().tether, play.eyes.anchor());
            for (cost, load) in look.teacher.iter_mut().zip(loads) {
                *cost = *cost * play.worth as f32 + (tether * (load / anchor).ln().abs()) as f32;
            }
        } else {
            look.teacher.fill(f32::NAN);
        }
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        let Some(play) = &self.play else {
            return Err(EnvironmentError { seed: 0, reason: "a step before any reset".into() });
        };
        let worth = play.worth;
        let (last, seed) = (play.step + 1 >= play.episode.steps, play.course.stage.simulation.prepared().scenario.seed);
        let reward = self.act(action).map_err(|e| failed(seed, &e))?;
        Ok(Transition { reward: (worth * reward) as f32, end: last.then_some(End::Truncated) })
    }

    fn prior(&self) -> Option<Vec<f32>> {
        let mut prior = vec![0.0; HEADS.iter().sum()];
        let capacity = match self.design {
            Design::Factors | Design::Forecast => FACTORS.map(|factor| (-factor.ln().abs() / RELUCTANCE) as f32),
            Design::Changes => CHANGES.map(|pods| -(pods.abs() as f32) / PODS),
        };
        prior[1..HEADS[0]].copy_from_slice(&capacity);
        prior[0] = if self.design == Design::Changes { 0.0 } else { KEEP };
        Some(prior)
    }

    fn kind(&self) -> &str {
        self.play.as_ref().map_or("", |play| play.episode.family.name())
    }
}
