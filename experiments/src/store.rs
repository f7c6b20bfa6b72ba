//! Results on disk: `EXPERIMENT/cells/CELL.json`, the unit of what is done and what is not.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use kisim::report::write_atomically;
use serde::{Deserialize, Serialize};

use crate::cell::{Cell, Row};
use crate::key::{CODE, Key, digest_of};

/// A folder of results.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// What a cell gave: the content of its file. No time and no machine is in it, so the same cell gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// See [`Key`].
    pub key: String,
    /// The code version that ran it.
    pub code: String,
    /// SHA-256 of the trace it replayed.
    pub trace: Option<String>,
    /// SHA-256 of the rows.
    pub rows_sha256: String,
    /// The cell.
    pub cell: Cell,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Record {
    /// Of a cell that is done.
    ///
    /// # Errors
    /// If rows are no JSON.
    pub fn new(cell: &Cell, key: &Key, rows: Vec<Row>) -> Result<Record> {
        Ok(Record {
            key: key.key.clone(),
            code: CODE.to_owned(),
            trace: key.trace.clone(),
            rows_sha256: digest_of(&rows)?,
            cell: cell.clone(),
            rows,
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is no record, or its rows are others than were written.
    pub fn load(path: &Path) -> Result<Record> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let record: Record =
            serde_json::from_slice(&bytes).with_context(|| format!("{}: no result of a cell", path.display()))?;
        let found = digest_of(&record.rows)?;
        ensure!(
            found == record.rows_sha256,
            "{}, field rows: found SHA-256 {found}, expected {} as in rows_sha256",
            path.display(),
            record.rows_sha256
        );
        Ok(record)
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// If it is no JSON.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Whether it is what running `cell` would give.
    pub fn is_of(&self, cell: &Cell, key: &Key) -> bool {
        self.key == key.key && self.code == CODE && self.cell.name == cell.name && self.cell.work == cell.work
    }
}

impl Store {
    /// In this folder.
    pub fn new(root: &Path) -> Store {
        Store { root: root.to_owned() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of an experiment.
    pub fn experiment(&self, experiment: &str) -> PathBuf {
        self.root.join(experiment)
    }

    /// The file of a cell.
    pub fn path(&self, experiment: &str, cell: &str) -> PathBuf {
        self.root.join(relative(experiment, cell))
    }

    /// Where a cell keeps what it needs while it works.
    pub fn scratch(&self, experiment: &str, cell: &str) -> PathBuf {
        self.root.join(".scratch").join(experiment).join(cell)
    }

    /// Removes the folders of [`scratch`](Store::scratch) that are empty. Not while cells run, who make theirs.
    pub fn sweep<'a>(&self, experiments: impl Iterator<Item = &'a str>) {
        let folder = self.root.join(".scratch");
        for experiment in experiments {
            // One that is not empty is kept, and is not removed by this.
            let _ = std::fs::remove_dir(folder.join(experiment));
        }
        let _ = std::fs::remove_dir(folder);
    }

    /// The result of `cell`, if it is there, whole and current. Anything else is run again.
    pub fn current(&self, experiment: &str, cell: &Cell, key: &Key) -> Option<Record> {
        Record::load(&self.path(experiment, &cell.name)).ok().filter(|record| record.is_of(cell, key))
    }

    /// Keeps a result.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, experiment: &str, record: &Record) -> Result<()> {
        let bytes = record.bytes()?;
        Ok(write_atomically(&self.path(experiment, &record.cell.name), |file| file.write_all(&bytes))?)
    }
}

/// Where a cell's file is in a folder of results.
pub fn relative(experiment: &str, cell: &str) -> String {
    format!("{experiment}/cells/{cell}.json")
}

/// Names of cells are names of files: letters, digits, `-`, `_` and `.`, the first none of the last three.
///
/// # Errors
/// If a name is no such, or there twice.
pub fn check_names(experiment: &str, cells: &[Cell]) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for Cell { name, .. } in cells {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(fits) || name.len() > 120 {
            bail!("experiment {experiment}: found a cell {name:?}, expected letters, digits, '-', '_' and '.'");
        }
        // Some file systems do not tell a from A.
        ensure!(
            seen.insert(name.to_lowercase()),
            "experiment {experiment}: found the cell {name} twice, expected it once"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::cell;

    #[test]
    fn what_is_not_whole_or_not_current_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let (a, b) = (cell("a", 1), cell("a", 2));
        let key = Key::of(&a, None).unwrap();
        assert_eq!(store.current("e", &a, &key), None, "absent");
        let rows =
            vec![Row::new().text("scene", "x").number("y", 0.1 + 0.2).count("seed", u64::MAX).number("z", f64::NAN)];
        store.write("e", &Record::new(&a, &key, rows.clone()).unwrap()).unwrap();
        assert_eq!(store.current("e", &a, &key).unwrap().rows, rows, "whole, to the last bit");
        assert_eq!(store.current("e", &b, &Key::of(&b, None).unwrap()), None, "another cell of that name");
        assert_eq!(store.current("e", &a, &Key::of(&a, Some("00")).unwrap()), None, "another trace");

        let path = store.path("e", "a");
        let whole = std::fs::read_to_string(&path).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 3] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(store.current("e", &a, &key), None, "cut off after {length} bytes");
        }
        let check = |what: &str, from: &str, to: &str| {
            assert!(whole.contains(from), "{what}");
            std::fs::write(&path, whole.replacen(from, to, 1)).unwrap();
            assert_eq!(store.current("e", &a, &key), None, "{what}");
        };
        check("a number that somebody changed", "0.30000000000000004", "0.3");
        check("other code", CODE, &"0".repeat(64));
        check("a field that we do not know", "{\"key\"", "{\"more\":1,\"key\"");
        std::fs::write(&path, &whole).unwrap();
        assert!(store.current("e", &a, &key).is_some(), "and what was written is taken");
    }

    #[test]
    fn names_of_cells_are_names_of_files() {
        let check = |names: &[&str], good: bool| {
            let cells: Vec<Cell> = names.iter().map(|name| cell(name, 1)).collect();
            assert_eq!(check_names("e", &cells).is_ok(), good, "{names:?}");
        };
        check(&["a", "b-1_x.y"], true);
        check(&["a", "a"], false);
        check(&["a", "A"], false);
        check(&["../a"], false);
        check(&[".a"], false);
        check(&["a b"], false);
        check(&[""], false);
    }
}
