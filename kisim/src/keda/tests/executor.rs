//! The step between none or idle replicas and some.

use super::super::executor::{Executor, PollOutcome as Outcome, State};
use super::*;

/// One poll: the object, what was before, what is found, and what follows.
struct Row {
    name: &'static str,
    annotations: &'static str,
    spec: &'static str,
    /// The last activity in seconds; the object is created at 100 s.
    last_active: Option<u64>,
    now: u64,
    current: i32,
    active: bool,
    error: bool,
    expect: (i32, Outcome),
    /// Whether the poll counts as activity.
    activity: bool,
}

fn row(name: &'static str, spec: &'static str, current: i32, active: bool, expect: (i32, Outcome)) -> Row {
    let activity = matches!(expect.1, Outcome::Activated | Outcome::Active);
    Row { name, annotations: "", spec, last_active: None, now: 1_000, current, active, error: false, expect, activity }
}

impl Row {
    fn annotated(self, annotations: &'static str) -> Self {
        Self { annotations, ..self }
    }

    fn after(self, last_active: u64, now: u64) -> Self {
        Self { last_active: Some(last_active), now, ..self }
    }

    fn at(self, now: u64) -> Self {
        Self { now, ..self }
    }

    fn failing(self) -> Self {
        Self { error: true, ..self }
    }

    fn check(&self) {
        let object = annotated(self.annotations, &format!("{}\n  {ONE}", self.spec));
        let mut executor = Executor::default();
        if let Some(last) = self.last_active {
            let state = State { active: true, error: false };
            executor.request_scale(&object, at(last), at(100), object.min_replicas.max(1), state);
        }
        let state = State { active: self.active, error: self.error };
        let found = executor.request_scale(&object, at(self.now), at(100), self.current, state);
        assert_eq!(found, self.expect, "{}", self.name);
        let last = if self.activity { Some(self.now) } else { self.last_active };
        assert_eq!(executor.last_active(), last.map(at), "{}: last activity", self.name);
    }
}

#[test]
fn upstream() {
    const FALLBACK: &str = "fallback: {failureThreshold: 3, replicas: 4}";
    let rows = [
        // scale_scaledobjects_test.go.
        row("TestScaleToMinReplicasWhenNotActive", "minReplicaCount: 0", 2, false, (0, Outcome::Deactivated)),
        row(
            "TestScaleToMinReplicasFromLowerInitialReplicaCount",
            "minReplicaCount: 5",
            1,
            false,
            (5, Outcome::RaisedToMinimum),
        ),
        row("TestScaleFromMinReplicasWhenActive", "minReplicaCount: 0", 0, true, (1, Outcome::Activated)),
        row(
            "TestScaleToIdleReplicasWhenNotActive",
            "minReplicaCount: 5\n  idleReplicaCount: 0",
            5,
            false,
            (0, Outcome::Deactivated),
        ),
        row(
            "TestScaleFromIdleToMinReplicasWhenActive",
            "minReplicaCount: 5\n  idleReplicaCount: 0",
            0,
            true,
            (5, Outcome::Activated),
        ),
        row(
            "TestNoScaleToMinReplicasWhenNotActiveAndPauseScaleInAnnotationSet",
            "minReplicaCount: 0",
            2,
            false,
            (2, Outcome::ScaleInPaused),
        )
        .annotated("autoscaling.keda.sh/paused-scale-in: 'true'"),
        row(
            "TestNoScaleToIdleReplicasWhenNotActiveAndPauseScaleInAnnotationSet",
            "minReplicaCount: 5\n  idleReplicaCount: 0",
            5,
            false,
            (5, Outcome::ScaleInPaused),
        )
        .annotated("autoscaling.keda.sh/paused-scale-in: 'true'"),
        row("TestScaleFromMinReplicasWhenActivationForced", "minReplicaCount: 0", 0, false, (1, Outcome::Activated))
            .annotated("autoscaling.keda.sh/force-activation: 'true'"),
        row(
            "TestNoScaleFromMinReplicasWhenActiveAndPausedScaleOutAnnotationSet",
            "minReplicaCount: 0",
            0,
            true,
            (0, Outcome::ScaleOutPaused),
        )
        .annotated("autoscaling.keda.sh/paused-scale-out: 'true'"),
        row(
            "TestNoScaleFromIdleReplicasToMinReplicasWhenActiveAndPausedScaleOutAnnotationSet",
            "minReplicaCount: 5\n  idleReplicaCount: 1",
            1,
            true,
            (1, Outcome::ScaleOutPaused),
        )
        .annotated("autoscaling.keda.sh/paused-scale-out: 'true'"),
        row("TestRequestScale_AllHealthy_HPAHealthy", "minReplicaCount: 0", 2, true, (2, Outcome::Active)),
        row("TestRequestScale_ScalerError_HPAHealthy", "minReplicaCount: 0", 2, false, (2, Outcome::TriggerError))
            .failing(),
        row("TestRequestScale_PartialError_HPAHealthy", "minReplicaCount: 0", 2, true, (2, Outcome::PartialError))
            .failing(),
        row("TestRequestScale_ScalerErrorWithFallback_HPAHealthy", FALLBACK, 2, false, (2, Outcome::AwaitingFallback))
            .failing(),
    ];
    rows.iter().for_each(Row::check);
}

#[test]
fn cooldowns() {
    const IDLE: &str = "minReplicaCount: 2\n  idleReplicaCount: 1";
    let down = |name, spec, expect| row(name, spec, 3, false, expect);
    let rows = [
        // The default is 300 s, and its end is not after it: `Before` in upstream.
        down("within the cooldown", "", (3, Outcome::CoolingDown)).after(1_000, 1_299),
        down("at its end", "", (3, Outcome::CoolingDown)).after(1_000, 1_300),
        down("after its end", "", (0, Outcome::Deactivated)).after(1_000, 1_301),
        down("a cooldown of nothing, at once", "cooldownPeriod: 0", (3, Outcome::CoolingDown)).after(1_000, 1_000),
        down("a cooldown of nothing, later", "cooldownPeriod: 0", (0, Outcome::Deactivated)).after(1_000, 1_001),
        down("to idle within the cooldown", IDLE, (3, Outcome::CoolingDown)).after(1_000, 1_300),
        down("to idle after it", IDLE, (1, Outcome::Deactivated)).after(1_000, 1_301),
        // Never active: from the creation at 100 s, by the initial cooldown alone.
        down("never active", "", (0, Outcome::Deactivated)).at(100),
        down("never active, first cooldown", "initialCooldownPeriod: 60", (3, Outcome::CoolingDown)).at(159),
        down("never active, past it", "initialCooldownPeriod: 60", (0, Outcome::Deactivated)).at(160),
        // Once active, the initial cooldown means nothing.
        down("active once", "initialCooldownPeriod: 5000\n  cooldownPeriod: 10", (0, Outcome::Deactivated))
            .after(1_000, 1_011),
    ];
    rows.iter().for_each(Row::check);
}

#[test]
fn further_steps() {
    const IDLE: &str = "minReplicaCount: 3\n  idleReplicaCount: 1";
    const FALLBACK_TO_NONE: &str = "fallback: {failureThreshold: 3, replicas: 0}";
    let rows = [
        row("from none to the minimum", "minReplicaCount: 4", 0, true, (4, Outcome::Activated)),
        row("none and inactive", "", 0, false, (0, Outcome::Inactive)),
        row("at the minimum and inactive", "minReplicaCount: 2", 2, false, (2, Outcome::Inactive)),
        // Above the minimum the HPA scales down.
        row("above the minimum and inactive", "minReplicaCount: 2", 7, false, (7, Outcome::Inactive)),
        // Below the minimum and active without idle replicas: the HPA scales up.
        row("below the minimum and active", "minReplicaCount: 4", 2, true, (2, Outcome::Active)),
        row("idle and inactive", IDLE, 1, false, (1, Outcome::Inactive)),
        row("below idle and inactive", IDLE, 0, false, (0, Outcome::Inactive)),
        row("between idle and the minimum, active", IDLE, 2, true, (3, Outcome::Activated)),
        row("between idle and the minimum, inactive", IDLE, 2, false, (1, Outcome::Deactivated)),
        row("above the minimum, active", IDLE, 5, true, (5, Outcome::Active)),
        // An active trigger wakes the target, whatever else fails.
        row("none, active and failing", "", 0, true, (1, Outcome::Activated)).failing(),
        row("none and failing", "", 0, false, (0, Outcome::TriggerError)).failing(),
        row("below the minimum and failing", "minReplicaCount: 4", 2, false, (2, Outcome::TriggerError)).failing(),
        // With a fallback to none there is nothing to wait for.
        row("failing with a fallback to none", FALLBACK_TO_NONE, 2, false, (0, Outcome::Deactivated)).failing(),
        row("forced at some", "", 2, false, (2, Outcome::Active))
            .annotated("autoscaling.keda.sh/force-activation: 'yes'"),
        row("not forced", "", 0, false, (0, Outcome::Inactive))
            .annotated("autoscaling.keda.sh/force-activation: 'False'"),
        row("scaling in paused at the minimum", "minReplicaCount: 2", 1, false, (2, Outcome::RaisedToMinimum))
            .annotated("autoscaling.keda.sh/paused-scale-in: ''"),
    ];
    rows.iter().for_each(Row::check);
}
