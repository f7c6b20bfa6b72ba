//! `kisim validate`

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use kisim::report::number;
use kisim::validate::{DataRow, Finding, online_table, validate};
use serde::Serialize;

use super::Format;
use super::progress::Bar;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kisim validate --quick\n\nExit code 1 if a check fails.")]
pub(crate) struct ValidateArgs {
    /// A third of the requests and wider intervals
    #[arg(long)]
    quick: bool,
}

#[derive(Serialize)]
struct Report {
    checks: Vec<Finding>,
    resnet50_a100_online: Vec<DataRow>,
}

pub(crate) fn main(args: &ValidateArgs, seed: Option<u64>, format: Format) -> Result<ExitCode> {
    let seed = seed.unwrap_or(1);
    let bar = Bar::new("validating");
    let checks = validate(seed, args.quick, &|share| bar.set(share));
    bar.finish();
    let report = Report { checks: checks?, resnet50_a100_online: online_table(seed)? };
    let failed = report.checks.iter().filter(|c| !c.ok).count();
    match format {
        Format::Json => super::print_json(&report)?,
        Format::Table => super::print(&tables(&report, failed))?,
    }
    super::next_step("docs/validation.md says what each check is and where the model stops being valid");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn table(header: &[&str], numbers_from: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn tables(report: &Report, failed: usize) -> String {
    let mut theory = table(&["check", "from", "expected", "simulated", "± 95 %", "error %", ""], 2);
    for c in &report.checks {
        theory.add_row([
            c.name.clone(),
            c.source.clone(),
            significant(c.expected),
            significant(c.simulated),
            significant(c.half_width),
            format!("{:+.2}", c.relative_error * 100.0),
            if c.ok { "ok".to_owned() } else { "FAILED".to_owned() },
        ]);
    }
    let mut data = table(
        &[
            "in flight",
            "measured 1/s",
            "predicted 1/s",
            "error %",
            "measured ms",
            "predicted ms",
            "P95 ms",
            "predicted",
        ],
        0,
    );
    for r in &report.resnet50_a100_online {
        data.add_row([
            r.concurrency.to_string(),
            number(r.measured_throughput),
            number(r.predicted_throughput),
            format!("{:+.1}", r.throughput_error * 100.0),
            number(r.measured_mean_ms),
            number(r.predicted_mean_ms),
            number(r.measured_p95_ms),
            number(r.predicted_p95_ms),
        ]);
    }
    format!(
        "Against theory (16 replications each): {} of {} within bounds\n{theory}\n\n\
         Against a measurement, not a check: Triton's online table for ResNet-50 on an A100, predicted from the offline \
         batch sweep\n{data}\n\
         The batch sweep timed one client that waits for each answer: its transfers are inside the batch times. With more \
         clients transfers overlap with computing, and the profile is too slow: by {:.0} % at {} in flight, {:.0} % at {}.",
        report.checks.len() - failed,
        report.checks.len(),
        -report.resnet50_a100_online.get(1).map_or(f64::NAN, |r| r.throughput_error * 100.0),
        report.resnet50_a100_online.get(1).map_or(0, |r| r.concurrency),
        -report.resnet50_a100_online.last().map_or(f64::NAN, |r| r.throughput_error * 100.0),
        report.resnet50_a100_online.last().map_or(0, |r| r.concurrency),
    )
}

fn significant(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-2 { format!("{value:.3e}") } else { format!("{value:.4}") }
}
