//! Where something is played: a scenario, what of it is different, and the part of a trace.

use std::path::PathBuf;

use kisim::config::Span;
use serde::{Deserialize, Serialize};

/// Where something is played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// What tables call it.
    pub name: String,
    /// `default`, `paper:ramp`, …, or the name of a file in the repository's `scenarios`, without `.toml`. All are built in.
    pub scenario: String,
    /// Fields that differ, as TOML tables merged over the scenario's.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub changes: toml::Table,
    /// The trace that is replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// A part of a public trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Its file in the folder of traces, such as `azure-llm-2023/AzureLLMInferenceTrace_code.csv`.
    pub file: PathBuf,
    /// Begin this far into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Span>,
    /// Use this much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Span>,
    /// Which run, where it holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
}
