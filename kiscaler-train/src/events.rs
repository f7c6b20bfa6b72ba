//! Scalars over training steps: a TensorBoard event file, and the same as CSV.
//!
//! `tensorboard --logdir runs` shows the first; `scalars.csv` (`step,name,value`) is for everything else, and holds no
//! times, so that a run gives the same bytes whenever it is run, resumed or not.
//!
//! An event file is a sequence of records: length, its checksum, an `Event` message, its checksum (TensorFlow,
//! `core/lib/io/record_writer.h` and `core/util/event.proto`). Three kinds of protobuf field are all that a scalar takes,
//! so they are written by hand; the crates for it are not kept up (`tensorboard-rs` 0.5.9 wants `protobuf` 2, `tboard`
//! 0.1.1 a command-line parser).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use kisim::report::{OutputError, write_atomically};

/// Name of the event file: whatever holds `tfevents` is one to TensorBoard.
pub const EVENT_FILE: &str = "events.out.tfevents.kiscaler-train";
/// Name of the CSV file.
pub const CSV_FILE: &str = "scalars.csv";

const HEADER: &str = "step,name,value";

/// Why the past cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] OutputError),
    /// A file could not be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// The CSV is not one of ours.
    #[error("{path}, line {line}: found {found:?}, expected {expected}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What it says.
        found: String,
        /// What it could say.
        expected: &'static str,
    },
    /// A name that would need quotes.
    #[error("scalar {name:?}: expected a name without commas, quotes and line breaks")]
    Name {
        /// The name.
        name: String,
    },
}

/// Writes scalars to both files.
#[derive(Debug)]
pub struct Scalars {
    events: (PathBuf, File),
    csv: (PathBuf, File),
}

impl Scalars {
    /// Begins both files in `folder` anew. `now_s` is the time in seconds since 1970, which TensorBoard wants.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn create(folder: &Path, now_s: f64) -> Result<Scalars, EventError> {
        let begin = event(now_s, 0, &Content::Version);
        write_atomically(&folder.join(EVENT_FILE), |out| out.write_all(&record(begin)))?;
        write_atomically(&folder.join(CSV_FILE), |out| writeln!(out, "{HEADER}"))?;
        Scalars::append_in(folder)
    }

    /// Goes on with the files in `folder` after step `last`: what they hold of later steps is taken out, and so is a last
    /// line or record that was cut short. Where there is no file, one is begun.
    ///
    /// # Errors
    /// If they cannot be read or written, or the CSV is not one of ours.
    pub fn resume(folder: &Path, last: u64, now_s: f64) -> Result<Scalars, EventError> {
        let path = folder.join(EVENT_FILE);
        let kept = match std::fs::read(&path) {
            Ok(bytes) => {
                let whole = records(&bytes).filter(|event| step_of(event).is_some_and(|step| step <= last));
                whole.map(record).collect::<Vec<_>>().concat()
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(reason) => return Err(EventError::Read { path, reason }),
        };
        let begin = if kept.is_empty() { record(event(now_s, 0, &Content::Version)) } else { Vec::new() };
        write_atomically(&path, |out| {
            out.write_all(&begin)?;
            out.write_all(&kept)
        })?;
        let path = folder.join(CSV_FILE);
        let lines = csv_until(&path, last)?;
        write_atomically(&path, |out| out.write_all(lines.as_bytes()))?;
        Scalars::append_in(folder)
    }

    fn append_in(folder: &Path) -> Result<Scalars, EventError> {
        let open = |name: &str| -> Result<(PathBuf, File), OutputError> {
            let path = folder.join(name);
            match OpenOptions::new().append(true).open(&path) {
                Ok(file) => Ok((path, file)),
                Err(reason) => Err(OutputError { path, reason }),
            }
        };
        Ok(Scalars { events: open(EVENT_FILE)?, csv: open(CSV_FILE)? })
    }

    /// Appends the scalars of `step`, in this order, to both files. `now_s` as in [`create`](Scalars::create).
    ///
    /// # Errors
    /// If they cannot be written, or a name has a comma, a quotation mark or a line break.
    pub fn log(&mut self, step: u64, now_s: f64, scalars: &[(&str, f64)]) -> Result<(), EventError> {
        if let Some((name, _)) = scalars.iter().find(|(name, _)| name.contains([',', '"', '\n', '\r'])) {
            return Err(EventError::Name { name: (*name).to_owned() });
        }
        let lines: String = scalars.iter().map(|(name, value)| format!("{step},{name},{value}\n")).collect();
        let write = |(path, file): &mut (PathBuf, File), bytes: &[u8]| {
            file.write_all(bytes).map_err(|reason| OutputError { path: path.clone(), reason })
        };
        write(&mut self.csv, lines.as_bytes())?;
        write(&mut self.events, &record(event(now_s, step, &Content::Scalars(scalars))))?;
        Ok(())
    }

    /// Appends how fast it went to the event file alone: that is never the same twice.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn log_pace(&mut self, step: u64, now_s: f64, name: &str, value: f64) -> Result<(), EventError> {
        let (path, file) = &mut self.events;
        let bytes = record(event(now_s, step, &Content::Scalars(&[(name, value)])));
        file.write_all(&bytes).map_err(|reason| OutputError { path: path.clone(), reason })?;
        Ok(())
    }
}

/// A scalar in `scalars.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// Environment steps so far.
    pub step: u64,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// Reads the `scalars.csv` in `folder`.
///
/// # Errors
/// If it cannot be read, or a line is not one of ours.
pub fn read_scalars(folder: &Path) -> Result<Vec<Scalar>, EventError> {
    let path = folder.join(CSV_FILE);
    let file = File::open(&path).map_err(|reason| EventError::Read { path: path.clone(), reason })?;
    let mut scalars = Vec::new();
    for (number, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|reason| EventError::Read { path: path.clone(), reason })?;
        if number > 0 {
            scalars.push(parse_line(&line).ok_or_else(|| not_ours(&path, number + 1, &line))?);
        } else if line != HEADER {
            return Err(EventError::Line { path, line: 1, found: line, expected: HEADER });
        }
    }
    Ok(scalars)
}

fn parse_line(line: &str) -> Option<Scalar> {
    let mut parts = line.split(',');
    let scalar = Scalar {
        step: parts.next()?.parse().ok()?,
        name: parts.next()?.to_owned(),
        value: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(scalar)
}

fn not_ours(path: &Path, line: usize, found: &str) -> EventError {
    EventError::Line { path: path.to_owned(), line, found: found.to_owned(), expected: "step,name,value" }
}

/// The CSV's header, and its whole lines of steps up to `last`.
fn csv_until(path: &Path, last: u64) -> Result<String, EventError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(format!("{HEADER}\n")),
        Err(reason) => return Err(EventError::Read { path: path.to_owned(), reason }),
    };
    let mut kept = format!("{HEADER}\n");
    for (number, line) in text.split_inclusive('\n').enumerate() {
        // Without its end, a line may be a part of one.
        let Some(line) = line.strip_suffix('\n') else { continue };
        match parse_line(line) {
            None if number == 0 && line == HEADER => {}
            Some(scalar) if number > 0 => {
                if scalar.step <= last {
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
            _ => return Err(not_ours(path, number + 1, line)),
        }
    }
    Ok(kept)
}

/// What an event says.
enum Content<'a> {
    /// The first event of a file.
    Version,
    Scalars(&'a [(&'a str, f64)]),
}

/// An `Event` message: `wall_time` = 1 (double), `step` = 2 (int64), `file_version` = 3, `summary` = 5.
fn event(now_s: f64, step: u64, content: &Content<'_>) -> Vec<u8> {
    let mut message = vec![0x09];
    message.extend(now_s.to_le_bytes());
    message.push(0x10);
    varint(&mut message, step);
    match content {
        Content::Version => bytes(&mut message, 0x1a, b"brain.Event:2"),
        Content::Scalars(scalars) => {
            let mut summary = Vec::new();
            for (name, value) in *scalars {
                // `Summary.Value`: `tag` = 1, `simple_value` = 2 (float).
                let mut one = Vec::new();
                bytes(&mut one, 0x0a, name.as_bytes());
                one.push(0x15);
                one.extend((*value as f32).to_le_bytes());
                bytes(&mut summary, 0x0a, &one);
            }
            bytes(&mut message, 0x2a, &summary);
        }
    }
    message
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of bytes.
fn bytes(out: &mut Vec<u8>, key: u8, content: &[u8]) {
    out.push(key);
    varint(out, content.len() as u64);
    out.extend(content);
}

/// A message with its length and checksums.
fn record(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let length = (message.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(&length).to_le_bytes());
    out.extend(message);
    out.extend(masked(message).to_le_bytes());
    out
}

/// The messages of an event file, up to the first that is not whole.
fn records(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (check, after) = after.split_first_chunk::<4>()?;
        let size = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (message, after) = after.split_at_checked(size)?;
        let (check_message, after) = after.split_first_chunk::<4>()?;
        let whole = masked(length).to_le_bytes() == *check && masked(message).to_le_bytes() == *check_message;
        rest = after;
        whole.then_some(message)
    })
}

/// The step of an event as [`event`] lays it out.
fn step_of(event: &[u8]) -> Option<u64> {
    let rest = event.get(9..)?.strip_prefix(&[0x10])?;
    let mut step = 0;
    for (place, byte) in rest.iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

/// The checksum as TensorFlow stores it: rotated and moved, lest a checksum of data that hold one be of no use.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), RFC 3720 appendix B.4. A few hundred bytes an update: a table is fast enough.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0x82f6_3b78 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !data.iter().fold(!0, |crc, &byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// A field of a protobuf message: its number, and its value, of whatever wire type.
    #[derive(Debug, PartialEq)]
    enum Field<'a> {
        Varint(u64),
        Eight([u8; 8]),
        Bytes(&'a [u8]),
        Four([u8; 4]),
    }

    /// Any protobuf message, after the encoding's specification.
    fn decode(mut rest: &[u8]) -> Vec<(u64, Field<'_>)> {
        fn number(rest: &mut &[u8]) -> u64 {
            let end = rest.iter().position(|b| b & 0x80 == 0).unwrap() + 1;
            let (own, after) = rest.split_at(end);
            *rest = after;
            own.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
        }
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let key = number(&mut rest);
            let field = match key & 7 {
                0 => Field::Varint(number(&mut rest)),
                1 => Field::Eight(*rest.split_off(..8).unwrap().first_chunk().unwrap()),
                2 => {
                    let length = number(&mut rest) as usize;
                    Field::Bytes(rest.split_off(..length).unwrap())
                }
                5 => Field::Four(*rest.split_off(..4).unwrap().first_chunk().unwrap()),
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, field));
        }
        fields
    }

    /// CRC-32C bit by bit.
    fn slow_crc(data: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for byte in data {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        !crc
    }

    /// Steps, names and values in an event file, every checksum looked at.
    fn read_events(folder: &Path) -> Vec<(u64, String, f32)> {
        let bytes = std::fs::read(folder.join(EVENT_FILE)).unwrap();
        let mut rest = bytes.as_slice();
        let mut found = Vec::new();
        let mut first = true;
        let unmask =
            |word: &[u8]| u32::from_le_bytes(word.try_into().unwrap()).wrapping_sub(0xa282_ead8).rotate_left(15);
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(unmask(&rest[8..12]), slow_crc(&rest[..8]));
            let message = &rest[12..12 + length];
            assert_eq!(unmask(&rest[12 + length..16 + length]), slow_crc(message));
            rest = &rest[16 + length..];
            let fields = decode(message);
            assert!(matches!(fields[0], (1, Field::Eight(time)) if f64::from_le_bytes(time) > 1e9));
            let (2, Field::Varint(step)) = fields[1] else { panic!("{fields:?}") };
            if std::mem::take(&mut first) {
                assert_eq!(fields[2], (3, Field::Bytes(b"brain.Event:2")));
                continue;
            }
            let (5, Field::Bytes(summary)) = fields[2] else { panic!("{fields:?}") };
            for (_, value) in decode(summary) {
                let Field::Bytes(value) = value else { panic!("{value:?}") };
                let [(1, Field::Bytes(name)), (2, Field::Four(number))] = decode(value)[..] else { panic!() };
                found.push((step, String::from_utf8(name.to_vec()).unwrap(), f32::from_le_bytes(number)));
            }
        }
        found
    }

    const NOW: f64 = 1.7e9;

    fn log(scalars: &mut Scalars, steps: std::ops::Range<u64>) {
        for step in steps {
            let at = step * 1000;
            scalars.log(at, NOW + step as f64, &[("losses/policy", 0.1 * step as f64), ("time/kl", 1.0)]).unwrap();
        }
    }

    #[test]
    fn both_files_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut scalars = Scalars::create(folder.path(), NOW).unwrap();
        log(&mut scalars, 0..200);
        scalars.log(1 << 40, NOW, &[("odd", f64::NAN), ("far", f64::NEG_INFINITY)]).unwrap();
        let events = read_events(folder.path());
        let csv = read_scalars(folder.path()).unwrap();
        assert_eq!(events.len(), 402);
        assert_eq!(csv.len(), 402);
        for ((step, name, value), scalar) in events.iter().zip(&csv) {
            assert_eq!((*step, name), (scalar.step, &scalar.name));
            assert_eq!(value.to_bits(), (scalar.value as f32).to_bits());
        }
        let error = scalars.log(1, NOW, &[("a,b", 1.0)]).unwrap_err().to_string();
        assert_eq!(error, r#"scalar "a,b": expected a name without commas, quotes and line breaks"#);
    }

    #[test]
    fn resumed_is_never_interrupted() {
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        log(&mut Scalars::create(whole.path(), NOW).unwrap(), 0..10);
        log(&mut Scalars::create(cut.path(), NOW).unwrap(), 0..7);
        // The end came in the middle of a write, after the last checkpoint at step 4,000.
        for name in [EVENT_FILE, CSV_FILE] {
            let path = cut.path().join(name);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        }
        let mut resumed = Scalars::resume(cut.path(), 4_000, NOW + 99.0).unwrap();
        assert_eq!(read_scalars(cut.path()).unwrap().len(), 10);
        log(&mut resumed, 5..10);
        for name in [EVENT_FILE, CSV_FILE] {
            assert!(std::fs::read(whole.path().join(name)).unwrap() == std::fs::read(cut.path().join(name)).unwrap());
        }
        // Where nothing is left, it begins anew.
        let empty = tempfile::tempdir().unwrap();
        log(&mut Scalars::resume(empty.path(), 0, NOW).unwrap(), 0..10);
        assert_eq!(read_events(empty.path()), read_events(whole.path()));
        // A file of somebody else's is not overwritten.
        std::fs::write(empty.path().join(CSV_FILE), "a,b\n1,2\n").unwrap();
        let error = Scalars::resume(empty.path(), 0, NOW).unwrap_err().to_string();
        assert!(error.ends_with(r#"scalars.csv, line 1: found "a,b", expected step,name,value"#), "{error}");
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Scalars::create(&file, NOW).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains(EVENT_FILE), "{error}");
        assert!(read_scalars(folder.path()).unwrap_err().to_string().contains("cannot read"));
    }
}
