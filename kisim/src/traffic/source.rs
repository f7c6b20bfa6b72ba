//! Open-loop arrivals: an endless question "when is the next one", answered without looking at the system.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use rand::RngExt;

use crate::random::Stream;
use crate::trace::{Arrivals, ClientWindows, TraceError};
use crate::traffic::curve::Walker;
use crate::traffic::renewal::Renewal;

/// Arrival times asked for at once: long enough to keep the generator's state in registers, short enough for L1.
const CHUNK: usize = 512;

/// Arrival times in ascending order, nanoseconds.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    rng: Stream,
    buffer: Vec<u64>,
    at: usize,
    exhausted: bool,
}

#[derive(Debug)]
enum Kind {
    Curve { walker: Walker, renewal: Renewal },
    Replay(Box<Replay>),
    Clients(Box<Clients>),
    Listed { times: Arc<[u64]>, at: usize },
}

impl Source {
    /// Arrivals whose rate follows a curve, with the irregularity of a renewal process.
    pub fn curve(walker: Walker, renewal: Renewal, rng: Stream) -> Self {
        Source::new(Kind::Curve { walker, renewal }, rng)
    }

    /// Arrivals of a trace, rescaled, see [`Replay`].
    pub fn replay(arrivals: Arrivals, rate_scale: f64, time_scale: f64, rng: Stream) -> Self {
        let replay = Replay { arrivals, rate_scale, time_scale, next: None, copies: VecDeque::new(), started: false };
        Source::new(Kind::Replay(Box::new(replay)), rng)
    }

    /// Superposed clients of a trace, each a renewal process whose law changes by window.
    pub fn clients(windows: ClientWindows, rate_scale: f64, time_scale: f64, rng: Stream) -> Self {
        Source::new(Kind::Clients(Box::new(Clients::new(windows, rate_scale, time_scale))), rng)
    }

    /// Given arrival times, ascending, nanoseconds.
    pub fn listed(times: Arc<[u64]>, rng: Stream) -> Self {
        Source::new(Kind::Listed { times, at: 0 }, rng)
    }

    /// The same source, to go on from here independently; `None` where it reads a file as it goes.
    pub fn fork(&self) -> Option<Source> {
        let kind = match &self.kind {
            Kind::Curve { walker, renewal } => Kind::Curve { walker: walker.clone(), renewal: *renewal },
            Kind::Replay(_) => return None,
            Kind::Clients(clients) => Kind::Clients(clients.clone()),
            Kind::Listed { times, at } => Kind::Listed { times: Arc::clone(times), at: *at },
        };
        let (rng, at, exhausted) = (self.rng.clone(), self.at, self.exhausted);
        Some(Source { kind, rng, buffer: self.buffer.clone(), at, exhausted })
    }

    fn new(kind: Kind, rng: Stream) -> Self {
        Source { kind, rng, buffer: Vec::with_capacity(CHUNK), at: 0, exhausted: false }
    }

    /// The next arrival time, without taking it; `None` when there are no more. Fails where a trace cannot be read on.
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Option<u64>, TraceError> {
        if self.at == self.buffer.len() {
            if self.exhausted {
                return Ok(None);
            }
            self.refill()?;
        }
        Ok(self.buffer.get(self.at).copied())
    }

    /// The times at hand, ascending, without asking the generator for more; take them with [`Source::take`].
    #[inline(always)]
    pub fn at_hand(&self) -> &[u64] {
        &self.buffer[self.at..]
    }

    /// Takes the first `count` of the times at hand.
    #[inline(always)]
    pub fn take(&mut self, count: usize) {
        self.at += count;
    }

    #[inline(never)]
    fn refill(&mut self) -> Result<(), TraceError> {
        self.buffer.clear();
        self.at = 0;
        match &mut self.kind {
            Kind::Curve { walker, renewal } => {
                while self.buffer.len() < CHUNK {
                    match walker.advance(renewal.draw(&mut self.rng)) {
                        Some(time) => self.buffer.push((time * 1e9) as i64 as u64),
                        None => {
                            self.exhausted = true;
                            break;
                        }
                    }
                }
            }
            Kind::Replay(replay) => self.exhausted = replay.fill(&mut self.buffer, &mut self.rng)?,
            Kind::Clients(clients) => self.exhausted = clients.fill(&mut self.buffer, &mut self.rng),
            Kind::Listed { times, at } => {
                let end = times.len().min(*at + CHUNK);
                self.buffer.extend_from_slice(&times[*at..end]);
                *at = end;
                self.exhausted = end == times.len();
            }
        }
        Ok(())
    }
}

/// Replay of recorded arrivals.
///
/// `time_scale` stretches time (2 = twice as long, half the rate). `rate_scale` multiplies the number of requests at
/// unchanged speed: below 1 each is kept with that probability; above 1 each is sent `rate_scale` times on average, the
/// copies uniformly within the gap to the next recorded arrival, which keeps bursts where they were.
#[derive(Debug)]
pub struct Replay {
    arrivals: Arrivals,
    rate_scale: f64,
    time_scale: f64,
    next: Option<u64>,
    /// Copies of the current arrival, ascending.
    copies: VecDeque<u64>,
    started: bool,
}

impl Replay {
    fn read(&mut self) -> Result<Option<u64>, TraceError> {
        let next = self.arrivals.next().transpose()?;
        Ok(next.map(|time| (time.as_nanos() as f64 * self.time_scale) as u64))
    }

    fn fill(&mut self, buffer: &mut Vec<u64>, rng: &mut Stream) -> Result<bool, TraceError> {
        if !self.started {
            self.started = true;
            self.next = self.read()?;
        }
        while buffer.len() < CHUNK {
            if let Some(copy) = self.copies.pop_front() {
                buffer.push(copy);
                continue;
            }
            let Some(time) = self.next else { return Ok(true) };
            self.next = self.read()?;
            let gap = self.next.map_or(0, |next| next - time);
            // A whole number on average: the integer part surely, the rest by chance.
            let whole = self.rate_scale.floor();
            let extra = u64::from(self.rate_scale > whole && rng.random::<f64>() < self.rate_scale - whole);
            let count = whole as u64 + extra;
            if count > 0 {
                self.copies.push_back(time);
                let mut others: Vec<u64> = (1..count).map(|_| time + rng.random_range(0..=gap)).collect();
                others.sort_unstable();
                self.copies.extend(others);
            }
        }
        Ok(false)
    }
}

/// Clients, each with a rate and an inter-arrival law a window.
#[derive(Clone, Debug)]
struct Clients {
    windows: ClientWindows,
    group: usize,
    rate_scale: f64,
    time_scale: f64,
    /// Start and end of the current window, seconds of simulation.
    end: f64,
    /// (next arrival, client's index in the window), earliest first.
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    laws: Vec<(Renewal, f64)>,
}

impl Clients {
    fn new(windows: ClientWindows, rate_scale: f64, time_scale: f64) -> Self {
        Clients { windows, group: 0, rate_scale, time_scale, end: 0.0, heap: BinaryHeap::new(), laws: Vec::new() }
    }

    fn enter_next(&mut self, rng: &mut Stream) -> bool {
        let Some(group) = self.windows.groups().nth(self.group) else { return false };
        self.group += 1;
        let start = group.start.as_secs_f64() * self.time_scale;
        self.end = (group.start.as_secs_f64() + group.length.as_secs_f64()) * self.time_scale;
        self.laws.clear();
        self.heap.clear();
        for (index, client) in group.clients.iter().enumerate() {
            let rate = client.rate * self.rate_scale / self.time_scale;
            if rate <= 0.0 {
                continue;
            }
            let renewal = Renewal::from_law(client.interarrival);
            // A window begins somewhere inside a client's gap: a uniform share of a drawn one.
            let share: f64 = rng.random();
            let first = start + share * renewal.draw(rng) / rate;
            while self.laws.len() <= index {
                self.laws.push((Renewal::Regular, 0.0));
            }
            self.laws[index] = (renewal, 1.0 / rate);
            self.heap.push(Reverse(((first * 1e9) as u64, index as u32)));
        }
        true
    }

    fn fill(&mut self, buffer: &mut Vec<u64>, rng: &mut Stream) -> bool {
        while buffer.len() < CHUNK {
            match self.heap.pop() {
                Some(Reverse((time, client))) if (time as f64) < self.end * 1e9 => {
                    buffer.push(time);
                    let (renewal, mean_gap) = self.laws[client as usize];
                    let gap = (renewal.draw(rng) * mean_gap * 1e9) as u64;
                    self.heap.push(Reverse((time.saturating_add(gap), client)));
                }
                _ => {
                    if !self.enter_next(rng) {
                        return true;
                    }
                }
            }
        }
        false
    }
}
