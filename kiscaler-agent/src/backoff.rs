//! Waiting between attempts: longer each time, and not all at once.

use std::time::Duration;

/// Doubles from `first` up to `most`, each wait drawn between half of it and all of it.
///
/// Draws come from a seed: two who began together do not stay together, and a test knows what comes.
///
/// ```
/// use kiscaler_agent::backoff::Backoff;
/// use std::time::Duration;
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10), 7);
/// let waits: Vec<f64> = (0..6).map(|_| backoff.wait().as_secs_f64()).collect();
/// assert!((0.5..=1.0).contains(&waits[0]) && (5.0..=10.0).contains(&waits[5]));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    attempts: u32,
    state: u64,
}

impl Backoff {
    /// From `first` to `most`, with the jitter of `seed`.
    pub fn new(first: Duration, most: Duration, seed: u64) -> Self {
        Backoff { first, most, attempts: 0, state: seed }
    }

    /// How long to wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let nominal = self.first.saturating_mul(1 << self.attempts.min(20)).min(self.most);
        self.attempts = self.attempts.saturating_add(1);
        // SplitMix64, Steele et al. 2014: one multiplication more than enough for jitter.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = (bits >> 11) as f64 / (1u64 << 53) as f64;
        nominal.mul_f64(0.5 + 0.5 * share)
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.wait())
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        Backoff::reset(self);
    }
}

/// A seed from a name: FNV-1a.
pub fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
