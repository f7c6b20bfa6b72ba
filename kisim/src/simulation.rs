//! A run: traffic, fleet, cluster and telemetry under one clock.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use crate::activator::ActivatorRules;
use crate::clients::{Act, Clients};
use crate::cluster::{Cluster, Meter, PodCounts, ScaleRefused};
use crate::config::ConfigError;
use crate::control::{Limiter, Pipeline, PodView, PoolView};
use crate::events::{Event, EventQueue};
use crate::fleet::{Fleet, FleetSetup, Placement};
use crate::ledger::{RequestRecord, Sink};
use crate::prepared::Prepared;
use crate::profile::Hardware;
use crate::random::{Purpose, Stream, stream};
use crate::telemetry::{ClusterSample, PodSample, Scrape};
use crate::time::{SimTime, duration_nanos, nanos_from_secs};
use crate::trace::TraceError;
use crate::traffic::{Load, Source};

/// Why a run stops early.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The trace it replays is wrong further on.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The scenario is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// How a run is to be driven, where it is not as the scenario says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keep a record of every request.
    pub log: bool,
    /// Ask the autoscaler this often instead of every control interval.
    pub decide_every: Option<Duration>,
    /// Collect metrics this way instead.
    pub pipeline: Option<Pipeline>,
    /// These arrivals, ascending, nanoseconds, instead of the traffic's own.
    pub arrivals: Option<Arc<[u64]>>,
    /// Scrape at all.
    pub telemetry: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { log: false, decide_every: None, pipeline: None, arrivals: None, telemetry: true }
    }
}

/// Where a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A control step of the scenario is over: it is to be judged. Comes before a decision at the same instant.
    Step,
    /// An autoscaler is to decide.
    Control,
    /// A scrape interval of the scenario is over: time for a row of the timeline.
    Row,
    /// The warm-up is over: statistics start anew.
    WarmUpOver,
    /// The end.
    End,
}

/// Who says when pods come, turn ready and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pods {
    /// The simulated cluster.
    Simulated,
    /// Somebody outside, see [`crate::external`].
    External,
}

enum Requests {
    /// Nobody waits for outcomes.
    Open { source: Source, sent: u64 },
    /// Somebody does.
    Waiting(Box<Clients>),
}

/// A run of a scenario with a seed, to be driven from stop to stop.
pub struct Simulation {
    prepared: Arc<Prepared>,
    now: u64,
    fleet: Fleet,
    cluster: Cluster,
    events: EventQueue,
    requests: Requests,
    telemetry: Telemetry,
    limiters: Vec<Limiter>,
    step_interval: u64,
    next_step: u64,
    control_interval: u64,
    next_control: u64,
    /// A decision is due at this very instant, after the step that just ended.
    control_due: bool,
    row_interval: u64,
    records: Vec<RequestRecord>,
    /// Ended requests, if somebody wants them.
    log: Option<Vec<RequestRecord>>,
}

/// What becomes of a pod's last scrape.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Last {
    /// When, nanoseconds.
    pub(crate) at: u64,
    busy_ns: u64,
    success: u64,
}

#[derive(Clone, Debug)]
struct Telemetry {
    on: bool,
    rng: Stream,
    interval: u64,
    lag: u64,
    drop_probability: f64,
    /// Samples not yet visible: (from when, sample), in order.
    pods: Vec<(u64, PodSample)>,
    cluster: Vec<(u64, ClusterSample)>,
    /// Failed scrapes and vanished pods: (visible from when, pod, when).
    failed: Vec<(u64, (u64, u64))>,
    gone: Vec<(u64, (u64, u64))>,
    last: std::collections::BTreeMap<u64, Last>,
}

impl Simulation {
    /// A run of `prepared` with `seed`; `log` keeps a record of every request.
    pub fn new(prepared: &Arc<Prepared>, seed: u64, log: bool) -> Result<Self, SimulationError> {
        Simulation::with(prepared, seed, &Options { log, ..Options::default() })
    }

    /// A run of `prepared` with `seed`, driven as `options` say.
    pub fn with(prepared: &Arc<Prepared>, seed: u64, options: &Options) -> Result<Self, SimulationError> {
        Simulation::build(prepared, seed, options, Pods::Simulated)
    }

    /// The same, with pods as somebody outside says: none yet.
    pub(crate) fn external(prepared: &Arc<Prepared>, seed: u64, options: &Options) -> Result<Self, SimulationError> {
        Simulation::build(prepared, seed, options, Pods::External)
    }

    fn build(prepared: &Arc<Prepared>, seed: u64, options: &Options, pods: Pods) -> Result<Self, SimulationError> {
        let scenario = &prepared.scenario;
        let log = options.log;
        let load = match &options.arrivals {
            Some(times) => Load::Open(Source::listed(Arc::clone(times), stream(seed, Purpose::Arrivals, 1))),
            None => {
                let load = scenario.traffic.load(&scenario.base, prepared.seconds(), seed);
                load.map_err(|e| e.from_origin(&scenario.origin))?
            }
        };
        let clients_wait = matches!(load, Load::Closed(_)) || scenario.client.retries.is_some();
        let sink = Sink::new(scenario.slo.latency.nanos(), &prepared.bounds, clients_wait || log);
        let pool_of = |hardware| prepared.pools.iter().position(|p| p.hardware == hardware);
        let setup = FleetSetup {
            specs: prepared.pools.iter().map(|p| p.spec.clone()).collect(),
            routing: scenario.service.routing,
            placement: scenario.service.placement,
            gpu_pool: pool_of(Hardware::Gpu),
            cpu_pool: pool_of(Hardware::Cpu),
            clients_wait,
            activator: scenario.service.activator.map(|config| ActivatorRules {
                queue_limit: config.queue_limit,
                deadline: prepared.pools.iter().map(|p| p.spec.queue_deadline).max().unwrap_or(u64::MAX),
            }),
        };
        let mut fleet = Fleet::new(setup, sink, stream(seed, Purpose::Routing, 0));
        let mut events = EventQueue::default();
        let setups = prepared.pools.iter().map(|p| p.setup.clone()).collect();
        let mut cluster = match pods {
            Pods::Simulated => {
                Cluster::new(setups, scenario.cluster.nodes.clone(), scenario.faults.clone(), seed, &mut events)
            }
            Pods::External => Cluster::external(setups, seed, &mut events),
        };
        if scenario.warm_up.nanos() > 0 {
            events.push(scenario.warm_up.nanos(), Event::WarmUpOver);
        }
        if pods == Pods::Simulated {
            for (number, pool) in prepared.pools.iter().enumerate() {
                cluster.start_ready(number, pool.config.initial_replicas, &mut fleet, &mut events);
            }
        }
        let config = &scenario.telemetry;
        let pipeline =
            options.pipeline.unwrap_or(Pipeline { scrape_interval: config.scrape_interval.0, lag: config.lag.0 });
        let mut telemetry = Telemetry {
            on: options.telemetry,
            rng: stream(seed, Purpose::Telemetry, 0),
            interval: duration_nanos(pipeline.scrape_interval).max(1),
            lag: duration_nanos(pipeline.lag),
            drop_probability: config.drop_probability,
            pods: Vec::new(),
            cluster: Vec::new(),
            failed: Vec::new(),
            gone: Vec::new(),
            last: std::collections::BTreeMap::new(),
        };
        let pods: Vec<u64> = cluster.pods().filter(|p| p.slot.is_some()).map(|p| p.id).collect();
        for pod in pods {
            telemetry.discover(pod, 0, &mut events);
        }
        let row_interval = config.scrape_interval.nanos();
        let step_interval = scenario.control.interval.nanos();
        let control_interval = options.decide_every.map_or(step_interval, |every| duration_nanos(every).max(1));
        if telemetry.on {
            events.push(telemetry.interval, Event::ClusterScrape);
        }
        events.push(step_interval, Event::Step);
        events.push(row_interval, Event::Row);
        events.push(control_interval, Event::Control);
        let requests = match load {
            Load::Open(source) if !clients_wait => Requests::Open { source, sent: 0 },
            load => {
                // With two pools the larger overhead: a client cannot tell which one answered.
                let overhead = prepared.pools.iter().map(|p| p.spec.overhead_ns).max().unwrap_or(0);
                let rng = stream(seed, Purpose::Retries, 0);
                Requests::Waiting(Box::new(Clients::new(load, &scenario.client, overhead, rng)))
            }
        };
        Ok(Simulation {
            limiters: prepared.pools.iter().map(|p| Limiter::new(p.config.limits)).collect(),
            prepared: Arc::clone(prepared),
            now: 0,
            fleet,
            cluster,
            events,
            requests,
            telemetry,
            step_interval,
            next_step: step_interval,
            control_interval,
            next_control: control_interval,
            control_due: false,
            row_interval,
            records: Vec::new(),
            log: log.then(Vec::new),
        })
    }

    /// The same run, to go on from here independently: the same decisions from here give the same fates. `None` where
    /// its traffic is read from a file as it goes ([`Options::arrivals`] helps).
    pub fn fork(&self) -> Option<Simulation> {
        let requests = match &self.requests {
            Requests::Open { source, sent } => Requests::Open { source: source.fork()?, sent: *sent },
            Requests::Waiting(clients) => Requests::Waiting(Box::new(clients.fork()?)),
        };
        Some(Simulation {
            prepared: Arc::clone(&self.prepared),
            fleet: self.fleet.clone(),
            cluster: self.cluster.clone(),
            events: self.events.clone(),
            requests,
            telemetry: self.telemetry.clone(),
            limiters: self.limiters.clone(),
            records: self.records.clone(),
            log: self.log.clone(),
            ..*self
        })
    }

    /// What it runs.
    pub fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }

    /// The time.
    pub fn now(&self) -> SimTime {
        SimTime::from_nanos(self.now)
    }

    /// The fleet, for its books.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The cluster, for its meters.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Second and later attempts so far.
    pub fn retried(&self) -> u64 {
        match &self.requests {
            Requests::Open { .. } => 0,
            Requests::Waiting(clients) => clients.retried,
        }
    }

    /// Runs to the next stop.
    pub fn run(&mut self) -> Result<Stop, SimulationError> {
        loop {
            // Without an instant to pause at, there is a stop.
            if let Some(stop) = self.run_until(SimTime::NEVER)? {
                return Ok(stop);
            }
        }
    }

    /// Runs to the next stop, or to `until` if that comes first: then `None`. All that happens at `until` has happened
    /// by then, but for what clients send at that very instant.
    pub(crate) fn run_until(&mut self, until: SimTime) -> Result<Option<Stop>, SimulationError> {
        if self.control_due {
            self.control_due = false;
            return Ok(Some(Stop::Control));
        }
        let until = until.as_nanos().max(self.now);
        loop {
            let next = self.events.next_time();
            if next > until && until < self.prepared.end {
                self.serve(until)?;
                self.now = until;
                return Ok(None);
            }
            let horizon = next.min(self.prepared.end);
            self.serve(horizon)?;
            self.now = horizon;
            if next >= self.prepared.end {
                self.fleet.advance_all(self.prepared.end);
                self.drain_records();
                return Ok(Some(Stop::End));
            }
            let Some((now, event)) = self.events.pop() else { continue };
            match event {
                Event::Step if now == self.next_step => return Ok(Some(self.step_over(now))),
                Event::Control if now == self.next_control => {
                    if now == self.next_step {
                        return Ok(Some(self.step_over(now)));
                    }
                    self.fleet.advance_all(now);
                    self.control_over(now);
                    return Ok(Some(Stop::Control));
                }
                // The other of the two has seen to it.
                Event::Step | Event::Control => {}
                Event::Row => {
                    self.fleet.advance_all(now);
                    self.events.push(now.saturating_add(self.row_interval), Event::Row);
                    return Ok(Some(Stop::Row));
                }
                Event::WarmUpOver => {
                    self.fleet.advance_all(now);
                    self.drain_records();
                    let in_flight = self.fleet.in_flight() as u64;
                    self.fleet.sink.ledger.restart(in_flight);
                    self.cluster.restart_maxima();
                    return Ok(Some(Stop::WarmUpOver));
                }
                Event::ClusterScrape => self.scrape_cluster(now),
                Event::Scrape { pod } => self.scrape(pod, now),
                Event::Ready { pod, .. } => {
                    self.cluster.handle(event, now, &mut self.fleet, &mut self.events);
                    if self.cluster.pod(pod).is_some_and(|p| p.is_ready()) {
                        self.telemetry.discover(pod, now, &mut self.events);
                    }
                }
                event => self.cluster.handle(event, now, &mut self.fleet, &mut self.events),
            }
            self.drain_records();
        }
    }

    fn step_over(&mut self, now: u64) -> Stop {
        self.fleet.advance_all(now);
        self.next_step = now.saturating_add(self.step_interval);
        self.events.push(self.next_step, Event::Step);
        if now == self.next_control {
            self.control_due = true;
            self.control_over(now);
        }
        Stop::Step
    }

    fn control_over(&mut self, now: u64) {
        self.next_control = now.saturating_add(self.control_interval);
        self.events.push(self.next_control, Event::Control);
    }

    /// Serves requests sent before `horizon`.
    fn serve(&mut self, horizon: u64) -> Result<(), SimulationError> {
        match &mut self.requests {
            Requests::Open { source, sent } => {
                while source.peek()?.is_some_and(|time| time < horizon) {
                    let times = source.at_hand();
                    let due = if times.last().is_some_and(|&last| last < horizon) {
                        times.len()
                    } else {
                        times.partition_point(|&t| t < horizon)
                    };
                    self.fleet.offer_all(&times[..due], *sent);
                    *sent += due as u64;
                    source.take(due);
                }
                self.drain_records();
                Ok(())
            }
            Requests::Waiting(clients) => {
                loop {
                    // Outcomes first: they may be heard before anything else happens.
                    if self.fleet.sink.follows_requests() {
                        self.fleet.sink.take_records(&mut self.records);
                        for record in &self.records {
                            clients.hear(record);
                        }
                        if let Some(log) = &mut self.log {
                            log.extend_from_slice(&self.records);
                        }
                    }
                    let client = clients.due()?;
                    let server = self.fleet.earliest();
                    if client.min(server) >= horizon {
                        return Ok(());
                    }
                    if server <= client {
                        self.fleet.step();
                        continue;
                    }
                    if let Act::Send(request) = clients.act(client) {
                        self.fleet.offer(request);
                    }
                }
            }
        }
    }

    /// Hands ended requests to whoever waits for them.
    fn drain_records(&mut self) {
        if !self.fleet.sink.follows_requests() {
            return;
        }
        self.fleet.sink.take_records(&mut self.records);
        if let Requests::Waiting(clients) = &mut self.requests {
            for record in &self.records {
                clients.hear(record);
            }
        }
        if let Some(log) = &mut self.log {
            log.extend_from_slice(&self.records);
        }
    }

    /// Records of the requests that ended since the last call, if the run keeps them; in no particular order.
    pub fn take_log(&mut self) -> Vec<RequestRecord> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn scrape(&mut self, pod: u64, now: u64) {
        let Some(slot) = self.cluster.pod(pod).and_then(|p| p.slot) else {
            // The target is gone: its series are stale from here.
            self.telemetry.gone.push((self.visible_from(now), (pod, now)));
            self.telemetry.last.remove(&pod);
            return;
        };
        self.events.push(now.saturating_add(self.telemetry.interval), Event::Scrape { pod });
        self.fleet.advance(slot, now);
        let server = self.fleet.server(slot);
        let dropped = self.telemetry.rng.random::<f64>() < self.telemetry.drop_probability;
        if self.cluster.scrapes_fail(now) {
            // Nobody scrapes: nothing is marked stale either.
            return;
        }
        if dropped || !server.is_alive() {
            self.telemetry.failed.push((self.visible_from(now), (pod, now)));
            return;
        }
        let last = self.telemetry.last.get(&pod).copied().unwrap_or_default();
        let Some((sample, last)) = self.sample(pod, last) else { return };
        self.telemetry.last.insert(pod, last);
        self.telemetry.pods.push((self.visible_from(now), sample));
    }

    /// What the exporters of a pod say now, where utilisation is since `last`; and what to give next time. `None` if it
    /// has no server. The server must have been brought to now.
    pub(crate) fn sample(&self, pod: u64, last: Last) -> Option<(PodSample, Last)> {
        let now = self.now;
        let (pool, slot) = self.cluster.pod(pod).and_then(|p| Some((p.pool, p.slot?)))?;
        let (server, prepared) = (self.fleet.server(slot), &self.prepared.pools[pool]);
        // A restarted process counts from zero again.
        let busy_ns = server.busy_ns(now);
        let success = server.counters.success;
        let (busy, answered) = match busy_ns >= last.busy_ns && success >= last.success {
            true => (busy_ns - last.busy_ns, success - last.success),
            false => (busy_ns, success),
        };
        let elapsed = (now - last.at).max(1) as f64;
        let utilization = (busy as f64 / elapsed).min(1.0);
        let cpu_ms = answered as f64 * prepared.config.cpu_ms_per_request;
        let cpu_utilization = match prepared.hardware {
            // A CPU server computes on all cores it asked for.
            Hardware::Cpu => utilization,
            Hardware::Gpu if prepared.config.cpus > 0.0 => cpu_ms * 1e6 / elapsed / prepared.config.cpus,
            Hardware::Gpu => 0.0,
        };
        let sample = PodSample {
            at: SimTime::from_nanos(now),
            pod,
            pool,
            counters: server.counters.clone(),
            queued: server.queued() as u64,
            in_flight: server.outstanding() as u64,
            in_flight_s: server.held_ns(now, &prepared.spec) as f64 * 1e-9,
            utilization,
            cpu_utilization,
        };
        Some((sample, Last { at: now, busy_ns, success }))
    }

    /// When what is scraped now can be queried.
    fn visible_from(&self, now: u64) -> u64 {
        now.saturating_add(self.telemetry.lag).saturating_add(self.cluster.extra_scrape_lag(now))
    }

    fn scrape_cluster(&mut self, now: u64) {
        self.events.push(now.saturating_add(self.telemetry.interval), Event::ClusterScrape);
        if self.cluster.scrapes_fail(now) {
            return;
        }
        let pools = (0..self.prepared.pools.len()).map(|pool| self.cluster.counts(pool)).collect();
        let activator = self.fleet.activator_sample(now);
        let sample = ClusterSample { at: SimTime::from_nanos(now), pools, activator };
        self.telemetry.cluster.push((self.visible_from(now), sample));
    }

    /// Everything that became visible to an autoscaler since the last call.
    pub fn scraped(&mut self) -> Scrape {
        let now = self.now;
        let t = &mut self.telemetry;
        let mut scrape = Scrape::default();
        take_visible(&mut t.pods, now, |sample| scrape.pods.push(sample));
        take_visible(&mut t.cluster, now, |sample| scrape.cluster.push(sample));
        let at = |(pod, at): (u64, u64)| (pod, SimTime::from_nanos(at));
        take_visible(&mut t.failed, now, |mark| scrape.failed.push(at(mark)));
        take_visible(&mut t.gone, now, |mark| scrape.gone.push(at(mark)));
        scrape
    }

    /// Pods as the Kubernetes API lists them.
    pub fn pod_views(&self) -> Vec<PodView> {
        self.cluster
            .pods()
            .map(|p| PodView {
                id: p.id,
                pool: p.pool,
                phase: p.phase,
                started: p.started.map(SimTime::from_nanos),
                ready_transition: p.ready_transition.map(SimTime::from_nanos),
            })
            .collect()
    }

    /// Pools as the Kubernetes API shows them.
    pub fn pool_views(&self) -> Vec<PoolView> {
        self.prepared
            .pools
            .iter()
            .enumerate()
            .map(|(number, pool)| PoolView {
                name: pool.name.clone(),
                hardware: pool.hardware,
                counts: self.cluster.counts(number),
                cpus: pool.config.cpus,
                limits: pool.config.limits,
            })
            .collect()
    }

    /// What those outside tell something, and the time, nanoseconds; [`Simulation::told`] comes after.
    pub(crate) fn parts(&mut self) -> (&mut Cluster, &mut Fleet, &mut EventQueue, u64) {
        (&mut self.cluster, &mut self.fleet, &mut self.events, self.now)
    }

    /// Something was told from outside: requests may have ended with a server.
    pub(crate) fn told(&mut self) {
        self.drain_records();
    }

    /// Begins to scrape `pod`, if it is ready and nobody does.
    pub(crate) fn discover(&mut self, pod: u64) {
        if self.cluster.pod(pod).is_some_and(|p| p.is_ready()) {
            self.telemetry.discover(pod, self.now, &mut self.events);
        }
    }

    /// Brings the server of `pod` to now.
    pub(crate) fn settle(&mut self, pod: u64) {
        if let Some(slot) = self.cluster.pod(pod).and_then(|p| p.slot) {
            self.fleet.advance(slot, self.now);
            self.drain_records();
        }
    }

    /// Brings everything to now.
    pub(crate) fn settle_all(&mut self) {
        self.fleet.advance_all(self.now);
        self.drain_records();
    }

    /// [`Simulation::sample`], if its server answers.
    pub(crate) fn alive_sample(&self, pod: u64, last: Last) -> Option<(PodSample, Last)> {
        let slot = self.cluster.pod(pod).and_then(|p| p.slot)?;
        self.fleet.server(slot).is_alive().then(|| self.sample(pod, last)).flatten()
    }

    /// Sets the replicas of a pool, within its limits; the number set. The only way to change it.
    pub fn scale(&mut self, pool: usize, wanted: u32) -> Result<u32, ScaleRefused> {
        let current = self.cluster.counts(pool).desired;
        let target = self.limiters[pool].apply(SimTime::from_nanos(self.now), current, wanted);
        self.cluster.scale(pool, target, self.now, &mut self.fleet, &mut self.events)?;
        self.drain_records();
        Ok(target)
    }

    /// Changes where requests go.
    pub fn place(&mut self, placement: Placement) {
        self.fleet.set_placement(placement);
        // Endpoints that nobody was sent to may now be there for those who wait.
        self.cluster.release(self.now, &mut self.fleet, &mut self.events);
        self.drain_records();
    }

    /// Pod numbers of a pool.
    pub fn counts(&self, pool: usize) -> PodCounts {
        self.cluster.counts(pool)
    }

    /// A pool's meter.
    pub fn meter(&self, pool: usize) -> Meter {
        self.cluster.meter(pool, self.now)
    }

    /// Busy nanoseconds of the servers of a pool, those that are no more included.
    pub fn busy_ns(&self, pool: usize) -> u128 {
        let running: u128 = self
            .cluster
            .pods()
            .filter(|p| p.pool == pool)
            .filter_map(|p| p.slot)
            .map(|slot| self.fleet.server(slot))
            .filter(|server| server.is_alive())
            .map(|server| u128::from(server.busy_ns(self.now)))
            .sum();
        running + self.cluster.meter(pool, self.now).retired_busy_ns
    }

    /// Requests waiting, and requests held in all, in a pool.
    pub fn held(&self, pool: usize) -> (usize, usize) {
        let servers = self.cluster.pods().filter(|p| p.pool == pool).filter_map(|p| p.slot);
        servers.map(|s| self.fleet.server(s)).fold((0, 0), |(q, o), s| (q + s.queued(), o + s.outstanding()))
    }
}

fn take_visible<T>(waiting: &mut Vec<(u64, T)>, now: u64, mut take: impl FnMut(T)) {
    // Lags may change, so later samples can be visible first; order of taking is order of scraping.
    let (visible, hidden): (Vec<_>, Vec<_>) = std::mem::take(waiting).into_iter().partition(|(at, _)| *at <= now);
    *waiting = hidden;
    visible.into_iter().for_each(|(_, sample)| take(sample));
}

impl Telemetry {
    /// Begins to scrape a pod, at a phase of its own.
    fn discover(&mut self, pod: u64, now: u64, events: &mut EventQueue) {
        if !self.on || self.last.contains_key(&pod) {
            return;
        }
        self.last.insert(pod, Last { at: now, ..Last::default() });
        let phase = nanos_from_secs(self.rng.random::<f64>() * self.interval as f64 * 1e-9);
        events.push(now.saturating_add(phase.max(1)), Event::Scrape { pod });
    }
}
