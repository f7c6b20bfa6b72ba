//! The yardstick of the speed benchmarks: the loop a textbook would write.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand_distr::{Distribution, Exp1};

/// A textbook discrete-event loop: one binary heap of departures, arrivals drawn one ahead, single-server FIFO pods,
/// exponential times, least-outstanding routing by a scan. It keeps no statistics, no deadlines and no telemetry.
///
/// Returns the number of departures and the sum of waiting times in seconds, so that nothing is optimised away.
pub fn textbook_loop(pods: usize, utilization: f64, requests: u64, seed: u64) -> (u64, f64) {
    let mut rng = kisim::random::stream(seed, kisim::random::Purpose::Arrivals, 0);
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
