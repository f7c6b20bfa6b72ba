//! The pods' own clocks side by side: which of them are due, when the order among them does not matter.

/// Clocks in a block, and blocks in a group: one bit each in a byte.
const WIDTH: usize = 8;
/// Blocks up to which all are looked at, without bounds: keeping those up to date costs more than two blocks do.
const FLAT: usize = 2;

/// Eight times.
type Times = [u64; WIDTH];

/// The next event time of each server, in blocks of eight and groups of eight blocks, with their earliest each.
///
/// Hot under least-outstanding routing without waiting clients. Servers do not influence each other there, so those
/// due by an arrival may be advanced in any order: what is needed is the *set* of servers due, not the earliest. A
/// branch-free look at eight clocks gives it; a heap or a tournament would spend a chain of dependent loads on an
/// order nobody uses. At 1,000 servers an arrival looks at 16 groups and, on average, one block of one of them.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    next: Vec<Times>,
    /// The earliest clock of each block; unused with [`FLAT`] blocks or fewer.
    blocks: Vec<Times>,
    /// The earliest clock of each group; unused with [`FLAT`] blocks or fewer.
    groups: Vec<u64>,
}

/// Which of eight times are due at `now`, as bits.
///
/// Without a branch, and half the instructions (35) of also finding the earliest of the others: see [`earliest`], needed
/// only where a clock was due.
#[inline(always)]
fn due(times: &Times, now: u64) -> u32 {
    let mut later = 0u32;
    for &time in times.iter().rev() {
        later = later + later + u32::from(now < time);
    }
    !later & 0xff
}

#[inline(always)]
fn earliest(times: &Times) -> u64 {
    let [a, b, c, d, e, f, g, h] = *times;
    a.min(b).min(c.min(d)).min(e.min(f).min(g.min(h)))
}

/// Calls `f` with the number of each bit of `mask` that is set.
#[inline(always)]
fn for_bits(mut mask: u32, mut f: impl FnMut(usize)) {
    while mask != 0 {
        f(mask.trailing_zeros() as usize % WIDTH);
        mask &= mask - 1;
    }
}

impl Clocks {
    /// Makes room for `servers` clocks, new ones at "never".
    pub fn resize(&mut self, servers: usize) {
        let blocks = servers.div_ceil(WIDTH);
        if blocks <= self.next.len() {
            return;
        }
        self.next.resize(blocks, [u64::MAX; WIDTH]);
        self.blocks.resize(blocks.div_ceil(WIDTH), [u64::MAX; WIDTH]);
        self.groups.resize(self.blocks.len(), u64::MAX);
        // Bounds may not have been kept so far.
        for (block, times) in self.next.iter().enumerate() {
            self.blocks[block / WIDTH][block % WIDTH] = earliest(times);
        }
        for (group, times) in self.blocks.iter().enumerate() {
            self.groups[group] = earliest(times);
        }
    }

    /// Whether there are so few that [`Clocks::advance_due`] looks at all of them.
    pub fn are_flat(&self) -> bool {
        self.next.len() <= FLAT
    }

    /// Sets server `server`'s clock. `flat` is [`Clocks::are_flat`], constant where that is known.
    #[inline(always)]
    pub fn set(&mut self, server: usize, time: u64, flat: bool) {
        let block = server / WIDTH;
        self.next[block][server % WIDTH] = time;
        if !flat {
            let group = block / WIDTH;
            let bound = &mut self.blocks[group][block % WIDTH];
            *bound = (*bound).min(time);
            let bound = &mut self.groups[group];
            *bound = (*bound).min(time);
        }
    }

    /// Calls `advance` with each server that is due at `now`; it gives the server's next time, after `now`. `flat` is
    /// [`Clocks::are_flat`], constant where that is known.
    #[inline(always)]
    pub fn advance_due(&mut self, now: u64, flat: bool, mut advance: impl FnMut(usize) -> u64) {
        // One place for `advance`, or it is called instead of becoming part of the loop.
        let groups = if flat { 1 } else { self.groups.len() };
        for group in 0..groups {
            if !flat && self.groups[group] > now {
                continue;
            }
            let blocks = if flat { (1 << self.next.len()) - 1 } else { due(&self.blocks[group], now) };
            for_bits(blocks, |block| {
                let times = &mut self.next[group * WIDTH + block];
                for_bits(due(times, now), |bit| times[bit] = advance((group * WIDTH + block) * WIDTH + bit));
                if !flat {
                    self.blocks[group][block] = earliest(times);
                }
            });
            if !flat {
                self.groups[group] = earliest(&self.blocks[group]);
            }
        }
    }

    /// Some server that is due at `now`.
    pub fn any_due(&self, now: u64) -> Option<usize> {
        let due = self.next.iter().map(|times| due(times, now)).enumerate().find(|&(_, mask)| mask != 0);
        due.map(|(block, mask)| block * WIDTH + mask.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn due_is_what_a_scan_finds(
            servers in 1usize..200,
            steps in prop::collection::vec((prop::collection::vec((0usize..200, 1u64..30), 0..6), 0u64..10), 1..60)
        ) {
            let mut clocks = Clocks::default();
            clocks.resize(servers);
            let mut plain = vec![u64::MAX; servers];
            let mut now = 0;
            for (sets, wait) in steps {
                for (server, ahead) in sets {
                    let flat = clocks.are_flat();
                    clocks.set(server % servers, now + ahead, flat);
                    plain[server % servers] = now + ahead;
                }
                now += wait;
                prop_assert_eq!(clocks.any_due(now).is_some(), plain.iter().any(|&time| time <= now));
                let mut early = false;
                let flat = clocks.are_flat();
                clocks.advance_due(now, flat, |server| {
                    early |= plain[server] > now;
                    plain[server] = if server % 3 == 0 { u64::MAX } else { now + 1 + server as u64 % 5 };
                    plain[server]
                });
                prop_assert!(!early);
                prop_assert_eq!(clocks.any_due(now), None);
                prop_assert!(plain.iter().all(|&time| time > now));
            }
        }
    }
}
