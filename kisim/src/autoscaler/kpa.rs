//! Knative's autoscaler for each pool, with a metrics pipeline of its own: queue-proxies and activators report every
//! second, past Prometheus.

use std::time::Duration;

use super::config::KpaConfig;
use super::error::AutoscalerError;
use crate::config::ConfigError;
use crate::control::{Autoscaler, Decision, Pipeline, Verdict, View};
use crate::kpa::{Kpa, KpaMetric, KpaSpec};
use crate::prepared::Prepared;
use crate::time::SimTime;
use crate::window::Counter;

const SECOND: Duration = Duration::from_secs(1);

/// One revision a pool.
#[derive(Debug)]
pub struct KpaAutoscaler {
    name: String,
    pools: Vec<PoolKpa>,
    /// The pool whose requests the activator holds.
    primary: usize,
    /// The activator's totals at the last look: (time in it, requests).
    activator: (u64, u64),
}

#[derive(Debug)]
struct PoolKpa {
    kpa: Kpa,
    next_tick: SimTime,
}

impl KpaAutoscaler {
    /// The revisions that `config` makes of the pools of `prepared`.
    pub fn new(prepared: &Prepared, config: &KpaConfig, name: String) -> Result<Self, AutoscalerError> {
        let scenario = &prepared.scenario;
        let mut pools = Vec::new();
        for (number, (pool_name, pool)) in scenario.pools.iter().enumerate() {
            let mut spec = match config.manifests.get(pool_name) {
                Some(manifest) => {
                    let (text, file) = manifest.read(&scenario.base)?;
                    KpaSpec::from_yaml(&text, &file)?
                }
                None => KpaSpec {
                    // Knative's default, 100, knows nothing of batches.
                    target: config.target.unwrap_or(prepared.pools[number].spec.batcher.max_batch() as f64),
                    min_scale: pool.limits.min_replicas,
                    max_scale: pool.limits.max_replicas,
                    ..KpaSpec::default()
                },
            };
            spec.target /= config.headroom;
            // Limits come last anyway; within them, requests at zero wait in the activator or nowhere.
            spec.min_scale = spec.min_scale.max(pool.limits.min_replicas);
            if spec.min_scale == 0 && spec.enable_scale_to_zero && scenario.service.activator.is_none() {
                return Err(AutoscalerError::Config(ConfigError::Field {
                    origin: scenario.origin.clone(),
                    field: "service.activator".into(),
                    found: format!("none, and kpa may scale pool {pool_name} to zero"),
                    expected: "an activator, or min_replicas of at least 1".into(),
                }));
            }
            let initial = pool.initial_replicas;
            let kpa = match initial {
                0 => Kpa::new(spec),
                ready => Kpa::restarted(spec, SimTime::ZERO, ready),
            };
            pools.push(PoolKpa { kpa, next_tick: SimTime::ZERO });
        }
        Ok(KpaAutoscaler { name, pools, primary: prepared.primary_pool(), activator: (0, 0) })
    }
}

impl Autoscaler for KpaAutoscaler {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn interval(&self) -> Option<Duration> {
        Some(SECOND)
    }

    fn pipeline(&self) -> Option<Pipeline> {
        Some(Pipeline { scrape_interval: SECOND, lag: Duration::ZERO })
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let sample = view.window.activator();
        let totals = sample.map_or(self.activator, |s| (s.held_ns, s.arrived));
        let held = (totals.0 - self.activator.0) as f64 * 1e-9;
        let arrived = (totals.1 - self.activator.1) as f64;
        self.activator = totals;
        let mut pools = Vec::with_capacity(self.pools.len());
        for (number, pool) in self.pools.iter_mut().enumerate() {
            let counts = view.pools[number].counts;
            let (counter, waiting) = match pool.kpa.spec().metric {
                KpaMetric::Concurrency => (Counter::InFlightSeconds, held),
                KpaMetric::Rps => (Counter::Requests, arrived),
            };
            let waiting = if number == self.primary { waiting } else { 0.0 };
            let (sum, scraped) = view.window.latest_rate(Some(number), counter, view.now, 2 * SECOND);
            // As upstream's scraper: the mean of the pods that answered, times those that are ready.
            let of_pods = match scraped {
                0 => None,
                _ => Some(sum / scraped as f64 * f64::from(counts.ready.max(scraped as u32))),
            };
            if of_pods.is_some() || (sample.is_some() && number == self.primary) {
                pool.kpa.record(view.now, of_pods.unwrap_or(0.0) + waiting);
            }
            if view.now < pool.next_tick {
                pools.push(Verdict::Hold { reason: "between ticks".to_owned() });
                continue;
            }
            pool.next_tick = view.now + pool.kpa.spec().tick;
            let decision = pool.kpa.reconcile(view.now, counts.desired, counts.ready);
            let reason = decision.reason.to_string();
            pools.push(match decision.desired == counts.desired {
                true => Verdict::Hold { reason },
                false => Verdict::Scale { replicas: decision.desired, reason },
            });
        }
        Decision { pools, placement: None }
    }
}
