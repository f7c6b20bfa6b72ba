//! `kiscaler-agent gpu-exporter`

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::connect::runtime;
use super::run::{LogFormat, log, signalled};
use crate::exporter::{Setup, attribution, run};
use crate::serve::listen;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kiscaler-agent gpu-exporter\n  kiscaler-agent gpu-exporter --once\n\n\
                        Without a driver it says so and exits with 2; with --keep-trying it waits for one, and /metrics \
                        answers 503 meanwhile.")]
pub(crate) struct GpuExporterArgs {
    /// Where to serve /metrics; port 0 takes a free one
    #[arg(long, default_value = "0.0.0.0:9400")]
    listen: SocketAddr,
    /// NVML's library; libnvidia-ml.so.1 as the loader finds it by default
    #[arg(long)]
    nvml: Option<OsString>,
    /// The kubelet's pod resources, which say whose GPU it is; without it series have no pod
    #[arg(long, default_value = attribution::SOCKET)]
    pod_resources: PathBuf,
    /// The node's name, for the label Hostname
    #[arg(long, env = "NODE_NAME", default_value = "")]
    node: String,
    /// Wait where there is no driver, instead of ending
    #[arg(long)]
    keep_trying: bool,
    /// Print the metrics once and end
    #[arg(long, conflicts_with_all = ["keep_trying", "listen"])]
    once: bool,
}

/// Serves a node's GPU metrics until it is asked to stop.
pub(crate) fn main(args: GpuExporterArgs) -> Result<ExitCode> {
    let setup =
        Setup { nvml: args.nvml, pod_resources: args.pod_resources, node: args.node, keep_trying: args.keep_trying };
    log(LogFormat::Text);
    runtime()?.block_on(async {
        if args.once {
            super::print(&crate::exporter::once(&setup).await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let listener = listen(args.listen).await?;
        let address = listener.local_addr()?;
        let started = || eprintln!("serving http://{address}/metrics");
        run(setup, listener, started, signalled()).await?;
        Ok(ExitCode::SUCCESS)
    })
}
