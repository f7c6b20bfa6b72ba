//! Triton's dynamic batcher: when a batch is formed, and of how many requests.
//!
//! The rules are those of `src/dynamic_batch_scheduler.cc` (triton-inference-server/core,
//! `DynamicBatchScheduler::GetDynamicBatch`), for requests of batch size one and one shape.

use std::time::Duration;

use crate::time::duration_nanos;

/// Settings of the dynamic batcher, as in Triton's `config.pbtxt`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batcher {
    /// `max_batch_size`, at least 1.
    max_batch: usize,
    /// `max_queue_delay_microseconds`, in nanoseconds.
    max_queue_delay: u64,
    /// `preferred_batch_size`, ascending; Triton's default is the maximum alone.
    preferred: Vec<usize>,
    /// Neither a delay nor a preference: always all that fits.
    greedy: bool,
}

/// What an idle instance does with the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formation {
    /// Start a batch of this many requests, taken from the head of the queue.
    Start(usize),
    /// Wait, at most until this instant (nanoseconds), for more requests.
    WaitUntil(u64),
}

impl Batcher {
    /// A batcher; `preferred` is sorted and deduplicated, and empty means `[max_batch]` as in Triton.
    /// `max_batch` of zero (Triton's "no batching") is taken as one.
    pub fn new(max_batch: usize, max_queue_delay: Duration, preferred: &[usize]) -> Self {
        let max_batch = max_batch.max(1);
        let mut preferred: Vec<usize> = preferred.iter().copied().filter(|&p| p >= 1 && p <= max_batch).collect();
        preferred.sort_unstable();
        preferred.dedup();
        if preferred.is_empty() {
            preferred.push(max_batch);
        }
        let max_queue_delay = duration_nanos(max_queue_delay);
        let greedy = max_queue_delay == 0 && preferred == [max_batch];
        Batcher { max_batch, max_queue_delay, preferred, greedy }
    }

    /// The largest batch ever formed.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Whether it never waits and has no preference: every batch is all that fits.
    pub fn is_greedy(&self) -> bool {
        self.greedy
    }

    /// What to do at `now` with `queued` ≥ 1 requests, the oldest enqueued at `oldest` (both nanoseconds).
    ///
    /// ```
    /// use kisim::batcher::{Batcher, Formation};
    /// use std::time::Duration;
    /// let batcher = Batcher::new(8, Duration::from_micros(100), &[4]);
    /// assert_eq!(batcher.form(3, 0, 50_000), Formation::WaitUntil(100_000));
    /// assert_eq!(batcher.form(4, 0, 50_000), Formation::Start(4));
    /// assert_eq!(batcher.form(3, 0, 100_000), Formation::Start(3));
    /// ```
    #[inline(always)]
    pub fn form(&self, queued: usize, oldest: u64, now: u64) -> Formation {
        if self.greedy {
            return Formation::Start(queued.min(self.max_batch));
        }
        self.form_by_preference(queued, oldest, now)
    }

    fn form_by_preference(&self, queued: usize, oldest: u64, now: u64) -> Formation {
        let fits = queued.min(self.max_batch);
        let delay_is_exceeded = self.max_queue_delay != 0 && now.saturating_sub(oldest) >= self.max_queue_delay;
        if !delay_is_exceeded && let Some(&best) = self.preferred.iter().rev().find(|&&p| p <= fits) {
            return Formation::Start(best);
        }
        let largest_preferred = self.preferred.last().copied().unwrap_or(self.max_batch);
        let cannot_grow = fits >= largest_preferred || queued > self.max_batch;
        if cannot_grow || delay_is_exceeded || self.max_queue_delay == 0 {
            return Formation::Start(fits);
        }
        Formation::WaitUntil(oldest.saturating_add(self.max_queue_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Formation::{Start, WaitUntil};

    #[test]
    fn forms_batches_as_triton_does() {
        let batcher = |max, delay_ns, preferred: &[usize]| Batcher::new(max, Duration::from_nanos(delay_ns), preferred);
        let check = |b: &Batcher, queued, age: u64, expected| assert_eq!(b.form(queued, 1_000, 1_000 + age), expected);

        let plain = batcher(8, 0, &[]);
        check(&plain, 1, 0, Start(1));
        check(&plain, 8, 0, Start(8));
        check(&plain, 20, 0, Start(8));

        let delayed = batcher(8, 100, &[]);
        check(&delayed, 1, 0, WaitUntil(1_100));
        check(&delayed, 7, 99, WaitUntil(1_100));
        check(&delayed, 7, 100, Start(7));
        check(&delayed, 8, 0, Start(8));
        check(&delayed, 9, 0, Start(8));

        // Preferred sizes without a delay: the largest that is there, and the rest stays queued.
        let preferred = batcher(16, 0, &[8, 4]);
        check(&preferred, 3, 0, Start(3));
        check(&preferred, 6, 0, Start(4));
        check(&preferred, 12, 0, Start(8));
        check(&preferred, 40, 0, Start(8));

        // With a delay, an exceeded one ignores the preference and takes all that fits.
        let both = batcher(16, 100, &[4, 8]);
        check(&both, 3, 0, WaitUntil(1_100));
        check(&both, 5, 0, Start(4));
        check(&both, 5, 100, Start(5));
        check(&both, 12, 100, Start(12));
        check(&both, 40, 100, Start(16));
    }

    #[test]
    fn nonsense_preferences_are_ignored_and_zero_means_no_batching() {
        assert_eq!(Batcher::new(4, Duration::ZERO, &[0, 9]), Batcher::new(4, Duration::ZERO, &[4]));
        assert_eq!(Batcher::new(0, Duration::ZERO, &[]).max_batch(), 1);
    }
}
