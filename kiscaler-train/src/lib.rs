//! A policy that scales GPU inference pods, learnt wholly inside [`kisim`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod checkpoint;
#[cfg(feature = "trainer")]
pub mod drive;
#[cfg(feature = "trainer")]
pub mod envelope;
pub mod environment;
#[cfg(feature = "trainer")]
pub mod events;
pub mod explain;
#[cfg(feature = "trainer")]
pub mod plots;
#[cfg(feature = "trainer")]
pub mod progress;
pub mod statistics;
#[cfg(feature = "trainer")]
pub mod verdict;

/// The version of this program that a checkpoint was made with: `git describe`, or `unknown` where there is no git.
pub const REVISION: &str = env!("KISCALER_REVISION");
