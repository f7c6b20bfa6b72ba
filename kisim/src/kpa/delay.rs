//! The largest value of the last ticks.
//!
//! Source: `pkg/autoscaler/aggregation/max/{window,timewindow}.go`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::{SimTime, duration_nanos};

/// A moving maximum over ticks: a queue of ticks with falling values.
#[derive(Clone, Debug)]
pub(super) struct DelayWindow {
    queue: VecDeque<(u64, u32)>,
    /// Ticks in the window.
    ticks: u64,
    tick_ns: u64,
}

impl DelayWindow {
    /// A window of `length`, rounded up to ticks.
    pub(super) fn new(length: Duration, tick: Duration) -> Self {
        let tick_ns = duration_nanos(tick).max(1);
        let ticks = duration_nanos(length).div_ceil(tick_ns).max(1);
        // With room for one value per tick, recording never allocates; a window too long for that grows.
        let capacity = usize::try_from(ticks + 1).unwrap_or(1).min(4096);
        Self { queue: VecDeque::with_capacity(capacity), ticks, tick_ns }
    }

    /// Takes the value of an instant, not before that of an earlier call; of one tick the largest counts.
    pub(super) fn record(&mut self, now: SimTime, value: u32) {
        let tick = now.as_nanos() / self.tick_ns;
        while self.queue.front().is_some_and(|&(t, _)| tick.saturating_sub(t) >= self.ticks) {
            self.queue.pop_front();
        }
        if self.queue.back().is_some_and(|&(t, v)| t == tick && v >= value) {
            return;
        }
        while self.queue.back().is_some_and(|&(_, v)| v <= value) {
            self.queue.pop_back();
        }
        self.queue.push_back((tick, value));
    }

    /// The largest value in the window that ended with the last record; 0 before the first.
    pub(super) fn current(&self) -> u32 {
        self.queue.front().map_or(0, |&(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TestTimedWindowMax.
    #[test]
    fn largest_of_the_window() {
        type Row = (&'static str, &'static [(u64, u32)], u32);
        let rows: [Row; 4] = [
            ("single value", &[(0, 5)], 5),
            ("two values in same second", &[(0, 6), (500, 5)], 6),
            ("two values", &[(0, 5), (1000, 8)], 8),
            ("time gap", &[(0, 5), (6000, 4)], 4),
        ];
        for (name, values, want) in rows {
            let mut window = DelayWindow::new(Duration::from_secs(5), Duration::from_secs(1));
            for &(millis, value) in values {
                window.record(SimTime::ZERO + Duration::from_millis(millis), value);
            }
            assert_eq!(window.current(), want, "{name}");
        }
    }

    #[test]
    fn agrees_with_a_plain_maximum() {
        let mut window = DelayWindow::new(Duration::from_secs(10), Duration::from_secs(2));
        let mut all = Vec::new();
        let mut x = 1_u32;
        for t in 0..500_u64 {
            x = x.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let value = (x >> 16) % 50;
            all.push((t, value));
            window.record(SimTime::ZERO + Duration::from_secs(t), value);
            let plain = all.iter().filter(|(at, _)| at / 2 + 5 > t / 2).map(|(_, v)| *v).max();
            assert_eq!(Some(window.current()), plain, "at {t} s");
        }
    }
}
