//! Proximal policy optimisation (Schulman et al. 2017) in the form of its reference implementation (CleanRL's
//! `ppo.py`; Huang et al., "The 37 Implementation Details of Proximal Policy Optimization", 2022).
//!
//! [`Trainer::update`] is one turn of the algorithm, top to bottom: a rollout, values, advantages, and epochs of
//! minibatches, each with one step of Adam. What it is generic over is [`Environment`](crate::environment::Environment).
//! What it computes with is `fused` on the processor and `reference`, Candle, elsewhere.

mod adam;
mod batch;
mod config;
mod error;
mod fused;
mod gae;
mod kernel;
mod loss;
mod model;
mod reference;
mod rollout;
mod stats;
mod trainer;

pub use adam::Adam;
pub use config::{PpoConfig, Schedule};
pub use error::TrainError;
pub use rollout::Position;
pub use stats::{Episodes, UpdateStats};
pub use trainer::{Backend, Resources, Trainer, TrainerState};

#[cfg(test)]
mod gradients;
