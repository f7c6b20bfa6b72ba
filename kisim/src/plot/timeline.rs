//! One run at a look.

use super::scale::Scale;
use super::sheet::{self, BLACK, BLUE, Dash, GREEN, GREY, Mark, ORANGE, PURPLE, Panel, RED, SKY, Stroke, VERMILION};
use super::thin::{Middle, end_of, envelope, envelope_note, known, points, start_of, steps, thin};
use super::{PlotError, check_rows};

/// A pool's replicas over time. All columns are as long as [`TimelinePlot::time_s`], or empty if not known.
#[derive(Clone, Debug, Default)]
pub struct TimelinePool {
    /// Its name.
    pub name: String,
    /// Replicas asked for.
    pub desired: Vec<f64>,
    /// Replicas on a node and not being deleted, ready or not.
    pub scheduled: Vec<f64>,
    /// Ready replicas.
    pub ready: Vec<f64>,
    /// Replicas being deleted.
    pub draining: Vec<f64>,
    /// Busy share of the ready replicas, 0–1; `None` where there is none or nobody measured.
    pub utilization: Vec<Option<f64>>,
}

/// A run over time, one row a sampling interval. Columns other than the times may be empty if not known.
#[derive(Clone, Debug, Default)]
pub struct TimelinePlot {
    /// What stands above it all.
    pub title: String,
    /// When each row starts, seconds, ascending. A row holds until the next one starts, the last as long as the one
    /// before it.
    pub time_s: Vec<f64>,
    /// Load offered by the clients, requests per second.
    pub offered_rps: Vec<f64>,
    /// What the ready replicas can serve, requests per second.
    pub capacity_rps: Vec<f64>,
    /// The pools.
    pub pools: Vec<TimelinePool>,
    /// Median latency, milliseconds.
    pub p50_ms: Vec<Option<f64>>,
    /// 95th percentile of the latency, milliseconds.
    pub p95_ms: Vec<Option<f64>>,
    /// 99th percentile of the latency, milliseconds.
    pub p99_ms: Vec<Option<f64>>,
    /// Latency objective, milliseconds; not drawn unless positive.
    pub slo_ms: f64,
    /// Share of requests that broke the objective, 0–1; NaN where there were none.
    pub violation_share: Vec<f64>,
}

impl TimelinePlot {
    fn check(&self) -> Result<(), PlotError> {
        let rows = self.time_s.len();
        for (name, column) in [
            ("offered_rps", &self.offered_rps),
            ("capacity_rps", &self.capacity_rps),
            ("violation_share", &self.violation_share),
        ] {
            check_rows(name, column.len(), rows)?;
        }
        for (name, column) in [("p50_ms", &self.p50_ms), ("p95_ms", &self.p95_ms), ("p99_ms", &self.p99_ms)] {
            check_rows(name, column.len(), rows)?;
        }
        for pool in &self.pools {
            for (name, found) in [
                ("desired", pool.desired.len()),
                ("scheduled", pool.scheduled.len()),
                ("ready", pool.ready.len()),
                ("draining", pool.draining.len()),
                ("utilization", pool.utilization.len()),
            ] {
                check_rows(format!("{}.{name}", pool.name), found, rows)?;
            }
        }
        Ok(())
    }
}

/// Draws a run: offered load against ready capacity, the replicas of every pool, latency against its objective,
/// violations and utilisation, under each other along one time axis.
///
/// Runs of more than 1,500 rows are drawn by averages over short stretches, with shades that reach from the least to the
/// most value in them.
///
/// # Errors
/// If a column is not as long as the times.
pub fn timeline(plot: &TimelinePlot) -> Result<String, PlotError> {
    plot.check()?;
    let times = &plot.time_s;
    let x = Scale::time(start_of(times), end_of(times));
    let mut panels = vec![load(&x, times, &plot.offered_rps, &plot.capacity_rps, 150.0)];
    for pool in &plot.pools {
        panels.push(replicas(&x, times, pool, if plot.pools.len() > 1 { 92.0 } else { 120.0 }));
    }
    panels.push(latency(&x, plot));
    panels.push(violations(&x, plot));
    if let Some(last) = panels.last_mut() {
        last.x_texts = true;
    }
    sheet::draw(&plot.title, &envelope_note(times), &panels)
}

/// Offered load and, if known, ready capacity.
pub(super) fn load(x: &Scale, times: &[f64], offered: &[f64], capacity: &[f64], height: f64) -> Panel {
    let end = end_of(times);
    let values = offered.iter().chain(capacity).copied();
    let mut panel = Panel::new("Load", x, Scale::from_zero("requests/s", values), height);
    let drawn = envelope(times, offered, Middle::Mean);
    let line = steps(&drawn.line, end);
    let area = line.iter().map(|&(at, load)| (at, 0.0, load)).collect();
    panel.add(Mark::Band { edges: area, colour: SKY, opacity: 0.45 }, "offered load");
    panel.add(Mark::Band { edges: drawn.range, colour: SKY, opacity: 0.35 }, "");
    panel.line(line, Stroke::new(BLUE, 0.8, Dash::Solid), "");
    if !capacity.is_empty() {
        // The worst rows are kept, so an overload is seen however short it is.
        let excess: Vec<f64> = offered.iter().zip(capacity).map(|(offered, ready)| offered - ready).collect();
        let rows = thin(times.len(), &[&excess]);
        let mut over = Vec::new();
        for (i, &row) in rows.iter().enumerate() {
            let until = rows.get(i + 1).and_then(|&next| times.get(next)).copied().unwrap_or(end);
            let (Some(&at), Some(&load), Some(&ready)) = (times.get(row), offered.get(row), capacity.get(row)) else {
                continue;
            };
            let gap = if load > ready { 0.0 } else { f64::NAN };
            over.extend([(at, ready + gap, load), (until, ready + gap, load)]);
        }
        panel.add(Mark::Band { edges: over, colour: VERMILION, opacity: 0.75 }, "offered beyond ready capacity");
        let ready = steps(&points(times, capacity, &thin(times.len(), &[capacity])), end);
        panel.line(ready, Stroke::new(BLACK, 1.8, Dash::Solid), "ready capacity");
    }
    panel
}

/// A pool's replicas: ready ones, starting and draining ones on top of them, and the number asked for.
fn replicas(x: &Scale, times: &[f64], pool: &TimelinePool, height: f64) -> Panel {
    let at = |column: &[f64], row: usize| column.get(row).copied().unwrap_or(f64::NAN);
    let starting = |row: usize| (at(&pool.scheduled, row) - at(&pool.ready, row)).max(0.0);
    let zero_if_unknown = |value: f64| if value.is_finite() { value } else { 0.0 };
    let count = times.len();
    let started: Vec<f64> = (0..count).map(|row| at(&pool.ready, row) + zero_if_unknown(starting(row))).collect();
    let all: Vec<f64> = (0..count).map(|row| started[row] + zero_if_unknown(at(&pool.draining, row))).collect();
    let rows = thin(count, &[&pool.ready, &started, &all, &pool.desired]);
    let end = end_of(times);
    let held = |column: &[f64]| steps(&points(times, column, &rows), end);
    let between = |low: &dyn Fn(usize) -> f64, high: &[f64]| -> Vec<(f64, f64, f64)> {
        let mut edges = Vec::new();
        for (i, &row) in rows.iter().enumerate() {
            let until = rows.get(i + 1).map_or(end, |&next| times[next]);
            let empty = if at(high, row) > low(row) { 0.0 } else { f64::NAN };
            edges.extend([(times[row], low(row), at(high, row) + empty), (until, low(row), at(high, row) + empty)]);
        }
        edges
    };
    let y = Scale::counts("replicas", all.iter().chain(&pool.desired).copied());
    let mut panel = Panel::new(format!("Replicas, {}", pool.name), x, y, height);
    let mut area = |edges, colour, opacity, name: &str| panel.add(Mark::Band { edges, colour, opacity }, name);
    area(between(&|_| 0.0, &pool.ready), GREEN, 0.22, "ready");
    area(between(&|row| at(&pool.ready, row), &started), ORANGE, 0.75, "scheduled, not ready");
    area(between(&|row| at(&started, row), &all), GREY, 0.8, "draining");
    panel.line(held(&pool.ready), Stroke::new(GREEN, 1.6, Dash::Solid), "");
    panel.line(held(&pool.desired), Stroke::new(BLACK, 1.4, Dash::Dashed), "desired");
    panel
}

/// Latency on a logarithmic axis, and the objective.
fn latency(x: &Scale, plot: &TimelinePlot) -> Panel {
    let columns = [known(&plot.p50_ms), known(&plot.p95_ms), known(&plot.p99_ms)];
    let values = columns.iter().flatten().copied().chain([plot.slo_ms]);
    let mut panel = Panel::new("Latency", x, Scale::log("milliseconds", values), 150.0);
    let [p50, p95, p99] = &columns;
    // The tail first: what matters most is drawn last.
    for (column, stroke, name) in [
        (p99, Stroke::new(PURPLE, 0.9, Dash::Solid), "P99"),
        (p50, Stroke::new(SKY, 1.2, Dash::Dashed), "P50"),
        (p95, Stroke::new(BLUE, 1.7, Dash::Solid), "P95"),
    ] {
        let drawn = envelope(&plot.time_s, column, Middle::Median);
        panel.add(Mark::Band { edges: drawn.range, colour: stroke.colour, opacity: 0.22 }, "");
        panel.line(drawn.line, stroke, name);
    }
    objective(&mut panel, plot.slo_ms);
    panel
}

/// The line of the objective, if there is one.
pub(super) fn objective(panel: &mut Panel, slo_ms: f64) {
    if slo_ms.is_finite() && slo_ms > 0.0 {
        let stroke = Stroke::new(RED, 1.6, Dash::Chain);
        panel.add(Mark::Level { at: slo_ms, stroke }, format!("objective, {slo_ms} ms"));
    }
}

/// Shares of requests that broke the objective and of busy time, percent.
fn violations(x: &Scale, plot: &TimelinePlot) -> Panel {
    let times = &plot.time_s;
    let end = end_of(times);
    let percent = |column: &[f64]| -> Vec<f64> { column.iter().map(|share| share * 100.0).collect() };
    let mut panel = Panel::new("Violations and utilisation", x, Scale::linear("percent", 0.0, 100.0), 110.0);
    let drawn = envelope(times, &percent(&plot.violation_share), Middle::Mean);
    let edges = steps(&drawn.line, end).iter().map(|&(at, share)| (at, 0.0, share)).collect();
    panel.add(Mark::Band { edges, colour: VERMILION, opacity: 0.8 }, "requests that broke the objective");
    panel.add(Mark::Band { edges: drawn.range, colour: VERMILION, opacity: 0.25 }, "");
    let looks = [
        Stroke::new(BLACK, 1.2, Dash::Solid),
        Stroke::new(BLUE, 1.2, Dash::Dashed),
        Stroke::new(GREEN, 1.4, Dash::Dotted),
        Stroke::new(GREY, 1.2, Dash::Chain),
    ];
    for (pool, stroke) in plot.pools.iter().zip(looks.into_iter().cycle()) {
        let drawn = envelope(times, &percent(&known(&pool.utilization)), Middle::Mean);
        panel.add(Mark::Band { edges: drawn.range, colour: stroke.colour, opacity: 0.15 }, "");
        panel.line(drawn.line, stroke, format!("utilisation, {}", pool.name));
    }
    panel
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, texts};
    use super::*;

    fn plot(rows: usize) -> TimelinePlot {
        let column = |f: &dyn Fn(f64) -> f64| -> Vec<f64> { (0..rows).map(|i| f(i as f64)).collect() };
        let some = |f: &dyn Fn(f64) -> f64| -> Vec<Option<f64>> { (0..rows).map(|i| Some(f(i as f64))).collect() };
        TimelinePlot {
            title: "a < b & \"c\"\u{0}".into(),
            time_s: column(&|i| i * 5.0),
            offered_rps: column(&|i| 100.0 + (i * 0.1).sin() * 50.0),
            capacity_rps: column(&|i| 100.0 * (1.0 + (i / 40.0).floor() % 2.0)),
            pools: vec![TimelinePool {
                name: "gpu".into(),
                desired: column(&|i| 1.0 + (i / 40.0).floor() % 2.0),
                scheduled: column(&|_| 2.0),
                ready: column(&|_| 1.0),
                draining: column(&|_| 0.0),
                utilization: some(&|_| 0.5),
            }],
            p50_ms: some(&|_| 20.0),
            p95_ms: some(&|i| 40.0 + i % 7.0),
            p99_ms: some(&|i| 90.0 + i % 11.0),
            slo_ms: 200.0,
            violation_share: column(&|_| 0.01),
        }
    }

    #[test]
    fn names_axes_and_series() {
        let svg = timeline(&plot(200)).unwrap();
        let expected = [
            "time, min",
            "requests/s",
            "replicas",
            "milliseconds",
            "percent",
            "offered load",
            "ready capacity",
            "ready",
        ];
        assert_texts(&svg, &expected);
        let expected = [
            "desired",
            "scheduled, not ready",
            "draining",
            "P50",
            "P95",
            "P99",
            "objective, 200 ms",
            "utilisation, gpu",
        ];
        assert_texts(&svg, &expected);
        assert_texts(&svg, &["a < b & \"c\"", "Replicas, gpu"]);
        assert!(svg.contains("stroke-dasharray"));
        assert_eq!(svg, timeline(&plot(200)).unwrap());
    }

    #[test]
    fn few_many_and_missing_rows_are_fine() {
        assert_eq!(texts(&timeline(&TimelinePlot::default()).unwrap()).iter().filter(|t| *t == "no data").count(), 3);
        for rows in [0, 1, 2] {
            texts(&timeline(&plot(rows)).unwrap());
        }
        let long = timeline(&plot(100_000)).unwrap();
        texts(&long);
        assert!(long.len() < 400_000, "{}", long.len());
        let mut odd = plot(10);
        odd.p95_ms.fill(None);
        odd.p50_ms[3] = None;
        odd.p99_ms[4] = Some(f64::INFINITY);
        odd.p99_ms[5] = Some(0.0);
        odd.offered_rps[2] = f64::NAN;
        odd.offered_rps[3] = f64::MAX;
        odd.capacity_rps[4] = f64::INFINITY;
        odd.time_s[5] = f64::NAN;
        odd.pools[0].ready[1] = f64::NAN;
        odd.violation_share[1] = f64::NAN;
        odd.slo_ms = f64::NAN;
        texts(&timeline(&odd).unwrap());
    }

    #[test]
    fn columns_must_match() {
        let mut short = plot(10);
        short.pools[0].ready.pop();
        let error = timeline(&short).unwrap_err();
        assert_eq!(error, PlotError::Rows { column: "gpu.ready".into(), found: 9, expected: 10 });
    }
}
