//! Reading rows one by one, with their line numbers.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use super::clock::{NumberFault, TimeUnit, parse_decimal_time, parse_non_negative, parse_wall_clock};
use super::error::quoted;
use super::unix_lines::UnixLines;
use super::{TraceError, TraceFormat};

/// A column of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    index: usize,
    name: &'static str,
}

impl Column {
    /// The name in the header.
    pub(super) fn name(self) -> &'static str {
        self.name
    }
}

/// A column that holds instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeColumn {
    /// Calendar date and time.
    WallClock(Column),
    /// A decimal number of seconds or milliseconds.
    Decimal(Column, TimeUnit),
}

impl TimeColumn {
    /// The underlying column.
    pub(super) fn column(self) -> Column {
        match self {
            TimeColumn::WallClock(column) | TimeColumn::Decimal(column, _) => column,
        }
    }
}

/// The rows under a header line; only the current one is in memory.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    reader: Reader<UnixLines<File>>,
    header: Vec<String>,
    record: StringRecord,
}

impl Rows {
    /// Opens the file and reads its header line.
    pub(super) fn open(path: &Path) -> Result<Rows, TraceError> {
        let file = File::open(path).map_err(|reason| TraceError::Unreadable { path: path.to_path_buf(), reason })?;
        let reader = ReaderBuilder::new()
            // The header is read as a row to have its line number checked like any other's, and the row lengths
            // are compared here to name the line in the error.
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(UnixLines::new(file));
        let mut rows = Rows { path: path.to_path_buf(), reader, header: Vec::new(), record: StringRecord::new() };
        if !rows.advance()? {
            return Err(rows.empty("a header line"));
        }
        rows.header = rows.record.iter().map(str::to_string).collect();
        Ok(rows)
    }

    /// The column names.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The column called `name`, which `format` needs.
    pub(super) fn column(&self, name: &'static str, format: TraceFormat) -> Result<Column, TraceError> {
        match self.header.iter().position(|column| column == name) {
            Some(index) => Ok(Column { index, name }),
            None => Err(TraceError::FormatMismatch {
                path: self.path.clone(),
                format,
                header: quoted(&self.header.join(",")),
            }),
        }
    }

    /// The next row that is not blank, or `None` at the file's end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row<'_>>, TraceError> {
        if !self.advance()? {
            return Ok(None);
        }
        let line = self.line();
        if self.record.len() != self.header.len() {
            return Err(TraceError::RowLength {
                path: self.path.clone(),
                line,
                found: self.record.len(),
                expected: self.header.len(),
            });
        }
        Ok(Some(Row { path: &self.path, line, record: &self.record }))
    }

    /// The error for a file that ended before `expected`.
    pub(super) fn empty(&self, expected: &'static str) -> TraceError {
        TraceError::Empty { path: self.path.clone(), line: self.reader.position().line(), expected }
    }

    /// The error for a header that belongs to no format.
    pub(super) fn unknown_format(&self) -> TraceError {
        TraceError::UnknownFormat { path: self.path.clone(), header: quoted(&self.header.join(",")) }
    }

    /// Reads the next line that is not blank into `record`; false at the file's end.
    fn advance(&mut self) -> Result<bool, TraceError> {
        loop {
            match self.reader.read_record(&mut self.record) {
                // An empty line has no fields, one with spaces has a single empty field.
                Ok(true) if self.record.len() == 1 && self.record.get(0) == Some("") => {}
                Ok(more) => return Ok(more),
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// The line of the row just read: its line end has been consumed, so the reader stands on the line after it.
    ///
    /// The record's own position is that of the blank lines before it.
    fn line(&self) -> u64 {
        self.reader.position().line().saturating_sub(1).max(1)
    }

    fn read_error(&self, error: csv::Error) -> TraceError {
        let path = self.path.clone();
        match error.into_kind() {
            csv::ErrorKind::Io(reason) => TraceError::Unreadable { path, reason },
            csv::ErrorKind::Utf8 { .. } => TraceError::NotText { path, line: self.line() },
            // The remaining kinds arise in seeking and in typed records, which are not used.
            _ => TraceError::Unreadable { path, reason: io::Error::from(io::ErrorKind::InvalidData) },
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    path: &'a Path,
    line: u64,
    record: &'a StringRecord,
}

impl<'a> Row<'a> {
    /// The field's text without surrounding blanks.
    pub(super) fn text(&self, column: Column) -> &'a str {
        self.record.get(column.index).unwrap_or_default()
    }

    /// The error for a field that does not hold what was `expected`.
    pub(super) fn bad_field(&self, column: Column, expected: &'static str) -> TraceError {
        TraceError::BadField {
            path: self.path.to_path_buf(),
            line: self.line,
            field: column.name,
            found: quoted(self.text(column)),
            expected,
        }
    }

    /// The error for a row that comes after one with `previous` in the same column.
    pub(super) fn unsorted(&self, column: Column, previous: &str, expected: &'static str) -> TraceError {
        TraceError::Unsorted {
            path: self.path.to_path_buf(),
            line: self.line,
            field: column.name,
            found: quoted(self.text(column)),
            previous: quoted(previous),
            expected,
        }
    }

    /// A whole number that fits `T`.
    pub(super) fn whole<T: FromStr>(&self, column: Column, expected: &'static str) -> Result<T, TraceError> {
        self.text(column).parse().map_err(|_| self.bad_field(column, expected))
    }

    /// A finite number of zero or more.
    pub(super) fn non_negative(&self, column: Column, expected: &'static str) -> Result<f64, TraceError> {
        parse_non_negative(self.text(column)).map_err(|fault| self.number_error(column, fault, expected))
    }

    /// A finite number above zero.
    pub(super) fn positive(&self, column: Column, expected: &'static str) -> Result<f64, TraceError> {
        let value = self.non_negative(column, expected)?;
        if value > 0.0 { Ok(value) } else { Err(self.bad_field(column, expected)) }
    }

    /// An instant in nanoseconds on the column's own clock.
    pub(super) fn time(&self, column: TimeColumn) -> Result<i128, TraceError> {
        match column {
            TimeColumn::WallClock(column) => parse_wall_clock(self.text(column))
                .ok_or_else(|| self.bad_field(column, "a date and time such as 2023-11-16 18:17:03.98")),
            TimeColumn::Decimal(column, unit) => {
                let expected = match unit {
                    TimeUnit::Seconds => "a decimal number of seconds",
                    TimeUnit::Milliseconds => "a decimal number of milliseconds",
                };
                parse_decimal_time(self.text(column), unit).map_err(|fault| self.number_error(column, fault, expected))
            }
        }
    }

    /// Nanoseconds from `origin` to `time`, which is not earlier.
    pub(super) fn since(&self, column: Column, time: i128, origin: i128) -> Result<u64, TraceError> {
        time.checked_sub(origin)
            .and_then(|nanos| u64::try_from(nanos).ok())
            .ok_or_else(|| self.bad_field(column, "a time within 584 years after the trace's start"))
    }

    fn number_error(&self, column: Column, fault: NumberFault, expected: &'static str) -> TraceError {
        let (path, line, field) = (self.path.to_path_buf(), self.line, column.name);
        let found = quoted(self.text(column));
        match fault {
            NumberFault::Malformed => TraceError::BadField { path, line, field, found, expected },
            NumberFault::NotFinite => TraceError::NotFinite { path, line, field, found },
            NumberFault::Negative => TraceError::Negative { path, line, field, found },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, message, open};
    use super::super::{Trace, TraceOptions};
    use super::*;

    fn lines(text: &str) -> Vec<(u64, String)> {
        let trace = file(text);
        let mut rows = Rows::open(trace.path()).unwrap();
        let column = rows.column("a", TraceFormat::Timestamps).unwrap();
        let mut seen = Vec::new();
        while let Some(row) = rows.next_row().unwrap() {
            seen.push((row.line, row.text(column).to_string()));
        }
        seen
    }

    #[test]
    fn line_numbers_hold_for_every_line_end() {
        let expected = vec![(2, "1".to_string()), (4, "2".to_string()), (5, "3".to_string())];
        for text in [
            "a,b\n1,x\n\n2,y\n3,z\n",
            "a,b\r\n1,x\r\n\r\n2,y\r\n3,z\r\n\r\n \r\n",
            "\u{feff}a,b\r\n 1 ,x\r\n\r\n2,y\r\n3,z",
            "\"a\",\"b\"\n\"1\",x\n  \n2,y\n3,z\n\n\n",
        ] {
            assert_eq!(lines(text), expected, "{text:?}");
        }
    }

    #[test]
    fn rows_must_be_as_long_as_the_header() {
        assert_eq!(
            message(open("timestamp,value\n2014-04-10 00:04:00,94.0,1\n")),
            ", line 2: found 3 fields, expected 2 as in the header"
        );
    }

    #[test]
    fn files_without_rows_are_empty() {
        assert_eq!(message(open("")), ", line 1: found the end of the file, expected a header line");
        assert_eq!(message(open("\n \n")), ", line 3: found the end of the file, expected a header line");
        for text in ["timestamp_s\r\n\r\n", "start_s,rate\n\n", "run_id,t_s,users_target\n\n"] {
            let text = message(open(text));
            assert_eq!(text, ", line 3: found the end of the file, expected a row under the header");
        }
    }

    #[test]
    fn unreadable_files_are_named() {
        let absent = Path::new("/no/such/trace.csv");
        let error = Trace::open(absent, &TraceOptions::default()).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/trace.csv: the trace file could not be read: "));
        let folder = tempfile::tempdir().unwrap();
        let error = Trace::open(folder.path(), &TraceOptions::default()).unwrap_err();
        assert!(matches!(error, TraceError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn binary_lines_are_not_text() {
        let text = message(open(b"\x1f\x8b\xff\n"));
        assert_eq!(text, ", line 1: found bytes that are not UTF-8, expected uncompressed comma-separated text");
    }
}
