//! Recordings: what a loop was given, decision by decision, as JSON lines, so that it can be given again.
//!
//! The first line says what was scaled; each further line is one decision's [`Inputs`]. Every number comes back as it was,
//! so a replay decides as the loop did.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use kisim::cluster::{Phase, PodCounts};
use kisim::control::{PodView, PoolView};
use kisim::prepared::Prepared;
use kisim::telemetry::{ClusterSample, Counters, MAX_BUCKETS, PodSample, Scrape};
use kisim::time::SimTime;
use serde::{Deserialize, Serialize};

use crate::api::KIScaler;
use crate::control::Inputs;

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// What was scaled.
    pub scaler: KIScaler,
    /// Texts of profiles that are not built in, by pool.
    #[serde(default)]
    pub profiles: BTreeMap<String, String>,
}

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file.
    #[error("{file}: {reason}")]
    File {
        /// Its name.
        file: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A line that is none of a recording.
    #[error("{file}, line {line}: {reason}")]
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What was found and what was expected.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Nanoseconds since 1970.
    now: u64,
    /// Desired, scheduled, ready, draining, pending; by pool.
    pools: Vec<[u32; 5]>,
    pods: Vec<Pod>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    samples: Vec<Sample>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cluster: Vec<(u64, Vec<[u32; 5]>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failed: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<(u64, u64)>,
    /// Requests of each step before, where the policy was told of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recalled: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pod {
    id: u64,
    pool: usize,
    phase: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    at: u64,
    pod: u64,
    pool: usize,
    /// Arrived, success, rejected, timed out, executions, and nanoseconds of latency, queue and batches.
    counters: [u64; 8],
    /// Not cumulative; zeros at the end are left out.
    buckets: Vec<u64>,
    queued: u64,
    in_flight: u64,
    in_flight_s: f64,
    utilization: f64,
    cpu: f64,
}

const PHASES: [(Phase, &str); 8] = [
    (Phase::Pending, "Pending"),
    (Phase::Pulling, "Pulling"),
    (Phase::Loading, "Loading"),
    (Phase::Ready, "Ready"),
    (Phase::BackOff, "BackOff"),
    (Phase::Lost, "Lost"),
    (Phase::Draining, "Draining"),
    (Phase::Gone, "Gone"),
];

fn counts(counts: &PodCounts) -> [u32; 5] {
    [counts.desired, counts.scheduled, counts.ready, counts.draining, counts.pending]
}

fn counted([desired, scheduled, ready, draining, pending]: [u32; 5]) -> PodCounts {
    PodCounts { desired, scheduled, ready, draining, pending }
}

fn time(nanos: u64) -> SimTime {
    SimTime::from_nanos(nanos)
}

impl From<&PodSample> for Sample {
    fn from(sample: &PodSample) -> Sample {
        let c = &sample.counters;
        let used = c.buckets.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        Sample {
            at: sample.at.as_nanos(),
            pod: sample.pod,
            pool: sample.pool,
            counters: [
                c.arrived,
                c.success,
                c.rejected,
                c.timed_out,
                c.executions,
                c.latency_ns,
                c.queue_ns,
                c.compute_ns,
            ],
            buckets: c.buckets[..used].to_vec(),
            queued: sample.queued,
            in_flight: sample.in_flight,
            in_flight_s: sample.in_flight_s,
            utilization: sample.utilization,
            cpu: sample.cpu_utilization,
        }
    }
}

impl Sample {
    fn back(self) -> Result<PodSample, String> {
        let mut buckets = [0; MAX_BUCKETS];
        let found = self.buckets.len();
        let own = buckets.get_mut(..found);
        let own = own.ok_or_else(|| format!("found {found} buckets, expected at most {MAX_BUCKETS}"))?;
        own.copy_from_slice(&self.buckets);
        let [arrived, success, rejected, timed_out, executions, latency_ns, queue_ns, compute_ns] = self.counters;
        let counters = Counters {
            arrived,
            success,
            rejected,
            timed_out,
            executions,
            latency_ns,
            queue_ns,
            compute_ns,
            buckets,
            ..Counters::default()
        };
        Ok(PodSample {
            at: time(self.at),
            pod: self.pod,
            pool: self.pool,
            counters,
            queued: self.queued,
            in_flight: self.in_flight,
            in_flight_s: self.in_flight_s,
            utilization: self.utilization,
            cpu_utilization: self.cpu,
        })
    }
}

impl From<&Inputs> for Line {
    fn from(inputs: &Inputs) -> Line {
        let name = |phase: Phase| PHASES.iter().find(|(known, _)| *known == phase).map_or("", |(_, name)| name);
        let pod = |pod: &PodView| Pod {
            id: pod.id,
            pool: pod.pool,
            phase: name(pod.phase).to_owned(),
            started: pod.started.map(SimTime::as_nanos),
            ready: pod.ready_transition.map(SimTime::as_nanos),
        };
        let marks = |marks: &[(u64, SimTime)]| marks.iter().map(|&(pod, at)| (pod, at.as_nanos())).collect();
        let cluster = |sample: &ClusterSample| (sample.at.as_nanos(), sample.pools.iter().map(counts).collect());
        let scrape = &inputs.scrape;
        Line {
            now: inputs.now.as_nanos(),
            pools: inputs.pools.iter().map(|pool| counts(&pool.counts)).collect(),
            pods: inputs.pods.iter().map(pod).collect(),
            samples: scrape.pods.iter().map(Sample::from).collect(),
            cluster: scrape.cluster.iter().map(cluster).collect(),
            failed: marks(&scrape.failed),
            gone: marks(&scrape.gone),
            recalled: inputs.recalled.clone(),
        }
    }
}

impl Line {
    fn back(self, prepared: &Prepared) -> Result<Inputs, String> {
        if self.pools.len() != prepared.pools.len() {
            return Err(format!("found {} pools, expected {}", self.pools.len(), prepared.pools.len()));
        }
        let phase = |name: &str| {
            let known = PHASES.iter().find(|(_, known)| *known == name).map(|(phase, _)| *phase);
            known.ok_or_else(|| format!("found phase {name:?}, expected one of a pod"))
        };
        let pod = |pod: Pod| {
            Ok::<_, String>(PodView {
                id: pod.id,
                pool: pod.pool,
                phase: phase(&pod.phase)?,
                started: pod.started.map(time),
                ready_transition: pod.ready.map(time),
            })
        };
        let pool = |(own, numbers): (&kisim::prepared::PreparedPool, [u32; 5])| PoolView {
            name: own.name.clone(),
            hardware: own.hardware,
            counts: counted(numbers),
            cpus: own.config.cpus,
            limits: own.config.limits,
        };
        let cluster = |(at, pools): (u64, Vec<[u32; 5]>)| ClusterSample {
            at: time(at),
            pools: pools.into_iter().map(counted).collect(),
            activator: None,
        };
        let marks = |marks: Vec<(u64, u64)>| marks.into_iter().map(|(pod, at)| (pod, time(at))).collect();
        Ok(Inputs {
            now: time(self.now),
            pools: prepared.pools.iter().zip(self.pools).map(pool).collect(),
            pods: self.pods.into_iter().map(pod).collect::<Result<_, _>>()?,
            scrape: Scrape {
                pods: self.samples.into_iter().map(Sample::back).collect::<Result<_, _>>()?,
                cluster: self.cluster.into_iter().map(cluster).collect(),
                failed: marks(self.failed),
                gone: marks(self.gone),
            },
            obstacle: None,
            recalled: self.recalled,
        })
    }
}

/// Writes the first line.
///
/// # Errors
/// `out` fails.
pub fn write_header(out: &mut impl Write, header: &Header) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, header)?;
    writeln!(out)
}

/// Writes the line of one decision.
///
/// # Errors
/// `out` fails.
pub fn write(out: &mut impl Write, inputs: &Inputs) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &Line::from(inputs))?;
    writeln!(out)
}

/// A recording that is being read.
#[derive(Debug)]
pub struct Reader<R> {
    file: String,
    input: R,
    line: usize,
}

impl<R: BufRead> Reader<R> {
    /// Begins to read; `file` names it in errors.
    ///
    /// # Errors
    /// The first line is no header of this version.
    pub fn new(input: R, file: &str) -> Result<(Reader<R>, Header), RecordingError> {
        let mut reader = Reader { file: file.to_owned(), input, line: 0 };
        let expected = "expected the header of a recording by kiscaler-agent record";
        let Some(text) = reader.next_line()? else { return Err(reader.wrong(format!("found nothing, {expected}"))) };
        let header: Header = match serde_json::from_str(&text) {
            Ok(header) => header,
            Err(error) => return Err(reader.wrong(format!("{error}, {expected}"))),
        };
        if header.format != FORMAT {
            return Err(reader.wrong(format!("found format {}, expected {FORMAT}", header.format)));
        }
        Ok((reader, header))
    }

    /// The inputs of the next decision of a loop of what is `prepared`; `None` at the end.
    ///
    /// # Errors
    /// The line is none.
    pub fn next(&mut self, prepared: &Prepared) -> Result<Option<Inputs>, RecordingError> {
        let Some(text) = self.next_line()? else { return Ok(None) };
        let line: Result<Line, _> = serde_json::from_str(&text);
        match line.map_err(|e| e.to_string()).and_then(|line| line.back(prepared)) {
            Ok(inputs) => Ok(Some(inputs)),
            Err(reason) => Err(self.wrong(reason)),
        }
    }

    fn next_line(&mut self) -> Result<Option<String>, RecordingError> {
        let mut text = String::new();
        self.line += 1;
        match self.input.read_line(&mut text) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(text)),
            Err(reason) => Err(RecordingError::File { file: self.file.clone(), reason }),
        }
    }

    fn wrong(&self, reason: String) -> RecordingError {
        RecordingError::Line { file: self.file.clone(), line: self.line, reason }
    }
}
