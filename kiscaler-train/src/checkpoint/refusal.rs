//! Why a checkpoint is not used. One sentence each, with what was found and what was expected.

use std::path::PathBuf;

use kisim::config::Span;

/// A refusal, and the file that it is about.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {refusal}", path.display())]
pub struct CheckpointError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub refusal: Refusal,
}

/// What is wrong with a checkpoint.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The operating system did not read it.
    #[error("cannot read it: {0}")]
    Read(String),
    /// The operating system did not write it.
    #[error("cannot write it: {0}")]
    Write(String),
    /// There is less of it than it says itself.
    #[error("the file is cut short: found {found} bytes, expected {expected}")]
    Truncated {
        /// Bytes in the file.
        found: u64,
        /// Bytes that its header speaks of, at least.
        expected: u64,
    },
    /// There is more of it than any checkpoint has.
    #[error("{what}: found {found} bytes, expected at most {limit}")]
    TooLarge {
        /// The file or its header.
        what: &'static str,
        /// Bytes.
        found: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// It is not a safetensors file.
    #[error("found {0}, expected a safetensors file written by kiscaler-train")]
    Malformed(String),
    /// It was written by a version with another format.
    #[error("format version: found {found}, expected {expected}")]
    FormatVersion {
        /// In the file.
        found: String,
        /// What this version reads.
        expected: u32,
    },
    /// A field of the metadata is not there.
    #[error("metadata field {field}: found none, expected one")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// There is a field that nobody knows.
    #[error("metadata field {field:?}: found one, expected none of that name")]
    UnknownField {
        /// Its name.
        field: String,
    },
    /// A field of the metadata does not say what it should.
    #[error("metadata field {field}: found {found}, expected {expected}")]
    Field {
        /// Its name.
        field: String,
        /// What it says.
        found: String,
        /// What would have been possible.
        expected: String,
    },
    /// The content is not what was saved.
    #[error("digest: found {found}, expected {expected} as its content has")]
    Digest {
        /// In the metadata.
        found: String,
        /// Of the content.
        expected: String,
    },
    /// Another encoder.
    #[error("encoder: found {found:?}, expected {expected:?}")]
    EncoderName {
        /// The checkpoint's.
        found: String,
        /// Ours.
        expected: String,
    },
    /// Another version of the encoder.
    #[error("encoder version: found {found}, expected {expected}")]
    EncoderVersion {
        /// The checkpoint's.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// An observation of another length.
    #[error("features: found {found}, expected {expected}")]
    FeatureCount {
        /// The checkpoint's.
        found: usize,
        /// Ours.
        expected: usize,
    },
    /// Another feature.
    #[error("feature {index}: found {found:?}, expected {expected:?}")]
    FeatureName {
        /// Which, from 0.
        index: usize,
        /// The checkpoint's.
        found: String,
        /// Ours.
        expected: String,
    },
    /// Another rhythm.
    #[error("control interval: found {found}, expected {expected}")]
    ControlInterval {
        /// The checkpoint's.
        found: Span,
        /// Ours.
        expected: Span,
    },
    /// Other heads.
    #[error("heads of the action: found {found:?}, expected {expected:?}")]
    Heads {
        /// The checkpoint's, by name.
        found: Vec<String>,
        /// Ours.
        expected: Vec<String>,
    },
    /// A head with other choices.
    #[error("choices of head {head:?}: found {}, expected {}", found.join(", "), expected.join(", "))]
    Choices {
        /// The head.
        head: String,
        /// The checkpoint's, names and values.
        found: Vec<String>,
        /// Ours.
        expected: Vec<String>,
    },
    /// A tensor is not there.
    #[error("tensor {name:?}: found none, expected one")]
    TensorMissing {
        /// Its name.
        name: String,
    },
    /// A tensor that nobody knows.
    #[error("tensor {name:?}: found one, expected none of that name")]
    TensorUnexpected {
        /// Its name.
        name: String,
    },
    /// A tensor of another shape.
    #[error("tensor {name:?}: found shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// The checkpoint's.
        found: Vec<usize>,
        /// Ours.
        expected: Vec<usize>,
    },
    /// A tensor of other numbers.
    #[error("tensor {name:?}: found numbers of type {found}, expected {expected}")]
    TensorType {
        /// Its name.
        name: String,
        /// The checkpoint's.
        found: String,
        /// What is possible.
        expected: &'static str,
    },
    /// A tensor with too many numbers, or too few.
    #[error("a tensor of shape {shape:?}: found {found} numbers, expected as many as the shape says")]
    TensorLength {
        /// Its shape.
        shape: Vec<usize>,
        /// Numbers.
        found: usize,
    },
    /// A number that is none.
    #[error("{place}: found {found}, expected a finite number")]
    NotFinite {
        /// Where.
        place: String,
        /// What it is.
        found: f64,
    },
}
