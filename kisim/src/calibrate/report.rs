//! What a fit says about itself.

use serde::Serialize;

/// A fitted parameter, or why the data do not determine it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Estimate {
    /// The data determine the parameter.
    Identified {
        /// The estimate, in the parameter's own unit.
        value: f64,
        /// Its standard error in the same unit; `None` where there are exactly as many rows as parameters, so that
        /// nothing is left to judge the error by.
        std_error: Option<f64>,
    },
    /// The data do not determine the parameter.
    NotIdentified {
        /// The reason, one sentence.
        why: String,
    },
}

impl Estimate {
    /// The value, if the data determine it.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Identified { value, .. } => Some(*value),
            Self::NotIdentified { .. } => None,
        }
    }
}

/// The measured quantity that a residual is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Mean latency of a batch, ms.
    Latency,
    /// Completed requests per second.
    Throughput,
    /// Median latency, ms.
    P50,
    /// 95th percentile of the latency, ms.
    P95,
    /// 99th percentile of the latency, ms.
    P99,
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Quantity::Latency => "latency",
            Quantity::Throughput => "throughput",
            Quantity::P50 => "P50",
            Quantity::P95 => "P95",
            Quantity::P99 => "P99",
        })
    }
}

/// One measured number beside what the fit makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Residual {
    /// Line of the row in its file, counted from 1.
    pub line: u64,
    /// What was measured.
    pub quantity: Quantity,
    /// The measured value, in the unit of the quantity.
    pub measured: f64,
    /// The fitted model's value, in the same unit.
    pub predicted: f64,
    /// `(predicted − measured) / measured`.
    pub relative_error: f64,
}

impl Residual {
    pub(super) fn new(line: u64, quantity: Quantity, measured: f64, predicted: f64) -> Self {
        Self { line, quantity, measured, predicted, relative_error: (predicted - measured) / measured }
    }
}

/// The residuals of a fit, and their summary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitReport {
    /// One entry per measured number, in the order of the file.
    pub residuals: Vec<Residual>,
    /// The entry with the largest relative error, in either direction.
    pub worst: Residual,
    /// Root mean square of the relative errors.
    pub rms_relative_error: f64,
    /// Share of the variance of the measured values that the fit explains (one is perfect, negative is worse than
    /// their mean); `None` where they do not vary or are of several kinds.
    pub r_squared: Option<f64>,
}

impl FitReport {
    /// `None` without residuals.
    pub(super) fn new(residuals: Vec<Residual>) -> Option<Self> {
        let mut worst = *residuals.first()?;
        for residual in &residuals {
            if residual.relative_error.abs() > worst.relative_error.abs() {
                worst = *residual;
            }
        }
        let n = residuals.len() as f64;
        let squares: f64 = residuals.iter().map(|r| r.relative_error.powi(2)).sum();
        let one_kind = residuals.iter().all(|r| r.quantity == worst.quantity);
        let mean = residuals.iter().map(|r| r.measured).sum::<f64>() / n;
        let spread: f64 = residuals.iter().map(|r| (r.measured - mean).powi(2)).sum();
        let unexplained: f64 = residuals.iter().map(|r| (r.predicted - r.measured).powi(2)).sum();
        Some(Self {
            worst,
            rms_relative_error: (squares / n).sqrt(),
            r_squared: (one_kind && spread > 0.0).then(|| 1.0 - unexplained / spread),
            residuals,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_residuals() {
        assert!(FitReport::new(Vec::new()).is_none());
        let report = FitReport::new(vec![
            Residual::new(2, Quantity::Latency, 10.0, 11.0),
            Residual::new(3, Quantity::Latency, 20.0, 16.0),
        ]);
        let Some(report) = report else { unreachable!("two residuals make a report") };
        assert_eq!(report.worst.line, 3);
        assert!((report.worst.relative_error + 0.2).abs() < 1e-12);
        assert!((report.rms_relative_error - (0.025_f64).sqrt()).abs() < 1e-12);
        assert_eq!(report.r_squared, Some(1.0 - 17.0 / 50.0));
    }

    #[test]
    fn r_squared_needs_one_kind_that_varies() {
        let mixed = FitReport::new(vec![
            Residual::new(2, Quantity::P50, 10.0, 11.0),
            Residual::new(2, Quantity::P95, 20.0, 16.0),
        ]);
        assert_eq!(mixed.and_then(|r| r.r_squared), None);
        let flat = FitReport::new(vec![Residual::new(2, Quantity::Latency, 10.0, 11.0)]);
        assert_eq!(flat.and_then(|r| r.r_squared), None);
    }
}
