//! Both networks, the loss and the gradient on the processor, in one pass over a few rows at a time.
//!
//! Candle computes the same, op by op: per op it allocates, for the gradient it keeps every intermediate, and its
//! tangent is scalar. For networks this small that is nearly all of the time; see docs/learning.md, "Speed". What
//! [`reference`](super::reference) says in Candle holds this to account.
//!
//! Rows are worked on [`CHUNK`] at a time, whatever the number of threads, and sums over chunks are taken in their
//! order: the result is the same for any number of threads.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::batch::Minibatch;
use super::kernel::{PLAIN, Product, ROWS, SLOPE, TANH, column_sums, multiply, padded};
use super::loss::{self, ActorRow, Shares, Sums, Weights};
use super::model::Model;
use crate::heads::Heads;
use crate::network::parameters;

/// Rows that are worked on together: their activations of 64 floats fill a third of the first-level cache.
const CHUNK: usize = 64;
/// Multiplications under which a second thread costs more than it brings.
const WORTH_A_THREAD: usize = 2_000_000;

/// The engine: layouts, packed weights and buffers.
#[derive(Debug)]
pub struct Fused {
    heads: Heads,
    /// Where the critic's parameters begin.
    split: usize,
    threads: bool,
    actor: Half,
    critic: Half,
}

/// One network: sizes, and weights laid out for the kernels.
#[derive(Debug)]
struct Network {
    sizes: Vec<usize>,
    layers: Vec<Packed>,
}

#[derive(Debug, Default)]
struct Packed {
    /// Shape [inputs, padded outputs].
    forward: Vec<f32>,
    /// Shape [outputs, padded inputs]; not of the first layer, whose inputs need no gradient.
    backward: Vec<f32>,
    /// Shape [padded outputs].
    bias: Vec<f32>,
}

/// A chunk of rows through one of the networks.
#[derive(Debug)]
struct Task {
    workspace: Workspace,
    /// Of the network's parameters, in their order.
    gradient: Vec<f32>,
    sums: Sums,
}

#[derive(Debug)]
struct Workspace {
    /// Outputs of each layer, shape [CHUNK, padded outputs].
    activations: Vec<Vec<f32>>,
    /// Gradients of the outputs of a layer and of the one before.
    here: Vec<f32>,
    before: Vec<f32>,
    /// Of a weight, shape [outputs, padded inputs], and of a bias.
    weight: Vec<f32>,
    bias: Vec<f32>,
    zeros: Vec<f32>,
}

impl Network {
    fn new(sizes: &[usize]) -> Self {
        let layers = sizes.windows(2).map(|_| Packed::default()).collect();
        Network { sizes: sizes.to_vec(), layers }
    }

    fn pack(&mut self, flat: &[f32], backward: bool) {
        let mut rest = flat;
        for (index, (packed, pair)) in self.layers.iter_mut().zip(self.sizes.windows(2)).enumerate() {
            let (inputs, outputs) = (pair[0], pair[1]);
            let (weight, tail) = rest.split_at(inputs * outputs);
            let (bias, tail) = tail.split_at(outputs);
            rest = tail;
            let wide = padded(outputs);
            packed.forward.resize(inputs * wide, 0.0);
            for (output, row) in weight.chunks_exact(inputs).enumerate() {
                for (line, &value) in packed.forward.chunks_exact_mut(wide).zip(row) {
                    line[output] = value;
                }
            }
            packed.bias.resize(wide, 0.0);
            packed.bias[..outputs].copy_from_slice(bias);
            if backward && index > 0 {
                let wide = padded(inputs);
                packed.backward.resize(outputs * wide, 0.0);
                for (line, row) in packed.backward.chunks_exact_mut(wide).zip(weight.chunks_exact(inputs)) {
                    line[..inputs].copy_from_slice(row);
                }
            }
        }
    }

    fn cost(&self) -> usize {
        self.sizes.windows(2).map(|pair| pair[0] * pair[1]).sum()
    }

    #[inline(always)]
    fn forward<S: Simd>(&self, simd: S, rows: &[f32], stride: usize, count: usize, activations: &mut [Vec<f32>]) {
        let last = self.layers.len() - 1;
        for (index, packed) in self.layers.iter().enumerate() {
            let (done, rest) = activations.split_at_mut(index);
            let (a, a_stride) = match done.last() {
                Some(before) => (before.as_slice(), padded(self.sizes[index])),
                None => (rows, stride),
            };
            let wide = padded(self.sizes[index + 1]);
            let product = Product {
                m: count,
                n: wide,
                k: self.sizes[index],
                a,
                a_stride,
                b: &packed.forward,
                b_stride: wide,
                bias: &packed.bias,
                h: &[],
                c_stride: wide,
            };
            if index < last {
                multiply::<S, false, TANH>(simd, &product, &mut rest[0]);
            } else {
                multiply::<S, false, PLAIN>(simd, &product, &mut rest[0]);
            }
        }
    }

    /// From the gradient of the outputs in `workspace.here` to that of all parameters.
    #[inline(always)]
    fn backward<S: Simd>(
        &self,
        simd: S,
        rows: &[f32],
        stride: usize,
        count: usize,
        workspace: &mut Workspace,
        gradient: &mut [f32],
    ) {
        let Workspace { activations, here, before, weight, bias, zeros } = workspace;
        let mut end = gradient.len();
        for index in (0..self.layers.len()).rev() {
            let (inputs, outputs) = (self.sizes[index], self.sizes[index + 1]);
            let (wide_in, wide_out) = (padded(inputs), padded(outputs));
            let (x, x_stride) = match index {
                0 => (rows, stride),
                _ => (activations[index - 1].as_slice(), wide_in),
            };
            let product = Product {
                m: outputs,
                n: wide_in,
                k: count,
                a: here,
                a_stride: wide_out,
                b: x,
                b_stride: x_stride,
                bias: zeros,
                h: &[],
                c_stride: wide_in,
            };
            multiply::<S, true, PLAIN>(simd, &product, weight);
            column_sums(simd, here, wide_out, count, &mut bias[..wide_out]);
            let start = end - outputs * (inputs + 1);
            let (weights, biases) = gradient[start..end].split_at_mut(inputs * outputs);
            for (out, line) in weights.chunks_exact_mut(inputs).zip(weight.chunks_exact(wide_in)) {
                out.copy_from_slice(&line[..inputs]);
            }
            biases.copy_from_slice(&bias[..outputs]);
            end = start;
            if index > 0 {
                let product = Product {
                    m: count,
                    n: wide_in,
                    k: outputs,
                    a: here,
                    a_stride: wide_out,
                    b: &self.layers[index].backward,
                    b_stride: wide_in,
                    bias: zeros,
                    h: &activations[index - 1],
                    c_stride: wide_in,
                };
                multiply::<S, false, SLOPE>(simd, &product, before);
                std::mem::swap(here, before);
            }
        }
    }
}

impl Workspace {
    fn new(sizes: &[usize]) -> Self {
        let widest = sizes.iter().map(|&size| padded(size)).max().unwrap_or(0);
        let weight = sizes.windows(2).map(|pair| pair[1].next_multiple_of(ROWS) * padded(pair[0])).max().unwrap_or(0);
        Workspace {
            activations: sizes.iter().skip(1).map(|&size| vec![0.0; CHUNK * padded(size)]).collect(),
            here: vec![0.0; CHUNK * widest],
            before: vec![0.0; CHUNK * widest],
            weight: vec![0.0; weight],
            bias: vec![0.0; widest],
            zeros: vec![0.0; widest],
        }
    }
}

/// Forward through one network, for rows that need no gradient.
struct Say<'a> {
    network: &'a Network,
    rows: &'a [f32],
    stride: usize,
    count: usize,
    activations: &'a mut [Vec<f32>],
}

impl WithSimd for Say<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.network.forward(simd, self.rows, self.stride, self.count, self.activations);
    }
}

/// Forward, loss and backward of a chunk through one network.
struct Learn<'a, L> {
    network: &'a Network,
    rows: &'a [f32],
    stride: usize,
    start: usize,
    count: usize,
    task: &'a mut Task,
    loss: &'a L,
}

impl<L: Loss> WithSimd for Learn<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Learn { network, rows, stride, start, count, task, loss } = self;
        let Task { workspace, gradient, sums } = task;
        network.forward(simd, rows, stride, count, &mut workspace.activations);
        *sums = Sums::default();
        if let Some(outputs) = workspace.activations.last_mut() {
            loss.differentiate(start..start + count, outputs, &mut workspace.here, sums);
        }
        network.backward(simd, rows, stride, count, workspace, gradient);
    }
}

/// A network and its tasks, one a chunk.
#[derive(Debug)]
struct Half {
    network: Network,
    tasks: Vec<Task>,
}

impl Half {
    fn new(sizes: &[usize]) -> Self {
        Half { network: Network::new(sizes), tasks: Vec::new() }
    }

    fn ensure(&mut self, chunks: usize) {
        let sizes = &self.network.sizes;
        self.tasks.resize_with(chunks.max(self.tasks.len()), || Task {
            workspace: Workspace::new(sizes),
            gradient: vec![0.0; parameters(sizes)],
            sums: Sums::default(),
        });
    }

    /// Outputs of the first `count` rows into `out` [count, outputs].
    fn say(&mut self, rows: &[f32], stride: usize, count: usize, out: &mut [f32], threads: bool) {
        self.ensure(count.div_ceil(CHUNK));
        let network = &self.network;
        let outputs = network.sizes.last().copied().unwrap_or(1);
        let work = |((task, rows), out): ((&mut Task, &[f32]), &mut [f32])| {
            let (count, activations) = (out.len() / outputs, &mut task.workspace.activations);
            Arch::new().dispatch(Say { network, rows, stride, count, activations });
            let said = activations.last().map_or(&[][..], Vec::as_slice).chunks_exact(padded(outputs));
            out.chunks_exact_mut(outputs).zip(said).for_each(|(out, said)| out.copy_from_slice(&said[..outputs]));
        };
        let out = &mut out[..count * outputs];
        if threads && count > CHUNK && count * network.cost() > WORTH_A_THREAD {
            let tasks = self.tasks.par_iter_mut().zip(rows.par_chunks(CHUNK * stride));
            tasks.zip(out.par_chunks_mut(CHUNK * outputs)).for_each(work);
        } else {
            let tasks = self.tasks.iter_mut().zip(rows.chunks(CHUNK * stride));
            tasks.zip(out.chunks_mut(CHUNK * outputs)).for_each(work);
        }
    }

    /// Runs forward, `loss` and backward over the chunks of a minibatch. `loss` is told the first row of its chunk and
    /// their number, gets the outputs, which it may change, and writes their gradient: both [count, padded outputs].
    fn learn(&mut self, batch: &Minibatch, threads: bool, loss: impl Loss) {
        let chunks = batch.count.div_ceil(CHUNK);
        self.ensure(chunks);
        let network = &self.network;
        let work = |(index, task): (usize, &mut Task)| {
            let start = index * CHUNK;
            let count = CHUNK.min(batch.count - start);
            let rows = &batch.rows[start * batch.stride..];
            Arch::new().dispatch(Learn { network, rows, stride: batch.stride, start, count, task, loss: &loss });
        };
        if threads {
            self.tasks[..chunks].par_iter_mut().enumerate().for_each(work);
        } else {
            self.tasks[..chunks].iter_mut().enumerate().for_each(work);
        }
    }

    /// Sums the chunks' gradients into `gradient`, in their order.
    fn collect(&self, batch: &Minibatch, gradient: &mut [f32], sums: &mut Sums) {
        gradient.fill(0.0);
        for task in &self.tasks[..batch.count.div_ceil(CHUNK)] {
            gradient.iter_mut().zip(&task.gradient).for_each(|(total, &part)| *total += part);
            sums.add(&task.sums);
        }
    }
}

impl Fused {
    /// For networks of `model`. `threads`: whether to use those of the rayon pool that it is called in.
    pub fn new(model: &Model, heads: &Heads, threads: bool) -> Self {
        Fused {
            heads: heads.clone(),
            split: model.split(),
            threads,
            actor: Half::new(&model.actor),
            critic: Half::new(&model.critic),
        }
    }

    /// Parameters for the calls of [`Fused::logits`] and [`Fused::values`] that follow.
    pub fn load(&mut self, parameters: &[f32]) {
        self.actor.network.pack(&parameters[..self.split], false);
        self.critic.network.pack(&parameters[self.split..], false);
    }

    /// Logits of the first `count` rows of `rows` [count, stride] into `out` [count, choices]. There must be room for
    /// whole groups of [`ROWS`] rows.
    pub fn logits(&mut self, rows: &[f32], stride: usize, count: usize, out: &mut [f32]) {
        self.actor.say(rows, stride, count, out, self.threads);
    }

    /// Values of the first `count` rows of `rows` [count, stride] into `out` [count].
    pub fn values(&mut self, rows: &[f32], stride: usize, count: usize, out: &mut [f32]) {
        self.critic.say(rows, stride, count, out, self.threads);
    }

    /// Gradient of the loss over the minibatch with respect to all parameters, and the sums over its rows.
    pub fn gradient(&mut self, parameters: &[f32], batch: &Minibatch, weights: &Weights, gradient: &mut [f32]) -> Sums {
        let (of_actor, of_critic) = parameters.split_at(self.split);
        self.actor.network.pack(of_actor, true);
        self.critic.network.pack(of_critic, true);
        let shares = Shares { row: 1.0 / batch.count.max(1) as f32, taught: 1.0 / batch.taught().max(1) as f32 };
        let actor_loss = ActorLoss { heads: &self.heads, weights, shares, batch };
        let critic_loss = CriticLoss { weights, shares, batch };
        let Fused { actor, critic, .. } = self;
        let work = 3 * batch.count * (actor.network.cost() + critic.network.cost());
        if self.threads && work > WORTH_A_THREAD {
            rayon::join(|| actor.learn(batch, true, actor_loss), || critic.learn(batch, true, critic_loss));
        } else {
            actor.learn(batch, false, actor_loss);
            critic.learn(batch, false, critic_loss);
        }
        let mut sums = Sums::default();
        let (of_actor, of_critic) = gradient.split_at_mut(self.split);
        actor.collect(batch, of_actor, &mut sums);
        critic.collect(batch, of_critic, &mut sums);
        sums
    }
}

/// From outputs to their gradient.
trait Loss: Sync {
    fn differentiate(&self, rows: Range<usize>, outputs: &mut [f32], gradient: &mut [f32], sums: &mut Sums);
}

#[derive(Clone, Copy, Debug)]
struct ActorLoss<'a> {
    heads: &'a Heads,
    weights: &'a Weights,
    shares: Shares,
    batch: &'a Minibatch,
}

impl Loss for ActorLoss<'_> {
    fn differentiate(&self, rows: Range<usize>, outputs: &mut [f32], gradient: &mut [f32], sums: &mut Sums) {
        let ActorLoss { heads, weights, shares, batch } = *self;
        let (choices, count) = (heads.choices(), heads.sizes().len());
        let wide = padded(choices);
        let teacher = heads.sizes().first().copied().unwrap_or(0);
        let lines = outputs.chunks_exact_mut(wide).zip(gradient.chunks_exact_mut(wide));
        for (row, (logits, gradient)) in rows.zip(lines) {
            let inputs = ActorRow {
                mask: &batch.mask[row * choices..][..choices],
                actions: &batch.actions[row * count..][..count],
                log_probability: batch.log_probabilities[row],
                advantage: batch.advantages[row],
                teacher: batch.taught[row].then(|| &batch.teacher[row * teacher..][..teacher]),
            };
            gradient[choices..].fill(0.0);
            loss::actor(heads, weights, shares, inputs, &mut logits[..choices], &mut gradient[..choices], sums);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct CriticLoss<'a> {
    weights: &'a Weights,
    shares: Shares,
    batch: &'a Minibatch,
}

impl Loss for CriticLoss<'_> {
    fn differentiate(&self, rows: Range<usize>, outputs: &mut [f32], gradient: &mut [f32], sums: &mut Sums) {
        let CriticLoss { weights, shares, batch } = *self;
        let wide = padded(1);
        let lines = outputs.chunks_exact(wide).zip(gradient.chunks_exact_mut(wide));
        for (row, (value, gradient)) in rows.zip(lines) {
            gradient.fill(0.0);
            gradient[0] = loss::critic(weights, shares.row, value[0], batch.values[row], batch.targets[row], sums);
        }
    }
}
