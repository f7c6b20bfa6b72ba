//! `experiments list`

use std::process::ExitCode;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use experiments::experiment::Size;
use experiments::experiments::ALL;
use experiments::key::Traces;
use experiments::plan::Plan;

use super::{next_step, print};

pub(super) fn main() -> Result<ExitCode> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["experiment", "", "quick: cells", "core s", "full: cells", "core s", "traces", "needs"]);
    for column in table.column_iter_mut().skip(2).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for experiment in ALL {
        let mut row = vec![experiment.name.to_owned(), experiment.title.to_owned()];
        let mut traces = false;
        for size in [Size::Quick, Size::Full] {
            let plan = Plan::of(vec![(*experiment, experiment.config.to_owned())], size, &Traces::default())?;
            let cells = || plan.experiments.iter().flat_map(|planned| &planned.cells);
            row.push(cells().count().to_string());
            row.push(format!("{:.0}", cells().fold(0.0, |sum, job| sum + job.cell.seconds)));
            traces |= cells().any(|job| job.cell.work.trace().is_some());
        }
        row.push(if traces { "yes" } else { "" }.to_owned());
        row.push(experiment.needs.join(", "));
        table.add_row(row);
    }
    print(&table.to_string())?;
    next_step("experiments run NAME    or    experiments all --quick");
    Ok(ExitCode::SUCCESS)
}
