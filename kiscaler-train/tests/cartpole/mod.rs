//! CartPole-v1, as Gymnasium has it (`gymnasium/envs/classic_control/cartpole.py`; Barto, Sutton & Anderson 1983).

use kiscaler_train::environment::{End, Environment, EnvironmentError, Look, Space, Transition};
use kisim::random::{Purpose, stream};
use rand::Rng;

const GRAVITY: f64 = 9.8;
const CART_MASS: f64 = 1.0;
const POLE_MASS: f64 = 0.1;
/// Half of the pole's length, in metres.
const LENGTH: f64 = 0.5;
const FORCE: f64 = 10.0;
const STEP_SECS: f64 = 0.02;
const ANGLE_LIMIT: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
const POSITION_LIMIT: f64 = 2.4;
const STEP_LIMIT: u32 = 500;

/// A cart that balances a pole: choice 0 pushes it to the left, 1 to the right.
#[derive(Clone, Debug, Default)]
pub struct CartPole {
    /// Position in metres, velocity, angle in radians, angular velocity.
    pub state: [f64; 4],
    /// Steps of this episode.
    pub steps: u32,
}

impl Environment for CartPole {
    fn space(&self) -> Space {
        Space { observation: 4, privileged: 0, heads: vec![2], teacher: false }
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        let mut random = stream(seed, Purpose::Arrivals, 0);
        self.state = std::array::from_fn(|_| (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * 0.1 - 0.05);
        self.steps = 0;
        Ok(())
    }

    fn look(&mut self, look: Look<'_>) {
        look.observation.iter_mut().zip(self.state).for_each(|(out, value)| *out = value as f32);
        look.mask.fill(true);
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        let [x, x_dot, theta, theta_dot] = self.state;
        let force = if action[0] == 1 { FORCE } else { -FORCE };
        let (sin, cos) = theta.sin_cos();
        let mass = CART_MASS + POLE_MASS;
        let moment = POLE_MASS * LENGTH;
        let push = (force + moment * theta_dot * theta_dot * sin) / mass;
        let theta_acc = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - POLE_MASS * cos * cos / mass));
        let x_acc = push - moment * theta_acc * cos / mass;
        self.state = [
            x + STEP_SECS * x_dot,
            x_dot + STEP_SECS * x_acc,
            theta + STEP_SECS * theta_dot,
            theta_dot + STEP_SECS * theta_acc,
        ];
        self.steps += 1;
        let fallen = self.state[0].abs() > POSITION_LIMIT || self.state[2].abs() > ANGLE_LIMIT;
        let end = match fallen {
            true => Some(End::Terminated),
            false => (self.steps >= STEP_LIMIT).then_some(End::Truncated),
        };
        Ok(Transition { reward: 1.0, end })
    }
}
