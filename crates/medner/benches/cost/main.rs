//! Time spent in training and prediction, and how it grows: `cargo xtask bench cost`.
//!
//! Encoders have random weights, and rows have random words without padding, so that nothing is downloaded and any size
//! is possible. The code is medner's own: its trainer, heads, allocator and number of workers. Where the model has no
//! hooks, parts are computed alone on tensors of the same shapes (`forward.rs`).

#![allow(clippy::print_stderr, reason = "a command that talks to people")]

#[path = "../../src/allocator.rs"]
mod allocator;
mod curves;
mod forward;
mod machine;
mod measure;
mod model;
mod page;
#[path = "../../../ner-model/benches/shared/random_model.rs"]
mod random_model;
mod step;

use anyhow::Context;
use clap::Parser;
use measure::Effort;
use ner_model::{Precision, Workers, cpu_has_bf16};
use ner_train::Recipe;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;
use tch::{Device, Kind};

/// Measures where time goes, and prints tables.
#[derive(Parser)]
struct Arguments {
    /// One round of small batches: checks that everything works, without measuring.
    #[arg(long)]
    quick: bool,
    /// Use the figures of an earlier run instead of measuring.
    #[arg(long, value_name = "FILE.json", conflicts_with = "quick")]
    from: Option<PathBuf>,
    /// Write experiments/bench/cost.json, docs/performance.md and its plots in this checkout.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
    /// Passed by cargo to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// All measurements, in milliseconds, tokens/s, GFLOP/s and GB/s.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    version: String,
    /// Whether the model computes in bf16 on this machine, otherwise fp32.
    bf16: bool,
    machine: machine::Machine,
    step: step::StepParts,
    forward_in_training: forward::ForwardPass,
    forward_in_prediction: forward::ForwardPass,
    curves: Vec<curves::Curve>,
}

/// Tokens that prediction gives a worker at once, as in `ner-model`'s tagger.
const PREDICTION: usize = 512;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let figures = match &arguments.from {
        Some(file) => {
            let text = fs_err::read_to_string(file)?;
            serde_json::from_str(&text).with_context(|| format!("{} has no cost figures", file.display()))?
        }
        None => measure(if arguments.quick { Effort::QUICK } else { Effort::FULL })?,
    };
    let (blocks, plots) = page::render(&figures)?;
    if let Some(checkout) = &arguments.write {
        let folder = checkout.join("experiments/bench");
        fs_err::create_dir_all(&folder)?;
        fs_err::write(folder.join("cost.json"), serde_json::to_string_pretty(&figures)? + "\n")?;
        page::write(&checkout.join("docs"), &blocks, &plots)?;
        eprintln!("written: docs/performance.md, docs/performance/*.svg, experiments/bench/cost.json");
    }
    let text: String = blocks.into_iter().map(|block| block.text + "\n").collect();
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn measure(effort: Effort) -> anyhow::Result<Figures> {
    let workers = Workers::new(Device::Cpu);
    let (shape, recipe) = (model::Shape::minilm(), Recipe::default());
    let kind = recipe.precision.resolve(Device::Cpu)?;
    let tokens = curves::SENTENCE;
    let rows = (recipe.batch_tokens / tokens / effort.shrink).max(1);
    // R-Drop uses two copies of each row.
    let own_rows = rows.div_ceil(workers.count()) * if recipe.r_drop > 0.0 { 2 } else { 1 };
    eprintln!("the machine");
    let machine = machine::Machine::measure(&workers, effort, &shape, own_rows, tokens)?;
    eprintln!("a step by its phases");
    let step = step::StepParts::measure((&workers, effort), &machine, &shape, &recipe, (rows, tokens))?;
    let forward = |rows: usize, training: bool| {
        let model = (&shape, &recipe);
        forward::ForwardPass::measure(&workers, effort, &machine, model, (rows, tokens), kind, training)
    };
    eprintln!("a forward pass by its parts");
    let (forward_in_training, forward_in_prediction) =
        (forward(own_rows, true)?, forward((PREDICTION / tokens / effort.shrink).max(1), false)?);
    let precisions: &[Precision] =
        if cpu_has_bf16() { &[Precision::Bf16, Precision::Fp32] } else { &[Precision::Fp32] };
    let curves = curves::measure(&workers, effort, &recipe, precisions)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let bf16 = kind == Kind::BFloat16;
    Ok(Figures { version, bf16, machine, step, forward_in_training, forward_in_prediction, curves })
}
