//! What users are told: status and Events. The status is written when it changes, not at every decision.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource as _};
use serde_json::json;

use super::Context;
use crate::api::{
    ConditionType, FIELD_MANAGER, GROUP, KIScaler, KIScalerStatus, LastDecision, Mode, PolicyStatus, PoolStatus,
    PoolsStatus, VERSION,
};
use crate::control::{PoolOutcome, Reason};

/// How old the sentence about a decision may get while nothing but its numbers changes.
const MESSAGE_AGE: SignedDuration = SignedDuration::from_secs(300);

/// The longest sentence in a condition: Kubernetes' own limit is 32 KiB, and people's is shorter.
const LONGEST: usize = 1024;

/// What there is to say after a decision.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// Empty where nothing is known of them.
    pub(crate) pools: Vec<PoolOutcome>,
    pub(crate) policy: PolicyStatus,
    /// Why the policy does not decide.
    pub(crate) policy_problem: Option<String>,
    /// What is wrong with metrics; `None` where nothing is known of them.
    pub(crate) metrics: Option<Result<(), (Reason, String)>>,
    /// What training never saw.
    pub(crate) unseen: Option<String>,
}

/// Tells users about one KIScaler.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    written: Option<KIScalerStatus>,
    told: Option<(Reason, Vec<(u32, u32)>)>,
}

impl Reporter {
    /// Goes on from what the object says.
    pub(crate) fn resume(&mut self, scaler: &KIScaler) {
        if self.written.is_none() {
            self.written.clone_from(&scaler.status);
        }
    }

    /// Writes what changed.
    pub(crate) async fn tell(&mut self, context: &Context, scaler: &KIScaler, report: &Report, now: Timestamp) {
        self.log(scaler, report);
        if context.in_api {
            // In the order in which one reads them: Events say what the status comes to.
            let events = self.events(scaler, report);
            self.publish(context, scaler, events).await;
            self.status(context, scaler, report, now).await;
        }
        self.told = Some((report.reason, changes(report)));
    }

    fn is_news(&self, report: &Report) -> bool {
        self.told.as_ref().is_none_or(|(reason, told)| *reason != report.reason || *told != changes(report))
    }

    fn log(&self, scaler: &KIScaler, report: &Report) {
        let (kiscaler, reason, message) = (scaler.path(), report.reason.name(), report.message.as_str());
        let pools: Vec<String> =
            report.pools.iter().map(|p| format!("{}: {} -> {}", p.name, p.current, p.target)).collect();
        let pools = pools.join(", ");
        match (self.is_news(report), report.reason.holds() && !is_usual(report.reason)) {
            (true, true) => tracing::warn!(kiscaler, reason, pools, "{message}"),
            (true, false) => tracing::info!(kiscaler, reason, pools, "{message}"),
            (false, _) => tracing::debug!(kiscaler, reason, pools, "{message}"),
        }
    }

    /// Events for what is news: each change of the number, and each reason to hold.
    fn events(&self, scaler: &KIScaler, report: &Report) -> Vec<Event> {
        let acts = scaler.spec.mode == Mode::Active;
        // What was carried out is always worth an Event, however like the one before it was.
        if !acts && !self.is_news(report) {
            return Vec::new();
        }
        let event = |type_, reason: String, action: String, note: String| Event {
            type_,
            reason,
            action,
            note: Some(shortened(&note)),
            secondary: None,
        };
        let mut events = Vec::new();
        let verb = if acts { "" } else { "Would" };
        for pool in report.pools.iter().filter(|pool| pool.target != pool.current && !report.reason.holds()) {
            let word = if pool.target > pool.current { "ScaleUp" } else { "ScaleDown" };
            let note = format!("{}: {} -> {}: {}", pool.name, pool.current, pool.target, report.message);
            let action = format!("{}From{}To{}", pool.name, pool.current, pool.target);
            events.push(event(EventType::Normal, format!("{verb}{word}"), action, note));
        }
        let before = self.told.as_ref().map(|(reason, _)| *reason);
        let is_problem = report.reason.holds() || report.reason == Reason::OutOfDistribution;
        if before != Some(report.reason) && is_problem {
            let type_ = if is_usual(report.reason) { EventType::Normal } else { EventType::Warning };
            events.push(event(type_, report.reason.name().to_owned(), "Hold".to_owned(), report.message.clone()));
        }
        events
    }

    async fn publish(&self, context: &Context, scaler: &KIScaler, events: Vec<Event>) {
        let reference = scaler.object_ref(&());
        for event in events {
            let Some(permit) = context.leadership.permit() else { return };
            let outcome = match permit.spend(context.recorder.publish(&event, &reference)).await {
                Ok(Ok(())) => "ok",
                Ok(Err(error)) => {
                    tracing::warn!(kiscaler = scaler.path(), %error, "cannot publish an Event");
                    "refused"
                }
                Err(_) => "unanswered",
            };
            context.telemetry.wrote("event", outcome);
        }
    }

    async fn status(&mut self, context: &Context, scaler: &KIScaler, report: &Report, now: Timestamp) {
        let status = compose(scaler, report, self.written.as_ref(), now);
        if self.written.as_ref() == Some(&status) {
            return;
        }
        let Some(permit) = context.leadership.permit() else { return };
        let name = scaler.metadata.name.clone().unwrap_or_default();
        let patch = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "KIScaler",
            "metadata": {"name": name},
            "status": status,
        });
        let api: Api<KIScaler> = Api::namespaced(context.client.clone(), scaler.home());
        // The status is nobody else's, so there is nothing to ask before taking it.
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let outcome = match permit.spend(api.patch_status(&name, &parameters, &Patch::Apply(&patch))).await {
            Ok(Ok(_)) => {
                self.written = Some(status);
                "ok"
            }
            // It was deleted meanwhile.
            Ok(Err(kube::Error::Api(refused))) if refused.code == 404 => "gone",
            Ok(Err(error)) => {
                tracing::warn!(kiscaler = scaler.path(), %error, "cannot write the status");
                "refused"
            }
            Err(_) => "unanswered",
        };
        context.telemetry.wrote("status", outcome);
    }
}

/// Says of an object that this version does not understand that it is so. Of such an object, only the name is known.
pub(crate) async fn refuse(context: &Context, (namespace, name): (&str, &str), error: &str, now: Timestamp) {
    let Some(permit) = context.leadership.permit().filter(|_| context.in_api) else { return };
    let reason = Reason::InvalidSpec.name();
    let message = shortened(&format!("this version of the agent does not understand the spec: {error}"));
    let ready = Condition {
        type_: ConditionType::Ready.name().to_owned(),
        status: "False".to_owned(),
        reason: reason.to_owned(),
        message: message.clone(),
        last_transition_time: Time(now),
        observed_generation: None,
    };
    let status = KIScalerStatus {
        last_decision: Some(LastDecision { time: Time(now), reason: reason.to_owned(), message }),
        conditions: Some(vec![ready]),
        ..KIScalerStatus::default()
    };
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "KIScaler",
        "metadata": {"name": name},
        "status": status,
    });
    // As metadata: the answer is an object that is not understood.
    let api: Api<PartialObjectMeta<KIScaler>> = Api::namespaced(context.client.clone(), namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let outcome = match permit.spend(api.patch_status(name, &parameters, &Patch::Apply(&patch))).await {
        Ok(Ok(_)) => "ok",
        Ok(Err(error)) => {
            tracing::warn!(kiscaler = format!("{namespace}/{name}"), %error, "cannot write the status");
            "refused"
        }
        Err(_) => "unanswered",
    };
    context.telemetry.wrote("status", outcome);
}

/// Whether a reason to hold is the course of things.
fn is_usual(reason: Reason) -> bool {
    matches!(reason, Reason::WarmingUp | Reason::Draining)
}

/// Current and desired replicas, by pool.
fn changes(report: &Report) -> Vec<(u32, u32)> {
    report.pools.iter().map(|pool| (pool.current, pool.target)).collect()
}

/// The status that `report` comes to after `before`.
fn compose(scaler: &KIScaler, report: &Report, before: Option<&KIScalerStatus>, now: Timestamp) -> KIScalerStatus {
    let pool = |name: &str| {
        let found = report.pools.iter().find(|pool| pool.name == name);
        found.map(|p| PoolStatus { current: p.current, desired: p.target, ready: p.ready })
    };
    let known = PoolsStatus { gpu: pool("gpu"), cpu: pool("cpu") };
    // Where nothing is known, what was known stands.
    let pools = match report.pools.is_empty() {
        true => before.and_then(|b| b.pools.clone()),
        false => Some(known),
    };
    let last = before.and_then(|b| b.last_decision.clone());
    let same_numbers = before.is_some_and(|b| b.pools.as_ref().map(desired) == pools.as_ref().map(desired));
    let still = last.filter(|last| {
        let fresh = now.duration_since(last.time.0) < MESSAGE_AGE || last.message == shortened(&report.message);
        last.reason == report.reason.name() && same_numbers && fresh && is_like(&last.message, &report.message)
    });
    let last_decision = still.unwrap_or_else(|| LastDecision {
        time: Time(now),
        reason: report.reason.name().to_owned(),
        message: shortened(&report.message),
    });
    let generation = scaler.metadata.generation;
    let mut conditions = Vec::new();
    for (kind, (status, reason, message)) in ConditionType::ALL.into_iter().zip(verdicts(scaler, report)) {
        let former = before.and_then(|b| b.conditions.as_ref()?.iter().find(|c| c.type_ == kind.name()));
        let same = former.filter(|former| former.status == status);
        // As with decisions, numbers in a sentence are no reason to write it again.
        let message = match same.filter(|former| former.reason == reason && is_like(&former.message, &message)) {
            Some(former) => former.message.clone(),
            None => shortened(&message),
        };
        conditions.push(Condition {
            type_: kind.name().to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: same.map_or(Time(now), |former| former.last_transition_time.clone()),
            observed_generation: generation,
        });
    }
    KIScalerStatus {
        observed_generation: generation,
        pools,
        policy: Some(report.policy.clone()),
        last_decision: Some(last_decision),
        conditions: Some(conditions),
    }
}

/// Whether two sentences differ in their numbers alone.
fn is_like(written: &str, new: &str) -> bool {
    let new = shortened(new);
    let words = |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect() };
    words(written) == words(&new)
}

fn desired(pools: &PoolsStatus) -> [Option<(u32, u32)>; 2] {
    [pools.gpu, pools.cpu].map(|pool| pool.map(|pool| (pool.current, pool.desired)))
}

type Verdict = (&'static str, &'static str, String);

/// Status, reason and message of each condition, in the order of [`ConditionType::ALL`].
fn verdicts(scaler: &KIScaler, report: &Report) -> [Verdict; 5] {
    let metrics = match &report.metrics {
        None => ("Unknown", "NotAsked", "no decision was made yet".to_owned()),
        Some(Ok(())) => ("True", "Fresh", String::new()),
        Some(Err((Reason::WarmingUp, _))) => ("True", "Fresh", String::new()),
        Some(Err((reason, message))) => ("False", reason.name(), message.clone()),
    };
    let policy = match &report.policy_problem {
        None => ("True", "Loaded", report.policy.sha256.as_ref().map(|s| format!("sha256 {s}")).unwrap_or_default()),
        Some(problem) => ("False", Reason::PolicyUnavailable.name(), problem.clone()),
    };
    let active = match (scaler.spec.mode, report.reason) {
        (Mode::Shadow, _) => ("False", "Shadow", "decisions are shown and not carried out".to_owned()),
        (Mode::Active, reason) if reason.holds() && reason != Reason::Draining => {
            ("False", reason.name(), report.message.clone())
        }
        (Mode::Active, _) => ("True", "Active", String::new()),
    };
    let distribution = match (&report.unseen, &report.policy.sha256) {
        (Some(unseen), _) => ("False", Reason::OutOfDistribution.name(), unseen.clone()),
        (None, Some(_)) if metrics.0 == "True" => ("True", "InDistribution", String::new()),
        (None, Some(_)) => ("Unknown", "NoMetrics", String::new()),
        (None, None) => ("True", "Baseline", "a baseline has no training to compare with".to_owned()),
    };
    let others = [&metrics, &policy, &distribution];
    let obstacle = matches!(
        report.reason,
        Reason::TargetMissing
            | Reason::NotScalable
            | Reason::TargetOwned
            | Reason::Conflict
            | Reason::WriteRefused
            | Reason::ApiUnavailable
            | Reason::InvalidSpec
            | Reason::Disabled
    );
    let ready = match others.iter().find(|(status, _, _)| *status == "False") {
        _ if obstacle => ("False", report.reason.name(), report.message.clone()),
        Some((_, reason, message)) => ("False", *reason, message.clone()),
        None if metrics.0 == "Unknown" => ("Unknown", "Starting", String::new()),
        None => ("True", "Deciding", String::new()),
    };
    [ready, metrics, policy, active, distribution]
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::scaler;

    fn report(reason: Reason, message: &str, target: u32) -> Report {
        let pool = PoolOutcome { name: "gpu".into(), current: 2, ready: 2, wanted: Some(target), target };
        Report {
            reason,
            message: message.to_owned(),
            pools: vec![pool],
            policy: PolicyStatus { name: "hpa:60".into(), sha256: None },
            policy_problem: None,
            metrics: Some(Ok(())),
            unseen: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn what_is_the_same_is_not_written_again() {
        let scaler = scaler("hpa:60");
        let first = compose(&scaler, &report(Reason::Steady, "by 31", 2), None, at(0));
        let second = compose(&scaler, &report(Reason::Steady, "by 33", 2), Some(&first), at(15));
        assert_eq!(first, second);
        // The sentence is renewed now and then; at once where it is another one, or the number of replicas is.
        let other = compose(&scaler, &report(Reason::Steady, "for 31", 2), Some(&first), at(15));
        assert_eq!(other.last_decision.unwrap().message, "for 31");
        let old = compose(&scaler, &report(Reason::Steady, "by 33", 2), Some(&first), at(301));
        assert_eq!(old.last_decision.unwrap().message, "by 33");
        let more = compose(&scaler, &report(Reason::ScaleUp, "by 99", 4), Some(&first), at(15));
        let decision = more.last_decision.unwrap();
        assert_eq!((decision.message.as_str(), decision.time.0), ("by 99", at(15)));
        assert_eq!(more.pools.unwrap().gpu, Some(PoolStatus { current: 2, desired: 4, ready: 2 }));
    }

    #[test]
    fn conditions_say_what_is_wrong_and_since_when() {
        let mut scaler = scaler("hpa:60");
        scaler.spec.mode = Mode::Active;
        let get = |status: &KIScalerStatus, kind: ConditionType| {
            let found = status.conditions.iter().flatten().find(|c| c.type_ == kind.name()).unwrap();
            (found.status.clone(), found.reason.clone(), found.last_transition_time.0)
        };
        let good = compose(&scaler, &report(Reason::Steady, "", 2), None, at(0));
        for kind in ConditionType::ALL {
            assert_eq!(get(&good, kind).0, "True", "{kind:?}");
        }
        let mut stale = report(Reason::StaleMetrics, "old", 2);
        stale.metrics = Some(Err((Reason::StaleMetrics, "old".into())));
        let bad = compose(&scaler, &stale, Some(&good), at(60));
        for kind in [ConditionType::Ready, ConditionType::MetricsAvailable, ConditionType::ScalingActive] {
            assert_eq!(get(&bad, kind), ("False".into(), "StaleMetrics".into(), at(60)), "{kind:?}");
        }
        assert_eq!(get(&bad, ConditionType::PolicyLoaded).2, at(0));
        scaler.spec.mode = Mode::Shadow;
        let shadow = compose(&scaler, &report(Reason::Steady, "", 2), Some(&bad), at(90));
        assert_eq!(get(&shadow, ConditionType::ScalingActive), ("False".into(), "Shadow".into(), at(60)));
        assert_eq!(get(&shadow, ConditionType::Ready), ("True".into(), "Deciding".into(), at(90)));
    }

    #[test]
    fn events_are_for_what_is_news() {
        let scaler = scaler("hpa:60");
        let mut reporter = Reporter::default();
        let reasons = |reporter: &mut Reporter, report: Report| {
            let reasons: Vec<String> = reporter.events(&scaler, &report).into_iter().map(|e| e.reason).collect();
            reporter.told = Some((report.reason, changes(&report)));
            reasons
        };
        assert_eq!(reasons(&mut reporter, report(Reason::Steady, "", 2)), Vec::<String>::new());
        assert_eq!(reasons(&mut reporter, report(Reason::ScaleUp, "", 4)), ["WouldScaleUp"]);
        assert_eq!(reasons(&mut reporter, report(Reason::ScaleUp, "", 4)), Vec::<String>::new());
        assert_eq!(reasons(&mut reporter, report(Reason::NoMetrics, "", 2)), ["NoMetrics"]);
        assert_eq!(reasons(&mut reporter, report(Reason::NoMetrics, "", 2)), Vec::<String>::new());
        let mut active = scaler.clone();
        active.spec.mode = Mode::Active;
        for _ in 0..2 {
            let events = reporter.events(&active, &report(Reason::ScaleUp, "", 4));
            assert_eq!(events[0].reason, "ScaleUp");
        }
    }
}
