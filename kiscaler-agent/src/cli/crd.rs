//! `kiscaler-agent crd`

use std::process::ExitCode;

use anyhow::Result;

use super::print;
use crate::api::crd_yaml;

pub(crate) fn main() -> Result<ExitCode> {
    print(&crd_yaml()?)?;
    Ok(ExitCode::SUCCESS)
}
