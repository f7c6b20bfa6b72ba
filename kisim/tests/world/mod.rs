//! A world for cases worked out by hand: a pod serves one request in 100 ms, no more, no less.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kisim::control::{Autoscaler, Decision, Verdict, View};
use kisim::ledger::{Outcome, RequestRecord};
use kisim::prepared::Prepared;
use kisim::scenario::Scenario;
use kisim::simulation::{Options, Simulation, Stop};

/// A millisecond, in nanoseconds.
pub const MS: u64 = 1_000_000;

const CLOCK: &str = "name = 'clock'\nhardware = 'gpu'\nmax_batch = 2\nlatency_ms = [[1, 100.0], [2, 120.0]]\n\
                     price_per_hour = 3.6\n";
const SUNDIAL: &str = "name = 'sundial'\nhardware = 'cpu'\nmax_batch = 1\nlatency_ms = [[1, 300.0]]\n";

/// Where the profiles `clock.toml` (a GPU's) and `sundial.toml` (a CPU's) are.
pub fn base() -> &'static Path {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        write("clock.toml", CLOCK);
        write("sundial.toml", SUNDIAL);
    });
    folder()
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Writes a file; other tests may be reading it, or writing the same.
pub fn write(name: &str, text: &str) -> PathBuf {
    let path = folder().join(name);
    let own = folder().join(format!("{name}.{:?}", std::thread::current().id()));
    std::fs::write(&own, text).expect("writes");
    std::fs::rename(own, &path).expect("renames");
    path
}

/// A scenario from its text.
pub fn scenario(text: &str) -> Scenario {
    Scenario::parse(text, "a test", base()).expect("valid")
}

/// The same, made ready.
pub fn prepared(text: &str) -> Arc<Prepared> {
    Prepared::new(scenario(text)).expect("prepared")
}

/// Cold start: a request for a pod is answered by an endpoint 3.5 s later.
pub const POD: &str = "startup = { scheduling = { distribution = 'constant', value = '0s' }, load = { distribution = \
                       'constant', value = '3s' } }\nreadiness = { initial_delay = '0s', period = '1s' }\nshutdown = { \
                       endpoint_propagation = '500ms', grace_period = '10s' }\n";

/// Nodes with room for everybody.
pub const NODES: &str = "[cluster]\nnodes = [{ name = 'node', count = 4, cpus = 64.0, gpus = 8 }]\n";

/// One pool of pods that begin with `initial` replicas; `head` comes first and `pool` belongs to the pool.
pub fn one_pool(head: &str, initial: u32, pool: &str) -> Arc<Prepared> {
    prepared(&format!(
        "name = 'hand'\nduration = '30s'\nslo = {{ latency = '1s' }}\ncontrol = {{ interval = '1s' }}\n\
         traffic = {{ kind = 'open', rate = {{ shape = 'constant', rate = 1.0 }} }}\n{head}\n{NODES}\
         [pools.gpu]\nprofile = 'clock.toml'\ninitial_replicas = {initial}\n\
         limits = {{ min_replicas = 0, max_replicas = 4 }}\n{POD}{pool}\n"
    ))
}

/// Requests sent at these times, milliseconds, and nobody else.
pub fn sent_at(times_ms: &[u64]) -> Options {
    let arrivals = times_ms.iter().map(|ms| ms * MS).collect();
    Options { log: true, arrivals: Some(arrivals), ..Options::default() }
}

/// What became of a request: sent, started and finished in milliseconds, and how it ended.
pub type Fate = (u64, u64, u64, &'static str);

pub fn fate(record: &RequestRecord) -> Fate {
    let ms = |ns: u64| ns / MS;
    (ms(record.sent), ms(record.started), ms(record.finished), record.outcome.name())
}

/// Drives a run to its end; `act` is called at every stop. Nothing is lost at any.
pub fn drive(
    prepared: &Arc<Prepared>,
    options: &Options,
    seed: u64,
    mut act: impl FnMut(&mut Simulation, Stop),
) -> (Vec<RequestRecord>, Simulation) {
    let mut simulation = Simulation::with(prepared, seed, options).expect("starts");
    let mut records = Vec::new();
    loop {
        let stop = simulation.run().expect("runs");
        let ledger = &simulation.fleet().sink.ledger;
        assert_eq!(ledger.arrived, ledger.ended() + simulation.fleet().in_flight() as u64, "at {}", simulation.now());
        records.append(&mut simulation.take_log());
        act(&mut simulation, stop);
        if stop == Stop::End {
            records.sort_by_key(|r| (r.sent, r.finished, r.tag));
            return (records, simulation);
        }
    }
}

/// Fates under replicas set at control steps: (second, pool, replicas).
pub fn fates(prepared: &Arc<Prepared>, options: &Options, plan: &[(u64, usize, u32)]) -> Vec<Fate> {
    let (records, _) = drive(prepared, options, 1, |simulation, stop| {
        if stop == Stop::Control {
            for &(second, pool, replicas) in plan {
                if second * 1_000 * MS == simulation.now().as_nanos() {
                    simulation.scale(pool, replicas).expect("not refused");
                }
            }
        }
    });
    records.iter().map(fate).collect()
}

/// Whether a record is of an answer in time.
pub fn completed(record: &RequestRecord) -> bool {
    record.outcome == Outcome::Completed
}

/// Wishes from a list, in turn, for all pools.
#[derive(Debug)]
pub struct Restless(pub Vec<u32>, pub usize);

impl Autoscaler for Restless {
    fn name(&self) -> String {
        "restless".into()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let mut wish = |_| {
            let replicas = self.0[self.1 % self.0.len()];
            self.1 += 1;
            Verdict::Scale { replicas, reason: String::new() }
        };
        Decision { pools: view.pools.iter().map(&mut wish).collect(), placement: None }
    }
}
