//! What readers get: `report.html`, one file that needs no other, and `report.md` with `figures/` and `tables/`.

mod html;
pub mod markdown;
#[cfg(feature = "png")]
mod png;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use kisim::report::write_atomically;

use crate::cell::{Row, Value};
use crate::experiment::{All, Experiment, Outcome, Section};
use crate::frame::{read_parquet, rows};
use crate::provenance::{Provenance, Session};
use crate::results::Results;
use crate::store::Store;

/// Everything that is reported.
pub struct Report {
    /// Experiments that have results, in the order of the registry.
    pub parts: Vec<Part>,
}

/// An experiment that has results.
pub struct Part {
    /// Which.
    pub experiment: &'static Experiment,
    /// Where they come from.
    pub provenance: Provenance,
    /// What they say; or why nothing can be said.
    pub section: std::result::Result<Section, String>,
    /// Cells with rows.
    pub cells: usize,
    /// Their rows.
    pub rows: usize,
    /// Seeds, by column: `seed` of evaluation, `trained` of training.
    pub seeds: BTreeMap<&'static str, BTreeSet<u64>>,
    /// Cells without a result, and why.
    pub missing: Vec<(String, String)>,
}

impl Report {
    /// Of all experiments whose results lie in `store`.
    ///
    /// # Errors
    /// If results are there and cannot be read.
    pub fn gather(all: &[&'static Experiment], store: &Store) -> Result<Report> {
        let mut results: BTreeMap<&str, Results> = BTreeMap::new();
        let mut provenances: BTreeMap<&str, Provenance> = BTreeMap::new();
        for experiment in all {
            let path = store.experiment(experiment.name).join("results.parquet");
            let Some(provenance) = Provenance::load(store, experiment.name)?.filter(|_| path.exists()) else {
                continue;
            };
            let missing = crate::campaign::missing(&provenance);
            results.insert(experiment.name, Results { rows: rows(&read_parquet(&path)?)?, missing });
            provenances.insert(experiment.name, provenance);
        }
        let mut parts = Vec::new();
        for experiment in all {
            let Some(provenance) = provenances.remove(experiment.name) else { continue };
            let Some(own) = results.get(experiment.name) else { continue };
            parts.push(Part {
                experiment,
                section: present(experiment, &provenance, own, &results),
                cells: own.rows.iter().map(|row| row.get_text("cell")).collect::<BTreeSet<_>>().len(),
                rows: own.rows.len(),
                seeds: seeds(&own.rows),
                missing: own.missing.clone(),
                provenance,
            });
        }
        Ok(Report { parts })
    }

    /// Writes all of it to `folder`; the files.
    ///
    /// # Errors
    /// If a file cannot be written, or a figure cannot be drawn.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        let mut write = |name: &str, bytes: &[u8]| -> Result<()> {
            let path = folder.join(name);
            write_atomically(&path, |file| file.write_all(bytes))?;
            written.push(path);
            Ok(())
        };
        for part in &self.parts {
            let Ok(section) = &part.section else { continue };
            for table in &section.tables {
                write(&format!("tables/{}-{}.csv", part.experiment.name, table.name), &table::csv(table)?)?;
            }
            for figure in &section.figures {
                let name = format!("figures/{}-{}", part.experiment.name, figure.name);
                write(&format!("{name}.svg"), figure.svg.as_bytes())?;
                #[cfg(feature = "png")]
                write(
                    &format!("{name}.png"),
                    &png::render(&figure.svg).map_err(|e| anyhow::anyhow!("{name}: {e:#}"))?,
                )?;
            }
        }
        write("report.md", markdown::report(self).as_bytes())?;
        write("report.html", html::report(self).as_bytes())?;
        self.sweep(folder, &written);
        Ok(written)
    }

    /// Removes figures and tables of an earlier report of the same experiments.
    fn sweep(&self, folder: &Path, written: &[PathBuf]) {
        for entry in ["figures", "tables"].iter().filter_map(|name| std::fs::read_dir(folder.join(name)).ok()).flatten()
        {
            let Ok(path) = entry.map(|entry| entry.path()) else { continue };
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let ours = self.parts.iter().any(|part| name.starts_with(&format!("{}-", part.experiment.name)));
            if ours && !written.contains(&path) {
                // One file too many does no harm.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

fn present(
    experiment: &Experiment,
    provenance: &Provenance,
    own: &Results,
    results: &BTreeMap<&str, Results>,
) -> std::result::Result<Section, String> {
    let mut others = BTreeMap::new();
    for &name in experiment.needs {
        let Some(other) = results.get(name) else {
            return Err(format!("found no results of experiment {name}, which it presents too"));
        };
        others.insert(name, other);
    }
    // Some present others' results and have none of their own.
    if own.rows.is_empty() && !own.missing.is_empty() {
        return Err("found no rows, for none of its cells was run".to_owned());
    }
    let all = All { own, others, config: &provenance.config, size: provenance.size };
    let section = (experiment.present)(&all).map_err(|e| format!("{e:#}"))?;
    check(&section).map_err(|e| format!("{e:#}"))?;
    Ok(section)
}

/// Whether a section is in order: names are names of files, none is there twice, rows fit columns, and every figure is drawn
/// from a table that is shown.
///
/// # Errors
/// If not.
pub fn check(section: &Section) -> Result<()> {
    let mut names = BTreeSet::new();
    let mut name = |what: &str, name: &str| -> Result<()> {
        let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        ensure!(fits, "{what} {name:?}: expected a name of letters, digits and '-'");
        ensure!(names.insert(format!("{what} {name}")), "{what} {name}: found it twice");
        Ok(())
    };
    for table in &section.tables {
        name("table", &table.name)?;
        for (number, row) in table.rows.iter().enumerate() {
            let (found, expected) = (row.len(), table.columns.len());
            ensure!(
                found == expected,
                "table {}, row {number}: found {found} entries, expected {expected}",
                table.name
            );
        }
    }
    for figure in &section.figures {
        name("figure", &figure.name)?;
        if section.tables.iter().all(|table| table.name != figure.table) {
            let known: Vec<&str> = section.tables.iter().map(|table| table.name.as_str()).collect();
            bail!("figure {}: found no table {:?}, expected one of: {}", figure.name, figure.table, known.join(", "));
        }
    }
    Ok(())
}

fn seeds(rows: &[Row]) -> BTreeMap<&'static str, BTreeSet<u64>> {
    let mut seeds: BTreeMap<&'static str, BTreeSet<u64>> = BTreeMap::new();
    for row in rows {
        for (name, value) in &row.0 {
            let column = match name.as_str() {
                "seed" => "seed",
                "trained" => "trained",
                _ => continue,
            };
            if let Value::Count(seed) = value {
                // 0 in `trained` says that nobody was.
                seeds.entry(column).or_default().extend((column == "seed" || *seed > 0).then_some(*seed));
            }
        }
    }
    seeds.retain(|_, seeds| !seeds.is_empty());
    seeds
}

impl Part {
    /// The command that made it.
    fn command(&self) -> String {
        format!("experiments run {} --{}", self.experiment.name, self.provenance.size.name())
    }

    /// What determines its rows, in a sentence: it has no time and no machine in it.
    fn basis(&self) -> String {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let mut parts = vec![count(self.cells, "cell"), count(self.rows, "row")];
        for (column, what) in [("trained", "training seed"), ("seed", "evaluation seed")] {
            if let Some(seeds) = self.seeds.get(column) {
                parts.push(count(seeds.len(), what));
            }
        }
        parts.push(format!("size {}", self.provenance.size.name()));
        parts.push(format!("code {}", &self.provenance.code[..self.provenance.code.len().min(12)]));
        parts.join("; ")
    }

    /// Why cells have no result: the reason, and the cells, of each.
    pub fn reasons(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (cell, why) in &self.missing {
            reasons.entry(why).or_default().push(cell);
        }
        reasons
    }

    /// Whether this program would give other rows.
    fn is_stale(&self) -> bool {
        self.provenance.code != crate::key::CODE
    }
}

/// An outcome in words.
pub fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Holds => "holds",
        Outcome::InPart => "holds in part",
        Outcome::DoesNotHold => "does not hold",
        Outcome::NotTestable => "not testable here",
    }
}

/// The commands that ran any of it, in the order of their beginning.
fn sessions(report: &Report) -> Vec<&Session> {
    let all = report.parts.iter().flat_map(|part| &part.provenance.sessions);
    let mut by_id: BTreeMap<&str, &Session> = BTreeMap::new();
    for session in all {
        let known = by_id.entry(&session.id).or_insert(session);
        if known.seconds < session.seconds {
            *known = session;
        }
    }
    by_id.into_values().collect()
}

/// Where traces come from.
const TRACES: &str =
    "traces/README.md says where to get the public traces; --traces DIR (or KISIM_TRACES) says where they are";

/// `1:02:03`, `4:05`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round().max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
