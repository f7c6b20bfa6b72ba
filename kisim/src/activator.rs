//! The activator: where requests wait while no pod is there to take them, instead of failing.
//!
//! After Knative's (serving, `pkg/activator/net/throttler.go`): a queue in front of the Service, passed on in order as soon
//! as an endpoint comes. While somebody waits, those who come later wait behind. A request is passed on only where the
//! chosen pod's queue has room, so what waits is not rejected by the first pod that comes up.

use std::collections::VecDeque;

use crate::ledger::{Ending, Sink};
use crate::server::Request;

/// Between attempts to pass requests on to pods whose queues were full, nanoseconds.
pub const RETRY_NS: u64 = 50_000_000;

/// The activator's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivatorRules {
    /// Requests waiting beyond which it rejects.
    pub queue_limit: usize,
    /// A request leaves this long after it was sent, nanoseconds; `u64::MAX` for never.
    pub deadline: u64,
}

/// What the activator exports about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivatorSample {
    /// Requests waiting.
    pub waiting: u64,
    /// Requests that ever waited.
    pub arrived: u64,
    /// Integral of the number waiting, nanoseconds.
    pub held_ns: u64,
}

/// The queue.
#[derive(Clone, Debug)]
pub struct Activator {
    rules: ActivatorRules,
    waiting: VecDeque<Request>,
    arrived: u64,
    /// Time spent here by those who left, nanoseconds.
    left_ns: u64,
}

impl Activator {
    /// An empty one.
    pub fn new(rules: ActivatorRules) -> Self {
        Activator { rules, waiting: VecDeque::new(), arrived: 0, left_ns: 0 }
    }

    /// Whether nobody waits.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Requests waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Requests waiting that were sent before `instant`.
    pub fn sent_before(&self, instant: u64) -> usize {
        self.waiting.partition_point(|r| r.sent < instant)
    }

    /// Takes a request in, or rejects it; `pool` is where it is booked.
    pub fn hold(&mut self, request: Request, pool: usize, sink: &mut Sink) {
        self.arrived += 1;
        if self.waiting.len() >= self.rules.queue_limit {
            sink.end(request, Ending::QueueFull, request.sent, pool);
            return;
        }
        self.waiting.push_back(request);
    }

    /// When the first that waits leaves of its own accord; `u64::MAX` for never.
    #[inline(always)]
    pub fn next_expiry(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |first| first.sent.saturating_add(self.rules.deadline))
    }

    /// Ends those whose time is over by `now`.
    pub fn expire(&mut self, now: u64, pool: usize, sink: &mut Sink) {
        while let Some(&first) = self.waiting.front() {
            let over = self.next_expiry();
            if over > now {
                return;
            }
            sink.end(first, Ending::TimedOut, over, pool);
            self.leave(over);
        }
    }

    /// The first in the queue.
    pub fn first(&self) -> Option<Request> {
        self.waiting.front().copied()
    }

    /// Lets the first go at `now`.
    pub fn leave(&mut self, now: u64) {
        if let Some(request) = self.waiting.pop_front() {
            self.left_ns += now - request.sent;
        }
    }

    /// Its metrics at `now`, by which [`Activator::expire`] has been called: nobody is counted beyond their time.
    pub fn sample(&self, now: u64) -> ActivatorSample {
        let waiting: u64 = self.waiting.iter().map(|r| now - r.sent).sum();
        ActivatorSample { waiting: self.len() as u64, arrived: self.arrived, held_ns: self.left_ns + waiting }
    }
}
