//! The search for an autoscaler's best parameters, on training seeds.
//!
//! A baseline that was not tuned proves nothing. [`tune`] turns what practitioners turn (metrics, targets, windows, policies,
//! tolerances, headroom) and judges by the scenario's own objective: random points and then points near the best ones
//! (Bergstra and Bengio 2012), in generations, each thinned by successive halving over seeds (Jamieson and Talwalkar
//! 2016): a trial that does badly on one seed is not tried on all. Every evaluation is recorded; a run that was
//! interrupted goes on where it was.
//!
//! Training seeds are not those of [`crate::compare::compare`]: what is compared is traffic that nobody tuned to. A trace
//! is the same for every seed, though: tune on another part of it, or on another day.

mod record;
mod search;
mod space;

pub use record::{Evaluation, Record, RecordError};
pub use search::{Trial, TuneError, TuneOptions, Tuned, training_seeds, tune};
pub use space::{Kind, Parameter, Space};
