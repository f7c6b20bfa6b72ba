//! The smallest autoscaling problem that needs foresight, and its best causal policy.
//!
//! Demand is a chain of two states, calm and spike. A pod asked for now serves one step later: by the time a spike
//! shows, it is too late to start pods for its first step. Work that is not served waits in a short queue, which costs.

use kiscaler_train::environment::{End, Environment, EnvironmentError, Look, Space, Transition};
use kisim::random::{Purpose, Stream, stream};
use rand::Rng;

/// Most pods, and choices of the action: 1 to this.
pub const PODS: usize = 4;
/// Longest queue.
pub const QUEUE: usize = 6;
/// States: spike or not, pods, queue.
pub const STATES: usize = 2 * PODS * (QUEUE + 1);
/// Discount per step.
pub const GAMMA: f64 = 0.9;

const DEMAND: [usize; 2] = [1, 4];
/// Probability that the next step is a spike, by whether this one is.
const SPIKE: [f64; 2] = [0.15, 0.6];
const POD_COST: f64 = 0.3;
const QUEUE_COST: f64 = 0.35;
const STEPS: u32 = 50;

/// What there is to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether demand is high, 0 or 1.
    pub spike: usize,
    /// Pods that serve in this step, 1 to [`PODS`].
    pub pods: usize,
    /// Work that waits.
    pub queue: usize,
}

impl State {
    pub fn index(self) -> usize {
        (self.spike * PODS + self.pods - 1) * (QUEUE + 1) + self.queue
    }

    pub fn of(index: usize) -> Self {
        let (rest, queue) = (index / (QUEUE + 1), index % (QUEUE + 1));
        State { spike: rest / PODS, pods: rest % PODS + 1, queue }
    }

    /// Work left after this step, and its reward.
    fn serve(self) -> (usize, f64) {
        let queue = (self.queue + DEMAND[self.spike]).saturating_sub(self.pods).min(QUEUE);
        (queue, -(POD_COST * self.pods as f64 + QUEUE_COST * queue as f64))
    }

    /// Reward of a step, and where it leads with which probability, if `pods` are asked for.
    pub fn outcomes(self, pods: usize) -> (f64, [(State, f64); 2]) {
        let (queue, reward) = self.serve();
        let spike = SPIKE[self.spike];
        let next = |spike| State { spike, pods, queue };
        (reward, [(next(0), 1.0 - spike), (next(1), spike)])
    }

    pub fn observe(self, out: &mut [f32]) {
        out.fill(0.0);
        out[self.spike] = 1.0;
        out[1 + self.pods] = 1.0;
        out[2 + PODS + self.queue] = 1.0;
    }
}

/// Length of an observation.
pub const FEATURES: usize = 2 + PODS + QUEUE + 1;

/// Value of each state and of each choice in it, of the best policy.
pub fn value_iteration() -> (Vec<f64>, Vec<[f64; PODS]>) {
    let mut values = vec![0.0; STATES];
    let mut choices = vec![[0.0; PODS]; STATES];
    for _ in 0..2_000 {
        for index in 0..STATES {
            for (choice, value) in choices[index].iter_mut().enumerate() {
                *value = backup(State::of(index), choice + 1, &values);
            }
        }
        for (value, choices) in values.iter_mut().zip(&choices) {
            *value = choices.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        }
    }
    (values, choices)
}

/// Value of each state under `policy`, which gives pods.
pub fn policy_value(policy: &dyn Fn(State) -> usize) -> Vec<f64> {
    let mut values = vec![0.0; STATES];
    for _ in 0..2_000 {
        values = (0..STATES).map(|index| backup(State::of(index), policy(State::of(index)), &values)).collect();
    }
    values
}

/// How often each state is visited under `policy`, in the long run.
pub fn visits(policy: &dyn Fn(State) -> usize) -> Vec<f64> {
    let mut shares = vec![1.0 / STATES as f64; STATES];
    for _ in 0..2_000 {
        let mut next = vec![0.0; STATES];
        for (index, share) in shares.iter().enumerate() {
            let state = State::of(index);
            for (to, probability) in state.outcomes(policy(state)).1 {
                next[to.index()] += share * probability;
            }
        }
        shares = next;
    }
    shares
}

fn backup(state: State, pods: usize, values: &[f64]) -> f64 {
    let (reward, next) = state.outcomes(pods);
    reward + GAMMA * next.iter().map(|(to, probability)| probability * values[to.index()]).sum::<f64>()
}

/// As an environment: episodes of 50 steps, cut by the clock, from a random state.
#[derive(Clone, Debug)]
pub struct Spikes {
    state: State,
    steps: u32,
    random: Stream,
}

impl Default for Spikes {
    fn default() -> Self {
        Spikes { state: State { spike: 0, pods: 1, queue: 0 }, steps: 0, random: stream(0, Purpose::Arrivals, 0) }
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
        let (reward, next) = self.state.outcomes(action[0] as usize + 1);
        let draw = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        self.state = if draw < next[0].1 { next[0].0 } else { next[1].0 };
        self.steps += 1;
        Ok(Transition { reward: reward as f32, end: (self.steps == STEPS).then_some(End::Truncated) })
    }
}
