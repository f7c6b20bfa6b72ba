//! q
use kisim::{
    batcher::Batcher, fleet::*, ledger::Sink, profile::Spread, random::*, router::Routing, server::*, sharing::*,
};
use rand_distr::{Distribution, Exp1};
use std::time::{Duration, Instant};
fn ours(pods: usize, util: f64, n: u64, routing: Routing) -> u64 {
    let spec = ServerSpec {
        pool: 0,
        batcher: Batcher::new(1, Duration::ZERO, &[]),
        instances: 1,
        service_ns: vec![0.0, 1e9],
        spread: Spread::Exponential,
        overhead_ns: 0,
        queue_limit: usize::MAX,
        queue_deadline: 1u64 << 42,
        response_deadline: 1u64 << 42,
        sharing: Sharing::Exclusive,
        rule: SharingRule::default(),
    };
    let sink = Sink::new(1_000_000_000, &[1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000], false);
    let mut f = Fleet::new(
        FleetSetup {
            specs: vec![spec.clone()],
            routing,
            placement: Placement::GpuOnly,
            gpu_pool: Some(0),
            cpu_pool: None,
            clients_wait: false,
        },
        sink,
        stream(1, Purpose::Routing, 0),
    );
    for i in 0..pods {
        let s = f.add(0, Server::new(&spec, 1.0, stream(1, Purpose::Service, i as u64)), None);
        f.add_endpoint(s);
    }
    let mut rng = stream(1, Purpose::Arrivals, 0);
    let scale = 1e9 / (util * pods as f64);
    let mut t = 0f64;
    let mut buf = Vec::with_capacity(1024);
    let mut k = 0;
    while k < n {
        buf.clear();
        for _ in 0..1024 {
            let e: f64 = Exp1.sample(&mut rng);
            t += e * scale;
            buf.push(t as i64 as u64);
        }
        for &a in &buf {
            f.offer(Request { sent: a, tag: k });
            k += 1;
        }
    }
    f.sink.ledger.completed
}
fn main() {
    if std::env::args().nth(1).is_some() {
        let c = ours(16, 0.8, std::env::args().nth(1).unwrap().parse().unwrap(), Routing::LeastOutstanding);
        println!("{c}");
        return;
    }
    for (pods, n) in [(4, 20_000_000u64), (16, 20_000_000), (64, 10_000_000), (1000, 5_000_000)] {
        let t = Instant::now();
        let r = kisim_benches::textbook_loop(pods, 0.8, n, 1);
        let tb = n as f64 / t.elapsed().as_secs_f64();
        println!("pods {pods} textbook {:.2e} {:?}", tb, r);
        for routing in [Routing::LeastOutstanding, Routing::Random, Routing::PowerOfTwo, Routing::RoundRobin] {
            let t = Instant::now();
            let c = ours(pods, 0.8, n, routing);
            let o = n as f64 / t.elapsed().as_secs_f64();
            println!("   {routing:?} {:.2e} ratio {:.2} ({c})", o, o / tb);
        }
    }
}
