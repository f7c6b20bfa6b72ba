//! What can go wrong, on schedule or at random.

use rand::RngExt;
use rand_distr::{Distribution, Exp1};
use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::random::Stream;

/// A kind of fault and when it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!try_from))]
#[serde(try_from = "FaultFields")]
pub struct Fault {
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// At these times.
    #[serde(default)]
    pub at: Vec<Span>,
    /// And at random, with exponential times of this mean between, at least 1ms. One of the two is given, or both.
    pub every: Option<Span>,
}

/// A fault as written: serde can either flatten a variant or refuse unknown fields, not both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFields {
    kind: FaultName,
    #[serde(default)]
    at: Vec<Span>,
    every: Option<Span>,
    pool: Option<String>,
    repeats: Option<u32>,
    lasting: Option<Span>,
    detection: Option<Span>,
    eviction: Option<Span>,
    factor: Option<f64>,
    extra: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FaultName {
    PodCrash,
    GpuLost,
    NodeLost,
    SlowNode,
    ScrapeDropout,
    ScrapeLag,
    ScaleRefused,
}

/// Kubernetes' default.
fn detection() -> Span {
    Span::secs(40)
}

/// Kubernetes' default.
fn eviction() -> Span {
    Span::secs(300)
}

impl TryFrom<FaultFields> for Fault {
    type Error = String;

    fn try_from(f: FaultFields) -> Result<Fault, String> {
        use FaultName as N;
        let of = |names: &[N]| names.contains(&f.kind);
        for (field, given, belongs) in [
            ("pool", f.pool.is_some(), of(&[N::PodCrash])),
            ("repeats", f.repeats.is_some(), of(&[N::PodCrash])),
            ("lasting", f.lasting.is_some(), !of(&[N::PodCrash])),
            ("detection", f.detection.is_some(), of(&[N::NodeLost])),
            ("eviction", f.eviction.is_some(), of(&[N::NodeLost])),
            ("factor", f.factor.is_some(), of(&[N::SlowNode])),
            ("extra", f.extra.is_some(), of(&[N::ScrapeLag])),
        ] {
            if given && !belongs {
                return Err(format!("found field `{field}`, which a fault of this kind does not have"));
            }
        }
        let need = |field: &str, value: Option<Span>| value.ok_or(format!("missing field `{field}`, a length of time"));
        let lasting = || need("lasting", f.lasting);
        let kind = match f.kind {
            N::PodCrash => FaultKind::PodCrash { pool: f.pool.clone(), repeats: f.repeats.unwrap_or(0) },
            N::GpuLost => FaultKind::GpuLost { lasting: lasting()? },
            N::NodeLost => FaultKind::NodeLost {
                lasting: lasting()?,
                detection: f.detection.unwrap_or_else(detection),
                eviction: f.eviction.unwrap_or_else(eviction),
            },
            N::SlowNode => FaultKind::SlowNode {
                lasting: lasting()?,
                factor: f.factor.ok_or("missing field `factor`, a number of at least 1")?,
            },
            N::ScrapeDropout => FaultKind::ScrapeDropout { lasting: lasting()? },
            N::ScrapeLag => FaultKind::ScrapeLag { lasting: lasting()?, extra: need("extra", f.extra)? },
            N::ScaleRefused => FaultKind::ScaleRefused { lasting: lasting()? },
        };
        Ok(Fault { kind, at: f.at, every: f.every })
    }
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// The container of a ready pod dies with all it holds and is restarted, after 10 s, 20 s, … 300 s of back-off
    /// (kubelet's CrashLoopBackOff); `repeats` more crashes follow, each as it becomes ready.
    PodCrash {
        /// The pool it happens in; any if absent.
        pool: Option<String>,
        /// Crashes that follow.
        #[serde(default)]
        repeats: u32,
    },
    /// A GPU falls off the bus: its pods fail and are replaced, the GPU is unavailable for a while.
    GpuLost {
        /// For how long.
        lasting: Span,
    },
    /// A node vanishes with its pods. Its endpoints stay until the control plane notices; its pods are replaced after
    /// the eviction timeout.
    NodeLost {
        /// For how long; it comes back empty.
        lasting: Span,
        /// Until its endpoints are removed: node-monitor-grace-period.
        #[serde(default = "detection")]
        detection: Span,
        /// From there until its pods are replaced: the not-ready toleration.
        #[serde(default = "eviction")]
        eviction: Span,
    },
    /// A node computes more slowly.
    SlowNode {
        /// For how long.
        lasting: Span,
        /// How many times longer its batches take, at least 1.
        factor: f64,
    },
    /// No scrape succeeds.
    ScrapeDropout {
        /// For how long.
        lasting: Span,
    },
    /// Scrapes become visible later.
    ScrapeLag {
        /// For how long.
        lasting: Span,
        /// How much later.
        extra: Span,
    },
    /// The API refuses to change the number of replicas.
    ScaleRefused {
        /// For how long.
        lasting: Span,
    },
}

impl Fault {
    /// What is wrong with the parameters, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if self.at.is_empty() && self.every.is_none() {
            return Some(("at", "no time".into(), "a list of times in at, or a mean time between in every"));
        }
        if let Some(every) = self.every.filter(|every| every.nanos() < 1_000_000) {
            return Some(("every", every.to_string(), "at least 1ms"));
        }
        match self.kind {
            FaultKind::SlowNode { factor, .. } if !(factor.is_finite() && factor >= 1.0) => {
                Some(("factor", factor.to_string(), "a number of at least 1"))
            }
            _ => None,
        }
    }

    /// When it next strikes at random after `now`, nanoseconds.
    pub fn next_random(&self, now: u64, rng: &mut Stream) -> Option<u64> {
        let every = self.every?;
        let unit: f64 = Exp1.sample(rng);
        Some(now.saturating_add((unit * every.nanos() as f64) as u64))
    }
}

/// One of `victims` at random.
pub fn pick<T: Copy>(victims: &[T], rng: &mut Stream) -> Option<T> {
    (!victims.is_empty()).then(|| victims[rng.random_range(0..victims.len())])
}

/// Back-off before restart number `restarts` (from 1) of a container: 10 s doubling up to 5 minutes, as the kubelet's.
pub fn crash_back_off(restarts: u32) -> u64 {
    let seconds = 10u64.saturating_mul(1 << restarts.saturating_sub(1).min(10));
    seconds.min(300) * 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_five_minutes() {
        let seconds: Vec<u64> = (1..8).map(|n| crash_back_off(n) / 1_000_000_000).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn faults_read_from_toml() {
        #[derive(Deserialize)]
        struct Faults {
            faults: Vec<Fault>,
        }
        let text = "[[faults]]\nkind='pod_crash'\nat=['30s']\nrepeats=2\n[[faults]]\nkind='slow_node'\nlasting='1m'\nfactor=2.0\nevery='1h'\n";
        let parsed: Faults = toml::from_str(text).expect("valid");
        assert_eq!(parsed.faults[0].kind, FaultKind::PodCrash { pool: None, repeats: 2 });
        assert_eq!(parsed.faults[1].every, Some(Span::secs(3600)));
    }
}
