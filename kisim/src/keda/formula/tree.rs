//! The parts of a formula, and their types.

/// The type of a value, known without evaluating it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// True or false.
    Bool,
    /// An array of numbers.
    Array,
    /// No value.
    Nil,
}

impl Type {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "a truth value",
            Self::Array => "an array",
            Self::Nil => "nil",
        }
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }

    /// The type of either of two.
    pub(super) fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a),
            (Self::Nil, t) | (t, Self::Nil) => Some(t),
            (a, b) if a.is_number() && b.is_number() => Some(Self::Float),
            _ => None,
        }
    }
}

/// A part of a formula.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// The character it starts at, counted from 1.
    pub(super) at: usize,
    pub(super) kind_of: Type,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Number(f64),
    Bool(bool),
    Nil,
    /// The index of a name.
    Name(usize),
    /// `#`, the element a predicate is asked about.
    Element,
    Array(Vec<Node>),
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Choice(Box<[Node; 3]>),
    /// A function of its arguments.
    Call(Function, Vec<Node>),
    /// A function of an array and a predicate.
    Each(Function, Box<Node>, Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    /// `??`.
    Else,
}

impl Operator {
    pub(super) fn named(text: &str) -> Option<Self> {
        Some(match text {
            "or" | "||" => Self::Or,
            "and" | "&&" => Self::And,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterEqual,
            "+" => Self::Add,
            "-" => Self::Subtract,
            "*" => Self::Multiply,
            "/" => Self::Divide,
            "%" => Self::Remainder,
            "**" | "^" => Self::Power,
            "??" => Self::Else,
            _ => return None,
        })
    }

    /// How tightly it binds.
    pub(super) const fn precedence(self) -> u32 {
        match self {
            Self::Or => 10,
            Self::And => 15,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual => 20,
            Self::Add | Self::Subtract => 30,
            Self::Multiply | Self::Divide | Self::Remainder => 60,
            Self::Power => 100,
            Self::Else => 500,
        }
    }

    pub(super) const fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Max,
    Min,
    Mean,
    Median,
    Sum,
    Len,
    Abs,
    Ceil,
    Floor,
    Round,
    Int,
    Float,
    Count,
    All,
    Any,
    None,
    One,
    Filter,
    Map,
}

pub(super) const FUNCTIONS: [(&str, Function); 19] = [
    ("max", Function::Max),
    ("min", Function::Min),
    ("mean", Function::Mean),
    ("median", Function::Median),
    ("sum", Function::Sum),
    ("len", Function::Len),
    ("abs", Function::Abs),
    ("ceil", Function::Ceil),
    ("floor", Function::Floor),
    ("round", Function::Round),
    ("int", Function::Int),
    ("float", Function::Float),
    ("count", Function::Count),
    ("all", Function::All),
    ("any", Function::Any),
    ("none", Function::None),
    ("one", Function::One),
    ("filter", Function::Filter),
    ("map", Function::Map),
];
