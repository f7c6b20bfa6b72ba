//! Random streams: one per purpose, so that changing one consumer does not shift the others.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The generator behind every stream: xoshiro256++ (Blackman & Vigna 2019), 32 bytes of state and about a
/// nanosecond a draw, small enough that every pod owns one.
pub type Stream = Xoshiro256PlusPlus;

/// What a stream of random numbers is for.
///
/// Two purposes never share numbers: a scenario that draws one more cold start keeps its arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Inter-arrival times, think times, random rate functions.
    Arrivals = 1,
    /// Batch service times; one stream a pod, since pods own their clocks.
    Service = 2,
    /// Scheduling, image pull and model load times; one stream a pod.
    ColdStart = 3,
    /// The Service's choice of an endpoint and of a pool.
    Routing = 4,
    /// Fault times and victims.
    Faults = 5,
    /// Scrape phases and drop-outs.
    Telemetry = 6,
    /// The autoscaler's own draws, if it has any.
    Policy = 7,
    /// Retry back-off jitter.
    Retries = 8,
    /// Node provisioning times.
    Nodes = 9,
}

/// The stream of `purpose` number `index` in a simulation seeded with `seed`.
///
/// The three are mixed with SplitMix64's finaliser (Steele, Lea & Flood 2014), so that neighbouring seeds and
/// indices give unrelated streams.
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> Stream {
    let mixed = mix(mix(mix(seed).wrapping_add(purpose as u64)).wrapping_add(index));
    Stream::seed_from_u64(mixed)
}

/// A seed for run number `index` of an experiment seeded with `seed`.
pub fn derive_seed(seed: u64, index: u64) -> u64 {
    mix(mix(seed ^ 0x6b69_7369_6d00_0000).wrapping_add(index))
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let first = |seed, purpose, index| stream(seed, purpose, index).next_u64();
        let reference = first(1, Purpose::Arrivals, 0);
        assert_eq!(reference, first(1, Purpose::Arrivals, 0));
        assert_ne!(reference, first(2, Purpose::Arrivals, 0));
        assert_ne!(reference, first(1, Purpose::Service, 0));
        assert_ne!(reference, first(1, Purpose::Arrivals, 1));
        // A purpose plus an index must not alias the next purpose.
        assert_ne!(first(1, Purpose::Arrivals, 1), first(1, Purpose::Service, 0));
    }
}
