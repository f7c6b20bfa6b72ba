//! What an autoscaler is told to do.

use std::fmt::Write as _;
use std::time::Duration;

use super::manifest::{self, ManifestError};
use super::wire::{CLASS, CONFIG_NAME, PREFIX, PROGRESS_DEADLINE, go_duration};

/// The least target per pod (`TargetMin` in `register.go`).
pub(super) const TARGET_MIN: f64 = 0.01;
/// The size of the collector's buckets, and so of the smallest window.
const BUCKET: Duration = Duration::from_secs(1);

/// The metric that pods are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KpaMetric {
    /// `concurrency`: requests in flight.
    Concurrency,
    /// `rps`: requests per second.
    Rps,
}

impl KpaMetric {
    /// The name in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Rps => "rps",
        }
    }
}

/// The autoscaler of one revision: its annotations over the ConfigMap's values over Knative's defaults.
///
/// ```
/// use kisim::kpa::KpaSpec;
/// let spec = KpaSpec { target: 10.0, max_scale: 20, ..KpaSpec::default() };
/// assert_eq!(spec.target_per_pod(), 7.0);
/// let text = spec.to_yaml("serve");
/// assert_eq!(KpaSpec::from_yaml(&text, "serve.yaml")?, spec);
/// # Ok::<(), kisim::kpa::ManifestError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KpaSpec {
    /// `metric`: concurrency.
    pub metric: KpaMetric,
    /// `spec.containerConcurrency`: requests that a pod takes at once at most; 0, the default, for no limit.
    pub container_concurrency: u32,
    /// `target`: what a pod can take in units of the metric, 100 for concurrency; manifests with metric rps get 200.
    pub target: f64,
    /// `target-utilization-percentage`: 70 % of the target is aimed for.
    pub target_utilization_percentage: f64,
    /// `target-burst-capacity` in units of the metric, 200: the activator buffers while the pods cannot take that much
    /// more than there is. 0 for only while there are no pods, -1 for always.
    pub target_burst_capacity: f64,
    /// `min-scale`: pods at least, 0.
    pub min_scale: u32,
    /// `max-scale`: pods at most; 0, the default, for no limit.
    pub max_scale: u32,
    /// `max-scale-limit`: the largest `max-scale` that a manifest may set; 0, the default, for no limit.
    pub max_scale_limit: u32,
    /// `initial-scale`: pods that a new revision has to reach once, 1.
    pub initial_scale: u32,
    /// `allow-zero-initial-scale`: false.
    pub allow_zero_initial_scale: bool,
    /// `activation-scale`: pods at least while there is any traffic, 1.
    pub activation_scale: u32,
    /// `scale-down-delay`: 0.
    pub scale_down_delay: Duration,
    /// `window`, `stable-window`: 60 s.
    pub stable_window: Duration,
    /// `panic-window-percentage` of the stable window: 10 %.
    pub panic_window_percentage: f64,
    /// `panic-threshold-percentage`: panic begins where the panic window asks for 200 % of the ready pods.
    pub panic_threshold_percentage: f64,
    /// `max-scale-up-rate`: at most 1000 times the ready pods at once.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`: at least a 2nd of the ready pods stay.
    pub max_scale_down_rate: f64,
    /// `enable-scale-to-zero`: true.
    pub enable_scale_to_zero: bool,
    /// `scale-to-zero-grace-period`: 30 s.
    pub scale_to_zero_grace_period: Duration,
    /// `scale-to-zero-pod-retention-period`: 0.
    pub scale_to_zero_pod_retention_period: Duration,
    /// `activator-capacity`: concurrency that one activator takes, 100.
    pub activator_capacity: f64,
    /// `serving.knative.dev/progress-deadline`: a revision gets 600 s to come up.
    pub progress_deadline: Duration,
    /// How often [`super::Kpa::reconcile`] is to be called: 2 s (`tickInterval` in `multiscaler.go`, a constant).
    pub tick: Duration,
}

impl Default for KpaSpec {
    /// Knative's defaults (`defaultConfig` in `pkg/autoscaler/config/config.go`).
    fn default() -> Self {
        Self {
            metric: KpaMetric::Concurrency,
            container_concurrency: 0,
            target: 100.0,
            target_utilization_percentage: 70.0,
            target_burst_capacity: 200.0,
            min_scale: 0,
            max_scale: 0,
            max_scale_limit: 0,
            initial_scale: 1,
            allow_zero_initial_scale: false,
            activation_scale: 1,
            scale_down_delay: Duration::ZERO,
            stable_window: Duration::from_secs(60),
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            enable_scale_to_zero: true,
            scale_to_zero_grace_period: Duration::from_secs(30),
            scale_to_zero_pod_retention_period: Duration::ZERO,
            activator_capacity: 100.0,
            progress_deadline: Duration::from_secs(600),
            tick: Duration::from_secs(2),
        }
    }
}

impl KpaSpec {
    /// Reads a `Service`, a `Revision` (`serving.knative.dev/v1`) or a `PodAutoscaler`
    /// (`autoscaling.internal.knative.dev/v1alpha1`), with or without the ConfigMap `config-autoscaler` in the same
    /// text; `file` is the name for errors.
    ///
    /// ```
    /// use kisim::kpa::KpaSpec;
    /// let text = "{apiVersion: serving.knative.dev/v1, kind: Revision, metadata: {name: a, annotations:
    ///     {autoscaling.knative.dev/target: '10', autoscaling.knative.dev/max-scal: '3'}}}";
    /// let error = KpaSpec::from_yaml(text, "a.yaml").unwrap_err().to_string();
    /// assert!(error.starts_with(
    ///     "a.yaml: metadata.annotations.autoscaling.knative.dev/max-scal is present, expected one of "
    /// ));
    /// ```
    pub fn from_yaml(text: &str, file: &str) -> Result<Self, ManifestError> {
        manifest::read(text, file)
    }

    /// What a pod can take in units of the metric: the target, and no more than `container_concurrency`
    /// (`ResolveMetricTarget` in `target.go`).
    pub fn total_per_pod(&self) -> f64 {
        if self.metric == KpaMetric::Concurrency && self.container_concurrency != 0 {
            self.target.min(f64::from(self.container_concurrency))
        } else {
            self.target
        }
    }

    /// What a pod is to take on average: the target at the target utilization, at least 0.01.
    pub fn target_per_pod(&self) -> f64 {
        (self.total_per_pod() * (self.target_utilization_percentage / 100.0)).max(TARGET_MIN)
    }

    /// The panic window, rounded to seconds and at least one (`MakeMetric` in `metric.go`).
    pub fn panic_window(&self) -> Duration {
        let seconds = self.stable_window.as_secs_f64() * self.panic_window_percentage / 100.0;
        // Saturates, and NaN becomes zero.
        Duration::from_secs(seconds.round() as u64).max(BUCKET)
    }

    /// A manifest that [`KpaSpec::from_yaml`] reads back equal: a Knative `Service` and the ConfigMap. What cannot be
    /// said in a manifest, [`KpaSpec::tick`], is left out.
    pub fn to_yaml(&self, name: &str) -> String {
        let mut annotations = vec![
            ("class", CLASS.to_owned()),
            ("metric", self.metric.name().to_owned()),
            ("target", self.target.to_string()),
            ("target-burst-capacity", self.target_burst_capacity.to_string()),
            ("min-scale", self.min_scale.to_string()),
            ("max-scale", self.max_scale.to_string()),
            ("initial-scale", self.initial_scale.to_string()),
            ("activation-scale", self.activation_scale.to_string()),
            ("window", go_duration(self.stable_window)),
            ("panic-window-percentage", self.panic_window_percentage.to_string()),
        ];
        let mut data = vec![
            ("allow-zero-initial-scale", self.allow_zero_initial_scale.to_string()),
            ("max-scale-limit", self.max_scale_limit.to_string()),
            ("max-scale", self.max_scale.to_string()),
            ("scale-down-delay", go_duration(self.scale_down_delay)),
            ("panic-threshold-percentage", self.panic_threshold_percentage.to_string()),
            ("max-scale-up-rate", self.max_scale_up_rate.to_string()),
            ("max-scale-down-rate", self.max_scale_down_rate.to_string()),
            ("enable-scale-to-zero", self.enable_scale_to_zero.to_string()),
            ("scale-to-zero-grace-period", go_duration(self.scale_to_zero_grace_period)),
            ("scale-to-zero-pod-retention-period", go_duration(self.scale_to_zero_pod_retention_period)),
            ("activator-capacity", self.activator_capacity.to_string()),
        ];
        if self.target_utilization_percentage >= 1.0 {
            annotations.push(("target-utilization-percentage", self.target_utilization_percentage.to_string()));
        } else {
            // Below 1 it can only be said as a fraction, and only in the ConfigMap.
            data.push((
                "container-concurrency-target-percentage",
                (self.target_utilization_percentage / 100.0).to_string(),
            ));
        }

        let mut text = format!(
            "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: {}\nspec:\n  template:\n    \
             metadata:\n      annotations:\n",
            quoted(name)
        );
        // Writing to a string does not fail.
        for (key, value) in &annotations {
            let _ = writeln!(text, "        {PREFIX}{key}: {}", quoted(value));
        }
        let _ = writeln!(text, "        {PROGRESS_DEADLINE}: {}", quoted(&go_duration(self.progress_deadline)));
        let _ = writeln!(text, "    spec:\n      containerConcurrency: {}", self.container_concurrency);
        let _ = writeln!(
            text,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {CONFIG_NAME}\n  namespace: knative-serving\ndata:"
        );
        for (key, value) in &data {
            let _ = writeln!(text, "  {key}: {}", quoted(value));
        }
        text
    }
}

/// A YAML string in double quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
