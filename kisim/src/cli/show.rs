//! `kisim profiles`, `kisim scenario`

use std::process::ExitCode;

use anyhow::{Context, Result};
use kisim::profile::{BUILTIN, Profile};
use kisim::report::number;

use super::Format;

pub(crate) fn profiles(name: Option<&str>, format: Format) -> Result<ExitCode> {
    if let Some(name) = name {
        let names = BUILTIN.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
        let found = BUILTIN.iter().find(|(builtin, _)| *builtin == name);
        let (_, text) = found.with_context(|| format!("profile {name:?}: expected one of {names}"))?;
        super::print(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let profiles: Vec<Profile> =
        BUILTIN.iter().map(|(name, text)| Profile::parse(text, name)).collect::<Result<_, _>>()?;
    if format == Format::Json {
        super::print_json(&profiles)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["profile", "device", "batch 1 ms", "max batch", "requests/s", "$/h"]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    for p in &profiles {
        table.add_row([
            p.name.clone(),
            p.device.clone(),
            number(p.batch_ms(1)),
            p.max_batch.to_string(),
            number(p.capacity(p.max_batch)),
            number(p.price_per_hour),
        ]);
    }
    super::print(&format!("{table}\nrequests/s: the most that one instance sustains with full batches"))?;
    super::next_step("kisim profiles NAME prints one with its sources; kisim calibrate makes one of your own");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn scenario(name: &str) -> Result<ExitCode> {
    match name {
        "default" => super::print(kisim::scenario::DEFAULT)?,
        "paper" => super::print(kisim::scenario::PAPER)?,
        other => anyhow::bail!("scenario {other:?}: expected default or paper"),
    }
    super::next_step("kisim scenario > my-scenario.toml, change it, then kisim run my-scenario.toml");
    Ok(ExitCode::SUCCESS)
}
