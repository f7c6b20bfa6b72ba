//! Violations against cost.

use plotters::style::RGBColor;

use super::PlotError;
use super::scale::Scale;
use super::sheet::{self, BLACK, BLUE, Dash, GREEN, Mark, ORANGE, PURPLE, Panel, SKY, Shape, Stroke, VERMILION};

/// A setting of an autoscaler: means over seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ParetoMark {
    /// US dollars an hour.
    pub cost_per_hour: f64,
    /// Half of its 95 % interval, US dollars an hour; `None` if not known.
    pub cost_half_width: Option<f64>,
    /// Per cent of requests that broke the objective.
    pub violations: f64,
    /// Half of its 95 % interval, per cent of requests; `None` if not known.
    pub violations_half_width: Option<f64>,
    /// Whether it is on the frontier of all.
    pub on_frontier: bool,
}

/// An autoscaler's settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParetoLine {
    /// Its name in the legend.
    pub name: String,
    /// Its settings, in order: neighbours are joined.
    pub marks: Vec<ParetoMark>,
}

/// Autoscalers over their settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParetoPlot {
    /// What stands above it all.
    pub title: String,
    /// A sentence in small type under the title.
    pub note: String,
    /// The autoscalers; up to forty-two look different.
    pub lines: Vec<ParetoLine>,
}

const COLOURS: [RGBColor; 7] = [BLACK, VERMILION, BLUE, GREEN, PURPLE, SKY, ORANGE];
const SHAPES: [Shape; 6] = [Shape::Circle, Shape::Triangle, Shape::Square, Shape::Diamond, Shape::Ring, Shape::Cross];

/// Beneath the lines, wide and pale: it must not be taken for one of them.
const FRONTIER: Stroke = Stroke::new(RGBColor(255, 224, 130), 9.0, Dash::Solid);

/// Draws violations against cost, a line an autoscaler with a marker a setting, and the frontier of all beneath.
///
/// Violations that span more than a decade have a logarithmic axis, which turns linear near its lower end so that zero
/// has a place.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn pareto(plot: &ParetoPlot) -> Result<String, PlotError> {
    let marks = || plot.lines.iter().flat_map(|line| &line.marks);
    let costs = marks().map(|m| m.cost_per_hour).filter(|cost| cost.is_finite());
    let mut x = Scale::linear("cost, $ an hour", 0.0, costs.fold(0.0, f64::max) * 1.04);
    x.tick_densely();
    let shares = marks().map(|m| m.violations);
    let y = Scale::log_from_zero("violations, % of requests", " %", shares);
    let mut panel = Panel::new("", &x, y, 430.0);
    panel.x_texts = true;

    let mut frontier: Vec<(f64, f64)> =
        marks().filter(|m| m.on_frontier).map(|m| (m.cost_per_hour, m.violations)).collect();
    frontier.sort_by(|a, b| a.0.total_cmp(&b.0));
    panel.line(frontier, FRONTIER, "frontier of all");
    let looks = COLOURS.into_iter().cycle().zip(SHAPES.into_iter().cycle());
    for (line, (colour, _)) in plot.lines.iter().zip(looks.clone()) {
        panel.add(Mark::Bars { ends: line.marks.iter().flat_map(intervals).collect(), colour }, "");
    }
    for (line, (colour, shape)) in plot.lines.iter().zip(looks) {
        let points = line.marks.iter().map(|m| (m.cost_per_hour, m.violations)).collect();
        panel.add(Mark::Joined { points, stroke: Stroke::new(colour, 1.3, Dash::Solid), shape }, line.name.clone());
    }
    sheet::draw(&plot.title, &plot.note, &[panel])
}

/// The ends of a mark's intervals, in either direction; neither share nor cost is below zero.
fn intervals(mark: &ParetoMark) -> impl Iterator<Item = [(f64, f64); 2]> {
    let (x, y) = (mark.cost_per_hour, mark.violations);
    let across = mark.cost_half_width.map(|half| [((x - half).max(0.0), y), (x + half, y)]);
    let along = mark.violations_half_width.map(|half| [(x, (y - half).max(0.0)), (x, (y + half).min(100.0))]);
    across.into_iter().chain(along)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_texts, texts};
    use super::*;

    fn line(name: &str, violations: impl Fn(f64) -> f64) -> ParetoLine {
        let mark = |i: u32| ParetoMark {
            cost_per_hour: f64::from(i) * 0.5,
            cost_half_width: Some(0.1),
            violations: violations(f64::from(i)),
            violations_half_width: Some(0.2),
            on_frontier: i.is_multiple_of(2),
        };
        ParetoLine { name: name.into(), marks: (1..9).map(mark).collect() }
    }

    #[test]
    fn names_every_autoscaler_and_has_a_place_for_zero() {
        let lines = (0..8).map(|n| line(&format!("hpa {n}"), |i| 90.0 * (-i).exp() + f64::from(n))).collect();
        let mut plot = ParetoPlot { title: "day, 3 seeds".into(), note: "bars".into(), lines };
        let svg = pareto(&plot).unwrap();
        assert_texts(&svg, &["day, 3 seeds", "bars", "cost, $ an hour", "frontier of all", "hpa 0", "hpa 7", "0", "1"]);
        assert_texts(&svg, &["violations, % of requests (linear below 0.01 %)"]);
        // Without a spread there is no need of a logarithm.
        plot.lines = vec![line("fixed", |_| 0.0), line("hpa", |i| 3.0 - i * 0.1)];
        assert_texts(&pareto(&plot).unwrap(), &["violations, % of requests", "fixed", "hpa", "0"]);
    }

    #[test]
    fn nothing_and_odd_numbers_are_fine() {
        texts(&pareto(&ParetoPlot::default()).unwrap());
        let mut odd = line("odd", |_| 1e-300);
        odd.marks[1].violations = f64::NAN;
        odd.marks[2].cost_per_hour = f64::INFINITY;
        odd.marks[3].violations_half_width = None;
        odd.marks[4].cost_half_width = Some(f64::NAN);
        odd.marks[5].violations = 100.0;
        texts(&pareto(&ParetoPlot { lines: vec![odd], ..ParetoPlot::default() }).unwrap());
        let one = ParetoLine { name: "one".into(), marks: vec![ParetoMark::default()] };
        texts(&pareto(&ParetoPlot { lines: vec![one], ..ParetoPlot::default() }).unwrap());
    }
}
