//! A pod's life before and after it serves: how long each stage takes.

use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::distribution::TimeDistribution;

/// Stages from the request for a pod to its process being up. Defaults to the preset [`Preset::TritonCached`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Startup {
    /// Measured defaults for what is not given.
    #[serde(default)]
    pub preset: Preset,
    /// From the pod's creation until the scheduler has bound it, if a node has room.
    #[serde(default)]
    pub scheduling: Option<TimeDistribution>,
    /// Image pull on a node that does not have it. Each node keeps what it pulled.
    #[serde(default)]
    pub pull: Option<TimeDistribution>,
    /// Whether nodes have the image from the start.
    #[serde(default = "yes")]
    pub image_cached: bool,
    /// From the image being there until the server would answer: container start, framework, model load.
    #[serde(default)]
    pub load: Option<TimeDistribution>,
}

fn yes() -> bool {
    true
}

impl Default for Startup {
    fn default() -> Self {
        Startup { preset: Preset::default(), scheduling: None, pull: None, image_cached: true, load: None }
    }
}

/// Start-up times as somebody measured them; sources in docs/simulator.md, "Pod life".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Triton with a 15 MB ONNX model, image on the node: created to HTTP up in 11.7 s, 2 s of them scheduling (KIS-S
    /// testbed); pull of a 10 GB Triton image "a couple of minutes" (karpenter #1476).
    #[default]
    TritonCached,
    /// Stable-Diffusion base model, 7,531 loads: p50/p90/p99 of 22.7/42.0/51.9 s (Alibaba GenTD26).
    StableDiffusion,
    /// Llama-3-8B in vLLM from GP3 storage: engine ready after 66 s (Run:ai model streamer benchmarks).
    Llama8bVllm,
    /// The same with Run:ai's streamer: 35 s.
    Llama8bStreamer,
    /// A 32B model on H100 from NVMe, safetensors: 20.6 s on average over 30 loads (ServerlessLLM).
    Qwen32bNvme,
    /// A 20 GB container pulled anew: 5–6 min pull, 3–4 min extract, about 2 min start (BentoML, 2025-04-11).
    LlmUncached,
}

/// The three stages, filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Stages {
    /// Creation to binding.
    pub scheduling: TimeDistribution,
    /// Image pull.
    pub pull: TimeDistribution,
    /// Image to serving.
    pub load: TimeDistribution,
}

impl Startup {
    /// The stages: the preset's where nothing else is said.
    pub fn stages(&self) -> Stages {
        let lognormal = |median_ms, cv| TimeDistribution::Lognormal { median: Span::millis(median_ms), cv };
        // A 10 GB image takes "a couple of minutes".
        let couple_of_minutes = TimeDistribution::Uniform { low: Span::secs(90), high: Span::secs(150) };
        let (pull, load) = match self.preset {
            Preset::TritonCached => (couple_of_minutes, lognormal(9_700, 0.2)),
            Preset::StableDiffusion => (
                couple_of_minutes,
                TimeDistribution::Percentiles {
                    minimum: Span::secs(5),
                    p50: Span::millis(22_700),
                    p90: Span::secs(42),
                    p99: Span::millis(51_900),
                },
            ),
            Preset::Llama8bVllm => (couple_of_minutes, lognormal(66_130, 0.2)),
            Preset::Llama8bStreamer => (couple_of_minutes, lognormal(35_080, 0.2)),
            // 20.6 s is the mean; ServerlessLLM's runs have a CV of about 0.7.
            Preset::Qwen32bNvme => (couple_of_minutes, lognormal(16_900, 0.7)),
            Preset::LlmUncached => {
                (TimeDistribution::Uniform { low: Span::secs(480), high: Span::secs(600) }, lognormal(120_000, 0.2))
            }
        };
        Stages {
            scheduling: self.scheduling.clone().unwrap_or(TimeDistribution::constant(Span::secs(2))),
            pull: self.pull.clone().unwrap_or(pull),
            load: self.load.clone().unwrap_or(load),
        }
    }

    /// What is wrong with the parameters, as (field, found, expected).
    pub fn problem(&self) -> Option<(String, String, String)> {
        [("scheduling", &self.scheduling), ("pull", &self.pull), ("load", &self.load)].into_iter().find_map(
            |(field, stage)| {
                let (inner, found, expected) = stage.as_ref()?.problem()?;
                Some((format!("{field}.{inner}"), found, expected.to_owned()))
            },
        )
    }
}

/// A readiness probe, as in a pod's spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Readiness {
    /// `initialDelaySeconds`: from the container's start to the first probe.
    pub initial_delay: Span,
    /// `periodSeconds`, above 0.
    pub period: Span,
    /// `successThreshold`: successes in a row that make it ready.
    pub success_threshold: u32,
}

impl Default for Readiness {
    /// Kubernetes' defaults.
    fn default() -> Self {
        Readiness { initial_delay: Span::secs(0), period: Span::secs(10), success_threshold: 1 }
    }
}

impl Readiness {
    /// When the pod is ready, nanoseconds, whose container starts at `started` and answers from `loaded` on: the first
    /// probe at or after `loaded` and the `success_threshold − 1` that follow.
    ///
    /// ```
    /// use kisim::cluster::Readiness;
    /// use kisim::config::Span;
    /// let probe = Readiness { initial_delay: Span::secs(30), period: Span::secs(10), success_threshold: 2 };
    /// let seconds = |s: u64| s * 1_000_000_000;
    /// assert_eq!(probe.ready_at(seconds(100), seconds(112)), seconds(140));
    /// assert_eq!(probe.ready_at(seconds(100), seconds(131)), seconds(150));
    /// ```
    pub fn ready_at(&self, started: u64, loaded: u64) -> u64 {
        let first = started.saturating_add(self.initial_delay.nanos());
        let period = self.period.nanos().max(1);
        let probes = loaded.saturating_sub(first).div_ceil(period);
        first
            .saturating_add(probes.saturating_mul(period))
            .saturating_add(u64::from(self.success_threshold.max(1) - 1).saturating_mul(period))
    }
}

/// How a pod goes away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// From deletion (and likewise from readiness) until the last client has heard: requests still arrive meanwhile.
    pub endpoint_propagation: Span,
    /// `terminationGracePeriodSeconds`: what is not done by then is killed.
    pub grace_period: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { endpoint_propagation: Span::secs(1), grace_period: Span::secs(30) }
    }
}

/// Phases of a pod, finer than Kubernetes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No node yet.
    Pending,
    /// A node has the image to pull.
    Pulling,
    /// The container runs and loads.
    Loading,
    /// It serves.
    Ready,
    /// The container crashed and waits to be restarted (CrashLoopBackOff).
    BackOff,
    /// Its node is lost: nobody knows.
    Lost,
    /// Being deleted; it finishes what it holds.
    Draining,
    /// It is no more.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_give_what_is_not_said_and_leave_what_is() {
        let custom = Startup { load: Some(TimeDistribution::constant(Span::secs(45))), ..Startup::default() };
        assert_eq!(custom.stages().load, TimeDistribution::constant(Span::secs(45)));
        assert_eq!(custom.stages().scheduling, TimeDistribution::constant(Span::secs(2)));
        let qwen = Startup { preset: Preset::Qwen32bNvme, ..Startup::default() }.stages();
        assert!((qwen.load.mean_secs() - 20.6).abs() < 0.1, "{}", qwen.load.mean_secs());
    }
}
