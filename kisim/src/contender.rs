//! Who takes part in a comparison: autoscalers, and the two yardsticks that know what is to come.

use crate::autoscaler::{AutoscalerConfig, AutoscalerError};
use crate::config::Span;
use crate::oracle::{Effort, ForesightConfig};
use crate::scenario::Scenario;

/// One who takes part.
#[derive(Clone, Debug, PartialEq)]
pub enum Contender {
    /// An autoscaler: it sees what a live one would.
    Autoscaler(AutoscalerConfig),
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
            _ => Ok(Contender::Autoscaler(AutoscalerConfig::parse(text, scenario)?)),
        }
    }

    /// Its name in reports.
    pub fn name(&self) -> String {
        match self {
            Contender::Autoscaler(config) => config.name(),
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
