//! The experiments, one file each.

use crate::experiment::Experiment;

/// All of them, in the order of the report.
pub const ALL: &[&Experiment] = &[];
