//! Training as published.

use std::collections::BTreeMap;

use anyhow::Result;

use super::learning::{Config, Curves, by_kind, by_seed, cells, ends, moving, table};
use super::training::LOSSES;
use crate::cell::Row;
use crate::chart::{self, Axis, Frame, Lines, Series};
use crate::experiment::{All, Entry, Experiment, Outcome, Section, Table, Verdict};
use crate::results::Results;
use crate::summary::of_values;

/// Training as published.
pub const TRAINING_PAPER: Experiment = Experiment {
    name: "training-paper",
    title: "Training as published",
    question: "With the published observation, action, reward and hyper-parameters, does the reward rise as published (moving average \
               1.05 to 1.84, +75.2 %), and how much of such a rise is chance? (The paper's figures of training progress, learning by \
               pattern, reward distribution and losses.)",
    config: include_str!("../../configs/training-paper.toml"),
    needs: &[],
    cells,
    present,
};

/// The published rise.
const PUBLISHED: f64 = 0.752;
/// Episodes of a window of the published moving average; which one was used is not said.
const WINDOW: usize = 10;
/// Updates of the windows at both ends of training.
const UPDATES: usize = 5;
/// Bins of the distribution of rewards.
const BINS: usize = 24;

fn present(all: &All<'_>) -> Result<Section> {
    let config = Config::read(all.config, all.size)?;
    let own = all.own;
    let mut section = Section::default();
    section.text.push(format!(
        "{} training runs. The published run had {} episodes of 10 steps: 1,000 steps, which is less than half of its buffer of 2,048, so \
         that no update can have happened. Whatever moved in it was not learning. Here training goes on for a hundred times as long. \
         The reward is the published formula with the published table of references, mean of a control step; latencies here are the \
         servers' and not a load generator's, so that its latency term is near its ceiling for any policy, and its level cannot be \
         compared with the published 1.05 and 1.84. Its change can.",
        config.seeds, config.episodes
    ));

    let note = format!("interquartile mean over {} training runs and its 95 % interval", config.seeds);
    let reward = by_seed(own, "training/return");
    let progress = table(
        "progress",
        "Reward of a step in training and its moving average over ten stretches; the mean of evaluations.",
        &[
            ("reward", reward.clone()),
            ("moving average", moving(&reward)),
            ("evaluation", by_seed(own, "evaluation/score")),
        ],
    );
    let frame = Frame {
        name: "progress",
        title: "Training progress, as published",
        note: &note,
        caption: "The published reward in the course of training, with the spread of training runs.",
    };
    let panel = |title, columns, label| Lines {
        title,
        series: Series::Columns(columns),
        axis: Axis { label, log: false },
        level: None,
    };
    let panels = [panel("Reward", &["reward", "moving average", "evaluation"], "reward a step")];
    section.figures.push(chart::lines(&progress, &frame, "steps", &panels)?);
    section.tables.push(progress);

    let (rises, table_of_rises) = rises(own);
    section.tables.push(table_of_rises);

    let (patterns, by_pattern) = by_kind(own, "patterns", "Moving average of the reward of a step, by pattern.");
    let frame = Frame {
        name: "patterns",
        title: "Learning by pattern",
        note: &note,
        caption: "The moving average of the reward of a step, by the pattern of the episode.",
    };
    let columns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    section.figures.push(chart::lines(&by_pattern, &frame, "steps", &[panel("", &columns, "reward a step")])?);
    section.tables.push(by_pattern);

    let explained = ["untrained", "trained"].map(|phase| explained_by_pattern(own, phase));
    section.text.push(format!(
        "Which pattern an episode is of explains {} % of the variance of rewards before training and {} % after it.",
        chart::text(&explained[0].clone().scaled(100.0)),
        chart::text(&explained[1].clone().scaled(100.0))
    ));
    let distribution = distribution(own, &patterns);
    let frame = Frame {
        name: "rewards",
        title: "Rewards of episodes, by pattern",
        note: &format!("{} episodes of each of {} training runs, after training", config.episodes, config.seeds),
        caption: "How the rewards of episodes are distributed after training, by pattern.",
    };
    let label = "reward a step, mean of an episode";
    section.figures.push(chart::histogram(&distribution, &frame, ("from", "to"), &columns, label, "share, %")?);
    section.tables.push(distribution);

    let losses: Vec<(&str, Curves)> = LOSSES.iter().map(|(name, title, _)| (*title, by_seed(own, name))).collect();
    let losses = table("losses", "Terms of the loss and diagnostics of updates.", &losses);
    let frame = Frame {
        name: "losses",
        title: "Losses",
        note: &note,
        caption: "Losses and diagnostics in the course of training.",
    };
    let columns: Vec<[&str; 1]> = LOSSES.iter().map(|(_, title, _)| [*title]).collect();
    let panels: Vec<Lines<'_>> =
        LOSSES.iter().zip(&columns).map(|((_, title, label), columns)| panel(title, columns, label)).collect();
    section.figures.push(chart::lines(&losses, &frame, "steps", &panels)?);
    section.tables.push(losses);
    section.verdicts.push(verdict(&rises));
    Ok(section)
}

/// By how much the reward rises.
struct Rises {
    /// From the first to the last updates of training.
    training: Entry,
    /// From the first to the last ten episodes of an untrained policy.
    chance: Entry,
    /// The greatest rise and the greatest fall of an untrained policy.
    extremes: (f64, f64),
}

/// Share by which `last` is above `first`; none where there is no such share.
fn share((first, last): (f64, f64)) -> Option<f64> {
    (first > 0.0).then(|| last / first - 1.0)
}

/// Mean rewards of windows of the episodes of a phase, by training run.
fn windows(results: &Results, phase: &str) -> Vec<(f64, f64)> {
    let mut runs: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in results.with(&[("row", "episode"), ("phase", phase)]) {
        runs.entry(row.get_number("trained") as u64).or_default().push(row.get_number("reward"));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let ends = |rewards: &Vec<f64>| {
        let window = WINDOW.min(rewards.len());
        (mean(&rewards[..window]), mean(&rewards[rewards.len() - window..]))
    };
    runs.values().map(ends).collect()
}

fn means(results: &Results, phase: &str) -> BTreeMap<u64, f64> {
    let mut runs: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for row in results.with(&[("row", "episode"), ("phase", phase)]) {
        let sum = runs.entry(row.get_number("trained") as u64).or_default();
        *sum = (sum.0 + row.get_number("reward"), sum.1 + 1.0);
    }
    runs.into_iter().map(|(seed, (sum, n))| (seed, sum / n)).collect()
}

fn rises(results: &Results) -> (Rises, Table) {
    let mut table = Table {
        name: "rises".into(),
        caption: "The reward's rise, measured in the published way, and the same of a policy that does not learn: its choices are \
                  drawn from an untrained network, which is nearly evenly."
            .into(),
        columns: ["measure", "before", "after", "rise, %"].map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    let mut put = |name: &str, pairs: &[(f64, f64)]| {
        let shares: Vec<f64> = pairs.iter().copied().filter_map(share).collect();
        let entry = |values: Vec<f64>| if values.is_empty() { Entry::Empty } else { of_values(&values, true) };
        // A share of nothing is none; and one over some of the runs would not be what it says.
        let rise = if shares.len() == pairs.len() { entry(shares) } else { Entry::Empty };
        table.rows.push(vec![
            Entry::Text(name.to_owned()),
            entry(pairs.iter().map(|pair| pair.0).collect()),
            entry(pairs.iter().map(|pair| pair.1).collect()),
            rise.clone().scaled(100.0),
        ]);
        rise
    };
    table_row_published(&mut put);
    let training = put("training, the first and the last 5 updates", &ends(results, "training/return", UPDATES));
    let untrained = windows(results, "untrained");
    let chance = put("untrained, the first and the last 10 of the published number of episodes", &untrained);
    let (before, after) = (means(results, "untrained"), means(results, "trained"));
    let same: Vec<(f64, f64)> = before.iter().filter_map(|(seed, &before)| Some((before, *after.get(seed)?))).collect();
    put("the same episodes, untrained and trained", &same);
    let shares: Vec<f64> = untrained.iter().copied().filter_map(share).collect();
    let extremes = (
        shares.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        shares.iter().copied().fold(f64::INFINITY, f64::min),
    );
    (Rises { training, chance, extremes }, table)
}

/// What was published, for comparison.
fn table_row_published(put: &mut impl FnMut(&str, &[(f64, f64)]) -> Entry) {
    put("published, the moving average of 100 episodes", &[(1.05, 1.84)]);
}

fn verdict(rises: &Rises) -> Verdict {
    let percent = |entry: &Entry| chart::text(&entry.clone().scaled(100.0));
    let outcome = match &rises.training {
        // Nothing in its interval is less than published, or less than half of that.
        rise if rise.interval().is_some_and(|rise| rise.low >= PUBLISHED) => Outcome::Holds,
        rise if rise.interval().is_some_and(|rise| rise.low >= PUBLISHED / 2.0) => Outcome::InPart,
        Entry::Empty => Outcome::NotTestable,
        _ => Outcome::DoesNotHold,
    };
    Verdict {
        claim: "Published: training raises the moving average of the reward by 75.2 % (1.05 to 1.84)".into(),
        outcome,
        because: format!(
            "from its first to its last five updates, training moves it by {} %. A policy that does not learn moves it by {} % over the \
             published 100 episodes, between {:+.0} % and {:+.0} % in single runs: which patterns are drawn is enough for that, and 100 \
             episodes are too few for a single update",
            percent(&rises.training),
            percent(&rises.chance),
            100.0 * rises.extremes.1,
            100.0 * rises.extremes.0,
        ),
    }
}

/// The share of the variance of episodes' rewards that lies between patterns (η²), of each training run.
fn explained_by_pattern(results: &Results, phase: &str) -> Entry {
    let mut runs: BTreeMap<u64, Vec<(&str, f64)>> = BTreeMap::new();
    for row in results.with(&[("row", "episode"), ("phase", phase)]) {
        let episode = (row.get_text("pattern"), row.get_number("reward"));
        runs.entry(row.get_number("trained") as u64).or_default().push(episode);
    }
    let squares = |rewards: &[f64]| {
        let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
        rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>()
    };
    let share = |episodes: &Vec<(&str, f64)>| {
        let mut patterns: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for &(pattern, reward) in episodes {
            patterns.entry(pattern).or_default().push(reward);
        }
        let all: Vec<f64> = episodes.iter().map(|episode| episode.1).collect();
        1.0 - patterns.values().map(|own| squares(own)).sum::<f64>() / squares(&all)
    };
    of_values(&runs.values().map(share).collect::<Vec<_>>(), true)
}

/// Shares of episodes by their reward, after training, a column a pattern.
fn distribution(results: &Results, patterns: &[String]) -> Table {
    let rows: Vec<&Row> = results.with(&[("row", "episode"), ("phase", "trained")]).collect();
    let rewards = rows.iter().map(|row| row.get_number("reward"));
    let (lo, hi) = rewards.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), r| (lo.min(r), hi.max(r)));
    let width = if hi > lo { (hi - lo) / BINS as f64 } else { 1.0 };
    let mut table = Table {
        name: "rewards".into(),
        caption: "Shares of episodes by their mean reward of a step, after training, by pattern.".into(),
        columns: ["from", "to"].map(str::to_owned).into_iter().chain(patterns.iter().cloned()).collect(),
        rows: Vec::new(),
    };
    if !(lo.is_finite() && hi.is_finite()) {
        return table;
    }
    for bin in 0..BINS {
        let from = lo + width * bin as f64;
        let share = |pattern: &String| {
            let own: Vec<f64> = rows
                .iter()
                .filter(|row| row.get_text("pattern") == pattern)
                .map(|row| row.get_number("reward"))
                .collect();
            let inside = own.iter().filter(|reward| (((*reward - lo) / width) as usize).min(BINS - 1) == bin).count();
            if own.is_empty() { Entry::Empty } else { Entry::Number(100.0 * inside as f64 / own.len() as f64) }
        };
        let numbers = [Entry::Number(from), Entry::Number(from + width)];
        table.rows.push(numbers.into_iter().chain(patterns.iter().map(share)).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Size;

    fn results(rise: f64) -> Results {
        let mut rows = Vec::new();
        for trained in 1..=4u64 {
            for step in 1..=20u64 {
                let value = if step <= 10 { 0.5 } else { 0.5 * (1.0 + rise) };
                let row = Row::new().text("row", "scalar").count("trained", trained).count("step", step * 2_048);
                let of = |name: &str| row.clone().text("name", name).number("value", value + trained as f64 * 1e-6);
                rows.extend([of("training/return"), of("training/return/spike")]);
            }
            for phase in ["untrained", "trained"] {
                for number in 0..100u64 {
                    let row = Row::new().text("row", "episode").count("trained", trained).text("phase", phase);
                    // Ever more of a pattern that pays more, without any learning.
                    let reward = if number < 50 { 0.4 } else { 0.6 };
                    rows.push(row.count("number", number).text("pattern", "spike").number("reward", reward));
                }
            }
        }
        Results { rows, missing: Vec::new() }
    }

    fn presented(rise: f64) -> Section {
        let own = results(rise);
        present(&All { own: &own, others: BTreeMap::new(), config: TRAINING_PAPER.config, size: Size::Full }).unwrap()
    }

    #[test]
    fn the_published_rise_is_judged_by_its_interval() {
        let outcome = |rise| presented(rise).verdicts[0].outcome;
        assert_eq!(outcome(0.9), Outcome::Holds);
        assert_eq!(outcome(0.5), Outcome::InPart);
        assert_eq!(outcome(0.2), Outcome::DoesNotHold);
        assert_eq!(outcome(-0.2), Outcome::DoesNotHold);
    }

    #[test]
    fn what_a_pattern_explains_is_the_variance_between_patterns() {
        let rows = [("spike", 1.0), ("spike", 3.0), ("ramp", 5.0), ("ramp", 7.0)].map(|(pattern, reward)| {
            let row = Row::new().text("row", "episode").text("phase", "trained").count("trained", 1);
            row.text("pattern", pattern).number("reward", reward)
        });
        // Around their means 2 and 6: 4 · 1 of 9 + 1 + 1 + 9.
        let own = Results { rows: rows.to_vec(), missing: Vec::new() };
        assert_eq!(explained_by_pattern(&own, "trained"), Entry::Number(0.8));
    }

    #[test]
    fn what_chance_does_is_said_beside_it() {
        let section = presented(0.2);
        let table = section.tables.iter().find(|table| table.name == "rises").unwrap();
        let rise = |row: usize| table.rows[row][3].point().unwrap();
        assert!((rise(0) - 75.238).abs() < 1e-2, "{}", rise(0));
        assert!((rise(1) - 20.0).abs() < 1e-3, "{}", rise(1));
        assert!((rise(2) - 50.0).abs() < 1e-9, "{}", rise(2));
        assert!(section.verdicts[0].because.contains("+50 %"), "{}", section.verdicts[0].because);
        // Half of the episodes in the lowest bin, half in the highest.
        let rewards = section.tables.iter().find(|table| table.name == "rewards").unwrap();
        let shares: Vec<f64> = rewards.rows.iter().filter_map(|row| row[2].point()).collect();
        assert_eq!((shares.len(), shares[0], shares[BINS - 1], shares.iter().sum::<f64>()), (BINS, 50.0, 50.0, 100.0));
    }
}
