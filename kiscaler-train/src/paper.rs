//! The published observation and action (KIS-S, arXiv 2507.07932), to compare with: ten numbers by their published
//! ranges, and changes of at most two replicas a pool.
//!
//! What the publication leaves open is set here, and said where it is: the load is the arrival rate; its trend and variance
//! are those of the last five decisions; a preference for a kind of pods is a share of requests of four in five.

use std::collections::VecDeque;

use kisim::config::Span;
use kisim::control::{Decision, PoolView, Verdict, View};
use kisim::fleet::Placement;
use kisim::prepared::Prepared;
use kisim::profile::Hardware;
use kisim::window::{Counter, Gauge};

/// The version of what features mean. Raised whenever one changes.
pub const VERSION: u32 = 1;

/// Names of the features, with what their ranges are divided by.
pub const NAMES: [&str; 10] = [
    "cpu_utilization_per_100_percent",
    "memory_utilization_per_100_percent",
    "gpu_utilization_per_100_percent",
    "p95_per_10000_ms",
    "throughput_per_100_rps",
    "gpu_replicas_per_10",
    "cpu_replicas_per_10",
    "load_trend",
    "load_variance",
    "time_in_episode",
];

/// Changes of a pool's replicas.
pub const CHANGES: [i32; 5] = [-2, -1, 0, 1, 2];

/// No change.
const KEEP: usize = 2;

/// Where requests go: name, and the share of them for the GPU pool.
pub const GPU_SHARES: [(&str, f64); 3] = [("prefer GPU", 0.8), ("balanced", 0.5), ("prefer CPU", 0.2)];

/// Choices by head: GPU replicas, CPU replicas, placement.
pub const HEADS: [usize; 3] = [CHANGES.len(), CHANGES.len(), GPU_SHARES.len()];

/// Time between decisions.
pub const CONTROL_INTERVAL: Span = Span::secs(30);

/// Decisions in an episode.
pub const STEPS: usize = 10;

/// Bounds on the replicas of a pool.
const REPLICAS: (u32, u32) = (1, 10);

/// Decisions whose load makes trend and variance.
const REMEMBERED: usize = 5;

const TOTAL: usize = HEADS[0] + HEADS[1] + HEADS[2];

/// Watches a run.
#[derive(Clone, Debug)]
pub struct Paper {
    gpu: usize,
    cpu: usize,
    looks: usize,
    /// Arrivals a second at the last decisions, newest last.
    loads: VecDeque<f64>,
    features: [f32; NAMES.len()],
    mask: [bool; TOTAL],
    ready_to_act: bool,
}

impl Paper {
    /// For runs of a scenario; `None` where it has no GPU pool or no CPU pool.
    pub fn new(prepared: &Prepared) -> Option<Paper> {
        let pool = |hardware: Hardware| prepared.pools.iter().position(|pool| pool.hardware == hardware);
        Some(Paper {
            gpu: pool(Hardware::Gpu)?,
            cpu: pool(Hardware::Cpu)?,
            looks: 0,
            loads: VecDeque::with_capacity(REMEMBERED),
            features: [0.0; NAMES.len()],
            mask: [false; TOTAL],
            ready_to_act: false,
        })
    }

    /// Takes in what there is to see at a decision. Without data, the only choice left is to keep what there is.
    pub fn observe(&mut self, view: &View<'_>) {
        let (window, now) = (view.window, view.now);
        let (gpu, cpu) = (&view.pools[self.gpu], &view.pools[self.cpu]);
        let p95 = window.latency_quantile(None, 0.95, view.range, now);
        let throughput = window.rate(None, Counter::Success, view.range, now);
        let load = window.rate(None, Counter::Requests, view.range, now);
        if let Some(load) = load {
            if self.loads.len() == REMEMBERED {
                self.loads.pop_front();
            }
            self.loads.push_back(load);
        }
        let (trend, variance) = trend_and_variance(&self.loads);
        // After the last decision it is 1; then the next episode is under way.
        let time = match self.looks {
            0 => 0.0,
            looks => ((looks - 1) % STEPS + 1) as f64 / STEPS as f64,
        };
        self.looks += 1;
        let mut put = |index: usize, value: f64, low: f64| self.features[index] = value.clamp(low, 1.0) as f32;
        // What nobody scraped stays as it was.
        let mut known = |index: usize, value: Option<f64>, range: f64| {
            if let Some(value) = value.filter(|value| !value.is_nan()) {
                put(index, value / range, 0.0);
            }
        };
        known(0, window.average(None, Gauge::CpuUtilization, now), 1.0);
        // Feature 1 is always 0: nothing here scrapes memory, and a model server's hardly moves with its load.
        known(2, window.average(Some(self.gpu), Gauge::Utilization, now), 1.0);
        known(3, p95.map(|seconds| 1e3 * seconds), 10_000.0);
        known(4, throughput, 100.0);
        put(5, f64::from(gpu.counts.desired) / 10.0, 0.0);
        put(6, f64::from(cpu.counts.desired) / 10.0, 0.0);
        put(7, trend, -1.0);
        put(8, variance, 0.0);
        put(9, time, 0.0);
        self.ready_to_act = p95.is_some_and(|p95| !p95.is_nan()) && throughput.is_some();
        changes(gpu, self.ready_to_act, &mut self.mask[..HEADS[0]]);
        changes(cpu, self.ready_to_act, &mut self.mask[HEADS[0]..HEADS[0] + HEADS[1]]);
        for (choice, allowed) in self.mask[HEADS[0] + HEADS[1]..].iter_mut().enumerate() {
            *allowed = self.ready_to_act || choice == 1;
        }
    }

    /// Whether there were data at the last look.
    pub fn has_data(&self) -> bool {
        self.ready_to_act
    }

    /// The features at the last look.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Which choices are allowed, head after head.
    pub fn mask(&self) -> &[bool] {
        &self.mask
    }

    /// The decision that `action` means.
    pub fn decide(&self, view: &View<'_>, action: &[u32]) -> Decision {
        if !self.ready_to_act {
            let hold = || Verdict::Hold { reason: "no data of latency and throughput yet".to_owned() };
            return Decision { pools: view.pools.iter().map(|_| hold()).collect(), placement: None };
        }
        let choice = |head: usize| action.get(head).map_or(0, |&c| (c as usize).min(HEADS[head] - 1));
        let (name, gpu_share) = GPU_SHARES[choice(2)];
        let pools = view.pools.iter().enumerate().map(|(number, pool)| {
            let change = match number {
                n if n == self.gpu => CHANGES[choice(0)],
                n if n == self.cpu => CHANGES[choice(1)],
                _ => 0,
            };
            let reason = format!("{change:+}, {name}");
            match change {
                0 => Verdict::Hold { reason },
                _ => Verdict::Scale { replicas: pool.counts.desired.saturating_add_signed(change), reason },
            }
        });
        Decision { pools: pools.collect(), placement: Some(Placement::Weighted { gpu_share }) }
    }
}

/// Which changes lead to a number of replicas that is allowed.
fn changes(pool: &PoolView, ready_to_act: bool, mask: &mut [bool]) {
    let (limits, current) = (&pool.limits, pool.counts.desired);
    let (low, high) = (limits.min_replicas.max(REPLICAS.0), limits.max_replicas.min(REPLICAS.1));
    for (change, allowed) in CHANGES.into_iter().zip(mask.iter_mut()) {
        let within = current.checked_add_signed(change).is_some_and(|wanted| (low..=high).contains(&wanted));
        let step = if change > 0 { limits.max_step_up } else { limits.max_step_down };
        *allowed = ready_to_act && within && change.unsigned_abs() <= step;
    }
    if mask.iter().all(|allowed| !allowed) {
        mask[KEEP] = true;
    }
}

/// Change from the oldest to the newest over their sum, −1 to 1; variance over the squared mean.
fn trend_and_variance(loads: &VecDeque<f64>) -> (f64, f64) {
    let (Some(oldest), Some(newest)) = (loads.front(), loads.back()) else { return (0.0, 0.0) };
    let sum = oldest + newest;
    let trend = if sum > 0.0 { (newest - oldest) / sum } else { 0.0 };
    let mean = loads.iter().sum::<f64>() / loads.len() as f64;
    let variance = loads.iter().map(|load| (load - mean).powi(2)).sum::<f64>() / loads.len() as f64;
    (trend, if mean > 0.0 { variance / (mean * mean) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kisim::cluster::PodCounts;
    use kisim::control::Limits;

    fn mask(current: u32, limits: Limits, ready_to_act: bool) -> [bool; 5] {
        let counts = PodCounts { desired: current, ..PodCounts::default() };
        let pool = PoolView { name: "gpu".into(), hardware: Hardware::Gpu, counts, cpus: 1.0, limits };
        let mut mask = [false; 5];
        changes(&pool, ready_to_act, &mut mask);
        mask
    }

    #[test]
    fn changes_beyond_one_and_ten_replicas_are_masked() {
        let (on, off) = (true, false);
        let usual = Limits::default();
        let wide = Limits { min_replicas: 0, max_replicas: 40, ..usual };
        for (current, limits, expected) in [
            (1, usual, [off, off, on, on, on]),
            (2, usual, [off, on, on, on, on]),
            (5, usual, [on; 5]),
            (9, usual, [on, on, on, on, off]),
            (10, usual, [on, on, on, off, off]),
            // The published bounds hold where a pool's own are wider, and its own where they are narrower.
            (10, wide, [on, on, on, off, off]),
            (0, wide, [off, off, off, on, on]),
            (3, Limits { max_replicas: 4, ..usual }, [on, on, on, on, off]),
            (5, Limits { max_step_up: 1, ..usual }, [on, on, on, on, off]),
            // Nothing leads back at once: keep.
            (20, wide, [off, off, on, off, off]),
        ] {
            assert_eq!(mask(current, limits, true), expected, "{current} {limits:?}");
        }
        assert_eq!(mask(5, usual, false), [off, off, on, off, off]);
    }

    #[test]
    fn trend_and_variance_by_hand() {
        let of = |loads: &[f64]| trend_and_variance(&loads.iter().copied().collect());
        assert_eq!(of(&[]), (0.0, 0.0));
        assert_eq!(of(&[0.0, 0.0]), (0.0, 0.0));
        assert_eq!(of(&[7.0]), (0.0, 0.0));
        // Mean 2, deviations −1, 0, 1.
        let (trend, variance) = of(&[1.0, 2.0, 3.0]);
        assert!((trend - 0.5).abs() < 1e-12 && (variance - 2.0 / 3.0 / 4.0).abs() < 1e-12);
        assert_eq!(of(&[4.0, 0.0]).0, -1.0);
    }
}
