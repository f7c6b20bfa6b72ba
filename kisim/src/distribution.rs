//! Distributions of times, as scenarios write them.

use rand::RngExt;
use rand_distr::{Distribution as _, Exp1, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::random::Stream;

/// A distribution of lengths of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "distribution", rename_all = "snake_case", deny_unknown_fields)]
pub enum TimeDistribution {
    /// Always the same.
    Constant {
        /// The time.
        value: Span,
    },
    /// Uniform between two times.
    Uniform {
        /// The shortest.
        low: Span,
        /// The longest.
        high: Span,
    },
    /// Exponential.
    Exponential {
        /// Its mean.
        mean: Span,
    },
    /// Log-normal, by its median and coefficient of variation.
    Lognormal {
        /// Half of the draws are shorter.
        median: Span,
        /// Standard deviation over mean.
        cv: f64,
    },
    /// Through published percentiles, straight between them and down to zero probability at `minimum`; nothing is
    /// longer than the last percentile given.
    Percentiles {
        /// The shortest time.
        minimum: Span,
        /// Half of the draws are shorter.
        p50: Span,
        /// Nine of ten are shorter.
        p90: Span,
        /// 99 of 100 are shorter.
        p99: Span,
    },
}

impl TimeDistribution {
    /// A constant time.
    pub const fn constant(value: Span) -> Self {
        TimeDistribution::Constant { value }
    }

    /// The same, `factor` times as long.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let scaled = |time: &Span| Span(time.0.mul_f64(factor));
        match self {
            TimeDistribution::Constant { value } => TimeDistribution::Constant { value: scaled(value) },
            TimeDistribution::Uniform { low, high } => {
                TimeDistribution::Uniform { low: scaled(low), high: scaled(high) }
            }
            TimeDistribution::Exponential { mean } => TimeDistribution::Exponential { mean: scaled(mean) },
            TimeDistribution::Lognormal { median, cv } => {
                TimeDistribution::Lognormal { median: scaled(median), cv: *cv }
            }
            TimeDistribution::Percentiles { minimum, p50, p90, p99 } => TimeDistribution::Percentiles {
                minimum: scaled(minimum),
                p50: scaled(p50),
                p90: scaled(p90),
                p99: scaled(p99),
            },
        }
    }

    /// What is wrong with the parameters, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        match self {
            TimeDistribution::Uniform { low, high } if high < low => Some(("high", high.to_string(), "at least low")),
            TimeDistribution::Lognormal { cv, .. } if !(cv.is_finite() && *cv >= 0.0) => {
                Some(("cv", cv.to_string(), "a number of at least 0"))
            }
            TimeDistribution::Percentiles { minimum, p50, p90, p99 }
                if !(minimum <= p50 && p50 <= p90 && p90 <= p99) =>
            {
                Some(("p90", format!("{minimum}, {p50}, {p90}, {p99}"), "minimum ≤ p50 ≤ p90 ≤ p99"))
            }
            _ => None,
        }
    }

    /// A draw, in nanoseconds.
    pub fn sample(&self, rng: &mut Stream) -> u64 {
        match *self {
            TimeDistribution::Constant { value } => value.nanos(),
            TimeDistribution::Uniform { low, high } => rng.random_range(low.nanos()..=high.nanos().max(low.nanos())),
            TimeDistribution::Exponential { mean } => {
                let unit: f64 = Exp1.sample(rng);
                (unit * mean.nanos() as f64) as u64
            }
            TimeDistribution::Lognormal { median, cv } => {
                let sigma = (cv * cv).ln_1p().sqrt();
                let z: f64 = StandardNormal.sample(rng);
                ((sigma * z).exp() * median.nanos() as f64) as u64
            }
            TimeDistribution::Percentiles { minimum, p50, p90, p99 } => {
                let u: f64 = rng.random();
                let between = |from: Span, to: Span, share: f64| {
                    let (from, to) = (from.nanos() as f64, to.nanos() as f64);
                    (from + (to - from) * share) as u64
                };
                match u {
                    u if u < 0.5 => between(minimum, p50, u / 0.5),
                    u if u < 0.9 => between(p50, p90, (u - 0.5) / 0.4),
                    u if u < 0.99 => between(p90, p99, (u - 0.9) / 0.09),
                    _ => p99.nanos(),
                }
            }
        }
    }

    /// The mean, in seconds.
    pub fn mean_secs(&self) -> f64 {
        match *self {
            TimeDistribution::Constant { value } => value.as_secs_f64(),
            TimeDistribution::Uniform { low, high } => (low.as_secs_f64() + high.as_secs_f64()) / 2.0,
            TimeDistribution::Exponential { mean } => mean.as_secs_f64(),
            // E = median · exp(σ²/2) and exp(σ²) = 1 + CV².
            TimeDistribution::Lognormal { median, cv } => median.as_secs_f64() * (1.0 + cv * cv).sqrt(),
            TimeDistribution::Percentiles { minimum, p50, p90, p99 } => {
                let [a, b, c, d] = [minimum, p50, p90, p99].map(Span::as_secs_f64);
                0.5 * (a + b) / 2.0 + 0.4 * (b + c) / 2.0 + 0.09 * (c + d) / 2.0 + 0.01 * d
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn sample_means_and_percentiles_are_as_stated() {
        let seconds = Span::secs;
        let all = [
            TimeDistribution::constant(seconds(3)),
            TimeDistribution::Uniform { low: seconds(1), high: seconds(2) },
            TimeDistribution::Exponential { mean: seconds(5) },
            TimeDistribution::Lognormal { median: seconds(10), cv: 0.5 },
            TimeDistribution::Percentiles {
                minimum: seconds(1),
                p50: Span::millis(8_500),
                p90: Span::millis(26_800),
                p99: Span::millis(54_300),
            },
        ];
        for distribution in all {
            let mut rng = stream(1, Purpose::ColdStart, 0);
            let n = 200_000;
            let mut draws: Vec<f64> = (0..n).map(|_| distribution.sample(&mut rng) as f64 * 1e-9).collect();
            let mean = draws.iter().sum::<f64>() / n as f64;
            assert!((mean / distribution.mean_secs() - 1.0).abs() < 0.01, "{distribution:?}: {mean}");
            assert!((distribution.scaled(2.5).mean_secs() / (2.5 * distribution.mean_secs()) - 1.0).abs() < 1e-6);
            if let TimeDistribution::Percentiles { p90, .. } = distribution {
                draws.sort_by(f64::total_cmp);
                assert!((draws[n * 9 / 10] / p90.as_secs_f64() - 1.0).abs() < 0.02);
            }
        }
    }
}
