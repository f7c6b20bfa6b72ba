//! PPO learns what can be learnt, and nothing where there is nothing.

mod cartpole;

use cartpole::CartPole;
use kiscaler_train::actor::{Actor, Buffers};
use kiscaler_train::environment::{Environment, Look};
use kiscaler_train::ppo::{PpoConfig, Resources, Trainer};
use kisim::random::derive_seed;

fn environments<E: Clone>(config: &PpoConfig, one: E) -> Vec<E> {
    vec![one; config.environments]
}

/// Mean return of `episodes` with the likeliest actions.
fn evaluate(actor: &Actor, environment: &mut impl Environment, episodes: u64) -> f64 {
    let space = environment.space();
    let (mut observation, mut mask) = (vec![0.0; space.observation], vec![true; space.choices()]);
    let (mut privileged, mut teacher) = (vec![0.0; space.privileged], Vec::new());
    let (mut buffers, mut action) = (Buffers::default(), vec![0; space.heads.len()]);
    let mut total = 0.0;
    for episode in 0..episodes {
        environment.reset(derive_seed(0xE7A1, episode)).unwrap();
        loop {
            environment.look(Look {
                observation: &mut observation,
                privileged: &mut privileged,
                mask: &mut mask,
                teacher: &mut teacher,
            });
            actor.decide(&observation, &mask, &mut buffers, &mut action);
            let transition = environment.step(&action).unwrap();
            total += f64::from(transition.reward);
            if transition.end.is_some() {
                break;
            }
        }
    }
    total / episodes as f64
}

fn cartpole_config() -> PpoConfig {
    PpoConfig { total_steps: 200_000, ..PpoConfig::default() }
}

#[test]
fn cartpole_is_solved_on_nine_of_ten_seeds() {
    let mut solved = 0;
    let mut means = Vec::new();
    for seed in 0..10 {
        let config = cartpole_config();
        let slots = environments(&config, CartPole::default());
        let mut trainer = Trainer::new(config, seed, Resources::default(), slots).unwrap();
        while !trainer.finished() {
            trainer.update().unwrap();
        }
        assert!(trainer.steps() <= 200_000);
        let mean = evaluate(&trainer.actor().unwrap(), &mut CartPole::default(), 100);
        means.push(mean);
        solved += u32::from(mean >= 475.0);
    }
    eprintln!("CartPole, mean return of 100 episodes by seed: {means:?}");
    assert!(solved >= 9, "{means:?}");
}
