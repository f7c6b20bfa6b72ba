//! The KIScaler that fits a twin: what it would be told of the service, had somebody measured it.

use std::net::SocketAddr;

use kisim::config::Span;
use kisim::prepared::Prepared;
use kisim::profile::{Hardware, Profile};

use super::Target;
use crate::api::{
    BatcherSpec, ColdStart, DirectSource, KIScaler, KIScalerSpec, Length, MetricsSpec, Mode, PolicySpec, PoolSpec,
    Pools, Preset, ProfileSource, Safety, ScaleTargetRef, Slo,
};

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A KIScaler has a pool of GPU pods, and may have one of CPU pods.
    #[error("pools: found no pool of GPU pods with a target, expected one")]
    NoGpuPool,
    /// A profile cannot be had.
    #[error(transparent)]
    Profile(#[from] kisim::config::ConfigError),
    /// Nor written.
    #[error("cannot write a profile: {0}")]
    Write(#[from] toml::ser::Error),
}

/// A KIScaler for a twin of `prepared` behind `targets` that is played `speed` times as fast and serves on `address`. All
/// its times are the scenario's divided by the speed: the interval, the objective, the window, the profile, the cold
/// start.
///
/// # Errors
/// If the scenario has no pool of GPU pods.
pub fn kiscaler(
    prepared: &Prepared,
    targets: &[Target],
    speed: f64,
    address: SocketAddr,
    policy: PolicySpec,
    mode: Mode,
) -> Result<KIScaler, ManifestError> {
    let scenario = &prepared.scenario;
    let faster = |span: Span| Length::from(Span(span.0.div_f64(speed)));
    let (mut gpu, mut cpu) = (None, None);
    for (number, pool) in prepared.pools.iter().enumerate() {
        let primary = number == prepared.primary_pool();
        let own = targets.iter().find(|t| t.pool.as_deref().map_or(primary, |name| name == pool.name));
        let Some(target) = own else { continue };
        let config = &pool.config;
        let limits = config.limits;
        let no_limit = |step: u32| (step < limits.max_replicas).then_some(step);
        let profile = match speed == 1.0 && !config.profile.ends_with(".toml") {
            true => ProfileSource { name: Some(config.profile.clone()), ..ProfileSource::default() },
            false => {
                let profile = sped_up(Profile::load(&config.profile, &scenario.base)?, speed);
                ProfileSource { inline: Some(toml::to_string(&profile)?), ..ProfileSource::default() }
            }
        };
        let cold = |share: f64| Length::from(milliseconds(prepared.cold_start_s(number, share) / speed));
        let spec = PoolSpec {
            scale_target_ref: ScaleTargetRef {
                api_version: target.resource.api_version.clone(),
                kind: target.resource.kind.clone(),
                name: target.name.clone(),
            },
            min_replicas: limits.min_replicas,
            max_replicas: limits.max_replicas,
            scale_to_zero: limits.min_replicas == 0,
            max_step_up: no_limit(limits.max_step_up),
            max_step_down: no_limit(limits.max_step_down),
            rate: None,
            scale_down_stabilization: faster(limits.scale_down_stabilization),
            profile,
            batcher: BatcherSpec {
                max_batch: u32::try_from(config.batcher.max_batch).ok(),
                max_queue_delay: faster(config.batcher.max_queue_delay),
                queue_limit: u32::try_from(config.batcher.queue_limit).unwrap_or(0),
                instances: u32::try_from(config.batcher.instances).ok(),
            },
            cold_start: ColdStart { median: cold(0.5), p90: cold(0.9) },
            price_per_hour: Some(pool.price_per_hour * speed),
        };
        match pool.hardware {
            Hardware::Gpu => gpu = Some(spec),
            Hardware::Cpu => cpu = Some(spec),
        }
    }
    let gpu = gpu.ok_or(ManifestError::NoGpuPool)?;
    let spec = KIScalerSpec {
        mode,
        policy,
        slo: Slo { latency: faster(scenario.slo.latency) },
        cost_weight: 1.0,
        interval: faster(scenario.control.interval),
        metrics: MetricsSpec {
            preset: Preset::Triton,
            direct: Some(DirectSource {
                endpoints: vec![format!("http://{address}/pods/{{pod}}/metrics")],
                timeout: Length::millis(500),
            }),
            prometheus: None,
            http: None,
            window: faster(scenario.telemetry.window),
            latency_buckets: Some(scenario.telemetry.latency_buckets.iter().map(|b| faster(*b)).collect()),
        },
        fallback: "Hold".into(),
        safety: Safety { warm_up: faster(Span::secs(60)), stale_after: faster(Span::secs(60)), ..Safety::default() },
        pools: Pools { gpu, cpu },
    };
    let name = targets.first().map_or("twin", |target| target.name.as_str());
    Ok(KIScaler::new(name, spec))
}

/// In whole milliseconds: the finest that manifests are written in.
fn milliseconds(seconds: f64) -> Span {
    Span::millis((seconds * 1e3).round() as u64)
}

/// The profile of a device that is `speed` times as fast, at as many times the price.
fn sped_up(mut profile: Profile, speed: f64) -> Profile {
    for (_, ms) in &mut profile.latency_ms {
        *ms /= speed;
    }
    if let Some(affine) = &mut profile.affine_ms {
        affine.fixed /= speed;
        affine.per_item /= speed;
    }
    profile.overhead_ms /= speed;
    profile.price_per_hour *= speed;
    profile
}
