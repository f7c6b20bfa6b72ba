//! A policy that scales GPU inference pods, learnt wholly inside [`kisim`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod actor;
pub mod checkpoint;
#[cfg(feature = "trainer")]
pub mod config;
pub mod contenders;
#[cfg(feature = "trainer")]
pub mod device;
#[cfg(feature = "trainer")]
pub mod drive;
#[cfg(feature = "trainer")]
pub mod envelope;
pub mod environment;
#[cfg(feature = "trainer")]
pub mod events;
pub mod explain;
pub mod facts;
pub mod follower;
pub mod heads;
pub mod history;
#[cfg(feature = "trainer")]
pub mod learner;
pub mod network;
pub mod normaliser;
pub mod observation;
pub mod paper;
#[cfg(feature = "trainer")]
pub mod plots;
pub mod policy;
#[cfg(feature = "trainer")]
pub mod ppo;
#[cfg(feature = "trainer")]
pub mod progress;
pub mod scale_free;
pub mod statistics;
#[cfg(feature = "world")]
pub mod training;
#[cfg(feature = "trainer")]
pub mod verdict;

/// The version of this program that a checkpoint was made with: `git describe`, or `unknown` where there is no git.
pub const REVISION: &str = env!("KISCALER_REVISION");
