//! Traffic: who sends requests, and when.
//!
//! *Open* traffic does not care how the system fares: a rate over time ([`Shape`]) with more or less irregular
//! arrivals ([`Process`]), or a recorded trace. *Closed* traffic is users who wait for an answer before they think
//! and ask again ([`users::Users`]), such as the published patterns ([`Pattern`]).

pub mod curve;
pub mod patterns;
pub mod renewal;
pub mod shape;
pub mod source;
pub mod users;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Span};
use crate::distribution::TimeDistribution;
use crate::random::{Purpose, stream};
use crate::trace::{RateWindows, Trace, TraceFormat, TraceOptions};
use curve::{Curve, Segment, Walker};
pub use patterns::Pattern;
pub use renewal::{Process, Renewal};
pub use shape::Shape;
pub use source::Source;
pub use users::Users;

/// The traffic of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Traffic {
    /// Requests at a rate over time, whatever becomes of them.
    Open {
        /// The rate.
        rate: Shape,
        /// How irregular arrivals are.
        #[serde(default)]
        arrivals: Process,
    },
    /// Users who wait and think.
    Closed {
        /// (from when, number of users), ascending, the first at zero.
        users: Vec<(Span, u32)>,
        /// Whether the number moves from one entry to the next user by user, evenly, rather than at once.
        #[serde(default)]
        ramp: bool,
        /// Time between an answer and the next request.
        think: TimeDistribution,
    },
    /// One of the published patterns: closed-loop users.
    Pattern {
        /// Which.
        pattern: Pattern,
    },
    /// A recorded trace.
    Trace {
        /// The file, relative to the scenario's; `--trace FILE` on the command line overrides it.
        #[serde(default)]
        path: Option<PathBuf>,
        /// Its format, one of the nine of traces/README.md; detected if absent.
        #[serde(default)]
        format: Option<String>,
        /// Where in the trace to begin.
        #[serde(default)]
        start: Option<Span>,
        /// How much of it to use.
        #[serde(default)]
        length: Option<Span>,
        /// Which run, where a file holds several.
        #[serde(default)]
        series: Option<String>,
        /// Factor on the number of requests, above 0.
        #[serde(default = "one")]
        rate_scale: f64,
        /// Factor on time, above 0: 0.5 plays twice as fast.
        #[serde(default = "one")]
        time_scale: f64,
        /// For traces of rates: how irregular arrivals are around them.
        #[serde(default)]
        arrivals: Process,
        /// For traces of users: time between an answer and the next request.
        #[serde(default = "Pattern::think")]
        think: TimeDistribution,
    },
}

fn one() -> f64 {
    1.0
}

/// Traffic, ready to be asked for requests.
#[derive(Debug)]
pub enum Load {
    /// Open-loop arrivals.
    Open(Source),
    /// Closed-loop users.
    Closed(Users),
}

impl Traffic {
    /// What is wrong with the parameters, as (field, found, expected).
    pub fn problem(&self) -> Option<(String, String, String)> {
        let own = |p: (&'static str, String, &'static str)| (p.0.to_owned(), p.1, p.2.to_owned());
        let under = |prefix: &str, p: (String, String, String)| (format!("{prefix}.{}", p.0), p.1, p.2);
        match self {
            Traffic::Open { rate, arrivals } => rate
                .problem()
                .map(|p| under("rate", p))
                .or_else(|| arrivals.problem().map(|p| under("arrivals", own(p)))),
            Traffic::Closed { users, think, .. } => {
                if users.first().is_none_or(|u| u.0 != Span::default()) {
                    return Some(("users".into(), "no number of users at 0s".into(), "a first entry at \"0s\"".into()));
                }
                if users.windows(2).any(|w| w[1].0 <= w[0].0) {
                    return Some(("users".into(), "times that do not ascend".into(), "ascending times".into()));
                }
                think.problem().map(|p| under("think", own(p)))
            }
            Traffic::Pattern { .. } => None,
            Traffic::Trace { rate_scale, time_scale, arrivals, think, format, .. } => {
                for (field, value) in [("rate_scale", rate_scale), ("time_scale", time_scale)] {
                    if !(value.is_finite() && *value > 0.0) {
                        return Some((field.into(), value.to_string(), "a number above 0".into()));
                    }
                }
                if let Some(Err(error)) = format.as_ref().map(|f| f.parse::<TraceFormat>()) {
                    return Some(("format".into(), format.clone().unwrap_or_default(), error.to_string()));
                }
                arrivals
                    .problem()
                    .map(|p| under("arrivals", own(p)))
                    .or_else(|| think.problem().map(|p| under("think", own(p))))
            }
        }
    }

    /// How long the traffic lasts by itself: a pattern's or a trace's own length. `None` for what has no end.
    pub fn natural_duration(&self, base: &Path) -> Result<Option<Span>, ConfigError> {
        match self {
            Traffic::Open { .. } | Traffic::Closed { .. } => Ok(None),
            Traffic::Pattern { pattern } => Ok(Some(pattern.duration())),
            Traffic::Trace { time_scale, .. } => {
                let length = self.open_trace(base)?.summary().map_err(ConfigError::Trace)?.duration;
                // A nanosecond more: requests are sent before the end, the trace's last one included.
                let nanos = (length.as_nanos() as f64 * time_scale) as u64 + 1;
                Ok(Some(Span(std::time::Duration::from_nanos(nanos))))
            }
        }
    }

    fn open_trace(&self, base: &Path) -> Result<Trace, ConfigError> {
        let Traffic::Trace { path, format, start, length, series, .. } = self else {
            return Err(ConfigError::Field {
                // Whoever calls knows.
                origin: String::new(),
                field: "traffic.kind".into(),
                found: "no trace".into(),
                expected: "\"trace\"".into(),
            });
        };
        let Some(path) = path else {
            return Err(ConfigError::Field {
                // Whoever calls knows.
                origin: String::new(),
                field: "traffic.path".into(),
                found: "no file".into(),
                expected: "the path of a trace here, or --trace FILE".into(),
            });
        };
        let options = TraceOptions {
            format: format.as_ref().and_then(|f| f.parse().ok()),
            start: start.map(|s| s.0),
            duration: length.map(|s| s.0),
            series: series.clone(),
        };
        Ok(Trace::open(&base.join(path), &options)?)
    }

    /// The traffic of a run of `end` seconds with `seed`; paths are relative to `base`.
    pub fn load(&self, base: &Path, end: f64, seed: u64) -> Result<Load, ConfigError> {
        // The shape's draws and the arrivals' draws are streams of their own: a burstier process keeps its rates.
        let mut shape_rng = stream(seed, Purpose::Arrivals, 0);
        let rng = stream(seed, Purpose::Arrivals, 1);
        Ok(match self {
            Traffic::Open { rate, arrivals } => {
                let walker = Walker::new(rate.curve(end, &mut shape_rng));
                Load::Open(Source::curve(walker, Renewal::new(arrivals), rng))
            }
            Traffic::Closed { users, ramp, think } => {
                let steps: Vec<(u64, u32)> = users.iter().map(|&(at, users)| (at.nanos(), users)).collect();
                let schedule = if *ramp { ramped(&steps) } else { steps };
                Load::Closed(Users::new(schedule, think.clone(), rng))
            }
            Traffic::Pattern { pattern } => {
                Load::Closed(Users::new(pattern.schedule(&mut shape_rng), Pattern::think(), rng))
            }
            Traffic::Trace { rate_scale, time_scale, arrivals, think, .. } => match self.open_trace(base)? {
                Trace::Arrivals(trace) => Load::Open(Source::replay(trace, *rate_scale, *time_scale, rng)),
                Trace::Rates(windows) => {
                    let walker = Walker::new(rate_curve(&windows, *rate_scale, *time_scale));
                    Load::Open(Source::curve(walker, Renewal::new(arrivals), rng))
                }
                Trace::Clients(windows) => Load::Open(Source::clients(windows, *rate_scale, *time_scale, rng)),
                Trace::Users(steps) => {
                    let schedule = steps
                        .steps
                        .iter()
                        .map(|&(at, users)| {
                            let at = (at.as_nanos() as f64 * time_scale) as u64;
                            (at, (f64::from(users) * rate_scale).round() as u32)
                        })
                        .collect();
                    Load::Closed(Users::new(schedule, think.clone(), rng))
                }
            },
        })
    }

    /// All arrival times of open traffic up to `end` seconds, nanoseconds, or `None` for closed traffic, whose
    /// arrivals depend on the system.
    pub fn arrivals(&self, base: &Path, end: f64, seed: u64) -> Result<Option<Vec<u64>>, ConfigError> {
        let Load::Open(mut source) = self.load(base, end, seed)? else { return Ok(None) };
        let mut times = Vec::new();
        let end = crate::time::nanos_from_secs(end);
        while let Some(time) = source.peek()?.filter(|&time| time < end) {
            times.push(time);
            source.take(1);
        }
        Ok(Some(times))
    }
}

impl Load {
    /// The same load, to go on from here independently; `None` where it reads a file as it goes.
    pub fn fork(&self) -> Option<Load> {
        Some(match self {
            Load::Open(source) => Load::Open(source.fork()?),
            Load::Closed(users) => Load::Closed(users.clone()),
        })
    }
}

/// The steps with one user more or less at a time, evenly spaced, between each entry and the next.
fn ramped(steps: &[(u64, u32)]) -> Vec<(u64, u32)> {
    let mut schedule: Vec<(u64, u32)> = steps.first().copied().into_iter().collect();
    for pair in steps.windows(2) {
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        let changes = u64::from(before.abs_diff(after));
        schedule.extend((1..=changes).map(|change| {
            let users = if after > before { before + change as u32 } else { before - change as u32 };
            (from + (to - from) / changes * change + (to - from) % changes * change / changes, users)
        }));
    }
    schedule
}

fn rate_curve(windows: &RateWindows, rate_scale: f64, time_scale: f64) -> Curve {
    let segments = windows
        .windows
        .iter()
        .map(|w| {
            let rate = w.rate * rate_scale / time_scale;
            Segment { start: w.start.as_secs_f64() * time_scale, from: rate, to: rate }
        })
        .collect();
    Curve::new(segments, windows.end().as_secs_f64() * time_scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_of_users_goes_one_by_one() {
        assert_eq!(
            ramped(&[(0, 1), (40, 5), (50, 5), (60, 3)]),
            [(0, 1), (10, 2), (20, 3), (30, 4), (40, 5), (55, 4), (60, 3)]
        );
        // Times that do not divide evenly still end where they should.
        assert_eq!(ramped(&[(0, 0), (10, 3)]).last(), Some(&(10, 3)));
    }
}
