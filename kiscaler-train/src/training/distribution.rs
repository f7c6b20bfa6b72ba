//! The training distribution: services, loads, faults and wishes, drawn at random.

use std::sync::Arc;
use std::time::Duration;

use kisim::autoscaler::AutoscalerError;
use kisim::cluster::{Fault, FaultKind, NodeGroup, Readiness, Startup};
use kisim::config::{ConfigError, Span};
use kisim::control::Limits;
use kisim::distribution::TimeDistribution;
use kisim::fleet::Placement;
use kisim::objective::Objective;
use kisim::prepared::Prepared;
use kisim::random::{Purpose, Stream, derive_seed, stream};
use kisim::scenario::{BatcherConfig, Pool, Scenario};
use kisim::traffic::{Process, Shape, Traffic};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::teacher::BINS;
use super::traffic::{Family, arrivals, scale};
use crate::scale_free::ScaleFree;

/// What is drawn from. Ranges are drawn from uniformly in the logarithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct DistributionConfig {
    /// Services that are drawn and measured before training: profile, batching, objective, size.
    pub services: usize,
    /// Families of load.
    pub families: Vec<Family>,
    /// Control steps in an episode.
    pub steps: (usize, usize),
    /// What a late request costs over what keeping a pod for it costs.
    pub price_of_lateness: (f64, f64),
    /// Weight of churn over weight of cost.
    pub price_of_churn: (f64, f64),
    /// Median time from asking for a pod to its process being up.
    pub cold_start_s: (f64, f64),
    /// Requests a second that saturate a pod.
    pub saturation: (f64, f64),
    /// The objective's latency over the time of a full batch.
    pub slack: (f64, f64),
    /// Largest numbers of pods.
    pub most: (u32, u32),
    /// Mean load over what the largest number of pods takes.
    pub load: (f64, f64),
    /// Share of episodes with faults and bad scrapes.
    pub faults: f64,
    /// Share of episodes in which something of the load before is known, as after an hour at work.
    pub acquainted: f64,
    /// Control steps of that which are recalled.
    pub past: (usize, usize),
    /// At most so many steps of theirs in which the leading rule drives, before the policy does.
    pub warm: usize,
    /// Share of services with a pool of CPU pods.
    pub bridges: f64,
    /// Factor on what a late request costs, to the teacher.
    pub caution: f64,
    /// What the teacher lays on a choice that differs from the anchor, for each e times that it is more or less, as a share of
    /// what a step costs: where two choices are about as good, the one nearer to the anchor is right.
    pub tether: f64,
    /// Whether the rewards of an episode are divided by what a rule would pay in it, so that no kind of episode drowns the
    /// others.
    pub equal_worth: bool,
    /// Features that are hidden, by the beginnings of their names: 0 throughout. To see what they are worth.
    pub hidden: Vec<String>,
}

impl Default for DistributionConfig {
    fn default() -> Self {
        DistributionConfig {
            services: 48,
            families: Family::ALL.to_vec(),
            steps: (120, 360),
            price_of_lateness: (3.0, 300.0),
            price_of_churn: (0.03, 0.5),
            cold_start_s: (5.0, 100.0),
            saturation: (2.0, 30.0),
            slack: (1.6, 20.0),
            most: (6, 40),
            load: (0.015, 0.5),
            faults: 0.2,
            acquainted: 0.6,
            past: (8, 1200),
            warm: 96,
            bridges: 0.1,
            caution: 1.0,
            tether: 0.0,
            equal_worth: true,
            hidden: Vec::new(),
        }
    }
}

/// GPU profiles of the distribution. Their times are stretched, so what matters is how batches gain.
const PROFILES: [&str; 8] = [
    "bert-base-trt-fp16-seq128-a100-40gb",
    "bert-base-trt-fp16-seq128-t4",
    "bert-large-trt-fp16-seq128-a30",
    "bert-large-trt-fp16-seq128-t4",
    "llama2-7b-turbomind-a100-128in-128out",
    "resnet50-onnx-trt-fp16-a100",
    "resnet50-onnx-trt-fp16-t4",
    "resnet50-onnx-trt-fp16-v100",
];

/// Why there is no distribution to draw from.
#[derive(Debug, thiserror::Error)]
pub enum DistributionError {
    /// A drawn scenario is refused: a bug.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A service could not be measured.
    #[error(transparent)]
    Capacity(#[from] AutoscalerError),
}

/// An episode to play.
#[derive(Clone, Debug)]
pub struct Episode {
    /// Its scenario.
    pub prepared: Arc<Prepared>,
    /// Its arrivals, ascending, nanoseconds; they go on beyond its end, for who knows the future.
    pub arrivals: Arc<[u64]>,
    /// Requests before it, [`BINS`] numbers a control step: what the service has seen already.
    pub past: Arc<[f64]>,
    /// Its family of load.
    pub family: Family,
    /// Control steps.
    pub steps: usize,
    /// In so many of them, from the first, whoever follows the leading rule drives, and nothing counts: the service has been
    /// at work when its policy comes.
    pub warm: usize,
}

impl Episode {
    /// Its own requests, in bins likewise, with those that come after its end.
    pub fn to_come(&self) -> Vec<f64> {
        let step_ns = self.prepared.scenario.control.interval.nanos();
        let last = self.arrivals.last().map_or(0, |&time| time / step_ns) as usize;
        binned(&self.arrivals, step_ns, last.max(self.steps))
    }
}

/// `times` in bins, [`BINS`] for each of so many steps.
fn binned(times: &[u64], step_ns: u64, steps: usize) -> Vec<f64> {
    let mut bins = vec![0.0; steps * BINS];
    for &time in times {
        if let Some(bin) = bins.get_mut((time / (step_ns / BINS as u64)) as usize) {
            *bin += 1.0;
        }
    }
    bins
}

/// The measured services, and how to draw from the rest.
#[derive(Debug)]
pub struct Distribution {
    config: DistributionConfig,
    services: Vec<Prepared>,
}

/// Steps beyond an episode's end that the teacher sees.
const BEYOND: usize = 24;

/// Time between decisions in training.
const STEP_S: u64 = 15;

/// The same, nanoseconds.
const STEP_NS: u64 = STEP_S * 1_000_000_000;

impl Distribution {
    /// Draws and measures the services; the same for the same seed, on any number of threads.
    pub fn new(config: &DistributionConfig, seed: u64) -> Result<Self, DistributionError> {
        let services = (0..config.services)
            .into_par_iter()
            .map(|number| service(config, derive_seed(seed, number as u64)))
            .collect::<Result<Vec<_>, DistributionError>>()?;
        Ok(Distribution { config: config.clone(), services })
    }

    /// What is drawn from.
    pub fn config(&self) -> &DistributionConfig {
        &self.config
    }

    /// The episode of `seed`.
    pub fn episode(&self, seed: u64) -> Episode {
        let mut rng = stream(seed, Purpose::Policy, 1);
        let config = &self.config;
        let mut prepared = self.services[rng.random_range(0..self.services.len())].clone();
        let family = config.families[rng.random_range(0..config.families.len())];
        let steps = rng.random_range(config.steps.0..=config.steps.1);
        let pool = prepared.primary_pool();
        let own = &mut prepared.pools[pool];
        let most = own.config.limits.max_replicas;
        // Measured when the service was drawn.
        let saturation =
            own.spec.batcher.max_batch() as f64 / (own.spec.service_ns[own.spec.batcher.max_batch()] * 1e-9);
        let mean = scale(&mut rng, config.load.0, config.load.1) * f64::from(most);
        let (past_steps, warm) = match rng.random::<f64>() < config.acquainted {
            true => {
                let past = scale(&mut rng, config.past.0 as f64, config.past.1 as f64) as usize;
                (past, rng.random_range(0..=config.warm))
            }
            false => (0, 0),
        };
        let steps = warm + steps;
        let end_s = ((past_steps + steps + BEYOND) as u64 * STEP_S) as f64;
        let mut past = arrivals(family, mean * saturation, end_s, derive_seed(seed, 1));
        let begins = past_steps as u64 * STEP_NS;
        let mut times = past.split_off(past.partition_point(|&time| time < begins));
        times.iter_mut().for_each(|time| *time -= begins);
        let past = binned(&past, STEP_NS, past_steps).into();
        let end_s = ((steps + BEYOND) as u64 * STEP_S) as f64;
        own.config.initial_replicas = ((mean * scale(&mut rng, 0.7, 2.5)).ceil() as u32).clamp(1, most);
        let median = scale(&mut rng, config.cold_start_s.0, config.cold_start_s.1);
        let period = [1, 2, 5, 10][rng.random_range(0..4usize)];
        own.config.startup = Startup {
            scheduling: Some(TimeDistribution::constant(Span::secs(1))),
            load: Some(TimeDistribution::Lognormal { median: seconds(median), cv: scale(&mut rng, 0.03, 0.5) }),
            ..Startup::default()
        };
        own.setup.stages = own.config.startup.stages();
        own.config.readiness = Readiness { period: Span::secs(period), ..Readiness::default() };
        own.setup.readiness = own.config.readiness.clone();
        let scenario = &mut prepared.scenario;
        // The price is relative to what the run's mean load needs, see `Facts`.
        let own_mean = times.len() as f64 / end_s / saturation;
        // Around the middle more often than at the ends.
        let price = (0..2).map(|_| scale(&mut rng, config.price_of_lateness.0, config.price_of_lateness.1));
        let price = price.product::<f64>().sqrt();
        scenario.objective = Objective::Slo {
            violation_weight: price * own_mean.max(0.01) / f64::from(most),
            cost_weight: 1.0,
            churn_weight: scale(&mut rng, config.price_of_churn.0, config.price_of_churn.1),
        };
        scenario.telemetry.lag = Span::millis(rng.random_range(200..3_000));
        scenario.faults.clear();
        if rng.random::<f64>() < config.faults {
            misfortunes(scenario, &mut rng, mean);
        }
        scenario.name = family.name().to_owned();
        prepared.end = ((steps + 1) as u64) * STEP_NS;
        Episode { prepared: Arc::new(prepared), arrivals: times.into(), past, family, steps, warm }
    }
}

impl DistributionConfig {
    /// Which of the features are hidden.
    pub fn hidden_features(&self) -> Vec<usize> {
        let is_hidden = |name: &str| self.hidden.iter().any(|beginning| name.starts_with(beginning.as_str()));
        (0..).zip(ScaleFree::names()).filter(|(_, name)| is_hidden(name)).map(|(feature, _)| feature).collect()
    }

    /// What is wrong, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if self.services == 0 {
            return Some(("services", "0".into(), "at least 1"));
        }
        if self.families.is_empty() {
            return Some(("families", "none".into(), "at least one"));
        }
        if self.steps.0 < 8 || self.steps.1 < self.steps.0 {
            return Some(("steps", format!("{:?}", self.steps), "at least 8, the second not less than the first"));
        }
        if self.past.0 < 1 || self.past.1 < self.past.0 {
            return Some(("past", format!("{:?}", self.past), "at least 1, the second not less than the first"));
        }
        if self.most.0 < 2 || self.most.1 < self.most.0 {
            return Some(("most", format!("{:?}", self.most), "at least 2, the second not less than the first"));
        }
        for (field, (low, high)) in [
            ("price_of_lateness", self.price_of_lateness),
            ("price_of_churn", self.price_of_churn),
            ("cold_start_s", self.cold_start_s),
            ("saturation", self.saturation),
            ("slack", self.slack),
            ("load", self.load),
            ("caution", (self.caution, self.caution)),
        ] {
            if !(low.is_finite() && high.is_finite() && low > 0.0 && high >= low) {
                let expected = "numbers above 0, the second not less than the first";
                return Some((field, format!("{:?}", (low, high)), expected));
            }
        }
        let names = ScaleFree::names();
        if let Some(nobody) = self
            .hidden
            .iter()
            .find(|beginning| beginning.is_empty() || !names.iter().any(|name| name.starts_with(beginning.as_str())))
        {
            return Some(("hidden", format!("{nobody:?}"), "beginnings of names of features"));
        }
        if !(self.tether.is_finite() && self.tether >= 0.0) {
            return Some(("tether", self.tether.to_string(), "a number of at least 0"));
        }
        for (field, share) in [("faults", self.faults), ("acquainted", self.acquainted), ("bridges", self.bridges)] {
            if !(0.0..=1.0).contains(&share) {
                return Some((field, share.to_string(), "between 0 and 1"));
            }
        }
        None
    }
}

fn seconds(seconds: f64) -> Span {
    Span(Duration::from_secs_f64(seconds.max(0.001)))
}

/// Draws a service and measures it.
fn service(config: &DistributionConfig, seed: u64) -> Result<Prepared, DistributionError> {
    let mut rng = stream(seed, Purpose::Policy, 2);
    let mut scenario = Scenario::builtin()?;
    scenario.origin = "a drawn scenario".into();
    let batch = [1usize, 2, 4, 8, 16, 32][rng.random_range(0..6usize)];
    // A batch takes at most 4 s: what takes longer is scaled by other means.
    let saturation = scale(&mut rng, config.saturation.0, config.saturation.1).max(batch as f64 / 4.0);
    let batch_s = batch as f64 / saturation;
    let slack = scale(&mut rng, config.slack.0, config.slack.1);
    let most = scale(&mut rng, f64::from(config.most.0), f64::from(config.most.1)).round() as u32;
    scenario.traffic = Traffic::Open { rate: Shape::Constant { rate: saturation }, arrivals: Process::Poisson };
    scenario.duration = Some(Span::secs(3_600));
    scenario.slo.latency = seconds(slack * batch_s);
    scenario.client.timeout = Some(seconds(slack * batch_s * scale(&mut rng, 1.5, 20.0)));
    let scrape = [5, 10, 15, 15, 15, 15, 30][rng.random_range(0..7usize)];
    scenario.telemetry.scrape_interval = Span::secs(scrape);
    scenario.control.interval = Span::secs(STEP_S);
    let queue_limit = if rng.random::<f64>() < 0.3 { 0 } else { (batch as f64 * scale(&mut rng, 4.0, 60.0)) as usize };
    let pool = Pool {
        profile: PROFILES[rng.random_range(0..PROFILES.len())].to_owned(),
        initial_replicas: 1,
        limits: Limits { min_replicas: 1, max_replicas: most, ..Limits::default() },
        batcher: BatcherConfig {
            max_batch: batch,
            max_queue_delay: seconds(batch_s * scale(&mut rng, 0.01, 0.3)),
            queue_limit,
            ..BatcherConfig::default()
        },
        ..scenario.pools["gpu"].clone()
    };
    let bridged = rng.random::<f64>() < config.bridges;
    // A GPU short now and then: what does not fit stays pending.
    let short = if rng.random::<f64>() < 0.1 { most.div_ceil(4) } else { 0 };
    scenario.cluster.nodes =
        vec![NodeGroup { name: "nodes".into(), count: most, cpus: 64.0, gpus: 1, autoscaler: None }];
    scenario.cluster.nodes[0].count = (most - short).max(1);
    scenario.pools.clear();
    scenario.pools.insert("gpu".into(), pool.clone());
    scenario.service.placement = Placement::GpuOnly;
    if bridged {
        let cpu = Pool {
            profile: "bert-base-paddle-fp32-xeon-6271c".into(),
            initial_replicas: 0,
            limits: Limits { min_replicas: 0, max_replicas: most, ..Limits::default() },
            cpus: 1.0,
            batcher: BatcherConfig::default(),
            startup: Startup { load: Some(TimeDistribution::constant(Span::secs(4))), ..Startup::default() },
            readiness: Readiness { period: Span::secs(1), ..Readiness::default() },
            ..pool
        };
        scenario.pools.insert("cpu".into(), cpu);
        scenario.service.placement = Placement::GpuFirst { spill_queue: batch };
    }
    let mut prepared = Arc::unwrap_or_clone(Prepared::new(scenario)?);
    let primary = prepared.primary_pool();
    for (number, pool) in prepared.pools.iter_mut().enumerate() {
        // Stretched to the drawn speed: a slower model or GPU with the same gain from batches. A CPU pod does an eighth.
        let batch = pool.spec.batcher.max_batch();
        let speed = if number == primary { saturation } else { saturation / 8.0 };
        let factor = batch as f64 / speed / (pool.spec.service_ns[batch] * 1e-9);
        for ns in &mut pool.spec.service_ns {
            *ns *= factor;
        }
        pool.price_per_hour = if number == primary { 1.0 } else { 0.1 };
    }
    prepared.capacity(primary)?;
    Ok(prepared)
}

/// Crashes, lost GPUs, slow nodes, an API that refuses, scrapes that fail or come late.
fn misfortunes(scenario: &mut Scenario, rng: &mut Stream, pods: f64) {
    let often = |rng: &mut Stream, mean_s: f64| Some(seconds(mean_s * scale(rng, 0.5, 2.0)));
    let fault = |kind, every| Fault { kind, at: Vec::new(), every };
    match rng.random_range(0..7u32) {
        0 => scenario.telemetry.drop_probability = scale(rng, 0.01, 0.3),
        1 => scenario
            .faults
            .push(fault(FaultKind::ScrapeDropout { lasting: seconds(scale(rng, 20.0, 240.0)) }, often(rng, 1_200.0))),
        2 => scenario.faults.push(fault(
            FaultKind::ScrapeLag { lasting: seconds(scale(rng, 60.0, 600.0)), extra: seconds(scale(rng, 5.0, 30.0)) },
            often(rng, 1_200.0),
        )),
        3 => scenario
            .faults
            .push(fault(FaultKind::ScaleRefused { lasting: seconds(scale(rng, 20.0, 180.0)) }, often(rng, 1_200.0))),
        4 => scenario.faults.push(fault(
            FaultKind::SlowNode { lasting: seconds(scale(rng, 60.0, 600.0)), factor: scale(rng, 1.2, 3.0) },
            often(rng, 1_200.0),
        )),
        5 => scenario
            .faults
            .push(fault(FaultKind::GpuLost { lasting: seconds(scale(rng, 60.0, 900.0)) }, often(rng, 2_400.0))),
        _ => scenario
            .faults
            .push(fault(FaultKind::PodCrash { pool: None, repeats: 0 }, often(rng, 6_000.0 / pods.max(1.0)))),
    }
}
