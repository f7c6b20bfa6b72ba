//! By what a result is known to be current: the cell, the code that runs it, and the trace that it replays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, anyhow};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cell::Cell;

/// The code version: SHA-256 of all sources that determine rows, in hexadecimal.
pub const CODE: &str = env!("EXPERIMENTS_CODE");

/// What a cell's rows depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// SHA-256 of the cell, the code version and the trace, in hexadecimal.
    pub key: String,
    /// SHA-256 of the trace's file, where one is replayed.
    pub trace: Option<String>,
}

impl Key {
    /// Of a cell, this code, and the trace with that digest.
    ///
    /// # Errors
    /// If the cell is no JSON.
    pub fn of(cell: &Cell, trace: Option<&str>) -> Result<Key> {
        let key = digest_of(&json!({"cell": cell, "code": CODE, "trace": trace}))?;
        Ok(Key { key, trace: trace.map(str::to_owned) })
    }
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of its canonical JSON: keys in order, no white space.
///
/// # Errors
/// If it is no JSON.
pub fn digest_of(value: &impl Serialize) -> Result<String> {
    let mut text = String::new();
    canonical(&serde_json::to_value(value)?, &mut text);
    Ok(digest(text.as_bytes()))
}

/// Whether a map of `serde_json` is in order depends on what other crates ask of it.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            out.push('{');
            for (index, (name, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(value, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// The folder of public traces, where there is one. Files are looked at once.
#[derive(Debug, Default)]
pub struct Traces {
    folder: Option<PathBuf>,
    digests: Mutex<BTreeMap<PathBuf, Option<String>>>,
}

impl Traces {
    /// In `folder`.
    ///
    /// # Errors
    /// If that is no folder.
    pub fn new(folder: Option<&Path>) -> Result<Traces> {
        match folder {
            Some(folder) if !folder.is_dir() => {
                Err(anyhow!("--traces {}: found no folder, expected the folder of public traces", folder.display()))
            }
            _ => Ok(Traces { folder: folder.map(Path::to_owned), digests: Mutex::default() }),
        }
    }

    /// The folder.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// SHA-256 of a file in it; why there is none.
    ///
    /// # Errors
    /// If there is no folder, or no such file in it.
    pub fn digest(&self, file: &Path) -> std::result::Result<String, String> {
        let Some(folder) = &self.folder else {
            return Err(format!("replays {}, and no folder of traces was given", file.display()));
        };
        let read = || std::fs::read(folder.join(file)).ok().map(|bytes| digest(&bytes));
        let found = match self.digests.lock() {
            Ok(mut known) => known.entry(file.to_owned()).or_insert_with(read).clone(),
            Err(_) => read(),
        };
        found.ok_or_else(|| format!("replays {}, which is not in the folder of traces", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn canonical_json_does_not_depend_on_the_order_of_keys() {
        let check = |text: &str, expected: &str| {
            let mut out = String::new();
            canonical(&serde_json::from_str(text).unwrap(), &mut out);
            assert_eq!(out, expected);
        };
        check(r#"{"b": 1, "a": [1.0, null, {"z": "x\"y", "k": {}}]}"#, r#"{"a":[1.0,null,{"k":{},"z":"x\"y"}],"b":1}"#);
        check("{}", "{}");
        check("[]", "[]");
        assert_eq!(digest_of(&json!({"a": 1, "b": 2})).unwrap(), digest(br#"{"a":1,"b":2}"#));
    }

    #[test]
    fn traces_that_are_not_there_are_named() {
        let none = Traces::new(None).unwrap();
        assert!(none.digest(Path::new("a/b.csv")).unwrap_err().contains("a/b.csv"));
        assert!(Traces::new(Some(Path::new("/no/such/folder"))).is_err());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("abc.csv"), "abc").unwrap();
        let some = Traces::new(Some(folder.path())).unwrap();
        assert_eq!(some.digest(Path::new("abc.csv")).unwrap(), digest(b"abc"));
        assert!(some.digest(Path::new("other.csv")).unwrap_err().contains("other.csv"));
    }
}
