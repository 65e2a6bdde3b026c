//! How cost grows: tokens per second by row length, batch size and model size.

use crate::measure::{Effort, Spread};
use crate::model::Shape;
use crate::step::{prediction, training};
use ner_model::{Precision, Workers};
use ner_train::Recipe;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the growing quantity.
    pub along: String,
    pub points: Vec<Point>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    pub at: String,
    /// Rows per batch, and their tokens.
    pub rows: usize,
    pub tokens: usize,
    pub shape: Shape,
    pub rates: Vec<Rate>,
}

/// Tokens per second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rate {
    pub training: bool,
    pub bf16: bool,
    /// Counts each token once, regardless of its passes.
    pub tokens: Spread,
}

/// Tokens per row: about a sentence.
pub const SENTENCE: usize = 32;
/// Tokens per batch in the other curves. Four rows of maximum length fill it, so that every worker has work.
const BATCH: usize = 2048;

/// Measures all curves, in `precisions`.
pub fn measure(
    workers: &Workers,
    effort: Effort,
    recipe: &Recipe,
    precisions: &[Precision],
) -> anyhow::Result<Vec<Curve>> {
    let point = |at: String, shape: &Shape, rows: usize, tokens: usize| -> anyhow::Result<Point> {
        let mut rates = Vec::new();
        for &precision in precisions {
            let kind = precision.resolve(Device::Cpu)?;
            let bf16 = kind == Kind::BFloat16;
            let all = (rows * tokens) as f64;
            let recipe = Recipe { precision, ..recipe.clone() };
            let step = training(effort, shape, &recipe, (rows, tokens))?.rate(all);
            let batch = prediction((workers, effort), shape, &recipe, (rows, tokens), kind)?;
            rates.push(Rate { training: true, bf16, tokens: step });
            rates.push(Rate { training: false, bf16, tokens: batch.rate(all * workers.count() as f64) });
        }
        eprintln!("  {at}");
        Ok(Point { at, rows, tokens, shape: shape.clone(), rates })
    };
    let rows_of = |batch: usize, tokens: usize| (batch / effort.shrink / tokens).max(1);
    let minilm = Shape::minilm();
    eprintln!("tokens per row:");
    let lengths =
        [16, 32, 64, 128, 256, 512].map(|tokens| point(tokens.to_string(), &minilm, rows_of(BATCH, tokens), tokens));
    eprintln!("tokens per batch:");
    let batches = [64, 128, 256, 512, 1024, 2048, 4096]
        .map(|tokens| point(tokens.to_string(), &minilm, rows_of(tokens, SENTENCE), SENTENCE));
    eprintln!("models:");
    let models =
        Shape::all().into_iter().map(|shape| point(shape.name.clone(), &shape, rows_of(BATCH / 2, SENTENCE), SENTENCE));
    let curve = |along: &str, points: Result<Vec<Point>, anyhow::Error>| -> anyhow::Result<Curve> {
        Ok(Curve { along: along.to_owned(), points: points? })
    };
    Ok(vec![
        curve("tokens of a row", lengths.into_iter().collect())?,
        curve("tokens of a batch", batches.into_iter().collect())?,
        curve("model", models.collect())?,
    ])
}
