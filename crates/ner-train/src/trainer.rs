use crate::optimizer::global_norm;
use crate::{AdamW, Crop, Ema, GradScaler, Recipe, TrainError, TrainingSet};
use ner_document::derive_seed;
use ner_model::{
    Batch, BertConfig, Classifier, Head, IGNORE_INDEX, LossOptions, Parameters, Targets, TrainingPass, Workers,
};
use ner_text::shuffled_batches;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::ops::Range;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// The measurements of one update of the weights.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Step {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Step since the start of training, from 1.
    pub step: usize,
    /// Mean loss over everything that its batches count.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens without padding, special tokens included.
    pub tokens: usize,
    /// Tokens without special tokens.
    pub pieces: usize,
    /// Wall time.
    pub elapsed_ms: f64,
    /// Whether the update was skipped because the gradient overflowed (fp16 only; the loss scale is then halved).
    pub skipped: bool,
}

/// The training loop: yields steps. Saving, logging and evaluating are up to the caller.
#[derive(Debug)]
pub struct Trainer<'d> {
    recipe: Recipe,
    options: LossOptions,
    data: &'d TrainingSet,
    device: Device,
    kind: Kind,
    /// Width of the embeddings.
    embedding_size: i64,
    pub(crate) parameters: Parameters,
    workers: Workers,
    /// One for each worker.
    replicas: Vec<Replica>,
    pub(crate) optimizer: AdamW,
    pub(crate) average: Option<Ema>,
    pub(crate) loss_scale: GradScaler,
    /// Steps taken, skipped ones included.
    pub(crate) step: usize,
    /// Completed epochs.
    pub(crate) epoch: usize,
    total_steps: usize,
}

impl<'d> Trainer<'d> {
    /// A trainer with a copy of `parameters` on `device`.
    ///
    /// # Errors
    /// If the recipe does not fit these data or this device.
    pub fn new(
        recipe: &Recipe,
        config: &BertConfig,
        parameters: &Parameters,
        data: &'d TrainingSet,
        device: Device,
    ) -> Result<Self, TrainError> {
        recipe.check().map_err(TrainError::Recipe)?;
        if data.documents.iter().all(|document| document.input_ids.is_empty()) {
            return Err(TrainError::Recipe("the training split has no text".into()));
        }
        if recipe.head() == Head::Assertion && data.documents.iter().all(|document| document.entities.is_empty()) {
            return Err(TrainError::Recipe("the training split has no mention with an assertion".into()));
        }
        if recipe.token_masking > 0.0 && data.mask_id.is_none() {
            return Err(TrainError::Recipe("token_masking is above 0, but the tokenizer has no mask token".into()));
        }
        let specials = data.prefix.len() + data.suffix.len();
        if recipe.max_tokens <= specials {
            let message = format!(
                "max_tokens = {}: it must be above {specials}, the number of special tokens",
                recipe.max_tokens
            );
            return Err(TrainError::Recipe(message));
        }
        let kind = recipe.precision.resolve(device)?;
        let layers = config.num_hidden_layers;
        if recipe.freeze_layers as i64 > layers {
            let message = format!("freeze_layers = {}: the encoder has {layers} layers only", recipe.freeze_layers);
            return Err(TrainError::Recipe(message));
        }
        let options = recipe.loss_options(&data.types).map_err(TrainError::Recipe)?;
        let trained = |name: &str| recipe.trains(name);
        let parameters = parameters.to_device(device).requiring_gradients(trained);
        let computing = parameters.for_computing(device, kind);
        let workers = Workers::new(device);
        let replica = |_| Replica::new(config, computing.share().requiring_gradients(trained), recipe);
        Ok(Self {
            replicas: (0..workers.count()).map(replica).collect::<Result<_, _>>()?,
            workers,
            optimizer: AdamW::new(&parameters, &computing, recipe.weight_decay, |name| recipe.rate_of(name, layers)),
            average: (recipe.ema_decay > 0.0).then(|| Ema::new(&parameters, recipe.ema_decay)),
            loss_scale: GradScaler::new(kind),
            recipe: recipe.clone(),
            options,
            data,
            device,
            kind,
            embedding_size: config.embedding_size,
            parameters,
            step: 0,
            epoch: 0,
            total_steps: (0..recipe.epochs).map(|epoch| steps_of_epoch(data, recipe, epoch)).sum(),
        })
    }

    /// Total number of steps.
    pub const fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// Steps taken so far.
    pub const fn steps_taken(&self) -> usize {
        self.step
    }

    /// Completed epochs.
    pub const fn epochs_done(&self) -> usize {
        self.epoch
    }

    /// Tokens per epoch, without special tokens; for a head that skips crops, at most as many.
    pub fn tokens_per_epoch(&self) -> usize {
        self.data.documents.iter().map(|document| document.input_ids.len()).sum()
    }

    /// The weights to evaluate and save: the moving average if there is one, else the current weights.
    pub fn weights(&self) -> &Parameters {
        self.average.as_ref().map_or(&self.parameters, Ema::parameters)
    }

    /// Copies of each row in a batch.
    fn copies(&self) -> usize {
        if self.recipe.r_drop > 0.0 { 2 } else { 1 }
    }

    /// The steps of the next epoch. Dropping the iterator early leaves the epoch unfinished.
    pub fn next_epoch(&mut self) -> impl Iterator<Item = Result<Step, TrainError>> {
        let batches = batches(self.data, &self.recipe, self.epoch);
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

    /// One optimisation step over the crops of `batches`, as if they were one batch.
    fn take_step(&mut self, batches: &[Vec<Crop>]) -> Result<Step, TrainError> {
        let begin = Instant::now();
        let (mut loss_sum, mut tokens, mut pieces) = (0.0, 0, 0);
        // One gradient per worker, of its rows.
        let mut gradients: Vec<Vec<Tensor>> = Vec::new();
        let scale = self.loss_scale.scale();
        // Randomness in a micro step depends on its number alone, so that a resumed run repeats it.
        let seed =
            |at: usize| derive_seed(self.recipe.seed, (1 << 40) + (self.step * self.recipe.accumulate + at) as u64);
        let collated: Vec<MicroBatch> =
            batches.iter().enumerate().map(|(at, crops)| self.collate(crops, seed(at))).collect();
        let counted: f64 = collated.iter().map(|batch| batch.counted).sum();
        for (crops, MicroBatch { parts, counted: own }) in batches.iter().zip(collated) {
            tokens += parts.iter().map(|part| part.batch.tokens()).sum::<usize>() / self.copies();
            pieces += crops.iter().map(Crop::len).sum::<usize>();
            // The step's loss is a mean over everything that its batches count, as if they were one.
            let share = if counted > 0.0 { own / counted } else { 1.0 / batches.len() as f64 };
            let pass = Pass {
                recipe: &self.recipe,
                options: &self.options,
                device: self.device,
                kind: self.kind,
                embedding_size: self.embedding_size,
                factor: scale * share,
            };
            let work = |(replica, part): (&mut Replica, Part)| replica.gradients(&part, &pass);
            let results = self.workers.map(self.replicas.iter_mut().zip(parts).collect(), work);
            for (worker, (loss, more)) in results.into_iter().enumerate() {
                if !loss.is_finite() {
                    return Err(self.not_finite("loss", loss, crops));
                }
                loss_sum += loss * share;
                match gradients.get_mut(worker) {
                    Some(sums) => sums.iter_mut().zip(&more).for_each(|(sum, more)| {
                        *sum = sum.to_kind(Kind::Float) + more;
                    }),
                    None => gradients.push(more),
                }
            }
        }
        let gradient_norm = global_norm(&gradients) / scale;
        let learning_rate = self.recipe.learning_rate_at(self.step, self.total_steps);
        let overflow = !gradient_norm.is_finite();
        if overflow && !self.loss_scale.is_dynamic() {
            return Err(self.not_finite("gradient", gradient_norm, &batches.concat()));
        }
        self.loss_scale.update(overflow);
        if !overflow {
            let limit = self.recipe.max_grad_norm;
            let clip = if limit > 0.0 && gradient_norm > limit { limit / gradient_norm } else { 1.0 };
            self.optimizer.step(&gradients, learning_rate, clip / scale);
            if let Some(average) = &mut self.average {
                average.update(&self.parameters);
            }
        }
        self.step += 1;
        Ok(Step {
            epoch: self.epoch + 1,
            step: self.step,
            loss: loss_sum,
            learning_rate,
            gradient_norm,
            tokens,
            pieces,
            elapsed_ms: begin.elapsed().as_secs_f64() * 1e3,
            skipped: overflow,
        })
    }

    /// Splits the crops into one batch per worker, masks some of their pieces, and collects the targets.
    fn collate(&self, crops: &[Crop], seed: u64) -> MicroBatch {
        let mut random = SmallRng::seed_from_u64(seed ^ 1);
        let TrainingSet { documents, prefix, suffix, mask_id, .. } = self.data;
        let count = self.replicas.len().min(crops.len());
        let mut parts: Vec<Part> =
            (0..count).map(|at| Part::new(if at == 0 { seed } else { derive_seed(seed, at as u64) })).collect();
        // Dealt out in turn, because the crops are sorted by length.
        for (at, crop) in crops.iter().enumerate() {
            let Part { batch, targets, .. } = &mut parts[at % count];
            let document = &documents[crop.document];
            let mut pieces = document.input_ids[crop.start..crop.end].to_vec();
            for piece in &mut pieces {
                if let Some(mask_id) = mask_id.filter(|_| random.random_bool(self.recipe.token_masking)) {
                    *piece = mask_id;
                }
            }
            batch.rows.push([prefix.as_slice(), &pieces, suffix].concat());
            let ignored = |specials: &[u32]| vec![IGNORE_INDEX; specials.len()];
            let labels = &document.labels[crop.start..crop.end];
            targets.labels.push([&ignored(prefix), labels, &ignored(suffix)].concat());
            let (words, entities) = document.words_of(crop);
            let in_row = |word: Range<usize>| word.start + prefix.len()..word.end + prefix.len();
            targets.words.push(words.into_iter().map(in_row).collect());
            targets.entities.push(entities);
            targets.unannotated.extend(document.unannotated.clone());
        }
        let weights: Vec<f64> = parts.iter().map(|part| self.replicas[0].model.weight(&part.targets) as f64).collect();
        let all: f64 = weights.iter().sum();
        for (part, weight) in parts.iter_mut().zip(weights) {
            part.share = if all > 0.0 { weight / all } else { 1.0 / count as f64 };
            if self.recipe.r_drop > 0.0 {
                // Each row twice; dropout makes the copies differ.
                part.batch.rows.extend_from_within(..);
                part.targets.labels.extend_from_within(..);
                part.targets.words.extend_from_within(..);
                part.targets.entities.extend_from_within(..);
                part.targets.unannotated.extend_from_within(..);
            }
        }
        MicroBatch { parts, counted: all }
    }

    fn not_finite(&self, what: &'static str, value: f64, crops: &[Crop]) -> TrainError {
        let mut documents: Vec<String> =
            crops.iter().map(|crop| self.data.documents[crop.document].id.clone()).collect();
        documents.sort();
        documents.dedup();
        TrainError::NotFinite { what, value, step: self.step + 1, documents }
    }
}

/// The batches of an epoch: new crops, those of similar length together.
fn batches(data: &TrainingSet, recipe: &Recipe, epoch: usize) -> Vec<Vec<Crop>> {
    let seed = derive_seed(recipe.seed, epoch as u64);
    let specials = data.prefix.len() + data.suffix.len();
    let mut crops = data.crops(recipe.shortest_crop, recipe.longest_crop, recipe.max_tokens - specials, seed);
    if recipe.head() == Head::Assertion {
        // The others add nothing to its loss.
        crops.retain(|crop| !data.documents[crop.document].words_of(crop).1.is_empty());
    }
    let lengths: Vec<usize> = crops.iter().map(|crop| crop.len() + specials).collect();
    let batches = shuffled_batches(&lengths, recipe.batch_tokens, seed);
    batches.into_iter().map(|batch| batch.into_iter().map(|at| crops[at]).collect()).collect()
}

/// Number of steps in an epoch (from 0) of a recipe that [`Trainer::new`] accepts.
pub fn steps_of_epoch(data: &TrainingSet, recipe: &Recipe, epoch: usize) -> usize {
    batches(data, recipe, epoch).len().div_ceil(recipe.accumulate)
}

/// The batch of one backward pass, with one part for each worker.
#[derive(Debug)]
struct MicroBatch {
    parts: Vec<Part>,
    /// Number of terms in the mean of its loss.
    counted: f64,
}

/// The rows of a batch that one worker computes.
#[derive(Debug)]
struct Part {
    batch: Batch,
    targets: Targets,
    /// Seed of its dropout.
    seed: u64,
    /// Its weight in the batch's mean loss.
    share: f64,
}

impl Part {
    fn new(seed: u64) -> Self {
        Self { batch: Batch::default(), targets: Targets::default(), seed, share: 1.0 }
    }
}

/// One worker's copy of the model. All copies share the storage of their parameters.
#[derive(Debug)]
struct Replica {
    model: Classifier,
    /// The trained parameters.
    leaves: Vec<Tensor>,
}

impl Replica {
    fn new(config: &BertConfig, parameters: Parameters, recipe: &Recipe) -> Result<Self, TrainError> {
        let leaves =
            parameters.iter().map(|(_, tensor)| tensor.shallow_clone()).filter(Tensor::requires_grad).collect();
        Ok(Self { model: Classifier::new(config, &parameters, recipe.head())?, leaves })
    }

    /// A part's contribution to the loss of its batch, and the gradient of that loss times the factor. The gradient is
    /// empty if the loss is not finite.
    fn gradients(&mut self, part: &Part, pass: &Pass<'_>) -> (f64, Vec<Tensor>) {
        let Pass { recipe, options, device, kind, embedding_size, factor } = *pass;
        let Part { batch, targets, seed, share } = part;
        let dropout = || {
            let mut dropout = TrainingPass::new(*seed, device, recipe.dropout, recipe.attention_dropout);
            dropout.gradient_checkpointing = recipe.gradient_checkpointing;
            dropout
        };
        let mut first = dropout();
        let mut leaves: Vec<&Tensor> = self.leaves.iter().collect();
        // A zero perturbation: its gradient points in the direction that increases the loss.
        let size = [batch.rows.len() as i64, batch.width() as i64, embedding_size];
        let origin =
            (recipe.adversarial > 0.0).then(|| Tensor::zeros(size, (Kind::Float, device)).set_requires_grad(true));
        if let Some(origin) = &origin {
            first.perturbation = Some(origin.shallow_clone());
            leaves.push(origin);
        }
        let loss = self.model.loss(batch, targets, kind, &mut first, options) * *share;
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return (value, Vec::new());
        }
        // Returned instead of accumulated into the leaves, which would cost one pass over all parameters to clear them
        // and another to add.
        let mut gradients = self.model.gradients(&(loss * factor), &leaves, &mut first);
        if origin.is_some()
            && let Some(uphill) = gradients.pop()
        {
            let norm = uphill.norm_scalaropt_dim(2.0, [1, 2], true).clamp_min(1e-12);
            // The same dropout as before: it depends on the seed alone.
            let mut second = dropout();
            second.perturbation = Some(uphill / norm * recipe.adversarial);
            let loss = self.model.loss(batch, targets, kind, &mut second, options) * *share;
            let leaves: Vec<&Tensor> = self.leaves.iter().collect();
            let more = self.model.gradients(&(loss * factor), &leaves, &mut second);
            gradients.iter_mut().zip(&more).for_each(|(sum, more)| *sum = sum.to_kind(Kind::Float) + more);
        }
        (value, gradients)
    }
}

/// Settings shared by all parts of a batch.
struct Pass<'r> {
    recipe: &'r Recipe,
    options: &'r LossOptions,
    device: Device,
    kind: Kind,
    embedding_size: i64,
    /// Factor on the loss before the backward pass.
    factor: f64,
}
