//! From a batch sweep to profile points, an affine model and a spread.

use super::measurements::BatchRow;
use super::report::{Estimate, FitReport, Quantity, Residual};
use serde::Serialize;
use std::collections::BTreeMap;

/// A point of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProfilePoint {
    /// Requests in the batch.
    pub batch: u32,
    /// Mean latency of such a batch, ms; never less than that of a smaller batch.
    pub latency_ms: f64,
    /// Rows of the sweep that were averaged.
    pub rows: u32,
}

/// A point that was moved so that the latency does not fall as the batch grows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Repair {
    /// Requests in the batch.
    pub batch: u32,
    /// Mean of the measured latencies, ms.
    pub measured_ms: f64,
    /// Latency of the profile, ms.
    pub repaired_ms: f64,
}

/// A parameter of the affine model that was held at zero because the best value is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Neither.
    None,
    /// The line would start below zero: `fixed_ms` is zero.
    Fixed,
    /// The line would fall: `per_item_ms` is zero.
    PerItem,
}

/// The affine model `latency = fixed + per_item · batch`, fitted to relative errors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AffineFit {
    /// Time of a batch however small, ms.
    pub fixed_ms: Estimate,
    /// Time each request adds, ms.
    pub per_item_ms: Estimate,
    /// Whether one of the two was held at zero.
    pub held_at_zero: Bound,
    /// Residuals per row, the worst row, root mean square relative error and R²; `None` if nothing could be fitted.
    pub report: Option<FitReport>,
}

/// What a batch sweep says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchFit {
    /// The profile: one point per batch size, by batch, latencies non-decreasing.
    pub points: Vec<ProfilePoint>,
    /// Points that the monotone repair changed, by batch; empty if the means were non-decreasing.
    pub repairs: Vec<Repair>,
    /// The affine model beside it.
    pub affine: AffineFit,
    /// Coefficient of variation of a batch's time: the median over the rows with a p99 of [`lognormal_cv`].
    pub service_cv: Estimate,
}

/// Why a batch sweep could not be fitted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchFitError {
    /// There are no rows.
    #[error("found a batch sweep without rows, expected at least one")]
    Empty,
    /// A row that the reader would have refused.
    #[error(
        "line {line} of the batch sweep: found batch {batch} with a latency of {latency_ms} ms, expected a batch of at \
         least 1 and a positive latency"
    )]
    Row {
        /// Line of the row.
        line: u64,
        /// Its batch.
        batch: u32,
        /// Its latency as text (ms).
        latency_ms: String,
    },
}

/// Coefficient of variation of the lognormal distribution with this mean and 99th percentile.
///
/// With `σ` the standard deviation of the logarithm, `ln(p99/mean) = z·σ − σ²/2`, `z = 2.3263`; the smaller root is
/// taken and `cv = sqrt(exp(σ²) − 1)`. A p99 at or below the mean (rounding) gives zero. `None` if no lognormal has
/// such a ratio (above `exp(z²/2) = 14.97`) or an argument is not positive.
#[must_use]
pub fn lognormal_cv(mean: f64, p99: f64) -> Option<f64> {
    if !(mean > 0.0 && p99 > 0.0 && mean.is_finite() && p99.is_finite()) {
        return None;
    }
    let log_ratio = (p99 / mean).ln();
    if log_ratio <= 0.0 {
        return Some(0.0);
    }
    let discriminant = Z99 * Z99 - 2.0 * log_ratio;
    if discriminant < 0.0 {
        return None;
    }
    let sigma = Z99 - discriminant.sqrt();
    Some((sigma * sigma).exp_m1().sqrt())
}

/// 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_840_8;

/// Fits a batch sweep: profile points, affine model and spread.
///
/// Rows of equal batch are averaged. Where a larger batch is faster than a smaller one, both (and as many neighbours
/// as it takes) get their mean, weighted by rows: the least-squares non-decreasing fit, by pool-adjacent-violators
/// (Ayer et al. 1955). The affine model is fitted to the rows as measured, by least squares of relative errors, with
/// neither parameter negative.
///
/// # Errors
/// If there is no row, or one with a batch of zero or a latency that is not positive.
pub fn fit_batch_sweep(rows: &[BatchRow]) -> Result<BatchFit, BatchFitError> {
    if rows.is_empty() {
        return Err(BatchFitError::Empty);
    }
    for row in rows {
        if row.batch == 0 || !row.latency_ms.is_finite() || row.latency_ms <= 0.0 {
            return Err(BatchFitError::Row {
                line: row.line,
                batch: row.batch,
                latency_ms: row.latency_ms.to_string(),
            });
        }
    }
    let means = average_by_batch(rows);
    let points = non_decreasing(&means);
    let repairs = means
        .iter()
        .zip(&points)
        .filter(|(measured, repaired)| measured.latency_ms != repaired.latency_ms)
        .map(|(measured, repaired)| Repair {
            batch: measured.batch,
            measured_ms: measured.latency_ms,
            repaired_ms: repaired.latency_ms,
        })
        .collect();
    Ok(BatchFit { points, repairs, affine: affine(rows), service_cv: service_cv(rows) })
}

fn average_by_batch(rows: &[BatchRow]) -> Vec<ProfilePoint> {
    let mut by_batch: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
    for row in rows {
        let entry = by_batch.entry(row.batch).or_default();
        entry.0 += row.latency_ms;
        entry.1 += 1;
    }
    by_batch
        .into_iter()
        .map(|(batch, (sum, rows))| ProfilePoint { batch, latency_ms: sum / f64::from(rows), rows })
        .collect()
}

/// Pool-adjacent-violators: blocks of points that share one latency, merged while a block is below the one before it.
fn non_decreasing(means: &[ProfilePoint]) -> Vec<ProfilePoint> {
    struct Block {
        latency_ms: f64,
        weight: f64,
        points: usize,
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(means.len());
    for mean in means {
        let mut block = Block { latency_ms: mean.latency_ms, weight: f64::from(mean.rows), points: 1 };
        while let Some(before) = blocks.pop_if(|before| before.latency_ms > block.latency_ms) {
            let weight = before.weight + block.weight;
            block = Block {
                latency_ms: (before.latency_ms * before.weight + block.latency_ms * block.weight) / weight,
                weight,
                points: before.points + block.points,
            };
        }
        blocks.push(block);
    }
    let latencies = blocks.iter().flat_map(|block| std::iter::repeat_n(block.latency_ms, block.points));
    means.iter().zip(latencies).map(|(mean, latency_ms)| ProfilePoint { latency_ms, ..*mean }).collect()
}

/// Weighted sums of the normal equations; the weights `1/latency²` make the errors relative.
#[derive(Default)]
struct Sums {
    w: f64,
    wx: f64,
    wxx: f64,
    wy: f64,
    wxy: f64,
}

fn affine(rows: &[BatchRow]) -> AffineFit {
    let first = rows.first().map_or(0, |row| row.batch);
    if rows.iter().all(|row| row.batch == first) {
        let why = format!(
            "every row has a batch of {first}; two batch sizes are needed to tell the fixed part from the slope"
        );
        return AffineFit {
            fixed_ms: Estimate::NotIdentified { why: why.clone() },
            per_item_ms: Estimate::NotIdentified { why },
            held_at_zero: Bound::None,
            report: None,
        };
    }
    let mut s = Sums::default();
    for row in rows {
        let (x, y) = (f64::from(row.batch), row.latency_ms);
        let w = 1.0 / (y * y);
        s.w += w;
        s.wx += w * x;
        s.wxx += w * x * x;
        s.wy += w * y;
        s.wxy += w * x * y;
    }
    let determinant = s.w * s.wxx - s.wx * s.wx;
    let slope = (s.w * s.wxy - s.wx * s.wy) / determinant;
    let start = (s.wxx * s.wy - s.wx * s.wxy) / determinant;
    let (fixed, per_item, held) = if start < 0.0 {
        (0.0, s.wxy / s.wxx, Bound::Fixed)
    } else if slope < 0.0 {
        (s.wy / s.w, 0.0, Bound::PerItem)
    } else {
        (start, slope, Bound::None)
    };
    let residuals: Vec<Residual> = rows
        .iter()
        .map(|row| {
            let predicted = fixed + per_item * f64::from(row.batch);
            Residual::new(row.line, Quantity::Latency, row.latency_ms, predicted)
        })
        .collect();
    // The relative errors are the weighted residuals, so their mean square is the variance of unit weight.
    let squares: f64 = residuals.iter().map(|r| r.relative_error.powi(2)).sum();
    let parameters = if held == Bound::None { 2 } else { 1 };
    let freedom = rows.len().saturating_sub(parameters);
    let std_error = |variance: f64| (freedom > 0).then(|| (squares / freedom as f64 * variance).max(0.0).sqrt());
    let (fixed_error, slope_error) = match held {
        Bound::None => (std_error(s.wxx / determinant), std_error(s.w / determinant)),
        Bound::Fixed => (None, std_error(1.0 / s.wxx)),
        Bound::PerItem => (std_error(1.0 / s.w), None),
    };
    AffineFit {
        fixed_ms: Estimate::Identified { value: fixed, std_error: fixed_error },
        per_item_ms: Estimate::Identified { value: per_item, std_error: slope_error },
        held_at_zero: held,
        report: FitReport::new(residuals),
    }
}

fn service_cv(rows: &[BatchRow]) -> Estimate {
    let with_p99 = rows.iter().filter(|row| row.p99_ms.is_some()).count();
    let mut values: Vec<f64> = rows.iter().filter_map(|row| lognormal_cv(row.latency_ms, row.p99_ms?)).collect();
    if values.is_empty() {
        let why = match with_p99 {
            0 => "no row has a p99; the mean alone says nothing about the spread".to_owned(),
            n => format!(
                "the p99 of all {n} rows that have one is more than 14.97 times the mean, which no lognormal reaches"
            ),
        };
        return Estimate::NotIdentified { why };
    }
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    let median = (at((n - 1) / 2) + at(n / 2)) / 2.0;
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    // Standard error of a median of normal values: sqrt(π/2) times that of their mean.
    let std_error = (n > 1).then(|| (std::f64::consts::FRAC_PI_2 * squares / ((n - 1) as f64 * n as f64)).sqrt());
    Estimate::Identified { value: median, std_error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(batch: u32, latency_ms: f64, p99_ms: Option<f64>) -> BatchRow {
        BatchRow { line: u64::from(batch) + 1, batch, latency_ms, p99_ms }
    }

    fn fitted(rows: &[BatchRow]) -> BatchFit {
        match fit_batch_sweep(rows) {
            Ok(fit) => fit,
            Err(error) => unreachable!("{error}"),
        }
    }

    #[test]
    fn an_exact_line_is_found_exactly() {
        let rows: Vec<_> = [1, 2, 4, 8, 16].map(|b| row(b, 1.1 + 0.144 * f64::from(b), None)).into();
        let fit = fitted(&rows);
        assert!(fit.repairs.is_empty());
        assert!(fit.affine.fixed_ms.value().is_some_and(|v| (v - 1.1).abs() < 1e-9));
        assert!(fit.affine.per_item_ms.value().is_some_and(|v| (v - 0.144).abs() < 1e-9));
        let report = fit.affine.report;
        assert!(report.is_some_and(|r| r.rms_relative_error < 1e-9 && r.r_squared.is_some_and(|r2| r2 > 1.0 - 1e-9)));
    }

    #[test]
    fn duplicates_are_averaged_and_a_dip_is_pooled_by_weight() {
        let rows = [row(4, 3.0, None), row(1, 2.0, None), row(2, 3.4, None), row(1, 2.2, None), row(4, 3.2, None)];
        let fit = fitted(&rows);
        let batches: Vec<_> = fit.points.iter().map(|p| (p.batch, p.rows)).collect();
        assert_eq!(batches, [(1, 2), (2, 1), (4, 2)]);
        assert!((fit.points[0].latency_ms - 2.1).abs() < 1e-12);
        // 3.4 once and 3.1 twice: 3.2.
        assert!((fit.points[1].latency_ms - 3.2).abs() < 1e-12);
        assert!((fit.points[2].latency_ms - 3.2).abs() < 1e-12);
        assert_eq!(fit.repairs.iter().map(|r| r.batch).collect::<Vec<_>>(), [2, 4]);
        assert!((fit.repairs[0].measured_ms - 3.4).abs() < 1e-12);
    }

    #[test]
    fn one_batch_size_identifies_neither_parameter() {
        let fit = fitted(&[row(8, 3.0, None), row(8, 3.1, None)]);
        assert_eq!(fit.points.len(), 1);
        let Estimate::NotIdentified { why } = fit.affine.per_item_ms else {
            unreachable!("one batch size has no slope")
        };
        assert!(why.contains("every row has a batch of 8"), "{why}");
        assert!(fit.affine.fixed_ms.value().is_none() && fit.affine.report.is_none());
    }

    #[test]
    fn parameters_that_would_be_negative_are_held_at_zero() {
        let falling = fitted(&[row(1, 3.0, None), row(2, 2.9, None), row(4, 2.8, None)]);
        assert_eq!(falling.affine.held_at_zero, Bound::PerItem);
        assert_eq!(falling.affine.per_item_ms.value(), Some(0.0));
        let steep = fitted(&[row(1, 1.0, None), row(2, 3.0, None), row(4, 7.0, None)]);
        assert_eq!(steep.affine.held_at_zero, Bound::Fixed);
        assert_eq!(steep.affine.fixed_ms.value(), Some(0.0));
    }

    #[test]
    fn two_rows_leave_no_error_to_judge_by() {
        let fit = fitted(&[row(1, 2.0, None), row(2, 3.0, None)]);
        assert!(matches!(
            fit.affine.fixed_ms,
            Estimate::Identified { value, std_error: None } if (value - 1.0).abs() < 1e-12
        ));
    }

    #[test]
    fn standard_errors_shrink_with_the_noise() {
        let error = |noise: f64| {
            let rows: Vec<_> = (1..=20)
                .map(|b| row(b, (1.0 + 0.2 * f64::from(b)) * (1.0 + noise * (f64::from(b % 3) - 1.0)), None))
                .collect();
            match fitted(&rows).affine.per_item_ms {
                Estimate::Identified { std_error: Some(e), .. } => e,
                _ => f64::NAN,
            }
        };
        let ratio = error(0.02) / error(0.01);
        assert!((ratio - 2.0).abs() < 0.05, "{ratio}");
    }

    #[test]
    fn the_spread_of_a_lognormal_is_recovered() {
        for cv in [0.01, 0.05, 0.3, 1.0] {
            let sigma = f64::sqrt(f64::ln(1.0 + cv * cv));
            let p99 = (Z99 * sigma - sigma * sigma / 2.0).exp();
            assert!(lognormal_cv(1.0, p99).is_some_and(|found| (found / cv - 1.0).abs() < 1e-9));
        }
        assert_eq!(lognormal_cv(2.0, 1.9), Some(0.0));
        assert_eq!(lognormal_cv(1.0, 15.0), None);
        assert_eq!(lognormal_cv(0.0, 1.0), None);
        let fit = fitted(&[row(1, 1.0, Some(1.1)), row(2, 2.0, None), row(4, 3.0, Some(3.3))]);
        let expected = lognormal_cv(1.0, 1.1);
        assert!(fit.service_cv.value().zip(expected).is_some_and(|(a, b)| (a - b).abs() < 1e-12));
        let fit = fitted(&[row(1, 1.0, Some(20.0))]);
        assert!(matches!(fit.service_cv, Estimate::NotIdentified { why } if why.contains("14.97")));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(fit_batch_sweep(&[]), Err(BatchFitError::Empty));
        assert!(fit_batch_sweep(&[row(1, f64::NAN, None)]).is_err());
        assert!(fit_batch_sweep(&[row(0, 1.0, None)]).is_err());
    }

    proptest! {
        #[test]
        fn the_profile_is_monotone_keeps_the_mean_and_is_a_fixed_point(
            latencies in proptest::collection::vec(0.1..100.0_f64, 1..30)
        ) {
            let rows: Vec<_> = (1..).zip(&latencies).map(|(b, l)| row(b, *l, None)).collect();
            let fit = fitted(&rows);
            prop_assert!(fit.points.windows(2).all(|w| w[0].latency_ms <= w[1].latency_ms));
            let total: f64 = fit.points.iter().map(|p| p.latency_ms).sum();
            let measured: f64 = latencies.iter().sum();
            prop_assert!((total - measured).abs() < 1e-9 * measured);
            let again: Vec<_> = fit.points.iter().map(|p| row(p.batch, p.latency_ms, None)).collect();
            prop_assert!(fitted(&again).repairs.is_empty());
        }
    }
}
