//! Who may write: the rules, without a clock or a network.
//!
//! Kubernetes' own election (client-go's): whoever holds the Lease renews it; whoever does not waits until it has seen no
//! renewal for the lease's duration, by its own clock, and then takes it with the version it saw. Here, the holder's right
//! ends earlier: at [`Timing::deadline`] after it *sent* the last renewal that succeeded. A write begins before that and
//! ends within [`Timing::write`]. So with `deadline + write < duration`, no write of an old holder reaches past the moment
//! at which a new one can come, whatever their clocks say: only their rates must agree.

use std::time::Duration;

use kisim::time::SimTime;

/// How long is what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Without a renewal for so long, others may take the lease.
    pub duration: Duration,
    /// The holder may begin to write so long after it sent its last renewal.
    pub deadline: Duration,
    /// The longest that a write takes: then it is given up.
    pub write: Duration,
    /// Between looks at the lease.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            write: Duration::from_secs(4),
            retry: Duration::from_secs(2),
        }
    }
}

/// What the Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; nobody where empty.
    pub holder: String,
    /// Changes with every renewal.
    pub version: String,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Renew it: it is ours.
    Renew,
    /// Take it: nobody holds it any more.
    Take,
    /// Leave it to whoever holds it.
    Wait,
}

/// One who would write.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    timing: Timing,
    /// The lease as last seen, and since when it is so.
    seen: Option<(Record, SimTime)>,
    /// When the last renewal that succeeded was sent.
    sent: Option<SimTime>,
}

impl Election {
    /// Under the name `identity`, which nobody else has.
    pub fn new(identity: String, timing: Timing) -> Self {
        Election { identity, timing, seen: None, sent: None }
    }

    /// What to do about the lease that was read at `now`; none where there is none yet.
    pub fn look(&mut self, record: Option<&Record>, now: SimTime) -> Move {
        let Some(record) = record else {
            self.seen = None;
            return Move::Take;
        };
        let since = match &self.seen {
            Some((seen, since)) if seen == record => *since,
            _ => now,
        };
        self.seen = Some((record.clone(), since));
        if record.holder == self.identity {
            return Move::Renew;
        }
        // Somebody else has it: whatever right we had is gone.
        self.sent = None;
        if record.holder.is_empty() || now.since(since) >= self.timing.duration { Move::Take } else { Move::Wait }
    }

    /// Notes that a renewal, or the taking of the lease, that was sent at `sent` succeeded.
    pub fn renewed(&mut self, sent: SimTime) {
        self.sent = Some(sent);
    }

    /// Gives up the right to write.
    pub fn resign(&mut self) {
        self.sent = None;
    }

    /// Until when a write may begin; `None` where it may not at `now`.
    pub fn until(&self, now: SimTime) -> Option<SimTime> {
        let until = self.sent? + self.timing.deadline;
        (now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> SimTime {
        SimTime::from_nanos((1_000_000 + millis) * 1_000_000)
    }

    #[test]
    fn a_lease_is_taken_when_it_has_not_been_renewed_for_its_duration() {
        let mut election = Election::new("b".into(), Timing::default());
        let held = |version: &str| Record { holder: "a".into(), version: version.into() };
        assert_eq!(election.look(Some(&held("1")), at(0)), Move::Wait);
        assert_eq!(election.look(Some(&held("1")), at(14_900)), Move::Wait);
        assert_eq!(election.look(Some(&held("2")), at(15_000)), Move::Wait);
        assert_eq!(election.look(Some(&held("2")), at(29_000)), Move::Wait);
        assert_eq!(election.look(Some(&held("2")), at(30_000)), Move::Take);
        assert_eq!(election.until(at(30_000)), None);
        election.renewed(at(30_000));
        assert!(election.until(at(39_999)).is_some() && election.until(at(40_000)).is_none());
        assert_eq!(election.look(Some(&Record { holder: "b".into(), version: "3".into() }), at(32_000)), Move::Renew);
        assert_eq!(election.look(Some(&Record { holder: "a".into(), version: "4".into() }), at(33_000)), Move::Wait);
        assert_eq!(election.until(at(33_000)), None);
        assert_eq!(election.look(Some(&Record::default()), at(34_000)), Move::Take);
        assert_eq!(election.look(None, at(35_000)), Move::Take);
    }

    /// A lease in a store, with versions as the API server has them.
    #[derive(Default)]
    struct Store {
        record: Option<Record>,
        next: u64,
    }

    impl Store {
        /// Writes, if nobody else has since `version`.
        fn put(&mut self, holder: &str, version: Option<&str>) -> bool {
            if self.record.as_ref().map(|r| r.version.as_str()) != version {
                return false;
            }
            self.next += 1;
            self.record = Some(Record { holder: holder.to_owned(), version: self.next.to_string() });
            true
        }
    }

    proptest! {
        /// Two agents that look, stall, lose answers and write at random times: the writes of the two never overlap, each
        /// write being in flight from its beginning for as long as a write may take.
        #[test]
        fn two_never_write_at_once(
            looks in prop::collection::vec((any::<bool>(), 1u64..9_000, 0u64..3_000, 0u8..10), 20..200)
        ) {
            let timing = Timing::default();
            let mut agents = [Election::new("a".into(), timing), Election::new("b".into(), timing)];
            let mut store = Store::default();
            let mut now = 0;
            // The last write of each: its end.
            let mut busy = [0u64; 2];
            for (which, wait, latency, luck) in looks {
                let me = usize::from(which);
                now += wait;
                let sent = at(now);
                let record = store.record.clone();
                let step = agents[me].look(record.as_ref(), sent);
                // The answer takes its time; the other may come first, which the version tells.
                now += latency;
                let version = record.as_ref().map(|r| r.version.as_str());
                if step != Move::Wait && luck > 0 && store.put(["a", "b"][me], version) {
                    // One answer in ten is lost, though the lease was written.
                    if luck > 1 { agents[me].renewed(sent) }
                }
                for agent in 0..2 {
                    if agents[agent].until(at(now)).is_some() {
                        prop_assert!(busy[1 - agent] <= now, "{agent} begins at {now}, the other ends at {}", busy[1 - agent]);
                        busy[agent] = now + timing.write.as_millis() as u64;
                    }
                }
            }
        }
    }
}
