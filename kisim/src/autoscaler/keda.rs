//! The ScaledObject of each pool, fed with scraped metrics.

use std::sync::Arc;
use std::time::Duration;

use super::config::{KedaConfig, Manifest};
use super::error::AutoscalerError;
use super::metrics::{
    HpaMetric, Source, answer, containers, cpu_values, offered, offered_counters, pod_statuses, source_of,
};
use super::template::{DirectionRules, KedaTemplate};
use crate::control::{Autoscaler, Decision, Verdict, View};
use crate::hpa::{Container, ControllerSettings, ResourceName, ResourceTarget};
use crate::keda::query::Query;
use crate::keda::{Keda, KedaInputs, KedaReason, ScaledObject, TriggerInput, TriggerKind};
use crate::prepared::Prepared;

/// One ScaledObject a pool.
#[derive(Debug)]
pub struct KedaAutoscaler {
    name: String,
    interval: Duration,
    pools: Vec<PoolKeda>,
}

#[derive(Debug)]
struct PoolKeda {
    keda: Keda,
    /// By trigger: what a query asks for; `None` where there is none.
    queries: Vec<Option<(Query, Source)>>,
    containers: Arc<[Container]>,
    cpu_milli: i64,
}

impl KedaAutoscaler {
    /// The ScaledObjects that `config` gives the pools of `prepared`.
    pub fn new(prepared: &Prepared, config: &KedaConfig, name: String) -> Result<Self, AutoscalerError> {
        let scenario = &prepared.scenario;
        let sync_period = scenario.control.interval.0;
        let settings = ControllerSettings { sync_period, ..ControllerSettings::default() };
        let mut pools = Vec::new();
        let mut interval = sync_period;
        for (number, (pool_name, pool)) in scenario.pools.iter().enumerate() {
            let (text, file) = match config.manifests.get(pool_name) {
                Some(manifest) => manifest.read(&scenario.base)?,
                None => {
                    let template = KedaTemplate {
                        metric: config.metric,
                        threshold: config.threshold.unwrap_or_else(|| usual_target(prepared, number, config.metric)),
                        polling_s: config.polling_interval.as_secs_f64().round().max(1.0) as u32,
                        cooldown_s: config.cooldown.as_secs_f64().round() as u32,
                        // Nothing wakes it from zero but what waits in the activator.
                        min: match scenario.service.activator {
                            Some(_) if config.metric != HpaMetric::Cpu => pool.limits.min_replicas,
                            _ => pool.limits.min_replicas.max(1),
                        },
                        max: pool.limits.max_replicas,
                        activator: scenario.service.activator.is_some() && number == prepared.primary_pool(),
                        up: DirectionRules::UP,
                        down: DirectionRules::DOWN,
                    };
                    (template.to_yaml(pool_name), Manifest::generated(pool_name))
                }
            };
            let mut object = ScaledObject::from_yaml(&text, &file)?;
            let queries = queries(&object, &file)?;
            give_headroom(&mut object, config.headroom);
            interval = common_step(interval, object.polling_interval);
            let (containers, cpu_milli) = containers(pool.cpus);
            pools.push(PoolKeda { keda: Keda::new(object, settings), queries, containers, cpu_milli });
        }
        Ok(KedaAutoscaler { name, interval, pools })
    }
}

/// What one would ask of a pod, in the unit of the metric: a batch executing and none waiting; 70 % of what saturates it.
pub(super) fn usual_target(prepared: &Prepared, pool: usize, metric: HpaMetric) -> f64 {
    let own = &prepared.pools[pool];
    let spec = &own.spec;
    let batch = spec.batcher.max_batch();
    let speed = own.setup.speed * spec.instances_gain();
    match metric {
        HpaMetric::Utilization | HpaMetric::Cpu => 70.0,
        HpaMetric::Queue | HpaMetric::InFlight => batch as f64,
        HpaMetric::RequestRate => 0.7 * batch as f64 / (spec.service_ns[batch] * 1e-9) * speed,
    }
}

/// The longest step, a second at least, of which both times are multiples.
fn common_step(a: Duration, b: Duration) -> Duration {
    let (mut a, mut b) = (a.as_millis().max(1), b.as_millis().max(1));
    while b > 0 {
        (a, b) = (b, a % b);
    }
    Duration::from_millis(a as u64).max(Duration::from_secs(1))
}

fn queries(object: &ScaledObject, file: &str) -> Result<Vec<Option<(Query, Source)>>, AutoscalerError> {
    let mut queries = Vec::new();
    for (number, trigger) in object.triggers.iter().enumerate() {
        let field = || format!("spec.triggers[{number}].metadata.query");
        queries.push(match &trigger.kind {
            TriggerKind::Prometheus(prometheus) => {
                let query = Query::parse(&prometheus.query).map_err(|error| AutoscalerError::Query {
                    file: file.to_owned(),
                    field: field(),
                    error,
                })?;
                let Some(source) = source_of(&query) else {
                    return Err(AutoscalerError::UnknownMetric {
                        file: file.to_owned(),
                        field: field(),
                        found: query.metric,
                        expected: if query.rate.is_some() { offered_counters() } else { offered() },
                    });
                };
                Some((query, source))
            }
            TriggerKind::Resource(resource) if resource.resource != ResourceName::Cpu => {
                return Err(AutoscalerError::UnknownMetric {
                    file: file.to_owned(),
                    field: format!("spec.triggers[{number}].type"),
                    found: resource.resource.to_string(),
                    expected: "cpu".to_owned(),
                });
            }
            TriggerKind::Resource(_) | TriggerKind::Cron(_) => None,
        });
    }
    Ok(queries)
}

/// Divides every threshold by `headroom`.
fn give_headroom(object: &mut ScaledObject, headroom: f64) {
    if headroom == 1.0 {
        return;
    }
    for trigger in &mut object.triggers {
        match &mut trigger.kind {
            TriggerKind::Prometheus(prometheus) => prometheus.threshold /= headroom,
            TriggerKind::Resource(resource) => match &mut resource.target {
                ResourceTarget::Utilization(percent) => {
                    *percent = ((f64::from(*percent) / headroom).round() as i32).max(1);
                }
                ResourceTarget::AverageValue(milli) => *milli = ((*milli as f64 / headroom).round() as i64).max(1),
            },
            TriggerKind::Cron(_) => {}
        }
    }
    if let Some(modifiers) = &mut object.modifiers {
        modifiers.target /= headroom;
    }
}

impl PoolKeda {
    fn decide(&mut self, view: &View<'_>, pool: usize) -> Verdict {
        let pods = pod_statuses(view, pool, &self.containers);
        let kinds = self.keda.object().triggers.iter().map(|t| &t.kind);
        let triggers: Vec<TriggerInput> = kinds
            .zip(&self.queries)
            .map(|(kind, query)| match (kind, query) {
                (TriggerKind::Prometheus(_), Some((query, source))) => match answer(query, *source, view, pool) {
                    Ok(Some(value)) => TriggerInput::Value(value),
                    Ok(None) => TriggerInput::Empty,
                    Err(several) => TriggerInput::Failed(format!("query {} returned {several} series", query.metric)),
                },
                (TriggerKind::Resource(_), _) => TriggerInput::Pods(cpu_values(view, pool, self.cpu_milli)),
                _ => TriggerInput::Clock,
            })
            .collect();
        let counts = view.pools[pool].counts;
        let inputs = KedaInputs {
            spec_replicas: counts.desired as i32,
            status_replicas: (counts.scheduled + counts.pending) as i32,
            pods: &pods,
            triggers: &triggers,
        };
        let decision = self.keda.tick(view.now, &inputs);
        let reason = match (&decision.reason, &decision.hpa) {
            // The HPA's own words where it could not decide.
            (KedaReason::HpaNoChange, Some(hpa)) => format!("HPA: {}", super::hpa::held(hpa)),
            (reason, _) => reason.to_string(),
        };
        if decision.desired == decision.current {
            return Verdict::Hold { reason };
        }
        Verdict::Scale { replicas: decision.desired.max(0) as u32, reason }
    }
}

impl Autoscaler for KedaAutoscaler {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    fn history(&self) -> Duration {
        let queries = self.pools.iter().flat_map(|pool| pool.queries.iter().flatten());
        queries.filter_map(|(query, _)| query.rate).max().unwrap_or_default()
    }

    fn decide(&mut self, view: &View<'_>) -> Decision {
        let pools = self.pools.iter_mut().enumerate().map(|(number, keda)| keda.decide(view, number)).collect();
        Decision { pools, placement: None }
    }
}
