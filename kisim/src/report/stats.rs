//! Means over seeds with Student-t intervals, and paired differences.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean with its 95 % confidence interval (Student's t over independent seeds).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Half the interval's width; `None` with fewer than two values.
    pub half_width: Option<f64>,
    /// Number of values.
    pub n: usize,
}

/// A mean of differences between two systems under the same seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// The difference, with its interval.
    pub difference: Estimate,
    /// Whether the interval excludes zero.
    pub significant: bool,
}

/// Mean and 95 % interval of `values`; those that are not finite are left out.
///
/// ```
/// use kisim::report::mean_interval;
/// let estimate = mean_interval(&[1.0, 2.0, 3.0]);
/// assert_eq!(estimate.mean, 2.0);
/// // t(0.975, 2) = 4.303, s/√n = 0.577.
/// assert!((estimate.half_width.unwrap() - 2.484).abs() < 1e-3);
/// ```
pub fn mean_interval(values: &[f64]) -> Estimate {
    let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let n = values.len();
    if n == 0 {
        return Estimate { mean: f64::NAN, half_width: None, n };
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return Estimate { mean, half_width: None, n };
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let t = StudentsT::new(0.0, 1.0, (n - 1) as f64).map_or(f64::NAN, |t| t.inverse_cdf(0.975));
    Estimate { mean, half_width: Some(t * (variance / n as f64).sqrt()), n }
}

/// Mean and interval of `values[i] − reference[i]`: same seeds, same arrivals, so what they have in common cancels.
pub fn paired_difference(values: &[f64], reference: &[f64]) -> PairedDifference {
    let differences: Vec<f64> = values.iter().zip(reference).map(|(v, r)| v - r).collect();
    let difference = mean_interval(&differences);
    let significant = difference.half_width.is_some_and(|half| difference.mean.abs() > half);
    PairedDifference { difference, significant }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn intervals_cover_the_mean_19_times_in_20() {
        let mut rng = stream(3, Purpose::Policy, 0);
        let trials = 4_000;
        let covered = (0..trials)
            .filter(|_| {
                let values: Vec<f64> = (0..5).map(|_| -> f64 { StandardNormal.sample(&mut rng) }).collect();
                let e = mean_interval(&values);
                e.mean.abs() <= e.half_width.unwrap_or(0.0)
            })
            .count();
        let share = covered as f64 / f64::from(trials);
        assert!((share - 0.95).abs() < 0.012, "{share}");
    }

    #[test]
    fn pairing_removes_what_is_common() {
        let reference = [10.0, 50.0, 30.0, 90.0];
        let values = [11.0, 51.1, 30.9, 91.0];
        let paired = paired_difference(&values, &reference);
        assert!((paired.difference.mean - 1.0).abs() < 1e-9 && paired.significant);
        assert!(!paired_difference(&reference, &reference).significant);
        assert!(mean_interval(&[1.0]).half_width.is_none());
    }
}
