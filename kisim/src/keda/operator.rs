//! The two loops of a ScaledObject: the operator's poll and the HorizontalPodAutoscaler's sync.
//!
//! Source: `pkg/scaling/scale_handler.go` (`getScaledObjectState`, `GetScaledObjectMetrics`).

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::executor::{Executor, PollOutcome, State};
use super::observe::{Observations, Record, Scale, answer, refusal};
use super::spec::{Pause, ScaledObject, TriggerKind};
use super::target::Source;
use crate::hpa::{
    ConditionKind, ControllerSettings, Hpa, HpaDecision, HpaInputs, MetricInput, PodMetric, PodStatus, RescaleReason,
};
use crate::time::SimTime;

/// The wall clock at the start of a simulation where nobody says otherwise: 1970-01-05T00:00Z, a Monday.
pub const DEFAULT_START: Timestamp = Timestamp::constant(4 * 86_400, 0);

/// What the caller found for one trigger.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerInput {
    /// The result of a query, in its own unit.
    Value(f64),
    /// A query without a result.
    Empty,
    /// No answer, and why not.
    Failed(String),
    /// CPU or memory of the pods.
    Pods(Vec<PodMetric>),
    /// Nothing, for `cron`: it looks at the clock.
    Clock,
}

/// What one tick is decided from.
#[derive(Clone, Copy, Debug)]
pub struct KedaInputs<'a> {
    /// `spec.replicas` of the scale target: the pods asked for.
    pub spec_replicas: i32,
    /// `status.replicas` of the scale target: the pods there are, ready or not.
    pub status_replicas: i32,
    /// The pods the target's selector finds, terminating and failed ones included.
    pub pods: &'a [PodStatus],
    /// One entry per trigger, in the order of the object. A missing entry counts as a failure.
    pub triggers: &'a [TriggerInput],
}

/// Who decided at a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KedaReason {
    /// Nobody: neither loop is due.
    NotDue,
    /// Nobody: the object is paused.
    Paused,
    /// The operator changed the count, or it alone was due.
    Operator(PollOutcome),
    /// The HorizontalPodAutoscaler changed the count.
    Hpa(RescaleReason),
    /// The HorizontalPodAutoscaler left the count as it is.
    HpaNoChange,
}

impl fmt::Display for KedaReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDue => f.write_str("neither the operator nor the HPA is due"),
            Self::Paused => f.write_str("the ScaledObject is paused"),
            Self::Operator(outcome) => write!(f, "operator: {outcome}"),
            Self::Hpa(reason) => write!(f, "HPA: {reason}"),
            Self::HpaNoChange => f.write_str("HPA: no change"),
        }
    }
}

/// What one tick found and decided.
#[derive(Clone, Debug, PartialEq)]
pub struct KedaDecision {
    /// The scale target's `spec.replicas` at the tick.
    pub current: i32,
    /// What it is to be now; the same as `current` for no change.
    pub desired: i32,
    /// Whether the object was active at its last poll.
    pub active: bool,
    /// Whether a fallback was in force at this tick.
    pub fallback: bool,
    /// What the poll came to, if it was due.
    pub poll: Option<PollOutcome>,
    /// What the HorizontalPodAutoscaler found, if its sync was due.
    pub hpa: Option<HpaDecision>,
    /// Who decided, and why.
    pub reason: KedaReason,
}

/// The state of KEDA and its HorizontalPodAutoscaler for one object.
#[derive(Clone, Debug)]
pub struct Keda {
    object: ScaledObject,
    hpa: Hpa,
    /// Where each metric of the HorizontalPodAutoscaler comes from.
    sources: Vec<Source>,
    start: Timestamp,
    /// The first tick.
    created: Option<SimTime>,
    last_poll: Option<SimTime>,
    last_sync: Option<SimTime>,
    executor: Executor,
    observations: Observations,
    active: bool,
    /// Whether the HorizontalPodAutoscaler's last sync had metrics (its condition `ScalingActive`).
    hpa_queries: bool,
}

impl Keda {
    /// An object before its first tick, in a simulation that starts at [`DEFAULT_START`].
    pub fn new(object: ScaledObject, settings: ControllerSettings) -> Self {
        Self::starting_at(object, settings, DEFAULT_START)
    }

    /// The same in a simulation that starts at the given time of the wall clock, by which `cron` triggers go.
    pub fn starting_at(object: ScaledObject, settings: ControllerSettings, start: Timestamp) -> Self {
        Self {
            hpa: Hpa::new(object.hpa_spec(), settings),
            sources: object.hpa_metrics().into_iter().map(|(source, _)| source).collect(),
            start,
            created: None,
            last_poll: None,
            last_sync: None,
            executor: Executor::default(),
            observations: Observations::new(object.triggers.len()),
            active: false,
            hpa_queries: false,
            object,
        }
    }

    /// The object.
    pub const fn object(&self) -> &ScaledObject {
        &self.object
    }

    /// Its HorizontalPodAutoscaler.
    pub const fn hpa(&self) -> &Hpa {
        &self.hpa
    }

    /// When a poll last found the object active and nothing failing (`status.lastActiveTime`).
    pub const fn last_active(&self) -> Option<SimTime> {
        self.executor.last_active()
    }

    /// Runs what is due at `now`, which must not be before an earlier call's: the operator's poll every
    /// `pollingInterval`, then the HorizontalPodAutoscaler's sync every [`ControllerSettings::sync_period`], on the
    /// count the poll left. Both are due at the first call, which stands for the creation of the object.
    ///
    /// The caller writes [`KedaDecision::desired`] to the scale target; that never fails here.
    pub fn tick(&mut self, now: SimTime, inputs: &KedaInputs<'_>) -> KedaDecision {
        let created = *self.created.get_or_insert(now);
        let current = inputs.spec_replicas;
        let mut decision = KedaDecision {
            current,
            desired: current,
            active: self.active,
            fallback: false,
            poll: None,
            hpa: None,
            reason: KedaReason::NotDue,
        };
        // Upstream stops polling and deletes the HorizontalPodAutoscaler (`handlePause`).
        if let Some(pause) = self.object.pause {
            decision.reason = KedaReason::Paused;
            if let Pause::At(count) = pause {
                decision.desired = count;
            }
            return decision;
        }
        if self.last_poll.is_none_or(|last| now.since(last) >= self.object.polling_interval) {
            self.last_poll = Some(now);
            let (state, fallback) = self.state(now, inputs);
            let (desired, outcome) = self.executor.request_scale(&self.object, now, created, current, state);
            self.active = state.active || self.object.force_activation;
            decision = KedaDecision {
                desired,
                active: self.active,
                fallback,
                poll: Some(outcome),
                reason: KedaReason::Operator(outcome),
                ..decision
            };
        }
        if self.last_sync.is_none_or(|last| now.since(last) >= self.hpa.settings().sync_period) {
            self.last_sync = Some(now);
            let polled = decision.desired;
            let (synced, fallback) = self.sync(now, inputs, polled);
            decision.desired = synced.desired;
            decision.fallback |= fallback;
            match (&synced.rescale, polled == current) {
                (Some(reason), _) => decision.reason = KedaReason::Hpa(reason.clone()),
                (None, true) => decision.reason = KedaReason::HpaNoChange,
                (None, false) => {}
            }
            decision.hpa = Some(synced);
        }
        decision
    }

    /// Whether the triggers are active or failing, and whether a fallback is in force (`getScaledObjectState`).
    fn state(&mut self, now: SimTime, inputs: &KedaInputs<'_>) -> (State, bool) {
        let scale = Scale { replicas: inputs.spec_replicas, pods: inputs.pods };
        let from_hpa = self.hpa_queries && self.object.uses_hpa_observations();
        let mut records = Vec::with_capacity(self.object.triggers.len());
        for index in 0..self.object.triggers.len() {
            if self.is_resource(index) {
                continue;
            }
            let left = self.observations.record(index).filter(|_| from_hpa).cloned();
            let record = left.unwrap_or_else(|| self.look(now, index, inputs, scale));
            if self.object.triggers.get(index).is_some_and(|t| t.use_cached_metrics) {
                self.observations.keep(index, &record);
            }
            records.push((index, record));
        }
        let error = records.iter().any(|(_, record)| record.milli.is_err());
        let fallback = records.iter().any(|(_, record)| record.fallback);
        let active = if self.object.has_only_resources() {
            true
        } else if let Some(modifiers) = &self.object.modifiers {
            let composite = if error { None } else { self.observations.composite(&self.object, &records).ok() };
            composite.is_some_and(|milli| milli as f64 / 1000.0 > modifiers.activation_target)
        } else {
            records.iter().any(|(_, record)| record.milli.is_ok() && (record.active || record.fallback))
        };
        (State { active, error }, fallback)
    }

    /// One sync of the HorizontalPodAutoscaler, and whether a fallback is in force.
    fn sync(&mut self, now: SimTime, inputs: &KedaInputs<'_>, replicas: i32) -> (HpaDecision, bool) {
        let spec = self.hpa.spec();
        // Outside of its bounds it asks for no metrics, and at none it is switched off.
        let queries = (spec.min_replicas..=spec.max_replicas).contains(&replicas);
        let scale = Scale { replicas, pods: inputs.pods };
        let mut fallback = false;
        let mut metrics = Vec::new();
        for index in 0..if queries { self.sources.len() } else { 0 } {
            let metric = match self.sources.get(index) {
                Some(Source::Trigger(trigger)) if self.is_resource(*trigger) => match inputs.triggers.get(*trigger) {
                    Some(TriggerInput::Pods(values)) => MetricInput::PodValues(values.clone()),
                    other => MetricInput::Unavailable(refusal(other, "a value per pod")),
                },
                Some(Source::Trigger(trigger)) => {
                    let record = self.serve(now, *trigger, inputs, scale);
                    fallback |= record.fallback;
                    record.milli.map_or_else(MetricInput::Unavailable, MetricInput::Single)
                }
                Some(Source::Composite) => {
                    let (metric, fallen) = self.serve_composite(now, inputs, scale);
                    fallback |= fallen;
                    metric
                }
                None => MetricInput::Unavailable(refusal(None, "")),
            };
            metrics.push(metric);
        }
        let inputs = HpaInputs {
            spec_replicas: replicas,
            status_replicas: inputs.status_replicas,
            pods: inputs.pods,
            metrics: &metrics,
        };
        let decision = self.hpa.sync(now, &inputs);
        self.hpa_queries = decision.condition(ConditionKind::ScalingActive).is_some_and(|c| c.status);
        (decision, fallback)
    }

    /// The metric of one trigger as the HorizontalPodAutoscaler gets it (`GetScaledObjectMetrics`).
    fn serve(&mut self, now: SimTime, trigger: usize, inputs: &KedaInputs<'_>, scale: Scale<'_>) -> Record {
        let cached = self.object.triggers.get(trigger).is_some_and(|t| t.use_cached_metrics);
        let left = self.observations.record(trigger).filter(|_| cached).cloned();
        let record = match left {
            // What the poll left counts as an answer of the source: a fallback that the poll put there is a success
            // here, and ends the row of failures.
            Some(record) => {
                let answer = record.milli.map(|milli| (milli, record.active));
                self.observations.look(&self.object, trigger, answer, scale)
            }
            None => self.look(now, trigger, inputs, scale),
        };
        if self.object.uses_hpa_observations() {
            self.observations.keep(trigger, &record);
        }
        record
    }

    /// The result of the formula as the HorizontalPodAutoscaler gets it, and whether it is a fallback's.
    fn serve_composite(&mut self, now: SimTime, inputs: &KedaInputs<'_>, scale: Scale<'_>) -> (MetricInput, bool) {
        let mut records = Vec::with_capacity(self.object.triggers.len());
        for index in 0..self.object.triggers.len() {
            if !self.is_resource(index) {
                records.push((index, self.serve(now, index, inputs, scale)));
            }
        }
        let fallback = records.iter().any(|(_, record)| record.fallback);
        let result = self.observations.composite(&self.object, &records);
        (result.map_or_else(MetricInput::Unavailable, MetricInput::Single), fallback)
    }

    /// Asks a trigger's source.
    fn look(&mut self, now: SimTime, index: usize, inputs: &KedaInputs<'_>, scale: Scale<'_>) -> Record {
        let answer = match self.object.triggers.get(index) {
            Some(trigger) => {
                let offset = match &trigger.kind {
                    TriggerKind::Cron(cron) => cron.offset,
                    _ => Offset::UTC,
                };
                answer(trigger, inputs.triggers.get(index), || self.local_time(now, offset))
            }
            None => Err(refusal(None, "")),
        };
        self.observations.look(&self.object, index, answer, scale)
    }

    /// What the clock shows at an offset from UTC; `None` past the last year there is.
    fn local_time(&self, now: SimTime, offset: Offset) -> Option<DateTime> {
        let nanos = self.start.as_nanosecond().checked_add(i128::from(now.as_nanos()))?;
        Some(offset.to_datetime(Timestamp::from_nanosecond(nanos).ok()?))
    }

    fn is_resource(&self, index: usize) -> bool {
        self.object.triggers.get(index).is_some_and(|t| matches!(t.kind, TriggerKind::Resource(_)))
    }
}
