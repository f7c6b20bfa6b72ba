//! Failures in a row, and what counts instead.

use super::super::observe::{Observations, Scale};
use super::*;

/// The looks at one trigger: `None` for a failure.
struct Row {
    name: &'static str,
    spec: &'static str,
    replicas: i32,
    looks: &'static [Option<i64>],
    /// The metric of the last look in thousandths, and whether it is the fallback's.
    expect: (Option<i64>, bool),
}

fn row(
    name: &'static str,
    spec: &'static str,
    replicas: i32,
    looks: &'static [Option<i64>],
    expect: (Option<i64>, bool),
) -> Row {
    Row { name, spec, replicas, looks, expect }
}

#[test]
fn upstream_and_further() {
    const BAD: Option<i64> = None;
    const GOOD: Option<i64> = Some(5_000);
    const TEN: &str = "fallback: {failureThreshold: 3, replicas: 10}";
    const HIGHER: &str = "fallback: {failureThreshold: 3, replicas: 10, behavior: currentReplicasIfHigher}";
    const LOWER: &str = "fallback: {failureThreshold: 3, replicas: 10, behavior: currentReplicasIfLower}";
    const CURRENT: &str = "fallback: {failureThreshold: 3, replicas: 10, behavior: currentReplicas}";
    const STATIC: &str = "fallback: {failureThreshold: 3, replicas: 10, behavior: static}";
    let rows = [
        // fallback_test.go; the target here is 10.
        row("should return the expected metric when fallback is disabled", "", 5, &[GOOD], (GOOD, false)),
        row("should initialise the health status on success when fallback is enabled", TEN, 5, &[GOOD], (GOOD, false)),
        row(
            "should reset the health status when scaler metrics are available",
            TEN,
            5,
            &[BAD, BAD, BAD, BAD, GOOD, BAD],
            (BAD, false),
        ),
        row("should propagate the error when fallback is disabled", "", 5, &[BAD, BAD, BAD, BAD, BAD], (BAD, false)),
        row("should bump the number of failures when metrics call fails", TEN, 5, &[BAD], (BAD, false)),
        row(
            "should return a normalised metric when number of failures are beyond threshold",
            TEN,
            5,
            &[BAD; 4],
            (Some(100_000), true),
        ),
        row(
            "should use fallback replicas when current replicas is lower when behavior is 'currentReplicasIfHigher'",
            HIGHER,
            5,
            &[BAD; 4],
            (Some(100_000), true),
        ),
        row(
            "should use current replicas when behavior is 'currentReplicas'",
            CURRENT,
            5,
            &[BAD; 4],
            (Some(50_000), true),
        ),
        row("should ignore current replicas when behavior is 'static'", STATIC, 15, &[BAD; 4], (Some(100_000), true)),
        // The threshold itself is not exceeded.
        row("just reached", TEN, 5, &[BAD; 3], (BAD, false)),
        row("for as long as it fails", TEN, 5, &[BAD; 9], (Some(100_000), true)),
        row("and no longer", TEN, 5, &[BAD, BAD, BAD, BAD, BAD, GOOD], (GOOD, false)),
        row("not in a row", TEN, 5, &[BAD, BAD, BAD, GOOD, BAD, BAD, BAD], (BAD, false)),
        row("higher", HIGHER, 15, &[BAD; 4], (Some(150_000), true)),
        row("lower", LOWER, 5, &[BAD; 4], (Some(50_000), true)),
        row("not lower", LOWER, 15, &[BAD; 4], (Some(100_000), true)),
    ];
    for Row { name, spec, replicas, looks, expect } in rows {
        let object = object(&format!("{spec}\n  {ONE}"));
        let mut observations = Observations::new(1);
        let pods = pods(replicas);
        let mut last = (None, false);
        for look in looks {
            let answer = look.map(|milli| (milli, true)).ok_or_else(|| "some error".to_owned());
            let record = observations.look(&object, 0, answer, Scale { replicas, pods: &pods });
            last = (record.milli.ok(), record.fallback);
        }
        assert_eq!(last, expect, "{name}");
    }
}

#[test]
fn a_target_of_one_value_is_shared_by_the_ready_pods() {
    let spec = "fallback: {failureThreshold: 0, replicas: 8}\n  triggers: [{type: prometheus, metricType: Value, \
                metadata: {serverAddress: p, query: q, threshold: '10'}}]";
    let object = object(spec);
    let mut running = pods(4);
    let look = |pods: &[PodStatus]| {
        let answer = Err("some error".to_owned());
        Observations::new(1).look(&object, 0, answer, Scale { replicas: 4, pods }).milli
    };
    // Twice the target for four pods, which asks for eight.
    assert_eq!(look(&running), Ok(20_000));
    running.iter_mut().skip(2).for_each(|pod| pod.ready = Some(false));
    assert_eq!(look(&running), Ok(40_000));
    assert_eq!(look(&[]), Err("no fallback without ready pods: some error".to_owned()));
}

#[test]
fn both_loops_count_failures() {
    // At 0 s both look, at 15 s the sync, at 30 s both: the fourth failure is the poll's at 30 s.
    let mut keda = keda(object(&format!("fallback: {{failureThreshold: 3, replicas: 6}}\n  {ONE}")));
    let first = tick(&mut keda, 0, 3, &[failed()]);
    assert_eq!((first.desired, first.poll), (3, Some(PollOutcome::AwaitingFallback)));
    let second = tick(&mut keda, 15, 3, &[failed()]);
    assert_eq!((second.desired, second.poll, second.fallback), (3, None, false));
    let third = tick(&mut keda, 30, 3, &[failed()]);
    assert_eq!((third.desired, third.poll, third.fallback), (6, Some(PollOutcome::Active), true));
    // A fallback counts as activity, so that it is not scaled to none.
    assert_eq!(keda.last_active(), Some(at(30)));
    let fourth = tick(&mut keda, 45, 6, &[TriggerInput::Value(60.0)]);
    assert_eq!((fourth.desired, fourth.fallback), (6, false));
}

#[test]
fn at_none_the_fallback_wakes_the_target() {
    // There only the poll looks: the fourth failure is at 90 s.
    let mut keda = keda(object(&format!("fallback: {{failureThreshold: 3, replicas: 6}}\n  {ONE}")));
    for seconds in [0, 30, 60] {
        assert_eq!(tick(&mut keda, seconds, 0, &[failed()]).desired, 0, "{seconds} s");
    }
    let woken = tick(&mut keda, 90, 0, &[failed()]);
    assert_eq!((woken.poll, woken.fallback), (Some(PollOutcome::Activated), true));
    // From one replica the HPA scales up at most to 4 at once.
    assert_eq!(woken.desired, 4);
}
