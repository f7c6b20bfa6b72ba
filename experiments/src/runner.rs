//! Runs cells: several side by side, each on one thread, the longest first.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::cell::{Cell, Row};
use crate::key::{Key, Traces};
use crate::plan::{Place, Plan};
use crate::store::{Record, Store};
use crate::work::{Context, Work};

/// How a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Cells that are done, those that were there before among them.
    pub done: usize,
    /// Cells in all.
    pub total: usize,
    /// Share of the work of this run that is done, 0–1.
    pub share: f64,
    /// Seconds until all are done, about; `None` before anything is known.
    pub left_s: Option<f64>,
    /// Names of what runs now.
    pub running: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Cells that were there, whole and current.
    pub skipped: Vec<Place>,
    /// Cells that ran, and how long, seconds.
    pub ran: Vec<(Place, f64)>,
    /// Cells that failed, and why.
    pub failed: Vec<(Place, String)>,
    /// Whether somebody ended it before its end.
    pub stopped: bool,
}

/// How cells are run.
pub struct Runner<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// Where results are kept.
    pub store: &'a Store,
    /// Where traces are.
    pub traces: &'a Traces,
    /// Cells side by side.
    pub jobs: usize,
    /// What a cell does: [`Work::run`].
    pub work: &'a (dyn Fn(&Work, &Context<'_>) -> Result<Vec<Row>> + Sync),
}

/// Whoever looks on.
pub trait Watch {
    /// Told now and then how the run stands.
    fn show(&mut self, standing: &Standing);
    /// Told that a cell's result was kept, after so many seconds of work.
    ///
    /// # Errors
    /// Ends the run.
    fn kept(&mut self, place: Place, record: &Record, seconds: f64) -> Result<()>;
    /// Whether to end: what is done is kept, the rest is left.
    fn stopped(&self) -> bool;
}

/// What workers tell.
enum News {
    Began(Place),
    Share(Place, f64),
    Ended(Place, Result<Vec<Row>>, f64),
}

/// Between two looks at how things stand, and at whether to end.
const LOOK: Duration = Duration::from_millis(100);

impl Runner<'_> {
    /// Runs the cells at `places` that are not there, in this order. Those that cannot be run here are left out. A cell that fails
    /// does not keep others from running.
    ///
    /// # Errors
    /// If a result cannot be kept.
    pub fn run(&self, places: &[Place], watch: &mut dyn Watch) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let (mut open, mut alone) = (Vec::new(), Vec::new());
        for &place in places {
            let (planned, job) = self.plan.at(place);
            let Ok(key) = &job.key else { continue };
            if self.store.current(planned.experiment.name, &job.cell, key).is_some() {
                outcome.skipped.push(place);
            } else if job.cell.work.timed() {
                alone.push(place);
            } else {
                open.push(place);
            }
        }
        let mut pace = Pace::new(self, &open, &alone, outcome.skipped.len());
        self.side_by_side(&open, self.jobs, &mut pace, &mut outcome, watch)?;
        // What measures time has the machine to itself.
        self.side_by_side(&alone, 1, &mut pace, &mut outcome, watch)?;
        outcome.stopped = outcome.ran.len() + outcome.failed.len() < open.len() + alone.len();
        Ok(outcome)
    }

    fn side_by_side(
        &self,
        places: &[Place],
        jobs: usize,
        pace: &mut Pace,
        outcome: &mut Outcome,
        watch: &mut dyn Watch,
    ) -> Result<()> {
        let queue = Mutex::new(places.iter().copied());
        let stop = AtomicBool::new(watch.stopped());
        let (news, heard) = channel();
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1).min(places.len()) {
                let news = news.clone();
                let (queue, stop) = (&queue, &stop);
                scope.spawn(move || self.worker(queue, stop, &news));
            }
            drop(news);
            let mut end = Ok(());
            let mut shown: Option<Instant> = None;
            loop {
                let mut news = false;
                match heard.recv_timeout(LOOK) {
                    Ok(News::Began(place)) => pace.began(place),
                    Ok(News::Share(place, share)) => pace.share(place, share),
                    Ok(News::Ended(place, result, seconds)) => {
                        pace.ended(place);
                        news = true;
                        let kept = self.settle(place, result, seconds, outcome, watch, stop.load(Ordering::Relaxed));
                        if kept.is_err() {
                            stop.store(true, Ordering::Relaxed);
                            end = end.and(kept);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                // Some cells tell of every step.
                if news || shown.is_none_or(|shown| shown.elapsed() >= LOOK) {
                    watch.show(&pace.standing(jobs));
                    shown = Some(Instant::now());
                }
                if watch.stopped() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            end
        })
    }

    /// Keeps what a cell gave.
    fn settle(
        &self,
        place: Place,
        result: Result<Vec<Row>>,
        seconds: f64,
        outcome: &mut Outcome,
        watch: &mut dyn Watch,
        stopping: bool,
    ) -> Result<()> {
        let (planned, job) = self.plan.at(place);
        let (name, cell) = (planned.experiment.name, &job.cell.name);
        match result {
            Ok(rows) => {
                let record = self.record(&job.cell, &job.key, rows)?;
                self.store.write(name, &record)?;
                // Nobody needs it any more; that it stays is no reason to fail.
                let _ = std::fs::remove_dir_all(self.store.scratch(name, cell));
                outcome.ran.push((place, seconds));
                watch.kept(place, &record, seconds)
            }
            // It was told to end, and says so by an error.
            Err(_) if stopping => Ok(()),
            Err(error) => {
                outcome.failed.push((place, format!("{error:#}")));
                Ok(())
            }
        }
    }

    fn record(&self, cell: &Cell, key: &std::result::Result<Key, String>, rows: Vec<Row>) -> Result<Record> {
        let key = key.as_ref().map_err(|why| anyhow!("cell {}: {why}", cell.name))?;
        Record::new(cell, key, rows)
    }

    fn worker(&self, queue: &Mutex<impl Iterator<Item = Place>>, stop: &AtomicBool, news: &Sender<News>) {
        while !stop.load(Ordering::Relaxed) {
            let Some(place) = queue.lock().ok().and_then(|mut queue| queue.next()) else { return };
            // Whoever does not listen any more has ended.
            let _ = news.send(News::Began(place));
            let started = Instant::now();
            let progress = |share: f64| {
                let _ = news.send(News::Share(place, share));
                !stop.load(Ordering::Relaxed)
            };
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| self.cell(place, &progress)));
            let result = result.unwrap_or_else(|panic| Err(anyhow!("it panicked: {}", message(panic.as_ref()))));
            let _ = news.send(News::Ended(place, result, started.elapsed().as_secs_f64()));
        }
    }

    /// Runs a cell on one thread.
    fn cell(&self, place: Place, progress: &(dyn Fn(f64) -> bool + Sync)) -> Result<Vec<Row>> {
        let (planned, job) = self.plan.at(place);
        let scratch = self.store.scratch(planned.experiment.name, &job.cell.name);
        std::fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let context = Context { traces: self.traces.folder(), scratch: &scratch, progress };
        rayon::ThreadPoolBuilder::new().num_threads(1).build()?.install(|| (self.work)(&job.cell.work, &context))
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// How fast it goes. What cells say they take is corrected by what they took.
struct Pace {
    started: Instant,
    names: BTreeMap<Place, (String, f64)>,
    running: BTreeMap<Place, f64>,
    /// Of the cells that ended: what they said they take.
    ended_s: f64,
    total_s: f64,
    done: usize,
    total: usize,
}

impl Pace {
    fn new(runner: &Runner<'_>, open: &[Place], alone: &[Place], done: usize) -> Pace {
        let name = |&place: &Place| {
            let (planned, job) = runner.plan.at(place);
            // Something, lest a cell that says nothing be nothing.
            (place, (format!("{}/{}", planned.experiment.name, job.cell.name), job.cell.seconds.max(0.01)))
        };
        let names: BTreeMap<Place, (String, f64)> = open.iter().chain(alone).map(name).collect();
        let total_s = names.values().map(|(_, seconds)| seconds).sum();
        let total = names.len() + done;
        Pace { started: Instant::now(), names, running: BTreeMap::new(), ended_s: 0.0, total_s, done, total }
    }

    fn seconds(&self, place: Place) -> f64 {
        self.names.get(&place).map_or(0.0, |(_, seconds)| *seconds)
    }

    fn began(&mut self, place: Place) {
        self.running.insert(place, 0.0);
    }

    fn share(&mut self, place: Place, share: f64) {
        if let Some(known) = self.running.get_mut(&place) {
            *known = known.max(share.clamp(0.0, 1.0));
        }
    }

    fn ended(&mut self, place: Place) {
        self.running.remove(&place);
        self.ended_s += self.seconds(place);
        self.done += 1;
    }

    fn standing(&self, jobs: usize) -> Standing {
        let under_way: f64 = self.running.iter().map(|(&place, share)| share * self.seconds(place)).sum();
        let share = if self.total_s > 0.0 { (self.ended_s + under_way) / self.total_s } else { 1.0 };
        let elapsed = self.started.elapsed().as_secs_f64();
        Standing {
            done: self.done,
            total: self.total,
            share,
            left_s: left(share, elapsed, self.total_s, jobs),
            running: self.running.keys().filter_map(|place| Some(self.names.get(place)?.0.clone())).collect(),
        }
    }
}

/// Seconds left: what cells say they take while little is done, and then by the pace so far.
fn left(share: f64, elapsed: f64, total_s: f64, jobs: usize) -> Option<f64> {
    if share <= 0.0 {
        return None;
    }
    let said = total_s / jobs.max(1) as f64 * (1.0 - share);
    let measured = elapsed / share * (1.0 - share);
    // A tenth of the work tells enough.
    let trust = (share * 10.0).min(1.0);
    Some(trust * measured + (1.0 - trust) * said)
}
