//! A policy that scales GPU inference pods, learnt wholly inside [`kisim`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod checkpoint;
pub mod environment;
#[cfg(feature = "trainer")]
pub mod events;
#[cfg(feature = "trainer")]
pub mod plots;
#[cfg(feature = "trainer")]
pub mod progress;
pub mod statistics;
