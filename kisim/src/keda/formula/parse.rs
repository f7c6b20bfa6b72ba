//! From the tokens of a formula to a tree of checked types.

use super::FormulaError;
use super::lex::{Token, tokens};
use super::tree::{FUNCTIONS, Function, Kind, Node, Operator, Type};

/// Parentheses, arguments and signs are at most so deep.
const MAX_DEPTH: usize = 50;
/// Signs bind tighter than products and looser than powers.
const SIGN: u32 = 90;
/// `not` binds tighter than sums and looser than products, as in the original.
const NOT: u32 = 50;

/// Reads a whole formula.
pub(super) fn parse(text: &str, names: &[&str]) -> Result<Node, FormulaError> {
    let tokens = tokens(text)?;
    let mut parser =
        Parser { tokens: &tokens, next: 0, end: text.chars().count() + 1, names, in_predicate: false, depth: 0 };
    let root = parser.expression(0)?;
    if parser.peek().is_some() {
        return Err(parser.error("an operator or the end"));
    }
    Ok(root)
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    end: usize,
    names: &'a [&'a str],
    in_predicate: bool,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    /// The error for the token that comes next.
    fn error(&self, expected: impl Into<String>) -> FormulaError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Number(number, _)) => format!("`{number}`"),
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
        };
        FormulaError::new(self.at(), found, expected)
    }

    /// Takes a sign if it comes next.
    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), FormulaError> {
        if self.takes(sign) { Ok(()) } else { Err(self.error(format!("`{sign}`"))) }
    }

    fn operator(&self) -> Option<Operator> {
        match self.peek()? {
            Token::Sign(sign) => Operator::named(sign),
            Token::Word(word) => Operator::named(word),
            Token::Number(..) => None,
        }
    }

    /// An expression of operators that bind at least so tightly.
    fn expression(&mut self, precedence: u32) -> Result<Node, FormulaError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("a formula nested at most {MAX_DEPTH} deep")));
        }
        let mut left = self.operand()?;
        let mut previous = None;
        while let Some(operator) = self.operator().filter(|o| o.precedence() >= precedence) {
            let at = self.at();
            if previous == Some(Operator::Else) && operator != Operator::Else {
                return Err(self.error("parentheses around what `??` joins"));
            }
            self.next += 1;
            let tighter = u32::from(operator != Operator::Power);
            let right = self.expression(operator.precedence() + tighter)?;
            left = if operator.is_order() {
                self.chain(at, operator, left, right)?
            } else {
                binary(at, operator, left, right)?
            };
            previous = Some(operator);
        }
        if precedence == 0 && self.takes("?") {
            left = self.choice(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// `a < b < c` stands for `a < b && b < c`.
    fn chain(&mut self, at: usize, operator: Operator, left: Node, right: Node) -> Result<Node, FormulaError> {
        let mut last = right.clone();
        let mut all = binary(at, operator, left, right)?;
        while let Some(operator) = self.operator().filter(|o| o.is_order()) {
            let at = self.at();
            self.next += 1;
            let right = self.expression(operator.precedence() + 1)?;
            let next = binary(at, operator, last, right.clone())?;
            all = binary(at, Operator::And, all, next)?;
            last = right;
        }
        Ok(all)
    }

    /// `condition ? a : b`, read up to the question mark.
    fn choice(&mut self, condition: Node) -> Result<Node, FormulaError> {
        want(&condition, Type::Bool)?;
        let yes = self.expression(0)?;
        self.expect(":")?;
        let no = self.expression(0)?;
        let kind_of = joined(&yes, &no)?;
        Ok(Node { at: condition.at, kind_of, kind: Kind::Choice(Box::new([condition, yes, no])) })
    }

    fn operand(&mut self) -> Result<Node, FormulaError> {
        const EXPECTED: &str = "a number, a name, a function, an array or a parenthesis";
        let at = self.at();
        let node = |kind_of, kind| Ok(Node { at, kind_of, kind });
        let Some(token) = self.peek().cloned() else {
            return Err(self.error(EXPECTED));
        };
        match token {
            Token::Number(number, kind_of) => {
                self.next += 1;
                node(kind_of, Kind::Number(number))
            }
            Token::Word(word) => self.word(at, &word),
            Token::Sign("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.next += 1;
                let elements = self.list("]")?;
                elements.iter().try_for_each(|e| want(e, Type::Float))?;
                node(Type::Array, Kind::Array(elements))
            }
            Token::Sign("#") if self.in_predicate => {
                self.next += 1;
                node(Type::Float, Kind::Element)
            }
            Token::Sign("#") => Err(self.error("`#` only inside of a predicate")),
            Token::Sign("!") => self.not(at),
            Token::Sign(sign @ ("-" | "+")) => {
                self.next += 1;
                let inner = self.expression(SIGN)?;
                want(&inner, Type::Float)?;
                let kind = if sign == "-" { Kind::Negate(Box::new(inner.clone())) } else { inner.kind };
                node(inner.kind_of, kind)
            }
            Token::Sign(_) => Err(self.error(EXPECTED)),
        }
    }

    fn not(&mut self, at: usize) -> Result<Node, FormulaError> {
        self.next += 1;
        let inner = self.expression(NOT)?;
        want(&inner, Type::Bool)?;
        Ok(Node { at, kind_of: Type::Bool, kind: Kind::Not(Box::new(inner)) })
    }

    /// A literal, a name or a call.
    fn word(&mut self, at: usize, word: &str) -> Result<Node, FormulaError> {
        if word == "not" {
            return self.not(at);
        }
        let called = matches!(self.tokens.get(self.next + 1), Some((_, Token::Sign("("))));
        let (kind_of, kind) = match word {
            "true" | "false" => (Type::Bool, Kind::Bool(word == "true")),
            "nil" => (Type::Nil, Kind::Nil),
            _ if called => {
                let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == word) else {
                    let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
                    return Err(self.error(format!("one of the functions {}", known.join(", "))));
                };
                self.next += 2;
                return self.call(at, word, *function);
            }
            _ => match self.names.iter().position(|name| *name == word) {
                Some(index) => (Type::Float, Kind::Name(index)),
                None => {
                    let known: Vec<&str> = self.names.iter().copied().filter(|name| !name.is_empty()).collect();
                    return Err(self.error(match known.as_slice() {
                        [] => "no name: no trigger has one".to_owned(),
                        known => format!("the name of a trigger: {}", known.join(", ")),
                    }));
                }
            },
        };
        self.next += 1;
        Ok(Node { at, kind_of, kind })
    }

    /// Expressions with commas between them, up to the sign.
    fn list(&mut self, end: &str) -> Result<Vec<Node>, FormulaError> {
        let mut list = Vec::new();
        while !self.takes(end) {
            list.push(self.expression(0)?);
            if !self.takes(",") && !matches!(self.peek(), Some(Token::Sign(s)) if *s == end) {
                return Err(self.error(format!("`,` or `{end}`")));
            }
        }
        Ok(list)
    }

    /// A call, read up to its opening parenthesis.
    fn call(&mut self, at: usize, name: &str, function: Function) -> Result<Node, FormulaError> {
        use Function as F;
        let with_predicate = |result: Type, of: Type| Some((result, of));
        // What a function with a predicate gives, and what the predicate gives.
        let each = match function {
            F::Count => with_predicate(Type::Int, Type::Bool),
            F::All | F::Any | F::None | F::One => with_predicate(Type::Bool, Type::Bool),
            F::Filter => with_predicate(Type::Array, Type::Bool),
            F::Map => with_predicate(Type::Array, Type::Float),
            F::Sum => with_predicate(Type::Float, Type::Float),
            _ => None,
        };
        if let Some((kind_of, of)) = each {
            let array = self.expression(0)?;
            want(&array, Type::Array)?;
            if function == F::Sum && self.takes(")") {
                return Ok(Node { at, kind_of, kind: Kind::Call(function, vec![array]) });
            }
            self.expect(",")?;
            let predicate = self.predicate()?;
            want(&predicate, of)?;
            self.expect(")")?;
            return Ok(Node { at, kind_of, kind: Kind::Each(function, Box::new(array), Box::new(predicate)) });
        }
        let arguments = self.list(")")?;
        let first = arguments.first();
        let one = |wanted: Type| match arguments.as_slice() {
            [argument] => want(argument, wanted),
            many => Err(FormulaError::new(at, format!("{} arguments", many.len()), format!("one argument for {name}"))),
        };
        let kind_of = match function {
            F::Len => one(Type::Array).map(|()| Type::Int)?,
            F::Int => one(Type::Float).map(|()| Type::Int)?,
            F::Abs => one(Type::Float).map(|()| first.map_or(Type::Float, |a| a.kind_of))?,
            F::Ceil | F::Floor | F::Round | F::Float => one(Type::Float).map(|()| Type::Float)?,
            _ if arguments.is_empty() => {
                return Err(FormulaError::new(at, "no arguments", format!("at least one for {name}")));
            }
            _ => {
                let wrong = arguments.iter().find(|a| !a.kind_of.is_number() && a.kind_of != Type::Array);
                wrong.map_or(Ok(()), |a| want(a, Type::Float))?;
                let whole = arguments.iter().all(|a| a.kind_of == Type::Int);
                if whole && matches!(function, F::Max | F::Min) { Type::Int } else { Type::Float }
            }
        };
        Ok(Node { at, kind_of, kind: Kind::Call(function, arguments) })
    }

    fn predicate(&mut self) -> Result<Node, FormulaError> {
        let outer = std::mem::replace(&mut self.in_predicate, true);
        let braces = self.takes("{");
        let predicate = self.expression(0)?;
        if braces {
            self.expect("}")?;
        }
        self.in_predicate = outer;
        Ok(predicate)
    }
}

/// Fails where a part is of another type; any number is [`Type::Float`].
fn want(node: &Node, wanted: Type) -> Result<(), FormulaError> {
    if node.kind_of == wanted || (wanted == Type::Float && node.kind_of.is_number()) {
        return Ok(());
    }
    Err(FormulaError::new(node.at, node.kind_of.name(), wanted.name()))
}

fn joined(left: &Node, right: &Node) -> Result<Type, FormulaError> {
    let mismatch = || FormulaError::new(right.at, right.kind_of.name(), left.kind_of.name());
    left.kind_of.join(right.kind_of).ok_or_else(mismatch)
}

fn binary(at: usize, operator: Operator, left: Node, right: Node) -> Result<Node, FormulaError> {
    use Operator as O;
    let both = |wanted: Type| want(&left, wanted).and_then(|()| want(&right, wanted));
    let whole = left.kind_of == Type::Int && right.kind_of == Type::Int;
    let number = if whole { Type::Int } else { Type::Float };
    let kind_of = match operator {
        O::Or | O::And => both(Type::Bool).map(|()| Type::Bool)?,
        O::Less | O::LessEqual | O::Greater | O::GreaterEqual => both(Type::Float).map(|()| Type::Bool)?,
        O::Add | O::Subtract | O::Multiply => both(Type::Float).map(|()| number)?,
        O::Divide | O::Power => both(Type::Float).map(|()| Type::Float)?,
        O::Remainder if whole => Type::Int,
        O::Remainder => {
            let wrong = if left.kind_of == Type::Int { &right } else { &left };
            let expected = "a whole number on both sides of `%`, as int(...) gives";
            return Err(FormulaError::new(wrong.at, wrong.kind_of.name(), expected));
        }
        O::Equal | O::NotEqual => match joined(&left, &right)? {
            Type::Array => return Err(FormulaError::new(at, "two arrays", "numbers or truth values to compare")),
            _ => Type::Bool,
        },
        O::Else => joined(&left, &right)?,
    };
    let start = left.at;
    Ok(Node { at: start, kind_of, kind: Kind::Binary(operator, Box::new(left), Box::new(right)) })
}
