//! The autoscalers that are built in.
//!
//! | kind | what it is | its configuration |
//! |---|---|---|
//! | [`Fixed`] | the same number, always | numbers by pool |
//! | [`Schedule`] | a timetable | times and numbers |
//! | [`HpaAutoscaler`] | Kubernetes' HorizontalPodAutoscaler, [`crate::hpa`] | its manifest, unchanged |
//! | [`KedaAutoscaler`] | KEDA's ScaledObject, [`crate::keda`] | its manifest, unchanged |
//! | [`KpaAutoscaler`] | Knative's pod autoscaler, [`crate::kpa`] | its manifest, unchanged |
//! | [`Predictive`] | a forecast over the cold start and the profile's capacity | TOML |
//!
//! The first five are other people's rules, fed here with the metrics that the simulation offers; the rules themselves are
//! in modules of their own, which know nothing of the simulator.

mod config;
mod error;
mod fixed;
mod hpa;
mod keda;
mod kpa;
mod metrics;
mod parse;
mod predictive;
mod schedule;
mod template;

pub use config::{AutoscalerConfig, HpaConfig, KedaConfig, KpaConfig, Manifest};
pub use error::AutoscalerError;
pub use fixed::Fixed;
pub use hpa::HpaAutoscaler;
pub use keda::KedaAutoscaler;
pub use kpa::KpaAutoscaler;
pub use metrics::HpaMetric;
pub use predictive::{ForecastModel, Predictive, PredictiveConfig};
pub use schedule::{Schedule, ScheduleConfig, ScheduleEntry};
pub use template::{DirectionRules, HpaTemplate, KedaTemplate};
