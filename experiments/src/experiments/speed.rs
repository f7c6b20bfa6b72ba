//! How fast simulation and training are.

use anyhow::Result;

use crate::cell::Cell;
use crate::chart::{self, Axis, Frame, Series};
use crate::experiment::{All, Entry, Experiment, Outcome, Section, Size, Table, Verdict, sized};
use crate::summary::{groups, of_values};
use crate::work::{Speed, Work};

/// How fast simulation and training are.
pub const SPEED: Experiment = Experiment {
    name: "speed",
    title: "Speed",
    question: "How many requests are simulated and how many steps trained in a second, how long does a decision take, and what does looking \
               and deciding cost beside the simulation? (Ours. Times of the machine that the provenance names, one thread.)",
    config: include_str!("../../configs/speed.toml"),
    needs: &[],
    cells,
    present,
};

/// The share that looking and deciding may take of a control step of 1,000 requests, %.
const ALLOWED: f64 = 10.0;

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let speed: Speed = sized(text, size)?;
    let seconds = 4.0 * speed.rounds as f64;
    Ok(vec![Cell { name: "speed".into(), seconds, work: Work::Speed(speed) }])
}

fn present(all: &All<'_>) -> Result<Section> {
    let mut section = Section::default();
    section.text.push(
        "Everything is measured once a round, in turn; intervals are over rounds. Training includes simulation, environment, teacher and PPO, \
         of imitation and PPO alike. *Looking and deciding* is what the policy that ships does at a control step, timed inside a run in \
         which nothing is done of what it says."
            .to_owned(),
    );
    let mut table = Table {
        name: "speed".into(),
        caption: "Means over rounds.".into(),
        columns: ["what", "unit", "value"].map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    let mut simulation = Table {
        name: "simulation".into(),
        caption: "Requests simulated a second under an HPA, one thread.".into(),
        columns: ["scene", "requests/s"].map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    let mut overhead = Entry::Empty;
    let mut requests = Entry::Empty;
    for group in groups(&all.own.rows, &["what", "unit"]) {
        let values: Vec<f64> = group.rows.iter().map(|row| row.get_number("value")).collect();
        let value = of_values(&values, false);
        if let Some(scene) = group.key[0].strip_prefix("simulation: ") {
            simulation.rows.push(vec![Entry::Text(scene.to_owned()), value.clone()]);
        }
        match group.key[0].as_str() {
            "overhead of looking and deciding" => overhead = value.clone(),
            "requests in it" => requests = value.clone(),
            _ => {}
        }
        table.rows.push(group.key.into_iter().map(Entry::Text).chain([value]).collect());
    }
    let frame = Frame {
        name: "simulation",
        title: "Requests simulated a second",
        note: "one thread, under an HPA; bars: 95 % intervals over rounds",
        caption: "Requests simulated a second, by scene.",
    };
    let series = Series::Columns(&["requests/s"]);
    section.figures.push(chart::forest(&simulation, &frame, "scene", series, Axis { label: "", log: true }, None)?);
    section.tables.extend([table, simulation]);
    let outcome = match &overhead {
        Entry::Empty => Outcome::NotTestable,
        entry if entry.is_below(ALLOWED) => Outcome::Holds,
        entry if entry.is_above(ALLOWED) => Outcome::DoesNotHold,
        entry if entry.interval().is_none() => match entry.point() {
            Some(point) if point < ALLOWED => Outcome::Holds,
            _ => Outcome::DoesNotHold,
        },
        _ => Outcome::InPart,
    };
    section.verdicts.push(Verdict {
        claim: "Ours: looking and deciding take less than a tenth of what simulating a control step of 1,000 requests takes".into(),
        outcome,
        because: format!("{} % of it, with {} requests a step", chart::text(&overhead), chart::text(&requests)),
    });
    Ok(section)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cell::Row;
    use crate::results::Results;

    #[test]
    fn the_overhead_is_judged_by_its_interval() {
        let outcome = |shares: &[f64]| {
            let row = |(round, share): (u64, &f64)| {
                let row = Row::new().text("what", "overhead of looking and deciding").text("unit", "%");
                row.count("round", round).number("value", *share)
            };
            let own = Results { rows: (1..).zip(shares).map(row).collect(), missing: Vec::new() };
            let all = All { own: &own, others: BTreeMap::new(), config: SPEED.config, size: Size::Full };
            present(&all).unwrap().verdicts[0].outcome
        };
        assert_eq!(outcome(&[4.0, 5.0, 6.0]), Outcome::Holds);
        assert_eq!(outcome(&[40.0, 50.0, 60.0]), Outcome::DoesNotHold);
        assert_eq!(outcome(&[2.0, 10.0, 18.0]), Outcome::InPart);
        assert_eq!(outcome(&[5.0]), Outcome::Holds);
        assert_eq!(outcome(&[]), Outcome::NotTestable);
    }

    #[test]
    fn everything_that_is_timed_has_a_time() {
        let cells = cells(SPEED.config, Size::Tiny).unwrap();
        assert!(cells[0].work.timed());
        let scratch = tempfile::tempdir().unwrap();
        let context = crate::work::Context { traces: None, scratch: scratch.path(), progress: &|_| true };
        let rows = cells[0].work.run(&context).unwrap();
        assert!(rows.iter().all(|row| row.get_number("value") > 0.0), "{rows:?}");
        let requests = rows.iter().find(|row| row.get_text("what") == "requests in it").unwrap();
        assert!((requests.get_number("value") / 1_000.0 - 1.0).abs() < 0.1, "{requests:?}");
    }
}
