//! The bytes of a checkpoint: the safetensors format, written by hand so that metadata have an order, and read by the
//! `safetensors` crate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;

use kisim::config::Span;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Checkpoint, Data, Encoder, FORMAT, Refusal, State, Tensor};

/// Bytes of a header at most. Ours are some ten thousand.
const HEADER_LIMIT: u64 = 16 << 20;
/// Bytes of a file at most. Ours are some hundred thousand, with a learner's state some millions.
const FILE_LIMIT: u64 = 1 << 30;
/// What the names of a learner's tensors begin with.
const STATE: &str = "state/";
/// Where the format keeps its strings.
const METADATA: &str = "__metadata__";

const FIELDS: [&str; 15] = [
    "action",
    "config",
    "control_interval",
    "digest",
    "encoder",
    "encoder_version",
    "envelope_quantile",
    "features",
    "format",
    "git_revision",
    "kind",
    "metrics",
    "scaling",
    "seed",
    "state",
];

impl Data {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Data::F32(_) => "f32",
            Data::F64(_) => "f64",
            Data::U64(_) => "u64",
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Data::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Data::F64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Data::U64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// An entry of the header.
#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// Tensors under the names that they have in the file.
fn named(checkpoint: &Checkpoint) -> BTreeMap<String, &Tensor> {
    let own = checkpoint.tensors.iter().map(|(name, tensor)| (name.clone(), tensor));
    let state = checkpoint.state.iter().flat_map(|state| &state.tensors);
    own.chain(state.map(|(name, tensor)| (format!("{STATE}{name}"), tensor))).collect()
}

pub(super) fn write(checkpoint: &Checkpoint, out: &mut dyn Write) -> Result<(), Refusal> {
    // Such names would come back as somebody else's.
    if let Some(name) = checkpoint.tensors.keys().find(|name| name.starts_with(STATE) || *name == METADATA) {
        return Err(Refusal::TensorUnexpected { name: name.clone() });
    }
    let tensors = named(checkpoint);
    let mut metadata = metadata(checkpoint)?;
    metadata.insert("digest".to_owned(), digest(&metadata, &tensors));

    // Eight-byte numbers first, so that all are aligned.
    let mut order: Vec<(&String, &&Tensor)> = tensors.iter().collect();
    order.sort_by_key(|(_, tensor)| matches!(tensor.data(), Data::F32(_)));
    let mut end = 0;
    let mut entries: BTreeMap<&str, Entry<'_>> = BTreeMap::new();
    for (name, tensor) in &order {
        let (dtype, size) = match tensor.data() {
            Data::F32(_) => ("F32", 4),
            Data::F64(_) => ("F64", 8),
            Data::U64(_) => ("U64", 8),
        };
        let start = end;
        end += tensor.data().len() * size;
        entries.insert(name, Entry { dtype, shape: tensor.shape(), data_offsets: [start, end] });
    }
    #[derive(Serialize)]
    struct Header<'a> {
        #[serde(rename = "__metadata__")]
        metadata: &'a BTreeMap<String, String>,
        #[serde(flatten)]
        entries: BTreeMap<&'a str, Entry<'a>>,
    }
    let mut header = to_json("header", &Header { metadata: &metadata, entries })?.into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > HEADER_LIMIT {
        return Err(Refusal::TooLarge { what: "the header", found: header.len() as u64, limit: HEADER_LIMIT });
    }
    let mut whole = || {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        order.iter().try_for_each(|(_, tensor)| out.write_all(&tensor.data().bytes()))?;
        out.flush()
    };
    whole().map_err(|e: std::io::Error| Refusal::Write(e.to_string()))
}

fn to_json(field: &str, value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|e| Refusal::Field {
        field: field.to_owned(),
        found: e.to_string(),
        expected: "something that JSON can say".to_owned(),
    })
}

/// All strings but the digest.
fn metadata(c: &Checkpoint) -> Result<BTreeMap<String, String>, Refusal> {
    let mut fields = vec![
        ("format", FORMAT.to_string()),
        ("kind", c.kind().to_owned()),
        ("encoder", c.encoder.name.clone()),
        ("encoder_version", c.encoder.version.to_string()),
        ("features", to_json("features", &c.features)?),
        ("scaling", to_json("scaling", &c.scaling)?),
        ("action", to_json("action", &c.heads)?),
        ("control_interval", to_json("control_interval", &c.control_interval)?),
        ("envelope_quantile", to_json("envelope_quantile", &c.envelope_quantile)?),
        ("seed", c.seed.to_string()),
        ("config", c.config.clone()),
        ("git_revision", c.git_revision.clone()),
        ("metrics", to_json("metrics", &c.metrics)?),
    ];
    if let Some(state) = &c.state {
        fields.push(("state", to_json("state", &state.values)?));
    }
    Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// SHA-256 over the strings and the tensors, each by name, lengths included.
fn digest(metadata: &BTreeMap<String, String>, tensors: &BTreeMap<String, &Tensor>) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for (name, value) in metadata.iter().filter(|(name, _)| *name != "digest") {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    for (name, tensor) in tensors {
        part(name.as_bytes());
        part(tensor.data().type_name().as_bytes());
        let shape: Vec<u8> = tensor.shape().iter().flat_map(|&n| (n as u64).to_le_bytes()).collect();
        part(&shape);
        part(&tensor.data().bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a file that is not larger than a checkpoint may be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let failed = |e: std::io::Error| Refusal::Read(e.to_string());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_LIMIT {
        let found = std::fs::metadata(path).map_or(FILE_LIMIT + 1, |m| m.len());
        return Err(Refusal::TooLarge { what: "the file", found, limit: FILE_LIMIT });
    }
    Ok(bytes)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Checkpoint, Refusal> {
    check_size(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| malformed(bytes, &e))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| malformed(bytes, &e))?;
    let metadata: BTreeMap<String, String> = header.metadata().clone().unwrap_or_default().into_iter().collect();
    // First of all: another format may have other fields.
    let format = text(&metadata, "format")?;
    if format != FORMAT.to_string() {
        return Err(Refusal::FormatVersion { found: format.to_owned(), expected: FORMAT });
    }
    if let Some(field) = metadata.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(Refusal::UnknownField { field: field.clone() });
    }
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, view) in file.iter() {
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F32 => Data::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
            Dtype::F64 => Data::F64(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
            Dtype::U64 => Data::U64(bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b)).collect()),
            other => {
                let found = format!("{other:?}");
                return Err(Refusal::TensorType { name: name.to_owned(), found, expected: "f32, f64 or u64" });
            }
        };
        tensors.insert(name.to_owned(), Tensor::new(view.shape(), data)?);
    }
    let found = text(&metadata, "digest")?;
    let expected = digest(&metadata, &tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect());
    if found != expected {
        return Err(Refusal::Digest { found: found.to_owned(), expected });
    }
    let (state_tensors, tensors): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tensors.into_iter().partition(|(name, _)| name.starts_with(STATE));
    let state = match (text(&metadata, "kind")?, state_tensors.keys().next()) {
        ("policy", None) if !metadata.contains_key("state") => None,
        ("policy", None) => return Err(Refusal::UnknownField { field: "state".to_owned() }),
        ("policy", Some(name)) => return Err(Refusal::TensorUnexpected { name: name.clone() }),
        ("training", _) => Some(State {
            values: json(&metadata, "state")?,
            tensors: state_tensors.into_iter().map(|(name, tensor)| (name[STATE.len()..].to_owned(), tensor)).collect(),
        }),
        (other, _) => return Err(field("kind", &format!("{other:?}"), "policy or training")),
    };
    let checkpoint = Checkpoint {
        encoder: Encoder {
            name: text(&metadata, "encoder")?.to_owned(),
            version: number(&metadata, "encoder_version")?,
        },
        features: json(&metadata, "features")?,
        scaling: json(&metadata, "scaling")?,
        heads: json(&metadata, "action")?,
        control_interval: json::<Span>(&metadata, "control_interval")?,
        envelope_quantile: json(&metadata, "envelope_quantile")?,
        seed: number(&metadata, "seed")?,
        config: text(&metadata, "config")?.to_owned(),
        git_revision: text(&metadata, "git_revision")?.to_owned(),
        metrics: json(&metadata, "metrics")?,
        tensors,
        state,
    };
    Ok(checkpoint)
}

/// Checks the lengths that everything else relies on.
fn check_size(bytes: &[u8]) -> Result<(), Refusal> {
    let found = bytes.len() as u64;
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(Refusal::Truncated { found, expected: 8 });
    };
    let header = u64::from_le_bytes(*length);
    if rest.first().is_some_and(|&first| first != b'{') {
        return Err(Refusal::Malformed("something else".to_owned()));
    }
    match header {
        n if n > HEADER_LIMIT => Err(Refusal::TooLarge { what: "the header", found: n, limit: HEADER_LIMIT }),
        n if found < 8 + n => Err(Refusal::Truncated { found, expected: 8 + n }),
        _ => Ok(()),
    }
}

fn malformed(bytes: &[u8], error: &SafeTensorError) -> Refusal {
    if let SafeTensorError::MetadataIncompleteBuffer = error
        && let Some(expected) = declared(bytes)
        && expected > bytes.len() as u64
    {
        return Refusal::Truncated { found: bytes.len() as u64, expected };
    }
    Refusal::Malformed(match error {
        SafeTensorError::MetadataIncompleteBuffer => "more bytes than its header speaks of".to_owned(),
        other => format!("{other}"),
    })
}

/// How long the file should be, by its header.
fn declared(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Offsets {
        #[serde(default)]
        data_offsets: (u64, u64),
    }
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let header = u64::from_le_bytes(*length);
    let entries: BTreeMap<String, Offsets> = serde_json::from_slice(rest.get(..header as usize)?).ok()?;
    entries.values().map(|entry| entry.data_offsets.1).max()?.checked_add(8)?.checked_add(header)
}

fn text<'a>(metadata: &'a BTreeMap<String, String>, field: &'static str) -> Result<&'a str, Refusal> {
    metadata.get(field).map(String::as_str).ok_or(Refusal::MissingField { field })
}

fn field(field: &str, found: &str, expected: &str) -> Refusal {
    Refusal::Field { field: field.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
}

fn number<T: std::str::FromStr>(metadata: &BTreeMap<String, String>, name: &'static str) -> Result<T, Refusal> {
    let text = text(metadata, name)?;
    text.parse().map_err(|_| field(name, &format!("{text:?}"), "a whole number"))
}

fn json<T: DeserializeOwned>(metadata: &BTreeMap<String, String>, name: &'static str) -> Result<T, Refusal> {
    serde_json::from_str(text(metadata, name)?).map_err(|e| field(name, &e.to_string(), "what kiscaler-train writes"))
}
