//! Checkpoints of the learner: what acts is what was trained, what goes on is what never stopped, and nothing else fits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::sync::Arc;

use kiscaler_train::actor::Buffers;
use kiscaler_train::checkpoint::{Checkpoint, Encoder, Refusal};
use kiscaler_train::config::TrainConfig;
use kiscaler_train::drive::Learner;
use kiscaler_train::learner::AutoscalingLearner;
use kiscaler_train::policy::{Policy, PolicyAutoscaler, PolicyError};
use kiscaler_train::ppo::Resources;
use kisim::config::Span;
use kisim::prepared::Prepared;
use kisim::random::{Purpose, stream};
use kisim::scenario::Scenario;
use rand::RngExt;

const TINY: &str = r#"
name = "tiny"

[ppo]
environments = 8
steps_per_rollout = 16
total_steps = 384
imitation_updates = 1
actor_hidden = [16]
critic_hidden = [16]
minibatch = 64
normalise_observations = true
normalise_returns = true
shared_arrivals = 2

[distribution]
services = 4
steps = [8, 24]

[evaluation]
episodes = 4
"#;

fn learner(text: &str, seed: u64, threads: usize) -> AutoscalingLearner {
    let config = TrainConfig::parse(text, "the test").unwrap();
    AutoscalingLearner::new(&config, text, seed, Resources { threads, ..Resources::default() }).unwrap()
}

/// The state after so many updates, an evaluation in the middle.
fn trained(learner: &mut AutoscalingLearner, updates: u64) -> Checkpoint {
    while learner.updates() < updates {
        learner.update().unwrap();
        if learner.updates() == 1 {
            learner.evaluate().unwrap();
        }
    }
    learner.checkpoint().unwrap()
}

/// Through a file.
fn saved(checkpoint: &Checkpoint) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    checkpoint.save(&path).unwrap();
    Checkpoint::load(&path).unwrap()
}

#[test]
fn what_is_hidden_makes_no_difference_to_the_policy() {
    let text = TINY.replace("services = 4", "services = 4\nhidden = [\"past_\", \"late\"]");
    let mut learner = learner(&text, 1, 1);
    let checkpoint = saved(&trained(&mut learner, 3));
    let policy = Policy::new(&Arc::new(checkpoint.policy())).unwrap();
    let names: Vec<&str> = policy.features().iter().map(|feature| feature.name.as_str()).collect();
    let hidden: Vec<usize> =
        (0..names.len()).filter(|&i| names[i].starts_with("past_") || names[i].starts_with("late")).collect();
    assert_eq!(hidden.len(), 13 + 4, "{names:?}");
    let actor = learner.actor().unwrap();
    let mask = vec![true; actor.heads.choices()];
    let mut rng = stream(1, Purpose::Policy, 4);
    let (mut one, mut two) = (Buffers::default(), Buffers::default());
    for _ in 0..100 {
        let mut observation: Vec<f32> = (0..names.len()).map(|_| 4.0 * (rng.random::<f32>() - 0.5)).collect();
        // As training saw it, and as the world is.
        let everything = policy.actor().log_probabilities(&observation, &mask, &mut one).to_vec();
        hidden.iter().for_each(|&feature| observation[feature] = 0.0);
        let trained = actor.log_probabilities(&observation, &mask, &mut two);
        let furthest = trained.iter().zip(&everything).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-5, "{furthest}");
        // Nobody is warned of what makes no difference.
        observation.fill(0.0);
        let before: Vec<usize> = checkpoint.unseen(&observation).collect();
        hidden.iter().for_each(|&feature| observation[feature] = 4.0);
        assert_eq!(checkpoint.unseen(&observation).collect::<Vec<_>>(), before);
    }
}

#[test]
fn policies_of_other_designs_learn_and_act_as_they_say() {
    let mut scenario = Scenario::builtin().unwrap();
    scenario.duration = Some(Span::secs(300));
    for (set, name) in [("scale-free-forecast", "forecast × 1"), ("scale-free-changes", "+1 pods")] {
        let text = TINY.replace("name = \"tiny\"", &format!("name = \"tiny\"\nobservation = \"{set}\""));
        let checkpoint = saved(&trained(&mut learner(&text, 1, 1), 3));
        assert_eq!(checkpoint.encoder.name, set);
        assert!(checkpoint.heads[0].choices.iter().any(|choice| choice.name == name), "{:?}", checkpoint.heads[0]);
        let policy = Arc::new(Policy::new(&Arc::new(checkpoint.policy())).unwrap());
        let prepared = Prepared::new(scenario.clone()).unwrap();
        let mut autoscaler = PolicyAutoscaler::new(&policy, &prepared, 1.0, "one".into()).unwrap();
        let run = kisim::run::run_with(&prepared, &mut autoscaler, 1, kisim::run::Keep::default(), &|_| true).unwrap();
        assert!(run.summary.requests.arrived > 0);
        // Another's choices are not its own.
        let mut other = checkpoint.policy();
        other.encoder = Encoder { name: "scale-free".into(), ..other.encoder };
        let refused = Policy::new(&Arc::new(other)).unwrap_err().to_string();
        assert!(refused.contains("capacity"), "{refused}");
    }
}

#[test]
fn what_was_saved_acts_as_what_was_trained() {
    for text in [TINY.to_owned(), TINY.replace("normalise_observations = true", "normalise_observations = false")] {
        let mut learner = learner(&text, 1, 1);
        let checkpoint = saved(&trained(&mut learner, 2));
        let policy = Policy::new(&Arc::new(checkpoint.policy())).unwrap();
        let actor = learner.actor().unwrap();
        let inputs = policy.features().len();
        let mask = vec![true; actor.heads.choices()];
        let mut rng = stream(1, Purpose::Policy, 4);
        let (mut one, mut two) = (Buffers::default(), Buffers::default());
        for size in [0.1f32, 1.0, 30.0] {
            for _ in 0..100 {
                let observation: Vec<f32> = (0..inputs).map(|_| size * (rng.random::<f32>() - 0.5)).collect();
                let trained = actor.log_probabilities(&observation, &mask, &mut one);
                let loaded = policy.actor().log_probabilities(&observation, &mask, &mut two);
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(trained), bits(loaded));
            }
        }
    }
}

#[test]
fn a_run_that_stopped_ends_as_one_that_never_did() {
    let config = TrainConfig::parse(TINY, "the test").unwrap();
    let straight = trained(&mut learner(TINY, 3, 1), 4);
    let halfway = saved(&trained(&mut learner(TINY, 3, 1), 2));
    let resources = Resources { threads: 2, ..Resources::default() };
    let mut resumed = AutoscalingLearner::restore(&config, TINY, &halfway, resources).unwrap();
    assert_eq!((resumed.updates(), resumed.is_done()), (2, false));
    let bytes = trained(&mut resumed, 4).to_bytes().unwrap();
    assert!(resumed.is_done());
    assert!(bytes == straight.to_bytes().unwrap(), "resumed with two threads, and straight with one");
    assert!(bytes != halfway.to_bytes().unwrap());
}

#[test]
fn threads_change_nothing_and_seeds_everything() {
    let one = trained(&mut learner(TINY, 1, 1), 2);
    assert!(one.to_bytes().unwrap() == trained(&mut learner(TINY, 1, 2), 2).to_bytes().unwrap());
    let two = trained(&mut learner(TINY, 2, 1), 2);
    assert_eq!(one.expected(), two.expected());
    assert!(one.tensors != two.tensors);
}

#[test]
fn what_does_not_fit_is_refused_and_both_sides_are_named() {
    let good = trained(&mut learner(TINY, 1, 1), 1).policy();
    let refused = |change: fn(&mut Checkpoint)| {
        let mut checkpoint = good.clone();
        change(&mut checkpoint);
        Policy::new(&Arc::new(saved(&checkpoint))).unwrap_err()
    };
    let version = good.encoder.version;
    let found = version + 1;
    assert_eq!(refused(|c| c.encoder.version += 1), Refusal::EncoderVersion { found, expected: version });
    let text = refused(|c| c.encoder = Encoder { name: "raw".into(), version: 1 }).to_string();
    assert!(text.contains("raw") && text.contains("scale-free"), "{text}");
    let (index, expected) = (3, good.features[3].name.clone());
    assert_eq!(
        refused(|c| c.features[3].name = "another".into()),
        Refusal::FeatureName { index, found: "another".into(), expected }
    );
    assert!(
        matches!(refused(|c| _ = c.features.pop()), Refusal::FeatureCount { found, expected } if found + 1 == expected)
    );
    let text = refused(|c| c.heads[1].name = "tail".into()).to_string();
    assert!(text.contains("tail") && text.contains("bridge"), "{text}");
    let text = refused(|c| c.heads[0].choices[3].value = 0.46).to_string();
    assert!(text.contains("0.46") && text.contains("0.45"), "{text}");
    assert!(matches!(refused(|c| _ = c.tensors.remove("actor.layers.0.bias")), Refusal::TensorMissing { .. }));

    // The control interval is the scenario's to name.
    let mut scenario = Scenario::builtin().unwrap();
    scenario.control.interval = Span::secs(30);
    let prepared = Prepared::new(scenario).unwrap();
    let policy = Arc::new(Policy::new(&Arc::new(good)).unwrap());
    let Err(PolicyError::Refused(refusal)) = PolicyAutoscaler::new(&policy, &prepared, 1.0, "policy".into()) else {
        panic!("found a policy of another rhythm accepted, expected it refused")
    };
    assert_eq!(refusal, Refusal::ControlInterval { found: Span::secs(15), expected: Span::secs(30) });

    // A learner of another shape does not go on with it.
    let other = TINY.replace("actor_hidden = [16]", "actor_hidden = [8]");
    let config = TrainConfig::parse(&other, "the test").unwrap();
    let state = trained(&mut learner(TINY, 1, 1), 1);
    let error = AutoscalingLearner::restore(&config, &other, &state, Resources::default()).unwrap_err().to_string();
    assert!(error.contains("parameters") && error.contains("numbers"), "{error}");
}

/// The policy that the repository ships is one of this version, and decides.
#[test]
fn the_shipped_policy_fits() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/default.safetensors");
    let checkpoint = std::sync::Arc::new(kiscaler_train::checkpoint::Checkpoint::load(&path).unwrap());
    let policy = std::sync::Arc::new(kiscaler_train::policy::Policy::new(&checkpoint).unwrap());
    let mut scenario = kisim::scenario::Scenario::builtin().unwrap();
    scenario.duration = Some(kisim::config::Span::secs(240));
    let prepared = kisim::prepared::Prepared::new(scenario).unwrap();
    let mut own = kiscaler_train::policy::PolicyAutoscaler::new(&policy, &prepared, 1.0, "policy".into()).unwrap();
    let keep = kisim::run::Keep { decisions: true, ..kisim::run::Keep::default() };
    let run = kisim::run::run_with(&prepared, &mut own, 1, keep, &kisim::run::silent).unwrap();
    assert!(run.decisions.iter().any(|d| d.reason.contains("requests/s")), "{:?}", run.decisions);
}
