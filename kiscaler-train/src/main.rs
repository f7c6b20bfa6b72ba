//! The `kiscaler-train` command: learns policies, and says what they are worth.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
