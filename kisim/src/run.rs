//! One run from beginning to end: the loop Scrape → Window → Autoscaler → Limits → Action, and its report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::autoscaler::{AutoscalerConfig, AutoscalerError};
use crate::control::{Autoscaler, Verdict, View};
use crate::fleet::Placement;
use crate::ledger::RequestRecord;
use crate::objective::{Objective, PaperBaseline, paper_reference};
use crate::oracle::Plan;
use crate::prepared::Prepared;
use crate::profile::Hardware;
use crate::recorder::Recorder;
use crate::report::{Row, Summary};
use crate::simulation::{Options, Simulation, SimulationError, Stop};
use crate::time::SimTime;
use crate::window::Window;

/// What to keep of a run beside its summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// A row a scrape.
    pub timeline: bool,
    /// A record a request.
    pub requests: bool,
    /// Every decision and its reason.
    pub decisions: bool,
    /// What was asked for in each control step.
    pub plan: bool,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its figures.
    pub summary: Summary,
    /// Its timeline, if kept.
    pub rows: Vec<Row>,
    /// Its requests, if kept, by the time of sending.
    pub requests: Vec<RequestRecord>,
    /// (seconds, pool, replicas before, replicas set, why), if kept.
    pub decisions: Vec<DecisionRecord>,
    /// Replicas asked for by control step and pool, before limits, if kept.
    pub plan: Plan,
    /// Whether all decisions fell on the ends of control steps.
    pub on_steps: bool,
}

/// A decision about one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionRecord {
    /// When, seconds.
    pub at: f64,
    /// The pool's name.
    pub pool: String,
    /// Replicas before.
    pub before: u32,
    /// Replicas after, limits and refusals included.
    pub after: u32,
    /// The autoscaler's reason.
    pub reason: String,
}

/// Why a run fails.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario or its trace.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The autoscaler.
    #[error(transparent)]
    Autoscaler(#[from] AutoscalerError),
    /// A plan that knew the future is worse than what somebody did who did not: a bug of the search.
    #[error(
        "hindsight's objective {hindsight} is worse than {rival}'s {found} with seed {seed}: this is a bug, please report it"
    )]
    Hindsight {
        /// The plan's.
        hindsight: f64,
        /// Who did better.
        rival: String,
        /// Theirs.
        found: f64,
        /// The seed.
        seed: u64,
    },
    /// It was interrupted.
    #[error("interrupted at {at} of virtual time")]
    Interrupted {
        /// How far it was.
        at: SimTime,
    },
}

/// Told how far a run is, as a share from 0 to 1; answers whether to go on.
pub type Progress<'a> = &'a (dyn Fn(f64) -> bool + Sync);

/// A progress that nobody watches.
pub fn silent(_share: f64) -> bool {
    true
}

/// Runs `prepared` with `seed` under the autoscaler that `config` describes.
pub fn run(
    prepared: &Arc<Prepared>,
    config: &AutoscalerConfig,
    seed: u64,
    keep: Keep,
    progress: Progress<'_>,
) -> Result<Run, RunError> {
    let mut autoscaler = config.build(prepared)?;
    run_with(prepared, autoscaler.as_mut(), seed, keep, progress)
}

/// Runs `prepared` with `seed` under any autoscaler.
pub fn run_with(
    prepared: &Arc<Prepared>,
    autoscaler: &mut dyn Autoscaler,
    seed: u64,
    keep: Keep,
    progress: Progress<'_>,
) -> Result<Run, RunError> {
    let reference = paper_baseline(prepared, seed, progress)?;
    let options = Options {
        log: keep.requests,
        decide_every: autoscaler.interval(),
        pipeline: autoscaler.pipeline(),
        ..Options::default()
    };
    let mut simulation = Simulation::with(prepared, seed, &options)?;
    let mut recorder = Recorder::new(prepared, &simulation, reference, keep);
    recorder.on_steps = autoscaler.interval().is_none_or(|every| every == prepared.scenario.control.interval.0);
    // Ten minutes, and whatever the configured range needs with a few missing scrapes.
    let telemetry = &prepared.scenario.telemetry;
    let retention = Duration::from_secs(600).max(4 * telemetry.window.0).max(2 * autoscaler.history());
    let mut window = Window::new(retention, &prepared.bounds);
    loop {
        match simulation.run()? {
            Stop::End => break,
            Stop::WarmUpOver => {
                simulation.take_log();
                recorder.restart(&simulation);
            }
            Stop::Row => {
                if !progress(simulation.now().as_nanos() as f64 / prepared.end as f64) {
                    return Err(RunError::Interrupted { at: simulation.now() });
                }
                recorder.row(&simulation);
            }
            Stop::Step => {
                window.push(&simulation.scraped(), simulation.now());
                recorder.step(&simulation, &window);
                recorder.planned();
            }
            Stop::Control => {
                window.push(&simulation.scraped(), simulation.now());
                control(&mut simulation, autoscaler, &window, &mut recorder);
            }
        }
        if keep.requests {
            recorder.requests.append(&mut simulation.take_log());
        }
    }
    if keep.requests {
        recorder.requests.append(&mut simulation.take_log());
    }
    recorder.step(&simulation, &window);
    recorder.planned();
    recorder.row(&simulation);
    Ok(recorder.finish(&simulation, autoscaler.name(), seed))
}

/// Asks the autoscaler and does what it says, within the limits.
fn control(simulation: &mut Simulation, autoscaler: &mut dyn Autoscaler, window: &Window, recorder: &mut Recorder) {
    let (pools, pods) = (simulation.pool_views(), simulation.pod_views());
    let view = View {
        now: simulation.now(),
        window,
        range: simulation.prepared().scenario.telemetry.window.0,
        pools: &pools,
        pods: &pods,
    };
    let decision = autoscaler.decide(&view);
    if let Some(placement) = decision.placement {
        simulation.place(placement);
    }
    for (number, verdict) in decision.pools.iter().enumerate().take(pools.len()) {
        let before = pools[number].counts.desired;
        recorder.wanted[number] = match verdict {
            Verdict::Hold { .. } => before,
            Verdict::Scale { replicas, .. } => *replicas,
        };
        let (after, note) = match verdict {
            // Limits last, on every path: holding is asking for what there is.
            Verdict::Hold { .. } => (simulation.scale(number, before), ""),
            Verdict::Scale { replicas, .. } => (simulation.scale(number, *replicas), ""),
        };
        let (after, note) = match after {
            Ok(after) => (after, note),
            Err(_) => (before, "; refused by the API"),
        };
        let wanted = recorder.wanted[number];
        if note.is_empty() && after != wanted {
            let limits = format_args!("{}; limited from {wanted} to {after}", verdict.reason()).to_string();
            recorder.decided(&view, number, before, after, format_args!("{limits}"));
            continue;
        }
        recorder.decided(&view, number, before, after, format_args!("{}{note}", verdict.reason()));
    }
}

/// The published reward's reference, measured where the scenario asks for it: its initial replicas, unchanged, with all
/// requests on the GPU pool and with all on the CPU pool.
pub fn paper_baseline(
    prepared: &Arc<Prepared>,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Option<(f64, f64)>, RunError> {
    let Objective::Paper { baseline: PaperBaseline::Measured } = prepared.scenario.objective else { return Ok(None) };
    let measure = |hardware: Hardware| -> Result<Option<(f64, f64)>, RunError> {
        if !prepared.pools.iter().any(|p| p.hardware == hardware) {
            return Ok(None);
        }
        let mut scenario = prepared.scenario.clone();
        scenario.objective = Objective::default();
        scenario.service.placement = match hardware {
            Hardware::Gpu => Placement::GpuOnly,
            Hardware::Cpu => Placement::CpuOnly,
        };
        let prepared = Prepared::new(scenario).map_err(SimulationError::from)?;
        let fixed = AutoscalerConfig::Fixed { replicas: BTreeMap::new() };
        let summary = run(&prepared, &fixed, seed, Keep::default(), progress)?.summary;
        let throughput = summary.requests.completed as f64 / summary.duration_s;
        Ok(Some((summary.latency_ms.p95.unwrap_or(f64::NAN), throughput)))
    };
    let (gpu, cpu) = (measure(Hardware::Gpu)?, measure(Hardware::Cpu)?);
    let (Some(gpu), Some(cpu)) = (gpu.or(cpu), cpu.or(gpu)) else { return Ok(None) };
    Ok(Some(match prepared.scenario.published_pattern() {
        Some(pattern) => paper_reference(pattern, gpu, cpu),
        None => gpu,
    }))
}
