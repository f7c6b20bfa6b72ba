//! A policy that scales GPU inference pods, learnt wholly inside [`kisim`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod checkpoint;
pub mod environment;
pub mod statistics;
