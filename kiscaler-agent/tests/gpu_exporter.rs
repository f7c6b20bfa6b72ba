//! The real NVML bindings against a library that offers NVML's functions, and a kubelet that says whose GPUs they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiscaler_agent::exporter::attribution::{Attribution, Owner};

/// The library, compiled once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libnvidia-ml-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nvml/nvml.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-Wno-unused-function", "-o"])
            .arg(&path)
            .arg(source)
            .status()
            .expect("a C compiler, cc");
        assert!(status.success());
        path
    })
}

fn exporter(fault: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"));
    command.arg("gpu-exporter").env("NVML_TEST_FAULT", fault).env_remove("NODE_NAME");
    command.args(["--pod-resources", "/nowhere/kubelet.sock"]);
    command
}

fn once(fault: &str) -> String {
    let output = exporter(fault).args(["--once", "--node", "node-1", "--nvml"]).arg(library()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The value of the only series of `name` of this GPU.
fn value(text: &str, name: &str, gpu: u32) -> Option<f64> {
    let start = format!("{name}{{gpu=\"{gpu}\",");
    let mut found = text.lines().filter(|line| line.starts_with(&start));
    let line = found.next()?;
    assert!(found.next().is_none(), "two series: {start}");
    Some(line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn every_figure_has_dcgms_name_and_unit() {
    let text = once("");
    for (name, zero, one) in [
        ("DCGM_FI_DEV_GPU_UTIL", 37.0, 0.0),
        ("DCGM_FI_DEV_MEM_COPY_UTIL", 12.0, 0.0),
        ("DCGM_FI_DEV_FB_USED", 1000.0, 3.0),
        ("DCGM_FI_DEV_FB_FREE", 14000.0, 15357.0),
        ("DCGM_FI_DEV_FB_RESERVED", 360.0, 0.0),
        ("DCGM_FI_DEV_POWER_USAGE", 61.25, 9.0),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 123_456_789.0, 1000.0),
        ("DCGM_FI_DEV_GPU_TEMP", 41.0, 30.0),
        ("DCGM_FI_DEV_SM_CLOCK", 1410.0, 300.0),
        ("DCGM_FI_DEV_MEM_CLOCK", 1215.0, 405.0),
        ("DCGM_FI_DEV_ENC_UTIL", 0.0, 0.0),
        ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", 0.0, 0.0),
    ] {
        assert_eq!(value(&text, name, 0), Some(zero), "{name} in\n{text}");
        assert_eq!(value(&text, name, 1), Some(one), "{name}");
    }
    assert!(!text.contains("DCGM_FI_DEV_DEC_UTIL"), "the library has no such function: {text}");
    let labels = "gpu=\"0\",UUID=\"GPU-11111111-2222-3333-4444-555555555555\",pci_bus_id=\"00000000:17:00.0\",\
                  device=\"nvidia0\",modelName=\"NVIDIA Test A\",Hostname=\"node-1\",DCGM_FI_DRIVER_VERSION=\"570.86.15\"";
    assert!(text.contains(&format!("DCGM_FI_DEV_GPU_UTIL{{{labels}}} 37\n")), "{text}");
}

#[test]
fn what_a_gpu_does_not_support_is_left_out_and_no_error() {
    let text = once("old");
    assert_eq!(value(&text, "DCGM_FI_DEV_GPU_UTIL", 0), Some(37.0));
    assert_eq!(value(&text, "DCGM_FI_DEV_GPU_UTIL", 1), None);
    assert_eq!(value(&text, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 1), None);
    assert_eq!(value(&text, "DCGM_FI_DEV_GPU_TEMP", 1), Some(30.0));
    assert!(text.contains("kiscaler_gpu_exporter_errors{gpu=\"1\"} 0\n"), "{text}");
}

#[test]
fn a_lost_gpu_takes_no_other_with_it() {
    let text = once("gpu-lost");
    assert_eq!(value(&text, "DCGM_FI_DEV_GPU_UTIL", 0), Some(37.0));
    assert_eq!(value(&text, "DCGM_FI_DEV_GPU_UTIL", 1), None);
    assert!(text.contains("kiscaler_gpu_exporter_errors{gpu=\"1\",field=\"device\"} 1\n"), "{text}");
}

#[test]
fn without_a_driver_there_is_a_sentence_and_2() {
    let refused = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refused(exporter("").args(["--once", "--nvml", "/nowhere/libnvidia-ml.so.1"]));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("kiscaler-agent: cannot load NVML from /nowhere/libnvidia-ml.so.1: "), "{text}");
    assert!(text.contains("expected NVIDIA's driver on this node"), "{text}");
    let text = refused(exporter("no-driver").args(["--listen", "127.0.0.1:0", "--nvml"]).arg(library()));
    assert!(text.contains("does not start: NVIDIA driver is not loaded"), "{text}");
}

/// The exporter as a server, on a port of its own; ends with us.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(command: &mut Command) -> Served {
        let mut child = command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it serves").unwrap();
            if let Some(rest) = line.strip_prefix("serving http://") {
                break rest.trim_end_matches("/metrics").to_owned();
            }
        };
        // What else it says is read, lest the pipe fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Served { child, address }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_waits_for_a_driver_where_it_is_told_to_and_its_target_is_down_meanwhile() {
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("later-{}.so", std::process::id()));
    let served = Served::start(exporter("").args(["--keep-trying", "--nvml"]).arg(&nowhere));
    let (status, body) = served.get("/metrics");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("cannot load NVML") && !body.contains("DCGM"), "no numbers where there are none: {body}");
    assert_eq!(served.get("/healthz").0, 200);
    std::fs::copy(library(), &nowhere).unwrap();
    let (status, body) = served.get("/metrics");
    assert_eq!((status, value(&body, "DCGM_FI_DEV_GPU_UTIL", 0)), (200, Some(37.0)));
    std::fs::remove_file(nowhere).unwrap();
}

#[test]
fn a_driver_that_goes_away_takes_its_figures_with_it() {
    let served = Served::start(exporter("unloaded").args(["--nvml"]).arg(library()));
    // The first reading was at the start.
    let (status, body) = served.get("/metrics");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("NVML does not tell the number of GPUs: NVIDIA driver is not loaded"), "{body}");
}

/// A field of a message of protocol buffers: bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut text = vec![number << 3 | 2];
    while length >= 0x80 {
        text.push(length as u8 | 0x80);
        length >>= 7;
    }
    text.push(length as u8);
    text.extend(bytes);
    text
}

fn pod(namespace: &str, name: &str, container: &str, resource: &str, devices: &[&str]) -> Vec<u8> {
    let devices: Vec<u8> = devices.iter().flat_map(|id| field(2, id.as_bytes())).collect();
    let devices = [field(1, resource.as_bytes()), devices, field(3, &[])].concat();
    let container = [field(1, container.as_bytes()), field(2, &devices)].concat();
    field(1, &[field(1, name.as_bytes()), field(2, namespace.as_bytes()), field(3, &container)].concat())
}

const ONE: &str = "GPU-11111111-2222-3333-4444-555555555555";

fn resources() -> Vec<u8> {
    [
        pod("prod", "triton-a", "server", "nvidia.com/gpu", &[ONE]),
        pod("prod", "shared-b", "c", "nvidia.com/gpu.shared", &["GPU-66666666-7777-8888-9999-aaaaaaaaaaaa::3"]),
        pod("prod", "net", "c", "example.com/nic", &[ONE]),
        field(1, &[field(1, b"no-devices"), field(2, b"prod")].concat()),
    ]
    .concat()
}

#[test]
fn the_kubelets_answer_is_read_and_rubbish_is_none() {
    let owners = Attribution::parse(&resources()).unwrap();
    let expected = Owner { namespace: "prod".into(), pod: "triton-a".into(), container: "server".into() };
    assert_eq!(owners.of(ONE), [expected]);
    assert_eq!(owners.of("GPU-66666666-7777-8888-9999-aaaaaaaaaaaa")[0].pod, "shared-b", "a share is of its GPU");
    assert_eq!(owners.of("GPU-other"), []);
    let whole = resources();
    assert_eq!(Attribution::parse(&whole[..whole.len() - 1]), None);
    assert_eq!(Attribution::parse(b""), Some(Attribution::default()));
}

/// A kubelet's socket that answers every call with `message` and this status.
fn kubelet(socket: &Path, message: Vec<u8>, status: &'static str) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let message = message.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                assert_eq!(request.uri().path(), "/v1.PodResourcesLister/List");
                assert_eq!(request.headers()["content-type"], "application/grpc");
                let mut body = vec![0];
                body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
                body.extend(&message);
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                let frames = [Frame::data(Bytes::from(body)), Frame::trailers(trailers)];
                let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, Infallible>)));
                async move { Ok::<_, Infallible>(Response::new(body)) }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn series_name_the_pod_that_has_the_gpu() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("kubelet.sock");
    let server = kubelet(&socket, resources(), "0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiscaler-agent"));
    command.args(["gpu-exporter", "--once", "--pod-resources"]).arg(&socket).arg("--nvml").arg(library());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"")).unwrap();
    assert!(line.ends_with(r#",container="server",namespace="prod",pod="triton-a"} 37"#), "{line}");
    server.abort();
}

#[tokio::test]
async fn a_kubelet_that_refuses_or_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("kubelet.sock");
    let missing = Attribution::ask(&socket).await.unwrap_err().to_string();
    assert!(missing.starts_with("cannot connect to the kubelet at "), "{missing}");
    let server = kubelet(&socket, resources(), "7");
    let refused = Attribution::ask(&socket).await.unwrap_err().to_string();
    assert_eq!(refused, "the kubelet answers HTTP 200 OK with gRPC status 7, expected a list of pod resources");
    server.abort();
}
