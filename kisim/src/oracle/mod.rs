//! What could have been done by somebody who knew the future: yardsticks, not autoscalers.
//!
//! Everything an autoscaler may know crosses the oracle boundary as a [`crate::telemetry::Scrape`]. The two in here are
//! exempt, by types of their own: only they are ever handed an [`ArrivalRecord`].
//!
//! * [`Foresight`] knows the arrivals of the next seconds, by default one cold start and one control interval, and nothing
//!   beyond. What an autoscaler loses against it is the price of not knowing.
//! * [`Hindsight`] is a plan made with the whole record in hand: dynamic programming on a fluid model, then local search
//!   on the simulator itself with the same random numbers. What Foresight loses against it is what remains even then.
//!
//! `regret = objective − hindsight's objective`, where the objective is the negative mean reward. Hindsight is the best
//! plan found, not a proof of optimality; on cases small enough to try every plan it finds the best one (tests/oracle.rs).

mod dynamic_program;
mod fluid;
mod foresight;
mod hindsight;
mod moves;
mod record;
mod rollout;

pub use fluid::{Fluid, Weights};
pub use foresight::{Foresight, ForesightConfig};
pub use hindsight::{Effort, Hindsight, HindsightPlan};
pub use record::ArrivalRecord;
pub use rollout::{Plan, Score, Timetable, score};
