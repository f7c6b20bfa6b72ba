//! Who takes part in a comparison: autoscalers, and the two yardsticks that know what is to come.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::autoscaler::{AutoscalerConfig, AutoscalerError};
use crate::config::{ConfigError, Span};
use crate::control::Autoscaler;
use crate::oracle::{Effort, ForesightConfig};
use crate::prepared::Prepared;
use crate::scenario::Scenario;
use crate::tune::Kind;

/// Makes an autoscaler for runs of what was prepared, a new one for each run.
pub type Build = dyn Fn(&Arc<Prepared>) -> Result<Box<dyn Autoscaler>, AutoscalerError> + Send + Sync;

/// The same autoscaler with a factor on its headroom: how it is made then.
pub type Vary = dyn Fn(f64) -> Arc<Build> + Send + Sync;

/// One who takes part.
#[derive(Clone)]
pub enum Contender {
    /// An autoscaler: it sees what a live one would.
    Autoscaler(AutoscalerConfig),
    /// The same, read from a file, by whose name it goes.
    File(String, AutoscalerConfig),
    /// An autoscaler that is not of this crate; what it cannot be built for is an [`AutoscalerError::Other`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kisim::control::{Autoscaler, Decision, Verdict, View};
    /// use kisim::contender::Contender;
    /// #[derive(Debug)]
    /// struct Mine;
    /// impl Autoscaler for Mine {
    ///     fn name(&self) -> String {
    ///         "mine".into()
    ///     }
    ///     fn decide(&mut self, view: &View<'_>) -> Decision {
    ///         let two = |_| Verdict::Scale { replicas: 2, reason: "two will do".into() };
    ///         Decision { pools: view.pools.iter().map(two).collect(), placement: None }
    ///     }
    /// }
    /// let mine = Contender::Policy { name: "mine".into(), build: Arc::new(|_prepared| Ok(Box::new(Mine))), vary: None };
    /// assert_eq!(mine.name(), "mine");
    /// ```
    Policy {
        /// Its name in reports, by which two are the same.
        name: String,
        /// How one is made.
        build: Arc<Build>,
        /// How one with more room or less is made, where there is a parameter for it.
        vary: Option<Arc<Vary>>,
    },
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

    /// Those that `kisim tune` wrote: a file, a folder of them, or `KIND=FILE`, which insists on a kind; so does a file
    /// that is called `KIND-tuned`.
    pub fn tuned(argument: &str, scenario: &Scenario) -> Result<Vec<Contender>, AutoscalerError> {
        let (kind, path) = match argument.split_once('=') {
            Some((kind, path)) => (Some(kind), Path::new(path)),
            None => (None, Path::new(argument)),
        };
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            let unreadable = |reason| ConfigError::Read { path: path.to_owned(), reason };
            let entries = std::fs::read_dir(path).map_err(unreadable)?;
            files = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.retain(|file| {
                let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                name.ends_with("-tuned.yaml") || name.ends_with("-tuned.toml")
            });
            files.sort();
            if files.is_empty() {
                return Err(AutoscalerError::NoTuned { folder: path.display().to_string() });
            }
        }
        let load = |file: &PathBuf| {
            let contender = Contender::load(file, scenario)?;
            let own = |kind: &&Kind| file.file_name().is_some_and(|name| *name == *kind.file());
            let kind = kind.or_else(|| Kind::ALL.iter().find(own).map(|kind| kind.name()));
            if let Contender::File(_, config) = &contender
                && let Some(kind) = kind.filter(|&kind| kind != config.kind())
            {
                return Err(AutoscalerError::Kind {
                    file: file.display().to_string(),
                    found: format!("an autoscaler of kind {}", config.kind()),
                    expected: kind.to_owned(),
                });
            }
            Ok(contender)
        };
        files.iter().map(load).collect()
    }

    /// The same with `factor` times the headroom; `None` of hindsight, which has none, and of who does not say how.
    pub fn with_headroom(&self, factor: f64, scenario: &Scenario) -> Option<Contender> {
        Some(match self {
            Contender::Autoscaler(config) => Contender::Autoscaler(config.with_headroom(factor, scenario)),
            Contender::File(name, config) => Contender::File(name.clone(), config.with_headroom(factor, scenario)),
            Contender::Policy { name, vary, .. } => {
                let vary = Arc::clone(vary.as_ref()?);
                let again = move |other: f64| vary(factor * other);
                Contender::Policy { name: name.clone(), build: again(1.0), vary: Some(Arc::new(again)) }
            }
            Contender::Foresight(config) => {
                Contender::Foresight(ForesightConfig { headroom: config.headroom * factor, ..*config })
            }
            Contender::Hindsight(_) => return None,
        })
    }

    /// Its name in reports.
    pub fn name(&self) -> String {
        match self {
            Contender::Autoscaler(config) => config.name(),
            Contender::File(name, _) | Contender::Policy { name, .. } => name.clone(),
            Contender::Foresight(config) => config.name(),
            Contender::Hindsight(_) => "hindsight".to_owned(),
        }
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contender::Autoscaler(config) => f.debug_tuple("Autoscaler").field(config).finish(),
            Contender::File(name, config) => f.debug_tuple("File").field(name).field(config).finish(),
            Contender::Policy { name, .. } => f.debug_struct("Policy").field("name", name).finish_non_exhaustive(),
            Contender::Foresight(config) => f.debug_tuple("Foresight").field(config).finish(),
            Contender::Hindsight(effort) => f.debug_tuple("Hindsight").field(effort).finish(),
        }
    }
}

impl PartialEq for Contender {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Contender::Autoscaler(a), Contender::Autoscaler(b)) => a == b,
            (Contender::File(name, a), Contender::File(other, b)) => name == other && a == b,
            (Contender::Policy { name, .. }, Contender::Policy { name: other, .. }) => name == other,
            (Contender::Foresight(a), Contender::Foresight(b)) => a == b,
            (Contender::Hindsight(a), Contender::Hindsight(b)) => a == b,
            _ => false,
        }
    }
}

impl From<AutoscalerConfig> for Contender {
    fn from(config: AutoscalerConfig) -> Self {
        Contender::Autoscaler(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscaler::Fixed;
    use crate::compare::compare;
    use crate::pareto::pareto;
    use crate::run::{RunError, silent};

    fn policy(name: &str, pods: u32) -> Contender {
        let replicas = move |prepared: &Prepared| [(prepared.pools[0].name.clone(), pods)].into();
        Contender::Policy {
            name: name.into(),
            build: Arc::new(move |prepared| Ok(Box::new(Fixed::new(prepared, &replicas(prepared))))),
            vary: None,
        }
    }

    fn short() -> Arc<Prepared> {
        let mut scenario = Scenario::builtin().unwrap();
        scenario.duration = Some(Span::secs(60));
        Prepared::new(scenario).unwrap()
    }

    #[test]
    fn an_autoscaler_of_another_crate_is_compared_like_any_other() {
        let prepared = short();
        let all = [Contender::parse("fixed:3", &prepared.scenario).unwrap(), policy("mine", 3), policy("more", 5)];
        let result = compare(&prepared, &all, 1, 1, &silent).unwrap();
        let [fixed, mine, more] = &result.autoscalers[..] else { panic!() };
        assert_eq!((mine.name.as_str(), more.name.as_str()), ("mine", "more"));
        assert_eq!(mine.metrics["reward.mean"], fixed.metrics["reward.mean"]);
        assert_ne!(more.metrics["cost"], fixed.metrics["cost"]);
        let sweep = pareto(&prepared, &all[1..2], &[0.5, 1.0, 2.0], 1, 1, &silent).unwrap();
        // It has no headroom that anybody here could turn.
        assert_eq!(sweep.contenders[0].points.len(), 1);
        assert_eq!(sweep.contenders[0].points[0].cost.mean, mine.metrics["cost"].mean);
    }

    #[test]
    fn one_that_says_how_is_swept_like_any_other() {
        let prepared = short();
        let build = |pods: f64| -> Arc<Build> {
            Arc::new(move |prepared: &Arc<Prepared>| {
                let replicas = [(prepared.pools[0].name.clone(), pods as u32)].into();
                Ok(Box::new(Fixed::new(prepared, &replicas)))
            })
        };
        let mine = Contender::Policy {
            name: "mine".into(),
            build: build(4.0),
            vary: Some(Arc::new(move |factor| build(4.0 * factor))),
        };
        let sweep = pareto(&prepared, std::slice::from_ref(&mine), &[0.5, 1.0, 2.0], 1, 1, &silent).unwrap();
        let twice =
            mine.with_headroom(0.5, &prepared.scenario).unwrap().with_headroom(4.0, &prepared.scenario).unwrap();
        let alone = compare(&prepared, &[twice], 1, 1, &silent).unwrap();
        assert_eq!(alone.autoscalers[0].metrics["cost"].mean, sweep.contenders[0].points[2].cost.mean);
        let costs: Vec<f64> = sweep.contenders[0].points.iter().map(|point| point.cost.mean).collect();
        assert!(costs.len() == 3 && costs[0] < costs[1] && costs[1] < costs[2], "{costs:?}");
    }

    #[test]
    fn why_it_cannot_be_built_is_said_in_its_own_words() {
        let none = Contender::Policy {
            name: "none".into(),
            build: Arc::new(|_| Err(AutoscalerError::Other("checkpoint 3: found 7 features, expected 8".into()))),
            vary: None,
        };
        let error = compare(&short(), &[none], 1, 1, &silent).unwrap_err();
        assert!(matches!(error, RunError::Autoscaler(AutoscalerError::Other(_))));
        assert_eq!(error.to_string(), "checkpoint 3: found 7 features, expected 8");
    }

    #[test]
    fn policies_are_the_same_by_name() {
        assert_eq!(policy("a", 1), policy("a", 2));
        assert_ne!(policy("a", 1), policy("b", 1));
        assert_eq!(format!("{:?}", policy("a", 1)), "Policy { name: \"a\", .. }");
    }
}
