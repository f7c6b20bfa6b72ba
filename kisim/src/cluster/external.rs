//! Pods whose life somebody outside decides, such as a real cluster whose pods get simulated servers.
//!
//! The scheduler, the stages of start-up, probes and faults rest. What follows from being ready, dead or deleted is the
//! same code as ever: endpoints propagate, servers drain within the grace period, meters run.

use super::nodes::{Node, NodeGroup, Place};
use super::{Cluster, Phase, PoolSetup};
use crate::events::{Event, EventQueue};
use crate::fleet::Fleet;

impl Cluster {
    /// A cluster that has what the outside says it has, and nothing yet.
    pub(crate) fn external(pools: Vec<PoolSetup>, seed: u64, events: &mut EventQueue) -> Self {
        // Its nodes are there because a pod is, with room for it: whether there was any is not decided here.
        let group = NodeGroup { name: "external".into(), count: 0, cpus: f64::INFINITY, gpus: 0, autoscaler: None };
        Cluster::new(pools, vec![group], Vec::new(), seed, events)
    }

    /// Somebody set the replicas of `pool`.
    pub(crate) fn replicas_set(&mut self, pool: usize, replicas: u32) {
        self.meters[pool].churn += u64::from(replicas.abs_diff(self.desired[pool]));
        self.desired[pool] = replicas;
    }

    /// The replicas of `pool` are these, and were before the run.
    pub(crate) fn replicas_found(&mut self, pool: usize, replicas: u32) {
        self.desired[pool] = replicas;
    }

    /// A pod of `pool` was created; its number.
    pub(crate) fn pod_created(&mut self, pool: usize, now: u64) -> u64 {
        self.create(pool, now)
    }

    /// A pod was bound to a node, by number.
    pub(crate) fn pod_bound(&mut self, id: u64, node: usize, now: u64) {
        let Some(pod) = self.pods.get(&id).filter(|p| p.phase == Phase::Pending) else { return };
        while self.nodes.len() <= node {
            self.nodes.push(Node::new(0, &self.groups[0], self.pools.len(), &[], now));
        }
        let demand = &self.pools[pod.pool].demand;
        let node_of_pod = &mut self.nodes[node];
        let mut gpu = node_of_pod.take(demand);
        if gpu.is_none() && demand.gpu {
            // Which GPU the device plugin gave is not in the API: where replicas share one, those of a node are packed.
            node_of_pod.gpus.push(Some(1));
            gpu = Some(node_of_pod.gpus.len() - 1);
        }
        self.placed(id, Place { node, gpu }, now);
    }

    /// The container of a bound pod started.
    pub(crate) fn pod_started(&mut self, id: u64, now: u64) {
        if let Some(pod) = self.pods.get_mut(&id)
            && matches!(pod.phase, Phase::Pulling | Phase::BackOff)
        {
            pod.phase = Phase::Loading;
            pod.started = Some(now);
        }
    }

    /// The Ready condition of a bound pod became true; before the run, if `now` is its beginning.
    pub(crate) fn pod_ready(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        match pod.phase {
            Phase::Pulling | Phase::Loading | Phase::BackOff => {}
            Phase::Pending | Phase::Ready | Phase::Lost | Phase::Draining | Phase::Gone => return,
        }
        if pod.slot.is_some_and(|slot| fleet.server(slot).is_alive()) {
            // It had only failed its probe.
            pod.phase = Phase::Ready;
            pod.ready_transition = Some(now);
            let up = now.saturating_add(self.pools[pod.pool].shutdown.endpoint_propagation.nanos());
            events.push(up, Event::EndpointUp { pod: id, epoch: pod.epoch });
            return;
        }
        self.ready(id, now, fleet, events);
        if now == 0
            && let Some(slot) = self.pods.get(&id).and_then(|p| p.slot)
        {
            fleet.add_endpoint(slot);
        }
    }

    /// The Ready condition of a pod became false while its container runs on: it finishes what it holds and gets no more.
    pub(crate) fn pod_unready(&mut self, id: u64, now: u64, events: &mut EventQueue) {
        let Some(pod) = self.pods.get_mut(&id).filter(|p| p.phase == Phase::Ready) else { return };
        pod.phase = Phase::Loading;
        pod.ready_transition = Some(now);
        let down = now.saturating_add(self.pools[pod.pool].shutdown.endpoint_propagation.nanos());
        events.push(down, Event::EndpointDown { pod: id, epoch: pod.epoch });
    }

    /// The container of a pod died.
    pub(crate) fn pod_crashed(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        match pod.slot {
            Some(slot) if !pod.is_draining() && fleet.server(slot).is_alive() => self.die(id, now, fleet, events),
            None if pod.phase == Phase::Loading => pod.phase = Phase::BackOff,
            _ => {}
        }
    }

    /// A pod was deleted, or evicted: its server drains within the grace period.
    pub(crate) fn pod_deleted(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        if let Some(pod) = self.pods.get_mut(&id)
            && pod.phase == Phase::Loading
            && pod.slot.is_some_and(|slot| fleet.server(slot).is_alive())
        {
            // A server whose probe fails drains like one whose probe does not.
            pod.phase = Phase::Ready;
        }
        self.delete(id, now, fleet, events);
    }

    /// A pod is gone at once, and its server with all it holds: a forced deletion, or its node is lost.
    pub(crate) fn pod_killed(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        self.remove(id, now, fleet, events);
    }
}
