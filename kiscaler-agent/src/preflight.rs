//! Everything that could go wrong with a KIScaler, looked at before it does.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kisim::cluster::Phase;
use kube::api::{ListParams, PostParams};
use kube::core::{DynamicObject, SelectorExt as _};
use kube::{Api, Client, ResourceExt as _};

use crate::api::{GROUP, KIScaler, Mode, PoolSpec};
use crate::cluster::{Cluster, Facts, Notice, facts_of, hpa_owns, scaled_object_owns, scaled_objects};
use crate::metrics::{Mapping, PastError, Sampler, Wanted};
use crate::run::{Artifacts, Clients, ScaleState, Setup, Source, past, read_scale, setup};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// It is as it should be.
    Ok,
    /// It will do, and one may want to know.
    Note,
    /// It will not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// How bad it is.
    pub grade: Grade,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub fix: Option<String>,
}

fn ok(what: &str, detail: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), grade: Grade::Ok, detail: detail.into(), fix: None }
}

fn problem(what: &str, detail: impl Into<String>, fix: &str) -> Finding {
    Finding { what: what.to_owned(), grade: Grade::Problem, detail: detail.into(), fix: Some(fix.to_owned()) }
}

/// Looks at everything that `scaler` needs. Changes nothing.
pub async fn preflight(client: &Client, scaler: &KIScaler) -> Vec<Finding> {
    let mut findings = vec![definition(client).await];
    findings.extend(rights(client, scaler).await);
    let mut scales = BTreeMap::new();
    for (name, pool) in scaler.spec.pools.by_name() {
        match target(client, scaler, name, pool, &mut findings).await {
            Some(state) => _ = scales.insert(name, state),
            None => continue,
        }
        findings.push(owners(client, scaler, pool).await);
    }
    let artifacts = Artifacts::new(client.clone());
    let current: BTreeMap<_, _> = scales.iter().map(|(name, state)| (*name, state.replicas)).collect();
    let made = match setup(scaler, &artifacts, &current).await {
        Ok(made) => made,
        Err(error) => {
            let what = if error.is_about_policy() { "policy" } else { "spec" };
            findings.push(problem(what, error.to_string(), "change the field that is named"));
            return findings;
        }
    };
    findings.push(policy(&made));
    findings.extend(metrics(client, scaler, &made, &scales, &artifacts).await);
    findings
}

async fn definition(client: &Client) -> Finding {
    let what = "custom resource";
    match kube::discovery::group(client, GROUP).await {
        Ok(_) => ok(what, "kiscalers.kiscaler.dev is installed"),
        Err(error) => {
            let fix = "kiscaler-agent crd | kubectl apply -f -   (not needed with run --file)";
            Finding { grade: Grade::Note, ..problem(what, format!("not installed: {error}"), fix) }
        }
    }
}

/// Whether whoever asks may do what the agent does. Run it as the agent's ServiceAccount to know about that one.
async fn rights(client: &Client, scaler: &KIScaler) -> Vec<Finding> {
    let plural = |pool: &PoolSpec| format!("{}s", pool.scale_target_ref.kind.to_lowercase());
    let group = |pool: &PoolSpec| {
        pool.scale_target_ref.api_version.rsplit_once('/').map_or(String::new(), |(group, _)| group.to_owned())
    };
    let mut wanted: Vec<(String, String, &str, &str)> = vec![
        (String::new(), "pods".into(), "", "list"),
        (String::new(), "pods".into(), "", "watch"),
        ("autoscaling".into(), "horizontalpodautoscalers".into(), "", "watch"),
        (GROUP.into(), "kiscalers".into(), "status", "patch"),
        ("events.k8s.io".into(), "events".into(), "", "create"),
    ];
    for (_, pool) in scaler.spec.pools.by_name() {
        wanted.push((group(pool), plural(pool), "", "watch"));
        wanted.push((group(pool), plural(pool), "scale", "get"));
        if scaler.spec.mode == Mode::Active {
            wanted.push((group(pool), plural(pool), "scale", "patch"));
        }
    }
    let mut missing = Vec::new();
    for (group, resource, subresource, verb) in &wanted {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(scaler.home().to_owned()),
                    group: Some(group.clone()),
                    resource: Some(resource.clone()),
                    subresource: Some((*subresource).to_owned()).filter(|s| !s.is_empty()),
                    verb: Some((*verb).to_owned()),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        match api.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
            Ok(_) => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                missing.push(format!("{verb} {resource}{slash}{subresource}"));
            }
            Err(error) => {
                return vec![problem("rights", format!("the API does not say: {error}"), "look at the kubeconfig")];
            }
        }
    }
    if missing.is_empty() {
        return vec![ok("rights", format!("all {} that are needed in {}", wanted.len(), scaler.home()))];
    }
    vec![problem(
        "rights",
        format!("missing: {}", missing.join(", ")),
        "bind the ClusterRole in deploy/ to who runs this",
    )]
}

async fn target(
    client: &Client,
    scaler: &KIScaler,
    name: &'static str,
    pool: &PoolSpec,
    findings: &mut Vec<Finding>,
) -> Option<ScaleState> {
    let what = format!("target of {name}");
    let cluster = Cluster::watch(client, Some(scaler.home()), &Notice::new(|_, _| {}));
    match read_scale(client, &cluster, scaler.home(), &pool.scale_target_ref, None).await {
        Ok(state) => {
            let replicas = state.replicas;
            findings.push(if (pool.min_replicas..=pool.max_replicas).contains(&replicas) {
                ok(
                    &what,
                    format!("{} {} has {replicas} replicas", pool.scale_target_ref.kind, pool.scale_target_ref.name),
                )
            } else {
                let detail = format!("{replicas} replicas, outside {} to {}", pool.min_replicas, pool.max_replicas);
                Finding { grade: Grade::Note, ..problem(&what, detail, "the first decision brings it inside") }
            });
            Some(state)
        }
        Err(obstacle) => {
            findings.push(problem(&what, obstacle.message, "look at scaleTargetRef and the namespace"));
            None
        }
    }
}

async fn owners(client: &Client, scaler: &KIScaler, pool: &PoolSpec) -> Finding {
    let (what, reference) = ("other owners", &pool.scale_target_ref);
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), scaler.home());
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), scaler.home(), &scaled_objects());
    let mut found = Vec::new();
    match hpas.list(&ListParams::default()).await {
        Ok(list) => {
            let own = list.items.iter().filter(|hpa| hpa_owns(hpa).is_some_and(|owned| owned.is(reference)));
            found.extend(own.map(|hpa| format!("HorizontalPodAutoscaler {}", hpa.name_any())));
        }
        Err(error) => return problem(what, format!("cannot list HPAs: {error}"), "give the right to list them"),
    }
    // Where KEDA is not installed, there are none.
    if let Ok(list) = objects.list(&ListParams::default()).await {
        let own =
            list.items.iter().filter(|object| scaled_object_owns(object).is_some_and(|owned| owned.is(reference)));
        found.extend(own.map(|object| format!("ScaledObject {}", object.name_any())));
    }
    match found.is_empty() {
        true => ok(what, format!("no other autoscaler scales {}", reference.name)),
        false => problem(what, found.join(", "), "delete it, or pause it, before mode Active"),
    }
}

fn policy(made: &Setup) -> Finding {
    match (&made.standing_in, made.plan.decider.loaded()) {
        (Some(problem), _) => Finding {
            grade: Grade::Problem,
            ..self::problem("policy", problem.clone(), "the fallback would stand in; mend the checkpoint")
        },
        (None, Some(loaded)) => ok("policy", format!("{} fits; sha256 {}", loaded.name, loaded.sha256)),
        (None, None) => ok("policy", format!("baseline {}", made.plan.decider.name())),
    }
}

/// Reads the metrics of the pods there are, as the agent would.
async fn metrics(
    client: &Client,
    scaler: &KIScaler,
    made: &Setup,
    scales: &BTreeMap<&'static str, ScaleState>,
    artifacts: &Artifacts,
) -> Vec<Finding> {
    let what = "metrics";
    if made.plan.needs.is_none() {
        return vec![ok(what, "none are needed")];
    }
    let source = match Source::of(&scaler.spec.metrics, scaler.home(), artifacts, &Clients::default()).await {
        Ok(source) => source,
        Err(error) => return vec![problem(what, error.to_string(), "look at metrics in the spec")],
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), scaler.home());
    let pods: Vec<Facts> = match api.list(&ListParams::default()).await {
        Ok(list) => list.items.iter().filter_map(facts_of).collect(),
        Err(error) => return vec![problem(what, format!("cannot list pods: {error}"), "give the right to list them")],
    };
    let mut wanted = Vec::new();
    for (number, (name, _)) in scaler.spec.pools.by_name().enumerate() {
        let Some(state) = scales.get(name) else { continue };
        let own = pods.iter().filter(|p| p.phase == Phase::Ready && state.selector.matches(&p.labels));
        for facts in own {
            wanted.push(Wanted { id: wanted.len() as u64, pool: number, address: facts.address.clone() });
        }
    }
    if wanted.is_empty() {
        let fix = "start one: without a ready pod there is nothing to look at";
        return vec![Finding { grade: Grade::Note, ..problem(what, "no pod is ready", fix) }];
    }
    let mapping = Mapping::of(&scaler.spec.metrics);
    let mut sampler = Sampler::new(made.plan.needs, &made.plan.prepared.bounds);
    let now = crate::metrics::unix_time(k8s_openapi::jiff::Timestamp::now());
    let round = source.round(&mapping, &mut sampler, &wanted, (now, Duration::from_secs(300))).await;
    let mut seen: Vec<u64> = round.scrape.pods.iter().map(|sample| sample.pod).collect();
    seen.sort_unstable();
    seen.dedup();
    let mut findings = Vec::new();
    for found in round.found.iter().take(5) {
        let pod = if found.pod.is_empty() { "all pods" } else { &found.pod };
        let fix = "look at metrics.preset and at the source's address";
        findings.push(problem(what, format!("{pod}: {}: {}", found.finding.name(), found.detail), fix));
    }
    if seen.len() == wanted.len() {
        findings.push(ok(what, format!("of all {} ready pods", wanted.len())));
    } else if findings.is_empty() {
        let detail = format!("of {} of {} ready pods", seen.len(), wanted.len());
        findings.push(problem(what, detail, "look at the source's address"));
    }
    if let Some(past) = past(scaler, &made.plan, &source, &mapping).await {
        findings.push(recalled(past, scaler.spec.interval.duration()));
    }
    findings
}

/// What a policy that begins would be told. Without it, it decides all the same.
fn recalled(past: Result<Vec<f64>, PastError>, step: Duration) -> Finding {
    let what = "past";
    match past {
        Ok(bins) => {
            let length = step.saturating_mul(bins.len() as u32);
            ok(what, format!("{} of load that a policy is told when it begins", kisim::config::Span(length)))
        }
        Err(error) => {
            let detail = format!("{error}; a policy begins anew");
            let fix = "look at Prometheus' retention and at podLabel, or set metrics.prometheus.recall: 0s";
            Finding { grade: Grade::Note, ..problem(what, detail, fix) }
        }
    }
}
