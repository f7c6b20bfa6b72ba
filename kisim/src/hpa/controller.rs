//! One reconciliation of one autoscaler.
//!
//! Source: `pkg/controller/podautoscaler/horizontal.go` (`reconcileAutoscaler`,
//! `computeReplicasForMetrics`).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::behavior::{Events, Recommendations, limit, limit_with_behavior, stabilize, stabilize_with_behavior};
use super::calculator::{Calculator, MetricError, Proposal, ResourceOf, Tolerances, plus};
use super::condition::{Condition, ConditionKind, ConditionReason, Conditions};
use super::input::{HpaInputs, MetricInput, PodMetric};
use super::spec::{Behavior, HpaSpec, MetricSpec, ResourceName, ResourceTarget, ValueTarget};
use crate::time::SimTime;

/// The flags of the kube-controller-manager that autoscaling goes by, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerSettings {
    /// `--horizontal-pod-autoscaler-sync-period`, 15 s: how often [`Hpa::sync`] is to be called.
    /// The controller itself does not go by it.
    pub sync_period: Duration,
    /// `--horizontal-pod-autoscaler-tolerance`, 0.1, where `behavior` sets none.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`, 300 s, where `behavior` sets none.
    pub downscale_stabilization: Duration,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`, 300 s.
    pub cpu_initialization: Duration,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`, 30 s.
    pub initial_readiness_delay: Duration,
    /// How long after `now` of a sync the new scale is written, which is the time its event is
    /// stamped with; no flag, and 0 by default. Controllers of small clusters take 0 to 30 ms.
    pub rescale_latency: Duration,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            tolerance: 0.1,
            downscale_stabilization: Duration::from_secs(300),
            cpu_initialization: Duration::from_secs(300),
            initial_readiness_delay: Duration::from_secs(30),
            rescale_latency: Duration::ZERO,
        }
    }
}

/// Why a sync changes the scale (the reason in the `SuccessfulRescale` event).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RescaleReason {
    /// The named metric asks for more.
    AboveTarget(String),
    /// All metrics ask for less.
    BelowTarget,
    /// There were more than `maxReplicas`.
    AboveMaximum,
    /// There were fewer than `minReplicas`.
    BelowMinimum,
    /// The metrics ask for the current count, an earlier recommendation does not.
    Stabilized,
}

impl fmt::Display for RescaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AboveTarget(metric) => write!(f, "{metric} above target"),
            Self::BelowTarget => f.write_str("All metrics below target"),
            Self::AboveMaximum => f.write_str("Current number of replicas above Spec.MaxReplicas"),
            Self::BelowMinimum => f.write_str("Current number of replicas below Spec.MinReplicas"),
            // Upstream leaves the reason of such an event empty.
            Self::Stabilized => Ok(()),
        }
    }
}

/// Some metrics, or all, gave no replica count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid metrics ({invalid} invalid out of {total}), first error is: {metric}: {first}")]
pub struct SyncError {
    /// How many metrics failed.
    pub invalid: usize,
    /// How many there are.
    pub total: usize,
    /// The first one that failed, as conditions name it.
    pub metric: String,
    /// Why it failed.
    #[source]
    pub first: MetricError,
}

/// What one sync found and decided.
#[derive(Clone, Debug, PartialEq)]
pub struct HpaDecision {
    /// The scale target's `spec.replicas` at the sync.
    pub current: i32,
    /// What it is to be now; the same as `current` for no change.
    pub desired: i32,
    /// Why the scale changes; `None` for no change.
    pub rescale: Option<RescaleReason>,
    /// What the metrics ask for; `None` where they were not asked or the sync stopped at them.
    pub recommended: Option<i32>,
    /// That, after the stabilisation windows and before policies and bounds.
    pub stabilized: Option<i32>,
    /// The index of the metric that asked for the most.
    pub deciding_metric: Option<usize>,
    /// What each metric asks for, in the order of the spec; empty where they were not asked.
    pub metrics: Vec<Result<Proposal, MetricError>>,
    /// The conditions after the sync. As in the cluster, those a sync does not set stay.
    pub conditions: Vec<Condition>,
    /// Metrics that failed. With `recommended` set, the sync scaled by the others.
    pub error: Option<SyncError>,
}

impl HpaDecision {
    /// The condition of a kind, if it has ever been set.
    pub fn condition(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
}

/// The controller's state for one autoscaler.
#[derive(Clone, Debug)]
pub struct Hpa {
    spec: HpaSpec,
    settings: ControllerSettings,
    tolerances: Tolerances,
    /// The metrics as conditions name them, so that a sync need not spell them out.
    metric_names: Vec<String>,
    recommendations: Recommendations,
    events: Events,
    conditions: Conditions,
}

/// What the metrics of one sync ask for.
struct Computed {
    replicas: i32,
    /// The index of the metric that asked for it.
    metric: Option<usize>,
    error: Option<SyncError>,
}

impl Hpa {
    /// An autoscaler before its first sync.
    pub fn new(spec: HpaSpec, settings: ControllerSettings) -> Self {
        let rules = spec.behavior.as_ref();
        let tolerances = Tolerances {
            down: rules.and_then(|b| b.scale_down.tolerance).unwrap_or(settings.tolerance),
            up: rules.and_then(|b| b.scale_up.tolerance).unwrap_or(settings.tolerance),
        };
        Self {
            metric_names: spec.metrics.iter().map(ToString::to_string).collect(),
            spec,
            settings,
            tolerances,
            recommendations: Recommendations::default(),
            events: Events::default(),
            conditions: Conditions::default(),
        }
    }

    /// The autoscaler's spec.
    pub const fn spec(&self) -> &HpaSpec {
        &self.spec
    }

    /// The settings it runs with.
    pub const fn settings(&self) -> &ControllerSettings {
        &self.settings
    }

    /// One reconciliation at `now`, which must not be before the one of an earlier call.
    ///
    /// The caller writes [`HpaDecision::desired`] to the scale target; that never fails here, and
    /// the change is recorded for the policies of later syncs. Of the rules for zero replicas it
    /// follows those of releases without the `ScaledToZero` condition: with `minReplicas` 0 an
    /// autoscaler also wakes a target that somebody else scaled to zero.
    pub fn sync(&mut self, now: SimTime, inputs: &HpaInputs<'_>) -> HpaDecision {
        let current = inputs.spec_replicas;
        let (min, max) = (self.spec.min_replicas, self.spec.max_replicas);
        self.recommendations.begin(now, current);
        self.set(now, ConditionKind::AbleToScale, true, ConditionReason::SucceededGetScale);
        let mut decision = HpaDecision {
            current,
            desired: current,
            rescale: None,
            recommended: None,
            stabilized: None,
            deciding_metric: None,
            metrics: Vec::new(),
            conditions: Vec::new(),
            error: None,
        };

        if current == 0 && min != 0 {
            self.set(now, ConditionKind::ScalingActive, false, ConditionReason::ScalingDisabled);
        } else if current > max {
            decision.desired = max;
            decision.rescale = Some(RescaleReason::AboveMaximum);
        } else if current < min {
            decision.desired = min;
            decision.rescale = Some(RescaleReason::BelowMinimum);
        } else {
            decision.metrics = self.proposals(now, inputs);
            match self.combine(now, current, &decision.metrics) {
                Err(error) => decision.error = Some(error),
                Ok(computed) => self.normalize(now, computed, &mut decision),
            }
        }

        if decision.desired != current {
            self.conditions.set_with(
                now,
                ConditionKind::AbleToScale,
                true,
                ConditionReason::SucceededRescale,
                Cow::Owned(format!("the HPA controller was able to update the target scale to {}", decision.desired)),
            );
            // Without `behavior` nothing ever asks for the events.
            if let Some(behavior) = &self.spec.behavior {
                let at = SimTime::from_nanos(plus(now, self.settings.rescale_latency));
                let change = (current, decision.desired);
                self.events.record(at, now, change, behavior);
            }
        }
        decision.conditions = self.conditions.as_slice().to_vec();
        decision
    }

    fn set(&mut self, now: SimTime, kind: ConditionKind, status: bool, reason: ConditionReason) {
        self.conditions.set(now, kind, status, reason);
    }

    /// What each metric asks for.
    fn proposals(&self, now: SimTime, inputs: &HpaInputs<'_>) -> Vec<Result<Proposal, MetricError>> {
        let calculator = Calculator {
            now,
            tolerances: self.tolerances,
            cpu_initialization: self.settings.cpu_initialization,
            initial_readiness: self.settings.initial_readiness_delay,
        };
        let missing = MetricInput::Unavailable("the metric was not asked for".to_owned());
        let answers = inputs.metrics.iter().chain(std::iter::repeat(&missing));
        self.spec
            .metrics
            .iter()
            .zip(answers)
            .map(|(metric, answer)| propose(&calculator, metric, answer, inputs))
            .collect()
    }

    /// The largest of the proposals (`computeReplicasForMetrics`): an error where all metrics
    /// failed, or where some did and the others would scale down.
    fn combine(
        &mut self,
        now: SimTime,
        current: i32,
        proposals: &[Result<Proposal, MetricError>],
    ) -> Result<Computed, SyncError> {
        let (mut replicas, mut metric) = (0, None);
        let mut first_error: Option<(usize, &MetricError)> = None;
        let mut invalid = 0;
        for (i, proposal) in proposals.iter().enumerate() {
            match proposal {
                Ok(p) if replicas == 0 || p.replicas > replicas => {
                    (replicas, metric) = (p.replicas, Some(i));
                }
                Ok(_) => {}
                Err(error) => {
                    invalid += 1;
                    first_error = first_error.or(Some((i, error)));
                }
            }
        }
        let error = first_error.map(|(i, error)| SyncError {
            invalid,
            total: proposals.len(),
            metric: self.metric_name(i).to_owned(),
            first: error.clone(),
        });
        match (error, first_error) {
            (Some(error), Some((i, _))) if metric.is_none() || replicas < current => {
                self.conditions.set_with(
                    now,
                    ConditionKind::ScalingActive,
                    false,
                    self.failure_reason(i),
                    Cow::Owned(format!("the HPA was unable to compute the replica count: {}", error.first)),
                );
                Err(error)
            }
            (error, _) => {
                let name = metric.map_or("", |i| self.metric_name(i));
                let message = format!("the HPA was able to successfully calculate a replica count from {name}");
                self.conditions.set_with(
                    now,
                    ConditionKind::ScalingActive,
                    true,
                    ConditionReason::ValidMetricFound,
                    Cow::Owned(message),
                );
                Ok(Computed { replicas, metric, error })
            }
        }
    }

    fn metric_name(&self, index: usize) -> &str {
        self.metric_names.get(index).map_or("", String::as_str)
    }

    fn failure_reason(&self, index: usize) -> ConditionReason {
        match self.spec.metrics.get(index) {
            Some(MetricSpec::ContainerResource { .. }) => ConditionReason::FailedGetContainerResourceMetric,
            Some(MetricSpec::Pods { .. }) => ConditionReason::FailedGetPodsMetric,
            Some(MetricSpec::Object { .. }) => ConditionReason::FailedGetObjectMetric,
            Some(MetricSpec::External { .. }) => ConditionReason::FailedGetExternalMetric,
            Some(MetricSpec::Resource { .. }) | None => ConditionReason::FailedGetResourceMetric,
        }
    }

    /// Windows, policies and bounds (`normalizeDesiredReplicas`,
    /// `normalizeDesiredReplicasWithBehaviors`).
    fn normalize(&mut self, now: SimTime, computed: Computed, decision: &mut HpaDecision) {
        let current = decision.current;
        // A metric below zero asks for no replicas.
        let recommended = computed.replicas.max(0);
        let bounds = (self.spec.min_replicas, self.spec.max_replicas);
        let down_default = self.settings.downscale_stabilization;
        let log = &mut self.recommendations;
        let ((stabilized, stable_reason), (desired, limit_reason)) = match &self.spec.behavior {
            None => {
                let stabilized = stabilize(log, now, recommended, down_default);
                let (min, max) = bounds;
                (stabilized, limit(current, stabilized.0, min, max))
            }
            Some(behavior) => {
                let (up, down) = windows(behavior, down_default);
                let stabilized = stabilize_with_behavior(log, now, current, recommended, up, down);
                let events = &self.events;
                let limited = limit_with_behavior(events, now, current, stabilized.0, bounds, behavior);
                (stabilized, limited)
            }
        };
        self.set(now, ConditionKind::AbleToScale, true, stable_reason);
        let limited = desired != stabilized;
        self.set(now, ConditionKind::ScalingLimited, limited, limit_reason);

        decision.desired = desired;
        decision.recommended = Some(recommended);
        decision.stabilized = Some(stabilized);
        decision.deciding_metric = computed.metric;
        decision.error = computed.error;
        if desired != current {
            decision.rescale = Some(match recommended.cmp(&current) {
                std::cmp::Ordering::Greater => {
                    let name = computed.metric.map_or("", |i| self.metric_name(i));
                    RescaleReason::AboveTarget(name.to_owned())
                }
                std::cmp::Ordering::Less => RescaleReason::BelowTarget,
                std::cmp::Ordering::Equal => RescaleReason::Stabilized,
            });
        }
    }
}

/// The windows for scaling up and down.
fn windows(behavior: &Behavior, down_default: Duration) -> (Duration, Duration) {
    let window = |seconds: Option<i32>, default: Duration| {
        seconds.map_or(default, |s| Duration::from_secs(u64::try_from(s).unwrap_or(0)))
    };
    (window(behavior.scale_up.window_seconds, Duration::ZERO), window(behavior.scale_down.window_seconds, down_default))
}

/// What one metric asks for (`computeReplicasForMetric`).
fn propose(
    calculator: &Calculator,
    metric: &MetricSpec,
    answer: &MetricInput,
    inputs: &HpaInputs<'_>,
) -> Result<Proposal, MetricError> {
    let resource_proposal = |resource: &ResourceName, container: Option<&str>, target| {
        let values = pod_values(answer)?;
        let (current, pods) = (inputs.spec_replicas, inputs.pods);
        match target {
            ResourceTarget::Utilization(percent) => {
                let of = ResourceOf { resource, container };
                calculator.utilization(current, percent, of, pods, values)
            }
            ResourceTarget::AverageValue(milli) => calculator.average(current, milli, Some(resource), pods, values),
        }
    };
    match metric {
        MetricSpec::Resource { resource, target } => resource_proposal(resource, None, *target),
        MetricSpec::ContainerResource { resource, container, target } => {
            resource_proposal(resource, Some(container), *target)
        }
        MetricSpec::Pods { average_milli, .. } => {
            calculator.average(inputs.spec_replicas, *average_milli, None, inputs.pods, pod_values(answer)?)
        }
        MetricSpec::Object { target, .. } => {
            let value = match answer {
                MetricInput::Single(milli) => *milli,
                other => return Err(wrong_form(other, "one value")),
            };
            match target {
                ValueTarget::Value(milli) => calculator.value(inputs.spec_replicas, *milli, value, inputs.pods),
                ValueTarget::AverageValue(milli) => Ok(calculator.value_per_pod(inputs.status_replicas, *milli, value)),
            }
        }
        MetricSpec::External { target, .. } => {
            let series: &[i64] = match answer {
                MetricInput::Single(milli) => std::slice::from_ref(milli),
                MetricInput::Series(series) if series.is_empty() => {
                    return Err(MetricError::Empty);
                }
                MetricInput::Series(series) => series,
                other => return Err(wrong_form(other, "the values of its series")),
            };
            match target {
                ValueTarget::Value(milli) => {
                    let sum = capped_sum(series);
                    calculator.value(inputs.spec_replicas, *milli, sum, inputs.pods)
                }
                ValueTarget::AverageValue(milli) => {
                    let sum = sum_of_positive(series);
                    Ok(calculator.value_per_pod(inputs.status_replicas, *milli, sum))
                }
            }
        }
    }
}

/// The sum of an External metric's series, which stops at the largest number
/// (`GetExternalMetricReplicas`).
fn capped_sum(series: &[i64]) -> i64 {
    let mut sum: i64 = 0;
    for value in series {
        sum = sum.saturating_add(*value);
        if sum == i64::MAX {
            break;
        }
    }
    sum
}

/// The sum of an External metric's series for a target per pod. As upstream, a sum that falls
/// below zero on the way is taken for one that overflowed, and stands at the largest number
/// (`GetExternalPerPodMetricReplicas`).
fn sum_of_positive(series: &[i64]) -> i64 {
    let sum = series.iter().try_fold(0, |sum: i64, value| sum.checked_add(*value).filter(|sum| *sum >= 0));
    sum.unwrap_or(i64::MAX)
}

fn pod_values(answer: &MetricInput) -> Result<&[PodMetric], MetricError> {
    match answer {
        MetricInput::PodValues(values) => Ok(values),
        other => Err(wrong_form(other, "a value per pod")),
    }
}

/// The error for an answer that is none, or not of the form `expected`.
fn wrong_form(answer: &MetricInput, expected: &'static str) -> MetricError {
    let found = match answer {
        MetricInput::Unavailable(reason) => {
            return MetricError::Unavailable { reason: reason.clone() };
        }
        MetricInput::PodValues(_) => "a value per pod",
        MetricInput::Single(_) => "one value",
        MetricInput::Series(_) => "a list of values",
    };
    MetricError::Form { found, expected }
}
