//! Both networks and the loss in Candle's tensors, differentiated by Candle: what runs on a GPU, and what
//! [`fused`](super::fused) is held to.

use candle_core::{D, Device, Result, Tensor, Var};

use super::batch::Minibatch;
use super::loss::{Sums, Weights};
use super::model::Model;
use crate::heads::Heads;

/// Added to the logits of forbidden choices: their probability is then 0, and 0 times this is 0, which it is not with
/// an infinity.
const FORBIDDEN: f32 = -1e9;

/// The engine: the parameters of both networks on a device, as one vector.
#[derive(Debug)]
pub struct Reference {
    device: Device,
    model: Model,
    heads: Heads,
    parameters: Var,
}

impl Reference {
    /// For networks of `model` on `device`.
    pub fn new(model: &Model, heads: &Heads, device: &Device) -> Result<Self> {
        let parameters = Var::from_vec(vec![0.0f32; model.parameters()], model.parameters(), device)?;
        Ok(Reference { device: device.clone(), model: model.clone(), heads: heads.clone(), parameters })
    }

    /// Parameters for the calls that follow.
    pub fn load(&mut self, flat: &[f32]) -> Result<()> {
        self.parameters.set(&Tensor::from_slice(flat, flat.len(), &self.device)?)
    }

    /// Logits of the first `count` rows [count, stride] into `out` [count, choices].
    pub fn logits(&self, rows: &[f32], stride: usize, count: usize, out: &mut [f32]) -> Result<()> {
        self.copy(&self.actor(&self.rows(rows, stride, count)?)?.detach(), out)
    }

    /// Values of the first `count` rows [count, stride] into `out` [count].
    pub fn values(&self, rows: &[f32], stride: usize, count: usize, out: &mut [f32]) -> Result<()> {
        self.copy(&self.critic(&self.rows(rows, stride, count)?)?.detach(), out)
    }

    /// Gradient of the loss over the minibatch with respect to all parameters, and the sums over its rows.
    pub fn gradient(&mut self, flat: &[f32], batch: &Minibatch, w: &Weights, gradient: &mut [f32]) -> Result<Sums> {
        self.load(flat)?;
        let count = batch.count;
        let column = |values: &[f32]| Tensor::from_slice(&values[..count], count, &self.device);
        let rows = self.rows(&batch.rows, batch.stride, count)?;

        let log_probabilities = self.log_softmax(&self.actor(&rows)?, batch)?;
        let probabilities = log_probabilities.exp()?;
        let chosen = (&log_probabilities * self.one_hot(batch)?)?.sum(D::Minus1)?;
        let log_ratio = (chosen - column(&batch.log_probabilities)?)?;
        let ratio = log_ratio.exp()?;
        let advantages = column(&batch.advantages)?;
        let free = (&ratio * &advantages)?;
        let bound = (ratio.clamp(1.0 - w.clip, 1.0 + w.clip)? * &advantages)?;
        let policy = free.minimum(&bound)?.neg()?;
        let entropy = (&probabilities * &log_probabilities)?.sum(D::Minus1)?.neg()?;
        let taught = batch.taught();
        let teacher = if taught > 0 {
            let choices = self.heads.sizes()[0];
            let costs = Tensor::from_slice(&batch.teacher[..count * choices], (count, choices), &self.device)?;
            let speaks: Vec<f32> = batch.taught[..count].iter().map(|&taught| f32::from(u8::from(taught))).collect();
            let expected = (probabilities.narrow(1, 0, choices)? * costs)?.sum(D::Minus1)?;
            (expected * column(&speaks)?)?
        } else {
            column(&vec![0.0; count])?
        };

        let values = self.critic(&rows)?;
        let (before, targets) = (column(&batch.values)?, column(&batch.targets)?);
        let mut error = (&values - &targets)?.sqr()?;
        if let Some(clip) = w.value_clip {
            let moved = (&values - &before)?.clamp(-clip, clip)?;
            error = error.maximum(&((before + moved)? - targets)?.sqr()?)?;
        }
        let value = (error * 0.5)?;

        let mean = |rows: &Tensor, weight: f32, over: usize| rows.sum_all()? * (f64::from(weight) / over as f64);
        let loss = ((mean(&policy, w.policy, count)? - mean(&entropy, w.entropy, count)?)?
            + (mean(&teacher, w.teacher, taught.max(1))? + mean(&value, w.value, count)?)?)?;
        let gradients = loss.backward()?;
        match gradients.get(&self.parameters) {
            Some(found) => self.copy(found, gradient)?,
            None => gradient.fill(0.0),
        }

        let sum = |rows: &Tensor| -> Result<f64> { Ok(f64::from(rows.sum_all()?.to_scalar::<f32>()?)) };
        let ratios = ratio.to_vec1::<f32>()?;
        let k1 = -sum(&log_ratio)?;
        Ok(Sums {
            policy: sum(&policy)?,
            value: sum(&value)?,
            entropy: sum(&entropy)?,
            teacher: sum(&teacher)?,
            k1,
            k3: ratios.iter().map(|&ratio| f64::from(ratio) - 1.0).sum::<f64>() + k1,
            clipped: ratios.iter().filter(|ratio| (**ratio - 1.0).abs() > w.clip).count() as f64,
        })
    }

    fn rows(&self, rows: &[f32], stride: usize, count: usize) -> Result<Tensor> {
        Tensor::from_slice(&rows[..count * stride], (count, stride), &self.device)
    }

    /// Rows [count, stride] to logits [count, choices].
    fn actor(&self, rows: &Tensor) -> Result<Tensor> {
        self.network(rows, &self.model.actor, 0)
    }

    /// Rows [count, stride] to values [count].
    fn critic(&self, rows: &Tensor) -> Result<Tensor> {
        self.network(rows, &self.model.critic, self.model.split())?.squeeze(1)
    }

    fn network(&self, rows: &Tensor, sizes: &[usize], mut start: usize) -> Result<Tensor> {
        let mut here = rows.narrow(1, 0, sizes[0])?.contiguous()?;
        for (index, pair) in sizes.windows(2).enumerate() {
            let weights = pair[0] * pair[1];
            let weight = self.parameters.narrow(0, start, weights)?.reshape((pair[1], pair[0]))?;
            let bias = self.parameters.narrow(0, start + weights, pair[1])?;
            start += weights + pair[1];
            here = here.matmul(&weight.t()?)?.broadcast_add(&bias)?;
            if index + 2 < sizes.len() {
                here = here.tanh()?;
            }
        }
        Ok(here)
    }

    /// Log probabilities of each head, far below zero where a choice is forbidden.
    fn log_softmax(&self, logits: &Tensor, batch: &Minibatch) -> Result<Tensor> {
        let (count, choices) = logits.dims2()?;
        let mask = batch.mask[..count * choices].iter().map(|&allowed| if allowed { 0.0 } else { FORBIDDEN });
        let mask = Tensor::from_vec(mask.collect::<Vec<f32>>(), (count, choices), &self.device)?;
        let logits = (logits + mask)?;
        let heads = self.heads.ranges().map(|range| {
            let head = logits.narrow(1, range.start, range.len())?;
            let head = head.broadcast_sub(&head.max_keepdim(1)?.detach())?;
            head.broadcast_sub(&head.exp()?.sum_keepdim(1)?.log()?)
        });
        Tensor::cat(&heads.collect::<Result<Vec<_>>>()?, 1)
    }

    fn one_hot(&self, batch: &Minibatch) -> Result<Tensor> {
        let (count, choices, heads) = (batch.count, self.heads.choices(), self.heads.sizes().len());
        let mut chosen = vec![0.0f32; count * choices];
        for (row, actions) in chosen.chunks_exact_mut(choices).zip(batch.actions.chunks_exact(heads)) {
            for (range, &action) in self.heads.ranges().zip(actions) {
                row[range.start + action as usize] = 1.0;
            }
        }
        Tensor::from_vec(chosen, (count, choices), &self.device)
    }

    fn copy(&self, tensor: &Tensor, out: &mut [f32]) -> Result<()> {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        out[..values.len()].copy_from_slice(&values);
        Ok(())
    }
}
