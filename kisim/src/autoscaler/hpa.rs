//! The HorizontalPodAutoscaler of each pool, fed with scraped metrics.

use std::sync::Arc;

use super::config::{HpaConfig, Manifest};
use super::error::AutoscalerError;
use super::metrics::{ACTIVATOR, containers, cpu_values, offered, offered_by_pods, pod_statuses, pod_values, source};
use super::template::{DirectionRules, HpaTemplate};
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::hpa::{
    ConditionKind, ConditionReason, Container, ControllerSettings, Hpa, HpaDecision, HpaInputs, HpaSpec, MetricInput,
    MetricSpec, PodMetric, ResourceName, ResourceTarget, ValueTarget,
};
use crate::prepared::Prepared;

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
    /// The HPAs that `config` gives the pools of `prepared`.
    pub fn new(prepared: &Prepared, config: &HpaConfig, name: String) -> Result<Self, AutoscalerError> {
        let scenario = &prepared.scenario;
        let settings = ControllerSettings { sync_period: scenario.control.interval.0, ..ControllerSettings::default() };
        let mut pools = Vec::new();
        for (pool_name, pool) in &scenario.pools {
            let text = match config.manifests.get(pool_name) {
                Some(manifest) => manifest.read(&scenario.base)?,
                None => {
                    let window = config.scale_down_stabilization.as_secs_f64().round() as u32;
                    let template = HpaTemplate {
                        metric: config.metric,
                        target: config.target,
                        min: pool.limits.min_replicas,
                        max: pool.limits.max_replicas,
                        up: DirectionRules::UP,
                        down: DirectionRules { window_s: window, ..DirectionRules::DOWN },
                    };
                    (template.to_yaml(pool_name), Manifest::generated(pool_name))
                }
            };
            let (text, file) = text;
            let mut spec = HpaSpec::from_yaml(&text, &file)?;
            check_metrics(&spec, &file)?;
            give_headroom(&mut spec, config.headroom);
            let (containers, cpu_milli) = containers(pool.cpus);
            pools.push(PoolHpa { hpa: Hpa::new(spec, settings), containers, cpu_milli });
        }
        Ok(HpaAutoscaler { name, pools })
    }
}

/// Metrics of a manifest must be ones that the simulation offers.
fn check_metrics(spec: &HpaSpec, file: &str) -> Result<(), AutoscalerError> {
    for (number, metric) in spec.metrics.iter().enumerate() {
        let (kind, found) = match metric {
            MetricSpec::Resource { resource: ResourceName::Cpu, .. }
            | MetricSpec::ContainerResource { resource: ResourceName::Cpu, .. } => continue,
            MetricSpec::Resource { resource, .. } => ("resource.name", resource.to_string()),
            MetricSpec::ContainerResource { resource, .. } => ("containerResource.name", resource.to_string()),
            MetricSpec::Pods { metric, .. } => ("pods.metric.name", metric.name.clone()),
            MetricSpec::Object { metric, .. } => ("object.metric.name", metric.name.clone()),
            MetricSpec::External { metric, .. } => ("external.metric.name", metric.name.clone()),
        };
        // The activator is no pod.
        let by_pod = matches!(metric, MetricSpec::Pods { .. });
        if source(&found).is_none() || (by_pod && found == ACTIVATOR) {
            return Err(AutoscalerError::UnknownMetric {
                file: file.to_owned(),
                field: format!("spec.metrics[{number}].{kind}"),
                found,
                expected: if by_pod { offered_by_pods() } else { offered() },
            });
        }
    }
    Ok(())
}

/// Divides every target by `headroom`.
pub(super) fn give_headroom(spec: &mut HpaSpec, headroom: f64) {
    if headroom == 1.0 {
        return;
    }
    let milli = |value: &mut i64| *value = ((*value as f64 / headroom).round() as i64).max(1);
    for metric in &mut spec.metrics {
        match metric {
            MetricSpec::Resource { target, .. } | MetricSpec::ContainerResource { target, .. } => match target {
                ResourceTarget::Utilization(percent) => {
                    *percent = ((f64::from(*percent) / headroom).round() as i32).max(1);
                }
                ResourceTarget::AverageValue(value) => milli(value),
            },
            MetricSpec::Pods { average_milli, .. } => milli(average_milli),
            MetricSpec::Object { target, .. } | MetricSpec::External { target, .. } => match target {
                ValueTarget::Value(value) | ValueTarget::AverageValue(value) => milli(value),
            },
        }
    }
}

impl PoolHpa {
    fn input(&self, metric: &MetricSpec, view: &View<'_>, pool: usize) -> MetricInput {
        let of = |name: &str| source(name).map(|s| pod_values(s, view, pool, view.range)).unwrap_or_default();
        let answer = |values: Vec<PodMetric>| match values.is_empty() {
            true => MetricInput::Unavailable("no series".to_owned()),
            false => MetricInput::PodValues(values),
        };
        match metric {
            MetricSpec::Resource { resource: ResourceName::Cpu, .. }
            | MetricSpec::ContainerResource { resource: ResourceName::Cpu, .. } => {
                answer(cpu_values(view, pool, self.cpu_milli))
            }
            MetricSpec::Resource { resource, .. } | MetricSpec::ContainerResource { resource, .. } => {
                MetricInput::Unavailable(format!("no {resource} metrics"))
            }
            MetricSpec::Pods { metric, .. } => answer(of(&metric.name)),
            MetricSpec::Object { metric, .. } | MetricSpec::External { metric, .. } if metric.name == ACTIVATOR => {
                match view.window.activator(view.now) {
                    Some((_, sample)) => MetricInput::Single(sample.waiting as i64 * 1000),
                    None => MetricInput::Unavailable("no activator".to_owned()),
                }
            }
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
        let pods = pod_statuses(view, pool, &self.containers);
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
            return Verdict::Hold { reason: held(&decision) };
        }
        let reason = decision.rescale.map(|r| r.to_string()).unwrap_or_default();
        Verdict::Scale { replicas: decision.desired.max(0) as u32, reason }
    }
}

/// Why an HPA leaves the count as it is, in its own words.
pub(super) fn held(decision: &HpaDecision) -> String {
    if let Some(error) = &decision.error {
        return error.to_string();
    }
    let disabled = decision
        .condition(ConditionKind::ScalingActive)
        .filter(|condition| condition.reason == ConditionReason::ScalingDisabled);
    match disabled.or_else(|| decision.condition(ConditionKind::AbleToScale)) {
        Some(condition) => condition.reason.to_string(),
        None => "no change".to_owned(),
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
