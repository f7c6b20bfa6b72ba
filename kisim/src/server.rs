//! One inference server (a pod's container): queue, dynamic batcher and model instances, on a clock of its own.
//!
//! A server knows when it acts next ([`Server::next`]) and is advanced only when somebody needs its state: the
//! request path has no global event queue. Within an instant the order is: completions in instance order, expired
//! requests, new batches in instance order. Requests arriving at that instant come after.

mod ring;

use rand_distr::{Distribution, Exp1, StandardNormal};

use crate::batcher::{Batcher, Formation};
use crate::ledger::{Ending, Outcome, RequestRecord, Sink};
use crate::profile::Spread;
use crate::random::Stream;
use crate::sharing::{Sharing, SharingRule};
use crate::telemetry::Counters;
use ring::Ring;

/// A request as a server holds it. Times are nanoseconds since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When the client sent it, which is when the server receives it.
    pub sent: u64,
    /// Whose it is: a client slot where somebody waits for the outcome, else the request's number.
    pub tag: u64,
}

/// What the servers of one pool have in common.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// The pool's number.
    pub pool: usize,
    /// Batching rules.
    pub batcher: Batcher,
    /// Model instances a server runs, at least 1.
    pub instances: usize,
    /// Mean service time by batch size, nanoseconds; index 0 is unused.
    pub service_ns: Vec<f64>,
    /// Spread of a batch's service time around its mean.
    pub spread: Spread,
    /// Time a request spends outside queue and batch (network, pre- and post-processing), nanoseconds.
    pub overhead_ns: u64,
    /// Queued requests beyond which a server rejects; `usize::MAX` for no limit.
    pub queue_limit: usize,
    /// A request still queued this long after it was sent leaves: the smaller of the server's queue timeout and the
    /// client's patience, nanoseconds; `u64::MAX` for never.
    pub queue_deadline: u64,
    /// A response is too late for the client if the batch ends later than this after the request was sent: the
    /// client's timeout less the overhead, nanoseconds; `u64::MAX` for never.
    pub response_deadline: u64,
    /// How replicas share a GPU.
    pub sharing: Sharing,
    /// By what figures they slow each other.
    pub rule: SharingRule,
}

impl ServerSpec {
    /// Whether a server is one instance with a GPU to itself that never waits for a fuller batch: the common case,
    /// which has a shorter path.
    fn simple(&self) -> bool {
        !self.contended() && self.batcher.is_greedy()
    }

    /// How much more a server completes with all its instances busy at full batches than with one.
    pub fn instances_gain(&self) -> f64 {
        let own = self.instances.max(1);
        own as f64 * Sharing::Exclusive.contended_speed(&self.rule, self.batcher.max_batch(), own, 0)
    }

    /// Whether executions slow each other, so that their ends move.
    fn contended(&self) -> bool {
        self.instances > 1 || self.sharing.neighbours_interfere()
    }
}

/// One of several model instances, with its batch.
#[derive(Clone, Debug)]
struct Instance {
    /// When the batch ends; `u64::MAX` when idle.
    finish: u64,
    started: u64,
    batch: Vec<Request>,
    /// Work left at `updated`, in nanoseconds at speed 1.
    work_left: f64,
    speed: f64,
    updated: u64,
}

/// A server.
///
/// Hot: with one instance and a GPU of its own (`lone`) the batch stays at the head of the queue's ring and its end
/// is known when it starts; the general case moves requests to their instance and may move the end.
///
/// In the order of use: all that most requests need of a server is in its first two cache lines and the first of the
/// counters. At 1,000 pods, where servers do not fit the first-level cache, lines are what a request costs.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Server {
    next: u64,
    /// When the lone instance's batch ends; `u64::MAX` when idle.
    finish: u64,
    started: u64,
    /// Requests waiting; under `lone`, preceded by those being executed.
    ring: Ring,
    in_service: u32,
    lone: bool,
    simple: bool,
    alive: bool,
    rng: Stream,
    /// Duration of an execution relative to the profile: slower GPU share or node, longer.
    stretch: f64,
    /// Instances executing a batch; kept only without `lone`.
    busy: u32,
    /// Of the requests in service, those that are not in the ring: none under `lone`, else all.
    apart: u32,
    /// When the batcher stops waiting for more requests; `u64::MAX` when it does not wait.
    timer: u64,
    busy_since: u64,
    /// What it exports.
    pub counters: Counters,
    /// Busy executions of other pods on the same GPU, as last told.
    neighbours: usize,
    /// Empty under `lone`.
    instances: Vec<Instance>,
    /// Time that its requests had waited in the activator before they came, nanoseconds.
    elsewhere_ns: u64,
}

impl Server {
    /// An idle server of `speed` (of its GPU share and node, relative to the profile's device), drawing service
    /// times from `rng`.
    pub fn new(spec: &ServerSpec, speed: f64, rng: Stream) -> Self {
        let idle = Instance { finish: u64::MAX, started: 0, batch: Vec::new(), work_left: 0.0, speed: 1.0, updated: 0 };
        let lone = !spec.contended();
        Server {
            next: u64::MAX,
            finish: u64::MAX,
            started: 0,
            ring: Ring::new(),
            in_service: 0,
            busy: 0,
            apart: 0,
            lone,
            simple: spec.simple(),
            alive: true,
            stretch: speed.recip(),
            rng,
            counters: Counters::default(),
            timer: u64::MAX,
            busy_since: 0,
            neighbours: 0,
            instances: if lone { Vec::new() } else { vec![idle; spec.instances.max(1)] },
            elsewhere_ns: 0,
        }
    }

    /// When this server next does something of its own accord, nanoseconds; `u64::MAX` for never.
    #[inline(always)]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Requests at the head of the ring that are being executed rather than waiting.
    #[inline(always)]
    fn executing_in_ring(&self) -> usize {
        (self.in_service - self.apart) as usize
    }

    /// Requests waiting for an instance.
    #[inline(always)]
    pub fn queued(&self) -> usize {
        self.ring.len() - self.executing_in_ring()
    }

    /// Requests being executed.
    pub fn in_service(&self) -> usize {
        self.in_service as usize
    }

    /// Requests it has accepted and not yet finished.
    #[inline(always)]
    pub fn outstanding(&self) -> usize {
        self.ring.len() + self.apart as usize
    }

    /// Integral of the number of requests held since the process started, nanoseconds: what queue-proxy averages over a
    /// second to report concurrency. A request counts from when it came: what it waited in the activator counts there.
    pub fn held_ns(&self, now: u64, spec: &ServerSpec) -> u64 {
        let answered = self.counters.latency_ns - self.counters.success * spec.overhead_ns;
        let age = |request: &Request| now - request.sent;
        let apart: u64 = self.instances.iter().flat_map(|i| &i.batch).map(age).sum();
        let in_ring: u64 = (0..self.ring.len()).map(|offset| age(&self.ring.at(offset))).sum();
        answered + self.counters.dropped_ns + apart + in_ring - self.elsewhere_ns
    }

    /// Tells that the request that comes next has waited elsewhere for `ns` nanoseconds.
    pub fn waited_elsewhere(&mut self, ns: u64) {
        self.elsewhere_ns += ns;
    }

    /// Requests it holds that were sent before `instant`.
    pub fn sent_before(&self, instant: u64) -> usize {
        let executing = self.instances.iter().flat_map(|i| &i.batch).filter(|r| r.sent < instant).count();
        executing + (0..self.ring.len()).filter(|&offset| self.ring.at(offset).sent < instant).count()
    }

    /// Instances executing a batch.
    #[inline(always)]
    pub fn busy(&self) -> usize {
        if self.lone { usize::from(self.in_service > 0) } else { self.busy as usize }
    }

    /// Does everything due up to and including `now`.
    #[inline(always)]
    pub fn advance(&mut self, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        if self.simple {
            while self.next <= now {
                self.step_simple(spec, sink);
            }
        } else {
            self.advance_general(now, spec, sink);
        }
    }

    #[inline(never)]
    fn advance_general(&mut self, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        while self.next <= now {
            self.step_general(spec, sink);
        }
    }

    /// Does what is due at [`Server::next`], which must not be "never".
    #[inline(always)]
    pub fn step(&mut self, spec: &ServerSpec, sink: &mut Sink) {
        if self.simple { self.step_simple(spec, sink) } else { self.step_general(spec, sink) }
    }

    #[inline(always)]
    fn step_simple(&mut self, spec: &ServerSpec, sink: &mut Sink) {
        let now = self.next;
        if self.finish != now {
            return self.expire_simple(now, spec, sink);
        }
        self.complete_lone(now, spec, sink);
        if self.ring.len() == 0 {
            self.next = u64::MAX;
        } else if self.ring.at(0).sent.saturating_add(spec.queue_deadline) <= now {
            self.expire_simple(now, spec, sink);
        } else {
            self.start_simple(now, spec);
        }
    }

    /// Starts a batch of all that fits; somebody must be waiting for it.
    #[inline(always)]
    fn start_simple(&mut self, now: u64, spec: &ServerSpec) {
        let queued = self.ring.len();
        let size = queued.min(spec.batcher.max_batch());
        self.start_lone(size, now, spec);
        self.next = self.finish;
        if queued > size {
            self.next = self.finish.min(self.ring.at(size).sent.saturating_add(spec.queue_deadline));
        }
    }

    #[cold]
    #[inline(never)]
    fn expire_simple(&mut self, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        self.expire(now, spec, sink);
        if self.in_service == 0 && self.ring.len() > 0 {
            return self.start_simple(now, spec);
        }
        self.next = self.finish.min(self.expiry(spec));
    }

    fn step_general(&mut self, spec: &ServerSpec, sink: &mut Sink) {
        let now = self.next;
        if self.lone {
            if self.finish == now {
                self.complete_lone(now, spec, sink);
            }
        } else {
            self.complete_due(now, spec, sink);
        }
        if self.expiry(spec) <= now {
            self.expire(now, spec, sink);
        }
        self.start_batches(now, spec);
    }

    /// When the first in the queue expires; "never" without a queue.
    #[inline(always)]
    fn expiry(&self, spec: &ServerSpec) -> u64 {
        let first = self.executing_in_ring();
        if self.ring.len() > first { self.ring.at(first).sent.saturating_add(spec.queue_deadline) } else { u64::MAX }
    }

    #[cold]
    fn expire(&mut self, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        while self.expiry(spec) <= now {
            let first = self.executing_in_ring();
            let request = self.ring.at(first);
            self.ring.remove(first);
            self.counters.timed_out += 1;
            self.counters.dropped_ns += now - request.sent;
            sink.end(request, Ending::TimedOut, now, spec.pool);
        }
    }

    /// Takes in a request at `now`, to which the server must have been advanced: when it was sent, or later if it waited
    /// elsewhere.
    #[inline(always)]
    pub fn arrive(&mut self, request: Request, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        self.counters.arrived += 1;
        if !self.alive || self.queued() >= spec.queue_limit {
            return self.refuse(request, now, spec, sink);
        }
        self.ring.push(request);
        if !self.simple {
            self.arrive_general(request, now, spec);
        } else if self.in_service == 0 {
            // Idle and greedy: the queue was empty.
            self.start_lone(1, now, spec);
            self.next = self.finish;
        } else {
            // Of requests that wait, the first to come is the first to expire.
            self.next = self.next.min(request.sent.saturating_add(spec.queue_deadline));
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&mut self, request: Request, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        let ending = if self.alive {
            self.counters.rejected += 1;
            Ending::QueueFull
        } else {
            self.counters.killed += 1;
            Ending::Killed
        };
        sink.end(request, ending, now, spec.pool);
    }

    #[inline(never)]
    fn arrive_general(&mut self, request: Request, now: u64, spec: &ServerSpec) {
        if self.busy() < spec.instances {
            self.start_batches(now, spec);
        } else {
            self.next = self.next.min(request.sent.saturating_add(spec.queue_deadline));
        }
    }

    fn start_batches(&mut self, now: u64, spec: &ServerSpec) {
        self.timer = u64::MAX;
        while self.busy() < spec.instances {
            let queued = self.queued();
            if queued == 0 {
                break;
            }
            let oldest = self.ring.at(self.executing_in_ring()).sent;
            match spec.batcher.form(queued, oldest, now) {
                Formation::Start(size) if self.lone => self.start_lone(size, now, spec),
                Formation::Start(size) => self.start(size, now, spec),
                Formation::WaitUntil(time) => {
                    self.timer = time;
                    break;
                }
            }
        }
        self.next = self.own_next(spec);
    }

    #[inline(always)]
    fn own_next(&self, spec: &ServerSpec) -> u64 {
        let mut next = self.timer.min(self.finish).min(self.expiry(spec));
        for instance in &self.instances {
            next = next.min(instance.finish);
        }
        next
    }

    /// Draws how long a batch of `size` takes alone on this server, nanoseconds, at least one, so that time moves on.
    #[inline(always)]
    fn draw_work(&mut self, size: usize, spec: &ServerSpec) -> f64 {
        let spread = match spec.spread {
            Spread::Deterministic => 1.0,
            Spread::LogNormal { sigma } => {
                let z: f64 = StandardNormal.sample(&mut self.rng);
                // E[exp(σz − σ²/2)] = 1: the spread leaves the mean where it was measured.
                (sigma * z - 0.5 * sigma * sigma).exp()
            }
            Spread::Exponential => Exp1.sample(&mut self.rng),
        };
        (spec.service_ns[size] * spread * self.stretch).max(1.0)
    }

    #[inline(always)]
    fn start_lone(&mut self, size: usize, now: u64, spec: &ServerSpec) {
        let work = self.draw_work(size, spec);
        self.in_service = size as u32;
        self.started = now;
        // Through i64, whose conversion is a third of u64's instructions.
        self.finish = now + work as i64 as u64;
    }

    fn start(&mut self, size: usize, now: u64, spec: &ServerSpec) {
        let work = self.draw_work(size, spec);
        if self.busy == 0 {
            self.busy_since = now;
        }
        self.busy += 1;
        self.in_service += size as u32;
        self.apart = self.in_service;
        let index = self.instances.iter().position(|i| i.finish == u64::MAX).unwrap_or(0);
        let instance = &mut self.instances[index];
        instance.batch.extend((0..size).map(|offset| self.ring.at(offset)));
        self.ring.drop_front(size);
        instance.started = now;
        instance.finish = now + work as u64;
        instance.work_left = work;
        instance.speed = 1.0;
        instance.updated = now;
        self.rescale(now, spec);
    }

    /// Tells the server how many executions of other pods run on its GPU from `now` on.
    pub fn set_neighbours(&mut self, neighbours: usize, now: u64, spec: &ServerSpec) {
        if self.neighbours != neighbours {
            self.neighbours = neighbours;
            self.rescale(now, spec);
            self.next = self.own_next(spec);
        }
    }

    /// Changes the speed of executions that start from now on (a slow node, or its recovery).
    pub fn set_speed(&mut self, speed: f64) {
        self.stretch = speed.recip();
    }

    /// Re-evaluates the speed of the running executions, and with it when they end.
    fn rescale(&mut self, now: u64, spec: &ServerSpec) {
        // One that ends at this very instant has no work left to slow down.
        for instance in self.instances.iter_mut().filter(|i| i.finish != u64::MAX && i.finish > now) {
            let speed =
                spec.sharing.contended_speed(&spec.rule, instance.batch.len(), self.busy as usize, self.neighbours);
            if speed != instance.speed {
                instance.work_left -= (now - instance.updated) as f64 * instance.speed;
                instance.speed = speed;
                instance.updated = now;
                instance.finish = now + (instance.work_left.max(0.0) / speed).max(1.0) as u64;
            }
        }
    }

    #[inline(always)]
    fn complete_lone(&mut self, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        let lasted = now - self.started;
        self.counters.executions += 1;
        self.counters.compute_ns += lasted;
        self.counters.busy_ns += lasted;
        let size = self.in_service as usize;
        answer(self.ring.at(0), self.started, now, &mut self.counters, spec, sink);
        for offset in 1..size {
            answer(self.ring.at(offset), self.started, now, &mut self.counters, spec, sink);
        }
        self.ring.drop_front(size);
        self.in_service = 0;
        self.finish = u64::MAX;
    }

    fn complete_due(&mut self, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        for index in 0..self.instances.len() {
            if self.instances[index].finish != now {
                continue;
            }
            let instance = &mut self.instances[index];
            instance.finish = u64::MAX;
            self.busy -= 1;
            self.in_service -= instance.batch.len() as u32;
            self.apart = self.in_service;
            if self.busy == 0 {
                self.counters.busy_ns += now - self.busy_since;
            }
            self.counters.executions += 1;
            self.counters.compute_ns += now - instance.started;
            for &request in &instance.batch {
                answer(request, instance.started, now, &mut self.counters, spec, sink);
            }
            instance.batch.clear();
        }
        self.rescale(now, spec);
    }

    /// Ends everything it holds as killed, at `now`, and refuses what comes later. It must have been advanced to
    /// `now`.
    pub fn kill(&mut self, now: u64, spec: &ServerSpec, sink: &mut Sink) {
        let mut lost: Vec<Request> = Vec::with_capacity(self.outstanding());
        for instance in &mut self.instances {
            lost.append(&mut instance.batch);
            instance.finish = u64::MAX;
        }
        lost.extend((0..self.ring.len()).map(|offset| self.ring.at(offset)));
        self.ring.drop_front(self.ring.len());
        for request in lost {
            self.counters.killed += 1;
            sink.end(request, Ending::Killed, now, spec.pool);
        }
        self.counters.busy_ns = self.busy_ns(now);
        self.busy = 0;
        self.in_service = 0;
        self.apart = 0;
        self.finish = u64::MAX;
        self.timer = u64::MAX;
        self.next = u64::MAX;
        self.alive = false;
    }

    /// Starts anew after [`Server::kill`]: a container restart. Counters begin at zero, as a new process's do.
    pub fn restart(&mut self) {
        self.alive = true;
        self.counters = Counters::default();
        self.elsewhere_ns = 0;
    }

    /// Whether it takes requests.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Time it was busy since it started, up to `now`, nanoseconds.
    pub fn busy_ns(&self, now: u64) -> u64 {
        let since = if self.lone { self.started } else { self.busy_since };
        self.counters.busy_ns + if self.busy() > 0 { now.saturating_sub(since) } else { 0 }
    }
}

/// Books the end of a request's batch: an answer in time, or one nobody waits for any more.
#[inline(always)]
fn answer(request: Request, started: u64, now: u64, counters: &mut Counters, spec: &ServerSpec, sink: &mut Sink) {
    let queue_ns = started - request.sent;
    let served_ns = now - request.sent;
    if served_ns > spec.response_deadline {
        counters.timed_out += 1;
        counters.dropped_ns += served_ns;
        sink.end(request, Ending::TimedOut, now, spec.pool);
        return;
    }
    let latency_ns = served_ns + spec.overhead_ns;
    let bucket = sink.complete(latency_ns, queue_ns);
    counters.record(bucket, latency_ns, queue_ns);
    if sink.follows_requests() {
        sink.follow(RequestRecord {
            tag: request.tag,
            pool: spec.pool,
            sent: request.sent,
            started,
            finished: now,
            outcome: Outcome::Completed,
        });
    }
}
