//! The reference is what the types say, and what the types say is what files hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kis_doccheck::page::{Page, repository};
use kis_doccheck::reference::{pages, unknown};
use serde_json::Value;

#[test]
fn the_reference_is_what_the_types_say() {
    for page in pages().unwrap() {
        let path = repository().join("docs/reference").join(page.file);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == page.text, "{} is not: cargo run -p kis-doccheck", path.display());
        assert!(!text.contains("| ? |") && !text.contains("of ?"), "{}: a type without a name", path.display());
        assert!(Page::parse(&path, &text).anchors.len() > 3, "{}", path.display());
    }
}

#[test]
fn every_field_has_a_sentence() {
    fn missing(schema: &Value, place: &str, found: &mut Vec<String>) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            if inner.get("const").is_none() && inner.get("description").is_none() {
                found.push(place.clone());
            }
        }
        for key in ["oneOf", "anyOf"] {
            for inner in schema[key].as_array().into_iter().flatten() {
                missing(inner, place, found);
            }
        }
        for (name, inner) in schema["$defs"].as_object().into_iter().flatten() {
            missing(inner, name, found);
        }
    }
    let mut found = Vec::new();
    missing(schemars::schema_for!(kisim::scenario::Scenario).as_value(), "", &mut found);
    missing(schemars::schema_for!(kisim::profile::Profile).as_value(), "", &mut found);
    missing(schemars::schema_for!(kiscaler_train::config::TrainConfig).as_value(), "", &mut found);
    assert!(found.is_empty(), "{found:?}");
}

/// Files that the program reads: whatever stands in one is in the reference.
#[test]
fn every_field_of_the_files_is_in_the_reference() {
    let scenario = schemars::schema_for!(kisim::scenario::Scenario);
    let profile = schemars::schema_for!(kisim::profile::Profile);
    let training = schemars::schema_for!(kiscaler_train::config::TrainConfig);
    let root = repository();
    let mut read = 0;
    for (folder, schema) in
        [("scenarios", &scenario), ("kisim/profiles", &profile), ("kiscaler-train/configs", &training)]
    {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let document: toml::Value = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let unknown = unknown(schema.as_value(), &document);
            assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
            read += 1;
        }
    }
    assert!(read >= 25, "{read} files only");
    let typo: toml::Value = toml::from_str(
        "name = 'x'\n[pools.gpu.limits]\nmin_replica = 1\n[autoscaler]\nkind = 'kpa'\nmetric = 'queue'\n",
    )
    .unwrap();
    assert_eq!(unknown(scenario.as_value(), &typo), [".autoscaler.metric", ".pools.gpu.limits.min_replica"]);
}
