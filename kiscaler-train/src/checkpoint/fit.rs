//! Whether a checkpoint is whole in itself, and whether it is the one that somebody can use.

use kisim::config::Span;

use super::{Checkpoint, Data, Encoder, Head, Refusal, Tensor};

/// What whoever wants to act by a checkpoint offers it: everything is compared exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Who makes observations.
    pub encoder: Encoder,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// What can be done.
    pub heads: Vec<Head>,
    /// How often is decided.
    pub control_interval: Span,
    /// The network's tensors: names and shapes.
    pub tensors: Vec<(String, Vec<usize>)>,
}

impl Checkpoint {
    /// What this checkpoint expects of whoever acts by it.
    pub fn expected(&self) -> Expected {
        Expected {
            encoder: self.encoder.clone(),
            features: self.features.iter().map(|f| f.name.clone()).collect(),
            heads: self.heads.clone(),
            control_interval: self.control_interval,
            tensors: self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect(),
        }
    }

    /// Whether this checkpoint can be used where there is what `expected` says.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, expected: &Expected) -> Result<(), Refusal> {
        if self.encoder.name != expected.encoder.name {
            let (found, expected) = (self.encoder.name.clone(), expected.encoder.name.clone());
            return Err(Refusal::EncoderName { found, expected });
        }
        if self.encoder.version != expected.encoder.version {
            let (found, expected) = (self.encoder.version, expected.encoder.version);
            return Err(Refusal::EncoderVersion { found, expected });
        }
        for (index, (own, theirs)) in self.features.iter().zip(&expected.features).enumerate() {
            if own.name != *theirs {
                return Err(Refusal::FeatureName { index, found: own.name.clone(), expected: theirs.clone() });
            }
        }
        if self.features.len() != expected.features.len() {
            let (found, expected) = (self.features.len(), expected.features.len());
            return Err(Refusal::FeatureCount { found, expected });
        }
        if self.control_interval != expected.control_interval {
            let (found, expected) = (self.control_interval, expected.control_interval);
            return Err(Refusal::ControlInterval { found, expected });
        }
        let names = |heads: &[Head]| heads.iter().map(|h| h.name.clone()).collect::<Vec<_>>();
        let (found, wanted) = (names(&self.heads), names(&expected.heads));
        if found != wanted {
            return Err(Refusal::Heads { found, expected: wanted });
        }
        for (own, theirs) in self.heads.iter().zip(&expected.heads) {
            if own.choices != theirs.choices {
                let texts = |h: &Head| h.choices.iter().map(|c| format!("{} ({})", c.name, c.value)).collect();
                let (found, expected) = (texts(own), texts(theirs));
                return Err(Refusal::Choices { head: own.name.clone(), found, expected });
            }
        }
        for (name, shape) in &expected.tensors {
            let tensor = self.tensor(name)?;
            if tensor.shape() != shape {
                let found = tensor.shape().to_vec();
                return Err(Refusal::TensorShape { name: name.clone(), found, expected: shape.clone() });
            }
        }
        match self.tensors.keys().find(|name| !expected.tensors.iter().any(|(known, _)| known == *name)) {
            Some(name) => Err(Refusal::TensorUnexpected { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// Checks every number of `checkpoint`, those of a learner's state excepted.
pub(super) fn check_numbers(checkpoint: &Checkpoint) -> Result<(), Refusal> {
    let finite = |place: &dyn Fn() -> String, value: f64| {
        if value.is_finite() { Ok(()) } else { Err(Refusal::NotFinite { place: place(), found: value }) }
    };
    let field = |field: String, found: f64, expected: &str| {
        Err(Refusal::Field { field, found: found.to_string(), expected: expected.to_owned() })
    };
    for (name, tensor) in &checkpoint.tensors {
        check_parameters(name, tensor)?;
    }
    for (index, feature) in checkpoint.features.iter().enumerate() {
        let place = |what: &str| format!("features[{index}] ({}), {what}", feature.name);
        let e = &feature.envelope;
        for (what, value) in [
            ("mean", feature.mean),
            ("variance", feature.variance),
            ("envelope.min", e.min),
            ("envelope.low", e.low),
            ("envelope.high", e.high),
            ("envelope.max", e.max),
        ] {
            finite(&|| place(what), value)?;
        }
        if feature.variance < 0.0 {
            return field(place("variance"), feature.variance, "at least 0");
        }
        if !(e.min <= e.low && e.low <= e.high && e.high <= e.max) {
            return field(place("envelope"), e.low, "min ≤ low ≤ high ≤ max");
        }
    }
    for head in &checkpoint.heads {
        for choice in &head.choices {
            finite(&|| format!("action, head {:?}, choice {:?}", head.name, choice.name), choice.value)?;
        }
    }
    for (name, &value) in &checkpoint.metrics {
        finite(&|| format!("metrics, {name}"), value)?;
    }
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if !positive(checkpoint.scaling.epsilon) {
        return field("scaling.epsilon".into(), checkpoint.scaling.epsilon, "a positive number");
    }
    if !positive(checkpoint.scaling.clip) {
        return field("scaling.clip".into(), checkpoint.scaling.clip, "a positive number");
    }
    if !(0.0..0.5).contains(&checkpoint.envelope_quantile) {
        return field("envelope_quantile".into(), checkpoint.envelope_quantile, "a number from 0 to below 0.5");
    }
    Ok(())
}

fn check_parameters(name: &str, tensor: &Tensor) -> Result<(), Refusal> {
    let Data::F32(values) = tensor.data() else {
        let found = tensor.data().type_name().to_owned();
        return Err(Refusal::TensorType { name: name.to_owned(), found, expected: "f32" });
    };
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => {
            Err(Refusal::NotFinite { place: format!("tensor {name:?}, number {at}"), found: values[at].into() })
        }
        None => Ok(()),
    }
}
