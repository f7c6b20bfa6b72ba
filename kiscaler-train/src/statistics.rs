//! What may be said of a few training runs: interquartile means, differences and their intervals.
//!
//! Means over few seeds are moved by a single outlier, and point estimates alone say nothing of chance. As Agarwal et
//! al. recommend (NeurIPS 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*, `rliable`):
//! the interquartile mean of all runs of all tasks, with percentile intervals of a bootstrap that draws runs anew
//! within each task (a *stratum*), so that every task stays in.
//!
//! Percentile intervals are narrow where runs are few: with 8 runs of one task they hold the truth about 90 times in
//! 100 instead of 95, with 8 runs of each of 10 tasks about 94 times (`tests::intervals_cover_the_truth`).
//!
//! ```
//! use kiscaler_train::statistics::{Bootstrap, interquartile_mean, of_all};
//! use rand::SeedableRng;
//! // Two tasks, four runs each.
//! let scores = [vec![0.9, 1.0, 1.1, 9.0], vec![0.4, 0.5, 0.5, 0.6]];
//! let mut stream = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
//! let interval = Bootstrap::default().interval(&scores, of_all(interquartile_mean), &mut stream)?;
//! assert_eq!(interval.point, 0.75);
//! assert!(interval.low < 0.75 && interval.high > 0.75);
//! # Ok::<(), kiscaler_train::statistics::StatisticsError>(())
//! ```

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatisticsError {
    /// No strata, or one without values.
    #[error("stratum {stratum}: found no values, expected at least one")]
    Empty {
        /// Which, from 0.
        stratum: usize,
    },
    /// A statistic that is no number, of values that are none or of none at all.
    #[error("the statistic: found {found}, expected a finite number")]
    NotFinite {
        /// What it is.
        found: f64,
    },
    /// A paired comparison of unequal numbers of runs.
    #[error("stratum {stratum}: found {found} runs, expected {expected} as on the other side")]
    Unpaired {
        /// Which, from 0.
        stratum: usize,
        /// Values here.
        found: usize,
        /// Values there.
        expected: usize,
    },
    /// A level or a number of repetitions that makes no sense.
    #[error("{field}: found {found}, expected {expected}")]
    Option {
        /// Which.
        field: &'static str,
        /// What it is.
        found: f64,
        /// What it could be.
        expected: &'static str,
    },
}

/// A figure and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure of the values themselves.
    pub point: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether it lies wholly on one side of `value`.
    pub fn excludes(&self, value: f64) -> bool {
        self.low > value || self.high < value
    }
}

/// The mean of `values`; NaN of none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of the middle half: a quarter of `values`, rounded down, is cut from either end (as
/// `scipy.stats.trim_mean(values, 0.25)`). NaN of none, and where one is NaN.
///
/// ```
/// # use kiscaler_train::statistics::interquartile_mean;
/// assert_eq!(interquartile_mean(&[100.0, 2.0, 4.0, -50.0]), 3.0);
/// ```
pub fn interquartile_mean(values: &[f64]) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// The `share` quantile of `values`, between neighbours by their distance (Hyndman and Fan's type 7, as NumPy); `None` of
/// none, and where one is NaN.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    if values.iter().any(|v| v.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    of_sorted(&sorted, share)
}

fn of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    // Not `below + (above − below) · …`, which makes NaN of two infinities.
    Some(if below == above { below } else { below + (above - below) * at.fract() })
}

/// A statistic of all values, whatever their stratum.
pub fn of_all<T: Copy>(statistic: impl Fn(&[T]) -> f64) -> impl Fn(&[Vec<T>]) -> f64 {
    move |strata| statistic(&strata.concat())
}

/// A statistic of each stratum, averaged: strata count alike, however many values they have.
pub fn of_each<T>(statistic: impl Fn(&[T]) -> f64) -> impl Fn(&[Vec<T>]) -> f64 {
    move |strata| strata.iter().map(|stratum| statistic(stratum)).sum::<f64>() / strata.len() as f64
}

/// How intervals are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Sets of values that are drawn.
    pub repetitions: usize,
    /// Share of them within the interval.
    pub level: f64,
}

impl Default for Bootstrap {
    /// 5,000 draws, of which 95 % are within.
    fn default() -> Self {
        Bootstrap { repetitions: 5_000, level: 0.95 }
    }
}

impl Bootstrap {
    /// `statistic` of `strata`, with the interval of its values for runs drawn anew, with replacement, within each
    /// stratum. The result depends on `stream` and nothing else.
    ///
    /// # Errors
    /// If there are no strata, one is empty, or the statistic is not finite.
    pub fn interval<T: Copy>(
        &self,
        strata: &[Vec<T>],
        statistic: impl Fn(&[Vec<T>]) -> f64,
        stream: &mut impl Rng,
    ) -> Result<Interval, StatisticsError> {
        self.check(strata)?;
        let point = finite(statistic(strata))?;
        let mut drawn = strata.to_vec();
        let mut figures = Vec::with_capacity(self.repetitions);
        for _ in 0..self.repetitions {
            draw(strata, &mut drawn, stream);
            figures.push(finite(statistic(&drawn))?);
        }
        Ok(self.around(point, figures))
    }

    /// `statistic` of pairs (ours, theirs) of runs with the same seeds: both of a pair are drawn together, so that what
    /// they have in common cancels.
    ///
    /// # Errors
    /// As [`interval`](Bootstrap::interval), and if there are not as many of ours as of theirs.
    pub fn paired(
        &self,
        ours: &[Vec<f64>],
        theirs: &[Vec<f64>],
        statistic: impl Fn(&[Vec<(f64, f64)>]) -> f64,
        stream: &mut impl Rng,
    ) -> Result<Interval, StatisticsError> {
        self.interval(&pairs(ours, theirs)?, statistic, stream)
    }

    /// The probability that a run of ours scores higher than one of theirs, averaged over strata; equal scores count half.
    /// The two need not be paired. 0.5 where neither is better.
    ///
    /// # Errors
    /// As [`interval`](Bootstrap::interval), and if there are not as many strata of ours as of theirs.
    pub fn probability_of_improvement(
        &self,
        ours: &[Vec<f64>],
        theirs: &[Vec<f64>],
        stream: &mut impl Rng,
    ) -> Result<Interval, StatisticsError> {
        if ours.len() != theirs.len() {
            return Err(StatisticsError::Unpaired { stratum: 0, found: ours.len(), expected: theirs.len() });
        }
        self.check(ours)?;
        self.check(theirs)?;
        let probability = |ours: &[Vec<f64>], theirs: &[Vec<f64>]| {
            let each = ours.iter().zip(theirs).map(|(x, y)| superiority(x, y));
            finite(each.sum::<f64>() / ours.len() as f64)
        };
        let point = probability(ours, theirs)?;
        let (mut x, mut y) = (ours.to_vec(), theirs.to_vec());
        let mut figures = Vec::with_capacity(self.repetitions);
        for _ in 0..self.repetitions {
            draw(ours, &mut x, stream);
            draw(theirs, &mut y, stream);
            figures.push(probability(&x, &y)?);
        }
        Ok(self.around(point, figures))
    }

    fn check<T>(&self, strata: &[Vec<T>]) -> Result<(), StatisticsError> {
        if self.repetitions == 0 {
            return Err(StatisticsError::Option { field: "repetitions", found: 0.0, expected: "at least 1" });
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            let expected = "between 0 and 1";
            return Err(StatisticsError::Option { field: "level", found: self.level, expected });
        }
        match strata.iter().position(Vec::is_empty) {
            Some(stratum) => Err(StatisticsError::Empty { stratum }),
            None if strata.is_empty() => Err(StatisticsError::Empty { stratum: 0 }),
            None => Ok(()),
        }
    }

    /// `figures` are finite, and there is one at least.
    fn around(&self, point: f64, mut figures: Vec<f64>) -> Interval {
        figures.sort_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        let end = |share| of_sorted(&figures, share).unwrap_or(point);
        Interval { point, low: end(tail), high: end(1.0 - tail) }
    }
}

/// Ours and theirs, run by run.
///
/// # Errors
/// If there are not as many of ours as of theirs.
pub fn pairs(ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> Result<Vec<Vec<(f64, f64)>>, StatisticsError> {
    let unpaired = |stratum, found, expected| Err(StatisticsError::Unpaired { stratum, found, expected });
    if ours.len() != theirs.len() {
        return unpaired(ours.len().min(theirs.len()), ours.len(), theirs.len());
    }
    for (stratum, (x, y)) in ours.iter().zip(theirs).enumerate() {
        if x.len() != y.len() {
            return unpaired(stratum, x.len(), y.len());
        }
    }
    Ok(ours.iter().zip(theirs).map(|(x, y)| x.iter().copied().zip(y.iter().copied()).collect()).collect())
}

/// Ours minus theirs, on the mean.
pub fn mean_difference(pairs: &[(f64, f64)]) -> f64 {
    pairs.iter().map(|(x, y)| x - y).sum::<f64>() / pairs.len() as f64
}

/// The interquartile mean of ours minus theirs.
pub fn interquartile_difference(pairs: &[(f64, f64)]) -> f64 {
    interquartile_mean(&pairs.iter().map(|(x, y)| x - y).collect::<Vec<_>>())
}

/// By which share the sum of ours is above that of theirs: −0.1 is a tenth less. NaN where theirs is 0.
pub fn relative_difference(pairs: &[(f64, f64)]) -> f64 {
    let (ours, theirs) = pairs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    ours / theirs - 1.0
}

fn draw<T: Copy>(from: &[Vec<T>], into: &mut [Vec<T>], stream: &mut impl Rng) {
    for (stratum, drawn) in from.iter().zip(into) {
        drawn.iter_mut().for_each(|value| *value = stratum[stream.random_range(0..stratum.len())]);
    }
}

/// The Mann-Whitney statistic, as a share of all pairs.
fn superiority(x: &[f64], y: &[f64]) -> f64 {
    let one = |x: f64, y: f64| match x.partial_cmp(&y) {
        Some(std::cmp::Ordering::Greater) => 1.0,
        Some(std::cmp::Ordering::Equal) => 0.5,
        Some(std::cmp::Ordering::Less) => 0.0,
        None => f64::NAN,
    };
    let all: f64 = x.iter().flat_map(|&x| y.iter().map(move |&y| one(x, y))).sum();
    all / (x.len() * y.len()) as f64
}

fn finite(found: f64) -> Result<f64, StatisticsError> {
    if found.is_finite() { Ok(found) } else { Err(StatisticsError::NotFinite { found }) }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_distr::{Distribution, Exp1, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn stream(seed: u64) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(seed)
    }

    #[test]
    fn interquartile_means_by_hand() {
        let check = |values: &[f64], expected: f64| assert_eq!(interquartile_mean(values), expected, "{values:?}");
        check(&[5.0], 5.0);
        check(&[1.0, 2.0, 6.0], 3.0);
        check(&[9.0, 1.0, 2.0, 4.0], 3.0);
        // ⌊5/4⌋ = 1 from each end.
        check(&[1000.0, 1.0, 2.0, 6.0, -1000.0], 3.0);
        check(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 80.0], 4.5);
        assert!(interquartile_mean(&[]).is_nan());
        assert!(interquartile_mean(&[1.0, f64::NAN, 2.0, 3.0, 4.0]).is_nan());
    }

    #[test]
    fn quantiles_by_hand() {
        let values = [4.0, 1.0, 3.0, 2.0];
        // numpy.quantile([4, 1, 3, 2], [0, 0.1, 0.5, 1])
        for (share, expected) in [(0.0, 1.0), (0.1, 1.3), (0.5, 2.5), (1.0, 4.0)] {
            assert!((quantile(&values, share).unwrap() - expected).abs() < 1e-12);
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[f64::NAN], 0.5), None);
        assert_eq!(quantile(&[f64::INFINITY, f64::INFINITY], 0.5), Some(f64::INFINITY));
    }

    /// The share of intervals that hold `truth`, when `tasks` tasks of `runs` runs are drawn by `sample`.
    fn coverage(
        (tasks, runs): (usize, usize),
        truth: f64,
        statistic: fn(&[f64]) -> f64,
        sample: impl Fn(&mut Xoshiro256PlusPlus) -> f64,
    ) -> f64 {
        let mut stream = stream(7);
        let bootstrap = Bootstrap { repetitions: 400, level: 0.95 };
        let trials = 1_000;
        let covered = (0..trials).filter(|_| {
            let scores: Vec<Vec<f64>> = (0..tasks).map(|_| (0..runs).map(|_| sample(&mut stream)).collect()).collect();
            !bootstrap.interval(&scores, of_all(statistic), &mut stream).unwrap().excludes(truth)
        });
        covered.count() as f64 / f64::from(trials)
    }

    /// 1,000 trials: the standard error of a share of 0.95 is 0.007.
    #[test]
    fn intervals_cover_the_truth() {
        let near = |share: f64, expected: f64| assert!((share - expected).abs() < 0.025, "{share}, not {expected}");
        let normal = |rng: &mut Xoshiro256PlusPlus| -> f64 { StandardNormal.sample(rng) };
        near(coverage((1, 50), 0.0, mean, normal), 0.95);
        near(coverage((1, 50), 0.0, interquartile_mean, normal), 0.95);
        near(coverage((10, 8), 0.0, interquartile_mean, normal), 0.94);
        // Few runs: narrow, and said to be.
        near(coverage((1, 8), 0.0, mean, normal), 0.90);
        // A skewed distribution, whose mean is 1.
        let exponential = |rng: &mut Xoshiro256PlusPlus| -> f64 { Exp1.sample(rng) };
        near(coverage((10, 8), 1.0, mean, exponential), 0.93);
    }

    #[test]
    fn strata_are_kept_apart() {
        // Tasks differ by much, runs by little: were runs drawn across tasks, the interval would be wide.
        let scores: Vec<Vec<f64>> =
            (0..4).map(|task| (0..8).map(|run| f64::from(task) * 100.0 + f64::from(run)).collect()).collect();
        let interval = Bootstrap::default().interval(&scores, of_all(mean), &mut stream(1)).unwrap();
        assert_eq!(interval.point, 153.5);
        assert!(interval.high - interval.low < 3.0, "{interval:?}");
    }

    #[test]
    fn pairs_cancel_what_they_share() {
        let theirs: Vec<Vec<f64>> = vec![vec![10.0, 500.0, 30.0, 90.0, 1000.0, 3.0]];
        let ours: Vec<Vec<f64>> = vec![theirs[0].iter().enumerate().map(|(i, v)| v - 1.0 - i as f64 * 0.1).collect()];
        let all = Bootstrap::default();
        let paired = all.paired(&ours, &theirs, of_all(mean_difference), &mut stream(1)).unwrap();
        assert!((paired.point + 1.25).abs() < 1e-9 && paired.excludes(-0.9), "{paired:?}");
        let middle = all.paired(&ours, &theirs, of_all(interquartile_difference), &mut stream(1)).unwrap();
        assert!((middle.point + 1.25).abs() < 1e-9);
        let share = all.paired(&ours, &theirs, of_each(relative_difference), &mut stream(1)).unwrap();
        assert!((share.point + 7.5 / 1633.0).abs() < 1e-12 && share.excludes(0.0), "{share:?}");
        let same = all.paired(&ours, &ours, of_all(mean_difference), &mut stream(1)).unwrap();
        assert_eq!(same, Interval { point: 0.0, low: 0.0, high: 0.0 });
    }

    #[test]
    fn improvement_is_a_probability() {
        let all = Bootstrap { repetitions: 500, level: 0.95 };
        let of = |x: &[f64], y: &[f64]| {
            all.probability_of_improvement(&[x.to_vec()], &[y.to_vec()], &mut stream(1)).unwrap()
        };
        assert_eq!(of(&[3.0, 4.0], &[1.0, 2.0]), Interval { point: 1.0, low: 1.0, high: 1.0 });
        assert_eq!(of(&[1.0, 2.0], &[3.0]).point, 0.0);
        assert_eq!(of(&[1.0, 1.0], &[1.0]).point, 0.5);
        // Of six pairs: 2 > 1, 4 > 1, 4 > 3 and half of 2 = 2… counted by hand.
        assert!((of(&[2.0, 4.0, 0.0], &[1.0, 2.0]).point - 3.5 / 6.0).abs() < 1e-12);
        // Unequal numbers of runs are fine.
        assert!(of(&[2.0, 4.0, 5.0, 6.0, 3.0], &[1.0, 2.5, 0.0]).low > 0.5);
    }

    #[test]
    fn the_stream_determines_the_interval() {
        let scores = [vec![1.0, 2.0, 4.0], vec![3.0, 9.0, 1.0, 4.0]];
        let of = |seed| Bootstrap::default().interval(&scores, of_all(mean), &mut stream(seed)).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn nothing_is_said_where_nothing_can_be() {
        let all = Bootstrap::default();
        let sentence =
            |scores: &[Vec<f64>]| all.interval(scores, of_all(mean), &mut stream(1)).unwrap_err().to_string();
        assert_eq!(sentence(&[]), "stratum 0: found no values, expected at least one");
        assert_eq!(sentence(&[vec![1.0], vec![]]), "stratum 1: found no values, expected at least one");
        assert_eq!(sentence(&[vec![f64::NAN]]), "the statistic: found NaN, expected a finite number");
        assert_eq!(sentence(&[vec![f64::INFINITY]]), "the statistic: found inf, expected a finite number");
        let one = all.interval(&[vec![2.0]], of_all(interquartile_mean), &mut stream(1)).unwrap();
        assert_eq!(one, Interval { point: 2.0, low: 2.0, high: 2.0 });
        let unpaired = pairs(&[vec![1.0]], &[vec![1.0, 2.0]]).unwrap_err().to_string();
        assert_eq!(unpaired, "stratum 0: found 1 runs, expected 2 as on the other side");
        let nan = all.probability_of_improvement(&[vec![1.0]], &[vec![f64::NAN]], &mut stream(1));
        assert!(nan.is_err());
        let level = Bootstrap { level: 1.0, ..all }.interval(&[vec![1.0]], of_all(mean), &mut stream(1));
        assert_eq!(level.unwrap_err().to_string(), "level: found 1, expected between 0 and 1");
    }
}
