//! Evaluations on file, one line each, so that an interrupted search goes on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::space::Kind;

/// A trial on one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The trial's number.
    pub trial: usize,
    /// The training seed's number.
    pub seed_index: usize,
    /// Negative mean reward; lower is better.
    pub objective: f64,
    /// Share of requests that broke the latency objective.
    pub violation_ratio: f64,
    /// US dollars.
    pub cost: f64,
    /// Replicas added and removed.
    pub churn: u64,
    /// The point in the unit cube; empty for the untuned one.
    pub point: Vec<f64>,
    /// What it means.
    pub parameters: BTreeMap<String, serde_json::Value>,
}

/// What a record is of; a search with anything else different is another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Version of kisim.
    pub(super) version: String,
    pub(super) scenario: String,
    /// Of the whole scenario, as text.
    pub(super) fingerprint: String,
    pub(super) autoscaler: Kind,
    pub(super) seed: u64,
    pub(super) trials: usize,
    pub(super) seeds: usize,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// It is the record of another search.
    #[error(
        "{path}, field {field}: found {found}, expected {expected}: it records another search; choose another --out, or remove it"
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// What it says.
        found: String,
        /// What this search would say.
        expected: String,
    },
    /// A line makes no sense.
    #[error("{path}, line {line}: {reason}; expected an evaluation as written by kisim tune")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A record, open for more.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    file: Option<Mutex<File>>,
    known: BTreeMap<(usize, usize), Evaluation>,
}

impl Record {
    /// A record that nobody keeps.
    pub fn none() -> Record {
        Record { path: PathBuf::new(), file: None, known: BTreeMap::new() }
    }

    /// Opens the record at `path`, or begins one. A last line without its end was being written when the search was
    /// interrupted: it is dropped.
    pub(super) fn open(path: &Path, header: &Header) -> Result<Record, RecordError> {
        let file_error = |reason| RecordError::File { path: path.to_owned(), reason };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(file_error)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(file_error)?;
        let mut known = BTreeMap::new();
        let mut reader = BufReader::new(&file);
        let (mut whole, mut number) = (0u64, 0);
        let mut line = String::new();
        loop {
            line.clear();
            let read = reader.read_line(&mut line).map_err(file_error)?;
            if read == 0 || !line.ends_with('\n') {
                break;
            }
            number += 1;
            let bad = |reason: serde_json::Error| RecordError::Line {
                path: path.to_owned(),
                line: number,
                reason: reason.to_string(),
            };
            if number == 1 {
                same(path, &serde_json::from_str(&line).map_err(bad)?, header)?;
            } else {
                let evaluation: Evaluation = serde_json::from_str(&line).map_err(bad)?;
                known.insert((evaluation.trial, evaluation.seed_index), evaluation);
            }
            whole += read as u64;
        }
        drop(reader);
        file.set_len(whole).map_err(file_error)?;
        if number == 0 {
            let text = serde_json::to_string(header).unwrap_or_default();
            writeln!(file, "{text}").map_err(file_error)?;
        }
        Ok(Record { path: path.to_owned(), file: Some(Mutex::new(file)), known })
    }

    /// What is known of trial `trial` at `point` on training seed number `seed_index`.
    pub(super) fn known(&self, trial: usize, seed_index: usize, point: &[f64]) -> Option<&Evaluation> {
        self.known.get(&(trial, seed_index)).filter(|e| e.point == point)
    }

    /// Evaluations that were there when it was opened.
    pub fn resumed(&self) -> usize {
        self.known.len()
    }

    /// Writes an evaluation down.
    pub(super) fn add(&self, evaluation: &Evaluation) -> Result<(), RecordError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut line = serde_json::to_string(evaluation).unwrap_or_default();
        line.push('\n');
        // A panic elsewhere leaves the file as whole as it was.
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written = file.write_all(line.as_bytes()).and_then(|()| file.flush());
        written.map_err(|reason| RecordError::File { path: self.path.clone(), reason })
    }
}

fn same(path: &Path, found: &Header, expected: &Header) -> Result<(), RecordError> {
    let fields = [
        ("version", found.version.clone(), expected.version.clone()),
        ("scenario", found.scenario.clone(), expected.scenario.clone()),
        ("autoscaler", found.autoscaler.name().to_owned(), expected.autoscaler.name().to_owned()),
        ("seed", found.seed.to_string(), expected.seed.to_string()),
        ("trials", found.trials.to_string(), expected.trials.to_string()),
        ("seeds", found.seeds.to_string(), expected.seeds.to_string()),
        ("fingerprint", found.fingerprint.clone(), expected.fingerprint.clone()),
    ];
    match fields.into_iter().find(|(_, found, expected)| found != expected) {
        None => Ok(()),
        Some((field, found, expected)) => Err(RecordError::Other { path: path.to_owned(), field, found, expected }),
    }
}
