//! A winner tree over the pods' own clocks: which pod acts next, when the router must know every pod's load.

/// Servers a block holds at most.
const BLOCK: usize = 64;
/// Nodes of a block's tree; a power of two, so that `& (NODES - 1)` both bounds an index and costs no branch.
const NODES: usize = 2 * BLOCK;

/// The earliest event time of each of a set of servers, with the earliest of all at hand.
///
/// Hot. An update walks `log2(n)` levels without a branch on data (a compare and a conditional move each), which
/// beats a binary heap because a server's time changes in place: nothing is pushed or popped. Servers are kept in
/// blocks of at most 64 with a tree each, and the blocks' minima are scanned, which at 1,000 servers is 16 values.
#[derive(Clone, Debug)]
pub struct Tournament {
    blocks: Vec<Block>,
    /// Each block's earliest time.
    minima: Vec<u64>,
    earliest: u64,
}

#[derive(Clone, Debug)]
struct Block {
    /// `times[leaves + i]` is server `i`; `times[node]` the minimum of its two children; `times[1]` the root.
    times: [u64; NODES],
    leaves: usize,
}

impl Block {
    fn new(servers: usize) -> Self {
        Block { times: [u64::MAX; NODES], leaves: servers.clamp(2, BLOCK).next_power_of_two() }
    }

    #[inline(always)]
    fn set(&mut self, server: usize, time: u64) {
        let mut node = self.leaves + server;
        let mut best = time;
        self.times[node & (NODES - 1)] = time;
        while node > 1 {
            best = best.min(self.times[(node ^ 1) & (NODES - 1)]);
            node >>= 1;
            self.times[node & (NODES - 1)] = best;
        }
    }

    #[inline(always)]
    fn winner(&self) -> usize {
        let target = self.times[1];
        let mut node = 1;
        while node < self.leaves {
            // Go right only when the left child is not the winner: ties go to the lower index.
            node = 2 * node + usize::from(self.times[(2 * node) & (NODES - 1)] != target);
        }
        node - self.leaves
    }
}

impl Default for Tournament {
    fn default() -> Self {
        Tournament::with_capacity(1)
    }
}

impl Tournament {
    /// A tree for at least `servers` servers, all at "never".
    pub fn with_capacity(servers: usize) -> Self {
        let count = servers.div_ceil(BLOCK).max(1);
        let blocks = vec![Block::new(if count == 1 { servers } else { BLOCK }); count];
        Tournament { blocks, minima: vec![u64::MAX; count], earliest: u64::MAX }
    }

    /// How many servers fit.
    pub fn capacity(&self) -> usize {
        self.blocks.len() * self.blocks[0].leaves
    }

    /// The earliest time of all; `u64::MAX` when nobody has one.
    #[inline(always)]
    pub fn earliest(&self) -> u64 {
        self.earliest
    }

    /// The server with the earliest time; of several, the one with the lowest index.
    #[inline(always)]
    pub fn winner(&self) -> usize {
        if let [only] = self.blocks.as_slice() {
            return only.winner();
        }
        let block = self.minima.iter().position(|&m| m == self.earliest).unwrap_or(0);
        block * BLOCK + self.blocks[block].winner()
    }

    /// Sets server `server`'s time. Panics if `server` is beyond the capacity.
    #[inline(always)]
    pub fn set(&mut self, server: usize, time: u64) {
        if let [only] = self.blocks.as_mut_slice() {
            only.set(server, time);
            self.earliest = only.times[1];
            return;
        }
        let block = server / BLOCK;
        self.blocks[block].set(server % BLOCK, time);
        self.minima[block] = self.blocks[block].times[1];
        self.earliest = self.minima.iter().fold(u64::MAX, |best, &m| best.min(m));
    }

    /// Server `server`'s time.
    #[inline(always)]
    pub fn get(&self, server: usize) -> u64 {
        let block = if self.blocks.len() == 1 { 0 } else { server / BLOCK };
        let block = &self.blocks[block];
        block.times[(block.leaves + server % BLOCK) & (NODES - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_linear_scan(
            servers in prop_oneof![1usize..40, 60usize..300],
            updates in prop::collection::vec((0usize..300, 0u64..50), 0..200)
        ) {
            let mut tree = Tournament::with_capacity(servers);
            let mut plain = vec![u64::MAX; servers];
            for (server, time) in updates {
                let server = server % servers;
                tree.set(server, time);
                plain[server] = time;
                let earliest = plain.iter().copied().min().unwrap_or(u64::MAX);
                prop_assert_eq!(tree.earliest(), earliest);
                prop_assert_eq!(Some(tree.winner()), plain.iter().position(|&t| t == earliest));
                prop_assert_eq!(tree.get(server), time);
            }
        }
    }
}
