//! The load fit against analytic models: what it must find, and what it must decline to say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use kisim::calibrate::{
    Convergence, Estimate, LoadFit, LoadFitError, LoadFitOptions, LoadRow, Offered, Params, Prediction, Quantity,
    fit_load_sweep,
};
use kisim::theory::{batch_latency_exact, closed_loop_mva};

const TRUTH: Params = Params { fixed_ms: 1.1, per_item_ms: 0.144, overhead_ms: 0.8, service_cv: 0.2 };

const START: Params = Params { fixed_ms: 10.0, per_item_ms: 0.02, overhead_ms: 0.1, service_cv: 0.05 };

/// Dynamic batching in open loop. The mean is exact; the quantiles are stand-ins that depend on the parameters as real
/// ones do: the overhead shifts them, the spread stretches them.
fn batching(params: &Params, row: &LoadRow) -> Prediction {
    let Offered::Rate(rate) = row.offered else { unreachable!("the sweeps of these tests are open loops") };
    let mean = batch_latency_exact(rate / 1000.0, params.fixed_ms, params.per_item_ms);
    let at = |z: f64| params.overhead_ms + mean * (1.0 + z * (0.3 + params.service_cv));
    Prediction {
        throughput: rate.min(1000.0 / params.per_item_ms),
        p50_ms: at(0.0),
        p95_ms: at(1.645),
        p99_ms: at(2.326),
    }
}

/// Users with 1.5 s think time at one exponential server: batching plays no part.
fn one_by_one(params: &Params, row: &LoadRow) -> Prediction {
    let Offered::Concurrency(users) = row.offered else { unreachable!("a closed loop") };
    let demand = (params.fixed_ms + params.per_item_ms) / 1000.0;
    let state = closed_loop_mva(users, demand, 1.5);
    let at = |q: f64| params.overhead_ms - 1000.0 * state.response * (1.0 - q).ln();
    Prediction { throughput: state.throughput, p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) }
}

fn sweep(offered: &[Offered], model: impl Fn(&Params, &LoadRow) -> Prediction, noise: f64) -> Vec<LoadRow> {
    let mut phase = 0.3_f64;
    let mut wobble = || {
        phase = (phase * 97.0 + 0.17).fract();
        1.0 + noise * (2.0 * phase - 1.0) * 3.0_f64.sqrt()
    };
    (2..)
        .zip(offered)
        .map(|(line, offered)| {
            let blank = LoadRow {
                line,
                offered: *offered,
                throughput: 1.0,
                p50_ms: 1.0,
                p95_ms: 1.0,
                p99_ms: 1.0,
                mean_ms: None,
            };
            let exact = model(&TRUTH, &blank);
            LoadRow {
                throughput: exact.throughput * wobble(),
                p50_ms: exact.p50_ms * wobble(),
                p95_ms: exact.p95_ms * wobble(),
                p99_ms: exact.p99_ms * wobble(),
                ..blank
            }
        })
        .collect()
}

fn rates(rates: &[f64]) -> Vec<Offered> {
    rates.iter().map(|r| Offered::Rate(*r)).collect()
}

const ALL_LOADS: [f64; 8] = [50.0, 300.0, 800.0, 1500.0, 3000.0, 4500.0, 6000.0, 6600.0];

fn options() -> LoadFitOptions {
    LoadFitOptions { fit_service_cv: true, ..LoadFitOptions::from_start(START) }
}

fn four(fit: &LoadFit) -> [(Option<&Estimate>, f64); 4] {
    [
        (Some(&fit.fixed_ms), TRUTH.fixed_ms),
        (Some(&fit.per_item_ms), TRUTH.per_item_ms),
        (Some(&fit.overhead_ms), TRUTH.overhead_ms),
        (fit.service_cv.as_ref(), TRUTH.service_cv),
    ]
}

#[test]
fn exact_data_give_the_parameters_back_from_a_poor_start() -> Result<(), LoadFitError> {
    let fit = fit_load_sweep(&sweep(&rates(&ALL_LOADS), batching, 0.0), &options(), batching)?;
    assert_eq!(fit.convergence, Convergence::Converged);
    assert!(fit.report.rms_relative_error < 1e-4, "{}", fit.report.rms_relative_error);
    for (estimate, truth) in four(&fit) {
        let value = estimate.and_then(Estimate::value);
        assert!(value.is_some_and(|v| (v / truth - 1.0).abs() < 0.01), "{estimate:?}, expected {truth}");
    }
    Ok(())
}

#[test]
fn noisy_data_give_them_back_within_their_standard_errors() -> Result<(), LoadFitError> {
    let fit = fit_load_sweep(&sweep(&rates(&ALL_LOADS), batching, 0.02), &options(), batching)?;
    for (estimate, truth) in four(&fit) {
        assert!(
            matches!(estimate, Some(Estimate::Identified { value, std_error: Some(e) }) if (value - truth).abs() < 4.0 * e),
            "{estimate:?}, expected {truth}"
        );
    }
    assert!((0.005..0.04).contains(&fit.report.rms_relative_error));
    assert_eq!(fit.report.residuals.len(), 4 * ALL_LOADS.len());
    assert!(fit.report.residuals.iter().all(|r| r.relative_error.abs() <= fit.report.worst.relative_error.abs()));
    Ok(())
}

#[test]
fn low_load_alone_does_not_tell_the_fixed_part_from_the_slope() -> Result<(), LoadFitError> {
    let rows = sweep(&rates(&[1.0, 2.0, 5.0, 10.0]), batching, 0.0);
    let fit = fit_load_sweep(
        &rows,
        &LoadFitOptions::from_start(Params { fixed_ms: 1.0, per_item_ms: 0.3, ..TRUTH }),
        batching,
    )?;
    for estimate in [&fit.fixed_ms, &fit.per_item_ms] {
        let Estimate::NotIdentified { why } = estimate else { panic!("low load cannot identify {estimate:?}") };
        assert!(why.contains("fixed_ms") || why.contains("per_item_ms"), "{why}");
    }
    // Their sum and the overhead are what such data do say.
    let sum = fit.params.fixed_ms + fit.params.per_item_ms;
    assert!((sum - 1.244).abs() < 0.02, "{sum}");
    assert!(fit.overhead_ms.value().is_some_and(|v| (v / 0.8 - 1.0).abs() < 0.02));
    assert!(fit.service_cv.is_none());
    Ok(())
}

#[test]
fn without_batching_only_the_sum_is_determined_at_any_load() -> Result<(), LoadFitError> {
    let users: Vec<_> = [10, 200, 800, 1200, 2000].map(Offered::Concurrency).into();
    let rows = sweep(&users, one_by_one, 0.01);
    let fit = fit_load_sweep(
        &rows,
        &LoadFitOptions::from_start(Params { fixed_ms: 3.0, per_item_ms: 1.0, ..TRUTH }),
        one_by_one,
    )?;
    assert!(fit.condition > 1e2, "{}", fit.condition);
    assert!(matches!(&fit.fixed_ms, Estimate::NotIdentified { .. }), "{:?}", fit.fixed_ms);
    assert!(matches!(&fit.per_item_ms, Estimate::NotIdentified { .. }), "{:?}", fit.per_item_ms);
    let sum = fit.params.fixed_ms + fit.params.per_item_ms;
    assert!((sum / 1.244 - 1.0).abs() < 0.02, "{sum}");
    Ok(())
}

#[test]
fn an_overhead_that_is_not_there_is_not_told_from_zero() -> Result<(), LoadFitError> {
    let without =
        |params: &Params, row: &LoadRow| batching(&Params { overhead_ms: params.overhead_ms * 1e-9, ..*params }, row);
    let rows = sweep(&rates(&ALL_LOADS), without, 0.0);
    let fit =
        fit_load_sweep(&rows, &LoadFitOptions::from_start(Params { service_cv: TRUTH.service_cv, ..START }), batching)?;
    assert!(matches!(&fit.overhead_ms, Estimate::NotIdentified { .. }), "{:?}", fit.overhead_ms);
    assert!(fit.per_item_ms.value().is_some_and(|v| (v / 0.144 - 1.0).abs() < 0.02));
    Ok(())
}

#[test]
fn a_start_that_is_saturated_or_far_off_still_arrives() -> Result<(), LoadFitError> {
    let rows = sweep(&rates(&ALL_LOADS), batching, 0.0);
    for fixed_ms in [0.05, 1.0, 20.0] {
        for per_item_ms in [0.002, 0.14, 1.0] {
            for overhead_ms in [0.01, 5.0] {
                let start = Params { fixed_ms, per_item_ms, overhead_ms, ..START };
                let fit = fit_load_sweep(&rows, &LoadFitOptions { start, ..options() }, batching)?;
                assert!(fit.report.rms_relative_error < 0.005, "{start:?}: {:?}", fit.params);
            }
        }
    }
    Ok(())
}

#[test]
fn out_of_iterations_is_said() -> Result<(), LoadFitError> {
    let rows = sweep(&rates(&ALL_LOADS), batching, 0.0);
    let few = LoadFitOptions { max_iterations: 2, ..options() };
    let fit = fit_load_sweep(&rows, &few, batching)?;
    assert_eq!((fit.convergence, fit.iterations), (Convergence::OutOfIterations, 2));
    Ok(())
}

#[test]
fn nonsense_is_refused_with_both_sides() {
    let rows = sweep(&rates(&[100.0]), batching, 0.0);
    assert_eq!(fit_load_sweep(&[], &options(), batching), Err(LoadFitError::Empty));
    let start = Params { fixed_ms: 0.0, ..START };
    let error = fit_load_sweep(&rows, &LoadFitOptions::from_start(start), batching);
    assert!(error.is_err_and(|e| { e.to_string().contains("`fixed_ms`: found 0, expected a number above 0.000001") }));
    let error = fit_load_sweep(&rows, &LoadFitOptions { measurement_error: 0.0, ..options() }, batching);
    assert!(error.is_err_and(|e| e.to_string().contains("`measurement_error`: found 0")));
    let broken = |params: &Params, row: &LoadRow| Prediction { p95_ms: f64::NAN, ..batching(params, row) };
    let error = fit_load_sweep(&rows, &options(), broken);
    assert!(matches!(error, Err(LoadFitError::Prediction { line: 2, quantity: Quantity::P95, .. })));
}
