//! As much of HTTP/1.1 as the API server's proxy speaks to a metrics API: GET, and no bodies.

use std::io::{self, BufRead, Write};

use serde_json::Value;

/// The longest head of a request that is read.
const LONGEST_HEAD: usize = 1 << 16;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Decoded, its parts between slashes.
    pub(crate) path: Vec<String>,
    /// Decoded.
    pub(crate) query: Vec<(String, String)>,
}

/// Reads one request; `None` at the end of the connection.
pub(crate) fn read(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    let mut length = input.read_line(&mut line)?;
    if length == 0 {
        return Ok(None);
    }
    // The headers, none of which matters here, end with an empty line.
    let mut header = String::new();
    loop {
        header.clear();
        let more = input.read_line(&mut header)?;
        length += more;
        if more == 0 || length > LONGEST_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of a request does not end"));
        }
        if header.trim_end().is_empty() {
            break;
        }
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
    };
    Ok(Some(Request {
        method: method.to_owned(),
        path: path.split('/').filter(|part| !part.is_empty()).map(decode).collect(),
        query: query.split('&').filter(|part| !part.is_empty()).map(pair).collect(),
    }))
}

/// Writes one answer in JSON.
pub(crate) fn write(output: &mut impl Write, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let head =
        format!("HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    output.write_all(head.as_bytes())?;
    output.write_all(body.as_bytes())?;
    output.flush()
}

/// Resolves `%2A` and its like; what is no such thing stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn two_requests_of_one_connection() {
        let text = "GET /apis/a/pods/%2A/m?labelSelector=app%3Dx%2Ctier+y&z HTTP/1.1\r\nHost: x\r\n\r\n\
                    GET /readyz HTTP/1.1\r\n\r\n";
        let mut input = text.as_bytes();
        let first = read(&mut input).unwrap().unwrap();
        assert_eq!(first.path, ["apis", "a", "pods", "*", "m"]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(first.query, [pair("labelSelector", "app=x,tier y"), pair("z", "")]);
        assert_eq!(read(&mut input).unwrap().unwrap().path, ["readyz"]);
        assert_eq!(read(&mut input).unwrap(), None);
    }

    #[test]
    fn a_head_that_does_not_end_is_an_error() {
        assert!(read(&mut "GET / HTTP/1.1\r\nHost: x\r\n".as_bytes()).is_err());
        assert!(read(&mut "GET / HTTP/1.1\r\nHost: x".as_bytes()).is_err());
    }
}
