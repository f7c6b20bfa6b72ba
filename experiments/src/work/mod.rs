//! What a cell does. The code here, with `kisim`'s and `kiscaler-train`'s, is the code version by which a result is known to be
//! current; how results are presented is not.

pub mod play;
pub mod tune;

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::play::Play;
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
        }
    }

    /// Whether its rows hold measured times: they differ from run to run, and nothing else runs beside it.
    pub fn timed(&self) -> bool {
        match self {
            Work::Play(_) | Work::Tune(_) => false,
        }
    }

    /// The file in the folder of traces that it needs. Without the folder such cells are not run, and the report says so.
    pub fn trace(&self) -> Option<&Path> {
        match self {
            Work::Play(play) => play.scene.file(),
            Work::Tune(tune) => tune.scene.file().or_else(|| tune.test.file()),
        }
    }
}
