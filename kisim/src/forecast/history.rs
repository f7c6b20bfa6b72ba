//! The last values, with gaps; and the largest of them.

use std::collections::VecDeque;

/// The values of the last steps in a ring of fixed size; NaN where there is none.
#[derive(Clone, Debug)]
pub(super) struct History {
    ring: Vec<f64>,
    capacity: usize,
    /// Where the oldest value is, once the ring is full.
    start: usize,
    observed: usize,
}

impl History {
    pub(super) fn new(capacity: usize) -> Self {
        Self { ring: Vec::with_capacity(capacity), capacity, start: 0, observed: 0 }
    }

    pub(super) fn push(&mut self, value: Option<f64>) {
        let stored = value.unwrap_or(f64::NAN);
        self.observed += usize::from(value.is_some());
        if self.ring.len() < self.capacity {
            self.ring.push(stored);
        } else {
            let dropped = std::mem::replace(&mut self.ring[self.start], stored);
            self.observed -= usize::from(!dropped.is_nan());
            self.start = (self.start + 1) % self.capacity;
        }
    }

    /// Steps that are kept and have a value.
    pub(super) const fn observed(&self) -> usize {
        self.observed
    }

    /// What memory it holds, in values.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.ring.capacity()
    }

    /// The values from the oldest on.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<f64>> + Clone + '_ {
        let (newer, older) = self.ring.split_at(self.start);
        older.iter().chain(newer).map(|&value| (!value.is_nan()).then_some(value))
    }
}

/// The largest value of the last steps: a queue of steps with falling values.
#[derive(Clone, Debug)]
pub(super) struct SlidingMax {
    queue: VecDeque<(u64, f64)>,
    steps: usize,
}

impl SlidingMax {
    pub(super) fn new(steps: usize) -> Self {
        Self { queue: VecDeque::with_capacity(steps.saturating_add(1)), steps }
    }

    pub(super) fn push(&mut self, step: u64, value: Option<f64>) {
        while self.queue.front().is_some_and(|&(s, _)| step - s >= self.steps as u64) {
            self.queue.pop_front();
        }
        if let Some(value) = value {
            while self.queue.back().is_some_and(|&(_, v)| v <= value) {
                self.queue.pop_back();
            }
            self.queue.push_back((step, value));
        }
    }

    /// What memory it holds, in values.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.queue.capacity()
    }

    pub(super) fn get(&self) -> Option<f64> {
        self.queue.front().map(|&(_, value)| value)
    }
}
