//! A policy that scales GPU inference pods, learnt wholly inside [`kisim`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod actor;
#[cfg(feature = "trainer")]
pub mod device;
pub mod environment;
pub mod facts;
pub mod scale_free;
#[cfg(feature = "world")]
pub mod training;
pub mod heads;
pub mod network;
pub mod normaliser;
#[cfg(feature = "trainer")]
pub mod ppo;
