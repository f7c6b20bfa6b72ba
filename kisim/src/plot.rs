//! stub
#![allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
#[error("plot")]
pub struct PlotError;
pub struct PoolSeries {
    pub name: String,
    pub desired: Vec<f64>,
    pub scheduled: Vec<f64>,
    pub ready: Vec<f64>,
    pub draining: Vec<f64>,
    pub utilization: Vec<Option<f64>>,
}
pub struct TimelinePlot {
    pub title: String,
    pub time_s: Vec<f64>,
    pub offered_rps: Vec<f64>,
    pub capacity_rps: Vec<f64>,
    pub pools: Vec<PoolSeries>,
    pub p50_ms: Vec<Option<f64>>,
    pub p95_ms: Vec<Option<f64>>,
    pub p99_ms: Vec<Option<f64>>,
    pub slo_ms: f64,
    pub violation_share: Vec<Option<f64>>,
}
pub fn timeline(_: &TimelinePlot) -> Result<String, PlotError> {
    Ok(String::new())
}
pub struct CompareSeries {
    pub name: String,
    pub time_s: Vec<f64>,
    pub ready: Vec<f64>,
    pub p95_ms: Vec<Option<f64>>,
}
pub struct ComparePlot {
    pub title: String,
    pub time_s: Vec<f64>,
    pub offered_rps: Vec<f64>,
    pub slo_ms: f64,
    pub autoscalers: Vec<CompareSeries>,
}
pub fn compare(_: &ComparePlot) -> Result<String, PlotError> {
    Ok(String::new())
}
pub struct TrafficPlot {
    pub title: String,
    pub duration_s: f64,
    pub arrivals_s: Vec<f64>,
}
pub fn traffic(_: &TrafficPlot) -> Result<String, PlotError> {
    Ok(String::new())
}
pub struct CalibrationPanel {
    pub label: String,
    pub unit: String,
    pub measured: Vec<(f64, f64)>,
    pub fitted: Vec<(f64, f64)>,
}
pub struct CalibrationPlot {
    pub title: String,
    pub x_label: String,
    pub panels: Vec<CalibrationPanel>,
}
pub fn calibration(_: &CalibrationPlot) -> Result<String, PlotError> {
    Ok(String::new())
}
