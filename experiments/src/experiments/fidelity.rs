//! The simulator against what is known.

use anyhow::Result;
use serde::Deserialize;

use crate::cell::{Cell, Row};
use crate::chart::{self, Axis, Frame, Lines, Series};
use crate::experiment::{All, Entry, Experiment, Outcome, Section, Size, Table, Verdict, sized};
use crate::work::fidelity::Measured;
use crate::work::{Fidelity, Work};
use kiscaler_train::statistics::Interval;

/// The simulator against what is known.
pub const FIDELITY: Experiment = Experiment {
    name: "fidelity",
    title: "Fidelity",
    question: "Does the simulator agree with closed forms, and does it predict a measured server by load? Where does it stop being valid? \
               (Ours.)",
    config: include_str!("../../configs/fidelity.toml"),
    needs: &[],
    cells,
    present,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    seed: u64,
    /// Parts that the checks are cut into.
    parts: usize,
    /// Parts that are run.
    tried_parts: usize,
    quick: bool,
    max_batch: usize,
    measured: Vec<Measured>,
    fits: Vec<Fit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fit {
    profile: String,
    fitted: Vec<u32>,
}

/// An error that is no more than this counts as a prediction.
const WITHIN: f64 = 0.1;

fn cells(text: &str, size: Size) -> Result<Vec<Cell>> {
    let config: Config = sized(text, size)?;
    let cell = |name: String, seconds: f64, fidelity: Fidelity| Cell { name, seconds, work: Work::Fidelity(fidelity) };
    let theory = (0..config.tried_parts).map(|part| {
        let theory = Fidelity::Theory { part, parts: config.parts, quick: config.quick, seed: config.seed };
        cell(format!("theory-{part}"), if config.quick { 4.0 } else { 11.0 }, theory)
    });
    let batch = cell("batch-sweep".into(), 1.0, Fidelity::BatchSweep { seed: config.seed });
    let fits = config.fits.iter().enumerate().map(|(number, fit)| {
        let fidelity = Fidelity::LoadSweep {
            profile: fit.profile.clone(),
            measured: config.measured.clone(),
            fitted: fit.fitted.clone(),
            max_batch: config.max_batch,
        };
        cell(format!("load-sweep-{number}"), 1.0, fidelity)
    });
    Ok(theory.chain(std::iter::once(batch)).chain(fits).collect())
}

fn present(all: &All<'_>) -> Result<Section> {
    let config: Config = sized(all.config, all.size)?;
    let mut section = Section::default();
    let theory: Vec<&Row> = all.own.with(&[("row", "theory")]).collect();
    section.text.push(format!(
        "Theory: 16 replications of the whole engine for each check{}. A check passes if the closed form lies in the 99.9 % interval and the 95 % \
         interval is narrow enough to mean something; of fifty, chance fails one in about twenty runs.",
        if config.quick { " (a third of the requests, wider intervals)" } else { "" }
    ));
    section.text.push(
        "Measurement: a Triton server that keeps 16 to 256 requests in flight, predicted from the batch sweep that one client measured, and \
         from profiles fitted to four rows of the very table. The first fails because a client's latency holds transfers, which overlap \
         with computing once there are several clients."
            .to_owned(),
    );
    let checks = checks(&theory);
    if !checks.rows.is_empty() {
        let frame = Frame {
            name: "theory",
            title: "Simulated against closed forms",
            note: "bars: 95 % intervals over 16 replications",
            caption: "The error of each check against theory, with its interval.",
        };
        let series = Series::Columns(&["error, %"]);
        section.figures.push(chart::forest(
            &checks,
            &frame,
            "check",
            series,
            Axis::default(),
            Some((0.0, "the closed form")),
        )?);
    }
    let passed = theory.iter().filter(|row| row.get_text("within") == "yes").count();
    section.tables.push(checks);

    let measured: Vec<&Row> = all.own.with(&[("row", "measured")]).collect();
    let table = predictions(&measured);
    let frame = Frame {
        name: "measured",
        title: "Predicted against measured, ResNet-50 on an A100",
        note: "above zero: predicted too high",
        caption: "The error of predictions by load, for three ways to calibrate.",
    };
    let panel = |title, value| Lines {
        title,
        series: Series::By { by: "calibrated on", value },
        axis: Axis::default(),
        level: Some((0.0, "measured")),
    };
    let panels = [panel("Throughput", "throughput error, %"), panel("P95", "P95 error, %")];
    section.figures.push(chart::lines(&table, &frame, "in flight", &panels)?);
    section.tables.push(table);

    section.verdicts.push(Verdict {
        claim: "Ours: the simulator agrees with queueing theory".into(),
        outcome: match passed {
            _ if theory.is_empty() => Outcome::NotTestable,
            passed if passed == theory.len() => Outcome::Holds,
            0 => Outcome::DoesNotHold,
            _ => Outcome::InPart,
        },
        because: format!("{passed} of {} checks are within bounds", theory.len()),
    });
    section.verdicts.push(predicted(&measured));
    Ok(section)
}

fn checks(rows: &[&Row]) -> Table {
    let row = |row: &&Row| {
        let number = |column: &str| row.get_number(column);
        let (expected, simulated, half) = (number("expected"), number("simulated"), number("half_width"));
        let error = |value: f64| 100.0 * (value / expected - 1.0);
        let interval =
            Interval { point: error(simulated), low: error(simulated - half), high: error(simulated + half) };
        vec![
            Entry::Text(row.get_text("check").to_owned()),
            Entry::Text(row.get_text("source").to_owned()),
            Entry::Number(expected),
            Entry::Number(simulated),
            Entry::Interval(interval),
            Entry::Text(if row.get_text("within") == "yes" { "within bounds" } else { "FAILED" }.to_owned()),
        ]
    };
    Table {
        name: "theory".into(),
        caption: "Checks against closed forms. Times are seconds.".into(),
        columns: ["check", "from", "expected", "simulated", "error, %", "verdict"].map(str::to_owned).to_vec(),
        rows: rows.iter().map(row).collect(),
    }
}

/// Predicted over measured, less one.
fn error(row: &Row, what: &str) -> f64 {
    row.get_number(&format!("predicted_{what}")) / row.get_number(&format!("measured_{what}")) - 1.0
}

fn predictions(rows: &[&Row]) -> Table {
    let row = |row: &&Row| {
        let number = |column: &str| Entry::Number(row.get_number(column));
        vec![
            Entry::Text(row.get_text("profile").to_owned()),
            number("concurrency"),
            Entry::Text(row.get_text("fitted").to_owned()),
            number("measured_rps"),
            number("predicted_rps"),
            Entry::Number(100.0 * error(row, "rps")),
            number("measured_p95_ms"),
            number("predicted_p95_ms"),
            Entry::Number(100.0 * error(row, "p95_ms")),
        ]
    };
    let columns = [
        "calibrated on",
        "in flight",
        "fitted",
        "measured, requests/s",
        "predicted, requests/s",
        "throughput error, %",
        "measured P95, ms",
        "predicted P95, ms",
        "P95 error, %",
    ];
    Table {
        name: "measured".into(),
        caption: "A measured load sweep and its predictions.".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.iter().map(row).collect(),
    }
}

/// By rows that nothing was fitted to.
fn predicted(rows: &[&Row]) -> Verdict {
    let mut profiles: Vec<&str> = Vec::new();
    for row in rows {
        if !profiles.contains(&row.get_text("profile")) {
            profiles.push(row.get_text("profile"));
        }
    }
    let mut held = 0;
    let said: Vec<String> = profiles
        .iter()
        .map(|profile| {
            let own: Vec<&&Row> =
                rows.iter().filter(|row| row.get_text("profile") == *profile && row.get_text("fitted") == "no").collect();
            let worst = |row: &Row| error(row, "rps").abs().max(error(row, "p95_ms").abs());
            // Up to which load every row is predicted.
            let valid = own.iter().take_while(|row| worst(row) <= WITHIN).last();
            let inside = own.iter().filter(|row| worst(row) <= WITHIN).count();
            held += usize::from(inside == own.len() && !own.is_empty());
            let all = own.iter().map(|row| worst(row)).fold(0.0, f64::max);
            let until = valid.map_or("at no load".to_owned(), |row| format!("up to {} in flight", row.get_number("concurrency")));
            format!(
                "calibrated on {profile}: {inside} of {} rows that it was not fitted to within 10 %, all of them {until}; worst {:.0} %",
                own.len(),
                100.0 * all
            )
        })
        .collect();
    Verdict {
        claim: "Ours: a calibrated profile predicts a measured server's throughput and P95 within 10 %, at every load"
            .into(),
        outcome: match held {
            _ if profiles.is_empty() => Outcome::NotTestable,
            held if held == profiles.len() => Outcome::Holds,
            0 => Outcome::DoesNotHold,
            _ => Outcome::InPart,
        },
        because: said.join(". "),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::results::Results;

    fn measured(profile: &str, concurrency: u64, fitted: &str, factor: f64) -> Row {
        let row = Row::new().text("row", "measured").text("profile", profile).count("concurrency", concurrency);
        let row = row.text("fitted", fitted).number("measured_rps", 100.0).number("predicted_rps", 100.0 * factor);
        row.number("measured_p95_ms", 10.0).number("predicted_p95_ms", 10.0 * factor)
    }

    fn theory(within: &str, simulated: f64) -> Row {
        let row =
            Row::new().text("row", "theory").text("check", "M/M/1").text("source", "Erlang C").text("within", within);
        row.number("expected", 2.0).number("simulated", simulated).number("half_width", 0.02)
    }

    fn presented(rows: Vec<Row>) -> Section {
        let own = Results { rows, missing: Vec::new() };
        present(&All { own: &own, others: BTreeMap::new(), config: FIDELITY.config, size: Size::Full }).unwrap()
    }

    #[test]
    fn failures_are_shown_and_judged() {
        let section = presented(vec![theory("yes", 2.01), theory("no", 2.2)]);
        assert_eq!(section.verdicts[0].outcome, Outcome::InPart);
        let error = section.tables[0].rows[1][4].interval().unwrap();
        assert!((error.point - 10.0).abs() < 1e-9 && (error.low - 9.0).abs() < 1e-9);
        assert_eq!(section.tables[0].rows[1][5], Entry::Text("FAILED".into()));
        assert_eq!(presented(Vec::new()).verdicts[0].outcome, Outcome::NotTestable);
    }

    #[test]
    fn where_a_prediction_stops_being_one_is_said() {
        let rows = vec![
            measured("a", 16, "yes", 3.0),
            measured("a", 32, "no", 1.05),
            measured("a", 64, "no", 0.95),
            measured("a", 128, "no", 0.7),
        ];
        let verdict = presented(rows.clone()).verdicts.remove(1);
        assert_eq!(verdict.outcome, Outcome::DoesNotHold);
        assert!(
            verdict.because.contains("2 of 3 rows") && verdict.because.contains("up to 64 in flight; worst 30 %"),
            "{}",
            verdict.because
        );
        assert_eq!(presented(rows[..3].to_vec()).verdicts[1].outcome, Outcome::Holds);
    }
}
