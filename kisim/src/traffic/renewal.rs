//! Renewal processes of unit rate: how irregular arrivals are, apart from how many.

use rand_distr::{Distribution, Exp1, Gamma, Weibull};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::gamma;

use crate::random::Stream;
use crate::trace::InterarrivalDistribution;

/// How inter-arrival times vary around their mean.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "process", rename_all = "snake_case", deny_unknown_fields)]
pub enum Process {
    /// Exponential times: coefficient of variation 1.
    #[default]
    Poisson,
    /// All equal: coefficient of variation 0.
    Regular,
    /// Gamma-distributed times.
    Gamma {
        /// Their coefficient of variation, 0.001 to 1000; above 1 is burstier than Poisson.
        cv: f64,
    },
    /// Weibull-distributed times.
    Weibull {
        /// Their coefficient of variation, 0.05 to 50.
        cv: f64,
    },
}

impl Process {
    /// What is wrong with the parameters, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        match self {
            Process::Gamma { cv } if !(cv.is_finite() && *cv >= 0.001 && *cv <= 1000.0) => {
                Some(("cv", cv.to_string(), "a number between 0.001 and 1000"))
            }
            Process::Weibull { cv } if !(*cv >= 0.05 && *cv <= 50.0) => {
                Some(("cv", cv.to_string(), "a number between 0.05 and 50"))
            }
            _ => None,
        }
    }
}

/// Draws of a renewal process with unit mean.
#[derive(Clone, Copy, Debug)]
pub enum Renewal {
    /// Exponential.
    Poisson,
    /// Constant.
    Regular,
    /// Gamma of mean 1.
    Gamma(Gamma<f64>),
    /// Weibull of mean 1.
    Weibull(Weibull<f64>),
}

impl Renewal {
    /// The process; parameters out of range, which [`Process::problem`] reports, give Poisson.
    pub fn new(process: &Process) -> Self {
        match *process {
            Process::Poisson => Renewal::Poisson,
            Process::Regular => Renewal::Regular,
            // Mean shape·scale = 1, CV = 1/√shape.
            Process::Gamma { cv } => Gamma::new(1.0 / (cv * cv), cv * cv).map_or(Renewal::Poisson, Renewal::Gamma),
            Process::Weibull { cv } => Renewal::weibull(weibull_shape(cv)),
        }
    }

    /// The process with the shape of a measured inter-arrival law.
    pub fn from_law(law: InterarrivalDistribution) -> Self {
        match law {
            InterarrivalDistribution::Gamma { shape, .. } => {
                Gamma::new(shape, 1.0 / shape).map_or(Renewal::Poisson, Renewal::Gamma)
            }
            InterarrivalDistribution::Weibull { shape, .. } => Renewal::weibull(shape),
        }
    }

    fn weibull(shape: f64) -> Self {
        Weibull::new(1.0 / gamma(1.0 + 1.0 / shape), shape).map_or(Renewal::Poisson, Renewal::Weibull)
    }

    /// A time between arrivals, in units of its mean.
    #[inline]
    pub fn draw(&self, rng: &mut Stream) -> f64 {
        match self {
            Renewal::Poisson => Exp1.sample(rng),
            Renewal::Regular => 1.0,
            Renewal::Gamma(gamma) => gamma.sample(rng),
            Renewal::Weibull(weibull) => weibull.sample(rng),
        }
    }
}

/// The Weibull shape with coefficient of variation `cv`: CV² = Γ(1+2/k)/Γ(1+1/k)² − 1, which falls in k, by bisection.
fn weibull_shape(cv: f64) -> f64 {
    let cv_of = |shape: f64| (gamma(1.0 + 2.0 / shape) / gamma(1.0 + 1.0 / shape).powi(2) - 1.0).sqrt();
    let (mut low, mut high) = (0.12f64, 30.0f64);
    for _ in 0..100 {
        let middle = (low * high).sqrt();
        if cv_of(middle) > cv {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low * high).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn processes_have_unit_mean_and_their_cv() {
        for (process, cv) in [
            (Process::Poisson, 1.0),
            (Process::Regular, 0.0),
            (Process::Gamma { cv: 0.5 }, 0.5),
            (Process::Gamma { cv: 3.0 }, 3.0),
            (Process::Weibull { cv: 0.5 }, 0.5),
            (Process::Weibull { cv: 2.5 }, 2.5),
        ] {
            let renewal = Renewal::new(&process);
            let mut rng = stream(7, Purpose::Arrivals, 0);
            let n = 1_000_000;
            let draws: Vec<f64> = (0..n).map(|_| renewal.draw(&mut rng)).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
            assert!((mean - 1.0).abs() < 0.02, "{process:?}: mean {mean}");
            assert!((variance.sqrt() / mean - cv).abs() < 0.03 * cv.max(0.1), "{process:?}: cv {}", variance.sqrt());
        }
    }
}
