//! The queue of everything that is not a request: pod phases, nodes, scrapes, control ticks, faults.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What happens next around the servers. Pods are named by their number, which is never used again; `epoch` tells a
/// pod's lives apart, so that what was meant for an earlier one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The scheduler looks for a node for the pod.
    Bind {
        /// The pod.
        pod: u64,
    },
    /// The image is there.
    Pulled {
        /// The pod.
        pod: u64,
        /// Its life.
        epoch: u32,
    },
    /// The readiness probe succeeded often enough.
    Ready {
        /// The pod.
        pod: u64,
        /// Its life.
        epoch: u32,
    },
    /// Clients have learned of the endpoint.
    EndpointUp {
        /// The pod.
        pod: u64,
        /// Its life.
        epoch: u32,
    },
    /// Clients have learned that the endpoint is gone.
    EndpointDown {
        /// The pod.
        pod: u64,
        /// Its life.
        epoch: u32,
    },
    /// A draining pod may be empty.
    Drained {
        /// The pod.
        pod: u64,
    },
    /// The grace period is over.
    GraceOver {
        /// The pod.
        pod: u64,
    },
    /// The kubelet restarts the container.
    Restart {
        /// The pod.
        pod: u64,
        /// Its life.
        epoch: u32,
    },
    /// A new node of the group is ready.
    NodeReady {
        /// The group.
        group: usize,
    },
    /// The node autoscaler looks whether the node is still empty.
    NodeIdle {
        /// The node.
        node: usize,
        /// Since when it was empty.
        since: u64,
    },
    /// Fault number `fault` strikes; `random` if it draws its next time.
    Fault {
        /// The fault.
        fault: usize,
        /// Whether it recurs at random.
        random: bool,
    },
    /// A fault on a node (or a GPU of it) is over.
    Recover {
        /// The node.
        node: usize,
        /// When the node came.
        born: u64,
        /// The GPU, or the whole node.
        gpu: Option<usize>,
        /// Whether it was only slow.
        slow: bool,
    },
    /// The control plane notices that a node is lost.
    NodeDetected {
        /// The node.
        node: usize,
        /// When the node came.
        born: u64,
    },
    /// Pods of a lost node are replaced.
    NodeEvicted {
        /// The node.
        node: usize,
        /// When the node came.
        born: u64,
    },
    /// A pod is scraped.
    Scrape {
        /// The pod.
        pod: u64,
    },
    /// Statistics begin.
    WarmUpOver,
    /// The cluster's own metrics are scraped.
    ClusterScrape,
    /// The timeline gets a row.
    Row,
    /// The activator tries to pass on what it holds.
    Release,
    /// A control step ends.
    Step,
    /// The autoscaler decides.
    Control,
}

/// Events by time; of the same instant, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct EventQueue {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
}

impl EventQueue {
    /// Adds an event at `time`, nanoseconds; "never" is dropped.
    pub fn push(&mut self, time: u64, event: Event) {
        if time != u64::MAX {
            self.sequence += 1;
            self.heap.push(Reverse((time, self.sequence, event)));
        }
    }

    /// When the next event is, nanoseconds; `u64::MAX` for never.
    pub fn next_time(&self) -> u64 {
        self.heap.peek().map_or(u64::MAX, |Reverse((time, _, _))| *time)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|Reverse((time, _, event))| (time, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_instant_keep_their_order() {
        let mut queue = EventQueue::default();
        queue.push(5, Event::Control);
        queue.push(5, Event::WarmUpOver);
        queue.push(3, Event::ClusterScrape);
        queue.push(u64::MAX, Event::Control);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(3, Event::ClusterScrape), (5, Event::Control), (5, Event::WarmUpOver)]);
    }
}
