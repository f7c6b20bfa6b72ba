//! `kiscaler-train inspect`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kiscaler_train::checkpoint::{Checkpoint, FORMAT, Tensor};
use kisim::report::number;
use serde_json::{Value, json};

use super::{Format, next_step, print, print_json, table};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kiscaler-train inspect runs/default-1/best.safetensors\n  \
                  kiscaler-train inspect runs/default-1/best.safetensors --config > again.toml\n  \
                  kiscaler-train inspect runs/default-1/last.safetensors --format json | jq .features")]
pub(crate) struct InspectArgs {
    /// The checkpoint
    checkpoint: PathBuf,
    /// Print the configuration that it was trained with, and nothing else
    #[arg(long)]
    config: bool,
}

pub(crate) fn main(args: &InspectArgs, format: Format) -> Result<ExitCode> {
    let checkpoint = Checkpoint::load(&args.checkpoint)?;
    match (args.config, format) {
        (true, Format::Table) => print(&checkpoint.config)?,
        (true, Format::Json) => print_json(&checkpoint.config)?,
        (false, Format::Json) => print_json(&as_json(&checkpoint))?,
        (false, Format::Table) => print(&as_text(&args.checkpoint.display().to_string(), &checkpoint))?,
    }
    let path = args.checkpoint.display();
    next_step(&match checkpoint.state {
        Some(_) => format!(
            "kiscaler-train train --resume {} goes on with it",
            args.checkpoint.parent().map_or(".".into(), |folder| folder.display().to_string())
        ),
        None => format!("kiscaler-train evaluate {path} default --against hpa,predictive,hindsight:quick"),
    });
    Ok(ExitCode::SUCCESS)
}

fn parameters(checkpoint: &Checkpoint) -> usize {
    checkpoint.tensors.values().map(|tensor| tensor.data().len()).sum()
}

fn as_text(name: &str, c: &Checkpoint) -> String {
    let mut facts = table(&["", "value"]);
    let mut fact = |name: &str, value: String| _ = facts.add_row([name.to_owned(), value]);
    fact("kind", c.kind().to_owned());
    fact("encoder", format!("{}, version {}", c.encoder.name, c.encoder.version));
    fact("decides every", c.control_interval.to_string());
    fact("parameters", number(parameters(c) as f64));
    fact("trained with seed", c.seed.to_string());
    fact("by revision", c.git_revision.clone());
    for (name, value) in &c.metrics {
        fact(name, number(*value));
    }

    let low = format!("{} %", number(c.envelope_quantile * 100.0));
    let high = format!("{} %", number((1.0 - c.envelope_quantile) * 100.0));
    let mut sees = table(&["sees", "mean", "deviation", "min", &low, &high, "max"]);
    for f in &c.features {
        let e = &f.envelope;
        let figures = [f.mean, f.variance.sqrt(), e.min, e.low, e.high, e.max];
        sees.add_row([f.name.clone()].into_iter().chain(figures.map(number)));
    }

    let mut does = table(&["does", "choices"]);
    does.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(comfy_table::CellAlignment::Left));
    for head in &c.heads {
        let choices: Vec<&str> = head.choices.iter().map(|choice| choice.name.as_str()).collect();
        does.add_row([head.name.clone(), choices.join(", ")]);
    }

    let mut tensors = table(&["tensor", "shape", "numbers"]);
    let state = c.state.iter().flat_map(|s| &s.tensors).map(|(name, tensor)| (format!("state/{name}"), tensor));
    for (name, tensor) in c.tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).chain(state) {
        tensors.add_row([name, shape(tensor), number(tensor.data().len() as f64)]);
    }
    format!(
        "{name}\n{facts}\n\n{sees}\nbefore normalisation; envelope of the training distribution\n\n{does}\n\n{tensors}\n"
    )
}

fn shape(tensor: &Tensor) -> String {
    tensor.shape().iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

fn as_json(c: &Checkpoint) -> Value {
    let shapes = |(name, tensor): (&String, &Tensor)| (name.clone(), json!(tensor.shape()));
    json!({
        "format": FORMAT,
        "kind": c.kind(),
        "encoder": c.encoder.name,
        "encoder_version": c.encoder.version,
        "control_interval_s": c.control_interval.as_secs_f64(),
        "features": c.features,
        "scaling": c.scaling,
        "envelope_quantile": c.envelope_quantile,
        "action": c.heads,
        "parameters": parameters(c),
        "tensors": c.tensors.iter().map(shapes).collect::<serde_json::Map<_, _>>(),
        "seed": c.seed,
        "git_revision": c.git_revision,
        "config": c.config,
        "metrics": c.metrics,
        "state": c.state.as_ref().map(|s| s.tensors.iter().map(shapes).collect::<serde_json::Map<_, _>>()),
    })
}
