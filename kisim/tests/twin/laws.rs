//! Laws that hold whatever happens to pods: nothing is lost or counted twice, causes come before effects, a seed is a
//! run, and what draws for one purpose leaves the others alone.

use std::path::Path;

use kisim::ledger::{Ledger, RequestRecord};
use kisim::prepared::Prepared;
use kisim::scenario::Scenario;
use kisim::simulation::{Simulation, Stop};
use proptest::prelude::*;

/// A scenario in which much goes wrong.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub seed: u64,
    /// `[traffic]`, `[client]` and `[service]`'s placement.
    pub traffic: &'static str,
    pub client: &'static str,
    pub routing: &'static str,
    pub sharing: &'static str,
    pub instances: usize,
    pub warm_up: bool,
    /// Replicas asked for at each control stop: of the GPU pool and of the CPU pool.
    pub scales: Vec<(u32, u32)>,
    pub faults: Vec<&'static str>,
    /// More lines for `[telemetry]`.
    pub telemetry: &'static str,
    pub load: &'static str,
}

const OPEN: &str = "kind = \"open\"\nrate = { shape = \"constant\", rate = 400.0 }";
const BURSTY: &str = "kind = \"open\"\nrate = { shape = \"constant\", rate = 400.0 }\n\
                      arrivals = { process = \"gamma\", cv = 2.0 }";
const CLOSED: &str = "kind = \"closed\"\nusers = [[\"0s\", 30], [\"40s\", 60]]\n\
                      think = { distribution = \"exponential\", mean = \"100ms\" }";
const PATIENT: &str = "";
const IMPATIENT: &str = "timeout = \"300ms\"";
const STUBBORN: &str =
    "timeout = \"300ms\"\nretries = { attempts = 3, back_off = \"50ms\", multiplier = 2.0, jitter = 0.5 }";

const FAULTS: [&str; 6] = [
    "kind = \"pod_crash\"\nrepeats = 1\nat = [\"13s\"]\nevery = \"30s\"",
    "kind = \"gpu_lost\"\nlasting = \"20s\"\nat = [\"25s\"]",
    "kind = \"node_lost\"\nlasting = \"40s\"\ndetection = \"4s\"\neviction = \"10s\"\nat = [\"31s\"]",
    "kind = \"slow_node\"\nlasting = \"15s\"\nfactor = 3.0\nevery = \"20s\"",
    "kind = \"scale_refused\"\nlasting = \"10s\"\nat = [\"40s\"]",
    "kind = \"scrape_dropout\"\nlasting = \"20s\"\nat = [\"20s\"]",
];

impl Trouble {
    /// Calm open traffic before a few pods: a starting point for variations.
    pub fn calm() -> Self {
        Trouble {
            seed: 7,
            traffic: OPEN,
            client: STUBBORN,
            routing: "random",
            sharing: "{ mode = \"exclusive\" }",
            instances: 1,
            warm_up: false,
            scales: vec![],
            faults: vec![],
            telemetry: "",
            load: "10s",
        }
    }

    fn prepared(&self) -> std::sync::Arc<Prepared> {
        let pool = |name: &str, profile: &str, sharing: &str| {
            format!(
                "[pools.{name}]\nprofile = \"{profile}\"\ninitial_replicas = 2\n\
                 limits = {{ min_replicas = 0, max_replicas = 8 }}\nsharing = {sharing}\n\
                 startup = {{ load = {{ distribution = \"exponential\", mean = \"{}\" }} }}\n\
                 readiness = {{ initial_delay = \"1s\", period = \"2s\" }}\n\
                 shutdown = {{ endpoint_propagation = \"300ms\", grace_period = \"2s\" }}\n\
                 batcher = {{ max_batch = 8, max_queue_delay = \"3ms\", queue_limit = 200, instances = {} }}\n",
                self.load, self.instances
            )
        };
        let faults: String = self.faults.iter().map(|fault| format!("[[faults]]\n{fault}\n")).collect();
        let text = format!(
            "name = \"laws\"\nduration = \"80s\"\nwarm_up = \"{}\"\n[traffic]\n{}\n[client]\n{}\n\
             [slo]\nlatency = \"50ms\"\n[service]\nrouting = \"{}\"\n\
             placement = {{ rule = \"gpu_first\", spill_queue = 10 }}\n{}{}[cluster]\n\
             nodes = [{{ name = \"node\", count = 2, cpus = 6.0, gpus = 2 }}]\n{faults}\
             [telemetry]\n{}\n[control]\ninterval = \"5s\"\n",
            // At an instant of its own: what else happens then may come before or after.
            if self.warm_up { "22137ms" } else { "0s" },
            self.traffic,
            self.client,
            self.routing,
            pool("gpu", "resnet50-onnx-trt-fp16-t4", self.sharing),
            pool("cpu", "resnet50-torch-fp32-i7-12700h", "{ mode = \"exclusive\" }"),
            self.telemetry,
        );
        Prepared::new(Scenario::parse(&text, "a test", Path::new(".")).unwrap()).unwrap()
    }

    /// Runs it, checks the laws at every stop, and returns what became of the requests.
    pub fn run(&self) -> Result<Vec<RequestRecord>, TestCaseError> {
        let prepared = self.prepared();
        let mut simulation = Simulation::new(&prepared, self.seed, true).unwrap();
        let mut scales = self.scales.iter();
        let mut records: Vec<RequestRecord> = Vec::new();
        let mut statistics_begin = None;
        loop {
            let stop = simulation.run().unwrap();
            check_pods(&simulation, prepared.pools.len())?;
            let now = simulation.now().as_nanos();
            let fresh = simulation.take_log();
            for record in &fresh {
                let times = (record.sent, record.started, record.finished);
                prop_assert!(times.0 <= times.1 && times.1 <= times.2 && times.2 <= now, "{:?} at {}", record, now);
            }
            records.extend(fresh);
            let ledger = &simulation.fleet().sink.ledger;
            let in_flight = simulation.fleet().in_flight() as u64;
            prop_assert_eq!(ledger.arrived, ledger.ended() + in_flight, "{:?} at {}", stop, now);
            match stop {
                Stop::Control => {
                    if let Some(&(gpu, cpu)) = scales.next() {
                        // The cluster may refuse.
                        let _ = (simulation.scale(1, gpu), simulation.scale(0, cpu));
                        records.extend(simulation.take_log());
                        check_pods(&simulation, prepared.pools.len())?;
                    }
                }
                Stop::WarmUpOver => {
                    prop_assert_eq!(ledger.ended(), 0);
                    statistics_begin = Some(now);
                }
                Stop::Step | Stop::Row => {}
                Stop::End => break,
            }
        }
        let ledger = &simulation.fleet().sink.ledger;
        prop_assert_eq!(statistics_begin.is_some(), self.warm_up);
        let counted: Vec<RequestRecord> = records
            .iter()
            .filter(|record| statistics_begin.is_none_or(|begin| record.finished > begin))
            .copied()
            .collect();
        prop_assert_eq!(by_outcome(&counted), of_ledger(ledger));
        records.sort_by_key(|record| (record.tag, record.finished));
        prop_assert!(records.windows(2).all(|pair| pair[0].tag != pair[1].tag), "a request ended twice");
        Ok(records)
    }
}

/// Every pod's counters add up, and every endpoint is the server of one pod of its pool.
fn check_pods(simulation: &Simulation, pools: usize) -> Result<(), TestCaseError> {
    let fleet = simulation.fleet();
    let mut held = vec![(0, 0); pools];
    for pod in simulation.cluster().pods() {
        let Some(slot) = pod.slot else { continue };
        let server = fleet.server(slot);
        let c = &server.counters;
        let ended = c.success + c.rejected + c.timed_out + c.killed;
        prop_assert_eq!(c.arrived, ended + server.outstanding() as u64, "pod {}", pod.id);
        prop_assert_eq!(c.buckets.iter().sum::<u64>(), c.success, "pod {}", pod.id);
        held[pod.pool].0 += server.queued();
        held[pod.pool].1 += server.outstanding();
    }
    for (pool, &held) in held.iter().enumerate() {
        prop_assert_eq!(simulation.held(pool), held);
        for &slot in fleet.endpoints(pool) {
            let pods = simulation.cluster().pods().filter(|pod| pod.slot == Some(slot) && pod.pool == pool).count();
            prop_assert_eq!(pods, 1, "pods behind endpoint {} of pool {}", slot, pool);
        }
    }
    // Servers without a pod hold nothing.
    prop_assert_eq!(fleet.in_flight(), held.iter().map(|held| held.1).sum::<usize>());
    Ok(())
}

const OUTCOMES: [&str; 5] = ["completed", "queue_full", "timed_out", "killed", "no_endpoint"];

fn by_outcome(records: &[RequestRecord]) -> [u64; 5] {
    OUTCOMES.map(|name| records.iter().filter(|record| record.outcome.name() == name).count() as u64)
}

fn of_ledger(ledger: &Ledger) -> [u64; 5] {
    [ledger.completed, ledger.queue_full, ledger.timed_out, ledger.killed, ledger.no_endpoint]
}

/// Random trouble.
pub fn trouble() -> impl Strategy<Value = Trouble> {
    let sharing = prop::sample::select(vec![
        "{ mode = \"exclusive\" }",
        "{ mode = \"time_slicing\", replicas = 2 }",
        "{ mode = \"mps\", thread_percentage = 50 }",
    ]);
    (
        any::<u64>(),
        prop::sample::select(vec![OPEN, BURSTY, CLOSED]),
        prop::sample::select(vec![PATIENT, IMPATIENT, STUBBORN]),
        prop::sample::select(vec!["least_outstanding", "random", "round_robin", "power_of_two"]),
        sharing,
        (1usize..3, any::<bool>()),
        prop::collection::vec((0u32..9, 0u32..5), 0..14),
        prop::sample::subsequence(FAULTS.to_vec(), 0..=FAULTS.len()),
        prop::sample::select(vec!["", "drop_probability = 0.4", "scrape_interval = \"1700ms\""]),
    )
        .prop_map(|(seed, traffic, client, routing, sharing, (instances, warm_up), scales, faults, telemetry)| {
            Trouble {
                seed,
                traffic,
                client,
                routing,
                sharing,
                instances,
                warm_up,
                scales,
                faults,
                telemetry,
                load: "5s",
            }
        })
}

/// When requests were sent.
fn sent(records: &[RequestRecord]) -> Vec<u64> {
    let mut times: Vec<u64> = records.iter().map(|record| record.sent).collect();
    times.sort_unstable();
    times
}

#[test]
fn a_seed_is_a_run() {
    for traffic in [OPEN, CLOSED] {
        let faults = FAULTS.to_vec();
        let trouble = Trouble { traffic, faults, scales: vec![(4, 2), (1, 0), (6, 1)], ..Trouble::calm() };
        let first = trouble.run().unwrap();
        assert!(first.len() > 5_000 && by_outcome(&first)[3] > 0, "{:?}", by_outcome(&first));
        assert_eq!(first, trouble.run().unwrap());
        assert_ne!(first, Trouble { seed: 8, ..trouble }.run().unwrap());
    }
}

#[test]
fn what_scrapes_draw_leaves_requests_alone() {
    for traffic in [OPEN, CLOSED] {
        let trouble = Trouble { traffic, faults: FAULTS[..1].to_vec(), ..Trouble::calm() };
        let undisturbed = trouble.run().unwrap();
        for telemetry in ["drop_probability = 0.5", "scrape_interval = \"3s\"", "lag = \"4s\""] {
            assert_eq!(undisturbed, Trouble { telemetry, ..trouble.clone() }.run().unwrap(), "{telemetry}");
        }
        // Nor does a drop-out on schedule, which draws nothing.
        assert_eq!(undisturbed, Trouble { faults: vec![FAULTS[0], FAULTS[5]], ..trouble }.run().unwrap());
    }
}

#[test]
fn arrivals_are_the_same_whatever_becomes_of_them() {
    let trouble = Trouble { client: IMPATIENT, scales: vec![(4, 3); 8], ..Trouble::calm() };
    let undisturbed = trouble.run().unwrap();
    let others = [
        Trouble { routing: "power_of_two", ..trouble.clone() },
        Trouble { routing: "least_outstanding", ..trouble.clone() },
        Trouble { load: "3s", ..trouble.clone() },
        Trouble { faults: FAULTS.to_vec(), ..trouble.clone() },
        Trouble { scales: vec![], ..trouble.clone() },
        Trouble { instances: 2, ..trouble },
    ];
    for other in others {
        let records = other.run().unwrap();
        // The last few may still be on their way, and not the same ones.
        let (ours, theirs) = (sent(&undisturbed), sent(&records));
        let settled = ours.len().min(theirs.len()) * 9 / 10;
        assert_eq!(ours[..settled], theirs[..settled], "{other:?}");
        assert_ne!(undisturbed, records, "{other:?}");
    }
}
