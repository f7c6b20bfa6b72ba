//! What a trigger says, and what counts instead where it fails.
//!
//! Source: `GetMetricsAndActivity` of each scaler in `pkg/scalers`, `pkg/fallback/fallback.go`,
//! `pkg/scaling/modifiers/formula.go`, `observeMetric` in `pkg/scaling/scale_handler.go`.

use jiff::civil::DateTime;

use super::cron;
use super::manifest::milli;
use super::operator::TriggerInput;
use super::spec::{Fallback, FallbackBehavior, MetricTarget, PrometheusTrigger, ScaledObject, Trigger, TriggerKind};
use crate::hpa::{PodPhase, PodStatus};

/// The answer of a trigger's source: its value in thousandths and whether it is active.
type Answer = Result<(i64, bool), String>;

/// What one look at a trigger gave, after fallbacks (`MetricsRecord`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The metric in thousandths, or why there is none.
    pub(super) milli: Result<i64, String>,
    /// Whether the trigger itself is active.
    pub(super) active: bool,
    /// Whether the metric is that of the fallback.
    pub(super) fallback: bool,
}

/// The scale target at one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale<'a> {
    /// `spec.replicas`.
    pub(super) replicas: i32,
    pub(super) pods: &'a [PodStatus],
}

/// Failures in a row by trigger (`status.health`), and what the two loops leave for each other.
#[derive(Clone, Debug)]
pub(super) struct Observations {
    failures: Vec<u32>,
    records: Vec<Option<Record>>,
}

impl Observations {
    pub(super) fn new(triggers: usize) -> Self {
        Self { failures: vec![0; triggers], records: vec![None; triggers] }
    }

    /// What was left for the other loop.
    pub(super) fn record(&self, trigger: usize) -> Option<&Record> {
        self.records.get(trigger)?.as_ref()
    }

    pub(super) fn keep(&mut self, trigger: usize, record: &Record) {
        if let Some(slot) = self.records.get_mut(trigger) {
            *slot = Some(record.clone());
        }
    }

    /// One look: counts a failure or forgets earlier ones, and falls back where there were too many
    /// (`GetMetricsWithFallback`).
    pub(super) fn look(&mut self, object: &ScaledObject, trigger: usize, answer: Answer, scale: Scale<'_>) -> Record {
        let fallback = usable_fallback(object).zip(self.failures.get_mut(trigger));
        let (error, (fallback, failures)) = match (answer, fallback) {
            (Ok((milli, active)), fallback) => {
                if let Some((_, failures)) = fallback {
                    *failures = 0;
                }
                return Record { milli: Ok(milli), active, fallback: false };
            }
            (Err(error), None) => return Record { milli: Err(error), active: false, fallback: false },
            (Err(error), Some(fallback)) => (error, fallback),
        };
        *failures = failures.saturating_add(1);
        if *failures <= fallback.failure_threshold.unsigned_abs() {
            return Record { milli: Err(error), active: false, fallback: false };
        }
        if fallback.behavior == FallbackBehavior::ScalingModifiers {
            // Stands in for a value: the formula is given none.
            return Record { milli: Ok(-1_000), active: false, fallback: false };
        }
        match fallback_milli(object, fallback, trigger, scale) {
            Some(milli) => Record { milli: Ok(milli), active: false, fallback: true },
            None => Record { milli: Err(format!("no fallback without ready pods: {error}")), ..Record::failed() },
        }
    }

    /// The result of the formula in thousandths (`HandleScalingModifiers`), of records in the order of
    /// [`formula_names`](super::manifest::formula_names), each with the index of its trigger.
    pub(super) fn composite(&self, object: &ScaledObject, records: &[(usize, Record)]) -> Result<i64, String> {
        let Some(modifiers) = &object.modifiers else {
            return Err("no formula".to_owned());
        };
        let fallen = records.iter().find(|(_, record)| record.fallback);
        if let Some((_, Record { milli: Ok(milli), .. })) = fallen {
            return Ok(*milli);
        }
        let mut values = Vec::with_capacity(records.len());
        for (trigger, record) in records {
            let milli = *record.milli.as_ref().map_err(Clone::clone)?;
            values.push((!self.is_nil(object, *trigger)).then_some(milli as f64 / 1000.0));
        }
        let result = match modifiers.formula.evaluate(&values) {
            Ok(Some(number)) => number,
            Ok(None) => match &object.fallback {
                Some(fallback) => f64::from(fallback.replicas) * modifiers.target,
                None => return Err("the formula gives nil and there is no fallback".to_owned()),
            },
            Err(error) => return Err(format!("formula, {error}")),
        };
        // Truncated, as upstream; what is too large stops at the largest.
        Ok((result * 1000.0) as i64)
    }

    /// Whether a formula sees no value of a trigger (`scalingModifierTriggerValue`).
    fn is_nil(&self, object: &ScaledObject, trigger: usize) -> bool {
        let failures = self.failures.get(trigger).copied().unwrap_or(0);
        object.fallback.as_ref().is_some_and(|fallback| {
            fallback.behavior == FallbackBehavior::ScalingModifiers
                && failures > fallback.failure_threshold.unsigned_abs()
        })
    }
}

impl Record {
    fn failed() -> Self {
        Self { milli: Err(String::new()), active: false, fallback: false }
    }
}

/// The fallback, unless it is one upstream takes for invalid: beside a formula its target must be a whole number
/// (`HasValidFallback`).
fn usable_fallback(object: &ScaledObject) -> Option<&Fallback> {
    let valid = object.modifiers.as_ref().is_none_or(|m| m.target_is_whole);
    object.fallback.as_ref().filter(|_| valid)
}

/// The metric that makes the HorizontalPodAutoscaler ask for the replicas of the fallback (`doFallback`).
fn fallback_milli(object: &ScaledObject, fallback: &Fallback, trigger: usize, scale: Scale<'_>) -> Option<i64> {
    let (own, current) = (fallback.replicas, scale.replicas);
    let replicas = match fallback.behavior {
        FallbackBehavior::CurrentReplicas => current,
        FallbackBehavior::CurrentReplicasIfHigher => current.max(own),
        FallbackBehavior::CurrentReplicasIfLower => current.min(own),
        FallbackBehavior::Static | FallbackBehavior::ScalingModifiers => own,
    };
    let (target, kind) = match (&object.modifiers, object.triggers.get(trigger).map(|t| &t.kind)) {
        (Some(modifiers), _) => (modifiers.target, modifiers.metric_target),
        (None, Some(TriggerKind::Prometheus(t))) => (milli(t.threshold) as f64 / 1000.0, t.metric_target),
        (None, Some(TriggerKind::Cron(t))) => (1.0, t.metric_target),
        (None, _) => return None,
    };
    let mut replicas = f64::from(replicas);
    if kind == MetricTarget::Value {
        // Such a metric is compared with its target and multiplied with the ready pods.
        let ready = scale.pods.iter().filter(|p| p.phase == PodPhase::Running && p.ready == Some(true)).count();
        if ready == 0 {
            return None;
        }
        replicas /= ready as f64;
    }
    Some((target * 1000.0 * replicas) as i64)
}

/// What the source of a trigger answers, by the clock or by what the caller found.
pub(super) fn answer(trigger: &Trigger, input: Option<&TriggerInput>, clock: impl Fn() -> Option<DateTime>) -> Answer {
    match &trigger.kind {
        TriggerKind::Prometheus(trigger) => prometheus(trigger, input),
        TriggerKind::Cron(trigger) => {
            let local = clock().ok_or("the clock is past the last year there is")?;
            let within = cron::is_within(&trigger.start, &trigger.end, local);
            let milli = if within { trigger.desired_replicas.saturating_mul(1000) } else { 0 };
            Ok((milli, within))
        }
        TriggerKind::Resource(_) => Err("CPU and memory are for the HorizontalPodAutoscaler".to_owned()),
    }
}

/// `ExecutePromQuery` and what is made of its result.
fn prometheus(trigger: &PrometheusTrigger, input: Option<&TriggerInput>) -> Answer {
    let nothing = if trigger.ignore_null_values { Some(0.0) } else { None };
    let value = match input {
        Some(TriggerInput::Value(value)) if value.is_finite() => *value,
        Some(TriggerInput::Value(value)) => nothing.ok_or_else(|| format!("prometheus query returns {value}"))?,
        Some(TriggerInput::Empty) => nothing.ok_or("prometheus query returns nothing, the target may be lost")?,
        other => return Err(refusal(other, "one value")),
    };
    Ok((milli(value), value > trigger.activation_threshold))
}

/// The reason for an input that is no answer, or none of the form `expected`.
pub(super) fn refusal(input: Option<&TriggerInput>, expected: &str) -> String {
    let found = match input {
        None => return "the trigger was not asked".to_owned(),
        Some(TriggerInput::Failed(reason)) => return reason.clone(),
        Some(TriggerInput::Value(_)) => "one value",
        Some(TriggerInput::Empty) => "no value",
        Some(TriggerInput::Pods(_)) => "a value per pod",
        Some(TriggerInput::Clock) => "the clock",
    };
    format!("the source returned {found}, expected {expected} for this type of trigger")
}
