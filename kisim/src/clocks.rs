//! The pods' own clocks side by side: which of them are due, when the order among them does not matter.

/// Clocks in a block, and blocks in a group: one bit each in a byte.
const WIDTH: usize = 8;

/// The next event time of each server, in blocks of eight and groups of eight blocks, with a lower bound each.
///
/// Hot under least-outstanding routing without waiting clients. Servers do not influence each other there, so those
/// due by an arrival may be advanced in any order: what is needed is the *set* of servers due, not the earliest. A
/// branch-free look at eight clocks gives it; a heap or a tournament would spend a chain of dependent loads on an
/// order nobody uses. At 1,000 servers an arrival looks at 16 groups and, on average, one block of one of them.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    next: Vec<[u64; WIDTH]>,
    /// No clock of the block is earlier.
    blocks: Vec<[u64; WIDTH]>,
    /// No clock of the group is earlier.
    groups: Vec<u64>,
}

/// Which of eight times are due, as bits, and the earliest of the others.
#[inline(always)]
fn split(times: &[u64; WIDTH], now: u64) -> (u32, u64) {
    let (mut mask, mut rest) = (0, u64::MAX);
    for (bit, &time) in times.iter().enumerate() {
        let due = time <= now;
        mask |= u32::from(due) << bit;
        rest = rest.min(if due { u64::MAX } else { time });
    }
    (mask, rest)
}

impl Clocks {
    /// Makes room for `servers` clocks, new ones at "never".
    pub fn resize(&mut self, servers: usize) {
        let groups = servers.div_ceil(WIDTH * WIDTH);
        if groups > self.groups.len() {
            self.groups.resize(groups, u64::MAX);
            self.blocks.resize(groups, [u64::MAX; WIDTH]);
            self.next.resize(groups * WIDTH, [u64::MAX; WIDTH]);
        }
    }

    /// Sets server `server`'s clock.
    #[inline(always)]
    pub fn set(&mut self, server: usize, time: u64) {
        let (block, group) = (server / WIDTH, server / (WIDTH * WIDTH));
        self.next[block][server % WIDTH] = time;
        let bound = &mut self.blocks[group][block % WIDTH];
        *bound = (*bound).min(time);
        let bound = &mut self.groups[group];
        *bound = (*bound).min(time);
    }

    /// How many groups there are.
    #[inline(always)]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The blocks of `group` that may hold a clock due at `now`, as bits; bit `i` is block `8 · group + i`. Each must be
    /// looked into with [`Clocks::due`].
    #[inline(always)]
    pub fn due_blocks(&mut self, group: usize, now: u64) -> u32 {
        if self.groups[group] > now {
            return 0;
        }
        let (mask, rest) = split(&self.blocks[group], now);
        self.groups[group] = rest;
        mask
    }

    /// The servers of `block` that are due at `now`, as bits; bit `i` is server `8 · block + i`. Each must be advanced
    /// past `now` and [set](Clocks::set) next.
    #[inline(always)]
    pub fn due(&mut self, block: usize, now: u64) -> u32 {
        let (mask, rest) = split(&self.next[block], now);
        self.blocks[block / WIDTH][block % WIDTH] = rest;
        let bound = &mut self.groups[block / WIDTH];
        *bound = (*bound).min(rest);
        mask
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
                    clocks.set(server % servers, now + ahead);
                    plain[server % servers] = now + ahead;
                }
                now += wait;
                for group in 0..clocks.groups() {
                    let mut blocks = clocks.due_blocks(group, now);
                    while blocks != 0 {
                        let block = group * 8 + blocks.trailing_zeros() as usize;
                        blocks &= blocks - 1;
                        let mut due = clocks.due(block, now);
                        while due != 0 {
                            let server = block * 8 + due.trailing_zeros() as usize;
                            due &= due - 1;
                            prop_assert!(plain[server] <= now);
                            plain[server] = u64::MAX;
                            clocks.set(server, u64::MAX);
                        }
                    }
                }
                prop_assert!(plain.iter().all(|&time| time > now));
            }
        }
    }
}
