//! Metrics read from the pods themselves.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use kisim::time::SimTime;

use super::http::{Credentials, HttpClient, HttpError};
use super::mapping::Mapping;
use super::reading::Reading;
use super::sampler::Sampler;
use super::text::parse;
use super::{Finding, Found, Round, Wanted};
use crate::api::DirectSource;

/// Pods that are read at once.
const AT_ONCE: usize = 32;

/// Where a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAddress {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its own address, empty before it has one.
    pub ip: String,
    /// Its node's name.
    pub node: String,
    /// Its node's address.
    pub host_ip: String,
}

/// The endpoints of pods.
#[derive(Clone, Debug)]
pub struct Endpoints {
    templates: Vec<String>,
    timeout: Duration,
}

impl Endpoints {
    /// As the spec has them.
    pub fn new(source: &DirectSource) -> Self {
        Endpoints { templates: source.endpoints.clone(), timeout: source.timeout.duration() }
    }

    /// URLs of a pod's endpoints.
    pub fn urls(&self, pod: &PodAddress) -> Vec<String> {
        let host = |ip: &str| if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let fill = |template: &String| {
            template
                .replace("{ip}", &host(&pod.ip))
                .replace("{hostIP}", &host(&pod.host_ip))
                .replace("{pod}", &pod.name)
                .replace("{namespace}", &pod.namespace)
                .replace("{node}", &pod.node)
        };
        self.templates.iter().map(fill).collect()
    }

    /// Reads all `pods` once. `clock` is asked for the time at which each is read.
    pub async fn round(
        &self,
        client: &HttpClient,
        mapping: &Mapping,
        sampler: &mut Sampler,
        pods: &[Wanted],
        clock: impl Fn() -> SimTime,
    ) -> Round {
        let clock = &clock;
        // Owned by each request: borrows would tie the stream to a lifetime that a spawned task cannot have.
        let requests: Vec<_> = pods
            .iter()
            .enumerate()
            .map(|(number, wanted)| {
                let (address, urls) = (wanted.address.clone(), self.urls(&wanted.address));
                async move {
                    let at = clock();
                    (number, at, self.read(client, mapping, &address, &urls).await)
                }
            })
            .collect();
        let mut readings: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
        // In the order of pods, not of answers: nothing depends on who was faster.
        readings.sort_by_key(|(number, _, _)| *number);
        let mut round = Round::default();
        for (number, at, outcome) in readings {
            let wanted = &pods[number];
            let (sample, found) = match outcome {
                Ok(reading) => sampler.sample(&reading, &wanted.address.name, (wanted.id, wanted.pool), at),
                Err((finding, detail)) => (None, Some(Found { pod: wanted.address.name.clone(), finding, detail })),
            };
            match sample {
                Some(sample) => round.scrape.pods.push(sample),
                None => round.scrape.failed.push((wanted.id, at)),
            }
            round.found.extend(found);
        }
        round
    }

    async fn read(
        &self,
        client: &HttpClient,
        mapping: &Mapping,
        pod: &PodAddress,
        urls: &[String],
    ) -> Result<Reading, (Finding, String)> {
        let mut reading = Reading::default();
        for url in urls {
            let body = client.get(url, &Credentials::None, self.timeout).await.map_err(|error| {
                let finding = match error {
                    HttpError::Status { .. } => Finding::BadAnswer,
                    _ => Finding::Unreachable,
                };
                (finding, error.to_string())
            })?;
            let text = std::str::from_utf8(&body)
                .map_err(|_| (Finding::Malformed, format!("{url}: found bytes that are no UTF-8, expected text")))?;
            take(&mut reading, mapping, pod, text)
                .map_err(|detail| (Finding::Malformed, format!("{url}, {detail}")))?;
        }
        Ok(reading)
    }
}

/// Takes in the series of `text` that are the pod's: those that name none, or name it.
fn take(reading: &mut Reading, mapping: &Mapping, pod: &PodAddress, text: &str) -> Result<(), String> {
    let (lines, error) = parse(text, |name| mapping.knows(name));
    if let Some(error) = error {
        // Not what was found: it comes from wherever the spec's author points to, and goes into a status.
        return Err(format!("line {}: expected {}", error.line, error.expected));
    }
    for line in &lines {
        let label = |key: &str| line.labels.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_ref());
        let names = |key: &str, own: &str| label(key).is_none_or(|value| value.is_empty() || value == own);
        // A node's GPU exporter tells of all pods on the node.
        if names("pod", &pod.name) && names("exported_pod", &pod.name) && names("namespace", &pod.namespace) {
            reading.add(mapping, line.name, label, line.value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::mapping::Quantity;
    use crate::plan::testing::scaler;

    fn pod() -> PodAddress {
        PodAddress {
            name: "triton-a".into(),
            namespace: "default".into(),
            ip: "fd00::7".into(),
            node: "gpu-1".into(),
            host_ip: "10.0.0.1".into(),
        }
    }

    #[test]
    fn templates_are_filled() {
        let source = DirectSource {
            endpoints: vec!["http://{ip}:8002/metrics".into(), "http://{hostIP}:9400/{node}/{namespace}/{pod}".into()],
            timeout: crate::api::Length::secs(1),
        };
        let expected = ["http://[fd00::7]:8002/metrics", "http://10.0.0.1:9400/gpu-1/default/triton-a"];
        assert_eq!(Endpoints::new(&source).urls(&pod()), expected);
    }

    #[test]
    fn series_of_other_pods_are_left_out() {
        let mapping = Mapping::of(&scaler("hpa:60").spec.metrics);
        let mut reading = Reading::default();
        let text = "DCGM_FI_DEV_GPU_UTIL{pod=\"triton-a\",namespace=\"default\"} 40\n\
                    DCGM_FI_DEV_GPU_UTIL{pod=\"triton-a\",namespace=\"other\"} 90\n\
                    DCGM_FI_DEV_GPU_UTIL{exported_pod=\"triton-b\"} 90\nDCGM_FI_DEV_GPU_UTIL{pod=\"\"} 20\n";
        take(&mut reading, &mapping, &pod(), text).unwrap();
        let utilization = reading.value(Quantity::Utilization).unwrap().unwrap();
        assert!((utilization - 0.3).abs() < 1e-12, "{utilization}");
        assert!(take(&mut reading, &mapping, &pod(), "<html>").is_err());
    }

    #[tokio::test]
    async fn nobody_there_is_said_within_the_time() {
        let source = DirectSource {
            endpoints: vec!["http://127.0.0.1:1/metrics".into()],
            timeout: crate::api::Length::millis(500),
        };
        let client = HttpClient::new(&super::super::Tls::System).unwrap();
        let mapping = Mapping::of(&scaler("hpa:60").spec.metrics);
        let mut sampler = Sampler::new(crate::plan::Needs::default(), &[]);
        let wanted = [Wanted { id: 7, pool: 0, address: pod() }];
        let at = SimTime::from_nanos(5);
        let round = Endpoints::new(&source).round(&client, &mapping, &mut sampler, &wanted, || at).await;
        assert_eq!(round.scrape.failed, [(7, at)]);
        assert_eq!(round.found[0].finding, Finding::Unreachable);
        assert!(round.found[0].detail.contains("refused"), "{:?}", round.found);
    }
}
