//! The autoscaling environment: scenarios drawn at random, played in the simulator.
//!
//! | module | holds |
//! | --- | --- |
//! | [`distribution`] | what is drawn: services, loads, faults, wishes |
//! | [`traffic`] | who sends requests, and when |
//! | [`teacher`] | what each choice would cost, known the future |
//! | [`world`] | the environment |

pub mod distribution;
pub mod teacher;
pub mod traffic;
pub mod world;
