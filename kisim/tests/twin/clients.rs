//! Whole simulations against the twin: closed-loop users, open-loop clients with patience, and retries, before pods
//! that stay. What clients do is modelled anew here; where pods are is read from the cluster at the start, and open
//! arrivals are the traffic generator's.

use std::collections::BTreeMap;
use std::path::Path;

use kisim::cluster::Phase;
use kisim::distribution::TimeDistribution;
use kisim::fleet::Placement;
use kisim::ledger::{Outcome, RequestRecord};
use kisim::prepared::Prepared;
use kisim::profile::Hardware;
use kisim::random::{Purpose, Stream, stream};
use kisim::scenario::Scenario;
use kisim::simulation::{Simulation, Stop};
use kisim::time::nanos_from_secs;
use kisim::traffic::Traffic;
use proptest::prelude::*;
use rand::RngExt;

use crate::model::{Kind, Queueing, Step, Twin};
use crate::server::{Pending, Rules};

/// What clients do, in the order in which they do it within an instant: hear of outcomes (in the order in which those
/// came about), lose patience (in the order of sending), try again (in the order in which they made up their minds),
/// come and go, and send for the first time (by number).
const HEAR: Kind = 1;
const PATIENCE: Kind = 2;
const AGAIN: Kind = 3;
const CROWD: Kind = 4;
const SEND: Kind = 5;

/// When the warm-up ends, where there is one: at an instant of its own.
const WARM_UP: u64 = 1_300_700_000;

/// A request somebody sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    user: Option<usize>,
    attempt: u32,
    /// Whether its client still waits.
    waiting: bool,
}

/// Everybody who sends requests.
struct Crowd {
    twin: Twin,
    overhead: u64,
    patience: Option<u64>,
    retries: Option<kisim::scenario::Retries>,
    retry_rng: Stream,
    think: TimeDistribution,
    think_rng: Stream,
    /// (when, how many users).
    schedule: Vec<(u64, u32)>,
    wanted: u32,
    /// By user, whether they are there.
    present: Vec<bool>,
    /// By tag.
    sent: Vec<Sent>,
    /// Outcomes somebody hears of: tag and whether it is an answer.
    heard: Vec<(u64, bool)>,
    /// Further attempts: whose and which.
    again: Vec<(Option<usize>, u32)>,
    /// How many records the crowd has taken note of.
    noted: usize,
    retried: u64,
    closed: bool,
}

impl Crowd {
    /// Takes note of what ended: its client hears of it a little later.
    fn note(&mut self) {
        for record in self.twin.records[self.noted..].to_vec() {
            let number = self.heard.len() as u64;
            self.heard.push((record.tag, record.outcome == Outcome::Completed));
            self.twin.push(record.finished + self.overhead, HEAR, number);
        }
        self.noted = self.twin.records.len();
    }

    fn run(&mut self, end: u64) {
        loop {
            match self.twin.step(Some(end)) {
                Step::Woke => {}
                Step::Due { time, kind: HEAR, number } => {
                    let (tag, answered) = self.heard[number as usize];
                    self.settle(tag, answered, time);
                }
                Step::Due { time, kind: PATIENCE, number } => self.settle(number, false, time),
                Step::Due { time, kind: AGAIN, number } => {
                    let (user, attempt) = self.again[number as usize];
                    self.retried += 1;
                    self.send(user, attempt, time);
                }
                Step::Due { time, kind: CROWD, number } => {
                    self.wanted = self.schedule[number as usize].1;
                    for user in 0..self.wanted as usize {
                        if self.present.len() <= user {
                            self.present.push(false);
                        }
                        if !self.present[user] {
                            self.present[user] = true;
                            self.twin.push(time, SEND, user as u64);
                        }
                    }
                }
                Step::Due { time, number, .. } if self.closed => {
                    let user = number as usize;
                    if number < u64::from(self.wanted) {
                        self.send(Some(user), 1, time);
                    } else {
                        self.present[user] = false;
                    }
                }
                Step::Due { time, .. } => self.send(None, 1, time),
                Step::Over => return,
            }
            self.note();
        }
    }

    fn send(&mut self, user: Option<usize>, attempt: u32, now: u64) {
        let tag = self.sent.len() as u64;
        self.sent.push(Sent { user, attempt, waiting: true });
        if let Some(patience) = self.patience {
            self.twin.push(now + patience, PATIENCE, tag);
        }
        self.twin.arrive(Pending { tag, sent: now });
    }

    /// The client of request `tag` stops waiting, if it still does.
    fn settle(&mut self, tag: u64, answered: bool, now: u64) {
        let Sent { user, attempt, waiting } = self.sent[tag as usize];
        self.sent[tag as usize].waiting = false;
        if !waiting {
            return;
        }
        if let Some(retries) = self.retries.as_ref().filter(|retries| !answered && attempt < retries.attempts) {
            let nominal = retries.back_off.as_secs_f64() * retries.multiplier.powi(attempt as i32 - 1);
            let jitter = 1.0 + retries.jitter * (2.0 * self.retry_rng.random::<f64>() - 1.0);
            let number = self.again.len() as u64;
            self.again.push((user, attempt + 1));
            self.twin.push(now + nanos_from_secs(nominal * jitter), AGAIN, number);
        } else if let Some(user) = user {
            let think = self.think.sample(&mut self.think_rng);
            self.twin.push(now + think, SEND, user as u64);
        }
    }
}

/// A scenario in few words.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    /// Users over time and the mean time they think (exponential or constant), or requests a second.
    users: Option<(Vec<(u64, u32)>, u64, bool)>,
    rate: u32,
    timeout_ms: Option<u64>,
    /// Attempts, back-off in ms, multiplier, jitter.
    retries: Option<(u32, u64, f64, f64)>,
    routing: &'static str,
    placement: &'static str,
    /// Requests that the activator holds, if there is one.
    activator: Option<usize>,
    gpu_pods: u32,
    cpu_pods: Option<u32>,
    max_batch: usize,
    delay_ms: u64,
    preferred: Vec<usize>,
    queue_limit: usize,
    queue_timeout_ms: Option<u64>,
    instances: usize,
    sharing: &'static str,
    warm_up: bool,
}

impl Plan {
    fn toml(&self) -> String {
        let traffic = match &self.users {
            Some((schedule, think, constant)) => {
                let steps: Vec<String> = schedule.iter().map(|(at, users)| format!("[\"{at}ms\", {users}]")).collect();
                let think = match constant {
                    true => format!("{{ distribution = \"constant\", value = \"{think}ms\" }}"),
                    false => format!("{{ distribution = \"exponential\", mean = \"{think}ms\" }}"),
                };
                format!("kind = \"closed\"\nusers = [{}]\nthink = {think}", steps.join(", "))
            }
            None => format!("kind = \"open\"\nrate = {{ shape = \"constant\", rate = {}.0 }}", self.rate),
        };
        let timeout = self.timeout_ms.map_or(String::new(), |ms| format!("timeout = \"{ms}ms\""));
        let retries = self.retries.map_or(String::new(), |(attempts, back_off, multiplier, jitter)| {
            format!(
                "retries = {{ attempts = {attempts}, back_off = \"{back_off}ms\", multiplier = {multiplier:?}, \
                 jitter = {jitter:?} }}"
            )
        });
        let queue_timeout = self.queue_timeout_ms.map_or(String::new(), |ms| format!("queue_timeout = \"{ms}ms\""));
        let pool = |name: &str, profile: &str, pods: u32, max_batch: usize, preferred: &[usize], sharing: &str| {
            format!(
                "[pools.{name}]\nprofile = \"{profile}\"\ninitial_replicas = {pods}\n\
                 limits = {{ min_replicas = 0, max_replicas = 20 }}\nsharing = {sharing}\n[pools.{name}.batcher]\n\
                 max_batch = {max_batch}\nmax_queue_delay = \"{}ms\"\npreferred_batch_sizes = {preferred:?}\n\
                 queue_limit = {}\ninstances = {}\n{queue_timeout}\n",
                self.delay_ms, self.queue_limit, self.instances,
            )
        };
        let gpu_profile = "resnet50-onnx-trt-fp16-t4";
        let gpu = pool("gpu", gpu_profile, self.gpu_pods, self.max_batch, &self.preferred, self.sharing);
        let exclusive = "{ mode = \"exclusive\" }";
        let cpu_profile = "resnet50-torch-fp32-i7-12700h";
        let cpu = self.cpu_pods.map(|pods| pool("cpu", cpu_profile, pods, self.max_batch.min(4), &[], exclusive));
        format!(
            "name = \"twin\"\nduration = \"4s\"\nwarm_up = \"{}\"\n[traffic]\n{traffic}\n[client]\n{timeout}\n\
             {retries}\n[slo]\nlatency = \"20ms\"\n[service]\nrouting = \"{}\"\nplacement = {}\n{}\n[cluster]\n\
             nodes = [{{ name = \"node\", count = 2, cpus = 64.0, gpus = 3 }}]\n[telemetry]\n\
             scrape_interval = \"700ms\"\n[control]\ninterval = \"1s\"\n{gpu}{}",
            if self.warm_up { "1300700us" } else { "0s" },
            self.routing,
            self.placement,
            self.activator.map_or(String::new(), |limit| format!("activator = {{ queue_limit = {limit} }}")),
            cpu.unwrap_or_default(),
        )
    }

    fn rules(&self, prepared: &Prepared, pool: usize) -> Rules {
        let pool = &prepared.pools[pool];
        let gpu = pool.hardware == Hardware::Gpu;
        let ns = |ms: u64| ms * 1_000_000;
        let overhead = pool.spec.overhead_ns;
        Rules {
            max_batch: if gpu { self.max_batch } else { self.max_batch.min(4) },
            delay: ns(self.delay_ms),
            preferred: if gpu { self.preferred.clone() } else { vec![] },
            instances: self.instances,
            service: pool.spec.service_ns[1..].to_vec(),
            spread: pool.spec.spread,
            overhead,
            queue_limit: (self.queue_limit > 0).then_some(self.queue_limit),
            queue_deadline: self.queue_timeout_ms.into_iter().chain(self.timeout_ms).min().map(ns),
            response_deadline: self.timeout_ms.map(|timeout| ns(timeout) - overhead),
            sharing: pool.config.sharing.clone(),
            sharing_rule: pool.spec.rule.clone(),
        }
    }

    /// Runs it in the engine and in the twin, and compares.
    pub fn check(&self) -> Result<(), TestCaseError> {
        let scenario = Scenario::parse(&self.toml(), "a test", Path::new(".")).unwrap();
        let prepared = Prepared::new(scenario).unwrap();
        let mut simulation = Simulation::new(&prepared, self.seed, true).unwrap();
        let mut crowd = self.crowd(&prepared, &simulation);

        let mut in_flight_at_warm_up = 0;
        let mut records = Vec::new();
        loop {
            let stop = simulation.run().unwrap();
            records.extend(simulation.take_log());
            let ledger = &simulation.fleet().sink.ledger;
            let in_flight = simulation.fleet().in_flight() as u64;
            prop_assert_eq!(ledger.arrived, ledger.ended() + in_flight, "at {:?}", stop);
            match stop {
                Stop::WarmUpOver => in_flight_at_warm_up = in_flight,
                Stop::End => break,
                Stop::Step | Stop::Control | Stop::Row => {}
            }
        }
        crowd.run(prepared.end);

        let mut tags: Vec<u64> = records.iter().map(|record| record.tag).collect();
        tags.sort_unstable();
        prop_assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "two requests with one tag");
        let ours = without_tags(records);
        let theirs = without_tags(std::mem::take(&mut crowd.twin.records));
        for (number, (engine, twin)) in ours.iter().zip(&theirs).enumerate() {
            prop_assert_eq!(engine, twin, "record {}: engine left, twin right", number);
        }
        prop_assert_eq!(ours.len(), theirs.len());
        prop_assert_eq!(simulation.fleet().in_flight(), crowd.twin.in_flight());
        prop_assert_eq!(simulation.retried(), if self.retries.is_some() { crowd.retried } else { 0 });
        if !self.warm_up {
            prop_assert_eq!(simulation.fleet().sink.ledger.arrived, crowd.twin.arrived);
        } else {
            let after = theirs.iter().filter(|record| record.finished > WARM_UP).count();
            prop_assert_eq!(simulation.fleet().sink.ledger.ended(), after as u64);
            let earlier = theirs.iter().filter(|r| r.sent < WARM_UP && r.finished > WARM_UP).count();
            let never = crowd.twin.arrived - theirs.len() as u64;
            prop_assert!((earlier as u64..=earlier as u64 + never).contains(&in_flight_at_warm_up));
        }
        Ok(())
    }

    fn crowd(&self, prepared: &Prepared, simulation: &Simulation) -> Crowd {
        let pools = 0..prepared.pools.len();
        let rules: Vec<Rules> = pools.map(|pool| self.rules(prepared, pool)).collect();
        let of = |hardware| prepared.pools.iter().position(|pool| pool.hardware == hardware);
        let placement: Placement = prepared.scenario.service.placement;
        let routing = prepared.scenario.service.routing;
        let deadline = self.queue_timeout_ms.into_iter().chain(self.timeout_ms).min().map(|ms| ms * 1_000_000);
        let queueing = self.activator.map(|limit| Queueing { limit, deadline });
        let mut twin = Twin::new(&rules, routing, placement, of(Hardware::Gpu), of(Hardware::Cpu), queueing, self.seed);
        let mut gpus = BTreeMap::new();
        for pod in simulation.cluster().pods().filter(|pod| pod.phase == Phase::Ready) {
            let place = pod.place.expect("a ready pod has a place");
            let number = gpus.len() as u32;
            let gpu = *gpus.entry((place.node, place.gpu)).or_insert(number);
            let share = match pod.pool {
                pool if prepared.pools[pool].hardware == Hardware::Cpu => 1.0,
                _ if self.sharing.contains("mps") => 0.4,
                _ => 1.0,
            };
            let slot = twin.add(pod.pool, Some(gpu), share, stream(self.seed, Purpose::Service, pod.id));
            twin.announce(slot);
        }
        let schedule: Vec<(u64, u32)> =
            self.users.iter().flat_map(|(schedule, ..)| schedule).map(|&(ms, users)| (ms * 1_000_000, users)).collect();
        let think = match &prepared.scenario.traffic {
            Traffic::Closed { think, .. } => think.clone(),
            traffic => {
                let base = Path::new(".");
                let times = traffic.arrivals(base, prepared.seconds(), self.seed).unwrap().expect("open traffic");
                times.iter().enumerate().for_each(|(number, &time)| twin.push(time, SEND, number as u64));
                TimeDistribution::constant(kisim::config::Span::secs(1))
            }
        };
        schedule.iter().enumerate().for_each(|(number, &(time, _))| twin.push(time, CROWD, number as u64));
        Crowd {
            twin,
            overhead: prepared.pools.iter().map(|pool| pool.spec.overhead_ns).max().unwrap_or(0),
            patience: self.timeout_ms.map(|ms| ms * 1_000_000),
            retries: prepared.scenario.client.retries.clone(),
            retry_rng: stream(self.seed, Purpose::Retries, 0),
            think,
            think_rng: stream(self.seed, Purpose::Arrivals, 1),
            schedule,
            wanted: 0,
            present: Vec::new(),
            sent: Vec::new(),
            heard: Vec::new(),
            again: Vec::new(),
            noted: 0,
            retried: 0,
            closed: self.users.is_some(),
        }
    }
}

/// Engine and twin number requests differently; everything else must be the same.
fn without_tags(mut records: Vec<RequestRecord>) -> Vec<RequestRecord> {
    records.iter_mut().for_each(|record| record.tag = 0);
    records.sort_by_key(|record| (record.finished, record.sent, record.started, record.pool, record.outcome.name()));
    records
}

/// A random scenario.
pub fn plan() -> impl Strategy<Value = Plan> {
    let schedule = (1u32..60, prop::collection::vec((1u64..1_500, 0u32..60), 0..3)).prop_map(|(first, later)| {
        let mut at = 0;
        let later = later.into_iter().map(|(gap, users)| {
            at += gap;
            (at, users)
        });
        std::iter::once((0, first)).chain(later).collect::<Vec<_>>()
    });
    let users = prop_oneof![
        1 => Just(None),
        2 => (schedule, 5u64..200, any::<bool>()).prop_map(Some),
    ];
    let retries =
        prop_oneof![Just(None), (2u32..5, 1u64..80, 1.0..3.0, prop_oneof![Just(0.0), 0.0..1.0]).prop_map(Some)];
    let maybe = |range: std::ops::Range<u64>| prop_oneof![Just(None), range.prop_map(Some)];
    let routing = prop::sample::select(vec!["least_outstanding", "random", "round_robin", "power_of_two"]);
    let placement = prop::sample::select(vec![
        "{ rule = \"gpu_only\" }",
        "{ rule = \"gpu_first\", spill_queue = 2 }",
        "{ rule = \"weighted\", gpu_share = 0.7 }",
    ]);
    let sharing = prop::sample::select(vec![
        "{ mode = \"exclusive\" }",
        "{ mode = \"time_slicing\", replicas = 3 }",
        "{ mode = \"mps\", thread_percentage = 40 }",
    ]);
    // Without GPU pods requests wait, where there is an activator, or fail.
    let pods = (prop_oneof![1 => Just(0u32), 6 => 1u32..7], prop_oneof![Just(None), (1u32..4).prop_map(Some)]);
    let activator = prop_oneof![Just(None), Just(Some(10_000usize)), (0usize..20).prop_map(Some)];
    let batching = (1usize..=16).prop_flat_map(|max_batch| {
        (Just(max_batch), prop_oneof![Just(0u64), 1u64..8], prop::collection::vec(1..=max_batch, 0..3))
    });
    let server = (prop_oneof![Just(0usize), 1usize..20], maybe(3..80), 1usize..=3, sharing);
    (
        (any::<u64>(), users, 50u32..1_500, maybe(6..150), retries),
        (routing, placement, activator, pods, batching),
        server,
        any::<bool>(),
    )
        .prop_map(
            |(
                (seed, users, rate, timeout_ms, retries),
                (routing, placement, activator, pods, batching),
                server,
                warm_up,
            )| Plan {
                seed,
                users,
                rate,
                timeout_ms,
                retries,
                routing,
                placement,
                activator,
                gpu_pods: pods.0,
                cpu_pods: pods.1,
                max_batch: batching.0,
                delay_ms: batching.1,
                preferred: batching.2,
                queue_limit: server.0,
                queue_timeout_ms: server.1,
                instances: server.2,
                sharing: server.3,
                warm_up,
            },
        )
}
