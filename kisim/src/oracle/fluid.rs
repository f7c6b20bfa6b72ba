//! Requests as a fluid: how a backlog grows and drains, and what of it is late. A rough model, for first plans.

use crate::autoscaler::AutoscalerError;
use crate::objective::Objective;
use crate::prepared::Prepared;
use crate::steps::cost_at_maximum;

/// A share of violations at which pods are said to be at their capacity.
const AT_CAPACITY: f64 = 0.01;

/// The weights of the objective, in the units of a plan: what is added to the objective of the whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Per request that breaks the objective.
    pub violation: f64,
    /// Per replica of the pool for a second.
    pub replica_second: f64,
    /// Per replica added or removed.
    pub churn: f64,
}

impl Weights {
    /// The weights of `prepared`'s objective for pool number `pool`, over a run with `requests` requests. The published
    /// reward has no such form; for it, those of the default objective, as a start.
    pub fn new(prepared: &Prepared, pool: usize, requests: f64) -> Weights {
        let Objective::Slo { violation_weight, cost_weight, churn_weight } = prepared.scenario.objective else {
            let mut plain = prepared.clone();
            plain.scenario.objective = Objective::default();
            return Weights::new(&plain, pool, requests);
        };
        let seconds = (prepared.seconds() - prepared.scenario.warm_up.as_secs_f64()).max(1e-9);
        let steps = (seconds / prepared.scenario.control.interval.as_secs_f64()).max(1.0);
        let most: u32 = prepared.pools.iter().map(|p| p.config.limits.max_replicas).sum();
        let price = prepared.pools[pool].price_per_hour / 3600.0;
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Weights {
            violation: ratio(violation_weight, requests),
            replica_second: cost_weight * ratio(price, cost_at_maximum(prepared) * seconds),
            churn: ratio(churn_weight, f64::from(most) * steps),
        }
    }
}

/// A pool as a pipe that is as wide as its pods: so many requests a second pass, the rest waits, and what waits longer
/// than the objective leaves room for is late. It knows neither batches nor chance; [`Hindsight`](super::Hindsight) and
/// [`Foresight`](super::Foresight) take their first plans from it, and whoever learns from the future may.
///
/// ```
/// use kisim::oracle::Fluid;
/// use kisim::prepared::Prepared;
/// let prepared = Prepared::new(kisim::scenario::Scenario::builtin()?)?;
/// let fluid = Fluid::new(&prepared, prepared.primary_pool())?;
/// // One pod meets twice what it takes: half of that remains after a second.
/// let (backlog, late) = fluid.step(0.0, 2.0 * fluid.rate(1), 1, 1.0);
/// assert!((backlog - fluid.rate(1)).abs() < 1e-6 && late < 2.0 * fluid.rate(1));
/// // One that nobody needs leaves nothing behind.
/// assert_eq!(fluid.step(0.0, fluid.rate(fluid.most()), fluid.most(), 1.0), (0.0, 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fluid {
    /// Requests a second that so many pods take.
    rates: Vec<f64>,
    /// Longest wait that does not break the objective, seconds.
    slack_s: f64,
    /// Clients' patience, seconds.
    patience_s: f64,
    /// Requests a pod's queue holds.
    queue_limit: f64,
    /// Whether requests wait where there is no pod.
    waits_at_zero: bool,
}

impl Fluid {
    /// The fluid model of pool number `pool`.
    pub fn new(prepared: &Prepared, pool: usize) -> Result<Fluid, AutoscalerError> {
        let capacity = prepared.capacity(pool)?;
        let own = &prepared.pools[pool];
        let most = own.config.limits.max_replicas;
        let slo_s = prepared.scenario.slo.latency.as_secs_f64();
        let overhead_s = own.spec.overhead_ns as f64 * 1e-9;
        let batches = 1..own.spec.service_ns.len();
        // A request waits for the running batch, then for its own.
        let latency = |batch: usize| overhead_s + 2.0 * own.spec.service_ns[batch] * 1e-9;
        let served_s = batches.map(latency).take_while(|&s| s <= slo_s).last().unwrap_or(slo_s);
        let span = |ns: u64| if ns == u64::MAX { f64::INFINITY } else { ns as f64 * 1e-9 };
        Ok(Fluid {
            rates: (0..=most).map(|n| capacity.max_rate(n, AT_CAPACITY)).collect(),
            slack_s: (slo_s - served_s).max(0.1 * slo_s),
            patience_s: span(own.spec.queue_deadline),
            queue_limit: if own.spec.queue_limit == usize::MAX { f64::INFINITY } else { own.spec.queue_limit as f64 },
            waits_at_zero: prepared.scenario.service.activator.is_some(),
        })
    }

    /// A pipe through which `rates[n]` requests a second pass with `n` pods, in time if they wait no longer than `slack_s`
    /// seconds; clients have all the patience there is, and queues all the room.
    ///
    /// # Panics
    /// Without any rate.
    pub fn of(rates: Vec<f64>, slack_s: f64) -> Fluid {
        assert!(!rates.is_empty(), "rates: found none, expected one for each number of pods from 0");
        Fluid { rates, slack_s, patience_s: f64::INFINITY, queue_limit: f64::INFINITY, waits_at_zero: false }
    }

    /// The most pods it knows of: the pool's limit.
    pub fn most(&self) -> u32 {
        self.rates.len() as u32 - 1
    }

    /// The rate that `pods` take with hardly a violation, requests a second; that of the most for more than it knows of.
    pub fn rate(&self, pods: u32) -> f64 {
        self.rates[(pods as usize).min(self.rates.len() - 1)]
    }

    /// `arrivals` requests, evenly in `seconds`, meet a backlog and `pods` pods: the backlog after, and how many of them
    /// break the objective. First come, first served: whoever finds more waiting than passes within the slack is late, and
    /// so is everybody for as long as such a backlog lasts.
    #[inline]
    pub fn step(&self, backlog: f64, arrivals: f64, pods: u32, seconds: f64) -> (f64, f64) {
        if pods == 0 && !self.waits_at_zero {
            return (0.0, backlog + arrivals);
        }
        let rate = self.rate(pods);
        let in_time = rate * self.slack_s;
        let after = backlog + arrivals - rate * seconds;
        // Beyond it clients lose patience, or queues are full.
        let most = match pods {
            0 => f64::INFINITY,
            _ => (rate * self.patience_s).min(self.queue_limit * f64::from(pods)),
        };
        let held = after.clamp(0.0, most);
        let late = if backlog.max(after) <= in_time {
            0.0
        } else if most <= in_time {
            // Whoever gets in is in time.
            (after - held).clamp(0.0, arrivals)
        } else {
            // The share of the time in which a backlog that moves evenly from one to the other is beyond what is in time.
            let (low, high) = (backlog.min(after), backlog.max(after));
            arrivals * if low >= in_time { 1.0 } else { (high - in_time) / (high - low) }
        };
        (held, late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fluid(waits_at_zero: bool) -> Fluid {
        Fluid {
            rates: vec![0.0, 10.0, 20.0],
            slack_s: 0.5,
            patience_s: f64::INFINITY,
            queue_limit: f64::INFINITY,
            waits_at_zero,
        }
    }

    #[test]
    fn a_backlog_grows_with_what_is_too_much_and_is_late_beyond_the_slack() {
        // 10 of 20 remain; who comes in the second half finds more than the five waiting that pass within the slack.
        assert_eq!(fluid(false).step(0.0, 20.0, 1, 1.0), (10.0, 10.0));
        // As many come as pass, and all of them wait a second behind those who were there before.
        assert_eq!(fluid(false).step(10.0, 10.0, 1, 1.0), (10.0, 10.0));
        // From 10 to 2: above five for five eighths of the time.
        assert_eq!(fluid(false).step(10.0, 2.0, 1, 1.0), (2.0, 1.25));
        // Two pods pass that many within the slack.
        assert_eq!(fluid(false).step(10.0, 4.0, 2, 1.0), (0.0, 0.0));
        // A queue so short that whoever gets in is in time: late are those who do not.
        let short = Fluid { queue_limit: 3.0, ..fluid(false) };
        assert_eq!(short.step(0.0, 20.0, 1, 1.0), (3.0, 7.0));
        assert_eq!(fluid(false).step(10.0, 0.0, 1, 1.0), (0.0, 0.0));
        assert_eq!(fluid(false).step(0.0, 20.0, 2, 1.0), (0.0, 0.0));
    }

    #[test]
    fn without_pods_requests_fail_or_wait() {
        assert_eq!(fluid(false).step(3.0, 20.0, 0, 1.0), (0.0, 23.0));
        assert_eq!(fluid(true).step(3.0, 20.0, 0, 1.0), (23.0, 20.0));
    }
}
