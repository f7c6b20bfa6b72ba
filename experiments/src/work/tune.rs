//! A rule's best parameters, searched where it may look, and what they are worth where it may not.

use anyhow::Result;
use kisim::compare::compare;
use kisim::contender::Contender;
use kisim::prepared::Prepared;
use kisim::tune::{Kind, TuneOptions, tune};
use serde::{Deserialize, Serialize};

use super::Context;
use super::play::row;
use crate::cell::Row;
use crate::scene::Scene;

/// A search for a rule's parameters, and runs of the rule it found: rows of `KIND-tuned`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tune {
    /// Where it is tuned, on training seeds, which are those of no comparison. A trace is the same for every seed: then another
    /// part of it than `test` has.
    pub scene: Scene,
    /// The rule.
    pub rule: Kind,
    /// Sets of parameters tried.
    pub trials: usize,
    /// Training seeds that the best have to show themselves on.
    pub seeds: usize,
    /// Where it is played then.
    pub test: Scene,
    /// With how many seeds, derived from the scenario's.
    pub test_seeds: u64,
}

impl Tune {
    /// What rows call the tuned rule.
    pub fn name(&self) -> String {
        format!("{}-tuned", self.rule.name())
    }

    pub(super) fn run(&self, context: &Context<'_>) -> Result<Vec<Row>> {
        let scenario = self.scene.load(context.traces)?;
        let options = TuneOptions { trials: self.trials, seeds: self.seeds, seed: scenario.seed };
        // Whatever is wrong with the test is said before the search.
        let test = Prepared::new(self.test.load(context.traces)?)?;
        let prepared = Prepared::new(scenario)?;
        let searched = self.share_of_search();
        let told = |share: f64| (context.progress)(share * searched);
        let found = tune(&prepared, self.rule, &options, None, &told)?;
        let told = |share: f64| (context.progress)(searched + share * (1.0 - searched));
        let tuned = Contender::File(self.name(), found.config.clone());
        let result = compare(&test, &[tuned], test.scenario.seed, self.test_seeds as usize, &told)?;
        let parameters: Vec<String> = match found.best.evaluations.first() {
            Some(evaluation) => evaluation.parameters.iter().map(|(name, value)| format!("{name} {value}")).collect(),
            None => Vec::new(),
        };
        let parameters = if parameters.is_empty() { "as it comes".to_owned() } else { parameters.join(", ") };
        let objective = |trial: &kisim::tune::Trial| trial.mean(self.seeds, |evaluation| evaluation.objective);
        let (best, untuned) = (objective(&found.best), objective(&found.untuned));
        let rows = result.autoscalers.iter().flat_map(|autoscaler| &autoscaler.runs).map(|run| {
            row(run, &self.name(), 0, &test)
                .text("parameters", &parameters)
                .number("training_objective", best)
                .number("untuned_training_objective", untuned)
        });
        Ok(rows.collect())
    }

    /// Share of the runs that are the search's, about: most trials see one seed.
    fn share_of_search(&self) -> f64 {
        let search = self.trials as f64 * 1.8;
        search / (search + self.test_seeds as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Tune {
        let scene: Scene =
            toml::from_str("name = 'tiny'\nscenario = 'llm-periodic'\nchanges = { duration = '5m' }").unwrap();
        Tune { scene: scene.clone(), rule: Kind::Hpa, trials: 6, seeds: 2, test: scene, test_seeds: 2 }
    }

    fn run(tune: &Tune) -> Result<Vec<Row>> {
        let folder = tempfile::tempdir().unwrap();
        tune.run(&Context { traces: None, scratch: folder.path(), progress: &|_| true })
    }

    #[test]
    fn the_best_of_the_trials_is_played_on_seeds_it_has_not_seen() {
        let tune = tiny();
        let rows = run(&tune).unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].get_number("training_objective") <= rows[0].get_number("untuned_training_objective"));
        assert_eq!(rows[0].get_text("autoscaler"), "hpa-tuned");
        let training = kisim::tune::training_seeds(1, 2);
        assert!(rows.iter().all(|row| !training.contains(&(row.get_number("seed") as u64))));
        assert_ne!(rows[0].get_number("seed"), rows[1].get_number("seed"));
        assert!(rows[0].get_text("parameters").contains("target") || rows[0].get_text("parameters") == "as it comes");
        // The same again, byte for byte.
        assert_eq!(rows, run(&tune).unwrap());
    }

    #[test]
    fn what_is_wrong_with_the_test_is_said_first() {
        let mut tune = tiny();
        tune.trials = 1_000_000;
        tune.test.scenario = "nowhere".into();
        assert!(format!("{:#}", run(&tune).unwrap_err()).contains("nowhere"));
    }
}
