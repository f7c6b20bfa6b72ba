//! Why a decision is what it is, in one word.

/// Why a decision is what it is. The closed set by which decisions are counted and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// More replicas.
    ScaleUp,
    /// Fewer replicas.
    ScaleDown,
    /// As many as there are.
    Steady,
    /// The policy saw what training never showed it; the fallback decided, or holds.
    OutOfDistribution,
    /// There is no policy to ask; the fallback holds.
    PolicyUnavailable,
    /// Metrics have not been seen for long enough.
    WarmingUp,
    /// There are no metrics.
    NoMetrics,
    /// The newest metrics are too old.
    StaleMetrics,
    /// Metrics of too few pods are fresh.
    PartialMetrics,
    /// No pod is ready, so none has metrics.
    NoReadyPods,
    /// The clock went back.
    ClockStepped,
    /// Pods of the last decrease are not gone yet.
    Draining,
    /// The pause annotation is set.
    Paused,
    /// Somebody set the replicas to 0, which is no number within the limits.
    Disabled,
    /// There is no such target.
    TargetMissing,
    /// The target cannot be scaled: it has no scale subresource, or no selector.
    NotScalable,
    /// Another autoscaler owns the target.
    TargetOwned,
    /// Another field manager owns the number of replicas.
    Conflict,
    /// The API refused the write.
    WriteRefused,
    /// The API cannot be reached.
    ApiUnavailable,
    /// The spec says what cannot be.
    InvalidSpec,
}

impl Reason {
    /// All.
    pub const ALL: [Reason; 21] = [
        Reason::ScaleUp,
        Reason::ScaleDown,
        Reason::Steady,
        Reason::OutOfDistribution,
        Reason::PolicyUnavailable,
        Reason::WarmingUp,
        Reason::NoMetrics,
        Reason::StaleMetrics,
        Reason::PartialMetrics,
        Reason::NoReadyPods,
        Reason::ClockStepped,
        Reason::Draining,
        Reason::Paused,
        Reason::Disabled,
        Reason::TargetMissing,
        Reason::NotScalable,
        Reason::TargetOwned,
        Reason::Conflict,
        Reason::WriteRefused,
        Reason::ApiUnavailable,
        Reason::InvalidSpec,
    ];

    /// Its name in status, Events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::ScaleUp => "ScaleUp",
            Reason::ScaleDown => "ScaleDown",
            Reason::Steady => "Steady",
            Reason::OutOfDistribution => "OutOfDistribution",
            Reason::PolicyUnavailable => "PolicyUnavailable",
            Reason::WarmingUp => "WarmingUp",
            Reason::NoMetrics => "NoMetrics",
            Reason::StaleMetrics => "StaleMetrics",
            Reason::PartialMetrics => "PartialMetrics",
            Reason::NoReadyPods => "NoReadyPods",
            Reason::ClockStepped => "ClockStepped",
            Reason::Draining => "Draining",
            Reason::Paused => "Paused",
            Reason::Disabled => "Disabled",
            Reason::TargetMissing => "TargetMissing",
            Reason::NotScalable => "NotScalable",
            Reason::TargetOwned => "TargetOwned",
            Reason::Conflict => "Conflict",
            Reason::WriteRefused => "WriteRefused",
            Reason::ApiUnavailable => "ApiUnavailable",
            Reason::InvalidSpec => "InvalidSpec",
        }
    }

    /// Whether nothing is to be changed, whatever the numbers say.
    pub const fn holds(self) -> bool {
        !matches!(self, Reason::ScaleUp | Reason::ScaleDown | Reason::Steady | Reason::OutOfDistribution)
    }
}
