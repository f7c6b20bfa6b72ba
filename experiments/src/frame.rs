//! Rows as data frames: Parquet for programs, CSV for everybody.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use kisim::report::write_atomically;
use polars::prelude::{
    Column, CsvWriter, DataFrame, DataType, NamedFrom as _, ParquetCompression, ParquetReader, ParquetWriter,
    SerReader as _, SerWriter as _, Series,
};

use crate::cell::{Row, Value};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Count,
    Number,
    Text,
}

impl Kind {
    fn of(value: &Value) -> Kind {
        match value {
            Value::Count(_) => Kind::Count,
            Value::Number(_) => Kind::Number,
            Value::Text(_) => Kind::Text,
        }
    }
}

/// The frame of these rows: the union of their columns in the order in which they are first seen; what a row lacks is null.
///
/// # Errors
/// If a column is of two types, or twice in a row.
pub fn frame(rows: &[Row]) -> Result<DataFrame> {
    let mut columns: Vec<(&str, Kind)> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        for (index, (name, value)) in row.0.iter().enumerate() {
            let kind = Kind::of(value);
            ensure!(row.0[..index].iter().all(|(other, _)| other != name), "row {number}: found column {name} twice");
            match columns.iter().find(|(known, _)| known == name) {
                None => columns.push((name, kind)),
                Some((_, known)) if *known == kind => {}
                Some((_, known)) => bail!("row {number}, column {name}: found {kind:?}, expected {known:?} as before"),
            }
        }
    }
    let column = |(name, kind): &(&str, Kind)| -> Column {
        let values = || rows.iter().map(|row| row.0.iter().find(|(own, _)| own == name).map(|(_, value)| value));
        let series = match kind {
            Kind::Count => {
                let values: Vec<Option<u64>> =
                    values().map(|v| if let Some(Value::Count(count)) = v { Some(*count) } else { None }).collect();
                Series::new((*name).into(), values)
            }
            Kind::Number => {
                let values: Vec<Option<f64>> =
                    values().map(|v| if let Some(Value::Number(number)) = v { *number } else { None }).collect();
                Series::new((*name).into(), values)
            }
            Kind::Text => {
                let values: Vec<Option<&str>> = values()
                    .map(|v| if let Some(Value::Text(text)) = v { Some(text.as_str()) } else { None })
                    .collect();
                Series::new((*name).into(), values)
            }
        };
        series.into()
    };
    Ok(DataFrame::new(rows.len(), columns.iter().map(column).collect())?)
}

/// The rows of a frame. What is null is left out of its row.
///
/// # Errors
/// If a column is of a type that rows do not have.
pub fn rows(frame: &DataFrame) -> Result<Vec<Row>> {
    let mut rows = vec![Row::new(); frame.height()];
    for column in frame.columns() {
        let name = column.name().as_str();
        match column.dtype() {
            DataType::UInt64 => {
                for (row, value) in rows.iter_mut().zip(column.u64()?.iter()) {
                    row.0.extend(value.map(|value| (name.to_owned(), Value::Count(value))));
                }
            }
            DataType::Float64 => {
                for (row, value) in rows.iter_mut().zip(column.f64()?.iter()) {
                    row.0.extend(value.map(|value| (name.to_owned(), Value::Number(Some(value)))));
                }
            }
            DataType::String => {
                for (row, value) in rows.iter_mut().zip(column.str()?.iter()) {
                    row.0.extend(value.map(|value| (name.to_owned(), Value::Text(value.to_owned()))));
                }
            }
            other => bail!("column {name}: found type {other}, expected UInt64, Float64 or String"),
        }
    }
    Ok(rows)
}

/// Writes Parquet.
///
/// # Errors
/// If it cannot be written.
pub fn write_parquet(path: &Path, frame: &mut DataFrame) -> Result<()> {
    let mut bytes = Vec::new();
    // Uncompressed: some hundred kilobytes, and no version of a compressor changes a byte.
    let writer = ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Uncompressed).set_parallel(false);
    writer.finish(frame)?;
    Ok(write_atomically(path, |file| file.write_all(&bytes))?)
}

/// Writes CSV.
///
/// # Errors
/// If it cannot be written.
pub fn write_csv(path: &Path, frame: &mut DataFrame) -> Result<()> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(frame)?;
    Ok(write_atomically(path, |file| file.write_all(&bytes))?)
}

/// Reads Parquet.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn read_parquet(path: &Path) -> Result<DataFrame> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    ParquetReader::new(file).finish().with_context(|| format!("{}: no Parquet", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed() -> Vec<Row> {
        vec![
            Row::new().text("scene", "a, \"b\"\nc").count("seed", u64::MAX).number("x", 0.1 + 0.2),
            Row::new().text("scene", "").number("x", f64::NAN).text("note", "–"),
            Row::new().count("seed", 0).number("x", -0.0).number("late", 1e-300),
        ]
    }

    #[test]
    fn parquet_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.parquet");
        let mut frame = frame(&mixed()).unwrap();
        let names: Vec<&str> = frame.columns().iter().map(|column| column.name().as_str()).collect();
        assert_eq!(names, ["scene", "seed", "x", "note", "late"], "in the order in which they are first seen");
        write_parquet(&path, &mut frame).unwrap();
        let back = rows(&read_parquet(&path).unwrap()).unwrap();
        let mut expected = mixed();
        // What is null cannot be told from what was not given, and reads the same.
        expected[1].0.remove(1);
        assert_eq!(back, expected);
        assert!(back[1].get_number("x").is_nan());
        assert_eq!(back[2].get_number("x").to_bits(), (-0.0f64).to_bits());

        let first = std::fs::read(&path).unwrap();
        write_parquet(&path, &mut frame).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first, "the same rows are the same bytes");
    }

    #[test]
    fn csv_has_every_column_and_empty_for_what_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.csv");
        let rows = [Row::new().text("scene", "a,b").number("x", 0.5), Row::new().count("seed", 7)];
        write_csv(&path, &mut frame(&rows).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "scene,x,seed\n\"a,b\",0.5,\n,,7\n");
    }

    #[test]
    fn no_rows_are_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.parquet");
        write_parquet(&path, &mut frame(&[]).unwrap()).unwrap();
        assert_eq!(rows(&read_parquet(&path).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_column_has_one_type() {
        let error = frame(&[Row::new().count("x", 1), Row::new().number("x", 1.0)]).unwrap_err().to_string();
        assert!(error.contains("column x") && error.contains("Number") && error.contains("Count"), "{error}");
        assert!(frame(&[Row::new().count("x", 1).count("x", 2)]).is_err());
    }
}
