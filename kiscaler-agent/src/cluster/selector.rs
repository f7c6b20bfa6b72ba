//! Label selectors as the scale subresource writes them.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};

/// A text that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "selector {text:?}: found {found:?}, expected key=value, key!=value, key in (a,b), key notin (a,b), key or !key"
)]
pub struct SelectorError {
    /// The whole.
    text: String,
    /// The part that is none.
    found: String,
}

/// Reads a selector such as `app=triton,tier in (a,b),!canary`.
///
/// # Errors
/// A part of it is none.
pub fn parse_selector(text: &str) -> Result<Selector, SelectorError> {
    let mut selector = Selector::default();
    for part in parts(text) {
        let error = || SelectorError { text: text.to_owned(), found: part.to_owned() };
        selector.extend([expression(part.trim()).ok_or_else(error)?]);
    }
    Ok(selector)
}

/// Between the commas that are in no parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut parts: Vec<&str> = text
        .split(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0
        })
        .collect();
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn expression(part: &str) -> Option<Expression> {
    let is_key = |key: &str| !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || "=!(),".contains(c));
    let key = |text: &str| Some(text.trim()).filter(|key| is_key(key)).map(str::to_owned);
    let values = |list: &str| -> Option<BTreeSet<String>> {
        let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    if let Some((name, value)) = part.split_once("!=") {
        return Some(Expression::NotEqual(key(name)?, value.trim().to_owned()));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Expression::Equal(key(name)?, value.trim().to_owned()));
    }
    if let Some((name, list)) = part.split_once(" notin ") {
        return Some(Expression::NotIn(key(name)?, values(list)?));
    }
    if let Some((name, list)) = part.split_once(" in ") {
        return Some(Expression::In(key(name)?, values(list)?));
    }
    match part.strip_prefix('!') {
        Some(name) => Some(Expression::DoesNotExist(key(name)?)),
        None => Some(Expression::Exists(key(part)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::SelectorExt as _;
    use std::collections::BTreeMap;

    #[test]
    fn selectors_match_as_kubernetes_says() {
        let labels = BTreeMap::from([("app".to_owned(), "triton".to_owned()), ("tier".to_owned(), "a".to_owned())]);
        let check = |text: &str, matches: bool| {
            assert_eq!(parse_selector(text).unwrap().matches(&labels), matches, "{text}");
        };
        check("app=triton", true);
        check("app==triton,tier in (a, b)", true);
        check("app!=triton", false);
        check("tier notin (b,c),!canary", true);
        check("canary", false);
        check("app", true);
        check("", true);
        for bad in ["=x", "a b", "app in a", "!", "a in (b"] {
            assert!(parse_selector(bad).is_err(), "{bad}");
        }
    }
}
