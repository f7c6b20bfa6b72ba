//! The `experiments` command: every figure of the published system and ours, from runs.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
