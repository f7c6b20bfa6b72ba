//! A policy that scales GPU inference pods, learnt wholly inside [`kisim`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod environment;
pub mod facts;
pub mod scale_free;
#[cfg(feature = "world")]
pub mod training;
