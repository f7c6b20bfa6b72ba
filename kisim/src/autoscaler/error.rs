//! Why an autoscaler cannot be had.

use crate::config::ConfigError;

/// Why an autoscaler cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AutoscalerError {
    /// The short form on the command line is not one.
    #[error("autoscaler {found:?}: expected {expected}")]
    Unknown {
        /// What was given.
        found: String,
        /// What can be.
        expected: String,
    },
    /// The scenario or a file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What its pods can take could not be measured.
    #[error("cannot measure what the pods can take: {0}")]
    Capacity(Box<crate::run::RunError>),
    /// A manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] crate::hpa::ManifestError),
    /// A manifest asks for a metric that the simulation does not offer.
    #[error("{file}, field {field}: found metric {found:?}, expected one that the simulation offers: {expected}")]
    UnknownMetric {
        /// The manifest.
        file: String,
        /// The field that names the metric.
        field: String,
        /// Its metric.
        found: String,
        /// Metrics there are.
        expected: String,
    },
    /// A query of a manifest cannot be answered.
    #[error("{file}, field {field}: {error}")]
    Query {
        /// The manifest.
        file: String,
        /// The field that holds the query.
        field: String,
        /// Why not.
        error: crate::keda::query::QueryError,
    },
    /// A manifest or TOML file does not describe the autoscaler that was asked for.
    #[error("{file}, field kind: found {found}, expected {expected}")]
    Kind {
        /// The file.
        file: String,
        /// What it is.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// A folder holds no tuned autoscalers.
    #[error("{folder}: found no file named *-tuned.yaml or *-tuned.toml, expected what kisim tune writes")]
    NoTuned {
        /// The folder.
        folder: String,
    },
    /// An autoscaler of another crate says why.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
