//! The experiments, one file each.

use crate::experiment::Experiment;

mod ablations;
mod fidelity;
mod frontier;
mod learning;
mod patterns;
mod performance;
mod regret;
mod robustness;
mod sensitivity;
mod speed;
mod traces;
mod training;
mod training_paper;
mod zero_shot;

/// All of them, in the order of the report.
pub const ALL: &[&Experiment] = &[
    &patterns::PATTERNS,
    &training_paper::TRAINING_PAPER,
    &training::TRAINING,
    &performance::PERFORMANCE,
    &traces::TRACES,
    &regret::REGRET,
    &frontier::FRONTIER,
    &zero_shot::ZERO_SHOT,
    &robustness::ROBUSTNESS,
    &sensitivity::SENSITIVITY,
    &ablations::ABLATIONS,
    &fidelity::FIDELITY,
    &speed::SPEED,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::experiment::Size;
    use crate::work::Work;

    #[test]
    fn plans_are_sound() {
        for experiment in ALL {
            for size in Size::ALL {
                let cells = (experiment.cells)(experiment.config, size).unwrap();
                let names: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
                assert_eq!(names.len(), cells.len(), "{}: two cells of one name", experiment.name);
                let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                assert!(names.iter().all(|name| name.chars().all(letter)), "{}: {names:?}", experiment.name);
                assert!(cells.iter().all(|cell| cell.seconds > 0.0));
                // A cell is data: it reads back as it was.
                for cell in cells {
                    let text = serde_json::to_string(&cell).unwrap();
                    assert_eq!(serde_json::from_str::<crate::cell::Cell>(&text).unwrap().work, cell.work, "{text}");
                }
            }
        }
    }

    #[test]
    fn scenes_without_a_trace_load() {
        for experiment in ALL {
            for size in Size::ALL {
                for cell in (experiment.cells)(experiment.config, size).unwrap() {
                    let scenes = match &cell.work {
                        Work::Play(play) => vec![&play.scene],
                        Work::Tune(tune) => vec![&tune.scene, &tune.test],
                        Work::Train(train) => train.then.iter().map(|play| &play.scene).collect(),
                        _ => Vec::new(),
                    };
                    for scene in scenes.into_iter().filter(|scene| scene.file().is_none()) {
                        let scenario =
                            scene.load(None).map_err(|e| format!("{}, {}: {e:#}", experiment.name, cell.name));
                        kisim::prepared::Prepared::new(scenario.unwrap()).unwrap();
                    }
                }
            }
        }
    }
}
