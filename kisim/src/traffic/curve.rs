//! Rates over time as piecewise-linear curves, and the inversion of their integral.

/// A stretch over which a rate is linear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Its start, seconds.
    pub start: f64,
    /// Rate at its start, requests a second.
    pub from: f64,
    /// Rate at its end.
    pub to: f64,
}

/// A rate over time: segments that follow each other, the last of which ends at `end`; zero afterwards.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Curve {
    segments: Vec<Segment>,
    end: f64,
}

impl Curve {
    /// A curve through `segments` (ascending starts, the first at zero) up to `end` seconds.
    pub fn new(segments: Vec<Segment>, end: f64) -> Self {
        Curve { segments, end }
    }

    /// A constant rate.
    pub fn constant(rate: f64, end: f64) -> Self {
        Curve::new(vec![Segment { start: 0.0, from: rate, to: rate }], end)
    }

    /// Where the curve ends, seconds.
    pub fn end(&self) -> f64 {
        self.end
    }

    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn end_of(&self, index: usize) -> f64 {
        self.segments.get(index + 1).map_or(self.end, |s| s.start)
    }

    /// The rate at `time` seconds, from the right.
    pub fn at(&self, time: f64) -> f64 {
        if time >= self.end || time < 0.0 {
            return 0.0;
        }
        let index = self.segments.partition_point(|s| s.start <= time).saturating_sub(1);
        let Some(segment) = self.segments.get(index) else { return 0.0 };
        let length = self.end_of(index) - segment.start;
        if length <= 0.0 {
            return segment.to;
        }
        segment.from + (segment.to - segment.from) * (time - segment.start) / length
    }

    /// Expected number of requests up to the end.
    pub fn integral(&self) -> f64 {
        (0..self.segments.len())
            .map(|i| (self.end_of(i) - self.segments[i].start) * (self.segments[i].from + self.segments[i].to) / 2.0)
            .sum()
    }

    /// The highest rate.
    pub fn peak(&self) -> f64 {
        self.segments.iter().map(|s| s.from.max(s.to)).fold(0.0, f64::max)
    }

    /// The curve with every rate multiplied by `factor`.
    pub fn scaled(mut self, factor: f64) -> Self {
        for segment in &mut self.segments {
            segment.from *= factor;
            segment.to *= factor;
        }
        self
    }

    /// Pointwise `combine` of two curves, up to the earlier end; each breakpoint of either is kept, and stretches longer
    /// than `resolution` seconds are split so that products, which are not linear, stay close.
    pub fn combine(&self, other: &Curve, resolution: f64, combine: impl Fn(f64, f64) -> f64) -> Curve {
        let end = self.end.min(other.end);
        let mut starts: Vec<f64> =
            self.segments.iter().chain(&other.segments).map(|s| s.start).filter(|&s| s < end).collect();
        starts.sort_by(f64::total_cmp);
        starts.dedup();
        let mut fine = Vec::with_capacity(starts.len());
        for (index, &start) in starts.iter().enumerate() {
            let stop = starts.get(index + 1).copied().unwrap_or(end);
            let pieces = ((stop - start) / resolution).ceil().max(1.0) as usize;
            fine.extend((0..pieces).map(|p| start + (stop - start) * p as f64 / pieces as f64));
        }
        let segments = (0..fine.len())
            .map(|i| {
                let (start, stop) = (fine[i], fine.get(i + 1).copied().unwrap_or(end));
                // The value just before `stop`: on the segment that holds the middle, extended.
                let middle = (start + stop) / 2.0;
                let ends = |curve: &Curve| (curve.at(start), 2.0 * curve.at(middle) - curve.at(start));
                let ((a0, a1), (b0, b1)) = (ends(self), ends(other));
                Segment { start, from: combine(a0, b0).max(0.0), to: combine(a1, b1).max(0.0) }
            })
            .collect();
        Curve { segments, end }
    }
}

/// Walks along a curve by expected numbers of requests: the inverse of the curve's integral, one step at a time.
#[derive(Clone, Debug)]
pub struct Walker {
    curve: Curve,
    index: usize,
    /// Where it stands, seconds.
    time: f64,
    rate: f64,
    slope: f64,
    segment_end: f64,
}

impl Walker {
    /// A walker at the curve's start.
    pub fn new(curve: Curve) -> Self {
        let mut walker = Walker { curve, index: 0, time: 0.0, rate: 0.0, slope: 0.0, segment_end: 0.0 };
        walker.enter(0);
        walker
    }

    fn enter(&mut self, index: usize) {
        self.index = index;
        if let Some(&segment) = self.curve.segments.get(index) {
            self.segment_end = self.curve.end_of(index);
            let length = self.segment_end - segment.start;
            self.time = segment.start;
            self.rate = segment.from;
            self.slope = if length > 0.0 { (segment.to - segment.from) / length } else { 0.0 };
        }
    }

    /// Moves on by `requests` expected requests; the time reached in seconds, or `None` past the end.
    ///
    /// With unit-mean steps drawn from a renewal process this gives arrivals whose rate is the curve's; exponential
    /// steps make it an inhomogeneous Poisson process exactly (time-rescaling theorem).
    #[inline]
    pub fn advance(&mut self, mut requests: f64) -> Option<f64> {
        loop {
            if self.index >= self.curve.segments.len() {
                return None;
            }
            let left = self.segment_end - self.time;
            let step = if self.slope == 0.0 {
                requests / self.rate
            } else {
                // Root of rate·x + slope·x²/2 = requests, in the form that does not cancel.
                let discriminant = self.rate * self.rate + 2.0 * self.slope * requests;
                if discriminant < 0.0 { f64::INFINITY } else { 2.0 * requests / (self.rate + discriminant.sqrt()) }
            };
            if step <= left {
                self.time += step;
                self.rate += self.slope * step;
                return Some(self.time);
            }
            requests -= left * (self.rate + 0.5 * self.slope * left);
            requests = requests.max(0.0);
            self.enter(self.index + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp() -> Curve {
        Curve::new(vec![Segment { start: 0.0, from: 0.0, to: 10.0 }, Segment { start: 10.0, from: 4.0, to: 4.0 }], 20.0)
    }

    #[test]
    fn walks_by_the_integral() {
        let mut walker = Walker::new(ramp());
        // ∫ over the ramp is t²/2: 2 requests at 2 s, 50 at 10 s; then 4 a second.
        assert!((walker.advance(2.0).unwrap_or(0.0) - 2.0).abs() < 1e-9);
        assert!((walker.advance(48.0).unwrap_or(0.0) - 10.0).abs() < 1e-9);
        assert!((walker.advance(4.0).unwrap_or(0.0) - 11.0).abs() < 1e-9);
        assert_eq!(walker.advance(37.0), None);
        assert!((ramp().integral() - 90.0).abs() < 1e-9);
        assert_eq!(ramp().peak(), 10.0);
    }

    #[test]
    fn a_rate_of_zero_is_passed_over() {
        let curve = Curve::new(
            vec![Segment { start: 0.0, from: 0.0, to: 0.0 }, Segment { start: 5.0, from: 1.0, to: 1.0 }],
            10.0,
        );
        assert_eq!(Walker::new(curve).advance(2.0), Some(7.0));
        assert_eq!(Walker::new(Curve::constant(0.0, 5.0)).advance(1.0), None);
    }

    #[test]
    fn sums_and_products_keep_jumps() {
        let step = Curve::new(
            vec![Segment { start: 0.0, from: 1.0, to: 1.0 }, Segment { start: 5.0, from: 3.0, to: 3.0 }],
            20.0,
        );
        let sum = ramp().combine(&step, 100.0, |a, b| a + b);
        for (time, rate) in [(1.0, 2.0), (5.0, 8.0), (10.0, 7.0)] {
            assert!((sum.at(time) - rate).abs() < 1e-9, "{time}");
        }
        assert!((sum.integral() - (90.0 + 5.0 + 45.0)).abs() < 1e-9);
        let product = ramp().combine(&step, 0.1, |a, b| a * b);
        assert!((product.integral() - (12.5 + 3.0 * 37.5 + 120.0)).abs() < 0.05);
    }

    proptest! {
        #[test]
        fn steps_add_up(steps in prop::collection::vec(0.01f64..3.0, 1..30)) {
            let mut walker = Walker::new(ramp());
            let mut total = 0.0;
            for step in steps {
                total += step;
                if let Some(time) = walker.advance(step) {
                    let area = if time <= 10.0 { time * time / 2.0 } else { 50.0 + 4.0 * (time - 10.0) };
                    prop_assert!((area - total).abs() < 1e-6);
                } else {
                    prop_assert!(total > 90.0 - 1e-6);
                }
            }
        }
    }
}
