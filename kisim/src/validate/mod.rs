//! The simulator against theory and against measurements.
//!
//! Every check runs independent replications of the whole engine (not of some simplified copy) and compares their mean,
//! with its confidence interval, to a closed form of [`crate::theory`]. A check passes when the closed form lies within
//! the 99.9 % interval *and* the 95 % interval is narrow enough to mean something.

mod checks;
mod data;
mod station;

use rayon::prelude::*;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::random::derive_seed;
use crate::report::mean_interval;
use crate::run::{Progress, RunError};
pub use checks::{Check, checks};
pub use data::{DataRow, online_table};
pub use station::{Station, StationResult};

/// Replications of each check.
const REPLICATIONS: u64 = 16;

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was compared.
    pub name: String,
    /// The closed form's value, or the bound's.
    pub expected: f64,
    /// Mean over replications.
    pub simulated: f64,
    /// Half of its 95 % interval.
    pub half_width: f64,
    /// Simulated over expected, less one.
    pub relative_error: f64,
    /// Whether they agree.
    pub ok: bool,
    /// Where the expected value comes from.
    pub source: String,
}

/// What is demanded of the simulated value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// To equal the expected, with a 95 % half-width of at most this share of it.
    Equal {
        /// Share.
        within: f64,
    },
    /// To lie between these shares of the expected, up to its 95 % interval, which must be within 5 %.
    Between {
        /// Lower share.
        low: f64,
        /// Upper share.
        high: f64,
    },
}

/// Judges replications' values against an expected one.
///
/// ```
/// use kisim::validate::{Demand, judge};
/// let values = [1.01, 0.99, 1.0, 1.02, 0.98];
/// assert!(judge("right", 1.0, &values, Demand::Equal { within: 0.02 }, "").ok);
/// assert!(!judge("wrong", 1.1, &values, Demand::Equal { within: 0.02 }, "").ok);
/// ```
pub fn judge(name: &str, expected: f64, values: &[f64], demand: Demand, source: &str) -> Finding {
    let estimate = mean_interval(values);
    let half_width = estimate.half_width.unwrap_or(f64::NAN);
    let ok = match demand {
        Demand::Equal { within } => {
            let degrees = (values.len().max(2) - 1) as f64;
            let t = |p| StudentsT::new(0.0, 1.0, degrees).map_or(f64::NAN, |t| t.inverse_cdf(p));
            // Forty checks at 95 % would fail twice a run by chance; at 99.9 %, once in 25 runs.
            let wide = half_width * t(0.9995) / t(0.975);
            (estimate.mean - expected).abs() <= wide && half_width <= within * expected.abs()
        }
        // The mean is known up to its interval: it breaks a bound when all of the interval does.
        Demand::Between { low, high } => {
            estimate.mean - half_width <= high * expected
                && estimate.mean + half_width >= low * expected
                && half_width <= 0.05 * expected.abs()
        }
    };
    Finding {
        name: name.to_owned(),
        expected,
        simulated: estimate.mean,
        half_width,
        relative_error: estimate.mean / expected - 1.0,
        ok,
        source: source.to_owned(),
    }
}

/// Runs all checks on all cores; `quick` takes fewer requests and wider intervals.
pub fn validate(seed: u64, quick: bool, progress: Progress<'_>) -> Result<Vec<Finding>, RunError> {
    run_checks(&checks(quick), seed, progress)
}

/// Runs some checks.
pub fn run_checks(checks: &[Check], seed: u64, progress: Progress<'_>) -> Result<Vec<Finding>, RunError> {
    let jobs: Vec<(usize, u64)> = (0..checks.len()).flat_map(|c| (0..REPLICATIONS).map(move |r| (c, r))).collect();
    let total: f64 = checks.iter().map(|c| c.station.requests as f64).sum::<f64>() * REPLICATIONS as f64;
    let done = std::sync::Mutex::new(0.0);
    let results = jobs
        .par_iter()
        .map(|&(check, replication)| {
            let result = checks[check].station.run(derive_seed(seed, replication))?;
            let share = done.lock().map_or(0.0, |mut done| {
                *done += checks[check].station.requests as f64;
                *done / total
            });
            if !progress(share) {
                return Err(RunError::Interrupted { at: crate::time::SimTime::ZERO });
            }
            Ok(result)
        })
        .collect::<Result<Vec<StationResult>, RunError>>()?;
    let mut findings = Vec::new();
    for (check, results) in checks.iter().zip(results.chunks(REPLICATIONS as usize)) {
        for measure in &check.measures {
            let values: Vec<f64> = results.iter().map(measure.value).collect();
            let name = format!("{}: {}", check.name, measure.name);
            findings.push(judge(&name, measure.expected, &values, measure.demand, measure.source));
        }
    }
    Ok(findings)
}
