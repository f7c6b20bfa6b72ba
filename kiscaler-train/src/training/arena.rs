//! The environments there are, as one: which it is follows from the set of observations and actions.

use std::sync::Arc;

use super::distribution::Distribution;
use super::paper_world::{PaperWorld, Patterns};
use super::world::{Tally, World};
use crate::environment::{Environment, EnvironmentError, Look, Space, Transition};
use crate::scale_free::Design;

/// What episodes are drawn from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The training distribution, and what choices mean on it.
    ScaleFree(Arc<Distribution>, Design),
    /// The published patterns.
    Paper(Arc<Patterns>),
}

impl Source {
    /// An environment of it; with a teacher, if it `teaches` and has one.
    pub fn arena(&self, teaches: bool) -> Arena {
        match self {
            Source::ScaleFree(distribution, design) => {
                Arena::ScaleFree(Box::new(World::designed(Arc::clone(distribution), teaches, *design)))
            }
            Source::Paper(patterns) => Arena::Paper(PaperWorld::new(Arc::clone(patterns))),
        }
    }
}

/// An environment.
#[derive(Debug)]
pub enum Arena {
    /// Ours.
    ScaleFree(Box<World>),
    /// The published one.
    Paper(PaperWorld),
}

impl Arena {
    /// Figures of the episode so far.
    pub fn tally(&self) -> Tally {
        match self {
            Arena::ScaleFree(world) => world.tally(),
            Arena::Paper(world) => world.tally(),
        }
    }

    /// What rewards of the running episode are multiplied with.
    pub fn worth(&self) -> f64 {
        match self {
            Arena::ScaleFree(world) => world.worth(),
            Arena::Paper(_) => 1.0,
        }
    }
}

impl Arena {
    /// What choices of the first head mean now, see [`Actor::decide`](crate::actor::Actor::decide).
    pub fn meanings(&self) -> &[u32] {
        match self {
            Arena::ScaleFree(world) => world.meanings(),
            Arena::Paper(_) => &[],
        }
    }
}

impl Environment for Arena {
    fn space(&self) -> Space {
        match self {
            Arena::ScaleFree(world) => world.space(),
            Arena::Paper(world) => world.space(),
        }
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        match self {
            Arena::ScaleFree(world) => world.reset(seed),
            Arena::Paper(world) => world.reset(seed),
        }
    }

    fn look(&mut self, look: Look<'_>) {
        match self {
            Arena::ScaleFree(world) => world.look(look),
            Arena::Paper(world) => world.look(look),
        }
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        match self {
            Arena::ScaleFree(world) => world.step(action),
            Arena::Paper(world) => world.step(action),
        }
    }

    fn prior(&self) -> Option<Vec<f32>> {
        match self {
            Arena::ScaleFree(world) => world.prior(),
            Arena::Paper(world) => world.prior(),
        }
    }

    fn kind(&self) -> &str {
        match self {
            Arena::ScaleFree(world) => world.kind(),
            Arena::Paper(world) => world.kind(),
        }
    }
}
