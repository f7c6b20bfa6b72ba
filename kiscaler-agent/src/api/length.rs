//! Lengths of time in manifests.

use std::borrow::Cow;
use std::time::Duration;

use kisim::config::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time with its unit, such as `250ms`, `15s` or `1h30m`: what both Go and [`Span`] read. Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Length(Span);

impl Serialize for Length {
    /// As the schema has it, which a [`Span`]'s own text (`1s 500ms`, `500µs`) does not fit.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = self.0.nanos();
        match nanos % 1_000_000_000 {
            0 => serializer.collect_str(&format_args!("{}s", nanos / 1_000_000_000)),
            _ => serializer.collect_str(&format_args!("{}ms", nanos as f64 / 1e6)),
        }
    }
}

impl Length {
    /// Of seconds.
    pub const fn secs(seconds: u64) -> Length {
        Length(Span::secs(seconds))
    }

    /// Of milliseconds.
    pub const fn millis(milliseconds: u64) -> Length {
        Length(Span::millis(milliseconds))
    }

    /// As the simulator's configurations have it.
    pub const fn span(self) -> Span {
        self.0
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        self.0.0
    }
}

impl From<Span> for Length {
    fn from(span: Span) -> Self {
        Length(span)
    }
}

impl JsonSchema for Length {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time with its unit, such as 250ms, 15s or 1h30m.",
            "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
            "maxLength": 32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_schema_takes() {
        let check = |nanos: u64, text: &str| {
            let length = Length(Span(Duration::from_nanos(nanos)));
            assert_eq!(serde_json::to_value(length).unwrap(), text);
            assert_eq!(serde_json::from_value::<Length>(text.into()).unwrap(), length);
        };
        check(0, "0s");
        check(90_000_000_000, "90s");
        check(1_500_000_000, "1500ms");
        check(500_000, "0.5ms");
    }
}
