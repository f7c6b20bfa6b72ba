//! Traces with one row per request.

use std::iter::FusedIterator;

use crate::time::SimTime;

use super::clock::TimeUnit;
use super::range::TimeRange;
use super::rows::{Rows, TimeColumn};
use super::summary::{ArrivalStatistics, TraceSummary};
use super::{TraceError, TraceFormat};

/// The arrival instants of a trace, read from the file as the iterator advances.
///
/// Instants never decrease; equal ones are separate requests. After an error the iterator ends.
#[derive(Debug)]
pub struct Arrivals {
    /// Boxed, as the parser's state is several times larger than the other kinds of trace.
    source: Box<ArrivalRows>,
    /// Read on opening, so that an empty range is an error there and not an iterator without items.
    first: Option<SimTime>,
    finished: bool,
}

/// The file's rows as instants.
#[derive(Debug)]
struct ArrivalRows {
    rows: Rows,
    column: TimeColumn,
    range: TimeRange,
    origin: Option<i128>,
    previous: i128,
    /// The previous row's text, which the message about unsorted rows shows.
    previous_text: String,
}

impl Arrivals {
    /// The arrivals among `rows`, beginning with the first in `range`.
    pub(super) fn new(rows: Rows, format: TraceFormat, range: TimeRange) -> Result<Arrivals, TraceError> {
        let column = match format {
            TraceFormat::AzureLlm => TimeColumn::WallClock(rows.column("TIMESTAMP", format)?),
            TraceFormat::Mooncake => TimeColumn::Decimal(rows.column("timestamp_ms", format)?, TimeUnit::Milliseconds),
            _ => match rows.column("timestamp_s", format) {
                Ok(column) => TimeColumn::Decimal(column, TimeUnit::Seconds),
                Err(_) => TimeColumn::Decimal(rows.column("timestamp_ms", format)?, TimeUnit::Milliseconds),
            },
        };
        let mut source =
            Box::new(ArrivalRows { rows, column, range, origin: None, previous: 0, previous_text: String::new() });
        match source.next_arrival()? {
            Some(first) => Ok(Arrivals { source, first: Some(first), finished: false }),
            None => Err(source.nothing_in_range()),
        }
    }

    /// Count, duration, mean and peak rate and inter-arrival CV of the arrivals not yet taken; reads to their end in
    /// constant memory.
    ///
    /// # Errors
    ///
    /// The first invalid row.
    pub fn summary(self) -> Result<TraceSummary, TraceError> {
        let mut statistics = ArrivalStatistics::default();
        for arrival in self {
            statistics.push(arrival?);
        }
        Ok(statistics.summary())
    }
}

impl Iterator for Arrivals {
    type Item = Result<SimTime, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        if self.finished {
            return None;
        }
        let next = self.source.next_arrival().transpose();
        self.finished = !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for Arrivals {}

impl ArrivalRows {
    /// The next arrival in the range, or `None` behind it.
    fn next_arrival(&mut self) -> Result<Option<SimTime>, TraceError> {
        let column = self.column.column();
        while let Some(row) = self.rows.next_row()? {
            let time = row.time(self.column)?;
            let origin = *self.origin.get_or_insert(time);
            // On the first row the previous instant is that row's own.
            if time < self.previous && !self.previous_text.is_empty() {
                return Err(row.unsorted(column, &self.previous_text, "times that never decrease"));
            }
            self.previous = time;
            self.previous_text.clear();
            self.previous_text.push_str(row.text(column));
            let since_origin = row.since(column, time, origin)?;
            if self.range.is_past(since_origin) {
                return Ok(None);
            }
            if let Some(arrival) = self.range.rebase(since_origin) {
                return Ok(Some(arrival));
            }
        }
        Ok(None)
    }

    /// Why no arrival was found.
    fn nothing_in_range(&self) -> TraceError {
        let Some(origin) = self.origin else {
            return self.rows.empty("a row under the header");
        };
        TraceError::NoRowsInRange {
            path: self.rows.path().to_path_buf(),
            field: self.column.column().name(),
            covered_s: self.previous.saturating_sub(origin) as f64 / 1e9,
            range: self.range.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::super::testing::{as_format, message, open, open_with, range};
    use super::super::{Trace, TraceOptions};
    use super::*;

    fn arrivals(trace: Result<Trace, TraceError>) -> Arrivals {
        match trace.unwrap() {
            Trace::Arrivals(arrivals) => arrivals,
            other => panic!("not arrivals: {other:?}"),
        }
    }

    fn nanos(trace: Result<Trace, TraceError>) -> Vec<u64> {
        arrivals(trace).map(|arrival| arrival.unwrap().as_nanos()).collect()
    }

    #[test]
    fn azure_instants_are_relative_to_the_first_row() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                    2023-11-16 23:59:59.9799600,4808,10\r\n\
                    2023-11-17 00:00:00.0319601,3180,8\r\n\
                    2023-11-17 00:00:00.0319601,110,27";
        assert_eq!(nanos(open(text)), [0, 52_000_100, 52_000_100]);
    }

    #[test]
    fn mooncake_and_generic_timestamps_have_their_units() {
        let text = "timestamp_ms,input_length,output_length,n_hash_blocks\n1000,1,1,1\n1000.5,1,1,1\n1277,1,1,1\n";
        assert_eq!(nanos(open(text)), [0, 500_000, 277_000_000]);
        assert_eq!(nanos(open("timestamp_ms\n5\n7\n")), [0, 2_000_000]);
        assert_eq!(nanos(open("\u{feff}timestamp_s\n5\n7.000000001\n\n\n")), [0, 2_000_000_001]);
        assert_eq!(nanos(open("size,timestamp_s\n1,5\n1,7\n")), [0, 2_000_000_000]);
        assert_eq!(
            nanos(open_with(text, &as_format(TraceFormat::Timestamps))),
            [0, 500_000, 277_000_000],
            "a named format reads a file that would be detected as another"
        );
    }

    #[test]
    fn a_range_skips_rezeroes_and_stops() {
        let text = "timestamp_s\n100\n101\n102\n103\n104\nnot a number\n";
        assert_eq!(nanos(open_with(text, &range(1.5, 1.5))), [500_000_000]);
        assert_eq!(nanos(open_with(text, &range(1.0, 3.0))), [0, 1_000_000_000, 2_000_000_000]);
        let text = message(open_with("timestamp_s\n100\n101\n", &range(5.0, 2.5)));
        assert_eq!(
            text,
            ", field timestamp_s: found rows up to 1 s after the trace's start, expected some in the requested range \
             from 5 s to before 7.5 s"
        );
        let options = TraceOptions { duration: Some(std::time::Duration::ZERO), ..TraceOptions::default() };
        let error = open_with("timestamp_s\n0\n1\n", &options).unwrap_err();
        assert!(matches!(error, TraceError::NoRowsInRange { .. }), "{error}");
    }

    #[test]
    fn rows_are_read_lazily_and_an_error_ends_the_iterator() {
        let mut text = String::from("timestamp_s\n");
        for row in 0..998 {
            writeln!(text, "{row}").unwrap();
        }
        text.push_str("broken\n999\n");
        let mut arrivals = arrivals(open(&text));
        assert_eq!(arrivals.by_ref().take(998).filter(Result::is_ok).count(), 998);
        let error = arrivals.next().unwrap().unwrap_err();
        assert!(matches!(error, TraceError::BadField { line: 1000, field: "timestamp_s", .. }), "{error}");
        assert!(arrivals.next().is_none());
    }

    #[test]
    fn only_what_is_taken_is_read() {
        use std::io::Write;
        // The parser reads ahead by its buffer, so rows far behind it can still be appended while iterating.
        let mut file = super::super::testing::file("timestamp_s\n");
        for row in 0..100_000 {
            writeln!(file, "{row}").unwrap();
        }
        let mut arrivals = arrivals(Trace::open(file.path(), &TraceOptions::default()));
        arrivals.next().unwrap().unwrap();
        writeln!(file, "100000.5").unwrap();
        assert_eq!(arrivals.last().unwrap().unwrap().as_nanos(), 100_000_500_000_000);
    }

    #[test]
    fn time_must_not_run_backwards() {
        let mut unsorted = arrivals(open("timestamp_s\n0\n2\n1.5\n"));
        let error = unsorted.by_ref().find_map(Result::err).unwrap();
        assert!(
            error
                .to_string()
                .ends_with(", line 4, field timestamp_s: found 1.5 after 2, expected times that never decrease"),
            "{error}"
        );
        assert!(unsorted.next().is_none());
        let skipped = message(open_with("timestamp_s\n5\n4\n100\n", &range(50.0, 100.0)));
        assert!(skipped.starts_with(", line 3"), "skipped rows are checked as well: {skipped}");
    }

    #[test]
    fn bad_times_are_named() {
        assert_eq!(
            message(open("timestamp_s\n-1\n")),
            ", line 2, field timestamp_s: found the negative number -1, expected 0 or more"
        );
        assert_eq!(
            message(open("timestamp_ms\nNaN\n")),
            ", line 2, field timestamp_ms: found NaN, expected a finite number"
        );
        assert_eq!(
            message(open("timestamp_ms,n\n,1\n")),
            ", line 2, field timestamp_ms: found '', expected a decimal number of milliseconds"
        );
        assert_eq!(
            message(open("TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,1,1\n")),
            ", line 2, field TIMESTAMP: found 'noon', expected a date and time such as 2023-11-16 18:17:03.98"
        );
        let mut far = arrivals(open("timestamp_s\n0\n1e30\n"));
        let error = far.find_map(Result::err).unwrap();
        assert!(error.to_string().contains("expected a time within 584 years"), "{error}");
    }

    #[test]
    fn summary_reports_errors_behind_the_first_row() {
        assert!(arrivals(open("timestamp_s\n0\n1\nx\n")).summary().is_err());
    }
}
