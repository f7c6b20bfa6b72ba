//! The `kisim` command.

fn main() {}
