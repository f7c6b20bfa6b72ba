//! A learnt policy as an autoscaler: what a checkpoint becomes on a cluster, in a comparison and in an evaluation alike.

use std::sync::Arc;

use kisim::autoscaler::AutoscalerError;
use kisim::config::Span;
use kisim::control::{Autoscaler, Decision, View};
use kisim::prepared::Prepared;

use crate::actor::{Actor, Buffers};
use crate::checkpoint::{Checkpoint, Expected, Feature, Refusal, Tensor};
use crate::facts::Facts;
use crate::heads::Heads;
use crate::history::Acquainted;
use crate::network::{Layer, Mlp};
use crate::normaliser::Scale;
use crate::observation::{Eyes, HEADS, ObservationSet};
use crate::paper::Paper;
use crate::scale_free::ScaleFree;

/// Names of a layer's tensors.
fn names(layer: usize) -> (String, String) {
    (format!("actor.layers.{layer}.weight"), format!("actor.layers.{layer}.bias"))
}

/// The tensors of a network, by name, for a checkpoint.
///
/// # Errors
/// Never for a network that is one.
pub fn tensors(network: &Mlp) -> Result<Vec<(String, Tensor)>, Refusal> {
    let mut all = Vec::new();
    for (index, layer) in network.layers().iter().enumerate() {
        let (weight, bias) = names(index);
        all.push((weight, Tensor::f32([layer.outputs, layer.inputs], layer.weight.clone())?));
        all.push((bias, Tensor::f32([layer.outputs], layer.bias.clone())?));
    }
    Ok(all)
}

/// A policy that fits this version.
#[derive(Clone, Debug)]
pub struct Policy {
    set: ObservationSet,
    actor: Actor,
    features: Vec<Feature>,
    control_interval: Span,
    checkpoint: Arc<Checkpoint>,
}

impl Policy {
    /// The policy in `checkpoint`, if everything in it is as this version expects.
    ///
    /// # Errors
    /// The first difference, with both sides.
    pub fn new(checkpoint: &Arc<Checkpoint>) -> Result<Policy, Refusal> {
        // A name that nobody has is refused as not ours.
        let set = ObservationSet::named(&checkpoint.encoder.name).unwrap_or_default();
        let features = set.features();
        let mut layers = Vec::new();
        let mut inputs = features.len();
        let mut expected = Vec::new();
        while let Some(tensor) = checkpoint.tensors.get(&names(layers.len()).0) {
            let (weight, bias) = names(layers.len());
            // The widths are the checkpoint's own; that layers fit each other, features and heads is not up to it.
            let last = !checkpoint.tensors.contains_key(&names(layers.len() + 1).0);
            let outputs = if last { set.sizes().iter().sum() } else { tensor.shape().first().copied().unwrap_or(0) };
            expected.push((weight.clone(), vec![outputs, inputs]));
            expected.push((bias.clone(), vec![outputs]));
            layers.push((weight, bias, inputs, outputs));
            inputs = outputs;
        }
        if layers.is_empty() {
            return Err(Refusal::TensorMissing { name: names(0).0 });
        }
        checkpoint.check(&Expected {
            encoder: set.encoder(),
            features,
            heads: set.heads(),
            control_interval: checkpoint.control_interval,
            tensors: expected,
        })?;
        let layers = layers.into_iter().map(|(weight, bias, inputs, outputs)| {
            let values = |name: &str| Ok(checkpoint.tensor(name)?.as_f32().unwrap_or_default().to_vec());
            Ok(Layer { inputs, outputs, weight: values(&weight)?, bias: values(&bias)? })
        });
        let network = Mlp::new(layers.collect::<Result<_, Refusal>>()?).map_err(|e| Refusal::Field {
            field: "tensors".into(),
            found: e.to_string(),
            expected: "a network".into(),
        })?;
        let of = |value: fn(&Feature, f64) -> f32| -> Vec<f32> {
            checkpoint.features.iter().map(|f| value(f, checkpoint.scaling.epsilon)).collect()
        };
        let scale = Scale {
            limit: checkpoint.scaling.clip as f32,
            mean: of(|f, _| f.mean as f32),
            factor: of(|f, epsilon| (1.0 / (f.variance + epsilon).sqrt()) as f32),
        };
        Ok(Policy {
            set,
            actor: Actor { network, scale, heads: Heads::new(&set.sizes()) },
            features: checkpoint.features.clone(),
            control_interval: checkpoint.control_interval,
            checkpoint: Arc::clone(checkpoint),
        })
    }

    /// Where it comes from.
    pub fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.checkpoint
    }

    /// What it sees and does.
    pub fn set(&self) -> ObservationSet {
        self.set
    }

    /// What decides.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What it sees.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }
}

/// Why a policy cannot scale something.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It was trained for another rhythm.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What it is to scale cannot be measured.
    #[error(transparent)]
    Capacity(#[from] AutoscalerError),
    /// It scales GPU pods and CPU pods, and not both are there.
    #[error("pools: found {}, expected one of GPU pods and one of CPU pods, which the published action scales", found.join(", "))]
    Pools {
        /// Names of the pools.
        found: Vec<String>,
    },
}

/// What it decided, and by what, at the last decision.
#[derive(Clone, Copy, Debug)]
pub struct Last<'a> {
    /// The observation, not normalised.
    pub observation: &'a [f32],
    /// Which choices were allowed.
    pub mask: &'a [bool],
    /// The choice of each head.
    pub action: &'a [u32],
}

/// A policy at work.
#[derive(Debug)]
pub struct PolicyAutoscaler {
    name: String,
    policy: Arc<Policy>,
    eyes: Eyes,
    buffers: Buffers,
    action: [u32; HEADS],
}

impl PolicyAutoscaler {
    /// `policy` for runs of `prepared`. A saved dollar counts `weight` times what the scenario says: more saves, less is
    /// safe. The published observation has no such wish in it: `weight` changes nothing there.
    ///
    /// # Errors
    /// If it was trained for another control interval, the pool's capacity cannot be measured, or pools are missing.
    pub fn new(policy: &Arc<Policy>, prepared: &Prepared, weight: f64, name: String) -> Result<Self, PolicyError> {
        let interval = prepared.scenario.control.interval;
        if policy.control_interval != interval {
            let (found, expected) = (policy.control_interval, interval);
            return Err(Refusal::ControlInterval { found, expected }.into());
        }
        let eyes = match policy.set.design() {
            Some(design) => {
                let mut facts = Facts::of(prepared)?;
                facts.preference.cost *= weight;
                Eyes::ScaleFree(Box::new(ScaleFree::designed(prepared, facts, design)))
            }
            None => {
                let found = || prepared.pools.iter().map(|pool| pool.name.clone()).collect();
                Eyes::Paper(Paper::new(prepared).ok_or_else(|| PolicyError::Pools { found: found() })?)
            }
        };
        Ok(PolicyAutoscaler { name, policy: Arc::clone(policy), eyes, buffers: Buffers::default(), action: [0; HEADS] })
    }

    /// The last decision.
    pub fn last(&self) -> Last<'_> {
        Last { observation: self.eyes.features(), mask: self.eyes.mask(), action: &self.action }
    }
}

impl Acquainted for PolicyAutoscaler {
    fn begin_again(&mut self, initial: u32) {
        self.eyes.begin_again(initial);
    }

    fn recall(&mut self, bins: &[f64], parts: usize, prepared: &Prepared) {
        // The published observation has no memory for it.
        if let Eyes::ScaleFree(eyes) = &mut self.eyes {
            eyes.recall_all(bins, parts, prepared);
        }
    }
}

impl Autoscaler for PolicyAutoscaler {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        self.eyes.observe(view);
        let eyes = &self.eyes;
        self.policy.actor.decide(eyes.features(), eyes.mask(), eyes.meanings(), &mut self.buffers, &mut self.action);
        self.eyes.decide(view, &self.action)
    }
}
