//! Violations against cost, for each autoscaler over the one parameter that trades the one for the other.
//!
//! A pair of numbers does not say which autoscaler is better: whoever keeps more pods has fewer violations. So each is
//! run over a grid of headrooms, and what is compared are the curves. A point is *dominated* if another is at most as
//! high in both violations and cost, and lower in one; those that are not are the *frontier*.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::autoscaler::AutoscalerConfig;
use crate::compare::seeds_from;
use crate::contender::{Build, Contender};
use crate::oracle::{ArrivalRecord, Foresight, ForesightConfig};
use crate::prepared::Prepared;
use crate::report::{Estimate, Summary, mean_interval};
use crate::run::{Keep, Progress, RunError, run, run_with};

/// Lowest and highest factor of [`grid`].
const FACTORS: (f64, f64) = (0.5, 2.5);

/// Most numbers of replicas that `fixed` is run with.
const MOST_FIXED: usize = 12;

/// Shares of requests (0–1) that break the objective, at which costs are compared.
pub const LEVELS: [f64; 2] = [0.01, 0.05];

/// Violations against cost, for each contender over its parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pareto {
    /// The scenario's name.
    pub scenario: String,
    /// The seeds of the runs.
    pub seeds: Vec<u64>,
    /// Length of a run, warm-up excluded, seconds.
    pub duration_s: f64,
    /// The corner that areas are measured from.
    pub reference: Reference,
    /// By contender, in the order given.
    pub contenders: Vec<Sweep>,
}

/// The worst of either kind among all points of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The highest mean share of requests that broke the objective, 0–1.
    pub violation_ratio: f64,
    /// The highest mean cost of a run, US dollars.
    pub cost: f64,
}

/// A contender over its parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The contender's name.
    pub name: String,
    /// What was varied.
    pub parameter: Parameter,
    /// By value of the parameter, ascending.
    pub points: Vec<SweepPoint>,
    /// Share (0–1) of the rectangle between nothing (no violations, no cost) and [`Pareto::reference`] that its points
    /// dominate; `None` if that rectangle has no area. It depends on who else takes part, since the reference does: it
    /// compares the contenders of one comparison, and nothing beyond.
    pub area: Option<f64>,
    /// What [`LEVELS`] of violations cost.
    pub cost_at: Vec<CostAt>,
}

/// What was varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    /// The factor on the headroom that the contender was given with.
    Headroom,
    /// The number of replicas of the primary pool.
    Replicas,
}

impl Parameter {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Parameter::Headroom => "headroom",
            Parameter::Replicas => "replicas",
        }
    }
}

/// A contender at one value of its parameter: means over seeds, with 95 % intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// The parameter's value: a factor, or a number of replicas.
    pub value: f64,
    /// Share of requests that broke the objective, 0–1.
    pub violation_ratio: Estimate,
    /// Cost of a run, US dollars.
    pub cost: Estimate,
    /// Pods on nodes, mean over time, of all pools.
    pub replicas_mean: Estimate,
    /// 95th percentile of the latency, milliseconds; `None` if no request was completed.
    pub p95_ms: Option<Estimate>,
    /// Reward, mean over control steps; `None` where there is none.
    pub reward: Option<Estimate>,
    /// Whether no point of any contender dominates it.
    pub on_frontier: bool,
    /// Whether no point of its own contender dominates it.
    pub on_own_frontier: bool,
}

impl SweepPoint {
    fn means(&self) -> (f64, f64) {
        (self.violation_ratio.mean, self.cost.mean)
    }
}

/// What a level of violations costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostAt {
    /// The level: share of requests that break the objective, 0–1.
    pub violation_ratio: f64,
    /// Cost of a run, US dollars, see [`cost_at`].
    pub cost: Option<f64>,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum ParetoError {
    /// It has nothing to vary.
    #[error(
        "autoscaler {found:?}: expected one with a headroom or a number of replicas to vary, such as hpa, foresight or fixed"
    )]
    NoParameter {
        /// Its name.
        found: String,
    },
    /// A factor on the headroom is not one.
    #[error("factor {found} on the headroom: expected a number above 0")]
    Factor {
        /// The factor.
        found: f64,
    },
    /// A run failed.
    #[error(transparent)]
    Run(Box<RunError>),
}

impl From<RunError> for ParetoError {
    fn from(error: RunError) -> Self {
        ParetoError::Run(Box::new(error))
    }
}

/// `count` factors from 0.5 to 2.5, each the same multiple of the one before; rounded, so that they can be typed again.
///
/// ```
/// assert_eq!(kisim::pareto::grid(3), [0.5, 1.118, 2.5]);
/// ```
pub fn grid(count: usize) -> Vec<f64> {
    let (low, high) = FACTORS;
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|i| (low * (high / low).powf(i as f64 / last) * 1e3).round() / 1e3).collect()
}

/// Runs each of `contenders` with each of `factors` on its headroom (`fixed` with numbers of replicas within the primary
/// pool's limits instead) and `count` seeds derived from `seed`, on all cores. The result does not depend on how many
/// there are. `progress` is told the share of the work done.
pub fn pareto(
    prepared: &Arc<Prepared>,
    contenders: &[Contender],
    factors: &[f64],
    seed: u64,
    count: usize,
    progress: Progress<'_>,
) -> Result<Pareto, ParetoError> {
    if let Some(&found) = factors.iter().find(|f| !(f.is_finite() && **f > 0.0)) {
        return Err(ParetoError::Factor { found });
    }
    let mut factors = factors.to_vec();
    factors.sort_by(f64::total_cmp);
    let mut plans: Vec<Plan> = Vec::new();
    for contender in contenders {
        let plan = Plan::of(contender, prepared, &factors)?;
        // `fixed:2` and `fixed:4` are the same sweep, and run once.
        if !plans.contains(&plan) {
            plans.push(plan);
        }
    }
    let seeds = seeds_from(seed, count);
    let jobs: Vec<(&Setting, u64)> = plans
        .iter()
        .flat_map(|plan| &plan.settings)
        .flat_map(|(_, setting)| seeds.iter().map(move |&seed| (setting, seed)))
        .collect();
    let done = AtomicUsize::new(0);
    let share = |within: f64| progress((done.load(Ordering::Relaxed) as f64 + within) / jobs.len() as f64);
    let summaries = jobs
        .par_iter()
        .map(|&(setting, seed)| {
            let summary = setting.run(prepared, seed, &share);
            done.fetch_add(1, Ordering::Relaxed);
            summary
        })
        .collect::<Result<Vec<Summary>, RunError>>()?;

    let duration_s = summaries.first().map_or(0.0, |s| s.duration_s);
    let mut by_setting = summaries.chunks(seeds.len().max(1));
    let sweeps = plans.into_iter().map(|plan| {
        let runs = |(value, _): (f64, Setting)| point(value, by_setting.next().unwrap_or_default());
        let points = plan.settings.into_iter().map(runs).collect();
        Sweep { name: plan.name, parameter: plan.parameter, points, area: None, cost_at: Vec::new() }
    });
    let mut result = Pareto {
        scenario: prepared.scenario.name.clone(),
        duration_s,
        reference: Reference { violation_ratio: 0.0, cost: 0.0 },
        contenders: sweeps.collect(),
        seeds,
    };
    result.judge();
    Ok(result)
}

impl Pareto {
    /// Works out frontiers, areas and costs at levels from the points' means.
    fn judge(&mut self) {
        let all: Vec<(f64, f64)> = self.contenders.iter().flat_map(|c| &c.points).map(SweepPoint::means).collect();
        let mut overall = frontier(&all).into_iter();
        self.reference = Reference {
            violation_ratio: all.iter().map(|p| p.0).fold(0.0, f64::max),
            cost: all.iter().map(|p| p.1).fold(0.0, f64::max),
        };
        let corner = (self.reference.violation_ratio, self.reference.cost);
        for sweep in &mut self.contenders {
            let means: Vec<(f64, f64)> = sweep.points.iter().map(SweepPoint::means).collect();
            for (point, own) in sweep.points.iter_mut().zip(frontier(&means)) {
                point.on_frontier = overall.next().unwrap_or(false);
                point.on_own_frontier = own;
            }
            sweep.area = dominated_area(&means, corner);
            let at = |violation_ratio| CostAt { violation_ratio, cost: cost_at(&means, violation_ratio) };
            sweep.cost_at = LEVELS.map(at).to_vec();
        }
    }
}

/// A contender's settings, before they are run.
#[derive(PartialEq)]
struct Plan {
    name: String,
    parameter: Parameter,
    /// By value of the parameter.
    settings: Vec<(f64, Setting)>,
}

enum Setting {
    Autoscaler(AutoscalerConfig),
    Foresight(ForesightConfig),
    Policy(Arc<Build>),
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Setting::Autoscaler(a), Setting::Autoscaler(b)) => a == b,
            (Setting::Foresight(a), Setting::Foresight(b)) => a == b,
            (Setting::Policy(a), Setting::Policy(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Plan {
    /// What to run of `contender`; `factors` ascend.
    fn of(contender: &Contender, prepared: &Prepared, factors: &[f64]) -> Result<Plan, ParetoError> {
        let scenario = &prepared.scenario;
        let mut settings: Vec<(f64, Setting)> = Vec::new();
        let mut add = |value: f64, setting: Setting| {
            // A timetable of whole replicas may be the same for neighbouring factors.
            if settings.last().is_none_or(|(_, last)| *last != setting) {
                settings.push((value, setting));
            }
        };
        let (name, parameter) = match contender {
            Contender::Autoscaler(AutoscalerConfig::Fixed { replicas })
            | Contender::File(_, AutoscalerConfig::Fixed { replicas }) => {
                let pool = &prepared.pools[prepared.primary_pool()];
                let limits = pool.config.limits;
                let mut others = replicas.clone();
                others.remove(&pool.name);
                for number in numbers_between(limits.min_replicas, limits.max_replicas) {
                    let mut replicas = others.clone();
                    replicas.insert(pool.name.clone(), number);
                    add(f64::from(number), Setting::Autoscaler(AutoscalerConfig::Fixed { replicas }));
                }
                (AutoscalerConfig::Fixed { replicas: others }.name(), Parameter::Replicas)
            }
            Contender::Autoscaler(config) | Contender::File(_, config) => {
                for &factor in factors {
                    add(factor, Setting::Autoscaler(config.with_headroom(factor, scenario)));
                }
                (contender.name(), Parameter::Headroom)
            }
            Contender::Foresight(config) => {
                for &factor in factors {
                    let headroom = config.headroom * factor;
                    add(factor, Setting::Foresight(ForesightConfig { headroom, ..*config }));
                }
                (config.name(), Parameter::Headroom)
            }
            // What its headroom would be, only its own crate knows, and may say.
            Contender::Policy { build, vary, .. } => {
                match vary {
                    Some(vary) => factors.iter().for_each(|&factor| add(factor, Setting::Policy(vary(factor)))),
                    None => add(1.0, Setting::Policy(Arc::clone(build))),
                }
                (contender.name(), Parameter::Headroom)
            }
            Contender::Hindsight(_) => return Err(ParetoError::NoParameter { found: contender.name() }),
        };
        Ok(Plan { name, parameter, settings })
    }
}

impl Setting {
    fn run(&self, prepared: &Arc<Prepared>, seed: u64, progress: Progress<'_>) -> Result<Summary, RunError> {
        let keep = Keep::default();
        let result = match self {
            Setting::Autoscaler(config) => run(prepared, config, seed, keep, progress)?,
            Setting::Foresight(config) => {
                let record = ArrivalRecord::of(prepared, seed)?;
                let mut foresight = Foresight::new(prepared, &record, config)?;
                run_with(prepared, &mut foresight, seed, keep, progress)?
            }
            Setting::Policy(build) => run_with(prepared, build(prepared)?.as_mut(), seed, keep, progress)?,
        };
        Ok(result.summary)
    }
}

/// Both ends and numbers between them, at most [`MOST_FIXED`]: each about the same multiple of the one before, but not
/// the same number. None is 0, of which everybody knows what it costs and whom it serves.
fn numbers_between(least: u32, most: u32) -> Vec<u32> {
    let mut numbers = vec![least.clamp(1, most.max(1))];
    for remaining in (1..MOST_FIXED).rev() {
        let last = numbers[numbers.len() - 1];
        if last >= most {
            break;
        }
        let next = f64::from(last) * (f64::from(most) / f64::from(last)).powf(1.0 / remaining as f64);
        numbers.push((next.round() as u32).clamp(last + 1, most));
    }
    numbers
}

fn point(value: f64, runs: &[Summary]) -> SweepPoint {
    let over = |figure: fn(&Summary) -> f64| mean_interval(&runs.iter().map(figure).collect::<Vec<_>>());
    let known = |estimate: Estimate| Some(estimate).filter(|e| e.n > 0);
    SweepPoint {
        value,
        violation_ratio: over(|s| s.slo.violation_ratio),
        cost: over(|s| s.cost),
        replicas_mean: over(|s| s.pools.values().map(|p| p.replicas_mean).sum()),
        p95_ms: known(over(|s| s.latency_ms.p95.unwrap_or(f64::NAN))),
        reward: known(over(|s| s.reward.get("mean").copied().unwrap_or(f64::NAN))),
        on_frontier: false,
        on_own_frontier: false,
    }
}

/// Which of `points` no other dominates, that is, is at most as high in both coordinates and lower in one. Equal points
/// do not dominate each other. A point with a coordinate that is not finite is nowhere, and not on the frontier.
///
/// ```
/// use kisim::pareto::frontier;
/// assert_eq!(frontier(&[(0.1, 4.0), (0.2, 4.0), (0.5, 1.0)]), [true, false, true]);
/// ```
pub fn frontier(points: &[(f64, f64)]) -> Vec<bool> {
    let there = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let dominates = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 <= b.1 && (a.0 < b.0 || a.1 < b.1);
    points.iter().map(|p| there(p) && !points.iter().any(|other| there(other) && dominates(other, p))).collect()
}

/// The points of the frontier, by the first coordinate, ascending; the second descends.
fn frontier_line(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> =
        points.iter().zip(frontier(points)).filter(|(_, on)| *on).map(|(&point, _)| point).collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    line.dedup();
    line
}

/// Share (0–1) of the rectangle between the origin and `corner` that `points` dominate; `None` if it has no area.
/// Coordinates are not negative; what lies beyond the corner does not count.
pub fn dominated_area(points: &[(f64, f64)], corner: (f64, f64)) -> Option<f64> {
    let whole = corner.0 * corner.1;
    if !(whole.is_finite() && whole > 0.0) {
        return None;
    }
    let line = frontier_line(points);
    let ends = line.iter().skip(1).map(|p| p.0).chain([corner.0]);
    let strip = |(p, end): (&(f64, f64), f64)| (end.min(corner.0) - p.0).max(0.0) * (corner.1 - p.1).max(0.0);
    Some(line.iter().zip(ends).map(strip).sum::<f64>() / whole)
}

/// What `level` violations cost on the frontier of `points` (violations, cost): on the straight line between its
/// neighbours there, which is what using the one setting part of the time and the other for the rest would give. `None`
/// where the points lie all above the level, or all below: nothing is known beyond them.
pub fn cost_at(points: &[(f64, f64)], level: f64) -> Option<f64> {
    let line = frontier_line(points);
    if let Some(exact) = line.iter().find(|p| p.0 == level) {
        return Some(exact.1);
    }
    let (from, to) = line.iter().zip(line.iter().skip(1)).find(|(a, b)| a.0 < level && level < b.0)?;
    Some(from.1 + (to.1 - from.1) * (level - from.0) / (to.0 - from.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use crate::oracle::Effort;
    use crate::run::silent;
    use crate::scenario::Scenario;

    #[test]
    fn the_frontier_is_what_nothing_dominates() {
        let check = |points: &[(f64, f64)], expected: &[bool]| assert_eq!(frontier(points), expected, "{points:?}");
        check(&[], &[]);
        check(&[(0.3, 2.0)], &[true]);
        // Better in one, worse in the other: both stay.
        check(&[(0.1, 4.0), (0.4, 1.0)], &[true, true]);
        check(&[(0.1, 4.0), (0.2, 5.0), (0.4, 1.0)], &[true, false, true]);
        // A tie in one coordinate is decided by the other.
        check(&[(0.1, 4.0), (0.1, 3.0)], &[false, true]);
        check(&[(0.0, 3.0), (0.1, 3.0)], &[true, false]);
        // Duplicates stand or fall together.
        check(&[(0.1, 4.0), (0.1, 4.0), (0.2, 3.0)], &[true, true, true]);
        check(&[(0.2, 4.0), (0.2, 4.0), (0.1, 3.0)], &[false, false, true]);
        // What is nowhere neither stands nor dominates.
        let (nan, far) = (f64::NAN, f64::INFINITY);
        check(&[(nan, 1.0), (0.1, far), (0.5, 5.0), (0.0, -far)], &[false, false, true, false]);
    }

    #[test]
    fn areas_are_unions_of_rectangles() {
        let check = |points: &[(f64, f64)], corner: (f64, f64), area: Option<f64>| {
            let found = dominated_area(points, corner);
            let near = match (found, area) {
                (Some(found), Some(area)) => (found - area).abs() < 1e-12,
                (found, area) => found == area,
            };
            assert!(near, "{points:?}: {found:?}, expected {area:?}");
        };
        check(&[(0.0, 0.0)], (0.5, 8.0), Some(1.0));
        check(&[(0.5, 8.0)], (0.5, 8.0), Some(0.0));
        check(&[], (0.5, 8.0), Some(0.0));
        // 0.3 × 6 of 0.4 × 8.
        check(&[(0.1, 2.0)], (0.4, 8.0), Some(1.8 / 3.2));
        // (0.2 − 0.1) × (8 − 6) + (0.4 − 0.2) × (8 − 2), whatever the order; dominated and doubled points add nothing.
        let two = Some((0.1 * 2.0 + 0.2 * 6.0) / 3.2);
        check(&[(0.1, 6.0), (0.2, 2.0)], (0.4, 8.0), two);
        check(&[(0.3, 7.0), (0.2, 2.0), (0.1, 6.0), (0.2, 2.0), (0.1, f64::NAN)], (0.4, 8.0), two);
        // Beyond the corner.
        check(&[(0.1, 2.0), (0.6, 1.0)], (0.4, 8.0), Some(1.8 / 3.2));
        check(&[(0.0, 1.0)], (0.0, 8.0), None);
        check(&[(0.0, 0.0)], (0.4, 0.0), None);
    }

    #[test]
    fn costs_at_a_level_are_interpolated_and_never_extrapolated() {
        // (0.02, 9) is dominated: the line runs from (0.02, 5) to (0.08, 2).
        let points = [(0.08, 2.0), (0.005, 10.0), (0.02, 9.0), (0.02, 5.0)];
        let near = |level: f64, cost: f64| {
            let found = cost_at(&points, level).unwrap();
            assert!((found - cost).abs() < 1e-12, "{level}: {found}, expected {cost}");
        };
        // A third of the way from 0.005 to 0.02, and half of the way from 0.02 to 0.08.
        near(0.01, 10.0 - 5.0 / 3.0);
        near(0.05, 3.5);
        near(0.02, 5.0);
        near(0.08, 2.0);
        for beyond in [0.001, 0.081, f64::NAN] {
            assert_eq!(cost_at(&points, beyond), None, "{beyond}");
        }
        assert_eq!(cost_at(&[], 0.01), None);
        assert_eq!(cost_at(&[(0.01, 3.0)], 0.01), Some(3.0));
        assert_eq!(cost_at(&[(0.01, 3.0)], 0.05), None);
    }

    #[test]
    fn grids_keep_their_ends() {
        assert_eq!(grid(9), [0.5, 0.611, 0.748, 0.914, 1.118, 1.367, 1.672, 2.044, 2.5]);
        assert_eq!(grid(2), [0.5, 2.5]);
        assert_eq!(grid(1), [0.5]);
        assert!(grid(0).is_empty());
        assert_eq!(numbers_between(1, 6), [1, 2, 3, 4, 5, 6]);
        assert_eq!(numbers_between(1, 16), [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]);
        assert_eq!(numbers_between(0, 3), [1, 2, 3]);
        assert_eq!(numbers_between(5, 5), [5]);
        for most in [12, 13, 100, 5000, u32::MAX] {
            let numbers = numbers_between(1, most);
            assert_eq!((numbers.len(), numbers[0], numbers[numbers.len() - 1]), (12, 1, most));
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        }
    }

    #[test]
    fn more_headroom_costs_more_and_sweeps_are_named_once() {
        let mut scenario = Scenario::builtin().unwrap();
        scenario.duration = Some(Span::secs(60));
        let parse = |name: &str| Contender::parse(name, &scenario).unwrap();
        let contenders = [parse("fixed:2"), parse("fixed"), parse("hpa"), parse("foresight")];
        let prepared = Prepared::new(scenario).unwrap();
        let result = pareto(&prepared, &contenders, &[2.0, 0.5], 1, 2, &silent).unwrap();
        let names: Vec<&str> = result.contenders.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["fixed", "hpa:utilization:70", "foresight"]);
        assert_eq!((result.seeds.len(), result.duration_s), (2, 60.0));
        let fixed = &result.contenders[0];
        assert_eq!((fixed.parameter, fixed.points.len()), (Parameter::Replicas, 12));
        for sweep in &result.contenders {
            assert!(sweep.points.windows(2).all(|p| p[0].value < p[1].value), "{sweep:?}");
            let (first, last) = (&sweep.points[0], &sweep.points[sweep.points.len() - 1]);
            // Foresight's is a weight, which may change nothing.
            let more = if sweep.name == "foresight" { first.cost.mean } else { last.cost.mean - 1e-9 };
            assert!(first.cost.mean <= more && first.cost.mean <= last.cost.mean, "{sweep:?}");
            assert!(sweep.area.is_some_and(|area| (0.0..=1.0).contains(&area)), "{sweep:?}");
            assert!(sweep.points.iter().all(|p| p.on_own_frontier || !p.on_frontier), "{sweep:?}");
        }
        let written = serde_json::to_value(&result).unwrap();
        assert_eq!(serde_json::from_value::<Pareto>(written).unwrap(), result);

        let refused = |contender: Contender, factor: f64| {
            pareto(&prepared, &[contender], &[factor], 1, 1, &silent).unwrap_err().to_string()
        };
        assert!(refused(Contender::Hindsight(Effort::QUICK), 1.0).contains("hindsight"));
        assert!(refused(contenders[2].clone(), -1.0).contains("-1"));
    }
}
