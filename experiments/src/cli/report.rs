//! `experiments report`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use experiments::store::Store;

use super::{FAILED, next_step, run::OUT, write_report};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  experiments report\n  experiments report --out results/full --to docs/results")]
pub(super) struct ReportArgs {
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// Folder of the report: report.html, report.md, figures, tables. That of the results by default
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(super) fn main(args: &ReportArgs) -> Result<ExitCode> {
    ensure!(
        args.out.is_dir(),
        "--out {}: found no folder, expected one that experiments run or collect has written",
        args.out.display()
    );
    let to = args.to.as_ref().unwrap_or(&args.out);
    let good = write_report(&Store::new(&args.out), to)?;
    next_step(&format!("open {}", to.join("report.html").display()));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
