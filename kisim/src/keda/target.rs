//! The HorizontalPodAutoscaler KEDA makes of a ScaledObject.
//!
//! Source: `controllers/keda/hpa.go`, `GetMetricSpecForScaling` of each scaler.

use std::collections::BTreeMap;

use super::manifest::{default_behavior, milli};
use super::spec::{CronTrigger, MetricTarget, ScaledObject, TriggerKind};
use crate::hpa::{Behavior, HpaSpec, MetricId, MetricSpec, SelectPolicy, Selector, ValueTarget};

/// `CompositeMetricName`: what the result of a formula is called.
pub(super) const COMPOSITE: &str = "composite-metric";

/// Where a metric of the HorizontalPodAutoscaler comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The trigger of that index.
    Trigger(usize),
    /// The formula.
    Composite,
}

impl ScaledObject {
    /// The HorizontalPodAutoscaler KEDA makes of this object.
    ///
    /// Its minimum is at least 1: none or idle replicas are the operator's business. Metrics are ordered by type, those
    /// of one type as their triggers.
    pub fn hpa_spec(&self) -> HpaSpec {
        HpaSpec {
            name: self.hpa_name.clone(),
            namespace: self.namespace.clone(),
            scale_target: self.scale_target.clone(),
            min_replicas: self.min_replicas.max(1),
            max_replicas: self.max_replicas,
            metrics: self.hpa_metrics().into_iter().map(|(_, metric)| metric).collect(),
            behavior: self.hpa_behavior(),
        }
    }

    /// The metrics and where each comes from (`getScaledObjectMetricSpecs`).
    pub(super) fn hpa_metrics(&self) -> Vec<(Source, MetricSpec)> {
        let all = self.triggers.iter().enumerate();
        let mut metrics: Vec<_> =
            all.map(|(index, trigger)| (Source::Trigger(index), self.metric(index, &trigger.kind))).collect();
        // Upstream sorts by the name of the type.
        metrics.sort_by_key(|(_, metric)| match metric {
            MetricSpec::ContainerResource { .. } => 0,
            MetricSpec::External { .. } => 1,
            _ => 2,
        });
        if let Some(modifiers) = &self.modifiers {
            // As upstream: metrics of whole pods stay beside the formula, those of one container do not.
            metrics.retain(|(_, metric)| matches!(metric, MetricSpec::Resource { .. }));
            // Here upstream truncates to thousandths.
            let target = (modifiers.target * 1000.0) as i64;
            let composite = self.external(COMPOSITE.to_owned(), modifiers.metric_target, target);
            metrics.push((Source::Composite, composite));
        }
        metrics
    }

    fn metric(&self, index: usize, kind: &TriggerKind) -> MetricSpec {
        match kind {
            TriggerKind::Prometheus(trigger) => {
                self.external(format!("s{index}-prometheus"), trigger.metric_target, milli(trigger.threshold))
            }
            TriggerKind::Cron(trigger) => {
                self.external(format!("s{index}-{}", cron_name(trigger)), trigger.metric_target, 1_000)
            }
            TriggerKind::Resource(trigger) => match &trigger.container {
                None => MetricSpec::Resource { resource: trigger.resource.clone(), target: trigger.target },
                Some(container) => MetricSpec::ContainerResource {
                    resource: trigger.resource.clone(),
                    container: container.clone(),
                    target: trigger.target,
                },
            },
        }
    }

    fn external(&self, name: String, metric_target: MetricTarget, milli: i64) -> MetricSpec {
        let label = ("scaledobject.keda.sh/name".to_owned(), self.name.clone());
        let selector = Selector { match_labels: BTreeMap::from([label]), match_expressions: Vec::new() };
        MetricSpec::External {
            metric: MetricId { name, selector: Some(selector) },
            target: match metric_target {
                MetricTarget::AverageValue => ValueTarget::AverageValue(milli),
                MetricTarget::Value => ValueTarget::Value(milli),
            },
        }
    }

    /// The behavior as it is given, with a direction that is paused disabled (`newHPAForScaledObject`).
    fn hpa_behavior(&self) -> Option<Behavior> {
        if !self.pause_scale_in && !self.pause_scale_out {
            return self.behavior.clone();
        }
        let mut behavior = self.behavior.clone().or_else(default_behavior)?;
        if self.pause_scale_in {
            behavior.scale_down.select = SelectPolicy::Disabled;
        }
        if self.pause_scale_out {
            behavior.scale_up.select = SelectPolicy::Disabled;
        }
        Some(behavior)
    }
}

/// The name of a metric of the clock, without the index of its trigger (`parseCronTimeFormat`, `NormalizeString`).
fn cron_name(trigger: &CronTrigger) -> String {
    let plain = |text: &str| {
        let text: String = text.chars().filter(|c| *c != ' ').collect();
        text.replace('*', "x").replace('/', "Sl").replace('?', "Qm").replace(',', "Cm")
    };
    let name = format!("cron-{}-{}-{}", trigger.timezone, plain(trigger.start.text()), plain(trigger.end.text()));
    name.replace(['/', '.', ':', '%', '(', ')'], "-")
}
