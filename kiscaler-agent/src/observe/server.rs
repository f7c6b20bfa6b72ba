//! A small HTTP server: `/metrics`, `/healthz` and `/readyz`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Telemetry;
use crate::shutdown::Stop;

/// Connections at once: scrapers and probes are few, and whoever else comes waits.
const CONNECTIONS: usize = 64;

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

/// The server cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct ServerError {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub reason: std::io::Error,
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
) -> Result<SocketAddr, ServerError> {
    let failed = |reason| ServerError { address, reason };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Too many open files, or a peer that is gone: the next may fare better.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = stop.heard() => return,
            };
            let (telemetry, readiness) = (Arc::clone(&telemetry), readiness.clone());
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let response = answer(&request, &telemetry, &readiness);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(std::time::Duration::from_secs(10));
                // A peer that went away is no news.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                drop(slot);
            });
        }
    });
    Ok(bound)
}

fn answer<B>(request: &Request<B>, telemetry: &Telemetry, readiness: &Readiness) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "expected GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            respond(StatusCode::OK, kind, telemetry.encode())
        }
        "/healthz" => respond(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" if readiness.is_ready() => respond(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => {
            let text = "the cluster's objects are not known yet\n";
            respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", text.to_owned())
        }
        _ => respond(StatusCode::NOT_FOUND, "text/plain", "expected /metrics, /healthz or /readyz\n".to_owned()),
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
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
