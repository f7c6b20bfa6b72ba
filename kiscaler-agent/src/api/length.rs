//! Lengths of time in manifests.

use std::borrow::Cow;
use std::time::Duration;

use kisim::config::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time with its unit, such as `250ms`, `15s` or `1h30m`: what both Go and [`Span`] read. Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Length(Span);

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
