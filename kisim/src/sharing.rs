//! How executions that share a GPU slow each other down.

use serde::{Deserialize, Serialize};

/// How the replicas of a pool divide a GPU, and by what rule they slow their neighbours.
///
/// The rule is a *speed*: the share of its stand-alone rate at which one execution progresses while `k` executions
/// are running on the same GPU. It is re-evaluated whenever an execution starts or ends there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sharing {
    /// One replica a GPU. Its own model instances still share it, see [`SharingRule::instance_gain`].
    Exclusive,
    /// NVIDIA device plugin time-slicing: `replicas` pods a GPU, which takes turns between them.
    TimeSlicing {
        /// Pods a GPU, at least 1.
        replicas: u32,
    },
    /// CUDA MPS: as many pods a GPU as their thread percentages allow, running at the same time.
    Mps {
        /// `CUDA_MPS_ACTIVE_THREAD_PERCENTAGE`, 1–100.
        thread_percentage: u32,
    },
    /// Multi-Instance GPU: hardware slices that do not slow each other.
    Mig {
        /// The slice each replica gets.
        slice: MigSlice,
    },
}

/// MIG profiles of an A100 or H100, by compute slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum MigSlice {
    /// One of seven compute slices.
    #[serde(rename = "1g")]
    G1,
    /// Two of seven.
    #[serde(rename = "2g")]
    G2,
    /// Three of seven.
    #[serde(rename = "3g")]
    G3,
    /// Four of seven.
    #[serde(rename = "4g")]
    G4,
    /// All seven: the whole GPU in MIG mode.
    #[serde(rename = "7g")]
    G7,
}

impl MigSlice {
    /// How many such slices one GPU holds (NVIDIA MIG user guide, supported A100 profiles).
    pub fn per_gpu(self) -> u32 {
        match self {
            MigSlice::G1 => 7,
            MigSlice::G2 => 3,
            MigSlice::G3 => 2,
            MigSlice::G4 | MigSlice::G7 => 1,
        }
    }

    /// Compute slices out of seven.
    fn compute_slices(self) -> f64 {
        match self {
            MigSlice::G1 => 1.0,
            MigSlice::G2 => 2.0,
            MigSlice::G3 => 3.0,
            MigSlice::G4 => 4.0,
            MigSlice::G7 => 7.0,
        }
    }
}

/// The figures behind the slow-downs; a profile may override each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SharingRule {
    /// Aggregate throughput of two or more concurrent instances of one pod over one instance, by batch size, joined
    /// linearly: `[[batch, gain], …]`. Small batches leave a GPU idle and gain most. Default 1.50 at batch 1 to 1.06
    /// from batch 32: the range measured for two instances of one model (docs/simulator.md, "GPU sharing").
    pub instance_gain: Vec<(f64, f64)>,
    /// Aggregate throughput of time-sliced pods over one pod alone while more than one is busy, at most 1: switching
    /// costs. Default 0.76, the throughput of time-slicing relative to MIG on an A100 (NVIDIA, March 2026).
    pub time_slicing_efficiency: f64,
    /// Factor by which each *other* busy MPS pod on the GPU lengthens an execution through shared caches and memory
    /// bandwidth. Default 1.09, the middle of the measured 1.05–1.13.
    pub mps_interference: f64,
    /// Speed of a 1g slice relative to the whole GPU. Default 0.133, measured on an A100; larger slices scale from
    /// it by their compute slices up to the whole GPU.
    pub mig_1g_speed: f64,
}

impl Default for SharingRule {
    fn default() -> Self {
        SharingRule {
            instance_gain: vec![(1.0, 1.50), (32.0, 1.06)],
            time_slicing_efficiency: 0.76,
            mps_interference: 1.09,
            mig_1g_speed: 0.133,
        }
    }
}

impl SharingRule {
    /// What is wrong with the figures, as (field, found, expected).
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        let gains = &self.instance_gain;
        if gains.is_empty() || gains.iter().any(|&(batch, gain)| !(batch > 0.0 && gain >= 1.0 && gain.is_finite())) {
            return Some(("instance_gain", format!("{gains:?}"), "[batch, gain] pairs with gains of at least 1"));
        }
        if gains.windows(2).any(|w| w[1].0 <= w[0].0) {
            return Some(("instance_gain", format!("{gains:?}"), "ascending batch sizes"));
        }
        for (field, value) in
            [("time_slicing_efficiency", self.time_slicing_efficiency), ("mig_1g_speed", self.mig_1g_speed)]
        {
            if !(value > 0.0 && value <= 1.0) {
                return Some((field, value.to_string(), "a number above 0 and at most 1"));
            }
        }
        if !(self.mps_interference >= 1.0 && self.mps_interference.is_finite()) {
            return Some(("mps_interference", self.mps_interference.to_string(), "a number of at least 1"));
        }
        None
    }
}

impl Sharing {
    /// How many replicas fit on one GPU.
    pub fn replicas_per_gpu(&self) -> u32 {
        match self {
            Sharing::Exclusive => 1,
            Sharing::TimeSlicing { replicas } => (*replicas).max(1),
            Sharing::Mps { thread_percentage } => (100 / (*thread_percentage).clamp(1, 100)).max(1),
            Sharing::Mig { slice } => slice.per_gpu(),
        }
    }

    /// Whether replicas on one GPU slow each other, so that they must be simulated together.
    pub fn neighbours_interfere(&self) -> bool {
        matches!(self, Sharing::TimeSlicing { replicas: 2.. })
            || matches!(self, Sharing::Mps { thread_percentage: 0..=50 })
    }

    /// Speed of a lone execution relative to the profile's measurements, which had the whole device.
    pub fn lone_speed(&self, rule: &SharingRule) -> f64 {
        match self {
            Sharing::Exclusive | Sharing::TimeSlicing { .. } => 1.0,
            Sharing::Mps { thread_percentage } => f64::from((*thread_percentage).clamp(1, 100)) / 100.0,
            // 1g is measured; 7g is the whole; between, straight in compute slices.
            Sharing::Mig { slice } => {
                rule.mig_1g_speed + (1.0 - rule.mig_1g_speed) * (slice.compute_slices() - 1.0) / 6.0
            }
        }
    }

    /// Speed of one execution of `batch` requests, relative to it alone on this share, while `own` executions (itself
    /// included) of its pod and `others` of other pods run on the same GPU.
    pub fn contended_speed(&self, rule: &SharingRule, batch: usize, own: usize, others: usize) -> f64 {
        let own = own.max(1) as f64;
        let instances = if own > 1.0 { interpolate(&rule.instance_gain, batch as f64).min(own) / own } else { 1.0 };
        let neighbours = match self {
            Sharing::Exclusive | Sharing::Mig { .. } => 1.0,
            // Turns are taken between executions, so each gets an equal share of what switching leaves.
            Sharing::TimeSlicing { .. } if others > 0 => rule.time_slicing_efficiency * own / (own + others as f64),
            Sharing::TimeSlicing { .. } => 1.0,
            Sharing::Mps { .. } => rule.mps_interference.max(1.0).powi(-(others as i32)),
        };
        instances * neighbours
    }
}

/// Piecewise-linear interpolation through `points` (ascending in x), flat outside; 1 without points.
fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let Some(&(mut x0, mut y0)) = points.first() else { return 1.0 };
    if x <= x0 {
        return y0;
    }
    for &(x1, y1) in &points[1..] {
        if x <= x1 {
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
        }
        (x0, y0) = (x1, y1);
    }
    y0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_gain_as_stated() {
        let rule = SharingRule::default();
        let throughput = |batch| 2.0 * Sharing::Exclusive.contended_speed(&rule, batch, 2, 0);
        assert!((throughput(1) - 1.50).abs() < 1e-12);
        assert!((throughput(32) - 1.06).abs() < 1e-12);
        assert!((throughput(128) - 1.06).abs() < 1e-12);
        assert_eq!(Sharing::Exclusive.contended_speed(&rule, 1, 1, 0), 1.0);
    }

    #[test]
    fn slices_and_shares_are_as_stated() {
        let rule = SharingRule::default();
        let mig = |slice| Sharing::Mig { slice };
        assert!((mig(MigSlice::G1).lone_speed(&rule) - 0.133).abs() < 1e-12);
        assert!((mig(MigSlice::G7).lone_speed(&rule) - 1.0).abs() < 1e-12);
        assert_eq!(mig(MigSlice::G1).replicas_per_gpu(), 7);
        assert_eq!(Sharing::Mps { thread_percentage: 30 }.replicas_per_gpu(), 3);
        assert_eq!(mig(MigSlice::G1).contended_speed(&rule, 1, 1, 6), 1.0);
        // Three busy time-sliced pods: a third each of what switching leaves.
        let sliced = Sharing::TimeSlicing { replicas: 3 };
        assert!((sliced.contended_speed(&rule, 1, 1, 2) - 0.76 / 3.0).abs() < 1e-12);
        // Two busy MPS neighbours: 9 % longer for each.
        let mps = Sharing::Mps { thread_percentage: 33 };
        assert!((mps.contended_speed(&rule, 1, 1, 2) - 1.0 / (1.09 * 1.09)).abs() < 1e-12);
    }
}
