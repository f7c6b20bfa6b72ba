//! Plots of runs, comparisons, traffic and calibrations, as SVG text.
//!
//! Every function is pure: data in, an SVG document out; the caller writes it wherever it likes. The plots are made for
//! a printed page: every series differs from its neighbours in line style, weight or marker as well as in colour,
//! legends stand above the data and never on it, and values that do not exist (NaN, infinities, `None`, zero on a
//! logarithmic axis) leave a gap instead of a line that claims something.
//!
//! | function | shows |
//! | --- | --- |
//! | [`timeline()`] | one run: load and capacity, replicas, latency and its objective, violations and utilisation |
//! | [`compare()`] | several autoscalers under the same traffic |
//! | [`pareto()`] | violations against cost, a line an autoscaler, and their common frontier |
//! | [`curves()`] | figures over steps with the spread of independent runs, such as learning curves |
//! | [`forest()`] | figures with their intervals, by what was measured and by who, with the numbers beside them |
//! | [`scatter()`] | one figure against another, with intervals in both |
//! | [`heat()`] | a matrix, with the numbers in its cells |
//! | [`histogram()`] | how values are distributed |
//! | [`traffic()`] | arrivals over time and the law of their distances |
//! | [`calibration()`] | measurements, the curve fitted to them, and what it misses |
//!
//! ```
//! use kisim::plot::{TimelinePlot, timeline};
//! let plot = TimelinePlot {
//!     title: "three rows".into(),
//!     time_s: vec![0.0, 5.0, 10.0],
//!     offered_rps: vec![90.0, 120.0, 110.0],
//!     capacity_rps: vec![100.0, 100.0, 200.0],
//!     p95_ms: vec![Some(80.0), Some(300.0), None],
//!     violation_share: vec![0.0, 0.4, 0.1],
//!     slo_ms: 200.0,
//!     ..TimelinePlot::default()
//! };
//! assert!(timeline(&plot)?.starts_with("<svg"));
//! # Ok::<(), kisim::plot::PlotError>(())
//! ```

mod calibration;
mod compare;
mod curves;
mod forest;
mod heat;
mod histogram;
mod pareto;
mod scale;
mod scatter;
mod sheet;
#[cfg(test)]
mod testing;
mod thin;
mod timeline;
mod traffic;

pub use calibration::{CalibrationPanel, CalibrationPlot, CalibrationPoint, CalibrationSeries, calibration};
pub use compare::{ComparePlot, ComparedRun, compare};
pub use curves::{Curve, CurvePanel, CurvePoint, CurvesPlot, curves};
pub use forest::{ForestGroup, ForestPlot, ForestValue, forest};
pub use heat::{HeatPlot, heat};
pub use histogram::{HistogramPanel, HistogramPlot, histogram};
pub use pareto::{ParetoLine, ParetoMark, ParetoPlot, pareto};
pub use scatter::{ScatterPlot, ScatterPoint, ScatterSeries, scatter};
pub use timeline::{TimelinePlot, TimelinePool, timeline};
pub use traffic::{GapBin, TrafficPlot, traffic};

/// Why there is no plot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlotError {
    /// A column is neither empty nor as long as the time column.
    #[error("column `{column}` of a plot: found {found} rows, expected {expected}, as many as there are times")]
    Rows {
        /// The column's name.
        column: String,
        /// Rows it has.
        found: usize,
        /// Rows of the time column.
        expected: usize,
    },
    /// The drawing library refused.
    #[error("cannot draw the plot: {0}")]
    Draw(String),
}

/// Checks that `column` has one value a time; an empty one stands for "not known" and passes.
fn check_rows(column: impl Into<String>, found: usize, expected: usize) -> Result<(), PlotError> {
    if found == 0 || found == expected {
        return Ok(());
    }
    Err(PlotError::Rows { column: column.into(), found, expected })
}
