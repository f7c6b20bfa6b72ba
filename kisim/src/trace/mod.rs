//! Importers for workload traces.
//!
//! A trace file becomes one of four kinds of load, whichever the file records:
//!
//! | kind | what it holds | formats |
//! | --- | --- | --- |
//! | [`Arrivals`] | one instant per request, read lazily | `azure-llm`, `mooncake`, `timestamps` |
//! | [`RateWindows`] | a piecewise constant request rate | `servegen-rates`, `nab`, `worldcup98`, `rates` |
//! | [`ClientWindows`] | rate and inter-arrival law per client and window | `servegen-clients` |
//! | [`UserSteps`] | closed-loop users over time | `kisim` |
//!
//! Every file is comma-separated UTF-8 text with a header line. A byte-order mark, CRLF line ends, a last line without
//! a line end and blank lines are accepted. Columns are found by name, so their order and any extra columns do not
//! matter. The header alone decides the format unless [`TraceOptions::format`] names one.
//!
//! # Time
//!
//! Times are re-zeroed: [`SimTime::ZERO`] is the first row, or [`TraceOptions::start`] after the first row.
//! `servegen-clients` is the exception: its rows are grouped by client, so its clock's own zero stands for the first
//! row, which is also where the matching aggregate file begins. Reading stops at `start + duration`, and an error that
//! lies behind that point is not found.
//!
//! [`SimTime::ZERO`]: crate::time::SimTime::ZERO

mod arrivals;
mod clients;
mod clock;
mod error;
mod format;
mod interarrival;
mod range;
mod rates;
mod rows;
mod summary;
mod unix_lines;
mod users;

#[cfg(test)]
mod testing;

use std::path::Path;
use std::time::Duration;

pub use arrivals::Arrivals;
pub use clients::{CLIENT_WINDOW, ClientGroup, ClientWindow, ClientWindows};
pub use error::TraceError;
pub use format::{ParseTraceFormatError, TraceFormat};
pub use interarrival::InterarrivalDistribution;
pub use rates::{RateWindow, RateWindows};
pub use summary::{LoadUnit, PEAK_WINDOW, TraceSummary};
pub use users::UserSteps;

use range::TimeRange;
use rows::Rows;

/// What to read of a trace file, and as which format.
///
/// The default detects the format and reads everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceOptions {
    /// The file's format; `None` detects it from the header line.
    pub format: Option<TraceFormat>,
    /// How far after the trace's first row to begin; that instant becomes time zero.
    pub start: Option<Duration>,
    /// How much of the trace to read from `start` on; `None` reads to the end.
    pub duration: Option<Duration>,
    /// The run to read (`run_id`) of a file that holds several, which only the `kisim` format does.
    pub series: Option<String>,
}

/// The load that a trace file describes.
#[derive(Debug)]
pub enum Trace {
    /// One instant per request.
    Arrivals(Arrivals),
    /// A piecewise constant request rate.
    Rates(RateWindows),
    /// Rate and inter-arrival law per client and window.
    Clients(ClientWindows),
    /// Closed-loop users over time.
    Users(UserSteps),
}

impl Trace {
    /// Opens the trace file at `path`.
    ///
    /// Arrivals are read as the iterator advances; the other kinds are read here, keeping only the rows inside the
    /// requested range.
    ///
    /// # Errors
    ///
    /// A [`TraceError`] when the file cannot be read, its format is unknown or differs from the requested one, a row
    /// up to the end of the requested range is invalid, or no row lies in that range. For arrivals only the rows up to
    /// the first one in range are checked here.
    pub fn open(path: &Path, options: &TraceOptions) -> Result<Trace, TraceError> {
        let rows = Rows::open(path)?;
        let format = match options.format {
            Some(format) => format,
            None => TraceFormat::detect(rows.header()).ok_or_else(|| rows.unknown_format())?,
        };
        let range = TimeRange::new(options.start, options.duration);
        if options.series.is_some() && format != TraceFormat::Kisim {
            return Err(TraceError::SeriesUnsupported { path: path.to_path_buf(), format });
        }
        match format {
            TraceFormat::AzureLlm | TraceFormat::Mooncake | TraceFormat::Timestamps => {
                Arrivals::new(rows, format, range).map(Trace::Arrivals)
            }
            TraceFormat::ServegenRates | TraceFormat::Nab | TraceFormat::WorldCup98 | TraceFormat::Rates => {
                RateWindows::read(rows, format, range).map(Trace::Rates)
            }
            TraceFormat::ServegenClients => ClientWindows::read(rows, range).map(Trace::Clients),
            TraceFormat::Kisim => UserSteps::read(rows, options.series.as_deref(), range).map(Trace::Users),
        }
    }

    /// Count, duration, mean and peak of the load.
    ///
    /// # Errors
    ///
    /// The first invalid row of [`Arrivals`], which this reads to their end; the other kinds cannot fail.
    pub fn summary(self) -> Result<TraceSummary, TraceError> {
        match self {
            Trace::Arrivals(arrivals) => arrivals.summary(),
            Trace::Rates(rates) => Ok(rates.summary()),
            Trace::Clients(clients) => Ok(clients.summary()),
            Trace::Users(users) => Ok(users.summary()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{file, sample};
    use super::*;

    #[test]
    fn every_sample_opens_under_its_detected_format() {
        for format in TraceFormat::ALL {
            let path = sample(&format!("{format}.csv"));
            let summary = Trace::open(&path, &TraceOptions::default()).unwrap().summary().unwrap();
            assert!(summary.count > 1, "{format}: {summary:?}");
            assert!(summary.duration.as_nanos() > 0, "{format}: {summary:?}");
            assert!(summary.peak_load >= summary.mean_load && summary.mean_load > 0.0, "{format}: {summary:?}");
            let named = TraceOptions { format: Some(format), ..TraceOptions::default() };
            assert_eq!(Trace::open(&path, &named).unwrap().summary().unwrap(), summary);
            assert!(std::fs::metadata(&path).unwrap().len() <= 4096, "{format}: the sample is larger than 4 KiB");
        }
    }

    #[test]
    fn series_is_refused_where_a_file_holds_one_series() {
        let trace = file("timestamp_s\n0\n");
        let options = TraceOptions { series: Some("a".into()), ..TraceOptions::default() };
        let error = Trace::open(trace.path(), &options).unwrap_err();
        assert!(matches!(error, TraceError::SeriesUnsupported { format: TraceFormat::Timestamps, .. }));
    }
}
