//! `kisim` simulates GPU inference pods on Kubernetes, and the autoscalers that drive them, in virtual time.
//!
//! A [`scenario::Scenario`] says everything a run depends on but the seed: traffic, pools of pods with their measured
//! service profiles, nodes, faults, what is scraped and how often somebody decides. [`run::run`] plays it under an
//! autoscaler and reports what became of every request and what it cost.
//!
//! ```
//! use kisim::autoscaler::AutoscalerConfig;
//! use kisim::run::{Keep, run, silent};
//! use kisim::scenario::Scenario;
//! use kisim::prepared::Prepared;
//!
//! let mut scenario = Scenario::builtin()?;
//! scenario.duration = Some(kisim::config::Span::secs(120));
//! let autoscaler = AutoscalerConfig::parse("hpa:60", &scenario)?;
//! let prepared = Prepared::new(scenario)?;
//! let result = run(&prepared, &autoscaler, 1, Keep::default(), &silent)?;
//! let requests = result.summary.requests;
//! assert!(requests.completed > 10_000);
//! // Nothing gets lost: every request that arrived has one fate.
//! assert_eq!(
//!     requests.arrived,
//!     requests.completed + requests.queue_full + requests.timed_out + requests.killed + requests.unserved
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is built
//!
//! | layer | modules |
//! | --- | --- |
//! | who sends requests | [`traffic`], [`trace`], [`clients`] |
//! | who serves them | [`batcher`], [`server`], [`sharing`], [`router`], [`fleet`], [`ledger`] |
//! | where servers come from and go | [`cluster`], [`events`] |
//! | under one clock | [`prepared`], [`simulation`]; [`external`] where a real cluster decides on pods |
//! | what is seen of it | [`telemetry`], [`promql`], [`window`] |
//! | who decides | [`control`], [`autoscaler`], [`hpa`] |
//! | how good it was | [`objective`], [`run`], [`compare`], [`pareto`], [`report`], [`plot`] |
//! | is it right | [`theory`], [`validate`], [`calibrate`] |
//!
//! Requests never meet a global event queue: pods own their clocks ([`server::Server::next`]) and are advanced when
//! somebody needs to know their state, see [`fleet`]. Everything else goes through [`events::EventQueue`].
//!
//! An autoscaler implements [`control::Autoscaler`]. It sees a [`control::View`]: scraped metrics through a
//! [`window::Window`], and pods as the Kubernetes API lists them; never the simulator's own books.
//!
//! The library reads no clock, starts no thread inside a simulation and prints nothing; the same scenario and seed give
//! the same bytes on any number of threads.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod activator;
pub mod arguments;
pub mod autoscaler;
pub mod batcher;
pub mod calibrate;
pub mod capacity;
pub mod clients;
pub mod clocks;
pub mod cluster;
pub mod compare;
pub mod config;
pub mod contender;
pub mod control;
pub mod distribution;
pub mod events;
pub mod external;
pub mod fleet;
pub mod forecast;
pub mod histogram;
pub mod hpa;
pub mod keda;
pub mod kpa;
pub mod ledger;
pub mod manual;
pub mod objective;
pub mod oracle;
pub mod pareto;
pub mod plot;
pub mod prepared;
pub mod profile;
pub mod promql;
pub mod random;
mod recorder;
pub mod report;
pub mod router;
pub mod run;
pub mod scenario;
pub mod server;
pub mod sharing;
pub mod simulation;
pub mod steps;
pub mod telemetry;
pub mod theory;
pub mod time;
pub mod tournament;
pub mod trace;
pub mod traffic;
pub mod tune;
pub mod validate;
pub mod window;
