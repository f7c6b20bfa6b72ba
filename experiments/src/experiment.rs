//! What an experiment is, and what a reader gets of it.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use kiscaler_train::statistics::Interval;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::results::Results;

/// An experiment: a configuration (`configs/NAME.toml`) and two functions.
pub struct Experiment {
    /// Its name, by which it is run; `configs/NAME.toml` is its configuration.
    pub name: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What it asks, in a sentence or two, with the paper's section or figure where it is one of the paper's.
    pub question: &'static str,
    /// `configs/NAME.toml`, built in. It has the tables `[tiny]`, `[quick]` and `[full]`, see [`sized`].
    pub config: &'static str,
    /// Other experiments whose results it presents, too.
    pub needs: &'static [&'static str],
    /// Its cells, of the configuration's text and the size.
    pub cells: fn(&str, Size) -> Result<Vec<Cell>>,
    /// What its results say. The same results give the same section.
    pub present: fn(&All<'_>) -> Result<Section>,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// The least that touches everything, a second or so an experiment: for tests. Nothing can be concluded from it.
    Tiny,
    /// All experiments in under five minutes on two cores.
    Quick,
    /// All experiments in under ninety minutes on two cores.
    Full,
}

impl Size {
    /// All of them.
    pub const ALL: [Size; 3] = [Size::Tiny, Size::Quick, Size::Full];

    /// Its name, and that of its table in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Size::Tiny => "tiny",
            Size::Quick => "quick",
            Size::Full => "full",
        }
    }
}

/// What the configuration `text` says for `size`: the fields outside `[tiny]`, `[quick]` and `[full]`, and over them those of the
/// size's table.
///
/// ```
/// # use experiments::experiment::{Size, sized};
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Config { scenarios: Vec<String>, seeds: u64 }
///
/// let text = "scenarios = ['default']\n[tiny]\nseeds = 1\n[quick]\nseeds = 3\n[full]\nseeds = 20";
/// let config: Config = sized(text, Size::Quick)?;
/// assert_eq!((config.scenarios.len(), config.seeds), (1, 3));
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// If it is no TOML, lacks the size's table, or the two together are no `T`.
pub fn sized<T: DeserializeOwned>(text: &str, size: Size) -> Result<T> {
    let mut fields: toml::Table = text.parse().map_err(|e| anyhow!("the configuration: {e}"))?;
    let mut own = None;
    for any in Size::ALL {
        let table = fields.remove(any.name());
        own = if any == size { table } else { own };
    }
    let Some(toml::Value::Table(own)) = own else {
        bail!("the configuration: found no table [{}], expected one for each size", size.name());
    };
    fields.extend(own);
    T::deserialize(fields).map_err(|e| anyhow!("the configuration, size {}: {e}", size.name()))
}

/// Results of an experiment and of those it needs.
pub struct All<'a> {
    /// Its own.
    pub own: &'a Results,
    /// By name.
    pub others: BTreeMap<&'a str, &'a Results>,
    /// Its configuration's text.
    pub config: &'a str,
    /// How much was run.
    pub size: Size,
}

/// What a reader gets.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Paragraphs of Markdown: what was done, what is seen, what it does not say.
    pub text: Vec<String>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Figures.
    pub figures: Vec<Figure>,
    /// What becomes of the claims.
    pub verdicts: Vec<Verdict>,
}

/// A table. Figures are drawn from tables, so that their numbers are the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its name among those of the experiment: letters, digits and `-`. It is a file's name (CSV).
    pub name: String,
    /// What it shows.
    pub caption: String,
    /// Names of columns, with units.
    pub columns: Vec<String>,
    /// Rows, as long as there are columns.
    pub rows: Vec<Vec<Entry>>,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Words.
    Text(String),
    /// A number.
    Number(f64),
    /// A number with its 95 % interval.
    Interval(Interval),
    /// Nothing was measured.
    Empty,
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name among those of the experiment: letters, digits and `-`. It is a file's name (SVG, PNG).
    pub name: String,
    /// What it shows, and how to read it.
    pub caption: String,
    /// The drawing.
    pub svg: String,
    /// The table it is drawn from, by name.
    pub table: String,
}

/// What becomes of a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The claim, and whose it is.
    pub claim: String,
    /// What the results say of it.
    pub outcome: Outcome,
    /// Why: with figures.
    pub because: String,
}

/// What results say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It holds on some of what was tried.
    InPart,
    /// It does not hold.
    DoesNotHold,
    /// It cannot be tested here.
    NotTestable,
}
