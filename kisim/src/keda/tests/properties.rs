//! What holds of every object, load and history.

use proptest::prelude::*;

use super::*;

/// The lines of a spec: minimum, maximum, idle, cooldown, fallback.
fn specs() -> impl Strategy<Value = (String, bool)> {
    let fallback = prop::option::of((0..4_i32, 0..20_i32));
    (0..4_i32, 0..10_i32, prop::bool::ANY, 0..200_i32, fallback).prop_map(|(min, more, idle, cooldown, fallback)| {
        let mut lines = format!("minReplicaCount: {min}\n  maxReplicaCount: {}\n  ", (min + more).max(1));
        if idle {
            lines.push_str(&format!("idleReplicaCount: {}\n  ", (min - 1).max(0)));
        }
        lines.push_str(&format!("cooldownPeriod: {cooldown}\n  "));
        if let Some((threshold, replicas)) = fallback {
            lines.push_str(&format!("fallback: {{failureThreshold: {threshold}, replicas: {replicas}}}\n  "));
        }
        (lines, fallback.is_some())
    })
}

/// What the one trigger answers.
fn answers() -> impl Strategy<Value = TriggerInput> {
    prop_oneof![
        4 => (0.0..200.0_f64).prop_map(TriggerInput::Value),
        2 => Just(TriggerInput::Value(0.0)),
        1 => Just(TriggerInput::Empty),
        2 => Just(failed()),
        1 => any::<f64>().prop_map(TriggerInput::Value),
    ]
}

fn is_allowed(object: &ScaledObject, count: i32) -> bool {
    count == 0
        || Some(count) == object.idle_replicas
        || (object.min_replicas.max(1)..=object.max_replicas).contains(&count)
}

proptest! {
    // One draw in five starts where the object allows it.
    #![proptest_config(ProptestConfig { max_global_rejects: 65_536, ..ProptestConfig::default() })]

    #[test]
    fn always_none_idle_or_within_the_bounds(
        (spec, _) in specs(),
        start in 0..15_i32,
        steps in prop::collection::vec((1..60_u64, answers()), 1..60),
    ) {
        let object = object(&format!("{spec}{ONE}"));
        let mut keda = keda(object.clone());
        let mut replicas = if is_allowed(&object, start) { start } else { object.min_replicas };
        let mut now = 0;
        for (gap, input) in steps {
            let decision = tick(&mut keda, now, replicas, std::slice::from_ref(&input));
            prop_assert!(is_allowed(&object, decision.desired), "{} at {now} s: {}", decision.desired, decision.reason);
            prop_assert!(decision.desired == replicas || decision.poll.is_some() || decision.hpa.is_some());
            replicas = decision.desired;
            now += gap;
        }
    }

    #[test]
    fn without_data_nothing_changes(
        (spec, has_fallback) in specs(),
        start in 0..15_i32,
        gaps in prop::collection::vec(1..60_u64, 1..60),
    ) {
        let object = object(&format!("{spec}{ONE}"));
        // The HPA raises idle replicas above none to its minimum, as in a cluster: there it is not switched off.
        prop_assume!(!has_fallback && is_allowed(&object, start));
        prop_assume!(start == 0 || start >= object.min_replicas);
        let mut keda = keda(object);
        let mut now = 0;
        for gap in gaps {
            let decision = tick(&mut keda, now, start, &[failed()]);
            prop_assert_eq!(decision.desired, start);
            now += gap;
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_decisions(
        (spec, _) in specs(),
        steps in prop::collection::vec((1..60_u64, 0..20_i32, answers()), 1..40),
    ) {
        let object = object(&format!("{spec}{ONE}"));
        let (mut first, mut second) = (keda(object.clone()), keda(object));
        let mut now = 0;
        for (gap, replicas, input) in steps {
            let inputs = std::slice::from_ref(&input);
            prop_assert_eq!(tick(&mut first, now, replicas, inputs), tick(&mut second, now, replicas, inputs));
            now += gap;
        }
    }
}
