//! Which revision this is, for checkpoints.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // Changes of files that are not committed are not noticed until the crate is built again for another reason.
    let revision = git(&["describe", "--always", "--abbrev=12", "--dirty"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=KISCALER_REVISION={revision}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}
