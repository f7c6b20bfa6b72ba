//! The cases of upstream's tests of the replica calculator (`replica_calculator_test.go`), by
//! their names. Those of its tests of the controller are in `hpa_sync.rs`, those of windows and
//! policies beside the code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod hpa_common;

use hpa_common::case::{Case, case, with_phase, with_requests, with_unready};
use hpa_common::{Metric, per_pod, pods};
use kisim::hpa::{MetricInput, PodPhase};

#[test]
fn replica_calculator_cases_of_upstream() {
    use Metric::*;
    let requests = [900, 1000, 1100];
    let tolerance = per_pod(&[660, 640, 650]);
    let cases = [
        case("ScaleUp", 3, pods(3), Cpu(30), per_pod(&[300, 500, 700]), 5).percent(50, 500),
        case("ScaleUpUnreadyLessScale", 3, with_unready(3, &[0]), Cpu(30), per_pod(&[300, 500, 700]), 4)
            .percent(60, 600),
        case("ScaleUpUnreadyNoScale", 3, with_unready(3, &[1, 2]), Cpu(30), per_pod(&[400, 500, 700]), 3)
            .percent(40, 400),
        case("ScaleUpIgnoresFailedPods", 2, with_phase(2, 2, PodPhase::Failed), Cpu(30), per_pod(&[500, 700]), 4)
            .percent(60, 600),
        case("ScaleUpCM", 3, pods(3), Pods(15_000), per_pod(&[20_000, 10_000, 30_000]), 4).average(20_000),
        case(
            "ScaleUpCMObjectIgnoresUnreadyPods",
            3,
            with_unready(3, &[0, 1]),
            ObjectValue(10_000),
            MetricInput::Single(50_000),
            5,
        )
        .value(50_000),
        case("ScaleUpPerPodCMExternal", 3, pods(3), ExternalAverage(2_150), MetricInput::Single(8_600), 4)
            .average(2_867),
        case("ScaleDown", 5, pods(5), Cpu(50), per_pod(&[100, 300, 500, 250, 250]), 3).percent(28, 280),
        case(
            "ScaleDownIncludeUnreadyPods",
            5,
            with_unready(5, &[3, 4]),
            Cpu(50),
            per_pod(&[100, 300, 500, 250, 250]),
            2,
        )
        .percent(30, 300),
        case("ScaleDownExcludeUnscheduledPods", 5, with_phase(1, 4, PodPhase::Pending), Cpu(50), per_pod(&[100]), 1)
            .percent(10, 100),
        case("Tolerance", 3, with_requests(&requests), Cpu(100), per_pod(&[1010, 1030, 1020]), 3).percent(102, 1020),
        case("ConfigurableTolerance .36", 3, with_requests(&requests), Cpu(100), tolerance.clone(), 3)
            .behavior("behavior: {scaleDown: {tolerance: 0.36}}"),
        case("ConfigurableTolerance .34", 3, with_requests(&requests), Cpu(100), tolerance, 2)
            .behavior("behavior: {scaleDown: {tolerance: 0.34}}"),
        case("SuperfluousMetrics", 4, pods(4), Cpu(100), per_pod(&[4000, 9500, 3000, 7000, 3200, 2000]), 24)
            .percent(587, 5875),
        case("MissingMetrics", 4, pods(4), Cpu(100), per_pod(&[400, 95]), 3).percent(24, 247),
        case("MissingMetricsNoChangeGt", 2, pods(2), Cpu(100), per_pod(&[1900]), 2).percent(190, 1900),
        case("MissingMetricsUnreadyScaleUp", 3, with_unready(3, &[0]), Cpu(50), per_pod(&[100, 2000]), 4),
        case("PlainMetric NoChangeEq", 5, pods(5), Pods(20_000), per_pod(&[20_000, 19_000, 21_000]), 5),
    ];
    cases.into_iter().for_each(Case::check);
}
