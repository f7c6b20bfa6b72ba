//! The load, step by step, and what a forecaster makes of it.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use kisim::control::View;
use kisim::forecast::{ForecastConfig, Forecaster, Loss, ModelName, Season};
use kisim::window::{Counter, Gauge};

use crate::facts::Facts;

/// Steps of the past that features look at.
pub(super) const KEPT: usize = 256;

/// Below this load, in saturated pods, everything is about the same.
pub(super) const LEAST: f64 = 0.03;

/// Changes that features look at.
pub(super) const CHANGES: usize = 128;

/// The logarithm of `a` over `b`; what is below [`LEAST`] makes little difference.
pub(super) fn ratio(a: f64, b: f64) -> f64 {
    ((a.max(0.0) + LEAST) / (b.max(0.0) + LEAST)).ln()
}

/// What families of models say of the highest load within a cold start, in saturated pods.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opinion {
    /// What the best of the family says.
    pub(super) says: f64,
    /// Its discounted mean error; NaN before it could be compared.
    pub(super) error: f64,
}

/// The load and what is expected of it.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    /// Load of the last [`KEPT`] steps, newest last.
    history: VecDeque<f32>,
    /// Squared logarithmic change from each of them to the next, newest last.
    changes: VecDeque<f64>,
    forecaster: Forecaster,
    /// Sum and number of all loads so far.
    total: (f64, u64),
    /// Steps since the last value.
    missed: u32,
    /// Requests waiting, in the activator and at pods.
    pub(super) waiting: f64,
    /// Of those, what is more than a batch a pod.
    pub(super) backlog: f64,
    /// Requests held by a pod on average, over the largest batch.
    pub(super) held: f64,
    /// Share of the last step's requests that broke the objective, as far as was seen.
    pub(super) late: f64,
    /// The same over the last steps, each counting a tenth.
    pub(super) late_lately: f64,
    /// P95 of latencies over the objective; NaN where nothing was answered.
    pub(super) slowest: f64,
    /// Mean busy share of pods.
    pub(super) busy: f64,
    activated: u64,
    model: Option<ModelName>,
    pub(super) best: Opinion,
    pub(super) smooth: Opinion,
    pub(super) seasonal: Option<Opinion>,
    pub(super) surprise: f64,
}

impl Demand {
    pub(super) fn new(facts: &Facts) -> Self {
        let horizon = ((facts.slow_start_s + facts.step_s) / facts.step_s).ceil().max(1.0) as usize;
        let config = ForecastConfig {
            capacity: 2 * KEPT,
            horizon_from: 1,
            horizon_to: horizon,
            season: Season::Detect { max_steps: KEPT / 2 },
            // A period is half over before it could have been seen twice; waiting for more costs the next one.
            search_growth: 0.2,
            loss: Loss::Absolute,
            ..ForecastConfig::default()
        };
        Demand {
            history: VecDeque::with_capacity(KEPT),
            changes: VecDeque::with_capacity(CHANGES),
            forecaster: Forecaster::new(config),
            total: (0.0, 0),
            missed: 0,
            waiting: 0.0,
            backlog: 0.0,
            held: 0.0,
            late: 0.0,
            late_lately: 0.0,
            slowest: f64::NAN,
            busy: 0.0,
            activated: 0,
            model: None,
            best: Opinion::default(),
            smooth: Opinion::default(),
            seasonal: None,
            surprise: 0.0,
        }
    }

    /// Counters begin at zero again; the load goes on.
    pub(super) fn begin_again(&mut self) {
        (self.waiting, self.backlog, self.held, self.busy, self.late, self.activated) = (0.0, 0.0, 0.0, 0.0, 0.0, 0);
    }

    /// Takes in a step; whether there is anything to go by.
    pub(super) fn observe(&mut self, view: &View<'_>, facts: &Facts) -> bool {
        let pool = Some(facts.pool);
        let ready = view.pools[facts.pool].counts.ready;
        let activator = view.window.activator(view.now).map(|(_, sample)| sample);
        let passed = activator.map_or(0, |a| a.arrived);
        let through = passed.saturating_sub(std::mem::replace(&mut self.activated, passed));
        // The whole service's load: what CPU pods take is a load, too.
        let (rate, pods) = view.window.latest_rate(None, Counter::Requests, view.now, 2 * view.range);
        let load = match (pods, ready) {
            (0, 0) if activator.is_some() => Some(through as f64 / facts.step_s / facts.saturation),
            (0, _) => None,
            _ => Some(rate / facts.saturation),
        };
        self.take(load);
        let (late, _) = view.window.latest_late_rate(None, facts.objective_s, view.now, 2 * view.range);
        self.note_late(if rate > 0.0 { (late / rate).min(1.0) } else { 0.0 });
        let p95 = view.window.latency_quantile(None, 0.95, view.range, view.now);
        self.slowest = p95.map_or(f64::NAN, |p95| p95 / facts.objective_s);
        let queued = view.window.sum(pool, Gauge::Queued, view.now).unwrap_or(0.0);
        self.waiting = activator.map_or(0.0, |a| a.waiting as f64) + queued;
        self.backlog = (self.waiting - facts.max_batch * f64::from(ready)).max(0.0);
        self.held = view.window.average(pool, Gauge::InFlight, view.now).unwrap_or(0.0) / facts.max_batch;
        self.busy = view.window.average(pool, Gauge::Utilization, view.now).unwrap_or(0.0);
        // Old news is no data.
        !self.history.is_empty() && f64::from(self.missed) * facts.step_s <= 2.0 * view.range.as_secs_f64()
    }

    /// Takes in the share of a step's requests that broke the objective.
    pub(super) fn note_late(&mut self, share: f64) {
        self.late = share;
        self.late_lately += 0.1 * (share - self.late_lately);
    }

    /// Takes in the load of a step, if it is known, and asks the forecaster.
    pub(super) fn take(&mut self, load: Option<f64>) {
        match load {
            Some(load) => {
                if self.history.len() == KEPT {
                    self.history.pop_front();
                }
                let before = self.history.back().copied();
                self.history.push_back(load as f32);
                if let Some(before) = before {
                    if self.changes.len() == CHANGES {
                        self.changes.pop_front();
                    }
                    self.changes.push_back(ratio(self.newest(), f64::from(before)).powi(2));
                }
                self.total = (self.total.0 + load, self.total.1 + 1);
                self.forecaster.observe(load);
                self.missed = 0;
            }
            None => {
                self.forecaster.skip();
                self.missed = self.missed.saturating_add(1);
            }
        }
        self.consult();
    }

    fn consult(&mut self) {
        let now = self.newest();
        let forecast = self.forecaster.forecast(0.9);
        self.model = forecast.map(|f| f.model);
        self.best = Opinion { says: forecast.map_or(now, |f| f.value), error: f64::NAN };
        self.surprise = forecast.map_or(0.0, |f| (f.quantile - f.value.max(0.0)).max(0.0));
        let (mut smooth, mut seasonal): (Option<Opinion>, Option<Opinion>) = (None, None);
        for (name, says, score) in self.forecaster.says() {
            if Some(name) == self.model {
                self.best.error = score.unwrap_or(f64::NAN);
            }
            let family = match name {
                ModelName::Holt { .. } => &mut smooth,
                ModelName::HoltWinters { .. } | ModelName::SeasonalNaive => &mut seasonal,
                _ => continue,
            };
            let (true, Some(error)) = (says.is_finite(), score) else { continue };
            if family.is_none_or(|best| error < best.error) {
                *family = Some(Opinion { says, error });
            }
        }
        self.smooth = smooth.unwrap_or(self.best);
        self.seasonal = seasonal.filter(|_| self.forecaster.season().is_some());
    }

    /// The last value; 0 before the first.
    pub(super) fn newest(&self) -> f64 {
        self.history.back().map_or(0.0, |&load| f64::from(load))
    }

    /// Loads, newest first.
    pub(super) fn past(&self) -> impl Iterator<Item = f64> + '_ {
        self.history.iter().rev().map(|&load| f64::from(load))
    }

    /// Squared logarithmic changes from step to step, newest first.
    pub(super) fn changes(&self) -> impl Iterator<Item = f64> + '_ {
        self.changes.iter().rev().copied()
    }

    /// Mean of all loads so far; at least [`LEAST`].
    pub(super) fn mean(&self) -> f64 {
        if self.total.1 == 0 { LEAST } else { (self.total.0 / self.total.1 as f64).max(LEAST) }
    }

    /// Steps with a value so far.
    pub(super) fn steps(&self) -> u64 {
        self.total.1
    }

    /// Steps since the last value.
    pub(super) fn missed(&self) -> u32 {
        self.missed
    }

    /// The level now: what features are relative to. Of the last four steps, or the newest, whichever is higher.
    pub(super) fn level(&self) -> f64 {
        let (sum, count) = self.past().take(4).fold((0.0, 0u32), |(sum, count), load| (sum + load, count + 1));
        self.newest().max(sum / f64::from(count.max(1))).max(LEAST)
    }

    /// What is expected within a cold start, within reason, without and with the forecast's own error.
    pub(super) fn expected(&self) -> [f64; 2] {
        let level = self.level();
        let expected = self.best.says.clamp(0.5 * level, 3.0 * level);
        [expected, (expected + self.surprise).min(3.0 * level)]
    }

    /// What waits, as a load, if it is to be gone within a cold start.
    pub(super) fn to_drain(&self, facts: &Facts) -> f64 {
        self.backlog / (facts.saturation * facts.cold_start_s.max(facts.step_s))
    }

    /// Writes what is expected and what waits, for people.
    pub(super) fn describe(&self, facts: &Facts, to: &mut String) -> fmt::Result {
        let rate = self.best.says.max(0.0) * facts.saturation;
        match self.model {
            Some(model) => write!(to, "{rate:.0} requests/s expected by {model}, {:.0} waiting", self.waiting),
            None => to.write_str("nothing is expected yet"),
        }
    }
}
