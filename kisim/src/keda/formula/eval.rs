//! The value of a formula.

use super::FormulaError;
use super::tree::{Function, Kind, Node, Operator};

/// What a part of a formula comes to.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Nil,
    Number(f64),
    Bool(bool),
    Array(Vec<f64>),
}

/// The result of a whole formula, which is a number or `nil`.
pub(super) fn result(root: &Node, values: &[Option<f64>]) -> Result<Option<f64>, FormulaError> {
    let scope = Scope { values, element: None };
    match scope.value(root)? {
        Value::Nil => Ok(None),
        Value::Number(number) => Ok(Some(number)),
        _ => Err(mismatch(root, "a number")),
    }
}

/// Reading has checked the types, so what is found instead is no value at all.
fn mismatch(node: &Node, expected: &str) -> FormulaError {
    FormulaError::new(node.at, "nil", expected)
}

#[derive(Clone, Copy)]
struct Scope<'a> {
    values: &'a [Option<f64>],
    element: Option<f64>,
}

impl Scope<'_> {
    fn value(&self, node: &Node) -> Result<Value, FormulaError> {
        Ok(match &node.kind {
            Kind::Number(number) => Value::Number(*number),
            Kind::Bool(truth) => Value::Bool(*truth),
            Kind::Nil => Value::Nil,
            Kind::Name(index) => self.values.get(*index).copied().flatten().map_or(Value::Nil, Value::Number),
            Kind::Element => self.element.map_or(Value::Nil, Value::Number),
            Kind::Array(elements) => {
                Value::Array(elements.iter().map(|e| self.number(e)).collect::<Result<Vec<f64>, _>>()?)
            }
            Kind::Negate(inner) => Value::Number(-self.number(inner)?),
            Kind::Not(inner) => Value::Bool(!self.truth(inner)?),
            Kind::Choice(parts) => {
                let [condition, yes, no] = parts.as_ref();
                self.value(if self.truth(condition)? { yes } else { no })?
            }
            Kind::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Kind::Call(function, arguments) => self.call(node, *function, arguments)?,
            Kind::Each(function, array, predicate) => self.each(*function, array, predicate)?,
        })
    }

    fn number(&self, node: &Node) -> Result<f64, FormulaError> {
        match self.value(node)? {
            Value::Number(number) => Ok(number),
            _ => Err(mismatch(node, "a number")),
        }
    }

    fn truth(&self, node: &Node) -> Result<bool, FormulaError> {
        match self.value(node)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(mismatch(node, "a truth value")),
        }
    }

    fn array(&self, node: &Node) -> Result<Vec<f64>, FormulaError> {
        match self.value(node)? {
            Value::Array(array) => Ok(array),
            _ => Err(mismatch(node, "an array")),
        }
    }

    fn binary(&self, operator: Operator, left: &Node, right: &Node) -> Result<Value, FormulaError> {
        use Operator as O;
        let numbers = || Ok::<_, FormulaError>((self.number(left)?, self.number(right)?));
        let number = |f: fn(f64, f64) -> f64| numbers().map(|(a, b)| Value::Number(f(a, b)));
        let order = |f: fn(&f64, &f64) -> bool| numbers().map(|(a, b)| Value::Bool(f(&a, &b)));
        match operator {
            O::Or => Ok(Value::Bool(self.truth(left)? || self.truth(right)?)),
            O::And => Ok(Value::Bool(self.truth(left)? && self.truth(right)?)),
            O::Equal => Ok(Value::Bool(self.value(left)? == self.value(right)?)),
            O::NotEqual => Ok(Value::Bool(self.value(left)? != self.value(right)?)),
            O::Less => order(f64::lt),
            O::LessEqual => order(f64::le),
            O::Greater => order(f64::gt),
            O::GreaterEqual => order(f64::ge),
            O::Add => number(|a, b| a + b),
            O::Subtract => number(|a, b| a - b),
            O::Multiply => number(|a, b| a * b),
            O::Divide => number(|a, b| a / b),
            O::Power => number(f64::powf),
            O::Remainder => match numbers()? {
                (_, 0.0) => Err(FormulaError::new(right.at, "0", "a divisor of `%` other than 0")),
                (a, b) => Ok(Value::Number(a % b)),
            },
            O::Else => match self.value(left)? {
                Value::Nil => self.value(right),
                value => Ok(value),
            },
        }
    }

    fn call(&self, node: &Node, function: Function, arguments: &[Node]) -> Result<Value, FormulaError> {
        use Function as F;
        // Numbers and the elements of arrays, in order.
        let mut numbers = Vec::new();
        for argument in arguments {
            match self.value(argument)? {
                Value::Number(number) => numbers.push(number),
                Value::Array(elements) => numbers.extend(elements),
                Value::Nil | Value::Bool(_) => return Err(mismatch(argument, "a number")),
            }
        }
        let first = numbers.first().copied();
        let some = |found: Option<f64>| {
            found.ok_or_else(|| FormulaError::new(node.at, "an array without elements", "at least one element"))
        };
        let count = numbers.len() as f64;
        Ok(Value::Number(match function {
            F::Max => some(numbers.iter().copied().reduce(f64::max))?,
            F::Min => some(numbers.iter().copied().reduce(f64::min))?,
            F::Mean if numbers.is_empty() => 0.0,
            F::Mean => numbers.iter().sum::<f64>() / count,
            F::Median => median(numbers),
            F::Sum => numbers.iter().sum(),
            F::Len => count,
            F::Abs => some(first)?.abs(),
            F::Ceil => some(first)?.ceil(),
            F::Floor => some(first)?.floor(),
            F::Round => some(first)?.round(),
            F::Int => some(first)?.trunc(),
            _ => some(first)?,
        }))
    }

    fn each(&self, function: Function, array: &Node, predicate: &Node) -> Result<Value, FormulaError> {
        use Function as F;
        let elements = self.array(array)?;
        let scope = |element: f64| Scope { element: Some(element), ..*self };
        if matches!(function, F::Map | F::Sum) {
            let mapped = elements.iter().map(|e| scope(*e).number(predicate)).collect::<Result<Vec<f64>, _>>()?;
            return Ok(if function == F::Map { Value::Array(mapped) } else { Value::Number(mapped.iter().sum()) });
        }
        let mut fitting = Vec::new();
        for element in &elements {
            if scope(*element).truth(predicate)? {
                fitting.push(*element);
            }
        }
        Ok(match function {
            F::All => Value::Bool(fitting.len() == elements.len()),
            F::Any => Value::Bool(!fitting.is_empty()),
            F::None => Value::Bool(fitting.is_empty()),
            F::One => Value::Bool(fitting.len() == 1),
            F::Filter => Value::Array(fitting),
            _ => Value::Number(fitting.len() as f64),
        })
    }
}

/// The middle, or the mean of the two in the middle; 0 of nothing.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0.0);
    if numbers.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) }
}
