//! The edge of the exporter: reads when it is asked, and serves.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio::net::TcpListener;

use super::attribution::Attribution;
use super::exposition;
use super::nvml::{Driver, DriverError};
use crate::serve::{Answer, serve};

/// How often the kubelet is asked whose GPUs they are: as often as pods come and go.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How it is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// NVML's library, if it is not to be searched for.
    pub nvml: Option<OsString>,
    /// The kubelet's socket.
    pub pod_resources: PathBuf,
    /// The node's name.
    pub node: String,
    /// Whether to wait where there is no driver.
    pub keep_trying: bool,
}

/// The driver, if it is there, and whose GPUs they are.
struct State {
    setup: Setup,
    driver: Mutex<Option<Driver>>,
    owners: Mutex<Attribution>,
}

/// The metrics once.
///
/// # Errors
/// If there is no driver.
pub async fn once(setup: &Setup) -> Result<String, DriverError> {
    let state = State::new(setup.clone());
    state.ask().await;
    state.metrics()
}

/// Serves `/metrics` and `/healthz` on `listener` until `stop` is done; `started` is called when it begins.
///
/// # Errors
/// If there is no driver at the start, unless it is to keep trying.
pub async fn run(
    setup: Setup,
    listener: TcpListener,
    started: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<(), DriverError> {
    let state = Arc::new(State::new(setup));
    if let Err(error) = state.metrics() {
        if !state.setup.keep_trying {
            return Err(error);
        }
        tracing::warn!(%error, "waiting for a driver");
    }
    started();
    let asking = Arc::clone(&state);
    let ask = async move {
        loop {
            asking.ask().await;
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    let answer = move |path: &str| match path {
        "/metrics" => match state.metrics() {
            Ok(text) => Answer::metrics(text),
            Err(error) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        },
        "/healthz" => Answer::text(StatusCode::OK, "ok"),
        _ => Answer::text(StatusCode::NOT_FOUND, "expected /metrics"),
    };
    tokio::select! {
        () = stop => {}
        _ = serve(listener, answer) => {}
        () = ask => {}
    }
    Ok(())
}

impl State {
    fn new(setup: Setup) -> Self {
        State { setup, driver: Mutex::new(None), owners: Mutex::new(Attribution::default()) }
    }

    /// Asks the kubelet. What it said last stays where it says nothing.
    async fn ask(&self) {
        match Attribution::ask(&self.setup.pod_resources).await {
            Ok(owners) => *self.owners.lock().unwrap_or_else(PoisonError::into_inner) = owners,
            Err(error) => tracing::debug!(%error, "whose GPUs they are is not known"),
        }
    }

    /// Reads all GPUs now. A driver that went away is looked for again the next time.
    fn metrics(&self) -> Result<String, DriverError> {
        let mut slot = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = match slot.take() {
            Some(driver) => driver,
            None => Driver::load(self.setup.nvml.as_ref())?,
        };
        let (readings, errors) = driver.read()?;
        for error in &errors {
            tracing::debug!(gpu = error.gpu, field = error.field, reason = error.reason, "a figure is missing");
        }
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let text = exposition(&readings, &errors, &owners, &self.setup.node, &driver.version);
        *slot = Some(driver);
        Ok(text)
    }
}
