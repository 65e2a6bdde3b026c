//! Trains a model from a plan, without a command line, and prints its scores.
//!
//! ```sh
//! cargo run --release -p ner-experiment --example train                  # MiniLM on the generated sample
//! cargo run --release -p ner-experiment --example train -- path/to/encoder runs
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use anyhow::{Context, Result};
use ner_experiment::plan::Plan;
use ner_experiment::tracking::Tracking;
use ner_experiment::train::{Job, Trained, train};
use ner_runs::Store;
use ner_train::Recipe;
use std::sync::atomic::AtomicBool;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let encoder = arguments.next().unwrap_or_else(|| "minilm".into());
    let runs = arguments.next().unwrap_or_else(|| "experiments/runs".into());
    // Every hyperparameter has a default; the recipe reference explains them.
    let recipe = Recipe { epochs: 2, overlap: 8, ..Recipe::default() };
    let plan = Plan { sample: true, ..Plan::new("bc5cdr", &encoder, recipe) };
    let job = Job::New { plan: Box::new(plan), group: None };
    // Another thread may set it, as the command does at Ctrl-C: the run can be resumed then.
    let stop = AtomicBool::new(false);
    let Trained { folder, outcome } = train(job, &Store::new(runs), &Tracking::default(), &stop)?;
    let test = outcome.test.context("this plan scores the test split")?;
    println!("{}", folder.path().display());
    println!("strict micro F1 on the test split: {:?}", test.overall.f1);
    Ok(())
}
