//! What an engineer would write who knows GPUs and does not learn: forecast the demand one cold start ahead, and ask the
//! calibrated profile how many pods take it.
//!
//! Every control interval: the arrivals of the last scrapes go to a [`Forecaster`] (the best of persistence, moving maxima,
//! Holt and Holt-Winters by back-test), which says what the highest rate will be until pods asked for now are ready, as a
//! quantile of its own errors. To that comes what is needed to drain the queue. [`crate::capacity::Capacity`] inverts the
//! latency-versus-load curve. Downwards, the highest number wanted lately holds.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::AutoscalerError;
use crate::capacity::Capacity;
use crate::config::Span;
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::forecast::{ForecastConfig, Forecaster, Loss, Models, Season};
use crate::prepared::Prepared;
use crate::time::SimTime;
use crate::window::{Counter, Gauge};

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PredictiveConfig {
    /// Quantile of the forecast's errors that is added to it; from 0 to below 1.
    pub quantile: f64,
    /// Share of requests that may break the objective at the forecast rate; from 0 to below 1.
    pub violation: f64,
    /// Factor on the forecast, above 0.
    pub headroom: f64,
    /// Pods kept ready beyond that, for what no forecast foresees.
    pub spare: u32,
    /// What waits beyond a batch a pod is to be gone in this long, above 0.
    pub drain: Span,
    /// Downwards, the highest number wanted in this long holds.
    pub hold: Span,
    /// Which models may forecast.
    pub model: ForecastModel,
    /// The length of a season; absent: looked for.
    pub season: Option<Span>,
}

impl Default for PredictiveConfig {
    fn default() -> Self {
        PredictiveConfig {
            quantile: 0.9,
            violation: 0.01,
            headroom: 1.0,
            spare: 0,
            drain: Span::secs(15),
            hold: Span::secs(60),
            model: ForecastModel::Best,
            season: None,
        }
    }
}

/// Which models may forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ForecastModel {
    /// The best of all by back-test.
    Best,
    /// The last value.
    Persistence,
    /// The highest of the last values.
    Maximum,
    /// A damped trend.
    Holt,
    /// A trend and a season; a damped trend until a season is known.
    HoltWinters,
}

impl ForecastModel {
    /// All.
    pub const ALL: [ForecastModel; 5] = [
        ForecastModel::Best,
        ForecastModel::Persistence,
        ForecastModel::Maximum,
        ForecastModel::Holt,
        ForecastModel::HoltWinters,
    ];

    fn models(self) -> Models {
        match self {
            ForecastModel::Best => Models::ALL,
            ForecastModel::Persistence => Models { persistence: true, ..Models::NONE },
            ForecastModel::Maximum => Models { maximum: true, ..Models::NONE },
            ForecastModel::Holt => Models { holt: true, ..Models::NONE },
            ForecastModel::HoltWinters => Models { holt: true, holt_winters: true, ..Models::NONE },
        }
    }
}

impl PredictiveConfig {
    /// What is wrong, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if !(0.0..1.0).contains(&self.quantile) {
            return Some(("quantile", self.quantile.to_string(), "at least 0 and below 1"));
        }
        if !(0.0..1.0).contains(&self.violation) {
            return Some(("violation", self.violation.to_string(), "at least 0 and below 1"));
        }
        if !(self.headroom.is_finite() && self.headroom > 0.0) {
            return Some(("headroom", self.headroom.to_string(), "a number above 0"));
        }
        if self.drain == Span::default() {
            return Some(("drain", "0s".into(), "a length of time above 0"));
        }
        None
    }
}

/// Scales the primary pool; another stays at its initial number.
#[derive(Debug)]
pub struct Predictive {
    name: String,
    config: PredictiveConfig,
    pool: usize,
    capacity: Arc<Capacity>,
    max_batch: f64,
    waits_at_zero: bool,
    forecaster: Forecaster,
    /// (when, pods wanted), the recent ones.
    wanted: VecDeque<(SimTime, u32)>,
    /// Requests that had passed through the activator at the last look.
    activated: u64,
    last: SimTime,
}

impl Predictive {
    /// The autoscaler of `config` for runs of `prepared`.
    pub fn new(prepared: &Prepared, config: &PredictiveConfig, name: String) -> Result<Self, AutoscalerError> {
        let pool = prepared.primary_pool();
        let step_s = prepared.scenario.control.interval.as_secs_f64();
        // A late pod is worse than an early one: the cold start that nine of ten do not exceed.
        let ahead_s = prepared.cold_start_s(pool, 0.9) + step_s;
        let horizon = (ahead_s / step_s).ceil().max(1.0) as usize;
        let season = match config.season {
            Some(season) => Season::Steps((season.as_secs_f64() / step_s).round() as usize),
            None => Season::Detect { max_steps: 1_024 },
        };
        let forecaster = Forecaster::new(ForecastConfig {
            capacity: 4_096,
            horizon_from: 1,
            horizon_to: horizon,
            season,
            loss: if config.quantile > 0.0 { Loss::Pinball(config.quantile) } else { Loss::Absolute },
            models: config.model.models(),
            ..ForecastConfig::default()
        });
        Ok(Predictive {
            name,
            config: *config,
            pool,
            capacity: prepared.capacity(pool)?,
            max_batch: prepared.pools[pool].spec.batcher.max_batch() as f64,
            waits_at_zero: prepared.scenario.service.activator.is_some(),
            forecaster,
            wanted: VecDeque::new(),
            activated: 0,
            last: SimTime::ZERO,
        })
    }

    /// Pods wanted now, and why; `None` before there is any forecast.
    fn want(&mut self, view: &View<'_>) -> Option<(u32, String)> {
        let counts = view.pools[self.pool].counts;
        let limits = view.pools[self.pool].limits;
        let elapsed_s = view.now.since(self.last).as_secs_f64();
        self.last = view.now;
        let activator = view.window.activator(view.now).map(|(_, sample)| sample);
        // Requests behind the activator reach no pod that could count them; once passed on, they do.
        let waiting = activator.map_or(0.0, |a| a.waiting as f64);
        let held = activator.map_or(0, |a| a.arrived);
        let held_since = held.saturating_sub(std::mem::replace(&mut self.activated, held));
        let (sum, scraped) = view.window.latest_rate(Some(self.pool), Counter::Requests, view.now, 2 * view.range);
        match (scraped, counts.ready) {
            (0, 0) if activator.is_some() && elapsed_s > 0.0 => {
                self.forecaster.observe(held_since as f64 / elapsed_s);
            }
            (0, _) => self.forecaster.skip(),
            _ => self.forecaster.observe(sum),
        }
        let forecast = self.forecaster.forecast(self.config.quantile)?;
        let rate = if self.config.quantile > 0.0 { forecast.quantile } else { forecast.value.max(0.0) };
        let queued = view.window.sum(Some(self.pool), Gauge::Queued, view.now).unwrap_or(0.0);
        let backlog = waiting + (queued - self.max_batch * f64::from(counts.ready)).max(0.0);
        let demand = self.config.headroom * rate + backlog / self.config.drain.as_secs_f64();
        let mut pods = self.capacity.pods_for(demand, self.config.violation, limits.max_replicas);
        if waiting > 0.0 {
            pods = pods.max(1);
        }
        if pods > 0 {
            pods = pods.saturating_add(self.config.spare);
        }
        // Without an activator, nobody would be there to ask from zero.
        let least = if self.waits_at_zero { limits.min_replicas } else { limits.min_replicas.max(1) };
        let pods = pods.clamp(least, limits.max_replicas.max(least));
        let reason = format!(
            "{rate:.0} requests/s by {} ({} quantile), {backlog:.0} waiting",
            forecast.model, self.config.quantile
        );
        Some((pods, reason))
    }
}

impl Autoscaler for Predictive {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let hold = |reason: &str| Verdict::Hold { reason: reason.to_owned() };
        let wanted = self.want(view);
        let current = view.pools[self.pool].counts.desired;
        let own = match wanted {
            None => hold("no data to forecast from"),
            Some((pods, reason)) => {
                let oldest = view.now.saturating_sub(self.config.hold.0);
                self.wanted.retain(|&(at, _)| at > oldest);
                self.wanted.push_back((view.now, pods));
                let highest = self.wanted.iter().map(|&(_, n)| n).max().unwrap_or(pods);
                // Never turns a decrease into an increase.
                match pods.max(highest.min(current)) {
                    pods if pods == current => Verdict::Hold { reason },
                    replicas => Verdict::Scale { replicas, reason },
                }
            }
        };
        let mut own = Some(own);
        let pools = (0..view.pools.len()).map(|pool| match own.take_if(|_| pool == self.pool) {
            Some(verdict) => verdict,
            None => hold("not the pool it forecasts for"),
        });
        Decision { pools: pools.collect(), placement: None }
    }
}
