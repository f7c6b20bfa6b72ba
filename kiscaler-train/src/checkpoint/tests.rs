use std::io;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn policy() -> Checkpoint {
    let feature = |name: &str, mean: f64| Feature {
        name: name.into(),
        mean,
        variance: 0.1 + mean * mean / 3.0,
        envelope: Envelope { min: -1.0, low: -0.5, high: mean + 1.0, max: mean + 1e3 },
    };
    let choices = |names: &[&str]| {
        names.iter().enumerate().map(|(i, name)| Choice { name: (*name).into(), value: i as f64 / 3.0 }).collect()
    };
    Checkpoint {
        encoder: Encoder { name: "scale-free".into(), version: 3 },
        features: vec![feature("load / capacity", 0.7), feature("queue / ready pod", 1.0 / 3.0)],
        scaling: Scaling::default(),
        heads: vec![
            Head { name: "headroom".into(), choices: choices(&["×0.8", "×1", "×1.3"]) },
            Head { name: "bridge".into(), choices: choices(&["no", "yes"]) },
        ],
        control_interval: Span::millis(15_500),
        envelope_quantile: 0.005,
        seed: u64::MAX,
        config: "seed = 1\nname = \"\u{1f600} \\ \\\"\"\n".into(),
        git_revision: "0123456789ab".into(),
        metrics: [("violation_ratio".to_owned(), 0.1 + 0.2), ("cost".to_owned(), 1e-300)].into(),
        tensors: [
            ("actor.0.weight".to_owned(), Tensor::f32([2, 3], vec![0.1, -0.0, 1e-40, 3.5, f32::MAX, 2.0]).unwrap()),
            ("actor.0.bias".to_owned(), Tensor::f32([3], vec![1.0, 2.0, 3.0]).unwrap()),
            ("empty".to_owned(), Tensor::f32([0, 7], vec![]).unwrap()),
        ]
        .into(),
        state: None,
    }
}

fn training() -> Checkpoint {
    let tensors = [
        ("adam/actor.0.weight/m".to_owned(), Tensor::f32([2], vec![1.0, f32::NEG_INFINITY]).unwrap()),
        ("generator".to_owned(), Tensor::new([4], Data::U64(vec![1, u64::MAX, 0, 7])).unwrap()),
        ("returns".to_owned(), Tensor::new([1], Data::F64(vec![0.1 + 0.2])).unwrap()),
    ];
    let values = json!({"update": 12, "best": 0.30000000000000004, "list": [1.0, -0.0], "text": "ä"});
    Checkpoint { state: Some(State { tensors: tensors.into(), values }), ..policy() }
}

/// Bytes with an 8-byte length, a header and data.
fn assemble(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for checkpoint in [policy(), training(), Checkpoint::default()] {
        let path = folder.path().join("deep/er/a.safetensors");
        checkpoint.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), checkpoint);
        assert_eq!(std::fs::read(&path).unwrap(), checkpoint.to_bytes().unwrap());
        let again = Checkpoint::load(&path).unwrap();
        assert_eq!(again.to_bytes().unwrap(), checkpoint.to_bytes().unwrap());
        let mut left = std::fs::read_dir(path.parent().unwrap()).unwrap();
        assert!(left.next().is_some() && left.next().is_none(), "a temporary file stayed");
    }
    assert_eq!(training().policy(), policy());
}

#[test]
fn any_safetensors_reader_reads_it() {
    let bytes = training().to_bytes().unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 6);
    assert_eq!(file.tensor("actor.0.weight").unwrap().shape(), [2, 3]);
    assert_eq!(file.tensor("state/generator").unwrap().dtype(), safetensors::Dtype::U64);
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header % 8, 0);
    assert_eq!(metadata.metadata().as_ref().unwrap()["encoder"], "scale-free");
}

#[test]
fn whoever_offers_something_else_is_refused_with_both_sides_named() {
    let own = policy();
    let good = own.expected();
    assert_eq!(own.check(&good), Ok(()));
    let refused = |change: &dyn Fn(&mut Expected), sentence: &str| {
        let mut expected = good.clone();
        change(&mut expected);
        assert_eq!(own.check(&expected).unwrap_err().to_string(), sentence);
    };
    refused(&|e| e.encoder.name = "paper".into(), r#"encoder: found "scale-free", expected "paper""#);
    refused(&|e| e.encoder.version = 2, "encoder version: found 3, expected 2");
    refused(&|e| e.features.swap(0, 1), r#"feature 0: found "load / capacity", expected "queue / ready pod""#);
    refused(&|e| e.features.push("more".into()), "features: found 2, expected 3");
    refused(&|e| e.features.truncate(1), "features: found 2, expected 1");
    refused(&|e| e.control_interval = Span::secs(15), "control interval: found 15s 500ms, expected 15s");
    refused(&|e| e.heads.truncate(1), r#"heads of the action: found ["headroom", "bridge"], expected ["headroom"]"#);
    refused(
        &|e| e.heads[1].choices[1].value = 0.5,
        r#"choices of head "bridge": found no (0), yes (0.3333333333333333), expected no (0), yes (0.5)"#,
    );
    refused(&|e| e.tensors.push(("critic".into(), vec![1])), r#"tensor "critic": found none, expected one"#);
    refused(
        &|e| e.tensors.retain(|(name, _)| name != "empty"),
        r#"tensor "empty": found one, expected none of that name"#,
    );
    refused(
        &|e| e.tensors.iter_mut().for_each(|(_, shape)| shape.reverse()),
        r#"tensor "actor.0.weight": found shape [2, 3], expected [3, 2]"#,
    );
}

#[test]
fn numbers_that_are_none_are_not_saved() {
    let refused = |change: &dyn Fn(&mut Checkpoint), sentence: &str| {
        let mut checkpoint = policy();
        change(&mut checkpoint);
        assert_eq!(checkpoint.to_bytes().unwrap_err().to_string(), sentence);
    };
    refused(
        &|c| _ = c.tensors.insert("w".into(), Tensor::f32([2], vec![1.0, f32::NAN]).unwrap()),
        r#"tensor "w", number 1: found NaN, expected a finite number"#,
    );
    refused(
        &|c| _ = c.tensors.insert("w".into(), Tensor::new([1], Data::F64(vec![1.0])).unwrap()),
        r#"tensor "w": found numbers of type f64, expected f32"#,
    );
    refused(
        &|c| c.features[1].variance = f64::INFINITY,
        "features[1] (queue / ready pod), variance: found inf, expected a finite number",
    );
    refused(
        &|c| c.features[0].variance = -1.0,
        "metadata field features[0] (load / capacity), variance: found -1, expected at least 0",
    );
    refused(
        &|c| c.features[0].envelope.low = 9.0,
        "metadata field features[0] (load / capacity), envelope: found 9, expected min ≤ low ≤ high ≤ max",
    );
    refused(&|c| c.scaling.clip = 0.0, "metadata field scaling.clip: found 0, expected a positive number");
    refused(&|c| _ = c.metrics.insert("cost".into(), f64::NAN), "metrics, cost: found NaN, expected a finite number");
    // It would come back as part of the state.
    refused(
        &|c| _ = c.tensors.insert("state/w".into(), Tensor::f32([1], vec![1.0]).unwrap()),
        r#"tensor "state/w": found one, expected none of that name"#,
    );
    let sentence = Tensor::f32([2, 2], vec![1.0]).unwrap_err().to_string();
    assert_eq!(sentence, "a tensor of shape [2, 2]: found 1 numbers, expected as many as the shape says");
    Tensor::f32([usize::MAX, 2], vec![1.0]).unwrap_err();
}

#[test]
fn a_file_of_something_else_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.safetensors");
    let sentence = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = Checkpoint::load(&path).unwrap_err();
        assert_eq!(error.path, path);
        error.refusal.to_string()
    };
    let good = training().to_bytes().unwrap();
    let length = good.len();
    assert_eq!(sentence(b""), "the file is cut short: found 0 bytes, expected 8");
    assert_eq!(sentence(&good[..20]).split("expected").next().unwrap(), "the file is cut short: found 20 bytes, ");
    let cut = format!("the file is cut short: found {} bytes, expected {length}", length - 1);
    assert_eq!(sentence(&good[..length - 1]), cut);
    let longer = [good.as_slice(), b"x"].concat();
    let expected = ", expected a safetensors file written by kiscaler-train";
    assert_eq!(sentence(&longer), format!("found more bytes than its header speaks of{expected}"));
    assert_eq!(sentence(b"PK\x03\x04 a zip file, say"), format!("found something else{expected}"));
    // Lengths that nothing vouches for.
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let limit = format!("the header: found {} bytes, expected at most {}", u64::MAX, 16 << 20);
    assert_eq!(sentence(&huge), limit);
    let enormous = r#"{"w":{"dtype":"F32","shape":[1125899906842624],"data_offsets":[0,4503599627370496]}}"#;
    assert!(sentence(&assemble(enormous, &[0; 4])).starts_with("the file is cut short"));
    let overflow = r#"{"w":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}"#;
    assert!(sentence(&assemble(overflow, &[0; 4])).starts_with("found "));
    // Another's file.
    assert_eq!(
        sentence(&assemble(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4])),
        "metadata field format: found none, expected one"
    );
    assert_eq!(
        sentence(&assemble(r#"{"__metadata__":{"format":"pt"}}"#, b"")),
        r#"format version: found pt, expected 1"#
    );
    assert_eq!(
        sentence(&assemble(r#"{"__metadata__":{"format":"1","pickle":"x"}}"#, b"")),
        r#"metadata field "pickle": found one, expected none of that name"#
    );
    assert_eq!(
        sentence(&assemble(r#"{"__metadata__":{"format":"1"}}"#, b"")),
        "metadata field digest: found none, expected one"
    );
    let other = r#"{"__metadata__":{"format":"1"},"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
    assert_eq!(
        sentence(&assemble(other, &[0; 4])),
        r#"tensor "w": found numbers of type BF16, expected f32, f64 or u64"#
    );
    // A number changed.
    let mut changed = good.clone();
    changed[length - 1] ^= 1;
    assert!(sentence(&changed).starts_with("digest: found "));
    std::fs::remove_file(&path).unwrap();
    assert!(Checkpoint::load(&path).unwrap_err().to_string().contains("c.safetensors: cannot read it: "));
    assert!(Checkpoint::load(folder.path()).is_err(), "a folder");
}

/// Fails when more than `left` bytes are written, as a full disk does.
struct Full<'a> {
    out: &'a mut dyn Write,
    left: usize,
}

impl Write for Full<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.out.write(&bytes[..bytes.len().min(self.left)])?;
        self.left -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    let old = policy();
    old.save(&path).unwrap();
    let new = training();
    let length = new.to_bytes().unwrap().len();
    for left in (0..length).step_by(97).chain([length - 1]) {
        let result = write_atomically(&path, |out| {
            new.write(&mut Full { out, left }).map_err(|refusal| io::Error::other(refusal.to_string()))
        });
        assert!(result.unwrap_err().to_string().contains("cannot write it: "));
        assert_eq!(Checkpoint::load(&path).unwrap(), old);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file stayed");
    }
    // The same of the real thing, where there is one.
    if let Ok(mut full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let refusal = new.write(&mut full).unwrap_err().to_string();
        assert!(refusal.starts_with("cannot write it: No space left"), "{refusal}");
    }
    // A place where nothing can be written.
    let below_a_file = path.join("x.safetensors");
    assert!(new.save(&below_a_file).unwrap_err().to_string().contains("x.safetensors: cannot write it: "));
    assert_eq!(Checkpoint::load(&path).unwrap(), old);
}

#[test]
fn values_are_placed_in_what_training_saw() {
    let envelope = Envelope { min: 0.0, low: 1.0, high: 2.0, max: 3.0 };
    let check = |value: f64, place| assert_eq!(envelope.place(value), place, "{value}");
    check(-0.1, Place::Unseen);
    check(0.0, Place::Rare);
    check(1.0, Place::Usual);
    check(2.0, Place::Usual);
    check(2.1, Place::Rare);
    check(3.1, Place::Unseen);
    check(f64::NAN, Place::Unseen);
    assert_eq!(policy().unseen(&[0.0, 5e3]).collect::<Vec<_>>(), [1]);
}

#[test]
fn worse_than_ever_is_nothing_new() {
    let mut policy = policy();
    policy.features[1].name = "p95".to_owned();
    assert_eq!(policy.unseen(&[0.0, 5e3]).count(), 0);
    assert_eq!(policy.unseen(&[0.0, -5e3]).collect::<Vec<_>>(), [1]);
    assert_eq!(policy.unseen(&[0.0, f32::NAN]).collect::<Vec<_>>(), [1]);
    let names = crate::scale_free::ScaleFree::names();
    assert!(DISTRESS.iter().all(|name| names.iter().any(|own| own == name)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Damage is an error or makes no difference (white space in the header); it never panics.
    #[test]
    fn damage_is_noticed(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        in_header in any::<bool>(),
    ) {
        let good = training();
        let mut bytes = good.to_bytes().unwrap();
        let reach = if in_header { 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize } else { bytes.len() };
        for (at, value) in flips {
            bytes[at.index(reach)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(read) = Checkpoint::from_bytes(&bytes) {
            prop_assert_eq!(read, good);
        }
    }

    #[test]
    fn anything_at_all_is_an_error(header in "[ -~]{0,80}", data in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(Checkpoint::from_bytes(&data).is_err());
        let bytes = assemble(&format!("{{{header}"), &data);
        prop_assert!(Checkpoint::from_bytes(&bytes).is_err());
    }

    /// The header's JSON, changed where it still is JSON.
    #[test]
    fn other_numbers_in_the_header_are_noticed(at in any::<prop::sample::Index>(), digit in b'0'..=b'9') {
        let good = training();
        let mut bytes = good.to_bytes().unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let digits: Vec<usize> = (8..header).filter(|&i| bytes[i].is_ascii_digit()).collect();
        bytes[digits[at.index(digits.len())]] = digit;
        if let Ok(read) = Checkpoint::from_bytes(&bytes) {
            prop_assert_eq!(read, good);
        }
    }

    #[test]
    fn every_float_comes_back(values in prop::collection::vec(any::<f64>(), 4), singles in prop::collection::vec(any::<f32>(), 3)) {
        let mut checkpoint = policy();
        let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
        checkpoint.metrics = values.iter().enumerate().map(|(i, &v)| (format!("m{i}"), finite(v))).collect();
        checkpoint.features[0].mean = finite(values[0]);
        let singles: Vec<f32> = singles.into_iter().map(|v| if v.is_finite() { v } else { 0.0 }).collect();
        checkpoint.tensors.insert("w".into(), Tensor::f32([3], singles).unwrap());
        prop_assert_eq!(Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap(), checkpoint);
    }
}
