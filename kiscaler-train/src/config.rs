//! The configuration of a training run, as written in TOML.

use std::path::Path;

use kisim::config::{ConfigError, parse_toml, read_file};
use serde::{Deserialize, Serialize};

use crate::observation::ObservationSet;
use crate::ppo::PpoConfig;
use crate::training::distribution::DistributionConfig;

/// The built-in configuration, with a comment on what matters.
pub const DEFAULT: &str = include_str!("../configs/default.toml");

/// The published system's configuration.
pub const PAPER: &str = include_str!("../configs/paper.toml");

/// A training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Its name: of the run's folder, and in figures.
    pub name: String,
    /// Seed of everything, unless the command line gives one.
    #[serde(default = "one")]
    pub seed: u64,
    /// What is seen and done: `scale-free`, or `paper` for the published observation, action, reward and episodes.
    #[serde(default)]
    pub observation: ObservationSet,
    /// The learner.
    pub ppo: PpoConfig,
    /// What is learnt on; of no meaning under `paper`, which has its own patterns.
    #[serde(default)]
    pub distribution: DistributionConfig,
    /// How it is judged meanwhile.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// Updates between training checkpoints.
    #[serde(default = "twenty")]
    pub save_every: u64,
}

fn one() -> u64 {
    1
}

fn twenty() -> u64 {
    20
}

/// Evaluations in the course of training: episodes of the training distribution with seeds of their own, and the likeliest
/// choices. The best policy by them is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Updates between two.
    pub every: u64,
    /// Episodes of each.
    pub episodes: u64,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        EvaluationConfig { every: 40, episodes: 96 }
    }
}

impl TrainConfig {
    /// Reads a configuration from text; `origin` names it in errors.
    ///
    /// # Errors
    /// One sentence with place, found and expected.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let config: TrainConfig = parse_toml(text, origin)?;
        let field = |field: String, found: String, expected: &str| {
            Err(ConfigError::Field { origin: origin.to_owned(), field, found, expected: expected.to_owned() })
        };
        if config.name.is_empty() || config.name.contains(['/', '\\']) {
            return field("name".into(), format!("{:?}", config.name), "a name without slashes");
        }
        if let Some(problem) = config.ppo.problem() {
            let (name, rest) = problem.split_once(": found ").unwrap_or((problem.as_str(), ""));
            let (found, expected) = rest.split_once(", expected ").unwrap_or((rest, "something else"));
            return field(format!("ppo.{name}"), found.to_owned(), expected);
        }
        if config.observation == ObservationSet::Paper && config.ppo.teaches() {
            return field(
                "observation".into(),
                "\"paper\" with a teacher to imitate".into(),
                "\"scale-free\", which has one",
            );
        }
        if let Some((name, found, expected)) = config.distribution.problem() {
            return field(format!("distribution.{name}"), found, expected);
        }
        if config.evaluation.episodes == 0 {
            return field("evaluation.episodes".into(), "0".into(), "at least 1");
        }
        Ok(config)
    }

    /// Reads a configuration from a file.
    ///
    /// # Errors
    /// As [`parse`](TrainConfig::parse), and if the file cannot be read.
    pub fn load(path: &Path) -> Result<(Self, String), ConfigError> {
        let text = read_file(path)?;
        Ok((TrainConfig::parse(&text, &path.display().to_string())?, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_read() {
        assert_eq!(TrainConfig::parse(DEFAULT, "default").unwrap().observation, ObservationSet::ScaleFree);
        let paper = TrainConfig::parse(PAPER, "paper").unwrap();
        assert_eq!((paper.observation, paper.ppo.rollout(), paper.ppo.minibatch), (ObservationSet::Paper, 2_048, 64));
    }

    #[test]
    fn the_published_set_has_no_teacher() {
        let text = PAPER.replace("[ppo]", "[ppo]\nimitation_updates = 3");
        let error = TrainConfig::parse(&text, "mine.toml").unwrap_err().to_string();
        assert!(
            error.contains("mine.toml") && error.contains("observation") && error.contains("scale-free"),
            "{error}"
        );
    }
}
