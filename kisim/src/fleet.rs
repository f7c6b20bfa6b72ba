//! The request path: all servers, the Service in front of them, and the books.
//!
//! Three ways to keep time, see `Pace`; all give the same fate to every request (tests/twin.rs).

use rand::RngExt;

use crate::activator::{Activator, ActivatorRules, ActivatorSample};
use crate::clocks::Clocks;
use crate::ledger::{Ending, Sink};
use crate::random::Stream;
use crate::router::{Endpoints, Routing};
use crate::server::{Request, Server, ServerSpec};
use crate::tournament::Tournament;

const NO_GPU: u32 = u32::MAX;

/// Which pool a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum Placement {
    /// Always the GPU pool.
    GpuOnly,
    /// Always the CPU pool.
    CpuOnly,
    /// The GPU pool, unless the queue of the pod chosen there is longer than `spill_queue` or no GPU pod is ready.
    GpuFirst {
        /// Queued requests at the chosen GPU pod beyond which the request spills over to the CPU pool.
        spill_queue: usize,
    },
    /// The GPU pool with probability `gpu_share`, else the CPU pool; the other where the drawn one has no endpoint.
    Weighted {
        /// Share of requests for the GPU pool, 0–1.
        gpu_share: f64,
    },
}

/// How far servers are advanced when a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// The router looks at no load but the chosen pods' (random, round-robin, power of two) and nobody waits for
    /// outcomes: only the chosen ones.
    Chosen,
    /// Loads of all pods matter (least outstanding): all that are due, in any order.
    Due,
    /// Clients react to outcomes (closed loop, retries): all that are due, in time order.
    Ordered,
}

/// Servers, Service and books.
#[derive(Clone, Debug)]
pub struct Fleet {
    specs: Vec<ServerSpec>,
    servers: Vec<Server>,
    pool_of: Vec<u32>,
    gpu_of: Vec<u32>,
    /// By GPU: the servers on it, where they slow each other.
    on_gpu: Vec<Vec<u32>>,
    free: Vec<u32>,
    endpoints: Vec<Endpoints>,
    placement: Placement,
    gpu_pool: Option<usize>,
    cpu_pool: Option<usize>,
    /// Whether any server shares its GPU with others that slow it.
    gpus_shared: bool,
    pace: Pace,
    /// Under [`Pace::Ordered`].
    tree: Tournament,
    /// Under [`Pace::Due`].
    clocks: Clocks,
    routing: Stream,
    activator: Option<Activator>,
    /// The books.
    pub sink: Sink,
}

/// How a fleet is set up.
#[derive(Clone, Debug)]
pub struct FleetSetup {
    /// One a pool.
    pub specs: Vec<ServerSpec>,
    /// How endpoints of a pool share its requests.
    pub routing: Routing,
    /// Which pool gets a request.
    pub placement: Placement,
    /// The GPU pool's number, if there is one.
    pub gpu_pool: Option<usize>,
    /// The CPU pool's number, if there is one.
    pub cpu_pool: Option<usize>,
    /// Whether somebody waits for outcomes, so that servers must act in time order.
    pub clients_wait: bool,
    /// What holds requests while there is no endpoint; `None`: they fail.
    pub activator: Option<ActivatorRules>,
}

impl Fleet {
    /// A fleet without servers.
    pub fn new(setup: FleetSetup, sink: Sink, routing: Stream) -> Self {
        let setup_shares = setup.specs.iter().any(|spec| spec.sharing.neighbours_interfere());
        Fleet {
            endpoints: setup.specs.iter().map(|_| Endpoints::new(setup.routing)).collect(),
            specs: setup.specs,
            servers: Vec::new(),
            pool_of: Vec::new(),
            gpu_of: Vec::new(),
            on_gpu: Vec::new(),
            free: Vec::new(),
            placement: setup.placement,
            gpu_pool: setup.gpu_pool,
            cpu_pool: setup.cpu_pool,
            gpus_shared: setup_shares,
            pace: match setup.routing {
                _ if setup.clients_wait => Pace::Ordered,
                Routing::LeastOutstanding => Pace::Due,
                _ => Pace::Chosen,
            },
            tree: Tournament::default(),
            clocks: Clocks::default(),
            routing,
            activator: setup.activator.map(Activator::new),
            sink,
        }
    }

    /// Adds a server to `pool`, on GPU number `gpu` if its replicas interfere there; returns its slot. Slots of
    /// removed servers are used again.
    pub fn add(&mut self, pool: usize, server: Server, gpu: Option<u32>) -> u32 {
        let interferes = self.specs[pool].sharing.neighbours_interfere();
        let gpu = gpu.filter(|_| interferes).unwrap_or(NO_GPU);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.servers[slot as usize] = server;
                self.pool_of[slot as usize] = pool as u32;
                self.gpu_of[slot as usize] = gpu;
                slot
            }
            None => {
                self.servers.push(server);
                self.pool_of.push(pool as u32);
                self.gpu_of.push(gpu);
                (self.servers.len() - 1) as u32
            }
        };
        if self.servers.len() > self.tree.capacity() {
            let mut tree = Tournament::with_capacity(self.servers.len());
            for (slot, server) in self.servers.iter().enumerate() {
                tree.set(slot, server.next());
            }
            self.tree = tree;
        }
        self.clocks.resize(self.servers.len());
        self.note(slot as usize, pool);
        if gpu != NO_GPU {
            if self.on_gpu.len() <= gpu as usize {
                self.on_gpu.resize(gpu as usize + 1, Vec::new());
            }
            let members = &mut self.on_gpu[gpu as usize];
            members.push(slot);
            members.sort_unstable();
        }
        slot
    }

    /// Removes the server at `slot`, which must hold no request any more.
    pub fn remove(&mut self, slot: u32) {
        self.remove_endpoint(slot);
        let gpu = self.gpu_of[slot as usize];
        if gpu != NO_GPU {
            self.on_gpu[gpu as usize].retain(|&s| s != slot);
            self.gpu_of[slot as usize] = NO_GPU;
        }
        self.tree.set(slot as usize, u64::MAX);
        self.clocks.set(slot as usize, u64::MAX, self.clocks.are_flat());
        self.free.push(slot);
    }

    /// Makes the server at `slot` an endpoint of its pool.
    pub fn add_endpoint(&mut self, slot: u32) {
        let pool = self.pool_of[slot as usize] as usize;
        self.endpoints[pool].add(slot, self.servers[slot as usize].outstanding());
    }

    /// Takes the server at `slot` out of its pool's endpoints.
    pub fn remove_endpoint(&mut self, slot: u32) {
        let pool = self.pool_of[slot as usize] as usize;
        self.endpoints[pool].remove(slot);
    }

    /// The server at `slot`, as of when it was last advanced.
    pub fn server(&self, slot: u32) -> &Server {
        &self.servers[slot as usize]
    }

    /// The rules of pool number `pool`.
    pub fn spec(&self, pool: usize) -> &ServerSpec {
        &self.specs[pool]
    }

    /// Changes the speed of the server at `slot` for batches that start from now on.
    pub fn set_speed(&mut self, slot: u32, speed: f64) {
        self.servers[slot as usize].set_speed(speed);
    }

    /// Changes which pool requests go to.
    pub fn set_placement(&mut self, placement: Placement) {
        self.placement = placement;
    }

    /// Which pool requests go to.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// When a server next acts of its own accord, or the time of somebody who waits for one is over, nanoseconds; only
    /// where servers act in time order.
    #[inline(always)]
    pub fn earliest(&self) -> u64 {
        self.tree.earliest().min(self.next_expiry())
    }

    /// Does what is due at [`Fleet::earliest`], which must not be "never".
    #[inline(always)]
    pub fn step(&mut self) {
        let expiry = self.next_expiry();
        if expiry < self.tree.earliest() {
            return self.expire_waiting(expiry);
        }
        self.step_server();
    }

    #[inline(always)]
    fn next_expiry(&self) -> u64 {
        self.activator.as_ref().map_or(u64::MAX, Activator::next_expiry)
    }

    /// Lets the server that acts next act.
    #[inline(always)]
    fn step_server(&mut self) {
        let slot = self.tree.winner();
        let pool = self.pool_of[slot] as usize;
        let busy = self.servers[slot].busy();
        let now = self.servers[slot].next();
        self.servers[slot].step(&self.specs[pool], &mut self.sink);
        self.note(slot, pool);
        if self.gpu_of[slot] != NO_GPU && self.servers[slot].busy() != busy {
            self.tell_neighbours(slot, now);
        }
    }

    /// Writes down what the router and the clocks must know of a server that just acted.
    #[inline(always)]
    fn note(&mut self, slot: usize, pool: usize) {
        let server = &self.servers[slot];
        match self.pace {
            Pace::Chosen => return,
            Pace::Due => self.clocks.set(slot, server.next(), self.clocks.are_flat()),
            Pace::Ordered => self.tree.set(slot, server.next()),
        }
        self.endpoints[pool].loads.set(slot, server.outstanding());
    }

    /// Brings the server at `slot` to `now`, with all whose state bears on it.
    #[inline(always)]
    pub fn advance(&mut self, slot: u32, now: u64) {
        if self.pace != Pace::Chosen {
            self.settle(now);
        } else {
            self.advance_alone(slot as usize, now);
        }
    }

    /// Brings the server at `slot` to `now`, with those it shares a GPU with.
    #[inline(always)]
    fn advance_alone(&mut self, slot: usize, now: u64) {
        if self.gpus_shared && self.gpu_of[slot] != NO_GPU {
            self.advance_gpu(self.gpu_of[slot] as usize, now);
        } else {
            self.servers[slot].advance(now, &self.specs[self.pool_of[slot] as usize], &mut self.sink);
        }
    }

    /// Brings every server to `now`.
    pub fn advance_all(&mut self, now: u64) {
        self.expire_waiting(now);
        if self.pace != Pace::Chosen {
            self.settle(now);
        } else {
            for slot in 0..self.servers.len() {
                self.advance_alone(slot, now);
            }
        }
    }

    #[inline(always)]
    fn settle(&mut self, now: u64) {
        if self.pace == Pace::Ordered {
            while self.tree.earliest() <= now {
                self.step_server();
            }
            return;
        }
        if self.gpus_shared {
            return self.settle_shared(now);
        }
        self.settle_lone(now);
    }

    /// Where no server slows another.
    #[inline(never)]
    fn settle_lone(&mut self, now: u64) {
        let Fleet { specs, servers, pool_of, endpoints, clocks, sink, .. } = self;
        clocks.advance_due(now, clocks.are_flat(), |slot| {
            let pool = pool_of[slot] as usize;
            let server = &mut servers[slot];
            server.advance(now, &specs[pool], sink);
            endpoints[pool].loads.set(slot, server.outstanding());
            server.next()
        });
    }

    #[inline(never)]
    fn settle_shared(&mut self, now: u64) {
        while let Some(slot) = self.clocks.any_due(now) {
            self.advance_alone(slot, now);
            self.note(slot, self.pool_of[slot] as usize);
        }
    }

    fn advance_gpu(&mut self, gpu: usize, now: u64) {
        loop {
            let first = self.on_gpu[gpu].iter().map(|&slot| (self.servers[slot as usize].next(), slot)).min();
            let Some((time, slot)) = first.filter(|&(time, _)| time <= now) else { return };
            let slot = slot as usize;
            let busy = self.servers[slot].busy();
            let pool = self.pool_of[slot] as usize;
            self.servers[slot].step(&self.specs[pool], &mut self.sink);
            // Not only for the server that was due: a neighbour that fell idle may have made this one due as well.
            self.note(slot, pool);
            if self.servers[slot].busy() != busy {
                self.tell_neighbours(slot, time);
            }
        }
    }

    /// Tells the servers on `slot`'s GPU how many executions of others run there.
    fn tell_neighbours(&mut self, slot: usize, now: u64) {
        let members = std::mem::take(&mut self.on_gpu[self.gpu_of[slot] as usize]);
        let total: usize = members.iter().map(|&s| self.servers[s as usize].busy()).sum();
        for &member in &members {
            let member = member as usize;
            let pool = self.pool_of[member] as usize;
            let server = &mut self.servers[member];
            server.set_neighbours(total - server.busy(), now, &self.specs[pool]);
            self.note(member, pool);
        }
        self.on_gpu[self.gpu_of[slot] as usize] = members;
    }

    /// Routes a request that was just sent, and brings the server it goes to up to that instant.
    #[inline(always)]
    pub fn offer(&mut self, request: Request) {
        self.sink.ledger.arrived += 1;
        if self.pace != Pace::Chosen {
            self.settle(request.sent);
        }
        if let Some(activator) = &mut self.activator
            && !activator.is_empty()
        {
            // Whose time is over makes room, and may have been the last.
            activator.expire(request.sent, 0, &mut self.sink);
            if !activator.is_empty() {
                return activator.hold(request, 0, &mut self.sink);
            }
        }
        let (pool, slot) = self.route(request.sent);
        match (slot, &mut self.activator) {
            (Some(slot), _) => self.deliver(request, request.sent, pool, slot as usize),
            (None, Some(activator)) => activator.hold(request, pool, &mut self.sink),
            (None, None) => self.sink.end(request, Ending::NoEndpoint, request.sent, pool),
        }
    }

    /// Where a request goes at `now`: its pool, and the endpoint, brought to `now`, if there is one.
    #[inline(always)]
    fn route(&mut self, now: u64) -> (usize, Option<u32>) {
        match (self.placement, self.gpu_pool, self.cpu_pool) {
            (Placement::GpuOnly, Some(gpu), _) => (gpu, self.choose(gpu, now)),
            (Placement::CpuOnly, _, Some(cpu)) => (cpu, self.choose(cpu, now)),
            (placement, gpu, cpu) => self.choose_pool(placement, gpu, cpu, now),
        }
    }

    #[inline(always)]
    fn deliver(&mut self, request: Request, now: u64, pool: usize, slot: usize) {
        if !self.gpus_shared {
            let server = &mut self.servers[slot];
            server.arrive(request, now, &self.specs[pool], &mut self.sink);
            match self.pace {
                Pace::Chosen => {}
                Pace::Due => {
                    self.clocks.set(slot, server.next(), self.clocks.are_flat());
                    self.endpoints[pool].loads.set(slot, server.outstanding());
                }
                Pace::Ordered => self.note(slot, pool),
            }
            return;
        }
        let busy = self.servers[slot].busy();
        self.servers[slot].arrive(request, now, &self.specs[pool], &mut self.sink);
        self.note(slot, pool);
        if self.gpu_of[slot] != NO_GPU && self.servers[slot].busy() != busy {
            self.tell_neighbours(slot, now);
        }
    }

    /// The activator, if there is one.
    pub fn activator(&self) -> Option<&Activator> {
        self.activator.as_ref()
    }

    /// What the activator exports at `now`, if there is one.
    pub fn activator_sample(&mut self, now: u64) -> Option<ActivatorSample> {
        self.expire_waiting(now);
        self.activator.as_ref().map(|activator| activator.sample(now))
    }

    /// Lets the activator pass on what it holds, at `now`; whether it has to try again because queues are full.
    pub fn release(&mut self, now: u64) -> bool {
        self.expire_waiting(now);
        if self.pace != Pace::Chosen {
            self.settle(now);
        }
        while let Some(request) = self.activator.as_ref().and_then(Activator::first) {
            let (pool, Some(slot)) = self.route(now) else { return false };
            let slot = slot as usize;
            // The activator's deadline is the longest of the pools'.
            let too_late = request.sent.saturating_add(self.specs[pool].queue_deadline) <= now;
            let full = self.servers[slot].queued() >= self.specs[pool].queue_limit;
            if !too_late && (full || !self.servers[slot].is_alive()) {
                return true;
            }
            if let Some(activator) = &mut self.activator {
                activator.leave(now);
            }
            if too_late {
                self.sink.end(request, Ending::TimedOut, now, pool);
                continue;
            }
            self.servers[slot].waited_elsewhere(now - request.sent);
            self.deliver(request, now, pool, slot);
        }
        false
    }

    fn expire_waiting(&mut self, now: u64) {
        if let Some(activator) = &mut self.activator {
            activator.expire(now, 0, &mut self.sink);
        }
    }

    /// Routes requests sent at `times`, ascending, and tagged `first_tag` and on: [`Fleet::offer`] for each.
    ///
    /// With one pool of servers that leave each other alone, what does not change from one request to the next (pool,
    /// routing rule, pace) is looked at once: 392 instructions a request instead of 453 under random routing.
    pub fn offer_all(&mut self, times: &[u64], first_tag: u64) {
        let one_pool = self.specs.len() == 1 && self.gpu_pool.xor(self.cpu_pool) == Some(0);
        let held = self.activator.as_ref().is_some_and(|a| !a.is_empty());
        if !one_pool || self.gpus_shared || self.pace == Pace::Ordered || self.endpoints[0].is_empty() || held {
            for (tag, &sent) in (first_tag..).zip(times) {
                self.offer(Request { sent, tag });
            }
            return;
        }
        self.sink.ledger.arrived += times.len() as u64;
        let in_word = self.endpoints[0].loads.fit_word();
        if self.pace == Pace::Chosen {
            self.offer_to_chosen(times, first_tag);
        } else if in_word && self.clocks.are_flat() {
            self.offer_to_least::<true, true>(times, first_tag);
        } else if in_word {
            self.offer_to_least::<true, false>(times, first_tag);
        } else {
            self.offer_to_least::<false, false>(times, first_tag);
        }
    }

    /// Under [`Pace::Due`]; `IN_WORD` is [`crate::router::Loads::fit_word`], `FLAT` [`Clocks::are_flat`].
    #[inline(never)]
    fn offer_to_least<const IN_WORD: bool, const FLAT: bool>(&mut self, times: &[u64], first_tag: u64) {
        let Fleet { specs, servers, endpoints, clocks, sink, .. } = self;
        let (spec, servers, loads) = (&specs[0], servers.as_mut_slice(), &mut endpoints[0].loads);
        for (tag, &sent) in (first_tag..).zip(times) {
            clocks.advance_due(sent, FLAT, |slot| {
                let server = &mut servers[slot];
                server.advance(sent, spec, sink);
                if IN_WORD {
                    loads.set_in_word(slot, server.outstanding());
                } else {
                    loads.set(slot, server.outstanding());
                }
                server.next()
            });
            let slot = if IN_WORD { loads.least_in_word() } else { loads.least() };
            let server = &mut servers[slot];
            server.arrive(Request { sent, tag }, sent, spec, sink);
            if IN_WORD {
                loads.set_in_word(slot, server.outstanding());
            } else {
                loads.set(slot, server.outstanding());
            }
            clocks.set(slot, server.next(), FLAT);
        }
    }

    /// Under [`Pace::Chosen`].
    #[inline(never)]
    fn offer_to_chosen(&mut self, times: &[u64], first_tag: u64) {
        let Fleet { specs, servers, endpoints, routing: rng, sink, .. } = self;
        let (spec, servers, endpoints) = (&specs[0], servers.as_mut_slice(), &mut endpoints[0]);
        for (tag, &sent) in (first_tag..).zip(times) {
            let (mut slot, other) = match endpoints.routing() {
                Routing::Random => (endpoints.at_random(rng), None),
                Routing::RoundRobin | Routing::LeastOutstanding => (endpoints.in_turn(), None),
                Routing::PowerOfTwo => {
                    let (a, b) = endpoints.two_at_random(rng);
                    (a, Some(b))
                }
            };
            let server = &mut servers[slot as usize];
            server.advance(sent, spec, sink);
            if let Some(other) = other {
                let load = server.outstanding();
                let server = &mut servers[other as usize];
                server.advance(sent, spec, sink);
                if server.outstanding() < load {
                    slot = other;
                }
            }
            servers[slot as usize].arrive(Request { sent, tag }, sent, spec, sink);
        }
    }

    /// An endpoint of `pool`, brought to `now`.
    #[inline(always)]
    fn choose(&mut self, pool: usize, now: u64) -> Option<u32> {
        let endpoints = &mut self.endpoints[pool];
        if endpoints.is_empty() {
            return None;
        }
        let slot = match endpoints.routing() {
            Routing::LeastOutstanding => return Some(endpoints.loads.least() as u32),
            Routing::Random => endpoints.at_random(&mut self.routing),
            Routing::RoundRobin => endpoints.in_turn(),
            Routing::PowerOfTwo => {
                let (a, b) = endpoints.two_at_random(&mut self.routing);
                self.advance_chosen(a, now);
                self.advance_chosen(b, now);
                let load = |slot: u32| self.servers[slot as usize].outstanding();
                return Some(if load(b) < load(a) { b } else { a });
            }
        };
        self.advance_chosen(slot, now);
        Some(slot)
    }

    #[inline(always)]
    fn advance_chosen(&mut self, slot: u32, now: u64) {
        if self.pace == Pace::Chosen {
            self.advance_alone(slot as usize, now);
        }
    }

    fn choose_pool(
        &mut self,
        placement: Placement,
        gpu: Option<usize>,
        cpu: Option<usize>,
        now: u64,
    ) -> (usize, Option<u32>) {
        match (placement, gpu, cpu) {
            (Placement::GpuFirst { spill_queue }, Some(gpu), Some(cpu)) => {
                let first = self.choose(gpu, now);
                match first {
                    Some(slot) if self.servers[slot as usize].queued() <= spill_queue => (gpu, first),
                    _ => match self.choose(cpu, now) {
                        Some(slot) => (cpu, Some(slot)),
                        None => (gpu, first),
                    },
                }
            }
            (Placement::Weighted { gpu_share }, Some(gpu), Some(cpu)) => {
                let draw: f64 = self.routing.random();
                let (drawn, other) = if draw < gpu_share { (gpu, cpu) } else { (cpu, gpu) };
                let pool = if self.endpoints[drawn].is_empty() { other } else { drawn };
                (pool, self.choose(pool, now))
            }
            // A rule about two pools where there is one: that one.
            (_, Some(pool), None) | (_, None, Some(pool)) => (pool, self.choose(pool, now)),
            (_, _, _) => (0, None),
        }
    }

    /// Kills the server at `slot` with all it holds, at `now`.
    pub fn kill(&mut self, slot: u32, now: u64) {
        self.advance(slot, now);
        let slot = slot as usize;
        let pool = self.pool_of[slot] as usize;
        self.servers[slot].kill(now, &self.specs[pool], &mut self.sink);
        self.note(slot, pool);
        if self.gpu_of[slot] != NO_GPU {
            self.tell_neighbours(slot, now);
        }
    }

    /// Restarts the killed server at `slot`.
    pub fn restart(&mut self, slot: u32) {
        self.servers[slot as usize].restart();
    }

    /// Requests held by servers, as of when each was last advanced, or waiting for one.
    pub fn in_flight(&self) -> usize {
        let waiting = self.activator.as_ref().map_or(0, Activator::len);
        waiting + self.servers.iter().map(Server::outstanding).sum::<usize>()
    }

    /// Those of [`Fleet::in_flight`] that were sent before `instant`.
    pub fn sent_before(&self, instant: u64) -> usize {
        let waiting = self.activator.as_ref().map_or(0, |a| a.sent_before(instant));
        waiting + self.servers.iter().map(|server| server.sent_before(instant)).sum::<usize>()
    }

    /// The endpoints of `pool`.
    pub fn endpoints(&self, pool: usize) -> &[u32] {
        self.endpoints[pool].slots()
    }
}
