//! Those who know the future: plans that are at most as bad as everybody else's, and sight that ends where it should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use kisim::autoscaler::AutoscalerConfig;
use kisim::compare::compare;
use kisim::config::Span;
use kisim::contender::Contender;
use kisim::oracle::{ArrivalRecord, Effort, Foresight, ForesightConfig, Hindsight, Plan, Timetable, score};
use kisim::prepared::Prepared;
use kisim::run::{Keep, run, run_with, silent};
use kisim::scenario::Scenario;
use proptest::prelude::*;

/// A small service: a pod takes some 180 requests a second and needs 20 s to be there.
fn scenario(traffic: &str, more: &str) -> Arc<Prepared> {
    let text = format!(
        "name = 'small'\nduration = '6m'\nslo = {{ latency = '250ms' }}\nclient = {{ timeout = '2s' }}\n{more}\n\
         [traffic]\n{traffic}\n\
         [service]\nplacement = {{ rule = 'gpu_only' }}\n\
         [pools.gpu]\nprofile = 'bert-large-trt-fp16-seq128-t4'\ninitial_replicas = 1\n\
         limits = {{ min_replicas = 1, max_replicas = 4 }}\nbatcher = {{ max_batch = 8 }}\n\
         startup = {{ load = {{ distribution = 'constant', value = '17s' }} }}\nreadiness = {{ period = '1s' }}\n\
         [cluster]\nnodes = [{{ name = 'n', count = 1, cpus = 16.0, gpus = 4 }}]\n"
    );
    let scenario = Scenario::parse(&text, "test", Path::new(".")).unwrap();
    Prepared::new(scenario).unwrap()
}

const WAVES: &str = "kind = 'open'\narrivals = { process = 'poisson' }\n\
                     rate = { shape = 'periodic', mean = 300.0, amplitude = 200.0, period = '2m' }";

fn with(prepared: &Arc<Prepared>, change: impl FnOnce(&mut Scenario)) -> Arc<Prepared> {
    let mut scenario = prepared.scenario.clone();
    change(&mut scenario);
    Prepared::new(scenario).unwrap()
}

/// Every plan of `steps` steps with 1 to `most` replicas.
fn all_plans(prepared: &Prepared, steps: usize, most: u32) -> Vec<Plan> {
    let still = Plan::still(prepared);
    assert_eq!(still.replicas.len(), steps);
    let free = steps as u32 - 1;
    (0..most.pow(free))
        .map(|code| {
            let mut plan = still.clone();
            for (k, row) in plan.replicas.iter_mut().enumerate().skip(1) {
                row[0] = 1 + code / most.pow(k as u32 - 1) % most;
            }
            plan
        })
        .collect()
}

#[test]
fn a_small_case_is_solved_exactly() {
    // 6 steps of 20 s and up to 3 replicas: 243 plans, each simulated.
    for (seed, low, high) in [(1, 50.0, 600.0), (2, 100.0, 450.0), (3, 20.0, 300.0), (4, 200.0, 700.0)] {
        let traffic = format!(
            "kind = 'open'\nrate = {{ shape = 'spike', base = {low:?}, peak = {high:?}, start = '50s', lasting = '40s' }}"
        );
        let prepared = with(&scenario(&traffic, ""), |s| {
            s.duration = Some(Span::secs(120));
            s.control.interval = Span::secs(20);
            s.pools.get_mut("gpu").unwrap().limits.max_replicas = 3;
        });
        let record = ArrivalRecord::of(&prepared, seed).unwrap();
        let objective = |plan: &Plan| score(&prepared, &record, seed, plan, None).unwrap().objective();
        let best = all_plans(&prepared, 6, 3).iter().map(objective).fold(f64::INFINITY, f64::min);
        let found = Hindsight { effort: Effort::FULL }.plan(&prepared, &record, seed, &[], None, &silent).unwrap();
        assert!(found.converged);
        assert!((found.objective - best).abs() < 1e-12, "seed {seed}: found {}, best {best}", found.objective);
    }
}

#[test]
fn a_plan_run_as_an_autoscaler_has_the_objective_the_search_found() {
    for more in ["", "warm_up = '40s'", "faults = [{ kind = 'pod_crash', at = ['2m'] }]"] {
        let prepared = scenario(WAVES, more);
        let record = ArrivalRecord::of(&prepared, 5).unwrap();
        let found = Hindsight { effort: Effort::QUICK }.plan(&prepared, &record, 5, &[], None, &silent).unwrap();
        assert!(found.objective <= found.first + 1e-12);
        let mut table = Timetable::new("plan", found.plan, &prepared);
        let summary = run_with(&prepared, &mut table, 5, Keep::default(), &silent).unwrap().summary;
        assert!((summary.reward["mean"] + found.objective).abs() < 1e-12, "{more}");
    }
}

#[test]
fn what_an_autoscaler_did_can_be_planned_and_comes_out_the_same() {
    for name in ["hpa:60", "hpa:in_flight:6", "predictive", "fixed:3"] {
        // Stabilisation in the limits has a memory of what was asked for, not of what was done.
        for more in ["", "[control]\ninterval = '10s'"] {
            let prepared = with(&scenario(WAVES, more), |s| {
                s.pools.get_mut("gpu").unwrap().limits.scale_down_stabilization = Span::secs(30);
            });
            let config = AutoscalerConfig::parse(name, &prepared.scenario).unwrap();
            let keep = Keep { plan: true, ..Keep::default() };
            let original = run(&prepared, &config, 7, keep, &silent).unwrap();
            let mut table = Timetable::new(&original.summary.autoscaler, original.plan, &prepared);
            let again = run_with(&prepared, &mut table, 7, Keep::default(), &silent).unwrap();
            assert_eq!(again.summary, original.summary, "{name}");
        }
    }
}

#[test]
fn hindsight_is_at_most_as_bad_as_everybody_on_their_own_record() {
    let names = ["hpa:60", "hpa:in_flight:6", "keda", "kpa:4", "predictive", "fixed:2", "foresight", "hindsight:quick"];
    let scenarios = [
        scenario(WAVES, ""),
        scenario(
            "kind = 'open'\nrate = { shape = 'spike', base = 50.0, peak = 600.0, start = '2m', lasting = '1m' }",
            "",
        ),
        scenario(
            "kind = 'closed'\nusers = [['0s', 5], ['1m', 60], ['3m', 10]]\nthink = { distribution = 'exponential', mean = '100ms' }",
            "",
        ),
        scenario(WAVES, "faults = [{ kind = 'pod_crash', every = '1m' }]"),
    ];
    for prepared in scenarios {
        let contenders: Vec<Contender> =
            names.iter().map(|n| Contender::parse(n, &prepared.scenario).unwrap()).collect();
        let result = compare(&prepared, &contenders, 3, 2, &silent).unwrap();
        for autoscaler in &result.autoscalers {
            let best = result.autoscalers.last().unwrap();
            for (own, best) in autoscaler.runs.iter().zip(&best.runs) {
                assert!(
                    own.reward["mean"] <= best.reward["mean"] + 1e-9,
                    "{}: {} against {}",
                    autoscaler.name,
                    own.reward["mean"],
                    best.reward["mean"]
                );
            }
            assert!(autoscaler.metrics["regret"].mean >= -1e-9);
            let split = autoscaler.metrics["regret_to_foresight"].mean;
            let foresight = &result.autoscalers[6].metrics["regret"];
            assert!((autoscaler.metrics["regret"].mean - split - foresight.mean).abs() < 1e-9);
        }
    }
}

#[test]
fn the_published_reward_can_be_planned_for() {
    let prepared = with(&Arc::clone(&scenario(WAVES, "")), |s| {
        s.objective = kisim::objective::Objective::Paper {
            baseline: kisim::objective::PaperBaseline::Given { p95_ms: 300.0, throughput: 200.0 },
        };
        s.duration = Some(Span::secs(180));
    });
    let contenders: Vec<Contender> =
        ["hpa:60", "hindsight:quick"].iter().map(|n| Contender::parse(n, &prepared.scenario).unwrap()).collect();
    let result = compare(&prepared, &contenders, 3, 1, &silent).unwrap();
    assert!(result.autoscalers[0].metrics["regret"].mean >= 0.0);
}

#[test]
fn foresight_does_not_see_beyond_its_horizon() {
    // The same traffic until 4 min, then none or a flood: decisions are the same until the horizon touches it.
    let tail = |rate: f64| {
        scenario(
            &format!(
                "kind = 'open'\narrivals = {{ process = 'regular' }}\nrate = {{ shape = 'step', steps = [['0s', 150.0], ['2m', 350.0], ['4m', {rate:?}]] }}"
            ),
            "",
        )
    };
    let horizon = Span::secs(40);
    let decisions = |prepared: &Arc<Prepared>| {
        let record = ArrivalRecord::of(prepared, 1).unwrap();
        let config = ForesightConfig { horizon: Some(horizon), ..ForesightConfig::default() };
        let mut foresight = Foresight::new(prepared, &record, &config).unwrap();
        let keep = Keep { decisions: true, ..Keep::default() };
        run_with(prepared, &mut foresight, 1, keep, &silent).unwrap().decisions
    };
    let (calm, flood) = (decisions(&tail(10.0)), decisions(&tail(700.0)));
    let differ = calm.iter().zip(&flood).find(|(a, b)| a != b).expect("they end differently").0.at;
    assert!(differ >= 240.0 - 40.0, "at {differ} s");
    assert!(differ <= 240.0, "only at {differ} s");
}

#[test]
fn foresight_of_a_cold_start_beats_what_looks_back_and_less_of_it_is_worse() {
    let prepared = scenario(
        "kind = 'open'\nrate = { shape = 'step', steps = [['0s', 100.0], ['1m', 500.0], ['2m', 100.0], ['3m', 500.0], ['4m', 100.0]] }",
        "",
    );
    let names = ["hpa:60", "predictive", "foresight", "foresight:10s"];
    let contenders: Vec<Contender> = names.iter().map(|n| Contender::parse(n, &prepared.scenario).unwrap()).collect();
    let result = compare(&prepared, &contenders, 1, 3, &silent).unwrap();
    let reward = |index: usize| result.autoscalers[index].metrics["reward.mean"].mean;
    assert!(reward(2) > reward(0) + 0.1 && reward(2) > reward(1) + 0.1 && reward(2) > reward(3) + 0.1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_search_never_ends_worse_than_any_start(seed in 0u64..1000, rows in prop::collection::vec(1u32..5, 24)) {
        let prepared = scenario(WAVES, "");
        let record = ArrivalRecord::of(&prepared, seed).unwrap();
        let mut start = Plan::still(&prepared);
        for (row, replicas) in start.replicas.iter_mut().skip(1).zip(rows) {
            row[0] = replicas;
        }
        let own = score(&prepared, &record, seed, &start, None).unwrap().objective();
        let effort = Effort { runs: 2, thorough: false };
        let found = Hindsight { effort }.plan(&prepared, &record, seed, &[start], None, &silent).unwrap();
        prop_assert!(found.objective <= own + 1e-12);
        prop_assert!(found.objective <= found.first + 1e-12);
        let again = score(&prepared, &record, seed, &found.plan, None).unwrap().objective();
        prop_assert!((again - found.objective).abs() < 1e-12);
    }
}
