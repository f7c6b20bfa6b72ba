//! Cases of the replica calculator beyond upstream's, reasoned from its rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod hpa_common;

use std::time::Duration;

use hpa_common::case::{Case, case, with_phase, with_unready};
use hpa_common::{Metric, at, hpa, per_pod, pods, sync};
use kisim::hpa::{MetricInput, PodPhase, Reading};

#[test]
fn replica_calculator_cases_from_the_rules() {
    use Metric::*;
    let single = MetricInput::Single;
    let ending = {
        let mut pods = pods(3);
        pods[2].deleting = true;
        pods
    };
    let cases = [
        // Tolerance, to the milli: 0.9 and 1.1 themselves are within.
        case("1.1 exactly", 10, pods(10), ExternalAverage(1_000), single(11_000), 10),
        case("1.1 and a milli", 10, pods(10), ExternalAverage(1_000), single(11_001), 12),
        case("0.9 exactly", 10, pods(10), ExternalAverage(1_000), single(9_000), 10),
        case("0.9 less a milli", 10, pods(10), ExternalAverage(1_000), single(8_999), 9),
        case("pods 1.1 exactly", 2, pods(2), Pods(1_000), per_pod(&[1_100, 1_100]), 2),
        case("pods mean 1.1005 is truncated", 2, pods(2), Pods(1_000), per_pod(&[1_100, 1_101]), 2).average(1_100),
        case("pods mean 1.101", 2, pods(2), Pods(1_000), per_pod(&[1_101, 1_101]), 3),
        case("CPU 110.9 % is truncated", 1, pods(1), Cpu(100), per_pod(&[1_109]), 1).percent(110, 1_109),
        case("CPU 111 %", 1, pods(1), Cpu(100), per_pod(&[1_110]), 2),
        case("tolerances apart: up", 10, pods(10), ExternalAverage(1_000), single(10_500), 11)
            .behavior("behavior: {scaleUp: {tolerance: 40m}}"),
        case("tolerances apart: not down", 10, pods(10), ExternalAverage(1_000), single(9_500), 10)
            .behavior("behavior: {scaleUp: {tolerance: 40m}}"),
        case("no tolerance at all", 10, pods(10), ExternalAverage(1_000), single(10_001), 11)
            .behavior("behavior: {scaleUp: {tolerance: 0}}"),
        // Grouping.
        case("a terminating pod's value is dropped", 3, ending, Pods(1_000), per_pod(&[2_000, 2_000, 9_000]), 4),
        case(
            "memory does not wait for readiness",
            2,
            with_unready(2, &[1]),
            Memory(1_000_000),
            per_pod(&[2_000_000, 4_000_000]),
            6,
        ),
        case(
            "a Pods metric does not wait for readiness",
            2,
            with_unready(2, &[1]),
            Pods(1_000),
            per_pod(&[2_000, 4_000]),
            6,
        ),
        case("missing pods hold a fall", 3, pods(3), Pods(1_000), per_pod(&[500]), 3),
        case("missing pods slow a fall", 4, pods(4), Pods(1_000), per_pod(&[100, 100]), 3),
        case("missing pods slow a rise", 3, pods(3), Pods(1_000), per_pod(&[3_000, 3_000]), 6),
        case("missing pods below 100 %", 4, pods(4), Cpu(50), per_pod(&[100, 100, 100]), 3),
        case("missing pods above 100 %", 2, pods(2), Cpu(200), per_pod(&[200]), 2),
        case("pods of others weigh in a mean", 2, pods(2), Pods(1_000), per_pod(&[1_000, 1_000, 4_000]), 4),
        // Recomputed over 20 pods the ratio falls to 1.5, and 20 values make 30; the current
        // count is above, and a rise never lowers it.
        case(
            "a rise that would lower",
            40,
            with_phase(10, 10, PodPhase::Pending),
            Pods(1_000),
            per_pod(&[3_000; 10]),
            40,
        ),
        // Values as they are.
        case("value", 3, pods(3), ExternalValue(2_000), single(3_000), 5).value(3_000),
        case("value from zero", 0, vec![], ExternalValue(2_000), single(3_000), 2),
        case("value from zero, nothing there", 0, vec![], ExternalValue(2_000), single(0), 0),
        case("value from zero knows no tolerance", 0, vec![], ExternalValue(2_000), single(100), 1),
        case("average from zero", 0, vec![], ExternalAverage(2_000), single(3_000), 2).average(0),
        case("average from zero, nothing there", 0, vec![], ExternalAverage(2_000), single(0), 0),
        case("average to zero", 3, pods(3), ExternalAverage(2_000), single(0), 0),
        case("series add up", 3, pods(3), ExternalAverage(2_000), MetricInput::Series(vec![3_000, 4_000, 5_000]), 6),
        case("object average", 2, pods(2), ObjectAverage(1_000), single(5_001), 6).average(2_501),
        case("a value below zero", 3, pods(3), ObjectValue(1_000), single(-5_000), 0),
        // Saturation.
        case("count at 32 bits", 3, pods(3), ExternalAverage(1), single(i64::MAX), i32::MAX),
        case("value at 32 bits", 3, pods(3), ExternalValue(1), single(i64::MAX), i32::MAX),
        case("value from zero at 32 bits", 0, vec![], ExternalValue(1), single(i64::MAX), i32::MAX),
        case("pods at 32 bits", 3, pods(3), Pods(1), per_pod(&[i64::MAX; 3]), i32::MAX).average(i64::MAX),
        case("per cent at 32 bits", 1, pods(1), Cpu(1), per_pod(&[i64::MAX]), i32::MAX).percent(i32::MAX, i64::MAX),
        case("sum at 64 bits", 3, pods(3), ExternalValue(1), MetricInput::Series(vec![i64::MAX, 5, -9]), i32::MAX)
            .value(i64::MAX),
        case(
            "average's sum at 64 bits",
            3,
            pods(3),
            ExternalAverage(1),
            MetricInput::Series(vec![i64::MAX, 5]),
            i32::MAX,
        ),
        case(
            "average's sum below zero counts as overflow",
            3,
            pods(3),
            ExternalAverage(1),
            MetricInput::Series(vec![-1, 5]),
            i32::MAX,
        ),
    ];
    cases.into_iter().for_each(Case::check);
}

#[test]
fn cpu_of_a_starting_pod_is_left_out() {
    // (name, ready, transition s, start s, metric time s, window s, counted), at 3600 s with 120 s
    // of initialisation and a readiness delay of 10 s.
    type Row = (&'static str, Option<bool>, u64, Option<u64>, u64, u64, bool);
    let rows: [Row; 10] = [
        ("no Ready condition", None, 3000, Some(3000), 3600, 30, false),
        ("no start time", Some(true), 3000, None, 3600, 30, false),
        ("starting, not ready", Some(false), 3550, Some(3550), 3600, 30, false),
        ("starting, ready, a whole window since", Some(true), 3560, Some(3550), 3590, 30, true),
        ("starting, ready, not a whole window since", Some(true), 3561, Some(3550), 3590, 30, false),
        ("initialisation ends", Some(true), 3590, Some(3480), 3590, 30, true),
        ("one second before its end", Some(true), 3590, Some(3481), 3590, 30, false),
        ("never ready", Some(false), 3009, Some(3000), 3600, 30, false),
        ("fell unready at the delay", Some(false), 3010, Some(3000), 3600, 30, true),
        ("ready long since", Some(true), 3010, Some(3000), 3600, 30, true),
    ];
    for (name, ready, transition, start, measured, window, counted) in rows {
        let mut pods = pods(2);
        pods[1].ready = ready;
        pods[1].ready_transition = Some(at(transition));
        pods[1].start_time = start.map(at);
        let MetricInput::PodValues(mut values) = per_pod(&[100, 300]) else {
            panic!("per_pod gives values of pods");
        };
        values[1].at = at(measured);
        values[1].window = Duration::from_secs(window);
        let mut hpa = hpa("maxReplicas: 10\n  metrics:\n  - ", &Metric::Cpu(50));
        let decision = sync(&mut hpa, 3600, 2, &pods, vec![MetricInput::PodValues(values)]);
        let reading = decision.metrics[0].as_ref().map(|p| p.reading);
        let percent = if counted { 20 } else { 10 };
        let average_milli = i64::from(percent) * 10;
        assert_eq!(reading, Ok(Reading::Utilization { percent, average_milli }), "{name}");
    }
}
