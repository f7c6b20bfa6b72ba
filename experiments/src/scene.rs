//! Where something is played: a scenario, what of it is different, and the part of a trace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kisim::arguments::Changes;
use kisim::config::Span;
use kisim::scenario::Scenario;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// The scenarios of the repository: (name, TOML).
const SCENARIOS: &[(&str, &str)] = scenarios![
    "azure-code",
    "default",
    "held-out-cold-start",
    "held-out-gpu",
    "held-out-size",
    "llm-periodic",
    "llm-ramp",
    "llm-random",
    "llm-spike",
    "paper",
    "servegen-mid",
    "spike",
    "worldcup98",
];

/// Fields that say what the rest of their table means.
const TAGS: [&str; 8] = ["kind", "shape", "process", "distribution", "rule", "mode", "reward", "from"];

/// Where something is played.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// What tables call it.
    pub name: String,
    /// `default`, `paper:ramp`, …, or the name of a file in the repository's `scenarios`, without `.toml`. All are built in.
    pub scenario: String,
    /// Fields that differ, as TOML tables merged over the scenario's. A list replaces a list, and a table of another kind
    /// (another `kind`, `shape`, `distribution` and the like) replaces a table.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub changes: Table,
    /// The trace that is replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// A part of a public trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Its file in the folder of traces, such as `azure-llm-2023/AzureLLMInferenceTrace_code.csv`.
    pub file: PathBuf,
    /// Begin this far into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Span>,
    /// Use this much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Span>,
    /// Which run, where it holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
}

impl Scene {
    /// The file in the folder of traces that it replays.
    pub fn file(&self) -> Option<&Path> {
        self.trace.as_ref().map(|trace| trace.file.as_path())
    }

    /// The scenario, with what differs; `traces` is the folder of public traces.
    ///
    /// # Errors
    /// If there is no such scenario, what differs makes no sense, or it needs a trace and there is no folder of them.
    pub fn load(&self, traces: Option<&Path>) -> Result<Scenario> {
        let mut table = base(&self.scenario).with_context(|| format!("scene {}", self.name))?;
        merge(&mut table, &self.changes);
        table.insert("name".into(), Value::String(self.name.clone()));
        let origin = format!("scene {} (scenario {})", self.name, self.scenario);
        let scenario = Scenario::parse(&toml::to_string(&table)?, &origin, Path::new("."))?;
        let Some(trace) = &self.trace else { return Ok(scenario) };
        let Some(folder) = traces else {
            bail!("{origin}: found no folder of traces, expected one with {}", trace.file.display());
        };
        let changes = Changes {
            trace: Some(folder.join(&trace.file)),
            series: trace.series.clone(),
            trace_start: trace.start,
            trace_length: trace.length,
            duration: scenario.duration.filter(|_| self.changes.contains_key("duration")),
            ..Changes::default()
        };
        let changed = changes.apply(scenario, None)?;
        Ok(Scenario { name: self.name.clone(), ..changed })
    }
}

/// The scenario called `name`, as it is written.
fn base(name: &str) -> Result<Table> {
    let (file, pattern) = match name.split_once(':') {
        Some(("paper", pattern)) => ("paper", Some(pattern)),
        _ => (name, None),
    };
    let Some((_, text)) = SCENARIOS.iter().find(|(own, _)| *own == file) else {
        let names = SCENARIOS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        bail!("field scenario: found {name:?}, expected paper:PATTERN or one of {names}");
    };
    let mut table: Table = toml::from_str(text)?;
    if let Some(pattern) = pattern {
        let traffic: Table = toml::from_str(&format!("kind = 'pattern'\npattern = {pattern:?}"))?;
        table.insert("traffic".into(), Value::Table(traffic));
    }
    Ok(table)
}

/// Lays `changes` over `table`.
pub(crate) fn merge(table: &mut Table, changes: &Table) {
    for (key, change) in changes {
        match (table.get_mut(key), change) {
            (Some(Value::Table(own)), Value::Table(change)) if !another_kind(own, change) => merge(own, change),
            _ => {
                table.insert(key.clone(), change.clone());
            }
        }
    }
}

fn another_kind(own: &Table, change: &Table) -> bool {
    TAGS.iter().any(|tag| change.get(*tag).is_some_and(|kind| own.get(*tag).is_some_and(|old| old != kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kisim::traffic::Pattern;

    fn scene(text: &str) -> Scene {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        format!("{:#}", scene(text).load(None).unwrap_err())
    }

    #[test]
    fn every_scenario_of_the_repository_is_built_in_and_loads() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(files, SCENARIOS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for name in files {
            let loaded = scene(&format!("name = 'x'\nscenario = {name:?}")).load(None).unwrap();
            let mut own = Scenario::load(&Path::new(folder).join(format!("{name}.toml"))).unwrap();
            (own.name, own.base, own.origin) = ("x".into(), loaded.base.clone(), loaded.origin.clone());
            assert_eq!(loaded, own, "{name}");
        }
        for pattern in Pattern::ALL {
            let loaded = scene(&format!("name = 'x'\nscenario = 'paper:{}'", pattern.name())).load(None).unwrap();
            assert_eq!(loaded.published_pattern(), Some(pattern));
        }
    }

    #[test]
    fn changes_reach_deep_and_leave_the_rest() {
        let loaded = scene(
            "name = 'mine'\nscenario = 'default'\nchanges = { client = { timeout = '3s' }, pools = { gpu = { limits = { max_replicas = 12 } } } }",
        );
        let (loaded, own) = (loaded.load(None).unwrap(), Scenario::builtin().unwrap());
        assert_eq!((loaded.name.as_str(), loaded.client.timeout), ("mine", Some(Span::secs(3))));
        assert_eq!(loaded.pools["gpu"].limits.max_replicas, 12);
        assert_eq!(loaded.pools["gpu"].limits.max_step_up, own.pools["gpu"].limits.max_step_up);
        assert_eq!((loaded.traffic, loaded.faults), (own.traffic, own.faults));
    }

    #[test]
    fn another_kind_replaces_and_the_same_kind_is_changed() {
        let changed = "name = 'x'\nscenario = 'llm-periodic'\n[changes.traffic]\n";
        let same = scene(&format!("{changed}rate = {{ period = '5m' }}")).load(None).unwrap();
        let other = scene(&format!("{changed}rate = {{ shape = 'constant', rate = 20.0 }}")).load(None).unwrap();
        let text = |scenario: &Scenario| toml::to_string(&scenario.traffic).unwrap();
        assert!(text(&same).contains("amplitude = 60.0") && text(&same).contains("5m"), "{}", text(&same));
        assert!(!text(&other).contains("amplitude"), "{}", text(&other));
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = error("name = 'x'\nscenario = 'defualt'");
        assert!(unknown.starts_with("scene x: field scenario: found \"defualt\", expected paper:PATTERN"), "{unknown}");
        let field = error("name = 'x'\nscenario = 'default'\nchanges = { slo = { latencey = '1s' } }");
        assert!(field.contains("scene x (scenario default)") && field.contains("latencey"), "{field}");
        let value = error("name = 'x'\nscenario = 'default'\nchanges = { slo = { latency = '0s' } }");
        assert_eq!(value, "scene x (scenario default), field slo.latency: found 0s, expected a latency above 0");
        let trace = error("name = 'x'\nscenario = 'azure-code'\ntrace = { file = 'a.csv' }");
        assert_eq!(trace, "scene x (scenario azure-code): found no folder of traces, expected one with a.csv");
    }

    #[test]
    fn a_trace_replaces_the_traffic_and_keeps_its_scales() {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..600).map(|second| format!("{second}\n")).collect();
        std::fs::write(folder.path().join("a.csv"), format!("timestamp_s\n{lines}")).unwrap();
        let text = "scenario = 'azure-code'\nname = 'x'\ntrace = { file = 'a.csv', start = '1m', length = '2m' }";
        let loaded = scene(text).load(Some(folder.path())).unwrap();
        let kisim::traffic::Traffic::Trace { start, length, rate_scale, .. } = loaded.traffic else { panic!() };
        assert_eq!((start, length, rate_scale), (Some(Span::secs(60)), Some(Span::secs(120)), 25.0));
    }
}
