//! The cells of a CSV file, with errors that say where.

use super::measurements::MeasurementError;
use std::io::Read;

/// The line a record is on. The parser gives the place where it began to look for the record, before any blank lines
/// and comments that it skipped.
fn line_of(bytes: &[u8], from: u64, line: u64) -> u64 {
    let rest = usize::try_from(from).ok().and_then(|from| bytes.get(from..));
    let skipped = rest
        .unwrap_or_default()
        .split_inclusive(|byte| *byte == b'\n')
        .take_while(|line| matches!(line, [b'\n'] | [b'\r', b'\n'] | [b'#', ..]))
        .count();
    line + skipped as u64
}

/// The text of a file: header and rows with their lines.
pub(super) struct Table {
    file: String,
    header_line: u64,
    header: Vec<String>,
    /// Line and cells of each row.
    pub rows: Vec<(u64, csv::StringRecord)>,
}

impl Table {
    /// Reads CSV text; `file` is the name that errors give.
    pub fn read(file: &str, mut text: impl Read) -> Result<Self, MeasurementError> {
        let malformed = |source| MeasurementError::Csv { file: file.to_owned(), source };
        let mut bytes = Vec::new();
        text.read_to_end(&mut bytes).map_err(|source| malformed(source.into()))?;
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(bytes.as_slice());
        let header = reader.headers().map_err(malformed)?;
        let header = header.iter().map(str::to_lowercase).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(malformed)?;
            let line = record.position().map_or(0, |at| line_of(&bytes, at.byte(), at.line()));
            rows.push((line, record));
        }
        Ok(Self { file: file.to_owned(), header_line: line_of(&bytes, 0, 1), header, rows })
    }

    /// The header is not what was `expected`.
    pub fn header_error(&self, expected: &str) -> MeasurementError {
        let found = match self.header.is_empty() {
            true => "no header".to_owned(),
            false => format!("the columns `{}`", self.header.join("`, `")),
        };
        MeasurementError::Header {
            file: self.file.clone(),
            line: self.header_line,
            found,
            expected: expected.to_owned(),
        }
    }

    /// The column with one of these names; an error if several have one.
    pub fn column(&self, names: &[&str]) -> Result<Option<usize>, MeasurementError> {
        let mut found =
            self.header.iter().enumerate().filter(|(_, name)| names.contains(&name.as_str())).map(|(index, _)| index);
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(_) => Err(self.header_error(&format!("only one of `{}`", names.join("`, `")))),
        }
    }

    /// A cell (as text) is not what was `expected`.
    pub fn value_error(&self, line: u64, column: usize, found: &str, expected: &str) -> MeasurementError {
        MeasurementError::Value {
            file: self.file.clone(),
            line,
            column: self.header.get(column).cloned().unwrap_or_default(),
            found: match found {
                "" => "nothing".to_owned(),
                text => format!("`{text}`"),
            },
            expected: expected.to_owned(),
        }
    }

    /// The cell as a positive, finite number.
    pub fn positive(&self, line: u64, record: &csv::StringRecord, column: usize) -> Result<f64, MeasurementError> {
        let cell = record.get(column).unwrap_or_default();
        match cell.parse::<f64>() {
            Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
            _ => Err(self.value_error(line, column, cell, "a positive number")),
        }
    }

    /// As [`Self::positive`], but the column or the cell's text may be missing.
    pub fn optional(
        &self,
        line: u64,
        record: &csv::StringRecord,
        column: Option<usize>,
    ) -> Result<Option<f64>, MeasurementError> {
        match column {
            Some(column) if !record.get(column).unwrap_or_default().is_empty() => {
                self.positive(line, record, column).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The cell as a whole number of at least one.
    pub fn count(&self, line: u64, record: &csv::StringRecord, column: usize) -> Result<u32, MeasurementError> {
        let cell = record.get(column).unwrap_or_default();
        match cell.parse::<u32>() {
            Ok(value) if value >= 1 => Ok(value),
            _ => Err(self.value_error(line, column, cell, "a whole number of at least 1")),
        }
    }

    /// The rows, or the error that there are none.
    pub fn not_empty<T>(&self, rows: Vec<T>) -> Result<Vec<T>, MeasurementError> {
        match rows.is_empty() {
            false => Ok(rows),
            true => Err(MeasurementError::Empty { file: self.file.clone() }),
        }
    }
}
