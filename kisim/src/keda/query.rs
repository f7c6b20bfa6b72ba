//! The few forms of PromQL that a query of a trigger may have.

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;
use std::time::Duration;

/// How the series of a metric become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// Not at all: there is to be one series. KEDA takes several for an error
    /// (`pkg/scalers/prometheus_scaler.go`).
    One,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// How many there are.
    Count,
}

impl Aggregate {
    /// The aggregate of that name in PromQL.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "max" => Self::Max,
            "min" => Self::Min,
            "count" => Self::Count,
            _ => return None,
        })
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Max => "max",
            Self::Min => "min",
            Self::Count => "count",
        })
    }
}

/// A query that a simulation can answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// How series become one value.
    pub aggregate: Aggregate,
    /// The metric's name.
    pub metric: String,
    /// `rate()` over so long, if any; the value as it is otherwise.
    pub rate: Option<Duration>,
}

/// Why a text is not such a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "query `{query}`, position {position}: found {found}, expected {expected}, in one of the forms METRIC, rate(METRIC[1m]), \
     sum(METRIC) and sum(rate(METRIC[1m])), where avg, max, min or count may stand for sum and {{...}} may follow METRIC"
)]
pub struct QueryError {
    /// The whole query.
    pub query: String,
    /// Where it goes wrong: the character, counted from 1.
    pub position: usize,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub expected: &'static str,
}

impl Query {
    /// Reads a query. Label matchers must be well-formed and are passed over: a simulation serves one model.
    ///
    /// ```
    /// use kisim::keda::query::{Aggregate, Query};
    /// let query = Query::parse("sum(rate(requests_total{model=\"large\"}[1m]))")?;
    /// assert_eq!(query.aggregate, Aggregate::Sum);
    /// assert_eq!(query.metric, "requests_total");
    /// assert_eq!(query.rate, Some(std::time::Duration::from_secs(60)));
    /// # Ok::<(), kisim::keda::query::QueryError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`QueryError`] for every other form, however good PromQL it is.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut reader = Reader { text, chars: text.char_indices().peekable() };
        let query = reader.query()?;
        reader.space();
        match reader.chars.peek() {
            None => Ok(query),
            Some(_) => Err(reader.error("the end")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl<'a> Reader<'a> {
    fn query(&mut self) -> Result<Query, QueryError> {
        let name = self.name("the name of a metric or of a function")?;
        let called = self.next_is('(');
        match (called, Aggregate::named(name)) {
            (true, Some(aggregate)) => {
                self.expect('(', "`(`")?;
                let name = self.name("the name of a metric or rate")?;
                let query = if name == "rate" && self.next_is('(') {
                    self.rate(aggregate)?
                } else {
                    self.instant(aggregate, name)?
                };
                self.expect(')', "`)`")?;
                Ok(query)
            }
            (true, None) if name == "rate" => self.rate(Aggregate::One),
            (true, None) => Err(self.error("no other function than sum, avg, max, min, count or rate")),
            (false, _) => self.instant(Aggregate::One, name),
        }
    }

    /// A metric, its name read already.
    fn instant(&mut self, aggregate: Aggregate, metric: &str) -> Result<Query, QueryError> {
        self.matchers()?;
        Ok(Query { aggregate, metric: metric.to_owned(), rate: None })
    }

    /// `(METRIC[1m])`.
    fn rate(&mut self, aggregate: Aggregate) -> Result<Query, QueryError> {
        self.expect('(', "`(`")?;
        let metric = self.name("the name of a metric")?.to_owned();
        self.matchers()?;
        self.expect('[', "`[` and a length of time")?;
        let rate = self.duration()?;
        self.expect(']', "`]`")?;
        self.expect(')', "`)`")?;
        Ok(Query { aggregate, metric, rate: Some(rate) })
    }

    /// `{label="value", ...}`, if there is one.
    fn matchers(&mut self) -> Result<(), QueryError> {
        if !self.next_is('{') {
            return Ok(());
        }
        self.chars.next();
        while !self.next_is('}') {
            self.name("the name of a label or `}`")?;
            self.operator()?;
            self.string()?;
            if self.next_is(',') {
                self.chars.next();
            } else if !self.next_is('}') {
                return Err(self.error("`,` or `}`"));
            }
        }
        self.expect('}', "`}`")
    }

    fn operator(&mut self) -> Result<(), QueryError> {
        const EXPECTED: &str = "one of = != =~ !~";
        self.space();
        let first = self.chars.peek().map(|(_, c)| *c);
        if !matches!(first, Some('=' | '!')) {
            return Err(self.error(EXPECTED));
        }
        self.chars.next();
        match (first, self.chars.peek().map(|(_, c)| *c)) {
            (_, Some('~')) | (Some('!'), Some('=')) => {
                self.chars.next();
                Ok(())
            }
            (Some('='), _) => Ok(()),
            _ => Err(self.error(EXPECTED)),
        }
    }

    fn string(&mut self) -> Result<(), QueryError> {
        self.space();
        let Some((_, quote @ ('"' | '\'' | '`'))) = self.chars.peek().copied() else {
            return Err(self.error("a text in quotes"));
        };
        self.chars.next();
        while let Some((_, c)) = self.chars.next() {
            if c == quote {
                return Ok(());
            }
            // Between back quotes a backslash is only a backslash.
            if c == '\\' && quote != '`' {
                self.chars.next();
            }
        }
        Err(self.error("the end of a text in quotes"))
    }

    fn name(&mut self, expected: &'static str) -> Result<&'a str, QueryError> {
        self.space();
        let word = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'), expected)?;
        Ok(word)
    }

    /// The longest run of fitting characters, which must not start with a digit.
    fn take(&mut self, fits: impl Fn(char) -> bool, expected: &'static str) -> Result<&'a str, QueryError> {
        let start = match self.chars.peek() {
            Some((at, c)) if fits(*c) && !c.is_ascii_digit() => *at,
            _ => return Err(self.error(expected)),
        };
        while self.chars.next_if(|(_, c)| fits(*c)).is_some() {}
        let end = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        Ok(self.text.get(start..end).unwrap_or_default())
    }

    /// `1m`, `90s`, `1h30m`: whole numbers with the units of PromQL, largest first.
    fn duration(&mut self) -> Result<Duration, QueryError> {
        const EXPECTED: &str = "a length of time above 0 such as 1m, 90s or 1h30m";
        const UNITS: [(&str, u64); 7] = [
            ("y", 31_536_000_000),
            ("w", 604_800_000),
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ];
        self.space();
        let mut millis: u64 = 0;
        let mut units = UNITS.as_slice();
        while !self.next_is(']') {
            let mut number: Option<u64> = None;
            while let Some((_, digit)) = self.chars.next_if(|(_, c)| c.is_ascii_digit()) {
                let digit = digit.to_digit(10).map_or(0, u64::from);
                number = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit));
                if number.is_none() {
                    return Err(self.error(EXPECTED));
                }
            }
            let unit = self.take(|c| c.is_ascii_alphabetic(), EXPECTED)?;
            let scale = units.iter().position(|(name, _)| *name == unit);
            let part = scale.and_then(|i| units.get(i)).zip(number).and_then(|((_, each), n)| n.checked_mul(*each));
            millis = part.and_then(|p| millis.checked_add(p)).ok_or_else(|| self.error(EXPECTED))?;
            units = scale.and_then(|i| units.get(i + 1..)).unwrap_or_default();
        }
        if millis == 0 {
            return Err(self.error(EXPECTED));
        }
        Ok(Duration::from_millis(millis))
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), QueryError> {
        if self.next_is(wanted) {
            self.chars.next();
            return Ok(());
        }
        Err(self.error(expected))
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.space();
        self.chars.peek().is_some_and(|(_, c)| *c == wanted)
    }

    fn space(&mut self) {
        while self.chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
    }

    /// The error for what stands here.
    fn error(&mut self, expected: &'static str) -> QueryError {
        let (at, found) = match self.chars.peek() {
            Some((at, c)) => (*at, format!("`{c}`")),
            None => (self.text.len(), "the end".to_owned()),
        };
        let position = self.text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        QueryError { query: self.text.to_owned(), position, found, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_are_read() {
        let rows = [
            ("queue_length", Aggregate::One, "queue_length", None),
            (" vllm:num_requests_waiting ", Aggregate::One, "vllm:num_requests_waiting", None),
            ("sum(queue)", Aggregate::Sum, "queue", None),
            ("avg( queue )", Aggregate::Avg, "queue", None),
            ("max (queue)", Aggregate::Max, "queue", None),
            ("min(queue)", Aggregate::Min, "queue", None),
            ("count(up{})", Aggregate::Count, "up", None),
            ("rate(hits_total[90s])", Aggregate::One, "hits_total", Some(90_000)),
            ("sum(rate(hits_total[1m]))", Aggregate::Sum, "hits_total", Some(60_000)),
            ("sum(rate(hits_total{pod=~\"a.*\",job!='b',}[1h30m]))", Aggregate::Sum, "hits_total", Some(5_400_000)),
            (
                "avg(rate(hits_total{a=`b\\`, c!~\"say \\\"}\\\"\"} [1s500ms]))",
                Aggregate::Avg,
                "hits_total",
                Some(1_500),
            ),
            // A metric may bear the name of a function.
            ("sum", Aggregate::One, "sum", None),
            ("sum(rate)", Aggregate::Sum, "rate", None),
        ];
        for (text, aggregate, metric, millis) in rows {
            let rate = millis.map(Duration::from_millis);
            assert_eq!(Query::parse(text), Ok(Query { aggregate, metric: metric.to_owned(), rate }), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused_where_they_go_wrong() {
        let rows = [
            ("", 1, "the end", "the name of a metric or of a function"),
            ("5", 1, "`5`", "the name of a metric or of a function"),
            ("a + b", 3, "`+`", "the end"),
            ("sum by (pod) (a)", 5, "`b`", "the end"),
            ("sum(a) / sum(b)", 8, "`/`", "the end"),
            ("histogram_quantile(0.9, a)", 19, "`(`", "no other function than sum, avg, max, min, count or rate"),
            ("irate(a[1m])", 6, "`(`", "no other function than sum, avg, max, min, count or rate"),
            ("sum(increase(a[1m]))", 13, "`(`", "`)`"),
            ("sum(a", 6, "the end", "`)`"),
            ("sum(a[1m])", 6, "`[`", "`)`"),
            ("rate(a)", 7, "`)`", "`[` and a length of time"),
            ("rate(a[])", 8, "`]`", "a length of time above 0 such as 1m, 90s or 1h30m"),
            ("rate(a[0s])", 10, "`]`", "a length of time above 0 such as 1m, 90s or 1h30m"),
            ("rate(a[1])", 9, "`]`", "a length of time above 0 such as 1m, 90s or 1h30m"),
            ("rate(a[1m1h])", 12, "`]`", "a length of time above 0 such as 1m, 90s or 1h30m"),
            ("rate(a[99999999999999999999y])", 28, "`y`", "a length of time above 0 such as 1m, 90s or 1h30m"),
            ("a{pod}", 6, "`}`", "one of = != =~ !~"),
            ("a{pod!\"x\"}", 7, "`\"`", "one of = != =~ !~"),
            ("a{pod=x}", 7, "`x`", "a text in quotes"),
            ("a{pod=\"x}", 10, "the end", "the end of a text in quotes"),
            ("a{pod=\"x\" b=\"y\"}", 11, "`b`", "`,` or `}`"),
            ("a{", 3, "the end", "the name of a label or `}`"),
        ];
        for (text, position, found, expected) in rows {
            let error = Query::parse(text).expect_err(text);
            assert_eq!((error.position, error.found.as_str(), error.expected), (position, found, expected), "{text}");
        }
    }

    #[test]
    fn the_error_says_what_is_supported() {
        assert_eq!(
            Query::parse("a - b").expect_err("a difference").to_string(),
            "query `a - b`, position 3: found `-`, expected the end, in one of the forms METRIC, rate(METRIC[1m]), \
             sum(METRIC) and sum(rate(METRIC[1m])), where avg, max, min or count may stand for sum and {...} may follow METRIC"
        );
    }
}
