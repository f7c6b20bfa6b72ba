//! The four published traffic patterns (KIS-S, arXiv 2507.07932): closed-loop users over time.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::config::Span;
use crate::distribution::TimeDistribution;
use crate::random::Stream;

/// One of the published patterns. All have think times uniform between 1 and 2 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// 1 to 100 users in 20 equal steps over 20 minutes.
    Ramp,
    /// 10, 100 and 10 users for 30 %, 40 % and 30 % of 15 minutes.
    Spike,
    /// A sine between 10 and 100 users, 3 cycles over 30 minutes in 60 steps.
    Periodic,
    /// Uniformly 10 to 100 users, drawn anew every 30 s for 25 minutes.
    Random,
}

impl Pattern {
    /// All four.
    pub const ALL: [Pattern; 4] = [Pattern::Ramp, Pattern::Spike, Pattern::Periodic, Pattern::Random];

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Ramp => "ramp",
            Pattern::Spike => "spike",
            Pattern::Periodic => "periodic",
            Pattern::Random => "random",
        }
    }

    /// How long it lasts.
    pub fn duration(self) -> Span {
        Span::secs(
            60 * match self {
                Pattern::Ramp => 20,
                Pattern::Spike => 15,
                Pattern::Periodic => 30,
                Pattern::Random => 25,
            },
        )
    }

    /// The published think time.
    pub fn think() -> TimeDistribution {
        TimeDistribution::Uniform { low: Span::secs(1), high: Span::secs(2) }
    }

    /// (from when in nanoseconds, users), ascending.
    pub fn schedule(self, rng: &mut Stream) -> Vec<(u64, u32)> {
        let length = self.duration().as_secs_f64();
        let steps = |count: u32, users: &mut dyn FnMut(u32) -> f64| {
            (0..count)
                .map(|i| ((f64::from(i) * length / f64::from(count) * 1e9) as u64, users(i).round() as u32))
                .collect()
        };
        match self {
            Pattern::Ramp => steps(20, &mut |i| 1.0 + 99.0 * f64::from(i) / 19.0),
            Pattern::Spike => {
                let at = |share: f64| (length * share * 1e9) as u64;
                vec![(0, 10), (at(0.3), 100), (at(0.7), 10)]
            }
            Pattern::Periodic => {
                steps(60, &mut |i| 55.0 + 45.0 * (std::f64::consts::TAU * 3.0 * f64::from(i) / 60.0).sin())
            }
            Pattern::Random => steps(50, &mut |_| f64::from(rng.random_range(10..=100))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    #[test]
    fn patterns_are_the_published_ones() {
        let schedule = |p: Pattern| p.schedule(&mut stream(1, Purpose::Arrivals, 0));
        let minute = 60_000_000_000;
        let ramp = schedule(Pattern::Ramp);
        assert_eq!((ramp.len(), ramp[0], ramp[19]), (20, (0, 1), (19 * minute, 100)));
        assert_eq!(schedule(Pattern::Spike), [(0, 10), (270_000_000_000, 100), (630_000_000_000, 10)]);
        let periodic = schedule(Pattern::Periodic);
        assert_eq!((periodic.len(), periodic[0].1, periodic[5].1, periodic[15].1), (60, 55, 100, 10));
        let random = schedule(Pattern::Random);
        assert_eq!((random.len(), random[1].0), (50, 30_000_000_000));
        assert!(random.iter().all(|s| (10..=100).contains(&s.1)));
    }
}
