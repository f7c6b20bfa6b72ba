//! Parity: the same scrapes give the same decisions, to the byte, through the simulator's loop and through the agent's,
//! and through a recording of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kiscaler_agent::api::KIScaler;
use kiscaler_agent::control::{Gate, Inputs, Loop, Rules};
use kiscaler_agent::plan::{Chosen, Decider, Plan, ProfileTexts, load_policy};
use kiscaler_agent::recording::{FORMAT, Header, Reader, write, write_header};
use kiscaler_train::history::Acquainted as _;
use kiscaler_train::policy::PolicyAutoscaler;
use kisim::autoscaler::AutoscalerConfig;
use kisim::config::Span;
use kisim::control::{Autoscaler, Verdict, View};
use kisim::prepared::Prepared;
use kisim::scenario::Scenario;
use kisim::simulation::{Options, Simulation, Stop};
use kisim::window::Window;

const POLICY: &[u8] = include_bytes!("../../kiscaler-train/policies/default.safetensors");

/// What the default scenario's service is to an agent.
fn scaler() -> KIScaler {
    let text = "
apiVersion: kiscaler.dev/v1alpha1
kind: KIScaler
metadata: {name: parity}
spec:
  mode: Active
  pools:
    gpu:
      scaleTargetRef: {name: triton}
      maxReplicas: 16
      maxStepUp: 5
      maxStepDown: 3
      scaleDownStabilization: 1m
      profile: {name: bert-large-trt-fp16-seq128-t4}
      batcher: {maxBatch: 32, maxQueueDelay: 5ms, queueLimit: 500}
      coldStart: {median: 28s, p90: 37s}
  policy: {baseline: hpa:60}
  slo: {latency: 250ms}
  metrics: {preset: Triton, direct: {endpoints: ['http://{ip}/metrics']}}
";
    KIScaler::parse(text, "parity").unwrap()
}

/// The default scenario's traffic and faults, with the agent's own idea of everything that decisions are made of.
fn simulated(plan: &Plan, drop_probability: f64) -> Arc<Prepared> {
    let mut scenario = Scenario::builtin().unwrap();
    let own = &plan.prepared.scenario;
    scenario.duration = Some(Span::secs(900));
    scenario.pools.clone_from(&own.pools);
    scenario.slo = own.slo;
    scenario.control = own.control.clone();
    scenario.objective = own.objective.clone();
    scenario.telemetry.drop_probability = drop_probability;
    scenario.autoscaler = own.autoscaler.clone();
    Prepared::new(scenario).unwrap()
}

fn plan(chosen: &Chosen) -> Plan {
    Plan::new(&scaler(), &ProfileTexts::new(), chosen, &BTreeMap::from([("gpu", 4)])).unwrap()
}

fn steps(plan: Plan) -> Loop {
    let scaler = scaler();
    let limits = plan.prepared.pools[0].config.limits;
    Loop::new(plan, vec![Gate::of(limits, &scaler.spec.pools.gpu)], Rules::NONE)
}

/// Lets the loop's policy know the past in `inputs`, as agent and replay do.
fn recall(steps: &mut Loop, inputs: &Inputs) {
    if !inputs.recalled.is_empty() {
        let loaded = Arc::clone(steps.decider().loaded().unwrap());
        let recalling = Decider::recalling(&loaded, steps.prepared(), 1.0, &inputs.recalled).unwrap();
        steps.recall(recalling, &inputs.pools);
    }
}

/// What the policies of both are told before the first decision, and what was wanted at each.
#[derive(Default)]
struct Notes {
    past: Vec<f64>,
    wanted: Vec<Option<u32>>,
}

/// Decisions of the simulator's loop, written out as `run.rs` has it, and of the agent's beside it; the recording.
fn side_by_side(
    prepared: &Arc<Prepared>,
    autoscaler: &mut dyn Autoscaler,
    features: impl Fn(&dyn Autoscaler) -> Vec<u32>,
    steps: &mut Loop,
    seed: u64,
    notes: &mut Notes,
) -> (usize, Vec<u8>) {
    let options =
        Options { decide_every: autoscaler.interval(), pipeline: autoscaler.pipeline(), ..Options::default() };
    let mut simulation = Simulation::with(prepared, seed, &options).unwrap();
    let retention = Duration::from_secs(600).max(2 * autoscaler.history());
    let mut window = Window::new(retention, &prepared.bounds);
    let mut pending = kisim::telemetry::Scrape::default();
    let (mut moves, mut recording) = (0, Vec::new());
    write_header(&mut recording, &Header { format: FORMAT, scaler: scaler(), profiles: BTreeMap::new() }).unwrap();
    loop {
        match simulation.run().unwrap() {
            Stop::End => break,
            Stop::WarmUpOver | Stop::Row => {}
            Stop::Step => {
                let scrape = simulation.scraped();
                window.push(&scrape, simulation.now());
                // The agent has no control steps apart from decisions: what came meanwhile comes with the next.
                pending.pods.extend(scrape.pods);
                pending.cluster.extend(scrape.cluster);
                pending.failed.extend(scrape.failed);
                pending.gone.extend(scrape.gone);
            }
            Stop::Control => {
                let scrape = simulation.scraped();
                window.push(&scrape, simulation.now());
                pending.pods.extend(scrape.pods);
                pending.cluster.extend(scrape.cluster);
                pending.failed.extend(scrape.failed);
                pending.gone.extend(scrape.gone);
                let (pools, pods) = (simulation.pool_views(), simulation.pod_views());
                let inputs = Inputs {
                    now: simulation.now(),
                    scrape: std::mem::take(&mut pending),
                    pools: pools.clone(),
                    pods: pods.clone(),
                    obstacle: None,
                    recalled: std::mem::take(&mut notes.past),
                };
                write(&mut recording, &inputs).unwrap();
                recall(steps, &inputs);
                let outcome = steps.step(&inputs);
                notes.wanted.push(outcome.pools[0].wanted);
                let view = View {
                    now: simulation.now(),
                    window: &window,
                    range: prepared.scenario.telemetry.window.0,
                    pools: &pools,
                    pods: &pods,
                };
                let decision = autoscaler.decide(&view);
                let own = &outcome.pools[0];
                let (wanted, reason) = match &decision.pools[0] {
                    Verdict::Scale { replicas, reason } => (Some(*replicas), reason),
                    Verdict::Hold { reason } => (None, reason),
                };
                assert_eq!(own.wanted, wanted, "at {}", simulation.now());
                assert!(outcome.message.starts_with(reason.as_str()), "{} / {reason}", outcome.message);
                let before = pools[0].counts.desired;
                let set = simulation.scale(0, wanted.unwrap_or(before)).unwrap_or(before);
                assert_eq!(own.target, set, "at {}", simulation.now());
                let seen = steps.observation().map_or(Vec::new(), |o| o.values.iter().map(|v| v.to_bits()).collect());
                assert_eq!(seen, features(autoscaler), "at {}", simulation.now());
                if set != before {
                    steps.changed(0, simulation.now(), before, set);
                    moves += 1;
                }
            }
        }
    }
    (moves, recording)
}

/// A replay of a recording comes to what the loop came to.
fn replays_alike(recording: &[u8], chosen: &Chosen, notes: &Notes) -> usize {
    let (mut reader, header) = Reader::new(recording, "recording").unwrap();
    assert_eq!(header.scaler, scaler());
    let mut again = steps(plan(chosen));
    let prepared = Arc::clone(again.prepared());
    let mut rewritten = Vec::new();
    write_header(&mut rewritten, &header).unwrap();
    let mut wanted = Vec::new();
    while let Some(inputs) = reader.next(&prepared).unwrap() {
        write(&mut rewritten, &inputs).unwrap();
        recall(&mut again, &inputs);
        wanted.push(again.step(&inputs).pools[0].wanted);
    }
    assert!(rewritten == recording, "a recording that is read and written is another");
    assert_eq!(wanted, notes.wanted);
    wanted.len()
}

#[test]
fn the_policy_decides_alike_in_simulation_and_agent() {
    let loaded = Arc::new(load_policy("default", POLICY, None).unwrap());
    let chosen = Chosen::Policy(Arc::clone(&loaded));
    let mut moved = 0;
    for (seed, drop_probability) in [(1, 0.0), (2, 0.2), (3, 0.05)] {
        let prepared = simulated(&plan(&chosen), drop_probability);
        let mut policy = PolicyAutoscaler::new(&loaded.policy, &prepared, 1.0, "default".into()).unwrap();
        let mut agent = steps(plan(&chosen));
        let mut notes = Notes::default();
        let (moves, recording) = side_by_side_policy(&prepared, &mut policy, &mut agent, seed, &mut notes);
        assert!(replays_alike(&recording, &chosen, &notes) > 50);
        moved += moves;
    }
    assert!(moved > 10, "too tame: {moved} moves");
}

#[test]
fn a_policy_that_is_told_the_past_decides_as_one_that_was_there_and_so_does_its_replay() {
    let loaded = Arc::new(load_policy("default", POLICY, None).unwrap());
    let chosen = Chosen::Policy(Arc::clone(&loaded));
    let prepared = simulated(&plan(&chosen), 0.0);
    // Five hours of a load that doubles for five minutes of every twenty.
    let load = |step: u32| 15.0 * if step % 80 < 20 { 900.0 } else { 450.0 };
    let past: Vec<f64> = (0..1200).map(load).collect();
    let mut wanted = Vec::new();
    for past in [past, Vec::new()] {
        let mut policy = PolicyAutoscaler::new(&loaded.policy, &prepared, 1.0, "default".into()).unwrap();
        if !past.is_empty() {
            policy.recall(&past, 1, &prepared);
        }
        let mut notes = Notes { past, wanted: Vec::new() };
        let mut agent = steps(plan(&chosen));
        let (_, recording) = side_by_side_policy(&prepared, &mut policy, &mut agent, 1, &mut notes);
        replays_alike(&recording, &chosen, &notes);
        wanted.push(notes.wanted);
    }
    assert_ne!(wanted[0], wanted[1], "the past made no difference");
}

fn side_by_side_policy(
    prepared: &Arc<Prepared>,
    policy: &mut PolicyAutoscaler,
    agent: &mut Loop,
    seed: u64,
    notes: &mut Notes,
) -> (usize, Vec<u8>) {
    use std::sync::Mutex;
    /// Shows what the policy saw through the trait, which does not.
    #[derive(Debug)]
    struct Noted<'a>(&'a mut PolicyAutoscaler, Arc<Mutex<Vec<u32>>>);
    impl Autoscaler for Noted<'_> {
        fn name(&self) -> String {
            self.0.name()
        }
        fn decide(&mut self, view: &View<'_>) -> kisim::control::Decision {
            let decision = self.0.decide(view);
            *self.1.lock().unwrap() = self.0.last().observation.iter().map(|v| v.to_bits()).collect();
            decision
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut noted = Noted(policy, Arc::clone(&seen));
    side_by_side(prepared, &mut noted, |_| seen.lock().unwrap().clone(), agent, seed, notes)
}

#[test]
fn baselines_decide_alike_in_simulation_and_agent() {
    for name in ["hpa:60", "hpa:queue:8", "keda:in_flight:24", "kpa:24", "predictive"] {
        let chosen = Chosen::Baseline(name.to_owned());
        let prepared = simulated(&plan(&chosen), 0.1);
        let config = AutoscalerConfig::parse(name, &prepared.scenario).unwrap();
        let mut autoscaler = config.build(&prepared).unwrap();
        let mut agent = steps(plan(&chosen));
        let mut notes = Notes::default();
        let (moves, recording) =
            side_by_side(&prepared, autoscaler.as_mut(), |_| Vec::new(), &mut agent, 3, &mut notes);
        assert!(moves >= 3, "{name}: too tame: {moves} moves");
        assert!(replays_alike(&recording, &chosen, &notes) > 50, "{name}");
    }
}
