//! What can be wrong with a trace file.

use std::path::PathBuf;

use super::TraceFormat;

/// Characters of a field or header that a message quotes at most, so that a binary file cannot flood the terminal.
const QUOTED: usize = 120;

/// Run identifiers that a message lists at most.
const LISTED: usize = 20;

/// A trace file that cannot be imported; every message is one sentence that begins with the file.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file does not exist, may not be read, or failed while being read.
    #[error("{}: the trace file could not be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        reason: std::io::Error,
    },
    /// A line is not UTF-8 text, as in a compressed file.
    #[error("{}, line {line}: found bytes that are not UTF-8, expected uncompressed comma-separated text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// The file has no header line, or no row under it.
    #[error("{}, line {line}: found the end of the file, expected {expected}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The line at which the file ended, counted from 1.
        line: u64,
        /// What should have stood there.
        expected: &'static str,
    },
    /// The header belongs to no known format.
    #[error(
        "{}, line 1: found the header '{header}', expected that of one of the formats {}",
        path.display(),
        TraceFormat::describe_all()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The header line, shortened.
        header: String,
    },
    /// The header lacks a column that the requested format needs.
    #[error(
        "{}, line 1: found the header '{header}', expected the columns of the format {format}: {}",
        path.display(),
        format.columns_text()
    )]
    FormatMismatch {
        /// The file.
        path: PathBuf,
        /// The requested format.
        format: TraceFormat,
        /// The header line, shortened.
        header: String,
    },
    /// A row has more or fewer fields than the header.
    #[error("{}, line {line}: found {found} fields, expected {expected} as in the header", path.display())]
    RowLength {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Fields in this row.
        found: usize,
        /// Fields in the header.
        expected: usize,
    },
    /// A field does not hold what its column holds.
    #[error("{}, line {line}, field {field}: found '{found}', expected {expected}", path.display())]
    BadField {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column's name.
        field: &'static str,
        /// The field's text, shortened.
        found: String,
        /// What the column holds.
        expected: &'static str,
    },
    /// A number is below zero.
    #[error("{}, line {line}, field {field}: found the negative number {found}, expected 0 or more", path.display())]
    Negative {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column's name.
        field: &'static str,
        /// The field's text, shortened.
        found: String,
    },
    /// A number is infinite or not a number.
    #[error("{}, line {line}, field {field}: found {found}, expected a finite number", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column's name.
        field: &'static str,
        /// The field's text, shortened.
        found: String,
    },
    /// Rows are out of order.
    #[error("{}, line {line}, field {field}: found {found} after {previous}, expected {expected}", path.display())]
    Unsorted {
        /// The file.
        path: PathBuf,
        /// The line of the later row, counted from 1.
        line: u64,
        /// The column's name.
        field: &'static str,
        /// The value in this line.
        found: String,
        /// The value in the row before it.
        previous: String,
        /// The order that the rows should have.
        expected: &'static str,
    },
    /// No row lies in the requested range.
    #[error(
        "{}, field {field}: found rows up to {covered_s} s after the trace's start, expected some in the requested \
         range {range}",
        path.display()
    )]
    NoRowsInRange {
        /// The file.
        path: PathBuf,
        /// The column that holds the time.
        field: &'static str,
        /// Seconds from the trace's start to the end of what was read.
        covered_s: f64,
        /// The requested range.
        range: String,
    },
    /// One row, in a format whose window lengths are the distances between rows.
    #[error(
        "{}, field {field}: found one row, expected two or more, because a window lasts until the next row",
        path.display()
    )]
    TooFewRows {
        /// The file.
        path: PathBuf,
        /// The column that holds the time.
        field: &'static str,
    },
    /// The file holds several runs and none was chosen.
    #[error(
        "{}, field run_id: found {} runs, expected the series option to name one of {}",
        path.display(),
        runs.len(),
        listed(runs)
    )]
    AmbiguousSeries {
        /// The file.
        path: PathBuf,
        /// The runs, in the file's order.
        runs: Vec<String>,
    },
    /// The chosen run is not in the file.
    #[error("{}, field run_id: found no run '{series}', expected one of {}", path.display(), listed(runs))]
    UnknownSeries {
        /// The file.
        path: PathBuf,
        /// The run that was asked for.
        series: String,
        /// The runs in the file, in its order.
        runs: Vec<String>,
    },
    /// A run was chosen of a format whose files hold one series each.
    #[error("{}: found the series option with the format {format}, expected it with kisim only", path.display())]
    SeriesUnsupported {
        /// The file.
        path: PathBuf,
        /// The file's format.
        format: TraceFormat,
    },
}

/// `text` on one line, shortened to what a message can show.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED).is_some() {
        short.push('…');
    }
    short
}

/// The first runs, separated by commas.
fn listed(runs: &[String]) -> String {
    let mut text: Vec<String> = runs.iter().take(LISTED).map(|run| quoted(run)).collect();
    if runs.len() > LISTED {
        text.push(format!("{} more", runs.len() - LISTED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_short_line() {
        assert_eq!(quoted("a,b"), "a,b");
        assert_eq!(quoted("a\nb\u{0}"), "a\\nb\\0");
        let long = quoted(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), QUOTED + 1);
    }

    #[test]
    fn long_lists_of_runs_are_cut() {
        let runs: Vec<String> = (0..25).map(|run| run.to_string()).collect();
        assert!(listed(&runs).ends_with("19, 5 more"));
    }
}
