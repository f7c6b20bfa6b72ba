//! The end of a command: its result goes to a pipe that may be closed already.

use std::error::Error;
use std::io::{self, ErrorKind, Write};

/// Writes a result with a line break at its end, and makes sure that it is out.
///
/// # Errors
/// If it cannot be written; [`reader_is_gone`] tells the harmless case.
///
/// ```
/// let mut out = Vec::new();
/// kisim::report::write_result(&mut out, "one line")?;
/// assert_eq!(out, b"one line\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_result(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Whether `error`, or what is behind it, is a closed pipe: `kisim profiles | head` is no error of ours.
pub fn reader_is_gone(error: &(dyn Error + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    chain.any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_closed_pipe_is_found_behind_other_errors() {
        assert!(reader_is_gone(&Outer(ErrorKind::BrokenPipe.into())));
        assert!(!reader_is_gone(&Outer(ErrorKind::StorageFull.into())));
    }
}
