//! What decides for one KIScaler, and what it was made of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kisim::cluster::Phase;
use kisim::time::SimTime;

use super::Context;
use super::recall::Recall;
use super::report::Report;
use super::setup::Setup;
use super::source::{Source, wall_clock};
use crate::api::{KIScaler, KIScalerSpec, Mode, PolicyStatus};
use crate::cluster::Facts;
use crate::control::{Gate, Inputs, Loop, Outcome, Rules};
use crate::metrics::{Mapping, Sampler, Wanted};
use crate::plan::Needs;

/// What decides, and what it was made of.
pub(super) struct Deciding {
    /// The spec but for what may change without a new beginning.
    pub(super) spec: KIScalerSpec,
    pub(super) versions: Vec<String>,
    pub(super) uids: Vec<String>,
    pub(super) steps: Loop,
    pub(super) needs: Needs,
    pub(super) mapping: Mapping,
    pub(super) sampler: Sampler,
    pub(super) source: Source,
    pub(super) interval: Duration,
    pub(super) policy: PolicyStatus,
    pub(super) standing_in: Option<String>,
    pub(super) features: Vec<String>,
    /// When metrics were last asked for.
    pub(super) asked: Option<SimTime>,
    /// Requests in flight at each pod.
    pub(super) in_flight: HashMap<u64, u64>,
    /// The past that the policy is to be told.
    recall: Option<Recall>,
}

/// The spec as far as decisions are made of it.
pub(super) fn core(spec: &KIScalerSpec) -> KIScalerSpec {
    KIScalerSpec { mode: Mode::Shadow, ..spec.clone() }
}

/// How far back metrics are asked for where the past is known: as far as the window reaches.
const PAST: Duration = Duration::from_secs(600);

impl Deciding {
    pub(super) fn new(
        scaler: &KIScaler,
        made: Setup,
        source: Source,
        versions: Vec<String>,
        uids: Vec<String>,
    ) -> Self {
        let Setup { plan, standing_in } = made;
        let loaded = plan.decider.loaded();
        let name = if standing_in.is_some() { plan.decider.name() } else { scaler.spec.policy.label() };
        let policy = PolicyStatus { name, sha256: loaded.map(|loaded| loaded.sha256.clone()) };
        let features = loaded.map(|l| l.policy.features().iter().map(|f| f.name.clone()).collect()).unwrap_or_default();
        let pools = scaler.spec.pools.by_name().zip(&plan.prepared.pools);
        let gates = pools.map(|((_, pool), prepared)| Gate::of(prepared.config.limits, pool)).collect();
        let interval = plan.decider.interval().unwrap_or(scaler.spec.interval.duration());
        let (needs, bounds) = (plan.needs, plan.prepared.bounds.clone());
        let rules = Rules::of(&scaler.spec, !needs.is_none());
        let mapping = Mapping::of(&scaler.spec.metrics);
        // What another policy saw of the load is not this one's to take over, but Prometheus saw it, too.
        let recall = Recall::begin(scaler, &plan, &source, &mapping);
        Deciding {
            spec: core(&scaler.spec),
            versions,
            uids,
            steps: Loop::new(plan, gates, rules),
            needs,
            mapping,
            sampler: Sampler::new(needs, &bounds),
            source,
            interval,
            policy,
            standing_in,
            features,
            asked: None,
            in_flight: HashMap::new(),
            recall,
        }
    }

    /// Takes over what was seen: a new policy is no reason to look away for a minute.
    pub(super) fn inherit(&mut self, before: Deciding) {
        if self.spec.metrics == before.spec.metrics && self.needs == before.needs {
            self.steps.inherit(before.steps);
            (self.sampler, self.asked, self.in_flight) = (before.sampler, before.asked, before.in_flight);
        }
    }

    /// Asks for metrics of ready pods.
    pub(super) async fn scrape(
        &mut self,
        pods: &[(u64, usize, Arc<Facts>)],
        inputs: &mut Inputs,
        context: &Context,
        own: (&str, &str),
    ) {
        self.sampler.retain(|pod| pods.iter().any(|(id, _, _)| *id == pod));
        self.in_flight.retain(|pod, _| pods.iter().any(|(id, _, _)| id == pod));
        if self.needs.is_none() {
            return;
        }
        let ready = pods.iter().filter(|(_, _, facts)| facts.phase == Phase::Ready);
        let wanted: Vec<Wanted> =
            ready.map(|(id, pool, facts)| Wanted { id: *id, pool: *pool, address: facts.address.clone() }).collect();
        let now = wall_clock();
        let range = match self.asked {
            // What came late is asked for again, and told apart by its time.
            Some(asked) => (now.since(asked) + Duration::from_secs(60)).min(PAST),
            None => PAST,
        };
        let mut round = self.source.round(&self.mapping, &mut self.sampler, &wanted, (now, range)).await;
        if !wanted.is_empty() {
            self.asked = Some(now);
        }
        context.telemetry.found(own, &round.found);
        for found in &round.found {
            let (pod, finding, detail) = (&found.pod, found.finding.name(), &found.detail);
            tracing::debug!(kiscaler = format!("{}/{}", own.0, own.1), pod, finding, detail, "metrics");
        }
        for sample in &round.scrape.pods {
            self.in_flight.insert(sample.pod, sample.in_flight);
        }
        round.scrape.gone = std::mem::take(&mut inputs.scrape.gone);
        inputs.scrape = round.scrape;
        self.steps.note_findings(round.found);
    }

    /// Lets the policy know the past, once Prometheus has told it.
    pub(super) async fn recall(&mut self, inputs: &mut Inputs, context: &Context, own: (&str, &str)) {
        let Some(recall) = &mut self.recall else { return };
        if let Some(recalled) = recall.take().await {
            context.telemetry.recalled(own, self.interval.saturating_mul(recalled.bins.len() as u32));
            self.steps.recall(recalled.decider, &inputs.pools);
            inputs.recalled = recalled.bins;
        }
    }

    pub(super) fn report(&self, outcome: &Outcome) -> Report {
        let message = match &self.standing_in {
            Some(problem) => format!("{problem}; {} decides: {}", self.policy.name, outcome.message),
            None => outcome.message.clone(),
        };
        Report {
            reason: outcome.reason,
            message,
            pools: outcome.pools.clone(),
            policy: self.policy.clone(),
            policy_problem: self.standing_in.clone(),
            metrics: Some(outcome.metrics.clone().map_or(Ok(()), Err)),
            unseen: outcome.unseen.clone(),
        }
    }
}
