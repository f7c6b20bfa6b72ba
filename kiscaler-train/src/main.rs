//! The `kiscaler-train` command: learns policies, and says what they are worth.

fn main() {}
