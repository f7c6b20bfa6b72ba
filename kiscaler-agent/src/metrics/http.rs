//! Requests for metrics: on the same HTTP stack as the Kubernetes client's.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The longest answer that is read: far more than any server's metrics, and little enough to hold.
const LONGEST: usize = 16 << 20;

/// Which certificates to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Those that the system trusts.
    #[default]
    System,
    /// These alone, PEM.
    Pem(Vec<u8>),
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// Whoever has this token.
    Bearer(String),
    /// A user.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is none.
    #[error("{url}: found no URL, expected one: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: http::uri::InvalidUri,
    },
    /// Certificates or credentials cannot be used.
    #[error("{0}")]
    Setup(String),
    /// Nobody answered in time.
    #[error("no answer from {url} within {after:?}")]
    Timeout {
        /// The address.
        url: String,
        /// The time waited.
        after: Duration,
    },
    /// Nobody answered.
    #[error("no answer from {url}: {reason}")]
    Connection {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer is longer than anything that is wanted.
    #[error("{url} answered more than {most} bytes, expected at most as many")]
    TooLong {
        /// The address.
        url: String,
        /// The most that is read.
        most: usize,
    },
    /// The answer was something else than success.
    #[error("{url} answered {status}, expected 200")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: StatusCode,
        /// The beginning of what it said.
        body: Bytes,
    },
}

/// Asks over HTTP and HTTPS, and keeps connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    /// A client that trusts what `tls` says.
    ///
    /// # Errors
    /// The certificates are none.
    pub fn new(tls: &Tls) -> Result<HttpClient, HttpError> {
        let provider = rustls::crypto::ring::default_provider();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let with = |roots: RootCertStore| {
            ClientConfig::builder_with_provider(provider.clone().into())
                .with_safe_default_protocol_versions()
                .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
                .map_err(|e| HttpError::Setup(format!("TLS: {e}")))
        };
        let builder = match tls {
            // An image without certificates can still ask over plain HTTP.
            Tls::System => match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider.clone()) {
                Ok(builder) => builder,
                Err(_) => HttpsConnectorBuilder::new().with_tls_config(with(RootCertStore::empty())?),
            },
            Tls::Pem(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let added =
                        certificate.map_err(|e| e.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
                    added.map_err(|e| HttpError::Setup(format!("metrics.prometheus.ca: {e}")))?;
                }
                if roots.is_empty() {
                    let message = "metrics.prometheus.ca: found no certificate, expected PEM";
                    return Err(HttpError::Setup(message.to_owned()));
                }
                HttpsConnectorBuilder::new().with_tls_config(with(roots)?)
            }
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(HttpClient { client })
    }

    /// What is at `url`.
    ///
    /// # Errors
    /// No answer within `timeout`, or one that is no success.
    pub async fn get(&self, url: &str, credentials: &Credentials, timeout: Duration) -> Result<Bytes, HttpError> {
        self.send(Method::GET, url, None, credentials, timeout).await
    }

    /// What `url` answers to a form, already encoded.
    ///
    /// # Errors
    /// As [`get`](HttpClient::get).
    pub async fn post_form(
        &self,
        url: &str,
        form: String,
        credentials: &Credentials,
        timeout: Duration,
    ) -> Result<Bytes, HttpError> {
        self.send(Method::POST, url, Some(form), credentials, timeout).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        form: Option<String>,
        credentials: &Credentials,
        timeout: Duration,
    ) -> Result<Bytes, HttpError> {
        let uri: Uri = url.parse().map_err(|reason| HttpError::Url { url: url.to_owned(), reason })?;
        let mut request = Request::builder().method(method).uri(uri);
        if form.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(value) = authorization(credentials)? {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(Bytes::from(form.unwrap_or_default())))
            .map_err(|e| HttpError::Setup(format!("{url}: {e}")))?;
        let exchange = async {
            let failed = |reason: String| HttpError::Connection { url: url.to_owned(), reason };
            let response = self.client.request(request).await.map_err(|e| failed(innermost(&e)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|e| match e.is::<LengthLimitError>() {
                true => HttpError::TooLong { url: url.to_owned(), most: LONGEST },
                false => failed(e.to_string()),
            });
            let body = body?.to_bytes();
            match status {
                StatusCode::OK => Ok(body),
                _ => Err(HttpError::Status { url: url.to_owned(), status, body }),
            }
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HttpError::Timeout { url: url.to_owned(), after: timeout }),
        }
    }
}

fn authorization(credentials: &Credentials) -> Result<Option<HeaderValue>, HttpError> {
    use k8s_openapi::ByteString;
    let text = match credentials {
        Credentials::None => return Ok(None),
        Credentials::Bearer(token) => format!("Bearer {}", token.trim()),
        Credentials::Basic { username, password } => {
            // Kubernetes' byte strings are base64 in JSON, which is what is wanted here.
            let bytes = ByteString(format!("{username}:{password}").into_bytes());
            let encoded = serde_json::to_value(bytes).map_err(|e| HttpError::Setup(e.to_string()))?;
            format!("Basic {}", encoded.as_str().unwrap_or_default())
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        HttpError::Setup("credentials: found a line break or worse, expected visible characters".into())
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The sentence that says most: what the operating system or TLS said.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_headers() {
        let header = |credentials| authorization(&credentials).unwrap().unwrap().to_str().unwrap().to_owned();
        assert_eq!(header(Credentials::Bearer("abc\n".into())), "Bearer abc");
        let basic = Credentials::Basic { username: "Aladdin".into(), password: "open sesame".into() };
        assert_eq!(header(basic), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(authorization(&Credentials::Bearer("a\nb".into())).is_err());
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let error = HttpClient::new(&Tls::Pem(b"hello".to_vec())).unwrap_err().to_string();
        assert!(error.contains("found no certificate"), "{error}");
    }
}
