//! `kiscaler-agent` drives inference deployments on a Kubernetes cluster: with a policy that was learnt wholly in the
//! simulator, or with any of the simulator's own rules.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod cli;
