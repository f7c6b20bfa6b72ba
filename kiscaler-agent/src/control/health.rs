//! Whether metrics are good enough to act on.

use std::collections::BTreeMap;
use std::time::Duration;

use kisim::cluster::Phase;
use kisim::control::PodView;
use kisim::telemetry::Scrape;
use kisim::time::SimTime;

use super::Reason;

/// What metrics must be like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthRules {
    /// How long they must have been seen before the first change.
    pub warm_up: Duration,
    /// From which age they are stale.
    pub stale_after: Duration,
    /// Share of the ready pods whose metrics must be fresh.
    pub coverage: f64,
}

/// What is known of the metrics of all pools.
#[derive(Clone, Debug)]
pub struct Health {
    rules: HealthRules,
    /// When each pod was last scraped, while no later scrape failed.
    last: BTreeMap<u64, SimTime>,
    first: Option<SimTime>,
    newest: Option<SimTime>,
}

impl Health {
    /// Of which nothing is known yet.
    pub fn new(rules: HealthRules) -> Self {
        Health { rules, last: BTreeMap::new(), first: None, newest: None }
    }

    /// Takes over what another saw under other rules.
    pub fn inherit(&mut self, before: Health) {
        (self.last, self.first, self.newest) = (before.last, before.first, before.newest);
    }

    /// Takes in what was scraped.
    pub fn push(&mut self, scrape: &Scrape) {
        for sample in &scrape.pods {
            let last = self.last.entry(sample.pod).or_insert(sample.at);
            *last = (*last).max(sample.at);
            self.first = Some(self.first.map_or(sample.at, |first| first.min(sample.at)));
            self.newest = self.newest.max(Some(sample.at));
        }
        for (pod, failed) in &scrape.failed {
            // A failed scrape makes the pod's last word stale, as it does in Prometheus.
            if self.last.get(pod).is_some_and(|last| last < failed) {
                self.last.remove(pod);
            }
        }
        for (pod, _) in &scrape.gone {
            self.last.remove(pod);
        }
    }

    /// Age of the newest sample at `now`.
    pub fn age(&self, now: SimTime) -> Option<Duration> {
        self.newest.map(|newest| now.since(newest))
    }

    /// What is wrong with the metrics of `pods` at `now`; `None` where one can act on them.
    pub fn problem(&self, pods: &[PodView], now: SimTime) -> Option<(Reason, String)> {
        let rules = &self.rules;
        let ready: Vec<&PodView> = pods.iter().filter(|pod| pod.phase == Phase::Ready).collect();
        if ready.is_empty() {
            let (all, word) = (pods.len(), if pods.len() == 1 { "pod" } else { "pods" });
            return Some((Reason::NoReadyPods, format!("none of {all} {word} is ready")));
        }
        let Some((newest, first)) = self.newest.zip(self.first) else {
            return Some((Reason::NoMetrics, format!("no metrics of any of {} ready pods yet", ready.len())));
        };
        let age = now.since(newest);
        if age > rules.stale_after {
            let text = format!(
                "the newest metrics are {:.0} s old, at most {:?} is fresh",
                age.as_secs_f64(),
                rules.stale_after
            );
            return Some((Reason::StaleMetrics, text));
        }
        let is_fresh = |pod: &&&PodView| self.last.get(&pod.id).is_some_and(|&at| now.since(at) <= rules.stale_after);
        let fresh = ready.iter().filter(is_fresh).count();
        // A pod that has just turned ready has not been scraped yet, and is no reason to hold.
        let is_new = |pod: &&&PodView| pod.ready_transition.is_some_and(|at| now.since(at) < rules.stale_after);
        let due = ready.iter().filter(|pod| !is_new(pod) || is_fresh(pod)).count();
        if fresh == 0 {
            return Some((Reason::NoMetrics, format!("no metrics of any of {} ready pods", ready.len())));
        }
        if (fresh as f64) < rules.coverage * due as f64 {
            let text =
                format!("fresh metrics of {fresh} of {due} ready pods, at least {} of them is enough", rules.coverage);
            return Some((Reason::PartialMetrics, text));
        }
        let seen = now.since(first);
        if seen < rules.warm_up {
            let text = format!("metrics have been seen for {:.0} s of {:?}", seen.as_secs_f64(), rules.warm_up);
            return Some((Reason::WarmingUp, text));
        }
        None
    }
}
