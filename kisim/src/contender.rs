//! Who takes part in a comparison: autoscalers, and the two yardsticks that know what is to come.

use std::path::Path;

use crate::autoscaler::{AutoscalerConfig, AutoscalerError};
use crate::config::Span;
use crate::oracle::{Effort, ForesightConfig};
use crate::scenario::Scenario;

/// One who takes part.
#[derive(Clone, Debug, PartialEq)]
pub enum Contender {
    /// An autoscaler: it sees what a live one would.
    Autoscaler(AutoscalerConfig),
    /// The same, read from a file, by whose name it goes.
    File(String, AutoscalerConfig),
    /// It sees the arrivals of the next seconds.
    Foresight(ForesightConfig),
    /// A plan made with the whole record in hand.
    Hindsight(Effort),
}

impl Contender {
    /// Reads the command line's short form: those of [`AutoscalerConfig::parse`], `foresight`, `foresight:90s`,
    /// `hindsight`, `hindsight:quick`.
    pub fn parse(text: &str, scenario: &Scenario) -> Result<Contender, AutoscalerError> {
        let unknown =
            |expected: &str| Err(AutoscalerError::Unknown { found: text.to_owned(), expected: expected.to_owned() });
        match text.split_once(':').unwrap_or((text, "")) {
            ("foresight", "") => Ok(Contender::Foresight(ForesightConfig::default())),
            ("foresight", horizon) => match horizon.parse::<Span>() {
                Ok(horizon) if horizon > Span::default() => {
                    Ok(Contender::Foresight(ForesightConfig { horizon: Some(horizon), ..ForesightConfig::default() }))
                }
                _ => unknown("foresight, or foresight:HORIZON with a length of time such as 45s"),
            },
            ("hindsight", "") => Ok(Contender::Hindsight(Effort::FULL)),
            ("hindsight", "quick") => Ok(Contender::Hindsight(Effort::QUICK)),
            ("hindsight", _) => unknown("hindsight or hindsight:quick"),
            _ if AutoscalerConfig::is_file(text) => Contender::load(Path::new(text), scenario),
            _ => match AutoscalerConfig::parse(text, scenario) {
                Err(AutoscalerError::Unknown { found, expected }) => {
                    Err(AutoscalerError::Unknown { found, expected: format!("{expected}; or foresight, or hindsight") })
                }
                other => Ok(Contender::Autoscaler(other?)),
            },
        }
    }

    /// Reads a file, see [`AutoscalerConfig::load`].
    pub fn load(path: &Path, scenario: &Scenario) -> Result<Contender, AutoscalerError> {
        let config = AutoscalerConfig::load(path, scenario)?;
        let stem = path.file_stem().map_or_else(|| config.name(), |stem| stem.to_string_lossy().into_owned());
        Ok(Contender::File(stem, config))
    }

    /// Its name in reports.
    pub fn name(&self) -> String {
        match self {
            Contender::Autoscaler(config) => config.name(),
            Contender::File(name, _) => name.clone(),
            Contender::Foresight(config) => config.name(),
            Contender::Hindsight(_) => "hindsight".to_owned(),
        }
    }
}

impl From<AutoscalerConfig> for Contender {
    fn from(config: AutoscalerConfig) -> Self {
        Contender::Autoscaler(config)
    }
}
