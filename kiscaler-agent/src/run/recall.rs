//! A policy that begins is told the load that Prometheus knows of.
//!
//! Nothing waits for it: decisions are made meanwhile, by the policy that knows nothing yet. Whatever goes wrong is said
//! in the log, and the policy begins anew, as it does where there is no past.

use std::sync::Arc;
use std::time::Duration;

use kisim::prepared::Prepared;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::source::{Source, wall_clock};
use crate::api::KIScaler;
use crate::cluster::pods_of;
use crate::metrics::{Mapping, PastError, Prometheus};
use crate::plan::{Decider, Loaded, Plan};

/// How often Prometheus is asked, one decision after the other, until it answers.
const TRIES: u32 = 3;

/// How many are answered at a time: a large service's answer takes tens of megabytes while it is read, and when the agent
/// starts, all its KIScalers ask.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// A past that is being asked for.
#[derive(Debug)]
pub(super) struct Recall {
    question: Arc<Question>,
    asked: Option<JoinHandle<Result<Recalled, Failure>>>,
    tries: u32,
}

/// A policy that knows the past.
#[derive(Debug)]
pub(super) struct Recalled {
    /// The policy.
    pub(super) decider: Decider,
    /// Requests of each step, the earliest first.
    pub(super) bins: Vec<f64>,
}

/// Everything that it takes to ask.
#[derive(Debug)]
struct Question {
    scaler: String,
    prometheus: Prometheus,
    mapping: Mapping,
    namespace: String,
    /// Names of pods, of all pools: what CPU pods take is a load, too.
    pods: String,
    range: Duration,
    step: Duration,
    loaded: Arc<Loaded>,
    prepared: Arc<Prepared>,
    cost_weight: f64,
}

/// Why nothing was recalled, and whether that may be different soon.
#[derive(Debug)]
struct Failure {
    message: String,
    is_final: bool,
}

impl From<PastError> for Failure {
    fn from(error: PastError) -> Self {
        Failure { message: error.to_string(), is_final: !matches!(error, PastError::Api(_)) }
    }
}

impl Recall {
    /// Asks for the past of what `scaler` scales by `plan`; `None` where nobody remembers one, or nobody knows one.
    pub(super) fn begin(scaler: &KIScaler, plan: &Plan, source: &Source, mapping: &Mapping) -> Option<Recall> {
        let question = Question::of(scaler, plan, source, mapping)?;
        let mut recall = Recall { question: Arc::new(question), asked: None, tries: 0 };
        recall.ask();
        Some(recall)
    }

    fn ask(&mut self) {
        let question = Arc::clone(&self.question);
        self.tries += 1;
        self.asked = Some(tokio::spawn(async move { question.answer().await }));
    }

    /// The answer, if it is there and was not given before. Does not wait for one.
    pub(super) async fn take(&mut self) -> Option<Recalled> {
        let asked = self.asked.take_if(|asked| asked.is_finished())?;
        let kiscaler = &self.question.scaler;
        let failure = match asked.await {
            Ok(Ok(recalled)) => {
                let (steps, of, range) = (recalled.bins.len(), self.question.step, self.question.range);
                let past = of.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
                tracing::info!(kiscaler, steps, ?past, asked = ?range, "the policy recalls the load of the past");
                return Some(recalled);
            }
            Ok(Err(failure)) => failure,
            Err(error) => Failure { message: error.to_string(), is_final: true },
        };
        let (error, again) = (&failure.message, !failure.is_final && self.tries < TRIES);
        match again {
            true => {
                tracing::warn!(kiscaler, error, "the past cannot be recalled yet; asking again");
                self.ask();
            }
            false => tracing::warn!(kiscaler, error, "no past is recalled; the policy begins anew"),
        }
        None
    }
}

impl Drop for Recall {
    fn drop(&mut self) {
        if let Some(asked) = &self.asked {
            asked.abort();
        }
    }
}

impl Question {
    fn of(scaler: &KIScaler, plan: &Plan, source: &Source, mapping: &Mapping) -> Option<Question> {
        let loaded = plan.decider.loaded().filter(|loaded| loaded.remembers())?;
        let (Source::Prometheus(prometheus), Some(spec)) = (source, &scaler.spec.metrics.prometheus) else {
            return None;
        };
        let range = spec.recall.duration();
        if range.is_zero() {
            return None;
        }
        let pods: Vec<String> = scaler.spec.pools.by_name().map(|(_, pool)| pods_of(&pool.scale_target_ref)).collect();
        Some(Question {
            scaler: scaler.path(),
            prometheus: prometheus.clone(),
            mapping: mapping.clone(),
            namespace: scaler.home().to_owned(),
            pods: pods.join("|"),
            range,
            step: plan.prepared.scenario.control.interval.0,
            loaded: Arc::clone(loaded),
            prepared: Arc::clone(&plan.prepared),
            cost_weight: scaler.spec.cost_weight,
        })
    }

    async fn answer(&self) -> Result<Recalled, Failure> {
        // Never closed: whoever cannot have it goes on without.
        let _permit = AT_ONCE.acquire().await;
        let bins = self.bins().await?;
        let (loaded, prepared, cost_weight) = (Arc::clone(&self.loaded), Arc::clone(&self.prepared), self.cost_weight);
        // Hours take tens of milliseconds of a processor: done where nobody waits for it.
        let played = tokio::task::spawn_blocking(move || {
            let decider = Decider::recalling(&loaded, &prepared, cost_weight, &bins)?;
            Ok::<_, crate::plan::PlanError>(Recalled { decider, bins })
        });
        let failure = |message: String| Failure { message, is_final: true };
        played.await.map_err(|e| failure(e.to_string()))?.map_err(|e| failure(e.to_string()))
    }

    async fn bins(&self) -> Result<Vec<f64>, PastError> {
        let pods = (self.namespace.as_str(), self.pods.as_str());
        self.prometheus.past(&self.mapping, pods, wall_clock(), (self.range, self.step)).await
    }
}

/// Requests of each step of the past that would be recalled; `None` where none would be asked for.
pub async fn past(
    scaler: &KIScaler,
    plan: &Plan,
    source: &Source,
    mapping: &Mapping,
) -> Option<Result<Vec<f64>, PastError>> {
    match Question::of(scaler, plan, source, mapping) {
        Some(question) => Some(question.bins().await),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use super::*;
    use crate::metrics::testing::{FakePrometheus, answer};
    use crate::metrics::{Credentials, HttpClient, Tls};
    use crate::plan::{Chosen, ProfileTexts, load_policy, testing};

    const POLICY: &[u8] = include_bytes!("../../../kiscaler-train/policies/default.safetensors");

    fn scaler(url: &str, recall: &str) -> KIScaler {
        let mut scaler = testing::scaler("hpa:60");
        let source = serde_json::json!({"url": url, "recall": recall, "timeout": "200ms"});
        (scaler.spec.metrics.direct, scaler.spec.metrics.prometheus) = (None, serde_json::from_value(source).unwrap());
        scaler
    }

    fn plan(scaler: &KIScaler, chosen: &Chosen) -> Plan {
        Plan::new(scaler, &ProfileTexts::new(), chosen, &BTreeMap::from([("gpu", 2)])).unwrap()
    }

    fn policy() -> Chosen {
        Chosen::Policy(Arc::new(load_policy("default", POLICY, None).unwrap()))
    }

    fn begin(scaler: &KIScaler, chosen: &Chosen) -> Option<Recall> {
        let spec = scaler.spec.metrics.prometheus.as_ref().unwrap();
        let client = HttpClient::new(&Tls::System).unwrap();
        let source = Source::Prometheus(Prometheus::new(spec, client, Credentials::None));
        Recall::begin(scaler, &plan(scaler, chosen), &source, &Mapping::of(&scaler.spec.metrics))
    }

    /// Asks for the answer until there is one or none is waited for any more.
    async fn finish(recall: &mut Recall) -> Option<Recalled> {
        let end = Instant::now() + Duration::from_secs(60);
        while recall.asked.is_some() {
            assert!(Instant::now() < end);
            let began = Instant::now();
            let recalled = recall.take().await;
            assert!(began.elapsed() < Duration::from_millis(100), "a decision would have waited");
            if recalled.is_some() {
                return recalled;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    #[tokio::test]
    async fn an_answer_comes_once_and_a_failure_is_tried_again() {
        let server = FakePrometheus::start(|number, form| match number {
            0 => Some((503, "not yet".to_owned())),
            1 => None,
            _ => {
                let pod = "__name__=istio_requests_total,pod=triton-59fcb-x2x4z";
                Some(answer(form, 15, &[(pod, &|at| Some(at * 10.0))]))
            }
        });
        let server = server.await;
        let mut recall = begin(&scaler(&server.url, "1h"), &policy()).unwrap();
        let recalled = finish(&mut recall).await.unwrap();
        // Two steps at either end are not whole.
        assert!((236..=239).contains(&recalled.bins.len()), "{}", recalled.bins.len());
        assert!(recalled.bins.iter().all(|bin| (bin - 150.0).abs() < 1e-3), "{:?}", recalled.bins);
        assert!(matches!(recalled.decider, Decider::Policy(..)));
        assert!(recall.take().await.is_none());
        let asked = server.asked.lock().unwrap();
        assert_eq!(asked.len(), 4);
        let pods = "pod=~\"triton-[bcdfghjklmnpqrstvwxz2456789]{1,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\"}[1800000ms]";
        assert!(asked[0]["query"].ends_with(pods), "{:?}", asked[0]);
    }

    #[tokio::test]
    async fn whoever_never_answers_is_asked_three_times_and_nobody_without_a_past_twice() {
        let server = FakePrometheus::start(|_, _| None).await;
        let mut recall = begin(&scaler(&server.url, "1h"), &policy()).unwrap();
        assert!(finish(&mut recall).await.is_none());
        assert_eq!(server.asked.lock().unwrap().len(), 3);
        let server = FakePrometheus::start(|_, form| Some(answer(form, 15, &[]))).await;
        let mut recall = begin(&scaler(&server.url, "15m"), &policy()).unwrap();
        assert!(finish(&mut recall).await.is_none());
        assert_eq!(server.asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_remembers_nothing_asks_for_nothing() {
        let baseline = Chosen::Baseline("predictive".to_owned());
        assert!(begin(&scaler("http://127.0.0.1:9", "5h"), &baseline).is_none());
        assert!(begin(&scaler("http://127.0.0.1:9", "0s"), &policy()).is_none());
        let direct = testing::scaler("hpa:60");
        let plan = plan(&direct, &policy());
        assert!(Recall::begin(&direct, &plan, &Source::Nowhere, &Mapping::of(&direct.spec.metrics)).is_none());
    }
}
