//! The formulas of `scalingModifiers`: many triggers, one number.
//!
//! KEDA evaluates them with expr-lang/expr (`pkg/scaling/modifiers/formula.go`,
//! `apis/keda/v1alpha1/scaledobject_webhook.go`). The part of that language that is about numbers is read here, with its
//! precedences (`parser/operator/operator.go` of expr-lang/expr) and its types:
//!
//! | | |
//! | --- | --- |
//! | values | numbers, names of triggers, `true`, `false`, `nil`, arrays of numbers |
//! | arithmetic | `+ - * / %` (whole numbers), `**` or `^` |
//! | comparison | `< <= > >= == !=`, also in a chain: `1 < a < 5` |
//! | logic | `&& and`, `\|\| or`, `! not`, `a ? b : c`, `a ?? b` for a trigger without a value |
//! | functions | `abs ceil floor round int float`, `max min mean median sum len` |
//! | with a predicate | `count all any none one filter map sum`, as in `count([a, b], {# > 1})` |
//!
//! A formula is checked when it is read; what is left to go wrong when it is evaluated is an empty array, a division of
//! whole numbers by zero and a trigger without a value.

mod eval;
mod lex;
mod parse;
mod tree;

use tree::{Node, Type};

/// A formula that has been read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    text: String,
    root: Node,
}

/// What is wrong with a formula, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: found {found}, expected {expected}")]
pub struct FormulaError {
    /// The character, counted from 1.
    pub position: usize,
    /// What is there.
    pub found: String,
    /// What may be there.
    pub expected: String,
}

impl FormulaError {
    fn new(position: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { position, found: found.into(), expected: expected.into() }
    }
}

impl Formula {
    /// Reads a formula over the given names, whose result is a number.
    ///
    /// ```
    /// use kisim::keda::formula::Formula;
    /// let formula = Formula::parse("a > 5 ? max(a, b) : 0", &["a", "b"])?;
    /// assert_eq!(formula.evaluate(&[Some(6.0), Some(9.0)])?, Some(9.0));
    /// assert_eq!(formula.evaluate(&[Some(5.0), Some(9.0)])?, Some(0.0));
    /// # Ok::<(), kisim::keda::formula::FormulaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FormulaError`] for what is not a formula, names that are not there, and values of a wrong type.
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, FormulaError> {
        let root = parse::parse(text, names)?;
        match root.kind_of {
            Type::Int | Type::Float => Ok(Self { text: text.to_owned(), root }),
            other => Err(FormulaError::new(root.at, other.name(), "a number as the result of the formula")),
        }
    }

    /// The formula as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The result for the values of the names, in the order of [`Formula::parse`]; `None` stands for `nil`.
    ///
    /// # Errors
    ///
    /// [`FormulaError`] where a name without a value is used other than with `??`, `==` or `!=`, where an array without
    /// elements is asked for its largest or smallest, and where a whole number is divided by zero with `%`.
    pub fn evaluate(&self, values: &[Option<f64>]) -> Result<Option<f64>, FormulaError> {
        eval::result(&self.root, values)
    }
}

#[cfg(test)]
mod tests;
