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
    /// The activator's totals as it last told them: (when, time in it, requests).
    activator: (SimTime, u64, u64),
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
        Ok(KpaAutoscaler { name, pools, primary: prepared.primary_pool(), activator: (SimTime::ZERO, 0, 0) })
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
        // Its mean concurrency and its rate since it last told; nothing where it has not told since.
        let (since, held_before, arrived_before) = self.activator;
        let told = view.window.activator(view.now).filter(|(at, _)| *at > since).map(|(at, sample)| {
            self.activator = (at, sample.held_ns, sample.arrived);
            let seconds = at.since(since).as_secs_f64();
            let held = (sample.held_ns - held_before) as f64 * 1e-9;
            (held / seconds, (sample.arrived - arrived_before) as f64 / seconds)
        });
        let mut pools = Vec::with_capacity(self.pools.len());
        for (number, pool) in self.pools.iter_mut().enumerate() {
            let counts = view.pools[number].counts;
            let (counter, waiting) = match pool.kpa.spec().metric {
                KpaMetric::Concurrency => (Counter::InFlightSeconds, told.map(|t| t.0)),
                KpaMetric::Rps => (Counter::Requests, told.map(|t| t.1)),
            };
            let waiting = waiting.filter(|_| number == self.primary);
            let (sum, scraped) = view.window.latest_rate(Some(number), counter, view.now, 2 * SECOND);
            // As upstream's scraper: the mean of the pods that answered, times those that are ready.
            let of_pods = match scraped {
                0 => None,
                _ => Some(sum / scraped as f64 * f64::from(counts.ready.max(scraped as u32))),
            };
            // An activator in which nobody waits says nothing about pods that did not answer.
            let of_pods = of_pods.or(waiting.filter(|&w| w > 0.0 || counts.ready == 0).map(|_| 0.0));
            if let Some(of_pods) = of_pods {
                pool.kpa.record(view.now, of_pods + waiting.unwrap_or(0.0));
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
