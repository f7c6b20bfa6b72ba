//! Several autoscalers under the same traffic.

use super::scale::Scale;
use super::sheet::{self, BLACK, BLUE, Dash, GREEN, Mark, ORANGE, PURPLE, Panel, SKY, Shape, Stroke, VERMILION};
use super::thin::{end_of, highest, known, points, start_of, steps, stretch_length, thin};
use super::timeline::{load, objective};
use super::{PlotError, check_rows};

/// One autoscaler's run. Columns are as long as [`ComparePlot::time_s`], or empty if not known.
#[derive(Clone, Debug, Default)]
pub struct ComparedRun {
    /// Its name in the legend.
    pub name: String,
    /// Ready replicas.
    pub ready: Vec<f64>,
    /// 95th percentile of the latency, milliseconds.
    pub p95_ms: Vec<Option<f64>>,
}

/// Runs of several autoscalers under the same traffic.
#[derive(Clone, Debug, Default)]
pub struct ComparePlot {
    /// What stands above it all.
    pub title: String,
    /// When each row starts, seconds, ascending.
    pub time_s: Vec<f64>,
    /// Load offered by the clients, requests per second.
    pub offered_rps: Vec<f64>,
    /// The runs; up to six look different.
    pub runs: Vec<ComparedRun>,
    /// Latency objective, milliseconds; not drawn unless positive.
    pub slo_ms: f64,
}

/// Stretches that latencies are cut into, each drawn by its highest: several noisy lines over each other cannot be told
/// apart, and a comparison is about the worst moments.
const STRETCHES: usize = 180;

/// Looks of the runs, in order.
pub(super) const LOOKS: [(Stroke, Shape); 8] = [
    (Stroke::new(BLACK, 1.8, Dash::Solid), Shape::Circle),
    (Stroke::new(VERMILION, 1.6, Dash::Dashed), Shape::Triangle),
    (Stroke::new(BLUE, 1.6, Dash::Chain), Shape::Square),
    (Stroke::new(GREEN, 1.6, Dash::Long), Shape::Diamond),
    (Stroke::new(PURPLE, 1.8, Dash::Dotted), Shape::Ring),
    (Stroke::new(ORANGE, 1.6, Dash::Solid), Shape::Cross),
    (Stroke::new(SKY, 1.8, Dash::Dashed), Shape::Square),
    (Stroke::new(VERMILION, 1.8, Dash::Dotted), Shape::Diamond),
];

/// Draws the offered load, the ready replicas of every run and its latency, under each other along one time axis.
///
/// Of more than 180 latencies, the highest of each of 180 stretches is drawn.
///
/// # Errors
/// If a column is not as long as the times.
pub fn compare(plot: &ComparePlot) -> Result<String, PlotError> {
    let times = &plot.time_s;
    check_rows("offered_rps", plot.offered_rps.len(), times.len())?;
    for run in &plot.runs {
        check_rows(format!("{}.ready", run.name), run.ready.len(), times.len())?;
        check_rows(format!("{}.p95_ms", run.name), run.p95_ms.len(), times.len())?;
    }
    let (start, end) = (start_of(times), end_of(times));
    let x = Scale::time(start, end);
    let load = load(&x, times, &plot.offered_rps, &[], 100.0);

    let ready = plot.runs.iter().flat_map(|run| run.ready.iter().copied());
    let mut replicas = Panel::new("Ready replicas", &x, Scale::counts("replicas", ready), 190.0);
    let latencies: Vec<Vec<f64>> = plot.runs.iter().map(|run| known(&run.p95_ms)).collect();
    let values = latencies.iter().flatten().copied().chain([plot.slo_ms]);
    let mut latency = Panel::new("P95 latency", &x, Scale::log("milliseconds", values), 210.0);
    for ((run, p95), (stroke, shape)) in plot.runs.iter().zip(&latencies).zip(LOOKS.into_iter().cycle()) {
        let held = steps(&points(times, &run.ready, &thin(times.len(), &[&run.ready])), end);
        let name = |panel: &mut Panel, points| {
            panel.add(Mark::Line { points, stroke, marker: Some(shape) }, run.name.clone());
        };
        name(&mut replicas, held);
        name(&mut latency, highest(times, p95, STRETCHES));
    }
    objective(&mut latency, plot.slo_ms);
    latency.x_texts = true;
    let note = stretch_length(times, STRETCHES, STRETCHES)
        .map_or(String::new(), |length| format!("Latencies are the highest within {length}."));
    sheet::draw(&plot.title, &note, &[load, replicas, latency])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, texts};
    use super::*;

    #[test]
    fn names_every_run() {
        let times: Vec<f64> = (0..100).map(|i| f64::from(i) * 5.0).collect();
        let run = |name: &str, shift: f64| ComparedRun {
            name: name.into(),
            ready: times.iter().map(|t| ((t / 100.0).floor() + shift) % 5.0).collect(),
            p95_ms: times.iter().map(|t| Some(t % 40.0 + shift)).collect(),
        };
        let mut plot = ComparePlot {
            title: "autoscalers".into(),
            offered_rps: times.clone(),
            runs: (0..7).map(|i| run(&format!("run {i}"), f64::from(i))).collect(),
            slo_ms: 200.0,
            time_s: times.clone(),
        };
        let svg = compare(&plot).unwrap();
        assert_texts(
            &svg,
            &["run 0", "run 6", "objective, 200 ms", "replicas", "requests/s", "milliseconds", "time, min"],
        );
        plot.runs[3].ready[7] = f64::NAN;
        plot.runs[3].p95_ms[7] = Some(f64::INFINITY);
        plot.runs[4].p95_ms.clear();
        texts(&compare(&plot).unwrap());
        plot.runs[2].ready.pop();
        assert!(compare(&plot).unwrap_err().to_string().contains("`run 2.ready`"));
    }

    #[test]
    fn nothing_and_a_single_row_are_fine() {
        texts(&compare(&ComparePlot::default()).unwrap());
        let one = ComparedRun { name: "a".into(), ready: vec![1.0], p95_ms: vec![None] };
        let plot = ComparePlot { time_s: vec![3.0], offered_rps: vec![1.0], runs: vec![one], ..ComparePlot::default() };
        texts(&compare(&plot).unwrap());
    }
}
