//! A run from beginning to end: cells, where they come from, and what they give together.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use crate::cell::{Row, Value};
use crate::frame::{frame, write_csv, write_parquet};
use crate::plan::{Place, Plan, Planned};
use crate::provenance::{Provenance, Session};
use crate::runner::{Outcome, Runner, Standing, Watch};
use crate::shard::Manifest;
use crate::store::{Record, Store};

/// Runs all of it, and joins what it gave. After an end before the end nothing is joined; the same again goes on.
///
/// # Errors
/// If a result cannot be kept, or rows of an experiment do not fit each other.
pub fn run(runner: &Runner<'_>, session: &Session, watch: &mut dyn Watch) -> Result<Outcome> {
    let (plan, store) = (runner.plan, runner.store);
    let mut provenances = Vec::new();
    for planned in &plan.experiments {
        // What cannot be read is no reason not to run.
        let earlier = Provenance::load(store, planned.experiment.name).unwrap_or_default();
        provenances.push(Provenance::resume(planned, plan.size, earlier));
    }
    let save = |provenances: &[Provenance], place: Place| provenances[place.experiment].write(store);
    let mut books = Books::new(plan, session, provenances, &save, watch);
    let outcome = runner.run(&plan.by_length(), &mut books)?;
    let mut provenances = books.provenances;
    note_failures(plan, &mut provenances, &outcome);
    store.sweep(plan.experiments.iter().map(|planned| planned.experiment.name));
    for (planned, provenance) in plan.experiments.iter().zip(&provenances) {
        provenance.write(store)?;
        if !outcome.stopped {
            join(store, planned)?;
        }
    }
    Ok(outcome)
}

/// Runs the shard `index` of `of`: its cells and its manifest are all it writes. `uploaded` is told of each file that is whole.
///
/// # Errors
/// If a result cannot be kept.
pub fn run_shard(
    runner: &Runner<'_>,
    (index, of): (usize, usize),
    session: &Session,
    uploaded: &dyn Fn(&str) -> Result<()>,
    watch: &mut dyn Watch,
) -> Result<Outcome> {
    let (plan, store) = (runner.plan, runner.store);
    let own = plan.shard(index, of);
    let manifest = Manifest::resume(plan, store, (index, of));
    // In the plan's order, by which places count; the manifest's is that of names.
    let known = |planned: &Planned| {
        let known = manifest.experiments.get(planned.experiment.name).cloned();
        known.unwrap_or_else(|| Provenance::resume(planned, plan.size, None))
    };
    let provenances = plan.experiments.iter().map(known).collect();
    let name = Manifest::relative(index, of);
    let write = |provenances: &[Provenance], whole: bool| -> Result<()> {
        let mut manifest = manifest.clone();
        manifest.whole = whole;
        manifest.experiments = provenances.iter().map(|p| (p.experiment.clone(), p.clone())).collect();
        crate::provenance::save(&store.root().join(&name), &manifest)
    };
    let save = |provenances: &[Provenance], place: Place| -> Result<()> {
        let (planned, job) = plan.at(place);
        uploaded(&crate::store::relative(planned.experiment.name, &job.cell.name))?;
        write(provenances, false)
    };
    let mut books = Books::new(plan, session, provenances, &save, watch);
    let outcome = runner.run(&own, &mut books)?;
    let mut provenances = books.provenances;
    note_failures(plan, &mut provenances, &outcome);
    write(&provenances, !outcome.stopped)?;
    uploaded(&name)?;
    Ok(outcome)
}

fn note_failures(plan: &Plan, provenances: &mut [Provenance], outcome: &Outcome) {
    for (place, why) in &outcome.failed {
        let (_, job) = plan.at(*place);
        provenances[place.experiment].failed.insert(job.cell.name.clone(), why.clone());
    }
}

/// Joins the results of an experiment that are there: `results.parquet` and `results.csv`.
///
/// # Errors
/// If they cannot be written, or do not fit each other.
pub fn join(store: &Store, planned: &Planned) -> Result<()> {
    let name = planned.experiment.name;
    let mut rows = Vec::new();
    for job in &planned.cells {
        let record = job.key.as_ref().ok().and_then(|key| store.current(name, &job.cell, key));
        rows.extend(record.into_iter().flat_map(named));
    }
    write_joined(store, name, &rows)
}

/// The rows of a cell, with its name before their own columns.
pub(crate) fn named(record: Record) -> impl Iterator<Item = Row> {
    let cell = record.cell.name;
    record.rows.into_iter().map(move |row| {
        let mut columns = vec![("cell".to_owned(), Value::Text(cell.clone()))];
        columns.extend(row.0);
        Row(columns)
    })
}

pub(crate) fn write_joined(store: &Store, experiment: &str, rows: &[Row]) -> Result<()> {
    let mut frame = frame(rows).map_err(|e| anyhow::anyhow!("results of experiment {experiment}: {e:#}"))?;
    let folder = store.experiment(experiment);
    write_csv(&folder.join("results.csv"), &mut frame)?;
    write_parquet(&folder.join("results.parquet"), &mut frame)
}

/// Notes where each result comes from as soon as it is there, so that a process that is killed forgets nothing.
struct Books<'a> {
    plan: &'a Plan,
    session: Session,
    begun: Instant,
    provenances: Vec<Provenance>,
    save: &'a dyn Fn(&[Provenance], Place) -> Result<()>,
    watch: &'a mut dyn Watch,
}

impl<'a> Books<'a> {
    fn new(
        plan: &'a Plan,
        session: &Session,
        provenances: Vec<Provenance>,
        save: &'a dyn Fn(&[Provenance], Place) -> Result<()>,
        watch: &'a mut dyn Watch,
    ) -> Self {
        Books { plan, session: session.clone(), begun: Instant::now(), provenances, save, watch }
    }
}

impl Watch for Books<'_> {
    fn show(&mut self, standing: &Standing) {
        self.watch.show(standing);
    }

    fn kept(&mut self, place: Place, record: &Record, seconds: f64) -> Result<()> {
        let (_, job) = self.plan.at(place);
        self.session.seconds = self.begun.elapsed().as_secs_f64();
        self.provenances[place.experiment].ran(&job.cell.name, &record.key, seconds, &self.session);
        (self.save)(&self.provenances, place)?;
        self.watch.kept(place, record, seconds)
    }

    fn stopped(&self) -> bool {
        self.watch.stopped()
    }
}

/// The cells of an experiment without a result, and why.
pub fn missing(provenance: &Provenance) -> Vec<(String, String)> {
    let mut all: BTreeMap<&String, String> = provenance.missing.iter().map(|(name, why)| (name, why.clone())).collect();
    all.extend(provenance.failed.iter().map(|(name, why)| (name, format!("failed: {why}"))));
    all.into_iter().map(|(name, why)| (name.clone(), why)).collect()
}
