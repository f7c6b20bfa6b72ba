//! Requests per second of the engine, by number of pods and routing, beside the textbook loop.
//!
//! `cargo bench -p kisim-benches` takes about a minute and a half. Compare within one run, or by
//! `cargo run --release -p kisim-benches --bin speed_table`, where the machine is noisy.

#![allow(missing_docs)] // criterion's macros define undocumented functions.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use kisim_benches::{Engine, PODS, ROUTINGS, UTILIZATION, textbook_loop};

/// Requests an iteration: enough that the first ones, which find idle pods, do not count for much.
fn requests(pods: usize) -> u64 {
    if pods > 100 { 50_000 } else { 200_000 }
}

fn benches(criterion: &mut Criterion) {
    for pods in PODS {
        let requests = requests(pods);
        let mut group = criterion.benchmark_group(format!("pods_{pods}"));
        group
            .throughput(Throughput::Elements(requests))
            .sample_size(20)
            // The same number of iterations every sample: the slowest loops fit no more than one.
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(3));
        group.bench_function("textbook", |bencher| {
            bencher.iter(|| textbook_loop(pods, UTILIZATION, black_box(requests), 1));
        });
        for (name, routing) in ROUTINGS {
            let mut warm = Engine::new(pods, UTILIZATION, routing, 1);
            warm.run(20 * pods as u64);
            group.bench_function(name, |bencher| {
                bencher.iter_batched_ref(
                    || warm.clone(),
                    |engine| engine.run(black_box(requests)),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
