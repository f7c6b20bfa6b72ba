//! Holds the documentation to the code. Its tests run the examples of `docs/`, follow all links, and see that what is written
//! from the types is what the types say now. Run them with `cargo test -p kis-doccheck`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod page;
pub mod reference;

#[cfg(doctest)]
#[doc = include_str!("../../docs/extending.md")]
mod extending {}
