//! What an experiment's cells gave, for those who present it.

use crate::cell::{Row, Value};

/// All rows of an experiment, in the order of its cells; the columns `cell` and then their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The rows.
    pub rows: Vec<Row>,
    /// Names of cells that were not run, and why: no traces.
    pub missing: Vec<(String, String)>,
}

impl Row {
    /// The text in `column`, empty if there is none.
    pub fn get_text(&self, column: &str) -> &str {
        match self.get(column) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The number or count in `column`, NaN if there is none.
    pub fn get_number(&self, column: &str) -> f64 {
        match self.get(column) {
            Some(Value::Number(Some(number))) => *number,
            Some(Value::Count(count)) => *count as f64,
            _ => f64::NAN,
        }
    }

    fn get(&self, column: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == column).map(|(_, value)| value)
    }
}

impl Results {
    /// The rows in which every one of `columns` has that text.
    pub fn with<'a, 'b>(&'a self, columns: &'b [(&'b str, &'b str)]) -> impl Iterator<Item = &'a Row> + use<'a, 'b> {
        self.rows.iter().filter(move |row| columns.iter().all(|(name, text)| row.get_text(name) == *text))
    }
}
