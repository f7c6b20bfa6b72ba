//! The autoscaling environment: scenarios drawn at random, played in the simulator.
//!
//! | module | holds |
//! | --- | --- |
//! | [`distribution`] | what is drawn: services, loads, faults, wishes |
//! | [`traffic`] | who sends requests, and when |
//! | [`teacher`] | what each choice would cost, known the future |
//! | [`world`] | the environment |
//! | [`paper_world`] | the published one |
//! | [`arena`] | either of them |

pub mod arena;
pub mod distribution;
pub mod paper_world;
mod stage;
pub mod teacher;
pub mod traffic;
pub mod world;
