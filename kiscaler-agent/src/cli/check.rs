//! `kiscaler-agent check`: everything that could go wrong, looked at before it does.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::connect::{Connection, runtime};
use super::print;
use crate::api::KIScaler;
use crate::preflight::{Finding, Grade, preflight};

/// Arguments of `kiscaler-agent check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  kiscaler-agent check -f my-autoscaler.yaml\n\nExits with 1 where there is a problem."
)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    connection: Connection,
    /// The KIScaler
    #[arg(long, short = 'f')]
    file: PathBuf,
}

pub(crate) fn main(args: &CheckArgs) -> Result<ExitCode> {
    let scaler = read(&args.file)?;
    let findings = runtime()?.block_on(async {
        let (client, _) = args.connection.client().await?;
        Ok::<_, anyhow::Error>(preflight(&client, &scaler).await)
    })?;
    print(&table(&findings))?;
    let failed = findings.iter().any(|finding| finding.grade == Grade::Problem);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Reads a KIScaler from a file.
pub(crate) fn read(path: &std::path::Path) -> Result<KIScaler> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(KIScaler::parse(&text, &path.display().to_string())?)
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|f| f.what.len()).max().unwrap_or(0);
    for Finding { what, grade, detail, fix } in findings {
        let word = match grade {
            Grade::Ok => "ok",
            Grade::Note => "note",
            Grade::Problem => "problem",
        };
        text += &format!("{word:8} {what:width$}  {detail}\n");
        if let Some(fix) = fix {
            text += &format!("{:8} {:width$}  fix: {fix}\n", "", "");
        }
    }
    text
}
