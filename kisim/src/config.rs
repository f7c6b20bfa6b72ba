//! Reading configuration: TOML with units, unknown fields refused, errors of one sentence.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What can be wrong with a configuration. Each message is one sentence with place, found and expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// The text is not the TOML that was expected.
    #[error("{origin}, line {line}{}: {message}", if field.is_empty() { String::new() } else { format!(", field {field}") })]
    Parse {
        /// File or built-in name.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Path of the field, if known.
        field: String,
        /// What was found and expected.
        message: String,
    },
    /// A field has a value that makes no sense.
    #[error("{origin}, field {field}: found {found}, expected {expected}")]
    Field {
        /// File or built-in name.
        origin: String,
        /// Path of the field.
        field: String,
        /// What it says.
        found: String,
        /// What it may say.
        expected: String,
    },
    /// No such published pattern.
    #[error("pattern {found:?}: expected one of {expected}")]
    UnknownPattern {
        /// The name given.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// No such profile.
    #[error("unknown profile {found:?}: expected the path of a .toml file, or one of {expected}")]
    UnknownProfile {
        /// The name given.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// The scenario's trace is wrong.
    #[error("{0}")]
    Trace(#[from] crate::trace::TraceError),
}

impl ConfigError {
    /// The error with its place named `origin`, where it was found by code that does not know it.
    pub fn from_origin(self, origin: &str) -> ConfigError {
        match self {
            ConfigError::Field { origin: unknown, field, found, expected } if unknown.is_empty() => {
                ConfigError::Field { origin: origin.to_owned(), field, found, expected }
            }
            other => other,
        }
    }
}

/// Reads a whole text file.
pub fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|reason| ConfigError::Read { path: path.to_owned(), reason })
}

/// Parses TOML into `T`; `origin` names the text in errors.
pub fn parse_toml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, ConfigError> {
    let line_of = |span: Option<std::ops::Range<usize>>| {
        span.map_or(1, |s| text.as_bytes()[..s.start.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1)
    };
    let one_line = |message: &str| message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let deserializer = toml::Deserializer::parse(text).map_err(|e| ConfigError::Parse {
        origin: origin.to_owned(),
        line: line_of(e.span()),
        field: String::new(),
        message: one_line(e.message()),
    })?;
    serde_path_to_error::deserialize(deserializer).map_err(|e| {
        let path = e.path().to_string();
        let inner = e.into_inner();
        ConfigError::Parse {
            origin: origin.to_owned(),
            line: line_of(inner.span()),
            field: if path == "." { String::new() } else { path },
            message: one_line(inner.message()),
        }
    })
}

/// A length of time, written with its unit: `"250ms"`, `"30s"`, `"1h 30m"`. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// A span of seconds.
    pub const fn secs(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// A span of milliseconds.
    pub const fn millis(milliseconds: u64) -> Span {
        Span(Duration::from_millis(milliseconds))
    }

    /// In nanoseconds, saturating.
    pub fn nanos(self) -> u64 {
        crate::time::duration_nanos(self.0)
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Reads a span.
    pub fn parse(text: &str) -> Result<Span, String> {
        let expected = "expected a length of time with its unit, such as \"250ms\", \"30s\" or \"1h30m\"";
        let signed: jiff::SignedDuration = text.trim().parse().map_err(|_| format!("found {text:?}, {expected}"))?;
        Duration::try_from(signed)
            .map(Span)
            .map_err(|_| format!("found {text:?}, expected a length of time that is not negative"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(signed) => write!(f, "{signed:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Span, String> {
        Span::parse(text)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self}"))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "duration"})
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        struct SpanVisitor;
        impl Visitor<'_> for SpanVisitor {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time with its unit, such as \"250ms\", \"30s\" or \"1h30m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(SpanVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_no_sign() {
        assert_eq!(Span::parse("250ms"), Ok(Span::millis(250)));
        assert_eq!(Span::parse("1h30m"), Ok(Span::secs(5400)));
        assert_eq!(Span::parse("1.5s"), Ok(Span::millis(1500)));
        for bad in ["30", "-3s", "3s ago", "nan", "", "fast"] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
        for span in [Span::secs(90), Span::millis(5), Span::secs(0), Span(Duration::from_nanos(1_500))] {
            assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }
    }

    #[test]
    fn parse_errors_name_file_line_and_field() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            #[allow(dead_code)]
            wait: Span,
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer {
            #[allow(dead_code)]
            pool: Inner,
        }
        let message = |text: &str| parse_toml::<Outer>(text, "a.toml").expect_err(text).to_string();
        let unknown = message("[pool]\nwait = '1s'\nwiat = '2s'\n");
        assert!(unknown.contains("a.toml, line 3") && unknown.contains("wiat"), "{unknown}");
        let unit = message("[pool]\nwait = 3\n");
        assert!(unit.contains("line 2, field pool.wait") && unit.contains("250ms"), "{unit}");
    }
}
