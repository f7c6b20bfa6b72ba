//! What a policy sees. Every feature is a ratio or its logarithm.

use kisim::control::View;

use super::council::{Council, HEADROOMS, REACHES, SPARES};
use super::demand::{CHANGES, Demand, LEAST, ratio};
use super::pipeline::Pipeline;
use crate::facts::Facts;

/// Steps back that are seen one by one.
const RECENT: usize = 12;

/// Ends of the stretches of the past that are seen by their mean and their highest value, in steps back.
const STRETCHES: [usize; 9] = [12, 16, 24, 32, 48, 64, 96, 128, 256];

/// Steps after which it makes no difference how many there were.
const LONG: u64 = 512;

/// Logarithms beyond this say no more.
const LARGEST: f64 = 4.0;

/// The features of a look.
#[derive(Clone, Debug)]
pub(super) struct Features {
    values: Vec<f32>,
}

/// Writes features, or their names.
struct Writer<'a> {
    values: &'a mut Vec<f32>,
    names: Option<&'a mut Vec<String>>,
}

impl Writer<'_> {
    fn put(&mut self, name: &str, value: f64) {
        self.put_at(name, usize::MAX, value);
    }

    fn put_at(&mut self, name: &str, index: usize, value: f64) {
        if let Some(names) = &mut self.names {
            names.push(if index == usize::MAX { name.to_owned() } else { format!("{name}_{index}") });
        }
        let value = if value.is_finite() { value.clamp(-LARGEST, LARGEST) } else { 0.0 };
        self.values.push(value as f32);
    }

    fn flag(&mut self, name: &str, on: bool) {
        self.put(name, if on { 1.0 } else { 0.0 });
    }
}

/// Mean and highest of a stretch of the past.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    sum: f64,
    highest: f64,
    count: u32,
}

impl Features {
    pub(super) fn new() -> Self {
        Features { values: Vec::with_capacity(128) }
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn set(
        &mut self,
        facts: &Facts,
        demand: &Demand,
        pipeline: &Pipeline,
        view: &View<'_>,
        council: &Council,
    ) {
        self.values.clear();
        let mut to = Writer { values: &mut self.values, names: None };
        let limits = view.pools[facts.pool].limits;
        let bridge = facts.bridge.map(|pool| {
            let own = &view.pools[pool];
            f64::from(own.counts.ready) / f64::from(own.limits.max_replicas.max(1))
        });
        write(&mut to, facts, demand, pipeline, (limits.min_replicas, limits.max_replicas), bridge, council);
    }
}

/// Names of the features, in order.
pub(super) fn names() -> Vec<String> {
    let facts = Facts::plain(1);
    let (demand, pipeline) = (Demand::new(&facts), Pipeline::new(1));
    let (mut values, mut names) = (Vec::new(), Vec::new());
    let mut to = Writer { values: &mut values, names: Some(&mut names) };
    write(&mut to, &facts, &demand, &pipeline, (1, 1), None, &Council::new(&facts, 1, true));
    names
}

fn write(
    to: &mut Writer<'_>,
    facts: &Facts,
    demand: &Demand,
    pipeline: &Pipeline,
    (min, max): (u32, u32),
    bridge: Option<f64>,
    council: &Council,
) {
    let (level, anchor) = (demand.level(), council.load());
    // What is wanted: what a late request costs over what keeping a pod for it costs. See docs/learning.md.
    let price = facts.preference.violation / facts.preference.cost * facts.most / demand.mean();
    to.put("price_of_lateness", price.ln() - 2.0);
    to.put("price_of_churn", (facts.preference.churn / facts.preference.cost).ln() + 2.0);

    // The service.
    to.put("cold_start_steps", facts.cold_start_steps().ln());
    to.put("slow_start", (facts.slow_start_s / facts.cold_start_s).ln());
    to.put("slack", facts.slack.ln());
    let near = facts.pods_for(level).max(1);
    to.put("taken_of_saturation", (facts.takes(near) / f64::from(near)).ln());
    to.put("taken_by_one", facts.takes(1).ln());

    // The level, in absolute terms: pods are whole.
    to.put("level_in_pods", level.ln());
    to.put("anchor_in_pods", anchor.max(LEAST).ln());
    to.put("anchor", ratio(anchor, level));
    to.put("level_of_most", ratio(level, facts.takes(max)));
    to.put("level_of_least", ratio(level, facts.takes(min)));
    to.put("mean", ratio(demand.mean(), level));
    // Beyond a few hours at work another one is no different.
    to.put("steps", (1.0 + demand.steps().min(LONG) as f64).ln() - 4.0);
    to.put("missed", f64::from(demand.missed()));

    // What there is, and what comes.
    let over = |pods: u32| ratio(facts.takes(pods), level);
    to.put("ready", over(pipeline.ready()));
    to.put("desired", over(pipeline.desired()));
    for steps in [1usize, 2, 4] {
        let seconds = steps as f64 * facts.step_s;
        to.put_at("ready_in", steps, over(pipeline.ready_in(seconds, facts.cold_start_s)));
    }
    to.put("ready_over_anchor", ratio(facts.takes(pipeline.ready()), anchor));
    to.put("desired_over_anchor", ratio(facts.takes(pipeline.desired()), anchor));
    let overdue = f64::from(pipeline.overdue(facts.slow_start_s));
    to.put("overdue", overdue / f64::from(pipeline.desired().max(1)));
    to.put("bridge", bridge.unwrap_or(-1.0));

    // What waits.
    // In fifteenths of a control step, which are seconds in training.
    let fifteenth = facts.saturation * f64::from(pipeline.ready().max(1)) * (facts.step_s / 15.0);
    to.put("backlog", (demand.backlog / fifteenth).ln_1p());
    to.put("waiting", (demand.waiting / (facts.max_batch * f64::from(pipeline.ready().max(1)))).ln_1p());
    to.put("held", demand.held.ln_1p());
    to.put("busy", demand.busy);

    // What is expected.
    to.put("best", ratio(demand.best.says, level));
    to.put("best_error", ratio(demand.best.error, level));
    to.put("surprise", ratio(demand.surprise, level));
    to.put("smooth", ratio(demand.smooth.says, level));
    to.put("smooth_error", ratio(demand.smooth.error, level));
    let seasonal = demand.seasonal;
    to.flag("has_season", seasonal.is_some());
    to.put("seasonal", seasonal.map_or(0.0, |s| ratio(s.says, level)));
    to.put("seasonal_error", seasonal.map_or(0.0, |s| ratio(s.error, level)));

    // What rules would have cost.
    to.put("leader_cost", ratio(council.cost(), demand.mean()));
    let (reach, headroom, wary, spare) = council.leader();
    to.put("leader_reach", reach as f64 - 2.0);
    to.put("leader_headroom", HEADROOMS[headroom].ln());
    to.flag("leader_wary", wary == 1);
    to.put("leader_spare", SPARES[spare]);
    to.put("compression", council.compression().ln());
    let percent = |share: f64| (100.0 * share).ln_1p();
    to.put("late", percent(demand.late));
    to.put("late_lately", percent(demand.late_lately));
    to.put("late_so_far", percent(council.late()));
    to.put("late_by_model", percent(council.late_by_model()));
    to.put("p95", demand.slowest.ln());
    for (number, reach) in REACHES.into_iter().enumerate() {
        to.put_at("regret_of_reach", reach, council.of_reach(number).ln());
    }
    for number in 0..HEADROOMS.len() {
        to.put_at("regret_of_headroom", number, council.of_headroom(number).ln());
    }
    for number in 0..SPARES.len() {
        to.put_at("regret_of_spare", number, council.of_spare(number).ln());
    }

    past(to, demand, level);
}

/// The past: steps, stretches, and how restless it is.
fn past(to: &mut Writer<'_>, demand: &Demand, level: f64) {
    let mut recent = [f64::NAN; RECENT + 1];
    let mut stretches = [Stretch::default(); STRETCHES.len() - 1];
    let (mut at, mut before) = (0, f64::NAN);
    let (mut peak, mut since_peak) = (0.0f64, 0usize);
    // Steps that are half as much again as the mean of all, and where they begin.
    let (mut onsets, mut above, mut empty) = (0u32, 0u32, 0u32);
    let high = 1.5 * demand.mean();
    let mut was_high = false;
    let mut seen = 0usize;
    for (back, load) in demand.past().enumerate() {
        seen = back + 1;
        if back <= RECENT {
            recent[back] = load;
        }
        if back > STRETCHES[0] && back <= STRETCHES[STRETCHES.len() - 1] {
            while back > STRETCHES[at + 1] {
                at += 1;
            }
            let s = &mut stretches[at];
            *s = Stretch { sum: s.sum + load, highest: s.highest.max(load), count: s.count + 1 };
        }
        if load > peak {
            (peak, since_peak) = (load, back);
        }
        above += u32::from(load > high);
        empty += u32::from(load < 0.5 * LEAST);
        // Going back in time, an onset is where high ends.
        onsets += u32::from(was_high && load <= high);
        was_high = load > high;
        before = load;
    }
    for (back, &load) in recent.iter().enumerate() {
        // The oldest there is stands for what was before.
        let load = if load.is_nan() { before.max(0.0) } else { load };
        to.put_at("past", back, ratio(load, level));
    }
    let mut last = (0.0, 0.0);
    for (stretch, end) in stretches.iter().zip(&STRETCHES[1..]) {
        if stretch.count > 0 {
            last = (ratio(stretch.sum / f64::from(stretch.count), level), ratio(stretch.highest, level));
        }
        to.put_at("mean_to", *end, last.0);
        to.put_at("highest_to", *end, last.1);
    }
    for reach in [16, CHANGES] {
        let (sum, count) = demand.changes().take(reach).fold((0.0, 0u32), |(sum, n), change| (sum + change, n + 1));
        to.put_at("restless", reach, (sum / f64::from(count.max(1))).sqrt());
    }
    let counted = seen.max(1) as f64;
    to.put("peak", ratio(peak, level));
    to.put("since_peak", (1.0 + since_peak as f64).ln() - 2.0);
    to.put("onsets", (f64::from(onsets) / counted * 32.0).ln_1p());
    to.put("above", f64::from(above) / counted);
    to.put("empty", f64::from(empty) / counted);
}
