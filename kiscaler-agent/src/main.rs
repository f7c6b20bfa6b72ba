//! The command `kiscaler-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kiscaler_agent::cli::main()
}
