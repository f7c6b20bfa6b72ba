//! The arrivals of a run, known beforehand.

use std::sync::Arc;

use crate::prepared::Prepared;
use crate::run::{Keep, RunError, run_with, silent};
use crate::simulation::SimulationError;

use super::rollout::Timetable;

/// Every arrival of a run of a scenario with a seed.
///
/// Open traffic is what it is, whatever autoscalers do. Closed traffic depends on the answers its users get: for it, the
/// record is of a run with every pool at its maximum.
#[derive(Clone, Debug)]
pub struct ArrivalRecord {
    times: Arc<[u64]>,
    open: bool,
}

impl ArrivalRecord {
    /// The arrivals of a run of `prepared` with `seed`.
    pub fn of(prepared: &Arc<Prepared>, seed: u64) -> Result<ArrivalRecord, RunError> {
        let scenario = &prepared.scenario;
        let times = scenario.traffic.arrivals(&scenario.base, prepared.seconds(), seed);
        let times = times.map_err(|e| SimulationError::from(e.from_origin(&scenario.origin)))?;
        if let Some(times) = times {
            return Ok(ArrivalRecord { times: times.into(), open: true });
        }
        let mut plenty = Arc::clone(prepared);
        let inner = Arc::make_mut(&mut plenty);
        for pool in &mut inner.pools {
            pool.config.initial_replicas = pool.config.limits.max_replicas;
        }
        // How they are judged does not matter here.
        inner.scenario.objective = crate::objective::Objective::default();
        let keep = Keep { requests: true, ..Keep::default() };
        let result = run_with(&plenty, &mut Timetable::still(), seed, keep, &silent)?;
        let mut times: Vec<u64> = result.requests.iter().map(|r| r.sent).collect();
        times.sort_unstable();
        Ok(ArrivalRecord { times: times.into(), open: false })
    }

    /// The times, ascending, nanoseconds.
    pub fn times(&self) -> &[u64] {
        &self.times
    }

    /// The same, to replay instead of the traffic, where the traffic does not depend on the system.
    pub fn to_replay(&self) -> Option<Arc<[u64]>> {
        self.open.then(|| Arc::clone(&self.times))
    }

    /// Number of arrivals in each of `count` bins of `width` nanoseconds from `start` on.
    pub fn bins(&self, start: u64, width: u64, count: usize) -> Vec<f64> {
        let mut bins = Vec::with_capacity(count);
        self.bins_into(start, width, count, &mut bins);
        bins
    }

    /// [`ArrivalRecord::bins`] into `bins`.
    pub fn bins_into(&self, start: u64, width: u64, count: usize, bins: &mut Vec<f64>) {
        bins.clear();
        let mut from = self.times.partition_point(|&t| t < start);
        for bin in 1..=count as u64 {
            let end = start.saturating_add(bin.saturating_mul(width));
            // A bin is short beside the record: doubling steps find its end in cache.
            let mut reach = 1;
            while from + reach < self.times.len() && self.times[from + reach] < end {
                reach *= 2;
            }
            let near = &self.times[from..self.times.len().min(from + reach + 1)];
            let to = from + near.partition_point(|&t| t < end);
            bins.push((to - from) as f64);
            from = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bins_count_what_a_scan_counts(
            mut times in prop::collection::vec(0u64..1_000, 0..200), start in 0u64..1_100, width in 1u64..90, count in 0usize..20
        ) {
            times.sort_unstable();
            let record = ArrivalRecord { times: times.clone().into(), open: true };
            let scan = |bin: usize| {
                let from = start + bin as u64 * width;
                times.iter().filter(|&&t| t >= from && t < from + width).count() as f64
            };
            prop_assert_eq!(record.bins(start, width, count), (0..count).map(scan).collect::<Vec<_>>());
        }
    }
}
