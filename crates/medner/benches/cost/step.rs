//! One training step by phase, and steps and predictions of any size.

use crate::machine::Machine;
use crate::measure::{Effort, Spread, side_by_side};
use crate::model::{Shape, batch, labels, training_set};
use anyhow::Context;
use ner_model::{
    Batch, Bert, Classifier, Cpu, FusedLayers, LossOptions, ModelError, Parameters, Targets, TrainingPass, Workers,
};
use ner_train::{AdamW, Ema, Recipe, Trainer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use tch::{Device, Kind, Tensor, no_grad};

/// Forward passes per token and step; a backward pass counts as two.
pub fn passes(recipe: &Recipe) -> f64 {
    3.0 * copies(recipe) as f64
}

fn copies(recipe: &Recipe) -> usize {
    if recipe.r_drop > 0.0 { 2 } else { 1 }
}

/// Seconds per trainer step on `rows` rows of `tokens` tokens, without padding.
pub fn training(
    effort: Effort,
    shape: &Shape,
    recipe: &Recipe,
    (rows, tokens): (usize, usize),
) -> anyhow::Result<Spread> {
    // One step per round, and one that the measurement skips.
    let data = training_set(rows * (effort.most_rounds + 1), tokens);
    let recipe = Recipe { batch_tokens: rows * tokens, epochs: 1, ..recipe.clone() };
    let mut trainer = Trainer::new(&recipe, &shape.config(), &shape.parameters(&recipe), &data, Device::Cpu)?;
    let mut steps = trainer.next_epoch();
    let step = || anyhow::Ok(steps.next().context("a step for each round")??.elapsed_ms / 1e3);
    Ok(Spread::of(effort.rounds(step)?))
}

/// Seconds per batch of `rows` rows in a worker, while every worker has one.
pub fn prediction(
    (workers, effort): (&Workers, Effort),
    shape: &Shape,
    recipe: &Recipe,
    (rows, tokens): (usize, usize),
    kind: Kind,
) -> anyhow::Result<Spread> {
    let config = shape.config();
    // As in `Tagger`.
    let parameters = no_grad(|| shape.parameters(recipe).for_computing(Device::Cpu, kind).packed());
    let cpu = Cpu::current()?;
    let fused = match kind == Kind::Float && cpu != Cpu::Portable {
        true => Some(Arc::new(FusedLayers::new(&config, &parameters, cpu, false)?)),
        false => None,
    };
    let model = |_| -> Result<Classifier, ModelError> {
        let mut model = Classifier::new(&config, &parameters, recipe.head())?;
        if let Some(layers) = &fused {
            model.predict_with(Arc::clone(layers));
        }
        Ok(model)
    };
    let models = (0..workers.count()).map(model);
    let models = std::cell::RefCell::new(models.collect::<Result<Vec<_>, _>>()?);
    side_by_side(workers, effort, || {
        let model = models.borrow_mut().pop().expect("one for each worker");
        let (batch, targets) = batch(rows, tokens);
        Box::new(move || drop(model.output(&batch, &targets.words, kind, None)))
    })
}

/// A step of the default recipe, by phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepParts {
    /// Rows of a step before R-Drop copies them, and their tokens.
    pub rows: usize,
    pub tokens: usize,
    /// Milliseconds of the trainer's step.
    pub whole: Spread,
    pub phases: Vec<Phase>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub ms: Spread,
    /// Milliseconds at the roofline: products at the highest rate of any product, the update at the rate of memory
    /// copies. `None` for other phases.
    pub roof_ms: Option<f64>,
}

/// A worker's state: a model over the shared parameters, and its own rows.
struct Replica {
    model: Classifier,
    encoder: Bert,
    leaves: Vec<Tensor>,
    batch: Batch,
    targets: Targets,
}

/// Seconds of a worker's share of a step.
struct Share {
    encoder: f64,
    loss: f64,
    backward: f64,
    gradient: Vec<Tensor>,
}

impl Replica {
    fn new(shape: &Shape, computing: Parameters, recipe: &Recipe, rows: usize, tokens: usize) -> anyhow::Result<Self> {
        let config = shape.config();
        let (batch, targets) = batch(rows, tokens);
        let leaves = computing.iter().map(|(_, tensor)| tensor.shallow_clone()).filter(Tensor::requires_grad).collect();
        let (model, encoder) = (Classifier::new(&config, &computing, recipe.head())?, Bert::new(&config, &computing)?);
        Ok(Self { model, encoder, leaves, batch, targets })
    }

    /// Computes like the trainer. The encoder's pass is also computed alone, because the loss includes it.
    fn share(&self, recipe: &Recipe, options: &LossOptions, kind: Kind) -> Share {
        let dropout = || TrainingPass::new(1, Device::Cpu, recipe.dropout, recipe.attention_dropout);
        let begin = Instant::now();
        drop(self.encoder.forward(&self.batch, kind, Some(&mut dropout())));
        let encoder = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let loss = self.model.loss(&self.batch, &self.targets, kind, &mut dropout(), options);
        let _ = loss.double_value(&[]);
        let forward = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let gradient = Tensor::run_backward(&[loss], &self.leaves, false, false);
        Share { encoder, loss: forward - encoder, backward: begin.elapsed().as_secs_f64(), gradient }
    }
}

impl StepParts {
    /// Measures a step over `rows` rows.
    pub fn measure(
        (workers, effort): (&Workers, Effort),
        machine: &Machine,
        shape: &Shape,
        recipe: &Recipe,
        (rows, tokens): (usize, usize),
    ) -> anyhow::Result<Self> {
        let kind = recipe.precision.resolve(Device::Cpu)?;
        let whole = training(effort, shape, recipe, (rows, tokens))?;
        let options = recipe.loss_options(&labels().types).map_err(anyhow::Error::msg)?;
        let trained = |name: &str| recipe.trains(name);
        let parameters = shape.parameters(recipe).requiring_gradients(trained);
        let computing = parameters.for_computing(Device::Cpu, kind);
        let mut optimizer = AdamW::new(&parameters, &computing, recipe.weight_decay, |_| 1.0);
        let mut average = Ema::new(&parameters, recipe.ema_decay);
        let own_rows = rows.div_ceil(workers.count()) * copies(recipe);
        let replica = |_| Replica::new(shape, computing.share().requiring_gradients(trained), recipe, own_rows, tokens);
        let mut replicas = (0..workers.count()).map(replica).collect::<Result<Vec<_>, _>>()?;
        let rounds = effort.rounds(|| {
            let work = |replica: &mut Replica| replica.share(recipe, &options, kind);
            let shares = workers.map(replicas.iter_mut().collect(), work);
            let mean = |of: fn(&Share) -> f64| shares.iter().map(of).sum::<f64>() / shares.len() as f64;
            let (encoder, loss, backward) =
                (mean(|share| share.encoder), mean(|share| share.loss), mean(|share| share.backward));
            let gradients: Vec<Vec<Tensor>> = shares.into_iter().map(|share| share.gradient).collect();
            let begin = Instant::now();
            optimizer.step(&gradients, 1e-6, 1.0);
            let update = begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            average.update(&parameters);
            Ok([encoder, loss, backward, update, begin.elapsed().as_secs_f64()])
        })?;
        let ms = |at: usize| Spread::of(rounds.iter().map(|round| 1e3 * round[at]).collect());
        let forward = 1e3 * shape.flops(tokens) * (own_rows * tokens) as f64 / machine.peak(kind);
        let trained = parameters.iter().filter(|(_, tensor)| tensor.requires_grad());
        let trained = trained.map(|(_, tensor)| tensor.numel()).sum::<usize>() as f64;
        let width = if kind == Kind::Float { 4.0 } else { 2.0 };
        let in_memory = |bytes: f64| Some(1e3 * bytes * trained / (1e9 * machine.memory_copy.median));
        // Reads and writes a parameter and two moments, reads gradients, writes the copy for products.
        let update = 24.0 + width * (workers.count() as f64 + if kind == Kind::Float { 0.0 } else { 1.0 });
        let phases = [
            ("forward, encoder", Some(forward)),
            ("forward, head and loss", None),
            ("backward", Some(2.0 * forward)),
            ("optimiser", in_memory(update)),
            ("moving average of weights", in_memory(12.0)),
        ];
        let phase =
            |(at, (name, roof_ms)): (usize, (&str, Option<f64>))| Phase { name: name.into(), ms: ms(at), roof_ms };
        Ok(Self { rows, tokens, whole: whole.times(1e3), phases: phases.into_iter().enumerate().map(phase).collect() })
    }

    /// Milliseconds of the trainer's step outside the phases; negative if these alone take longer.
    pub fn rest(&self) -> f64 {
        self.whole.median - self.phases.iter().map(|phase| phase.ms.median).sum::<f64>()
    }
}
