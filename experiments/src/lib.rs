//! Every figure of the published system (KIS-S, arXiv 2507.07932) and ours, regenerated from runs.
//!
//! An [`Experiment`](experiment::Experiment) says which [`Cell`](cell::Cell)s it needs and what their rows mean. A cell is data: what to
//! do is its [`Work`](work::Work), determined by its parameters alone, so it can run in any order, in any process, on any machine, and
//! gives the same rows. Everything a reader sees is made of rows.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod campaign;
pub mod cell;
pub mod chart;
pub mod experiment;
pub mod experiments;
pub mod frame;
pub mod key;
pub mod plan;
pub mod provenance;
pub mod report;
pub mod results;
pub mod runner;
pub mod scene;
pub mod shard;
pub mod store;
pub mod summary;
pub mod work;
