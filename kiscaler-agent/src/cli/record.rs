//! `kiscaler-agent record`: what a loop would be given, kept in a file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use kisim::config::Span;

use super::check::read;
use super::connect::{Connection, runtime};
use super::run::{LogFormat, identity, log};
use crate::api::Mode;
use crate::leader::Timing;
use crate::recording::{FORMAT, Header, write, write_header};
use crate::run::{Options, run};
use crate::shutdown::stop;

/// Arguments of `kiscaler-agent record`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kiscaler-agent record -f my-autoscaler.yaml --out scrapes.jsonl --length 1h\n\n\
                  Ends with Ctrl-C, or after --length. Nothing is scaled, whatever the file's mode.")]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    connection: Connection,
    /// The KIScaler
    #[arg(long, short = 'f')]
    file: PathBuf,
    /// The recording
    #[arg(long)]
    out: PathBuf,
    /// How long, such as 10m; until Ctrl-C by default
    #[arg(long)]
    length: Option<Span>,
}

pub(crate) fn main(args: &RecordArgs) -> Result<ExitCode> {
    log(LogFormat::Text);
    let mut scaler = read(&args.file)?;
    scaler.spec.mode = Mode::Shadow;
    let cannot = || format!("cannot write {}", args.out.display());
    let mut out = BufWriter::new(File::create(&args.out).with_context(cannot)?);
    // Profiles of ConfigMaps are not in it: a replay reads the scaler as it was given.
    write_header(&mut out, &Header { format: FORMAT, scaler: scaler.clone(), profiles: Default::default() })
        .with_context(cannot)?;
    let written = runtime()?.block_on(async {
        let (client, _) = args.connection.client().await?;
        let (sender, mut lines) = tokio::sync::mpsc::channel(64);
        let options = Options {
            namespace: Some(scaler.home().to_owned()),
            files: vec![args.file.clone()],
            lease: None,
            timing: Timing::default(),
            identity: identity(),
            address: None,
            observations: false,
            record: Some(sender),
            only_shadow: true,
        };
        let (stopper, stopped) = stop();
        let agent = tokio::spawn(run(client, options, stopped));
        let end = args.length.map_or(Duration::from_secs(u64::from(u32::MAX)), |length| length.0);
        let end = tokio::time::sleep(end);
        tokio::pin!(end);
        let mut written = 0_u64;
        loop {
            tokio::select! {
                () = &mut end => break,
                _ = tokio::signal::ctrl_c() => break,
                inputs = lines.recv() => {
                    let Some(inputs) = inputs else { break };
                    write(&mut out, &inputs).with_context(cannot)?;
                    // Whatever ends the command, what was seen is kept.
                    out.flush().with_context(cannot)?;
                    written += 1;
                }
            }
        }
        stopper.stop();
        agent.await??;
        Ok::<_, anyhow::Error>(written)
    })?;
    super::print(&format!("{written} decisions in {}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
