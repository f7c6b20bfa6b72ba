//! The command `kiscaler-agent`.

fn main() {}
