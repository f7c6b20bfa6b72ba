//! Pods on their way: asked for, not yet ready.

use kisim::time::SimTime;

/// When pods were asked for, so that one knows how far those are that are not ready yet.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    desired: u32,
    ready: u32,
    asked_at: SimTime,
    /// (when, how many), ascending.
    asked: Vec<(SimTime, u32)>,
    /// (age in seconds, how many) of those not ready, youngest first.
    coming: Vec<(f64, u32)>,
}

/// More entries than decisions in the longest cold start; older ones are pods that do not come.
const KEPT: usize = 64;

impl Pipeline {
    pub(super) fn new(initial: u32) -> Self {
        Pipeline { desired: initial, ready: initial, asked_at: SimTime::ZERO, asked: Vec::new(), coming: Vec::new() }
    }

    pub(super) fn observe(&mut self, now: SimTime, desired: u32, ready: u32) {
        // Asked for at the decision before this look.
        if desired > self.desired {
            self.asked.push((self.asked_at, desired - self.desired));
            if self.asked.len() > KEPT {
                self.asked.remove(0);
            }
        }
        (self.desired, self.ready, self.asked_at) = (desired, ready, now);
        self.coming.clear();
        let mut missing = desired.saturating_sub(ready);
        for &(at, count) in self.asked.iter().rev() {
            if missing == 0 {
                break;
            }
            let pods = count.min(missing);
            missing -= pods;
            self.coming.push((now.since(at).as_secs_f64(), pods));
        }
        if missing > 0 {
            // Lost pods: their replacements were asked for just now, as far as anybody knows.
            self.coming.push((0.0, missing));
        }
        if desired <= ready {
            self.asked.clear();
        }
    }

    pub(super) fn ready(&self) -> u32 {
        self.ready
    }

    pub(super) fn desired(&self) -> u32 {
        self.desired
    }

    /// Pods that should be ready in `seconds`, of a cold start of `cold_s`, by what they have behind them.
    pub(super) fn ready_in(&self, seconds: f64, cold_s: f64) -> u32 {
        let coming = self.coming.iter().filter(|&&(age, _)| age + seconds >= cold_s);
        self.ready.min(self.desired) + coming.map(|&(_, pods)| pods).sum::<u32>()
    }

    /// Pods that should be ready by now, and are not.
    pub(super) fn overdue(&self, slow_s: f64) -> u32 {
        self.coming.iter().filter(|&&(age, _)| age > slow_s).map(|&(_, pods)| pods).sum()
    }
}
