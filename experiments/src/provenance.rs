//! Where results come from: beside them, for they themselves hold no time and no machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kisim::report::write_atomically;
use serde::{Deserialize, Serialize};

use crate::experiment::Size;
use crate::key::CODE;
use crate::plan::{Job, Planned};
use crate::store::Store;

/// Where an experiment's results come from: `provenance.json` beside them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Which experiment.
    pub experiment: String,
    /// How much was run.
    pub size: Size,
    /// The code version that ran it.
    pub code: String,
    /// Its configuration's text.
    pub config: String,
    /// What ran it, by cell.
    pub cells: BTreeMap<String, Ran>,
    /// Cells that cannot be run where it was run, and why: no traces.
    pub missing: BTreeMap<String, String>,
    /// Cells that failed, and why.
    pub failed: BTreeMap<String, String>,
    /// The commands that ran cells of it, in the order of their beginning.
    pub sessions: Vec<Session>,
}

/// When and where a cell ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ran {
    /// By what its result is known.
    pub key: String,
    /// How long it took, seconds.
    pub seconds: f64,
    /// The session's [`id`](Session::id).
    pub session: String,
}

/// A command that ran cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// What tells it from others.
    pub id: String,
    /// When it began, UTC.
    pub started: String,
    /// Until its last cell of the experiment was done, seconds.
    pub seconds: f64,
    /// The command line.
    pub command: String,
    /// Cells side by side.
    pub jobs: usize,
    /// Which shard, of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<(usize, usize)>,
    /// `git describe` where it was built.
    pub revision: String,
    /// Versions: of the compiler, and of the profile it was built with.
    pub build: String,
    /// The machine.
    pub machine: Machine,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// Memory, GiB.
    pub memory_gib: f64,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This one. What it does not tell is `unknown`, or 0.
    pub fn here() -> Machine {
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory_kib =
            field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        Machine {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: (memory_kib.unwrap_or(0.0) / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

impl Session {
    /// This process, from now on.
    pub fn begin(jobs: usize, shard: Option<(usize, usize)>) -> Session {
        let started = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Session {
            id: match shard {
                Some((index, of)) => format!("{started}-{index}-of-{of}"),
                None => format!("{started}-{}", std::process::id()),
            },
            started,
            seconds: 0.0,
            command: format!("experiments {}", arguments.join(" ")),
            jobs,
            shard,
            revision: kiscaler_train::REVISION.to_owned(),
            build: format!("{}, profile {}", env!("EXPERIMENTS_RUSTC"), env!("EXPERIMENTS_PROFILE")),
            machine: Machine::here(),
        }
    }
}

impl Provenance {
    /// Of an experiment of which nothing has run.
    pub fn new(experiment: &str, size: Size, config: &str) -> Provenance {
        Provenance {
            experiment: experiment.to_owned(),
            size,
            code: CODE.to_owned(),
            config: config.to_owned(),
            cells: BTreeMap::new(),
            missing: BTreeMap::new(),
            failed: BTreeMap::new(),
            sessions: Vec::new(),
        }
    }

    /// Its file.
    pub fn path(store: &Store, experiment: &str) -> PathBuf {
        store.experiment(experiment).join("provenance.json")
    }

    /// What is known of an experiment, if anything is.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn load(store: &Store, experiment: &str) -> Result<Option<Provenance>> {
        load(&Self::path(store, experiment))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, store: &Store) -> Result<()> {
        save(&Self::path(store, &self.experiment), self)
    }

    /// Notes that a cell ran.
    pub fn ran(&mut self, cell: &str, key: &str, seconds: f64, session: &Session) {
        self.sessions.retain(|known| known.id != session.id);
        self.sessions.push(session.clone());
        self.cells.insert(cell.to_owned(), Ran { key: key.to_owned(), seconds, session: session.id.clone() });
    }

    /// Of a planned experiment, with what an earlier one knows of the same cells.
    pub fn resume(planned: &Planned, size: Size, earlier: Option<Provenance>) -> Provenance {
        let mut new = Provenance::new(planned.experiment.name, size, &planned.config);
        for Job { cell, key } in &planned.cells {
            if let Err(why) = key {
                new.missing.insert(cell.name.clone(), why.clone());
            }
        }
        let Some(earlier) = earlier else { return new };
        for (name, ran) in earlier.cells {
            let current =
                planned.cells.iter().any(|j| j.cell.name == name && j.key.as_ref().is_ok_and(|k| k.key == ran.key));
            if current {
                new.cells.insert(name, ran);
            }
        }
        new.sessions = earlier.sessions;
        new.sessions.retain(|session| new.cells.values().any(|ran| ran.session == session.id));
        new
    }

    /// With what another knows of other cells of the same experiment.
    pub fn merge(&mut self, other: &Provenance) {
        self.cells.extend(other.cells.iter().map(|(name, ran)| (name.clone(), ran.clone())));
        self.missing.extend(other.missing.iter().map(|(name, why)| (name.clone(), why.clone())));
        self.failed.extend(other.failed.iter().map(|(name, why)| (name.clone(), why.clone())));
        for session in &other.sessions {
            if self.sessions.iter().all(|known| known.id != session.id) {
                self.sessions.push(session.clone());
            }
        }
        self.sessions.sort_by(|a, b| a.id.cmp(&b.id));
    }

    /// Core-seconds of the cells of which it is known.
    pub fn seconds(&self) -> f64 {
        self.cells.values().map(|ran| ran.seconds).sum()
    }
}

/// Reads a JSON file that may not be there.
///
/// # Errors
/// If it is there and cannot be read, or is not what it should be.
pub fn load<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a JSON file.
///
/// # Errors
/// If it cannot be written.
pub fn save(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(write_atomically(path, |file| file.write_all(&bytes))?)
}
