//! From metrics to a replica count.
//!
//! Source: `pkg/controller/podautoscaler/replica_calculator.go` and
//! `pkg/controller/podautoscaler/metrics/utilization.go`.

use std::borrow::Cow;
use std::time::Duration;

use super::input::{PodMetric, PodPhase, PodStatus};
use super::spec::ResourceName;
use crate::time::SimTime;

/// How far the ratio of usage to target may be from 1 without a change of the count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Below 1.
    pub down: f64,
    /// Above 1.
    pub up: f64,
}

impl Tolerances {
    /// Whether a ratio is close enough to 1, the ends included (`Tolerances.isWithin`).
    pub fn is_within(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What one metric asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The count of replicas, before windows, policies and bounds.
    pub replicas: i32,
    /// The metric as the autoscaler's status shows it.
    pub reading: Reading,
}

/// The current value of a metric (`MetricValueStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Resource metrics against their requests.
    Utilization {
        /// Per cent of the requests, truncated.
        percent: i32,
        /// The mean of the pods in thousandths, truncated.
        average_milli: i64,
    },
    /// The mean of the pods in thousandths: truncated for metrics of pods, rounded up for
    /// metrics of one value.
    AverageMilli(i64),
    /// The one value, or the sum of the series, in thousandths.
    ValueMilli(i64),
}

/// Why a metric gives no replica count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The metrics API has no answer.
    #[error("unable to get the metric: {reason}")]
    Unavailable {
        /// Why not.
        reason: String,
    },
    /// The metrics API answered with an empty list.
    #[error("the metrics API returned no values, expected at least one")]
    Empty,
    /// The answer is of another form than the type of metric has.
    #[error("the metrics API returned {found}, expected {expected} for this type of metric")]
    Form {
        /// What came.
        found: &'static str,
        /// What this type of metric has.
        expected: &'static str,
    },
    /// The target has no pods at all.
    #[error("no pods returned by selector while calculating replica count")]
    NoPods,
    /// No value is left of pods that count.
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoUsablePods,
    /// A container does not request the resource its utilisation is asked for.
    #[error("missing request for {resource} in container {container} of pod {pod}")]
    MissingRequest {
        /// The resource.
        resource: ResourceName,
        /// The container's name.
        container: String,
        /// The pod's id.
        pod: u64,
    },
    /// A pod has no container of the name the metric is for.
    #[error("container {container} not found in pod {pod}")]
    MissingContainer {
        /// The container's name.
        container: String,
        /// The pod's id.
        pod: u64,
    },
    /// The requests of the pods with values add up to nothing.
    #[error("no metrics returned matched known pods")]
    NoRequests,
}

/// What all calculations of one sync share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calculator {
    pub(super) now: SimTime,
    pub(super) tolerances: Tolerances,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub(super) cpu_initialization: Duration,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub(super) initial_readiness: Duration,
}

/// Which of a pod's resources a metric is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResourceOf<'a> {
    pub(super) resource: &'a ResourceName,
    /// One container's, or the whole pod's.
    pub(super) container: Option<&'a str>,
}

/// How a pod counts (`groupPods`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// Terminating or ended: not at all.
    Ignored,
    /// Not yet: with its value dropped.
    Unready,
    /// It has no value.
    Missing,
    /// With its value, in thousandths.
    Counted(i64),
}

/// `at + span` in nanoseconds, stopping at the largest time there is.
pub(super) fn plus(at: SimTime, span: Duration) -> u64 {
    let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    at.as_nanos().saturating_add(span)
}

/// A count as upstream rounds it, up, within 32 bits; no number counts as 0.
fn ceil_replicas(count: f64) -> i32 {
    // A float turned into an integer stops at the integer's ends.
    count.ceil() as i32
}

/// A sum back in 64 bits.
fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Whether a new ratio points the other way than the first one did.
fn flips(ratio: f64, new_ratio: f64) -> bool {
    (ratio < 1.0 && new_ratio > 1.0) || (ratio > 1.0 && new_ratio < 1.0)
}

/// Whether a count goes the other way than its ratio says.
fn contradicts(ratio: f64, replicas: i32, current: i32) -> bool {
    (ratio < 1.0 && replicas > current) || (ratio > 1.0 && replicas < current)
}

impl Calculator {
    /// A resource against the pods' requests (`GetResourceReplicas`): `target` is in per cent.
    pub(super) fn utilization(
        &self,
        current: i32,
        target: i32,
        of: ResourceOf<'_>,
        pods: &[PodStatus],
        metrics: &[PodMetric],
    ) -> Result<Proposal, MetricError> {
        let grouped = self.group(Some(of.resource), pods, metrics)?;
        let requests = pods.iter().map(|pod| request(pod, of)).collect::<Result<Vec<i64>, _>>()?;

        let (mut used, mut requested, mut counted) = (0_i128, 0_i128, 0_i128);
        for (group, request) in grouped.groups.iter().zip(&requests) {
            if let Group::Counted(milli) = group {
                used += i128::from(*milli);
                requested += i128::from(*request);
                counted += 1;
            }
        }
        let percent = percent_of(used, requested)?;
        let ratio = f64::from(percent) / f64::from(target);
        let reading = Reading::Utilization { percent, average_milli: saturate(used / counted.max(1)) };
        let proposal = |replicas| Proposal { replicas, reading };
        if let Some(replicas) = self.without_filling(&grouped, current, ratio) {
            return Ok(proposal(replicas));
        }

        let mut filled = grouped.values;
        for (group, request) in grouped.groups.iter().zip(&requests) {
            match group {
                // Going down, a pod without a value is taken to use its whole request, or the
                // target where that is more.
                Group::Missing if ratio < 1.0 => {
                    used += i128::from(*request) * i128::from(target.max(100)) / 100;
                }
                Group::Missing if ratio > 1.0 => {}
                Group::Unready if ratio > 1.0 => {}
                _ => continue,
            }
            requested += i128::from(*request);
            filled += 1;
        }
        let new_ratio = f64::from(percent_of(used, requested)?) / f64::from(target);
        Ok(proposal(self.filled(current, ratio, new_ratio, filled)))
    }

    /// The mean of the pods against a target in thousandths (`calcPlainMetricReplicas`); a
    /// `resource` is given for resource metrics.
    pub(super) fn average(
        &self,
        current: i32,
        target: i64,
        resource: Option<&ResourceName>,
        pods: &[PodStatus],
        metrics: &[PodMetric],
    ) -> Result<Proposal, MetricError> {
        let grouped = self.group(resource, pods, metrics)?;
        let mean = |total: i128, values: usize| saturate(total / (values.max(1) as i128));
        let ratio_of = |mean: i64| mean as f64 / target as f64;
        let average = mean(grouped.total, grouped.values);
        let ratio = ratio_of(average);
        let proposal = |replicas| Proposal { replicas, reading: Reading::AverageMilli(average) };
        if let Some(replicas) = self.without_filling(&grouped, current, ratio) {
            return Ok(proposal(replicas));
        }

        let (mut total, mut filled) = (grouped.total, grouped.values);
        for group in &grouped.groups {
            match group {
                Group::Missing if ratio < 1.0 => total += i128::from(target),
                Group::Missing if ratio > 1.0 => {}
                Group::Unready if ratio > 1.0 => {}
                _ => continue,
            }
            filled += 1;
        }
        let new_ratio = ratio_of(mean(total, filled));
        Ok(proposal(self.filled(current, ratio, new_ratio, filled)))
    }

    /// A value against a target as they are (`getUsageRatioReplicaCount`).
    pub(super) fn value(
        &self,
        current: i32,
        target: i64,
        value: i64,
        pods: &[PodStatus],
    ) -> Result<Proposal, MetricError> {
        let ratio = value as f64 / target as f64;
        let replicas = if current == 0 {
            // Without pods there is nothing to multiply, and no tolerance.
            ceil_replicas(ratio)
        } else if self.tolerances.is_within(ratio) {
            current
        } else {
            if pods.is_empty() {
                return Err(MetricError::NoPods);
            }
            let ready = pods.iter().filter(|p| p.phase == PodPhase::Running && p.ready == Some(true)).count();
            ceil_replicas(ratio * ready as f64)
        };
        Ok(Proposal { replicas, reading: Reading::ValueMilli(value) })
    }

    /// A value against a target per pod (`GetExternalPerPodMetricReplicas`).
    pub(super) fn value_per_pod(&self, status_replicas: i32, target: i64, value: i64) -> Proposal {
        let ratio = value as f64 / (target as f64 * f64::from(status_replicas));
        let replicas = if self.tolerances.is_within(ratio) {
            status_replicas
        } else {
            ceil_replicas(value as f64 / target as f64)
        };
        let average = if value == i64::MAX {
            // A sum that stopped at the end of its range has no mean (`getPerPodUsage`).
            i64::MAX
        } else if status_replicas == 0 {
            0
        } else {
            (value as f64 / f64::from(status_replicas)).ceil() as i64
        };
        Proposal { replicas, reading: Reading::AverageMilli(average) }
    }

    /// The count where no pod has to be filled in: none without a value, and none unready that a
    /// rise would have to wait for.
    fn without_filling(&self, grouped: &Grouped, current: i32, ratio: f64) -> Option<i32> {
        let wait_for_unready = ratio > 1.0 && grouped.groups.contains(&Group::Unready);
        if wait_for_unready || grouped.groups.contains(&Group::Missing) {
            return None;
        }
        if self.tolerances.is_within(ratio) {
            return Some(current);
        }
        Some(ceil_replicas(ratio * grouped.counted() as f64))
    }

    /// The count after filling in, out of `filled` values; the current one where the filling
    /// brings the ratio within tolerance or turns it around.
    fn filled(&self, current: i32, ratio: f64, new_ratio: f64, filled: usize) -> i32 {
        if self.tolerances.is_within(new_ratio) || flips(ratio, new_ratio) {
            return current;
        }
        let replicas = ceil_replicas(new_ratio * filled as f64);
        if contradicts(new_ratio, replicas, current) {
            return current;
        }
        replicas
    }

    /// Sorts the pods and adds up the values (`groupPods`, `removeMetricsForPods`).
    fn group(
        &self,
        resource: Option<&ResourceName>,
        pods: &[PodStatus],
        metrics: &[PodMetric],
    ) -> Result<Grouped, MetricError> {
        if metrics.is_empty() {
            return Err(MetricError::Empty);
        }
        if pods.is_empty() {
            return Err(MetricError::NoPods);
        }
        let metrics = by_pod(metrics);
        // Values of pods that are not the target's stay in, as upstream's do: they weigh in the
        // mean and in the number of values, not in a utilisation.
        let mut total: i128 = metrics.iter().map(|m| i128::from(m.milli)).sum();
        let mut values = metrics.len();
        let groups: Vec<Group> = pods
            .iter()
            .map(|pod| {
                let metric = metrics.binary_search_by_key(&pod.id, |m| m.pod).ok().and_then(|i| metrics.get(i));
                let group = self.group_of(resource, pod, metric);
                if matches!(group, Group::Ignored | Group::Unready)
                    && let Some(metric) = metric
                {
                    total -= i128::from(metric.milli);
                    values -= 1;
                }
                group
            })
            .collect();
        if values == 0 {
            return Err(MetricError::NoUsablePods);
        }
        Ok(Grouped { groups, total, values })
    }

    fn group_of(&self, resource: Option<&ResourceName>, pod: &PodStatus, metric: Option<&PodMetric>) -> Group {
        if pod.deleting || matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded) {
            return Group::Ignored;
        }
        if pod.phase == PodPhase::Pending {
            return Group::Unready;
        }
        let Some(metric) = metric else {
            return Group::Missing;
        };
        if resource == Some(&ResourceName::Cpu) && self.is_starting(pod, metric) {
            return Group::Unready;
        }
        Group::Counted(metric.milli)
    }

    /// Whether a pod's CPU says nothing yet: starting takes more of it than serving.
    fn is_starting(&self, pod: &PodStatus, metric: &PodMetric) -> bool {
        let (Some(ready), Some(start)) = (pod.ready, pod.start_time) else {
            return true;
        };
        let transition = pod.ready_transition.unwrap_or(SimTime::ZERO);
        if plus(start, self.cpu_initialization) > self.now.as_nanos() {
            // Within the start every change of readiness asks for a whole window after it.
            !ready || metric.at.as_nanos() < plus(transition, metric.window)
        } else {
            // Afterwards only a pod that has never been ready is left out.
            !ready && plus(start, self.initial_readiness) > transition.as_nanos()
        }
    }
}

/// The pods and values of one metric.
struct Grouped {
    /// One for each pod, in their order.
    groups: Vec<Group>,
    /// The sum of all values that are left, in thousandths.
    total: i128,
    /// How many are left, at least one.
    values: usize,
}

impl Grouped {
    fn counted(&self) -> usize {
        let counted = |g: &&Group| matches!(g, Group::Counted(_));
        self.groups.iter().filter(counted).count()
    }
}

/// The values by rising pod, the last of each pod; borrowed where they come that way.
fn by_pod(metrics: &[PodMetric]) -> Cow<'_, [PodMetric]> {
    if metrics.is_sorted_by(|a, b| a.pod < b.pod) {
        return Cow::Borrowed(metrics);
    }
    let mut sorted = metrics.to_vec();
    sorted.sort_by_key(|m| m.pod);
    // Of two values of one pod the later one is kept, as in a map written in order.
    sorted.reverse();
    sorted.dedup_by_key(|m| m.pod);
    sorted.reverse();
    Cow::Owned(sorted)
}

/// Per cent of the requests, truncated (`GetResourceUtilizationRatio`).
fn percent_of(used: i128, requested: i128) -> Result<i32, MetricError> {
    if requested == 0 {
        return Err(MetricError::NoRequests);
    }
    let percent = used * 100 / requested;
    Ok(i32::try_from(percent).unwrap_or(if percent < 0 { i32::MIN } else { i32::MAX }))
}

/// A pod's request in thousandths (`calculateRequests`): of one container, or of all of them,
/// each of which must have one.
fn request(pod: &PodStatus, of: ResourceOf<'_>) -> Result<i64, MetricError> {
    let mut sum: i64 = 0;
    for container in pod.containers.iter() {
        if of.container.is_some_and(|name| name != container.name) {
            continue;
        }
        let request = container.requests.iter().find(|(resource, _)| resource == of.resource).ok_or_else(|| {
            MetricError::MissingRequest {
                resource: of.resource.clone(),
                container: container.name.clone(),
                pod: pod.id,
            }
        })?;
        if of.container.is_some() {
            return Ok(request.1);
        }
        sum = sum.saturating_add(request.1);
    }
    match of.container {
        Some(name) => Err(MetricError::MissingContainer { container: name.to_owned(), pod: pod.id }),
        None => Ok(sum),
    }
}
