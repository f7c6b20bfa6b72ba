//! What decides: a network over normalised observations and the heads that read it.

use crate::heads::Heads;
use crate::network::{Mlp, Scratch};
use crate::normaliser::Scale;

/// A frozen policy: observation in, choices out.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    /// From `[observation]` to `[choices of all heads]`.
    pub network: Mlp,
    /// Applied to the observation first.
    pub scale: Scale,
    /// Of the action.
    pub heads: Heads,
}

/// Buffers of [`Actor::decide`], so that a decision allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    observation: Vec<f32>,
    logits: Vec<f32>,
    scratch: Scratch,
}

impl Actor {
    /// The likeliest choice of each head among those that `mask` allows, where choices of the first head that mean the same,
    /// by equal numbers in `meanings`, count together. Shapes: `observation` `[inputs]`, `mask` `[choices]`, `meanings` `[choices of
    /// the first head]`, or empty where all differ, `actions` `[heads]`.
    ///
    /// Three factors that all mean four pods are one wish. Taken apart, each may be less likely than a fourth that means
    /// nine.
    pub fn decide(
        &self,
        observation: &[f32],
        mask: &[bool],
        meanings: &[u32],
        buffers: &mut Buffers,
        actions: &mut [u32],
    ) {
        self.logits(observation, buffers);
        self.heads.log_softmax(&mut buffers.logits, mask);
        buffers.logits.iter_mut().for_each(|logit| *logit = logit.exp());
        self.heads.likeliest(&buffers.logits, meanings, actions);
    }

    /// Log probabilities of all choices, −∞ where `mask` forbids one. Shape `[choices]`.
    pub fn log_probabilities<'a>(&self, observation: &[f32], mask: &[bool], buffers: &'a mut Buffers) -> &'a [f32] {
        self.logits(observation, buffers);
        self.heads.log_softmax(&mut buffers.logits, mask);
        &buffers.logits
    }

    fn logits(&self, observation: &[f32], buffers: &mut Buffers) {
        buffers.observation.resize(observation.len(), 0.0);
        buffers.logits.resize(self.network.outputs(), 0.0);
        self.scale.apply(observation, &mut buffers.observation);
        self.network.forward(&buffers.observation, &mut buffers.scratch, &mut buffers.logits);
    }
}
