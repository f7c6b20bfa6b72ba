//! A small HTTP server: `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;

use super::Telemetry;
use crate::serve::{Answer, ListenError, listen};
use crate::shutdown::Stop;

/// Whether the agent knows the cluster well enough to decide.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether it is.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Serves on `address` until `stop`; the address that it got, once it listens.
///
/// # Errors
/// The address is taken, or not ours.
pub async fn serve(
    address: SocketAddr,
    telemetry: Arc<Telemetry>,
    readiness: Readiness,
    mut stop: Stop,
) -> Result<SocketAddr, ListenError> {
    let listener = listen(address).await?;
    let bound = listener.local_addr().map_err(|reason| ListenError { address, reason })?;
    tokio::spawn(async move {
        tokio::select! {
            _ = crate::serve::serve(listener, move |path| answer(path, &telemetry, &readiness)) => {}
            () = stop.heard() => {}
        }
    });
    Ok(bound)
}

fn answer(path: &str, telemetry: &Telemetry, readiness: &Readiness) -> Answer {
    match path {
        "/metrics" => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Answer { status: StatusCode::OK, content_type, body: telemetry.encode() }
        }
        "/healthz" => Answer::text(StatusCode::OK, "ok"),
        "/readyz" if readiness.is_ready() => Answer::text(StatusCode::OK, "ok"),
        "/readyz" => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the cluster's objects are not known yet"),
        _ => Answer::text(StatusCode::NOT_FOUND, "expected /metrics, /healthz or /readyz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Credentials, HttpClient, HttpError, Tls};
    use std::time::Duration;

    #[tokio::test]
    async fn probes_and_metrics_are_answered() {
        let (stopper, stopped) = crate::shutdown::stop();
        let (telemetry, readiness) = (Arc::new(Telemetry::default()), Readiness::default());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = serve(any, Arc::clone(&telemetry), readiness.clone(), stopped).await.unwrap();
        let client = HttpClient::new(&Tls::System).unwrap();
        let get = |path: &str| {
            let (url, client) = (format!("http://{address}{path}"), client.clone());
            async move { client.get(&url, &Credentials::None, Duration::from_secs(5)).await }
        };
        assert_eq!(get("/healthz").await.unwrap(), "ok\n");
        assert!(matches!(get("/readyz").await, Err(HttpError::Status { status, .. }) if status == 503));
        readiness.set(true);
        assert_eq!(get("/readyz").await.unwrap(), "ok\n");
        telemetry.leads(true);
        let text = String::from_utf8(get("/metrics").await.unwrap().to_vec()).unwrap();
        assert!(text.contains("\nkiscaler_leader 1\n") && text.ends_with("# EOF\n"), "{text}");
        assert!(matches!(get("/").await, Err(HttpError::Status { status, .. }) if status == 404));
        stopper.stop();
    }
}
