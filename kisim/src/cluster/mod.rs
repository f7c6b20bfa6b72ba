//! The cluster: pods on nodes, from creation to the end, and what can go wrong with them.

mod external;
mod faults;
mod incidents;
mod lifecycle;
mod nodes;

use std::collections::BTreeMap;

use crate::activator::RETRY_NS;
use crate::events::{Event, EventQueue};
use crate::fleet::Fleet;
use crate::random::{Purpose, Stream, stream};
use crate::server::Server;
pub use faults::{Fault, FaultKind};
pub use lifecycle::{Phase, Preset, Readiness, Shutdown, Stages, Startup};
pub use nodes::{Demand, Node, NodeAutoscaler, NodeGroup, Place};

/// What the cluster must know of a pool.
#[derive(Clone, Debug)]
pub struct PoolSetup {
    /// Name, for faults that name a pool.
    pub name: String,
    /// What a pod asks of a node.
    pub demand: Demand,
    /// Stages of its start.
    pub stages: Stages,
    /// Whether nodes have its image from the start.
    pub image_cached: bool,
    /// Its probe.
    pub readiness: Readiness,
    /// Its end.
    pub shutdown: Shutdown,
    /// Speed of its servers relative to the profile: the GPU share's.
    pub speed: f64,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its number, in order of creation.
    pub id: u64,
    /// Its pool.
    pub pool: usize,
    /// Where it is in its life.
    pub phase: Phase,
    /// When it was created, nanoseconds.
    pub created: u64,
    /// Where it runs.
    pub place: Option<Place>,
    /// Its server's slot in the fleet, from when it first was ready.
    pub slot: Option<u32>,
    /// When its container (last) started.
    pub started: Option<u64>,
    /// When its Ready condition last changed.
    pub ready_transition: Option<u64>,
    /// Container restarts.
    pub restarts: u32,
    /// Crashes to come.
    crashes_left: u32,
    /// Tells its lives apart.
    epoch: u32,
    rng: Stream,
}

impl Pod {
    /// Whether its Ready condition is true.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether it is being deleted.
    pub fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }
}

/// Numbers of pods of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodCounts {
    /// Pods asked for.
    pub desired: u32,
    /// Pods on a node and not being deleted.
    pub scheduled: u32,
    /// Pods whose Ready condition is true.
    pub ready: u32,
    /// Pods being deleted.
    pub draining: u32,
    /// Pods without a node.
    pub pending: u32,
}

impl PodCounts {
    /// Counts a pod in `phase`.
    pub fn add(&mut self, phase: Phase) {
        match phase {
            Phase::Pending => self.pending += 1,
            Phase::Draining => self.draining += 1,
            Phase::Ready => {
                self.scheduled += 1;
                self.ready += 1;
            }
            Phase::Pulling | Phase::Loading | Phase::BackOff | Phase::Lost => self.scheduled += 1,
            Phase::Gone => {}
        }
    }
}

/// A pool's use of the cluster, integrated over time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    last: u64,
    /// Pods that occupy a node, whatever they do there.
    pub bound: u32,
    /// Most of them at once.
    pub bound_max: u32,
    /// Servers that run.
    pub serving: u32,
    /// Pod-nanoseconds on nodes.
    pub bound_ns: u128,
    /// Server-nanoseconds running.
    pub serving_ns: u128,
    /// Busy nanoseconds of servers that are no more.
    pub retired_busy_ns: u128,
    /// Changes of the desired number, in replicas.
    pub churn: u64,
}

impl Meter {
    fn advance(&mut self, now: u64) {
        let elapsed = u128::from(now - self.last);
        self.bound_ns += u128::from(self.bound) * elapsed;
        self.serving_ns += u128::from(self.serving) * elapsed;
        self.last = now;
    }
}

/// Why a scale request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleRefused;

/// The cluster's state.
#[derive(Clone, Debug)]
pub struct Cluster {
    seed: u64,
    pools: Vec<PoolSetup>,
    groups: Vec<NodeGroup>,
    nodes: Vec<Node>,
    /// Nodes of each group that are being provisioned.
    provisioning: Vec<u32>,
    node_rng: Stream,
    pods: BTreeMap<u64, Pod>,
    next_pod: u64,
    desired: Vec<u32>,
    meters: Vec<Meter>,
    /// Pods no node has room for, in order.
    unschedulable: Vec<u64>,
    faults: Vec<Fault>,
    fault_rng: Stream,
    /// Until when scale requests are refused, scrapes fail, and scrapes lag by how much, nanoseconds.
    scale_refused_until: u64,
    scrapes_fail_until: u64,
    scrape_lag: (u64, u64),
    /// Whether an [`Event::Release`] is to come.
    release_due: bool,
}

impl Cluster {
    /// A cluster of empty nodes; its own events so far are added to `events`.
    pub fn new(
        pools: Vec<PoolSetup>,
        groups: Vec<NodeGroup>,
        faults: Vec<Fault>,
        seed: u64,
        events: &mut EventQueue,
    ) -> Self {
        let cached: Vec<bool> = pools.iter().map(|p| p.image_cached).collect();
        let nodes = groups
            .iter()
            .enumerate()
            .flat_map(|(g, group)| (0..group.count).map(move |_| (g, group)))
            .map(|(g, group)| Node::new(g, group, pools.len(), &cached, 0))
            .collect();
        let mut fault_rng = stream(seed, Purpose::Faults, 0);
        for (number, fault) in faults.iter().enumerate() {
            for at in &fault.at {
                events.push(at.nanos(), Event::Fault { fault: number, random: false });
            }
            if let Some(at) = fault.next_random(0, &mut fault_rng) {
                events.push(at, Event::Fault { fault: number, random: true });
            }
        }
        Cluster {
            seed,
            desired: vec![0; pools.len()],
            meters: vec![Meter::default(); pools.len()],
            provisioning: vec![0; groups.len()],
            pools,
            groups,
            nodes,
            node_rng: stream(seed, Purpose::Nodes, 0),
            pods: BTreeMap::new(),
            next_pod: 0,
            unschedulable: Vec::new(),
            faults,
            fault_rng,
            scale_refused_until: 0,
            scrapes_fail_until: 0,
            scrape_lag: (0, 0),
            release_due: false,
        }
    }

    /// All pods, in order of creation.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// A pod, if it still is.
    pub fn pod(&self, id: u64) -> Option<&Pod> {
        self.pods.get(&id)
    }

    /// Nodes that exist.
    pub fn node_count(&self) -> usize {
        self.nodes.iter().filter(|n| n.exists).count()
    }

    /// Pod numbers of `pool`.
    pub fn counts(&self, pool: usize) -> PodCounts {
        let mut counts = PodCounts { desired: self.desired[pool], ..PodCounts::default() };
        for pod in self.pods.values().filter(|p| p.pool == pool) {
            counts.add(pod.phase);
        }
        counts
    }

    /// The pool's meter, read at `now`.
    pub fn meter(&self, pool: usize, now: u64) -> Meter {
        let mut meter = self.meters[pool];
        meter.advance(now);
        meter
    }

    /// Forgets the highest numbers of pods so far.
    pub fn restart_maxima(&mut self) {
        for meter in &mut self.meters {
            meter.bound_max = meter.bound;
        }
    }

    /// Whether scrapes fail at `now`.
    pub fn scrapes_fail(&self, now: u64) -> bool {
        now < self.scrapes_fail_until
    }

    /// By how much scrapes taken at `now` are late beyond the usual, nanoseconds.
    pub fn extra_scrape_lag(&self, now: u64) -> u64 {
        if now < self.scrape_lag.0 { self.scrape_lag.1 } else { 0 }
    }

    /// Sets the number of replicas of `pool`. Without effect where the API refuses.
    pub fn scale(
        &mut self,
        pool: usize,
        replicas: u32,
        now: u64,
        fleet: &mut Fleet,
        events: &mut EventQueue,
    ) -> Result<(), ScaleRefused> {
        if replicas == self.desired[pool] {
            return Ok(());
        }
        if now < self.scale_refused_until {
            return Err(ScaleRefused);
        }
        self.meters[pool].churn += u64::from(replicas.abs_diff(self.desired[pool]));
        self.desired[pool] = replicas;
        self.reconcile(pool, now, fleet, events);
        Ok(())
    }

    /// Starts `replicas` ready pods of `pool` at time zero: what was there before the run.
    pub fn start_ready(&mut self, pool: usize, replicas: u32, fleet: &mut Fleet, events: &mut EventQueue) {
        self.desired[pool] = replicas;
        for _ in 0..replicas {
            let id = self.create(pool, 0);
            let Some(node) = nodes::best_fit(&self.nodes, &self.pools[pool].demand) else {
                self.unschedulable.push(id);
                self.provision(pool, 0, events);
                continue;
            };
            self.bind(id, node, 0);
            if let Some(pod) = self.pods.get_mut(&id) {
                pod.started = Some(0);
            }
            self.ready(id, 0, fleet, events);
            if let Some(slot) = self.pods.get(&id).and_then(|p| p.slot) {
                fleet.add_endpoint(slot);
            }
        }
    }

    fn create(&mut self, pool: usize, now: u64) -> u64 {
        let id = self.next_pod;
        self.next_pod += 1;
        let pod = Pod {
            id,
            pool,
            phase: Phase::Pending,
            created: now,
            place: None,
            slot: None,
            started: None,
            ready_transition: None,
            restarts: 0,
            crashes_left: 0,
            epoch: 0,
            rng: stream(self.seed, Purpose::ColdStart, id),
        };
        self.pods.insert(id, pod);
        id
    }

    /// Makes the number of pods that are not being deleted the desired one.
    fn reconcile(&mut self, pool: usize, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let alive: Vec<u64> = self.pods.values().filter(|p| p.pool == pool && !p.is_draining()).map(|p| p.id).collect();
        let desired = self.desired[pool] as usize;
        for _ in alive.len()..desired {
            let id = self.create(pool, now);
            if let Some(pod) = self.pods.get_mut(&id) {
                let delay = self.pools[pool].stages.scheduling.sample(&mut pod.rng);
                events.push(now.saturating_add(delay), Event::Bind { pod: id });
            }
        }
        if alive.len() > desired {
            let mut victims = alive.clone();
            // The ReplicaSet controller's order (ActivePodsWithRanks): without a node first, then not ready, then those
            // ready for the shortest time, then the youngest.
            let rank = |id: &u64| {
                let pod = &self.pods[id];
                let stage = match pod.phase {
                    Phase::Pending => 0,
                    Phase::Ready => 2,
                    _ => 1,
                };
                let ready_since = if pod.is_ready() { pod.ready_transition.unwrap_or(0) } else { 0 };
                (stage, std::cmp::Reverse(ready_since), std::cmp::Reverse(pod.created), std::cmp::Reverse(pod.id))
            };
            victims.sort_by_key(rank);
            for id in victims.into_iter().take(alive.len() - desired) {
                self.delete(id, now, fleet, events);
            }
        }
    }

    fn delete(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        match pod.phase {
            Phase::Ready => {
                pod.phase = Phase::Draining;
                pod.ready_transition = Some(now);
                let shutdown = &self.pools[pod.pool].shutdown;
                let down = now.saturating_add(shutdown.endpoint_propagation.nanos());
                events.push(down, Event::EndpointDown { pod: id, epoch: pod.epoch });
                events.push(now.saturating_add(shutdown.grace_period.nanos()), Event::GraceOver { pod: id });
            }
            Phase::Draining | Phase::Gone => {}
            // Nothing is served: gone at once. A lost node's kubelet cannot say so, but the pod is off the books.
            _ => self.remove(id, now, fleet, events),
        }
    }

    /// Ends a pod: its server is killed with whatever it holds, its place is free.
    fn remove(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let Some(mut pod) = self.pods.remove(&id) else { return };
        self.unschedulable.retain(|&p| p != id);
        let meter = &mut self.meters[pod.pool];
        meter.advance(now);
        if let Some(slot) = pod.slot.take() {
            fleet.advance(slot, now);
            let was_alive = fleet.server(slot).is_alive();
            fleet.kill(slot, now);
            if was_alive {
                meter.serving -= 1;
                meter.retired_busy_ns += u128::from(fleet.server(slot).busy_ns(now));
            }
            fleet.remove(slot);
        }
        if let Some(place) = pod.place {
            meter.bound -= 1;
            let demand = self.pools[pod.pool].demand;
            let node = &mut self.nodes[place.node];
            node.give_back(&demand, place.gpu, now);
            self.watch_idle(place.node, now, events);
        }
        self.retry_unschedulable(now, events);
    }

    fn retry_unschedulable(&mut self, now: u64, events: &mut EventQueue) {
        for id in std::mem::take(&mut self.unschedulable) {
            events.push(now, Event::Bind { pod: id });
        }
    }

    fn watch_idle(&mut self, number: usize, now: u64, events: &mut EventQueue) {
        let node = &self.nodes[number];
        if node.pods == 0
            && node.exists
            && let Some(autoscaler) = &self.groups[node.group].autoscaler
        {
            let at = now.saturating_add(autoscaler.scale_down_after.nanos());
            events.push(at, Event::NodeIdle { node: number, since: node.empty_since });
        }
    }

    fn bind(&mut self, id: u64, node: usize, now: u64) {
        let Some(pod) = self.pods.get(&id) else { return };
        let gpu = self.nodes[node].take(&self.pools[pod.pool].demand);
        self.placed(id, Place { node, gpu }, now);
    }

    /// A pod has its place, and its containers are to come.
    fn placed(&mut self, id: u64, place: Place, now: u64) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        pod.place = Some(place);
        pod.phase = Phase::Pulling;
        let meter = &mut self.meters[pod.pool];
        meter.advance(now);
        meter.bound += 1;
        meter.bound_max = meter.bound_max.max(meter.bound);
    }

    /// Asks for a node that would hold a pod of `pool`, where a group may still grow.
    fn provision(&mut self, pool: usize, now: u64, events: &mut EventQueue) {
        // Pods of `of` that a node of `group` holds.
        let fit = |of: usize, group: &NodeGroup| {
            let demand = self.pools[of].demand;
            let by_gpu = if demand.gpu { (group.gpus * demand.per_gpu) as usize } else { usize::MAX };
            let by_cpu = if demand.cpus > 0.0 { (group.cpus / demand.cpus + 1e-9) as usize } else { usize::MAX };
            by_gpu.min(by_cpu)
        };
        let waiting =
            |of: usize| self.unschedulable.iter().filter(|id| self.pods.get(id).is_some_and(|p| p.pool == of)).count();
        for (number, group) in self.groups.iter().enumerate() {
            let Some(autoscaler) = &group.autoscaler else { continue };
            if fit(pool, group) == 0 {
                continue;
            }
            let existing = self.nodes.iter().filter(|n| n.exists && n.group == number).count() as u32;
            let coming = self.provisioning[number];
            let room = autoscaler.max.saturating_sub(existing + coming);
            let needed: usize = (0..self.pools.len())
                .filter(|&of| fit(of, group) > 0)
                .map(|of| waiting(of).div_ceil(fit(of, group)))
                .sum();
            let wanted = (needed as u32).saturating_sub(coming);
            for _ in 0..wanted.min(room) {
                self.provisioning[number] += 1;
                let delay = autoscaler.provisioning.sample(&mut self.node_rng);
                events.push(now.saturating_add(delay), Event::NodeReady { group: number });
            }
            if wanted <= room {
                return;
            }
        }
    }

    /// The pod becomes ready: it has a server, and clients will hear of it.
    fn ready(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        let Some(place) = pod.place else { return };
        let setup = &self.pools[pod.pool];
        pod.phase = Phase::Ready;
        pod.ready_transition = Some(now);
        let meter = &mut self.meters[pod.pool];
        meter.advance(now);
        meter.serving += 1;
        let speed = setup.speed / self.nodes[place.node].slowdown;
        match pod.slot {
            Some(slot) => {
                fleet.restart(slot);
                fleet.set_speed(slot, speed);
            }
            None => {
                let server = Server::new(fleet.spec(pod.pool), speed, stream(self.seed, Purpose::Service, id));
                // GPUs are numbered across nodes; no node has a thousand.
                let gpu = place.gpu.map(|g| (place.node * 1_000 + g) as u32);
                pod.slot = Some(fleet.add(pod.pool, server, gpu));
            }
        }
        let up = now.saturating_add(setup.shutdown.endpoint_propagation.nanos());
        events.push(up, Event::EndpointUp { pod: id, epoch: pod.epoch });
        if pod.crashes_left > 0 {
            pod.crashes_left -= 1;
            self.crash(id, now, fleet, events);
        }
    }

    /// The container of `id` dies, and is restarted after a while.
    fn crash(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        self.die(id, now, fleet, events);
        if let Some(pod) = self.pods.get(&id).filter(|p| p.phase == Phase::BackOff) {
            let restart = now.saturating_add(faults::crash_back_off(pod.restarts));
            events.push(restart, Event::Restart { pod: id, epoch: pod.epoch });
        }
    }

    /// The container of `id` dies, with all its server holds.
    fn die(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        let Some(slot) = pod.slot else { return };
        fleet.kill(slot, now);
        let meter = &mut self.meters[pod.pool];
        meter.advance(now);
        meter.serving -= 1;
        meter.retired_busy_ns += u128::from(fleet.server(slot).busy_ns(now));
        pod.phase = Phase::BackOff;
        pod.ready_transition = Some(now);
        pod.restarts += 1;
        pod.epoch += 1;
        // Until endpoints have propagated, requests still go there, and fail.
        let down = now.saturating_add(self.pools[pod.pool].shutdown.endpoint_propagation.nanos());
        events.push(down, Event::EndpointDown { pod: id, epoch: pod.epoch });
    }

    fn start_container(&mut self, id: u64, now: u64, events: &mut EventQueue) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        let setup = &self.pools[pod.pool];
        pod.phase = Phase::Loading;
        pod.started = Some(now);
        let loaded = now.saturating_add(setup.stages.load.sample(&mut pod.rng));
        events.push(setup.readiness.ready_at(now, loaded), Event::Ready { pod: id, epoch: pod.epoch });
    }

    /// Lets the activator pass on what it holds, now and again until it can.
    pub fn release(&mut self, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        if fleet.release(now) && !self.release_due {
            self.release_due = true;
            events.push(now.saturating_add(RETRY_NS), Event::Release);
        }
    }

    fn live(&self, id: u64, epoch: u32) -> bool {
        self.pods.get(&id).is_some_and(|p| p.epoch == epoch)
    }

    /// Does what `event`, which is the cluster's, stands for.
    pub fn handle(&mut self, event: Event, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        match event {
            Event::Bind { pod } => self.try_bind(pod, now, events),
            Event::Pulled { pod, epoch } if self.live(pod, epoch) => {
                if let Some(place) = self.pods[&pod].place {
                    self.nodes[place.node].images[self.pods[&pod].pool] = true;
                }
                self.start_container(pod, now, events);
            }
            Event::Ready { pod, epoch } if self.live(pod, epoch) => self.ready(pod, now, fleet, events),
            Event::EndpointUp { pod, epoch } if self.live(pod, epoch) => {
                // One that was deleted meanwhile was never announced.
                if let Some(p) = self.pods.get(&pod).filter(|p| p.is_ready())
                    && let Some(slot) = p.slot
                {
                    fleet.advance(slot, now);
                    fleet.add_endpoint(slot);
                    self.release(now, fleet, events);
                }
            }
            Event::Release => {
                self.release_due = false;
                self.release(now, fleet, events);
            }
            Event::EndpointDown { pod, epoch } if self.live(pod, epoch) => {
                let (slot, draining) = (self.pods[&pod].slot, self.pods[&pod].is_draining());
                if let Some(slot) = slot {
                    fleet.remove_endpoint(slot);
                }
                if draining {
                    self.check_drained(pod, now, fleet, events);
                }
            }
            Event::Drained { pod } => self.check_drained(pod, now, fleet, events),
            Event::GraceOver { pod } if self.pods.get(&pod).is_some_and(Pod::is_draining) => {
                self.remove(pod, now, fleet, events);
            }
            Event::Restart { pod, epoch } if self.live(pod, epoch) => self.start_container(pod, now, events),
            Event::NodeReady { group } => {
                self.provisioning[group] -= 1;
                let cached = vec![false; self.pools.len()];
                let node = Node::new(group, &self.groups[group], self.pools.len(), &cached, now);
                let number = match self.nodes.iter().position(|n| !n.exists) {
                    Some(place) => {
                        self.nodes[place] = node;
                        place
                    }
                    None => {
                        self.nodes.push(node);
                        self.nodes.len() - 1
                    }
                };
                self.retry_unschedulable(now, events);
                self.watch_idle(number, now, events);
            }
            Event::NodeIdle { node, since } => {
                let group = self.nodes[node].group;
                let nodes = self.nodes.iter().filter(|n| n.exists && n.group == group).count() as u32;
                let node = &mut self.nodes[node];
                if node.exists && node.pods == 0 && node.empty_since == since && nodes > self.groups[group].count {
                    node.exists = false;
                    // Its group may grow again, for those who wait.
                    self.retry_unschedulable(now, events);
                }
            }
            Event::Fault { fault, random } => self.strike(fault, random, now, fleet, events),
            Event::Recover { node, born, gpu, slow } if self.nodes[node].born == born => {
                self.recover(node, gpu, slow, now, fleet, events);
            }
            Event::NodeDetected { node, born } if !self.nodes[node].up && self.nodes[node].born == born => {
                for id in self.on_node(node).map(|p| p.id).collect::<Vec<_>>() {
                    self.notice_lost(id, now, fleet);
                }
            }
            Event::NodeEvicted { node, born } if !self.nodes[node].up && self.nodes[node].born == born => {
                for id in self.on_node(node).map(|p| p.id).collect::<Vec<_>>() {
                    let pool = self.pods[&id].pool;
                    self.remove(id, now, fleet, events);
                    self.reconcile(pool, now, fleet, events);
                }
            }
            _ => {}
        }
    }

    fn on_node(&self, node: usize) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter(move |p| p.place.is_some_and(|place| place.node == node))
    }

    fn try_bind(&mut self, id: u64, now: u64, events: &mut EventQueue) {
        let Some(pod) = self.pods.get(&id).filter(|p| p.phase == Phase::Pending) else { return };
        let pool = pod.pool;
        let Some(node) = nodes::best_fit(&self.nodes, &self.pools[pool].demand) else {
            self.unschedulable.push(id);
            self.provision(pool, now, events);
            return;
        };
        self.bind(id, node, now);
        let cached = self.nodes[node].images[pool];
        if let Some(pod) = self.pods.get_mut(&id) {
            // Drawn whether needed or not, so that a cached image does not shift the pod's later draws.
            let pull = self.pools[pool].stages.pull.sample(&mut pod.rng);
            let done = if cached { now } else { now.saturating_add(pull) };
            events.push(done, Event::Pulled { pod: id, epoch: pod.epoch });
        }
    }

    fn check_drained(&mut self, id: u64, now: u64, fleet: &mut Fleet, events: &mut EventQueue) {
        let Some(pod) = self.pods.get(&id).filter(|p| p.is_draining()) else { return };
        let Some(slot) = pod.slot else { return };
        fleet.advance(slot, now);
        let server = fleet.server(slot);
        if server.outstanding() == 0 {
            self.remove(id, now, fleet, events);
        } else {
            // Nothing arrives any more, so it can only become empty when it acts.
            events.push(server.next(), Event::Drained { pod: id });
        }
    }
}
