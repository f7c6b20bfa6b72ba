//! One KIScaler's task: look, decide, act, tell; at every interval.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kisim::cluster::{Phase, PodCounts};
use kisim::control::PoolView;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::SelectorExt as _;
use serde_json::json;
use tokio::sync::watch;

use super::deciding::{Deciding, core};
use super::report::{Report, Reporter, refuse};
use super::scale::{self, ScaleState, WriteError, blockers};
use super::setup::{setup, versions};
use super::source::{Source, wall_clock};
use super::{Context, Entry};
use crate::api::{FIELD_MANAGER, KIScaler, KIScalerSpec, Mode, PolicyStatus};
use crate::backoff::{Backoff, seed};
use crate::cluster::{DELETION_COST, Facts, Key, Numbers};
use crate::control::{Inputs, Obstacle, Outcome, Reason};

/// Pods whose deletion cost is written at one decrease, at most: each is a request.
const COSTS_AT_ONCE: usize = 32;

/// A KIScaler's task.
pub(super) struct Worker {
    context: Arc<Context>,
    key: Key,
    entry: watch::Receiver<Arc<Entry>>,
    reporter: Reporter,
    numbers: Numbers,
    /// The scale of each pool, as last read.
    scales: BTreeMap<&'static str, ScaleState>,
    deciding: Option<Deciding>,
    /// Attempts to set up or to write that failed.
    setup_failed: Failed,
    write_failed: Failed,
    /// What was last said of an object that is not understood.
    refused: Option<String>,
}

/// What failed, and when it is tried again.
struct Failed {
    backoff: Backoff,
    last: Option<(Instant, Obstacle)>,
    /// The spec it failed with: another one is tried at once.
    spec: Option<KIScalerSpec>,
}

impl Failed {
    fn new(name: &str, first: Duration, most: Duration) -> Self {
        Failed { backoff: Backoff::new(first, most, seed(name)), last: None, spec: None }
    }

    fn note(&mut self, spec: &KIScalerSpec, obstacle: Obstacle) {
        self.last = Some((Instant::now() + self.backoff.wait(), obstacle));
        self.spec = Some(spec.clone());
    }

    fn clear(&mut self) {
        self.backoff.reset();
        self.last = None;
    }

    /// Why it is not tried now.
    fn waits(&self, spec: &KIScalerSpec) -> Option<Obstacle> {
        let (until, obstacle) = self.last.as_ref()?;
        (self.spec.as_ref() == Some(spec) && Instant::now() < *until).then(|| obstacle.clone())
    }
}

impl Worker {
    pub(super) fn new(context: Arc<Context>, key: Key, entry: watch::Receiver<Arc<Entry>>) -> Self {
        let name = format!("{}/{}", key.0, key.1);
        Worker {
            context,
            entry,
            reporter: Reporter::default(),
            numbers: Numbers::default(),
            scales: BTreeMap::new(),
            deciding: None,
            setup_failed: Failed::new(&name, Duration::from_secs(5), Duration::from_secs(60)),
            write_failed: Failed::new(&name, Duration::from_secs(2), Duration::from_secs(60)),
            refused: None,
            key,
        }
    }

    /// Works for ever: whoever started it ends it.
    pub(super) async fn run(mut self) {
        let mut next = tokio::time::Instant::now() + self.phase();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                changed = self.entry.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // What decides is the same: its rhythm is its own, and the next decision heeds what changed.
                    if self.decides_the_same() {
                        continue;
                    }
                    // Another one is made soon, not at once: changes come in flocks.
                    next = next.min(tokio::time::Instant::now() + Duration::from_millis(200));
                    tokio::time::sleep_until(next).await;
                }
            }
            let entry = Arc::clone(&self.entry.borrow_and_update());
            let began = tokio::time::Instant::now();
            let interval = match entry.as_ref() {
                Entry::Invalid(error) => {
                    tracing::error!(kiscaler = format!("{}/{}", self.key.0, self.key.1), error, "not understood");
                    let own = (self.key.0.as_str(), self.key.1.as_str());
                    self.context.telemetry.reason(own, Reason::InvalidSpec);
                    if self.refused.as_ref() != Some(error) {
                        refuse(&self.context, own, error, Timestamp::now()).await;
                        self.refused = Some(error.clone());
                    }
                    Duration::from_secs(60)
                }
                Entry::Valid(scaler) => {
                    self.reporter.resume(scaler);
                    self.tick(scaler).await;
                    self.deciding.as_ref().map_or(scaler.spec.interval.duration(), |deciding| deciding.interval)
                }
            };
            // Kept in step, but never in a hurry: what was missed is missed.
            next = (next + interval).max(began + interval / 2);
        }
    }

    /// Whether the spec asks for nothing else to decide than what does.
    fn decides_the_same(&mut self) -> bool {
        match (self.entry.borrow_and_update().as_ref(), &self.deciding) {
            (Entry::Valid(scaler), Some(deciding)) => core(&scaler.spec) == deciding.spec,
            _ => false,
        }
    }

    /// When it begins: many KIScalers are not all asked for at once.
    fn phase(&self) -> Duration {
        Duration::from_millis(seed(&format!("{}/{}", self.key.0, self.key.1)) % 1000)
    }

    async fn tick(&mut self, scaler: &KIScaler) {
        let report = match self.look(scaler).await {
            Ok(unavailable) => self.decide(scaler, unavailable).await,
            Err(obstacle) => self.cannot(scaler, obstacle),
        };
        self.reporter.tell(&Arc::clone(&self.context), scaler, &report, Timestamp::now()).await;
    }

    /// Reads the scale of all pools. An API that does not answer is no reason to forget what it last said: then the
    /// obstacle is given beside it.
    async fn look(&mut self, scaler: &KIScaler) -> Result<Option<Obstacle>, Obstacle> {
        let context = Arc::clone(&self.context);
        let mut unavailable = None;
        for (name, pool) in scaler.spec.pools.by_name() {
            let (reference, known) = (&pool.scale_target_ref, self.scales.get(name));
            let read = scale::read(&context.client, &context.cluster, &self.key.0, reference, known).await;
            match read {
                Ok(state) => {
                    self.scales.insert(name, state);
                }
                Err(obstacle) if obstacle.reason == Reason::ApiUnavailable && known.is_some() => {
                    unavailable = Some(obstacle);
                }
                Err(obstacle) => {
                    self.scales.remove(name);
                    return Err(obstacle);
                }
            }
        }
        Ok(unavailable)
    }

    async fn decide(&mut self, scaler: &KIScaler, unavailable: Option<Obstacle>) -> Report {
        if let Err(obstacle) = self.prepare(scaler).await {
            return self.cannot(scaler, obstacle);
        }
        let context = Arc::clone(&self.context);
        let key = self.key.clone();
        let own = (key.0.as_str(), key.1.as_str());
        let obstacle = unavailable
            .or_else(|| blockers(&context.cluster, &context.scalers, scaler))
            .or_else(|| self.write_failed.waits(&scaler.spec));
        let (pods, mut inputs) = self.inputs(scaler);
        let Some(deciding) = &mut self.deciding else {
            // Prepared above.
            let message = "not prepared".to_owned();
            return self.cannot(scaler, Obstacle { reason: Reason::InvalidSpec, message });
        };
        deciding.scrape(&pods, &mut inputs, &context, own).await;
        deciding.recall(&mut inputs, &context, own).await;
        inputs.now = wall_clock();
        inputs.obstacle = obstacle;
        let began = Instant::now();
        let outcome = deciding.steps.step(&inputs);
        context.telemetry.decided(own, &outcome, began.elapsed());
        if let Some(observation) = deciding.steps.observation().filter(|_| context.observations) {
            context.telemetry.observed(own, &observation);
        }
        let mut report = deciding.report(&outcome);
        if let Some(record) = &context.record {
            // A recorder that is gone is at its end.
            let _ = record.send(inputs).await;
        }
        let acts =
            scaler.spec.mode == Mode::Active && !context.only_shadow && !outcome.reason.holds() && outcome.changes();
        // Whoever does not lead decides along, so that it knows the past when its time comes.
        if acts && context.leadership.permit().is_some() {
            if let Err(error) = self.act(scaler, &outcome, &pods).await {
                context.telemetry.wrote("scale", error.outcome());
                let obstacle = Obstacle { reason: error.reason(), message: error.to_string() };
                self.write_failed.note(&scaler.spec, obstacle.clone());
                (report.reason, report.message) = (obstacle.reason, obstacle.message);
                for pool in &mut report.pools {
                    pool.target = pool.current;
                }
            } else {
                self.write_failed.clear();
            }
        }
        report
    }

    /// Makes what decides, where there is none or it was made of something else.
    async fn prepare(&mut self, scaler: &KIScaler) -> Result<(), Obstacle> {
        let context = Arc::clone(&self.context);
        let (spec, versions) = (core(&scaler.spec), versions(scaler, &context.artifacts).await);
        let uids: Vec<String> = self.scales.values().map(|state| state.uid.clone()).collect();
        let is_same = |d: &Deciding| d.spec == spec && d.versions == versions && d.uids == uids;
        if self.deciding.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        if let Some(obstacle) = self.setup_failed.waits(&scaler.spec) {
            self.forget_deciding();
            return Err(obstacle);
        }
        let current: BTreeMap<_, _> = self.scales.iter().map(|(name, state)| (*name, state.replicas)).collect();
        let made = match setup(scaler, &context.artifacts, &current).await {
            Ok(made) => {
                let source =
                    Source::of(&scaler.spec.metrics, scaler.home(), &context.artifacts, &context.clients).await;
                source.map(|source| (made, source)).map_err(|error| (Reason::InvalidSpec, error.to_string()))
            }
            Err(error) if error.is_about_policy() => Err((Reason::PolicyUnavailable, error.to_string())),
            Err(error) => Err((Reason::InvalidSpec, error.to_string())),
        };
        match made {
            Ok((made, source)) => {
                let before = self.forget_deciding();
                let mut deciding = Deciding::new(scaler, made, source, versions, uids);
                if let Some(before) = before.filter(|before| before.uids == deciding.uids) {
                    deciding.inherit(before);
                }
                let own = (self.key.0.as_str(), self.key.1.as_str());
                context.telemetry.policy(own, &deciding.policy.name, deciding.policy.sha256.as_deref());
                context.telemetry.recalled(own, Duration::ZERO);
                self.deciding = Some(deciding);
                self.setup_failed.clear();
                Ok(())
            }
            Err((reason, message)) => {
                self.forget_deciding();
                let obstacle = Obstacle { reason, message };
                self.setup_failed.note(&scaler.spec, obstacle.clone());
                Err(obstacle)
            }
        }
    }

    fn forget_deciding(&mut self) -> Option<Deciding> {
        let before = self.deciding.take()?;
        let own = (self.key.0.as_str(), self.key.1.as_str());
        self.context.telemetry.no_policy(own, &before.policy.name, before.policy.sha256.as_deref());
        Some(before)
    }

    /// Pods by number, and what the API says of pools and pods.
    fn inputs(&mut self, scaler: &KIScaler) -> (Vec<(u64, usize, Arc<Facts>)>, Inputs) {
        let mut inputs = Inputs::default();
        let mut pods: Vec<(u64, usize, Arc<Facts>)> = Vec::new();
        let now = wall_clock();
        let Some(deciding) = &self.deciding else { return (pods, inputs) };
        for (number, (name, _)) in scaler.spec.pools.by_name().enumerate() {
            let Some(state) = self.scales.get(name) else { continue };
            let mut own = self.context.cluster.pods.select(&self.key.0, |facts| state.selector.matches(&facts.labels));
            own.sort_by(|(a, first), (b, second)| (first.created, a).cmp(&(second.created, b)));
            let mut counts = PodCounts { desired: state.replicas, ..PodCounts::default() };
            for (_, facts) in own {
                facts.count(&mut counts, now);
                pods.push((self.numbers.of(&facts.uid), number, facts));
            }
            let Some(prepared) = deciding.steps.prepared().pools.get(number) else { continue };
            inputs.pools.push(PoolView {
                name: name.to_owned(),
                hardware: prepared.hardware,
                counts,
                cpus: prepared.config.cpus,
                limits: prepared.config.limits,
            });
        }
        pods.sort_by_key(|(id, _, facts)| (facts.created, *id));
        inputs.pods = pods.iter().map(|(id, pool, facts)| facts.view(*id, *pool, now)).collect();
        let living: std::collections::HashSet<&str> = pods.iter().map(|(_, _, facts)| facts.uid.as_str()).collect();
        let gone = self.numbers.retain(|uid| living.contains(uid));
        inputs.scrape.gone = gone.into_iter().map(|pod| (pod, now)).collect();
        (pods, inputs)
    }

    /// Sets what was decided.
    async fn act(
        &mut self,
        scaler: &KIScaler,
        outcome: &Outcome,
        pods: &[(u64, usize, Arc<Facts>)],
    ) -> Result<(), WriteError> {
        let context = Arc::clone(&self.context);
        for (number, ((name, pool), decided)) in scaler.spec.pools.by_name().zip(&outcome.pools).enumerate() {
            if decided.target == decided.current {
                continue;
            }
            if decided.target < decided.current && scaler.spec.safety.prefer_idle_pods {
                let costs = self.costs(number, pods);
                mark(&context, &self.key.0, costs).await;
            }
            let Some(permit) = context.leadership.permit() else {
                return Err(WriteError::Unanswered("the right to write is somebody else's by now".to_owned()));
            };
            let on_conflict = scaler.spec.safety.on_conflict;
            let place = (self.key.0.as_str(), &pool.scale_target_ref);
            let written = scale::write(&context.client, &context.cluster, place, decided.target, on_conflict, permit);
            let state = written.await?;
            context.telemetry.wrote("scale", "ok");
            self.scales.insert(name, state);
            if let Some(deciding) = &mut self.deciding {
                deciding.steps.changed(number, outcome.at, decided.current, decided.target);
            }
        }
        Ok(())
    }

    /// How much would be lost with each ready pod of a pool, where that is not what its annotation says.
    fn costs(&self, pool: usize, pods: &[(u64, usize, Arc<Facts>)]) -> Vec<(String, String)> {
        let Some(deciding) = &self.deciding else { return Vec::new() };
        let ready = pods.iter().filter(|(_, own, facts)| *own == pool && facts.phase == Phase::Ready);
        let costs = ready.filter_map(|(id, _, facts)| {
            let cost = deciding.in_flight.get(id)?.to_string();
            (facts.deletion_cost.as_ref() != Some(&cost)).then(|| (facts.address.name.clone(), cost))
        });
        costs.take(COSTS_AT_ONCE).collect()
    }

    /// The report of one that cannot decide.
    fn cannot(&self, scaler: &KIScaler, obstacle: Obstacle) -> Report {
        let Obstacle { reason, message } = obstacle;
        self.context.telemetry.reason((&self.key.0, &self.key.1), reason);
        let policy = PolicyStatus { name: scaler.spec.policy.label(), sha256: None };
        let policy = self.deciding.as_ref().map_or(policy, |deciding| deciding.policy.clone());
        Report {
            policy_problem: (reason == Reason::PolicyUnavailable).then(|| message.clone()),
            reason,
            message,
            pools: Vec::new(),
            policy,
            metrics: None,
            unseen: None,
        }
    }
}

/// Writes deletion costs: whoever deletes pods takes the cheapest first. Best effort: without it, others go.
async fn mark(context: &Context, namespace: &str, costs: Vec<(String, String)>) {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    for (name, cost) in costs {
        let Some(permit) = context.leadership.permit() else { return };
        let patch = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": {DELETION_COST: cost}},
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let outcome = match permit.spend(api.patch_metadata(&name, &parameters, &Patch::Apply(&patch))).await {
            Ok(Ok(_)) => "ok",
            Ok(Err(error)) => {
                tracing::debug!(pod = name, %error, "cannot write the deletion cost");
                "refused"
            }
            Err(_) => "unanswered",
        };
        context.telemetry.wrote("deletion_cost", outcome);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let features = self.deciding.as_ref().map(|d| d.features.clone()).unwrap_or_default();
        self.forget_deciding();
        self.context.telemetry.forget((&self.key.0, &self.key.1), &features);
    }
}
