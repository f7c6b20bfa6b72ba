//! The core of a twin: from what the API shows of pods to what becomes of their simulated servers. No clock, no I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use kisim::external::ExternalRun;
use kisim::prepared::Prepared;
use kisim::profile::Hardware;
use kisim::run::{Keep, Run, RunError};
use kisim::telemetry::{Exposed, PodSample, expositions};
use kisim::time::SimTime;

use super::pods::PodState;

/// Why there are no metrics of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodMetricsError {
    /// Nobody knows it.
    #[error("no pod of this name is known")]
    Unknown,
    /// It has no server that runs: it starts, or its container died.
    #[error("the pod's server does not run")]
    NotRunning,
}

/// A pod that the API showed.
#[derive(Debug)]
struct Known {
    number: u64,
    pool: usize,
    /// As last shown.
    state: PodState,
}

/// A run whose pods are those of a real cluster.
#[derive(Debug)]
pub struct Twin {
    run: ExternalRun,
    namespace: String,
    speed: f64,
    bounds_ms: Vec<f64>,
    /// By UID.
    pods: BTreeMap<String, Known>,
    nodes: BTreeMap<String, usize>,
}

impl Twin {
    /// A twin of `prepared` with `seed`, without a pod so far, whose pods are in `namespace`. It is played `speed` times
    /// as fast as the scenario says.
    ///
    /// # Errors
    /// If the scenario's traffic cannot be had.
    pub fn new(
        prepared: &Arc<Prepared>,
        seed: u64,
        keep: Keep,
        namespace: &str,
        speed: f64,
    ) -> Result<Self, Box<RunError>> {
        Ok(Twin {
            run: ExternalRun::new(prepared, seed, keep).map_err(Box::new)?,
            namespace: namespace.to_owned(),
            speed,
            bounds_ms: prepared.bounds.iter().map(|&ns| ns as f64 / 1e6 / speed).collect(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
        })
    }

    /// The time of the scenario.
    pub fn now(&self) -> SimTime {
        self.run.now()
    }

    /// Whether the scenario is over.
    pub fn is_over(&self) -> bool {
        self.run.is_over()
    }

    /// Goes on to `to`, a time of the scenario.
    ///
    /// # Errors
    /// If the trace it replays is wrong further on.
    pub fn advance(&mut self, to: SimTime) -> Result<(), Box<RunError>> {
        self.run.advance(to).map_err(Box::new)?;
        // Who is gone from the API keeps its server until that has drained.
        self.pods.retain(|_, known| self.run.phase(known.number).is_some());
        Ok(())
    }

    /// The target of pool number `pool` asks for so many replicas.
    pub fn replicas(&mut self, pool: usize, replicas: u32) {
        self.run.replicas(pool, replicas, "the API shows it");
    }

    /// The API shows a pod of pool number `pool` like this now.
    pub fn pod(&mut self, pool: usize, state: PodState) {
        let Some(known) = self.pods.get_mut(&state.uid) else {
            if state.ended {
                return;
            }
            let number = self.run.create(pool);
            let before = PodState { uid: state.uid.clone(), restarts: state.restarts, ..PodState::default() };
            self.pods.insert(state.uid.clone(), Known { number, pool, state: before });
            return self.pod(pool, state);
        };
        let before = std::mem::replace(&mut known.state, state);
        let (number, now) = (known.number, &known.state);
        if let Some(node) = &now.node {
            let next = self.nodes.len();
            let node = *self.nodes.entry(node.clone()).or_insert(next);
            self.run.bind(number, node);
        }
        if now.restarts > before.restarts {
            // Whatever it has shown in between: the process of before is no more.
            self.run.crash(number);
        }
        if now.started {
            self.run.start(number);
        }
        match (before.ready && now.restarts == before.restarts, now.ready) {
            (false, true) => self.run.ready(number),
            (true, false) if !now.deleting && !now.ended => self.run.unready(number),
            _ => {}
        }
        if now.ended {
            self.run.kill(number);
        } else if now.deleting && !before.deleting {
            self.run.delete(number);
        }
    }

    /// The API shows a pod no longer. `seen`: its end was seen, rather than found out about afterwards.
    ///
    /// A pod that was being deleted drains, however early the API forgot it: what a fake kubelet does not wait for, a
    /// real one does. One that was not, and whose end was seen, was deleted by force: it is killed.
    pub fn pod_gone(&mut self, uid: &str, seen: bool) {
        if let Some(known) = self.pods.get_mut(uid) {
            match known.state.deleting || !seen {
                true => self.run.delete(known.number),
                false => self.run.kill(known.number),
            }
            known.state.deleting = true;
        }
    }

    /// The API shows these pods of pool number `pool`, and no others.
    pub fn pods_are(&mut self, pool: usize, mut states: Vec<PodState>) {
        let gone: Vec<String> = self
            .pods
            .iter()
            .filter(|(uid, known)| known.pool == pool && !states.iter().any(|state| state.uid == **uid))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            self.pod_gone(&uid, false);
        }
        states.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        for state in states {
            self.pod(pool, state);
        }
    }

    /// Pods of pool number `pool` whose server takes requests.
    pub fn ready(&self, pool: usize) -> u32 {
        self.run.counts(pool).ready
    }

    /// The metrics of all pods, in the Prometheus text format.
    pub fn metrics(&mut self) -> String {
        let names: Vec<String> = self.pods.keys().cloned().collect();
        self.render(&names)
    }

    /// The metrics of the pod of this name.
    ///
    /// # Errors
    /// If it is not known, or has no server that runs.
    pub fn pod_metrics(&mut self, name: &str) -> Result<String, PodMetricsError> {
        // Of several of one name, as a StatefulSet's, all but the last are on their way out.
        let known = self.pods.iter().filter(|(_, known)| known.state.name == name);
        let uid = known.max_by_key(|(_, known)| known.number).map(|(uid, _)| uid.clone());
        let text = self.render(&[uid.ok_or(PodMetricsError::Unknown)?]);
        if text.is_empty() { Err(PodMetricsError::NotRunning) } else { Ok(text) }
    }

    fn render(&mut self, uids: &[String]) -> String {
        let speed = self.speed;
        let samples: Vec<(&Known, PodSample)> = uids
            .iter()
            .filter_map(|uid| {
                let known = self.pods.get(uid)?;
                let sample = self.run.sample(known.number)?;
                Some((known, in_wall_time(sample, speed)))
            })
            .collect();
        let prepared = self.run.prepared();
        let exposed: Vec<Exposed<'_>> = samples
            .iter()
            .map(|(known, sample)| {
                let pool = &prepared.pools[known.pool];
                let labels = vec![
                    ("namespace", self.namespace.as_str()),
                    ("pod", known.state.name.as_str()),
                    ("model", pool.config.profile.as_str()),
                ];
                Exposed { sample, labels, gpu: pool.hardware == Hardware::Gpu }
            })
            .collect();
        expositions(&exposed, &self.bounds_ms)
    }

    /// The figures so far, in the scenario's time; `who` scaled it.
    pub fn finish(self, who: String) -> Run {
        self.run.finish(who)
    }
}

/// What a service would have counted that is `speed` times as fast.
fn in_wall_time(mut sample: PodSample, speed: f64) -> PodSample {
    if speed != 1.0 {
        let c = &mut sample.counters;
        for ns in [&mut c.latency_ns, &mut c.queue_ns, &mut c.compute_ns, &mut c.busy_ns, &mut c.dropped_ns] {
            *ns = (*ns as f64 / speed) as u64;
        }
        sample.in_flight_s /= speed;
    }
    sample
}
