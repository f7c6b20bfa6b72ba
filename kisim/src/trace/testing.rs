//! Helpers of the unit tests.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::{Trace, TraceError, TraceFormat, TraceOptions};

/// A temporary file with `text` in it, removed when dropped.
pub(super) fn file(text: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_ref()).unwrap();
    file.flush().unwrap();
    file
}

/// The path of a generated sample: `traces/` beside the crate, or one level up where the crate is a workspace member.
pub(super) fn sample(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = root.join("traces").join(name);
    if own.exists() { own } else { root.join("..").join("traces").join(name) }
}

/// Opens `text` with the detected format.
pub(super) fn open(text: impl AsRef<[u8]>) -> Result<Trace, TraceError> {
    open_with(text, &TraceOptions::default())
}

/// Opens `text` with `options`.
pub(super) fn open_with(text: impl AsRef<[u8]>, options: &TraceOptions) -> Result<Trace, TraceError> {
    Trace::open(file(text).path(), options)
}

/// Options that read from `start` for `duration` seconds.
pub(super) fn range(start: f64, duration: f64) -> TraceOptions {
    TraceOptions {
        start: Some(Duration::from_secs_f64(start)),
        duration: Some(Duration::from_secs_f64(duration)),
        ..TraceOptions::default()
    }
}

/// Options that name the format.
pub(super) fn as_format(format: TraceFormat) -> TraceOptions {
    TraceOptions { format: Some(format), ..TraceOptions::default() }
}

/// The error's message behind the temporary file's path.
pub(super) fn message(result: Result<Trace, TraceError>) -> String {
    let text = result.unwrap_err().to_string();
    let end = text.find([',', ':']).unwrap();
    assert!(Path::new(&text[..end]).is_absolute(), "the message does not begin with the file: {text}");
    text[end..].to_string()
}
