//! Clients that wait for outcomes: closed-loop users, and open-loop clients that retry.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::RngExt;

use crate::ledger::{Outcome, RequestRecord};
use crate::random::Stream;
use crate::scenario::Client;
use crate::server::Request;
use crate::time::nanos_from_secs;
use crate::trace::TraceError;
use crate::traffic::{Load, Source, Users};

/// Nobody's: an open-loop client that is not a user.
const NOBODY: u32 = u32::MAX;

/// A request somebody waits for.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Tells the requests of a slot apart.
    generation: u32,
    user: u32,
    attempt: u32,
    waiting: bool,
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It sends this request.
    Send(Request),
    /// Something that concerns no server.
    Nothing,
}

/// Everybody who waits.
#[derive(Debug)]
pub struct Clients {
    load: Load,
    timeout: u64,
    retries: Option<crate::scenario::Retries>,
    overhead: u64,
    rng: Stream,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Answers on their way: (when heard, order, tag, whether it is one).
    answers: BinaryHeap<Reverse<(u64, u64, u64, bool)>>,
    /// When patience ends, in order of sending, and whose.
    patience: VecDeque<(u64, u64)>,
    /// Second and later attempts: (when, order, user, attempt).
    again: BinaryHeap<Reverse<(u64, u64, u32, u32)>>,
    order: u64,
    /// Requests that were second or later attempts.
    pub retried: u64,
}

impl Clients {
    /// Clients of `load`, who hear of an outcome `overhead` nanoseconds after the server is done with it.
    pub fn new(load: Load, client: &Client, overhead: u64, rng: Stream) -> Self {
        Clients {
            load,
            timeout: client.timeout.map_or(u64::MAX, |t| t.nanos()),
            retries: client.retries.clone(),
            overhead,
            rng,
            slots: Vec::new(),
            free: Vec::new(),
            answers: BinaryHeap::new(),
            patience: VecDeque::new(),
            again: BinaryHeap::new(),
            order: 0,
            retried: 0,
        }
    }

    /// The same clients, to go on from here independently; `None` where their load cannot be forked.
    pub fn fork(&self) -> Option<Clients> {
        Some(Clients {
            load: self.load.fork()?,
            timeout: self.timeout,
            retries: self.retries.clone(),
            overhead: self.overhead,
            rng: self.rng.clone(),
            slots: self.slots.clone(),
            free: self.free.clone(),
            answers: self.answers.clone(),
            patience: self.patience.clone(),
            again: self.again.clone(),
            order: self.order,
            retried: self.retried,
        })
    }

    /// When a client next does something, nanoseconds.
    pub fn due(&mut self) -> Result<u64, TraceError> {
        let first = match &mut self.load {
            Load::Open(source) => source.peek()?.unwrap_or(u64::MAX),
            Load::Closed(users) => users.next(),
        };
        let answer = self.answers.peek().map_or(u64::MAX, |Reverse(a)| a.0);
        let patience = self.patience.front().map_or(u64::MAX, |p| p.0);
        let again = self.again.peek().map_or(u64::MAX, |Reverse(a)| a.0);
        Ok(first.min(answer).min(patience).min(again))
    }

    /// Does what is due at `now`, which is [`Clients::due`]: answers are heard first, then patience ends, then
    /// requests are sent, second attempts before first.
    pub fn act(&mut self, now: u64) -> Act {
        if self.answers.peek().is_some_and(|Reverse(a)| a.0 == now) {
            if let Some(Reverse((_, _, tag, answered))) = self.answers.pop() {
                self.settle(tag, answered, now);
            }
            return Act::Nothing;
        }
        if self.patience.front().is_some_and(|p| p.0 == now) {
            if let Some((_, tag)) = self.patience.pop_front() {
                self.settle(tag, false, now);
            }
            return Act::Nothing;
        }
        if self.again.peek().is_some_and(|Reverse(a)| a.0 == now) {
            if let Some(Reverse((_, _, user, attempt))) = self.again.pop() {
                self.retried += 1;
                return Act::Send(self.send(now, user, attempt));
            }
            return Act::Nothing;
        }
        let user = match &mut self.load {
            Load::Open(source) => {
                Source::take(source, 1);
                Some(NOBODY)
            }
            Load::Closed(users) => Users::act(users),
        };
        user.map_or(Act::Nothing, |user| Act::Send(self.send(now, user, 1)))
    }

    fn send(&mut self, now: u64, user: u32, attempt: u32) -> Request {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, user, attempt, waiting: false });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        (slot.user, slot.attempt, slot.waiting) = (user, attempt, true);
        let tag = u64::from(slot.generation) << 32 | u64::from(index);
        if self.timeout != u64::MAX {
            self.patience.push_back((now.saturating_add(self.timeout), tag));
        }
        Request { sent: now, tag }
    }

    /// Takes note of an outcome at a server, to be heard a little later.
    pub fn hear(&mut self, record: &RequestRecord) {
        self.order += 1;
        let when = record.finished.saturating_add(self.overhead);
        self.answers.push(Reverse((when, self.order, record.tag, record.outcome == Outcome::Completed)));
    }

    /// A client stops waiting: with an answer, or without and perhaps to try again.
    fn settle(&mut self, tag: u64, answered: bool, now: u64) {
        let index = tag as u32;
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        // What comes after its client gave up, or a timer of one that was answered.
        if !slot.waiting || u64::from(slot.generation) != tag >> 32 {
            return;
        }
        slot.waiting = false;
        let Slot { user, attempt, .. } = *slot;
        self.free.push(index);
        if let Some(retries) = &self.retries
            && !answered
            && attempt < retries.attempts
        {
            let nominal = retries.back_off.as_secs_f64() * retries.multiplier.powi(attempt as i32 - 1);
            let jitter = 1.0 + retries.jitter * (2.0 * self.rng.random::<f64>() - 1.0);
            self.order += 1;
            let when = now.saturating_add(nanos_from_secs(nominal * jitter));
            self.again.push(Reverse((when, self.order, user, attempt + 1)));
            return;
        }
        if user != NOBODY
            && let Load::Closed(users) = &mut self.load
        {
            users.answered(user, now);
        }
    }
}
