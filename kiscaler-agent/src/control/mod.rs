//! The control loop without its surroundings: no clock, no network. Scrapes go in, an [`Outcome`] comes out.
//!
//! ```text
//! Inputs ─► Window ─► Decider (policy or baseline) ─► guards ─► Gate (limits, last on every path) ─► Outcome
//! ```
//!
//! Window, decider and limits are the simulator's own code. What is added here is what a simulation does not need: guards
//! against acting on what is not known.

mod gate;
mod health;
mod reason;
mod step;

pub use gate::{Gate, Limited};
pub use health::{Health, HealthRules};
pub use reason::Reason;
pub use step::{Inputs, Loop, Obstacle, Outcome, PoolOutcome, Rules};
