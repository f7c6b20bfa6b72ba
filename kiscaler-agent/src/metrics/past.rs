//! Requests of hours that are over, step by step: from counters of pods, most of which may be gone.

use std::collections::BTreeMap;
use std::time::Duration;

use kisim::promql::DEFAULT_LOOKBACK;
use kisim::time::SimTime;

/// The longest time between two samples of a counter for which one knows, well enough, when the requests in between
/// came: for as long Prometheus itself takes a sample for the present.
const APART: Duration = DEFAULT_LOOKBACK;

/// The share of a step that must be known for its number of requests to be.
const MOSTLY: f64 = 0.5;

/// Known times are joined when there are so many of them.
const LOOSE: usize = 1 << 16;

/// Why there is no past.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoPast {
    /// Nothing was seen of anybody, or nothing twice.
    #[error("found no two samples of any pod's requests within the time, expected some")]
    Unseen,
    /// What there is ended too long ago.
    #[error("found the newest sample of requests {0:.0} s old, expected one of the last {limit} s", limit = APART.as_secs())]
    Old(f64),
}

/// A counter, as far as it was seen: (seconds from the start, value).
#[derive(Clone, Copy, Debug)]
struct Counter {
    first: (f64, f64),
    last: (f64, f64),
}

/// Counts requests by control step, of steps that end at a given time.
///
/// What a counter rose by between two of its samples is spread evenly over the time between them; one that fell counts
/// from zero, as in the window. The first sample of a counter counts from zero, as in the window, if others were seen
/// before, and if it is no more than some counter rose by between two samples: a counter that was already high when
/// Prometheus began to look at it is no burst.
///
/// Steps of which nothing is known have no number. Between known ones they are given that of the step before, five
/// minutes of them at most (two steps, if that is longer). Of two stretches that are further apart, only the later one
/// counts: what was in between would have to be invented, and left out it would shift all that repeats.
#[derive(Clone, Debug)]
pub struct Tally {
    start: SimTime,
    step_s: f64,
    bins: Vec<f64>,
    /// Times of which anything is known.
    known: Vec<(f64, f64)>,
    /// By the text of their labels, in its order: sums are the same whoever answered first.
    counters: BTreeMap<String, Counter>,
    /// The most that a counter rose by between two samples.
    most: f64,
    /// How often two samples were so many milliseconds apart.
    between: BTreeMap<u64, u64>,
}

impl Tally {
    /// For as many whole steps as there are in the `range` before `now`.
    pub fn new(now: SimTime, range: Duration, step: Duration) -> Self {
        let step = step.max(Duration::from_millis(1));
        let steps = u32::try_from(range.as_nanos() / step.as_nanos()).unwrap_or(u32::MAX);
        Tally {
            start: now.saturating_sub(step * steps),
            step_s: step.as_secs_f64(),
            bins: vec![0.0; steps as usize],
            known: Vec::new(),
            counters: BTreeMap::new(),
            most: 0.0,
            between: BTreeMap::new(),
        }
    }

    /// Takes in samples of the counter that `labels` tell from others, ascending, and later than those before.
    pub fn take(&mut self, labels: &str, samples: impl IntoIterator<Item = (SimTime, f64)>) {
        let mut counter = self.counters.get(labels).copied();
        for (at, value) in samples {
            let sample = (self.seconds(at), value);
            // What no counter can be says nothing, nor does what was heard before.
            if !(value.is_finite() && value >= 0.0) || counter.is_some_and(|c| c.last.0 >= sample.0) {
                continue;
            }
            match &mut counter {
                None => counter = Some(Counter { first: sample, last: sample }),
                Some(counter) => {
                    let before = std::mem::replace(&mut counter.last, sample);
                    self.rose(before, sample);
                }
            }
        }
        if let Some(counter) = counter {
            self.counters.insert(labels.to_owned(), counter);
        }
    }

    fn rose(&mut self, before: (f64, f64), after: (f64, f64)) {
        let seconds = after.0 - before.0;
        if seconds > APART.as_secs_f64() {
            return;
        }
        *self.between.entry((seconds * 1e3).round() as u64).or_default() += 1;
        let rise = if after.1 >= before.1 {
            self.most = self.most.max(after.1 - before.1);
            after.1 - before.1
        } else {
            // A restarted process counts from zero again.
            after.1
        };
        self.count((before.0, after.0), rise);
    }

    fn count(&mut self, between: (f64, f64), requests: f64) {
        spread(&mut self.bins, self.step_s, between, requests);
        self.known.push(between);
        if self.known.len() > LOOSE {
            self.join();
        }
    }

    fn join(&mut self) {
        self.known.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        self.known.dedup_by(|next, kept| {
            let joined = next.0 <= kept.1;
            if joined {
                kept.1 = kept.1.max(next.1);
            }
            joined
        });
    }

    /// Requests of each step, the earliest first.
    ///
    /// The last step is the latest that every living pod was scraped after: those that have just ended are not counted
    /// yet. Nor are the first, while some pods have been seen and others not.
    ///
    /// # Errors
    /// There is nothing to go by, or it is too old.
    pub fn finish(mut self) -> Result<Vec<f64>, NoPast> {
        let times = |of: fn(&Counter) -> f64| self.counters.values().map(of);
        let oldest = times(|c| c.first.0).fold(f64::INFINITY, f64::min);
        let newest = times(|c| c.last.0).fold(f64::NEG_INFINITY, f64::max);
        let between = self.usually_between().ok_or(NoPast::Unseen)?;
        let age = self.bins.len() as f64 * self.step_s - newest;
        if age > APART.as_secs_f64() {
            return Err(NoPast::Old(age));
        }
        let begun: Vec<(f64, f64)> = self.counters.values().map(|counter| counter.first).collect();
        for (at, value) in begun {
            if at - oldest > 1.5 * between && value <= self.most {
                self.count((at - between, at), value);
            }
        }
        self.join();
        let mut covered = vec![0.0; self.bins.len()];
        for &(from, to) in &self.known {
            spread(&mut covered, self.step_s, (from, to), to - from);
        }
        let complete = ((newest - between) / self.step_s).floor().max(0.0) as usize;
        let longest = (APART.as_secs_f64() / self.step_s).max(2.0);
        let settling = (between / self.step_s).ceil() as usize;
        let (mut past, mut unknown, mut unsettled) = (Vec::new(), 0_u32, settling);
        for (count, covered) in self.bins.iter().zip(&covered).take(complete) {
            let share = covered / self.step_s;
            if share < MOSTLY {
                past.extend(past.last().copied());
                unknown += 1;
                continue;
            }
            if f64::from(unknown) > longest {
                past.clear();
                unsettled = settling;
            }
            unknown = 0;
            match unsettled {
                0 => past.push(count / share),
                _ => unsettled -= 1,
            }
        }
        if past.is_empty() { Err(NoPast::Unseen) } else { Ok(past) }
    }

    /// The median of times between two samples, seconds: gaps do not count for more than there are of them.
    fn usually_between(&self) -> Option<f64> {
        let half = self.between.values().sum::<u64>().div_ceil(2);
        let mut so_far = 0;
        let median = self.between.iter().find(|&(_, count)| {
            so_far += count;
            so_far >= half
        });
        median.map(|(&millis, _)| millis as f64 * 1e-3)
    }

    fn seconds(&self, at: SimTime) -> f64 {
        (i128::from(at.as_nanos()) - i128::from(self.start.as_nanos())) as f64 * 1e-9
    }
}

/// Adds `amount` to bins of `step_s` each, evenly over the time `from` one `to` another; what is outside is lost.
fn spread(bins: &mut [f64], step_s: f64, (from, to): (f64, f64), amount: f64) {
    let rate = amount / (to - from).max(1e-9);
    let first = (from / step_s).floor().max(0.0) as usize;
    for (number, bin) in bins.iter_mut().enumerate().skip(first) {
        let begin = number as f64 * step_s;
        if begin >= to {
            return;
        }
        *bin += rate * (to.min(begin + step_s) - from.max(begin)).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For so many steps of ten seconds, the first of which begins at second 0.
    fn tally(steps: u32) -> Tally {
        let step = Duration::from_secs(10);
        Tally::new(at(f64::from(steps) * 10.0), step * steps + Duration::from_secs(3), step)
    }

    fn at(seconds: f64) -> SimTime {
        SimTime::from_secs_f64(1e6 + seconds)
    }

    fn take(tally: &mut Tally, labels: &str, samples: &[(f64, f64)]) {
        tally.take(labels, samples.iter().map(|&(seconds, value)| (at(seconds), value)));
    }

    /// A counter that is scraped every ten seconds at the ends of steps `from` to `to`, and rises by `rise` a step.
    fn steady(tally: &mut Tally, labels: &str, (from, to): (u32, u32), (value, rise): (f64, f64)) {
        let sample = |step: u32| (at(f64::from(step) * 10.0), value + f64::from(step - from) * rise);
        tally.take(labels, (from..=to).map(sample));
    }

    fn close(found: &[f64], expected: &[f64]) {
        let alike = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(alike, "found {found:?}, expected {expected:?}");
    }

    #[test]
    fn rises_are_spread_over_the_time_between_samples() {
        let mut tally = tally(6);
        // From 5 to 15: 20, half of them in each step; from 15 to 25: 40; and so on.
        take(
            &mut tally,
            "a",
            &[(5.0, 100.0), (15.0, 120.0), (25.0, 160.0), (35.0, 160.0), (45.0, 220.0), (55.0, 230.0)],
        );
        // The first step is half known, and not the first that counts; the last is not over for everybody.
        close(&tally.finish().unwrap(), &[30.0, 20.0, 30.0]);
    }

    #[test]
    fn a_counter_that_falls_counts_from_zero() {
        let mut tally = tally(6);
        take(&mut tally, "a", &[(0.0, 500.0), (10.0, 510.0), (20.0, 4.0), (30.0, 14.0), (40.0, 24.0), (60.0, 44.0)]);
        close(&tally.finish().unwrap(), &[4.0, 10.0, 10.0, 10.0]);
    }

    #[test]
    fn series_of_a_pod_and_pods_are_added() {
        let mut tally = tally(5);
        steady(&mut tally, "pod=a,code=200", (0, 5), (1000.0, 10.0));
        steady(&mut tally, "pod=a,code=500", (0, 5), (7.0, 1.0));
        steady(&mut tally, "pod=b,code=200", (0, 5), (0.0, 5.0));
        close(&tally.finish().unwrap(), &[16.0, 16.0, 16.0]);
    }

    #[test]
    fn a_pod_that_ends_and_one_that_begins_count_while_they_are_there() {
        let mut tally = tally(8);
        steady(&mut tally, "a", (0, 8), (1000.0, 10.0));
        steady(&mut tally, "ends", (0, 3), (50.0, 4.0));
        // Its first sample, 6 at second 50, is of requests since second 40.
        steady(&mut tally, "begins", (5, 8), (6.0, 3.0));
        close(&tally.finish().unwrap(), &[14.0, 14.0, 10.0, 16.0, 13.0, 13.0]);
    }

    #[test]
    fn a_counter_that_was_high_when_it_was_first_looked_at_is_no_burst() {
        let mut tally = tally(8);
        steady(&mut tally, "a", (0, 8), (1000.0, 10.0));
        steady(&mut tally, "known late", (5, 8), (1e6, 3.0));
        close(&tally.finish().unwrap(), &[10.0, 10.0, 10.0, 10.0, 13.0, 13.0]);
    }

    #[test]
    fn a_short_gap_has_the_load_before_it_and_a_long_one_ends_the_past() {
        let mut tally = tally(200);
        steady(&mut tally, "gone before", (0, 20), (0.0, 7.0));
        // Forty steps later: more than five minutes.
        steady(&mut tally, "a", (60, 80), (0.0, 10.0));
        // Ten steps later, another pod: one scrapes nobody while the first is replaced.
        steady(&mut tally, "b", (90, 200), (500.0, 20.0));
        let past = tally.finish().unwrap();
        // Steps 60 to 79 by a, whose first sample, 0, is known to count from zero; ten unknown; 90 to 198 by b.
        close(&past, &[vec![10.0; 20], vec![10.0; 10], vec![20.0; 109]].concat());
    }

    #[test]
    fn a_pause_of_prometheus_is_bridged_by_what_the_counters_say_or_ends_the_past() {
        let mut tally = tally(100);
        steady(&mut tally, "a", (0, 20), (0.0, 10.0));
        // 20 steps and 400 requests later.
        steady(&mut tally, "a", (40, 100), (600.0, 10.0));
        let past = tally.finish().unwrap();
        assert_eq!(past.len(), 98);
        close(&past[15..45], &[vec![10.0; 4], vec![20.0; 20], vec![10.0; 6]].concat());
        let mut tally = self::tally(100);
        steady(&mut tally, "a", (0, 20), (0.0, 10.0));
        steady(&mut tally, "a", (60, 100), (600.0, 10.0));
        close(&tally.finish().unwrap(), &[10.0; 38]);
    }

    #[test]
    fn what_is_not_there_old_or_no_number_is_no_past() {
        assert_eq!(tally(10).finish(), Err(NoPast::Unseen));
        let mut once = tally(10);
        take(&mut once, "a", &[(50.0, 3.0)]);
        assert_eq!(once.finish(), Err(NoPast::Unseen));
        let mut old = tally(100);
        steady(&mut old, "a", (0, 60), (0.0, 1.0));
        assert_eq!(old.finish(), Err(NoPast::Old(400.0)));
        let mut odd = tally(5);
        take(&mut odd, "a", &[(0.0, 0.0), (10.0, 10.0), (20.0, f64::NAN), (30.0, 30.0), (40.0, -1.0), (50.0, 50.0)]);
        // Out of order and heard twice, as pieces of a range overlap.
        take(&mut odd, "a", &[(40.0, 999.0), (50.0, 50.0)]);
        close(&odd.finish().unwrap(), &[10.0]);
    }

    #[test]
    fn pieces_of_a_range_are_one() {
        let (mut whole, mut pieces) = (tally(50), tally(50));
        steady(&mut whole, "a", (0, 50), (3.0, 10.0));
        steady(&mut pieces, "a", (0, 20), (3.0, 10.0));
        steady(&mut pieces, "a", (20, 33), (203.0, 10.0));
        steady(&mut pieces, "a", (34, 50), (343.0, 10.0));
        assert_eq!(whole.finish(), pieces.finish());
    }
}
