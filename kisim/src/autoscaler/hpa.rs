//! The HorizontalPodAutoscaler of each pool, fed with scraped metrics.

use std::sync::Arc;
use std::time::Duration;

use super::{AutoscalerConfig, AutoscalerError, HpaMetric};
use crate::cluster::Phase;
use crate::config::{Span, read_file};
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::hpa::{
    Behavior, ConditionKind, Container, ControllerSettings, Hpa, HpaInputs, HpaSpec, MetricId, MetricInput, MetricSpec,
    ObjectRef, PodMetric, PodPhase, PodStatus, Policy, PolicyKind, ResourceName, ResourceTarget, ScalingRules,
    SelectPolicy,
};
use crate::scenario::{Pool, Scenario};
use crate::window::{Counter, Gauge};

/// One HPA a pool.
#[derive(Debug)]
pub struct HpaAutoscaler {
    name: String,
    pools: Vec<PoolHpa>,
}

#[derive(Debug)]
struct PoolHpa {
    hpa: Hpa,
    containers: Arc<[Container]>,
    cpu_milli: i64,
}

impl HpaAutoscaler {
    /// The HPAs that `config`, which must be of kind `hpa`, gives the scenario's pools.
    pub fn new(scenario: &Scenario, config: &AutoscalerConfig) -> Result<Self, AutoscalerError> {
        let AutoscalerConfig::Hpa { metric, target, scale_down_stabilization, manifests } = config else {
            return Err(AutoscalerError::Unknown { found: config.name(), expected: "an hpa".into() });
        };
        let settings = ControllerSettings { sync_period: scenario.control.interval.0, ..ControllerSettings::default() };
        let mut pools = Vec::new();
        for (name, pool) in &scenario.pools {
            let spec = match manifests.get(name) {
                Some(path) => {
                    let file = scenario.base.join(path);
                    let shown = file.display().to_string();
                    let spec = HpaSpec::from_yaml(&read_file(&file)?, &shown)?;
                    check_metrics(&spec, &shown)?;
                    spec
                }
                None => generated(name, pool, *metric, *target, *scale_down_stabilization),
            };
            let cpu_milli = (pool.cpus * 1000.0).round() as i64;
            let containers =
                [Container { name: "server".into(), requests: vec![(ResourceName::Cpu, cpu_milli)] }].into();
            pools.push(PoolHpa { hpa: Hpa::new(spec, settings), containers, cpu_milli });
        }
        Ok(HpaAutoscaler { name: config.name(), pools })
    }
}

/// Metrics of a manifest must be ones that the simulation offers.
fn check_metrics(spec: &HpaSpec, file: &str) -> Result<(), AutoscalerError> {
    let offered = || HpaMetric::ALL.map(HpaMetric::metric_name).join(", ");
    for metric in &spec.metrics {
        let found = match metric {
            MetricSpec::Resource { resource: ResourceName::Cpu, .. }
            | MetricSpec::ContainerResource { resource: ResourceName::Cpu, .. } => continue,
            MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
                resource.to_string()
            }
            MetricSpec::Pods { metric, .. }
            | MetricSpec::Object { metric, .. }
            | MetricSpec::External { metric, .. } => {
                if source(&metric.name).is_some() {
                    continue;
                }
                metric.name.clone()
            }
        };
        return Err(AutoscalerError::UnknownMetric { file: file.to_owned(), found, expected: offered() });
    }
    Ok(())
}

/// The manifest one would write by hand for `metric` at `target`.
fn generated(name: &str, pool: &Pool, metric: HpaMetric, target: f64, stabilization: Span) -> HpaSpec {
    let metric = match metric {
        HpaMetric::Cpu => MetricSpec::Resource {
            resource: ResourceName::Cpu,
            target: ResourceTarget::Utilization((target.round() as i32).max(1)),
        },
        other => MetricSpec::Pods {
            metric: MetricId { name: other.metric_name().to_owned(), selector: None },
            average_milli: ((target * 1000.0).round() as i64).max(1),
        },
    };
    let policy = |kind, value| Policy { kind, value, period_seconds: 15 };
    HpaSpec {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        scale_target: ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
        },
        min_replicas: pool.limits.min_replicas.max(1) as i32,
        max_replicas: pool.limits.max_replicas.max(1) as i32,
        metrics: vec![metric],
        // Kubernetes' defaults, but for the window.
        behavior: Some(Behavior {
            scale_up: ScalingRules {
                window_seconds: Some(0),
                select: SelectPolicy::Max,
                policies: vec![policy(PolicyKind::Pods, 4), policy(PolicyKind::Percent, 100)],
                tolerance: None,
            },
            scale_down: ScalingRules {
                window_seconds: Some(stabilization.as_secs_f64().round() as i32),
                select: SelectPolicy::Max,
                policies: vec![policy(PolicyKind::Percent, 100)],
                tolerance: None,
            },
        }),
    }
}

/// Where a metric of a manifest comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A gauge, times a factor (to per cent).
    Gauge(Gauge, f64),
    /// A rate per pod.
    Rate(Counter),
}

fn source(name: &str) -> Option<Source> {
    let metric = HpaMetric::ALL.into_iter().find(|m| m.metric_name() == name)?;
    Some(match metric {
        HpaMetric::Utilization => Source::Gauge(Gauge::Utilization, 100.0),
        HpaMetric::Cpu => Source::Gauge(Gauge::CpuUtilization, 100.0),
        HpaMetric::Queue => Source::Gauge(Gauge::Queued, 1.0),
        HpaMetric::InFlight => Source::Gauge(Gauge::InFlight, 1.0),
        HpaMetric::RequestRate => Source::Rate(Counter::Requests),
    })
}

impl PoolHpa {
    fn values(&self, source: Source, view: &View<'_>, pool: usize) -> Vec<PodMetric> {
        let milli = |value: f64| (value * 1000.0).round() as i64;
        match source {
            Source::Gauge(gauge, factor) => view
                .window
                .gauges(Some(pool), gauge, view.now)
                .into_iter()
                .map(|(pod, at, value)| PodMetric { pod, milli: milli(value * factor), at, window: Duration::ZERO })
                .collect(),
            Source::Rate(counter) => view
                .window
                .rates(Some(pool), counter, view.range, view.now)
                .into_iter()
                .map(|(pod, rate)| PodMetric { pod, milli: milli(rate), at: view.now, window: view.range })
                .collect(),
        }
    }

    fn input(&self, metric: &MetricSpec, view: &View<'_>, pool: usize) -> MetricInput {
        let of = |name: &str| source(name).map(|s| self.values(s, view, pool)).unwrap_or_default();
        let answer = |values: Vec<PodMetric>| match values.is_empty() {
            true => MetricInput::Unavailable("no series".to_owned()),
            false => MetricInput::PodValues(values),
        };
        match metric {
            MetricSpec::Resource { resource: ResourceName::Cpu, .. }
            | MetricSpec::ContainerResource { resource: ResourceName::Cpu, .. } => {
                // A utilisation of the cores asked for, as millicores.
                let cores = |mut m: PodMetric| {
                    m.milli = (m.milli as f64 / 100_000.0 * self.cpu_milli as f64).round() as i64;
                    m.window = view.range;
                    m
                };
                let values = self.values(Source::Gauge(Gauge::CpuUtilization, 100.0), view, pool);
                answer(values.into_iter().map(cores).collect())
            }
            MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
                MetricInput::Unavailable(format!("no {resource} metrics"))
            }
            MetricSpec::Pods { metric, .. } => answer(of(&metric.name)),
            // One value for the whole Service: the sum over its pods.
            MetricSpec::Object { metric, .. } | MetricSpec::External { metric, .. } => {
                match of(&metric.name).as_slice() {
                    [] => MetricInput::Unavailable("no series".to_owned()),
                    values => MetricInput::Single(values.iter().map(|v| v.milli).sum()),
                }
            }
        }
    }

    fn decide(&mut self, view: &View<'_>, pool: usize) -> Verdict {
        let pods: Vec<PodStatus> = view
            .pods
            .iter()
            .filter(|p| p.pool == pool)
            .map(|p| PodStatus {
                id: p.id,
                phase: match p.phase {
                    Phase::Pending | Phase::Pulling => PodPhase::Pending,
                    Phase::Lost => PodPhase::Unknown,
                    _ => PodPhase::Running,
                },
                deleting: p.phase == Phase::Draining,
                ready: Some(p.phase == Phase::Ready),
                ready_transition: p.ready_transition.or(p.started),
                start_time: p.started,
                containers: Arc::clone(&self.containers),
            })
            .collect();
        let metrics: Vec<MetricInput> = self.hpa.spec().metrics.iter().map(|m| self.input(m, view, pool)).collect();
        let counts = view.pools[pool].counts;
        let inputs = HpaInputs {
            spec_replicas: counts.desired as i32,
            status_replicas: (counts.scheduled + counts.pending) as i32,
            pods: &pods,
            metrics: &metrics,
        };
        let decision = self.hpa.sync(view.now, &inputs);
        if decision.desired == decision.current {
            let reason = match (&decision.error, decision.condition(ConditionKind::AbleToScale)) {
                (Some(error), _) => error.to_string(),
                (None, Some(condition)) => condition.reason.to_string(),
                (None, None) => "no change".to_owned(),
            };
            return Verdict::Hold { reason };
        }
        let reason = decision.rescale.map(|r| r.to_string()).unwrap_or_default();
        Verdict::Scale { replicas: decision.desired.max(0) as u32, reason }
    }
}

impl Autoscaler for HpaAutoscaler {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let pools = self.pools.iter_mut().enumerate().map(|(number, hpa)| hpa.decide(view, number)).collect();
        Decision { pools, placement: None }
    }
}
