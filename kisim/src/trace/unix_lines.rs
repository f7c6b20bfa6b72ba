//! One kind of line end.

use std::io::{self, Read};

/// Drops carriage returns and ends the last line, so that every row ends in exactly one line feed.
///
/// The parser takes the carriage return of a CRLF for the row's end and counts the line feed with the next row, which
/// would put every line number off by one.
#[derive(Debug)]
pub(super) struct UnixLines<R> {
    inner: R,
    ended: bool,
}

impl<R: Read> UnixLines<R> {
    /// Reads `inner`.
    pub(super) fn new(inner: R) -> Self {
        UnixLines { inner, ended: true }
    }
}

impl<R: Read> Read for UnixLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.inner.read(buffer)?;
            if read == 0 {
                let (false, Some(first)) = (self.ended, buffer.first_mut()) else {
                    return Ok(0);
                };
                *first = b'\n';
                self.ended = true;
                return Ok(1);
            }
            let mut kept = 0;
            for index in 0..read {
                if buffer[index] != b'\r' {
                    buffer[kept] = buffer[index];
                    kept += 1;
                }
            }
            if kept > 0 {
                self.ended = buffer[kept - 1] == b'\n';
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_ends_in_one_line_feed() {
        for (text, expected) in
            [("", ""), ("a", "a\n"), ("a\r\n", "a\n"), ("a\r\nb\r", "a\nb\n"), ("a\n\n", "a\n\n"), ("\r", "")]
        {
            let mut read = String::new();
            UnixLines::new(text.as_bytes()).read_to_string(&mut read).unwrap();
            assert_eq!(read, expected, "{text:?}");
            let mut reader = UnixLines::new(text.as_bytes());
            let (mut bytes, mut byte) = (Vec::new(), [0]);
            while reader.read(&mut byte).unwrap() == 1 {
                bytes.push(byte[0]);
            }
            assert_eq!(bytes, expected.as_bytes(), "{text:?} byte by byte");
        }
    }
}
