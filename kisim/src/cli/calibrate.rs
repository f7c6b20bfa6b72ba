//! `kisim calibrate`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use kisim::calibrate::{
    BatchFit, BatchRow, Convergence, Estimate, FitReport, LoadFit, LoadFitOptions, LoadRow, Measurements, Offered,
    Params, Prediction, ServerSettings, fit_batch_sweep, fit_load_sweep, predict, read,
};
use kisim::config::Span;
use kisim::plot;
use kisim::profile::{AffineMs, Hardware, Profile, SpreadFamily};
use kisim::report::{number, write_atomically};
use serde::Serialize;

use super::progress::Bar;
use super::{Format, next_step};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kisim calibrate batch-sweep.csv --out my-gpu.toml --svg my-gpu.svg\n  kisim calibrate load-sweep.csv --max-batch 32 --max-queue-delay 2ms --out my-gpu.toml\n\n\
                        A batch sweep has the columns batch, latency_ms (or avg) and optionally p99. A load sweep has rate or concurrency,\n\
                        throughput, p50, p95 and p99 (ms), measured on a server set as --max-batch, --max-queue-delay and --instances say."
)]
pub(crate) struct CalibrateArgs {
    /// The measurements, CSV
    measurements: PathBuf,
    /// Write the profile here
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draw measurements, fit and residuals
    #[arg(long)]
    svg: Option<PathBuf>,
    /// The profile's name; the file's by default
    #[arg(long)]
    name: Option<String>,
    /// The device
    #[arg(long, default_value = "")]
    device: String,
    /// The profile of a CPU server
    #[arg(long)]
    cpu: bool,
    /// US dollars per replica-hour
    #[arg(long, default_value_t = 0.0)]
    price_per_hour: f64,
    /// Load sweep: the server's max_batch_size
    #[arg(long, default_value_t = 1)]
    max_batch: usize,
    /// Load sweep: its max_queue_delay
    #[arg(long, default_value = "0s")]
    max_queue_delay: Span,
    /// Load sweep: its instances
    #[arg(long, default_value_t = 1)]
    instances: usize,
}

/// What a calibration found.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Found<'a> {
    BatchSweep { profile: &'a Profile, fit: &'a BatchFit },
    LoadSweep { profile: &'a Profile, fit: &'a LoadFit },
}

pub(crate) fn main(args: &CalibrateArgs, format: Format) -> Result<ExitCode> {
    if args.max_batch == 0 || args.instances == 0 {
        anyhow::bail!("--max-batch {} --instances {}: expected at least 1 of each", args.max_batch, args.instances);
    }
    if !(args.price_per_hour.is_finite() && args.price_per_hour >= 0.0) {
        anyhow::bail!("--price-per-hour {}: expected a number of at least 0", args.price_per_hour);
    }
    match read(&args.measurements)? {
        Measurements::BatchSweep(rows) => batch(args, &rows, format),
        Measurements::LoadSweep(rows) => load(args, &rows, format),
    }
}

fn profile(args: &CalibrateArgs, max_batch: usize, service_cv: f64, overhead_ms: f64, how: &str) -> Profile {
    let stem = args.measurements.file_stem().map_or("profile".into(), |s| s.to_string_lossy().into_owned());
    let file = args.measurements.file_name().map_or(String::new(), |s| s.to_string_lossy().into_owned());
    Profile {
        name: args.name.clone().unwrap_or(stem),
        description: how.to_owned(),
        hardware: if args.cpu { Hardware::Cpu } else { Hardware::Gpu },
        device: args.device.clone(),
        max_batch,
        latency_ms: Vec::new(),
        affine_ms: None,
        service_cv,
        spread: SpreadFamily::Lognormal,
        overhead_ms,
        price_per_hour: args.price_per_hour,
        source: format!("kisim calibrate {file}"),
        price_source: if args.price_per_hour > 0.0 { "given to kisim calibrate".to_owned() } else { String::new() },
        sharing: None,
    }
}

fn batch(args: &CalibrateArgs, rows: &[BatchRow], format: Format) -> Result<ExitCode> {
    let fit = fit_batch_sweep(rows)?;
    let max_batch = fit.points.last().map_or(1, |p| p.batch as usize);
    // Where the data say nothing about the spread, none is made up.
    let cv = fit.service_cv.value().unwrap_or(0.0);
    let mut profile = profile(args, max_batch, cv, 0.0, "measured batch sweep");
    profile.latency_ms = fit.points.iter().map(|p| (p.batch as usize, p.latency_ms)).collect();
    save(args, &profile)?;
    if let Some(path) = &args.svg {
        let point = |r: &BatchRow| plot::CalibrationPoint {
            x: f64::from(r.batch),
            measured: r.latency_ms,
            predicted: Some(profile.batch_ms(r.batch as usize)),
        };
        let series = plot::CalibrationSeries {
            name: "batch time".into(),
            points: rows.iter().map(point).collect(),
            curve: (1..=max_batch).map(|b| (b as f64, profile.batch_ms(b))).collect(),
        };
        let panel = plot::CalibrationPanel {
            title: "mean time of a batch".into(),
            y_label: "ms".into(),
            y_log: false,
            series: vec![series],
        };
        draw(path, &profile.name, "batch size", vec![panel])?;
    }
    match format {
        Format::Json => super::print_json(&Found::BatchSweep { profile: &profile, fit: &fit })?,
        Format::Table => {
            let mut text = format!("profile {} from {} rows, largest batch {max_batch}\n", profile.name, rows.len());
            for repair in &fit.repairs {
                text.push_str(&format!(
                    "  batch {}: {} ms measured, {} ms in the profile, which may not fall as the batch grows\n",
                    repair.batch,
                    number(repair.measured_ms),
                    number(repair.repaired_ms)
                ));
            }
            text.push_str("affine fit beside the points:\n");
            text.push_str(&estimate("fixed", &fit.affine.fixed_ms, "ms"));
            text.push_str(&estimate("per item", &fit.affine.per_item_ms, "ms"));
            text.push_str(&estimate("CV of a batch's time", &fit.service_cv, ""));
            if let Some(report) = &fit.affine.report {
                text.push_str(&residuals(report));
            }
            super::print(&text)?;
        }
    }
    finish(args);
    Ok(ExitCode::SUCCESS)
}

fn load(args: &CalibrateArgs, rows: &[LoadRow], format: Format) -> Result<ExitCode> {
    let server =
        ServerSettings { max_batch: args.max_batch, max_queue_delay: args.max_queue_delay, instances: args.instances };
    let (fastest, most) = rows.iter().fold((f64::INFINITY, 0.0f64), |(fast, most), row| {
        (fast.min(row.p50_ms), most.max(row.throughput / args.instances as f64))
    });
    // A start of the right order: half of the quickest answer is the batch's fixed part, and full batches give the highest
    // throughput.
    let per_item_ms = (1e3 / most - 0.5 * fastest / args.max_batch as f64).max(0.1e3 / most);
    let start = Params { fixed_ms: 0.5 * fastest, per_item_ms, overhead_ms: 0.1 * fastest, service_cv: 0.05 };
    let bar = Bar::new("fitting");
    let steps = std::sync::atomic::AtomicUsize::new(0);
    let fit = fit_load_sweep(rows, &LoadFitOptions::from_start(start), |params, row| {
        let step = steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // Its end is not known; most fits take some hundred predictions a row.
        bar.set(1.0 - (-(step as f64) / (200.0 * rows.len() as f64)).exp());
        predict(params, row, &server)
    });
    bar.finish();
    let fit = fit?;
    if super::interrupted() {
        anyhow::bail!("interrupted");
    }
    let p = fit.params;
    let mut profile = profile(args, args.max_batch, p.service_cv, p.overhead_ms, "fitted to a load sweep");
    let unknown: Vec<&str> =
        [("fixed", &fit.fixed_ms), ("per_item", &fit.per_item_ms), ("overhead_ms", &fit.overhead_ms)]
            .into_iter()
            .filter(|(_, estimate)| estimate.value().is_none())
            .map(|(name, _)| name)
            .collect();
    profile.source.push_str("; service_cv is assumed");
    if !unknown.is_empty() {
        // The numbers are in the profile because it needs some; whoever reads it must know what they are worth.
        profile.source.push_str(&format!("; the data do not identify {}", unknown.join(", ")));
    }
    profile.affine_ms = Some(AffineMs { fixed: p.fixed_ms, per_item: p.per_item_ms });
    save(args, &profile)?;
    if let Some(path) = &args.svg {
        let x = |row: &LoadRow| match row.offered {
            Offered::Rate(rate) => rate,
            Offered::Concurrency(users) => f64::from(users),
        };
        let predicted: Vec<_> = rows.iter().map(|row| (x(row), predict(&p, row, &server))).collect();
        let series = |name: &str, of: &dyn Fn(&LoadRow) -> f64, by: &dyn Fn(&Prediction) -> f64| {
            let rows = rows.iter().zip(&predicted);
            let point = |(row, (x, p)): (&LoadRow, &(f64, Prediction))| plot::CalibrationPoint {
                x: *x,
                measured: of(row),
                predicted: Some(by(p)),
            };
            plot::CalibrationSeries { name: name.to_owned(), points: rows.map(point).collect(), curve: Vec::new() }
        };
        let axis = match rows[0].offered {
            Offered::Rate(_) => "offered rate, requests/s",
            Offered::Concurrency(_) => "requests in flight",
        };
        let panels = vec![
            plot::CalibrationPanel {
                title: "throughput".into(),
                y_label: "requests/s".into(),
                y_log: false,
                series: vec![series("throughput", &|r| r.throughput, &|p| p.throughput)],
            },
            plot::CalibrationPanel {
                title: "latency".into(),
                y_label: "ms".into(),
                y_log: true,
                series: vec![
                    series("P50", &|r| r.p50_ms, &|p| p.p50_ms),
                    series("P95", &|r| r.p95_ms, &|p| p.p95_ms),
                    series("P99", &|r| r.p99_ms, &|p| p.p99_ms),
                ],
            },
        ];
        draw(path, &profile.name, axis, panels)?;
    }
    match format {
        Format::Json => super::print_json(&Found::LoadSweep { profile: &profile, fit: &fit })?,
        Format::Table => {
            let mut text = format!("profile {} from {} rows of load\n", profile.name, rows.len());
            text.push_str(&estimate("fixed", &fit.fixed_ms, "ms"));
            text.push_str(&estimate("per item", &fit.per_item_ms, "ms"));
            text.push_str(&estimate("overhead", &fit.overhead_ms, "ms"));
            text.push_str(&format!(
                "  {:<22} {:>10} (assumed, not fitted)\n",
                "CV of a batch's time",
                number(p.service_cv)
            ));
            text.push_str(&match fit.convergence {
                Convergence::Converged => format!("converged after {} steps\n", fit.iterations),
                Convergence::OutOfIterations => format!("did not converge in {} steps\n", fit.iterations),
            });
            text.push_str(&residuals(&fit.report));
            super::print(&text)?;
        }
    }
    finish(args);
    Ok(ExitCode::SUCCESS)
}

fn estimate(name: &str, estimate: &Estimate, unit: &str) -> String {
    match estimate {
        Estimate::Identified { value, std_error: Some(error) } => {
            format!("  {name:<22} {:>10} ± {} {unit}\n", number(*value), number(*error))
        }
        Estimate::Identified { value, std_error: None } => format!("  {name:<22} {:>10} {unit}\n", number(*value)),
        Estimate::NotIdentified { why } => format!("  {name:<22} not identified: {why}\n"),
    }
}

fn residuals(report: &FitReport) -> String {
    let mut text = String::from("residuals:\n");
    for r in &report.residuals {
        text.push_str(&format!(
            "  line {:>3}  {:<12} measured {:>10}  fitted {:>10}  {:>+7.1} %\n",
            r.line,
            r.quantity.to_string(),
            number(r.measured),
            number(r.predicted),
            r.relative_error * 100.0
        ));
    }
    let w = &report.worst;
    text.push_str(&format!(
        "worst: line {}, {} {:+.1} %; root mean square {:.1} %\n",
        w.line,
        w.quantity,
        w.relative_error * 100.0,
        report.rms_relative_error * 100.0
    ));
    text
}

fn save(args: &CalibrateArgs, profile: &Profile) -> Result<()> {
    let text = toml::to_string(profile).context("the profile cannot be written as TOML")?;
    // What is written must be readable.
    Profile::parse(&text, &profile.name)?;
    if let Some(path) = &args.out {
        write_atomically(path, |file| file.write_all(text.as_bytes()))?;
        super::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn draw(path: &Path, title: &str, x_label: &str, panels: Vec<plot::CalibrationPanel>) -> Result<()> {
    let plot = plot::CalibrationPlot { title: title.to_owned(), x_label: x_label.to_owned(), x_log: false, panels };
    let svg = plot::calibration(&plot)?;
    write_atomically(path, |file| file.write_all(svg.as_bytes()))?;
    super::note(&format!("wrote {}", path.display()));
    Ok(())
}

fn finish(args: &CalibrateArgs) {
    match &args.out {
        Some(out) => next_step(&format!("set profile = \"{}\" in a scenario's pool", out.display())),
        None => next_step("--out my-gpu.toml writes the profile"),
    }
}
