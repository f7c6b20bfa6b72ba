//! Why learning stops.

use crate::environment::EnvironmentError;
use crate::network::ShapeError;

/// Why a trainer cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A hyper-parameter makes no sense.
    #[error("{0}")]
    Config(String),
    /// The environments are not as many as configured, or differ.
    #[error("environments: found {found}, expected {expected}")]
    Environments {
        /// What there is.
        found: String,
        /// What there should be.
        expected: String,
    },
    /// A number that is not finite. What was learnt up to here is worthless from this update on.
    #[error("update {update}: {tensor} is {value}, expected a finite number")]
    NotFinite {
        /// Which update, from 0.
        update: u64,
        /// Which tensor.
        tensor: String,
        /// What was found.
        value: f64,
    },
    /// A state that was saved by another kind of run.
    #[error("saved state, {field}: found {found}, expected {expected}")]
    State {
        /// What differs.
        field: String,
        /// What the state says.
        found: String,
        /// What this trainer has.
        expected: String,
    },
    /// An environment failed.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// Numbers that are no network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The tensor library failed.
    #[error("tensors: {0}")]
    Tensor(#[from] candle_core::Error),
    /// No threads.
    #[error("threads: {0}")]
    Threads(String),
}
