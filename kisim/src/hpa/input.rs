//! What the controller sees at a sync: pods and metrics.

use std::sync::Arc;
use std::time::Duration;

use super::spec::ResourceName;
use crate::time::SimTime;

/// What one sync is decided from.
#[derive(Clone, Copy, Debug)]
pub struct HpaInputs<'a> {
    /// `spec.replicas` of the scale target: the pods asked for.
    pub spec_replicas: i32,
    /// `status.replicas` of the scale target: the pods there are, ready or not.
    pub status_replicas: i32,
    /// The pods the target's selector finds, terminating and failed ones included.
    pub pods: &'a [PodStatus],
    /// One entry per metric of the autoscaler, in its order. A missing entry counts as
    /// unavailable.
    pub metrics: &'a [MetricInput],
}

/// One pod as far as autoscaling looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct PodStatus {
    /// Stands for the pod's name: unique among the pods of the target.
    pub id: u64,
    /// `status.phase`.
    pub phase: PodPhase,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The status of the `Ready` condition; `None` without that condition.
    pub ready: Option<bool>,
    /// When the `Ready` condition last changed; `None` counts as long ago.
    pub ready_transition: Option<SimTime>,
    /// `status.startTime`: when a kubelet took the pod.
    pub start_time: Option<SimTime>,
    /// The containers, restartable init containers included. Pods of one template can share
    /// them.
    pub containers: Arc<[Container]>,
}

/// One container's resource requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its requests in thousandths (cores, bytes, ...).
    pub requests: Vec<(ResourceName, i64)>,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Not all containers run yet.
    Pending,
    /// Bound, and some container runs or restarts.
    Running,
    /// All containers ended well; ignored.
    Succeeded,
    /// All containers ended, some of them badly; ignored.
    Failed,
    /// The node does not answer.
    Unknown,
}

/// The value of a metric for one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodMetric {
    /// [`PodStatus::id`] of its pod.
    pub pod: u64,
    /// The value in thousandths.
    pub milli: i64,
    /// When it was measured: the end of its window.
    pub at: SimTime,
    /// Over how long it was measured.
    pub window: Duration,
}

/// What a metrics API answered for one metric.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricInput {
    /// A value for each pod: Resource, ContainerResource and Pods metrics. Pods may be absent;
    /// values of pods that are not the target's are taken the way upstream takes them. Of two
    /// values of one pod the later in the list counts.
    PodValues(Vec<PodMetric>),
    /// One value in thousandths: Object metrics, and External metrics of one series.
    Single(i64),
    /// The values of all series in thousandths, to be added up: External metrics.
    Series(Vec<i64>),
    /// No answer, and why not.
    Unavailable(String),
}
