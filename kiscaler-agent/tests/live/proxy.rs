//! A way to the API server that can be closed: for those behind it, the server is gone.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

/// Forwards connections while it is open.
pub struct Proxy {
    kubeconfig: PathBuf,
    open: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// A proxy in front of the cluster of `kubeconfig`, and a kubeconfig of its own in `folder`.
    pub fn start(kubeconfig: &Path, folder: &Path, name: &str) -> Result<Proxy> {
        let text = std::fs::read_to_string(kubeconfig)?;
        let mut config: serde_json::Value = serde_json::from_str(&text)?;
        let server = config["clusters"][0]["cluster"]["server"].as_str().context("no server")?.to_owned();
        let target = server.trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        config["clusters"][0]["cluster"]["server"] = format!("https://{}", listener.local_addr()?).into();
        let own = folder.join(format!("proxy-{name}.json"));
        std::fs::write(&own, config.to_string())?;
        let (open, streams) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let (opened, kept) = (Arc::clone(&open), Arc::clone(&streams));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !opened.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let _ = forward(&client, &server, &kept);
            }
        });
        Ok(Proxy { kubeconfig: own, open, streams })
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Cuts all connections, and takes no new ones.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn reopen(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

fn forward(client: &TcpStream, server: &TcpStream, kept: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    kept.lock().unwrap().extend([client.try_clone()?, server.try_clone()?]);
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
