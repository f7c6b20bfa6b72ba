//! The scenario that a spec means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kisim::autoscaler::AutoscalerConfig;
use kisim::cluster::{NodeGroup, Readiness, Shutdown, Startup};
use kisim::config::Span;
use kisim::control::Limits;
use kisim::distribution::TimeDistribution;
use kisim::objective::Objective;
use kisim::profile::{BUILTIN, Hardware, Profile};
use kisim::scenario::{BatcherConfig, Client, ClusterConfig, Control, Pool, Scenario, Service, Slo};
use kisim::sharing::Sharing;
use kisim::telemetry::TelemetryConfig;
use kisim::traffic::{Process, Shape, Traffic};

use super::PlanError;
use crate::api::{ColdStart, KIScaler, PoolSpec};

/// Texts of profiles that are not built in, by pool.
pub type ProfileTexts = BTreeMap<&'static str, String>;

/// Deviations of a normal distribution that nine of ten draws do not exceed.
const NINE_OF_TEN: f64 = 1.281_551_565_544_6;

/// The scenario that `scaler` means. `current` are the replicas of each pool now, by name.
///
/// # Errors
/// A field says what cannot be.
pub fn scenario(
    scaler: &KIScaler,
    profiles: &ProfileTexts,
    current: &BTreeMap<&'static str, u32>,
) -> Result<Scenario, PlanError> {
    let spec = &scaler.spec;
    let mut pools = BTreeMap::new();
    let mut most = 0;
    for (name, pool) in spec.pools.by_name() {
        let profile = profile(name, pool, profiles)?;
        most += pool.max_replicas;
        pools.insert(name.to_owned(), prepare(pool, profile, current.get(name).copied()));
    }
    let mut telemetry = TelemetryConfig {
        scrape_interval: spec.interval.span(),
        window: spec.metrics.window.span().max(spec.interval.span()),
        ..TelemetryConfig::default()
    };
    if let Some(bounds) = &spec.metrics.latency_buckets {
        telemetry.latency_buckets = bounds.iter().map(|bound| bound.span()).collect();
    }
    // Enough room for whatever the limits allow: whether a real node has it, the cluster says.
    let nodes = vec![NodeGroup {
        name: "any".to_owned(),
        count: most,
        cpus: pools.values().map(|pool| pool.cpus).fold(1.0, f64::max),
        gpus: 1,
        autoscaler: None,
    }];
    let scenario = Scenario {
        name: scaler.path(),
        description: String::new(),
        seed: 1,
        duration: Some(Span::secs(3600)),
        warm_up: Span::default(),
        traffic: Traffic::Open { rate: Shape::Constant { rate: 1.0 }, arrivals: Process::Poisson },
        client: Client::default(),
        slo: Slo { latency: spec.slo.latency.span() },
        service: Service::default(),
        pools,
        cluster: ClusterConfig { nodes },
        faults: Vec::new(),
        telemetry,
        control: Control { interval: spec.interval.span() },
        objective: Objective::default(),
        autoscaler: AutoscalerConfig::Fixed { replicas: BTreeMap::new() },
        base: PathBuf::new(),
        origin: format!("KIScaler {}", scaler.path()),
    };
    scenario.check()?;
    Ok(scenario)
}

/// The profile of a pool: its text, and what it says.
fn profile(name: &str, pool: &PoolSpec, texts: &ProfileTexts) -> Result<(String, Profile), PlanError> {
    let source = &pool.profile;
    let field = |field: &str, found: String, expected: String| PlanError::Field {
        field: format!("pools.{name}.profile.{field}"),
        found,
        expected,
    };
    let expected = if name == "cpu" { Hardware::Cpu } else { Hardware::Gpu };
    let (text, profile) = match (&source.name, &source.inline, texts.get(name)) {
        (Some(builtin), _, _) => {
            if !BUILTIN.iter().any(|(known, _)| known == builtin) {
                let known = BUILTIN.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
                return Err(field("name", format!("{builtin:?}"), format!("one of {known}")));
            }
            (builtin.clone(), Profile::load(builtin, "".as_ref())?)
        }
        (None, Some(text), _) | (None, None, Some(text)) => {
            // More than one line is what tells a text from a name.
            let text = format!("{}\n", text.trim_end());
            let profile = Profile::parse(&text, &format!("the profile of pool {name}"))?;
            (text, profile)
        }
        (None, None, None) => {
            return Err(field("", "none".into(), "one of name, inline and configMapKeyRef".into()));
        }
    };
    if profile.hardware != expected {
        let word = |hardware| if hardware == Hardware::Gpu { "a GPU's profile" } else { "a CPU's profile" };
        return Err(field("name", word(profile.hardware).into(), word(expected).into()));
    }
    Ok((text, profile))
}

fn prepare(pool: &PoolSpec, (text, profile): (String, Profile), current: Option<u32>) -> Pool {
    let batcher = &pool.batcher;
    let limits = Limits {
        min_replicas: pool.min_replicas,
        max_replicas: pool.max_replicas,
        max_step_up: pool.max_step_up.unwrap_or(u32::MAX),
        max_step_down: pool.max_step_down.unwrap_or(u32::MAX),
        scale_down_stabilization: pool.scale_down_stabilization.span(),
    };
    Pool {
        profile: text,
        initial_replicas: current.unwrap_or(pool.min_replicas).clamp(pool.min_replicas, pool.max_replicas),
        limits,
        cpus: 1.0,
        cpu_ms_per_request: 0.0,
        price_per_hour: pool.price_per_hour,
        batcher: BatcherConfig {
            max_batch: batcher.max_batch.map_or(profile.max_batch, |max| max as usize),
            max_queue_delay: batcher.max_queue_delay.span(),
            queue_limit: batcher.queue_limit as usize,
            instances: batcher.instances.unwrap_or(1) as usize,
            ..BatcherConfig::default()
        },
        sharing: Sharing::Exclusive,
        startup: startup(&pool.cold_start),
        // The cold start is said as a whole: probes and endpoints are in it.
        readiness: Readiness { period: Span::millis(1), ..Readiness::default() },
        shutdown: Shutdown { endpoint_propagation: Span::default(), ..Shutdown::default() },
    }
}

/// A log-normal distribution with these two quantiles.
fn startup(cold: &ColdStart) -> Startup {
    let median = cold.median.span();
    let sigma = (cold.p90.span().as_secs_f64() / median.as_secs_f64()).max(1.0).ln() / NINE_OF_TEN;
    let cv = (sigma * sigma).exp_m1().sqrt();
    Startup {
        scheduling: Some(TimeDistribution::constant(Span::default())),
        load: Some(TimeDistribution::Lognormal { median, cv }),
        ..Startup::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::scaler;
    use kisim::prepared::Prepared;

    #[test]
    fn a_spec_becomes_a_scenario_with_its_facts() {
        let scenario = scenario(&scaler("hpa:60"), &ProfileTexts::new(), &BTreeMap::from([("gpu", 3)])).unwrap();
        let prepared = Prepared::new(scenario).unwrap();
        let pool = &prepared.pools[0];
        assert_eq!((pool.name.as_str(), pool.config.initial_replicas), ("gpu", 3));
        assert_eq!((pool.config.limits.min_replicas, pool.config.limits.max_replicas), (1, 8));
        assert!((prepared.cold_start_s(0, 0.5) - 30.0).abs() < 1.5, "{}", prepared.cold_start_s(0, 0.5));
        assert!((prepared.cold_start_s(0, 0.9) - 40.0).abs() < 2.0, "{}", prepared.cold_start_s(0, 0.9));
        assert_eq!(prepared.scenario.slo.latency, Span::millis(250));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_field_named() {
        let mut unknown = scaler("hpa:60");
        unknown.spec.pools.gpu.profile.name = Some("h9000".into());
        let error = scenario(&unknown, &ProfileTexts::new(), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.starts_with("pools.gpu.profile.name: found \"h9000\", expected one of bert"), "{error}");
        let mut cpu = scaler("hpa:60");
        cpu.spec.pools.gpu.profile.name = Some("resnet50-torch-fp32-i7-12700h".into());
        let error = scenario(&cpu, &ProfileTexts::new(), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("found a CPU's profile, expected a GPU's profile"), "{error}");
        let mut batch = scaler("hpa:60");
        batch.spec.pools.gpu.batcher.max_batch = Some(4096);
        let error = scenario(&batch, &ProfileTexts::new(), &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("pools.gpu.batcher.max_batch: found 4096"), "{error}");
    }

    #[test]
    fn a_profile_of_ones_own_is_read_from_its_text() {
        let mut own = scaler("hpa:60");
        own.spec.pools.gpu.profile.name = None;
        own.spec.pools.gpu.batcher.max_batch = None;
        let text = "name='mine'\nhardware='gpu'\nmax_batch=8\nlatency_ms=[[1,2.0],[8,4.0]]";
        let texts = ProfileTexts::from([("gpu", text.to_owned())]);
        let scenario = scenario(&own, &texts, &BTreeMap::new()).unwrap();
        assert_eq!(Prepared::new(scenario).unwrap().pools[0].spec.batcher.max_batch(), 8);
    }
}
