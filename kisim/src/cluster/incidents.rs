//! What happens to pods and nodes when a fault strikes, is noticed, and is over.

use super::{Cluster, FaultKind, Phase, Place, Pod, faults};
use crate::events::{Event, EventQueue};
use crate::fleet::Fleet;

impl Cluster {
    pub(super) fn strike(&mut self, number: usize, random: bool, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let fault = self.faults[number].clone();
        if random && let Some(next) = fault.next_random(now, &mut self.fault_rng) {
            events.push(next, Event::Fault { fault: number, random: true });
        }
        match fault.kind {
            FaultKind::PodCrash { pool, repeats } => {
                let of_pool = |p: &&Pod| pool.as_ref().is_none_or(|name| self.pools[p.pool].name == *name);
                let alive = |p: &&Pod| p.slot.is_some_and(|slot| fleet.server(slot).is_alive());
                let ready: Vec<u64> =
                    self.pods.values().filter(|p| p.is_ready()).filter(of_pool).filter(alive).map(|p| p.id).collect();
                if let Some(id) = faults::pick(&ready, &mut self.fault_rng) {
                    if let Some(pod) = self.pods.get_mut(&id) {
                        pod.crashes_left = repeats;
                    }
                    self.crash(id, now, fleet, events);
                }
            }
            FaultKind::GpuLost { lasting } => {
                let gpus: Vec<(usize, usize)> = (0..self.nodes.len())
                    .filter(|&n| self.nodes[n].exists && self.nodes[n].up)
                    .flat_map(|n| (0..self.nodes[n].gpus.len()).map(move |g| (n, g)))
                    .filter(|&(n, g)| self.nodes[n].gpus[g].is_some())
                    .collect();
                let Some((node, gpu)) = faults::pick(&gpus, &mut self.fault_rng) else { return };
                let place = Some(Place { node, gpu: Some(gpu) });
                let lost: Vec<u64> = self.pods.values().filter(|p| p.place == place).map(|p| p.id).collect();
                self.nodes[node].gpus[gpu] = None;
                for id in lost {
                    let pool = self.pods[&id].pool;
                    self.remove(id, now, fleet, events);
                    self.reconcile(pool, now, fleet, events);
                }
                let born = self.nodes[node].born;
                let over = Event::Recover { node, born, gpu: Some(gpu), slow: false };
                events.push(now.saturating_add(lasting.nanos()), over);
            }
            FaultKind::NodeLost { lasting, detection, eviction } => {
                let up: Vec<usize> =
                    (0..self.nodes.len()).filter(|&n| self.nodes[n].exists && self.nodes[n].up).collect();
                let Some(node) = faults::pick(&up, &mut self.fault_rng) else { return };
                self.nodes[node].up = false;
                for id in self.on_node(node).map(|p| p.id).collect::<Vec<_>>() {
                    self.lose(id, now, fleet);
                }
                let detected = now.saturating_add(detection.nanos());
                let born = self.nodes[node].born;
                events.push(detected, Event::NodeDetected { node, born });
                events.push(detected.saturating_add(eviction.nanos()), Event::NodeEvicted { node, born });
                let over = Event::Recover { node, born, gpu: None, slow: false };
                events.push(now.saturating_add(lasting.nanos()), over);
            }
            FaultKind::SlowNode { lasting, factor } => {
                let up: Vec<usize> =
                    (0..self.nodes.len()).filter(|&n| self.nodes[n].exists && self.nodes[n].up).collect();
                let Some(node) = faults::pick(&up, &mut self.fault_rng) else { return };
                self.set_slowdown(node, factor, now, fleet);
                let until = now.saturating_add(lasting.nanos());
                let node_state = &mut self.nodes[node];
                node_state.slow_until = node_state.slow_until.max(until);
                let born = node_state.born;
                events.push(until, Event::Recover { node, born, gpu: None, slow: true });
            }
            FaultKind::ScrapeDropout { lasting } => {
                self.scrapes_fail_until = self.scrapes_fail_until.max(now.saturating_add(lasting.nanos()));
            }
            FaultKind::ScrapeLag { lasting, extra } => {
                self.scrape_lag = (now.saturating_add(lasting.nanos()), extra.nanos());
            }
            FaultKind::ScaleRefused { lasting } => {
                self.scale_refused_until = self.scale_refused_until.max(now.saturating_add(lasting.nanos()));
            }
        }
    }

    /// The node of `id` is gone: its server answers nobody, but the API still shows the pod as it was.
    fn lose(&mut self, id: u64, now: u64, fleet: &mut Fleet) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        let meter = &mut self.meters[pod.pool];
        meter.advance(now);
        if let Some(slot) = pod.slot {
            fleet.advance(slot, now);
            if fleet.server(slot).is_alive() {
                fleet.kill(slot, now);
                meter.serving -= 1;
                meter.retired_busy_ns += u128::from(fleet.server(slot).busy_ns(now));
            }
        }
        if !matches!(pod.phase, Phase::Ready | Phase::Draining) {
            // What was to happen on the node does not.
            pod.epoch += 1;
        }
    }

    /// The control plane notices that the node of `id` is gone.
    pub(super) fn notice_lost(&mut self, id: u64, now: u64, fleet: &mut Fleet) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        if let Some(slot) = pod.slot {
            fleet.remove_endpoint(slot);
        }
        // One that is being deleted goes on to be: it is replaced already.
        if pod.phase != Phase::Draining {
            pod.phase = Phase::Lost;
            pod.ready_transition = Some(now);
            pod.epoch += 1;
        }
    }

    fn set_slowdown(&mut self, node: usize, factor: f64, now: u64, fleet: &mut Fleet) {
        self.nodes[node].slowdown = factor;
        let affected: Vec<(u32, usize)> = self.on_node(node).filter_map(|p| Some((p.slot?, p.pool))).collect();
        for (slot, pool) in affected {
            fleet.advance(slot, now);
            fleet.set_speed(slot, self.pools[pool].speed / factor);
        }
    }

    pub(super) fn recover(
        &mut self,
        node: usize,
        gpu: Option<usize>,
        slow: bool,
        now: u64,
        fleet: &mut Fleet,
        events: &mut EventQueue,
    ) {
        if slow {
            // Of faults that overlap, the last to end ends them.
            if now >= self.nodes[node].slow_until {
                self.set_slowdown(node, 1.0, now, fleet);
            }
            return;
        }
        if let Some(gpu) = gpu {
            if self.nodes[node].gpus[gpu].is_none() {
                self.nodes[node].gpus[gpu] = Some(0);
            }
        } else {
            // The node comes back empty: pods that were not yet evicted are gone with its containers.
            for id in self.on_node(node).map(|p| p.id).collect::<Vec<_>>() {
                let pool = self.pods[&id].pool;
                self.remove(id, now, fleet, events);
                self.reconcile(pool, now, fleet, events);
            }
            self.nodes[node].up = true;
        }
        self.retry_unschedulable(now, events);
    }
}
