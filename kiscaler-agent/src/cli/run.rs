//! `kiscaler-agent run`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::connect::{Connection, runtime};
use crate::api::KIScaler;
use crate::leader::Timing;
use crate::run::{Options, run};
use crate::shutdown::stop;

/// Arguments of `kiscaler-agent run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kiscaler-agent run\n  kiscaler-agent run --kubeconfig ~/.kube/config --namespace serving\n  \
                  kiscaler-agent run --file my-autoscaler.yaml --no-leader-election"
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    connection: Connection,
    /// The one namespace to look at; all by default
    #[arg(long)]
    namespace: Option<String>,
    /// Read a KIScaler from a file instead of the API; may be given several times
    #[arg(long = "file", short = 'f')]
    files: Vec<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served; "none" for nowhere
    #[arg(long, default_value = "0.0.0.0:8080")]
    metrics_address: String,
    /// The name of the Lease by which one agent among several may write
    #[arg(long, default_value = "kiscaler-agent")]
    lease_name: String,
    /// The namespace of the Lease; the agent's own by default
    #[arg(long)]
    lease_namespace: Option<String>,
    /// Write without a Lease: for an agent that is alone
    #[arg(long)]
    no_leader_election: bool,
    /// The agent's name among agents; host and process by default
    #[arg(long)]
    identity: Option<String>,
    /// Leave what policies see out of the metrics
    #[arg(long)]
    no_observation_metrics: bool,
    /// How logs are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

pub(crate) fn main(args: RunArgs) -> Result<ExitCode> {
    log(args.log_format);
    let address = match args.metrics_address.as_str() {
        "none" => None,
        text => Some(text.parse::<SocketAddr>().with_context(|| {
            format!("--metrics-address: found {text:?}, expected an address with a port, such as 0.0.0.0:8080, or none")
        })?),
    };
    for path in &args.files {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        KIScaler::parse(&text, &path.display().to_string())?;
    }
    runtime()?.block_on(async {
        let (client, home) = args.connection.client().await?;
        let identity = args.identity.unwrap_or_else(identity);
        let options = Options {
            namespace: args.namespace,
            files: args.files,
            lease: (!args.no_leader_election).then(|| (args.lease_namespace.unwrap_or(home), args.lease_name)),
            timing: Timing::default(),
            identity,
            address,
            observations: !args.no_observation_metrics,
            record: None,
            only_shadow: false,
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), identity = options.identity, "starting");
        let (stopper, stopped) = stop();
        tokio::spawn(async move {
            signalled().await;
            tracing::info!("stopping");
            stopper.stop();
        });
        run(client, options, stopped).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Host and process, and something that no other process of that number had.
pub(crate) fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let host = host.or_else(|| std::fs::read_to_string("/etc/hostname").ok()).unwrap_or_else(|| "agent".to_owned());
    let nanos = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
    format!("{}-{}-{:x}", host.trim(), std::process::id(), nanos & 0xff_ffff)
}

pub(super) async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        },
        Err(_) => _ = interrupt.await,
    }
}

/// Logs go to standard error; `RUST_LOG` says which.
pub(crate) fn log(format: LogFormat) {
    use std::io::IsTerminal as _;
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, in tests, changes nothing.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
