//! What must be known of each pod.

use std::ops::BitOr;

use kiscaler_train::observation::ObservationSet;
use kisim::autoscaler::{AutoscalerConfig, HpaMetric};

/// What somebody who decides goes by. Without it there is no decision: none of these is 0 because nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Requests received.
    pub requests: bool,
    /// Requests waiting.
    pub queued: bool,
    /// Requests in flight.
    pub in_flight: bool,
    /// The device's busy share.
    pub utilization: bool,
    /// CPU used over CPU asked for.
    pub cpu: bool,
    /// The distribution of latencies.
    pub latency: bool,
}

impl Needs {
    /// Of a policy.
    pub fn of_policy(set: ObservationSet) -> Needs {
        let all =
            Needs { requests: true, queued: true, in_flight: true, utilization: true, cpu: false, latency: false };
        match set.design() {
            Some(_) => all,
            None => Needs { cpu: true, latency: true, ..all },
        }
    }

    /// Of a baseline.
    pub fn of_baseline(config: &AutoscalerConfig) -> Needs {
        let by = |metric: HpaMetric| match metric {
            HpaMetric::Utilization => Needs { utilization: true, ..Needs::default() },
            HpaMetric::Cpu => Needs { cpu: true, ..Needs::default() },
            HpaMetric::Queue => Needs { queued: true, ..Needs::default() },
            HpaMetric::InFlight => Needs { in_flight: true, ..Needs::default() },
            HpaMetric::RequestRate => Needs { requests: true, ..Needs::default() },
        };
        match config {
            AutoscalerConfig::Fixed { .. } | AutoscalerConfig::Schedule(_) => Needs::default(),
            AutoscalerConfig::Hpa(hpa) => by(hpa.metric),
            AutoscalerConfig::Keda(keda) => by(keda.metric),
            AutoscalerConfig::Kpa(_) => by(HpaMetric::InFlight),
            AutoscalerConfig::Predictive(_) => Needs { requests: true, queued: true, ..Needs::default() },
        }
    }

    /// Whether nothing is needed: then no metrics are, either.
    pub fn is_none(self) -> bool {
        self == Needs::default()
    }

    /// What is needed and not in `offered`, for people.
    pub fn missing(self, offered: Needs) -> Option<&'static str> {
        [
            (self.requests && !offered.requests, "requests"),
            (self.queued && !offered.queued, "requests waiting"),
            (self.in_flight && !offered.in_flight, "requests in flight"),
            (self.utilization && !offered.utilization, "GPU utilization"),
            (self.cpu && !offered.cpu, "CPU utilization"),
            (self.latency && !offered.latency, "latency"),
        ]
        .into_iter()
        .find_map(|(missing, what)| missing.then_some(what))
    }
}

impl BitOr for Needs {
    type Output = Needs;

    fn bitor(self, other: Needs) -> Needs {
        Needs {
            requests: self.requests || other.requests,
            queued: self.queued || other.queued,
            in_flight: self.in_flight || other.in_flight,
            utilization: self.utilization || other.utilization,
            cpu: self.cpu || other.cpu,
            latency: self.latency || other.latency,
        }
    }
}
