//! The reference of configuration files, written from their types: names, types and defaults are what the program reads, sentences
//! are the doc comments.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::page::repository;

/// A page of the reference.
pub struct Reference {
    /// Its file in docs/reference.
    pub file: &'static str,
    /// Its text.
    pub text: String,
}

/// All pages.
///
/// # Errors
/// If the definition of KIScaler cannot be read.
pub fn pages() -> Result<Vec<Reference>> {
    let page = |file, title: &str, intro: &str, schema: Value| {
        let note = "Written from the types by `cargo run -p kis-doccheck`; `cargo test -p kis-doccheck` compares.";
        let text = format!("<!-- {note} -->\n\n# {title}\n\n{intro}{}", Tables::of(&schema).text());
        Reference { file, text }
    };
    Ok(vec![
        page(
            "kiscaler.md",
            "Fields of a KIScaler",
            "What stands below `spec` in a KIScaler, from its definition (`kiscaler-agent crd`). How one is used: \
             [The agent](../agent.md). The API server refuses what makes no sense, with what was found and what was expected.\n",
            kiscaler()?,
        ),
        page(
            "scenario.md",
            "Fields of a scenario",
            "How a scenario is written, with examples: [Scenarios and profiles](../scenarios.md). What the fields do: \
             [The model](../simulator.md). A *time* is text with a unit, such as `\"250ms\"` or `\"1h30m\"`; rates are requests \
             a second.\n",
            schemars::schema_for!(kisim::scenario::Scenario).to_value(),
        ),
        page(
            "profile.md",
            "Fields of a profile",
            "A profile says how long a device takes for a batch of a model: [Scenarios and profiles](../scenarios.md#profiles). \
             `kisim profiles` lists those that are built in, and [calibration](../calibration.md) makes one from measurements.\n",
            schemars::schema_for!(kisim::profile::Profile).to_value(),
        ),
        page(
            "training.md",
            "Fields of a training configuration",
            "Defaults are those of the types, which are CleanRL's where it has them. The built-in configuration differs, and says \
             why in its comments: \
             [kiscaler-train/configs/default.toml](https://github.com/GuilinDev/KISim/blob/main/kiscaler-train/configs/default.toml). \
             What its parts are for: [learning.md](../learning.md#ppo).\n",
            schemars::schema_for!(kiscaler_train::config::TrainConfig).to_value(),
        ),
    ])
}

/// The schema of a KIScaler's spec. In a definition parts stand where they are used; here they have names.
fn kiscaler() -> Result<Value> {
    let path = repository().join("deploy/base/crd.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let definition: Value = serde_norway::from_str(&text)?;
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let mut spec = definition.pointer(spec).with_context(|| format!("{}: found no {spec}", path.display()))?.clone();
    let mut parts = Map::new();
    name_parts(&mut spec, &mut parts);
    spec["$defs"] = Value::Object(parts);
    Ok(spec)
}

/// Moves the tables among the fields of `schema` into `parts`, named after their fields; equal ones once.
fn name_parts(schema: &mut Value, parts: &mut Map<String, Value>) {
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            name_parts(&mut schema[key], parts);
        }
    }
    for (field, inner) in schema["properties"].as_object_mut().into_iter().flatten() {
        name_parts(inner, parts);
        if inner["properties"].is_null() {
            continue;
        }
        let about = inner["description"].take();
        let fields = inner["properties"].clone();
        let known = parts.iter().find(|(_, part)| part["properties"] == fields).map(|(name, _)| name.clone());
        let mut name = known.clone().unwrap_or_else(|| field.clone());
        while known.is_none() && parts.contains_key(&name) {
            name.push('_');
        }
        let default = inner.get("default").cloned();
        parts.insert(name.clone(), inner.take());
        *inner = serde_json::json!({"$ref": format!("#/$defs/{name}"), "description": about});
        if let Some(default) = default {
            inner["default"] = default;
        }
    }
}

/// A schema, and where its parts are used.
struct Tables<'a> {
    root: &'a Value,
    /// Parts by name, in the order in which they are met, with the places where they are used.
    parts: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Tables<'a> {
    fn of(root: &'a Value) -> Tables<'a> {
        let mut tables = Tables { root, parts: Vec::new() };
        tables.visit(root, "");
        tables
    }

    fn part(&self, name: &str) -> &'a Value {
        &self.root["$defs"][name]
    }

    /// Notes which parts `schema`, used at `place`, refers to.
    fn visit(&mut self, schema: &'a Value, place: &str) {
        if let Some(name) = reference(schema) {
            let met = self.parts.iter_mut().find(|(other, _)| *other == name);
            if let Some((_, places)) = met {
                if !places.iter().any(|other| other == place) {
                    places.push(place.to_owned());
                }
                return;
            }
            self.parts.push((name, vec![place.to_owned()]));
            self.visit(self.part(name), place);
        }
        for (field, inner) in properties(schema) {
            let place = if place.is_empty() { field.clone() } else { format!("{place}.{field}") };
            self.visit(inner, &place);
        }
        for key in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            schema[key].as_array().into_iter().flatten().for_each(|inner| self.visit(inner, place));
        }
        if schema["items"].is_object() {
            self.visit(&schema["items"], &format!("{place}[]"));
        }
        if schema["additionalProperties"].is_object() {
            self.visit(&schema["additionalProperties"], &format!("{place}.NAME"));
        }
    }

    fn text(&self) -> String {
        let mut text = format!("\n## Top level\n\n{}\n\n", sentence(self.root));
        self.describe(&mut text, self.root);
        for (name, places) in &self.parts {
            let _ = write!(text, "\n## {name}\n\n");
            let shown: Vec<String> = places.iter().take(4).map(|place| format!("`{place}`")).collect();
            let more = if places.len() > shown.len() { ", …" } else { "" };
            let about = sentence(self.part(name));
            let _ = write!(text, "At {}{more}. {about}", shown.join(", "));
            text.truncate(text.trim_end().len());
            text.push_str("\n\n");
            self.describe(&mut text, self.part(name));
        }
        text
    }

    /// Its tables.
    fn describe(&self, text: &mut String, schema: &Value) {
        let variants = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
        if !properties(schema).is_empty() {
            text.push_str("| field | type | default | meaning |\n| --- | --- | --- | --- |\n");
            for (field, inner) in properties(schema) {
                let _ = writeln!(text, "| `{field}` | {} |", self.row(schema, field, inner));
            }
        }
        if variants.is_empty() {
            return;
        }
        if variants.iter().all(|variant| properties(variant).is_empty()) {
            text.push_str("| value | meaning |\n| --- | --- |\n");
            for variant in variants {
                for value in variant["enum"].as_array().into_iter().flatten().chain(variant.get("const")) {
                    let _ = writeln!(text, "| `{value}` | {} |", sentence(variant));
                }
            }
            return;
        }
        if !properties(schema).is_empty() {
            text.push('\n');
        }
        text.push_str("| kind | field | type | default | meaning |\n| --- | --- | --- | --- | --- |\n");
        for variant in variants {
            let tag = properties(variant).into_iter().find(|(_, inner)| inner.get("const").is_some());
            let Some((tag, value)) = tag.map(|(tag, inner)| (tag, &inner["const"])) else { continue };
            let own = variant.get("description").is_some();
            let referred = reference(variant).map(|name| self.part(name));
            let about = if own { sentence(variant) } else { referred.map(sentence).unwrap_or_default() };
            let _ = writeln!(text, "| `{tag} = {value}` | | | | {about} |");
            for schema in std::iter::once(variant).chain(referred) {
                for (field, inner) in properties(schema) {
                    if field != tag {
                        let _ = writeln!(text, "| | `{field}` | {} |", self.row(schema, field, inner));
                    }
                }
            }
        }
    }

    /// Type, default and meaning of a field.
    fn row(&self, schema: &Value, field: &str, inner: &Value) -> String {
        let required = schema["required"].as_array().is_some_and(|names| names.iter().any(|name| name == field));
        let default = match inner.get("default") {
            Some(value) => shown(value),
            None if required => "required".to_owned(),
            None => "none".to_owned(),
        };
        format!("{} | {default} | {}", self.kind(inner), sentence(inner))
    }

    /// What may stand there.
    fn kind(&self, schema: &Value) -> String {
        if let Some(name) = reference(schema) {
            return format!("[{name}](#{})", name.to_lowercase());
        }
        if let Some(either) = schema["anyOf"].as_array() {
            let kinds = either.iter().filter(|inner| inner["type"] != "null").map(|inner| self.kind(inner));
            return kinds.collect::<Vec<_>>().join(" or ");
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
            kind => kind.as_str(),
        };
        match kind {
            Some("string") => match schema["format"].as_str() {
                Some("duration") => "time".to_owned(),
                Some("manifest") => "path, or text of several lines".to_owned(),
                _ => match schema["enum"].as_array() {
                    Some(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
                    None => "text".to_owned(),
                },
            },
            Some("integer") => "whole number".to_owned(),
            Some("number") => "number".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("array") => match schema["prefixItems"].as_array() {
                Some(items) => {
                    format!("[{}]", items.iter().map(|inner| self.kind(inner)).collect::<Vec<_>>().join(", "))
                }
                None => format!("list of {}", self.kind(&schema["items"])),
            },
            Some("object") => format!("table of NAME = {}", self.kind(&schema["additionalProperties"])),
            _ => "?".to_owned(),
        }
    }
}

/// The part that a schema refers to, alone or beside nothing.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    schema["properties"].as_object().map(Map::iter).into_iter().flatten().collect()
}

/// A doc comment as a line of Markdown, without links that only rustdoc can follow.
fn sentence(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    // Examples are for those who read the code.
    let text = text.split("```").next().unwrap_or_default();
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`");
    line = line.replace('|', "\\|");
    if line.contains('[') && !line.contains('`') { line.replace('[', "\\[") } else { line }
}

/// A default as TOML has it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Object(_) if toml(value).len() > 70 => "see there".to_owned(),
        // Such a number is written by nobody: it stands for none.
        Value::Number(number) if number.as_u64().is_some_and(|n| n >= u64::from(u32::MAX)) => "no limit".to_owned(),
        value => format!("`{}`", toml(value)),
    }
}

fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            if fields.is_empty() {
                return "{}".to_owned();
            }
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name} = {}", toml(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Number(number) if number.is_f64() => {
            // Some were single precision; nobody wrote more than six digits.
            let number = number.as_f64().unwrap_or(f64::NAN);
            format!("{number:.6e}").parse::<f64>().map_or_else(|_| number.to_string(), |short| format!("{short:?}"))
        }
        value => value.to_string(),
    }
}

/// Fields of a document that the schema does not know, by place: what a page would leave out.
pub fn unknown(root: &Value, document: &toml::Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(root, root, document, "", &mut found);
    found
}

fn compare(root: &Value, schema: &Value, document: &toml::Value, place: &str, found: &mut Vec<String>) {
    match document {
        toml::Value::Table(table) => {
            for (name, inner) in table {
                let place = format!("{place}.{name}");
                match field(root, schema, name, table) {
                    Some(schema) => compare(root, schema, inner, &place, found),
                    None => found.push(place),
                }
            }
        }
        toml::Value::Array(items) => {
            for item in items {
                let schema = resolve(root, schema).into_iter().find(|schema| schema["items"].is_object());
                if let Some(schema) = schema {
                    compare(root, &schema["items"], item, place, found);
                }
            }
        }
        _ => {}
    }
}

/// The schema of a table's field.
fn field<'a>(root: &'a Value, schema: &'a Value, name: &str, table: &toml::Table) -> Option<&'a Value> {
    for schema in resolve(root, schema) {
        // Of variants, the one whose tag the table has.
        let tagged = properties(schema).into_iter().find(|(_, inner)| inner.get("const").is_some());
        if let Some((tag, inner)) = tagged
            && table.get(tag).and_then(toml::Value::as_str) != inner["const"].as_str()
        {
            continue;
        }
        if let Some(inner) = schema["properties"].get(name) {
            return Some(inner);
        }
        if let Some(part) = reference(schema)
            && let Some(inner) = root["$defs"][part]["properties"].get(name)
        {
            return Some(inner);
        }
        if schema["additionalProperties"].is_object() {
            return Some(&schema["additionalProperties"]);
        }
    }
    None
}

/// A schema and all that it may be instead.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut all = vec![schema];
    if let Some(part) = reference(schema) {
        all.extend(resolve(root, &root["$defs"][part]));
    }
    for key in ["anyOf", "oneOf"] {
        all.extend(schema[key].as_array().into_iter().flatten().flat_map(|inner| resolve(root, inner)));
    }
    all
}
