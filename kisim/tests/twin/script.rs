//! Scripts of arrivals and cluster actions, and how the engine and the twin carry them out.

use kisim::activator::ActivatorRules;
use kisim::fleet::{Fleet, FleetSetup, Placement};
use kisim::histogram::Histogram;
use kisim::ledger::{Ledger, Outcome, RequestRecord, Sink};
use kisim::random::{Purpose, stream};
use kisim::router::Routing;
use kisim::server::Server;

use crate::model::{Kind, Queueing, Step, Twin};
use crate::server::{BOUNDS, Pending, Rules, Tally};

/// The latency objective, nanoseconds.
const OBJECTIVE: u64 = 1_500;
/// A cluster action; the number is its place in the script.
const ACTION: Kind = 1;
/// A request; the number is its tag.
const ARRIVAL: Kind = 2;

/// A pod to be.
#[derive(Clone, Debug)]
pub struct Pod {
    pub pool: usize,
    pub gpu: u32,
    pub speed: f64,
}

/// Something happens. Servers are picked from those that exist, by number modulo how many there are.
#[derive(Clone, Debug)]
pub enum Action {
    Arrivals(u8),
    Add { pod: Pod, announced: bool },
    Announce(usize),
    Withdraw(usize),
    RemoveIfEmpty(usize),
    Kill(usize),
    KillAndRemove(usize),
    Restart(usize),
    SetSpeed(usize, f64),
    Place(Placement),
    Release,
    Look(usize),
    LookAtAll,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    pub rules: Vec<Rules>,
    pub gpu_pool: Option<usize>,
    pub cpu_pool: Option<usize>,
    pub routing: Routing,
    pub placement: Placement,
    pub queueing: Option<Queueing>,
    pub pods: Vec<Pod>,
    /// What happens how long after what went before.
    pub steps: Vec<(u64, Action)>,
}

/// A server as one sees it: at what time, which, queued, in service, busy instances, counters.
type Sight = (u64, u32, usize, usize, usize, Tally);

/// What came of a run.
#[derive(Debug, PartialEq)]
pub struct Story {
    /// By tag.
    pub records: Vec<RequestRecord>,
    pub sights: Vec<Sight>,
    /// What the activator told, and whether it had to try again, in the order in which it was asked.
    pub told: Vec<Option<(u64, u64, u64)>>,
    pub tried_again: Vec<bool>,
    /// Arrived, completed, queue full, timed out, killed, no endpoint, late, samples of latency and of queueing time.
    pub counts: [u64; 9],
    pub latency_sum: u64,
    pub queue_sum: u64,
    pub in_flight: usize,
}

impl Script {
    /// Actions and arrivals with their times; of an instant, actions first.
    fn timeline(&self) -> (Vec<(u64, Action)>, Vec<u64>, u64) {
        let mut now = 0;
        let (mut actions, mut arrivals) = (Vec::new(), Vec::new());
        for (gap, action) in &self.steps {
            now += gap;
            match action {
                Action::Arrivals(count) => arrivals.extend(std::iter::repeat_n(now, usize::from(*count))),
                action => actions.push((now, action.clone())),
            }
        }
        // A last look at everybody in the middle of what is still going on.
        now += 700;
        actions.push((now, Action::LookAtAll));
        (actions, arrivals, now + 1)
    }

    /// Runs it in the engine. `clients_wait` asks for servers in time order.
    pub fn run_engine(&self, clients_wait: bool) -> Story {
        let setup = FleetSetup {
            specs: self.rules.iter().enumerate().map(|(pool, rules)| rules.spec(pool)).collect(),
            routing: self.routing,
            placement: self.placement,
            gpu_pool: self.gpu_pool,
            cpu_pool: self.cpu_pool,
            clients_wait,
            activator: self.queueing.map(|queueing| ActivatorRules {
                queue_limit: queueing.limit,
                deadline: queueing.deadline.unwrap_or(u64::MAX),
            }),
        };
        let sink = Sink::new(OBJECTIVE, &BOUNDS, true);
        let fleet = Fleet::new(setup, sink, stream(self.seed, Purpose::Routing, 0));
        let mut run = EngineRun {
            script: self,
            fleet,
            live: Vec::new(),
            born: 0,
            sights: Vec::new(),
            told: Vec::new(),
            tried_again: Vec::new(),
        };
        for pod in &self.pods {
            run.act(0, &Action::Add { pod: pod.clone(), announced: true });
        }
        let (actions, arrivals, end) = self.timeline();
        let mut actions = actions.iter().peekable();
        let mut tag = 0;
        while tag < arrivals.len() {
            while let Some((time, action)) = actions.next_if(|(time, _)| *time <= arrivals[tag]) {
                run.act(*time, action);
            }
            // All up to the next action at once.
            let until = actions.peek().map_or(u64::MAX, |(time, _)| *time);
            let count = arrivals[tag..].iter().take_while(|&&sent| sent < until).count();
            run.fleet.offer_all(&arrivals[tag..tag + count], tag as u64);
            tag += count;
        }
        actions.for_each(|(time, action)| run.act(*time, action));
        run.fleet.advance_all(end);
        let mut records = Vec::new();
        run.fleet.sink.take_records(&mut records);
        records.sort_by_key(|record| record.tag);
        let ledger = &run.fleet.sink.ledger;
        Story {
            records,
            sights: run.sights,
            told: run.told,
            tried_again: run.tried_again,
            counts: counts(ledger),
            latency_sum: sum(&ledger.latency),
            queue_sum: sum(&ledger.queue),
            in_flight: run.fleet.in_flight(),
        }
    }

    /// Runs it in the twin.
    pub fn run_twin(&self) -> Story {
        let twin = Twin::new(
            &self.rules,
            self.routing,
            self.placement,
            self.gpu_pool,
            self.cpu_pool,
            self.queueing,
            self.seed,
        );
        let mut run = TwinRun {
            script: self,
            twin,
            live: Vec::new(),
            born: 0,
            sights: Vec::new(),
            told: Vec::new(),
            tried_again: Vec::new(),
        };
        for pod in &self.pods {
            run.act(0, &Action::Add { pod: pod.clone(), announced: true });
        }
        let (actions, arrivals, end) = self.timeline();
        for (number, (time, _)) in actions.iter().enumerate() {
            run.twin.push(*time, ACTION, number as u64);
        }
        for (tag, &sent) in arrivals.iter().enumerate() {
            run.twin.push(sent, ARRIVAL, tag as u64);
        }
        loop {
            match run.twin.step(Some(end)) {
                Step::Woke => {}
                Step::Due { time, kind: ACTION, number } => run.act(time, &actions[number as usize].1),
                Step::Due { time, number, .. } => run.twin.arrive(Pending { tag: number, sent: time }),
                Step::Over => break,
            }
        }
        let mut records = std::mem::take(&mut run.twin.records);
        records.sort_by_key(|record| record.tag);
        let completed: Vec<&RequestRecord> = records.iter().filter(|r| r.outcome == Outcome::Completed).collect();
        let latency = |record: &RequestRecord| record.finished - record.sent + self.rules[record.pool].overhead;
        let late = completed.iter().filter(|record| latency(record) > OBJECTIVE).count() as u64;
        let of = |name: &str| records.iter().filter(|record| record.outcome.name() == name).count() as u64;
        let done = completed.len() as u64;
        let (full, expired, killed, nobody) = (of("queue_full"), of("timed_out"), of("killed"), of("no_endpoint"));
        Story {
            counts: [run.twin.arrived, done, full, expired, killed, nobody, late, done, done],
            latency_sum: completed.iter().map(|record| latency(record)).sum(),
            queue_sum: completed.iter().map(|record| record.started - record.sent).sum(),
            sights: run.sights,
            told: run.told,
            tried_again: run.tried_again,
            in_flight: run.twin.in_flight(),
            records,
        }
    }
}

/// The sum of all samples, which a histogram keeps exactly.
fn sum(histogram: &Histogram) -> u64 {
    (histogram.mean().unwrap_or(0.0) * histogram.count() as f64).round() as u64
}

fn counts(ledger: &Ledger) -> [u64; 9] {
    assert_eq!(ledger.ended(), ledger.completed + ledger.failed());
    [
        ledger.arrived,
        ledger.completed,
        ledger.queue_full,
        ledger.timed_out,
        ledger.killed,
        ledger.no_endpoint,
        ledger.late,
        ledger.latency.count(),
        ledger.queue.count(),
    ]
}

/// The server number `number` of those that exist.
fn pick(live: &[u32], number: usize) -> Option<u32> {
    (!live.is_empty()).then(|| live[number % live.len()])
}

struct EngineRun<'a> {
    script: &'a Script,
    fleet: Fleet,
    /// Slots in use, in order of creation.
    live: Vec<u32>,
    born: u64,
    sights: Vec<Sight>,
    told: Vec<Option<(u64, u64, u64)>>,
    tried_again: Vec<bool>,
}

impl EngineRun<'_> {
    /// Does to the engine what the cluster does, advancing only those servers that the cluster advances.
    fn act(&mut self, now: u64, action: &Action) {
        let fleet = &mut self.fleet;
        let picked = |number: &usize| pick(&self.live, *number);
        match action {
            Action::Arrivals(_) => {}
            Action::Add { pod, announced } => {
                let rng = stream(self.script.seed, Purpose::Service, self.born);
                let server = Server::new(fleet.spec(pod.pool), pod.speed, rng);
                let slot = fleet.add(pod.pool, server, Some(pod.gpu));
                if *announced {
                    fleet.add_endpoint(slot);
                    self.tried_again.push(fleet.release(now));
                }
                self.live.push(slot);
                self.born += 1;
            }
            Action::Announce(number) => {
                if let Some(slot) = picked(number) {
                    fleet.advance(slot, now);
                    fleet.add_endpoint(slot);
                    self.tried_again.push(fleet.release(now));
                }
            }
            Action::Withdraw(number) => {
                if let Some(slot) = picked(number) {
                    fleet.remove_endpoint(slot);
                }
            }
            Action::RemoveIfEmpty(number) => {
                if let Some(slot) = picked(number) {
                    fleet.advance(slot, now);
                    if fleet.server(slot).outstanding() == 0 {
                        fleet.remove(slot);
                        self.live.retain(|&live| live != slot);
                    }
                }
            }
            Action::Kill(number) => {
                if let Some(slot) = picked(number) {
                    fleet.kill(slot, now);
                }
            }
            Action::KillAndRemove(number) => {
                if let Some(slot) = picked(number) {
                    fleet.kill(slot, now);
                    fleet.remove(slot);
                    self.live.retain(|&live| live != slot);
                }
            }
            Action::Restart(number) => {
                if let Some(slot) = picked(number).filter(|&slot| !fleet.server(slot).is_alive()) {
                    fleet.restart(slot);
                }
            }
            Action::SetSpeed(number, speed) => {
                if let Some(slot) = picked(number) {
                    fleet.advance(slot, now);
                    fleet.set_speed(slot, *speed);
                }
            }
            Action::Place(placement) => {
                fleet.set_placement(*placement);
                self.tried_again.push(fleet.release(now));
            }
            Action::Release => self.tried_again.push(fleet.release(now)),
            Action::Look(number) => {
                if let Some(slot) = picked(number) {
                    fleet.advance(slot, now);
                    let sight = self.look(slot, now);
                    self.sights.push(sight);
                }
            }
            Action::LookAtAll => {
                fleet.advance_all(now);
                self.told.push(fleet.activator_sample(now).map(|told| (told.waiting, told.arrived, told.held_ns)));
                let sights: Vec<Sight> = self.live.iter().map(|&slot| self.look(slot, now)).collect();
                self.sights.extend(sights);
            }
        }
    }

    fn look(&self, slot: u32, now: u64) -> Sight {
        let server = self.fleet.server(slot);
        let c = &server.counters;
        let mut buckets = [0; BOUNDS.len() + 1];
        buckets.copy_from_slice(&c.buckets[..=BOUNDS.len()]);
        let tally = Tally {
            arrived: c.arrived,
            success: c.success,
            rejected: c.rejected,
            timed_out: c.timed_out,
            killed: c.killed,
            executions: c.executions,
            latency_ns: c.latency_ns,
            queue_ns: c.queue_ns,
            compute_ns: c.compute_ns,
            busy_ns: server.busy_ns(now),
            buckets,
        };
        assert_eq!(server.outstanding(), server.queued() + server.in_service());
        (now, slot, server.queued(), server.in_service(), server.busy(), tally)
    }
}

struct TwinRun<'a> {
    script: &'a Script,
    twin: Twin,
    live: Vec<u32>,
    born: u64,
    sights: Vec<Sight>,
    told: Vec<Option<(u64, u64, u64)>>,
    tried_again: Vec<bool>,
}

impl TwinRun<'_> {
    fn act(&mut self, now: u64, action: &Action) {
        let twin = &mut self.twin;
        let picked = |number: &usize| pick(&self.live, *number);
        match action {
            Action::Arrivals(_) => {}
            Action::Add { pod, announced } => {
                let rng = stream(self.script.seed, Purpose::Service, self.born);
                let slot = twin.add(pod.pool, Some(pod.gpu), pod.speed, rng);
                if *announced {
                    twin.announce(slot);
                    self.tried_again.push(twin.release(now));
                }
                self.live.push(slot);
                self.born += 1;
            }
            Action::Announce(number) => {
                if let Some(slot) = picked(number) {
                    twin.announce(slot);
                    self.tried_again.push(twin.release(now));
                }
            }
            Action::Withdraw(number) => picked(number).into_iter().for_each(|slot| twin.withdraw(slot)),
            Action::RemoveIfEmpty(number) => {
                if let Some(slot) = picked(number).filter(|&slot| twin.server(slot).outstanding() == 0) {
                    twin.remove(slot);
                    self.live.retain(|&live| live != slot);
                }
            }
            Action::Kill(number) => picked(number).into_iter().for_each(|slot| twin.kill(slot, now)),
            Action::KillAndRemove(number) => {
                if let Some(slot) = picked(number) {
                    twin.kill(slot, now);
                    twin.remove(slot);
                    self.live.retain(|&live| live != slot);
                }
            }
            Action::Restart(number) => {
                if let Some(slot) = picked(number).filter(|&slot| !twin.server(slot).alive) {
                    twin.server_mut(slot).restart();
                }
            }
            Action::SetSpeed(number, speed) => {
                picked(number).into_iter().for_each(|slot| twin.server_mut(slot).set_speed(*speed));
            }
            Action::Place(placement) => {
                twin.placement = *placement;
                self.tried_again.push(twin.release(now));
            }
            Action::Release => self.tried_again.push(twin.release(now)),
            Action::Look(number) => {
                if let Some(slot) = picked(number) {
                    let sight = self.look(slot, now);
                    self.sights.push(sight);
                }
            }
            Action::LookAtAll => {
                self.told.push(twin.activator(now));
                let sights: Vec<Sight> = self.live.iter().map(|&slot| self.look(slot, now)).collect();
                self.sights.extend(sights);
            }
        }
    }

    fn look(&self, slot: u32, now: u64) -> Sight {
        let server = self.twin.server(slot);
        (now, slot, server.queued(), server.in_service(), server.busy(), server.tally(now))
    }
}
