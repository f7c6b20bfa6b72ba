//! Hyper-parameters, with the defaults of CleanRL's `ppo.py`.

use serde::{Deserialize, Serialize};

/// What PPO may be told. The defaults learn CartPole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// Environments that step together.
    pub environments: usize,
    /// Steps of each environment between two updates.
    pub steps_per_rollout: usize,
    /// Steps of all environments together over the whole of PPO, the imitation before it not counted.
    pub total_steps: u64,
    /// Widths of the actor's hidden layers.
    pub actor_hidden: Vec<usize>,
    /// Widths of the critic's hidden layers.
    pub critic_hidden: Vec<usize>,
    /// Step size of Adam at the start.
    pub learning_rate: f64,
    /// Whether the step size falls to zero, linearly.
    pub anneal_learning_rate: bool,
    /// Adam's ε. 1e-5 as in OpenAI's baselines, not 1e-8 (Huang et al. 2022, detail 3).
    pub adam_epsilon: f64,
    /// Discount per step.
    pub gamma: f64,
    /// λ of the generalised advantage (Schulman et al. 2016, §3).
    pub lambda: f64,
    /// Passes over each rollout.
    pub epochs: usize,
    /// Rows of a minibatch.
    pub minibatch: usize,
    /// ε of the clipped surrogate (Schulman et al. 2017, eq. 7).
    pub clip: f32,
    /// Clips how far a value moves from the rollout's, if given (Huang et al. 2022, detail 9).
    pub value_clip: Option<f32>,
    /// Weight of the value loss.
    pub value_coefficient: f32,
    /// Weight of the entropy at the start.
    pub entropy_start: f32,
    /// And at the end; linear between.
    pub entropy_end: f32,
    /// Largest norm of the gradient of all parameters together.
    pub max_gradient_norm: f32,
    /// The epochs of an update stop once the policy has moved this far (k3, nats), if given.
    pub target_kl: Option<f64>,
    /// Parameters that act are the mean of those after the last so many updates, about (Polyak & Juditsky 1992; an
    /// exponential mean); 1 for the latest alone. Learning goes on from the latest.
    pub averaged_updates: u32,
    /// Whether advantages are centred and scaled in each minibatch.
    pub normalise_advantages: bool,
    /// Advantages beyond so many standard deviations count as that many, if given: a burst that nobody could serve is not to
    /// drown what a thousand quiet steps say. Only where they are normalised.
    pub advantage_limit: Option<f32>,
    /// Whether observations are normalised by their running mean and variance.
    pub normalise_observations: bool,
    /// Whether rewards are divided by the running deviation of the discounted return.
    pub normalise_returns: bool,
    /// Weight of the teacher's loss at the start of PPO.
    pub teacher_start: f32,
    /// And at the end; linear between.
    pub teacher_end: f32,
    /// Updates before PPO that only imitate the teacher, and teach the critic.
    pub imitation_updates: u64,
    /// Weight of the entropy meanwhile.
    pub imitation_entropy: f32,
    /// Steps for which an environment keeps the random numbers that its actions are drawn with: 1 draws anew each step. More
    /// explores by courses of action instead of single ones (cf. Raffin et al. 2022, generalised state-dependent
    /// exploration): what takes several steps to bear fruit is else undone before it does.
    pub persistence: u32,
    /// How many neighbouring environments get the same seeds, and so the same arrivals. 1: none do.
    pub shared_arrivals: usize,
    /// Whether such a group's mean advantage at each time is subtracted (Mao et al., ICLR 2019).
    pub shared_baseline: bool,
}

impl Default for PpoConfig {
    fn default() -> Self {
        PpoConfig {
            environments: 8,
            steps_per_rollout: 128,
            total_steps: 500_000,
            actor_hidden: vec![64, 64],
            critic_hidden: vec![64, 64],
            learning_rate: 2.5e-4,
            anneal_learning_rate: true,
            adam_epsilon: 1e-5,
            gamma: 0.99,
            lambda: 0.95,
            epochs: 4,
            minibatch: 256,
            clip: 0.2,
            value_clip: Some(0.2),
            value_coefficient: 0.5,
            entropy_start: 0.01,
            entropy_end: 0.01,
            max_gradient_norm: 0.5,
            target_kl: None,
            averaged_updates: 1,
            normalise_advantages: true,
            advantage_limit: None,
            normalise_observations: false,
            normalise_returns: false,
            teacher_start: 0.0,
            teacher_end: 0.0,
            imitation_updates: 0,
            imitation_entropy: 0.01,
            persistence: 1,
            shared_arrivals: 1,
            shared_baseline: true,
        }
    }
}

impl PpoConfig {
    /// What types cannot check: the first field that makes no sense, as field, found and expected.
    pub fn problem(&self) -> Option<String> {
        let wrong = |field: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Some(format!("{field}: found {found:?}, expected {expected}"))
        };
        for (field, count) in [
            ("environments", self.environments),
            ("steps_per_rollout", self.steps_per_rollout),
            ("epochs", self.epochs),
            ("minibatch", self.minibatch),
            ("shared_arrivals", self.shared_arrivals),
            ("persistence", self.persistence as usize),
        ] {
            if count == 0 {
                return wrong(field, &count, "at least 1");
            }
        }
        for (field, widths) in [("actor_hidden", &self.actor_hidden), ("critic_hidden", &self.critic_hidden)] {
            if widths.contains(&0) {
                return wrong(field, widths, "widths of at least 1");
            }
        }
        for (field, value) in [
            ("learning_rate", self.learning_rate),
            ("adam_epsilon", self.adam_epsilon),
            ("clip", f64::from(self.clip)),
            ("max_gradient_norm", f64::from(self.max_gradient_norm)),
            ("value_clip", f64::from(self.value_clip.unwrap_or(1.0))),
            ("target_kl", self.target_kl.unwrap_or(1.0)),
            ("advantage_limit", f64::from(self.advantage_limit.unwrap_or(1.0))),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(field, &value, "a number above 0");
            }
        }
        for (field, value) in [("gamma", self.gamma), ("lambda", self.lambda)] {
            if !(0.0..=1.0).contains(&value) {
                return wrong(field, &value, "between 0 and 1");
            }
        }
        for (field, value) in [
            ("value_coefficient", self.value_coefficient),
            ("entropy_start", self.entropy_start),
            ("entropy_end", self.entropy_end),
            ("teacher_start", self.teacher_start),
            ("teacher_end", self.teacher_end),
            ("imitation_entropy", self.imitation_entropy),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(field, &value, "a number of at least 0");
            }
        }
        if !self.environments.is_multiple_of(self.shared_arrivals) {
            return wrong("environments", &self.environments, "a multiple of shared_arrivals");
        }
        if self.total_steps < self.rollout() as u64 {
            return wrong("total_steps", &self.total_steps, "at least environments × steps_per_rollout");
        }
        None
    }

    /// Whether a teacher is ever asked.
    pub fn teaches(&self) -> bool {
        self.imitation_updates > 0 || self.teacher_start > 0.0 || self.teacher_end > 0.0
    }

    /// Steps of all environments between two updates.
    pub fn rollout(&self) -> usize {
        self.environments * self.steps_per_rollout
    }

    /// Updates of PPO proper.
    pub fn ppo_updates(&self) -> u64 {
        self.total_steps / self.rollout() as u64
    }

    /// All updates, imitation included.
    pub fn updates(&self) -> u64 {
        self.imitation_updates + self.ppo_updates()
    }

    /// What holds in update `update`, counted from 0.
    pub fn schedule(&self, update: u64) -> Schedule {
        if update < self.imitation_updates {
            return Schedule {
                imitation: true,
                learning_rate: self.learning_rate,
                entropy: self.imitation_entropy,
                teacher: 1.0,
            };
        }
        let done = (update - self.imitation_updates) as f64 / self.ppo_updates() as f64;
        let between = |start: f32, end: f32| (f64::from(start) + (f64::from(end) - f64::from(start)) * done) as f32;
        Schedule {
            imitation: false,
            learning_rate: self.learning_rate * if self.anneal_learning_rate { (1.0 - done).max(0.0) } else { 1.0 },
            entropy: between(self.entropy_start, self.entropy_end),
            teacher: between(self.teacher_start, self.teacher_end),
        }
    }
}

/// What changes in the course of learning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Whether the actor only imitates the teacher.
    pub imitation: bool,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Weight of the entropy.
    pub entropy: f32,
    /// Weight of the teacher's loss.
    pub teacher: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_linear_from_the_first_update_to_after_the_last() {
        let config = PpoConfig {
            total_steps: 10 * 1024,
            imitation_updates: 5,
            entropy_start: 0.1,
            entropy_end: 0.0,
            teacher_start: 2.0,
            teacher_end: 1.0,
            learning_rate: 1.0,
            ..PpoConfig::default()
        };
        assert_eq!(config.updates(), 15);
        assert!(config.schedule(4).imitation);
        let first = config.schedule(5);
        assert_eq!((first.imitation, first.learning_rate, first.entropy, first.teacher), (false, 1.0, 0.1, 2.0));
        let half = config.schedule(10);
        assert!((half.learning_rate - 0.5).abs() < 1e-12);
        assert!((half.entropy - 0.05).abs() < 1e-7 && (half.teacher - 1.5).abs() < 1e-6);
        // The last update still moves, as in CleanRL.
        assert!((config.schedule(14).learning_rate - 0.1).abs() < 1e-12);
    }

    #[test]
    fn problems_name_field_found_and_expected() {
        let problem = |change: fn(&mut PpoConfig)| {
            let mut config = PpoConfig::default();
            change(&mut config);
            config.problem().unwrap_or_default()
        };
        assert_eq!(problem(|_| ()), "");
        assert_eq!(problem(|c| c.gamma = 1.5), "gamma: found 1.5, expected between 0 and 1");
        assert_eq!(problem(|c| c.shared_arrivals = 3), "environments: found 8, expected a multiple of shared_arrivals");
        assert_eq!(problem(|c| c.learning_rate = f64::NAN), "learning_rate: found NaN, expected a number above 0");
        assert_eq!(problem(|c| c.minibatch = 0), "minibatch: found 0, expected at least 1");
    }
}
