//! ServeGen's per-client windows.

use crate::time::SimTime;

use super::clock::TimeUnit;
use super::interarrival::InterarrivalDistribution;
use super::range::TimeRange;
use super::rates::SERVEGEN_WINDOW_NANOS;
use super::rows::{Column, Row, Rows, TimeColumn};
use super::summary::{LoadUnit, TraceSummary, WindowStatistics};
use super::{TraceError, TraceFormat};

/// The window over which ServeGen measured each client: 600 s.
pub const CLIENT_WINDOW: SimTime = SimTime::from_nanos(SERVEGEN_WINDOW_NANOS);

/// One client in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientWindow {
    /// The client's number in the file.
    pub client: u32,
    /// Requests per second over the whole window, zero or more.
    pub rate: f64,
    /// Measured coefficient of variation of the inter-arrival times, zero or more.
    pub cv: f64,
    /// Fitted law of the inter-arrival times; see there about its mean.
    pub interarrival: InterarrivalDistribution,
}

/// The clients that sent requests in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientGroup<'a> {
    /// Where the window begins.
    pub start: SimTime,
    /// How long it lasts: [`CLIENT_WINDOW`], or less where the requested range cuts it.
    pub length: SimTime,
    /// The clients, at least one, ascending by number.
    pub clients: &'a [ClientWindow],
}

impl ClientGroup<'_> {
    /// Requests per second of all clients together.
    pub fn rate(&self) -> f64 {
        self.clients.iter().map(|client| client.rate).sum()
    }
}

/// Per-client rates and inter-arrival laws in windows of [`CLIENT_WINDOW`].
///
/// A client without a row in a window sent nothing in it, and a window without rows has no group.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientWindows {
    /// By window, then by client.
    clients: Vec<ClientWindow>,
    /// Start, length and the end of the window's part of `clients`.
    windows: Vec<(SimTime, SimTime, usize)>,
}

impl ClientWindows {
    /// The client windows among `rows` in `range`; time zero is the clock's own.
    pub(super) fn read(mut rows: Rows, range: TimeRange) -> Result<ClientWindows, TraceError> {
        let columns = ClientColumns::of(&rows)?;
        let mut kept: Vec<(u64, ClientWindow)> = Vec::new();
        let mut previous: Option<(u32, u64)> = None;
        let mut previous_text = String::new();
        let mut covered = 0u64;
        while let Some(row) = rows.next_row()? {
            let (start, window) = columns.parse(&row)?;
            if let Some((client, last)) = previous {
                if window.client < client {
                    return Err(row.unsorted(columns.client, &client.to_string(), "rows sorted by client"));
                }
                if window.client == client && start <= last {
                    let expected = "a later time in every row of a client";
                    return Err(row.unsorted(columns.time, &previous_text, expected));
                }
            }
            previous = Some((window.client, start));
            previous_text.clear();
            previous_text.push_str(row.text(columns.time));
            let end = start.saturating_add(SERVEGEN_WINDOW_NANOS);
            covered = covered.max(end);
            if range.clip(start, end).is_some() {
                kept.push((start, window));
            }
        }
        if previous.is_none() {
            return Err(rows.empty("a row under the header"));
        }
        if kept.is_empty() {
            return Err(TraceError::NoRowsInRange {
                path: rows.path().to_path_buf(),
                field: columns.time.name(),
                covered_s: SimTime::from_nanos(covered).as_secs_f64(),
                range: range.to_string(),
            });
        }
        Ok(ClientWindows::grouped(kept, range))
    }

    fn grouped(mut rows: Vec<(u64, ClientWindow)>, range: TimeRange) -> ClientWindows {
        // The file is sorted by client; a stable sort by time keeps that order within each window.
        rows.sort_by_key(|(start, _)| *start);
        let mut windows = Vec::new();
        let mut end = 0;
        for group in rows.chunk_by(|left, right| left.0 == right.0) {
            end += group.len();
            let start = group.first().map_or(0, |(start, _)| *start);
            if let Some((start, length)) = range.clip(start, start.saturating_add(SERVEGEN_WINDOW_NANOS)) {
                windows.push((start, length, end));
            }
        }
        ClientWindows { clients: rows.into_iter().map(|(_, client)| client).collect(), windows }
    }

    /// The windows in order of time, each with its clients.
    pub fn groups(&self) -> impl Iterator<Item = ClientGroup<'_>> {
        let begins = std::iter::once(0).chain(self.windows.iter().map(|(_, _, end)| *end));
        self.windows.iter().zip(begins).map(|((start, length, end), begin)| ClientGroup {
            start: *start,
            length: *length,
            clients: self.clients.get(begin..*end).unwrap_or_default(),
        })
    }

    /// Rows in the requested range: one per client and window.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is no row; importing reports that as an error, so this is false.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Numbers of the clients that occur, ascending.
    pub fn client_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.clients.iter().map(|client| client.client).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Where the last window ends.
    pub fn end(&self) -> SimTime {
        let end = |(start, length, _): &(SimTime, SimTime, usize)| start.as_nanos().saturating_add(length.as_nanos());
        SimTime::from_nanos(self.windows.last().map_or(0, end))
    }

    /// Count of rows, duration, mean and peak rate of all clients together in req/s, and the clients' mean CV.
    pub fn summary(&self) -> TraceSummary {
        let mut statistics = WindowStatistics::default();
        let mut passed = 0;
        let (mut requests, mut weighted_cv) = (0.0, 0.0);
        for group in self.groups() {
            statistics.pass(SimTime::from_nanos(group.start.as_nanos().saturating_sub(passed)));
            statistics.push(group.length, group.rate());
            passed = group.start.as_nanos().saturating_add(group.length.as_nanos());
            for client in group.clients {
                let sent = client.rate * group.length.as_secs_f64();
                requests += sent;
                weighted_cv += client.cv * sent;
            }
        }
        let cv = (requests > 0.0).then(|| weighted_cv / requests);
        statistics.summary(self.clients.len() as u64, LoadUnit::RequestsPerSecond, cv)
    }
}

/// The columns of the file.
#[derive(Clone, Copy, Debug)]
struct ClientColumns {
    client: Column,
    time: Column,
    rate: Column,
    cv: Column,
    law: Column,
    shape: Column,
    scale: Column,
}

impl ClientColumns {
    fn of(rows: &Rows) -> Result<ClientColumns, TraceError> {
        let column = |name| rows.column(name, TraceFormat::ServegenClients);
        Ok(ClientColumns {
            client: column("client")?,
            time: column("timestamp_s")?,
            rate: column("rate_req_per_s")?,
            cv: column("cv")?,
            law: column("dist")?,
            shape: column("param1")?,
            scale: column("param2")?,
        })
    }

    /// The row's window, as nanoseconds from the clock's zero, and what it says of the client.
    fn parse(&self, row: &Row<'_>) -> Result<(u64, ClientWindow), TraceError> {
        let client = row.whole(self.client, "a client's number")?;
        let instant = row.time(TimeColumn::Decimal(self.time, TimeUnit::Seconds))?;
        let start = row.since(self.time, instant, 0)?;
        if start % SERVEGEN_WINDOW_NANOS != 0 {
            return Err(row.bad_field(self.time, "a multiple of 600 s"));
        }
        let rate = row.non_negative(self.rate, "a number of requests per second")?;
        let cv = row.non_negative(self.cv, "a coefficient of variation")?;
        let shape = row.positive(self.shape, "a shape above 0")?;
        let scale = row.positive(self.scale, "a scale in seconds above 0")?;
        let interarrival = match row.text(self.law) {
            "Gamma" => InterarrivalDistribution::Gamma { shape, scale },
            "Weibull" => InterarrivalDistribution::Weibull { shape, scale },
            _ => return Err(row.bad_field(self.law, "Gamma or Weibull")),
        };
        Ok((start, ClientWindow { client, rate, cv, interarrival }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Trace;
    use super::super::testing::{message, open, open_with, range};
    use super::*;

    const HEADER: &str = "client,timestamp_s,rate_req_per_s,cv,dist,param1,param2\n";
    const ROWS: &str =
        "0,600,2,1,Gamma,1,0.5\n0,1800,4,2,Gamma,0.25,1\n3,0,1,3,Weibull,0.5,0.5\n3,600,1,1,Weibull,1,1\n";

    fn clients(trace: Result<Trace, TraceError>) -> ClientWindows {
        match trace.unwrap() {
            Trace::Clients(clients) => clients,
            other => panic!("not clients: {other:?}"),
        }
    }

    /// Start and length in seconds, client numbers and total rate.
    fn groups(clients: &ClientWindows) -> Vec<(f64, f64, Vec<u32>, f64)> {
        let ids = |group: &ClientGroup<'_>| group.clients.iter().map(|client| client.client).collect();
        clients
            .groups()
            .map(|group| (group.start.as_secs_f64(), group.length.as_secs_f64(), ids(&group), group.rate()))
            .collect()
    }

    #[test]
    fn rows_are_grouped_by_window() {
        let all = clients(open(format!("{HEADER}{ROWS}")));
        assert_eq!(
            groups(&all),
            [(0.0, 600.0, vec![3], 1.0), (600.0, 600.0, vec![0, 3], 3.0), (1800.0, 600.0, vec![0], 4.0)]
        );
        assert_eq!((all.len(), all.client_ids(), all.end().as_secs_f64()), (4, vec![0, 3], 2400.0));
        let summary = all.summary();
        assert_eq!((summary.count, summary.mean_load, summary.peak_load), (4, 2.0, 4.0));
        assert_eq!(summary.interarrival_cv, Some((3.0 + 2.0 + 1.0 + 8.0) / 8.0));
    }

    #[test]
    fn only_the_range_is_kept() {
        let part = clients(open_with(format!("{HEADER}{ROWS}"), &range(700.0, 1200.0)));
        assert_eq!(groups(&part), [(0.0, 500.0, vec![0, 3], 3.0), (1100.0, 100.0, vec![0], 4.0)]);
        assert_eq!(part.end().as_secs_f64(), 1200.0);
        assert_eq!(
            message(open_with(format!("{HEADER}{ROWS}"), &range(2400.0, 600.0))),
            ", field timestamp_s: found rows up to 2400 s after the trace's start, expected some in the requested \
             range from 2400 s to before 3000 s"
        );
    }

    #[test]
    fn rows_must_be_sorted_by_client_and_time() {
        let row = |client, time| format!("{client},{time},2,1,Gamma,1,0.5\n");
        assert_eq!(
            message(open(format!("{HEADER}{}{}", row(2, 0), row(1, 600)))),
            ", line 3, field client: found 1 after 2, expected rows sorted by client"
        );
        for time in [600, 1200] {
            assert_eq!(
                message(open(format!("{HEADER}{}{}", row(1, 1200), row(1, time)))),
                format!(
                    ", line 3, field timestamp_s: found {time} after 1200, expected a later time in every row of a \
                     client"
                )
            );
        }
    }

    #[test]
    fn bad_rows_are_named() {
        for (row, expected) in [
            ("x,0,2,1,Gamma,1,0.5", "client: found 'x', expected a client's number"),
            ("0,30,2,1,Gamma,1,0.5", "timestamp_s: found '30', expected a multiple of 600 s"),
            ("0,0,-2,1,Gamma,1,0.5", "rate_req_per_s: found the negative number -2, expected 0 or more"),
            ("0,0,2,inf,Gamma,1,0.5", "cv: found inf, expected a finite number"),
            ("0,0,2,1,Pareto,1,0.5", "dist: found 'Pareto', expected Gamma or Weibull"),
            ("0,0,2,1,Gamma,0,0.5", "param1: found '0', expected a shape above 0"),
            ("0,0,2,1,Gamma,1,", "param2: found '', expected a scale in seconds above 0"),
        ] {
            assert_eq!(message(open(format!("{HEADER}{row}\n"))), format!(", line 2, field {expected}"));
        }
        assert_eq!(message(open(HEADER)), ", line 2: found the end of the file, expected a row under the header");
    }
}
