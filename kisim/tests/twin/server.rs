//! One server of the twin: a queue, a list of instances and the rules read out plainly.

use std::collections::VecDeque;
use std::time::Duration;

use kisim::batcher::Batcher;
use kisim::ledger::{Ending, Outcome, RequestRecord};
use kisim::profile::Spread;
use kisim::random::Stream;
use kisim::server::ServerSpec;
use kisim::sharing::{Sharing, SharingRule};
use rand_distr::{Distribution, Exp1, StandardNormal};

/// Upper bounds of the exported latency buckets, nanoseconds; scripted services take about a microsecond.
pub const BOUNDS: [u64; 6] = [100, 500, 1_000, 1_024, 4_000, 20_000];

/// What the servers of a pool have in common, in the twin's own words.
#[derive(Clone, Debug)]
pub struct Rules {
    pub max_batch: usize,
    pub delay: u64,
    pub preferred: Vec<usize>,
    pub instances: usize,
    /// Mean service time by batch size, from 1.
    pub service: Vec<f64>,
    pub spread: Spread,
    pub overhead: u64,
    pub queue_limit: Option<usize>,
    pub queue_deadline: Option<u64>,
    pub response_deadline: Option<u64>,
    pub sharing: Sharing,
    pub sharing_rule: SharingRule,
}

impl Rules {
    /// The same for the engine.
    pub fn spec(&self, pool: usize) -> ServerSpec {
        ServerSpec {
            pool,
            batcher: Batcher::new(self.max_batch, Duration::from_nanos(self.delay), &self.preferred),
            instances: self.instances,
            service_ns: std::iter::once(0.0).chain(self.service.iter().copied()).collect(),
            spread: self.spread,
            overhead_ns: self.overhead,
            queue_limit: self.queue_limit.unwrap_or(usize::MAX),
            queue_deadline: self.queue_deadline.unwrap_or(u64::MAX),
            response_deadline: self.response_deadline.unwrap_or(u64::MAX),
            sharing: self.sharing.clone(),
            rule: self.sharing_rule.clone(),
        }
    }

    /// Whether pods on one GPU slow each other: where more than one fits and no hardware keeps them apart.
    pub fn neighbours_interfere(&self) -> bool {
        match self.sharing {
            Sharing::Exclusive | Sharing::Mig { .. } => false,
            Sharing::TimeSlicing { replicas } => replicas > 1,
            Sharing::Mps { thread_percentage } => 100 / thread_percentage > 1,
        }
    }

    /// Speed of one of `own` executions of a pod, while `others` of other pods run on its GPU.
    fn speed(&self, batch: usize, own: usize, others: usize) -> f64 {
        let rule = &self.sharing_rule;
        let among_instances = if own == 1 {
            1.0
        } else {
            let gain = gain_at(&rule.instance_gain, batch as f64);
            gain.min(own as f64) / own as f64
        };
        let among_pods = match self.sharing {
            Sharing::TimeSlicing { .. } if others > 0 => {
                rule.time_slicing_efficiency * own as f64 / (own as f64 + others as f64)
            }
            Sharing::Mps { .. } => rule.mps_interference.powi(-(others as i32)),
            _ => 1.0,
        };
        among_instances * among_pods
    }

    /// Triton's `GetDynamicBatch` for requests of one shape and batch size one: walk along the queue, note the last
    /// preferred size passed, then decide. `Ok` is a batch to start, `Err` the instant until which to wait.
    fn form(&self, queue: &VecDeque<Pending>, now: u64) -> Result<usize, u64> {
        let mut preferred: Vec<usize> =
            self.preferred.iter().copied().filter(|size| (1..=self.max_batch).contains(size)).collect();
        if preferred.is_empty() {
            preferred = vec![self.max_batch];
        }
        let max_preferred = *preferred.iter().max().expect("not empty");
        let (mut pending, mut best, mut send_now) = (0, 0, false);
        for _ in queue {
            if pending + 1 > self.max_batch {
                send_now = true;
                break;
            }
            pending += 1;
            if preferred.contains(&pending) {
                best = pending;
            }
        }
        let age = now - queue[0].sent;
        let delay_is_exceeded = self.delay != 0 && age >= self.delay;
        if best != 0 && !delay_is_exceeded {
            return Ok(best);
        }
        if send_now || pending >= max_preferred || delay_is_exceeded || self.delay == 0 {
            return Ok(pending);
        }
        Err(queue[0].sent + self.delay)
    }
}

/// The gain of concurrent instances at batch size `batch`: straight between the points, flat outside.
fn gain_at(points: &[(f64, f64)], batch: f64) -> f64 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 1.0 };
    if batch <= first.0 {
        return first.1;
    }
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if batch <= x1 {
            return y0 + (y1 - y0) * (batch - x0) / (x1 - x0);
        }
    }
    last.1
}

/// A request that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub tag: u64,
    pub sent: u64,
}

/// A batch on an instance.
#[derive(Clone, Debug)]
struct Execution {
    batch: Vec<Pending>,
    started: u64,
    end: u64,
    /// Work left at `since`, nanoseconds at speed 1.
    left: f64,
    speed: f64,
    since: u64,
}

/// What a server counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub arrived: u64,
    pub success: u64,
    pub rejected: u64,
    pub timed_out: u64,
    pub killed: u64,
    pub executions: u64,
    pub latency_ns: u64,
    pub queue_ns: u64,
    pub compute_ns: u64,
    /// Time with at least one batch running, up to when one looks.
    pub busy_ns: u64,
    /// Answers by latency: within each bound, and beyond the last.
    pub buckets: [u64; BOUNDS.len() + 1],
}

/// A server.
#[derive(Clone, Debug)]
pub struct TwinServer {
    pub pool: usize,
    /// The GPU on which others slow it.
    pub gpu: Option<u32>,
    pub alive: bool,
    rules: Rules,
    speed: f64,
    rng: Stream,
    queue: VecDeque<Pending>,
    instances: Vec<Option<Execution>>,
    /// Executions of other pods on its GPU.
    others: usize,
    tally: Tally,
    busy_since: u64,
}

impl TwinServer {
    pub fn new(pool: usize, rules: &Rules, gpu: Option<u32>, speed: f64, rng: Stream) -> Self {
        TwinServer {
            pool,
            gpu: gpu.filter(|_| rules.neighbours_interfere()),
            alive: true,
            speed,
            rng,
            queue: VecDeque::new(),
            instances: vec![None; rules.instances],
            rules: rules.clone(),
            others: 0,
            tally: Tally::default(),
            busy_since: 0,
        }
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    pub fn in_service(&self) -> usize {
        self.instances.iter().flatten().map(|execution| execution.batch.len()).sum()
    }

    pub fn outstanding(&self) -> usize {
        self.queued() + self.in_service()
    }

    pub fn busy(&self) -> usize {
        self.instances.iter().flatten().count()
    }

    pub fn tally(&self, now: u64) -> Tally {
        let running = if self.busy() > 0 { now - self.busy_since } else { 0 };
        Tally { busy_ns: self.tally.busy_ns + running, ..self.tally.clone() }
    }

    pub fn set_speed(&mut self, speed: f64) {
        self.speed = speed;
    }

    /// When something may have to be done, to the best of what is known now. Waking up too often does no harm.
    pub fn wake_ups(&self, now: u64) -> Vec<u64> {
        let mut times: Vec<u64> = self.instances.iter().flatten().map(|execution| execution.end).collect();
        if let Some(first) = self.queue.front() {
            times.extend(self.rules.queue_deadline.map(|deadline| first.sent + deadline));
            if self.busy() < self.instances.len() {
                times.extend(self.rules.form(&self.queue, now).err());
            }
        }
        times
    }

    /// Does what is due at `now`: completions, then expiries, then new batches.
    pub fn wake(&mut self, now: u64, records: &mut Vec<RequestRecord>) {
        for index in 0..self.instances.len() {
            if self.instances[index].as_ref().is_some_and(|execution| execution.end == now) {
                let execution = self.instances[index].take().expect("checked");
                self.tally.executions += 1;
                self.tally.compute_ns += now - execution.started;
                if self.busy() == 0 {
                    self.tally.busy_ns += now - self.busy_since;
                }
                for request in &execution.batch {
                    self.answer(request, execution.started, now, records);
                }
            }
        }
        self.rescale(now);
        if let Some(deadline) = self.rules.queue_deadline {
            let (expired, kept): (Vec<Pending>, Vec<Pending>) =
                self.queue.iter().partition(|request| request.sent + deadline <= now);
            self.queue = kept.into();
            for request in expired {
                self.tally.timed_out += 1;
                records.push(failed(&request, Ending::TimedOut, now, self.pool));
            }
        }
        self.start_batches(now);
    }

    fn answer(&mut self, request: &Pending, started: u64, now: u64, records: &mut Vec<RequestRecord>) {
        if self.rules.response_deadline.is_some_and(|deadline| now - request.sent > deadline) {
            self.tally.timed_out += 1;
            records.push(failed(request, Ending::TimedOut, now, self.pool));
            return;
        }
        let latency = now - request.sent + self.rules.overhead;
        self.tally.success += 1;
        self.tally.latency_ns += latency;
        self.tally.queue_ns += started - request.sent;
        self.tally.buckets[BOUNDS.iter().filter(|&&bound| latency > bound).count()] += 1;
        records.push(RequestRecord {
            tag: request.tag,
            pool: self.pool,
            sent: request.sent,
            started,
            finished: now,
            outcome: Outcome::Completed,
        });
    }

    fn start_batches(&mut self, now: u64) {
        while let Some(index) = self.instances.iter().position(Option::is_none) {
            if self.queue.is_empty() {
                return;
            }
            let Ok(size) = self.rules.form(&self.queue, now) else { return };
            let work = self.draw(size);
            if self.busy() == 0 {
                self.busy_since = now;
            }
            self.instances[index] = Some(Execution {
                batch: self.queue.drain(..size).collect(),
                started: now,
                end: now + work as u64,
                left: work,
                speed: 1.0,
                since: now,
            });
            self.rescale(now);
        }
    }

    fn draw(&mut self, size: usize) -> f64 {
        let spread = match self.rules.spread {
            Spread::Deterministic => 1.0,
            Spread::LogNormal { sigma } => {
                let z: f64 = StandardNormal.sample(&mut self.rng);
                (sigma * z - 0.5 * sigma * sigma).exp()
            }
            Spread::Exponential => Exp1.sample(&mut self.rng),
        };
        (self.rules.service[size - 1] * spread * (1.0 / self.speed)).max(1.0)
    }

    /// An execution whose speed changes ends when the work left is done at the new speed.
    fn rescale(&mut self, now: u64) {
        let own = self.busy();
        for execution in self.instances.iter_mut().flatten().filter(|execution| execution.end != now) {
            let speed = self.rules.speed(execution.batch.len(), own, self.others);
            if speed != execution.speed {
                execution.left -= (now - execution.since) as f64 * execution.speed;
                execution.speed = speed;
                execution.since = now;
                execution.end = now + (execution.left.max(0.0) / speed).max(1.0) as u64;
            }
        }
    }

    pub fn set_others(&mut self, others: usize, now: u64) {
        self.others = others;
        self.rescale(now);
    }

    /// A request comes at `now`, when it was sent or later.
    pub fn arrive(&mut self, request: Pending, now: u64, records: &mut Vec<RequestRecord>) {
        self.tally.arrived += 1;
        if !self.alive {
            self.tally.killed += 1;
            records.push(failed(&request, Ending::Killed, now, self.pool));
        } else if self.rules.queue_limit.is_some_and(|limit| self.queue.len() >= limit) {
            self.tally.rejected += 1;
            records.push(failed(&request, Ending::QueueFull, now, self.pool));
        } else {
            self.queue.push_back(request);
            self.start_batches(now);
        }
    }

    pub fn kill(&mut self, now: u64, records: &mut Vec<RequestRecord>) {
        self.tally.busy_ns = self.tally(now).busy_ns;
        let executing = self.instances.iter_mut().filter_map(Option::take).flat_map(|execution| execution.batch);
        let lost: Vec<Pending> = executing.chain(self.queue.drain(..)).collect();
        self.tally.killed += lost.len() as u64;
        records.extend(lost.iter().map(|request| failed(request, Ending::Killed, now, self.pool)));
        self.alive = false;
    }

    pub fn restart(&mut self) {
        self.alive = true;
        self.tally = Tally::default();
    }
}

/// The record of a request that got no answer in time.
pub fn failed(request: &Pending, ending: Ending, now: u64, pool: usize) -> RequestRecord {
    RequestRecord {
        tag: request.tag,
        pool,
        sent: request.sent,
        started: now,
        finished: now,
        outcome: Outcome::Failed(ending),
    }
}
