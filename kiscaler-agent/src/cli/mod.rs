//! The command: parses, prints, exits. The library does neither.
#![allow(clippy::print_stdout, clippy::print_stderr)]
