//! A real Prometheus between pods and agent.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use kube::ResourceExt as _;
use serde_json::json;
use testcluster::Process;

use crate::world::{Answer, World};

const SOON: Duration = Duration::from_secs(45);

/// Prometheus' program, from Debian's package or elsewhere in the path.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("prometheus")).find(|file| file.is_file())
}

struct Server {
    world_folder: PathBuf,
    port: u16,
    _process: Process,
}

impl Server {
    fn start(world: &World, program: &PathBuf, port: u16) -> Result<Server> {
        let folder = world.cluster.folder().join("prometheus");
        std::fs::create_dir_all(&folder)?;
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "scrape_configs": [{
                "job_name": "pods",
                "file_sd_configs": [{"files": [folder.join("targets.json")], "refresh_interval": "1s"}],
                // The path is each target's own.
                "relabel_configs": [{"source_labels": ["path"], "target_label": "__metrics_path__"}],
            }],
        });
        std::fs::write(folder.join("prometheus.yml"), config.to_string())?;
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::start(&mut command, &folder.join(format!("log-{port}")))?;
        Ok(Server { world_folder: folder, port, _process: process })
    }

    /// Tells it of the pods there are.
    fn discover(&self, world: &World) -> Result<()> {
        let address = world.exporter.address();
        let targets: Vec<_> = world
            .pods()?
            .iter()
            .map(|pod| {
                let path = format!("/pods/{}/metrics", pod.name_any());
                json!({"targets": [address], "labels": {"pod": pod.name_any(), "namespace": world.namespace, "path": path}})
            })
            .collect();
        // Renamed into place: half a file is none.
        let file = self.world_folder.join("targets.json");
        std::fs::write(file.with_extension("new"), serde_json::to_string(&targets)?)?;
        Ok(std::fs::rename(file.with_extension("new"), &file)?)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

#[test]
fn a_real_prometheus_is_read_and_missed_when_it_stops() -> Result<()> {
    let Some(program) = program() else {
        writeln!(
            std::io::stderr(),
            "\nThe test with a real Prometheus DID NOT RUN: there is none; apt-get install prometheus\n"
        )?;
        let required = std::env::var("KIS_REQUIRE_PROMETHEUS").is_ok_and(|v| v == "1");
        assert!(!required, "KIS_REQUIRE_PROMETHEUS=1, and there is no prometheus in PATH");
        return Ok(());
    };
    let Some(world) = World::new("prometheus")? else { return Ok(()) };
    world.deploy("triton")?;
    world.until("a pod", SOON, || Ok(world.ready("triton")? == 1))?;
    world.exporter.set(Answer::Busy(50.0, 1));
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let server = Server::start(&world, &program, port)?;
    server.discover(&world)?;
    let metrics = json!({"direct": null, "prometheus": {"url": server.url(), "gpuPodLabel": "pod"}});
    world.scale(
        "triton",
        json!({"metrics": metrics, "safety": {"staleAfter": "5s"}, "policy": {"baseline": "hpa:60"}}),
    )?;
    let _agent = world.agent("a", &["--no-leader-election"])?;
    world.until("a decision", SOON, || Ok(world.reason("triton")? == "Steady"))?;

    // It stops: what it said grows old, and nothing is done by it.
    drop(server);
    world.exporter.set(Answer::Busy(100.0, 30));
    world.until("it to be missed", SOON, || Ok(world.reason("triton")? == "StaleMetrics"))?;
    assert_eq!(world.replicas("triton")?, 1);
    let message = world.message("triton")?;
    assert!(message.contains("refused"), "{message}");

    // It comes back, and does not reach the pod.
    world.exporter.set(Answer::Status(503));
    let server = Server::start(&world, &program, port)?;
    server.discover(&world)?;
    world.until("it to know nothing", SOON, || {
        Ok(["NoMetrics", "StaleMetrics"].contains(&world.reason("triton")?.as_str()))
    })?;
    world.until("to be said", SOON, || Ok(world.message("triton")?.contains("could not scrape it")))?;

    // Now it does.
    world.exporter.set(Answer::Busy(100.0, 30));
    world.until("it to be followed", SOON, || {
        server.discover(&world)?;
        Ok(world.replicas("triton")? >= 2)
    })?;

    // Somebody else is at its address.
    world.change(
        "triton",
        json!({"metrics": {"prometheus": {"url": format!("http://{}", world.exporter.address())}}}),
    )?;
    world.until("it to be noticed", SOON, || {
        Ok(world.reason("triton")? == "StaleMetrics" || world.reason("triton")? == "NoMetrics")
    })
}
