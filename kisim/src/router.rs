//! The Service: which endpoint of a pool gets a request.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::random::Stream;

/// How a pool's endpoints share its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// Uniformly at random, as kube-proxy's iptables mode does with connections.
    Random,
    /// In turn, as kube-proxy's IPVS mode does by default.
    RoundRobin,
    /// The endpoint with the fewest outstanding requests; ties in turn.
    #[default]
    LeastOutstanding,
    /// The less loaded of two drawn at random (Mitzenmacher 2001; Envoy's least-request balancer).
    PowerOfTwo,
}

/// The endpoints of one pool, in the order in which they became ready. Servers are named by their slot.
#[derive(Clone, Debug)]
pub struct Endpoints {
    routing: Routing,
    slots: Vec<u32>,
    cursor: usize,
    /// Kept up to date only under [`Routing::LeastOutstanding`].
    pub loads: Loads,
}

impl Endpoints {
    /// No endpoints yet.
    pub fn new(routing: Routing) -> Self {
        Endpoints { routing, slots: Vec::new(), cursor: 0, loads: Loads::default() }
    }

    /// The rule.
    pub fn routing(&self) -> Routing {
        self.routing
    }

    /// The endpoints' slots.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Whether nobody could take a request.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds an endpoint holding `outstanding` requests.
    pub fn add(&mut self, slot: u32, outstanding: usize) {
        if !self.slots.contains(&slot) {
            self.slots.push(slot);
            self.loads.insert(slot as usize, outstanding);
        }
    }

    /// Takes an endpoint away; whether it was there.
    pub fn remove(&mut self, slot: u32) -> bool {
        let Some(at) = self.slots.iter().position(|&s| s == slot) else { return false };
        self.slots.remove(at);
        // Keep pointing at the same next endpoint.
        if at < self.cursor {
            self.cursor -= 1;
        }
        self.loads.remove(slot as usize);
        true
    }

    /// The next endpoint in turn. There must be one.
    #[inline(always)]
    pub fn in_turn(&mut self) -> u32 {
        if self.cursor >= self.slots.len() {
            self.cursor = 0;
        }
        let slot = self.slots[self.cursor];
        self.cursor += 1;
        slot
    }

    /// An endpoint uniformly at random. There must be one.
    #[inline(always)]
    pub fn at_random(&self, rng: &mut Stream) -> u32 {
        self.slots[rng.random_range(0..self.slots.len())]
    }

    /// Two different endpoints at random; the same twice when there is only one. There must be one.
    #[inline(always)]
    pub fn two_at_random(&self, rng: &mut Stream) -> (u32, u32) {
        let n = self.slots.len();
        let first = rng.random_range(0..n);
        if n == 1 {
            return (self.slots[0], self.slots[0]);
        }
        let second = rng.random_range(0..n - 1);
        (self.slots[first], self.slots[second + usize::from(second >= first)])
    }
}

const ABSENT: u32 = u32::MAX;

/// Endpoints by number of outstanding requests: one bit set a number, so that the least loaded is found without a
/// scan over endpoints and a change costs two bit flips.
///
/// Hot under least-outstanding routing; the alternative, a scan over 64 counts, costs about as much as serving the
/// request, and at 1,000 endpoints twenty times that.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    /// By slot: outstanding requests, or [`ABSENT`].
    level: Vec<u32>,
    /// 64-bit words a level.
    words: usize,
    /// `bits[level * words + slot / 64]`.
    bits: Vec<u64>,
    /// Endpoints at each level; with a single word a level, the word itself tells and this is not kept.
    population: Vec<u32>,
    /// No endpoint is below this level.
    least: usize,
    cursor: u32,
}

impl Loads {
    /// Starts to track `slot` at `outstanding` requests.
    pub fn insert(&mut self, slot: usize, outstanding: usize) {
        if slot >= self.level.len() {
            self.grow(slot + 1);
        }
        self.put(slot, outstanding);
    }

    /// Forgets `slot`.
    pub fn remove(&mut self, slot: usize) {
        if self.level.get(slot).is_some_and(|&l| l != ABSENT) {
            self.take(slot);
            self.level[slot] = ABSENT;
            // Nobody may be left to bound the search from below.
            self.least = 0;
        }
    }

    /// Notes that `slot` holds `outstanding` requests; ignored where it is not tracked.
    #[inline(always)]
    pub fn set(&mut self, slot: usize, outstanding: usize) {
        if self.words == 1 {
            return self.set_in_word(slot, outstanding);
        }
        match self.level.get(slot) {
            Some(&level) if level != ABSENT && level as usize != outstanding => {
                self.take(slot);
                self.put(slot, outstanding);
            }
            _ => {}
        }
    }

    /// [`Loads::set`] with a single word a level.
    #[inline(always)]
    pub fn set_in_word(&mut self, slot: usize, outstanding: usize) {
        let Some(level) = self.level.get_mut(slot).filter(|level| **level != ABSENT) else { return };
        let old = std::mem::replace(level, outstanding as u32) as usize;
        if outstanding >= self.bits.len() {
            self.add_levels(outstanding);
        }
        // Out of one level and into the other; into the same, nothing changes.
        let bit = 1 << (slot % 64);
        self.bits[old] ^= bit;
        self.bits[outstanding] ^= bit;
        self.least = self.least.min(outstanding);
    }

    /// The least loaded slot; of several, the next after the one chosen last. There must be one.
    #[inline(always)]
    pub fn least(&mut self) -> usize {
        if self.words == 1 { self.least_in_word() } else { self.least_of_many() }
    }

    /// Whether [`Loads::least_in_word`] and [`Loads::set_in_word`] may be used: 64 slots at most.
    pub fn fit_word(&self) -> bool {
        self.words == 1
    }

    /// [`Loads::least`] with a single word a level.
    #[inline(always)]
    pub fn least_in_word(&mut self) -> usize {
        while self.bits[self.least] == 0 {
            self.least += 1;
        }
        let row = self.bits[self.least];
        // Those at or after the cursor, or all of them: a conditional move, not a branch.
        let after = row & u64::MAX.checked_shl(self.cursor).unwrap_or(0);
        let slot = if after != 0 { after } else { row }.trailing_zeros();
        self.cursor = slot + 1;
        slot as usize
    }

    #[inline(never)]
    fn least_of_many(&mut self) -> usize {
        while self.population[self.least] == 0 {
            self.least += 1;
        }
        let row = &self.bits[self.least * self.words..(self.least + 1) * self.words];
        let start = if self.cursor as usize >= self.words * 64 { 0 } else { self.cursor as usize };
        let masked = row[start / 64] & (u64::MAX << (start % 64));
        let slot = if masked != 0 {
            start / 64 * 64 + masked.trailing_zeros() as usize
        } else {
            // Wrap around; the starting word comes last, whole.
            let mut word = start / 64;
            loop {
                word += 1;
                if word == row.len() {
                    word = 0;
                }
                if row[word] != 0 {
                    break word * 64 + row[word].trailing_zeros() as usize;
                }
            }
        };
        self.cursor = slot as u32 + 1;
        slot
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, outstanding: usize) {
        if outstanding >= self.population.len() {
            self.add_levels(outstanding);
        }
        self.level[slot] = outstanding as u32;
        if self.words == 1 {
            self.bits[outstanding] |= 1 << slot;
        } else {
            self.bits[outstanding * self.words + slot / 64] |= 1 << (slot % 64);
            self.population[outstanding] += 1;
        }
        self.least = self.least.min(outstanding);
    }

    #[cold]
    #[inline(never)]
    fn add_levels(&mut self, outstanding: usize) {
        let levels = (outstanding + 1).next_power_of_two().max(16);
        self.population.resize(levels, 0);
        self.bits.resize(levels * self.words, 0);
    }

    #[inline(always)]
    fn take(&mut self, slot: usize) {
        let level = self.level[slot] as usize;
        if self.words == 1 {
            self.bits[level] &= !(1 << slot);
        } else {
            self.bits[level * self.words + slot / 64] &= !(1 << (slot % 64));
            self.population[level] -= 1;
        }
    }

    fn grow(&mut self, slots: usize) {
        let words = slots.next_power_of_two().max(64) / 64;
        self.level.resize(words * 64, ABSENT);
        if words != self.words {
            let levels = self.population.len();
            let mut bits = vec![0; levels * words];
            for level in 0..levels {
                bits[level * words..level * words + self.words]
                    .copy_from_slice(&self.bits[level * self.words..(level + 1) * self.words]);
            }
            if self.words == 1 {
                for level in 0..levels {
                    self.population[level] = self.bits[level].count_ones();
                }
            }
            self.bits = bits;
            self.words = words;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};
    use proptest::prelude::*;

    #[test]
    fn round_robin_survives_removals() {
        let mut endpoints = Endpoints::new(Routing::RoundRobin);
        (0..4).for_each(|slot| endpoints.add(slot, 0));
        let mut turn = || endpoints.in_turn();
        assert_eq!([turn(), turn()], [0, 1]);
        endpoints.remove(0);
        let mut turn = || endpoints.in_turn();
        assert_eq!([turn(), turn(), turn(), turn()], [2, 3, 1, 2]);
    }

    #[test]
    fn two_at_random_differ_and_are_uniform() {
        let mut endpoints = Endpoints::new(Routing::PowerOfTwo);
        (0..5).for_each(|slot| endpoints.add(slot, 0));
        let mut rng = stream(1, Purpose::Routing, 0);
        let mut seen = [0u32; 5];
        for _ in 0..20_000 {
            let (a, b) = endpoints.two_at_random(&mut rng);
            assert_ne!(a, b);
            seen[a as usize] += 1;
            seen[b as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (7_500..8_500).contains(&n)), "{seen:?}");
    }

    proptest! {
        #[test]
        fn least_agrees_with_a_scan(ops in prop::collection::vec((0usize..130, 0usize..40, 0u8..8), 1..300)) {
            let mut loads = Loads::default();
            let mut plain = std::collections::BTreeMap::new();
            for (slot, load, op) in ops {
                match op {
                    0 => { loads.remove(slot); plain.remove(&slot); }
                    1 => if plain.insert(slot, load).is_none() { loads.insert(slot, load) } else { loads.set(slot, load) },
                    _ => { loads.set(slot, load); if let Some(l) = plain.get_mut(&slot) { *l = load } }
                }
                if let Some(least) = plain.values().min() {
                    let chosen = loads.least();
                    prop_assert_eq!(plain.get(&chosen), Some(least));
                }
            }
        }

        #[test]
        fn ties_go_in_turn(n in 1usize..150, start in 0usize..150) {
            let mut loads = Loads::default();
            (0..n).for_each(|slot| loads.insert(slot, 3));
            (0..start).for_each(|_| { loads.least(); });
            let mut round: Vec<usize> = (0..n).map(|_| loads.least()).collect();
            round.sort_unstable();
            prop_assert_eq!(round, (0..n).collect::<Vec<_>>());
        }
    }
}
