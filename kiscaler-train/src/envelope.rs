//! Which values features had in training, for [`Envelope`]s: the least and the greatest of all, and quantiles of a sample.

use kisim::random::derive_seed;

use crate::checkpoint::{Data, Envelope, Refusal, Tensor};
use crate::statistics::quantile;

/// Observations of which every one had the same chance to be kept (Vitter's algorithm R).
///
/// Which are kept depends on their number and the seed alone, so there is no generator whose state would have to be saved.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvelopeSample {
    seed: u64,
    features: usize,
    most: usize,
    seen: u64,
    min: Vec<f32>,
    max: Vec<f32>,
    rows: Vec<f32>,
}

impl EnvelopeSample {
    /// A sample of at most `most` observations of so many features.
    pub fn new(features: usize, most: usize, seed: u64) -> Self {
        EnvelopeSample {
            seed,
            features,
            most: most.max(1),
            seen: 0,
            min: vec![f32::INFINITY; features],
            max: vec![f32::NEG_INFINITY; features],
            rows: Vec::new(),
        }
    }

    /// Takes in an observation, not normalised.
    pub fn observe(&mut self, observation: &[f32]) {
        debug_assert_eq!(observation.len(), self.features);
        for ((&value, min), max) in observation.iter().zip(&mut self.min).zip(&mut self.max) {
            *min = min.min(value);
            *max = max.max(value);
        }
        let kept = self.rows.len() / self.features.max(1);
        if kept < self.most {
            self.rows.extend_from_slice(observation);
        } else {
            let place = derive_seed(self.seed, self.seen) % (self.seen + 1);
            if place < self.most as u64 {
                let at = place as usize * self.features;
                self.rows[at..at + self.features].copy_from_slice(observation);
            }
        }
        self.seen += 1;
    }

    /// Observations so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Each feature's envelope, with the quantiles `low` and `1 − low`. Zeros before the first observation.
    pub fn envelopes(&self, low: f64) -> Vec<Envelope> {
        let one = |feature: usize| {
            let own: Vec<f64> = self.rows.iter().skip(feature).step_by(self.features).map(|&v| f64::from(v)).collect();
            let at = |share| quantile(&own, share);
            match (at(low), at(1.0 - low)) {
                (Some(low), Some(high)) => {
                    Envelope { min: self.min[feature].into(), low, high, max: self.max[feature].into() }
                }
                _ => Envelope::default(),
            }
        };
        (0..self.features).map(one).collect()
    }

    /// What is needed to go on: names and tensors.
    ///
    /// # Errors
    /// Never for a sample that was made by [`new`](Self::new).
    pub fn tensors(&self) -> Result<[(&'static str, Tensor); 3], Refusal> {
        let count = self.rows.len() / self.features.max(1);
        let ends = [self.min.as_slice(), &self.max].concat();
        Ok([
            ("envelope/seen", Tensor::new([1], Data::U64(vec![self.seen]))?),
            ("envelope/ends", Tensor::f32([2, self.features], ends)?),
            ("envelope/rows", Tensor::f32([count, self.features], self.rows.clone())?),
        ])
    }

    /// Goes on from what [`tensors`](Self::tensors) gave, by name; `self` is a new sample with the same arguments.
    ///
    /// # Errors
    /// If one is missing or has another shape or type.
    pub fn restore<'a>(&mut self, tensor: impl Fn(&str) -> Option<&'a Tensor>) -> Result<(), Refusal> {
        let get = |name: &str| tensor(name).ok_or_else(|| Refusal::TensorMissing { name: name.to_owned() });
        let shape = |name: &str, found: &Tensor, expected: Vec<usize>| match found.shape() == expected {
            true => Ok(()),
            false => Err(Refusal::TensorShape { name: name.to_owned(), found: found.shape().to_vec(), expected }),
        };
        let type_of = |name: &str, found: &Tensor, expected| Refusal::TensorType {
            name: name.to_owned(),
            found: found.data().type_name().to_owned(),
            expected,
        };
        let name = "envelope/seen";
        let found = get(name)?;
        shape(name, found, vec![1])?;
        let Data::U64(words) = found.data() else { return Err(type_of(name, found, "u64")) };
        let seen = words[0];
        let name = "envelope/ends";
        let found = get(name)?;
        shape(name, found, vec![2, self.features])?;
        let (min, max) = found.as_f32().ok_or_else(|| type_of(name, found, "f32"))?.split_at(self.features);
        let name = "envelope/rows";
        let found = get(name)?;
        shape(name, found, vec![seen.min(self.most as u64) as usize, self.features])?;
        self.rows = found.as_f32().ok_or_else(|| type_of(name, found, "f32"))?.to_vec();
        (self.seen, self.min, self.max) = (seen, min.to_vec(), max.to_vec());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Two features: 0..n in a scrambled order, and a constant.
    fn feed(sample: &mut EnvelopeSample, range: std::ops::Range<u64>) {
        for i in range {
            sample.observe(&[(i * 7_919 % 20_000) as f32, 3.0]);
        }
    }

    #[test]
    fn quantiles_are_about_right_and_ends_are_exact() {
        let mut sample = EnvelopeSample::new(2, 2_000, 1);
        assert_eq!(sample.envelopes(0.01), [Envelope::default(); 2]);
        feed(&mut sample, 0..20_000);
        let [first, second] = sample.envelopes(0.05)[..] else { panic!() };
        assert_eq!((first.min, first.max), (0.0, 19_999.0));
        // Standard error of a quantile at 5 % with 2,000 of 20,000 kept: 100.
        assert!((first.low - 1_000.0).abs() < 400.0 && (first.high - 19_000.0).abs() < 400.0, "{first:?}");
        assert_eq!(second, Envelope { min: 3.0, low: 3.0, high: 3.0, max: 3.0 });
        assert_eq!(sample.seen(), 20_000);
    }

    #[test]
    fn resumed_is_never_interrupted() {
        let mut whole = EnvelopeSample::new(2, 100, 9);
        feed(&mut whole, 0..5_000);
        for stop in [0, 40, 3_000] {
            let mut cut = EnvelopeSample::new(2, 100, 9);
            feed(&mut cut, 0..stop);
            let saved: BTreeMap<_, _> = cut.tensors().unwrap().into();
            let mut resumed = EnvelopeSample::new(2, 100, 9);
            resumed.restore(|name| saved.get(name)).unwrap();
            assert_eq!(resumed, cut);
            feed(&mut resumed, stop..5_000);
            assert_eq!(resumed, whole);
            let other = EnvelopeSample::new(3, 100, 9).restore(|name| saved.get(name)).unwrap_err().to_string();
            assert_eq!(other, r#"tensor "envelope/ends": found shape [2, 2], expected [2, 3]"#);
        }
    }
}
