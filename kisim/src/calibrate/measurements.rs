//! Reading measurements from a CSV file: a batch sweep or a load sweep, told apart by the header.
//!
//! Column names are compared without regard to case and surrounding blanks. Columns that neither kind knows are
//! ignored, as are blank lines and lines that begin with `#`.
//!
//! | column | also called | unit | batch sweep | load sweep |
//! | --- | --- | --- | --- | --- |
//! | `batch` | `batch_size` | requests, ≥ 1 | required | |
//! | `latency_ms` | `avg`, `avg_ms`, `mean`, `mean_ms` | ms, > 0 | required | optional |
//! | `p99` | `p99_ms` | ms, > 0 | optional | required |
//! | `rate` | `rps` | requests/s, > 0 | | one of the two |
//! | `concurrency` | `users` | requests at a time, ≥ 1 | | one of the two |
//! | `throughput` | `inf_per_s` | requests/s, > 0 | ignored | required |
//! | `p50`, `p95` | `p50_ms`, `p95_ms` | ms, > 0 | ignored | required |

use super::table::Table;
use serde::Serialize;
use std::io::Read;
use std::path::Path;

/// One row of a batch sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BatchRow {
    /// Line in the file, counted from 1; blank lines and comments (`#`) count.
    pub line: u64,
    /// Requests in the batch, at least 1.
    pub batch: u32,
    /// Mean latency of such a batch, ms, positive.
    pub latency_ms: f64,
    /// 99th percentile of the latency, ms, where it was measured.
    pub p99_ms: Option<f64>,
}

/// How the load of one row was generated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// Open loop: requests per second, whatever the server does.
    Rate(f64),
    /// Closed loop: requests outstanding at any time.
    Concurrency(u32),
}

/// One row of a load sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LoadRow {
    /// Line in the file, counted from 1; blank lines and comments (`#`) count.
    pub line: u64,
    /// The load that was offered.
    pub offered: Offered,
    /// Completed requests per second, positive.
    pub throughput: f64,
    /// Median latency, ms.
    pub p50_ms: f64,
    /// 95th percentile of the latency, ms, at least the median.
    pub p95_ms: f64,
    /// 99th percentile of the latency, ms, at least the 95th.
    pub p99_ms: f64,
    /// Mean latency, ms, where it was measured.
    pub mean_ms: Option<f64>,
}

/// The measurements of one file, never empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurements {
    /// Latency by batch size.
    BatchSweep(Vec<BatchRow>),
    /// Throughput and latency quantiles by load.
    LoadSweep(Vec<LoadRow>),
}

/// Why a file could not be read as measurements.
#[derive(Debug, thiserror::Error)]
pub enum MeasurementError {
    /// The file could not be opened.
    #[error("{file}: cannot open the measurements: {source}")]
    Open {
        /// The file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not well-formed CSV.
    #[error("{file}: found malformed CSV, expected rows as long as the header: {source}")]
    Csv {
        /// The file.
        file: String,
        /// What the parser said, with its line.
        source: csv::Error,
    },
    /// The header does not identify one kind of measurement.
    #[error("{file}, line {line}: found {found}, expected {expected}")]
    Header {
        /// The file.
        file: String,
        /// The line of the header, counted from 1.
        line: u64,
        /// The columns found.
        found: String,
        /// What would have identified the kind.
        expected: String,
    },
    /// A cell does not hold what its column needs.
    #[error("{file}, line {line}, column `{column}`: found {found}, expected {expected}")]
    Value {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// The column as the header names it.
        column: String,
        /// What the cell holds.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// There is a header and nothing below it.
    #[error("{file}: found a header and no row, expected at least one measurement")]
    Empty {
        /// The file.
        file: String,
    },
}

/// Reads a file and tells the kind by its header.
///
/// # Errors
/// If the file cannot be opened, the header identifies neither kind or both, a cell is not what its column needs, or
/// there is no row. Each error names file, line, column, what was found and what was expected.
pub fn read(path: &Path) -> Result<Measurements, MeasurementError> {
    let file = path.display().to_string();
    match std::fs::File::open(path) {
        Ok(opened) => parse(&file, opened),
        Err(source) => Err(MeasurementError::Open { file, source }),
    }
}

/// Reads CSV text and tells the kind by its header; `file` is the name that errors give.
///
/// A header that has all columns of both kinds is refused: use [`parse_batch_sweep`] or [`parse_load_sweep`].
///
/// # Errors
/// As [`read`], but for opening the file.
pub fn parse(file: &str, text: impl Read) -> Result<Measurements, MeasurementError> {
    let table = Table::read(file, text)?;
    let batch = BatchColumns::find(&table)?;
    let load = LoadColumns::find(&table)?;
    match (batch, load) {
        (Some(columns), None) => Ok(Measurements::BatchSweep(batch_rows(&table, &columns)?)),
        (None, Some(columns)) => Ok(Measurements::LoadSweep(load_rows(&table, &columns)?)),
        (Some(_), Some(_)) => {
            Err(table.header_error("the columns of one kind only: drop `batch`, or `rate` and `concurrency`"))
        }
        (None, None) => Err(table.header_error(EXPECTED_EITHER)),
    }
}

/// Reads CSV text as a batch sweep, whatever other columns it has.
///
/// # Errors
/// As [`parse`].
pub fn parse_batch_sweep(file: &str, text: impl Read) -> Result<Vec<BatchRow>, MeasurementError> {
    let table = Table::read(file, text)?;
    match BatchColumns::find(&table)? {
        Some(columns) => batch_rows(&table, &columns),
        None => Err(table.header_error("`batch` and `latency_ms` (or `avg`)")),
    }
}

/// Reads CSV text as a load sweep, whatever other columns it has.
///
/// # Errors
/// As [`parse`].
pub fn parse_load_sweep(file: &str, text: impl Read) -> Result<Vec<LoadRow>, MeasurementError> {
    let table = Table::read(file, text)?;
    match LoadColumns::find(&table)? {
        Some(columns) => load_rows(&table, &columns),
        None => Err(table.header_error("`rate` or `concurrency`, and `throughput`, `p50`, `p95` and `p99`")),
    }
}

const EXPECTED_EITHER: &str = "either `batch` and `latency_ms` (a batch sweep), or `rate` or `concurrency` with \
     `throughput`, `p50`, `p95` and `p99` (a load sweep)";

const MEAN: &[&str] = &["latency_ms", "avg", "avg_ms", "mean", "mean_ms"];
const P99: &[&str] = &["p99", "p99_ms"];

struct BatchColumns {
    batch: usize,
    latency: usize,
    p99: Option<usize>,
}

impl BatchColumns {
    fn find(table: &Table) -> Result<Option<Self>, MeasurementError> {
        let batch = table.column(&["batch", "batch_size"])?;
        let latency = table.column(MEAN)?;
        let p99 = table.column(P99)?;
        Ok(batch.zip(latency).map(|(batch, latency)| Self { batch, latency, p99 }))
    }
}

enum OfferedColumn {
    Rate(usize),
    Concurrency(usize),
}

struct LoadColumns {
    offered: OfferedColumn,
    throughput: usize,
    quantiles: [usize; 3],
    mean: Option<usize>,
}

impl LoadColumns {
    fn find(table: &Table) -> Result<Option<Self>, MeasurementError> {
        let rate = table.column(&["rate", "rps"])?;
        let concurrency = table.column(&["concurrency", "users"])?;
        let offered = match (rate, concurrency) {
            (Some(_), Some(_)) => {
                return Err(table.header_error("one of `rate` and `concurrency`, not both"));
            }
            (Some(column), None) => OfferedColumn::Rate(column),
            (None, Some(column)) => OfferedColumn::Concurrency(column),
            (None, None) => return Ok(None),
        };
        let found = (
            table.column(&["throughput", "inf_per_s"])?,
            table.column(&["p50", "p50_ms"])?,
            table.column(&["p95", "p95_ms"])?,
            table.column(P99)?,
        );
        let (Some(throughput), Some(p50), Some(p95), Some(p99)) = found else {
            return Ok(None);
        };
        Ok(Some(Self { offered, throughput, quantiles: [p50, p95, p99], mean: table.column(MEAN)? }))
    }
}

fn batch_rows(table: &Table, columns: &BatchColumns) -> Result<Vec<BatchRow>, MeasurementError> {
    let mut rows = Vec::with_capacity(table.rows.len());
    for (line, record) in &table.rows {
        let line = *line;
        rows.push(BatchRow {
            line,
            batch: table.count(line, record, columns.batch)?,
            latency_ms: table.positive(line, record, columns.latency)?,
            p99_ms: table.optional(line, record, columns.p99)?,
        });
    }
    table.not_empty(rows)
}

fn load_rows(table: &Table, columns: &LoadColumns) -> Result<Vec<LoadRow>, MeasurementError> {
    let mut rows = Vec::with_capacity(table.rows.len());
    for (line, record) in &table.rows {
        let line = *line;
        let offered = match columns.offered {
            OfferedColumn::Rate(column) => Offered::Rate(table.positive(line, record, column)?),
            OfferedColumn::Concurrency(column) => Offered::Concurrency(table.count(line, record, column)?),
        };
        let [c50, c95, c99] = columns.quantiles;
        let p50_ms = table.positive(line, record, c50)?;
        let p95_ms = table.positive(line, record, c95)?;
        let p99_ms = table.positive(line, record, c99)?;
        for (column, low, high) in [(c95, p50_ms, p95_ms), (c99, p95_ms, p99_ms)] {
            if high < low {
                let expected = format!("at least the lower quantile, {low}");
                return Err(table.value_error(line, column, &high.to_string(), &expected));
            }
        }
        rows.push(LoadRow {
            line,
            offered,
            throughput: table.positive(line, record, columns.throughput)?,
            p50_ms,
            p95_ms,
            p99_ms,
            mean_ms: table.optional(line, record, columns.mean)?,
        });
    }
    table.not_empty(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        match parse("m.csv", text.as_bytes()) {
            Ok(found) => format!("accepted as {found:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_batch_sweep_with_extra_columns_and_gaps() {
        let text = "Model, Batch ,avg_ms,P99,concurrency\nresnet,1,2.5,3.0,\nresnet,2,3.5,,\n";
        let Ok(Measurements::BatchSweep(rows)) = parse("m.csv", text.as_bytes()) else {
            unreachable!("a batch sweep: {}", message(text))
        };
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].line, rows[0].batch, rows[0].latency_ms), (2, 1, 2.5));
        assert_eq!((rows[0].p99_ms, rows[1].p99_ms), (Some(3.0), None));
    }

    #[test]
    fn a_load_sweep_by_rate_and_by_concurrency() {
        let text = "rate,throughput,p50,p95,p99\n# a comment\n100,99.5,2,4,6\n";
        let Ok(Measurements::LoadSweep(rows)) = parse("m.csv", text.as_bytes()) else {
            unreachable!("a load sweep: {}", message(text))
        };
        assert_eq!(rows[0].offered, Offered::Rate(100.0));
        assert_eq!((rows[0].line, rows[0].mean_ms), (3, None));
        let text = "concurrency,inf_per_s,p50,p95,p99,avg\n16,2571.2,6.205,6.31,6.418,6.218\n";
        let Ok(Measurements::LoadSweep(rows)) = parse("m.csv", text.as_bytes()) else {
            unreachable!("a load sweep: {}", message(text))
        };
        assert_eq!(rows[0].offered, Offered::Concurrency(16));
        assert_eq!(rows[0].mean_ms, Some(6.218));
    }

    #[test]
    fn a_header_of_both_kinds_is_refused_unless_the_kind_is_named() {
        let text = "batch,concurrency,inf_per_s,p50,p95,p99,avg\n,16,2571.2,6.2,6.3,6.4,6.2\n";
        assert!(message(text).contains("expected the columns of one kind only"));
        assert!(parse_load_sweep("m.csv", text.as_bytes()).is_ok_and(|rows| rows.len() == 1));
        assert!(parse_batch_sweep("m.csv", text.as_bytes()).is_err());
    }

    #[test]
    fn errors_say_where_and_name_both_sides() {
        for (text, expected) in [
            ("", "m.csv, line 1: found no header, expected either `batch` and `latency_ms`"),
            ("a,b\n1,2\n", "m.csv, line 1: found the columns `a`, `b`, expected either"),
            ("batch,avg,mean\n1,2,2\n", "expected only one of `latency_ms`, `avg`"),
            (
                "rate,concurrency,throughput,p50,p95,p99\n1,1,1,1,1,1\n",
                "expected one of `rate` and `concurrency`, not both",
            ),
            ("batch,avg\n", "m.csv: found a header and no row, expected at least one"),
            (
                "batch,avg\n1,2\n0,2\n",
                "m.csv, line 3, column `batch`: found `0`, expected a whole number of at least 1",
            ),
            ("batch,avg\n1.5,2\n", "column `batch`: found `1.5`"),
            ("batch,avg\n1,\n", "m.csv, line 2, column `avg`: found nothing, expected a positive number"),
            ("batch,avg\n1,NaN\n", "found `NaN`, expected a positive number"),
            ("batch,avg,p99\n1,2,-3\n", "column `p99`: found `-3`, expected a positive number"),
            (
                "rate,throughput,p50,p95,p99\n1,1,5,4,6\n",
                "column `p95`: found `4`, expected at least the lower quantile, 5",
            ),
            ("batch,avg\n1,2,3\n", "m.csv: found malformed CSV"),
        ] {
            let found = message(text);
            assert!(found.contains(expected), "found {found:?}, expected {expected:?}");
            assert_eq!(found.lines().count(), 1, "one sentence: {found:?}");
        }
    }

    #[test]
    fn lines_count_comments_blank_lines_and_either_line_end() {
        for text in [
            "# first\n\nbatch,avg\n1,2\n# second\n\n2,x\n",
            "# first\r\n\r\nbatch,avg\r\n1,2\r\n# second\r\n\r\n2,x\r\n",
            "# first\n\nbatch,avg\n1,2\n# second\n\n2,x",
        ] {
            assert!(message(text).starts_with("m.csv, line 7, column `avg`: found `x`"), "{}", message(text));
        }
        assert!(message("# first\na,b\n").starts_with("m.csv, line 2: found the columns `a`, `b`"));
    }

    #[test]
    fn a_file_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("sweep.csv");
        std::fs::write(&path, "\u{feff}batch,avg\n1,2\n")?;
        assert!(matches!(read(&path)?, Measurements::BatchSweep(rows) if rows.len() == 1));
        Ok(())
    }

    #[test]
    fn a_missing_file_is_named() {
        let found = read(Path::new("no/such/file.csv")).map_err(|e| e.to_string());
        assert!(found.is_err_and(|e| e.starts_with("no/such/file.csv: cannot open")));
    }
}
