//! Traffic: how much when, and how bursty.

use super::scale::Scale;
use super::sheet::{self, BLACK, BLUE, Dash, Mark, Panel, SKY, Stroke, VERMILION};
use super::thin::{Middle, envelope, envelope_note, start_of, steps};
use super::{PlotError, check_rows};

/// A bin of the histogram of inter-arrival times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GapBin {
    /// Shortest time in it, seconds.
    pub from_s: f64,
    /// Longest time in it, seconds.
    pub to_s: f64,
    /// How many inter-arrival times are in it.
    pub count: f64,
}

/// Arrivals over time and the law of the times between them.
#[derive(Clone, Debug, Default)]
pub struct TrafficPlot {
    /// What stands above it all.
    pub title: String,
    /// When each bin starts, seconds, ascending.
    pub time_s: Vec<f64>,
    /// Length of a bin, seconds.
    pub bin_s: f64,
    /// Arrivals in each bin.
    pub arrivals: Vec<f64>,
    /// Histogram of the inter-arrival times, ascending.
    pub gaps: Vec<GapBin>,
    /// Mean inter-arrival time, seconds, for a Poisson process of the same rate to compare with; `None` for none.
    pub mean_gap_s: Option<f64>,
}

/// Draws arrivals per bin over time, and under it the histogram of inter-arrival times on logarithmic axes.
///
/// # Errors
/// If there are not as many bins as times.
pub fn traffic(plot: &TrafficPlot) -> Result<String, PlotError> {
    let times = &plot.time_s;
    check_rows("arrivals", plot.arrivals.len(), times.len())?;
    let bin = if plot.bin_s.is_finite() && plot.bin_s > 0.0 { plot.bin_s } else { 0.0 };
    let last = times.iter().rev().copied().find(|t| t.is_finite()).unwrap_or(f64::NAN);
    let end = last + bin;
    let label = format!("arrivals per {}", length(bin));
    let y = Scale::from_zero(&label, plot.arrivals.iter().copied());
    let mut over_time = Panel::new("Arrivals", &Scale::time(start_of(times), end), y, 200.0);
    over_time.x_texts = true;
    let drawn = envelope(times, &plot.arrivals, Middle::Mean);
    let held = steps(&drawn.line, end);
    let edges = held.iter().map(|&(at, count)| (at, 0.0, count)).collect();
    over_time.add(Mark::Band { edges, colour: SKY, opacity: 0.5 }, "");
    over_time.add(Mark::Band { edges: drawn.range, colour: SKY, opacity: 0.35 }, "");
    over_time.line(held, Stroke::new(BLUE, 0.9, Dash::Solid), "");
    sheet::draw(&plot.title, &envelope_note(times), &[over_time, gaps(plot)])
}

/// The histogram as shares of all gaps, and what a Poisson process would put in the same bins.
fn gaps(plot: &TrafficPlot) -> Panel {
    let valid = |bin: &&GapBin| {
        bin.from_s.is_finite()
            && bin.to_s.is_finite()
            && bin.count.is_finite()
            && bin.from_s < bin.to_s
            && bin.to_s > 0.0
    };
    let mut bins: Vec<GapBin> = plot.gaps.iter().filter(valid).copied().collect();
    // A bin that starts at zero has no place on a logarithmic axis; it is drawn as wide as a factor of two.
    let shown_from = |bin: &GapBin| if bin.from_s > 0.0 { bin.from_s } else { bin.to_s / 2.0 };
    bins.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
    // Empty bins at the ends would only stretch the axis.
    let first = bins.iter().position(|bin| bin.count > 0.0).unwrap_or(0);
    let last = bins.iter().rposition(|bin| bin.count > 0.0).map_or(0, |last| last + 1);
    let bins = bins.get(first..last).unwrap_or_default();
    let total: f64 = bins.iter().map(|bin| bin.count).sum();
    let share = |bin: &GapBin| bin.count / total * 100.0;
    let poisson = |bin: &GapBin, mean: f64| {
        let beyond = |gap: f64| (-gap.max(0.0) / mean).exp();
        (beyond(bin.from_s) - beyond(bin.to_s)) * 100.0
    };
    let x = Scale::log("inter-arrival time, s", bins.iter().flat_map(|bin| [shown_from(bin), bin.to_s]));
    let y = Scale::log("percent of inter-arrival times", bins.iter().map(share));
    let bottom = y.bottom();
    let mut panel = Panel::new("Inter-arrival times", &x, y, 220.0);
    panel.x_texts = true;
    let (mut edges, mut outline) = (Vec::new(), Vec::new());
    let mut reference = Vec::new();
    for bin in bins {
        let height = if bin.count > 0.0 { share(bin) } else { bottom };
        edges.extend([(shown_from(bin), bottom, height), (bin.to_s, bottom, height)]);
        outline.extend([(shown_from(bin), height), (bin.to_s, height)]);
        if let Some(mean) = plot.mean_gap_s.filter(|mean| mean.is_finite() && *mean > 0.0) {
            let expected = poisson(bin, mean);
            // Below the axis the line would crawl along its edge and mean nothing.
            reference.push(((shown_from(bin) * bin.to_s).sqrt(), if expected < bottom { f64::NAN } else { expected }));
        }
    }
    panel.add(Mark::Band { edges, colour: SKY, opacity: 0.5 }, "this traffic");
    panel.line(outline, Stroke::new(BLACK, 1.2, Dash::Solid), "");
    if !reference.is_empty() {
        panel.line(reference, Stroke::new(VERMILION, 1.8, Dash::Dashed), "Poisson process of the same rate");
    }
    panel
}

fn length(seconds: f64) -> String {
    match seconds {
        0.0 => "bin".into(),
        1.0 => "second".into(),
        60.0 => "minute".into(),
        3600.0 => "hour".into(),
        s if s % 3600.0 == 0.0 => format!("{} h", s / 3600.0),
        s if s % 60.0 == 0.0 => format!("{} min", s / 60.0),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, texts};
    use super::*;

    fn plot(bins: usize) -> TrafficPlot {
        TrafficPlot {
            title: "traffic".into(),
            time_s: (0..bins).map(|i| i as f64 * 10.0).collect(),
            bin_s: 10.0,
            arrivals: (0..bins).map(|i| (i % 17) as f64).collect(),
            gaps: (0..bins.min(40))
                .map(|i| {
                    let from_s = 1e-4 * 1.4f64.powi(i as i32);
                    GapBin { from_s, to_s: from_s * 1.4, count: (i * 3 % 50) as f64 }
                })
                .collect(),
            mean_gap_s: Some(0.5),
        }
    }

    #[test]
    fn names_both_axes() {
        let svg = traffic(&plot(500)).unwrap();
        let expected = ["arrivals per 10 s", "time, min", "inter-arrival time, s", "percent of inter-arrival times"];
        assert_texts(&svg, &expected);
        assert_texts(&svg, &["this traffic", "Poisson process of the same rate"]);
    }

    #[test]
    fn few_many_and_odd_bins_are_fine() {
        texts(&traffic(&TrafficPlot::default()).unwrap());
        for bins in [1, 2, 50_000] {
            texts(&traffic(&plot(bins)).unwrap());
        }
        let mut odd = plot(10);
        odd.arrivals[3] = f64::NAN;
        odd.arrivals[4] = f64::INFINITY;
        odd.gaps[0].from_s = 0.0;
        odd.gaps[1].count = f64::NAN;
        odd.gaps[2].to_s = f64::INFINITY;
        odd.gaps[3].from_s = f64::NAN;
        odd.mean_gap_s = Some(0.0);
        odd.bin_s = f64::NAN;
        texts(&traffic(&odd).unwrap());
        odd.gaps.iter_mut().for_each(|bin| bin.count = 0.0);
        texts(&traffic(&odd).unwrap());
        odd.arrivals.pop();
        assert!(traffic(&odd).is_err());
    }
}
