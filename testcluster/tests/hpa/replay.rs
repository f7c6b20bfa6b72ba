//! The same syncs once more, by the model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kisim::hpa::{
    ControllerSettings, Hpa, HpaDecision, HpaInputs, HpaSpec, MetricInput, MetricSpec, PodMetric, PodPhase, PodStatus,
    ValueTarget,
};
use kisim::time::SimTime;
use testcluster::{Answer, Served, Subject};

use crate::observe::{Condition, Observed, Replicas, Sync};
use crate::series::Series;

/// The controller hears of a change of pods by a watch of its own, and we by ours; which of the two hears it first, and
/// whether before or after a metric is asked for, nobody can tell. A sync within this time of such a change may have
/// seen the pods as they were before or after it, and all it decides must follow from one of the two.
const LAG: Duration = Duration::from_millis(250);

/// A scale event is stamped once the new scale is written, not when the metric is answered. The model has one time for
/// that; one of these must explain the whole series. With windows and periods that end between two syncs it does not
/// matter which.
const RESCALE: [Duration; 3] = [Duration::from_millis(20), Duration::ZERO, Duration::from_millis(60)];

/// Of a series of ambiguous syncs so many histories are followed.
const MOST_HISTORIES: usize = 256;

/// What a comparison gave.
#[derive(Default)]
pub struct Outcome {
    pub syncs: usize,
    /// Syncs at which the model decided the same from the pods as our watches had them.
    pub equal: usize,
    /// Syncs at which it did from the pods as they were at most [`LAG`] before or after.
    pub equal_by_lag: usize,
    /// The other syncs, in words.
    pub otherwise: Vec<String>,
    /// What the real controller did.
    pub seen: BTreeMap<String, usize>,
    /// Its replica counts, without repetitions.
    pub counts: Vec<i32>,
}

/// What the controller may have seen of the cluster at a sync.
#[derive(Clone, PartialEq)]
struct View {
    status_replicas: i32,
    pods: Vec<PodStatus>,
}

/// Replays all syncs but the last, whose effect is not known.
pub fn replay(series: &Series, manifest: &str, observed: &Observed, sync_period: Duration) -> Outcome {
    let spec = HpaSpec::from_yaml(manifest, series.name).expect("the manifest is valid");
    let mut histories: Vec<Hpa> = RESCALE
        .map(|rescale_latency| ControllerSettings { sync_period, rescale_latency, ..ControllerSettings::default() })
        .map(|settings| Hpa::new(spec.clone(), settings))
        .to_vec();
    let mut outcome = Outcome::default();
    let Some(start) = observed.syncs.first().map(Sync::began) else {
        outcome.otherwise.push(format!("{}: no sync at all", series.name));
        return outcome;
    };
    let mut last_fall = None;
    for (sync, next) in observed.syncs.iter().zip(observed.syncs.iter().skip(1)) {
        let (began, decided) = (sync.began(), sync.answered());
        let now = SimTime::ZERO + (decided - start);
        let replicas = |at: Instant| *observed.replicas.at(at).expect("the Deployment was there before its syncs");
        // Nobody but the autoscaler changes the replicas, and it does so between its question and the next sync's.
        let (before, after) = (replicas(began).spec, replicas(next.began()).spec);
        let metrics: Vec<MetricInput> = sync.questions.iter().map(|q| input(observed, q, now)).collect();
        let conditions = observed.conditions.at(next.began()).cloned().unwrap_or_default();
        let views = views(observed, sync, next, before);
        let decide = |hpa: &Hpa, view: &View| {
            let mut hpa = hpa.clone();
            let inputs = HpaInputs {
                spec_replicas: before,
                status_replicas: view.status_replicas,
                pods: &view.pods,
                metrics: &metrics,
            };
            let decision = hpa.sync(now, &inputs);
            (hpa, decision)
        };

        // Every history that leads to what happened is kept: which one was real may only show later.
        let mut kept: BTreeMap<String, Hpa> = BTreeMap::new();
        let mut decision = None;
        for (i, view) in views.iter().enumerate() {
            for hpa in &histories {
                let (hpa, made) = decide(hpa, view);
                if made.desired == after && same(&made.conditions, &conditions) {
                    decision.get_or_insert((i, made));
                    if kept.len() < MOST_HISTORIES {
                        kept.insert(format!("{hpa:?}"), hpa);
                    }
                }
            }
        }
        outcome.syncs += 1;
        let (view, decision) = match decision {
            Some((0, decision)) => {
                outcome.equal += 1;
                (&views[0], decision)
            }
            Some((i, decision)) => {
                outcome.equal_by_lag += 1;
                (&views[i], decision)
            }
            None => {
                let (hpa, decision) = decide(&histories[0], &views[0]);
                kept.insert(String::new(), hpa);
                outcome.otherwise.push(format!(
                    "{} at {:.2} s: {before} -> {after} by the controller, {} by the model\n  conditions {:?}\n  \
                     decision {decision:?}\n  metrics {metrics:?}\n  {} views of the pods, the first {} with {} running",
                    series.name,
                    now.as_secs_f64(),
                    decision.desired,
                    conditions,
                    views.len(),
                    views[0].pods.len(),
                    views[0].pods.iter().filter(|p| p.phase == PodPhase::Running).count(),
                ));
                (&views[0], decision)
            }
        };
        histories = kept.into_values().collect();

        let mut marks = marks(before, after, &decision, &conditions, view, &metrics, &spec);
        if after < before {
            last_fall = Some(began);
        }
        if after > before && last_fall.is_some_and(|fall| began - fall < Duration::from_secs(15)) {
            marks.insert("up within 15 s of a fall".to_owned());
        }
        for mark in marks {
            *outcome.seen.entry(mark).or_default() += 1;
        }
        for count in [before, after] {
            if outcome.counts.last() != Some(&count) {
                outcome.counts.push(count);
            }
        }
    }
    outcome
}

/// The pods and the Deployment's status at the sync, and then as they were a little earlier or later: never later than
/// the change of the replicas that the sync itself made, as what follows from that it cannot have seen.
fn views(observed: &Observed, sync: &Sync, next: &Sync, before: i32) -> Vec<View> {
    let (began, answered) = (sync.began(), sync.answered());
    let changed = |r: &Replicas| r.spec != before;
    let own = observed.replicas.first_after(began, next.began(), changed).map(|at| at - Duration::from_micros(1));
    let until = own.map_or(answered + LAG, |own| own.min(answered + LAG)).max(answered);
    let from = began - LAG;
    let status = |r: &Replicas| r.status;
    let mut statuses = vec![observed.replicas.at(began).map_or(0, status)];
    // The scale is read before the first question.
    let latest = until.min(began + LAG);
    statuses.extend(observed.replicas.within(from, latest).into_iter().filter(|r| r.spec == before).map(status));
    let mut pods = vec![observed.pods.at(answered).cloned().unwrap_or_default()];
    pods.extend(observed.pods.within(from, until).into_iter().cloned());
    let mut views: Vec<View> = Vec::new();
    for status_replicas in statuses {
        for pods in &pods {
            let view = View { status_replicas, pods: pods.clone() };
            if !views.contains(&view) {
                views.push(view);
            }
        }
    }
    views
}

fn input(observed: &Observed, served: &Served, now: SimTime) -> MetricInput {
    match (&served.answer, &served.question.subject) {
        (Answer::Status(status), _) => MetricInput::Unavailable(format!("status {status}")),
        (Answer::Values(values), Subject::Object { .. }) => match values[..] {
            [value] => MetricInput::Single(value),
            _ => MetricInput::Unavailable(format!("{} values where one was asked for", values.len())),
        },
        (Answer::Values(values), _) => MetricInput::Series(values.clone()),
        (Answer::Pods(values), _) => MetricInput::PodValues(
            values
                .iter()
                .map(|(pod, milli)| PodMetric {
                    pod: observed.id(pod),
                    milli: *milli,
                    at: now,
                    window: Duration::from_secs(5),
                })
                .collect(),
        ),
    }
}

/// Whether the autoscaler's status has these conditions: kind, status and reason, and the message but for failures,
/// whose wording is the metrics client's.
fn same(model: &[kisim::hpa::Condition], real: &[Condition]) -> bool {
    model.len() == real.len()
        && model.iter().all(|m| {
            let reason = m.reason.to_string();
            real.iter().any(|r| {
                r.kind == m.kind.to_string()
                    && r.status == m.status
                    && r.reason == reason
                    && (r.message == m.message || reason.starts_with("Failed"))
            })
        })
}

/// What the sync is an example of.
fn marks(
    before: i32,
    after: i32,
    decision: &HpaDecision,
    conditions: &[Condition],
    view: &View,
    metrics: &[MetricInput],
    spec: &HpaSpec,
) -> BTreeSet<String> {
    let mut marks = BTreeSet::new();
    // The reasons of the real controller, where they say more than that all is well.
    marks.extend(conditions.iter().filter(|c| c.kind == "ScalingLimited" && c.status).map(|c| c.reason.clone()));
    marks.extend(conditions.iter().filter(|c| c.reason.ends_with("Stabilized")).map(|c| c.reason.clone()));
    let failed = decision.metrics.iter().filter(|m| m.is_err()).count();
    let mut mark = |holds: bool, text: &str| {
        if holds {
            marks.insert(text.to_owned());
        }
    };
    mark(after > before, "up");
    mark(after < before, "down");
    mark(failed > 0 && after > before, "up beside a failed metric");
    mark(failed == metrics.len(), "all metrics failed");
    mark(failed > 0 && failed < metrics.len() && decision.recommended.is_none(), "held by a failed metric");
    mark(view.pods.iter().any(|p| !p.deleting && p.phase == PodPhase::Pending), "pods not ready");
    for metric in metrics {
        if let MetricInput::PodValues(values) = metric {
            let running = |p: &&PodStatus| !p.deleting && p.phase == PodPhase::Running;
            let without = |p: &PodStatus| !values.is_empty() && !values.iter().any(|v| v.pod == p.id);
            mark(view.pods.iter().filter(running).any(without), "pods without a value");
        }
    }
    // A single value off its target that moves nothing.
    if let ([MetricInput::Series(series)], [MetricSpec::External { target: ValueTarget::Value(target), .. }]) =
        (metrics, &spec.metrics[..])
        && before == after
        && decision.recommended == Some(before)
        && let [value] = series[..]
    {
        mark(value > *target, "held above the target");
        mark(value < *target, "held below the target");
    }
    marks
}
