//! Metrics read from Prometheus: the raw samples, each with its own time, so that rates are the window's as everywhere.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kisim::time::SimTime;
use serde::Deserialize;

use super::http::{Credentials, HttpClient, HttpError};
use super::mapping::{Mapping, Quantity};
use super::past::{NoPast, Tally};
use super::reading::Reading;
use super::sampler::Sampler;
use super::{Finding, Found, Round, Wanted};
use crate::api::PrometheusSource;

/// How old a series' sample may be beside a newer one of the same pod: scrapes of a pod's targets are that far apart.
const APART: Duration = Duration::from_secs(120);

/// Why Prometheus did not answer the question.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There was no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It refused.
    #[error("Prometheus at {url} refused: {kind}: {message}")]
    Refused {
        /// Its address.
        url: String,
        /// Its word for it.
        kind: String,
        /// Its sentence.
        message: String,
    },
    /// The answer is none of Prometheus' API.
    #[error("{url} answered {found}, expected an answer of Prometheus' API")]
    NoApi {
        /// Its address.
        url: String,
        /// What it said.
        found: String,
    },
}

/// Why Prometheus does not know what arrived in the past.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// It did not answer the question.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It answered, and there is nothing to go by.
    #[error(transparent)]
    Nothing(#[from] NoPast),
    /// Counting ended without a result.
    #[error("counting requests: {0}")]
    Counting(String),
}

/// How much of the past is asked for at once. In half an hour, scraped every 15 s, a series takes some 4 kB: thousands of
/// them fit into the longest answer that is read.
const AT_ONCE: Duration = Duration::from_secs(1800);

/// Asks Prometheus.
#[derive(Clone, Debug)]
pub struct Prometheus {
    url: String,
    pod_label: String,
    gpu_pod_label: String,
    timeout: Duration,
    client: HttpClient,
    credentials: Credentials,
}

#[derive(Deserialize)]
struct Answer<'a> {
    status: &'a str,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

/// A series of a range vector.
#[derive(Debug, Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    metric: HashMap<Cow<'a, str>, Cow<'a, str>>,
    /// (seconds since 1970, value as text).
    #[serde(default, borrow)]
    values: Vec<(f64, Cow<'a, str>)>,
}

impl Series<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.metric.get(key).map(Cow::as_ref)
    }

    /// All labels, as one text.
    fn identity(&self) -> String {
        let mut labels: Vec<_> = self.metric.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        labels.sort_unstable();
        labels.join(",")
    }

    /// The newest value at `at` that is not too old.
    fn value_at(&self, at: SimTime) -> Option<f64> {
        let number = self.values.partition_point(|(seconds, _)| time(*seconds) <= at);
        let (seconds, text) = self.values.get(number.checked_sub(1)?)?;
        (at.since(time(*seconds)) <= APART).then(|| text.parse().unwrap_or(f64::NAN))
    }
}

/// Prometheus keeps milliseconds.
fn time(seconds: f64) -> SimTime {
    SimTime::from_nanos((seconds * 1e3).round() as u64 * 1_000_000)
}

impl Prometheus {
    /// As the spec has it, asked through `client` with `credentials`.
    pub fn new(source: &PrometheusSource, client: HttpClient, credentials: Credentials) -> Self {
        Prometheus {
            url: source.url.trim_end_matches('/').to_owned(),
            pod_label: source.pod_label.clone(),
            gpu_pod_label: source.gpu_pod_label.clone(),
            timeout: source.timeout.duration(),
            client,
            credentials,
        }
    }

    /// Samples of `pods`, all of one namespace, of the last `range` before `now`, those left out that were seen before.
    ///
    /// # Errors
    /// Prometheus did not answer: nothing is known of any pod.
    pub async fn round(
        &self,
        mapping: &Mapping,
        sampler: &mut Sampler,
        pods: &[Wanted],
        (now, range): (SimTime, Duration),
    ) -> Result<Round, ApiError> {
        let Some(first) = pods.first() else { return Ok(Round::default()) };
        let namespace = &first.address.namespace;
        let names: Vec<&str> = pods.iter().map(|pod| pod.address.name.as_str()).collect();
        // Names of pods have no character that regular expressions know, but the dot, which matches itself.
        let pattern = names.join("|");
        let mut service = mapping.names();
        service.push("up");
        let own = self.query(&service, namespace, (&self.pod_label, &pattern), (now, range)).await?;
        let mut bodies = vec![(&self.pod_label, service.as_slice(), own)];
        for label in [&self.gpu_pod_label, &self.pod_label] {
            let answer = self.query(mapping.gpu_names(), namespace, (label, &pattern), (now, range)).await?;
            bodies.push((label, mapping.gpu_names(), answer));
            if self.gpu_pod_label == self.pod_label {
                break;
            }
        }
        let mut by_pod: HashMap<&str, Vec<Series<'_>>> = HashMap::new();
        for (label, asked, body) in &bodies {
            for series in self.series(body)? {
                // Nothing counts twice, whatever somebody in between answers.
                if !series.label("__name__").is_some_and(|name| asked.contains(&name)) {
                    continue;
                }
                let pod = series.label(label).and_then(|name| names.iter().find(|own| **own == name));
                if let Some(pod) = pod {
                    by_pod.entry(pod).or_default().push(series);
                }
            }
        }
        let mut round = Round::default();
        for pod in pods {
            let series = by_pod.remove(pod.address.name.as_str()).unwrap_or_default();
            self.take(mapping, sampler, pod, &series, &mut round);
        }
        Ok(round)
    }

    /// Takes in what is new of one pod.
    fn take(&self, mapping: &Mapping, sampler: &mut Sampler, pod: &Wanted, series: &[Series<'_>], round: &mut Round) {
        let name = &pod.address.name;
        let seen = sampler.last(pod.id);
        let new = |at: &SimTime| seen.is_none_or(|seen| *at > seen);
        let mut newest = seen;
        for at in anchors(mapping, series).into_iter().filter(new) {
            let mut reading = Reading::default();
            for one in series {
                let (Some(metric), Some(value)) = (one.label("__name__"), one.value_at(at)) else { continue };
                reading.add(mapping, metric, |key| one.label(key), value);
            }
            let (sample, found) = sampler.sample(&reading, name, (pod.id, pod.pool), at);
            match sample {
                Some(sample) => round.scrape.pods.push(sample),
                None => round.scrape.failed.push((pod.id, at)),
            }
            newest = newest.max(Some(at));
            // One finding a pod will do.
            if let Some(found) = found {
                round.found.retain(|other| other.pod != found.pod);
                round.found.push(found);
            }
        }
        let down = series.iter().filter(|s| s.label("__name__") == Some("up")).filter_map(|s| s.values.last());
        let down = down.filter(|(_, value)| value.parse() == Ok(0.0)).map(|(seconds, _)| time(*seconds)).max();
        match (down, newest) {
            (Some(down), newest) if newest.is_none_or(|newest| down > newest) => {
                round.scrape.failed.push((pod.id, down));
                let detail = "Prometheus could not scrape it".to_owned();
                round.found.push(Found { pod: name.clone(), finding: Finding::Unreachable, detail });
            }
            (_, None) => {
                let detail = format!("Prometheus has no series of it by label {}", self.pod_label);
                round.found.push(Found { pod: name.clone(), finding: Finding::Missing, detail });
            }
            _ => {}
        }
    }

    /// Requests that arrived in each `step` of the `range` before `now`, as [`Tally`] counts them, at pods in `namespace`
    /// whose names `pods`, a regular expression, matches: those that are gone, too.
    ///
    /// # Errors
    /// Prometheus did not answer, or what it knows is no past.
    pub async fn past(
        &self,
        mapping: &Mapping,
        (namespace, pods): (&str, &str),
        now: SimTime,
        (range, step): (Duration, Duration),
    ) -> Result<Vec<f64>, PastError> {
        let names = mapping.arrivals();
        if names.is_empty() {
            return Err(NoPast::Unseen.into());
        }
        let mut tally = Tally::new(now, range, step);
        let mut left = range;
        while !left.is_zero() {
            let piece = left.min(AT_ONCE);
            left -= piece;
            let when = (now.saturating_sub(left), piece);
            let body = self.query(&names, namespace, (&self.pod_label, pods), when).await?;
            let (own, mapping) = (self.clone(), mapping.clone());
            // Megabytes of numbers are read where nobody waits for it.
            let counted = tokio::task::spawn_blocking(move || {
                own.count(&mapping, &body, &mut tally)?;
                Ok::<_, ApiError>(tally)
            });
            tally = counted.await.map_err(|e| PastError::Counting(e.to_string()))??;
        }
        Ok(tally.finish()?)
    }

    /// Takes in the counters of requests in an answer: of each pod those of its best source.
    fn count(&self, mapping: &Mapping, body: &[u8], tally: &mut Tally) -> Result<(), ApiError> {
        let mut by_pod: BTreeMap<String, Vec<(usize, f64, Series<'_>)>> = BTreeMap::new();
        for series in self.series(body)? {
            let Some(pod) = series.label(&self.pod_label).map(str::to_owned) else { continue };
            let name = series.label("__name__").unwrap_or_default();
            let Some((rank, scale)) = mapping.arrival(name, |key| series.label(key)) else { continue };
            if !series.values.is_empty() {
                by_pod.entry(pod).or_default().push((rank, scale, series));
            }
        }
        for all in by_pod.into_values() {
            let best = all.iter().map(|(rank, _, _)| *rank).min();
            for (_, scale, series) in all.iter().filter(|(rank, _, _)| Some(*rank) == best) {
                let value = |text: &str| text.parse().unwrap_or(f64::NAN) * scale;
                let samples = series.values.iter().map(|(seconds, text)| (time(*seconds), value(text)));
                tally.take(&series.identity(), samples);
            }
        }
        Ok(())
    }

    async fn query(
        &self,
        metrics: &[&str],
        namespace: &str,
        (label, pods): (&str, &str),
        (now, range): (SimTime, Duration),
    ) -> Result<bytes::Bytes, ApiError> {
        // Names of metrics have no character that regular expressions know.
        let query = format!(
            "{{__name__=~\"{}\",{}=\"{namespace}\",{label}=~\"{}\"}}[{}ms]",
            metrics.join("|"),
            // What the exporter says of pods is prefixed where the target has labels of its own.
            if label.starts_with("exported_") { "exported_namespace" } else { "namespace" },
            pods,
            range.as_millis().max(1),
        );
        let seconds = format!("{:.3}", now.as_secs_f64());
        let timeout = format!("{}ms", self.timeout.as_millis());
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", &query)
            .append_pair("time", &seconds)
            .append_pair("timeout", &timeout)
            .finish();
        let url = format!("{}/api/v1/query", self.url);
        match self.client.post_form(&url, form, &self.credentials, self.timeout).await {
            Ok(body) => Ok(body),
            // Errors of the API have a status and a reason in JSON.
            Err(HttpError::Status { url, status, body }) => match serde_json::from_slice::<Answer<'_>>(&body) {
                Ok(Answer { error_type, error, .. }) => {
                    Err(refused(&url, error_type.unwrap_or_else(|| status.to_string()), error))
                }
                Err(_) => Err(HttpError::Status { url, status, body }.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn series<'a>(&self, body: &'a [u8]) -> Result<Vec<Series<'a>>, ApiError> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| ApiError::NoApi {
            url: self.url.clone(),
            // Not what it said: see `direct.rs`.
            found: format!("something else ({e})"),
        })?;
        match (answer.status, answer.data) {
            ("success", Some(data)) => Ok(data.result),
            (status, _) => {
                Err(refused(&self.url, answer.error_type.unwrap_or_else(|| status.to_owned()), answer.error))
            }
        }
    }
}

fn refused(url: &str, kind: String, message: Option<String>) -> ApiError {
    ApiError::Refused { url: url.to_owned(), kind, message: message.unwrap_or_default() }
}

/// Times at which the pod's own counters were scraped, ascending: of the best source of requests, or of any.
fn anchors(mapping: &Mapping, series: &[Series<'_>]) -> Vec<SimTime> {
    let rank = |series: &Series<'_>| {
        let meanings = mapping.meanings(series.label("__name__").unwrap_or_default());
        meanings.iter().filter(|m| m.quantity == Quantity::Arrived).map(|m| m.rank).min()
    };
    let best = series.iter().filter(|s| !s.values.is_empty()).filter_map(rank).min();
    let chosen = series.iter().filter(|s| match best {
        Some(best) => rank(s) == Some(best),
        None => !mapping.meanings(s.label("__name__").unwrap_or_default()).is_empty(),
    });
    let mut times: Vec<SimTime> = chosen.flat_map(|s| s.values.iter().map(|(seconds, _)| time(*seconds))).collect();
    times.sort_unstable();
    times.dedup();
    times
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FakePrometheus, Value, answer};
    use super::super::{PodAddress, Tls};
    use super::*;
    use crate::plan::Needs;
    use crate::plan::testing::scaler;

    fn prometheus() -> Prometheus {
        let source: PrometheusSource = serde_json::from_str(r#"{"url": "http://127.0.0.1:9/"}"#).unwrap();
        Prometheus::new(&source, HttpClient::new(&Tls::System).unwrap(), Credentials::None)
    }

    fn wanted() -> Wanted {
        let address = PodAddress { name: "triton-a".into(), namespace: "default".into(), ..PodAddress::default() };
        Wanted { id: 1, pool: 0, address }
    }

    fn take(body: &str, sampler: &mut Sampler) -> Round {
        let (prometheus, mut round) = (prometheus(), Round::default());
        let mapping = Mapping::of(&scaler("hpa:60").spec.metrics);
        let series = prometheus.series(body.as_bytes()).unwrap();
        prometheus.take(&mapping, sampler, &wanted(), &series, &mut round);
        round
    }

    fn body(series: &[(&str, &[(f64, &str)])]) -> String {
        let result: Vec<_> = series
            .iter()
            .map(
                |(name, values)| serde_json::json!({"metric": {"__name__": name, "pod": "triton-a"}, "values": values}),
            )
            .collect();
        serde_json::json!({"status": "success", "data": {"resultType": "matrix", "result": result}}).to_string()
    }

    const NEEDS: Needs =
        Needs { requests: true, queued: true, in_flight: false, utilization: true, cpu: false, latency: false };

    #[test]
    fn samples_keep_their_own_times_and_come_once() {
        let mut sampler = Sampler::new(NEEDS, &[]);
        let first = body(&[
            ("istio_requests_total", &[(100.5, "10"), (115.5, "40")]),
            ("nv_inference_pending_request_count", &[(100.5, "0"), (115.5, "2")]),
            // Another target, scraped at other times.
            ("DCGM_FI_DEV_GPU_UTIL", &[(99.0, "50"), (114.0, "60")]),
        ]);
        let round = take(&first, &mut sampler);
        let seen: Vec<_> =
            round.scrape.pods.iter().map(|p| (p.at, p.counters.arrived, p.queued, p.utilization)).collect();
        assert_eq!(seen, [(time(100.5), 10, 0, 0.5), (time(115.5), 40, 2, 0.6)]);
        assert_eq!(take(&first, &mut sampler), Round::default());
    }

    #[test]
    fn a_failed_scrape_a_missing_pod_and_a_missing_series_are_told_apart() {
        let findings = |body: &str| {
            let round = take(body, &mut Sampler::new(NEEDS, &[]));
            (round.scrape.pods.len(), round.found.iter().map(|f| f.finding).collect::<Vec<_>>())
        };
        let requests: (&str, &[(f64, &str)]) = ("istio_requests_total", &[(1000.0, "10")]);
        let queued: (&str, &[(f64, &str)]) = ("nv_inference_pending_request_count", &[(1000.0, "0")]);
        let busy: (&str, &[(f64, &str)]) = ("DCGM_FI_DEV_GPU_UTIL", &[(1000.0, "50")]);
        assert_eq!(findings(&body(&[requests, queued, busy])), (1, vec![]));
        assert_eq!(findings(&body(&[requests, queued])), (0, vec![Finding::Partial]));
        assert_eq!(
            findings(&body(&[requests, queued, ("DCGM_FI_DEV_GPU_UTIL", &[(1000.0, "NaN")])])),
            (0, vec![Finding::NotANumber])
        );
        assert_eq!(findings(&body(&[])), (0, vec![Finding::Missing]));
        assert_eq!(findings(&body(&[("up", &[(1000.0, "0")])])), (0, vec![Finding::Unreachable]));
        // A GPU's last word from before the exporter died does not count for ever.
        let old = body(&[requests, queued, ("DCGM_FI_DEV_GPU_UTIL", &[(870.0, "50")])]);
        assert_eq!(findings(&old), (0, vec![Finding::Partial]));
    }

    /// Requests of each step of fifteen seconds of forty-five minutes that end at 9000 s.
    async fn past(server: &FakePrometheus) -> Result<Vec<f64>, PastError> {
        let source = serde_json::json!({"url": server.url, "timeout": "5s"});
        let client = HttpClient::new(&Tls::System).unwrap();
        let prometheus = Prometheus::new(&serde_json::from_value(source).unwrap(), client, Credentials::None);
        let mapping = Mapping::of(&scaler("hpa:60").spec.metrics);
        let times = (Duration::from_secs(2700), Duration::from_secs(15));
        prometheus.past(&mapping, ("default", "triton-[0-9]+"), time(9000.0), times).await
    }

    #[tokio::test]
    async fn the_past_is_asked_for_in_pieces_and_counted_by_the_best_source_of_each_pod() {
        let server = FakePrometheus::start(|_, form| {
            let series: [(&str, Value<'_>); 7] = [
                ("__name__=istio_requests_total,pod=triton-0,code=200", &|at| Some(at * 2.0)),
                ("__name__=istio_requests_total,pod=triton-0,code=500", &|at| Some(at * 0.2)),
                // As the sidecar saw what the pod itself sent, and as Triton counted what the sidecar did.
                ("__name__=istio_requests_total,pod=triton-0,reporter=source", &|at| Some(at * 100.0)),
                ("__name__=nv_inference_request_success,pod=triton-0,model=m", &|at| Some(at * 50.0)),
                // Without a sidecar, and gone before the end.
                ("__name__=nv_inference_request_success,pod=triton-1,model=m", &|at| (at <= 7500.0).then_some(at)),
                ("__name__=nv_inference_request_failure,pod=triton-1,model=m", &|at| (at <= 7500.0).then_some(at)),
                // Nobody asked for it.
                ("__name__=nv_inference_exec_count,pod=triton-0,model=m", &|at| Some(at * 9.0)),
            ];
            Some(answer(form, 15, &series))
        });
        let server = server.await;
        let past = past(&server).await.unwrap();
        // All but the first, which the pods are scraped in, and the last, after which nobody was.
        let expected = [vec![63.0; 79], vec![33.0; 99]].concat();
        assert_eq!(past.len(), expected.len());
        assert!(past.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{past:?}");
        let asked = server.asked.lock().unwrap();
        let asked: Vec<_> = asked.iter().map(|form| (form["query"].as_str(), form["time"].as_str())).collect();
        let query = "{__name__=~\"istio_requests_total|nv_inference_request_failure|nv_inference_request_success\",\
                     namespace=\"default\",pod=~\"triton-[0-9]+\"}";
        let (first, second) = (format!("{query}[1800000ms]"), format!("{query}[900000ms]"));
        assert_eq!(asked, [(first.as_str(), "8100.000"), (second.as_str(), "9000.000")]);
    }

    #[tokio::test]
    async fn why_there_is_no_past_is_said() {
        let server = FakePrometheus::start(|_, form| Some(answer(form, 15, &[]))).await;
        let error = past(&server).await.unwrap_err();
        assert!(matches!(error, PastError::Nothing(NoPast::Unseen)), "{error}");
        let body =
            r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#;
        let server = FakePrometheus::start(|_, _| Some((422, body.to_owned()))).await;
        let error = past(&server).await.unwrap_err().to_string();
        assert!(error.ends_with("execution: query processing would load too many samples"), "{error}");
        let server = FakePrometheus::start(|_, _| Some((200, " ".repeat((16 << 20) + 1)))).await;
        let error = past(&server).await.unwrap_err().to_string();
        assert!(error.ends_with("answered more than 16777216 bytes, expected at most as many"), "{error}");
    }

    #[test]
    fn what_is_no_answer_of_the_api_is_said() {
        let prometheus = prometheus();
        let error = prometheus.series(b"<html>login</html>").unwrap_err().to_string();
        assert!(error.contains("expected an answer of Prometheus' API"), "{error}");
        let refused = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        let error = prometheus.series(refused).unwrap_err().to_string();
        assert!(error.ends_with("refused: bad_data: parse error"), "{error}");
    }
}
