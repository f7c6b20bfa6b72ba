//! Scenarios: everything a run depends on, but the seed and the autoscaler one compares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::autoscaler::AutoscalerConfig;
use crate::cluster::{Fault, FaultKind, NodeGroup, Readiness, Shutdown, Startup};
use crate::config::{ConfigError, Span, parse_toml, read_file};
use crate::control::Limits;
use crate::distribution::TimeDistribution;
use crate::fleet::Placement;
use crate::objective::{Objective, PaperBaseline};
use crate::profile::{Hardware, Profile};
use crate::router::Routing;
use crate::sharing::Sharing;
use crate::telemetry::TelemetryConfig;
use crate::traffic::{Pattern, Traffic};

/// The built-in scenario, with a comment on every field.
pub const DEFAULT: &str = include_str!("../scenarios/default.toml");

/// The published testbed, see docs/simulator.md.
pub const PAPER: &str = include_str!("../scenarios/paper.toml");

/// A scenario, as written in TOML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, for reports.
    pub name: String,
    /// One sentence, for reports.
    #[serde(default)]
    pub description: String,
    /// Seed of all randomness, unless the command line gives one.
    #[serde(default = "first_seed")]
    pub seed: u64,
    /// Length of a run, at least 1ms; a pattern's or a trace's own if absent. Open and closed traffic need one.
    #[serde(default)]
    pub duration: Option<Span>,
    /// Time at the start that does not count in any statistic; less than the duration.
    #[serde(default)]
    pub warm_up: Span,
    /// Who sends requests, and when.
    pub traffic: Traffic,
    /// What clients do besides.
    #[serde(default)]
    pub client: Client,
    /// The latency objective.
    pub slo: Slo,
    /// How requests reach pods.
    #[serde(default)]
    pub service: Service,
    /// Pools of pods, by name: one of GPU pods, one of CPU pods, or both.
    pub pools: BTreeMap<String, Pool>,
    /// Nodes.
    pub cluster: ClusterConfig,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What an autoscaler gets to see.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// How often it decides.
    #[serde(default)]
    pub control: Control,
    /// What is rewarded.
    #[serde(default)]
    pub objective: Objective,
    /// The autoscaler of `kisim run`.
    #[serde(default)]
    pub autoscaler: AutoscalerConfig,
    /// Where relative paths start.
    #[serde(skip)]
    pub base: PathBuf,
    /// Where the scenario was read from, for errors.
    #[serde(skip)]
    pub origin: String,
}

fn first_seed() -> u64 {
    1
}

/// The latency objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// A response later than this breaks it; above 0.
    pub latency: Span,
}

/// What clients do when they do not get an answer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// They give up after this long, at least 1ms and more than the `overhead_ms` of every profile. A request still queued
    /// is then cancelled; one being executed is executed in vain.
    pub timeout: Option<Span>,
    /// They try again after a failure.
    pub retries: Option<Retries>,
}

/// Retries with exponential back-off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Most attempts, the first included; at least 2.
    pub attempts: u32,
    /// Wait before the second attempt.
    pub back_off: Span,
    /// Factor on the wait from attempt to attempt, at least 1.
    #[serde(default = "two")]
    pub multiplier: f64,
    /// Each wait is drawn uniformly between `1 − jitter` and `1 + jitter` times its nominal length; 0 to 1.
    #[serde(default)]
    pub jitter: f64,
}

fn two() -> f64 {
    2.0
}

/// How requests reach pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Which pod of a pool.
    pub routing: Routing,
    /// Which pool.
    pub placement: Placement,
    /// What holds requests while no pod is there to take them; absent: they fail.
    pub activator: Option<ActivatorConfig>,
}

impl Default for Service {
    fn default() -> Self {
        let placement = Placement::GpuFirst { spill_queue: usize::MAX >> 1 };
        Service { routing: Routing::default(), placement, activator: None }
    }
}

/// A queue in front of the Service, see [`crate::activator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ActivatorConfig {
    /// Requests waiting beyond which it rejects; Knative's breaker holds 10,000. 0 holds nobody.
    pub queue_limit: usize,
}

impl Default for ActivatorConfig {
    fn default() -> Self {
        ActivatorConfig { queue_limit: 10_000 }
    }
}

/// A pool of equal pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// A built-in profile's name (`kisim profiles`), the path of a profile, which ends in `.toml`, or a profile's text, which
    /// has more than one line.
    pub profile: String,
    /// Replicas at the start, ready; within the limits.
    #[serde(default = "one_replica")]
    pub initial_replicas: u32,
    /// Bounds on replicas and on changes of them.
    #[serde(default)]
    pub limits: Limits,
    /// CPU cores a pod asks its node for.
    #[serde(default = "one_core")]
    pub cpus: f64,
    /// CPU time a request costs beside a GPU pod's GPU work (decoding, copying), milliseconds; drives its CPU utilisation.
    #[serde(default)]
    pub cpu_ms_per_request: f64,
    /// US dollars per replica-hour; from the profile if absent, divided by the replicas that share a GPU.
    #[serde(default)]
    pub price_per_hour: Option<f64>,
    /// Batching.
    #[serde(default)]
    pub batcher: BatcherConfig,
    /// GPU sharing.
    #[serde(default = "exclusive")]
    pub sharing: Sharing,
    /// Start-up.
    #[serde(default)]
    pub startup: Startup,
    /// Readiness probe.
    #[serde(default)]
    pub readiness: Readiness,
    /// Termination.
    #[serde(default)]
    pub shutdown: Shutdown,
}

fn one_replica() -> u32 {
    1
}

fn one_core() -> f64 {
    1.0
}

fn exclusive() -> Sharing {
    Sharing::Exclusive
}

/// Triton's batching, by its `config.pbtxt`'s names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct BatcherConfig {
    /// `max_batch_size`, at most the profile's `max_batch`; 1 for no batching.
    pub max_batch: usize,
    /// `max_queue_delay_microseconds`.
    pub max_queue_delay: Span,
    /// `preferred_batch_size`, each from 1 to `max_batch`; empty: `max_batch`.
    pub preferred_batch_sizes: Vec<usize>,
    /// `max_queue_size`; 0 for no limit.
    pub queue_limit: usize,
    /// `default_timeout_microseconds` with `timeout_action: REJECT`: a request queued for this long is dropped.
    pub queue_timeout: Option<Span>,
    /// `instance_group.count`, 1 to 64.
    pub instances: usize,
}

impl Default for BatcherConfig {
    fn default() -> Self {
        BatcherConfig {
            max_batch: 1,
            max_queue_delay: Span::default(),
            preferred_batch_sizes: Vec::new(),
            queue_limit: 0,
            queue_timeout: None,
            instances: 1,
        }
    }
}

/// Nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Groups of equal nodes, at least one.
    pub nodes: Vec<NodeGroup>,
}

/// The control loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Time between decisions, at least 100ms.
    pub interval: Span,
}

impl Default for Control {
    fn default() -> Self {
        Control { interval: Span::secs(15) }
    }
}

impl Scenario {
    /// The built-in scenario.
    pub fn builtin() -> Result<Scenario, ConfigError> {
        Scenario::parse(DEFAULT, "the built-in scenario", Path::new("."))
    }

    /// Reads a scenario from a file.
    pub fn load(path: &Path) -> Result<Scenario, ConfigError> {
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        Scenario::parse(&read_file(path)?, &path.display().to_string(), &base)
    }

    /// Reads a scenario from text; `origin` names it in errors, relative paths start at `base`.
    pub fn parse(text: &str, origin: &str, base: &Path) -> Result<Scenario, ConfigError> {
        let mut scenario: Scenario = parse_toml(text, origin)?;
        scenario.base = base.to_owned();
        scenario.origin = origin.to_owned();
        scenario.check()?;
        Ok(scenario)
    }

    /// The published testbed with one of the published patterns, see docs/simulator.md.
    pub fn pattern(pattern: Pattern) -> Result<Scenario, ConfigError> {
        let mut scenario = Scenario::parse(PAPER, "the built-in paper scenario", Path::new("."))?;
        scenario.traffic = Traffic::Pattern { pattern };
        scenario.name = format!("paper-{}", pattern.name());
        Ok(scenario)
    }

    /// A scenario by what the command line calls it: `default`, `paper` (its ramp), `paper:PATTERN`, or the path of a file.
    pub fn named(name: &str) -> Result<Scenario, ConfigError> {
        match (name, name.strip_prefix("paper:")) {
            ("default", _) => Scenario::builtin(),
            ("paper", _) => Scenario::pattern(Pattern::Ramp),
            (_, Some(pattern)) => match Pattern::ALL.into_iter().find(|p| p.name() == pattern) {
                Some(pattern) => Scenario::pattern(pattern),
                None => Err(ConfigError::UnknownPattern {
                    found: pattern.to_owned(),
                    expected: Pattern::ALL.map(Pattern::name).join(", "),
                }),
            },
            (path, None) => Scenario::load(Path::new(path)),
        }
    }

    fn field(&self, field: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> ConfigError {
        ConfigError::Field {
            origin: self.origin.clone(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// Checks what types alone cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.duration.is_some_and(|d| d < Span::millis(1)) {
            return Err(self.field("duration", self.duration.unwrap_or_default(), "at least 1ms"));
        }
        if let Some((field, found, expected)) = self.traffic.problem() {
            return Err(self.field(format!("traffic.{field}"), found, expected));
        }
        if self.slo.latency == Span::default() {
            return Err(self.field("slo.latency", "0s", "a latency above 0"));
        }
        if self.control.interval < Span::millis(100) {
            return Err(self.field("control.interval", self.control.interval, "at least 100ms"));
        }
        if let Some((field, found, expected)) = self.telemetry.problem() {
            return Err(self.field(format!("telemetry.{field}"), found, expected));
        }
        self.check_client()?;
        if let Placement::Weighted { gpu_share } = self.service.placement
            && !(0.0..=1.0).contains(&gpu_share)
        {
            return Err(self.field("service.placement.gpu_share", gpu_share, "a share between 0 and 1"));
        }
        self.check_pools()?;
        if self.cluster.nodes.is_empty() {
            return Err(self.field("cluster.nodes", "none", "at least one group of nodes"));
        }
        for group in &self.cluster.nodes {
            if !(group.cpus.is_finite() && group.cpus >= 0.0) {
                return Err(self.field(
                    format!("cluster.nodes.{}.cpus", group.name),
                    group.cpus,
                    "a number of at least 0",
                ));
            }
            if let Some((field, found, expected)) = group.autoscaler.as_ref().and_then(|a| a.provisioning.problem()) {
                let field = format!("cluster.nodes.{}.autoscaler.provisioning.{field}", group.name);
                return Err(self.field(field, found, expected));
            }
            if group.autoscaler.as_ref().is_some_and(|a| a.max < group.count) {
                let field = format!("cluster.nodes.{}.autoscaler.max", group.name);
                let max = group.autoscaler.as_ref().map_or(0, |a| a.max);
                return Err(self.field(field, max, format!("at least count, {}", group.count)));
            }
        }
        for (number, fault) in self.faults.iter().enumerate() {
            if let Some((field, found, expected)) = fault.problem() {
                return Err(self.field(format!("faults[{number}].{field}"), found, expected));
            }
            if let FaultKind::PodCrash { pool: Some(pool), .. } = &fault.kind
                && !self.pools.contains_key(pool)
            {
                let names = self.pools.keys().cloned().collect::<Vec<_>>().join(" or ");
                return Err(self.field(format!("faults[{number}].pool"), format!("{pool:?}"), names));
            }
        }
        match self.objective {
            Objective::Paper { baseline: PaperBaseline::Published } if self.published_pattern().is_none() => {
                let expected = "traffic of kind \"pattern\" beside it, which the published table is about";
                return Err(self.field("objective.baseline.from", "\"published\"", expected));
            }
            Objective::Paper { baseline: PaperBaseline::Given { p95_ms, throughput } } => {
                for (field, value) in [("p95_ms", p95_ms), ("throughput", throughput)] {
                    if !(value.is_finite() && value > 0.0) {
                        return Err(self.field(format!("objective.baseline.{field}"), value, "a number above 0"));
                    }
                }
            }
            _ => {}
        }
        if let Objective::Slo { violation_weight, cost_weight, churn_weight } = self.objective {
            for (field, value) in
                [("violation_weight", violation_weight), ("cost_weight", cost_weight), ("churn_weight", churn_weight)]
            {
                if !(value.is_finite() && value >= 0.0) {
                    return Err(self.field(format!("objective.{field}"), value, "a number of at least 0"));
                }
            }
        }
        self.autoscaler.check(self)
    }

    fn check_client(&self) -> Result<(), ConfigError> {
        if self.client.timeout.is_some_and(|t| t < Span::millis(1)) {
            return Err(self.field("client.timeout", self.client.timeout.unwrap_or_default(), "at least 1ms"));
        }
        let Some(retries) = &self.client.retries else { return Ok(()) };
        if retries.attempts < 2 {
            return Err(self.field("client.retries.attempts", retries.attempts, "at least 2, the first included"));
        }
        if !(retries.multiplier.is_finite() && retries.multiplier >= 1.0) {
            return Err(self.field("client.retries.multiplier", retries.multiplier, "a number of at least 1"));
        }
        if !(0.0..=1.0).contains(&retries.jitter) {
            return Err(self.field("client.retries.jitter", retries.jitter, "a number between 0 and 1"));
        }
        Ok(())
    }

    fn check_pools(&self) -> Result<(), ConfigError> {
        if self.pools.is_empty() {
            return Err(self.field("pools", "none", "at least one pool"));
        }
        let mut hardware = Vec::new();
        for (name, pool) in &self.pools {
            let at = |field: &str| format!("pools.{name}.{field}");
            let profile = Profile::load(&pool.profile, &self.base)?;
            if hardware.contains(&profile.hardware) {
                return Err(self.field(
                    at("profile"),
                    &pool.profile,
                    "one pool of GPU pods and one of CPU pods at most",
                ));
            }
            hardware.push(profile.hardware);
            if let Some((field, found, expected)) = pool.limits.problem() {
                return Err(self.field(at(&format!("limits.{field}")), found, expected));
            }
            let (min, max) = (pool.limits.min_replicas, pool.limits.max_replicas);
            if pool.initial_replicas < min || pool.initial_replicas > max {
                let expected = format!("between min_replicas {min} and max_replicas {max}");
                return Err(self.field(at("initial_replicas"), pool.initial_replicas, expected));
            }
            for (field, value) in [
                ("cpus", pool.cpus),
                ("cpu_ms_per_request", pool.cpu_ms_per_request),
                ("price_per_hour", pool.price_per_hour.unwrap_or(0.0)),
            ] {
                if !(value.is_finite() && value >= 0.0) {
                    return Err(self.field(at(field), value, "a number of at least 0"));
                }
            }
            let batcher = &pool.batcher;
            if batcher.max_batch == 0 || batcher.max_batch > profile.max_batch {
                let expected =
                    format!("between 1 and {}, the largest batch of profile {}", profile.max_batch, profile.name);
                return Err(self.field(at("batcher.max_batch"), batcher.max_batch, expected));
            }
            if let Some(size) = batcher.preferred_batch_sizes.iter().find(|&&s| s == 0 || s > batcher.max_batch) {
                let expected = format!("between 1 and max_batch, {}", batcher.max_batch);
                return Err(self.field(at("batcher.preferred_batch_sizes"), size, expected));
            }
            if batcher.instances == 0 || batcher.instances > 64 {
                return Err(self.field(at("batcher.instances"), batcher.instances, "between 1 and 64"));
            }
            if let Some(timeout) = self.client.timeout
                && timeout.as_secs_f64() * 1e3 <= profile.overhead_ms
            {
                let expected =
                    format!("more than the {} ms of overhead of profile {}", profile.overhead_ms, profile.name);
                return Err(self.field("client.timeout", timeout, expected));
            }
            match pool.sharing {
                Sharing::Exclusive => {}
                _ if profile.hardware == Hardware::Cpu => {
                    return Err(self.field(at("sharing"), "GPU sharing", "exclusive for a CPU profile"));
                }
                Sharing::TimeSlicing { replicas: 0 } => {
                    return Err(self.field(at("sharing.replicas"), 0, "at least 1"));
                }
                Sharing::Mps { thread_percentage: p } if !(1..=100).contains(&p) => {
                    return Err(self.field(at("sharing.thread_percentage"), p, "between 1 and 100"));
                }
                _ => {}
            }
            if let Some((field, found, expected)) = pool.startup.problem() {
                return Err(self.field(at(&format!("startup.{field}")), found, expected));
            }
            if pool.readiness.period == Span::default() {
                return Err(self.field(at("readiness.period"), "0s", "a period above 0"));
            }
        }
        self.check_placement(&hardware)
    }

    fn check_placement(&self, hardware: &[Hardware]) -> Result<(), ConfigError> {
        let missing = match self.service.placement {
            Placement::GpuOnly if !hardware.contains(&Hardware::Gpu) => "gpu_only",
            Placement::CpuOnly if !hardware.contains(&Hardware::Cpu) => "cpu_only",
            _ => return Ok(()),
        };
        Err(self.field("service.placement.rule", missing, "a rule about pools the scenario has"))
    }

    /// The think time of closed-loop traffic, if it has one.
    pub fn think_time(&self) -> Option<TimeDistribution> {
        match &self.traffic {
            Traffic::Closed { think, .. } => Some(think.clone()),
            Traffic::Pattern { .. } => Some(Pattern::think()),
            _ => None,
        }
    }

    /// The published pattern it runs, if it does.
    pub fn published_pattern(&self) -> Option<Pattern> {
        match self.traffic {
            Traffic::Pattern { pattern } => Some(pattern),
            _ => None,
        }
    }
}
