//! Closed-loop users: each sends a request, waits for its outcome, thinks, and sends the next (as Locust's do).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::distribution::TimeDistribution;
use crate::random::Stream;

/// A crowd of users whose number changes over time.
#[derive(Clone, Debug)]
pub struct Users {
    /// (from when in nanoseconds, number of users), ascending.
    schedule: Vec<(u64, u32)>,
    at: usize,
    target: u32,
    think: TimeDistribution,
    rng: Stream,
    /// (when, user): users who think, earliest first; of the same instant the lowest number.
    thinking: BinaryHeap<Reverse<(u64, u32)>>,
    /// By user: whether they think or wait for an outcome. The others are away until the crowd grows again.
    active: Vec<bool>,
}

impl Users {
    /// A crowd following `schedule`; each user thinks for a time drawn from `think` after every outcome.
    pub fn new(schedule: Vec<(u64, u32)>, think: TimeDistribution, rng: Stream) -> Self {
        Users { schedule, at: 0, target: 0, think, rng, thinking: BinaryHeap::new(), active: Vec::new() }
    }

    /// When the next user sends or the number of users changes, nanoseconds; `u64::MAX` for never.
    pub fn next(&self) -> u64 {
        let change = self.schedule.get(self.at).map_or(u64::MAX, |&(time, _)| time);
        self.thinking.peek().map_or(change, |&Reverse((time, _))| time.min(change))
    }

    /// Does what is due at [`Users::next`]: a user who sends now, or `None` if only the crowd changed.
    pub fn act(&mut self) -> Option<u32> {
        let now = self.next();
        if let Some(&(time, users)) = self.schedule.get(self.at)
            && time == now
        {
            self.at += 1;
            self.target = users;
            for user in 0..users {
                if self.active.len() <= user as usize {
                    self.active.push(false);
                }
                // New users send at once, as Locust's do; those who still wait or think go on.
                if !self.active[user as usize] {
                    self.active[user as usize] = true;
                    self.thinking.push(Reverse((now, user)));
                }
            }
            return None;
        }
        let Reverse((_, user)) = self.thinking.pop()?;
        if user >= self.target {
            self.active[user as usize] = false;
            return None;
        }
        Some(user)
    }

    /// Tells that `user`'s request ended at `now`: they think.
    pub fn answered(&mut self, user: u32, now: u64) {
        let think = self.think.sample(&mut self.rng);
        self.thinking.push(Reverse((now.saturating_add(think), user)));
    }

    /// From when on (nanoseconds) how many users there are, ascending.
    pub fn schedule(&self) -> &[(u64, u32)] {
        &self.schedule
    }

    /// Users asked for at present.
    pub fn target(&self) -> u32 {
        self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use crate::random::{Purpose, stream};

    #[test]
    fn users_come_think_and_leave() {
        let second = 1_000_000_000;
        let think = TimeDistribution::constant(Span::secs(2));
        let mut users =
            Users::new(vec![(0, 2), (3 * second, 1), (9 * second, 2)], think, stream(1, Purpose::Arrivals, 0));
        assert_eq!(users.act(), None);
        assert_eq!((users.next(), users.act(), users.act()), (0, Some(0), Some(1)));
        users.answered(0, second);
        users.answered(1, 2 * second);
        // User 0 sends at 3 s, when user 1 is no longer wanted and leaves after thinking.
        assert_eq!((users.next(), users.act()), (3 * second, None));
        assert_eq!(users.act(), Some(0));
        assert_eq!((users.next(), users.act()), (4 * second, None));
        users.answered(0, 8 * second);
        assert_eq!((users.next(), users.act()), (9 * second, None));
        assert_eq!((users.next(), users.act()), (9 * second, Some(1)));
        assert_eq!((users.next(), users.act()), (10 * second, Some(0)));
        assert_eq!(users.next(), u64::MAX);
    }
}
