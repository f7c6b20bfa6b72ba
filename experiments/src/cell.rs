//! Cells, the units of work of an experiment, and the rows they give.

use serde::{Deserialize, Serialize};

use crate::work::Work;

/// A unit of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Its name among those of its experiment: letters, digits, `-`, `_`, `.`; its rows lie in a file of that name.
    pub name: String,
    /// Seconds that it takes on one core, about: long ones begin first, and it is what progress is measured in. Not part of what it is.
    #[serde(skip)]
    pub seconds: f64,
    /// What is done.
    pub work: Work,
}

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A count, a seed.
    Count(u64),
    /// A measurement; `None` where there is none.
    Number(Option<f64>),
    /// A name.
    Text(String),
}

/// A row of a cell's result: columns in the order in which they were given. All rows of an experiment that share a
/// column's name share its type; a column that a row lacks is empty there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row(pub Vec<(String, Value)>);

impl Row {
    /// None yet.
    pub fn new() -> Row {
        Row::default()
    }

    /// With a name.
    #[must_use]
    pub fn text(mut self, column: &str, value: impl Into<String>) -> Row {
        self.0.push((column.to_owned(), Value::Text(value.into())));
        self
    }

    /// With a measurement; what is no number is empty.
    #[must_use]
    pub fn number(mut self, column: &str, value: f64) -> Row {
        self.0.push((column.to_owned(), Value::Number(value.is_finite().then_some(value))));
        self
    }

    /// With a count.
    #[must_use]
    pub fn count(mut self, column: &str, value: u64) -> Row {
        self.0.push((column.to_owned(), Value::Count(value)));
        self
    }
}
