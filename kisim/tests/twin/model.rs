//! The twin's servers and Service under one event queue.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use kisim::fleet::Placement;
use kisim::ledger::{Ending, RequestRecord};
use kisim::random::{Purpose, Stream, stream};
use kisim::router::Routing;
use rand::RngExt;

use crate::server::{Pending, Rules, TwinServer, failed};

/// Kinds of event, in the order in which they happen within an instant. What is beyond [`WAKE`] is the driver's.
pub type Kind = u8;
/// A server looks whether something is due; the number is its slot.
pub const WAKE: Kind = 0;
/// The activator's number among those who wake up: it comes last.
const ACTIVATOR: u64 = u64::MAX;

/// A queue in front of the Service: requests wait there while no endpoint can take them.
#[derive(Clone, Copy, Debug)]
pub struct Queueing {
    pub limit: usize,
    /// How long after they were sent requests leave; `None` for never.
    pub deadline: Option<u64>,
}

/// A request that came to the activator, and when it left.
#[derive(Clone, Copy, Debug)]
struct Stay {
    request: Pending,
    left: Option<u64>,
}

/// What [`Twin::step`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A server acted, perhaps.
    Woke,
    /// One of the driver's events is due.
    Due { time: u64, kind: Kind, number: u64 },
    /// There is no more.
    Over,
}

/// The endpoints of a pool.
#[derive(Clone, Debug, Default)]
struct Service {
    /// Those that had their turn in this round, and those that have not, in the order in which they came.
    had_turn: Vec<u32>,
    to_come: VecDeque<u32>,
    /// Chosen last as the least loaded.
    last: Option<u32>,
}

impl Service {
    fn members(&self) -> Vec<u32> {
        self.had_turn.iter().chain(&self.to_come).copied().collect()
    }

    fn add(&mut self, slot: u32) {
        if !self.members().contains(&slot) {
            self.to_come.push_back(slot);
        }
    }

    fn remove(&mut self, slot: u32) {
        self.had_turn.retain(|&s| s != slot);
        self.to_come.retain(|&s| s != slot);
    }

    fn in_turn(&mut self) -> u32 {
        if self.to_come.is_empty() {
            self.to_come = self.had_turn.drain(..).collect();
        }
        let slot = self.to_come.pop_front().expect("an endpoint");
        self.had_turn.push(slot);
        slot
    }
}

/// Servers, Service and what became of requests.
#[derive(Debug)]
pub struct Twin {
    rules: Vec<Rules>,
    routing: Routing,
    pub placement: Placement,
    gpu_pool: Option<usize>,
    cpu_pool: Option<usize>,
    services: Vec<Service>,
    /// By slot; `None` where a server was removed.
    servers: Vec<Option<TwinServer>>,
    /// Slots of removed servers, last removed last.
    free: Vec<u32>,
    rng: Stream,
    events: BinaryHeap<Reverse<(u64, Kind, u64)>>,
    /// Wake-ups among the events: when and for which slot.
    alarms: BTreeSet<(u64, u32)>,
    queueing: Option<Queueing>,
    /// In order of arrival, those who left included.
    stays: Vec<Stay>,
    turned_away: u64,
    pub arrived: u64,
    pub records: Vec<RequestRecord>,
}

impl Twin {
    pub fn new(
        rules: &[Rules],
        routing: Routing,
        placement: Placement,
        gpu_pool: Option<usize>,
        cpu_pool: Option<usize>,
        queueing: Option<Queueing>,
        seed: u64,
    ) -> Self {
        Twin {
            rules: rules.to_vec(),
            routing,
            placement,
            gpu_pool,
            cpu_pool,
            services: vec![Service::default(); rules.len()],
            servers: Vec::new(),
            free: Vec::new(),
            rng: stream(seed, Purpose::Routing, 0),
            events: BinaryHeap::new(),
            alarms: BTreeSet::new(),
            queueing,
            stays: Vec::new(),
            turned_away: 0,
            arrived: 0,
            records: Vec::new(),
        }
    }

    /// Adds an event; of the same instant and kind, the lowest `number` happens first.
    pub fn push(&mut self, time: u64, kind: Kind, number: u64) {
        self.events.push(Reverse((time, kind, number)));
    }

    /// Takes the next event. With `until`, only one before it, or what a server does at that very instant.
    pub fn step(&mut self, until: Option<u64>) -> Step {
        let Some(&Reverse((time, kind, number))) = self.events.peek() else { return Step::Over };
        if until.is_some_and(|until| time > until || (time == until && kind != WAKE)) {
            return Step::Over;
        }
        self.events.pop();
        if (kind, number) == (WAKE, ACTIVATOR) {
            self.expire(time);
            return Step::Woke;
        }
        if kind == WAKE {
            self.alarms.remove(&(time, number as u32));
            self.touch(number as u32, time, |server, records| server.wake(time, records));
            return Step::Woke;
        }
        Step::Due { time, kind, number }
    }

    /// Does something with a server, tells its neighbours if it is busier or less busy now, and sees to it that it
    /// wakes up in time.
    fn touch(&mut self, slot: u32, now: u64, act: impl FnOnce(&mut TwinServer, &mut Vec<RequestRecord>)) {
        let Some(server) = &mut self.servers[slot as usize] else { return };
        let busy_before = server.busy();
        act(server, &mut self.records);
        let (gpu, changed) = (server.gpu, server.busy() != busy_before);
        let mut touched = vec![slot];
        if gpu.is_some() && changed {
            let on_gpu = self.servers.iter().flatten().filter(|server| server.gpu == gpu);
            let total: usize = on_gpu.map(TwinServer::busy).sum();
            for (slot, server) in self.servers.iter_mut().enumerate() {
                if let Some(server) = server.as_mut().filter(|server| server.gpu == gpu) {
                    server.set_others(total - server.busy(), now);
                    touched.push(slot as u32);
                }
            }
        }
        for slot in touched {
            for time in self.server(slot).wake_ups(now) {
                // One alarm an instant is enough.
                if self.alarms.insert((time, slot)) {
                    self.push(time, WAKE, u64::from(slot));
                }
            }
        }
    }

    pub fn server(&self, slot: u32) -> &TwinServer {
        self.servers[slot as usize].as_ref().expect("a server")
    }

    pub fn server_mut(&mut self, slot: u32) -> &mut TwinServer {
        self.servers[slot as usize].as_mut().expect("a server")
    }

    /// Adds a server; the slot freed last is used first.
    pub fn add(&mut self, pool: usize, gpu: Option<u32>, speed: f64, rng: Stream) -> u32 {
        let server = TwinServer::new(pool, &self.rules[pool], gpu, speed, rng);
        match self.free.pop() {
            Some(slot) => {
                self.servers[slot as usize] = Some(server);
                slot
            }
            None => {
                self.servers.push(Some(server));
                (self.servers.len() - 1) as u32
            }
        }
    }

    pub fn announce(&mut self, slot: u32) {
        let pool = self.server(slot).pool;
        self.services[pool].add(slot);
    }

    pub fn withdraw(&mut self, slot: u32) {
        let pool = self.server(slot).pool;
        self.services[pool].remove(slot);
    }

    pub fn remove(&mut self, slot: u32) {
        self.withdraw(slot);
        self.servers[slot as usize] = None;
        self.free.push(slot);
    }

    pub fn kill(&mut self, slot: u32, now: u64) {
        self.touch(slot, now, |server, records| server.kill(now, records));
    }

    pub fn in_flight(&self) -> usize {
        self.waiting().count() + self.servers.iter().flatten().map(TwinServer::outstanding).sum::<usize>()
    }

    fn waiting(&self) -> impl Iterator<Item = &Stay> {
        self.stays.iter().filter(|stay| stay.left.is_none())
    }

    /// What the activator tells at `now`: requests waiting, requests that ever came, and the time they spent there.
    pub fn activator(&self, now: u64) -> Option<(u64, u64, u64)> {
        self.queueing?;
        let spent = self.stays.iter().map(|stay| stay.left.unwrap_or(now) - stay.request.sent).sum();
        Some((self.waiting().count() as u64, self.stays.len() as u64 + self.turned_away, spent))
    }

    /// A request comes in.
    pub fn arrive(&mut self, request: Pending) {
        self.arrived += 1;
        let now = request.sent;
        let behind_others = self.waiting().next().is_some();
        let (pool, slot) = if behind_others { (0, None) } else { self.route() };
        match (slot, self.queueing) {
            (Some(slot), _) => self.touch(slot, now, |server, records| server.arrive(request, now, records)),
            (None, None) => self.records.push(failed(&request, Ending::NoEndpoint, now, pool)),
            (None, Some(Queueing { limit, .. })) if self.waiting().count() >= limit => {
                self.turned_away += 1;
                self.records.push(failed(&request, Ending::QueueFull, now, pool));
            }
            (None, Some(Queueing { deadline, .. })) => {
                self.stays.push(Stay { request, left: None });
                if let Some(deadline) = deadline {
                    self.push(now + deadline, WAKE, ACTIVATOR);
                }
                // Without patience it leaves at once.
                self.expire(now);
            }
        }
    }

    /// Ends those whose time in the activator is over.
    fn expire(&mut self, now: u64) {
        let Some(Queueing { deadline: Some(deadline), .. }) = self.queueing else { return };
        for stay in self.stays.iter_mut().filter(|stay| stay.left.is_none() && stay.request.sent + deadline <= now) {
            stay.left = Some(now);
            self.records.push(failed(&stay.request, Ending::TimedOut, now, 0));
        }
    }

    /// Passes on what waits, in order, while the pod chosen has room for it; whether one had not.
    pub fn release(&mut self, now: u64) -> bool {
        self.expire(now);
        while let Some(number) = self.stays.iter().position(|stay| stay.left.is_none()) {
            let request = self.stays[number].request;
            let (pool, Some(slot)) = self.route() else { return false };
            let rules = &self.rules[pool];
            if rules.queue_deadline.is_some_and(|deadline| request.sent + deadline <= now) {
                self.stays[number].left = Some(now);
                self.records.push(failed(&request, Ending::TimedOut, now, pool));
                continue;
            }
            let server = self.server(slot);
            if !server.alive || rules.queue_limit.is_some_and(|limit| server.queued() >= limit) {
                return true;
            }
            self.stays[number].left = Some(now);
            self.touch(slot, now, |server, records| server.arrive(request, now, records));
        }
        false
    }

    fn route(&mut self) -> (usize, Option<u32>) {
        let (Some(gpu), Some(cpu)) = (self.gpu_pool, self.cpu_pool) else {
            let only = self.gpu_pool.or(self.cpu_pool).expect("a pool");
            return (only, self.choose(only));
        };
        match self.placement {
            Placement::GpuOnly => (gpu, self.choose(gpu)),
            Placement::CpuOnly => (cpu, self.choose(cpu)),
            Placement::GpuFirst { spill_queue } => {
                let first = self.choose(gpu);
                if first.is_some_and(|slot| self.server(slot).queued() <= spill_queue) {
                    return (gpu, first);
                }
                match self.choose(cpu) {
                    Some(second) => (cpu, Some(second)),
                    None => (gpu, first),
                }
            }
            Placement::Weighted { gpu_share } => {
                let draw: f64 = self.rng.random();
                let (drawn, other) = if draw < gpu_share { (gpu, cpu) } else { (cpu, gpu) };
                let pool = if self.services[drawn].members().is_empty() { other } else { drawn };
                (pool, self.choose(pool))
            }
        }
    }

    fn choose(&mut self, pool: usize) -> Option<u32> {
        let members = self.services[pool].members();
        if members.is_empty() {
            return None;
        }
        let load = |slot: u32| self.server(slot).outstanding();
        Some(match self.routing {
            Routing::Random => members[self.rng.random_range(0..members.len())],
            Routing::RoundRobin => self.services[pool].in_turn(),
            Routing::LeastOutstanding => {
                let least = members.iter().map(|&slot| load(slot)).min().expect("an endpoint");
                let mut tied: Vec<u32> = members.into_iter().filter(|&slot| load(slot) == least).collect();
                tied.sort_unstable();
                let last = self.services[pool].last;
                let after = tied.iter().find(|&&slot| last.is_some_and(|last| slot > last));
                let slot = *after.unwrap_or(&tied[0]);
                self.services[pool].last = Some(slot);
                slot
            }
            Routing::PowerOfTwo => {
                let first = self.rng.random_range(0..members.len());
                if members.len() == 1 {
                    return Some(members[0]);
                }
                // The second is one of the others, which close ranks.
                let mut others = members.clone();
                let first = others.remove(first);
                let second = others[self.rng.random_range(0..others.len())];
                if self.server(second).outstanding() < self.server(first).outstanding() { second } else { first }
            }
        })
    }
}
