//! The conditions of an autoscaler's status.

use std::borrow::Cow;
use std::fmt;

use crate::time::SimTime;

/// What a condition is about (`HorizontalPodAutoscalerConditionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionKind {
    /// Whether the controller can read and write the target's scale.
    AbleToScale,
    /// Whether metrics give a replica count.
    ScalingActive,
    /// Whether a bound or a policy holds the count back.
    ScalingLimited,
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Why a condition is as it is: the `reason` of Kubernetes, which [`fmt::Display`] spells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionReason {
    /// The scale was read.
    SucceededGetScale,
    /// The recommendation stands as it is.
    ReadyForNewScale,
    /// A lower recommendation in the window for scaling up holds.
    ScaleUpStabilized,
    /// A higher recommendation in the window for scaling down holds.
    ScaleDownStabilized,
    /// The scale was written.
    SucceededRescale,
    /// A metric gave the count.
    ValidMetricFound,
    /// The target has zero replicas and the autoscaler's minimum is not zero.
    ScalingDisabled,
    /// A Resource metric failed.
    FailedGetResourceMetric,
    /// A ContainerResource metric failed.
    FailedGetContainerResourceMetric,
    /// A Pods metric failed.
    FailedGetPodsMetric,
    /// An Object metric failed.
    FailedGetObjectMetric,
    /// An External metric failed.
    FailedGetExternalMetric,
    /// Nothing limits the count.
    DesiredWithinRange,
    /// The minimum does.
    TooFewReplicas,
    /// The maximum does.
    TooManyReplicas,
    /// The rate of scaling up does.
    ScaleUpLimit,
    /// The rate of scaling down does.
    ScaleDownLimit,
}

impl ConditionReason {
    /// The message Kubernetes gives with a reason that needs no further words; empty for the
    /// others.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::SucceededGetScale => "the HPA controller was able to get the target's current scale",
            Self::ReadyForNewScale => "recommended size matches current size",
            Self::ScaleUpStabilized => {
                "recent recommendations were lower than current one, applying the lowest recent recommendation"
            }
            Self::ScaleDownStabilized => {
                "recent recommendations were higher than current one, applying the highest recent recommendation"
            }
            Self::ScalingDisabled => "scaling is disabled since the replica count of the target is zero",
            Self::DesiredWithinRange => "the desired count is within the acceptable range",
            Self::TooFewReplicas => "the desired replica count is less than the minimum replica count",
            Self::TooManyReplicas => "the desired replica count is more than the maximum replica count",
            Self::ScaleUpLimit => "the desired replica count is increasing faster than the maximum scale rate",
            Self::ScaleDownLimit => "the desired replica count is decreasing faster than the maximum scale rate",
            Self::SucceededRescale
            | Self::ValidMetricFound
            | Self::FailedGetResourceMetric
            | Self::FailedGetContainerResourceMetric
            | Self::FailedGetPodsMetric
            | Self::FailedGetObjectMetric
            | Self::FailedGetExternalMetric => "",
        }
    }
}

impl fmt::Display for ConditionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants are spelt as Kubernetes spells the reasons.
        write!(f, "{self:?}")
    }
}

/// One condition of an autoscaler's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: bool,
    /// Why.
    pub reason: ConditionReason,
    /// The same for people.
    pub message: Cow<'static, str>,
    /// When `status` last changed (`lastTransitionTime`).
    pub since: SimTime,
}

/// The conditions of one autoscaler: one of each kind, kept from sync to sync until set anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    list: Vec<Condition>,
}

impl Conditions {
    /// Sets a condition with the message of its reason.
    pub(super) fn set(&mut self, now: SimTime, kind: ConditionKind, status: bool, reason: ConditionReason) {
        self.set_with(now, kind, status, reason, Cow::Borrowed(reason.message()));
    }

    /// Sets a condition (`setConditionInList`).
    pub(super) fn set_with(
        &mut self,
        now: SimTime,
        kind: ConditionKind,
        status: bool,
        reason: ConditionReason,
        message: Cow<'static, str>,
    ) {
        match self.list.iter_mut().find(|c| c.kind == kind) {
            Some(condition) => {
                if condition.status != status {
                    condition.since = now;
                }
                condition.status = status;
                condition.reason = reason;
                condition.message = message;
            }
            None => self.list.push(Condition { kind, status, reason, message, since: now }),
        }
    }

    /// The conditions in the order in which they first came up.
    pub(super) fn as_slice(&self) -> &[Condition] {
        &self.list
    }
}
