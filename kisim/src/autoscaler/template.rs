//! Manifests one would write by hand, from the parameters that practitioners turn.

use std::fmt::Write as _;

use super::metrics::{ACTIVATOR, HpaMetric};

/// Rules of one direction of `behavior`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DirectionRules {
    /// `stabilizationWindowSeconds`.
    pub window_s: u32,
    /// A policy of type Pods, if any.
    pub pods: Option<u32>,
    /// A policy of type Percent, if any.
    pub percent: Option<u32>,
    /// `periodSeconds` of both.
    pub period_s: u32,
    /// `tolerance`, if not the controller's.
    pub tolerance: Option<f64>,
}

impl DirectionRules {
    /// Kubernetes' defaults upwards: 4 pods or 100 % in 15 s, whichever is more, at once.
    pub const UP: DirectionRules =
        DirectionRules { window_s: 0, pods: Some(4), percent: Some(100), period_s: 15, tolerance: None };
    /// Kubernetes' defaults downwards: all of them, after 300 s.
    pub const DOWN: DirectionRules =
        DirectionRules { window_s: 300, pods: None, percent: Some(100), period_s: 15, tolerance: None };
}

/// The parameters of a HorizontalPodAutoscaler on one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HpaTemplate {
    /// What it watches.
    pub metric: HpaMetric,
    /// Its target, in the metric's unit.
    pub target: f64,
    /// `minReplicas`; at least 1 here.
    pub min: u32,
    /// `maxReplicas`.
    pub max: u32,
    /// `behavior.scaleUp`.
    pub up: DirectionRules,
    /// `behavior.scaleDown`.
    pub down: DirectionRules,
}

impl HpaTemplate {
    /// The manifest of the pool `name`.
    pub fn to_yaml(&self, name: &str) -> String {
        let metric = match self.metric {
            HpaMetric::Cpu => format!(
                "  - type: Resource\n    resource:\n      name: cpu\n      target: {{type: Utilization, averageUtilization: {}}}\n",
                (self.target.round() as i64).max(1)
            ),
            other => format!(
                "  - type: Pods\n    pods:\n      metric: {{name: {}}}\n      target: {{type: AverageValue, averageValue: {}}}\n",
                other.metric_name(),
                quantity(self.target)
            ),
        };
        format!(
            "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: {name}\nspec:\n  \
             scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}\n  minReplicas: {}\n  \
             maxReplicas: {}\n  metrics:\n{metric}  behavior:\n{}",
            self.min.max(1),
            self.max.max(1),
            behavior(&self.up, &self.down, "    ")
        )
    }
}

/// The parameters of a ScaledObject on one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KedaTemplate {
    /// What it watches.
    pub metric: HpaMetric,
    /// `threshold`, in the metric's unit, a pod.
    pub threshold: f64,
    /// `pollingInterval`, seconds.
    pub polling_s: u32,
    /// `cooldownPeriod` and `initialCooldownPeriod`, seconds.
    pub cooldown_s: u32,
    /// `minReplicaCount`.
    pub min: u32,
    /// `maxReplicaCount`.
    pub max: u32,
    /// Whether requests that wait in the activator count, too: without, nothing wakes a target from zero.
    pub activator: bool,
    /// `behavior.scaleUp`.
    pub up: DirectionRules,
    /// `behavior.scaleDown`.
    pub down: DirectionRules,
}

impl KedaTemplate {
    /// The manifest of the pool `name`.
    pub fn to_yaml(&self, name: &str) -> String {
        let mut text = format!(
            "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata:\n  name: {name}\nspec:\n  scaleTargetRef: \
             {{name: {name}}}\n  pollingInterval: {}\n  cooldownPeriod: {}\n  initialCooldownPeriod: {}\n  minReplicaCount: {}\n  maxReplicaCount: \
             {}\n  advanced:\n    horizontalPodAutoscalerConfig:\n      behavior:\n{}  triggers:\n",
            self.polling_s,
            self.cooldown_s,
            // What is there when the ScaledObject comes is not idle only because nobody has looked yet.
            self.cooldown_s,
            self.min,
            self.max.max(1),
            behavior(&self.up, &self.down, "        ")
        );
        match self.metric {
            HpaMetric::Cpu => {
                let value = (self.threshold.round() as i64).max(1);
                let _ = writeln!(
                    text,
                    "  - type: cpu\n    metricType: Utilization\n    metadata:\n      value: \"{value}\""
                );
            }
            other => text.push_str(&prometheus(&format!("sum({})", other.metric_name()), self.threshold)),
        }
        if self.activator {
            // Whoever waits there wants a pod for a pod's worth of requests.
            let threshold = if self.metric == HpaMetric::InFlight { self.threshold } else { 1.0 };
            text.push_str(&prometheus(&format!("sum({ACTIVATOR})"), threshold));
        }
        text
    }
}

fn prometheus(query: &str, threshold: f64) -> String {
    let threshold = (threshold * 1000.0).round().max(1.0) / 1000.0;
    format!(
        "  - type: prometheus\n    metadata:\n      serverAddress: http://prometheus:9090\n      query: {query}\n      \
         threshold: \"{threshold}\"\n"
    )
}

/// A quantity in milli-units where it is not whole.
fn quantity(value: f64) -> String {
    let milli = ((value * 1000.0).round() as i64).max(1);
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") }
}

fn behavior(up: &DirectionRules, down: &DirectionRules, indent: &str) -> String {
    let mut text = String::new();
    for (name, rules) in [("scaleUp", up), ("scaleDown", down)] {
        let _ = writeln!(text, "{indent}{name}:");
        let _ = writeln!(text, "{indent}  stabilizationWindowSeconds: {}", rules.window_s);
        if let Some(tolerance) = rules.tolerance {
            let _ = writeln!(text, "{indent}  tolerance: {}", quantity(tolerance));
        }
        let _ = writeln!(text, "{indent}  selectPolicy: Max\n{indent}  policies:");
        for (kind, value) in [("Pods", rules.pods), ("Percent", rules.percent)] {
            if let Some(value) = value {
                let _ =
                    writeln!(text, "{indent}  - {{type: {kind}, value: {value}, periodSeconds: {}}}", rules.period_s);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpa::HpaSpec;
    use crate::keda::ScaledObject;

    #[test]
    fn templates_are_manifests_that_load() {
        for metric in HpaMetric::ALL {
            let up = DirectionRules { tolerance: Some(0.05), ..DirectionRules::UP };
            let down = DirectionRules::DOWN;
            let hpa = HpaTemplate { metric, target: 12.345, min: 0, max: 9, up, down };
            let spec = HpaSpec::from_yaml(&hpa.to_yaml("gpu"), "hpa.yaml").unwrap();
            assert_eq!((spec.min_replicas, spec.max_replicas), (1, 9));
            assert_eq!(spec.behavior.unwrap().scale_up.tolerance, Some(0.05));
            let keda = KedaTemplate {
                metric,
                threshold: 12.345,
                polling_s: 10,
                cooldown_s: 60,
                min: if metric == HpaMetric::Cpu { 1 } else { 0 },
                max: 9,
                activator: metric != HpaMetric::Cpu,
                up,
                down,
            };
            let object = ScaledObject::from_yaml(&keda.to_yaml("gpu"), "keda.yaml").unwrap();
            assert_eq!((object.min_replicas, object.max_replicas), (keda.min as i32, 9));
        }
    }
}
