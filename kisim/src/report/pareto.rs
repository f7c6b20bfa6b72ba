//! Violations against cost, drawn.

use crate::pareto::{Parameter, Pareto, Sweep};
use crate::plot::{ParetoLine, ParetoMark, ParetoPlot, PlotError, pareto};

/// Every setting with its intervals, a line a contender, and the frontier of all beneath.
///
/// # Errors
/// Only if the drawing library refuses.
pub fn pareto_svg(result: &Pareto) -> Result<String, PlotError> {
    pareto(&drawing(result))
}

fn drawing(result: &Pareto) -> ParetoPlot {
    // Runs differ in length; prices are known by the hour.
    let per_hour = 3600.0 / result.duration_s.max(1e-9);
    let line = |sweep: &Sweep| ParetoLine {
        name: sweep.name.clone(),
        marks: sweep
            .points
            .iter()
            .map(|p| ParetoMark {
                cost_per_hour: p.cost.mean * per_hour,
                cost_half_width: p.cost.half_width.map(|half| half * per_hour),
                violations: p.violation_ratio.mean * 100.0,
                violations_half_width: p.violation_ratio.half_width.map(|half| half * 100.0),
                on_frontier: p.on_frontier,
            })
            .collect(),
    };
    let span = |parameter: Parameter| {
        let values = || {
            let swept = result.contenders.iter().filter(move |c| c.parameter == parameter);
            swept.flat_map(|c| &c.points).map(|p| p.value)
        };
        let (low, high) = values().fold((f64::INFINITY, 0.0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
        (low <= high).then(|| match parameter {
            Parameter::Headroom => format!("headroom ×{low} to ×{high}"),
            Parameter::Replicas => format!("fixed from {low} to {high} replicas"),
        })
    };
    let spans: Vec<String> = [Parameter::Headroom, Parameter::Replicas].into_iter().filter_map(span).collect();
    let count = result.seeds.len();
    let bars = if count > 1 { "; bars are 95 % intervals over seeds" } else { "" };
    ParetoPlot {
        title: match (result.seeds.first(), count) {
            (Some(seed), 1) => format!("{}, seed {seed}", result.scenario),
            _ => format!("{}, {count} seeds", result.scenario),
        },
        note: format!("A marker a setting: {}{bars}.", spans.join(", ")),
        lines: result.contenders.iter().map(line).collect(),
    }
}
