//! GPU metrics of a node under the names of NVIDIA's DCGM exporter, for nodes where that does not run.
//!
//! What is read is NVML, which the driver brings; no DCGM is needed. Whatever reads DCGM's names finds the same, but for
//! what only DCGM's profiling gives.
//!
//! | | |
//! | --- | --- |
//! | [`Driver`], [`Reading`] | NVML: what the driver says of each GPU |
//! | [`attribution`] | whose GPU it is, as the kubelet says |
//! | [`exposition`] | both as text |
//!
//! # What is not known is not there
//!
//! A value that a GPU does not support or does not give has no series: never a 0. A GPU that is lost has no series but a
//! count in `kiscaler_gpu_exporter_errors`. Where there is no driver, `/metrics` answers 503 with a sentence, so that
//! Prometheus marks the target as down and its series as stale.

pub mod attribution;
mod edge;
mod exposition;
mod nvml;
mod protobuf;

pub use edge::{Setup, once, run};
pub use exposition::exposition;
pub use nvml::{Driver, DriverError, Field, FieldError, Reading};
