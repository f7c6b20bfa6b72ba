//! What can be turned, and how far.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::autoscaler::{
    AutoscalerConfig, DirectionRules, ForecastModel, HpaConfig, HpaMetric, HpaTemplate, KedaConfig, KedaTemplate,
    KpaConfig, Manifest, PredictiveConfig,
};
use crate::config::Span;
use crate::kpa::KpaSpec;
use crate::prepared::Prepared;
use crate::random::Stream;

/// Which autoscaler is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// HorizontalPodAutoscaler.
    Hpa,
    /// KEDA's ScaledObject.
    Keda,
    /// Knative's autoscaler.
    Kpa,
    /// Forecast and capacity.
    Predictive,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 4] = [Kind::Hpa, Kind::Keda, Kind::Kpa, Kind::Predictive];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hpa => "hpa",
            Kind::Keda => "keda",
            Kind::Kpa => "kpa",
            Kind::Predictive => "predictive",
        }
    }

    /// The file that a tuned one is written to: its own kind of manifest, or TOML.
    pub fn file(self) -> String {
        let ending = if self == Kind::Predictive { "toml" } else { "yaml" };
        format!("{}-tuned.{ending}", self.name())
    }
}

/// How the unit interval becomes a parameter's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    /// From the first to the second, evenly.
    Linear(f64, f64),
    /// From the first to the second, evenly in the logarithm.
    Log(f64, f64),
    /// One of these.
    Choice(Vec<f64>),
}

impl Parameter {
    /// The value at `unit`, 0–1.
    pub fn value(&self, unit: f64) -> f64 {
        match self {
            Parameter::Linear(low, high) => low + unit * (high - low),
            Parameter::Log(low, high) => low * (high / low).powf(unit),
            Parameter::Choice(values) => {
                let index = (unit * values.len() as f64) as usize;
                values[index.min(values.len() - 1)]
            }
        }
    }
}

/// The parameters of an autoscaler in a scenario: a unit cube, and what its points mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    kind: Kind,
    parameters: Vec<(&'static str, Parameter)>,
    /// The primary pool: name, batch, saturation rate of a pod, limits, and whether there is an activator.
    pool: String,
    max_batch: f64,
    saturation: f64,
    limits: (u32, u32),
    activator: bool,
}

/// Metrics that GPU pods are scaled by; CPU is there for those who do not know better and loses everywhere.
const METRICS: [HpaMetric; 4] = [HpaMetric::Utilization, HpaMetric::InFlight, HpaMetric::RequestRate, HpaMetric::Queue];

impl Space {
    /// The space of `kind` in `prepared`.
    pub fn new(kind: Kind, prepared: &Prepared) -> Space {
        let pool = &prepared.pools[prepared.primary_pool()];
        let max_batch = pool.spec.batcher.max_batch() as f64;
        let choice = |values: &[f64]| Parameter::Choice(values.to_vec());
        let behavior = || {
            vec![
                ("metric", choice(&[0.0, 1.0, 2.0, 3.0])),
                ("target", Parameter::Linear(0.0, 1.0)),
                ("up_window_s", choice(&[0.0, 0.0, 15.0, 30.0, 60.0])),
                ("up_pods", choice(&[1.0, 2.0, 4.0, 8.0, 16.0])),
                ("up_percent", choice(&[25.0, 50.0, 100.0, 200.0, 400.0])),
                ("up_period_s", choice(&[15.0, 30.0, 60.0])),
                ("up_tolerance", choice(&[0.0, 0.02, 0.05, 0.1, 0.2])),
                ("down_window_s", choice(&[0.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0])),
                ("down_percent", choice(&[10.0, 25.0, 50.0, 100.0])),
                ("down_period_s", choice(&[15.0, 30.0, 60.0])),
                ("down_tolerance", choice(&[0.0, 0.05, 0.1, 0.2, 0.3])),
            ]
        };
        let parameters = match kind {
            Kind::Hpa => behavior(),
            Kind::Keda => {
                let mut parameters = behavior();
                parameters.push(("polling_s", choice(&[5.0, 10.0, 15.0, 30.0])));
                parameters.push(("cooldown_s", choice(&[15.0, 30.0, 60.0, 120.0, 300.0])));
                parameters
            }
            Kind::Kpa => vec![
                ("target", Parameter::Log(0.1, 2.0 * max_batch)),
                ("window_s", choice(&[6.0, 15.0, 30.0, 60.0, 120.0, 300.0])),
                ("panic_window_percent", choice(&[2.0, 5.0, 10.0, 25.0, 50.0])),
                ("panic_threshold_percent", choice(&[110.0, 150.0, 200.0, 400.0, 1000.0])),
                ("scale_down_delay_s", choice(&[0.0, 15.0, 30.0, 60.0, 120.0, 300.0])),
                ("max_up_rate", choice(&[1.25, 1.5, 2.0, 3.0, 10.0, 1000.0])),
                ("max_down_rate", choice(&[1.05, 1.1, 1.25, 1.5, 2.0, 10.0])),
            ],
            Kind::Predictive => vec![
                ("quantile", Parameter::Linear(0.3, 0.999)),
                ("violation", Parameter::Log(0.001, 0.2)),
                ("headroom", Parameter::Log(0.6, 2.0)),
                ("drain_s", Parameter::Log(2.0, 120.0)),
                ("hold_s", choice(&[0.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0])),
                ("spare", choice(&[0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0])),
                ("model", choice(&[0.0, 0.0, 1.0, 2.0, 3.0, 4.0])),
            ],
        };
        Space {
            kind,
            parameters,
            pool: pool.name.clone(),
            max_batch,
            saturation: max_batch / (pool.spec.service_ns[pool.spec.batcher.max_batch()] * 1e-9)
                * pool.setup.speed
                * pool.spec.instances_gain(),
            limits: (pool.config.limits.min_replicas, pool.config.limits.max_replicas),
            activator: prepared.scenario.service.activator.is_some(),
        }
    }

    /// The autoscaler.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A point drawn uniformly.
    pub fn draw(&self, rng: &mut Stream) -> Vec<f64> {
        self.parameters.iter().map(|_| rng.random::<f64>()).collect()
    }

    /// A point near `point`: each coordinate moved with probability one half, by a normal step of a sixth of the cube.
    pub fn near(&self, point: &[f64], rng: &mut Stream) -> Vec<f64> {
        point
            .iter()
            .map(|&unit| {
                let moved = rng.random::<f64>() < 0.5;
                let step: f64 = StandardNormal.sample(rng);
                // Choices must be able to change.
                let unit = if moved { unit + step / 6.0 } else { unit };
                // Reflected at the faces, so that they do not collect points.
                let folded = unit.rem_euclid(2.0);
                if folded > 1.0 { 2.0 - folded } else { folded }
            })
            .collect()
    }

    /// The parameters at `point`, by name, as people read them.
    pub fn describe(&self, point: &[f64]) -> BTreeMap<String, serde_json::Value> {
        let mut named = BTreeMap::new();
        for ((name, parameter), &unit) in self.parameters.iter().zip(point) {
            let value = parameter.value(unit);
            let shown = match *name {
                "metric" => METRICS[value as usize].name().into(),
                "model" => serde_json::to_value(ForecastModel::ALL[value as usize]).unwrap_or_default(),
                "target" if self.kind != Kind::Kpa => rounded(self.target(point)).into(),
                _ => rounded(value).into(),
            };
            named.insert((*name).to_owned(), shown);
        }
        named
    }

    fn value(&self, point: &[f64], name: &str) -> f64 {
        let at = self.parameters.iter().position(|(own, _)| *own == name);
        at.map_or(0.0, |at| self.parameters[at].1.value(point[at]))
    }

    fn metric(&self, point: &[f64]) -> HpaMetric {
        METRICS[self.value(point, "metric") as usize]
    }

    /// The target in its metric's unit: the same coordinate means "little" to "all a pod can take" for each metric.
    fn target(&self, point: &[f64]) -> f64 {
        let unit = self.value(point, "target");
        match self.metric(point) {
            HpaMetric::Utilization | HpaMetric::Cpu => Parameter::Linear(10.0, 95.0).value(unit),
            HpaMetric::InFlight => Parameter::Log(0.2, 2.0 * self.max_batch).value(unit),
            HpaMetric::Queue => Parameter::Log(0.05, 2.0 * self.max_batch).value(unit),
            HpaMetric::RequestRate => Parameter::Linear(0.1 * self.saturation, self.saturation).value(unit),
        }
    }

    fn rules(&self, point: &[f64]) -> (DirectionRules, DirectionRules) {
        let whole = |name: &str| self.value(point, name).round() as u32;
        let up = DirectionRules {
            window_s: whole("up_window_s"),
            pods: Some(whole("up_pods")),
            percent: Some(whole("up_percent")),
            period_s: whole("up_period_s"),
            tolerance: Some(self.value(point, "up_tolerance")),
        };
        let down = DirectionRules {
            window_s: whole("down_window_s"),
            pods: None,
            percent: Some(whole("down_percent")),
            period_s: whole("down_period_s"),
            tolerance: Some(self.value(point, "down_tolerance")),
        };
        (up, down)
    }

    /// The text of the tuned file at `point`: a manifest, or TOML.
    pub fn file_text(&self, point: &[f64]) -> String {
        let (min, max) = self.limits;
        match self.kind {
            Kind::Hpa => {
                let (up, down) = self.rules(point);
                let (metric, target) = (self.metric(point), rounded(self.target(point)));
                HpaTemplate { metric, target, min, max, up, down }.to_yaml(&self.pool)
            }
            Kind::Keda => {
                let (up, down) = self.rules(point);
                let whole = |name: &str| self.value(point, name).round() as u32;
                let template = KedaTemplate {
                    metric: self.metric(point),
                    threshold: rounded(self.target(point)),
                    polling_s: whole("polling_s"),
                    cooldown_s: whole("cooldown_s"),
                    // Nothing wakes it from zero but what waits in the activator.
                    min: if self.activator { min } else { min.max(1) },
                    max,
                    activator: self.activator,
                    up,
                    down,
                };
                template.to_yaml(&self.pool)
            }
            Kind::Kpa => {
                let value = |name: &str| self.value(point, name);
                let seconds = |name: &str| std::time::Duration::from_secs_f64(value(name));
                let spec = KpaSpec {
                    target: rounded(value("target")).max(0.01),
                    stable_window: seconds("window_s"),
                    panic_window_percentage: value("panic_window_percent"),
                    panic_threshold_percentage: value("panic_threshold_percent"),
                    scale_down_delay: seconds("scale_down_delay_s"),
                    max_scale_up_rate: value("max_up_rate"),
                    max_scale_down_rate: value("max_down_rate"),
                    min_scale: min,
                    max_scale: max,
                    ..KpaSpec::default()
                };
                spec.to_yaml(&self.pool)
            }
            Kind::Predictive => {
                #[derive(Serialize)]
                struct File {
                    autoscaler: AutoscalerConfig,
                }
                let file = File { autoscaler: self.config(point) };
                // A struct of numbers and names has a form in TOML.
                toml::to_string(&file).unwrap_or_default()
            }
        }
    }

    /// The autoscaler at `point`.
    pub fn config(&self, point: &[f64]) -> AutoscalerConfig {
        let manifests = || BTreeMap::from([(self.pool.clone(), Manifest::Text(self.file_text(point)))]);
        match self.kind {
            Kind::Hpa => AutoscalerConfig::Hpa(HpaConfig { manifests: manifests(), ..HpaConfig::default() }),
            Kind::Keda => AutoscalerConfig::Keda(KedaConfig { manifests: manifests(), ..KedaConfig::default() }),
            Kind::Kpa => AutoscalerConfig::Kpa(KpaConfig { manifests: manifests(), ..KpaConfig::default() }),
            Kind::Predictive => {
                let value = |name: &str| self.value(point, name);
                let span = |name: &str| Span::millis((value(name) * 1e3).round() as u64);
                AutoscalerConfig::Predictive(PredictiveConfig {
                    quantile: rounded(value("quantile")),
                    violation: rounded(value("violation")),
                    headroom: rounded(value("headroom")),
                    spare: value("spare") as u32,
                    drain: span("drain_s"),
                    hold: span("hold_s"),
                    model: ForecastModel::ALL[value("model") as usize],
                    season: None,
                })
            }
        }
    }

    /// What one gets without turning anything.
    pub fn untuned(&self) -> AutoscalerConfig {
        match self.kind {
            Kind::Hpa => AutoscalerConfig::Hpa(HpaConfig::default()),
            Kind::Keda => AutoscalerConfig::Keda(KedaConfig::default()),
            Kind::Kpa => AutoscalerConfig::Kpa(KpaConfig::default()),
            Kind::Predictive => AutoscalerConfig::Predictive(PredictiveConfig::default()),
        }
    }
}

/// Three significant digits: more would say that they matter.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(2 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};
    use crate::scenario::Scenario;

    #[test]
    fn every_point_is_an_autoscaler_that_can_be_built_and_its_file_is_the_same_one() {
        let prepared = Prepared::new(Scenario::builtin().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for kind in Kind::ALL {
            let space = Space::new(kind, &prepared);
            let mut rng = stream(1, Purpose::Policy, 0);
            let mut point = space.draw(&mut rng);
            for _ in 0..50 {
                space.config(&point).check(&prepared.scenario).unwrap();
                if kind != Kind::Predictive {
                    space.config(&point).build(&prepared).unwrap();
                }
                let path = folder.path().join(kind.file());
                std::fs::write(&path, space.file_text(&point)).unwrap();
                let read = AutoscalerConfig::parse(&path.display().to_string(), &prepared.scenario).unwrap();
                assert_eq!(read.kind(), kind.name());
                if kind == Kind::Predictive {
                    assert_eq!(read, space.config(&point));
                }
                point = space.near(&point, &mut rng);
                assert!(point.iter().all(|u| (0.0..=1.0).contains(u)));
            }
        }
    }

    #[test]
    fn parameters_span_their_range() {
        let check = |parameter: Parameter, low: f64, high: f64| {
            assert!((parameter.value(0.0) - low).abs() < 1e-9 && (parameter.value(1.0) - high).abs() < 1e-9);
        };
        check(Parameter::Linear(2.0, 4.0), 2.0, 4.0);
        check(Parameter::Log(0.1, 10.0), 0.1, 10.0);
        check(Parameter::Choice(vec![1.0, 5.0]), 1.0, 5.0);
        assert!((Parameter::Log(0.1, 10.0).value(0.5) - 1.0).abs() < 1e-9);
        assert_eq!([0.012345, 98.76, 1234.0].map(rounded), [0.0123, 98.8, 1230.0]);
    }
}
