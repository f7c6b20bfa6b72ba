//! A timetable of replicas, as a CronJob that scales would keep.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::prepared::Prepared;

/// The timetable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// After this long the table begins again: `"24h"` for a daily one.
    #[serde(default)]
    pub period: Option<Span>,
    /// From when how many, by pool; times ascend. Before the first entry of a table that does not repeat, nothing is
    /// changed; of one that does, the last entry still holds.
    pub entries: Vec<ScheduleEntry>,
}

/// A line of the timetable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScheduleEntry {
    /// From when, since the start or since the start of the period.
    pub at: Span,
    /// Replicas by pool; a pool that is not named stays as it is.
    pub replicas: BTreeMap<String, u32>,
}

impl ScheduleConfig {
    /// What is wrong, as (field, found, expected).
    pub fn problem(&self, pools: &[String]) -> Option<(String, String, String)> {
        if self.entries.is_empty() {
            return Some(("entries".into(), "none".into(), "at least one".into()));
        }
        for (number, entry) in self.entries.iter().enumerate() {
            if number > 0 && entry.at <= self.entries[number - 1].at {
                return Some((format!("entries[{number}].at"), entry.at.to_string(), "ascending times".into()));
            }
            if let Some(period) = self.period.filter(|&period| entry.at >= period) {
                let expected = format!("less than the period, {period}");
                return Some((format!("entries[{number}].at"), entry.at.to_string(), expected));
            }
            if let Some(name) = entry.replicas.keys().find(|name| !pools.contains(name)) {
                return Some((format!("entries[{number}].replicas.{name}"), format!("{name:?}"), pools.join(" or ")));
            }
        }
        if self.period == Some(Span::default()) {
            return Some(("period".into(), "0s".into(), "a length of time above 0".into()));
        }
        None
    }
}

/// Follows a timetable.
#[derive(Clone, Debug)]
pub struct Schedule {
    name: String,
    /// By entry: from when, nanoseconds, and replicas by pool.
    entries: Vec<(u64, Vec<Option<u32>>)>,
    period: Option<u64>,
}

impl Schedule {
    /// The timetable of `config` for the pools of `prepared`.
    pub fn new(prepared: &Prepared, config: &ScheduleConfig, name: String) -> Self {
        let by_pool = |entry: &ScheduleEntry| {
            prepared.pools.iter().map(|p| entry.replicas.get(&p.name).copied()).collect::<Vec<_>>()
        };
        let entries = config.entries.iter().map(|e| (e.at.nanos(), by_pool(e))).collect();
        Schedule { name, entries, period: config.period.map(Span::nanos) }
    }

    /// What is planned for `pool` at `now`, nanoseconds: the last entry about it that has begun.
    fn planned(&self, pool: usize, now: u64) -> Option<u32> {
        let time = self.period.map_or(now, |period| now % period);
        let begun = self.entries.partition_point(|(at, _)| *at <= time);
        let (before, after) = self.entries.split_at(begun);
        let about = |entries: &[(u64, Vec<Option<u32>>)]| {
            entries.iter().rev().find_map(|(_, pools)| pools.get(pool).copied().flatten())
        };
        about(before).or_else(|| self.period.and_then(|_| about(after)))
    }
}

impl Autoscaler for Schedule {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let now = view.now.as_nanos();
        let verdict = |pool: usize| match self.planned(pool, now) {
            Some(replicas) => Verdict::Scale { replicas, reason: "timetable".to_owned() },
            None => Verdict::Hold { reason: "nothing in the timetable".to_owned() },
        };
        Decision { pools: (0..view.pools.len()).map(verdict).collect(), placement: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_hold_until_the_next_and_over_the_end_of_a_period() {
        let table = |period| Schedule {
            name: "schedule".into(),
            entries: vec![(10, vec![Some(2), None]), (20, vec![None, Some(7)]), (30, vec![Some(5), None])],
            period,
        };
        let once = table(None);
        assert_eq!([0, 10, 25, 30, 99].map(|t| once.planned(0, t)), [None, Some(2), Some(2), Some(5), Some(5)]);
        assert_eq!([0, 19, 20, 99].map(|t| once.planned(1, t)), [None, None, Some(7), Some(7)]);
        let daily = table(Some(40));
        assert_eq!([0, 10, 39, 40, 50].map(|t| daily.planned(0, t)), [Some(5), Some(2), Some(5), Some(5), Some(2)]);
    }
}
