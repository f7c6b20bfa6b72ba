//! Whose GPU it is: the kubelet's pod resources (KEP-606), asked over its socket as the DCGM exporter does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::protobuf::{Value, fields};

/// Where the kubelet listens.
pub const SOCKET: &str = "/var/lib/kubelet/pod-resources/kubelet.sock";

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer that is read, bytes.
const LONGEST: usize = 16 << 20;

/// A container that has a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its pod's namespace.
    pub namespace: String,
    /// Its pod's name.
    pub pod: String,
    /// Its name.
    pub container: String,
}

/// Who has which GPU, by its UUID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    owners: BTreeMap<String, Vec<Owner>>,
}

/// Why nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum AttributionError {
    /// The socket does not answer.
    #[error("cannot connect to the kubelet at {path}: {reason}")]
    Connect {
        /// The socket.
        path: String,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// It takes too long.
    #[error("the kubelet does not answer within {} s", PATIENCE.as_secs())]
    Late,
    /// The call fails.
    #[error("the kubelet's answer breaks off: {0}")]
    Call(Box<dyn std::error::Error + Send + Sync>),
    /// It answers something else.
    #[error("the kubelet answers {found}, expected a list of pod resources")]
    Answer {
        /// What it answers.
        found: String,
    },
}

impl Attribution {
    /// Who has the GPU.
    pub fn of(&self, uuid: &str) -> &[Owner] {
        self.owners.get(uuid).map_or(&[], Vec::as_slice)
    }

    /// Notes that `owner` has the GPU. A share of one (time slicing names it `UUID::3`) is of that one.
    pub fn add(&mut self, device: &str, owner: Owner) {
        let uuid = device.split("::").next().unwrap_or(device);
        let owners = self.owners.entry(uuid.to_owned()).or_default();
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }

    /// Reads a `ListPodResourcesResponse` (k8s.io/kubelet/pkg/apis/podresources/v1); devices of other vendors are left
    /// out. `None` where it is none.
    pub fn parse(response: &[u8]) -> Option<Attribution> {
        let mut attribution = Attribution::default();
        for pod in messages(response, 1)? {
            let (name, namespace) = (string(pod, 1)?, string(pod, 2)?);
            for container in messages(pod, 3)? {
                let owner = Owner { namespace: namespace.clone(), pod: name.clone(), container: string(container, 1)? };
                for devices in messages(container, 2)? {
                    if !string(devices, 1)?.starts_with("nvidia.com/") {
                        continue;
                    }
                    for (_, device) in fields(devices)?.into_iter().filter(|(number, _)| *number == 2) {
                        attribution.add(device.text()?, owner.clone());
                    }
                }
            }
        }
        Some(attribution)
    }

    /// Asks the kubelet at `socket`.
    ///
    /// # Errors
    /// If it is not there, or does not answer what it should.
    pub async fn ask(socket: &Path) -> Result<Attribution, AttributionError> {
        tokio::time::timeout(PATIENCE, ask(socket)).await.map_err(|_| AttributionError::Late)?
    }
}

/// One unary gRPC call (the protocol is gRPC over HTTP/2): a frame there, a frame back, a status in the trailers.
async fn ask(socket: &Path) -> Result<Attribution, AttributionError> {
    let call = |e: Box<dyn std::error::Error + Send + Sync>| AttributionError::Call(e);
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|reason| AttributionError::Connect { path: socket.display().to_string(), reason })?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|e| call(e.into()))?;
    let connection = tokio::spawn(connection);
    // An empty request: not compressed, of length 0.
    let request = Request::post("http://localhost/v1.PodResourcesLister/List")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(&[0; 5])))
        .map_err(|e| call(e.into()))?;
    let response = sender.send_request(request).await.map_err(|e| call(e.into()))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST).collect().await.map_err(call)?;
    connection.abort();
    let status = head.headers.get("grpc-status").or_else(|| body.trailers().and_then(|t| t.get("grpc-status")));
    let status = status.and_then(|s| s.to_str().ok()).unwrap_or("none").to_owned();
    if status != "0" {
        return Err(AttributionError::Answer { found: format!("HTTP {} with gRPC status {status}", head.status) });
    }
    let bytes = body.to_bytes();
    let frame = bytes.split_at_checked(5).filter(|(prefix, message)| {
        let length = prefix.iter().skip(1).fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        prefix.first() == Some(&0) && length == message.len()
    });
    let found = || AttributionError::Answer { found: format!("{} bytes that are none", bytes.len()) };
    Attribution::parse(frame.ok_or_else(found)?.1).ok_or_else(found)
}

/// The messages in field `number` of a message.
fn messages(message: &[u8], number: u64) -> Option<Vec<&[u8]>> {
    let all = fields(message)?.into_iter().filter(|(n, _)| *n == number);
    all.map(|(_, value)| match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Number(_) => None,
    })
    .collect()
}

/// The string in field `number`; empty where it is left out, as protocol buffers do.
fn string(message: &[u8], number: u64) -> Option<String> {
    match fields(message)?.into_iter().rfind(|(n, _)| *n == number) {
        Some((_, value)) => value.text().map(str::to_owned),
        None => Some(String::new()),
    }
}
