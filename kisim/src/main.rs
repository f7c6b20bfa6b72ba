//! The `kisim` command: simulate GPU inference pods and the autoscalers that drive them.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
