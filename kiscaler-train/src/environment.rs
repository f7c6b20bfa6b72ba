//! What a learner needs of the world: observations, actions, rewards. Nothing here knows of pods.

/// The shape of an environment. Equal for all environments that learn together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Numbers in an observation.
    pub observation: usize,
    /// Numbers that only the critic sees, while learning: what will come, where it does not depend on what is done
    /// (input-dependent baselines, Mao et al., ICLR 2019). May be 0.
    pub privileged: usize,
    /// Choices of each head of the action (MultiDiscrete).
    pub heads: Vec<usize>,
    /// Whether a teacher says what each choice of the first head would cost, see [`Look::teacher`].
    pub teacher: bool,
}

impl Space {
    /// Choices of all heads together: the number of logits.
    pub fn choices(&self) -> usize {
        self.heads.iter().sum()
    }
}

/// Where an environment writes what it shows. Lengths as [`Space`] says.
#[derive(Debug)]
pub struct Look<'a> {
    /// The observation.
    pub observation: &'a mut [f32],
    /// What only the critic sees.
    pub privileged: &'a mut [f32],
    /// Which choices are allowed, head after head. At least one of each head is.
    pub mask: &'a mut [bool],
    /// What each choice of the first head would cost from here, by somebody who knows what is to come, relative to the
    /// best of them and in units of the reward; NaN where nobody says. Empty without a teacher.
    pub teacher: &'a mut [f32],
}

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing comes after: the value of what follows is zero.
    Terminated,
    /// Cut by the clock: what follows has a value, which is that of the last look.
    Truncated,
}

/// What an action brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// The reward.
    pub reward: f32,
    /// Whether the episode ended, and how.
    pub end: Option<End>,
}

/// A world to act in.
///
/// An episode is determined by its seed and the actions. [`look`](Environment::look) may be called at any time after
/// `reset`, after the last step of an episode too: a truncated episode's value is that of its last look.
pub trait Environment: Send {
    /// Its shape.
    fn space(&self) -> Space;
    /// Begins the episode of `seed`.
    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError>;
    /// Writes what there is to see.
    fn look(&mut self, look: Look<'_>);
    /// Does `action`, a choice of each head.
    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError>;
    /// What the logits of all choices begin with, where not all choices are as good to begin with.
    fn prior(&self) -> Option<Vec<f32>> {
        None
    }
    /// What kind of episode this is, for figures by kind; the name of a traffic pattern, say.
    fn kind(&self) -> &str {
        ""
    }
}

/// Why an environment cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the environment of seed {seed} failed: {reason}")]
pub struct EnvironmentError {
    /// The episode's seed.
    pub seed: u64,
    /// What happened.
    pub reason: String,
}
