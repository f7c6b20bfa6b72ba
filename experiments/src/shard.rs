//! A run in parts, on machines that know nothing of each other: each does every N-th cell, and somebody joins them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::campaign::{named, write_joined};
use crate::experiment::{Experiment, Size};
use crate::key::{CODE, Key, Traces};
use crate::plan::Plan;
use crate::provenance::{Provenance, load};
use crate::store::{Record, Store, relative};

/// Which part, of how many: `0/3`, `1/3`, `2/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Shard, String> {
        let parse = || {
            let (index, of) = text.split_once('/')?;
            Some(Shard { index: index.parse().ok()?, of: of.parse().ok()? })
        };
        match parse() {
            Some(shard) if shard.index < shard.of => Ok(shard),
            _ => Err(format!("found {text:?}, expected I/N with I from 0 to N - 1, such as 0/4")),
        }
    }
}

/// What a shard did: `shards/I-of-N.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Which.
    pub shard: usize,
    /// Of how many.
    pub of: usize,
    /// How much is run by all of them.
    pub size: Size,
    /// The code version.
    pub code: String,
    /// Whether it came to its end.
    pub whole: bool,
    /// What is known of its cells, by experiment.
    pub experiments: BTreeMap<String, Provenance>,
}

impl Manifest {
    /// Its file in a folder of results.
    pub fn relative(index: usize, of: usize) -> String {
        format!("shards/{index}-of-{of}.json")
    }

    /// Of a shard that begins, or goes on.
    pub fn resume(plan: &Plan, store: &Store, (shard, of): (usize, usize)) -> Manifest {
        // What cannot be read is no reason not to run.
        let earlier: Option<Manifest> = load(&store.root().join(Self::relative(shard, of))).unwrap_or_default();
        let mut earlier = earlier.map(|manifest| manifest.experiments).unwrap_or_default();
        let own = plan.shard(shard, of);
        let mut experiments = BTreeMap::new();
        for (index, planned) in plan.experiments.iter().enumerate() {
            let name = planned.experiment.name;
            let mut provenance = Provenance::resume(planned, plan.size, earlier.remove(name));
            // Of what others do it says nothing.
            let is_own = |cell: &String| own.iter().any(|p| p.experiment == index && plan.at(*p).1.cell.name == *cell);
            provenance.missing.retain(|cell, _| is_own(cell));
            provenance.cells.retain(|cell, _| is_own(cell));
            experiments.insert(name.to_owned(), provenance);
        }
        Manifest { shard, of, size: plan.size, code: CODE.to_owned(), whole: false, experiments }
    }
}

/// Joins the shards in `folders`, which may be one that they share, into `store`; the experiments that they are of. Gives the bytes
/// that one machine gives, or nothing: gaps, contradictions, other code are refused, by name.
///
/// # Errors
/// If anything is missing or does not fit, or cannot be read or written.
pub fn collect(all: &[&'static Experiment], folders: &[PathBuf], store: &Store) -> Result<Plan> {
    let manifests = manifests(folders)?;
    let (_, first) = manifests.first().context("found no shards, expected at least one")?;
    check_alike(&manifests)?;
    let configs = first.experiments.iter().map(|(name, provenance)| (name.as_str(), &provenance.config));
    let configs: BTreeMap<&str, &String> = configs.collect();
    if let Some(name) = configs.keys().find(|name| all.iter().all(|experiment| experiment.name != **name)) {
        bail!("{}: found an experiment {name:?}, expected those of this program", manifests[0].0.display());
    }
    let own = all.iter().filter_map(|e| Some((*e, (*configs.get(e.name)?).clone()))).collect();
    let plan = Plan::of(own, first.size, &Traces::default())?;
    let found = find(&plan, &manifests, folders)?;
    keep(&plan, &manifests, &found, store)?;
    Ok(plan)
}

/// All manifests, and their files.
fn manifests(folders: &[PathBuf]) -> Result<Vec<(PathBuf, Manifest)>> {
    let mut manifests = Vec::new();
    for folder in folders {
        let before = manifests.len();
        if let Ok(entries) = std::fs::read_dir(folder.join("shards")) {
            let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
            paths.sort();
            for path in paths {
                let manifest = load(&path)?.with_context(|| format!("cannot read {}", path.display()))?;
                manifests.push((path, manifest));
            }
        }
        ensure!(
            manifests.len() > before,
            "{}: found no shards/I-of-N.json, expected a shard's folder",
            folder.display()
        );
    }
    manifests.sort_by_key(|(_, manifest): &(PathBuf, Manifest)| manifest.shard);
    Ok(manifests)
}

/// Whether they are parts of one whole, of this code, and all there.
fn check_alike(manifests: &[(PathBuf, Manifest)]) -> Result<()> {
    let Some(((path, first), others)) = manifests.split_first() else { return Ok(()) };
    for (other, manifest) in others {
        let differ = |field: &str, found: &dyn std::fmt::Display, expected: &dyn std::fmt::Display| -> Result<()> {
            bail!("{}, field {field}: found {found}, expected {expected} as in {}", other.display(), path.display())
        };
        if manifest.of != first.of {
            differ("of", &manifest.of, &first.of)?;
        }
        if manifest.size != first.size {
            differ("size", &manifest.size.name(), &first.size.name())?;
        }
        if manifest.code != first.code {
            differ("code", &manifest.code, &first.code)?;
        }
        let names = |m: &Manifest| m.experiments.keys().cloned().collect::<Vec<_>>().join(", ");
        if names(manifest) != names(first) {
            differ("experiments", &names(manifest), &names(first))?;
        }
        for (name, provenance) in &manifest.experiments {
            if first.experiments.get(name).is_some_and(|known| known.config != provenance.config) {
                differ(&format!("experiments.{name}.config"), &"another configuration", &"the one")?;
            }
        }
    }
    ensure!(
        first.code == CODE,
        "{}, field code: found {}, expected {CODE}, the code version of this program",
        path.display(),
        first.code
    );
    let absent: Vec<String> = (0..first.of)
        .filter(|index| manifests.iter().all(|(_, manifest)| manifest.shard != *index))
        .map(|index| format!("{index}/{}", first.of))
        .collect();
    ensure!(absent.is_empty(), "found no shard {}, expected all {}", absent.join(", "), first.of);
    for (path, manifest) in manifests {
        let sibling = manifests.iter().any(|(_, other)| other.shard == manifest.shard && other.whole);
        ensure!(
            sibling,
            "{}: found a shard that did not come to its end, expected a whole one: run it again with --shard {}/{}",
            path.display(),
            manifest.shard,
            manifest.of
        );
    }
    Ok(())
}

/// A cell's result and what it lies in, for each cell of the plan that has one, by experiment and cell.
type Found = BTreeMap<(String, String), (PathBuf, Record)>;

fn find(plan: &Plan, manifests: &[(PathBuf, Manifest)], folders: &[PathBuf]) -> Result<Found> {
    let mut found = Found::new();
    let mut gaps = Vec::new();
    let mut traces: BTreeMap<PathBuf, (String, PathBuf)> = BTreeMap::new();
    for place in plan.places() {
        let (planned, job) = plan.at(place);
        let (name, cell) = (planned.experiment.name, &job.cell);
        let known = || manifests.iter().filter_map(|(path, manifest)| Some((path, manifest.experiments.get(name)?)));
        let mut result: Option<(PathBuf, Record)> = None;
        for path in folders.iter().map(|folder| folder.join(relative(name, &cell.name))).filter(|path| path.exists()) {
            let record = Record::load(&path)?;
            check(&path, cell, &record)?;
            if let (Some(file), Some(digest)) = (cell.work.trace(), &record.trace) {
                let (other, at) = traces.entry(file.to_owned()).or_insert_with(|| (digest.clone(), path.clone()));
                ensure!(
                    other == digest,
                    "{}, field trace: found {digest}, expected {other} as in {}: they replayed different files as {}",
                    path.display(),
                    at.display(),
                    file.display()
                );
            }
            match &result {
                // A measured time is another each time; the first one stands.
                Some((at, other)) if other.rows != record.rows && !cell.work.timed() => bail!(
                    "{} and {}: found different rows of the same cell, expected the same",
                    at.display(),
                    path.display()
                ),
                Some(_) => {}
                None => result = Some((path, record)),
            }
        }
        if let Some((path, record)) = result {
            for (manifest, provenance) in known() {
                if let Some(ran) = provenance.cells.get(&cell.name) {
                    ensure!(
                        ran.key == record.key,
                        "{}, experiment {name}, cell {}: found the key {}, expected {} as in {}",
                        manifest.display(),
                        cell.name,
                        ran.key,
                        record.key,
                        path.display()
                    );
                }
            }
            found.insert((name.to_owned(), cell.name.clone()), (path, record));
        } else if known().all(|(_, provenance)| !provenance.missing.contains_key(&cell.name)) {
            let failed = known().find_map(|(_, provenance)| provenance.failed.get(&cell.name));
            gaps.push(format!(
                "{name}/{}{}",
                cell.name,
                failed.map_or(String::new(), |why| format!(" (failed: {why})"))
            ));
        }
    }
    ensure!(gaps.is_empty(), "found no result of {}, expected one of each cell", listed(&gaps));
    Ok(found)
}

fn check(path: &Path, cell: &crate::cell::Cell, record: &Record) -> Result<()> {
    let key = Key::of(cell, record.trace.as_deref())?;
    if record.code != CODE {
        return Err(anyhow!("{}, field code: found {}, expected {CODE}", path.display(), record.code));
    }
    ensure!(record.is_of(cell, &key), "{}: found the result of another cell, expected {}", path.display(), cell.name);
    Ok(())
}

/// The first ten, and how many more.
fn listed(names: &[String]) -> String {
    match names.len() {
        n if n > 10 => format!("{} and {} more", names[..10].join(", "), n - 10),
        _ => names.join(", "),
    }
}

fn keep(plan: &Plan, manifests: &[(PathBuf, Manifest)], found: &Found, store: &Store) -> Result<()> {
    for planned in &plan.experiments {
        let name = planned.experiment.name;
        let mut provenance = Provenance::new(name, plan.size, &planned.config);
        for (_, manifest) in manifests {
            if let Some(part) = manifest.experiments.get(name) {
                provenance.merge(part);
            }
        }
        let mut rows = Vec::new();
        for job in &planned.cells {
            let Some((path, record)) = found.get(&(name.to_owned(), job.cell.name.clone())) else { continue };
            provenance.missing.remove(&job.cell.name);
            provenance.failed.remove(&job.cell.name);
            if *path != store.path(name, &job.cell.name) {
                store.write(name, record)?;
            }
            rows.extend(named(record.clone()));
        }
        provenance.write(store)?;
        write_joined(store, name, &rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_0() {
        let check = |text: &str, expected: Option<(usize, usize)>| {
            let shard = text.parse::<Shard>().ok().map(|shard| (shard.index, shard.of));
            assert_eq!(shard, expected, "{text}");
        };
        check("0/1", Some((0, 1)));
        check("3/4", Some((3, 4)));
        check("4/4", None);
        check("0/0", None);
        check("-1/4", None);
        check("1", None);
        check("", None);
        check("/4", None);
    }
}
