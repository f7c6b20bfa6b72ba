//! Service profiles: how long a device takes for a batch of a model, as measured.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, parse_toml, read_file};
use crate::sharing::SharingRule;

/// What a replica computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Hardware {
    /// A GPU, or a share of one.
    Gpu,
    /// CPU cores.
    Cpu,
}

/// An affine service time: `fixed + per_item · batch`, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AffineMs {
    /// Cost of a batch of any size, milliseconds.
    pub fixed: f64,
    /// Cost of each request in it, milliseconds.
    pub per_item: f64,
}

/// The family of a batch's service time around its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpreadFamily {
    /// Log-normal with the profile's coefficient of variation; deterministic when that is 0.
    #[default]
    Lognormal,
    /// Exponential (coefficient of variation 1): what closed-form queueing theory is about.
    Exponential,
}

/// A service profile, as written in TOML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, as `profile = "…"` in a scenario.
    pub name: String,
    /// One line for `kisim profiles`.
    #[serde(default)]
    pub description: String,
    /// GPU or CPU.
    pub hardware: Hardware,
    /// The device it was measured on.
    #[serde(default)]
    pub device: String,
    /// Largest batch the figures hold for; at most the largest measured.
    pub max_batch: usize,
    /// Measured (batch, mean latency in ms); batches ascend, latencies do not fall, and lines join them. Either this or
    /// `affine_ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency_ms: Vec<(usize, f64)>,
    /// Or an affine fit of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affine_ms: Option<AffineMs>,
    /// Coefficient of variation of a batch's time.
    #[serde(default)]
    pub service_cv: f64,
    /// Family of its distribution.
    #[serde(default)]
    pub spread: SpreadFamily,
    /// Time a request spends outside queue and batch (network, pre- and post-processing), ms.
    #[serde(default)]
    pub overhead_ms: f64,
    /// US dollars per replica-hour of one whole device.
    #[serde(default)]
    pub price_per_hour: f64,
    /// Where the figures come from.
    #[serde(default)]
    pub source: String,
    /// Where the price comes from, with its date.
    #[serde(default)]
    pub price_source: String,
    /// Overrides of the GPU-sharing figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharingRule>,
}

/// Spread of a batch's service time around its mean; every one has mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// None.
    Deterministic,
    /// Log-normal, `sigma` being the standard deviation of the logarithm.
    LogNormal {
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Exponential.
    Exponential,
}

macro_rules! builtin {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../profiles/", $file, ".toml")))),*]
    };
}

/// The profiles that are built in: (name, TOML).
pub const BUILTIN: &[(&str, &str)] = builtin![
    "bert-base-paddle-fp32-xeon-6271c",
    "bert-base-trt-fp16-seq128-a100-40gb",
    "bert-base-trt-fp16-seq128-a30",
    "bert-base-trt-fp16-seq128-t4",
    "bert-large-trt-fp16-seq128-a100-40gb",
    "bert-large-trt-fp16-seq128-a30",
    "bert-large-trt-fp16-seq128-t4",
    "llama2-7b-turbomind-a100-128in-128out",
    "mobilenetv4-conv-small-torch-amp-rtx3090",
    "mobilenetv4-conv-small-torch-amp-rtx4090",
    "mobilenetv4-conv-small-torch-fp32-i7-12700h",
    "resnet50-onnx-trt-fp16-a100",
    "resnet50-onnx-trt-fp16-a40",
    "resnet50-onnx-trt-fp16-t4",
    "resnet50-onnx-trt-fp16-v100",
    "resnet50-torch-fp32-i7-12700h",
];

impl Profile {
    /// A built-in profile by name, or else the profile in the TOML file at that path, which is taken relative to
    /// `base` (the scenario's folder). What has more than one line is a profile itself.
    pub fn load(name: &str, base: &Path) -> Result<Profile, ConfigError> {
        if name.contains('\n') {
            return Profile::parse(name, "the profile in the configuration");
        }
        if let Some((builtin, text)) = BUILTIN.iter().find(|(builtin, _)| *builtin == name) {
            return Profile::parse(text, &format!("built-in profile {builtin}"));
        }
        if !name.ends_with(".toml") {
            return Err(ConfigError::UnknownProfile {
                found: name.to_owned(),
                expected: BUILTIN.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
            });
        }
        let path = base.join(name);
        Profile::parse(&read_file(&path)?, &path.display().to_string())
    }

    /// Reads a profile from TOML; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Profile, ConfigError> {
        let profile: Profile = parse_toml(text, origin)?;
        profile.check(origin)?;
        Ok(profile)
    }

    fn check(&self, origin: &str) -> Result<(), ConfigError> {
        let bad = |field: &str, found: String, expected: &str| {
            Err(ConfigError::Field {
                origin: origin.to_owned(),
                field: field.to_owned(),
                found,
                expected: expected.to_owned(),
            })
        };
        match (&self.latency_ms[..], self.affine_ms) {
            ([], None) => {
                return bad("latency_ms", "no points".into(), "at least one [batch, ms] point, or [affine_ms]");
            }
            ([_, ..], Some(_)) => return bad("affine_ms", "both it and latency_ms".into(), "one of the two"),
            _ => {}
        }
        if self.max_batch == 0 {
            return bad("max_batch", "0".into(), "at least 1");
        }
        for pair in self.latency_ms.windows(2) {
            if pair[1].0 <= pair[0].0 {
                return bad("latency_ms", format!("batch {} after {}", pair[1].0, pair[0].0), "ascending batch sizes");
            }
            if pair[1].1 < pair[0].1 {
                return bad(
                    "latency_ms",
                    format!("{} ms at batch {} after {} ms at {}", pair[1].1, pair[1].0, pair[0].1, pair[0].0),
                    "latencies that do not fall as the batch grows",
                );
            }
        }
        for &(batch, ms) in &self.latency_ms {
            if batch == 0 || !(ms.is_finite() && ms > 0.0) {
                return bad("latency_ms", format!("[{batch}, {ms}]"), "a batch of at least 1 and a positive time");
            }
        }
        if let Some(&(last, _)) = self.latency_ms.last()
            && self.max_batch > last
        {
            return bad(
                "max_batch",
                self.max_batch.to_string(),
                &format!("at most {last}, the largest measured batch"),
            );
        }
        if let Some(AffineMs { fixed, per_item }) = self.affine_ms
            && !(fixed >= 0.0 && per_item >= 0.0 && fixed + per_item > 0.0 && (fixed + per_item).is_finite())
        {
            return bad(
                "affine_ms",
                format!("fixed {fixed}, per_item {per_item}"),
                "non-negative times, not both zero",
            );
        }
        for (field, value) in [
            ("service_cv", self.service_cv),
            ("overhead_ms", self.overhead_ms),
            ("price_per_hour", self.price_per_hour),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return bad(field, value.to_string(), "a number of at least 0");
            }
        }
        if let Some((field, found, expected)) = self.sharing.as_ref().and_then(SharingRule::problem) {
            return bad(&format!("sharing.{field}"), found, expected);
        }
        Ok(())
    }

    /// Mean time of a batch, milliseconds. Between measured sizes it is linear; below the first it is the first's.
    /// Beyond `max_batch` nothing was measured: scenarios that ask for it are refused.
    pub fn batch_ms(&self, batch: usize) -> f64 {
        if let Some(AffineMs { fixed, per_item }) = self.affine_ms {
            return fixed + per_item * batch as f64;
        }
        let mut below = self.latency_ms[0];
        for &point in &self.latency_ms {
            if point.0 >= batch {
                if point.0 == below.0 || batch <= below.0 {
                    return point.1;
                }
                let share = (batch - below.0) as f64 / (point.0 - below.0) as f64;
                return below.1 + (point.1 - below.1) * share;
            }
            below = point;
        }
        below.1
    }

    /// Mean time by batch size up to `max_batch`, nanoseconds; index 0 is unused.
    pub fn service_ns(&self, max_batch: usize) -> Vec<f64> {
        (0..=max_batch).map(|batch| if batch == 0 { 0.0 } else { self.batch_ms(batch) * 1e6 }).collect()
    }

    /// The spread of a batch's time.
    pub fn spread(&self) -> Spread {
        match self.spread {
            SpreadFamily::Exponential => Spread::Exponential,
            SpreadFamily::Lognormal if self.service_cv == 0.0 => Spread::Deterministic,
            // CV² = exp(σ²) − 1.
            SpreadFamily::Lognormal => Spread::LogNormal { sigma: (self.service_cv * self.service_cv).ln_1p().sqrt() },
        }
    }

    /// Highest sustainable rate of one instance with batches of up to `max_batch`, requests a second.
    pub fn capacity(&self, max_batch: usize) -> f64 {
        (1..=max_batch).map(|batch| batch as f64 / (self.batch_ms(batch) * 1e-3)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_profiles_load_and_carry_their_sources() {
        for (name, _) in BUILTIN {
            let profile = Profile::load(name, Path::new(".")).expect(name);
            assert_eq!(&profile.name, name);
            assert!(
                !profile.source.is_empty() && !profile.price_source.is_empty() && profile.price_per_hour > 0.0,
                "{name}"
            );
        }
    }

    #[test]
    fn a_profile_may_be_given_as_text() {
        let text = "name='mine'\nhardware='gpu'\nmax_batch=1\nlatency_ms=[[1,2.0]]";
        assert_eq!(Profile::load(text, Path::new("nowhere")).expect("valid").name, "mine");
        let error = Profile::load("name='mine'\nhardware='tpu'", Path::new(".")).expect_err("refused").to_string();
        assert!(error.contains("the profile in the configuration, line 2"), "{error}");
    }

    #[test]
    fn points_are_joined_linearly() {
        let text = "name='x'\nhardware='gpu'\nmax_batch=8\nlatency_ms=[[1,2.0],[4,3.5],[8,4.0]]";
        let profile = Profile::parse(text, "x.toml").expect("valid");
        let check = |batch, ms: f64| assert!((profile.batch_ms(batch) - ms).abs() < 1e-12, "{batch}");
        check(1, 2.0);
        check(2, 2.5);
        check(3, 3.0);
        check(4, 3.5);
        check(6, 3.75);
        check(8, 4.0);
        assert!((profile.capacity(8) - 2000.0).abs() < 1e-9);
    }

    #[test]
    fn bad_profiles_are_refused_with_field_found_and_expected() {
        let refuse = |body: &str, part: &str| {
            let text = format!("name='x'\nhardware='gpu'\n{body}");
            let error = Profile::parse(&text, "x.toml").expect_err(body).to_string();
            assert!(error.contains("x.toml") && error.contains(part), "{error}");
            assert!(!error.contains('\n'), "{error}");
        };
        refuse("max_batch=8", "latency_ms");
        refuse("max_batch=8\nlatency_ms=[[1,1.0]]", "at most 1");
        refuse("max_batch=1\nlatency_ms=[[1,-1.0]]", "positive");
        refuse("max_batch=1\nlatency_ms=[[1,nan]]", "positive");
        refuse("max_batch=2\nlatency_ms=[[2,1.0],[1,2.0]]", "ascending");
        refuse("max_batch=2\nlatency_ms=[[1,2.0],[2,1.0]]", "do not fall");
        refuse("max_batch=1\nlatency_ms=[[1,1.0]]\noverhead=3", "overhead");
        refuse("max_batch=1\nlatency_ms=[[1,1.0]]\n[sharing]\nmig_1g_speed=0.0", "sharing.mig_1g_speed");
        refuse("max_batch=1\nlatency_ms=[[1,1.0]]\n[sharing]\ninstance_gain=[[1,-2]]", "sharing.instance_gain");
    }
}
