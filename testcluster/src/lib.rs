//! A real Kubernetes control plane on loopback, for tests: no downloads at run time, no containers, no root.
//!
//! # What is real
//!
//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler of Kubernetes 1.36.3, compiled from their published
//! modules into one binary, and so: the semantics of the API with server-side apply, CRDs and their validation, RBAC,
//! leases, Events and the scale subresource; Deployments and ReplicaSets; scheduling by `nvidia.com/gpu`; the
//! HorizontalPodAutoscaler's controller.
//!
//! # What is not
//!
//! There are no containers, no network of pods and no kubelets. kwok 0.8.0 plays the nodes: a pod turns Running and Ready
//! 1 s after it is scheduled, or after its annotation `testcluster/ready-after` (such as `45s`), and a deleted one is
//! gone at once. Metrics are what a test's [`MetricsServer`] says they are; there is no metrics-server, so `Resource`
//! metrics of an autoscaler have no answer.
//!
//! # How to run
//!
//! ```console
//! $ testcluster/testcluster build                             # once: about 6 minutes on 2 cores; wants Go 1.26
//! $ cargo test -p kis-testcluster                             # about 4 minutes
//! $ cargo run -p kis-testcluster                              # a cluster to try things in
//! ```
//!
//! Where the binaries are not built a test says loudly that it did not run, and passes; with
//! `KIS_REQUIRE_TESTCLUSTER=1` in the environment it fails. `TESTCLUSTER_BIN` names another folder for the binaries than
//! `kis-testcluster` in the user's cache.
//!
//! # What the tests compare
//!
//! `tests/hpa.rs` lets the real controller scale Deployments by metrics of ours, all series side by side, one namespace
//! each, and asks `kisim::hpa` for the same decisions from what the controller saw: sync by sync, the replica count and
//! the conditions with their reasons. It runs in real time, some 4 minutes, whatever the machine.

mod cluster;
mod http;
mod metrics;
mod process;
mod watch;

pub use cluster::{Cluster, not_built};
pub use metrics::{Answer, MetricsServer, Question, Served, Subject};
pub use process::Process;
pub use watch::{Change, Objects, Watch};
