//! From measurements to a service profile.
//!
//! Two kinds of measurement are read ([`read`]) and fitted:
//!
//! * a **batch sweep** (latency by batch size, one request at a time) gives the profile's points directly and an
//!   affine model beside them: [`fit_batch_sweep`];
//! * a **load sweep** (throughput and latency quantiles by offered rate or by number of users) says what a whole server
//!   did, queueing included. The parameters behind it are found by running a model — the simulator — until it
//!   reproduces the sweep: [`fit_load_sweep`].
//!
//! Data often cannot tell what is asked of them. Every fitted number is therefore an [`Estimate`]: a value with its
//! standard error, or the reason why these measurements do not determine it.
//!
//! ```
//! use kisim::calibrate::{Estimate, fit_batch_sweep, parse_batch_sweep};
//! let csv = "batch,latency_ms\n1,2.0\n2,2.5\n4,3.5\n8,5.5\n";
//! let rows = parse_batch_sweep("sweep.csv", csv.as_bytes())?;
//! let fit = fit_batch_sweep(&rows)?;
//! assert_eq!(fit.points.len(), 4);
//! assert!(matches!(fit.affine.per_item_ms, Estimate::Identified { value, .. } if (value - 0.5).abs() < 1e-9));
//! assert!(matches!(fit.service_cv, Estimate::NotIdentified { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fit;
mod identify;
mod levenberg;
mod load;
mod measurements;
mod predict;
mod report;
mod table;

pub use fit::{AffineFit, BatchFit, BatchFitError, Bound, ProfilePoint, Repair, fit_batch_sweep, lognormal_cv};
pub use load::{Convergence, LoadFit, LoadFitError, LoadFitOptions, LoadParameter, Params, Prediction, fit_load_sweep};
pub use measurements::{
    BatchRow, LoadRow, MeasurementError, Measurements, Offered, parse, parse_batch_sweep, parse_load_sweep, read,
};
pub use predict::{ServerSettings, predict};
pub use report::{Estimate, FitReport, Quantity, Residual};
