//! Random scripts. Times are small whole numbers of nanoseconds, so that many things happen at the same instant.

use kisim::fleet::Placement;
use kisim::profile::Spread;
use kisim::router::Routing;
use kisim::sharing::{MigSlice, Sharing, SharingRule};
use proptest::prelude::*;

use crate::model::Queueing;
use crate::script::{Action, Pod, Script};
use crate::server::Rules;

/// How large a script is.
#[derive(Clone, Debug)]
pub struct Size {
    pub pods: std::ops::Range<usize>,
    pub steps: std::ops::Range<usize>,
    /// Longest time between two steps, nanoseconds.
    pub gap: u64,
    /// Only pods that slow each other, on few GPUs, behind a router that looks at all loads.
    pub crowded: bool,
}

fn spread() -> impl Strategy<Value = Spread> {
    prop_oneof![
        2 => Just(Spread::Deterministic),
        1 => (0.05..0.8).prop_map(|sigma| Spread::LogNormal { sigma }),
        1 => Just(Spread::Exponential),
    ]
}

fn sharing(crowded: bool) -> impl Strategy<Value = Sharing> {
    let alone = if crowded { 0 } else { 3 };
    prop_oneof![
        alone => Just(Sharing::Exclusive),
        2 => (1u32..5).prop_map(|replicas| Sharing::TimeSlicing { replicas }),
        2 => (10u32..=100).prop_map(|thread_percentage| Sharing::Mps { thread_percentage }),
        alone => Just(Sharing::Mig { slice: MigSlice::G2 }),
    ]
}

fn sharing_rule() -> impl Strategy<Value = SharingRule> {
    let efficiency = prop_oneof![Just(0.5), Just(0.76), 0.3..1.0];
    let interference = prop_oneof![Just(1.0), Just(1.09), 1.0..2.0];
    let gain = prop_oneof![
        Just(SharingRule::default().instance_gain),
        Just(vec![]),
        Just(vec![(1.0, 1.9), (4.0, 1.5), (16.0, 0.9)]),
        Just(vec![(2.0, 5.0)]),
    ];
    (efficiency, interference, gain).prop_map(|(time_slicing_efficiency, mps_interference, instance_gain)| {
        SharingRule { instance_gain, time_slicing_efficiency, mps_interference, ..SharingRule::default() }
    })
}

fn service(max_batch: usize) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        4 => (0u32..500, 1u32..200).prop_map(move |(fixed, each)| {
            (1..=max_batch).map(|batch| f64::from(fixed) + f64::from(each) * batch as f64).collect()
        }),
        1 => prop::collection::vec(0.0..2_000.0, max_batch),
    ]
}

fn maybe(range: std::ops::Range<u64>) -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 1 => range.prop_map(Some)]
}

fn rules(gpu: bool, crowded: bool) -> impl Strategy<Value = Rules> {
    let sharing = if gpu { sharing(crowded).boxed() } else { Just(Sharing::Exclusive).boxed() };
    let max_batch = prop_oneof![Just(1usize), 1usize..=16];
    let batching = max_batch.prop_flat_map(|max_batch| {
        let preferred = prop_oneof![Just(vec![]), prop::collection::vec(0usize..18, 0..4)];
        let delay = prop_oneof![Just(0u64), 1u64..800];
        (Just(max_batch), delay, preferred, service(max_batch))
    });
    let instances = prop_oneof![3 => Just(1usize), 2 => 2usize..=3];
    let limits = (maybe(1..12), maybe(0..1_500), maybe(100..2_500));
    (batching, instances, spread(), limits, 0u64..300, sharing, sharing_rule()).prop_map(
        |(batching, instances, spread, limits, overhead, sharing, sharing_rule)| Rules {
            max_batch: batching.0,
            delay: batching.1,
            preferred: batching.2,
            service: batching.3,
            instances,
            spread,
            overhead,
            queue_limit: limits.0.map(|limit| limit as usize),
            queue_deadline: limits.1,
            response_deadline: limits.2,
            sharing,
            sharing_rule,
        },
    )
}

fn routing(crowded: bool) -> impl Strategy<Value = Routing> {
    let blind = u32::from(!crowded);
    prop_oneof![
        2 => Just(Routing::LeastOutstanding),
        blind => Just(Routing::Random),
        blind => Just(Routing::RoundRobin),
        blind => Just(Routing::PowerOfTwo),
    ]
}

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        Just(Placement::GpuOnly),
        Just(Placement::CpuOnly),
        (0usize..6).prop_map(|spill_queue| Placement::GpuFirst { spill_queue }),
        (0.0..=1.0).prop_map(|gpu_share| Placement::Weighted { gpu_share }),
    ]
}

fn queueing() -> impl Strategy<Value = Option<Queueing>> {
    let limit = prop_oneof![1 => Just(usize::MAX), 1 => 0usize..12];
    prop_oneof![
        1 => Just(None),
        1 => (limit, maybe(0..3_000)).prop_map(|(limit, deadline)| Some(Queueing { limit, deadline })),
    ]
}

fn speed() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), Just(0.5), 0.1..3.0]
}

fn pod(pools: usize, size: &Size) -> impl Strategy<Value = Pod> + use<> {
    // Not a hundred on one GPU: they would take centuries.
    let gpus = if size.crowded { 2 } else { (size.pods.end as u32 / 4).max(4) };
    (0..pools, 0u32..gpus, speed()).prop_map(|(pool, gpu, speed)| Pod { pool, gpu, speed })
}

fn action(pools: usize, size: &Size) -> impl Strategy<Value = Action> + use<> {
    let server = || 0usize..1_000;
    prop_oneof![
        80 => prop_oneof![6 => Just(1u8), 2 => 2u8..6, 1 => 6u8..30].prop_map(Action::Arrivals),
        3 => (pod(pools, size), any::<bool>()).prop_map(|(pod, announced)| Action::Add { pod, announced }),
        3 => server().prop_map(Action::Announce),
        2 => server().prop_map(Action::Withdraw),
        3 => server().prop_map(Action::RemoveIfEmpty),
        1 => server().prop_map(Action::Kill),
        1 => server().prop_map(Action::KillAndRemove),
        3 => server().prop_map(Action::Restart),
        2 => (server(), speed()).prop_map(|(number, speed)| Action::SetSpeed(number, speed)),
        1 => placement().prop_map(Action::Place),
        3 => Just(Action::Release),
        4 => server().prop_map(Action::Look),
        1 => Just(Action::LookAtAll),
    ]
}

/// A script of `size`.
pub fn script(size: Size) -> impl Strategy<Value = Script> {
    // Which of the two pools there are: GPU, CPU, or both in either order.
    let pools = prop_oneof![
        3 => Just((Some(0), None)),
        1 => Just((None, Some(0))),
        2 => Just((Some(0), Some(1))),
        1 => Just((Some(1), Some(0))),
    ];
    pools.prop_flat_map(move |(gpu_pool, cpu_pool): (Option<usize>, Option<usize>)| {
        let count = usize::from(gpu_pool.is_some()) + usize::from(cpu_pool.is_some());
        let rules: Vec<_> = (0..count).map(|pool| rules(gpu_pool == Some(pool), size.crowded).boxed()).collect();
        let gap = prop_oneof![2 => Just(0), 3 => 1..=size.gap / 8, 2 => 1..=size.gap];
        let steps = prop::collection::vec((gap, action(count, &size)), size.steps.clone());
        let pods = prop::collection::vec(pod(count, &size), size.pods.clone());
        (any::<u64>(), rules, routing(size.crowded), placement(), queueing(), pods, steps).prop_map(
            move |(seed, rules, routing, placement, queueing, pods, steps)| Script {
                seed,
                rules,
                gpu_pool,
                cpu_pool,
                routing,
                placement,
                queueing,
                pods,
                steps,
            },
        )
    })
}
