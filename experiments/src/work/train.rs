//! A training run, and what its policy is worth.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use kiscaler_train::REVISION;
use kiscaler_train::checkpoint::Checkpoint;
use kiscaler_train::config::{DEFAULT, PAPER, TrainConfig};
use kiscaler_train::drive::{self, BEST, Course, LAST, Rhythm, Watch};
use kiscaler_train::events::{Scalar, read_scalars};
use kiscaler_train::learner::AutoscalingLearner;
use kiscaler_train::ppo::{Backend, Resources};
use kiscaler_train::progress::Standing;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::Context;
use super::play::{Company, Play, play};
use crate::cell::{Row, Value};
use crate::scene::merge;

/// A training run. Its rows say in the column `row` what they are:
///
/// | `row` | columns |
/// | --- | --- |
/// | `scalar` | `trained` (the seed), `step`, `name`, `value`: what `kiscaler-train` records of updates and evaluations, but means of at most 200 stretches each |
/// | `episode` | `trained`, `phase` (`untrained`, `trained`), `number`, `pattern`, `reward` (mean of a control step) |
/// | `run` | those of [`Play`], with the seed in `trained` |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The configuration that it begins with.
    pub config: Base,
    /// Fields that differ, as TOML tables merged over it.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub overrides: Table,
    /// Seed of the run.
    pub seed: u64,
    /// Episodes of the training's environment to play before training and after it, with choices drawn as in training.
    #[serde(default)]
    pub episodes: u64,
    /// Where the policy that scored best in the run's evaluations is played afterwards; it is called `policy` there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Play>,
}

/// A built-in configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Ours.
    Default,
    /// The published system's.
    Paper,
}

/// Points of a scalar that are kept.
const POINTS: usize = 200;

/// Share of the work that is training, about, where there is something after it.
const TRAINING: f64 = 0.8;

impl Train {
    /// The configuration, read and as text.
    ///
    /// # Errors
    /// If an override makes no sense.
    pub fn configuration(&self) -> Result<(TrainConfig, String)> {
        let (base, name) = match self.config {
            Base::Default => (DEFAULT, "default"),
            Base::Paper => (PAPER, "paper"),
        };
        let mut table: Table = toml::from_str(base)?;
        merge(&mut table, &self.overrides);
        let text = toml::to_string(&table)?;
        Ok((TrainConfig::parse(&text, &format!("the training configuration {name} with overrides"))?, text))
    }

    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<Row>> {
        let (config, text) = self.configuration()?;
        let share = if self.then.is_empty() { 1.0 } else { TRAINING };
        let mut rows = Vec::new();
        let begin = || -> Result<_> { Ok(AutoscalingLearner::new(&config, &text, self.seed, resources())?) };
        if self.episodes > 0 {
            rows.extend(self.episodes(&begin()?, "untrained")?);
        }
        let mut watch = Told { progress: context.progress, share, on: Cell::new(true) };
        let rhythm = Rhythm { evaluate: config.evaluation.every, save: config.save_every };
        let (mut course, mut learner) = match resume(&config, &text, rhythm, context.scratch, &watch)? {
            Some(both) => both,
            None => (drive::begin(context.scratch, rhythm, &watch)?, begin()?),
        };
        let outcome = course.drive(&mut learner, &mut watch)?;
        ensure!(outcome.done, "interrupted");
        if self.episodes > 0 {
            rows.extend(self.episodes(&learner, "trained")?);
        }
        rows.extend(self.scalars(&read_scalars(context.scratch)?));
        if self.then.is_empty() {
            return Ok(rows);
        }
        let policy = Arc::new(Checkpoint::load(&context.scratch.join(BEST))?);
        for (number, own) in self.then.iter().enumerate() {
            let scenario = own.scene.load(context.traces)?;
            let told = |within: f64| {
                (context.progress)(share + (1.0 - share) * (number as f64 + within) / self.then.len() as f64)
            };
            let played = play(&scenario, Company::new(&own.contenders), &policy, self.seed, own.seeds, &told)?;
            rows.extend(played.into_iter().map(|mut row| {
                row.0.insert(0, ("row".to_owned(), Value::Text("run".to_owned())));
                row
            }));
        }
        Ok(rows)
    }

    fn episodes(&self, learner: &AutoscalingLearner, phase: &str) -> Result<Vec<Row>> {
        let played = learner.episodes(self.episodes)?;
        let row = |(number, (pattern, reward)): (usize, (String, f64))| {
            let row = Row::new().text("row", "episode").count("trained", self.seed).text("phase", phase);
            row.count("number", number as u64).text("pattern", pattern).number("reward", reward)
        };
        Ok(played.into_iter().enumerate().map(row).collect())
    }

    /// Means of stretches that have as many points each, at their last step.
    fn scalars(&self, scalars: &[Scalar]) -> Vec<Row> {
        let mut names: Vec<&str> = Vec::new();
        for scalar in scalars {
            if !names.contains(&scalar.name.as_str()) {
                names.push(&scalar.name);
            }
        }
        let mut rows = Vec::new();
        for name in names {
            let own: Vec<&Scalar> = scalars.iter().filter(|scalar| scalar.name == name).collect();
            for stretch in own.chunks(own.len().div_ceil(POINTS)) {
                let value = stretch.iter().map(|scalar| scalar.value).sum::<f64>() / stretch.len() as f64;
                let step = stretch.last().map_or(0, |scalar| scalar.step);
                let row = Row::new().text("row", "scalar").count("trained", self.seed).count("step", step);
                rows.push(row.text("name", name).number("value", value));
            }
        }
        rows
    }
}

/// The run in `folder` as far as it got, if it is one of this configuration and this version; if not, the folder is emptied.
fn resume(
    config: &TrainConfig,
    text: &str,
    rhythm: Rhythm,
    folder: &Path,
    watch: &dyn Watch,
) -> Result<Option<(Course, AutoscalingLearner)>> {
    let last = folder.join(LAST);
    if !last.exists() {
        return Ok(None);
    }
    let ours = drive::load(&last).is_ok_and(|(found, _)| found.config == text && found.git_revision == REVISION);
    if !ours {
        std::fs::remove_file(&last)?;
        return Ok(None);
    }
    let restore = |checkpoint: Checkpoint| -> Result<_> {
        Ok(AutoscalingLearner::restore(config, text, &checkpoint, resources())?)
    };
    Ok(Some(drive::resume(folder, rhythm, watch, restore)?))
}

/// A thread: cells run beside each other.
fn resources() -> Resources {
    Resources { threads: 1, backend: Backend::Fused }
}

/// Tells the progress of training, and ends it when told to.
struct Told<'a> {
    progress: &'a (dyn Fn(f64) -> bool + Sync),
    /// Share of the work that it is.
    share: f64,
    on: Cell<bool>,
}

impl Watch for Told<'_> {
    /// Nobody looks at the event file; and rows do not depend on when.
    fn now_s(&self) -> f64 {
        0.0
    }

    fn show(&mut self, standing: &Standing) {
        let within = standing.steps as f64 / standing.total_steps.max(1) as f64;
        self.on.set((self.progress)(self.share * within));
    }

    fn stopped(&self) -> bool {
        !self.on.get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Seconds of training.
    fn short(config: Base, then: &str) -> Train {
        let overrides = match config {
            Base::Default => {
                "save_every = 2
                evaluation = { every = 3, episodes = 2 }
                distribution.services = 2
                [ppo]
                environments = 8
                steps_per_rollout = 16
                total_steps = 512
                imitation_updates = 2
                actor_hidden = [16]
                critic_hidden = [16]"
            }
            Base::Paper => {
                "evaluation = { every = 1, episodes = 2 }
                ppo = { environments = 2, steps_per_rollout = 64, total_steps = 256 }"
            }
        };
        let overrides = toml::from_str(overrides).unwrap();
        let then = if then.is_empty() { Vec::new() } else { vec![toml::from_str(then).unwrap()] };
        Train { config, overrides, seed: 5, episodes: 0, then }
    }

    fn run(train: &Train, folder: &Path, progress: &(dyn Fn(f64) -> bool + Sync)) -> Result<Vec<Row>> {
        train.run(&Context { traces: None, scratch: folder, progress })
    }

    const AFTER: &str = "scene = { name = 's', scenario = 'default', changes = { duration = '3m' } }
                         contenders = ['policy']
                         seeds = 1";

    #[test]
    fn the_same_rows_whether_interrupted_or_not_and_on_any_threads() {
        let train = short(Base::Default, AFTER);
        let whole = tempfile::tempdir().unwrap();
        let rows = run(&train, whole.path(), &|_| true).unwrap();
        let cut = tempfile::tempdir().unwrap();
        let calls = AtomicUsize::new(0);
        let stop = |_: f64| calls.fetch_add(1, Ordering::Relaxed) < 2;
        assert!(run(&train, cut.path(), &stop).unwrap_err().to_string().contains("interrupted"));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| run(&train, cut.path(), &|_| true)).unwrap(), rows);
        // 6 updates, each with a return or none and a policy loss.
        let losses: Vec<&Row> = rows.iter().filter(|row| row.get_text("name") == "losses/policy").collect();
        assert_eq!(losses.len(), 6);
        assert_eq!(losses.last().unwrap().get_number("step"), 6.0 * 128.0);
        let last = rows.last().unwrap();
        assert_eq!((last.get_text("row"), last.get_text("autoscaler")), ("run", "policy"));
        assert_eq!((last.get_number("trained"), last.get_text("scene")), (5.0, "s"));
        assert!(last.get_number("objective") > 0.0);
        // What lies there of another configuration is not gone on with.
        let mut other = train;
        other.overrides.insert("save_every".into(), 3.into());
        assert!(run(&other, cut.path(), &|_| true).is_ok());
    }

    #[test]
    fn published_episodes_are_played_before_and_after() {
        let train = Train { episodes: 8, ..short(Base::Paper, "") };
        let folder = tempfile::tempdir().unwrap();
        let rows = run(&train, folder.path(), &|_| true).unwrap();
        let episodes = |phase: &str| {
            let own = rows.iter().filter(|row| row.get_text("phase") == phase);
            own.map(|row| (row.get_text("pattern").to_owned(), row.get_number("reward"))).collect::<Vec<_>>()
        };
        let (before, after) = (episodes("untrained"), episodes("trained"));
        assert_eq!((before.len(), after.len()), (8, 8));
        // The same episodes: patterns are drawn by their seeds.
        assert_eq!(before.iter().map(|e| &e.0).collect::<Vec<_>>(), after.iter().map(|e| &e.0).collect::<Vec<_>>());
        assert!(before.iter().all(|(pattern, _)| ["ramp", "spike", "periodic", "random"].contains(&pattern.as_str())));
    }

    #[test]
    fn long_records_are_means_of_stretches() {
        let train = short(Base::Default, "");
        let scalars: Vec<Scalar> =
            (1..=450u64).map(|step| Scalar { step, name: "a".into(), value: step as f64 }).collect();
        let rows = train.scalars(&scalars);
        assert_eq!(rows.len(), 150);
        assert_eq!((rows[0].get_number("step"), rows[0].get_number("value")), (3.0, 2.0));
        assert_eq!(rows[149].get_number("value"), 449.0);
    }

    #[test]
    fn an_override_that_makes_no_sense_is_named() {
        let mut train = short(Base::Default, "");
        train.overrides = toml::from_str("ppo = { gama = 0.9 }").unwrap();
        let error = format!("{:#}", train.configuration().unwrap_err());
        assert!(error.contains("gama") && error.contains("default with overrides"), "{error}");
    }
}
