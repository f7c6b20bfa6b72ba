//! Runs whose pods come and go as somebody outside says: a real cluster's pods get simulated servers.
//!
//! Traffic, routing, servers, books and summaries are those of [`crate::run::run`]; the simulated scheduler, start-up and
//! faults rest. Played back what a run's own cluster did, an [`ExternalRun`] gives that run's figures to the last bit
//! (tests/external.rs).
//!
//! ```
//! use std::time::Duration;
//! use kisim::external::ExternalRun;
//! use kisim::prepared::Prepared;
//! use kisim::run::Keep;
//! use kisim::scenario::Scenario;
//! use kisim::time::SimTime;
//!
//! let mut scenario = Scenario::builtin()?;
//! scenario.duration = Some(kisim::config::Span::secs(120));
//! let mut run = ExternalRun::new(&Prepared::new(scenario)?, 1, Keep::default())?;
//! // One pod, ready from the start; it goes after a minute.
//! let pod = run.create(0);
//! run.bind(pod, 0);
//! run.ready(pod);
//! run.advance(SimTime::ZERO + Duration::from_secs(60))?;
//! let sample = run.sample(pod).map(|sample| sample.counters.success);
//! assert!(sample.is_some_and(|answered| answered > 1_000));
//! run.delete(pod);
//! run.advance(SimTime::NEVER)?;
//! let requests = run.finish("nobody".into()).summary.requests;
//! assert!(requests.no_endpoint > requests.completed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::cluster::{Cluster, Phase, PodCounts};
use crate::events::EventQueue;
use crate::fleet::Fleet;
use crate::prepared::Prepared;
use crate::recorder::Recorder;
use crate::run::{Keep, Run, RunError, paper_baseline, silent};
use crate::simulation::{Last, Options, Simulation, Stop};
use crate::telemetry::PodSample;
use crate::time::SimTime;
use crate::window::Window;

/// Marks kept within the range over which utilisation is averaged.
const MARKS: u32 = 30;

/// A run whose pods come and go as somebody outside says.
///
/// What is told happens at [`ExternalRun::now`], after everything else of that instant and before the requests sent at
/// it. Before the first [`ExternalRun::advance`] that is the beginning: who is ready then has been for long, and clients
/// know. What makes no sense (a pod that is no more, or not yet bound) is without effect: those outside see their world
/// late and in pieces.
pub struct ExternalRun {
    simulation: Simulation,
    recorder: Recorder,
    window: Window,
    keep: Keep,
    seed: u64,
    began: bool,
    over: bool,
    marks: BTreeMap<u64, VecDeque<Last>>,
    marked: SimTime,
}

impl std::fmt::Debug for ExternalRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalRun").field("now", &self.now()).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl ExternalRun {
    /// A run of `prepared` with `seed`, without a pod so far. Nodes, faults and the autoscaler of the scenario are not
    /// played.
    ///
    /// # Errors
    /// If the scenario's traffic cannot be had, or its objective not be measured.
    pub fn new(prepared: &Arc<Prepared>, seed: u64, keep: Keep) -> Result<Self, RunError> {
        let reference = paper_baseline(prepared, seed, &silent)?;
        let options = Options { log: keep.requests, ..Options::default() };
        let simulation = Simulation::external(prepared, seed, &options)?;
        let recorder = Recorder::new(prepared, &simulation, reference, keep);
        let window = Window::new(4 * prepared.scenario.telemetry.window.0, &prepared.bounds);
        Ok(ExternalRun {
            simulation,
            recorder,
            window,
            keep,
            seed,
            began: false,
            over: false,
            marks: BTreeMap::new(),
            marked: SimTime::ZERO,
        })
    }

    /// What it runs.
    pub fn prepared(&self) -> &Arc<Prepared> {
        self.simulation.prepared()
    }

    /// The time.
    pub fn now(&self) -> SimTime {
        self.simulation.now()
    }

    /// Whether the scenario is over.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Goes on to `to`, or to the end of the scenario. Without effect where that is in the past.
    ///
    /// # Errors
    /// If the trace it replays is wrong further on.
    pub fn advance(&mut self, to: SimTime) -> Result<(), RunError> {
        self.began = true;
        while !self.over {
            let Some(stop) = self.simulation.run_until(to)? else { break };
            match stop {
                Stop::Control => {}
                Stop::WarmUpOver => {
                    self.simulation.take_log();
                    self.recorder.restart(&self.simulation);
                }
                Stop::Row => self.recorder.row(&self.simulation),
                Stop::Step => {
                    self.window.push(&self.simulation.scraped(), self.now());
                    self.recorder.step(&self.simulation, &self.window);
                }
                Stop::End => self.over = true,
            }
            self.keep_log();
        }
        self.keep_log();
        self.mark();
        Ok(())
    }

    fn keep_log(&mut self) {
        if self.keep.requests {
            self.recorder.requests.append(&mut self.simulation.take_log());
        }
    }

    /// Somebody set the replicas of pool number `pool`, for the reason given.
    pub fn replicas(&mut self, pool: usize, replicas: u32, reason: &str) {
        let before = self.simulation.counts(pool).desired;
        if before == replicas {
            return;
        }
        let began = self.began;
        let (cluster, ..) = self.simulation.parts();
        if !began {
            cluster.replicas_found(pool, replicas);
            return;
        }
        cluster.replicas_set(pool, replicas);
        self.recorder.set_from_outside(self.simulation.now(), pool, before, replicas, reason);
    }

    /// A pod of pool number `pool` was created; its number.
    pub fn create(&mut self, pool: usize) -> u64 {
        let (cluster, _, _, now) = self.simulation.parts();
        cluster.pod_created(pool, now)
    }

    /// The pod was bound to node number `node`, and costs from now on.
    pub fn bind(&mut self, pod: u64, node: usize) {
        self.tell(|cluster, _, _, now| cluster.pod_bound(pod, node, now));
    }

    /// Its container started.
    pub fn start(&mut self, pod: u64) {
        self.tell(|cluster, _, _, now| cluster.pod_started(pod, now));
    }

    /// Its Ready condition became true: it has a server.
    pub fn ready(&mut self, pod: u64) {
        self.tell(|cluster, fleet, events, now| cluster.pod_ready(pod, now, fleet, events));
        self.simulation.discover(pod);
        if !self.marks.contains_key(&pod)
            && let Some((_, mark)) = self.simulation.alive_sample(pod, Last::default())
        {
            self.marks.insert(pod, [mark].into());
        }
    }

    /// Its Ready condition became false; its container runs on.
    pub fn unready(&mut self, pod: u64) {
        self.tell(|cluster, _, events, now| cluster.pod_unready(pod, now, events));
    }

    /// Its container died, with all its server held. It is to start and turn ready again.
    pub fn crash(&mut self, pod: u64) {
        self.tell(|cluster, fleet, events, now| cluster.pod_crashed(pod, now, fleet, events));
        self.marks.remove(&pod);
    }

    /// It was deleted or evicted: its server finishes what it holds, within the scenario's grace period, and costs until
    /// then.
    pub fn delete(&mut self, pod: u64) {
        self.tell(|cluster, fleet, events, now| cluster.pod_deleted(pod, now, fleet, events));
    }

    /// It is gone at once, with all its server held.
    pub fn kill(&mut self, pod: u64) {
        self.tell(|cluster, fleet, events, now| cluster.pod_killed(pod, now, fleet, events));
    }

    fn tell(&mut self, what: impl FnOnce(&mut Cluster, &mut Fleet, &mut EventQueue, u64)) {
        if !self.over {
            let (cluster, fleet, events, now) = self.simulation.parts();
            what(cluster, fleet, events, now);
            self.simulation.told();
        }
    }

    /// Where the pod is in its life; `None` once it is no more, its draining included.
    pub fn phase(&self, pod: u64) -> Option<Phase> {
        self.simulation.cluster().pod(pod).map(|p| p.phase)
    }

    /// Pod numbers of pool number `pool`.
    pub fn counts(&self, pool: usize) -> PodCounts {
        self.simulation.counts(pool)
    }

    /// What the pod's exporters say now; `None` where nothing answers. Utilisation is that of the last scrape interval
    /// of the scenario, whoever asks how often.
    pub fn sample(&mut self, pod: u64) -> Option<PodSample> {
        self.simulation.settle(pod);
        let interval = self.prepared().scenario.telemetry.scrape_interval.0;
        let from = self.now().saturating_sub(interval).as_nanos();
        let marks = self.marks.get(&pod)?;
        let since = marks.iter().rev().find(|mark| mark.at <= from).or(marks.front()).copied()?;
        self.simulation.alive_sample(pod, since).map(|(sample, _)| sample)
    }

    /// Remembers how busy servers have been so far.
    fn mark(&mut self) {
        let interval = self.prepared().scenario.telemetry.scrape_interval.0;
        let now = self.now();
        if now.since(self.marked) < interval / MARKS {
            return;
        }
        self.marked = now;
        let from = now.saturating_sub(interval).as_nanos();
        let pods: Vec<u64> = self.simulation.cluster().pods().filter(|p| p.slot.is_some()).map(|p| p.id).collect();
        self.marks.retain(|id, _| pods.binary_search(id).is_ok());
        for id in pods {
            self.simulation.settle(id);
            let Some((_, mark)) = self.simulation.alive_sample(id, Last::default()) else { continue };
            let marks = self.marks.entry(id).or_default();
            marks.push_back(mark);
            // One at or before the beginning of the range has to stay.
            while marks.get(1).is_some_and(|second| second.at <= from) {
                marks.pop_front();
            }
        }
    }

    /// The figures so far, or of the whole if it is over; `who` decided on the pods.
    pub fn finish(mut self, who: String) -> Run {
        self.simulation.settle_all();
        self.keep_log();
        self.recorder.step(&self.simulation, &self.window);
        self.recorder.row(&self.simulation);
        self.recorder.finish(&self.simulation, who, self.seed)
    }
}
