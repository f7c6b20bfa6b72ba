//! A simulated inference service behind a real Deployment: all that scales it can be tried on a cluster without one GPU.
//!
//! The pods are a real cluster's: it decides when they come, turn ready and go, and whoever scales the target decides how
//! many there are. Each Ready pod has a server of kisim's, which takes its share of a scenario's traffic; one HTTP
//! endpoint serves what the exporters of all of them would. At the end there are the figures of `kisim run`.
//!
//! | | |
//! | --- | --- |
//! | [`Twin`] | the pure core: told what the API shows, asked for metrics, time is an argument |
//! | [`PodState`] | what of a pod matters |
//! | [`Target`], [`run`] | the edge: watches, a clock, HTTP |
//!
//! # Time
//!
//! With `speed` 1 a second of the scenario is a second. With 10 the scenario is played ten times as fast, and what is
//! exported is what a service would export that is ten times as fast: ten times the requests a second, a tenth of the
//! latency, buckets with a tenth of the bounds. Whoever reads it needs no clock of his own: an autoscaler whose times (its
//! interval, its window, the objective, the profile's latencies) are a tenth too sees the same service, in a tenth of
//! the time. Pods' own times are the cluster's; fake ones can be told to start in a tenth of the time.

mod core;
mod edge;
mod listing;
mod manifest;
mod pods;
mod target;

pub use self::core::{PodMetricsError, Twin};
pub use edge::{Setup, TwinError, run};
pub use manifest::{ManifestError, kiscaler};
pub use pods::PodState;
pub use target::{ParseTargetError, Target};
