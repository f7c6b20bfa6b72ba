//! What the models said, and what came.

use super::config::Loss;
use super::history::SlidingMax;
use super::models::Horizon;

/// How many of its latest errors a model's quantiles are of.
pub(super) const RESIDUALS: usize = 256;

/// How well one model has done.
#[derive(Clone, Debug)]
pub(super) struct Record {
    loss: f64,
    weight: f64,
    count: u64,
    residuals: Vec<f64>,
    next: usize,
}

impl Record {
    pub(super) fn new() -> Self {
        Self { loss: 0.0, weight: 0.0, count: 0, residuals: Vec::with_capacity(RESIDUALS), next: 0 }
    }

    /// Forgets everything but its memory.
    pub(super) fn clear(&mut self) {
        (self.loss, self.weight, self.count, self.next) = (0.0, 0.0, 0, 0);
        self.residuals.clear();
    }

    /// Takes by how much a forecast was too low.
    pub(super) fn add(&mut self, residual: f64, loss: Loss, discount: f64) {
        self.loss = discount * self.loss + loss.of(residual);
        self.weight = discount * self.weight + 1.0;
        self.count += 1;
        if self.residuals.len() < RESIDUALS {
            self.residuals.push(residual);
        } else {
            self.residuals[self.next] = residual;
            self.next = (self.next + 1) % RESIDUALS;
        }
    }

    /// Forecasts that could be compared with what came.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The discounted mean of the losses; `None` before the first.
    pub(super) fn score(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.loss / self.weight)
    }

    /// The `q`-quantile of the latest errors: the smallest that with a probability of at least `q` the next one does not
    /// exceed, were they interchangeable. `None` before the first.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.residuals.len();
        // As integers, in the order of `total_cmp`, they are selected from without a branch each.
        let mut keys = [0i64; RESIDUALS];
        let keys = keys.get_mut(..count)?;
        keys.iter_mut().zip(&self.residuals).for_each(|(key, residual)| *key = ordered(residual.to_bits() as i64));
        // NaN becomes 0, and the cast saturates.
        let rank = (q * (count as f64 + 1.0)).ceil() as usize;
        let index = rank.clamp(1, count.max(1)) - 1;
        if index >= count {
            return None;
        }
        let (_, key, _) = keys.select_nth_unstable(index);
        Some(f64::from_bits(ordered(*key) as u64))
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.residuals.capacity()
    }
}

/// The bits of a number as an integer in the order of [`f64::total_cmp`], and back.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// What came over the horizon that ends with the last step.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    maximum: SlidingMax,
    observed: Vec<bool>,
    count: usize,
}

impl Truth {
    pub(super) fn new(horizon: Horizon) -> Self {
        let steps = horizon.steps();
        Self { maximum: SlidingMax::new(steps), observed: vec![false; steps], count: 0 }
    }

    pub(super) fn push(&mut self, step: u64, value: Option<f64>) {
        self.maximum.push(step, value);
        let index = (step % self.observed.len() as u64) as usize;
        let before = std::mem::replace(&mut self.observed[index], value.is_some());
        self.count = self.count + usize::from(value.is_some()) - usize::from(before);
    }

    /// The largest value; `None` if less than half of the steps had one.
    pub(super) fn get(&self) -> Option<f64> {
        if 2 * self.count >= self.observed.len() { self.maximum.get() } else { None }
    }
}
