//! `kiscaler-train explain`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use kiscaler_train::checkpoint::{Checkpoint, Feature};
use kiscaler_train::explain::Effect;
use kisim::arguments::ScenarioArgs;
use kisim::prepared::Prepared;
use kisim::report::number;
use serde_json::{Value, json};

use super::evaluate::positive;
use super::seams::Explained;
use super::{Format, next_step, print, print_json, seams, table};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kiscaler-train explain runs/a/best.safetensors scenarios/llm-spike.toml --duration 10m\n  \
                  kiscaler-train explain runs/a/best.safetensors default --inputs 3 --format json\n\n\
                  An input's effect is by how much the decision's log-probability would fall were the input at its mean \
                  in training, all else as it is: + spoke for the decision, - against it. ! marks what training never saw."
)]
pub(crate) struct ExplainArgs {
    /// The policy
    checkpoint: PathBuf,
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// How much a saved dollar counts against a late request; 1 as the scenario says
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    weight: f64,
    /// Inputs to show for each decision
    #[arg(long, default_value_t = 5)]
    inputs: usize,
    /// Seed of all randomness; the scenario's by default
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn main(args: &ExplainArgs, format: Format) -> Result<ExitCode> {
    let checkpoint = Arc::new(Checkpoint::load(&args.checkpoint)?);
    let prepared = Prepared::new(args.scenario.load(args.seed)?)?;
    let decisions = seams::explain(&checkpoint, args.weight, &prepared)?;
    match format {
        Format::Json => {
            let one = |e: &Explained| as_json(&checkpoint.features, e, args.inputs);
            print_json(&decisions.iter().map(one).collect::<Vec<Value>>())?;
        }
        Format::Table => print(&as_text(&checkpoint.features, &decisions, args.inputs))?,
    }
    next_step(&format!(
        "kiscaler-train evaluate {} {} says whether others did better",
        args.checkpoint.display(),
        args.scenario.scenario
    ));
    Ok(ExitCode::SUCCESS)
}

fn name(features: &[Feature], index: usize) -> String {
    features.get(index).map_or_else(|| format!("feature {index}"), |feature| feature.name.clone())
}

fn as_text(features: &[Feature], decisions: &[Explained], inputs: usize) -> String {
    let mut t = table(&["time s", "probability %", "decision", "moved by"]);
    t.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(comfy_table::CellAlignment::Left));
    for e in decisions {
        let input = |effect: &Effect| {
            let mark = if e.unseen.contains(&effect.feature) { "!" } else { "" };
            let sign = if effect.effect < 0.0 { "" } else { "+" };
            let (value, moved) = (number(effect.value.into()), number(effect.effect.into()));
            format!("{mark}{} {value} ({sign}{moved})", name(features, effect.feature))
        };
        let moved: Vec<String> = e.effects.iter().take(inputs).map(input).collect();
        t.add_row([number(e.time_s), number(f64::from(e.probability) * 100.0), e.decision.clone(), moved.join(", ")]);
    }
    let unseen = decisions.iter().filter(|e| !e.unseen.is_empty()).count();
    format!("{t}\n{} decisions, {unseen} of them with inputs that training never saw\n", decisions.len())
}

fn as_json(features: &[Feature], e: &Explained, inputs: usize) -> Value {
    let input = |effect: &Effect| {
        json!({"feature": name(features, effect.feature), "value": effect.value, "effect": effect.effect,
               "unseen": e.unseen.contains(&effect.feature)})
    };
    json!({
        "time_s": e.time_s,
        "decision": e.decision,
        "probability": e.probability,
        "inputs": e.effects.iter().take(inputs).map(input).collect::<Vec<Value>>(),
        "unseen": e.unseen.iter().map(|&index| name(features, index)).collect::<Vec<String>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiscaler_train::checkpoint::Envelope;

    #[test]
    fn a_decision_says_what_moved_it() {
        let feature =
            |name: &str| Feature { name: name.into(), mean: 0.0, variance: 1.0, envelope: Envelope::default() };
        let decision = Explained {
            time_s: 15.0,
            decision: "gpu 2 → 4: 1.22 times what is expected".into(),
            probability: 0.5,
            effects: vec![
                Effect { feature: 1, value: 2.0, effect: 1.5 },
                Effect { feature: 0, value: -1.0, effect: -0.25 },
            ],
            unseen: vec![1],
        };
        let features = [feature("backlog"), feature("load")];
        let text = as_text(&features, std::slice::from_ref(&decision), 5);
        for expected in ["!load 2 (+1.500), backlog -1 (-0.250)", "gpu 2 → 4", "1 decisions, 1 of them"] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        let value = as_json(&features, &decision, 1);
        assert_eq!(value["inputs"].as_array().map(Vec::len), Some(1));
        assert_eq!(value["unseen"][0], "load");
    }
}
