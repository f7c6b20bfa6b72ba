//! What a policy knows of the service it scales beyond metrics: what a calibrated profile and a load test tell.

use std::sync::Arc;

use kisim::autoscaler::AutoscalerError;
use kisim::objective::Objective;
use kisim::oracle::Fluid;
use kisim::prepared::Prepared;
use kisim::profile::Hardware;
use kisim::steps::cost_at_maximum;

/// Share of violations at which pods are said to be at their capacity.
const AT_CAPACITY: f64 = 0.01;

/// Shares of late requests at which the measured curve is looked up.
pub const SHARES: [f64; 6] = [0.002, AT_CAPACITY, 0.03, 0.1, 0.25, 0.5];

/// What it costs to be late, to have pods, and to change their number: the weights of [`Objective::Slo`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preference {
    /// Weight of the share of requests that break the objective.
    pub violation: f64,
    /// Weight of the cost as a share of the cost at maximum.
    pub cost: f64,
    /// Weight of churn as a share of the maximum.
    pub churn: f64,
}

impl Preference {
    /// The scenario's; the default one under the published reward, which has no such weights.
    pub fn of(objective: &Objective) -> Preference {
        match objective {
            Objective::Slo { violation_weight, cost_weight, churn_weight } => {
                Preference { violation: *violation_weight, cost: *cost_weight, churn: *churn_weight }
            }
            Objective::Paper { .. } => Preference::of(&Objective::default()),
        }
    }
}

/// The service, in the units that features are made of.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The pool that is scaled.
    pub pool: usize,
    /// A pool of CPU pods beside it.
    pub bridge: Option<usize>,
    /// Requests a second that saturate a pod.
    pub saturation: f64,
    /// Load that so many pods take with at most 1 % late, in saturated pods; by number of pods, ascending.
    pub takes: Arc<[f64]>,
    /// Loads at which so many pods are late with each of [`SHARES`], in saturated pods; by number of pods, ascending.
    pub late_at: Arc<[[f64; SHARES.len()]]>,
    /// How a backlog grows and drains.
    pub fluid: Fluid,
    /// From asking for a pod to its first request, seconds: what half of the pods do not exceed.
    pub cold_start_s: f64,
    /// The same that nine of ten do not exceed.
    pub slow_start_s: f64,
    /// Time between decisions, seconds.
    pub step_s: f64,
    /// From the middle of what the newest load is of to the middle of a step, when decisions are made: how old news is,
    /// seconds.
    pub news_s: f64,
    /// The objective's latency, seconds.
    pub objective_s: f64,
    /// The largest batch.
    pub max_batch: f64,
    /// The objective's latency over the time of a full batch.
    pub slack: f64,
    /// What all pools at their maximum cost, over what a pod costs.
    pub most: f64,
    /// What is wanted.
    pub preference: Preference,
}

impl Facts {
    /// The facts of `prepared`. Measures its capacity, if nobody has.
    pub fn of(prepared: &Prepared) -> Result<Facts, AutoscalerError> {
        let pool = prepared.primary_pool();
        let own = &prepared.pools[pool];
        let capacity = prepared.capacity(pool)?;
        let saturation = capacity.saturation();
        let mut takes: Vec<f64> = (0..=own.config.limits.max_replicas)
            .map(|pods| capacity.max_rate(pods, AT_CAPACITY) / saturation)
            .collect();
        // The curve is measured: noise must not make more pods take less.
        for pods in 1..takes.len() {
            takes[pods] = takes[pods].max(takes[pods - 1] + 1e-3);
        }
        let late_at = (0..=own.config.limits.max_replicas).map(|pods| {
            let mut loads = SHARES.map(|share| capacity.max_rate(pods, share) / saturation);
            for at in 1..loads.len() {
                loads[at] = loads[at].max(loads[at - 1] + 1e-6);
            }
            loads
        });
        let max_batch = own.spec.batcher.max_batch();
        let price = own.price_per_hour / 3600.0;
        let step_s = prepared.scenario.control.interval.as_secs_f64();
        let telemetry = &prepared.scenario.telemetry;
        // A rate is of the time between two scrapes, the newer of which is half such a time old on average, and its lag.
        let news_s = telemetry.lag.as_secs_f64() + telemetry.scrape_interval.as_secs_f64() - 0.5 * step_s;
        let most = cost_at_maximum(prepared);
        Ok(Facts {
            pool,
            bridge: prepared.pools.iter().enumerate().position(|(n, p)| n != pool && p.hardware == Hardware::Cpu),
            saturation,
            takes: takes.into(),
            late_at: late_at.collect(),
            fluid: Fluid::new(prepared, pool)?,
            cold_start_s: prepared.cold_start_s(pool, 0.5),
            slow_start_s: prepared.cold_start_s(pool, 0.9),
            step_s,
            news_s: news_s.max(0.0),
            objective_s: prepared.scenario.slo.latency.as_secs_f64(),
            max_batch: max_batch as f64,
            slack: prepared.scenario.slo.latency.as_secs_f64() / (own.spec.service_ns[max_batch] * 1e-9),
            most: if price > 0.0 { most / price } else { f64::from(own.config.limits.max_replicas) },
            preference: Preference::of(&prepared.scenario.objective),
        })
    }

    /// A service that nobody measured: up to `most` pods, each of which takes a request a second and is there a second after
    /// it was asked for, decided every second; one part of lateness is worth ten pods.
    pub fn plain(most: u32) -> Facts {
        let pods = || 0..=most;
        Facts {
            pool: 0,
            bridge: None,
            saturation: 1.0,
            takes: pods().map(f64::from).collect(),
            late_at: pods().map(|n| SHARES.map(|share| f64::from(n) * (1.0 + share))).collect(),
            fluid: Fluid::of(pods().map(f64::from).collect(), 0.1),
            cold_start_s: 1.0,
            slow_start_s: 1.0,
            step_s: 1.0,
            news_s: 0.0,
            objective_s: 1.0,
            max_batch: 1.0,
            slack: 1.0,
            most: f64::from(most),
            preference: Preference { violation: 10.0, cost: 1.0, churn: 0.1 },
        }
    }

    /// The load that `pods` pods take, in saturated pods.
    pub fn takes(&self, pods: u32) -> f64 {
        self.takes[(pods as usize).min(self.takes.len() - 1)]
    }

    /// The fewest pods that take `load`, at most the pool's maximum.
    pub fn pods_for(&self, load: f64) -> u32 {
        self.takes.partition_point(|&takes| takes < load).min(self.takes.len() - 1) as u32
    }

    /// The same, looked for from `near` on: faster for many loads that are about the same.
    pub fn pods_near(&self, load: f64, near: u32) -> u32 {
        let last = self.takes.len() - 1;
        let mut pods = (near as usize).min(last);
        while pods > 0 && self.takes[pods - 1] >= load {
            pods -= 1;
        }
        while pods < last && self.takes[pods] < load {
            pods += 1;
        }
        pods as u32
    }

    /// The share of requests that break the objective while `pods` pods meet `load` for long, by the measured curve.
    pub fn late_share(&self, pods: u32, load: f64) -> f64 {
        let loads = &self.late_at[(pods as usize).min(self.late_at.len() - 1)];
        let at = loads.partition_point(|&l| l < load);
        let (low, low_share) = match at.checked_sub(1) {
            Some(below) => (loads[below], SHARES[below]),
            // Half of the first load has none.
            None => (0.5 * loads[0], 0.0),
        };
        match loads.get(at) {
            Some(&high) if high > low => {
                low_share + (SHARES[at] - low_share) * ((load - low) / (high - low)).clamp(0.0, 1.0)
            }
            _ => low_share,
        }
    }

    /// Steps from the load that speaks for a pod to when half of such pods serve.
    pub fn lead_steps(&self) -> f64 {
        (self.cold_start_s + self.news_s) / self.step_s
    }

    /// Steps in a cold start.
    pub fn cold_start_steps(&self) -> f64 {
        self.cold_start_s / self.step_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_looked_up_by_load() {
        let facts = Facts::plain(4);
        // Two pods: 1 % late at a load of 2.02, a quarter at 2.5, and none at half of where it begins.
        assert!((facts.late_share(2, 2.02) - 0.01).abs() < 1e-9);
        assert!((facts.late_share(2, 2.5) - 0.25).abs() < 1e-9);
        assert_eq!(facts.late_share(2, 1.0), 0.0);
        // Beyond what was measured it is at least what was.
        assert_eq!(facts.late_share(2, 9.0), 0.5);
        let shares: Vec<f64> = (0..60).map(|tenth| facts.late_share(3, f64::from(tenth) * 0.1)).collect();
        assert!(shares.is_sorted(), "{shares:?}");
        assert_eq!((facts.pods_for(2.5), facts.pods_for(3.0), facts.pods_for(99.0)), (3, 3, 4));
        for (tenth, near) in (0..60).flat_map(|tenth| (0..7).map(move |near| (tenth, near))) {
            let load = f64::from(tenth) * 0.1;
            assert_eq!(facts.pods_near(load, near), facts.pods_for(load), "{load} from {near}");
        }
    }
}
