//! What the speed benchmarks run: the simulator's request path, and as a yardstick the loop a textbook would write.
//!
//! Both serve the same traffic: Poisson arrivals at single-server FIFO pods with exponential service times of mean one
//! second, at 80 % utilisation. The speed of a run does not depend on the unit of time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use kisim::batcher::Batcher;
use kisim::fleet::{Fleet, FleetSetup, Placement};
use kisim::ledger::Sink;
use kisim::profile::Spread;
use kisim::random::{Purpose, stream};
use kisim::router::Routing;
use kisim::server::{Server, ServerSpec};
use kisim::sharing::{Sharing, SharingRule};
use rand_distr::{Distribution, Exp1};

/// Numbers of pods that are measured.
pub const PODS: [usize; 4] = [4, 16, 64, 1000];

/// Busy share of the pods, 0–1.
pub const UTILIZATION: f64 = 0.8;

/// The routings that are measured, by name.
pub const ROUTINGS: [(&str, Routing); 4] = [
    ("least_outstanding", Routing::LeastOutstanding),
    ("random", Routing::Random),
    ("power_of_two", Routing::PowerOfTwo),
    ("round_robin", Routing::RoundRobin),
];

/// Arrivals drawn at a time, as the simulator does between two control steps.
const CHUNK: u64 = 1024;

/// Nanoseconds of queueing and of latency that a request is given: more than any waits at this load, but the engine
/// has to check.
const DEADLINE_NS: u64 = 1 << 42;

/// A simulation of the request path with everything on that a run keeps: telemetry counters with latency buckets of
/// every pod, queue and response deadlines, and histograms of latency and queueing time.
#[derive(Clone, Debug)]
pub struct Engine {
    fleet: Fleet,
    arrivals: kisim::random::Stream,
    /// Nanoseconds between two arrivals, on average.
    gap_ns: f64,
    now_ns: f64,
    sent: u64,
    buffer: Vec<u64>,
}

impl Engine {
    /// `pods` idle pods behind a Service that routes by `routing`, at `utilization` (0–1).
    pub fn new(pods: usize, utilization: f64, routing: Routing, seed: u64) -> Self {
        let spec = ServerSpec {
            pool: 0,
            batcher: Batcher::new(1, Duration::ZERO, &[]),
            instances: 1,
            service_ns: vec![0.0, 1e9],
            spread: Spread::Exponential,
            overhead_ns: 0,
            queue_limit: usize::MAX,
            queue_deadline: DEADLINE_NS,
            response_deadline: DEADLINE_NS,
            sharing: Sharing::Exclusive,
            rule: SharingRule::default(),
        };
        let buckets = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];
        let setup = FleetSetup {
            specs: vec![spec.clone()],
            routing,
            placement: Placement::GpuOnly,
            gpu_pool: Some(0),
            cpu_pool: None,
            clients_wait: false,
            activator: None,
        };
        let sink = Sink::new(1_000_000_000, &buckets, false);
        let mut fleet = Fleet::new(setup, sink, stream(seed, Purpose::Routing, 0));
        for pod in 0..pods {
            let server = Server::new(&spec, 1.0, stream(seed, Purpose::Service, pod as u64));
            let slot = fleet.add(0, server, None);
            fleet.add_endpoint(slot);
        }
        Engine {
            fleet,
            arrivals: stream(seed, Purpose::Arrivals, 0),
            gap_ns: 1e9 / (utilization * pods as f64),
            now_ns: 0.0,
            sent: 0,
            buffer: Vec::with_capacity(CHUNK as usize),
        }
    }

    /// Sends `requests` more, in chunks of 1,024 of which the last may be smaller; returns how many have been completed
    /// since the start.
    pub fn run(&mut self, requests: u64) -> u64 {
        let until = self.sent + requests;
        while self.sent < until {
            self.buffer.clear();
            for _ in 0..CHUNK.min(until - self.sent) {
                let gap: f64 = Exp1.sample(&mut self.arrivals);
                self.now_ns += gap * self.gap_ns;
                // By way of i64, which processors convert to in one instruction.
                self.buffer.push(self.now_ns as i64 as u64);
            }
            self.fleet.offer_all(&self.buffer, self.sent);
            self.sent += self.buffer.len() as u64;
        }
        self.fleet.sink.ledger.completed
    }
}

/// A textbook discrete-event loop: one binary heap of departures, arrivals drawn one ahead, single-server FIFO pods,
/// exponential times, least-outstanding routing by a scan. It keeps no statistics, no deadlines and no telemetry.
///
/// Returns the number of departures and the sum of waiting times in seconds, so that nothing is optimised away.
pub fn textbook_loop(pods: usize, utilization: f64, requests: u64, seed: u64) -> (u64, f64) {
    let mut rng = stream(seed, Purpose::Arrivals, 0);
    let mut exponential = || -> f64 { Exp1.sample(&mut rng) };
    let rate = utilization * pods as f64;
    let mut queues: Vec<VecDeque<f64>> = vec![VecDeque::new(); pods];
    let mut departures: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::with_capacity(pods);
    let (mut now, mut served, mut waited) = (0.0f64, 0u64, 0.0f64);
    for _ in 0..requests {
        now += exponential() / rate;
        while let Some(&Reverse((bits, pod))) = departures.peek() {
            let at = f64::from_bits(bits);
            if at > now {
                break;
            }
            departures.pop();
            served += 1;
            let queue = &mut queues[pod as usize];
            queue.pop_front();
            if let Some(&sent) = queue.front() {
                waited += at - sent;
                departures.push(Reverse(((at + exponential()).to_bits(), pod)));
            }
        }
        let mut best = 0;
        for pod in 1..pods {
            if queues[pod].len() < queues[best].len() {
                best = pod;
            }
        }
        queues[best].push_back(now);
        if queues[best].len() == 1 {
            departures.push(Reverse(((now + exponential()).to_bits(), best as u32)));
        }
    }
    (served, waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_loops_serve_nearly_all_requests() {
        let requests = 100_000;
        let (served, waited) = textbook_loop(16, UTILIZATION, requests, 1);
        assert!(served > requests - 1_000 && waited > 0.0);
        for (name, routing) in ROUTINGS {
            let mut engine = Engine::new(16, UTILIZATION, routing, 1);
            engine.run(requests / 2);
            let completed = engine.run(requests / 2);
            // Servers that nobody asks have not been advanced to the end.
            assert!((requests - 2_000..=requests).contains(&completed), "{name}: {completed}");
        }
    }
}
