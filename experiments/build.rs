//! The code version: what determines rows, so that results of other code are known to be such.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

/// What determines rows, relative to the repository. How results are presented, documentation and tests do not.
const SOURCES: [&str; 12] = [
    "Cargo.lock",
    "experiments/src/cell.rs",
    "experiments/src/scene.rs",
    "experiments/src/work",
    "kiscaler-train/Cargo.toml",
    "kiscaler-train/configs",
    "kiscaler-train/policies",
    "kiscaler-train/src",
    "kisim/Cargo.toml",
    "kisim/profiles",
    "kisim/src",
    "scenarios",
];

fn main() -> Result<()> {
    let repository = Path::new("..");
    let mut digest = Sha256::new();
    for source in SOURCES {
        let source = repository.join(source);
        println!("cargo::rerun-if-changed={}", source.display());
        for file in files(&source)? {
            let name = file.strip_prefix(repository).unwrap_or(&file).display().to_string();
            let bytes = std::fs::read(&file).map_err(|e| named(&file, e))?;
            // With their lengths, so that no two trees give the same stream of bytes.
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        }
    }
    let code: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=EXPERIMENTS_CODE={code}");

    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.map_or("unknown".to_owned(), |v| String::from_utf8_lossy(&v.stdout).trim().to_owned());
    println!("cargo::rustc-env=EXPERIMENTS_RUSTC={version}");
    println!("cargo::rustc-env=EXPERIMENTS_PROFILE={}", std::env::var("PROFILE").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

fn named(path: &Path, error: Error) -> Error {
    Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}

/// The file, or the files in the folder and in those in it, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| named(path, e))?;
    let mut names: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    names.sort();
    let mut all = Vec::new();
    for name in names {
        all.extend(files(&name)?);
    }
    Ok(all)
}
