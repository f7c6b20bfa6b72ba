//! A simulation and what was scraped of it: what any environment plays on.

use std::time::Duration;

use kisim::control::{Decision, Verdict, View};
use kisim::simulation::Simulation;
use kisim::window::Window;

/// A simulation under somebody's control.
pub(super) struct Stage {
    pub(super) simulation: Simulation,
    window: Window,
}

impl Stage {
    pub(super) fn new(simulation: Simulation) -> Stage {
        let prepared = simulation.prepared();
        // As in `kisim::run`.
        let retention = Duration::from_secs(600).max(4 * prepared.scenario.telemetry.window.0);
        let window = Window::new(retention, &prepared.bounds);
        Stage { simulation, window }
    }

    /// Takes in what was scraped.
    pub(super) fn scrape(&mut self) {
        self.window.push(&self.simulation.scraped(), self.simulation.now());
    }

    /// The highest CPU utilisation of a pool, as last scraped.
    pub(super) fn highest_cpu(&self) -> Option<f64> {
        self.window.highest_cpu(self.simulation.prepared().pools.len(), self.simulation.now())
    }

    /// Does what was decided.
    pub(super) fn act(&mut self, decision: &Decision) {
        if let Some(placement) = decision.placement {
            self.simulation.place(placement);
        }
        for (number, verdict) in decision.pools.iter().enumerate() {
            let wanted = match verdict {
                Verdict::Hold { .. } => self.simulation.counts(number).desired,
                Verdict::Scale { replicas, .. } => *replicas,
            };
            // Refused by the API: nothing changes, as on a cluster.
            let _ = self.simulation.scale(number, wanted);
        }
    }

    /// What an autoscaler sees now.
    pub(super) fn with_view<T>(&self, see: impl FnOnce(&View<'_>) -> T) -> T {
        let (pools, pods) = (self.simulation.pool_views(), self.simulation.pod_views());
        see(&View {
            now: self.simulation.now(),
            window: &self.window,
            range: self.simulation.prepared().scenario.telemetry.window.0,
            pools: &pools,
            pods: &pods,
        })
    }
}
