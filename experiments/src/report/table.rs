//! Entries of tables, as people and as programs read them.

use anyhow::Result;
use kisim::report::number;

use crate::experiment::{Entry, Table};

/// An entry for people.
pub(super) fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Text(text) => text.clone(),
        Entry::Number(value) => number(*value),
        Entry::Interval(interval) if interval.point.is_finite() => {
            format!("{} [{}, {}]", number(interval.point), number(interval.low), number(interval.high))
        }
        Entry::Interval(_) | Entry::Empty => "–".to_owned(),
    }
}

/// Whether nobody reads it row by row: it is folded up.
pub(super) fn is_long(table: &Table) -> bool {
    table.rows.len() > 40
}

/// Whether a column holds words, and so is aligned to the left.
pub(super) fn is_text(table: &Table, column: usize) -> bool {
    table.rows.iter().any(|row| matches!(row.get(column), Some(Entry::Text(_))))
}

/// CSV with every digit; a column with intervals is three: the figure, `… low` and `… high`.
pub(super) fn csv(table: &Table) -> Result<Vec<u8>> {
    let wide: Vec<bool> = (0..table.columns.len())
        .map(|column| table.rows.iter().any(|row| matches!(row.get(column), Some(Entry::Interval(_)))))
        .collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = table.columns.iter().zip(&wide).flat_map(|(name, wide)| {
        let more = if *wide { vec![format!("{name} low"), format!("{name} high")] } else { Vec::new() };
        std::iter::once(name.clone()).chain(more)
    });
    writer.write_record(header)?;
    let digits = |value: f64| if value.is_finite() { value.to_string() } else { String::new() };
    for row in &table.rows {
        let fields = row.iter().zip(&wide).flat_map(|(entry, wide)| {
            let (first, low, high) = match entry {
                Entry::Text(text) => (text.clone(), String::new(), String::new()),
                Entry::Number(value) => (digits(*value), String::new(), String::new()),
                Entry::Interval(i) => (digits(i.point), digits(i.low), digits(i.high)),
                Entry::Empty => Default::default(),
            };
            let more = if *wide { vec![low, high] } else { Vec::new() };
            std::iter::once(first).chain(more)
        });
        writer.write_record(fields)?;
    }
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use kiscaler_train::statistics::Interval;

    use super::*;

    fn table() -> Table {
        let interval = Interval { point: 0.12345, low: 0.1, high: 0.2 };
        Table {
            name: "t".into(),
            caption: "c".into(),
            columns: vec!["scene".into(), "P95, ms".into(), "objective".into()],
            rows: vec![
                vec![Entry::Text("a|b".into()), Entry::Number(1234.5), Entry::Interval(interval)],
                vec![Entry::Text("c".into()), Entry::Empty, Entry::Number(f64::NAN)],
            ],
        }
    }

    #[test]
    fn entries_have_as_many_digits_as_tell_something() {
        let texts: Vec<Vec<String>> = table().rows.iter().map(|row| row.iter().map(entry).collect()).collect();
        assert_eq!(texts[0], ["a|b", "1,234", "0.123 [0.100, 0.200]"]);
        assert_eq!(texts[1], ["c", "–", "–"]);
        assert!(is_text(&table(), 0) && !is_text(&table(), 1) && !is_text(&table(), 2));
    }

    #[test]
    fn csv_has_all_digits() {
        let text = String::from_utf8(csv(&table()).unwrap()).unwrap();
        assert_eq!(
            text,
            "scene,\"P95, ms\",objective,objective low,objective high\na|b,1234.5,0.12345,0.1,0.2\nc,,,,\n"
        );
    }
}
