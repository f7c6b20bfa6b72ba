//! Arguments that commands have in common: which scenario, and what of it is different.

use std::path::PathBuf;

use clap::Args;

use crate::config::{ConfigError, Span};
use crate::scenario::Scenario;
use crate::trace::{ParseTraceFormatError, TraceFormat};
use crate::traffic::{Pattern, Process, Traffic};

/// Why there is no such scenario.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// It cannot be had, or what is different makes no sense.
    #[error(transparent)]
    Scenario(#[from] ConfigError),
    /// No such format.
    #[error(transparent)]
    Format(#[from] ParseTraceFormatError),
    /// The trace is nowhere.
    #[error("cannot resolve {}: {reason}", path.display())]
    Resolve {
        /// As given.
        path: PathBuf,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// An argument about a trace, and no trace.
    #[error("{arguments}: expected --trace FILE beside {pronoun}, or a scenario whose traffic is a trace")]
    NoTrace {
        /// The arguments.
        arguments: String,
        /// For one of them, or for several.
        pronoun: &'static str,
    },
}

/// Which scenario, and what of it is different.
#[derive(Clone, Debug, Args)]
pub struct ScenarioArgs {
    /// Path of a scenario, `default`, `paper` (its ramp), or `paper:ramp`, `paper:spike`, `paper:periodic`, `paper:random`
    #[arg(default_value = "default")]
    pub scenario: String,
    /// What of it is different.
    #[command(flatten)]
    pub changes: Changes,
}

impl ScenarioArgs {
    /// Loads it, with this seed if there is one.
    ///
    /// # Errors
    /// If it cannot be had, or what is different makes no sense.
    pub fn load(&self, seed: Option<u64>) -> Result<Scenario, ArgumentError> {
        self.changes.load(&self.scenario, seed)
    }
}

/// What of a scenario is different.
#[derive(Clone, Debug, Default, Args)]
pub struct Changes {
    /// Replay this trace instead of the scenario's traffic
    #[arg(long)]
    pub trace: Option<PathBuf>,
    /// Its format; detected by default: azure-llm, servegen-clients, servegen-rates, mooncake, nab, worldcup98, kisim,
    /// timestamps, rates
    #[arg(long)]
    pub trace_format: Option<String>,
    /// Which run, where the trace holds several
    #[arg(long, requires = "trace")]
    pub series: Option<String>,
    /// Begin this far into the trace, such as 30m
    #[arg(long)]
    pub trace_start: Option<Span>,
    /// Use this much of it
    #[arg(long)]
    pub trace_length: Option<Span>,
    /// Length of the run instead of the scenario's, such as 10m
    #[arg(long)]
    pub duration: Option<Span>,
}

impl Changes {
    /// Loads the scenario that `name` refers to, changed, with this seed if there is one.
    ///
    /// # Errors
    /// If it cannot be had, or what is different makes no sense.
    pub fn load(&self, name: &str, seed: Option<u64>) -> Result<Scenario, ArgumentError> {
        self.apply(Scenario::named(name)?, seed)
    }

    /// `scenario`, changed, with this seed if there is one.
    ///
    /// # Errors
    /// If what is different makes no sense.
    pub fn apply(&self, mut scenario: Scenario, seed: Option<u64>) -> Result<Scenario, ArgumentError> {
        if let Some(trace) = &self.trace {
            let absolute =
                std::path::absolute(trace).map_err(|reason| ArgumentError::Resolve { path: trace.clone(), reason })?;
            let path = Some(absolute);
            match &mut scenario.traffic {
                // Keeps the scenario's scales, start and length.
                Traffic::Trace { path: own, format, series, .. } => {
                    *own = path;
                    *format = self.trace_format.clone();
                    *series = self.series.clone().or(series.take());
                }
                other => {
                    *other = Traffic::Trace {
                        path,
                        format: self.trace_format.clone(),
                        start: None,
                        length: None,
                        series: self.series.clone(),
                        rate_scale: 1.0,
                        time_scale: 1.0,
                        arrivals: Process::default(),
                        think: Pattern::think(),
                    };
                    // The old traffic's length and name say nothing about the trace's.
                    scenario.duration = None;
                    scenario.name = trace.file_stem().map_or(scenario.name, |s| s.to_string_lossy().into_owned());
                }
            }
        } else if let Some(format) = &self.trace_format {
            format.parse::<TraceFormat>()?;
            if let Traffic::Trace { format: own, .. } = &mut scenario.traffic {
                *own = Some(format.clone());
            } else {
                return Err(ArgumentError::NoTrace { arguments: format!("--trace-format {format}"), pronoun: "it" });
            }
        }
        if self.trace_start.is_some() || self.trace_length.is_some() {
            let Traffic::Trace { start, length, .. } = &mut scenario.traffic else {
                let arguments = "--trace-start, --trace-length".to_owned();
                return Err(ArgumentError::NoTrace { arguments, pronoun: "them" });
            };
            *start = self.trace_start.or(*start);
            *length = self.trace_length.or(*length);
        }
        if let Some(duration) = self.duration {
            scenario.duration = Some(duration);
        }
        if let Some(seed) = seed {
            scenario.seed = seed;
        }
        scenario.check()?;
        Ok(scenario)
    }
}
