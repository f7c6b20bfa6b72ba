//! From rows to entries of tables: means and differences with their 95 % intervals.
//!
//! Everything here goes by [`kiscaler_train::statistics`]. Scenes are strata: they count alike, and runs are drawn anew within
//! each. What is drawn is
//!
//! | of | what is drawn anew | figure of a scene |
//! | --- | --- | --- |
//! | several training runs | training runs, each the mean over its seeds | interquartile mean over training runs |
//! | one, or a rule | seeds | mean over seeds |
//!
//! An interval over training runs says what another training run would give on these arrivals; one over seeds, what other
//! arrivals would give. Differences are of runs of the same scene and seed, which is to say the same arrivals.

use std::collections::{BTreeMap, BTreeSet};

use kiscaler_train::statistics::{
    Bootstrap, Interval, StatisticsError, interquartile_mean, mean, of_each, relative_difference,
};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::cell::Row;
use crate::experiment::Entry;

/// Rows that have the same texts in the columns they were grouped by.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// The texts, in the order of the columns.
    pub key: Vec<String>,
    /// The rows, in their order.
    pub rows: Vec<&'a Row>,
}

/// Groups of `rows` by their texts in `columns`, in the order in which they come first.
pub fn groups<'a>(rows: impl IntoIterator<Item = &'a Row>, columns: &[&str]) -> Vec<Group<'a>> {
    let mut all: Vec<Group<'a>> = Vec::new();
    let mut places: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for row in rows {
        let key: Vec<String> = columns.iter().map(|column| row.get_text(column).to_owned()).collect();
        let place = *places.entry(key.clone()).or_insert_with(|| {
            all.push(Group { key, rows: Vec::new() });
            all.len() - 1
        });
        all[place].rows.push(row);
    }
    all
}

/// The figure in `column` of `rows`, all of one contender. Empty if there is no row, or one has no such figure: a mean over those
/// that have one would not be what it says.
pub fn value(rows: &[&Row], column: &str) -> Entry {
    let (strata, several) = strata(rows, |row| Some((row.get_number(column), 0.0)));
    let first = |pairs: &[(f64, f64)]| pairs.iter().map(|pair| pair.0).collect::<Vec<f64>>();
    entry(&strata, of_each(|pairs: &[(f64, f64)]| middle(&first(pairs), several)))
}

/// Ours minus theirs in `column`, by scene and seed. A run of ours without one of theirs is an error of the plan: then, and
/// where a figure is missing, the entry is empty.
pub fn difference(ours: &[&Row], theirs: &[&Row], column: &str) -> Entry {
    let (strata, several) = paired(ours, theirs, column);
    let minus = |pairs: &[(f64, f64)]| pairs.iter().map(|(x, y)| x - y).collect::<Vec<f64>>();
    entry(&strata, of_each(|pairs: &[(f64, f64)]| middle(&minus(pairs), several)))
}

/// By which share ours is above theirs in `column`, by scene and seed: −0.1 is a tenth less. Otherwise as [`difference`].
pub fn relative(ours: &[&Row], theirs: &[&Row], column: &str) -> Entry {
    let (strata, several) = paired(ours, theirs, column);
    let share = |pairs: &[(f64, f64)]| match several {
        // Of each training run, that an outlier does not carry the others.
        true => interquartile_mean(&pairs.iter().map(|(x, y)| x / y - 1.0).collect::<Vec<f64>>()),
        false => relative_difference(pairs),
    };
    entry(&strata, of_each(share))
}

/// How many times ours theirs is in `column`: 6.7 says that theirs is 6.7 times ours. Otherwise as [`difference`].
pub fn times(ours: &[&Row], theirs: &[&Row], column: &str) -> Entry {
    match relative(theirs, ours, column) {
        Entry::Interval(i) => Entry::Interval(Interval { point: i.point + 1.0, low: i.low + 1.0, high: i.high + 1.0 }),
        Entry::Number(share) => Entry::Number(share + 1.0),
        other => other,
    }
}

/// The mean of `values` over seeds, or their interquartile mean over training runs, with its interval; of one value, that
/// value.
pub fn of_values(values: &[f64], training_runs: bool) -> Entry {
    entry(&[values.to_vec()], of_each(|values: &[f64]| middle(values, training_runs)))
}

impl Entry {
    /// The number, or the interval's.
    pub fn point(&self) -> Option<f64> {
        match self {
            Entry::Number(number) => Some(*number),
            Entry::Interval(interval) => Some(interval.point),
            Entry::Text(_) | Entry::Empty => None,
        }
    }

    /// The interval; a number alone has none.
    pub fn interval(&self) -> Option<Interval> {
        match self {
            Entry::Interval(interval) => Some(*interval),
            _ => None,
        }
    }

    /// Whether it is an interval that lies wholly below `value`.
    pub fn is_below(&self, value: f64) -> bool {
        self.interval().is_some_and(|interval| interval.high < value)
    }

    /// Whether it is an interval that lies wholly above `value`.
    pub fn is_above(&self, value: f64) -> bool {
        self.interval().is_some_and(|interval| interval.low > value)
    }

    /// The same in another unit.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Entry {
        match self {
            Entry::Number(number) => Entry::Number(number * factor),
            Entry::Interval(Interval { point, low, high }) => {
                let (a, b) = (low * factor, high * factor);
                Entry::Interval(Interval { point: point * factor, low: a.min(b), high: a.max(b) })
            }
            other => other,
        }
    }
}

/// The middle of values of training runs, or of seeds.
fn middle(values: &[f64], training_runs: bool) -> f64 {
    if training_runs { interquartile_mean(values) } else { mean(values) }
}

/// What is drawn anew, by scene, and whether it is training runs: of each row what `figures` says, and nothing if it says none.
fn strata(rows: &[&Row], figures: impl Fn(&Row) -> Option<(f64, f64)>) -> (Vec<Vec<(f64, f64)>>, bool) {
    let number = |row: &Row, column: &str| row.get_number(column) as u64;
    let trained: BTreeSet<u64> = rows.iter().map(|row| number(row, "trained")).collect();
    let several = trained.len() > 1;
    let strata = groups(rows.iter().copied(), &["scene"]).into_iter().map(|scene| {
        let mut units: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
        for row in scene.rows {
            let unit = number(row, if several { "trained" } else { "seed" });
            units.entry(unit).or_default().push(figures(row).unwrap_or((f64::NAN, f64::NAN)));
        }
        let of =
            |pairs: &Vec<(f64, f64)>, side: fn(&(f64, f64)) -> f64| mean(&pairs.iter().map(side).collect::<Vec<f64>>());
        units.values().map(|pairs| (of(pairs, |pair| pair.0), of(pairs, |pair| pair.1))).collect()
    });
    (strata.collect(), several)
}

/// Pairs of runs of the same scene and seed; of the same training run too, where both sides have several.
fn paired(ours: &[&Row], theirs: &[&Row], column: &str) -> (Vec<Vec<(f64, f64)>>, bool) {
    let key = |row: &Row| (row.get_text("scene").to_owned(), row.get_number("seed") as u64);
    let trained = |row: &Row| row.get_number("trained") as u64;
    let mut partners: BTreeMap<(String, u64), BTreeMap<u64, f64>> = BTreeMap::new();
    for row in theirs {
        partners.entry(key(row)).or_default().insert(trained(row), row.get_number(column));
    }
    let both = |rows: &[&Row]| rows.iter().map(|row| trained(row)).collect::<BTreeSet<u64>>().len() > 1;
    let pair = |row: &Row, same: bool| -> Option<(f64, f64)> {
        let others = partners.get(&key(row))?;
        let other = match same {
            true => *others.get(&trained(row))?,
            false => mean(&others.values().copied().collect::<Vec<f64>>()),
        };
        Some((row.get_number(column), other))
    };
    match (both(ours), both(theirs)) {
        // One against several: it is the other side's runs that are drawn.
        (false, true) => {
            let (swapped, several) = paired(theirs, ours, column);
            (swapped.into_iter().map(|stratum| stratum.into_iter().map(|(x, y)| (y, x)).collect()).collect(), several)
        }
        (_, same) => strata(ours, |row| pair(row, same)),
    }
}

/// Draws from a stream of its own, so that an entry does not depend on those before it.
fn entry<T: Copy>(strata: &[Vec<T>], statistic: impl Fn(&[Vec<T>]) -> f64) -> Entry {
    let mut stream = Xoshiro256PlusPlus::seed_from_u64(1);
    let interval: Result<Interval, StatisticsError> = Bootstrap::default().interval(strata, statistic, &mut stream);
    match interval {
        Err(_) => Entry::Empty,
        // Of one run nothing is known of chance.
        Ok(interval) if strata.iter().all(|stratum| stratum.len() == 1) => Entry::Number(interval.point),
        Ok(interval) => Entry::Interval(interval),
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn run(scene: &str, autoscaler: &str, trained: u64, seed: u64, objective: f64) -> Row {
        let row = Row::new().text("scene", scene).text("autoscaler", autoscaler).count("trained", trained);
        row.count("seed", seed).number("objective", objective)
    }

    fn all(rows: &[Row]) -> Vec<&Row> {
        rows.iter().collect()
    }

    #[test]
    fn means_over_seeds_and_interquartile_means_over_training_runs_by_hand() {
        // A rule: the mean over seeds of each scene, then over scenes: (2 + 7) / 2.
        let rows = [("a", 1, 1.0), ("a", 2, 3.0), ("b", 1, 6.0), ("b", 2, 7.0), ("b", 3, 8.0)]
            .map(|(scene, seed, objective)| run(scene, "hpa", 0, seed, objective));
        let Entry::Interval(interval) = value(&all(&rows), "objective") else { panic!() };
        assert_eq!(interval.point, 4.5);
        assert!(interval.low >= 3.5 && interval.low < 4.5 && interval.high > 4.5 && interval.high <= 5.5);
        // Eight training runs of two seeds: their means are 1 to 7 and 100, of which the middle four are 3 to 6.
        let rows: Vec<Row> = (1..=8u64)
            .flat_map(|trained| {
                let middle = if trained == 8 { 100.0 } else { trained as f64 };
                [run("a", "policy", trained, 1, middle - 0.5), run("a", "policy", trained, 2, middle + 0.5)]
            })
            .collect();
        assert_eq!(value(&all(&rows), "objective").point(), Some(4.5));
        // One run has no interval, and what is missing is not left out.
        assert_eq!(value(&all(&rows[..1]), "objective"), Entry::Number(0.5));
        let missing = [run("a", "hpa", 0, 1, 1.0), run("a", "hpa", 0, 2, f64::NAN)];
        assert_eq!(value(&all(&missing), "objective"), Entry::Empty);
        assert_eq!(value(&[], "objective"), Entry::Empty);
    }

    #[test]
    fn pairs_are_of_the_same_scene_and_seed_in_whatever_order() {
        // What arrivals do is large and common, the difference small: 1 in scene a, 3 in scene b.
        let ours: Vec<Row> =
            (0..6).map(|seed| run(if seed < 3 { "a" } else { "b" }, "policy", 0, seed, 100.0 * seed as f64)).collect();
        let theirs: Vec<Row> = (0..6)
            .rev()
            .map(|seed| {
                let (scene, less) = if seed < 3 { ("a", 1.0) } else { ("b", 3.0) };
                run(scene, "hpa", 0, seed, 100.0 * seed as f64 - less)
            })
            .collect();
        let Entry::Interval(interval) = difference(&all(&ours), &all(&theirs), "objective") else { panic!() };
        assert_eq!((interval.point, interval.low, interval.high), (2.0, 2.0, 2.0));
        // Somebody without a partner.
        assert_eq!(difference(&all(&ours), &all(&theirs[1..]), "objective"), Entry::Empty);
        // Twice as much is 100 % above, and 2 times; against itself it is nothing.
        let double: Vec<Row> = (0..6).map(|seed| run("a", "hpa", 0, seed, 2.0 + seed as f64)).collect();
        let half: Vec<Row> = (0..6).map(|seed| run("a", "policy", 0, seed, 1.0 + seed as f64 / 2.0)).collect();
        assert_eq!(relative(&all(&double), &all(&half), "objective").point(), Some(1.0));
        assert_eq!(times(&all(&half), &all(&double), "objective").point(), Some(2.0));
        assert_eq!(relative(&all(&half), &all(&half), "objective").point(), Some(0.0));
    }

    #[test]
    fn training_runs_are_paired_with_a_rule_and_with_their_like() {
        let ours: Vec<Row> = (1..=4).map(|t| run("a", "policy", t, 7, t as f64)).collect();
        let rule = [run("a", "hpa", 0, 7, 10.0)];
        // Differences −9, −8, −7, −6, of which the middle two are kept.
        assert_eq!(difference(&all(&ours), &all(&rule), "objective").point(), Some(-7.5));
        assert_eq!(difference(&all(&rule), &all(&ours), "objective").point(), Some(7.5));
        // Run by run with others of the same seeds of training, whatever their order.
        let theirs: Vec<Row> = (1..=4).rev().map(|t| run("a", "without", t, 7, t as f64 + 0.5)).collect();
        let Entry::Interval(interval) = difference(&all(&ours), &all(&theirs), "objective") else { panic!() };
        assert_eq!((interval.point, interval.low, interval.high), (-0.5, -0.5, -0.5));
    }

    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_say() {
        // Five seeds of each of ten scenes whose means differ by far more than seeds do. Uniform in ±1 around the scene's mean, so
        // that the truth is the mean of the scenes', 45. Percentile intervals of few are narrow: five values drawn anew have √(4/5) of
        // the deviation, and 1.96 · √(4/5) deviations hold 92 % of a normal distribution.
        let mut stream = Xoshiro256PlusPlus::seed_from_u64(4);
        let trials = 300;
        let held = (0..trials)
            .filter(|_| {
                let rows: Vec<Row> = (0..50u64)
                    .map(|i| {
                        let scene = i / 5;
                        let value = 10.0 * scene as f64 + 2.0 * stream.random::<f64>() - 1.0;
                        run(&scene.to_string(), "hpa", 0, i % 5, value)
                    })
                    .collect();
                let Entry::Interval(interval) = value(&all(&rows), "objective") else { panic!() };
                interval.low <= 45.0 && 45.0 <= interval.high
            })
            .count();
        let share = held as f64 / f64::from(trials);
        assert!((0.86..=0.97).contains(&share), "{share}");
    }

    #[test]
    fn an_entry_depends_on_its_own_rows_alone() {
        let rows: Vec<Row> = (0..5).map(|seed| run("a", "hpa", 0, seed, (seed * seed) as f64)).collect();
        let first = value(&all(&rows), "objective");
        let _ = difference(&all(&rows), &all(&rows), "objective");
        assert_eq!(value(&all(&rows), "objective"), first);
        let parts = groups(&rows, &["scene", "autoscaler"]);
        assert_eq!((parts.len(), parts[0].key.as_slice()), (1, ["a".to_owned(), "hpa".to_owned()].as_slice()));
        assert_eq!(first.clone().scaled(-100.0).point(), first.point().map(|p| -100.0 * p));
        assert!(first.is_above(-1.0) && !first.is_above(6.0) && first.is_below(100.0));
    }
}
