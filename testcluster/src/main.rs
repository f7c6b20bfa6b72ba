//! A cluster to try things in: `cargo run -p kis-testcluster [NODES]` starts it and ends it with its input.

use std::io::{Write, stderr, stdin, stdout};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testcluster::{Cluster, not_built};

fn main() -> Result<()> {
    let nodes = match std::env::args().nth(1) {
        None => 2,
        Some(text) => text.parse().with_context(|| format!("argument 1 is {text}, expected a number of nodes"))?,
    };
    let Some(cluster) = Cluster::start(nodes, Duration::from_secs(15))? else {
        writeln!(stderr(), "{}", not_built("The cluster"))?;
        bail!("there is nothing to start");
    };
    writeln!(stdout(), "export KUBECONFIG={}", cluster.kubeconfig().display())?;
    writeln!(stderr(), "logs in {}; press Enter to end the cluster", cluster.folder().display())?;
    stdin().read_line(&mut String::new())?;
    Ok(())
}
