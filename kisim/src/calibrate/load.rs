//! From a load sweep to the parameters of a server, through a model of it.

use super::identify::{Criteria, identify};
use super::levenberg::{Outcome, Settings, minimise};
use super::measurements::LoadRow;
use super::report::{Estimate, FitReport, Quantity, Residual};
use serde::Serialize;

/// The parameters of a server that batches: a batch of `b` takes `fixed_ms + per_item_ms·b`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Params {
    /// Time of a batch however small, ms.
    pub fixed_ms: f64,
    /// Time each request adds to its batch, ms.
    pub per_item_ms: f64,
    /// Time of each request outside the batch, ms.
    pub overhead_ms: f64,
    /// Coefficient of variation of a batch's time, no unit.
    pub service_cv: f64,
}

/// A parameter of [`Params`], by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadParameter {
    /// [`Params::fixed_ms`].
    FixedMs,
    /// [`Params::per_item_ms`].
    PerItemMs,
    /// [`Params::overhead_ms`].
    OverheadMs,
    /// [`Params::service_cv`].
    ServiceCv,
}

impl LoadParameter {
    const ALL: [Self; 4] = [Self::FixedMs, Self::PerItemMs, Self::OverheadMs, Self::ServiceCv];

    /// The name of the field.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FixedMs => "fixed_ms",
            Self::PerItemMs => "per_item_ms",
            Self::OverheadMs => "overhead_ms",
            Self::ServiceCv => "service_cv",
        }
    }

    fn get(self, params: &Params) -> f64 {
        match self {
            Self::FixedMs => params.fixed_ms,
            Self::PerItemMs => params.per_item_ms,
            Self::OverheadMs => params.overhead_ms,
            Self::ServiceCv => params.service_cv,
        }
    }

    fn set(self, params: &mut Params, value: f64) {
        match self {
            Self::FixedMs => params.fixed_ms = value,
            Self::PerItemMs => params.per_item_ms = value,
            Self::OverheadMs => params.overhead_ms = value,
            Self::ServiceCv => params.service_cv = value,
        }
    }
}

/// What a model says about one row of the sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Completed requests per second.
    pub throughput: f64,
    /// Median latency, ms.
    pub p50_ms: f64,
    /// 95th percentile, ms.
    pub p95_ms: f64,
    /// 99th percentile, ms.
    pub p99_ms: f64,
}

/// How to fit a load sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadFitOptions {
    /// Where the search starts; every parameter that is fitted must be positive. If the model has no answer there
    /// (saturated), the times of a batch are halved until it has, at most ten times.
    pub start: Params,
    /// Whether `service_cv` is fitted too, or kept as in `start`.
    pub fit_service_cv: bool,
    /// Steps before it gives up; each costs up to nine predictions of the whole sweep.
    pub max_iterations: u32,
    /// Relative half-width of the numeric derivatives: large enough to rise above the noise of the model.
    pub derivative_step: f64,
    /// Relative error of a single measured number, at least; standard errors never assume less.
    pub measurement_error: f64,
    /// Largest relative standard error at which a parameter counts as identified.
    pub max_relative_error: f64,
}

impl LoadFitOptions {
    /// The defaults around a start: `service_cv` kept, 60 steps, derivatives over ±2 %, measurements good to 2 %, a
    /// parameter identified to within 30 %.
    #[must_use]
    pub fn from_start(start: Params) -> Self {
        Self {
            start,
            fit_service_cv: false,
            max_iterations: 60,
            derivative_step: 0.02,
            measurement_error: 0.02,
            max_relative_error: 0.3,
        }
    }
}

/// Whether the search came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Convergence {
    /// No step improves the fit any more.
    Converged,
    /// It used up its iterations; the parameters are the best seen.
    OutOfIterations,
}

/// What a load sweep says about a server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadFit {
    /// The best parameters found, including those that the data do not identify (they then are one choice of many).
    pub params: Params,
    /// Verdict on `fixed_ms`.
    pub fixed_ms: Estimate,
    /// Verdict on `per_item_ms`.
    pub per_item_ms: Estimate,
    /// Verdict on `overhead_ms`.
    pub overhead_ms: Estimate,
    /// Verdict on `service_cv`; `None` if it was kept as given.
    pub service_cv: Option<Estimate>,
    /// Residuals per row and quantity, the worst, and the root mean square relative error.
    pub report: FitReport,
    /// Condition number of the column-normalised Jacobian: one is best, above about a thousand some combination of
    /// the parameters is not determined.
    pub condition: f64,
    /// Whether the search came to rest.
    pub convergence: Convergence,
    /// Steps tried.
    pub iterations: u32,
}

/// Why a load sweep could not be fitted.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LoadFitError {
    /// There are no rows.
    #[error("found a load sweep without rows, expected at least one")]
    Empty,
    /// A starting value that the search cannot use.
    #[error("start of the fit, `{parameter}`: found {found}, expected a number above {above} and below {below}")]
    Start {
        /// The parameter.
        parameter: &'static str,
        /// Its starting value.
        found: f64,
        /// Lower end of the search.
        above: f64,
        /// Upper end of the search.
        below: f64,
    },
    /// An option that makes no sense.
    #[error("option of the fit, `{option}`: found {found}, expected a positive number below 1")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: f64,
    },
    /// The model gives no usable number where the search starts or ends.
    #[error("line {line} of the load sweep, {quantity:?}: the model predicts {found}, expected a positive number")]
    Prediction {
        /// Line of the row.
        line: u64,
        /// What was predicted.
        quantity: Quantity,
        /// The prediction.
        found: f64,
    },
}

/// The search keeps every parameter within these (ms, or no unit for the coefficient of variation).
const LOWEST: f64 = 1e-6;
const HIGHEST: f64 = 1e7;

/// How often the times of a batch are halved to find a start that is not saturated: a factor of a thousand.
const HALVINGS: u32 = 10;

/// A prediction that is zero, infinite or not a number counts as wrong by this factor (as a logarithm), so that the
/// search turns back instead of stopping.
const HOPELESS: f64 = 15.0;

/// Finds the parameters with which `predict` reproduces a load sweep.
///
/// Least squares of `ln(predicted / measured)` over throughput, p50, p95 and p99 of every row, by Levenberg–Marquardt
/// in the logarithms of the parameters. `predict` must be a function of its arguments: a simulation has to use the
/// same random numbers in every call, or differences between calls are noise.
///
/// # Errors
/// If there are no rows, a fitted parameter does not start between 1e-6 and 1e7, an option is out of range, or the
/// model predicts something that is not positive and finite at the start (with the times of a batch halved up to ten
/// times) or at the end of the search.
pub fn fit_load_sweep(
    rows: &[LoadRow],
    options: &LoadFitOptions,
    predict: impl Fn(&Params, &LoadRow) -> Prediction,
) -> Result<LoadFit, LoadFitError> {
    if rows.is_empty() {
        return Err(LoadFitError::Empty);
    }
    let fitted: Vec<LoadParameter> =
        LoadParameter::ALL.into_iter().filter(|p| *p != LoadParameter::ServiceCv || options.fit_service_cv).collect();
    check(options, &fitted)?;
    let params_at = |x: &[f64]| {
        let mut params = options.start;
        for (parameter, log) in fitted.iter().zip(x) {
            parameter.set(&mut params, log.exp());
        }
        params
    };
    let log_errors = |x: &[f64]| {
        let params = params_at(x);
        rows.iter()
            .flat_map(|row| pairs(row, &predict(&params, row)))
            .map(|(_, measured, predicted)| match usable(predicted) {
                true => (predicted / measured).ln().clamp(-HOPELESS, HOPELESS),
                false => HOPELESS,
            })
            .collect()
    };
    let start = usable_start(rows, options, &predict)?;
    let start: Vec<f64> = fitted.iter().map(|p| p.get(&start).ln()).collect();
    let settings = Settings {
        step: options.derivative_step,
        max_iterations: options.max_iterations,
        lower: LOWEST.ln(),
        upper: HIGHEST.ln(),
    };
    let outcome = minimise(&log_errors, &start, &settings);
    let params = params_at(&outcome.x);
    let report = FitReport::new(residuals(rows, &params, &predict)?).ok_or(LoadFitError::Empty)?;
    Ok(judged(options, &fitted, params, report, &outcome))
}

/// The start, or one with shorter batches at which the model has an answer for every row.
fn usable_start(
    rows: &[LoadRow],
    options: &LoadFitOptions,
    predict: &impl Fn(&Params, &LoadRow) -> Prediction,
) -> Result<Params, LoadFitError> {
    let mut params = options.start;
    for _ in 0..HALVINGS {
        if residuals(rows, &params, predict).is_ok() {
            return Ok(params);
        }
        params.fixed_ms /= 2.0;
        params.per_item_ms /= 2.0;
    }
    residuals(rows, &options.start, predict).map(|_| options.start)
}

fn check(options: &LoadFitOptions, fitted: &[LoadParameter]) -> Result<(), LoadFitError> {
    for parameter in fitted {
        let found = parameter.get(&options.start);
        if !(found > LOWEST && found < HIGHEST) {
            return Err(LoadFitError::Start { parameter: parameter.name(), found, above: LOWEST, below: HIGHEST });
        }
    }
    for (option, found) in [
        ("derivative_step", options.derivative_step),
        ("measurement_error", options.measurement_error),
        ("max_relative_error", options.max_relative_error),
    ] {
        if !(found > 0.0 && found < 1.0) {
            return Err(LoadFitError::Option { option, found });
        }
    }
    Ok(())
}

fn judged(
    options: &LoadFitOptions,
    fitted: &[LoadParameter],
    params: Params,
    report: FitReport,
    outcome: &Outcome,
) -> LoadFit {
    let names: Vec<&str> = fitted.iter().map(|p| p.name()).collect();
    let values: Vec<f64> = fitted.iter().map(|p| p.get(&params)).collect();
    let criteria = Criteria {
        measurement_error: options.measurement_error,
        max_relative_error: options.max_relative_error,
        lower_bound: LOWEST * 1.001,
    };
    let (estimates, condition) = identify(&names, &values, &outcome.jacobian, &outcome.residuals, &criteria);
    let estimate = |wanted: LoadParameter| {
        fitted.iter().zip(&estimates).find(|(parameter, _)| **parameter == wanted).map(|(_, estimate)| estimate.clone())
    };
    let or_kept = |found: Option<Estimate>| {
        found.unwrap_or_else(|| Estimate::NotIdentified { why: "it was not fitted".to_owned() })
    };
    LoadFit {
        params,
        fixed_ms: or_kept(estimate(LoadParameter::FixedMs)),
        per_item_ms: or_kept(estimate(LoadParameter::PerItemMs)),
        overhead_ms: or_kept(estimate(LoadParameter::OverheadMs)),
        service_cv: estimate(LoadParameter::ServiceCv),
        report,
        condition,
        convergence: match outcome.converged {
            true => Convergence::Converged,
            false => Convergence::OutOfIterations,
        },
        iterations: outcome.iterations,
    }
}

fn usable(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

/// Quantity, measured, predicted.
fn pairs(row: &LoadRow, prediction: &Prediction) -> [(Quantity, f64, f64); 4] {
    [
        (Quantity::Throughput, row.throughput, prediction.throughput),
        (Quantity::P50, row.p50_ms, prediction.p50_ms),
        (Quantity::P95, row.p95_ms, prediction.p95_ms),
        (Quantity::P99, row.p99_ms, prediction.p99_ms),
    ]
}

fn residuals(
    rows: &[LoadRow],
    params: &Params,
    predict: &impl Fn(&Params, &LoadRow) -> Prediction,
) -> Result<Vec<Residual>, LoadFitError> {
    let mut all = Vec::with_capacity(4 * rows.len());
    for row in rows {
        for (quantity, measured, predicted) in pairs(row, &predict(params, row)) {
            if !usable(predicted) {
                return Err(LoadFitError::Prediction { line: row.line, quantity, found: predicted });
            }
            all.push(Residual::new(row.line, quantity, measured, predicted));
        }
    }
    Ok(all)
}
