//! Prometheus behind TLS and a password or a token: a real handshake, real headers, and what is said when they are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kiscaler_agent::api::{KIScaler, PrometheusSource};
use kiscaler_agent::metrics::{
    Credentials, HttpClient, Mapping, PodAddress, Prometheus, Round, Sampler, Tls, Wanted, unix_time,
};
use kiscaler_agent::plan::Needs;
use kisim::time::SimTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A server for `127.0.0.1` that answers as Prometheus does to whoever sends `authorization`, and 401 to others.
async fn server(authorization: &'static str) -> (SocketAddr, String) {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = certified.cert.pem();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever does not trust the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                let mut part = [0; 4096];
                loop {
                    let read = stream.read(&mut part).await.unwrap_or(0);
                    request.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&request).to_lowercase();
                    // A form follows the head; all of it ends with the timeout.
                    if read == 0 || text.contains("timeout=") {
                        break;
                    }
                }
                let allowed =
                    String::from_utf8_lossy(&request).contains(&format!("authorization: {authorization}\r\n"));
                let (status, body) = match allowed {
                    true => (200, body()),
                    false => (401, "Unauthorized\n".to_owned()),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all((head + &body).as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, pem)
}

fn body() -> String {
    let series = |name: &str, value: &str| serde_json::json!({"metric": {"__name__": name, "pod": "triton-a"}, "values": [[1000.0, value]]});
    let result = [series("istio_requests_total", "10"), series("nv_inference_pending_request_count", "2")];
    serde_json::json!({"status": "success", "data": {"resultType": "matrix", "result": result}}).to_string()
}

async fn ask(address: SocketAddr, tls: &Tls, credentials: Credentials) -> Result<Round, String> {
    let source: PrometheusSource =
        serde_json::from_value(serde_json::json!({"url": format!("https://{address}"), "timeout": "5s"})).unwrap();
    let client = HttpClient::new(tls).map_err(|e| e.to_string())?;
    let prometheus = Prometheus::new(&source, client, credentials);
    let text = "{apiVersion: kiscaler.dev/v1alpha1, kind: KIScaler, metadata: {name: a}, spec: {pools: {gpu: \
                {scaleTargetRef: {name: a}, maxReplicas: 2, profile: {name: a}}}, policy: {baseline: predictive}, \
                slo: {latency: 1s}, metrics: {preset: Triton, direct: {endpoints: ['http://a']}}}}";
    let mapping = Mapping::of(&KIScaler::parse(text, "test").unwrap().spec.metrics);
    let needs = Needs { requests: true, queued: true, ..Needs::default() };
    let pod = PodAddress { name: "triton-a".into(), namespace: "default".into(), ..PodAddress::default() };
    let wanted = [Wanted { id: 0, pool: 0, address: pod }];
    let range = (SimTime::from_secs_f64(1010.0), Duration::from_secs(60));
    prometheus.round(&mapping, &mut Sampler::new(needs, &[]), &wanted, range).await.map_err(|e| e.to_string())
}

#[tokio::test]
async fn tls_and_a_token_or_a_password_open_prometheus() {
    let token = || Credentials::Bearer("s3cret\n".into());
    let (address, pem) = server("Bearer s3cret").await;
    let trusted = Tls::Pem(pem.into_bytes());
    let round = ask(address, &trusted, token()).await.unwrap();
    let sample = &round.scrape.pods[0];
    assert_eq!((sample.at, sample.counters.arrived, sample.queued), (SimTime::from_secs_f64(1000.0), 10, 2));

    let refused = ask(address, &trusted, Credentials::Bearer("guess".into())).await.unwrap_err();
    assert!(refused.contains("answered 401"), "{refused}");
    let refused = ask(address, &trusted, Credentials::None).await.unwrap_err();
    assert!(refused.contains("answered 401"), "{refused}");
    // Somebody with a certificate of their own.
    let untrusted = ask(address, &Tls::System, token()).await.unwrap_err();
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let (_, other) = server("Bearer s3cret").await;
    let untrusted = ask(address, &Tls::Pem(other.into_bytes()), token()).await.unwrap_err();
    assert!(untrusted.contains("certificate"), "{untrusted}");

    let (address, pem) = server("Basic YWdlbnQ6czNjcmV0").await;
    let basic = Credentials::Basic { username: "agent".into(), password: "s3cret".into() };
    assert!(ask(address, &Tls::Pem(pem.into_bytes()), basic).await.is_ok());
    // Times are told from 1970 on.
    assert_eq!(unix_time("1970-01-01T00:00:01Z".parse().unwrap()), SimTime::from_secs_f64(1.0));
}
