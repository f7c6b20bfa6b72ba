//! Metrics of live pods, as the simulator's autoscalers see them: a [`kisim::telemetry::Scrape`] a decision.
//!
//! ```text
//! text of a pod's endpoints (direct) ─┐
//!                                     ├─► Reading (by Mapping) ─► Sampler ─► PodSample │ Finding ─► Scrape
//! samples of Prometheus ──────────────┘
//! ```
//!
//! What is not there is never 0: a pod without a metric that somebody goes by counts as not scraped, and a [`Finding`]
//! says why.

mod direct;
mod http;
mod mapping;
mod past;
mod prometheus;
mod reading;
mod sampler;
#[cfg(test)]
pub(crate) mod testing;
mod text;

use kisim::telemetry::Scrape;
use kisim::time::SimTime;

pub use direct::{Endpoints, PodAddress};
pub use http::{Credentials, HttpClient, HttpError, Tls};
pub use mapping::{Mapping, Quantity};
pub use past::{NoPast, Tally};
pub use prometheus::{ApiError, PastError, Prometheus};
pub use reading::Reading;
pub use sampler::Sampler;
pub use text::{Line, Syntax, parse};

/// What is wrong with what was read, or was not. The closed set by which failures are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// Nobody answered, or not in time.
    Unreachable,
    /// The answer was no answer: another status, or no metrics at all.
    BadAnswer,
    /// Whoever was asked knows nothing of the pod.
    Missing,
    /// The answer was no text of metrics.
    Malformed,
    /// A metric that somebody goes by is not there, while others are.
    Partial,
    /// A metric that somebody goes by is NaN, negative or infinite.
    NotANumber,
    /// The newest sample is too old.
    Stale,
    /// A counter went back: the process restarted. Rates go on.
    Reset,
}

impl Finding {
    /// All.
    pub const ALL: [Finding; 8] = [
        Finding::Unreachable,
        Finding::BadAnswer,
        Finding::Missing,
        Finding::Malformed,
        Finding::Partial,
        Finding::NotANumber,
        Finding::Stale,
        Finding::Reset,
    ];

    /// Its name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Finding::Unreachable => "unreachable",
            Finding::BadAnswer => "bad_answer",
            Finding::Missing => "missing",
            Finding::Malformed => "malformed",
            Finding::Partial => "partial",
            Finding::NotANumber => "not_a_number",
            Finding::Stale => "stale",
            Finding::Reset => "reset",
        }
    }
}

/// A finding about a pod, or about all where no pod is named.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The pod's name, empty where it is about all.
    pub pod: String,
    /// What.
    pub finding: Finding,
    /// For people.
    pub detail: String,
}

/// What one round of scraping brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// For the window.
    pub scrape: Scrape,
    /// What was wrong.
    pub found: Vec<Found>,
}

/// A pod whose metrics are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its number.
    pub id: u64,
    /// Its pool's number.
    pub pool: usize,
    /// Where it is.
    pub address: PodAddress,
}

/// The time in nanoseconds since 1970, which is how times of samples and decisions are told.
pub fn unix_time(timestamp: k8s_openapi::jiff::Timestamp) -> SimTime {
    SimTime::from_nanos(u64::try_from(timestamp.as_nanosecond()).unwrap_or(0))
}
