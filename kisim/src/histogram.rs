//! A log-linear histogram of durations: constant memory, 0.4 % resolution, one increment a sample.

/// Sub-buckets per power of two: 2^7, so a bucket is at most 1/128 of its value wide and its middle at most 0.4 % off.
const SUB_BITS: u32 = 7;
const SUB: usize = 1 << SUB_BITS;
/// Highest power of two told apart: 2^43 ns, about two and a half hours; longer lands in the last bucket.
const MAX_BITS: u32 = 43;
/// Number of buckets.
pub const BUCKETS: usize = SUB * (MAX_BITS - SUB_BITS + 1) as usize;

/// The bucket of a value in nanoseconds.
#[inline(always)]
pub fn bucket_of(nanos: u64) -> usize {
    let nanos = if nanos < (1 << MAX_BITS) { nanos } else { (1 << MAX_BITS) - 1 };
    // Values below SUB have shift 0 and their own bucket each; `| SUB` keeps leading_zeros in range for them.
    let shift = 63 - SUB_BITS - (nanos | SUB as u64).leading_zeros();
    (shift as usize) * SUB + (nanos >> shift) as usize
}

/// The smallest value, in nanoseconds, that falls into `bucket`.
pub fn lower_bound(bucket: usize) -> u64 {
    if bucket < 2 * SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    ((bucket - shift * SUB) as u64) << shift
}

/// Counts of durations, for quantiles over any number of samples in 38 KiB.
///
/// Hot: one add a request. Own code because `hdrhistogram`'s `record` costs more than the rest of the bookkeeping
/// together, and because the bucket index is shared with the pods' Prometheus buckets (see `telemetry`).
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: Box::new([0; BUCKETS]), total: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one duration; returns its bucket.
    #[inline(always)]
    pub fn record(&mut self, nanos: u64) -> usize {
        let bucket = bucket_of(nanos);
        self.counts[bucket] += 1;
        self.total += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
        bucket
    }

    /// Number of durations counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Share of durations that were zero; `None` when empty.
    pub fn share_of_zero(&self) -> Option<f64> {
        (self.total > 0).then(|| self.counts[0] as f64 / self.total as f64)
    }

    /// Exact mean in nanoseconds; `None` when empty.
    pub fn mean(&self) -> Option<f64> {
        (self.total > 0).then(|| self.sum as f64 / self.total as f64)
    }

    /// Exact maximum in nanoseconds; `None` when empty.
    pub fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }

    /// The `q` quantile in nanoseconds, 0 ≤ q ≤ 1, within 0.8 % of the exact order statistic; `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.quantile_since(None, q)
    }

    /// The `q` quantile of what was counted since `earlier` was cloned from this histogram.
    pub fn quantile_since(&self, earlier: Option<&Histogram>, q: f64) -> Option<f64> {
        let total = self.total - earlier.map_or(0, |e| e.total);
        if total == 0 {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            let count = count - earlier.map_or(0, |e| e.counts[bucket]);
            if count > 0 && seen + count >= rank {
                let low = lower_bound(bucket) as f64;
                let high = lower_bound(bucket + 1) as f64;
                let within = (rank - seen) as f64 / count as f64;
                return Some((low + (high - low) * within).min(self.max as f64));
            }
            seen += count;
        }
        Some(self.max as f64)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.sum = 0;
        self.max = 0;
    }

    /// Makes this an exact copy of `other` without allocating.
    pub fn copy_from(&mut self, other: &Histogram) {
        self.counts.copy_from_slice(other.counts.as_slice());
        self.total = other.total;
        self.sum = other.sum;
        self.max = other.max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_tile_the_line() {
        for bucket in 0..BUCKETS - 1 {
            let (low, next) = (lower_bound(bucket), lower_bound(bucket + 1));
            assert!(next > low, "bucket {bucket}");
            assert_eq!(bucket_of(low), bucket);
            assert_eq!(bucket_of(next - 1), bucket);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_bucket_of_the_order_statistic(
            mut values in prop::collection::vec(0u64..20_000_000_000, 1..400), q in 0.0f64..1.0
        ) {
            let mut histogram = Histogram::default();
            for &value in &values { histogram.record(value); }
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1] as f64;
            let found = histogram.quantile(q).unwrap_or(-1.0);
            prop_assert!((found - exact).abs() <= exact / 128.0 + 1.0, "{found} against {exact}");
        }
    }
}
