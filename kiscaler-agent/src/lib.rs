//! `kiscaler-agent` drives inference deployments on a Kubernetes cluster: with a policy that was learnt wholly in the
//! simulator, or with any of the simulator's own rules.
//!
//! | layer | modules | knows |
//! | --- | --- | --- |
//! | what users write and read | [`api`] | Kubernetes' types |
//! | what decisions are made with | [`plan`] | the simulator and policies; no clock, no network |
//! | decisions | [`control`] | the same |
//! | what is seen | [`metrics`] | HTTP |
//! | what was seen, kept | [`recording`] | files' contents |
//! | the cluster | [`cluster`], [`leader`] | the Kubernetes API |
//! | the agent at work | [`run`], [`observe`], [`preflight`], [`backoff`], [`shutdown`] | all of these |
//! | what a cluster without GPUs is given to scale | [`twin`] | the simulator and the Kubernetes API |
//! | what GPUs say | [`exporter`] | NVML and the kubelet |
//! | the command | [`cli`] | everything; it prints, the library does not |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod backoff;
pub mod cli;
pub mod cluster;
pub mod control;
pub mod exporter;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod preflight;
pub mod recording;
pub mod run;
pub mod serve;
pub mod shutdown;
pub mod twin;
