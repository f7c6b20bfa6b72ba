//! Formulas over triggers, through both loops.

use super::*;
use crate::hpa::Reading;

/// An object with triggers `one` and `two` and the given formula and other fields.
fn modified(formula: &str, more: &str, rest: &str) -> Keda {
    keda(object(&format!(
        "advanced: {{scalingModifiers: {{formula: '{formula}'{more}}}}}{rest}\n  triggers:\n  \
         - {{type: prometheus, name: one, metadata: {{serverAddress: p, query: a, threshold: '10'}}}}\n  \
         - {{type: prometheus, name: two, metadata: {{serverAddress: p, query: b, threshold: '10'}}}}"
    )))
}

/// What the HorizontalPodAutoscaler saw in its last metric, in thousandths per replica.
fn reading(decision: &KedaDecision) -> Option<i64> {
    match decision.hpa.as_ref()?.metrics.last()?.as_ref().ok()?.reading {
        Reading::AverageMilli(milli) | Reading::ValueMilli(milli) => Some(milli),
        Reading::Utilization { .. } => None,
    }
}

fn value(value: f64) -> TriggerInput {
    TriggerInput::Value(value)
}

#[test]
fn the_formula_scales() {
    // TestScalingModifiersFormula: 2 + 5 = 7, with a target of 2.
    let mut keda = modified("one + two", ", target: '2'", "");
    let decision = tick(&mut keda, 0, 1, &[value(2.0), value(5.0)]);
    assert_eq!((reading(&decision), decision.desired), (Some(7_000), 4));
    // Negative values count as 0 (`quantityFromFloat64`), and results are truncated to thousandths.
    let mut keda = modified("one / 3 + two", ", target: '2'", "");
    assert_eq!(reading(&tick(&mut keda, 0, 1, &[value(2.0), value(-5.0)])), Some(666));
}

#[test]
fn activity_is_the_formulas() {
    let rows = [
        // Strictly above, and 0 without a target of activation, whatever the triggers' own thresholds.
        ("one + two", ", target: '2'", [0.0, 0.0], false),
        ("one + two", ", target: '2'", [0.0, 0.001], true),
        ("one + two", ", target: '2', activationTarget: '7'", [2.0, 5.0], false),
        ("one + two", ", target: '2', activationTarget: '7'", [2.0, 5.1], true),
        ("one > 100 ? two : 0", ", target: '2'", [50.0, 50.0], false),
    ];
    for (formula, more, values, active) in rows {
        let mut keda = modified(formula, more, "");
        let decision = tick(&mut keda, 0, 0, &values.map(TriggerInput::Value));
        assert_eq!((decision.active, decision.desired > 0), (active, active), "{formula}{more} of {values:?}");
    }
}

#[test]
fn one_failure_fails_the_formula() {
    let mut keda = modified("one + two", ", target: '2'", "");
    let decision = tick(&mut keda, 0, 3, &[value(90.0), failed()]);
    assert_eq!((decision.active, decision.poll, decision.desired), (false, Some(PollOutcome::TriggerError), 3));
    let error = decision.hpa.and_then(|hpa| hpa.error).expect("an error").to_string();
    assert!(error.ends_with("unable to get the metric: no answer"), "{error}");
}

#[test]
fn a_formula_may_fail_when_it_runs() {
    // With -1 for each trigger it does not, so it is read.
    let mut keda = modified("max(filter([one], # < 5))", ", target: '2'", "");
    let decision = tick(&mut keda, 0, 3, &[value(9.0), value(0.0)]);
    assert_eq!((decision.active, decision.desired), (false, 0));
    let mut keda = modified("max(filter([one], # < 5))", ", target: '2'", "\n  minReplicaCount: 1");
    let decision = tick(&mut keda, 0, 3, &[value(9.0), value(0.0)]);
    let error = decision.hpa.and_then(|hpa| hpa.error).expect("an error").to_string();
    assert!(error.contains("formula, position 1: found an array without elements"), "{error}");
}

#[test]
fn a_fallback_replaces_the_formula() {
    // At a threshold of 0 the first failure counts: the fallback's replicas times the formula's target.
    let fallback = "\n  fallback: {failureThreshold: 0, replicas: 6}";
    let mut keda = modified("one + two", ", target: '2'", fallback);
    let decision = tick(&mut keda, 0, 3, &[value(90.0), failed()]);
    assert_eq!((decision.active, decision.fallback, decision.desired), (true, true, 6));
    // A target that is no whole number makes the fallback invalid (`HasValidFallback`).
    let mut keda = modified("one + two", ", target: '2.5'", fallback);
    let decision = tick(&mut keda, 0, 3, &[value(90.0), failed()]);
    assert_eq!((decision.active, decision.fallback, decision.desired), (false, false, 3));
}

#[test]
fn a_formula_may_see_to_its_fallbacks() {
    let fallback = "\n  fallback: {failureThreshold: THRESHOLD, replicas: 7, behavior: scalingModifiers}";
    let rows = [
        // TestCalculateScalingModifiersFormulaFallbackReplicas: 7 times 2.
        ("one ?? two", "0", [failed(), failed()], Some(14_000)),
        ("one ?? two", "0", [failed(), value(5.0)], Some(5_000)),
        ("one ?? two", "0", [value(4.0), failed()], Some(4_000)),
        ("one ?? 3", "0", [failed(), failed()], Some(3_000)),
        // TestScalingModifierTriggerValue: the threshold itself is not exceeded, and the first sync is the second look.
        ("one ?? two", "2", [failed(), value(5.0)], None),
        ("one ?? two", "1", [failed(), value(5.0)], Some(5_000)),
    ];
    for (formula, threshold, inputs, milli) in rows {
        let mut keda = modified(formula, ", target: '2'", &fallback.replace("THRESHOLD", threshold));
        let decision = tick(&mut keda, 0, 1, &inputs);
        assert_eq!(reading(&decision), milli, "{formula} of {inputs:?}");
        assert!(!decision.fallback, "{formula} of {inputs:?}");
    }
}
