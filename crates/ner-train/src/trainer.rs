use crate::{AdamW, Average, LossScale, Recipe, TrainError};
use ner_data::shuffled_batches;
use ner_model::{Batch, BertConfig, Dropout, IGNORE_INDEX, Parameters, TokenClassifier, cross_entropy};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::time::Instant;
use tch::{Device, Kind};

/// One window of the training data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingRow {
    /// Word pieces, the special tokens included.
    pub input_ids: Vec<u32>,
    /// Label number of each piece, or [`IGNORE_INDEX`].
    pub labels: Vec<i64>,
    /// Place of the document in its split.
    pub document: usize,
}

/// What a trainer learns from.
#[derive(Clone, Debug, Default)]
pub struct TrainingSet {
    /// The windows.
    pub rows: Vec<TrainingRow>,
    /// Ids of the documents, for messages.
    pub document_ids: Vec<String>,
    /// Number of the mask token.
    pub mask_id: Option<u32>,
}

/// One update of the weights, as it went.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Step {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Step of the whole training, from 1.
    pub step: usize,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens that were no padding.
    pub tokens: usize,
    /// Wall time.
    pub elapsed_ms: f64,
    /// Whether the update was left out because the gradient overflowed (fp16 only; the loss scale is then halved).
    pub skipped: bool,
}

/// The training loop: yields steps; saving, logging and evaluating stand outside.
#[derive(Debug)]
pub struct Trainer<'d> {
    recipe: Recipe,
    data: &'d TrainingSet,
    lengths: Vec<usize>,
    device: Device,
    kind: Kind,
    pub(crate) parameters: Parameters,
    model: TokenClassifier,
    pub(crate) optimizer: AdamW,
    pub(crate) average: Option<Average>,
    pub(crate) loss_scale: LossScale,
    /// Steps taken, skipped ones included.
    pub(crate) step: usize,
    /// Epochs ended.
    pub(crate) epoch: usize,
    total_steps: usize,
}

impl<'d> Trainer<'d> {
    /// A trainer of a copy of `parameters` on `device`.
    ///
    /// # Errors
    /// Where the recipe makes no sense for these data and this device.
    pub fn new(
        recipe: &Recipe,
        config: &BertConfig,
        parameters: &Parameters,
        data: &'d TrainingSet,
        device: Device,
    ) -> Result<Self, TrainError> {
        recipe.check().map_err(TrainError::Recipe)?;
        if data.rows.is_empty() {
            return Err(TrainError::Recipe("the training split has no text".into()));
        }
        if recipe.token_masking > 0.0 && data.mask_id.is_none() {
            return Err(TrainError::Recipe("token_masking is above 0 and the tokenizer has no mask token".into()));
        }
        let kind = recipe.precision.resolve(device)?;
        let parameters = parameters.to_device(device).requiring_gradients();
        let mut trainer = Self {
            lengths: data.rows.iter().map(|row| row.input_ids.len()).collect(),
            model: TokenClassifier::new(config, &parameters)?,
            optimizer: AdamW::new(&parameters, recipe.weight_decay),
            average: (recipe.ema_decay > 0.0).then(|| Average::new(&parameters, recipe.ema_decay)),
            loss_scale: LossScale::new(kind),
            recipe: recipe.clone(),
            data,
            device,
            kind,
            parameters,
            step: 0,
            epoch: 0,
            total_steps: 0,
        };
        trainer.total_steps = (0..recipe.epochs).map(|epoch| trainer.steps_of(epoch)).sum();
        Ok(trainer)
    }

    /// Steps of the whole training.
    pub const fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// Steps taken so far.
    pub const fn steps_taken(&self) -> usize {
        self.step
    }

    /// Epochs ended so far.
    pub const fn epochs_done(&self) -> usize {
        self.epoch
    }

    /// Tokens of an epoch that are no padding.
    pub fn tokens_per_epoch(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The weights to evaluate and save: the moving average, or the weights themselves where none is kept.
    pub fn weights(&self) -> &Parameters {
        self.average.as_ref().map_or(&self.parameters, Average::parameters)
    }

    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        shuffled_batches(&self.lengths, self.recipe.batch_tokens, mix(self.recipe.seed, epoch as u64))
    }

    fn steps_of(&self, epoch: usize) -> usize {
        self.batches(epoch).len().div_ceil(self.recipe.accumulate)
    }

    /// The steps of the next epoch. Dropping the iterator early leaves the epoch unfinished.
    pub fn next_epoch(&mut self) -> impl Iterator<Item = Result<Step, TrainError>> {
        let batches = self.batches(self.epoch);
        let mut groups = batches.chunks(self.recipe.accumulate).map(<[_]>::to_vec).collect::<Vec<_>>().into_iter();
        std::iter::from_fn(move || match groups.next() {
            Some(group) => Some(self.take_step(&group)),
            None => {
                self.epoch += 1;
                None
            }
        })
        .fuse()
    }

    /// One optimisation step over the rows of `batches`, whose gradients are averaged.
    fn take_step(&mut self, batches: &[Vec<usize>]) -> Result<Step, TrainError> {
        let begin = Instant::now();
        let (mut loss_sum, mut tokens) = (0.0, 0);
        let scale = self.loss_scale.scale();
        for (at, rows) in batches.iter().enumerate() {
            // What is random in a micro step depends on its number alone, so that a resumed run repeats it.
            let seed = mix(self.recipe.seed, (1 << 40) + (self.step * self.recipe.accumulate + at) as u64);
            let (batch, labels) = self.collate(rows, seed);
            let mut dropout = Dropout::new(seed, self.device, self.recipe.dropout, self.recipe.attention_dropout);
            let logits = self.model.forward(&batch, self.kind, Some(&mut dropout));
            let loss = cross_entropy(&logits, &labels, self.recipe.label_smoothing);
            let value = loss.double_value(&[]);
            if !value.is_finite() {
                return Err(self.not_finite("loss", value, rows));
            }
            (loss * (scale / batches.len() as f64)).backward();
            loss_sum += value;
            tokens += batch.tokens();
        }
        let gradient_norm = self.optimizer.gradient_norm(scale);
        let learning_rate = self.recipe.learning_rate_at(self.step, self.total_steps);
        let overflow = !gradient_norm.is_finite();
        if overflow && !self.loss_scale.is_dynamic() {
            return Err(self.not_finite("gradient", gradient_norm, &batches.concat()));
        }
        self.loss_scale.update(overflow);
        if overflow {
            self.optimizer.clear_gradients();
        } else {
            let limit = self.recipe.max_grad_norm;
            let clip = if limit > 0.0 && gradient_norm > limit { limit / gradient_norm } else { 1.0 };
            self.optimizer.step(learning_rate, clip / scale);
            if let Some(average) = &mut self.average {
                average.update(&self.parameters);
            }
        }
        self.step += 1;
        Ok(Step {
            epoch: self.epoch + 1,
            step: self.step,
            loss: loss_sum / batches.len() as f64,
            learning_rate,
            gradient_norm,
            tokens,
            elapsed_ms: begin.elapsed().as_secs_f64() * 1e3,
            skipped: overflow,
        })
    }

    /// The rows as a batch, some of their tokens masked, and their labels.
    fn collate(&self, rows: &[usize], seed: u64) -> (Batch, Vec<Vec<i64>>) {
        let mut random = SmallRng::seed_from_u64(seed ^ 1);
        let mut masked = |row: &TrainingRow| {
            let mut input_ids = row.input_ids.clone();
            let Some(mask_id) = self.data.mask_id else { return input_ids };
            for (id, &label) in input_ids.iter_mut().zip(&row.labels) {
                if label != IGNORE_INDEX && random.random_bool(self.recipe.token_masking) {
                    *id = mask_id;
                }
            }
            input_ids
        };
        let rows = rows.iter().map(|&row| &self.data.rows[row]);
        (Batch { rows: rows.clone().map(&mut masked).collect() }, rows.map(|row| row.labels.clone()).collect())
    }

    fn not_finite(&self, what: &'static str, value: f64, rows: &[usize]) -> TrainError {
        let mut documents: Vec<String> =
            rows.iter().map(|&row| self.data.document_ids[self.data.rows[row].document].clone()).collect();
        documents.dedup();
        TrainError::NotFinite { what, value, step: self.step + 1, documents }
    }
}

/// A seed for each of a run's random streams (Steele et al. 2014, SplitMix64's output function).
fn mix(seed: u64, stream: u64) -> u64 {
    let mut z = seed.wrapping_add(stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
