//! Windows, policies and bounds: upstream's cases by their names, and further ones.

use super::*;

const PODS: PolicyKind = PolicyKind::Pods;
const PERCENT: PolicyKind = PolicyKind::Percent;
fn now() -> SimTime {
    SimTime::from_nanos(3_600_000_000_000)
}

fn ago(s: u64) -> SimTime {
    SimTime::from_nanos(now().as_nanos() - s * 1_000_000_000)
}

fn rules(select: SelectPolicy, policies: &[(PolicyKind, i32, i32)]) -> ScalingRules {
    ScalingRules {
        window_seconds: Some(0),
        select,
        policies: policies
            .iter()
            .map(|&(kind, value, period_seconds)| Policy { kind, value, period_seconds })
            .collect(),
        tolerance: None,
    }
}

fn default_behavior() -> Behavior {
    Behavior {
        scale_up: rules(SelectPolicy::Max, &[(PODS, 4, 15), (PERCENT, 100, 15)]),
        scale_down: rules(SelectPolicy::Max, &[(PERCENT, 100, 15)]),
    }
}

fn changes(list: &[(u64, i32)]) -> Changes {
    Changes { entries: list.iter().map(|&(s, n)| (ago(s), n)).collect() }
}

#[test]
fn convert_desired_replicas_with_rules() {
    use ConditionReason::*;
    // (current, desired, min, max, count, reason)
    let rows = [
        (3, 1, 2, 8, 2, TooFewReplicas),
        (20, 1000, 1, 10, 10, TooManyReplicas),
        (1, 3, 1, 10, 3, DesiredWithinRange),
        (1, 5, 1, 10, 4, ScaleUpLimit),
        (3, 100, 1, 10, 6, ScaleUpLimit),
        // A rate that reaches the maximum is the maximum's limit.
        (5, 100, 1, 10, 10, TooManyReplicas),
        (0, 1, 0, 10, 1, DesiredWithinRange),
        (i32::MAX, i32::MAX, 1, i32::MAX, i32::MAX, DesiredWithinRange),
        (i32::MAX - 1, i32::MAX, 1, i32::MAX, i32::MAX, DesiredWithinRange),
    ];
    for (current, desired, min, max, count, reason) in rows {
        let found = limit(current, desired, min, max);
        assert_eq!(found, (count, reason), "{current} -> {desired} in {min}..={max}");
    }
}

#[test]
fn calculate_scale_limits_with_select_min() {
    let rules = rules(SelectPolicy::Min, &[(PODS, 2, 60), (PERCENT, 50, 60)]);
    let none = Events::default();
    assert_eq!(none.up_limit(now(), 1, &rules), 2, "CalculateScaleUpLimitWithScalingRules");
    assert_eq!(none.down_limit(now(), 5, &rules), 3, "CalculateScaleDownLimitWithBehaviors");
}

type Rules<'a> = &'a [(PolicyKind, i32, i32)];

#[test]
fn scaling_with_rules() {
    let ups: &[(u64, i32)] = &[(10, 1), (60, 5), (110, 9)];
    let downs: &[(u64, i32)] = &[(10, 2), (60, 4), (110, 6)];
    let default: Rules<'_> = &[(PODS, 4, 15), (PERCENT, 100, 15)];
    // (name, current, desired, policies, earlier ups, earlier downs, count)
    type Row<'a> = (&'a str, i32, i32, Rules<'a>, &'a [(u64, i32)], &'a [(u64, i32)], i32);
    let rows: &[Row<'_>] = &[
        ("up: defaults", 10, 50, default, &[], &[], 20),
        ("up: 100 Pods, 100 %", 10, 500, &[(PODS, 100, 60), (PERCENT, 100, 60)], &[], &[], 110),
        ("up: 1 % still grows", 3, 1000, &[(PERCENT, 1, 60)], &[], &[], 4),
        ("up: 5 Pods, earlier ups", 100, 500, &[(PODS, 5, 120)], ups, &[], 100),
        ("up: 150 Pods, earlier ups", 100, 500, &[(PODS, 150, 120)], ups, &[], 235),
        ("up: 200 %, earlier ups", 100, 500, &[(PERCENT, 200, 120)], ups, &[], 255),
        ("down: 20 Pods, 1 %", 100, 2, &[(PODS, 20, 60), (PERCENT, 1, 60)], &[], &[], 80),
        ("down: 50 %, earlier downs", 100, 0, &[(PERCENT, 50, 120)], &[], downs, 56),
        // Further rows, reasoned from the rules.
        ("up: downs in the period give room", 100, 500, &[(PODS, 20, 120)], &[], downs, 132),
        ("down: ups in the period take room", 100, 0, &[(PODS, 20, 120)], ups, &[], 65),
        ("up: an event exactly a period old is out", 100, 500, &[(PODS, 20, 110)], ups, &[], 114),
        ("up: percent rounds up", 7, 100, &[(PERCENT, 10, 60)], &[], &[], 8),
        ("down: percent truncates", 7, 0, &[(PERCENT, 10, 60)], &[], &[], 6),
        ("down: 29 % of 7 is 4.97", 7, 0, &[(PERCENT, 29, 60)], &[], &[], 4),
        ("down: more than 100 %", 7, 0, &[(PERCENT, 150, 60)], &[], &[], 0),
        ("up: a limit below the count holds it", 9, 99, &[(PODS, 1, 60)], &[(5, 8)], &[], 9),
        ("down: a limit above the count holds it", 2, 0, &[(PODS, 1, 60)], &[], &[(5, 8)], 2),
        ("up: saturates", i32::MAX - 1, i32::MAX, &[(PODS, i32::MAX, 60)], &[], &[], i32::MAX),
        ("up: percent saturates", i32::MAX - 1, i32::MAX, &[(PERCENT, i32::MAX, 60)], &[], &[], i32::MAX),
    ];
    for &(name, current, desired, policies, ups, downs, count) in rows {
        let behavior =
            Behavior { scale_up: rules(SelectPolicy::Max, policies), scale_down: rules(SelectPolicy::Max, policies) };
        let events = Events { up: changes(ups), down: changes(downs) };
        let bounds = (0, i32::MAX);
        let found = limit_with_behavior(&events, now(), current, desired, bounds, &behavior);
        assert_eq!(found.0, count, "{name}");
    }
}

#[test]
fn disabled_holds_each_direction_alone() {
    let mut behavior = default_behavior();
    behavior.scale_up.select = SelectPolicy::Disabled;
    let events = Events::default();
    let go = |behavior: &Behavior, desired| limit_with_behavior(&events, now(), 10, desired, (1, 100), behavior);
    assert_eq!(go(&behavior, 50), (10, ConditionReason::ScaleUpLimit));
    assert_eq!(go(&behavior, 5), (5, ConditionReason::DesiredWithinRange));
    behavior = default_behavior();
    behavior.scale_down.select = SelectPolicy::Disabled;
    assert_eq!(go(&behavior, 5), (10, ConditionReason::ScaleDownLimit));
    assert_eq!(go(&behavior, 15), (15, ConditionReason::DesiredWithinRange));
}

fn recommendations(list: &[(u64, i32)]) -> Recommendations {
    Recommendations { entries: list.iter().map(|&(s, n)| (ago(s), n)).collect() }
}

#[test]
fn normalize_desired_replicas() {
    let window = Duration::from_secs(300);
    let mut log = recommendations(&[(600, 10), (540, 9), (120, 5), (60, 4)]);
    let found = stabilize(&mut log, now(), 3, window);
    assert_eq!(found, (5, ConditionReason::ScaleDownStabilized));
    assert_eq!(log.len(), 3, "the two older than the window are gone");
    let mut log = recommendations(&[(300, 10)]);
    assert_eq!(stabilize(&mut log, now(), 3, window).0, 10, "exactly the window old counts");
    let mut log = recommendations(&[(60, 2)]);
    let found = stabilize(&mut log, now(), 3, window);
    assert_eq!(found, (3, ConditionReason::ReadyForNewScale));
}

#[test]
fn both_windows_together() {
    use ConditionReason::*;
    type Row<'a> = (&'a str, &'a [(u64, i32)], i32, i32, u64, u64, i32, ConditionReason);
    // (name, recommendations, current, wanted, up window, down window, count, reason)
    let rows: &[Row<'_>] = &[
        ("no windows", &[(10, 1), (5, 99)], 5, 8, 0, 0, 8, ReadyForNewScale),
        ("up window: the least", &[(40, 6), (20, 9)], 5, 12, 45, 0, 6, ScaleUpStabilized),
        ("up window: one below the count holds it", &[(40, 2)], 5, 12, 45, 0, 5, ScaleUpStabilized),
        ("down window: the most", &[(40, 4), (20, 3)], 5, 1, 0, 60, 4, ScaleDownStabilized),
        ("down window: one above the count holds it", &[(40, 9)], 5, 1, 0, 60, 5, ScaleDownStabilized),
        ("both: up to the least of the up window", &[(40, 7), (20, 20)], 5, 12, 45, 60, 7, ScaleUpStabilized),
        ("both: a swing holds", &[(40, 2), (20, 20)], 5, 12, 45, 60, 5, ScaleUpStabilized),
        ("both: down to the most of the down window", &[(40, 4), (20, 1)], 5, 2, 45, 60, 4, ScaleDownStabilized),
        ("exactly the window old is out", &[(45, 2)], 5, 12, 45, 0, 12, ReadyForNewScale),
        ("the longer window outlives the shorter", &[(50, 4)], 5, 1, 45, 60, 4, ScaleDownStabilized),
    ];
    for &(name, list, current, wanted, up, down, count, reason) in rows {
        let mut log = recommendations(list);
        let (up, down) = (Duration::from_secs(up), Duration::from_secs(down));
        let found = stabilize_with_behavior(&mut log, now(), current, wanted, up, down);
        assert_eq!(found, (count, reason), "{name}");
    }
}

#[test]
fn an_old_change_gives_its_place_to_a_new_one() {
    let longest = Duration::from_secs(15);
    let mut log = changes(&[(200, 1), (100, 2), (10, 4)]);
    log.record(now(), now(), 8, longest);
    assert_eq!(log.len(), 3);
    let period = |period_seconds| Policy { kind: PODS, value: 1, period_seconds };
    assert_eq!(log.within(now(), &period(15)), 12);
    // The 2 of 100 s ago has gone, the 1 of 200 s ago still counts for longer periods.
    assert_eq!(log.within(now(), &period(300)), 13);
    log.record(now(), now(), 16, longest);
    assert_eq!((log.len(), log.within(now(), &period(300))), (3, 28));
    log.record(now(), now(), 32, longest);
    assert_eq!(log.len(), 4, "nothing old is left");
}

#[test]
fn the_logs_do_not_grow() {
    let behavior = default_behavior();
    let (mut log, mut events) = (Recommendations::default(), Events::default());
    let window = Duration::from_secs(300);
    log.begin(SimTime::ZERO, 1);
    for i in 0..10_000_u64 {
        let now = SimTime::from_nanos(i * 5_000_000_000);
        let n = i32::from(i % 2 == 0);
        stabilize_with_behavior(&mut log, now, 1, n, Duration::ZERO, window);
        events.record(now, now, (1, 2 * n), &behavior);
    }
    assert!(log.len() <= 62, "{}", log.len());
    assert!(events.up.len() + events.down.len() <= 6);
}
