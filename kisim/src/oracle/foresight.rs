//! Somebody who knows the arrivals of the next seconds, and nothing beyond.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::autoscaler::AutoscalerError;
use crate::config::Span;
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::prepared::Prepared;

use super::fluid::{Fluid, Weights};
use super::record::ArrivalRecord;

/// Width of the bins in which the future is looked at.
const BIN_NS: u64 = 1_000_000_000;

/// Factor on what it sees, for what a fluid leaves out: batches that just missed a request, pods that share unevenly.
const MARGIN: f64 = 1.1;

/// How far Foresight sees, and what it makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForesightConfig {
    /// How far it sees; absent: one cold start (which 19 of 20 pods do not exceed) and one control interval, so that it
    /// knows what the pods it asks for now will meet until those it asks for next are there.
    pub horizon: Option<Span>,
    /// Factor on what a late request counts: how much to spend on being in time.
    pub headroom: f64,
}

impl Default for ForesightConfig {
    fn default() -> Self {
        ForesightConfig { horizon: None, headroom: 1.0 }
    }
}

/// The only sight of the future there is while a run goes on: a record, and how far one may look.
#[derive(Clone, Debug)]
struct Glimpse {
    record: ArrivalRecord,
    horizon_ns: u64,
}

impl Glimpse {
    /// Arrivals in bins of [`BIN_NS`] from `from` to as far as one may see at `now`.
    fn ahead(&self, from: u64, now: u64, bins: &mut Vec<f64>) {
        let end = now.saturating_add(self.horizon_ns);
        self.record.bins_into(from, BIN_NS, (end.saturating_sub(from) / BIN_NS) as usize, bins);
    }

    /// Arrivals before `now`.
    fn so_far(&self, now: u64) -> f64 {
        self.record.times().partition_point(|&t| t < now) as f64
    }
}

/// Asks, at each step, for the number of pods of the primary pool with the lowest cost over what it sees: the price of
/// the pods and of starting them, and of the requests they would be late with. The other pool stays as it is.
#[derive(Debug)]
pub struct Foresight {
    name: String,
    glimpse: Glimpse,
    prepared: Arc<Prepared>,
    pool: usize,
    fluid: Fluid,
    headroom: f64,
    lead_s: f64,
    /// Requests it believes wait, up to when.
    backlog: f64,
    known_until: u64,
    ready: u32,
    bins: Vec<f64>,
}

impl Foresight {
    /// Foresight of the run of `prepared` whose arrivals are `record`.
    pub fn new(
        prepared: &Arc<Prepared>,
        record: &ArrivalRecord,
        config: &ForesightConfig,
    ) -> Result<Self, AutoscalerError> {
        let pool = prepared.primary_pool();
        let lead_s = prepared.cold_start_s(pool, 0.95);
        let natural = lead_s + prepared.scenario.control.interval.as_secs_f64();
        let horizon_s = config.horizon.map_or(natural, |h| h.as_secs_f64());
        Ok(Foresight {
            name: config.name(),
            glimpse: Glimpse { record: record.clone(), horizon_ns: crate::time::nanos_from_secs(horizon_s) },
            prepared: Arc::clone(prepared),
            pool,
            fluid: Fluid::new(prepared, pool)?,
            headroom: config.headroom,
            lead_s,
            backlog: 0.0,
            known_until: 0,
            ready: prepared.pools[pool].config.initial_replicas,
            bins: Vec::new(),
        })
    }

    /// Brings the backlog it believes in up to `now`: it knows what arrived and how many pods there were.
    fn catch_up(&mut self, now: u64, ready: u32) {
        let width = now.saturating_sub(self.known_until);
        if width > 0 {
            // In whole bins, of about a second.
            let count = width.div_ceil(BIN_NS);
            let bin = width / count;
            self.glimpse.record.bins_into(self.known_until, bin, count as usize, &mut self.bins);
            for &count in &self.bins {
                self.backlog = self.fluid.step(self.backlog, count, self.ready, bin as f64 * 1e-9).0;
            }
        }
        (self.known_until, self.ready) = (now, ready);
    }

    /// What it costs to have `pods` from now on (from a cold start from now on, where that is more than there are), and how
    /// many requests are late.
    fn cost(&self, pods: u32, alive: u32, ready: u32, weights: &Weights) -> (f64, f64) {
        let bin_s = BIN_NS as f64 * 1e-9;
        let (mut held, mut late) = (self.backlog, 0.0);
        for (bin, &count) in self.bins.iter().enumerate() {
            let at_s = bin as f64 * bin_s;
            // Those on their way are ready half a cold start from now, on average; those asked for now, a whole one.
            let there = if at_s >= self.lead_s {
                pods
            } else if at_s >= 0.5 * self.lead_s {
                pods.min(alive)
            } else {
                pods.min(ready)
            };
            let (next, missed) = self.fluid.step(held, count * MARGIN, there, bin_s);
            held = next;
            late += missed;
        }
        // What is left over is late as well, or there would be nothing to lose once it is too late for all that is seen.
        late += held;
        let kept_s = (self.bins.len() as f64 * bin_s - self.lead_s).max(bin_s);
        let kept = weights.replica_second * kept_s * f64::from(pods);
        let started = weights.replica_second * self.lead_s * f64::from(pods.saturating_sub(alive));
        let churn = weights.churn * f64::from(pods.abs_diff(alive));
        (self.headroom * weights.violation * late + kept + started + churn, late)
    }
}

impl Autoscaler for Foresight {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let hold = |reason: &str| Verdict::Hold { reason: reason.to_owned() };
        let now = view.now.as_nanos();
        let counts = view.pools[self.pool].counts;
        self.catch_up(now, counts.ready);
        let mut bins = std::mem::take(&mut self.bins);
        self.glimpse.ahead(now, now, &mut bins);
        let seen: f64 = bins.iter().sum();
        let seen_s = bins.len();
        // What comes after it does not know. That it goes on like the last it sees, for another cold start, is what makes
        // starting a pod worth its price.
        let last = (self.prepared.scenario.control.interval.as_secs_f64().ceil() as usize).clamp(1, seen_s.max(1));
        let level = bins.iter().rev().take(last).sum::<f64>() / last as f64;
        bins.extend(std::iter::repeat_n(level, self.lead_s.ceil() as usize));
        self.bins = bins;
        // How many requests there will be in all it cannot know; it goes by the mean rate so far and as far as it sees.
        let known_s = view.now.as_secs_f64() + seen_s as f64;
        let requests = (self.glimpse.so_far(now) + seen) / known_s.max(1.0) * self.prepared.seconds();
        let weights = Weights::new(&self.prepared, self.pool, requests.max(1.0));
        let limits = view.pools[self.pool].limits;
        let alive = counts.desired;
        let mut best: Option<(f64, u32)> = None;
        for pods in limits.min_replicas..=limits.max_replicas.min(self.fluid.most()) {
            let (cost, late) = self.cost(pods, alive, counts.ready, &weights);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, pods));
            }
            // Where nobody is late, more pods only cost more.
            if late == 0.0 && pods >= alive {
                break;
            }
        }
        let pools = (0..view.pools.len())
            .map(|pool| match best {
                Some((_, replicas)) if pool == self.pool && replicas != alive => {
                    Verdict::Scale { replicas, reason: format!("{seen:.0} requests in the next {seen_s} s") }
                }
                Some(_) if pool == self.pool => hold("the best number for what is to come"),
                _ => hold("not the pool it plans for"),
            })
            .collect();
        Decision { pools, placement: None }
    }
}

impl ForesightConfig {
    /// Its name in reports.
    pub fn name(&self) -> String {
        match self.horizon {
            Some(horizon) => format!("foresight:{horizon}"),
            None => "foresight".to_owned(),
        }
    }
}
