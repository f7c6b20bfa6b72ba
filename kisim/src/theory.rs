//! Closed forms from queueing theory: what a simulation must agree with where an answer is known.
//!
//! Every function is pure and works on plain `f64`. Times are in one unit of the caller's choice (seconds
//! here) and rates in its inverse; probabilities and utilisations have no unit.
//!
//! Two conventions hold throughout, so that a caller can sweep a load without matching on errors:
//!
//! * a queue that has no steady state (utilisation of one or more, infinite buffer) waits `f64::INFINITY`;
//! * arguments outside the domain (negative, not a number, no server) give `f64::NAN`.
//!
//! | function | system |
//! | --- | --- |
//! | [`erlang_b`], [`mm1k_loss`], [`mmck_loss`] | loss with a finite buffer |
//! | [`erlang_c`], [`mmc_mean_wait`], [`mmc_wait_tail`] | M/M/c |
//! | [`mg1_mean_wait`], [`md1_mean_wait`] | one server, general or constant service |
//! | [`batch_latency_bound`], [`batch_latency_exact`], [`batch_capacity`] | dynamic batching |
//! | [`closed_loop_mva`], [`closed_loop_bounds`], [`closed_loop_response`] | users with think time |
//! | [`littles_law_gap`] | anything stable |
//!
//! ```
//! // A server at 80 % utilisation: exponential service waits twice as long as constant service.
//! use kisim::theory::{md1_mean_wait, mmc_mean_wait};
//! assert!((mmc_mean_wait(0.8, 1.0, 1) - 4.0).abs() < 1e-12);
//! assert!((md1_mean_wait(0.8, 1.0) - 2.0).abs() < 1e-12);
//! ```

mod batch;
mod closed_loop;
mod queues;

pub use batch::{
    batch_capacity, batch_latency_bound, batch_latency_exact, batch_latency_given_mean_batch, batch_latency_phi0,
    batch_latency_phi1, batch_mean_size_exact,
};
pub use closed_loop::{
    ClosedLoop, ThroughputBounds, closed_loop_bounds, closed_loop_mva, closed_loop_response, closed_loop_throughput,
};
pub use queues::{
    erlang_b, erlang_c, littles_law_gap, md1_mean_wait, mg1_mean_wait, mm1k_loss, mmc_mean_wait, mmc_wait_tail,
    mmck_loss,
};
