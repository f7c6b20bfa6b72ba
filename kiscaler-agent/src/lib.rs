//! `kiscaler-agent` drives inference deployments on a Kubernetes cluster: with a policy that was learnt wholly in the
//! simulator, or with any of the simulator's own rules.
//!
//! | layer | modules | knows |
//! | --- | --- | --- |
//! | what users write and read | [`api`] | Kubernetes' types |
//! | what decisions are made with | [`plan`] | the simulator and policies; no clock, no network |
//! | decisions | [`control`] | the same |
//! | what is seen | [`metrics`] | HTTP |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod cli;
pub mod control;
pub mod metrics;
pub mod plan;
