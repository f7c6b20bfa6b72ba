//! Changes of a plan that local search tries.

use std::ops::Range;

use super::rollout::Plan;

/// Lengths of stretches that are changed as one, in steps.
const LENGTHS: [usize; 9] = [1, 2, 3, 4, 6, 9, 14, 20, 40];

/// Those of a first look.
const FEW_LENGTHS: [usize; 3] = [1, 3, 9];

/// Lengths over which a neighbour's value is taken over: a change comes that much earlier or later.
const SHIFTS: usize = 3;

/// A change of one pool over a stretch of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Move {
    pub(super) pool: usize,
    pub(super) from: usize,
    pub(super) length: usize,
    pub(super) change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Change {
    /// So many more, or fewer, within limits.
    By(i32),
    /// This many.
    To(u32),
}

impl Move {
    /// The steps it changes.
    pub(super) fn range(&self) -> Range<usize> {
        self.from..self.from + self.length
    }

    /// What step `k` would ask for.
    pub(super) fn value(&self, plan: &Plan, k: usize, limits: (u32, u32)) -> u32 {
        let now = plan.replicas[k][self.pool];
        match self.change {
            Change::By(delta) => now.saturating_add_signed(delta).clamp(limits.0, limits.1),
            Change::To(replicas) => replicas.clamp(limits.0, limits.1),
        }
    }

    /// Makes the change.
    pub(super) fn apply(&self, plan: &mut Plan, limits: (u32, u32)) {
        for k in self.range() {
            let value = self.value(plan, k, limits);
            plan.replicas[k][self.pool] = value;
        }
    }
}

/// The changes worth trying. `violations` is by step; nothing is gained by adding pods where nobody is late and no
/// change is saved. `lead` is a cold start in steps.
pub(super) fn candidates(
    plan: &Plan,
    limits: &[(u32, u32)],
    violations: &[u64],
    lead: usize,
    thorough: bool,
) -> Vec<Move> {
    let steps = plan.replicas.len();
    let lengths = if thorough { LENGTHS.as_slice() } else { FEW_LENGTHS.as_slice() };
    let shifts = if thorough { SHIFTS } else { 1 };
    let mut sums = vec![0u64; steps + 1];
    for k in 0..steps {
        sums[k + 1] = sums[k] + violations[k];
    }
    let late = |from: usize, to: usize| sums[to.min(steps)] > sums[from.min(steps)];
    let mut moves = Vec::new();
    for (pool, &(min, max)) in limits.iter().enumerate() {
        let at = |k: usize| plan.replicas[k][pool];
        for from in 1..steps {
            for length in lengths.iter().copied().filter(|l| from + l <= steps) {
                let end = from + length;
                let inside = (from..end).map(at);
                let (low, high) = inside.fold((u32::MAX, 0), |(l, h), n| (l.min(n), h.max(n)));
                let mut add = |change| moves.push(Move { pool, from, length, change });
                if high > min {
                    add(Change::By(-1));
                    if thorough && length <= 4 && high > min + 1 {
                        add(Change::By(-2));
                    }
                }
                let dip = at(from - 1) > low && (end < steps && at(end) > low);
                if low < max && (dip || late(from, end + lead + 2)) {
                    add(Change::By(1));
                    if length >= lead {
                        add(Change::By(3));
                    }
                }
            }
            for length in (1..=shifts).filter(|l| from + l <= steps) {
                let end = from + length;
                let before = at(from - 1);
                let mut targets = vec![before];
                if end < steps && at(end) != before {
                    targets.push(at(end));
                }
                for target in targets {
                    // What is one off is tried above.
                    if (from..end).any(|k| at(k).abs_diff(target) > 1) {
                        moves.push(Move { pool, from, length, change: Change::To(target) });
                    }
                }
            }
        }
    }
    moves
}
