//! The same run is the same run: threads, interruption, seeds. What goes wrong is named.

mod cartpole;

use std::sync::{Arc, Mutex};

use cartpole::CartPole;
use kiscaler_train::device::{DeviceKind, device};
use kiscaler_train::environment::{Environment, EnvironmentError, Look, Space, Transition};
use kiscaler_train::ppo::{Backend, PpoConfig, Resources, TrainError, Trainer, TrainerState};

/// Everything switched on that changes in the course of a run.
fn config() -> PpoConfig {
    PpoConfig {
        environments: 6,
        steps_per_rollout: 50,
        total_steps: 300 * 10,
        minibatch: 128,
        normalise_observations: true,
        normalise_returns: true,
        shared_arrivals: 2,
        target_kl: Some(0.02),
        imitation_updates: 2,
        ..PpoConfig::default()
    }
}

fn trainer(config: PpoConfig, seed: u64, threads: usize) -> Trainer<CartPole> {
    let environments = vec![CartPole::default(); config.environments];
    Trainer::new(config, seed, Resources { threads, backend: Backend::Fused }, environments).unwrap()
}

fn advance(trainer: &mut Trainer<CartPole>, updates: usize) -> TrainerState {
    for _ in 0..updates {
        trainer.update().unwrap();
    }
    trainer.state()
}

#[test]
fn threads_change_no_bit() {
    // Wide enough that all that can be shared between threads is.
    let config = PpoConfig {
        actor_hidden: vec![128, 128],
        critic_hidden: vec![128, 128],
        environments: 80,
        steps_per_rollout: 10,
        total_steps: 8_000,
        minibatch: 400,
        ..config()
    };
    let one = advance(&mut trainer(config.clone(), 3, 1), 4);
    assert_eq!(one, advance(&mut trainer(config.clone(), 3, 2), 4));
    assert_eq!(one, advance(&mut trainer(config, 3, 3), 4));
}

#[test]
fn two_seeds_differ() {
    let (one, two) = (advance(&mut trainer(config(), 1, 1), 1), advance(&mut trainer(config(), 2, 1), 1));
    assert_ne!(one.parameters, two.parameters);
    assert_ne!(one.environments, two.environments);
}

#[test]
fn resumed_is_never_interrupted() {
    let whole = advance(&mut trainer(config(), 5, 1), 9);
    let half = advance(&mut trainer(config(), 5, 1), 4);
    // Through a file, as it would be.
    let saved: TrainerState = serde_json::from_str(&serde_json::to_string(&half).unwrap()).unwrap();
    assert_eq!(saved, half);
    // Episodes are under way: without living through them again this could not work.
    assert!(saved.environments.iter().any(|position| position.actions.len() > 3));
    for threads in [1, 2] {
        let mut resumed = trainer(config(), 5, threads);
        resumed.restore(&saved).unwrap();
        assert_eq!(resumed.state(), saved);
        assert_eq!(advance(&mut resumed, 5), whole);
    }
}

#[test]
fn a_foreign_state_is_refused() {
    let saved = trainer(config(), 5, 1).state();
    let error = trainer(config(), 6, 1).restore(&saved).unwrap_err();
    assert_eq!(error.to_string(), "saved state, seed: found 5, expected 6");
    let other = PpoConfig { actor_hidden: vec![32], ..config() };
    let error = trainer(other, 5, 1).restore(&saved).unwrap_err();
    assert!(error.to_string().starts_with("saved state, parameters: found 9155 numbers, expected"), "{error}");
    let mut poisoned = saved.clone();
    poisoned.parameters[1] = f32::NAN;
    let error = trainer(config(), 5, 1).restore(&poisoned).unwrap_err();
    assert_eq!(error.to_string(), "update 0: actor.layers.0.weight is NaN, expected a finite number");
}

/// Shows or pays a number that is none, from some step on.
#[derive(Clone, Debug)]
struct Broken {
    inner: CartPole,
    steps_left: u32,
    observation: bool,
}

impl Environment for Broken {
    fn space(&self) -> Space {
        self.inner.space()
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        self.inner.reset(seed)
    }

    fn look(&mut self, look: Look<'_>) {
        if self.steps_left == 0 && self.observation {
            look.observation[2] = f32::NAN;
            return;
        }
        self.inner.look(look);
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        self.steps_left = self.steps_left.saturating_sub(1);
        let mut transition = self.inner.step(action)?;
        if self.steps_left == 0 && !self.observation {
            transition.reward = f32::INFINITY;
        }
        Ok(transition)
    }
}

fn first_error<E: Environment>(trainer: &mut Trainer<E>) -> String {
    for _ in 0..10 {
        if let Err(error) = trainer.update() {
            assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
            return error.to_string();
        }
    }
    panic!("nothing was noticed");
}

#[test]
fn numbers_that_are_none_stop_the_run_and_are_named() {
    for normalise in [false, true] {
        let config = PpoConfig { normalise_observations: normalise, ..config() };
        let broken = |observation: bool| {
            let healthy = Broken { inner: CartPole::default(), steps_left: u32::MAX, observation };
            let mut environments = vec![healthy; 6];
            environments[4].steps_left = 120;
            Trainer::new(config.clone(), 1, Resources::default(), environments).unwrap()
        };
        let error = first_error(&mut broken(true));
        assert!(error.starts_with("update 2: observation 2 of environment"), "{error}");
        let error = first_error(&mut broken(false));
        assert_eq!(error, "update 2: the reward of environment 4 is inf, expected a finite number");
    }
    // Steps that throw the parameters out of the range of numbers.
    let mut exploding = trainer(PpoConfig { learning_rate: 1e38, imitation_updates: 0, ..config() }, 1, 1);
    let error = first_error(&mut exploding);
    assert!(error.contains("loss is") || error.contains("actor.layers") || error.contains("critic.layers"), "{error}");
}

/// Remembers the seeds of its episodes.
#[derive(Clone, Debug)]
struct Seeds {
    inner: CartPole,
    index: usize,
    seen: Arc<Mutex<Vec<(usize, u64)>>>,
}

impl Environment for Seeds {
    fn space(&self) -> Space {
        self.inner.space()
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        self.seen.lock().unwrap().push((self.index, seed));
        self.inner.reset(seed)
    }

    fn look(&mut self, look: Look<'_>) {
        self.inner.look(look);
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        self.inner.step(action)
    }
}

#[test]
fn a_group_shares_its_seeds_and_nobody_else_does() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let environments = (0..6).map(|index| Seeds { inner: CartPole::default(), index, seen: seen.clone() }).collect();
    let mut trainer = Trainer::new(config(), 1, Resources::default(), environments).unwrap();
    for _ in 0..3 {
        trainer.update().unwrap();
    }
    let seen = seen.lock().unwrap();
    let of = |index: usize| seen.iter().filter(|(i, _)| *i == index).map(|(_, seed)| *seed).collect::<Vec<_>>();
    for group in 0..3 {
        let (one, two) = (of(2 * group), of(2 * group + 1));
        let both = one.len().min(two.len());
        assert!(both > 3);
        assert_eq!(one[..both], two[..both]);
    }
    let mut firsts: Vec<u64> = [0, 2, 4].into_iter().flat_map(of).collect();
    let count = firsts.len();
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts.len(), count);
}

#[test]
fn candle_and_kernels_learn_alike() {
    let config = PpoConfig { imitation_updates: 0, target_kl: None, ..config() };
    let run = |backend: Backend| {
        let environments = vec![CartPole::default(); config.environments];
        let resources = Resources { threads: 1, backend };
        let mut trainer = Trainer::new(config.clone(), 1, resources, environments).unwrap();
        let stats = trainer.update().unwrap();
        (stats, trainer.state().parameters)
    };
    let (ours, our_parameters) = run(Backend::Fused);
    let (theirs, their_parameters) = run(Backend::Candle(device(DeviceKind::Cpu).unwrap()));
    assert_eq!(ours.episodes, theirs.episodes);
    for (ours, theirs) in [
        (ours.policy_loss, theirs.policy_loss),
        (ours.value_loss, theirs.value_loss),
        (ours.entropy, theirs.entropy),
        (ours.gradient_norm, theirs.gradient_norm),
        (ours.kl_k3, theirs.kl_k3),
    ] {
        assert!((ours - theirs).abs() < 1e-3 * theirs.abs() + 1e-5, "{ours} {theirs}");
    }
    let apart = our_parameters.iter().zip(&their_parameters).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    // Twelve steps of at most 2.5e-4 each.
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let environments = vec![CartPole::default(); 5];
    let error = Trainer::new(config(), 1, Resources::default(), environments).unwrap_err();
    assert_eq!(error.to_string(), "environments: found 5, expected 6");
    let bad = PpoConfig { lambda: 2.0, ..config() };
    let error = Trainer::new(bad, 1, Resources::default(), vec![CartPole::default(); 6]).unwrap_err();
    assert_eq!(error.to_string(), "lambda: found 2.0, expected between 0 and 1");
}
