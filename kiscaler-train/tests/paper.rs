//! The published observation, action and reward: an environment and a policy like the others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::sync::Arc;

use kiscaler_train::actor::{Actor, Buffers};
use kiscaler_train::checkpoint::{Checkpoint, Encoder};
use kiscaler_train::config::{PAPER, TrainConfig};
use kiscaler_train::drive::Learner;
use kiscaler_train::environment::{End, Environment, Look};
use kiscaler_train::learner::AutoscalingLearner;
use kiscaler_train::paper::{HEADS, NAMES, STEPS};
use kiscaler_train::policy::{Policy, PolicyAutoscaler, PolicyError};
use kiscaler_train::ppo::Resources;
use kiscaler_train::training::paper_world::{PaperWorld, Patterns};
use kisim::control::{Autoscaler, Decision, View};
use kisim::random::{Purpose, stream};
use kisim::run::{Keep, run_with, silent};
use kisim::scenario::Scenario;
use rand::RngExt;

const CHOICES: usize = HEADS[0] + HEADS[1] + HEADS[2];

fn look(world: &mut PaperWorld) -> ([f32; NAMES.len()], [bool; CHOICES]) {
    let (mut observation, mut mask) = ([f32::NAN; NAMES.len()], [false; CHOICES]);
    world.look(Look { observation: &mut observation, privileged: &mut [], mask: &mut mask, teacher: &mut [] });
    (observation, mask)
}

#[test]
fn episodes_are_the_published_ones() {
    let patterns = Arc::new(Patterns::new().unwrap());
    let (mut kinds, mut placed) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..16 {
        let mut play = || {
            let mut world = PaperWorld::new(Arc::clone(&patterns));
            world.reset(seed).unwrap();
            let mut choices = stream(seed, Purpose::Policy, 7);
            let mut told = Vec::new();
            for step in 1..=STEPS {
                let (observation, mask) = look(&mut world);
                for (name, value) in NAMES.iter().zip(observation) {
                    let low = if *name == "load_trend" { -1.0 } else { 0.0 };
                    assert!((low..=1.0).contains(&value), "seed {seed}, step {step}, {name}: {value}");
                }
                assert!((observation[9] - (step - 1) as f32 / STEPS as f32).abs() < 1e-6);
                // Replicas stay within 1 and 10 whatever is chosen.
                let replicas = [observation[5], observation[6]].map(|share| (10.0 * share).round() as i32);
                for (head, replicas) in replicas.into_iter().enumerate() {
                    for (change, allowed) in (-2..=2).zip(&mask[5 * head..]) {
                        assert!(!allowed || (1..=10).contains(&(replicas + change)), "{replicas} {change}");
                    }
                }
                let mut action = [0; 3];
                for (head, range) in [0..5, 5..10, 10..13].into_iter().enumerate() {
                    let own: Vec<u32> = (0..).zip(&mask[range]).filter(|(_, on)| **on).map(|(c, _)| c).collect();
                    action[head] = own[choices.random_range(0..own.len())];
                }
                placed.insert(action[2]);
                let transition = world.step(&action).unwrap();
                assert_eq!(transition.end, (step == STEPS).then_some(End::Truncated));
                // Efficiency is at most .2 and stability .01; beyond that it must be faster than the published baselines.
                assert!((-0.52..=4.0).contains(&transition.reward), "{}", transition.reward);
                told.push((observation.map(f32::to_bits), mask, transition.reward.to_bits()));
            }
            kinds.insert(world.kind().to_owned());
            assert_eq!(look(&mut world).0[9], 1.0);
            let tally = world.tally();
            assert_eq!(tally.steps, STEPS as u64);
            assert!(tally.cost > 0.0 && tally.cost <= STEPS as f64, "{}", tally.cost);
            told
        };
        assert!(play() == play(), "seed {seed}");
    }
    assert_eq!(kinds, ["periodic", "ramp", "random", "spike"].map(str::to_owned).into());
    assert_eq!(placed.len(), 3);
}

/// The published configuration, much smaller.
fn tiny() -> String {
    PAPER
        .replace("steps_per_rollout = 256", "steps_per_rollout = 10")
        .replace("total_steps = 102_400", "total_steps = 160")
        .replace("[256, 256, 256]", "[16, 16, 16]")
        .replace("episodes = 40", "episodes = 4")
}

/// What a policy saw and chose, decision by decision.
type Choices = Vec<(Vec<u32>, Vec<bool>, Vec<u32>)>;

/// A policy that notes it.
#[derive(Debug)]
struct Noted(PolicyAutoscaler, Choices);

impl Autoscaler for Noted {
    fn name(&self) -> String {
        self.0.name()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let decision = self.0.decide(view);
        let last = self.0.last();
        let seen = last.observation.iter().map(|value| value.to_bits()).collect();
        self.1.push((seen, last.mask.to_vec(), last.action.to_vec()));
        decision
    }
}

fn act(world: &mut PaperWorld, actor: &Actor) -> Choices {
    let (mut buffers, mut all) = (Buffers::default(), Vec::new());
    loop {
        let (observation, mask) = look(world);
        let mut action = [0; 3];
        actor.decide(&observation, &mask, &[], &mut buffers, &mut action);
        all.push((observation.map(f32::to_bits).to_vec(), mask.to_vec(), action.to_vec()));
        if world.step(&action).unwrap().end.is_some() {
            return all;
        }
    }
}

#[test]
fn two_updates_give_a_policy_that_acts_in_the_control_loop_as_in_training() {
    let text = tiny();
    let config = TrainConfig::parse(&text, "the test").unwrap();
    let mut learner = AutoscalingLearner::new(&config, &text, 1, Resources::default()).unwrap();
    learner.update().unwrap();
    let halfway = learner.checkpoint().unwrap();
    learner.update().unwrap();
    let evaluation = learner.evaluate().unwrap();
    assert!(evaluation.score.is_finite() && learner.is_done());
    let straight = learner.checkpoint().unwrap();

    let mut resumed = AutoscalingLearner::restore(&config, &text, &halfway, Resources::default()).unwrap();
    resumed.update().unwrap();
    resumed.evaluate().unwrap();
    assert!(resumed.checkpoint().unwrap().to_bytes().unwrap() == straight.to_bytes().unwrap());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    straight.policy().save(&path).unwrap();
    let loaded = Arc::new(Checkpoint::load(&path).unwrap());
    let policy = Arc::new(Policy::new(&loaded).unwrap());
    assert_eq!(policy.actor(), &learner.actor().unwrap());

    // Parity, on all patterns: no trace is needed, the scenario's own users are the same.
    let patterns = Arc::new(Patterns::new().unwrap());
    for seed in 0..8 {
        let mut world = PaperWorld::new(Arc::clone(&patterns));
        world.reset(seed).unwrap();
        let trained = act(&mut world, policy.actor());
        let prepared = patterns.draw(seed).1;
        let mut deployed = Noted(PolicyAutoscaler::new(&policy, prepared, 1.0, "policy".into()).unwrap(), Vec::new());
        run_with(prepared, &mut deployed, seed, Keep::default(), &silent).unwrap();
        assert!(trained == deployed.1, "seed {seed}: {trained:?} {:?}", deployed.1);
    }
}

#[test]
fn a_policy_of_one_set_is_none_of_the_other() {
    let text = tiny();
    let config = TrainConfig::parse(&text, "the test").unwrap();
    let learner = AutoscalingLearner::new(&config, &text, 1, Resources::default()).unwrap();
    let good = learner.checkpoint().unwrap().policy();
    // Renamed, its features are not ours.
    let encoder = Encoder { version: kiscaler_train::scale_free::VERSION, name: "scale-free".into() };
    let error = Policy::new(&Arc::new(Checkpoint { encoder, ..good.clone() })).unwrap_err().to_string();
    assert!(error.contains(NAMES[0]) && error.contains("price_of_lateness"), "{error}");
    // It scales GPU pods and CPU pods: with one kind alone there is nothing it could do.
    let policy = Arc::new(Policy::new(&Arc::new(good)).unwrap());
    let (_, prepared) = Patterns::new().map(|p| (p.draw(0).0, Arc::clone(p.draw(0).1))).unwrap();
    let mut scenario: Scenario = prepared.scenario.clone();
    scenario.pools.remove("cpu");
    let alone = kisim::prepared::Prepared::new(scenario).unwrap();
    let Err(error) = PolicyAutoscaler::new(&policy, &alone, 1.0, "policy".into()) else {
        panic!("found a policy of two pools accepted for one, expected it refused")
    };
    assert!(matches!(&error, PolicyError::Pools { found } if *found == ["gpu"]), "{error}");
}
