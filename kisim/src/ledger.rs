//! The simulator's own books: what became of every request, and how long it took.
//!
//! This is the truth that reports and rewards are made of. Autoscalers never see it (oracle boundary): they get
//! what `telemetry` exports.

use crate::histogram::{BUCKETS, Histogram, lower_bound};
use crate::server::Request;
use crate::telemetry::MAX_BUCKETS;

/// How a request ended without a response in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Rejected: the server's queue was full.
    QueueFull,
    /// It expired in the queue, or its response came after the client had given up.
    TimedOut,
    /// Its server went away with it, or was already gone when it arrived.
    Killed,
    /// No endpoint was ready to take it.
    NoEndpoint,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a response in time.
    Completed,
    /// Without one.
    Failed(Ending),
}

impl Outcome {
    /// The name used in requests.csv and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Failed(Ending::QueueFull) => "queue_full",
            Outcome::Failed(Ending::TimedOut) => "timed_out",
            Outcome::Failed(Ending::Killed) => "killed",
            Outcome::Failed(Ending::NoEndpoint) => "no_endpoint",
        }
    }
}

/// One ended request; times in nanoseconds since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Client slot or request number, see [`Request::tag`].
    pub tag: u64,
    /// The pool it was sent to.
    pub pool: usize,
    /// When the client sent it.
    pub sent: u64,
    /// When its batch started; when it ended, if it never did.
    pub started: u64,
    /// When it ended, at the server.
    pub finished: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Counts and latencies of all requests since the end of the warm-up.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Requests sent by clients; retries count again.
    pub arrived: u64,
    /// Responses in time.
    pub completed: u64,
    /// Rejections by a full queue.
    pub queue_full: u64,
    /// Expired requests and late responses.
    pub timed_out: u64,
    /// Requests lost with their server.
    pub killed: u64,
    /// Requests that found no ready endpoint.
    pub no_endpoint: u64,
    /// Completed, but later than the objective.
    pub late: u64,
    /// Latency of the completed, as the client sees it.
    pub latency: Histogram,
    /// Queueing part of it.
    pub queue: Histogram,
}

impl Ledger {
    /// Requests that ended, one way or the other.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed()
    }

    /// Requests that ended without a response in time.
    pub fn failed(&self) -> u64 {
        self.queue_full + self.timed_out + self.killed + self.no_endpoint
    }

    /// Requests that broke the objective: late or failed.
    pub fn violations(&self) -> u64 {
        self.late + self.failed()
    }

    /// Starts over with `in_flight` requests that arrived earlier and still have to end.
    pub fn restart(&mut self, in_flight: u64) {
        self.latency.clear();
        self.queue.clear();
        let (latency, queue) = (std::mem::take(&mut self.latency), std::mem::take(&mut self.queue));
        *self = Ledger { arrived: in_flight, latency, queue, ..Ledger::default() };
    }

    /// Copies `other` without allocating.
    pub fn copy_from(&mut self, other: &Ledger) {
        self.latency.copy_from(&other.latency);
        self.queue.copy_from(&other.queue);
        let (latency, queue) = (std::mem::take(&mut self.latency), std::mem::take(&mut self.queue));
        *self = Ledger { latency, queue, ..*other };
    }
}

const BOUNDS: usize = MAX_BUCKETS.next_power_of_two();

/// Where servers report to.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The books.
    pub ledger: Ledger,
    /// Latency objective, nanoseconds.
    objective_ns: u64,
    /// Upper bounds of the exported latency buckets, nanoseconds, ascending; from +Inf's on, all are "never". A power of
    /// two in length, so that a mask keeps an index in range without a branch.
    bounds: [u64; BOUNDS],
    /// For each histogram bucket, the first exported bucket that can hold its values: the search is done once.
    first_bound: Box<[u8; BUCKETS]>,
    /// Ended requests nobody has looked at yet, where somebody asked for them.
    records: Option<Vec<RequestRecord>>,
}

impl Sink {
    /// Books for the latency objective `objective_ns`, exporting latency buckets with upper bounds `bounds`
    /// (nanoseconds, ascending). `follow` keeps a record of each ended request, for clients who wait for it.
    pub fn new(objective_ns: u64, bounds: &[u64], follow: bool) -> Self {
        let mut padded = [u64::MAX; BOUNDS];
        for (padded, &bound) in padded.iter_mut().zip(&bounds[..bounds.len().min(MAX_BUCKETS - 1)]) {
            *padded = bound;
        }
        let mut first_bound = Box::new([0; BUCKETS]);
        for (bucket, first) in first_bound.iter_mut().enumerate() {
            *first = padded.partition_point(|&bound| bound < lower_bound(bucket)) as u8;
        }
        Sink { ledger: Ledger::default(), objective_ns, bounds: padded, first_bound, records: follow.then(Vec::new) }
    }

    /// Books a response in time; returns its exported latency bucket.
    #[inline(always)]
    pub fn complete(&mut self, latency_ns: u64, queue_ns: u64) -> usize {
        let ledger = &mut self.ledger;
        ledger.completed += 1;
        ledger.late += u64::from(latency_ns > self.objective_ns);
        ledger.queue.record(queue_ns);
        let fine = ledger.latency.record(latency_ns);
        let mut bucket = usize::from(self.first_bound[fine]);
        // Bounds may fall inside a histogram bucket, rarely more than one of them.
        while latency_ns > self.bounds[bucket & (BOUNDS - 1)] {
            bucket += 1;
        }
        bucket
    }

    /// Books a request that ended without a response in time.
    #[inline]
    pub fn end(&mut self, request: Request, ending: Ending, now: u64, pool: usize) {
        let ledger = &mut self.ledger;
        match ending {
            Ending::QueueFull => ledger.queue_full += 1,
            Ending::TimedOut => ledger.timed_out += 1,
            Ending::Killed => ledger.killed += 1,
            Ending::NoEndpoint => ledger.no_endpoint += 1,
        }
        if let Some(records) = &mut self.records {
            records.push(RequestRecord {
                tag: request.tag,
                pool,
                sent: request.sent,
                started: now,
                finished: now,
                outcome: Outcome::Failed(ending),
            });
        }
    }

    /// Whether records are kept.
    #[inline(always)]
    pub fn follows_requests(&self) -> bool {
        self.records.is_some()
    }

    /// Keeps a record.
    pub fn follow(&mut self, record: RequestRecord) {
        if let Some(records) = &mut self.records {
            records.push(record);
        }
    }

    /// Hands over the records kept since the last call, swapping in the emptied `buffer`.
    pub fn take_records(&mut self, buffer: &mut Vec<RequestRecord>) {
        buffer.clear();
        if let Some(records) = &mut self.records {
            std::mem::swap(records, buffer);
        }
    }
}
