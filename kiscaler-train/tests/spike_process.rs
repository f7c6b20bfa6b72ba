//! Where onsets are pure chance nobody can win, and the best that can be done is known: spikes that come and go without
//! memory, at known rates, and pods that serve two steps after they were asked for. Value iteration gives the best causal
//! policy; PPO is to reach at least 95 % of what lies between doing nothing and that.
//!
//! `learns.rs` has the sibling with a cold start of one step. Here pods on their way are part of the state, as in the
//! real environment, and changing their number costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use kiscaler_train::actor::Buffers;
use kiscaler_train::environment::{End, Environment, EnvironmentError, Look, Space, Transition};
use kiscaler_train::ppo::{PpoConfig, Resources, Trainer};
use kisim::random::{Purpose, Stream, stream};
use rand::Rng;

/// Most pods, and choices: 1 to this many, to serve two steps from now.
const PODS: usize = 4;
/// Longest queue.
const QUEUE: usize = 6;
const STATES: usize = 2 * PODS * PODS * (QUEUE + 1);
const FEATURES: usize = 2 + 2 * PODS + QUEUE + 1;
const GAMMA: f64 = 0.9;
const STEPS: u32 = 50;

/// Requests of a step, in what a pod serves, calm and in a spike.
const DEMAND: [usize; 2] = [1, 4];
/// Probability that the next step is one of a spike, by whether this one is: 20 steps between spikes, which last five.
const SPIKE: [f64; 2] = [0.05, 0.8];
/// What a pod costs for a step, a late request, and a pod more or less.
const COST: f64 = 0.5;
const LATE: f64 = 0.3;
const CHURN: f64 = 0.02;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    spike: usize,
    /// Pods that serve now, and in the next step.
    pods: usize,
    next: usize,
    queue: usize,
}

impl State {
    fn index(self) -> usize {
        ((self.spike * PODS + self.pods - 1) * PODS + self.next - 1) * (QUEUE + 1) + self.queue
    }

    fn of(index: usize) -> State {
        let (rest, queue) = (index / (QUEUE + 1), index % (QUEUE + 1));
        State { spike: rest / (PODS * PODS), pods: rest / PODS % PODS + 1, next: rest % PODS + 1, queue }
    }

    /// Reward of a step in which `asked` pods are asked for, and where it leads with which probability.
    fn outcomes(self, asked: usize) -> (f64, [(State, f64); 2]) {
        let queue = (self.queue + DEMAND[self.spike]).saturating_sub(self.pods).min(QUEUE);
        let churn = asked.abs_diff(self.next) as f64;
        let reward = -(COST * self.pods as f64 + LATE * queue as f64 + CHURN * churn);
        let to = |spike| State { spike, pods: self.next, next: asked, queue };
        (reward, [(to(0), 1.0 - SPIKE[self.spike]), (to(1), SPIKE[self.spike])])
    }

    fn backup(self, asked: usize, values: &[f64]) -> f64 {
        let (reward, outcomes) = self.outcomes(asked);
        reward + GAMMA * outcomes.iter().map(|(to, probability)| probability * values[to.index()]).sum::<f64>()
    }

    fn observe(self, out: &mut [f32]) {
        out.fill(0.0);
        for index in [self.spike, 1 + self.pods, 1 + PODS + self.next, 2 + 2 * PODS + self.queue] {
            out[index] = 1.0;
        }
    }
}

/// Values of all states, each found from those of the states it leads to, until they stay as they are.
fn fixed_point(value: impl Fn(State, &[f64]) -> f64) -> Vec<f64> {
    let mut values = vec![0.0; STATES];
    // 0.9^300 is 2e-14.
    for _ in 0..300 {
        values = (0..STATES).map(|index| value(State::of(index), &values)).collect();
    }
    values
}

/// The best causal policy, and what it is worth in each state.
fn value_iteration() -> (Vec<usize>, Vec<f64>) {
    let best = |state: State, values: &[f64]| {
        let worth = |asked: &usize| state.backup(*asked, values);
        (1..=PODS).max_by(|a, b| worth(a).total_cmp(&worth(b))).map_or((1, 0.0), |asked| (asked, worth(&asked)))
    };
    let values = fixed_point(|state, values| best(state, values).1);
    ((0..STATES).map(|index| best(State::of(index), &values).0).collect(), values)
}

/// Mean over all states of what `policy` is worth.
fn worth(policy: impl Fn(State) -> usize) -> f64 {
    mean(&fixed_point(|state, values| state.backup(policy(state), values)))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[derive(Clone, Debug)]
struct Spikes {
    state: State,
    steps: u32,
    random: Stream,
}

impl Spikes {
    fn new() -> Self {
        Spikes { state: State::of(0), steps: 0, random: stream(0, Purpose::Arrivals, 0) }
    }
}

impl Environment for Spikes {
    fn space(&self) -> Space {
        Space { observation: FEATURES, privileged: 0, heads: vec![PODS], teacher: false }
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        self.random = stream(seed, Purpose::Arrivals, 0);
        self.state = State::of((self.random.next_u64() % STATES as u64) as usize);
        self.steps = 0;
        Ok(())
    }

    fn look(&mut self, look: Look<'_>) {
        self.state.observe(look.observation);
        look.mask.fill(true);
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        let (reward, outcomes) = self.state.outcomes(action[0] as usize + 1);
        let draw = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        self.state = if draw < outcomes[0].1 { outcomes[0].0 } else { outcomes[1].0 };
        self.steps += 1;
        Ok(Transition { reward: reward as f32, end: (self.steps == STEPS).then_some(End::Truncated) })
    }
}

#[test]
fn states_are_counted_once_and_outcomes_are_certain_together() {
    for index in 0..STATES {
        let state = State::of(index);
        assert_eq!(state.index(), index);
        for asked in 1..=PODS {
            let (reward, outcomes) = state.outcomes(asked);
            assert!(reward < 0.0);
            assert!((outcomes[0].1 + outcomes[1].1 - 1.0).abs() < 1e-12);
            // Nobody serves earlier than two steps after having been asked for.
            assert!(outcomes.iter().all(|(to, _)| to.pods == state.next && to.next == asked));
        }
    }
}

#[test]
fn value_iteration_beats_every_rule_of_thumb() {
    let (policy, values) = value_iteration();
    let best = mean(&values);
    // Its own policy is worth what it says.
    assert!((worth(|state| policy[state.index()]) - best).abs() < 1e-9);
    let standing = (1..=PODS).map(|pods| worth(|_| pods));
    let reactive = worth(|state| DEMAND[state.spike]);
    let drains = worth(|state| (DEMAND[state.spike] + state.queue / 2).min(PODS));
    for rule in standing.chain([reactive, drains]) {
        assert!(rule < best - 0.05 * best.abs(), "{rule} {best}");
    }
    // Every number of pods is the best one somewhere: no constant will do.
    assert!((1..=PODS).all(|pods| policy.contains(&pods)));
}

#[test]
fn ppo_reaches_95_percent_of_the_best_causal_policy() {
    let config = PpoConfig {
        environments: 16,
        total_steps: 300_000,
        gamma: GAMMA,
        learning_rate: 1e-3,
        entropy_start: 0.01,
        entropy_end: 0.0,
        normalise_returns: true,
        minibatch: 512,
        ..PpoConfig::default()
    };
    let environments = vec![Spikes::new(); config.environments];
    let mut trainer = Trainer::new(config, 1, Resources::default(), environments).unwrap();
    while !trainer.finished() {
        trainer.update().unwrap();
    }
    let (actor, mut buffers) = (trainer.actor().unwrap(), Buffers::default());
    let learnt: Vec<usize> = (0..STATES)
        .map(|index| {
            let (mut observation, mut action) = ([0.0; FEATURES], [0]);
            State::of(index).observe(&mut observation);
            actor.decide(&observation, &[true; PODS], &[], &mut buffers, &mut action);
            action[0] as usize + 1
        })
        .collect();
    // Nothing: whoever is on the way is all that ever will be.
    let nothing = worth(|state| state.next);
    let reactive = worth(|state| DEMAND[state.spike]);
    let (best, found) = (mean(&value_iteration().1), worth(|state| learnt[state.index()]));
    let share = (found - nothing) / (best - nothing);
    let over_reactive = (found - reactive) / (best - reactive);
    eprintln!(
        "spikes, two steps' cold start: nothing {nothing:.3}, reactive {reactive:.3}, learnt {found:.3}, best {best:.3}: \
         {share:.4} of what there is to win, {over_reactive:.4} of what is left to whoever reacts"
    );
    assert!(best - nothing > 0.05 * nothing.abs(), "nothing to win: {nothing} {best}");
    assert!(share >= 0.95, "{share}");
}
