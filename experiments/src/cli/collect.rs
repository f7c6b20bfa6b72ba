//! `experiments collect`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use experiments::experiments::ALL;
use experiments::shard::collect;
use experiments::store::Store;

use super::{FAILED, next_step, run::OUT, write_report};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  experiments collect shard-0 shard-1 shard-2 --out results/full\n  \
                        experiments collect /results --out /results      # a volume that all shards wrote to\n\n\
                        It gives the bytes that one machine gives, or names what is missing or contradicts itself.")]
pub(super) struct CollectArgs {
    /// Folders that shards wrote to; URLs, too, if built with object-store
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<String>,
    /// Folder of the results; may be one of those
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
}

pub(super) fn main(args: &CollectArgs) -> Result<ExitCode> {
    // Downloads are gone with these.
    let mut downloads = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in &args.folders {
        if folder.contains("://") {
            let local = tempfile::tempdir()?;
            super::remote::download(folder, local.path())?;
            folders.push(local.path().to_owned());
            downloads.push(local);
        } else {
            folders.push(folder.into());
        }
    }
    ensure!(
        !args.out.to_string_lossy().contains("://"),
        "--out {}: found a URL, expected a folder",
        args.out.display()
    );
    let store = Store::new(&args.out);
    collect(ALL, &folders, &store)?;
    let good = write_report(&store, store.root())?;
    next_step(&format!("open {}", store.root().join("report.html").display()));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
