//! What a policy may see and do: ours, the published set, and ours with other actions, to compare.

use kisim::config::Span;
use kisim::control::{Decision, View};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Choice, Encoder, Head};
use crate::paper::{self, Paper};
use crate::scale_free::{self, BRIDGE, CHANGES, Design, FACTORS, PLACEMENTS, ScaleFree};

/// Heads of an action, in both sets.
pub const HEADS: usize = 3;

/// A set of observations and actions. A checkpoint names the one it was trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ObservationSet {
    /// Ours, see [`scale_free`].
    #[default]
    ScaleFree,
    /// What ours sees; its factors are on a forecast with its error, and not on what the leading rule wants.
    ScaleFreeForecast,
    /// What ours sees; it asks for so many pods more or fewer.
    ScaleFreeChanges,
    /// The published one, see [`paper`].
    Paper,
}

impl ObservationSet {
    /// All.
    pub const ALL: [ObservationSet; 4] = [
        ObservationSet::ScaleFree,
        ObservationSet::ScaleFreeForecast,
        ObservationSet::ScaleFreeChanges,
        ObservationSet::Paper,
    ];

    /// The design of its choices, if it is one of ours.
    pub fn design(self) -> Option<Design> {
        match self {
            ObservationSet::ScaleFree => Some(Design::Factors),
            ObservationSet::ScaleFreeForecast => Some(Design::Forecast),
            ObservationSet::ScaleFreeChanges => Some(Design::Changes),
            ObservationSet::Paper => None,
        }
    }

    /// Its name in configurations and checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            ObservationSet::ScaleFree => "scale-free",
            ObservationSet::ScaleFreeForecast => "scale-free-forecast",
            ObservationSet::ScaleFreeChanges => "scale-free-changes",
            ObservationSet::Paper => "paper",
        }
    }

    /// The set of that name.
    pub fn named(name: &str) -> Option<ObservationSet> {
        ObservationSet::ALL.into_iter().find(|set| set.name() == name)
    }

    /// Its encoder, of this version.
    pub fn encoder(self) -> Encoder {
        let version = if self.design().is_some() { scale_free::VERSION } else { paper::VERSION };
        Encoder { name: self.name().to_owned(), version }
    }

    /// Names of its features, in order.
    pub fn features(self) -> Vec<String> {
        match self.design() {
            Some(_) => ScaleFree::names(),
            None => paper::NAMES.map(str::to_owned).to_vec(),
        }
    }

    /// Choices of each head.
    pub fn sizes(self) -> [usize; HEADS] {
        if self.design().is_some() { scale_free::HEADS } else { paper::HEADS }
    }

    /// The action's heads, by name and value.
    pub fn heads(self) -> Vec<Head> {
        let choice = |name: String, value: f64| Choice { name, value };
        let head = |name: &str, choices: Vec<Choice>| Head { name: name.to_owned(), choices };
        match self.design() {
            Some(design) => {
                let mut capacity = vec![choice("keep".to_owned(), 0.0)];
                match design {
                    Design::Factors => capacity.extend(FACTORS.map(|by| choice(format!("anchor × {by}"), by))),
                    Design::Forecast => capacity.extend(FACTORS.map(|by| choice(format!("forecast × {by}"), by))),
                    Design::Changes => capacity.extend(CHANGES.map(|n| choice(format!("{n:+} pods"), f64::from(n)))),
                }
                let bridge = BRIDGE.map(|share| choice(format!("{share} of the CPU pods"), share));
                let placements = PLACEMENTS.map(|batches| match batches {
                    None => choice("GPU pods alone".to_owned(), 0.0),
                    Some(batches) => choice(format!("CPU pods beyond a queue of {batches} batches"), batches),
                });
                vec![
                    head("capacity", capacity),
                    head("bridge", bridge.to_vec()),
                    head("placement", placements.to_vec()),
                ]
            }
            None => {
                let changes =
                    |pods: &str| paper::CHANGES.map(|n| choice(format!("{n:+} {pods}"), f64::from(n))).to_vec();
                let shares = paper::GPU_SHARES.map(|(name, share)| choice(name.to_owned(), share));
                vec![
                    head("gpu", changes("GPU replicas")),
                    head("cpu", changes("CPU replicas")),
                    head("placement", shares.to_vec()),
                ]
            }
        }
    }

    /// Time between decisions in training.
    pub fn control_interval(self) -> Span {
        if self.design().is_some() { Span::secs(15) } else { paper::CONTROL_INTERVAL }
    }
}

/// Watches a run for a policy of one of the sets.
#[derive(Clone, Debug)]
pub enum Eyes {
    /// Ours.
    ScaleFree(Box<ScaleFree>),
    /// The published ones.
    Paper(Paper),
}

impl Eyes {
    /// Takes in what there is to see at a decision.
    pub fn observe(&mut self, view: &View<'_>) {
        match self {
            Eyes::ScaleFree(eyes) => eyes.observe(view),
            Eyes::Paper(eyes) => eyes.observe(view),
        }
    }

    /// Begins another run of the same service with `initial` pods, see [`ScaleFree::begin_again`]. The published set looks
    /// at a few minutes; it keeps nothing worth mentioning.
    pub fn begin_again(&mut self, initial: u32) {
        match self {
            Eyes::ScaleFree(eyes) => eyes.begin_again(initial),
            Eyes::Paper(_) => {}
        }
    }

    /// The features at the last look.
    pub fn features(&self) -> &[f32] {
        match self {
            Eyes::ScaleFree(eyes) => eyes.features(),
            Eyes::Paper(eyes) => eyes.features(),
        }
    }

    /// Which choices are allowed, head after head.
    pub fn mask(&self) -> &[bool] {
        match self {
            Eyes::ScaleFree(eyes) => eyes.mask(),
            Eyes::Paper(eyes) => eyes.mask(),
        }
    }

    /// What choices of the first head mean, see [`Actor::decide`](crate::actor::Actor::decide).
    pub fn meanings(&self) -> &[u32] {
        match self {
            Eyes::ScaleFree(eyes) => eyes.targets(),
            Eyes::Paper(_) => &[],
        }
    }

    /// The decision that `action` means.
    pub fn decide(&self, view: &View<'_>, action: &[u32]) -> Decision {
        match self {
            Eyes::ScaleFree(eyes) => eyes.decide(view, action),
            Eyes::Paper(eyes) => eyes.decide(view, action),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_found_by_the_names_they_give() {
        for set in ObservationSet::ALL {
            assert_eq!(ObservationSet::named(&set.encoder().name), Some(set));
            assert_eq!(serde_json::to_value(set).unwrap(), set.name());
            let sizes: Vec<usize> = set.heads().iter().map(|head| head.choices.len()).collect();
            assert_eq!(sizes, set.sizes());
        }
        assert_eq!(ObservationSet::named("raw"), None);
    }
}
