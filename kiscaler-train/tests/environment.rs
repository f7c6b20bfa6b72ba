//! The autoscaling environment: what holds in every episode, and that a cluster would see and do the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kiscaler_train::actor::{Actor, Buffers};
use kiscaler_train::checkpoint::{Checkpoint, Envelope, Feature, Scaling};
use kiscaler_train::environment::{End, Environment, Look};
use kiscaler_train::facts::Facts;
use kiscaler_train::heads::Heads;
use kiscaler_train::history::Acquainted as _;
use kiscaler_train::network::{Mlp, parameters};
use kiscaler_train::observation::ObservationSet;
use kiscaler_train::policy::{Policy, PolicyAutoscaler, tensors};
use kiscaler_train::scale_free::{CHANGES, Design, HEADS, ScaleFree};
use kiscaler_train::training::distribution::{Distribution, DistributionConfig, Episode};
use kiscaler_train::training::teacher::{BINS, Prices, State, Teacher};
use kiscaler_train::training::world::{World, score};
use kisim::autoscaler::AutoscalerConfig;
use kisim::cluster::{Fault, FaultKind, Readiness, Shutdown, Startup};
use kisim::config::Span;
use kisim::control::{Autoscaler, Decision, Limits, Verdict, View};
use kisim::distribution::TimeDistribution;
use kisim::prepared::Prepared;
use kisim::random::{Purpose, derive_seed, stream};
use kisim::run::{Keep, run_with, silent};
use kisim::scenario::{BatcherConfig, Scenario};
use kisim::simulation::{Options, Simulation, Stop};
use kisim::traffic::{Process, Traffic};
use kisim::window::Window;
use rand::RngExt;

/// Few services and short episodes, with more faults and bridges than training has.
fn distribution() -> Arc<Distribution> {
    static SHARED: OnceLock<Arc<Distribution>> = OnceLock::new();
    let config =
        DistributionConfig { services: 4, steps: (16, 28), faults: 0.7, bridges: 0.5, ..DistributionConfig::default() };
    Arc::clone(SHARED.get_or_init(|| Arc::new(Distribution::new(&config, 11).unwrap())))
}

/// The same without a past.
fn unacquainted() -> Arc<Distribution> {
    static SHARED: OnceLock<Arc<Distribution>> = OnceLock::new();
    let config = DistributionConfig { acquainted: 0.0, ..distribution().config().clone() };
    Arc::clone(SHARED.get_or_init(|| Arc::new(Distribution::new(&config, 11).unwrap())))
}

/// What an environment shows.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    observation: Vec<u32>,
    mask: Vec<bool>,
    privileged: Vec<u32>,
    teacher: Vec<u32>,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn look(world: &mut World) -> (Vec<f32>, Seen) {
    let space = world.space();
    let (mut observation, mut privileged) = (vec![f32::NAN; space.observation], vec![f32::NAN; space.privileged]);
    let mut mask = vec![false; space.choices()];
    let mut teacher = vec![0.0; if space.teacher { space.heads[0] } else { 0 }];
    world.look(Look {
        observation: &mut observation,
        privileged: &mut privileged,
        mask: &mut mask,
        teacher: &mut teacher,
    });
    let seen = Seen { observation: bits(&observation), mask, privileged: bits(&privileged), teacher: bits(&teacher) };
    (observation, seen)
}

/// The allowed choices of each head.
fn allowed(mask: &[bool]) -> Vec<Vec<u32>> {
    let of = |range: std::ops::Range<usize>| (0..).zip(&mask[range]).filter(|(_, on)| **on).map(|(choice, _)| choice);
    Heads::new(&HEADS).ranges().map(|range| of(range).collect()).collect()
}

/// Plays what was begun with random choices of `seed`; what was seen, and rewards, to the end.
fn play_on(world: &mut World, seed: u64) -> (Vec<Seen>, Vec<u32>) {
    let mut choices = stream(seed, Purpose::Policy, 7);
    let (mut all, mut rewards) = (Vec::new(), Vec::new());
    loop {
        let (_, seen) = look(world);
        let action: Vec<u32> =
            allowed(&seen.mask).iter().map(|choice| choice[choices.random_range(0..choice.len())]).collect();
        all.push(seen);
        let transition = world.step(&action).unwrap();
        rewards.push(transition.reward.to_bits());
        if transition.end.is_some() {
            all.push(look(world).1);
            return (all, rewards);
        }
    }
}

#[test]
fn seed_and_actions_determine_an_episode() {
    let play = |seed: u64, actions: u64| {
        let mut world = World::new(distribution(), true);
        world.reset(seed).unwrap();
        play_on(&mut world, actions)
    };
    for seed in 0..4 {
        let once = play(seed, seed);
        assert!(once == play(seed, seed), "seed {seed}");
        assert!(once != play(seed, seed + 100), "seed {seed}: actions change nothing");
        assert!(once != play(seed + 100, seed), "seed {seed}: so does another one");
    }
    // An environment that was used before is as good as a fresh one.
    let mut used = World::new(distribution(), true);
    used.reset(50).unwrap();
    play_on(&mut used, 1);
    used.reset(1).unwrap();
    assert!(play_on(&mut used, 1) == play(1, 1));
}

#[test]
fn an_episode_is_finite_and_cut_by_the_clock_at_its_end_alone() {
    for seed in 0..12 {
        let episode = distribution().episode(seed);
        // Before them the leading rule drives, where the service has been at work.
        let steps = episode.steps - episode.warm;
        let mut world = World::new(distribution(), true);
        world.reset(seed).unwrap();
        let mut choices = stream(seed, Purpose::Policy, 7);
        for step in 1..=steps {
            let (observation, seen) = look(&mut world);
            assert_eq!(observation.len(), ScaleFree::names().len());
            assert!(observation.iter().all(|value| value.is_finite()), "seed {seed}, step {step}: {observation:?}");
            assert!(seen.privileged.iter().all(|value| f32::from_bits(*value).is_finite()), "seed {seed}, step {step}");
            let allowed = allowed(&seen.mask);
            assert!(allowed.iter().all(|choices| !choices.is_empty()), "seed {seed}, step {step}: {:?}", seen.mask);
            let action: Vec<u32> = allowed.iter().map(|c| c[choices.random_range(0..c.len())]).collect();
            let transition = world.step(&action).unwrap();
            assert!(transition.reward.is_finite() && transition.reward <= 0.0);
            let end = (step == steps).then_some(End::Truncated);
            assert_eq!(transition.end, end, "seed {seed}, step {step} of {steps}");
        }
        // The look whose value stands for what would follow.
        assert!(look(&mut world).0.iter().all(|value| value.is_finite()));
        assert_eq!(world.tally().steps, steps as u64);
    }
}

#[test]
fn other_designs_mean_what_they_say() {
    for design in [Design::Changes, Design::Forecast] {
        for seed in 0..6 {
            let episode = distribution().episode(seed);
            let prepared = Arc::clone(&episode.prepared);
            let mut world = World::designed(distribution(), true, design);
            world.reset(seed).unwrap();
            let mut before = None;
            for _ in 0..episode.steps {
                let (_, seen) = look(&mut world);
                let targets = world.meanings().to_vec();
                let (low, high) = {
                    let limits = prepared.pools[prepared.primary_pool()].config.limits;
                    let current = targets[0];
                    (
                        limits.min_replicas.max(current.saturating_sub(limits.max_step_down)),
                        limits.max_replicas.min(current.saturating_add(limits.max_step_up)),
                    )
                };
                if let Some(asked) = before {
                    assert_eq!(targets[0], asked, "what was asked for is what there is");
                }
                let data = seen.mask[1..HEADS[0]].iter().any(|&allowed| allowed);
                if design == Design::Changes && data {
                    for (change, &target) in CHANGES.iter().zip(&targets[1..]) {
                        assert_eq!(target, targets[0].saturating_add_signed(*change).clamp(low, high));
                    }
                    // Each number of pods within the limits can be asked for once.
                    let allowed: Vec<u32> =
                        (1..HEADS[0]).filter(|&c| seen.mask[c]).map(|choice| targets[choice]).collect();
                    assert!(allowed.windows(2).all(|pair| pair[0] < pair[1]), "{allowed:?} of {targets:?}");
                }
                // The second choice that is allowed, if there is one.
                let choice = (0..HEADS[0]).filter(|&c| seen.mask[c]).nth(1).unwrap_or(0);
                before = Some(targets[choice]);
                world.step(&[choice as u32, 0, 0]).unwrap();
            }
        }
    }
}

/// Plays `episode` as the environment does, telling `each` of every decision; it answers with choices.
fn drive(episode: &Episode, seed: u64, mut each: impl FnMut(&ScaleFree, &View<'_>, &Simulation) -> Vec<u32>) {
    let prepared = &episode.prepared;
    let options = Options { arrivals: Some(Arc::clone(&episode.arrivals)), ..Options::default() };
    let mut simulation = Simulation::with(prepared, seed, &options).unwrap();
    let range = prepared.scenario.telemetry.window.0;
    let mut window = Window::new(Duration::from_secs(600).max(4 * range), &prepared.bounds);
    let mut eyes = ScaleFree::new(prepared, Facts::of(prepared).unwrap());
    loop {
        match simulation.run().unwrap() {
            Stop::Step => window.push(&simulation.scraped(), simulation.now()),
            Stop::Control => {
                window.push(&simulation.scraped(), simulation.now());
                let (pools, pods) = (simulation.pool_views(), simulation.pod_views());
                let view = View { now: simulation.now(), window: &window, range, pools: &pools, pods: &pods };
                eyes.observe(&view);
                let action = each(&eyes, &view, &simulation);
                let decision = eyes.decide(&view, &action);
                for (number, verdict) in decision.pools.iter().enumerate() {
                    if let Verdict::Scale { replicas, .. } = verdict {
                        let _ = simulation.scale(number, *replicas);
                    }
                }
            }
            Stop::End => return,
            Stop::Row | Stop::WarmUpOver => {}
        }
    }
}

#[test]
fn limits_leave_every_allowed_choice_as_it_is() {
    let (mut tried, mut refused) = (0, 0);
    for seed in 0..6 {
        let mut episode = distribution().episode(seed);
        let mut prepared = Arc::unwrap_or_clone(episode.prepared);
        let pool = prepared.primary_pool();
        if seed % 2 == 1 {
            let limits = &mut prepared.pools[pool].config.limits;
            (limits.max_step_up, limits.max_step_down) = (3, 2);
        }
        let limits = prepared.pools[pool].config.limits;
        episode.prepared = Arc::new(prepared);
        let mut choices = stream(seed, Purpose::Policy, 7);
        drive(&episode, seed, |eyes, view, simulation| {
            assert_eq!(view.pools[pool].limits, limits);
            let allowed = allowed(eyes.mask());
            for &choice in &allowed[0] {
                let decision = eyes.decide(view, &[choice, 0, 0]);
                let wanted = match &decision.pools[pool] {
                    Verdict::Scale { replicas, .. } => *replicas,
                    Verdict::Hold { .. } => view.pools[pool].counts.desired,
                };
                assert!(wanted == eyes.targets()[choice as usize] || !eyes.has_data());
                let mut fork = simulation.fork().unwrap();
                match fork.scale(pool, wanted) {
                    Ok(after) => assert_eq!(after, wanted, "seed {seed}, choice {choice}"),
                    // The API's own fault, which is in the mix.
                    Err(_) => refused += 1,
                }
                tried += 1;
            }
            allowed.iter().map(|c| c[choices.random_range(0..c.len())]).collect()
        });
    }
    assert!(tried > 500 && refused < tried / 2, "{tried} {refused}");
}

/// `episode` under other circumstances.
fn changed(episode: &Episode, change: impl FnOnce(&mut Prepared)) -> Episode {
    let mut prepared = Prepared::clone(&episode.prepared);
    change(&mut prepared);
    Episode { prepared: Arc::new(prepared), ..episode.clone() }
}

#[test]
fn without_data_it_keeps_and_holds() {
    for seed in 0..4 {
        // Not one scrape succeeds; or none from 120 s on.
        let never = changed(&distribution().episode(seed), |prepared| {
            prepared.scenario.faults.clear();
            prepared.scenario.telemetry.drop_probability = 1.0;
        });
        let no_more = changed(&distribution().episode(seed), |prepared| {
            prepared.scenario.telemetry.drop_probability = 0.0;
            prepared.end = 40 * 15_000_000_000;
            let kind = FaultKind::ScrapeDropout { lasting: Span::secs(3_600) };
            prepared.scenario.faults = vec![Fault { kind, at: vec![Span::secs(120)], every: None }];
        });
        // A rate is one for twice the range, and the last one is gone by for as long.
        let stale_s = 120.0 + 4.0 * never.prepared.scenario.telemetry.window.as_secs_f64() + 45.0;
        let (mut blind, mut saw) = (0, 0);
        for (episode, since_s) in [(never, 0.0), (no_more, stale_s)] {
            drive(&episode, seed, |eyes, view, _| {
                if view.now.as_secs_f64() < since_s {
                    saw += u32::from(eyes.has_data());
                    return vec![0; HEADS.len()];
                }
                blind += 1;
                assert!(!eyes.has_data(), "seed {seed}, {} s", view.now.as_secs_f64());
                assert_eq!(allowed(eyes.mask()), [[0], [0], [0]]);
                for action in [[0, 0, 0], [5, 1, 1], [20, 2, 2]] {
                    let Decision { pools, placement } = eyes.decide(view, &action);
                    assert!(pools.iter().all(|verdict| matches!(verdict, Verdict::Hold { .. })), "{pools:?}");
                    assert_eq!(placement, None);
                }
                vec![0; HEADS.len()]
            });
        }
        assert!(blind > 10 && saw > 3, "seed {seed}: {blind} {saw}");
    }
}

/// A service in which everything takes `factor` times as long.
fn stretched(factor: u32) -> Arc<Prepared> {
    let span = |ms: u64| Span::millis(ms * u64::from(factor));
    let mut scenario = Scenario::builtin().unwrap();
    scenario.slo.latency = span(400);
    scenario.client.timeout = Some(span(3_000));
    scenario.duration = Some(span(630_000));
    scenario.control.interval = span(15_000);
    scenario.telemetry.scrape_interval = span(15_000);
    scenario.telemetry.window = span(60_000);
    scenario.telemetry.lag = span(1_000);
    for bound in &mut scenario.telemetry.latency_buckets {
        bound.0 *= factor;
    }
    scenario.faults.clear();
    scenario.pools.retain(|name, _| name == "gpu");
    scenario.service.placement = kisim::fleet::Placement::GpuOnly;
    let pool = scenario.pools.get_mut("gpu").unwrap();
    pool.initial_replicas = 2;
    pool.limits = Limits { max_replicas: 8, ..Limits::default() };
    pool.batcher = BatcherConfig { max_batch: 8, max_queue_delay: span(10), ..BatcherConfig::default() };
    pool.startup = Startup {
        scheduling: Some(TimeDistribution::constant(span(1_000))),
        load: Some(TimeDistribution::constant(span(24_000))),
        ..Startup::default()
    };
    pool.readiness = Readiness { initial_delay: span(0), period: span(2_000), success_threshold: 1 };
    pool.shutdown = Shutdown { endpoint_propagation: span(1_000), grace_period: span(30_000) };
    let mut prepared = Arc::unwrap_or_clone(Prepared::new(scenario).unwrap());
    for own in &mut prepared.pools {
        own.spec.service_ns.iter_mut().for_each(|ns| *ns *= f64::from(factor));
        own.spec.overhead_ns *= u64::from(factor);
        // The overhead is in it.
        own.spec.response_deadline = 3_000_000_000 * u64::from(factor) - own.spec.overhead_ns;
    }
    Arc::new(prepared)
}

/// Twice the rate, and pods twice as fast: load and what pods take are the same, and so is all that is made of them.
///
/// Exact invariance asks for all times to shrink alike: were only arrivals and service times to, with the objective and the
/// control step as they were, twice as many requests a step would be less restless, and batches would fit the objective
/// better, which features rightly show. So the faster world is the slower one with its clock run twice as fast, and only
/// the rounding of times to nanoseconds is left. Whatever is not a ratio (requests a second, seconds, milliseconds)
/// shows up as a factor of two.
#[test]
fn twice_the_rate_with_pods_twice_as_fast_looks_the_same() {
    let features = |factor: u32| -> Vec<Vec<f32>> {
        let prepared = stretched(factor);
        let mut rng = stream(3, Purpose::Arrivals, 9);
        // Loads that swing, in the slow world's own time; times are even, so that halves are whole.
        let mut times = Vec::new();
        let mut at = 0.0;
        let saturation = Facts::of(&stretched(1)).unwrap().saturation;
        while at < 630.0 {
            let rate = saturation * (1.5 + (at / 40.0f64).sin());
            at -= (1.0 - rng.random::<f64>()).ln() / rate;
            times.push((at * 1e9) as u64 * u64::from(factor));
        }
        let steps = 41;
        let family = distribution().episode(0).family;
        let past: Arc<[f64]> = Arc::new([]);
        let episode = Episode { prepared, arrivals: times.into(), past, family, steps, warm: 0 };
        let mut all = Vec::new();
        drive(&episode, 5, |eyes, _, _| {
            all.push(eyes.features().to_vec());
            // Up and down by what is expected: pods come and go.
            let wanted = [0u32, 9, 12, 0, 7, 0][all.len() % 6];
            vec![if eyes.mask()[wanted as usize] { wanted } else { 0 }, 0, 0]
        });
        all
    };
    let (fast, slow) = (features(1), features(2));
    assert_eq!((fast.len(), slow.len()), (41, 41));
    let names = ScaleFree::names();
    let mut varied = 0;
    for (index, name) in names.iter().enumerate() {
        let of = |all: &[Vec<f32>]| all.iter().map(|row| row[index]).collect::<Vec<_>>();
        let (fast, slow) = (of(&fast), of(&slow));
        varied += usize::from(fast.iter().any(|value| (value - fast[0]).abs() > 0.05));
        for (step, (a, b)) in fast.iter().zip(&slow).enumerate() {
            assert!((a - b).abs() < 0.02, "{name} at step {step}: {a} {b}");
        }
    }
    assert!(varied > names.len() / 2, "only {varied} of {} features vary", names.len());
}

/// A policy of random weights: it does all kinds of things.
fn random_policy(seed: u64) -> Arc<Policy> {
    let names = ScaleFree::names();
    let sizes = [names.len(), 16, HEADS.iter().sum()];
    let mut rng = stream(seed, Purpose::Policy, 3);
    let flat: Vec<f32> = (0..parameters(&sizes)).map(|_| rng.random::<f32>() - 0.5).collect();
    let feature = |name| Feature { name, mean: 0.1, variance: 0.8, envelope: Envelope::default() };
    let checkpoint = Checkpoint {
        encoder: ObservationSet::ScaleFree.encoder(),
        features: names.into_iter().map(feature).collect(),
        scaling: Scaling::default(),
        heads: ObservationSet::ScaleFree.heads(),
        control_interval: Span::secs(15),
        tensors: tensors(&Mlp::from_flat(&sizes, &flat).unwrap()).unwrap().into_iter().collect(),
        ..Checkpoint::default()
    };
    Arc::new(Policy::new(&Arc::new(checkpoint)).unwrap())
}

/// What a policy saw and chose, decision by decision.
type Choices = Vec<(Vec<u32>, Vec<bool>, Vec<u32>)>;

/// A policy that notes what it saw and chose.
#[derive(Debug)]
struct Noted {
    inner: PolicyAutoscaler,
    choices: Choices,
    replicas: Vec<u32>,
}

impl Autoscaler for Noted {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let decision = self.inner.decide(view);
        let last = self.inner.last();
        self.choices.push((bits(last.observation), last.mask.to_vec(), last.action.to_vec()));
        self.replicas.extend(view.pools.iter().map(|pool| pool.counts.desired));
        decision
    }
}

/// The likeliest choices of `actor` in the episode that `world` has begun.
fn act(world: &mut World, actor: &Actor) -> Choices {
    let (mut buffers, mut action, mut all) = (Buffers::default(), vec![0; HEADS.len()], Vec::new());
    loop {
        let (observation, seen) = look(world);
        actor.decide(&observation, &seen.mask, world.meanings(), &mut buffers, &mut action);
        all.push((seen.observation, seen.mask, action.clone()));
        if world.step(&action).unwrap().end.is_some() {
            return all;
        }
    }
}

/// The named invariant Parity: the policy in the environment, and in the control loop that runs scenarios, are the same to
/// the byte.
#[test]
fn the_environment_and_the_control_loop_decide_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (mut faults, mut drops, mut pasts, mut moves) = (0, 0, 0, 0);
    for seed in 0..10 {
        let policy = random_policy(seed);
        // A trace begins with its first request.
        let drawn = changed(&distribution().episode(seed), |prepared| {
            if seed % 3 == 0 {
                prepared.scenario.telemetry.drop_probability = 0.2;
            }
        });
        let arrivals: Arc<[u64]> = std::iter::once(0).chain(drawn.arrivals.iter().copied()).collect();
        let mut text = "timestamp_s\n".to_owned();
        arrivals.iter().for_each(|t| text += &format!("{}.{:09}\n", t / 1_000_000_000, t % 1_000_000_000));
        let path = folder.path().join(format!("{seed}.csv"));
        std::fs::write(&path, text).unwrap();
        let episode = Episode { arrivals, warm: 0, ..drawn };
        let replayed = changed(&episode, |prepared| {
            prepared.scenario.traffic = Traffic::Trace {
                path: Some(path),
                format: Some("timestamps".into()),
                start: None,
                length: None,
                series: None,
                rate_scale: 1.0,
                time_scale: 1.0,
                arrivals: Process::Poisson,
                think: TimeDistribution::constant(Span::secs(1)),
            };
        });
        faults += replayed.prepared.scenario.faults.len();
        drops += usize::from(replayed.prepared.scenario.telemetry.drop_probability > 0.0);

        pasts += usize::from(!episode.past.is_empty());
        let mut inner = PolicyAutoscaler::new(&policy, &replayed.prepared, 1.0, "policy".into()).unwrap();
        inner.recall(&episode.past, BINS, &replayed.prepared);

        let mut world = World::new(distribution(), false);
        world.play(episode, seed).unwrap();
        let trained = act(&mut world, policy.actor());

        let mut deployed = Noted { inner, choices: Vec::new(), replicas: Vec::new() };
        run_with(&replayed.prepared, &mut deployed, seed, Keep::default(), &silent).unwrap();
        assert_eq!(trained.len(), deployed.choices.len(), "seed {seed}");
        for (step, (a, b)) in trained.iter().zip(&deployed.choices).enumerate() {
            assert!(a == b, "seed {seed}, decision {step}: {a:?} {b:?}");
        }
        deployed.replicas.dedup();
        moves += deployed.replicas.len();
    }
    assert!(pasts >= 2, "{pasts} episodes with a past");
    assert!(faults >= 2 && drops >= 4 && moves > 50, "too tame: {faults} faults, {drops} drops, {moves} moves");
}

#[test]
fn the_yardstick_of_baselines_is_the_environments() {
    for seed in 0..4 {
        let policy = random_policy(seed);
        let mut world = World::new(unacquainted(), false);
        world.reset(seed).unwrap();
        act(&mut world, policy.actor());
        let tally = score(&unacquainted(), seed, &|prepared| {
            Ok(Box::new(PolicyAutoscaler::new(&policy, prepared, 1.0, "policy".into()).unwrap()))
        });
        assert_eq!(world.tally(), tally.unwrap(), "seed {seed}");
    }
}

#[test]
fn what_is_to_come_cannot_be_seen() {
    let mut told = 0;
    for seed in 0..6 {
        let episode = distribution().episode(seed);
        let step_s = 15;
        // Decisions are at the ends of steps; from the middle on, everything is another's.
        let known = (episode.steps - episode.warm) / 2;
        let from = ((episode.warm + known) as u64) * step_s * 1_000_000_000;
        let other = distribution().episode(seed + 100).arrivals;
        let mut arrivals: Vec<u64> = episode.arrivals.iter().copied().filter(|&t| t < from).collect();
        arrivals.extend(other.iter().map(|t| t + from).filter(|t| t % 3 != 0));
        let changed = Episode { arrivals: arrivals.into(), ..episode.clone() };
        let play = |episode: Episode| {
            let mut world = World::new(distribution(), true);
            world.play(episode, seed).unwrap();
            play_on(&mut world, seed).0
        };
        let (one, two) = (play(episode), play(changed));
        for step in 0..known {
            assert_eq!(one[step].observation, two[step].observation, "seed {seed}, decision {step}");
            assert_eq!(one[step].mask, two[step].mask, "seed {seed}, decision {step}");
        }
        assert!(one.iter().zip(&two).any(|(a, b)| a.observation != b.observation), "seed {seed}: nothing changed");
        // The critic and the teacher know, and may.
        told += u32::from(one[..known].iter().zip(&two).any(|(a, b)| a.privileged != b.privileged));
    }
    assert_eq!(told, 6);
}

/// The slow twin of the teacher: pods one by one, requests bin by bin, nothing kept from one step to the next.
fn played_on(facts: &Facts, prices: Prices, arrivals: &[f64], anchors: &[f64], state: &State<'_>, load: f64) -> f64 {
    let (min, max) = (1, 6);
    let lead = (facts.lead_steps().round() as usize).max(1);
    let factor = load / anchors[state.step - 1];
    let steps = (arrivals.len() / BINS - state.step).min(40);
    let wanted: Vec<u32> =
        (0..steps).map(|k| facts.pods_for(factor * anchors[state.step + k - 1]).clamp(min, max)).collect();
    let (mut backlog, mut total, mut weights) = (state.backlog, 0.0, 0.0);
    for k in 0..steps {
        // Pod number n serves if it was there already, or has been wanted for a cold start without a break.
        let serves = |n: u32| {
            let there = |step: usize| state.ready[step.min(state.ready.len() - 1)] >= n;
            let since = (0..=k).rev().take_while(|&step| wanted[step] >= n).count();
            since > lead || (since == k + 1 && k < lead && there(k))
        };
        let ready = (1..=max).filter(|&n| serves(n)).count() as u32;
        let (mut late, mut arrived) = (0.0, 0.0);
        for &count in &arrivals[(state.step + k) * BINS..(state.step + k + 1) * BINS] {
            let (held, missed) = facts.fluid.step(backlog, count, ready, facts.step_s / BINS as f64);
            (backlog, late, arrived) = (held, late + missed, arrived + count);
        }
        let late = late.max(arrived * facts.late_share(ready, arrived / facts.saturation / facts.step_s));
        let before = if k == 0 { state.desired } else { wanted[k - 1] };
        let weight = 0.97f64.powi(k as i32);
        total += weight
            * (prices.late * late
                + prices.pod_step * f64::from(wanted[k])
                + prices.churn * f64::from(wanted[k].abs_diff(before)));
        weights += weight;
    }
    total / weights
}

#[test]
fn the_teacher_says_what_sticking_to_a_choice_costs() {
    let mut random = stream(5, Purpose::Policy, 0);
    for case in 0..60 {
        let mut facts = Facts::plain(6);
        facts.step_s = 10.0;
        facts.cold_start_s = [6.0, 14.0, 35.0][case % 3];
        let prices =
            Prices { late: random.random_range(0.0..2.0), pod_step: 1.0, churn: random.random_range(0.0..0.5) };
        let steps = random.random_range(6..60usize);
        let arrivals: Vec<f64> = (0..steps * BINS).map(|_| random.random_range(0..14u32)).map(f64::from).collect();
        let anchors: Vec<f64> = (0..steps).map(|_| random.random_range(0.3..5.0)).collect();
        let mut teacher = Teacher::new(facts.clone(), prices, arrivals.clone(), anchors.clone(), (1, 6));
        for _ in 0..6 {
            let ready: Vec<u32> = {
                let now = random.random_range(0..5u32);
                (0..teacher.lead()).map(|k| now + u32::from(k >= 2)).collect()
            };
            let desired = ready[ready.len() - 1].max(1);
            let backlog = [0.0, 25.0][random.random_range(0..2usize)];
            let state = State { step: random.random_range(1..steps - 2), desired, ready: &ready, backlog };
            let loads = [0.4, 1.0, 2.2, 3.7];
            let every = loads.map(|load| played_on(&facts, prices, &arrivals, &anchors, &state, load));
            let mut costs = [f32::NAN; 4];
            teacher.costs(&state, &loads, &[true, true, false, true], &mut costs);
            let least = every[0].min(every[1]).min(every[3]);
            for (choice, (found, expected)) in costs.iter().zip(every).enumerate() {
                let expected = if choice == 2 { 0.0 } else { expected - least };
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-4 * (1.0 + expected),
                    "case {case}, {state:?}, choice {choice}: found {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn who_follows_the_teacher_beats_the_predictive_baseline() {
    let config = DistributionConfig { services: 4, steps: (40, 80), ..DistributionConfig::default() };
    let distribution = Arc::new(Distribution::new(&config, 5).unwrap());
    let predictive = AutoscalerConfig::Predictive(Default::default());
    let (mut taught, mut ruled, mut wins) = (0.0, 0.0, 0);
    let episodes = 30;
    for number in 0..episodes {
        let seed = derive_seed(77, number);
        let mut world = World::new(Arc::clone(&distribution), true);
        world.reset(seed).unwrap();
        loop {
            let (_, seen) = look(&mut world);
            let cost = |choice: &u32| f32::from_bits(seen.teacher[*choice as usize]);
            // `min_by` takes the first of equals; where the teacher is silent, keep.
            let choice = allowed(&seen.mask)[0].iter().copied().min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap();
            if world.step(&[choice, 0, 0]).unwrap().end.is_some() {
                break;
            }
        }
        let per_step = world.worth() / world.tally().steps as f64;
        let own = world.tally().reward * per_step;
        let rule = score(&distribution, seed, &|prepared| predictive.build(prepared)).unwrap().reward * per_step;
        (taught, ruled, wins) = (taught + own, ruled + rule, wins + u32::from(own > rule));
    }
    let (taught, ruled) = (taught / episodes as f64, ruled / episodes as f64);
    eprintln!("mean reward a step: the teacher's {taught:.3}, predictive {ruled:.3}; {wins} of {episodes} episodes");
    assert!(taught > ruled, "{taught} {ruled}");
}
