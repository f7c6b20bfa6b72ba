//! The engine against its twin: a plain event-queue model of the same rules, slow and easy to believe. Both must give
//! every request the same fate at the same nanosecond.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::type_complexity,
    clippy::unnecessary_to_owned,
    missing_docs
)]

#[path = "twin/clients.rs"]
mod clients;
#[path = "twin/laws.rs"]
mod laws;
#[path = "twin/model.rs"]
mod model;
#[path = "twin/random.rs"]
mod random;
#[path = "twin/script.rs"]
mod script;
#[path = "twin/server.rs"]
mod server;

use kisim::fleet::Placement;
use kisim::profile::Spread;
use kisim::router::Routing;
use kisim::sharing::{Sharing, SharingRule};
use proptest::prelude::*;
use random::Size;
use script::{Action, Pod, Script, Story};
use server::Rules;

/// Compares piece by piece, the requests first: the first that differs says most.
fn compare(pace: &str, engine: &Story, twin: &Story) -> Result<(), TestCaseError> {
    for (engine, twin) in engine.records.iter().zip(&twin.records) {
        prop_assert_eq!(engine, twin, "a request, {}: engine left, twin right", pace);
    }
    prop_assert_eq!(engine.records.len(), twin.records.len(), "ended requests, {}", pace);
    for (engine, twin) in engine.sights.iter().zip(&twin.sights) {
        prop_assert_eq!(engine, twin, "a server, {}", pace);
    }
    prop_assert_eq!(engine, twin, "the books, {}", pace);
    Ok(())
}

/// That many cases, or a multiple of it: `TWIN_TIMES=100` is for a long hunt.
fn cases(number: u32) -> ProptestConfig {
    let times = std::env::var("TWIN_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    ProptestConfig { cases: number * times, failure_persistence: None, ..ProptestConfig::default() }
}

fn agrees(script: &Script) -> Result<(), TestCaseError> {
    let twin = script.run_twin();
    prop_assert_eq!(twin.counts[0], twin.records.len() as u64 + twin.in_flight as u64, "the twin loses requests");
    compare("servers on their own clocks", &script.run_engine(false), &twin)?;
    compare("servers in time order", &script.run_engine(true), &twin)
}

proptest! {
    #![proptest_config(cases(1500))]
    #[test]
    fn a_few_pods(script in random::script(Size { pods: 0..13, steps: 1..160, gap: 400, crowded: false })) {
        agrees(&script)?;
    }
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn more_pods_than_a_block_holds(script in random::script(Size { pods: 55..140, steps: 300..1_200, gap: 24, crowded: false })) {
        agrees(&script)?;
    }
}

proptest! {
    #![proptest_config(cases(3000))]
    #[test]
    fn pods_that_share_gpus(script in random::script(Size { pods: 2..8, steps: 1..200, gap: 900, crowded: true })) {
        agrees(&script)?;
    }
}

/// A pod that ends earlier than the router last heard, because its neighbour on the GPU fell idle in the meantime, and
/// goes straight on with its next request: the router must know that one is done.
#[test]
fn a_pod_that_its_neighbour_lets_finish_early() {
    let rules = Rules {
        max_batch: 1,
        delay: 0,
        preferred: vec![],
        instances: 1,
        service: vec![1_000.0],
        spread: Spread::Deterministic,
        overhead: 0,
        queue_limit: None,
        queue_deadline: None,
        response_deadline: None,
        sharing: Sharing::TimeSlicing { replicas: 2 },
        sharing_rule: SharingRule { time_slicing_efficiency: 1.0, ..SharingRule::default() },
    };
    let pod = |gpu, speed| Pod { pool: 0, gpu, speed };
    let script = Script {
        seed: 1,
        rules: vec![rules],
        gpu_pool: Some(0),
        cpu_pool: None,
        routing: Routing::LeastOutstanding,
        placement: Placement::GpuOnly,
        queueing: None,
        // The second and the third share a GPU.
        pods: vec![pod(0, 0.1), pod(1, 1.0), pod(1, 2.0)],
        // The third is empty at 1,000 ns, the second therefore done with its first request at 1,500 ns. Least loaded is
        // then the second, with one request to the first's two.
        steps: vec![
            (0, Action::Arrivals(3)),
            (1, Action::Withdraw(2)),
            (0, Action::Arrivals(2)),
            (1_599, Action::Arrivals(1)),
            (2_000, Action::LookAtAll),
        ],
    };
    agrees(&script).unwrap();
}

proptest! {
    #![proptest_config(cases(150))]
    #[test]
    fn clients_who_wait_and_lose_patience(plan in clients::plan()) {
        plan.check()?;
    }
}

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn nothing_is_lost_whatever_goes_wrong(trouble in laws::trouble()) {
        trouble.run()?;
    }
}
