//! Traces with a request rate per window of time.

use crate::time::SimTime;

use super::clock::TimeUnit;
use super::range::TimeRange;
use super::rows::{Column, Rows, TimeColumn};
use super::summary::{LoadUnit, TraceSummary, WindowStatistics};
use super::{TraceError, TraceFormat};

/// Window of ServeGen's aggregate and per-client files: 600 s.
pub(super) const SERVEGEN_WINDOW_NANOS: u64 = 600_000_000_000;

/// A stretch of time with one request rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateWindow {
    /// Where the window begins.
    pub start: SimTime,
    /// How long it lasts, more than zero.
    pub length: SimTime,
    /// Requests per second, zero or more.
    pub rate: f64,
}

/// A piecewise constant request rate.
///
/// The windows are in order and adjoin each other. The first begins at or after zero and windows that reach over the
/// requested range are cut at its ends. The counting traces (`nab`, `worldcup98`) and `servegen-rates` write no row
/// for a window without a request (none of their rows holds a zero), so a gap between rows becomes one window of rate
/// zero.
#[derive(Clone, Debug, PartialEq)]
pub struct RateWindows {
    /// The windows, at least one.
    pub windows: Vec<RateWindow>,
    /// Rows of the file in the requested range; the windows that fill gaps are not counted.
    pub rows: u64,
}

impl RateWindows {
    /// The windows among `rows` in `range`.
    pub(super) fn read(rows: Rows, format: TraceFormat, range: TimeRange) -> Result<RateWindows, TraceError> {
        let layout = Layout::of(&rows, format)?;
        Builder::new(range, layout.length).read(rows, layout)
    }

    /// Where the last window ends.
    pub fn end(&self) -> SimTime {
        let end = |last: &RateWindow| last.start.as_nanos().saturating_add(last.length.as_nanos());
        SimTime::from_nanos(self.windows.last().map_or(0, end))
    }

    /// Count of rows, duration, and mean and peak rate in req/s; the mean is over time.
    pub fn summary(&self) -> TraceSummary {
        let mut statistics = WindowStatistics::default();
        for window in &self.windows {
            statistics.push(window.length, window.rate);
        }
        statistics.summary(self.rows, LoadUnit::RequestsPerSecond, None)
    }
}

/// Where a format keeps time and rate.
#[derive(Clone, Copy, Debug)]
struct Layout {
    time: TimeColumn,
    value: Column,
    /// Seconds by which to divide the value: the window's length where it counts requests, 1 where it is a rate.
    divisor: f64,
    /// Nanoseconds of a row's window, or `None` where it lasts until the next row.
    length: Option<u64>,
}

impl Layout {
    fn of(rows: &Rows, format: TraceFormat) -> Result<Layout, TraceError> {
        let column = |name| rows.column(name, format);
        let counts = |time, value, seconds: u64| {
            Ok(Layout {
                time: TimeColumn::WallClock(column(time)?),
                value: column(value)?,
                divisor: seconds as f64,
                length: Some(seconds * 1_000_000_000),
            })
        };
        let rates = |time, value, length| {
            Ok(Layout {
                time: TimeColumn::Decimal(column(time)?, TimeUnit::Seconds),
                value: column(value)?,
                divisor: 1.0,
                length,
            })
        };
        match format {
            TraceFormat::Nab => counts("timestamp", "value", 300),
            TraceFormat::WorldCup98 => counts("period", "count", 60),
            TraceFormat::ServegenRates => rates("timestamp_s", "total_rate_req_per_s", Some(SERVEGEN_WINDOW_NANOS)),
            _ => rates("start_s", "rate", None),
        }
    }
}

/// Turns rows into adjoining windows.
#[derive(Debug)]
struct Builder {
    range: TimeRange,
    length: Option<u64>,
    windows: Vec<RateWindow>,
    rows: u64,
    /// Where the windows seen so far end.
    covered: u64,
}

impl Builder {
    fn new(range: TimeRange, length: Option<u64>) -> Self {
        Builder { range, length, windows: Vec::new(), rows: 0, covered: 0 }
    }

    fn read(mut self, mut rows: Rows, layout: Layout) -> Result<RateWindows, TraceError> {
        let column = layout.time.column();
        let mut origin = None;
        let mut pending: Option<(u64, f64)> = None;
        let mut previous_text = String::new();
        let mut last_length = self.length;
        while let Some(row) = rows.next_row()? {
            let instant = row.time(layout.time)?;
            let origin = *origin.get_or_insert(instant);
            if instant < origin {
                return Err(row.unsorted(column, &previous_text, LATER));
            }
            let start = row.since(column, instant, origin)?;
            let rate = row.non_negative(layout.value, "a number of requests or of requests per second")?;
            if let Some((before, rate_before)) = pending {
                if start <= before {
                    return Err(row.unsorted(column, &previous_text, LATER));
                }
                let distance = start - before;
                let length = self.length.unwrap_or(distance);
                if length > distance {
                    return Err(row.unsorted(column, &previous_text, "rows at least one window apart"));
                }
                last_length = Some(length);
                self.row(before, length, rate_before);
                self.gap(start);
            }
            pending = Some((start, rate / layout.divisor));
            previous_text.clear();
            previous_text.push_str(row.text(column));
            if self.range.is_past(start) {
                break;
            }
        }
        let Some((start, rate)) = pending else {
            return Err(rows.empty("a row under the header"));
        };
        if !self.range.is_past(start) {
            let too_few = || TraceError::TooFewRows { path: rows.path().to_path_buf(), field: column.name() };
            self.row(start, last_length.ok_or_else(too_few)?, rate);
        }
        if self.windows.is_empty() {
            return Err(TraceError::NoRowsInRange {
                path: rows.path().to_path_buf(),
                field: column.name(),
                covered_s: SimTime::from_nanos(self.covered).as_secs_f64(),
                range: self.range.to_string(),
            });
        }
        Ok(RateWindows { windows: self.windows, rows: self.rows })
    }

    /// Adds the window of one row.
    fn row(&mut self, start: u64, length: u64, rate: f64) {
        let end = start.saturating_add(length);
        self.covered = end;
        if let Some((start, length)) = self.range.clip(start, end) {
            self.windows.push(RateWindow { start, length, rate });
            self.rows += 1;
        }
    }

    /// Fills the time until `end` with a window of rate zero.
    fn gap(&mut self, end: u64) {
        if let Some((start, length)) = self.range.clip(self.covered, end) {
            self.windows.push(RateWindow { start, length, rate: 0.0 });
        }
    }
}

/// The order of windows.
const LATER: &str = "a later time in every row";

#[cfg(test)]
mod tests {
    use super::super::Trace;
    use super::super::testing::{message, open, open_with, range};
    use super::*;

    fn rates(trace: Result<Trace, TraceError>) -> RateWindows {
        match trace.unwrap() {
            Trace::Rates(rates) => rates,
            other => panic!("not rates: {other:?}"),
        }
    }

    /// Start and length in seconds, and rate.
    fn windows(rates: &RateWindows) -> Vec<(f64, f64, f64)> {
        let row = |window: &RateWindow| (window.start.as_secs_f64(), window.length.as_secs_f64(), window.rate);
        rates.windows.iter().map(row).collect()
    }

    #[test]
    fn counts_become_rates_and_gaps_become_zero() {
        let nab = rates(open(
            "timestamp,value\n2014-04-10 23:54:00,94.0\n2014-04-10 23:59:00,30.0\n2014-04-11 00:09:00,3.0\n",
        ));
        assert_eq!(
            windows(&nab),
            [(0.0, 300.0, 94.0 / 300.0), (300.0, 300.0, 0.1), (600.0, 300.0, 0.0), (900.0, 300.0, 0.01)]
        );
        assert_eq!((nab.rows, nab.end().as_secs_f64()), (3, 1200.0));
        let cup = rates(open("period,count\n1998-04-30 21:30:00,60\n1998-04-30 21:33:00,6\n"));
        assert_eq!(windows(&cup), [(0.0, 60.0, 1.0), (60.0, 120.0, 0.0), (180.0, 60.0, 0.1)]);
    }

    #[test]
    fn servegen_rates_are_taken_as_they_are() {
        let servegen = rates(open("timestamp_s,total_rate_req_per_s\n0,986.565\n600,1044.08667\n"));
        assert_eq!(windows(&servegen), [(0.0, 600.0, 986.565), (600.0, 600.0, 1044.08667)]);
    }

    #[test]
    fn generic_windows_last_until_the_next_row() {
        let generic = rates(open("start_s,rate\n10,1\n12.5,0\n20,4\n"));
        assert_eq!(windows(&generic), [(0.0, 2.5, 1.0), (2.5, 7.5, 0.0), (10.0, 7.5, 4.0)]);
        let text = message(open("start_s,rate\n10,1\n"));
        assert_eq!(
            text,
            ", field start_s: found one row, expected two or more, because a window lasts until the next row"
        );
    }

    #[test]
    fn only_the_range_is_kept_and_cut_at_its_ends() {
        let text = "start_s,rate\n0,1\n10,2\n20,3\n30,4\n40,x\n";
        let part = rates(open_with(text, &range(15.0, 10.0)));
        assert_eq!(windows(&part), [(0.0, 5.0, 2.0), (5.0, 5.0, 3.0)]);
        assert_eq!((part.rows, part.end().as_secs_f64()), (2, 10.0));
        let summary = part.summary();
        assert_eq!((summary.count, summary.mean_load, summary.peak_load), (2, 2.5, 3.0));
        assert_eq!(
            message(open_with("start_s,rate\n0,1\n10,2\n", &range(20.0, 5.0))),
            ", field start_s: found rows up to 20 s after the trace's start, expected some in the requested range \
             from 20 s to before 25 s"
        );
    }

    #[test]
    fn windows_must_be_in_order_and_apart() {
        assert_eq!(
            message(open("start_s,rate\n0,1\n10,2\n10,3\n")),
            ", line 4, field start_s: found 10 after 10, expected a later time in every row"
        );
        assert_eq!(
            message(open("start_s,rate\n10,1\n0,2\n")),
            ", line 3, field start_s: found 0 after 10, expected a later time in every row"
        );
        assert_eq!(
            message(open("period,count\n1998-05-01 00:00:00,1\n1998-05-01 00:00:30,1\n")),
            ", line 3, field period: found 1998-05-01 00:00:30 after 1998-05-01 00:00:00, expected rows at least one \
             window apart"
        );
    }

    #[test]
    fn bad_rates_are_named() {
        assert_eq!(
            message(open("start_s,rate\n0,-2\n")),
            ", line 2, field rate: found the negative number -2, expected 0 or more"
        );
        assert_eq!(message(open("start_s,rate\n0,NaN\n")), ", line 2, field rate: found NaN, expected a finite number");
        assert_eq!(
            message(open("timestamp,value\n2014-04-10 00:04:00,many\n")),
            ", line 2, field value: found 'many', expected a number of requests or of requests per second"
        );
    }
}
