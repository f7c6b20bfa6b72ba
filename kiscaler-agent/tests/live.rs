//! The agent against a real Kubernetes API: etcd, API server, controllers, scheduler; kubelets and metrics are played.
//!
//! See the documentation of `kis-testcluster` for what it takes to run. Each test has a namespace of its own and starts
//! the very program that users start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "live/faults.rs"]
mod faults;
#[path = "live/owners.rs"]
mod owners;
#[path = "live/prometheus.rs"]
mod prometheus;
#[path = "live/proxy.rs"]
mod proxy;
#[path = "live/scaling.rs"]
mod scaling;
#[path = "live/schema.rs"]
mod schema;
#[path = "live/world.rs"]
mod world;
