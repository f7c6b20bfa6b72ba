//! The text format of metrics, as exporters write it.
//!
//! By hand, because neither of the libraries there are will do: `prometheus-parse` 0.2 takes a name with a colon for no
//! metric (vLLM's all have one), splits labels at commas inside quotes, and passes over lines it does not understand, so
//! that half an answer looks like a whole one; `openmetrics-parser` 0.5 is LGPL. Comments are not read: whether a series is
//! a counter is known from the [`super::Mapping`]. The format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::borrow::Cow;

/// One line: a sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// Labels, in the order in which they were written.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The value; NaN is one.
    pub value: f64,
}

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: found {found:?}, expected {expected}")]
pub struct Syntax {
    /// Its number, from 1.
    pub line: usize,
    /// How it begins.
    pub found: String,
    /// What should have been there.
    pub expected: &'static str,
}

/// The samples in `text` whose metric is `wanted`; of others, only the name is read.
///
/// # Errors
/// The first line that is no sample. What came before it is given all the same.
pub fn parse<'a>(text: &'a str, wanted: impl Fn(&str) -> bool) -> (Vec<Line<'a>>, Option<Syntax>) {
    let mut lines = Vec::new();
    for (number, raw) in text.lines().enumerate() {
        let line = raw.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match sample(line, &wanted) {
            Ok(Some(sample)) => lines.push(sample),
            Ok(None) => {}
            Err(expected) => {
                let found = line.chars().take(60).collect();
                return (lines, Some(Syntax { line: number + 1, found, expected }));
            }
        }
    }
    (lines, None)
}

fn sample<'a>(line: &'a str, wanted: impl Fn(&str) -> bool) -> Result<Option<Line<'a>>, &'static str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = line.find(|c| !is_name(c)).ok_or("a value after the name")?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a metric's name");
    }
    if !wanted(name) {
        return Ok(None);
    }
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inner) => labels(inner)?,
        None => (Vec::new(), rest),
    };
    // A timestamp or an exemplar may follow.
    let value = rest.split_ascii_whitespace().next().ok_or("a value")?;
    let value = value.parse::<f64>().map_err(|_| "a number as the value")?;
    Ok(Some(Line { name, labels, value }))
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Labels up to the closing brace, and what follows it.
fn labels(mut text: &str) -> Result<(Labels<'_>, &str), &'static str> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, rest) = text.split_once('=').ok_or("a label's name and =")?;
        let rest = rest.trim_start().strip_prefix('"').ok_or("a label's value in quotes")?;
        let end = closing_quote(rest).ok_or("the end of a label's value")?;
        labels.push((name.trim(), unescape(&rest[..end])));
        text = &rest[end + 1..];
    }
}

/// Where the first quote is that no backslash stands before.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, false) => out.push(c),
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Line<'_>>, Syntax> {
        match parse(text, |_| true) {
            (lines, None) => Ok(lines),
            (_, Some(error)) => Err(error),
        }
    }

    #[test]
    fn what_exporters_write_is_read() {
        let text = "# HELP vllm:num_requests_running Number of requests.\n# TYPE vllm:num_requests_running gauge\n\
                    vllm:num_requests_running{model_name=\"a,b=\\\"c\\\"}\"} 3.0\n\
                    http_seconds_bucket{le=\"+Inf\",} 1e3 1700000000000\r\n\
                    up 1\ntemperature   -Inf\n nothing NaN # {trace=\"1\"} 2\n";
        let lines = read(text).unwrap();
        let names: Vec<_> = lines.iter().map(|l| l.name).collect();
        assert_eq!(names, ["vllm:num_requests_running", "http_seconds_bucket", "up", "temperature", "nothing"]);
        assert_eq!(lines[0].labels, [("model_name", Cow::Borrowed("a,b=\"c\"}"))]);
        assert_eq!((lines[0].value, lines[1].value, lines[2].value), (3.0, 1000.0, 1.0));
        assert!(lines[3].value == f64::NEG_INFINITY && lines[4].value.is_nan());
    }

    #[test]
    fn what_is_no_metric_is_named_and_nothing_after_it_is_taken() {
        let refuse = |text: &str, line: usize, expected: &str| {
            let error = read(text).unwrap_err();
            assert_eq!((error.line, error.expected), (line, expected), "{text}");
        };
        refuse("a 1\n<html>\nb 2", 2, "a metric's name");
        refuse("a", 1, "a value after the name");
        refuse("a one", 1, "a number as the value");
        refuse("a{b=\"c} 1", 1, "the end of a label's value");
        refuse("a{b} 1", 1, "a label's name and =");
        refuse("a{b=c} 1", 1, "a label's value in quotes");
        refuse("a{b=\"c\"}", 1, "a value");
        // Cut off in the middle of a number, nobody can tell; in the middle of a name, one can.
        assert_eq!(parse("a 1\nnv_infer", |_| true).0.len(), 1);
    }

    #[test]
    fn what_a_library_encodes_is_read() {
        use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
        let mut registry = prometheus_client::registry::Registry::default();
        let family = Family::<Vec<(String, String)>, Counter>::default();
        registry.register("requests", "Requests, \"all\"", family.clone());
        let value = "a\"b\\c\nd,e}".to_owned();
        family.get_or_create(&vec![("path".to_owned(), value.clone())]).inc_by(7);
        let gauge = Gauge::<i64>::default();
        registry.register("queued", "Waiting", gauge.clone());
        gauge.set(-2);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let lines = read(&text).unwrap();
        assert_eq!((lines[0].name, lines[0].value), ("requests_total", 7.0));
        assert_eq!(lines[0].labels, [("path", Cow::<str>::Owned(value))]);
        assert_eq!((lines[1].name, lines[1].value), ("queued", -2.0));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail_otherwise_than_by_saying_so(text in ".{0,200}") {
            let (lines, error) = parse(&text, |_| true);
            prop_assert!(lines.len() <= text.lines().count());
            if let Some(error) = error { prop_assert!(error.line >= 1) }
        }

        #[test]
        fn labels_survive(value in "[ -~\n]{0,30}", number in -1e12f64..1e12) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let text = format!("m{{a=\"{escaped}\",b=\"x\"}} {number}\n");
            let lines = read(&text).unwrap();
            prop_assert_eq!(lines[0].labels[0].1.as_ref(), value.as_str());
            prop_assert_eq!(lines[0].value, number);
        }
    }
}
