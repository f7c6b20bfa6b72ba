//! Closed-loop users over time, as the KISim controller recorded them.

use crate::time::SimTime;

use super::clock::TimeUnit;
use super::range::TimeRange;
use super::rows::{Rows, TimeColumn};
use super::summary::{LoadUnit, TraceSummary, WindowStatistics};
use super::{TraceError, TraceFormat};

/// The number of users that run at once, as a step function of time.
///
/// A row of `kisim_timeseries.csv` is written when the controller sets `users_target`, so that many users run from the
/// row's `t_s` until the next row. (Its measured columns, and `users_prev_target` with them, belong to the time before
/// the row.) A run's closing row has neither `t_s` nor `users_target` and is left out; the last step, whose end the
/// file does not record, is given the length of the step before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSteps {
    /// The users from each instant on, in order; the first instant is zero.
    pub steps: Vec<(SimTime, u32)>,
    /// Where the last step ends.
    pub end: SimTime,
}

impl UserSteps {
    /// The steps of the run `series`, or of the file's only run.
    pub(super) fn read(mut rows: Rows, series: Option<&str>, range: TimeRange) -> Result<UserSteps, TraceError> {
        let format = TraceFormat::Kisim;
        let run_column = rows.column("run_id", format)?;
        let time_column = rows.column("t_s", format)?;
        let users_column = rows.column("users_target", format)?;
        let clock = TimeColumn::Decimal(time_column, TimeUnit::Seconds);
        let mut runs: Vec<String> = Vec::new();
        let mut steps: Vec<(u64, u32)> = Vec::new();
        let mut origin = None;
        let mut previous_text = String::new();
        while let Some(row) = rows.next_row()? {
            let run = row.text(run_column);
            if !runs.iter().any(|known| known == run) {
                runs.push(run.to_string());
            }
            let chosen = match (series, runs.first()) {
                (Some(series), _) => run == series,
                // Several runs are an error once the file is read, so the first one's steps suffice until then.
                (None, Some(first)) => run == first,
                (None, None) => true,
            };
            let closing = row.text(time_column).is_empty() && row.text(users_column).is_empty();
            if !chosen || closing {
                continue;
            }
            let instant = row.time(clock)?;
            let origin = *origin.get_or_insert(instant);
            let is_later = steps.last().is_none_or(|(last, _)| instant - origin > i128::from(*last));
            if !is_later {
                return Err(row.unsorted(time_column, &previous_text, "a later time in every row of a run"));
            }
            previous_text.clear();
            previous_text.push_str(row.text(time_column));
            let users = row.whole(users_column, "a whole number of users")?;
            steps.push((row.since(time_column, instant, origin)?, users));
        }
        if runs.is_empty() {
            return Err(rows.empty("a row under the header"));
        }
        let path = rows.path().to_path_buf();
        match series {
            Some(series) if !runs.iter().any(|run| run == series) => {
                return Err(TraceError::UnknownSeries { path, series: super::error::quoted(series), runs });
            }
            None if runs.len() > 1 => return Err(TraceError::AmbiguousSeries { path, runs }),
            _ => {}
        }
        let [.., (before, _), (last, _)] = steps.as_slice() else {
            return Err(TraceError::TooFewRows { path, field: time_column.name() });
        };
        let end = last.saturating_add(last - before);
        UserSteps::within(&steps, end, range).ok_or_else(|| TraceError::NoRowsInRange {
            path,
            field: time_column.name(),
            covered_s: SimTime::from_nanos(end).as_secs_f64(),
            range: range.to_string(),
        })
    }

    /// The part of `steps`, the last of which lasts until `end`, in `range`; `None` where they do not meet.
    fn within(steps: &[(u64, u32)], end: u64, range: TimeRange) -> Option<UserSteps> {
        let ends = steps.iter().skip(1).map(|(start, _)| *start).chain([end]);
        let mut kept = UserSteps { steps: Vec::new(), end: SimTime::ZERO };
        for ((start, users), end) in steps.iter().zip(ends) {
            if let Some((start, length)) = range.clip(*start, end) {
                kept.steps.push((start, *users));
                kept.end = SimTime::from_nanos(start.as_nanos().saturating_add(length.as_nanos()));
            }
        }
        (!kept.steps.is_empty()).then_some(kept)
    }

    /// Users that run at `time`: none before the first step and none from the end on.
    pub fn users_at(&self, time: SimTime) -> u32 {
        if time >= self.end {
            return 0;
        }
        let later = self.steps.partition_point(|(start, _)| *start <= time);
        later.checked_sub(1).and_then(|index| self.steps.get(index)).map_or(0, |(_, users)| *users)
    }

    /// Count of steps, duration, and mean and peak number of users; the mean is over time.
    pub fn summary(&self) -> TraceSummary {
        let mut statistics = WindowStatistics::default();
        let ends = self.steps.iter().skip(1).map(|(start, _)| *start).chain([self.end]);
        for ((start, users), end) in self.steps.iter().zip(ends) {
            let length = SimTime::from_nanos(end.as_nanos().saturating_sub(start.as_nanos()));
            statistics.push(length, f64::from(*users));
        }
        statistics.summary(self.steps.len() as u64, LoadUnit::Users, None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{message, open, open_with, range};
    use super::super::{Trace, TraceOptions};
    use super::*;

    const TWO_RUNS: &str = "run_id,t_s,users_target,users_prev_target\n\
                            a,0.0,5,\na,10.0,8,5\na,15.0,3,8\na,,,3\n\
                            b,0.0,50,\nb,30,60,50\nb,,,60\n";

    fn series(name: &str) -> TraceOptions {
        TraceOptions { series: Some(name.into()), ..TraceOptions::default() }
    }

    fn users(trace: Result<Trace, TraceError>) -> UserSteps {
        match trace.unwrap() {
            Trace::Users(users) => users,
            other => panic!("not users: {other:?}"),
        }
    }

    fn seconds(users: &UserSteps) -> Vec<(f64, u32)> {
        users.steps.iter().map(|(start, users)| (start.as_secs_f64(), *users)).collect()
    }

    #[test]
    fn users_run_from_their_row_on() {
        let steps = users(open_with(TWO_RUNS, &series("a")));
        assert_eq!(seconds(&steps), [(0.0, 5), (10.0, 8), (15.0, 3)]);
        assert_eq!(steps.end.as_secs_f64(), 20.0);
        let at = |second| steps.users_at(SimTime::from_secs_f64(second));
        assert_eq!([at(0.0), at(9.9), at(10.0), at(19.9), at(20.0)], [5, 5, 8, 3, 0]);
        let summary = steps.summary();
        assert_eq!((summary.count, summary.mean_load, summary.peak_load), (3, 105.0 / 20.0, 8.0));
        assert_eq!(seconds(&users(open_with(TWO_RUNS, &series("b")))), [(0.0, 50), (30.0, 60)]);
    }

    #[test]
    fn one_run_needs_no_choice() {
        let steps = users(open("run_id,t_s,users_target\na,3,5\na,13,8\n"));
        assert_eq!(seconds(&steps), [(0.0, 5), (10.0, 8)]);
    }

    #[test]
    fn several_runs_need_a_choice() {
        assert_eq!(
            message(open(TWO_RUNS)),
            ", field run_id: found 2 runs, expected the series option to name one of a, b"
        );
        assert_eq!(
            message(open_with(TWO_RUNS, &series("c"))),
            ", field run_id: found no run 'c', expected one of a, b"
        );
    }

    #[test]
    fn a_range_begins_inside_a_step() {
        let options = TraceOptions { series: Some("a".into()), ..range(12.0, 5.0) };
        let steps = users(open_with(TWO_RUNS, &options));
        assert_eq!(seconds(&steps), [(0.0, 8), (3.0, 3)]);
        assert_eq!(steps.end.as_secs_f64(), 5.0);
        let options = TraceOptions { series: Some("a".into()), ..range(20.0, 5.0) };
        assert!(matches!(open_with(TWO_RUNS, &options), Err(TraceError::NoRowsInRange { .. })));
    }

    #[test]
    fn bad_rows_are_named() {
        let header = "run_id,t_s,users_target\n";
        assert_eq!(
            message(open(format!("{header}a,0,5\na,1,5.5\n"))),
            ", line 3, field users_target: found '5.5', expected a whole number of users"
        );
        assert_eq!(
            message(open(format!("{header}a,0,5\na,,5\n"))),
            ", line 3, field t_s: found '', expected a decimal number of seconds"
        );
        for time in ["2", "1"] {
            assert_eq!(
                message(open(format!("{header}a,0,5\na,2,5\na,{time},6\n"))),
                format!(", line 4, field t_s: found {time} after 2, expected a later time in every row of a run")
            );
        }
        assert_eq!(
            message(open(format!("{header}a,0,5\n"))),
            ", field t_s: found one row, expected two or more, because a window lasts until the next row"
        );
    }
}
