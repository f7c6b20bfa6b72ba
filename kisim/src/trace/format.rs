//! The formats, their names and how a header line tells them apart.

use std::fmt;
use std::str::FromStr;

/// A trace file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TraceFormat {
    /// Azure LLM inference traces: wall-clock arrival instants (Splitwise, ISCA'24).
    AzureLlm,
    /// ServeGen per-client windows of 600 s: rate, inter-arrival CV and fitted distribution.
    ServegenClients,
    /// ServeGen aggregate rate in windows of 600 s, req/s.
    ServegenRates,
    /// Mooncake: arrival instants in milliseconds.
    Mooncake,
    /// Numenta Anomaly Benchmark, AWS load balancer: requests per 5 minutes.
    Nab,
    /// WorldCup98 web logs: requests per minute.
    WorldCup98,
    /// KISim controller time series: closed-loop users per step, several runs in one file.
    Kisim,
    /// Arrival instants in a column `timestamp_s` (decimal seconds) or `timestamp_ms` (decimal milliseconds).
    Timestamps,
    /// Rates in req/s from `start_s` (decimal seconds) until the next row.
    Rates,
}

impl TraceFormat {
    /// Every format, in the order in which detection tries them.
    ///
    /// `Timestamps` needs a single column that other formats also have, so it is tried last.
    pub const ALL: [TraceFormat; 9] = [
        TraceFormat::AzureLlm,
        TraceFormat::ServegenClients,
        TraceFormat::ServegenRates,
        TraceFormat::Mooncake,
        TraceFormat::Nab,
        TraceFormat::WorldCup98,
        TraceFormat::Kisim,
        TraceFormat::Rates,
        TraceFormat::Timestamps,
    ];

    /// The name used on the command line and in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            TraceFormat::AzureLlm => "azure-llm",
            TraceFormat::ServegenClients => "servegen-clients",
            TraceFormat::ServegenRates => "servegen-rates",
            TraceFormat::Mooncake => "mooncake",
            TraceFormat::Nab => "nab",
            TraceFormat::WorldCup98 => "worldcup98",
            TraceFormat::Kisim => "kisim",
            TraceFormat::Timestamps => "timestamps",
            TraceFormat::Rates => "rates",
        }
    }

    /// The columns that identify the format, each set sufficient on its own; a file may have more.
    pub const fn columns(self) -> &'static [&'static [&'static str]] {
        match self {
            TraceFormat::AzureLlm => &[&["TIMESTAMP", "ContextTokens", "GeneratedTokens"]],
            TraceFormat::ServegenClients => {
                &[&["client", "timestamp_s", "rate_req_per_s", "cv", "dist", "param1", "param2"]]
            }
            TraceFormat::ServegenRates => &[&["timestamp_s", "total_rate_req_per_s"]],
            TraceFormat::Mooncake => &[&["timestamp_ms", "input_length", "output_length"]],
            TraceFormat::Nab => &[&["timestamp", "value"]],
            TraceFormat::WorldCup98 => &[&["period", "count"]],
            TraceFormat::Kisim => &[&["run_id", "t_s", "users_target"]],
            TraceFormat::Timestamps => &[&["timestamp_s"], &["timestamp_ms"]],
            TraceFormat::Rates => &[&["start_s", "rate"]],
        }
    }

    /// The format whose columns `header` has, or `None`.
    pub fn detect<S: AsRef<str>>(header: &[S]) -> Option<TraceFormat> {
        TraceFormat::ALL.into_iter().find(|format| format.matches(header))
    }

    /// Whether `header` has the columns of this format.
    pub fn matches<S: AsRef<str>>(self, header: &[S]) -> bool {
        let has = |column: &&str| header.iter().any(|name| name.as_ref() == *column);
        self.columns().iter().any(|columns| columns.iter().all(has))
    }

    /// The columns as a message shows them: `a,b or c`.
    pub(super) fn columns_text(self) -> String {
        let sets: Vec<String> = self.columns().iter().map(|columns| columns.join(",")).collect();
        sets.join(" or ")
    }

    /// Every format with its columns, as a message shows them.
    pub(super) fn describe_all() -> String {
        let all: Vec<String> =
            TraceFormat::ALL.iter().map(|format| format!("{format} ({})", format.columns_text())).collect();
        all.join("; ")
    }
}

impl fmt::Display for TraceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A format name that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found the trace format '{found}', expected one of {}", TraceFormat::ALL.map(TraceFormat::name).join(", "))]
pub struct ParseTraceFormatError {
    /// The name that was given.
    pub found: String,
}

impl FromStr for TraceFormat {
    type Err = ParseTraceFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TraceFormat::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| ParseTraceFormatError { found: super::error::quoted(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_format, message, open, open_with};
    use super::*;

    #[test]
    fn names_round_trip() {
        for format in TraceFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "csv".parse::<TraceFormat>().unwrap_err().to_string();
        assert!(error.contains("'csv'") && error.contains("azure-llm, servegen-clients"), "{error}");
    }

    #[test]
    fn each_format_is_detected_from_its_own_columns() {
        for format in TraceFormat::ALL {
            for columns in format.columns() {
                assert_eq!(TraceFormat::detect(columns), Some(format));
                let mut more = columns.to_vec();
                more.reverse();
                more.push("extra");
                assert_eq!(TraceFormat::detect(&more), Some(format), "extra columns and any order are accepted");
            }
        }
        assert_eq!(TraceFormat::detect(&["time", "value"]), None);
        assert_eq!(TraceFormat::detect(&["timestamp"]), None, "names are compared whole and with their case");
    }

    #[test]
    fn an_unknown_header_is_shown_with_the_known_formats() {
        let text = message(open("when,how_many\n1,2\n"));
        assert!(text.starts_with(", line 1: found the header 'when,how_many', expected"), "{text}");
        for format in TraceFormat::ALL {
            assert!(text.contains(format.name()) && text.contains(&format.columns_text()), "{text}");
        }
    }

    #[test]
    fn a_requested_format_must_fit_the_header() {
        let text = message(open_with("period,count\n1998-05-01 00:00:00,3\n", &as_format(TraceFormat::Nab)));
        assert_eq!(
            text,
            ", line 1: found the header 'period,count', expected the columns of the format nab: timestamp,value"
        );
    }
}
