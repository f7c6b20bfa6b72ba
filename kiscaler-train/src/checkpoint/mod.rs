//! A checkpoint: one [safetensors](https://github.com/huggingface/safetensors) file that holds a policy, what it expects
//! to see and to do, and where it comes from. With the learner's state beside it, training goes on from there.
//!
//! Any safetensors reader shows the tensors. The metadata are strings: `format`, `kind` (policy or training),
//! `encoder`, `encoder_version`, `features`, `scaling`, `action`, `control_interval`, `envelope_quantile`, `seed`,
//! `config`, `git_revision`, `metrics`, `state` (training only) and `digest`, a SHA-256 over all else. All of them must
//! be there, and nothing else may be. The same checkpoint gives the same bytes.
//!
//! ```
//! # use kiscaler_train::checkpoint::*;
//! # use kisim::config::Span;
//! let head = Head { name: "headroom".into(), choices: vec![Choice { name: "×1".into(), value: 1.0 }] };
//! let envelope = Envelope { min: 0.0, low: 0.1, high: 1.9, max: 2.0 };
//! let checkpoint = Checkpoint {
//!     encoder: Encoder { name: "scale-free".into(), version: 3 },
//!     features: vec![Feature { name: "load".into(), mean: 1.0, variance: 0.25, envelope }],
//!     heads: vec![head],
//!     control_interval: Span::secs(15),
//!     tensors: [("actor.0.weight".to_owned(), Tensor::f32([1, 1], vec![0.5])?)].into(),
//!     ..Checkpoint::default()
//! };
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("best.safetensors");
//! checkpoint.save(&path)?;
//! let loaded = Checkpoint::load(&path)?;
//! assert_eq!(loaded, checkpoint);
//!
//! let expected = Expected { encoder: Encoder { name: "scale-free".into(), version: 4 }, ..loaded.expected() };
//! assert_eq!(loaded.check(&expected), Err(Refusal::EncoderVersion { found: 3, expected: 4 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod fit;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use kisim::config::Span;
use kisim::report::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use fit::Expected;
pub use refusal::{CheckpointError, Refusal};

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// A policy, what it expects, where it comes from, and perhaps the state of its learner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Who makes observations for it.
    pub encoder: Encoder,
    /// What it sees, in order.
    pub features: Vec<Feature>,
    /// How observations are normalised.
    pub scaling: Scaling,
    /// What it may do: a choice of each head.
    pub heads: Vec<Head>,
    /// How often it decides.
    pub control_interval: Span,
    /// Which quantile the envelopes' `low` is; `high` is one minus that.
    pub envelope_quantile: f64,
    /// The seed of its training.
    pub seed: u64,
    /// The configuration of its training, TOML.
    pub config: String,
    /// The version of the program that trained it.
    pub git_revision: String,
    /// How good it was, by name. Finite.
    pub metrics: BTreeMap<String, f64>,
    /// Its parameters, by name. `f32` and finite.
    pub tensors: BTreeMap<String, Tensor>,
    /// What its learner needs to go on; none in a policy that is only to act.
    pub state: Option<State>,
}

/// What makes observations of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoder {
    /// Its name.
    pub name: String,
    /// Its version: whoever changes what a feature means, counts up.
    pub version: u32,
}

/// A number in an observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name, unit included.
    pub name: String,
    /// Its mean in training, which is subtracted.
    pub mean: f64,
    /// Its variance in training, by whose root it is divided.
    pub variance: f64,
    /// Which values it had in training.
    pub envelope: Envelope,
}

/// Which values a feature had in training, before normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The least.
    pub min: f64,
    /// A low quantile, see [`Checkpoint::envelope_quantile`].
    pub low: f64,
    /// A high quantile.
    pub high: f64,
    /// The greatest.
    pub max: f64,
}

impl Envelope {
    /// Of a feature that makes no difference.
    pub const ANYTHING: Envelope = Envelope { min: -1e9, low: -1e9, high: 1e9, max: 1e9 };
}

/// Where a value lies in what training saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between the quantiles.
    Usual,
    /// Beyond them; it occurred.
    Rare,
    /// Never seen, or not a number.
    Unseen,
}

impl Envelope {
    /// Where `value` lies.
    pub fn place(&self, value: f64) -> Place {
        match value {
            v if v >= self.low && v <= self.high => Place::Usual,
            v if v >= self.min && v <= self.max => Place::Rare,
            _ => Place::Unseen,
        }
    }
}

/// Features of which more is worse, and the same kind of worse.
pub const DISTRESS: [&str; 9] =
    ["p95", "late", "late_lately", "late_so_far", "late_by_model", "backlog", "waiting", "held", "overdue"];

/// How observations are normalised: `(x − mean) / √(variance + epsilon)`, cut to `±clip`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Keeps features that never varied from dividing by zero.
    pub epsilon: f64,
    /// Standard deviations beyond which further is no different.
    pub clip: f64,
}

impl Default for Scaling {
    fn default() -> Self {
        Scaling { epsilon: 1e-8, clip: 10.0 }
    }
}

/// A part of the action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// What can be chosen.
    pub choices: Vec<Choice>,
}

/// One of the things that can be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Its name.
    pub name: String,
    /// The number it stands for: a factor, a count.
    pub value: f64,
}

/// What a learner needs to go on as if it had never stopped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Arrays: the optimiser's moments, generators, normalisers, and so on.
    pub tensors: BTreeMap<String, Tensor>,
    /// Everything else. Numbers in it must be finite: JSON has no others.
    pub values: Value,
}

/// Numbers with a shape, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// The numbers of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Whole numbers, generators' words.
    U64(Vec<u64>),
}

impl Data {
    /// Numbers in it.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(values) => values.len(),
            Data::F64(values) => values.len(),
            Data::U64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tensor {
    /// A tensor of `data`.
    ///
    /// # Errors
    /// If there are not as many numbers as `shape` says.
    pub fn new(shape: impl Into<Vec<usize>>, data: Data) -> Result<Tensor, Refusal> {
        let shape = shape.into();
        match shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)) {
            Some(expected) if expected == data.len() => Ok(Tensor { shape, data }),
            _ => Err(Refusal::TensorLength { shape, found: data.len() }),
        }
    }

    /// A tensor in single precision, see [`Tensor::new`].
    pub fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Tensor, Refusal> {
        Tensor::new(shape, Data::F32(values))
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its numbers.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its numbers, if single precision is what they have.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            _ => None,
        }
    }
}

impl Checkpoint {
    /// `policy` or `training`.
    pub fn kind(&self) -> &'static str {
        if self.state.is_some() { "training" } else { "policy" }
    }

    /// The tensor called `name`, among the policy's parameters.
    ///
    /// # Errors
    /// If there is none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, Refusal> {
        self.tensors.get(name).ok_or_else(|| Refusal::TensorMissing { name: name.to_owned() })
    }

    /// The same without its learner's state.
    pub fn policy(&self) -> Checkpoint {
        Checkpoint { state: None, ..self.clone() }
    }

    /// Features of `observation` (not normalised) that training never saw, by index. Of [`DISTRESS`] more than training
    /// ever saw is nothing new: a service that is overloaded worse than any in training is the last to be left to somebody
    /// else.
    pub fn unseen(&self, observation: &[f32]) -> impl Iterator<Item = usize> {
        let seen = self.features.iter().zip(observation).map(|(feature, &value)| {
            let value = f64::from(value);
            let worse = value > feature.envelope.max && DISTRESS.contains(&feature.name.as_str());
            worse || feature.envelope.place(value) != Place::Unseen
        });
        seen.enumerate().filter(|(_, seen)| !seen).map(|(index, _)| index)
    }

    /// Writes it to `path`. What was there stays until the new file is whole and on the disk.
    ///
    /// # Errors
    /// If a number is not finite where it must be, or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let failed = |refusal| CheckpointError { path: path.to_owned(), refusal };
        let bytes = self.to_bytes().map_err(failed)?;
        write_atomically(path, |file| file.write_all(&bytes)).map_err(|e| failed(Refusal::Write(e.reason.to_string())))
    }

    /// Reads it from `path`. Nothing in the file is executed, and nothing is allocated that its size does not vouch for.
    ///
    /// # Errors
    /// If the file cannot be read, or is not in every part what [`save`](Checkpoint::save) writes.
    pub fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
        let failed = |refusal| CheckpointError { path: path.to_owned(), refusal };
        Checkpoint::from_bytes(&file::read(path).map_err(failed)?).map_err(failed)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// If a number is not finite where it must be, or a name is one that the file needs for itself.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the file's bytes.
    ///
    /// # Errors
    /// As [`to_bytes`](Checkpoint::to_bytes), and if `out` fails.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), Refusal> {
        fit::check_numbers(self)?;
        file::write(self, out)
    }

    /// Reads what [`to_bytes`](Checkpoint::to_bytes) gives.
    ///
    /// # Errors
    /// If `bytes` are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, Refusal> {
        let checkpoint = file::parse(bytes)?;
        fit::check_numbers(&checkpoint)?;
        Ok(checkpoint)
    }
}
