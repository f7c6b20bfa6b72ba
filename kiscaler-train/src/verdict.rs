//! A policy against its rivals, over scenarios and seeds.

use kisim::compare::{AutoscalerResult, Comparison};
use kisim::report::Summary;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::statistics::{
    Bootstrap, Interval, StatisticsError, interquartile_difference, mean_difference, of_all, of_each, pairs,
    relative_difference,
};

/// The first one of each comparison against another, run by run. Scenarios are strata: runs are drawn anew within each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The other's name.
    pub rival: String,
    /// Cost: by which share ours is above the rival's, averaged over scenarios.
    pub cost: Interval,
    /// Share of requests that broke the objective: ours minus the rival's, averaged over scenarios.
    pub violation_ratio: Interval,
    /// Reward of a control step: ours minus the rival's, interquartile mean over all runs.
    pub reward: Interval,
    /// The probability that a run of ours has the higher reward.
    pub improvement: Interval,
}

/// One verdict for each rival that takes part in all of `comparisons`, in their order.
///
/// # Errors
/// If a figure is no number, such as a share of no cost.
pub fn verdicts(comparisons: &[Comparison], stream: &mut impl Rng) -> Result<Vec<Verdict>, StatisticsError> {
    let bootstrap = Bootstrap::default();
    let Some(first) = comparisons.first() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (index, rival) in first.autoscalers.iter().enumerate().skip(1) {
        let same = |c: &&Comparison| c.autoscalers.get(index).is_some_and(|other| other.name == rival.name);
        if comparisons.iter().filter(same).count() < comparisons.len() {
            continue;
        }
        let of = |who: usize, figure: fn(&Summary) -> f64| -> Vec<Vec<f64>> {
            let runs = |own: &AutoscalerResult| own.runs.iter().map(figure).collect();
            comparisons.iter().filter_map(|c| c.autoscalers.get(who)).map(runs).collect()
        };
        let both = |figure| Ok::<_, StatisticsError>((of(0, figure), of(index, figure)));
        let (ours, theirs) = both(|run| run.cost)?;
        let cost = bootstrap.interval(&pairs(&ours, &theirs)?, of_each(relative_difference), stream)?;
        let (ours, theirs) = both(|run| run.slo.violation_ratio)?;
        let violation_ratio = bootstrap.interval(&pairs(&ours, &theirs)?, of_each(mean_difference), stream)?;
        let (ours, theirs) = both(|run| run.reward.get("mean").copied().unwrap_or(f64::NAN))?;
        let reward = bootstrap.interval(&pairs(&ours, &theirs)?, of_all(interquartile_difference), stream)?;
        let improvement = bootstrap.probability_of_improvement(&ours, &theirs, stream)?;
        all.push(Verdict { rival: rival.name.clone(), cost, violation_ratio, reward, improvement });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use kisim::compare::compare;
    use kisim::config::Span;
    use kisim::contender::Contender;
    use kisim::prepared::Prepared;
    use kisim::run::silent;
    use kisim::scenario::Scenario;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn fixed_numbers_of_pods_cost_as_many_times_as_much() {
        let run = |name: &str, rivals: &[&str]| {
            let mut scenario = Scenario::named(name).unwrap();
            scenario.duration = Some(Span::secs(60));
            let all: Vec<Contender> = rivals.iter().map(|r| Contender::parse(r, &scenario).unwrap()).collect();
            compare(&Prepared::new(scenario).unwrap(), &all, 1, 3, &silent).unwrap()
        };
        let mut stream = Xoshiro256PlusPlus::seed_from_u64(1);
        let comparisons = [run("default", &["fixed:2", "fixed:4"]), run("default", &["fixed:2", "fixed:4", "hpa"])];
        let all = verdicts(&comparisons, &mut stream).unwrap();
        // hpa is not in both.
        assert_eq!(all.len(), 1);
        let verdict = &all[0];
        assert_eq!(verdict.rival, "fixed:gpu=4");
        assert!(verdict.cost.point < -0.2 && verdict.cost.excludes(0.0), "{verdict:?}");
        assert!(verdict.violation_ratio.point >= 0.0, "{verdict:?}");
        assert!((0.0..=1.0).contains(&verdict.improvement.point));
        assert!(verdicts(&[], &mut stream).unwrap().is_empty());
    }
}
