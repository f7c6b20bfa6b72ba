//! Replicas by the clock, through both loops.

use super::*;

const NINE_TO_FIVE: &str = "triggers: [{type: cron, metadata: {timezone: ZONE, start: 0 9 * * 1-5, end: 0 17 * * 1-5, \
                            desiredReplicas: '4'}}]";

#[test]
fn office_hours() {
    // Simulations start on a Monday at midnight, and Etc/GMT-2 is two hours ahead of UTC.
    let rows: [(&str, u64, i32, i32); 8] = [
        ("UTC", 8 * 3600 + 3599, 0, 0),
        ("UTC", 9 * 3600, 0, 4),
        ("UTC", 17 * 3600 - 1, 4, 4),
        ("UTC", 17 * 3600, 4, 0),
        ("Etc/GMT-2", 7 * 3600, 0, 4),
        ("Etc/GMT-2", 15 * 3600, 4, 0),
        ("Etc/GMT+2", 9 * 3600, 0, 0),
        // Saturday.
        ("UTC", 5 * 86_400 + 12 * 3600, 0, 0),
    ];
    for (zone, seconds, from, to) in rows {
        let mut keda = keda(object(&NINE_TO_FIVE.replace("ZONE", zone)));
        let decision = tick(&mut keda, seconds, from, &[TriggerInput::Clock]);
        assert_eq!(decision.desired, to, "{zone} at {seconds} s: {}", decision.reason);
        assert_eq!(decision.active, to > 0, "{zone} at {seconds} s");
    }
}

#[test]
fn another_start_of_the_simulation() {
    // A Saturday.
    let start = "2024-02-03T10:00:00Z".parse().expect("a time");
    let object = object(&NINE_TO_FIVE.replace("ZONE", "Etc/UTC"));
    let mut keda = Keda::starting_at(object, ControllerSettings::default(), start);
    assert_eq!(tick(&mut keda, 0, 0, &[TriggerInput::Clock]).desired, 0);
    assert_eq!(tick(&mut keda, 2 * 86_400, 0, &[TriggerInput::Clock]).desired, 4);
    // Past the last year of the calendar a clock shows nothing, which is a failure.
    let start = "9999-12-30T00:00:00Z".parse().expect("a time");
    let mut keda = Keda::starting_at(keda.object().clone(), ControllerSettings::default(), start);
    let late = tick(&mut keda, 86_400, 4, &[TriggerInput::Clock]);
    assert_eq!((late.desired, late.poll), (4, Some(PollOutcome::TriggerError)));
}
