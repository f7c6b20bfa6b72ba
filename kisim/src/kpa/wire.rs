//! The fields of manifests as they are written, and the numbers and durations in their strings.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The prefix of the autoscaler's annotations (`GroupName` in `register.go`).
pub(super) const PREFIX: &str = "autoscaling.knative.dev/";
/// The class of Knative's own autoscaler (`KPA` in `register.go`).
pub(super) const CLASS: &str = "kpa.autoscaling.knative.dev";
/// The ConfigMap's name (`ConfigName` in `config.go`).
pub(super) const CONFIG_NAME: &str = "config-autoscaler";
/// How long a revision has to come up (`ProgressDeadlineAnnotationKey` in `pkg/apis/serving/register.go`).
pub(super) const PROGRESS_DEADLINE: &str = "serving.knative.dev/progress-deadline";

/// Keys and values. Kubernetes wants the values quoted; here numbers and the like are read without quotes as well.
pub(super) type Strings = BTreeMap<String, String>;

/// The two fields that say what the rest is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: ServiceSpec,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceSpec {
    pub(super) template: Template,
    #[serde(rename = "traffic")]
    _traffic: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    pub(super) metadata: Option<Metadata>,
    pub(super) spec: Option<PodSpec>,
}

/// A `Revision` or a `PodAutoscaler`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revision {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: Option<PodSpec>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigMap {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) data: Option<Strings>,
    #[serde(rename = "immutable")]
    _immutable: Option<IgnoredAny>,
}

/// `metadata`; its other fields have no part in autoscaling.
#[derive(Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) annotations: Option<Strings>,
}

/// The pod's spec; its other fields have no part in autoscaling.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) container_concurrency: Option<i64>,
}

/// A finite number, as Go's `strconv.ParseFloat` reads it but for hexadecimals and underscores.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

/// A duration as Go's `time.ParseDuration` reads it, such as `1h15m30.5s`, in nanoseconds; with a sign.
pub(super) fn duration_ns(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let unit_ns: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scaled(amount, unit_ns)?)?;
        rest = next;
    }
    // Go's durations are 64-bit nanoseconds.
    i64::try_from(total).ok()?;
    Some(if negative { -total } else { total })
}

/// A decimal number of units.
fn scaled(amount: &str, unit_ns: i128) -> Option<i128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits beyond the 15th are below a nanosecond for every unit.
    let digits = fraction.get(..fraction.len().min(15))?;
    let part: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let scale = 10_i128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    whole.checked_mul(unit_ns)?.checked_add(part * unit_ns / scale)
}

/// A duration as `time.ParseDuration` reads it back: `60s`, `1500000000ns`.
pub(super) fn go_duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 { format!("{}s", duration.as_secs()) } else { format!("{}ns", duration.as_nanos()) }
}
