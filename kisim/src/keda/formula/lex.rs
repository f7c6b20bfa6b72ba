//! From the text of a formula to its tokens.

use super::FormulaError;
use super::tree::Type;

/// A formula has at most so many tokens: its tree is walked on the stack.
const MAX_TOKENS: usize = 1_000;

/// What a formula is written with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(f64, Type),
    Word(String),
    Sign(&'static str),
}

/// Longer ones first.
const SIGNS: [&str; 27] = [
    "**", "==", "!=", "<=", ">=", "&&", "||", "??", "+", "-", "*", "/", "%", "^", "<", ">", "!", "?", ":", "(", ")",
    "[", "]", "{", "}", ",", "#",
];

/// Tokens with the character each starts at.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FormulaError> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut at = 1;
    while let Some(first) = rest.chars().next() {
        let digits = |c: char| c.is_ascii_digit() || c == '_';
        let (length, token) = if first.is_whitespace() {
            (first.len_utf8(), None)
        } else if first.is_ascii_alphabetic() || matches!(first, '_' | '$') {
            let word = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
            let end = rest.find(word).unwrap_or(rest.len());
            (end, Some(Token::Word(rest.get(..end).unwrap_or_default().to_owned())))
        } else if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let run = |from: usize| {
                let tail = rest.get(from..).unwrap_or_default();
                from + tail.find(|c| !digits(c)).unwrap_or(tail.len())
            };
            let whole = run(0);
            let fraction = if rest[whole..].starts_with('.') { run(whole + 1) } else { whole };
            let mut end = fraction;
            if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
                let sign = usize::from(exponent.starts_with(['+', '-']));
                if exponent[sign..].starts_with(|c: char| c.is_ascii_digit()) {
                    end = run(end + 1 + sign);
                }
            }
            let number = rest[..end].replace('_', "").parse::<f64>();
            let number = number.map_err(|_| FormulaError::new(at, format!("`{}`", &rest[..end]), "a number"))?;
            (end, Some(Token::Number(number, if end == whole { Type::Int } else { Type::Float })))
        } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            (sign.len(), Some(Token::Sign(sign)))
        } else {
            return Err(FormulaError::new(at, format!("`{first}`"), "a number, a name, an operator or a parenthesis"));
        };
        if let Some(token) = token {
            found.push((at, token));
        }
        let (read, after) = rest.split_at(length);
        at += read.chars().count();
        rest = after;
        if found.len() > MAX_TOKENS {
            return Err(FormulaError::new(at, "a longer formula", format!("at most {MAX_TOKENS} tokens")));
        }
    }
    Ok(found)
}
