//! What a cell does. The code here, with `kisim`'s and `kiscaler-train`'s, is the code version by which a result is known to be
//! current; how results are presented is not.

pub mod fidelity;
pub mod play;
pub mod speed;
pub mod timeline;
pub mod train;
pub mod tune;

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::fidelity::Fidelity;
pub use self::play::Play;
pub use self::speed::Speed;
pub use self::timeline::Timeline;
pub use self::train::Train;
pub use self::tune::Tune;
use crate::cell::Row;

/// What a cell does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Work {
    /// Autoscalers on a scene: a row a run.
    Play(Play),
    /// A rule, tuned and then played: a row a run.
    Tune(Tune),
    /// A training run: its scalars, episodes, and runs of what it learnt.
    Train(Train),
    /// A run in the course of time: a row a scrape.
    Timeline(Timeline),
    /// The simulator against theory and measurements.
    Fidelity(Fidelity),
    /// How fast simulation and training are.
    Speed(Speed),
}

/// What a cell needs of the world. Nothing in it changes its rows.
pub struct Context<'a> {
    /// The folder of public traces, where there is one.
    pub traces: Option<&'a Path>,
    /// A folder of the cell's own, for what it keeps while it works: a training run resumes there. Removed when it is done.
    pub scratch: &'a Path,
    /// Told the share of the work done; answers whether to go on.
    pub progress: &'a (dyn Fn(f64) -> bool + Sync),
}

impl Work {
    /// Does it, on the threads of the current rayon pool (one, when cells run side by side). The rows are the same for any number.
    ///
    /// # Errors
    /// If anything cannot be had, or `progress` says to end.
    pub fn run(&self, context: &Context<'_>) -> Result<Vec<Row>> {
        match self {
            Work::Play(play) => play.run(context),
            Work::Tune(tune) => tune.run(context),
            Work::Train(train) => train.run(context),
            Work::Timeline(timeline) => timeline.run(context),
            Work::Fidelity(fidelity) => fidelity.run(context),
            Work::Speed(speed) => speed.run(context),
        }
    }

    /// Whether its rows hold measured times: they differ from run to run, and nothing else runs beside it.
    pub fn timed(&self) -> bool {
        match self {
            Work::Play(_) | Work::Tune(_) | Work::Train(_) | Work::Timeline(_) | Work::Fidelity(_) => false,
            Work::Speed(_) => true,
        }
    }

    /// The file in the folder of traces that it needs. Without the folder such cells are not run, and the report says so.
    pub fn trace(&self) -> Option<&Path> {
        match self {
            Work::Play(play) => play.scene.file(),
            Work::Tune(tune) => tune.scene.file().or_else(|| tune.test.file()),
            Work::Train(train) => train.then.iter().find_map(|play| play.scene.file()),
            Work::Timeline(timeline) => timeline.scene.file(),
            Work::Fidelity(_) | Work::Speed(_) => None,
        }
    }
}
