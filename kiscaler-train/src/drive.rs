//! Drives a learner: updates, evaluations, records and checkpoints, until it is done or somebody stops it.
//!
//! A run's folder holds
//!
//! | file | what |
//! | --- | --- |
//! | `last.safetensors` | a training checkpoint, from which [`resume`] goes on |
//! | `best.safetensors` | the policy that scored best in an evaluation |
//! | `scalars.csv`, `events.out.tfevents.*` | every scalar of every update, see [`crate::events`] |
//!
//! What a learner does is its own; this is what every learner needs around it. A run that was stopped, or killed, and
//! resumed leaves the same checkpoints and the same CSV, byte for byte, as one that never was: updates after the last
//! checkpoint are done again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, CheckpointError, Refusal};
use crate::events::{EventError, Scalars};
use crate::progress::Standing;

/// The training checkpoint in a run's folder.
pub const LAST: &str = "last.safetensors";
/// The best policy in a run's folder.
pub const BEST: &str = "best.safetensors";

/// Names of the scalars that every run has, where it knows them.
pub mod names {
    /// Mean return of the episodes that ended in the update.
    pub const RETURN: &str = "training/return";
    /// Divergence of the update, nats.
    pub const KL: &str = "losses/kl";
    /// What evaluations are judged by.
    pub const SCORE: &str = "evaluation/score";
    /// Share of requests that broke the objective in the evaluation.
    pub const EVALUATION_VIOLATION: &str = "evaluation/violation_ratio";
    /// Cost in the evaluation, US dollars an hour.
    pub const EVALUATION_COST: &str = "evaluation/cost_per_hour";
    /// Environment steps a second. Only in the event file: it is not the same twice.
    pub const PACE: &str = "time/steps_per_second";
}

/// Something that learns by updates.
pub trait Learner {
    /// Environment steps that it is to take.
    fn total_steps(&self) -> u64;
    /// Environment steps that it has taken.
    fn steps(&self) -> u64;
    /// Updates that it has done.
    fn updates(&self) -> u64;
    /// Whether there is nothing left to do.
    fn is_done(&self) -> bool {
        self.steps() >= self.total_steps()
    }
    /// Does one more.
    ///
    /// # Errors
    /// If a number is none, or an environment fails.
    fn update(&mut self) -> Result<Update, LearnError>;
    /// Plays the evaluation's episodes with the policy as it is. Nothing that learning depends on may change by it.
    ///
    /// # Errors
    /// If an environment fails.
    fn evaluate(&mut self) -> Result<Evaluation, LearnError>;
    /// The policy and, with a state, everything to go on from here.
    ///
    /// # Errors
    /// If a number is none.
    fn checkpoint(&self) -> Result<Checkpoint, LearnError>;
}

impl<T: Learner + ?Sized> Learner for Box<T> {
    fn total_steps(&self) -> u64 {
        (**self).total_steps()
    }
    fn steps(&self) -> u64 {
        (**self).steps()
    }
    fn updates(&self) -> u64 {
        (**self).updates()
    }
    fn is_done(&self) -> bool {
        (**self).is_done()
    }
    fn update(&mut self) -> Result<Update, LearnError> {
        (**self).update()
    }
    fn evaluate(&mut self) -> Result<Evaluation, LearnError> {
        (**self).evaluate()
    }
    fn checkpoint(&self) -> Result<Checkpoint, LearnError> {
        (**self).checkpoint()
    }
}

/// What an update tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// For the progress line; what is known of it is recorded under [`names`], too.
    pub standing: Standing,
    /// Everything else that is worth a record, by name, always in the same order.
    pub scalars: Vec<(String, f64)>,
}

/// What an evaluation tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// What it is judged by; more is better.
    pub score: f64,
    /// Share of requests that broke the objective, if there is one.
    pub violation_ratio: Option<f64>,
    /// US dollars an hour, if there is a cost.
    pub cost_per_hour: Option<f64>,
    /// Everything else that is worth a record, by name, always in the same order.
    pub scalars: Vec<(String, f64)>,
}

impl Evaluation {
    fn all(&self) -> Vec<(String, f64)> {
        let optional = [
            (names::SCORE, Some(self.score)),
            (names::EVALUATION_VIOLATION, self.violation_ratio),
            (names::EVALUATION_COST, self.cost_per_hour),
        ];
        let known = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        known.chain(self.scalars.iter().cloned()).collect()
    }
}

/// Why a learner cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A number is none, or has grown beyond reason.
    #[error("found {found} in {tensor}, expected finite numbers within reason")]
    Exploded {
        /// The tensor or the figure.
        tensor: String,
        /// What it is.
        found: f64,
    },
    /// Anything else.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The learner cannot go on.
    #[error("update {update}: {error}; {}", last_good.as_ref().map_or("no checkpoint was saved before".to_owned(), |good| format!("the last good checkpoint is {good}")))]
    Learn {
        /// The update, from 1.
        update: u64,
        /// Why.
        error: LearnError,
        /// Where the state of before was saved, and of which update it is.
        last_good: Option<String>,
    },
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The record could not be kept.
    #[error(transparent)]
    Events(#[from] EventError),
    /// There is a run in the folder already.
    #[error("{}: found a run, expected an empty folder, or --resume {}", folder.display(), folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
}

/// How often what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Updates between evaluations; there is one after the last update, too. 0: only that.
    pub evaluate: u64,
    /// Updates between training checkpoints; there is one at every end, too. 0: only that.
    pub save: u64,
}

/// The world around a run: time and people.
pub trait Watch {
    /// Seconds since 1970, for TensorBoard.
    fn now_s(&self) -> f64;
    /// Shows how it stands.
    fn show(&mut self, standing: &Standing);
    /// Whether to save and end after this update.
    fn stopped(&self) -> bool;
}

/// The best evaluation so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// After so many updates.
    pub update: u64,
    /// What it was judged by.
    pub score: f64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether it came to its end; else it was stopped.
    pub done: bool,
    /// The best evaluation.
    pub best: Option<Best>,
    /// The last evaluation, if there was one since the run began or was resumed.
    pub evaluation: Option<Evaluation>,
}

/// Where a run stands.
#[derive(Debug)]
pub struct Course {
    folder: PathBuf,
    rhythm: Rhythm,
    scalars: Scalars,
    best: Option<Best>,
    saved: Option<u64>,
}

/// Begins a run in `folder`.
///
/// # Errors
/// If there is a run already, or the folder cannot be written to.
pub fn begin(folder: &Path, rhythm: Rhythm, watch: &dyn Watch) -> Result<Course, DriveError> {
    if folder.join(LAST).exists() {
        return Err(DriveError::Occupied { folder: folder.to_owned() });
    }
    let scalars = Scalars::create(folder, watch.now_s())?;
    Ok(Course { folder: folder.to_owned(), rhythm, scalars, best: None, saved: None })
}

/// Goes on with the run in `folder`. `restore` makes the learner of its checkpoint; what it finds as the state's values
/// is what [`Learner::checkpoint`] gave.
///
/// # Errors
/// If there is no training checkpoint, it is not one of a run's, or `restore` refuses it.
pub fn resume<L: Learner, E: From<DriveError>>(
    folder: &Path,
    rhythm: Rhythm,
    watch: &dyn Watch,
    restore: impl FnOnce(Checkpoint) -> Result<L, E>,
) -> Result<(Course, L), E> {
    let (checkpoint, best) = load(&folder.join(LAST))?;
    let learner = restore(checkpoint)?;
    let scalars = Scalars::resume(folder, learner.steps(), watch.now_s()).map_err(DriveError::from)?;
    let saved = Some(learner.updates());
    Ok((Course { folder: folder.to_owned(), rhythm, scalars, best, saved }, learner))
}

/// The training checkpoint at `path`, and the best evaluation before it.
///
/// # Errors
/// If it cannot be read, or is not a training checkpoint.
pub fn load(path: &Path) -> Result<(Checkpoint, Option<Best>), DriveError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Values {
        learner: Value,
        best: Option<Best>,
    }
    let mut checkpoint = Checkpoint::load(path)?;
    let refused = |field: &str, found: String, expected: &str| {
        let refusal = Refusal::Field { field: field.to_owned(), found, expected: expected.to_owned() };
        DriveError::Checkpoint(CheckpointError { path: path.to_owned(), refusal })
    };
    let Some(state) = &mut checkpoint.state else {
        return Err(refused("kind", "policy".to_owned(), "training, to go on with it"));
    };
    let values = serde_json::from_value(std::mem::take(&mut state.values));
    let values: Values = values.map_err(|e| refused("state", e.to_string(), "the state of a run"))?;
    state.values = values.learner;
    Ok((checkpoint, values.best))
}

impl Course {
    /// Lets `learner` learn until it is done or `watch` stops it. What it learnt is saved either way.
    ///
    /// # Errors
    /// If the learner cannot go on, or a file cannot be written. What was saved before stays.
    pub fn drive(&mut self, learner: &mut dyn Learner, watch: &mut dyn Watch) -> Result<Outcome, DriveError> {
        let mut evaluation = None;
        let mut before = (learner.steps(), watch.now_s());
        while !learner.is_done() && !watch.stopped() {
            let number = learner.updates() + 1;
            let update = learner.update().map_err(|error| self.failed(number, error))?;
            let (step, now_s) = (learner.steps(), watch.now_s());
            self.record(step, now_s, &scalars_of(&update))?;
            let pace = (step - before.0) as f64 / (now_s - before.1);
            before = (step, now_s);
            if pace.is_finite() {
                self.scalars.log_pace(step, now_s, names::PACE, pace)?;
            }
            watch.show(&update.standing);
            if learner.is_done() || due(self.rhythm.evaluate, number) {
                evaluation = Some(self.evaluate(learner, watch)?);
            }
            if learner.is_done() || due(self.rhythm.save, number) {
                self.save(learner)?;
            }
        }
        if self.saved != Some(learner.updates()) {
            self.save(learner)?;
        }
        Ok(Outcome { done: learner.is_done(), best: self.best.clone(), evaluation })
    }

    /// Evaluates the policy, and keeps it if it is the best so far.
    fn evaluate(&mut self, learner: &mut dyn Learner, watch: &dyn Watch) -> Result<Evaluation, DriveError> {
        let update = learner.updates();
        let evaluation = learner.evaluate().map_err(|error| self.failed(update, error))?;
        let all = evaluation.all();
        self.record(learner.steps(), watch.now_s(), &all)?;
        // Of equals the earlier stays; a score that is no number is no score.
        if evaluation.score.is_finite() && self.best.as_ref().is_none_or(|best| evaluation.score > best.score) {
            let mut policy = learner.checkpoint().map_err(|error| self.failed(update, error))?;
            policy.state = None;
            let metrics: BTreeMap<String, f64> = all.into_iter().filter(|(_, value)| value.is_finite()).collect();
            policy.metrics.extend(metrics);
            policy.metrics.insert("update".to_owned(), update as f64);
            policy.metrics.insert("steps".to_owned(), learner.steps() as f64);
            self.write(update, &policy, BEST)?;
            self.best = Some(Best { update, score: evaluation.score });
        }
        Ok(evaluation)
    }

    fn save(&mut self, learner: &dyn Learner) -> Result<(), DriveError> {
        let update = learner.updates();
        let mut checkpoint = learner.checkpoint().map_err(|error| self.failed(update, error))?;
        let state = checkpoint.state.get_or_insert_default();
        state.values = json!({"learner": state.values.take(), "best": self.best});
        self.write(update, &checkpoint, LAST)?;
        self.saved = Some(update);
        Ok(())
    }

    /// Writes `checkpoint`; a number in it that is none is the learner's failure, not the disk's.
    fn write(&self, update: u64, checkpoint: &Checkpoint, name: &str) -> Result<(), DriveError> {
        match checkpoint.save(&self.folder.join(name)) {
            Err(CheckpointError { refusal: Refusal::NotFinite { place, found }, .. }) => {
                Err(self.failed(update, LearnError::Exploded { tensor: place, found }))
            }
            other => Ok(other?),
        }
    }

    fn record(&mut self, step: u64, now_s: f64, scalars: &[(String, f64)]) -> Result<(), DriveError> {
        let borrowed: Vec<(&str, f64)> = scalars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        Ok(self.scalars.log(step, now_s, &borrowed)?)
    }

    fn failed(&self, update: u64, error: LearnError) -> DriveError {
        let last_good = self.saved.map(|saved| format!("{}, of update {saved}", self.folder.join(LAST).display()));
        DriveError::Learn { update, error, last_good }
    }
}

fn due(every: u64, update: u64) -> bool {
    every > 0 && update.is_multiple_of(every)
}

fn scalars_of(update: &Update) -> Vec<(String, f64)> {
    let s = &update.standing;
    // What a standing says of violations and cost may be an evaluation's, which records its own.
    let known = [(names::RETURN, s.episode_return), (names::KL, s.kl)];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.chain(update.scalars.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::checkpoint::{Data, State, Tensor};
    use crate::events::{CSV_FILE, read_scalars};

    /// It learns a random walk.
    struct Walk {
        seed: u64,
        done: u64,
        weight: f32,
        poison: Option<u64>,
    }

    impl Walk {
        fn new() -> Self {
            Walk { seed: 5, done: 0, weight: 0.0, poison: None }
        }

        fn restore(checkpoint: Checkpoint) -> Result<Walk, DriveError> {
            let state = checkpoint.state.as_ref().unwrap();
            let Data::U64(words) = state.tensors["done"].data() else { panic!() };
            assert_eq!(state.values, json!({"note": "walk"}));
            let weight = checkpoint.tensor("w").unwrap().as_f32().unwrap()[0];
            Ok(Walk { seed: 5, done: words[0], weight, poison: None })
        }
    }

    impl Learner for Walk {
        fn total_steps(&self) -> u64 {
            2_000
        }
        fn steps(&self) -> u64 {
            self.done * 100
        }
        fn updates(&self) -> u64 {
            self.done
        }
        fn update(&mut self) -> Result<Update, LearnError> {
            let mut stream = Xoshiro256PlusPlus::seed_from_u64(self.seed ^ self.done);
            self.done += 1;
            self.weight += stream.random::<f32>() - 0.4;
            if self.poison == Some(self.done) {
                self.weight = f32::NAN;
            }
            let standing = Standing { episode_return: Some(self.weight.into()), ..Standing::default() };
            Ok(Update { standing, scalars: vec![("losses/entropy".into(), 0.5)] })
        }
        fn evaluate(&mut self) -> Result<Evaluation, LearnError> {
            let score = f64::from((self.weight * 7.0).sin());
            Ok(Evaluation { score, violation_ratio: Some(0.1), ..Evaluation::default() })
        }
        fn checkpoint(&self) -> Result<Checkpoint, LearnError> {
            let tensors = [("done".to_owned(), Tensor::new([1], Data::U64(vec![self.done])).unwrap())].into();
            Ok(Checkpoint {
                tensors: [("w".to_owned(), Tensor::f32([1], vec![self.weight]).unwrap())].into(),
                state: Some(State { tensors, values: json!({"note": "walk"}) }),
                ..Checkpoint::default()
            })
        }
    }

    /// Stops after so many looks.
    struct Hand {
        shown: u64,
        stop_at: u64,
        time: Cell<f64>,
    }

    impl Hand {
        fn new(stop_at: u64) -> Self {
            Hand { shown: 0, stop_at, time: Cell::new(1.7e9) }
        }
    }

    impl Watch for Hand {
        fn now_s(&self) -> f64 {
            self.time.set(self.time.get() + 1.0);
            self.time.get()
        }
        fn show(&mut self, _: &Standing) {
            self.shown += 1;
        }
        fn stopped(&self) -> bool {
            self.shown >= self.stop_at
        }
    }

    const RHYTHM: Rhythm = Rhythm { evaluate: 3, save: 4 };

    fn files(folder: &Path) -> Vec<Vec<u8>> {
        [LAST, BEST, CSV_FILE].map(|name| std::fs::read(folder.join(name)).unwrap()).to_vec()
    }

    #[test]
    fn resumed_is_never_interrupted_wherever_it_stopped() {
        let whole = tempfile::tempdir().unwrap();
        let mut course = begin(whole.path(), RHYTHM, &Hand::new(0)).unwrap();
        let outcome = course.drive(&mut Walk::new(), &mut Hand::new(u64::MAX)).unwrap();
        assert!(outcome.done && outcome.evaluation.is_some());
        let best = outcome.best.unwrap();
        assert!(best.update.is_multiple_of(3) || best.update == 20);
        // 20 updates of two scalars; evaluations at 3, 6, …, 18 and 20 of two.
        assert_eq!(read_scalars(whole.path()).unwrap().len(), 20 * 2 + 7 * 2);
        let policy = Checkpoint::load(&whole.path().join(BEST)).unwrap();
        assert_eq!(policy.kind(), "policy");
        assert_eq!(policy.metrics[names::SCORE], best.score);
        for stop in 0..20 {
            let cut = tempfile::tempdir().unwrap();
            let mut course = begin(cut.path(), RHYTHM, &Hand::new(0)).unwrap();
            assert!(!course.drive(&mut Walk::new(), &mut Hand::new(stop)).unwrap().done);
            let (mut course, mut learner) = resume(cut.path(), RHYTHM, &Hand::new(0), Walk::restore).unwrap();
            assert_eq!(learner.done, stop);
            course.drive(&mut learner, &mut Hand::new(u64::MAX)).unwrap();
            assert!(files(cut.path()) == files(whole.path()), "stopped after {stop}");
        }
    }

    #[test]
    fn killed_after_the_last_checkpoint_too() {
        let whole = tempfile::tempdir().unwrap();
        begin(whole.path(), RHYTHM, &Hand::new(0)).unwrap().drive(&mut Walk::new(), &mut Hand::new(99)).unwrap();
        let killed = tempfile::tempdir().unwrap();
        let mut course = begin(killed.path(), RHYTHM, &Hand::new(0)).unwrap();
        course.drive(&mut Walk::new(), &mut Hand::new(8)).unwrap();
        let early = std::fs::read(killed.path().join(LAST)).unwrap();
        let (mut course, mut learner) = resume(killed.path(), RHYTHM, &Hand::new(0), Walk::restore).unwrap();
        course.drive(&mut learner, &mut Hand::new(7)).unwrap();
        // As if nothing but scalars and the best had been written since update 8.
        std::fs::write(killed.path().join(LAST), early).unwrap();
        let (mut course, mut learner) = resume(killed.path(), RHYTHM, &Hand::new(0), Walk::restore).unwrap();
        course.drive(&mut learner, &mut Hand::new(99)).unwrap();
        assert!(files(killed.path()) == files(whole.path()));
    }

    #[test]
    fn exploding_numbers_end_the_run_with_the_last_good_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut course = begin(folder.path(), RHYTHM, &Hand::new(0)).unwrap();
        let mut learner = Walk { poison: Some(11), ..Walk::new() };
        let error = course.drive(&mut learner, &mut Hand::new(99)).unwrap_err().to_string();
        let good = folder.path().join(LAST);
        let expected = format!(
            "update 12: found NaN in tensor \"w\", number 0, expected finite numbers within reason; the last good checkpoint \
             is {}, of update 8",
            good.display()
        );
        assert_eq!(error, expected);
        assert!(Walk::restore(load(&good).unwrap().0).unwrap().weight.is_finite());
    }

    #[test]
    fn a_run_is_not_overwritten_and_a_policy_is_not_resumed() {
        let folder = tempfile::tempdir().unwrap();
        begin(folder.path(), RHYTHM, &Hand::new(0)).unwrap().drive(&mut Walk::new(), &mut Hand::new(99)).unwrap();
        let error = begin(folder.path(), RHYTHM, &Hand::new(0)).unwrap_err().to_string();
        assert!(error.contains("found a run, expected an empty folder, or --resume"), "{error}");
        std::fs::copy(folder.path().join(BEST), folder.path().join(LAST)).unwrap();
        let error = resume(folder.path(), RHYTHM, &Hand::new(0), Walk::restore).map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with("field kind: found policy, expected training, to go on with it"), "{error}");
    }
}
