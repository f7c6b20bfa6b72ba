//! From manifests to a checked [`KpaSpec`]: the checks and defaults of Knative's webhook.
//!
//! Source: `pkg/apis/autoscaling/annotation_validation.go` and `register.go` for annotations,
//! `pkg/autoscaler/config/config.go` (`NewConfigFromMap`, `validate`) for the ConfigMap.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_norway::Deserializer;

pub(super) use crate::hpa::ManifestError;

use super::spec::{KpaMetric, KpaSpec, TARGET_MIN};
use super::wire::{
    CLASS, CONFIG_NAME, ConfigMap, Header, PREFIX, PROGRESS_DEADLINE, PodSpec, Revision, Service, Strings, duration_ns,
    number,
};

/// `WindowMin` and `WindowMax` in `register.go`.
const WINDOW: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3600));
/// `PanicWindowPercentageMin` and `...Max` in `register.go`.
const PANIC_WINDOW: (f64, f64) = (1.0, 100.0);
/// `PanicThresholdPercentageMin` and `...Max` in `register.go`.
const PANIC_THRESHOLD: (f64, f64) = (110.0, 1000.0);
/// `validateContainerConcurrency`: the default of `container-concurrency-max-limit` in `config-defaults`.
const CONTAINER_CONCURRENCY_MAX: i64 = 1000;

/// Annotations without the prefix, and their older spelling where there is one.
const ANNOTATIONS: [(&str, &str); 15] = [
    ("class", ""),
    ("metric", ""),
    ("metric-aggregation-algorithm", ""),
    ("target", ""),
    ("target-utilization-percentage", "targetUtilizationPercentage"),
    ("target-burst-capacity", "targetBurstCapacity"),
    ("min-scale", "minScale"),
    ("max-scale", "maxScale"),
    ("initial-scale", "initialScale"),
    ("activation-scale", ""),
    ("scale-down-delay", "scaleDownDelay"),
    ("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"),
    ("window", ""),
    ("panic-window-percentage", "panicWindowPercentage"),
    ("panic-threshold-percentage", "panicThresholdPercentage"),
];

/// The keys of the ConfigMap.
const KEYS: [&str; 20] = [
    "container-concurrency-target-percentage",
    "container-concurrency-target-default",
    "requests-per-second-target-default",
    "target-burst-capacity",
    "stable-window",
    "panic-window-percentage",
    "panic-threshold-percentage",
    "max-scale-up-rate",
    "max-scale-down-rate",
    "enable-scale-to-zero",
    "scale-to-zero-grace-period",
    "scale-to-zero-pod-retention-period",
    "scale-down-delay",
    "initial-scale",
    "allow-zero-initial-scale",
    "min-scale",
    "max-scale",
    "max-scale-limit",
    "pod-autoscaler-class",
    "activator-capacity",
];

/// What the three kinds of manifest say about autoscaling.
struct Source {
    /// The path of the annotations.
    path: &'static str,
    annotations: Strings,
    /// The path of `containerConcurrency`.
    concurrency_path: &'static str,
    container_concurrency: i64,
}

/// Reads manifests; see [`KpaSpec::from_yaml`].
pub(super) fn read(text: &str, file: &str) -> Result<KpaSpec, ManifestError> {
    let fail = |field: &str, found: &str, expected: &str| Place { file, path: "" }.fail(field, found, expected);
    let (mut source, mut config) = (None, None);
    let kinds = "a `Service`, a `Revision` or a `PodAutoscaler`, and a `ConfigMap` at most";
    for (header, document) in Deserializer::from_str(text).zip(Deserializer::from_str(text)) {
        // What a manifest is comes before what is wrong with it.
        let Some(header) = parse::<Option<Header>>(header, file)? else { continue };
        let kind = header.kind.as_deref();
        let version = match kind {
            Some("Service" | "Revision") => "serving.knative.dev/v1",
            Some("PodAutoscaler") => "autoscaling.internal.knative.dev/v1alpha1",
            Some("ConfigMap") => "v1",
            _ => {
                let found = kind.map_or_else(|| "absent".to_owned(), |k| format!("`{k}`"));
                return Err(fail("kind", &found, kinds));
            }
        };
        if header.api_version.as_deref() != Some(version) {
            let found = header.api_version.map_or_else(|| "absent".to_owned(), |v| format!("`{v}`"));
            return Err(ManifestError::Type { file: file.to_owned(), field: "apiVersion", found, expected: version });
        }
        let repeated = if kind == Some("ConfigMap") { config.is_some() } else { source.is_some() };
        if repeated {
            return Err(fail("kind", &format!("`{}` once more", kind.unwrap_or_default()), kinds));
        }
        match kind {
            Some("ConfigMap") => config = Some(parse::<ConfigMap>(document, file)?),
            Some("Service") => source = Some(service(parse(document, file)?, file)?),
            _ => source = Some(revision(parse(document, file)?)),
        }
    }
    let source = source.ok_or_else(|| fail("kind", "absent", kinds))?;
    let mut spec = KpaSpec::default();
    let mut defaults = TargetDefaults { concurrency: spec.target, rps: 200.0 };
    if let Some(config) = config {
        if config.metadata.name.as_deref() != Some(CONFIG_NAME) {
            let found = config.metadata.name.map_or_else(|| "absent".to_owned(), |n| format!("`{n}`"));
            return Err(fail("metadata.name of the ConfigMap", &found, &format!("`{CONFIG_NAME}`")));
        }
        Place { file, path: "data." }.config(&config.data.unwrap_or_default(), &mut spec, &mut defaults)?;
    }
    Place { file, path: source.path }.annotations(&source, &mut spec, &defaults)?;
    Ok(spec)
}

fn parse<T: DeserializeOwned>(document: Deserializer<'_>, file: &str) -> Result<T, ManifestError> {
    T::deserialize(document).map_err(|error| ManifestError::Syntax { file: file.to_owned(), detail: error.to_string() })
}

fn service(service: Service, file: &str) -> Result<Source, ManifestError> {
    // `ValidateHasNoAutoscalingAnnotation`: there they would do nothing.
    let outer = service.metadata.annotations.unwrap_or_default();
    if let Some(key) = outer.keys().find(|key| key.starts_with(PREFIX)) {
        let place = Place { file, path: "metadata.annotations." };
        return Err(place.fail(key, "present", "autoscaling annotations under spec.template.metadata.annotations"));
    }
    let template = service.spec.template;
    Ok(Source {
        path: "spec.template.metadata.annotations.",
        annotations: template.metadata.unwrap_or_default().annotations.unwrap_or_default(),
        concurrency_path: "spec.template.spec.containerConcurrency",
        container_concurrency: concurrency(template.spec),
    })
}

fn revision(revision: Revision) -> Source {
    Source {
        path: "metadata.annotations.",
        annotations: revision.metadata.annotations.unwrap_or_default(),
        concurrency_path: "spec.containerConcurrency",
        container_concurrency: concurrency(revision.spec),
    }
}

fn concurrency(spec: Option<PodSpec>) -> i64 {
    spec.unwrap_or_default().container_concurrency.unwrap_or(0)
}

/// Targets where no annotation sets one.
struct TargetDefaults {
    concurrency: f64,
    rps: f64,
}

/// Where keys and values stand.
struct Place<'a> {
    file: &'a str,
    /// The path before the keys.
    path: &'a str,
}

/// One key with its value.
struct Entry<'a> {
    place: &'a Place<'a>,
    key: String,
    text: &'a str,
}

impl Place<'_> {
    fn fail(&self, key: &str, found: impl fmt::Display, expected: impl Into<String>) -> ManifestError {
        ManifestError::Value {
            file: self.file.to_owned(),
            field: format!("{}{key}", self.path),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    fn config(&self, data: &Strings, spec: &mut KpaSpec, defaults: &mut TargetDefaults) -> Result<(), ManifestError> {
        // `_example` is the commented copy that Knative's own ConfigMap carries.
        if let Some(key) = data.keys().find(|k| !KEYS.contains(&k.as_str()) && *k != "_example") {
            return Err(self.fail(key, "present", format!("one of {}", KEYS.join(", "))));
        }
        let get = |key: &'static str| data.get(key).map(|text| Entry { place: self, key: key.to_owned(), text });
        if let Some(entry) = get("pod-autoscaler-class") {
            entry.class()?;
        }
        set(&mut spec.enable_scale_to_zero, get("enable-scale-to-zero"), Entry::truth)?;
        set(&mut spec.allow_zero_initial_scale, get("allow-zero-initial-scale"), Entry::truth)?;
        let above_one = |e: &Entry<'_>| e.number(|x| x > 1.0, "a number above 1");
        set(&mut spec.max_scale_up_rate, get("max-scale-up-rate"), above_one)?;
        set(&mut spec.max_scale_down_rate, get("max-scale-down-rate"), above_one)?;
        set(&mut spec.target_utilization_percentage, get("container-concurrency-target-percentage"), |e| {
            // Up to 1 it is a fraction, "for legacy reasons".
            let x = e.number(|x| x > 0.0 && x <= 100.0, "a number above 0 and up to 100")?;
            Ok(if x > 1.0 { x } else { x * 100.0 })
        })?;
        let at_least_min = |e: &Entry<'_>| e.number(|x| x >= TARGET_MIN, "a number of at least 0.01");
        set(&mut defaults.concurrency, get("container-concurrency-target-default"), at_least_min)?;
        if spec.target_utilization_percentage / 100.0 * defaults.concurrency < TARGET_MIN {
            let expected = "at least 0.01 times container-concurrency-target-percentage";
            return Err(self.fail("container-concurrency-target-default", defaults.concurrency, expected));
        }
        set(&mut defaults.rps, get("requests-per-second-target-default"), at_least_min)?;
        set(&mut spec.target_burst_capacity, get("target-burst-capacity"), Entry::burst)?;
        set(&mut spec.panic_window_percentage, get("panic-window-percentage"), |e| e.within(PANIC_WINDOW))?;
        // Upstream reads any number here.
        set(&mut spec.panic_threshold_percentage, get("panic-threshold-percentage"), |e| {
            e.number(|x| x > 0.0, "a number above 0")
        })?;
        set(&mut spec.activator_capacity, get("activator-capacity"), |e| {
            e.number(|x| x >= 1.0, "a number of at least 1")
        })?;
        set(&mut spec.min_scale, get("min-scale"), |e| e.count(0))?;
        set(&mut spec.max_scale_limit, get("max-scale-limit"), |e| e.count(0))?;
        set(&mut spec.max_scale, get("max-scale"), |e| e.count(0))?;
        let limit = spec.max_scale_limit;
        if limit > 0 && !(1..=limit).contains(&spec.max_scale) {
            return Err(self.fail("max-scale", spec.max_scale, format!("1 to max-scale-limit, which is {limit}")));
        }
        self.bounds(spec)?;
        let least = u32::from(!spec.allow_zero_initial_scale);
        set(&mut spec.initial_scale, get("initial-scale"), |e| e.count(least))?;
        let any = (Duration::ZERO, Duration::MAX);
        set(&mut spec.stable_window, get("stable-window"), |e| e.seconds(WINDOW))?;
        set(&mut spec.scale_down_delay, get("scale-down-delay"), |e| e.seconds(any))?;
        set(&mut spec.scale_to_zero_pod_retention_period, get("scale-to-zero-pod-retention-period"), |e| {
            e.duration(any)
        })?;
        set(&mut spec.scale_to_zero_grace_period, get("scale-to-zero-grace-period"), |e| {
            e.duration((Duration::from_nanos(1), Duration::MAX))
        })
    }

    fn annotations(&self, source: &Source, spec: &mut KpaSpec, defaults: &TargetDefaults) -> Result<(), ManifestError> {
        let annotations = &source.annotations;
        for key in annotations.keys() {
            let Some(bare) = key.strip_prefix(PREFIX) else { continue };
            if !ANNOTATIONS.iter().any(|&(name, older)| bare == name || (bare == older && !older.is_empty())) {
                let names: Vec<_> = ANNOTATIONS.iter().map(|(name, _)| *name).collect();
                return Err(self.fail(key, "present", format!("one of {}", names.join(", "))));
            }
        }
        // The newer spelling wins, as `KeyPriority` has it.
        let get = |name: &str| {
            let older = ANNOTATIONS.iter().find(|(n, _)| *n == name).map_or("", |(_, older)| older);
            [name, older]
                .into_iter()
                .map(|n| format!("{PREFIX}{n}"))
                .find_map(|key| annotations.get(&key).map(|text| Entry { place: self, key, text }))
        };
        if let Some(entry) = get("class") {
            entry.class()?;
        }
        set(&mut spec.metric, get("metric"), Entry::metric)?;
        if let Some(entry) = get("metric-aggregation-algorithm")
            && entry.text != "linear"
        {
            return Err(entry.fail("`linear`, the only one that is simulated"));
        }
        let place = Place { file: self.file, path: "" };
        spec.container_concurrency = u32::try_from(source.container_concurrency)
            .ok()
            .filter(|_| source.container_concurrency <= CONTAINER_CONCURRENCY_MAX)
            .ok_or_else(|| {
                let expected = format!("0 to {CONTAINER_CONCURRENCY_MAX}");
                place.fail(source.concurrency_path, source.container_concurrency, expected)
            })?;
        spec.target = match (spec.metric, spec.container_concurrency) {
            (KpaMetric::Rps, _) => defaults.rps,
            (KpaMetric::Concurrency, 0) => defaults.concurrency,
            (KpaMetric::Concurrency, limit) => f64::from(limit),
        };
        if spec.metric == KpaMetric::Rps {
            // `TargetUtilization`, which no key of the ConfigMap sets.
            spec.target_utilization_percentage = KpaSpec::default().target_utilization_percentage;
        }
        set(&mut spec.target, get("target"), |e| e.number(|x| x >= TARGET_MIN, "a number of at least 0.01"))?;
        set(&mut spec.target_utilization_percentage, get("target-utilization-percentage"), |e| e.within((1.0, 100.0)))?;
        set(&mut spec.target_burst_capacity, get("target-burst-capacity"), Entry::burst)?;
        set(&mut spec.panic_window_percentage, get("panic-window-percentage"), |e| e.within(PANIC_WINDOW))?;
        set(&mut spec.panic_threshold_percentage, get("panic-threshold-percentage"), |e| e.within(PANIC_THRESHOLD))?;
        set(&mut spec.min_scale, get("min-scale"), |e| e.count(0))?;
        let limit = spec.max_scale_limit;
        set(&mut spec.max_scale, get("max-scale"), |e| {
            e.count(0).and_then(|max| {
                let allowed = limit == 0 || (1..=limit).contains(&max);
                allowed.then_some(max).ok_or_else(|| e.fail(format!("1 to max-scale-limit, which is {limit}")))
            })
        })?;
        self.bounds(spec)?;
        let least = u32::from(!spec.allow_zero_initial_scale);
        set(&mut spec.initial_scale, get("initial-scale"), |e| e.count(least))?;
        set(&mut spec.activation_scale, get("activation-scale"), |e| e.count(1))?;
        let up_to_max = (Duration::ZERO, WINDOW.1);
        set(&mut spec.stable_window, get("window"), |e| e.seconds(WINDOW))?;
        set(&mut spec.scale_down_delay, get("scale-down-delay"), |e| e.seconds(up_to_max))?;
        set(&mut spec.scale_to_zero_pod_retention_period, get("scale-to-zero-pod-retention-period"), |e| {
            e.duration(up_to_max)
        })?;
        let deadline = annotations.get(PROGRESS_DEADLINE).map(|text| Entry {
            place: self,
            key: PROGRESS_DEADLINE.to_owned(),
            text,
        });
        set(&mut spec.progress_deadline, deadline, |e| e.seconds((Duration::from_secs(1), Duration::MAX)))
    }

    fn bounds(&self, spec: &KpaSpec) -> Result<(), ManifestError> {
        if spec.max_scale != 0 && spec.max_scale < spec.min_scale {
            let expected = format!("0 or at least min-scale, which is {}", spec.min_scale);
            return Err(self.fail("max-scale", spec.max_scale, expected));
        }
        Ok(())
    }
}

/// Sets a field where there is an entry for it.
fn set<'a, T>(
    field: &mut T,
    entry: Option<Entry<'a>>,
    read: impl FnOnce(&Entry<'a>) -> Result<T, ManifestError>,
) -> Result<(), ManifestError> {
    if let Some(entry) = entry {
        *field = read(&entry)?;
    }
    Ok(())
}

impl Entry<'_> {
    fn fail(&self, expected: impl Into<String>) -> ManifestError {
        self.place.fail(&self.key, format!("`{}`", self.text), expected)
    }

    fn class(&self) -> Result<(), ManifestError> {
        if self.text == CLASS { Ok(()) } else { Err(self.fail(format!("`{CLASS}`"))) }
    }

    fn metric(&self) -> Result<KpaMetric, ManifestError> {
        match self.text {
            "concurrency" => Ok(KpaMetric::Concurrency),
            "rps" => Ok(KpaMetric::Rps),
            "cpu" | "memory" => {
                Err(self.fail("`concurrency` or `rps`; cpu and memory are for the class hpa.autoscaling.knative.dev"))
            }
            _ => Err(self.fail("`concurrency` or `rps`")),
        }
    }

    fn truth(&self) -> Result<bool, ManifestError> {
        // What Go's `strconv.ParseBool` reads, after `AsBool` in knative.dev/pkg/configmap.
        match self.text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(self.fail("`true` or `false`")),
        }
    }

    fn number(&self, allowed: impl FnOnce(f64) -> bool, expected: &str) -> Result<f64, ManifestError> {
        number(self.text).filter(|&x| allowed(x)).ok_or_else(|| self.fail(expected))
    }

    fn within(&self, (min, max): (f64, f64)) -> Result<f64, ManifestError> {
        self.number(|x| (min..=max).contains(&x), &format!("a number from {min} to {max}"))
    }

    fn burst(&self) -> Result<f64, ManifestError> {
        self.number(|x| x >= 0.0 || x.to_bits() == (-1.0_f64).to_bits(), "-1 or a number of at least 0")
    }

    fn count(&self, min: u32) -> Result<u32, ManifestError> {
        // Counts are 32-bit with a sign.
        let count = self.text.parse::<i32>().ok().and_then(|x| u32::try_from(x).ok());
        count.filter(|&x| x >= min).ok_or_else(|| self.fail(format!("an integer from {min} to {}", i32::MAX)))
    }

    fn duration(&self, (min, max): (Duration, Duration)) -> Result<Duration, ManifestError> {
        let ns = duration_ns(self.text).and_then(|ns| u64::try_from(ns).ok());
        ns.map(Duration::from_nanos).filter(|d| (min..=max).contains(d)).ok_or_else(|| {
            let range = match (min.is_zero(), max == Duration::MAX) {
                (true, true) => "of at least 0".to_owned(),
                (false, true) => "above 0".to_owned(),
                _ => format!("from {} s to {} s", min.as_secs(), max.as_secs()),
            };
            self.fail(format!("a duration such as `60s` {range}"))
        })
    }

    fn seconds(&self, range: (Duration, Duration)) -> Result<Duration, ManifestError> {
        let duration = self.duration(range)?;
        if duration.subsec_nanos() != 0 {
            return Err(self.fail("whole seconds"));
        }
        Ok(duration)
    }
}
