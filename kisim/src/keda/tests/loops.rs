//! What is due when, and who decides.

use super::*;

/// A tick: seconds, replicas, inputs, and then the count, the poll and whether there was a sync.
type Step<'a> = (u64, i32, &'a [TriggerInput], i32, Option<PollOutcome>, bool);

fn play(name: &str, keda: &mut Keda, steps: &[Step<'_>]) {
    for (seconds, replicas, inputs, desired, poll, synced) in steps {
        let decision = tick(keda, *seconds, *replicas, inputs);
        let found = (decision.desired, decision.poll, decision.hpa.is_some());
        assert_eq!(found, (*desired, *poll, *synced), "{name} at {seconds} s: {}", decision.reason);
        assert_eq!(decision.current, *replicas);
    }
}

fn value(value: f64) -> Vec<TriggerInput> {
    vec![TriggerInput::Value(value)]
}

#[test]
fn from_none_and_back() {
    use PollOutcome as P;
    let (none, some, much) = (value(0.0), value(5.0), value(35.0));
    play(
        "from none and back",
        &mut keda(object(&format!("cooldownPeriod: 60\n  {ONE}"))),
        &[
            (0, 0, &none, 0, Some(P::Inactive), true),
            // Neither loop is due.
            (10, 0, &much, 0, None, false),
            // The HPA is switched off at none.
            (15, 0, &much, 0, None, true),
            // The poll wakes the target, and the sync that follows sees one replica: 35 / 10.
            (30, 0, &much, 4, Some(P::Activated), true),
            (45, 4, &much, 4, None, true),
            // 5 / 10 asks for one, but the window for scaling down holds.
            (60, 4, &some, 4, Some(P::Active), true),
            // A poll that is late by 7 s; the next is counted from it.
            (97, 4, &some, 4, Some(P::Active), true),
            (120, 4, &none, 4, None, true),
            // 60 s after the last activity, at 157 s, is not after the cooldown.
            (127, 4, &none, 4, Some(P::CoolingDown), false),
            (157, 4, &none, 4, Some(P::CoolingDown), true),
            (187, 4, &none, 0, Some(P::Deactivated), true),
            (217, 0, &none, 0, Some(P::Inactive), true),
        ],
    );
}

#[test]
fn activation_is_strict() {
    let spec = "triggers: [{type: prometheus, metadata: {serverAddress: p, query: q, threshold: '10', \
                activationThreshold: '50'}}]";
    for (found, active) in [(0.0, false), (50.0, false), (50.001, true), (50.0001, true), (-1.0, false)] {
        let decision = tick(&mut keda(object(spec)), 0, 0, &value(found));
        assert_eq!((decision.active, decision.desired > 0), (active, active), "{found}");
    }
    // Negative ones are active at 0, as upstream's documentation of such thresholds goes.
    let below = spec.replace("'50'", "'-1'");
    assert!(tick(&mut keda(object(&below)), 0, 0, &value(0.0)).active);
}

#[test]
fn results_that_are_none() {
    use PollOutcome as P;
    let strict = ONE.replace("threshold", "ignoreNullValues: 'false', threshold");
    let rows = [
        (ONE, TriggerInput::Empty, P::Deactivated),
        (ONE, TriggerInput::Value(f64::NAN), P::Deactivated),
        (ONE, TriggerInput::Value(f64::INFINITY), P::Deactivated),
        (ONE, failed(), P::TriggerError),
        (ONE, TriggerInput::Clock, P::TriggerError),
        (ONE, cpu(0, &[500]), P::TriggerError),
        (&strict, TriggerInput::Empty, P::TriggerError),
        (&strict, TriggerInput::Value(f64::NAN), P::TriggerError),
        (&strict, TriggerInput::Value(f64::NEG_INFINITY), P::TriggerError),
        (&strict, TriggerInput::Value(0.0), P::Deactivated),
    ];
    for (spec, input, outcome) in rows {
        let decision = tick(&mut keda(object(spec)), 0, 2, std::slice::from_ref(&input));
        assert_eq!(decision.poll, Some(outcome), "{input:?}");
        assert_eq!(decision.desired, if outcome == P::TriggerError { 2 } else { 0 }, "{input:?}");
    }
    // No entry at all for a trigger.
    assert_eq!(tick(&mut keda(object(ONE)), 0, 2, &[]).poll, Some(P::TriggerError));
}

#[test]
fn two_triggers_one_failing() {
    let spec = "triggers:\n  - {type: prometheus, metadata: {serverAddress: p, query: a, threshold: '10'}}\n  \
                - {type: prometheus, metadata: {serverAddress: p, query: b, threshold: '10'}}";
    // TestCheckScaledObjectFindFirstActiveNotIgnoreOthers: active and failing at once.
    let rows = [
        (2, 90.0, 4, PollOutcome::PartialError, "the other asks for more"),
        (5, 20.0, 5, PollOutcome::PartialError, "the other asks for less: not down while one is unknown"),
        (5, 0.0, 5, PollOutcome::TriggerError, "none is active: held"),
        (0, 20.0, 2, PollOutcome::Activated, "an active one wakes the target"),
    ];
    for (replicas, found, desired, outcome, name) in rows {
        for inputs in [[TriggerInput::Value(found), failed()], [failed(), TriggerInput::Value(found)]] {
            // Without a behavior the HPA scales up at most to 4 or to twice the count.
            let decision = tick(&mut keda(object(spec)), 0, replicas, &inputs);
            assert_eq!((decision.desired, decision.poll), (desired, Some(outcome)), "{name}");
        }
    }
}

#[test]
fn paused() {
    let all = [TriggerInput::Value(90.0)];
    for (annotations, replicas, desired) in [
        ("autoscaling.keda.sh/paused: 'true'", 3, 3),
        ("autoscaling.keda.sh/paused: ''", 0, 0),
        ("autoscaling.keda.sh/paused-replicas: '5'", 3, 5),
        // TestScaleToPausedReplicasCount.
        ("autoscaling.keda.sh/paused-replicas: '0'", 2, 0),
        ("autoscaling.keda.sh/paused: 'false', autoscaling.keda.sh/paused-replicas: '5'", 3, 5),
    ] {
        let mut keda = keda(annotated(annotations, ONE));
        for seconds in [0, 15, 600] {
            let decision = tick(&mut keda, seconds, replicas, &all);
            assert_eq!((decision.desired, decision.reason), (desired, KedaReason::Paused), "{annotations}");
            assert!(decision.hpa.is_none() && decision.poll.is_none(), "{annotations}");
        }
    }
    let decision = tick(&mut keda(annotated("autoscaling.keda.sh/paused: '0'", ONE)), 0, 3, &all);
    assert_eq!(decision.desired, 6, "not paused: {}", decision.reason);
}

#[test]
fn paused_directions() {
    let (much, none) = ([TriggerInput::Value(90.0)], [TriggerInput::Value(0.0)]);
    let rows = [
        ("autoscaling.keda.sh/paused-scale-out: 'true'", 3, &much, 3),
        ("autoscaling.keda.sh/paused-scale-out: 'true'", 0, &much, 0),
        ("autoscaling.keda.sh/paused-scale-out: 'true'", 3, &none, 0),
        ("autoscaling.keda.sh/paused-scale-in: 'true'", 3, &none, 3),
        ("autoscaling.keda.sh/paused-scale-in: 'true'", 3, &much, 7),
    ];
    for (annotations, replicas, inputs, desired) in rows {
        let decision = tick(&mut keda(annotated(annotations, ONE)), 0, replicas, inputs);
        assert_eq!(decision.desired, desired, "{annotations} at {replicas}: {}", decision.reason);
    }
}

#[test]
fn cpu_beside_others_and_alone() {
    const CPU: &str = "{type: cpu, metricType: Utilization, metadata: {value: '50'}}";
    let both = format!("{}, {CPU}]", ONE.trim_end_matches(']'));
    // Beside another trigger CPU has no say in the activity.
    let decision = tick(&mut keda(object(&both)), 1_000, 2, &[TriggerInput::Value(0.0), cpu(1_000, &[900, 900])]);
    assert_eq!((decision.active, decision.desired), (false, 0));
    // But the HPA scales by it.
    let decision = tick(&mut keda(object(&both)), 1_000, 2, &[TriggerInput::Value(1.0), cpu(1_000, &[900, 900])]);
    assert_eq!((decision.active, decision.desired), (true, 4));
    // Alone it always counts as active, without an answer too.
    let alone = format!("minReplicaCount: 1\n  triggers: [{CPU}]");
    for (inputs, desired) in
        [(vec![cpu(1_000, &[900, 900])], 4), (vec![TriggerInput::Value(1.0)], 2), (vec![failed()], 2)]
    {
        let decision = tick(&mut keda(object(&alone)), 1_000, 2, &inputs);
        assert_eq!((decision.active, decision.desired), (true, desired), "{inputs:?}");
    }
}

#[test]
fn cached_metrics_are_those_of_the_last_poll() {
    let cached = ONE.replace("type: prometheus", "type: prometheus, useCachedMetrics: true");
    // 40 / 10 asks for four.
    for (spec, desired) in [(ONE, 4), (&cached, 2)] {
        let mut keda = keda(object(spec));
        assert_eq!(tick(&mut keda, 0, 2, &value(20.0)).desired, 2);
        // Only the sync is due.
        assert_eq!(tick(&mut keda, 15, 2, &value(40.0)).desired, desired, "{spec}");
        // Both are.
        assert_eq!(tick(&mut keda, 30, 2, &value(40.0)).desired, 4, "{spec}");
    }
}

#[test]
fn polls_take_what_the_hpa_found() {
    // TestGetScaledObjectState_UsesFreshHPAObservations: with a minimum above 0 nothing is asked twice, so a failure
    // counts once a sync; TestGetScaledObjectState_PollsWithoutUsableHPAObservation: the first poll asks for itself.
    let mut keda = keda(object(&format!("minReplicaCount: 1\n  {ONE}")));
    assert!(tick(&mut keda, 0, 2, &value(20.0)).active);
    assert!(!tick(&mut keda, 15, 2, &value(0.0)).hpa.expect("a sync").metrics.is_empty());
    // What the poll is given at 30 s it does not look at.
    assert!(!tick(&mut keda, 30, 2, &value(20.0)).active);
    assert!(tick(&mut keda, 60, 2, &value(0.0)).active);
}

#[test]
fn reasons_are_sentences() {
    let mut keda = keda(object(ONE));
    assert_eq!(tick(&mut keda, 0, 2, &value(50.0)).reason.to_string(), HPA_UP);
    assert_eq!(tick(&mut keda, 1, 2, &value(50.0)).reason.to_string(), "neither the operator nor the HPA is due");
    assert_eq!(tick(&mut keda, 15, 5, &value(50.0)).reason.to_string(), "HPA: no change");
    let down = tick(&mut keda, 400, 5, &value(0.0)).reason.to_string();
    assert_eq!(down, "operator: triggers are not active, scaled down to none or idle");
}

const HPA_UP: &str = "HPA: external metric s0-prometheus(&LabelSelector{MatchLabels:map[string]string{\
                      scaledobject.keda.sh/name: serve,},MatchExpressions:[]LabelSelectorRequirement{},}) above target";
