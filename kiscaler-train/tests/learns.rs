//! PPO learns what can be learnt, and nothing where there is nothing.

#![cfg(feature = "trainer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

mod cartpole;
mod spike;

use cartpole::CartPole;
use kiscaler_train::actor::{Actor, Buffers};
use kiscaler_train::environment::{End, Environment, EnvironmentError, Look, Space, Transition};
use kiscaler_train::network::Scratch;
use kiscaler_train::ppo::{PpoConfig, Resources, Trainer, UpdateStats};
use kisim::random::{Purpose, Stream, derive_seed, stream};
use rand::Rng;
use spike::{Spikes, State};

/// Trains to the end; the trainer and what it told.
fn train<E: Environment + Clone>(config: PpoConfig, seed: u64, one: &E) -> (Trainer<E>, Vec<UpdateStats>) {
    let environments = vec![one.clone(); config.environments];
    let mut trainer = Trainer::new(config, seed, Resources::default(), environments).unwrap();
    let mut stats = Vec::new();
    while !trainer.finished() {
        stats.push(trainer.update().unwrap());
    }
    (trainer, stats)
}

/// Mean return of `episodes` with the likeliest actions.
fn evaluate(actor: &Actor, environment: &mut impl Environment, episodes: u64) -> f64 {
    let space = environment.space();
    let (mut observation, mut mask) = (vec![0.0; space.observation], vec![true; space.choices()]);
    let (mut privileged, mut teacher) = (vec![0.0; space.privileged], vec![0.0; space.heads[0]]);
    let (mut buffers, mut action) = (Buffers::default(), vec![0; space.heads.len()]);
    let mut total = 0.0;
    for episode in 0..episodes {
        environment.reset(derive_seed(0xE7A1, episode)).unwrap();
        loop {
            environment.look(Look {
                observation: &mut observation,
                privileged: &mut privileged,
                mask: &mut mask,
                teacher: if space.teacher { &mut teacher } else { &mut [] },
            });
            actor.decide(&observation, &mask, &[], &mut buffers, &mut action);
            let transition = environment.step(&action).unwrap();
            total += f64::from(transition.reward);
            if transition.end.is_some() {
                break;
            }
        }
    }
    total / episodes as f64
}

/// Mean return of the episodes that ended in the last `updates` updates.
fn late_return(stats: &[UpdateStats], updates: usize) -> f64 {
    let late = &stats[stats.len() - updates..];
    let count: u64 = late.iter().map(|stats| stats.episodes.count).sum();
    late.iter().map(|stats| stats.episodes.returns).sum::<f64>() / count as f64
}

/// A state, an action and the next state as Gymnasium 1.x computes it.
#[test]
fn cartpole_moves_as_gymnasiums() {
    let mut cart = CartPole { state: [0.01, -0.02, 0.03, 0.04], steps: 0 };
    let expected = [
        (1, [0.009600000000000001, 0.17467919574755525, 0.030799999999999998, -0.2430687179600081]),
        (1, [0.013093583914951107, 0.3693479760579556, 0.025938625640799837, -0.5258796280501483]),
        (0, [0.02048054343611022, 0.17387081260481596, 0.01542103307979687, -0.22513741609237464]),
        (1, [0.02395795968820654, 0.3687690101747617, 0.010918284757949377, -0.5129163478026587]),
    ];
    for (action, next) in expected {
        assert_eq!(cart.step(&[action]).unwrap(), Transition { reward: 1.0, end: None });
        for (found, expected) in cart.state.iter().zip(next) {
            assert!((found - expected).abs() < 1e-12, "{:?} {next:?}", cart.state);
        }
    }
    // Pushed to the right only, from rest: the pole is beyond 12 degrees at the ninth step.
    let mut cart = CartPole::default();
    let ends: Vec<_> = (0..9).map(|_| cart.step(&[1]).unwrap().end).collect();
    assert_eq!(ends[..8], [None; 8]);
    assert_eq!(ends[8], Some(End::Terminated));
    assert!((cart.state[2] + 0.21518604988500967).abs() < 1e-12);
    // 500 steps are all: truncated, not terminated.
    let mut cart = CartPole { steps: 499, ..CartPole::default() };
    assert_eq!(cart.step(&[0]).unwrap().end, Some(End::Truncated));
    // Beyond 2.4 m.
    let mut cart = CartPole { state: [2.39, 1.0, 0.0, 0.0], steps: 0 };
    assert_eq!(cart.step(&[0]).unwrap().end, Some(End::Terminated));
}

#[test]
fn cartpole_is_solved_on_nine_of_ten_seeds() {
    let means: Vec<f64> = (0..10)
        .map(|seed| {
            // A step four times CleanRL's, which takes 5e5 steps for it.
            let config = PpoConfig { total_steps: 200_000, learning_rate: 1e-3, ..PpoConfig::default() };
            let (trainer, _) = train(config, seed, &CartPole::default());
            assert!(trainer.steps() <= 200_000);
            evaluate(&trainer.actor().unwrap(), &mut CartPole::default(), 100)
        })
        .collect();
    eprintln!("CartPole after 2e5 steps, mean return of 100 episodes by seed: {means:?}");
    assert!(means.iter().filter(|mean| **mean >= 475.0).count() >= 9, "{means:?}");
}

/// A context of three, two heads, and choices that pay most and are forbidden.
#[derive(Clone, Debug)]
struct Bandit {
    context: usize,
    random: Stream,
    /// Whether rewards are paid; if not, only the teacher knows.
    pays: bool,
}

impl Bandit {
    fn new(pays: bool) -> Self {
        Bandit { context: 0, random: stream(0, Purpose::Arrivals, 0), pays }
    }

    /// Of each head: best allowed, and forbidden.
    fn answers(&self) -> [(usize, usize); 2] {
        [((self.context + 1) % 3, (self.context + 2) % 3), (self.context % 2, 2)]
    }
}

impl Environment for Bandit {
    fn space(&self) -> Space {
        Space { observation: 3, privileged: 1, heads: vec![3, 3], teacher: true }
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        self.random = stream(seed, Purpose::Arrivals, 0);
        self.context = (self.random.next_u64() % 3) as usize;
        Ok(())
    }

    fn look(&mut self, look: Look<'_>) {
        look.observation.fill(0.0);
        look.observation[self.context] = 1.0;
        look.privileged[0] = 1.0;
        look.mask.fill(true);
        let [(best, forbidden), (_, also_forbidden)] = self.answers();
        look.mask[forbidden] = false;
        look.mask[3 + also_forbidden] = false;
        for (choice, cost) in look.teacher.iter_mut().enumerate() {
            // Nothing of the first context, and never of what is forbidden.
            let silent = self.context == 0 || choice == forbidden;
            *cost = if silent { f32::NAN } else { f32::from(u8::from(choice != best)) };
        }
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        let answers = self.answers();
        let mut reward = 0.0;
        for (&action, (best, forbidden)) in action.iter().zip(answers) {
            assert_ne!(action as usize, forbidden);
            reward += f32::from(u8::from(action as usize == best));
        }
        Ok(Transition { reward: if self.pays { reward } else { 0.0 }, end: Some(End::Terminated) })
    }

    fn kind(&self) -> &str {
        ["zero", "one", "two"][self.context]
    }
}

fn bandit_config() -> PpoConfig {
    PpoConfig {
        environments: 16,
        steps_per_rollout: 16,
        total_steps: 30_000,
        minibatch: 64,
        actor_hidden: vec![16],
        critic_hidden: vec![16],
        learning_rate: 3e-3,
        ..PpoConfig::default()
    }
}

#[test]
fn a_masked_bandit_is_solved() {
    let (trainer, stats) = train(bandit_config(), 1, &Bandit::new(true));
    assert_eq!(evaluate(&trainer.actor().unwrap(), &mut Bandit::new(true), 100), 2.0);
    assert!(late_return(&stats, 5) > 1.9);
    // Figures by kind add up to the whole.
    let last = stats.last().unwrap();
    assert_eq!(last.kinds.keys().collect::<Vec<_>>(), ["one", "two", "zero"]);
    assert_eq!(last.kinds.values().map(|kind| kind.count).sum::<u64>(), last.episodes.count);
    assert_eq!(last.episodes.count, 256);
}

#[test]
fn a_teacher_is_imitated_where_it_speaks() {
    // No rewards: whatever is learnt is the teacher's.
    let config = PpoConfig { imitation_updates: 60, total_steps: 256, ..bandit_config() };
    let environments = vec![Bandit::new(false); config.environments];
    let mut trainer = Trainer::new(config, 1, Resources::default(), environments).unwrap();
    let mut losses = Vec::new();
    for _ in 0..60 {
        let stats = trainer.update().unwrap();
        assert!(stats.imitation);
        losses.push(stats.teacher_loss);
    }
    // A coin between two costs 0.5; the first figure is a mean over the first epochs.
    assert!((0.35..0.52).contains(&losses[0]) && losses[59] < 0.01, "{losses:?}");
    assert!(!trainer.update().unwrap().imitation && trainer.finished());
    let (actor, mut buffers) = (trainer.actor().unwrap(), Buffers::default());
    for context in [1, 2] {
        let mut bandit = Bandit { context, ..Bandit::new(false) };
        let (mut observation, mut mask, mut teacher) = ([0.0; 3], [true; 6], [0.0; 3]);
        bandit.look(Look {
            observation: &mut observation,
            privileged: &mut [0.0],
            mask: &mut mask,
            teacher: &mut teacher,
        });
        let mut action = [0, 0];
        actor.decide(&observation, &mask, &[], &mut buffers, &mut action);
        assert_eq!(action[0] as usize, bandit.answers()[0].0);
    }
}

#[test]
fn the_spike_problem_is_solved_as_well_as_value_iteration_does() {
    let config = PpoConfig {
        environments: 16,
        total_steps: 400_000,
        gamma: spike::GAMMA,
        learning_rate: 1e-3,
        entropy_start: 0.01,
        entropy_end: 0.0,
        normalise_returns: true,
        minibatch: 512,
        ..PpoConfig::default()
    };
    let (trainer, _) = train(config, 1, &Spikes::default());
    let actor = trainer.actor().unwrap();
    let learnt: Vec<usize> = (0..spike::STATES)
        .map(|index| {
            let (mut observation, mut action) = ([0.0; spike::FEATURES], [0]);
            State::of(index).observe(&mut observation);
            actor.decide(&observation, &[true; spike::PODS], &[], &mut Buffers::default(), &mut action);
            action[0] as usize + 1
        })
        .collect();
    let learnt = |state: State| learnt[state.index()];
    let (best, choices) = spike::value_iteration();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // Naive: as many pods as there is demand now, which is one step late.
    let naive = mean(&spike::policy_value(&|state| if state.spike == 1 { 4 } else { 1 }));
    let (optimum, found) = (mean(&best), mean(&spike::policy_value(&learnt)));
    let share = (found - naive) / (optimum - naive);
    let visits = spike::visits(&learnt);
    let right: f64 = visits
        .iter()
        .enumerate()
        .map(|(index, share)| {
            let regret = best[index] - choices[index][learnt(State::of(index)) - 1];
            if regret < 1e-9 { *share } else { 0.0 }
        })
        .sum();
    eprintln!("spikes: naive {naive:.3}, learnt {found:.3}, best {optimum:.3}: {share:.4}; right in {right:.3}");
    assert!(optimum - naive > 0.05 * naive.abs(), "nothing to win: {naive} {optimum}");
    assert!(share >= 0.95 && right >= 0.95, "{share} {right}");
}

/// Pays 5 for the first step of an episode and 1 for every other, and is cut by the clock after five.
#[derive(Clone, Debug, Default)]
struct Clocked {
    steps: u32,
}

impl Environment for Clocked {
    fn space(&self) -> Space {
        Space { observation: 2, privileged: 0, heads: vec![2], teacher: false }
    }

    fn reset(&mut self, _: u64) -> Result<(), EnvironmentError> {
        self.steps = 0;
        Ok(())
    }

    fn look(&mut self, look: Look<'_>) {
        let first = self.steps == 0;
        look.observation.copy_from_slice(if first { &[1.0, 0.0] } else { &[0.0, 1.0] });
        look.mask.fill(true);
    }

    fn step(&mut self, _: &[u32]) -> Result<Transition, EnvironmentError> {
        self.steps += 1;
        let reward = if self.steps == 1 { 5.0 } else { 1.0 };
        Ok(Transition { reward, end: (self.steps == 5).then_some(End::Truncated) })
    }
}

#[test]
fn what_is_cut_by_the_clock_is_worth_what_would_have_come() {
    let config = PpoConfig {
        gamma: 0.9,
        total_steps: 200_000,
        learning_rate: 3e-3,
        value_clip: None,
        critic_hidden: vec![16],
        actor_hidden: vec![4],
        max_gradient_norm: 10.0,
        ..PpoConfig::default()
    };
    let (trainer, _) = train(config, 1, &Clocked::default());
    let critic = trainer.critic().unwrap();
    let value = |observation: &[f32]| {
        let mut value = [0.0];
        critic.forward(observation, &mut Scratch::default(), &mut value);
        value[0]
    };
    let (first, later) = (value(&[1.0, 0.0]), value(&[0.0, 1.0]));
    // 1 for ever is worth 1 / (1 - 0.9) = 10, and 5 + 0.9 * 10 = 14. With the next episode's first observation in place
    // of the last one, or with an end in place of a cut, neither comes out.
    assert!((later - 10.0).abs() < 0.2 && (first - 14.0).abs() < 0.2, "{first} {later}");
}

/// CartPole that stands up again: a fall costs 1, and nothing else tells of it. Rewards can be those of another time.
#[derive(Clone, Debug)]
struct Standing {
    cart: CartPole,
    steps: u32,
    random: Stream,
    past: Vec<f32>,
    shuffled: bool,
}

impl Environment for Standing {
    fn space(&self) -> Space {
        self.cart.space()
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvironmentError> {
        self.steps = 0;
        self.random = stream(seed, Purpose::Faults, 0);
        self.cart.reset(seed)
    }

    fn look(&mut self, look: Look<'_>) {
        self.cart.look(look);
    }

    fn step(&mut self, action: &[u32]) -> Result<Transition, EnvironmentError> {
        let fallen = self.cart.step(action)?.end == Some(End::Terminated);
        if fallen {
            self.cart.reset(self.random.next_u64())?;
        }
        self.steps += 1;
        let mut reward = if fallen { -1.0 } else { 0.0 };
        self.past.push(reward);
        if self.shuffled {
            reward = self.past[(self.random.next_u64() % self.past.len() as u64) as usize];
        }
        Ok(Transition { reward, end: (self.steps == 200).then_some(End::Truncated) })
    }
}

#[test]
fn shuffled_rewards_teach_nothing() {
    let falls = |shuffled: bool| -> Vec<f64> {
        (0..3)
            .map(|seed| {
                let random = stream(0, Purpose::Faults, 0);
                let one = Standing { cart: CartPole::default(), steps: 0, random, past: Vec::new(), shuffled };
                let config = PpoConfig { total_steps: 100_000, ..PpoConfig::default() };
                let (trainer, _) = train(config, seed, &one);
                -evaluate(&trainer.actor().unwrap(), &mut Standing { shuffled: false, ..one }, 50)
            })
            .collect()
    };
    let (learnt, shuffled) = (falls(false), falls(true));
    eprintln!("falls in 200 steps: learnt {learnt:?}, with shuffled rewards {shuffled:?}");
    // Random pushes fall about 9 times in 200 steps.
    assert!(learnt.iter().all(|falls| *falls < 1.0), "{learnt:?}");
    assert!(shuffled.iter().all(|falls| *falls > 4.0), "{shuffled:?}");
}
