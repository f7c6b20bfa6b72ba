//! What the agent says about itself: metrics, and whether it is alive and ready.

mod server;
mod telemetry;

pub use server::{Readiness, serve};
pub use telemetry::Telemetry;
