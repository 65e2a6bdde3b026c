use super::masking::mask_row;
use super::recipe::PretrainRecipe;
use super::text::{Epoch, PackedRow, PretrainText};
use crate::error::on_card;
use crate::optimizer::global_norm;
use crate::state;
use crate::{AdamW, GradScaler, TrainError};
use ner_document::derive_seed;
use ner_model::{Batch, BertConfig, MaskedLm, MaskedTokens, Parameters, TrainingPass, Workers};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// The measurements of one update of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PretrainStep {
    /// Step since the start, from 1.
    pub step: usize,
    /// Pass over the text, from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the predicted pieces.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens, special tokens included.
    pub tokens: usize,
    /// Wall time.
    pub elapsed_ms: f64,
    /// Whether the update was skipped because the gradient overflowed (fp16 only).
    pub skipped: bool,
}

/// A measurement on held-out text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy of the predicted pieces.
    pub loss: f64,
    /// exp(loss).
    pub perplexity: f64,
    /// Share of the predicted pieces that are the likeliest of all.
    pub accuracy: f64,
    /// Number of predicted pieces.
    pub pieces: usize,
}

/// Progress of a training when its state was saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PretrainProgress {
    /// Steps taken.
    pub step: usize,
    /// Updates by the optimiser (steps without the skipped ones).
    pub updates: usize,
    /// The scale of the loss.
    pub loss_scale: GradScaler,
    /// Number of steps, if known.
    pub total_steps: Option<usize>,
    /// Time of all steps so far.
    pub elapsed_ms: f64,
}

/// The text and special tokens that rows are made of.
#[derive(Clone, Copy, Debug)]
struct Source<'d> {
    text: &'d PretrainText,
    prefix: &'d [u32],
    suffix: &'d [u32],
    mask_id: u32,
    pieces: u32,
}

/// The loop of masked-language-model training: takes steps. Saving, logging and the budget are up to the caller.
#[derive(Debug)]
pub struct Pretrainer<'d> {
    recipe: PretrainRecipe,
    source: Source<'d>,
    device: Device,
    kind: Kind,
    parameters: Parameters,
    workers: Workers,
    /// One for each worker.
    replicas: Vec<Replica>,
    optimizer: AdamW,
    loss_scale: GradScaler,
    step: usize,
    total_steps: Option<usize>,
    elapsed_ms: f64,
    /// The current epoch, from 0, and its rows.
    epoch: (usize, Epoch),
}

/// Greatest number of held-out rows that a measurement reads: enough for two decimals of the loss, in seconds.
const MOST_ROWS: usize = 512;

/// Rows in a batch without gradients.
const SCORED_ROWS: usize = 16;

impl<'d> Pretrainer<'d> {
    /// A trainer with a copy of `parameters` on `device`. `prefix` and `suffix` are the special tokens around a row, and
    /// `mask_id` is the mask token.
    ///
    /// # Errors
    /// If the recipe does not fit the text, the encoder or this device.
    pub fn new(
        recipe: &PretrainRecipe,
        config: &BertConfig,
        parameters: &Parameters,
        text: &'d PretrainText,
        (prefix, suffix, mask_id): (&'d [u32], &'d [u32], u32),
        device: Device,
    ) -> Result<Self, TrainError> {
        recipe.check().map_err(TrainError::Recipe)?;
        let fault = |message: String| Err(TrainError::Recipe(message));
        let specials = prefix.len() + suffix.len();
        if specials == 0 {
            return fault(
                "the tokenizer puts no special tokens around a text, so documents could not be separated".into(),
            );
        }
        if recipe.max_tokens <= specials || recipe.max_tokens as i64 > config.max_tokens() {
            let (given, most) = (recipe.max_tokens, config.max_tokens());
            return fault(format!("max_tokens = {given}: it must be above {specials} and at most {most}"));
        }
        let room = recipe.max_tokens - specials;
        if text.rows(room) < recipe.step_rows() {
            return fault(format!(
                "the text fills {} rows of {} tokens, but a step needs {}: give more text, or lower batch_tokens or \
                 accumulate",
                text.rows(room),
                recipe.max_tokens,
                recipe.step_rows()
            ));
        }
        let kind = recipe.precision.resolve(device)?;
        let parameters = parameters.to_device(device).requiring_gradients(|_| true);
        let computing = parameters.for_computing(device, kind);
        let workers = Workers::new(device);
        let replica = |_| Replica::new(config, computing.share().requiring_gradients(|_| true));
        Ok(Self {
            replicas: (0..workers.count()).map(replica).collect::<Result<_, _>>()?,
            workers,
            optimizer: AdamW::new(&parameters, &computing, recipe.weight_decay, |name| recipe.rate_of(name)),
            loss_scale: GradScaler::new(kind),
            epoch: (0, Epoch::new(text, room, Some(derive_seed(recipe.seed, 0)))),
            source: Source { text, prefix, suffix, mask_id, pieces: config.vocab_size as u32 },
            recipe: recipe.clone(),
            device,
            kind,
            parameters,
            step: 0,
            total_steps: None,
            elapsed_ms: 0.0,
        })
    }

    /// Steps in a pass over the text.
    pub const fn steps_per_epoch(&self) -> usize {
        self.epoch.1.len() / self.recipe.step_rows()
    }

    /// Steps taken so far.
    pub const fn steps_taken(&self) -> usize {
        self.step
    }

    /// Time of all steps so far, in milliseconds.
    pub const fn elapsed_ms(&self) -> f64 {
        self.elapsed_ms
    }

    /// Number of steps, if known.
    pub const fn total_steps(&self) -> Option<usize> {
        self.total_steps
    }

    /// Sets the number of steps, by which the learning rate falls.
    pub fn end_at(&mut self, steps: usize) {
        self.total_steps = Some(steps);
    }

    /// The weights.
    pub const fn weights(&self) -> &Parameters {
        &self.parameters
    }

    /// One optimisation step.
    ///
    /// # Errors
    /// If the loss or the gradient is infinite or not a number.
    pub fn take_step(&mut self) -> Result<PretrainStep, TrainError> {
        let (device, batch_tokens) = (self.device, self.recipe.batch_tokens);
        on_card(device, batch_tokens, || self.step_of_batches()).flatten()
    }

    fn step_of_batches(&mut self) -> Result<PretrainStep, TrainError> {
        let begin = Instant::now();
        let epoch = self.step / self.steps_per_epoch();
        if self.epoch.0 != epoch {
            let seed = derive_seed(self.recipe.seed, epoch as u64);
            self.epoch = (epoch, Epoch::new(self.source.text, self.room(), Some(seed)));
        }
        let first = self.step % self.steps_per_epoch() * self.recipe.step_rows();
        let scale = self.loss_scale.scale();
        // Randomness depends on the seed and the number of the batch alone, so that a resumed run repeats it.
        let batch = |at: usize| {
            let number = (self.step * self.recipe.accumulate + at) as u64;
            let rows = first + at * self.recipe.batch_rows()..first + (at + 1) * self.recipe.batch_rows();
            self.batch(&self.epoch.1, rows, derive_seed(self.recipe.seed, (1 << 40) + number))
        };
        let batches: Vec<Vec<Part>> = (0..self.recipe.accumulate).map(batch).collect();
        let predicted: usize = batches.iter().flatten().map(Part::predicted).sum();
        let (mut losses, mut tokens) = (Vec::new(), 0);
        // One gradient per worker, of its rows.
        let mut gradients: Vec<Vec<Tensor>> = Vec::new();
        for parts in batches {
            tokens += parts.iter().map(|part| part.batch.tokens()).sum::<usize>();
            let (recipe, device, kind) = (&self.recipe, self.device, self.kind);
            // The step's loss is a mean over all predicted pieces, as if it had one batch.
            let factor = scale / predicted as f64;
            let work = |(replica, part): (&mut Replica, Part)| replica.gradients(&part, recipe, device, kind, factor);
            for (worker, (loss, more)) in
                self.workers.map(self.replicas.iter_mut().zip(parts).collect(), work).into_iter().enumerate()
            {
                losses.push(loss);
                match gradients.get_mut(worker) {
                    Some(sums) => sums.iter_mut().zip(&more).for_each(|(sum, more)| add(sum, more)),
                    None => gradients.push(more),
                }
            }
        }
        // Here this thread first waits for a card.
        let gradient_norm = global_norm(&gradients) / scale;
        let mut loss_sum = 0.0;
        for loss in losses {
            let loss = loss.double_value(&[]);
            if !loss.is_finite() {
                return Err(self.not_finite("loss", loss));
            }
            loss_sum += loss / predicted as f64;
        }
        let learning_rate = self.recipe.learning_rate_at(self.step, self.total_steps);
        let overflow = !gradient_norm.is_finite();
        if overflow && !self.loss_scale.is_dynamic() {
            return Err(self.not_finite("gradient", gradient_norm));
        }
        self.loss_scale.update(overflow);
        if !overflow {
            let limit = self.recipe.max_grad_norm;
            let clip = if limit > 0.0 && gradient_norm > limit { limit / gradient_norm } else { 1.0 };
            self.optimizer.step(&gradients, learning_rate, clip / scale);
        }
        self.step += 1;
        let elapsed_ms = begin.elapsed().as_secs_f64() * 1e3;
        self.elapsed_ms += elapsed_ms;
        let (step, epoch) = (self.step, epoch + 1);
        let skipped = overflow;
        Ok(PretrainStep { step, epoch, loss: loss_sum, learning_rate, gradient_norm, tokens, elapsed_ms, skipped })
    }

    /// Places of a row beside the special tokens.
    const fn room(&self) -> usize {
        self.recipe.max_tokens - self.source.prefix.len() - self.source.suffix.len()
    }

    /// Rows of an epoch, masked, with one part for each worker.
    fn batch(&self, epoch: &Epoch, rows: Range<usize>, seed: u64) -> Vec<Part> {
        let mut random = SmallRng::seed_from_u64(seed);
        let count = self.replicas.len().min(rows.len());
        let mut parts: Vec<Part> = (0..count).map(|at| Part::new(derive_seed(seed, at as u64))).collect();
        for (at, row) in rows.enumerate() {
            let row = epoch.row(self.source.text, row, self.source.prefix, self.source.suffix);
            parts[at % count].push(row, &self.source, &self.recipe, &mut random);
        }
        parts
    }

    /// Measures the current weights on held-out text: all its rows, or a subset that is spread evenly over it. The
    /// masked pieces are the same in every measurement. `None` if the text fills no row.
    pub fn evaluate(&mut self, text: &PretrainText) -> Option<Evaluation> {
        let source = Source { text, ..self.source };
        let epoch = Epoch::new(text, self.room(), None);
        let count = epoch.len().min(MOST_ROWS);
        let rows: Vec<usize> = (0..count).map(|at| at * epoch.len() / count).collect();
        let batches: Vec<Part> = rows
            .chunks(SCORED_ROWS)
            .map(|rows| {
                let mut part = Part::new(0);
                for &row in rows {
                    let mut random = SmallRng::seed_from_u64(row as u64);
                    part.push(epoch.row(text, row, source.prefix, source.suffix), &source, &self.recipe, &mut random);
                }
                part
            })
            .collect();
        let (next, scores) = (Mutex::new(batches.iter().enumerate()), Mutex::new(vec![(0.0, 0); batches.len()]));
        let kind = self.kind;
        self.workers.map(self.replicas.iter_mut().collect(), |replica: &mut Replica| {
            loop {
                let job = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((at, part)) = job else { break };
                let score = replica.model.score(&part.batch, &part.masked, kind);
                scores.lock().unwrap_or_else(PoisonError::into_inner)[at] = score;
            }
        });
        let scores = scores.into_inner().unwrap_or_else(PoisonError::into_inner);
        let pieces: usize = batches.iter().map(Part::predicted).sum();
        // Summed in the order of the rows, whichever worker was first.
        let (losses, right) = scores.iter().fold((0.0, 0), |sums, score| (sums.0 + score.0, sums.1 + score.1));
        let loss = losses / pieces as f64;
        (pieces > 0).then(|| Evaluation {
            loss,
            perplexity: loss.exp(),
            accuracy: right as f64 / pieces as f64,
            pieces,
        })
    }

    fn not_finite(&self, what: &'static str, value: f64) -> TrainError {
        // The rows mix documents, and their ids would say nothing.
        TrainError::NotFinite { what, value, step: self.step + 1, documents: vec!["many".into()] }
    }

    /// Saves the state into a new folder under `folder`, then removes earlier states. If the process dies in between,
    /// the earlier state stays intact.
    ///
    /// # Errors
    /// If it cannot be written; the earlier state then still exists.
    pub fn save_state(&self, folder: &Path) -> Result<(), TrainError> {
        let progress = PretrainProgress {
            step: self.step,
            updates: self.optimizer.updates(),
            loss_scale: self.loss_scale,
            total_steps: self.total_steps,
            elapsed_ms: self.elapsed_ms,
        };
        let mut tensors = self.optimizer.state();
        tensors.extend(self.parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())));
        state::write(folder, self.step, tensors, &progress)
    }

    /// Restores the last saved state. Returns `None` if no state was saved.
    ///
    /// # Errors
    /// If the state cannot be read or belongs to another model.
    pub fn restore_state(&mut self, folder: &Path) -> Result<Option<PretrainProgress>, TrainError> {
        let Some((progress, tensors)) = state::read::<PretrainProgress>(folder)? else { return Ok(None) };
        state::copy_weights(&self.parameters, &tensors, folder)?;
        tch::no_grad(|| self.optimizer.restore(progress.updates, &tensors))?;
        (self.step, self.loss_scale) = (progress.step, progress.loss_scale);
        (self.total_steps, self.elapsed_ms) = (progress.total_steps, progress.elapsed_ms);
        Ok(Some(progress))
    }
}

/// Adds a gradient to a sum, in fp32.
fn add(sum: &mut Tensor, more: &Tensor) {
    *sum = sum.to_kind(Kind::Float) + more;
}

/// The rows of a batch that one worker computes.
#[derive(Debug)]
struct Part {
    batch: Batch,
    masked: Vec<MaskedTokens>,
    /// Seed of its dropout.
    seed: u64,
}

impl Part {
    fn new(seed: u64) -> Self {
        Self { batch: Batch::default(), masked: Vec::new(), seed }
    }

    fn push(&mut self, mut row: PackedRow, source: &Source<'_>, recipe: &PretrainRecipe, random: &mut SmallRng) {
        let units: Vec<Range<usize>> = match recipe.whole_words {
            true => row.words,
            false => row.words.iter().flat_map(|word| word.clone().map(|at| at..at + 1)).collect(),
        };
        let Source { mask_id, pieces, .. } = *source;
        self.masked.push(mask_row(&mut row.input_ids, &units, recipe.masking, mask_id, pieces, random));
        self.batch.rows.push(row.input_ids);
    }

    fn predicted(&self) -> usize {
        self.masked.iter().map(Vec::len).sum()
    }
}

/// One worker's copy of the model. All copies share the storage of their parameters.
#[derive(Debug)]
struct Replica {
    model: MaskedLm,
    leaves: Vec<Tensor>,
}

impl Replica {
    fn new(config: &BertConfig, parameters: Parameters) -> Result<Self, TrainError> {
        let leaves = parameters.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        Ok(Self { model: MaskedLm::new(config, &parameters, MaskedLm::activation(config))?, leaves })
    }

    /// The summed loss of a part, a scalar, and the gradient of that sum times `factor`. Neither waits for a card.
    fn gradients(
        &self,
        part: &Part,
        recipe: &PretrainRecipe,
        device: Device,
        kind: Kind,
        factor: f64,
    ) -> (Tensor, Vec<Tensor>) {
        let mut pass = TrainingPass::new(part.seed, device, recipe.dropout, recipe.attention_dropout);
        pass.gradient_checkpointing = recipe.gradient_checkpointing;
        let loss = self.model.loss_sum(&part.batch, &part.masked, kind, Some(&mut pass));
        let value = loss.detach();
        let leaves: Vec<&Tensor> = self.leaves.iter().collect();
        (value, self.model.gradients(&(loss * factor), &leaves, &mut pass))
    }
}
