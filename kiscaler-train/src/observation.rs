//! What a policy may see and do: the two sets there are, ours and the published one.

use kisim::config::Span;
use kisim::control::{Decision, View};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Choice, Encoder, Head};
use crate::paper::{self, Paper};
use crate::scale_free::{self, BRIDGE, FACTORS, PLACEMENTS, ScaleFree};

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
    /// The published one, see [`paper`].
    Paper,
}

impl ObservationSet {
    /// All.
    pub const ALL: [ObservationSet; 2] = [ObservationSet::ScaleFree, ObservationSet::Paper];

    /// Its name in configurations and checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            ObservationSet::ScaleFree => "scale-free",
            ObservationSet::Paper => "paper",
        }
    }

    /// The set of that name.
    pub fn named(name: &str) -> Option<ObservationSet> {
        ObservationSet::ALL.into_iter().find(|set| set.name() == name)
    }

    /// Its encoder, of this version.
    pub fn encoder(self) -> Encoder {
        let version = match self {
            ObservationSet::ScaleFree => scale_free::VERSION,
            ObservationSet::Paper => paper::VERSION,
        };
        Encoder { name: self.name().to_owned(), version }
    }

    /// Names of its features, in order.
    pub fn features(self) -> Vec<String> {
        match self {
            ObservationSet::ScaleFree => ScaleFree::names(),
            ObservationSet::Paper => paper::NAMES.map(str::to_owned).to_vec(),
        }
    }

    /// Choices of each head.
    pub fn sizes(self) -> [usize; HEADS] {
        match self {
            ObservationSet::ScaleFree => scale_free::HEADS,
            ObservationSet::Paper => paper::HEADS,
        }
    }

    /// The action's heads, by name and value.
    pub fn heads(self) -> Vec<Head> {
        let choice = |name: String, value: f64| Choice { name, value };
        let head = |name: &str, choices: Vec<Choice>| Head { name: name.to_owned(), choices };
        match self {
            ObservationSet::ScaleFree => {
                let mut factors = vec![choice("keep".to_owned(), 0.0)];
                factors.extend(FACTORS.map(|factor| choice(format!("anchor × {factor}"), factor)));
                let bridge = BRIDGE.map(|share| choice(format!("{share} of the CPU pods"), share));
                let placements = PLACEMENTS.map(|batches| match batches {
                    None => choice("GPU pods alone".to_owned(), 0.0),
                    Some(batches) => choice(format!("CPU pods beyond a queue of {batches} batches"), batches),
                });
                vec![head("capacity", factors), head("bridge", bridge.to_vec()), head("placement", placements.to_vec())]
            }
            ObservationSet::Paper => {
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
        match self {
            ObservationSet::ScaleFree => Span::secs(15),
            ObservationSet::Paper => paper::CONTROL_INTERVAL,
        }
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
