//! What is to be done: all cells of the experiments that were asked for, and of those they need.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};

use crate::cell::Cell;
use crate::experiment::{Experiment, Size};
use crate::key::{Key, Traces};
use crate::store::check_names;

/// An experiment that is to be done.
pub struct Planned {
    /// Which.
    pub experiment: &'static Experiment,
    /// Its configuration's text: the built-in one, or somebody's.
    pub config: String,
    /// Its cells, in its own order.
    pub cells: Vec<Job>,
}

/// A cell that is to be done.
#[derive(Clone, Debug)]
pub struct Job {
    /// The cell.
    pub cell: Cell,
    /// By what a result of it is known, or why it cannot be run here.
    pub key: std::result::Result<Key, String>,
}

/// A cell's place in a plan: of its experiment among them, and of the cell in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which experiment.
    pub experiment: usize,
    /// Which of its cells.
    pub cell: usize,
}

/// What is to be done.
pub struct Plan {
    /// How much.
    pub size: Size,
    /// The experiments, in the order of the registry.
    pub experiments: Vec<Planned>,
}

impl Plan {
    /// The experiments `names` of `all` and those they need. `config` replaces the configuration of the one that was asked for.
    ///
    /// # Errors
    /// If there is none of that name, or a configuration does not fit.
    pub fn new(
        all: &[&'static Experiment],
        names: &[String],
        size: Size,
        config: Option<&str>,
        traces: &Traces,
    ) -> Result<Plan> {
        let mut wanted = BTreeSet::new();
        let mut open: Vec<&str> = names.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            let Some(experiment) = all.iter().find(|experiment| experiment.name == name) else {
                let known: Vec<&str> = all.iter().map(|experiment| experiment.name).collect();
                bail!("found no experiment {name:?}, expected one of: {}", known.join(", "));
            };
            if wanted.insert(experiment.name) {
                open.extend(experiment.needs);
            }
        }
        if config.is_some() && names.len() != 1 {
            bail!("--config: found {} experiments, expected one", names.len());
        }
        let configs = all.iter().filter(|experiment| wanted.contains(experiment.name)).map(|experiment| {
            let own = config.filter(|_| names.iter().any(|name| name == experiment.name));
            (*experiment, own.unwrap_or(experiment.config).to_owned())
        });
        Plan::of(configs.collect(), size, traces)
    }

    /// These experiments with these configurations.
    ///
    /// # Errors
    /// If a configuration does not fit.
    pub fn of(configs: Vec<(&'static Experiment, String)>, size: Size, traces: &Traces) -> Result<Plan> {
        let mut experiments = Vec::new();
        for (experiment, config) in configs {
            let cells =
                (experiment.cells)(&config, size).map_err(|e| anyhow!("experiment {}: {e:#}", experiment.name))?;
            check_names(experiment.name, &cells)?;
            let job = |cell: Cell| -> Result<Job> {
                let key = match cell.work.trace().map(|file| traces.digest(file)).transpose() {
                    Ok(trace) => Ok(Key::of(&cell, trace.as_deref())?),
                    Err(why) => Err(why),
                };
                Ok(Job { cell, key })
            };
            let cells = cells.into_iter().map(job).collect::<Result<_>>()?;
            experiments.push(Planned { experiment, config, cells });
        }
        Ok(Plan { size, experiments })
    }

    /// The cell at a place.
    pub fn at(&self, place: Place) -> (&Planned, &Job) {
        let planned = &self.experiments[place.experiment];
        (planned, &planned.cells[place.cell])
    }

    /// All places, experiment by experiment.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let cells = |(experiment, planned): (usize, &Planned)| {
            (0..planned.cells.len()).map(move |cell| Place { experiment, cell })
        };
        self.experiments.iter().enumerate().flat_map(cells)
    }

    /// All places, those that take longest first, and as they come among equals. This is the order in which cells begin, and in
    /// which they are dealt to shards, so that each gets its share of the long ones.
    pub fn by_length(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.places().collect();
        places.sort_by(|a, b| self.at(*b).1.cell.seconds.total_cmp(&self.at(*a).1.cell.seconds));
        places
    }

    /// The places of shard `index` of `of`: those whose number in [`by_length`](Plan::by_length) leaves that remainder.
    pub fn shard(&self, index: usize, of: usize) -> Vec<Place> {
        let numbered = self.by_length().into_iter().enumerate();
        numbered.filter(|(number, _)| number % of.max(1) == index).map(|(_, place)| place).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::experiment::{All, Section};
    use crate::scene::Scene;
    use crate::work::{Play, Work};

    /// A cell that nobody runs.
    pub(crate) fn cell(name: &str, seeds: u64) -> Cell {
        let scene = Scene { name: "x".into(), scenario: "default".into(), changes: toml::Table::new(), trace: None };
        let play = Play { scene, contenders: vec!["hpa".into()], seeds, past: None };
        Cell { name: name.into(), seconds: seeds as f64, work: Work::Play(play) }
    }

    fn five(_: &str, size: Size) -> Result<Vec<Cell>> {
        Ok((1..=5).map(|i| cell(&format!("{}-{i}", size.name()), i)).collect())
    }

    fn nothing(_: &All<'_>) -> Result<Section> {
        Ok(Section::default())
    }

    const ONE: Experiment =
        Experiment { name: "one", title: "One", question: "?", config: "", needs: &[], cells: five, present: nothing };
    const TWO: Experiment = Experiment { name: "two", needs: &["one"], ..ONE };

    fn plan(names: &[&str]) -> Result<Plan> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Plan::new(&[&ONE, &TWO], &names, Size::Quick, None, &Traces::default())
    }

    #[test]
    fn what_is_needed_is_done_too() {
        let names = |plan: Plan| plan.experiments.iter().map(|p| p.experiment.name).collect::<Vec<_>>();
        assert_eq!(names(plan(&["one"]).unwrap()), ["one"]);
        assert_eq!(names(plan(&["two"]).unwrap()), ["one", "two"]);
        assert_eq!(names(plan(&["two", "one"]).unwrap()), ["one", "two"]);
        let error = plan(&["three"]).err().unwrap().to_string();
        assert!(error.contains("\"three\"") && error.contains("one, two"), "{error}");
    }

    #[test]
    fn shards_are_disjoint_and_together_all() {
        let plan = plan(&["two"]).unwrap();
        for of in 1..=12 {
            let mut dealt: Vec<Place> = (0..of).flat_map(|index| plan.shard(index, of)).collect();
            dealt.sort();
            assert_eq!(dealt, plan.places().collect::<Vec<_>>(), "{of} shards");
        }
        // The longest are dealt out first: both cells of 5 s do not meet in one of two.
        let longest = |index| plan.shard(index, 2).iter().filter(|p| plan.at(**p).1.cell.seconds == 5.0).count();
        assert_eq!((longest(0), longest(1)), (1, 1));
    }
}
