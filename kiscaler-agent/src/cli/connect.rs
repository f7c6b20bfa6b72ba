//! Reaching the cluster.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How the cluster is reached.
#[derive(Clone, Debug, Args)]
pub(crate) struct Connection {
    /// A kubeconfig file; by default $KUBECONFIG, ~/.kube/config, or the cluster the agent runs in
    #[arg(long)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in it
    #[arg(long)]
    pub(crate) context: Option<String>,
}

impl Connection {
    /// A client, and the namespace that it is at home in.
    pub(crate) async fn client(&self) -> Result<(Client, String)> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let file = Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
                Config::from_custom_kubeconfig(file, &options).await?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await?,
            (None, None) => {
                Config::infer().await.context("no kubeconfig, and not inside a cluster; see --kubeconfig")?
            }
        };
        // Watches end on the server after some five minutes; one that is silent for longer is dead.
        config.read_timeout = Some(std::time::Duration::from_secs(330));
        config.connect_timeout = Some(std::time::Duration::from_secs(10));
        let home = config.default_namespace.clone();
        Ok((Client::try_from(config)?, home))
    }
}

/// What runs asynchronous code: two threads do for hundreds of KIScalers.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start the runtime")
}
