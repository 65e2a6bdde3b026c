use crate::error::on_card;
use crate::optimizer::global_norm;
use crate::{AdamW, Crop, Ema, GradScaler, Recipe, TrainError, TrainingSet};
use ner_document::derive_seed;
use ner_model::{
    Batch, BertConfig, Classifier, Head, IGNORE_INDEX, LossOptions, Parameters, Targets, TrainingPass, Workers,
};
use ner_text::shuffled_batches;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
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
    /// The corpus, and then further sources of batches.
    sources: Vec<Source<'d>>,
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
        Self::with_further(recipe, config, parameters, data, Vec::new(), device)
    }

    /// The same with further sources of batches.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_further(
        recipe: &Recipe,
        config: &BertConfig,
        parameters: &Parameters,
        data: &'d TrainingSet,
        further: Vec<Further<'d>>,
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
        let mut all: Vec<(String, Tensor)> =
            parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect();
        let mut heads = vec![String::new()];
        let mut sources = vec![Source { data, head: 0, weight: 1.0, batches: 1.0, options: options.clone() }];
        for Further { data, batches, task } in further {
            let source = match task {
                FurtherTask::Unlabelled => {
                    let options = LossOptions { distillation: 1.0, ..options.clone() };
                    Source { data, head: 0, weight: 1.0, batches, options }
                }
                FurtherTask::Auxiliary { name, weight, head } => {
                    let prefix = format!("{AUXILIARY}{name}.");
                    let renamed =
                        |(name, tensor): (&str, &Tensor)| (name.replacen(HEAD, &prefix, 1), tensor.shallow_clone());
                    all.extend(head.iter().map(renamed));
                    heads.push(prefix);
                    // The weights are those of the corpus's types.
                    let options = LossOptions { class_weights: Vec::new(), ..options.clone() };
                    Source { data, head: heads.len() - 1, weight, batches, options }
                }
            };
            sources.push(source);
        }
        let trained = |name: &str| recipe.trains(name);
        let (parameters, computing) = on_card(device, recipe.batch_tokens, || {
            let parameters = Parameters::new(all).to_device(device).requiring_gradients(trained);
            let computing = parameters.for_computing(device, kind);
            (parameters, computing)
        })?;
        let workers = Workers::new(device);
        let replica = |_| Replica::new(config, computing.share().requiring_gradients(trained), recipe, &heads);
        Ok(Self {
            replicas: (0..workers.count()).map(replica).collect::<Result<_, _>>()?,
            workers,
            optimizer: AdamW::new(&parameters, &computing, recipe.weight_decay, |name| recipe.rate_of(name, layers)),
            average: (recipe.ema_decay > 0.0).then(|| Ema::new(&parameters, recipe.ema_decay)),
            loss_scale: GradScaler::new(kind),
            recipe: recipe.clone(),
            device,
            kind,
            embedding_size: config.embedding_size,
            parameters,
            step: 0,
            epoch: 0,
            total_steps: (0..recipe.epochs)
                .map(|epoch| all_batches(&sources, recipe, epoch).len().div_ceil(recipe.accumulate))
                .sum(),
            sources,
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
        if self.sources.len() > 1 {
            // About as many in each epoch.
            return all_batches(&self.sources, &self.recipe, 0)
                .iter()
                .flat_map(|batch| &batch.crops)
                .map(Crop::len)
                .sum();
        }
        self.sources[0].data.documents.iter().map(|document| document.input_ids.len()).sum()
    }

    /// The weights to evaluate and save: the moving average if there is one, else the current weights.
    pub fn weights(&self) -> &Parameters {
        self.average.as_ref().map_or(&self.parameters, Ema::parameters)
    }

    /// The same without the heads of auxiliary corpora; shares their storage.
    pub fn model_weights(&self) -> Parameters {
        let own = self.weights().iter().filter(|(name, _)| !name.starts_with(AUXILIARY));
        Parameters::new(own.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect())
    }

    /// Copies of each row in a batch.
    fn copies(&self) -> usize {
        if self.recipe.r_drop > 0.0 { 2 } else { 1 }
    }

    /// The steps of the next epoch. Dropping the iterator early leaves the epoch unfinished.
    pub fn next_epoch(&mut self) -> impl Iterator<Item = Result<Step, TrainError>> {
        let batches = all_batches(&self.sources, &self.recipe, self.epoch);
        let groups = batches.chunks(self.recipe.accumulate).map(<[_]>::to_vec).collect::<Vec<_>>();
        let mut groups = groups.into_iter().peekable();
        let mut ahead = None;
        std::iter::from_fn(move || match groups.next() {
            Some(group) => {
                let next = groups.peek();
                let (device, batch_tokens) = (self.device, self.recipe.batch_tokens);
                Some(on_card(device, batch_tokens, || self.take_step(&group, &mut ahead, next)).flatten())
            }
            None => {
                self.epoch += 1;
                None
            }
        })
        .fuse()
    }

    /// One optimisation step over the crops of `batches`, as if they were one batch. `ahead` holds these batches if the
    /// step before has collated them; on a card this step leaves the `next` ones there.
    fn take_step(
        &mut self,
        batches: &[Drawn],
        ahead: &mut Option<Vec<MicroBatch>>,
        next: Option<&Vec<Drawn>>,
    ) -> Result<Step, TrainError> {
        let begin = Instant::now();
        let (mut losses, mut tokens, mut pieces) = (Vec::new(), 0, 0);
        // One gradient per worker, of its rows.
        let mut gradients: Vec<Vec<Tensor>> = Vec::new();
        let scale = self.loss_scale.scale();
        let collated = ahead.take().unwrap_or_else(|| self.collated(batches, self.step));
        let counted: f64 = collated.iter().map(|batch| batch.counted).sum();
        for (batch, MicroBatch { parts, counted: own }) in batches.iter().zip(collated) {
            let source = &self.sources[batch.source];
            tokens += parts.iter().map(|part| part.batch.tokens()).sum::<usize>() / self.copies();
            pieces += batch.crops.iter().map(Crop::len).sum::<usize>();
            // The step's loss is a mean over everything that its batches count, as if they were one.
            let share = if counted > 0.0 { own / counted } else { 1.0 / batches.len() as f64 };
            let pass = Pass {
                recipe: &self.recipe,
                options: &source.options,
                head: source.head,
                device: self.device,
                kind: self.kind,
                embedding_size: self.embedding_size,
                factor: scale * share * source.weight,
            };
            let work = |(replica, part): (&mut Replica, Part)| replica.gradients(&part, &pass);
            let results = self.workers.map(self.replicas.iter_mut().zip(parts).collect(), work);
            for (worker, (loss, more)) in results.into_iter().enumerate() {
                losses.push((loss, share, batch));
                match gradients.get_mut(worker) {
                    Some(sums) => sums.iter_mut().zip(&more).for_each(|(sum, more)| {
                        *sum = sum.to_kind(Kind::Float) + more;
                    }),
                    None => gradients.push(more),
                }
            }
        }
        if self.device.is_cuda() {
            // The card computes meanwhile, and this thread waits for it only now.
            *ahead = next.map(|next| self.collated(next, self.step + 1));
        }
        let gradient_norm = global_norm(&gradients) / scale;
        let mut loss_sum = 0.0;
        for (loss, share, batch) in losses {
            let loss = loss.double_value(&[]);
            if !loss.is_finite() {
                return Err(self.not_finite("loss", loss, std::slice::from_ref(batch)));
            }
            loss_sum += loss * share;
        }
        let learning_rate = self.recipe.learning_rate_at(self.step, self.total_steps);
        let overflow = !gradient_norm.is_finite();
        if overflow && !self.loss_scale.is_dynamic() {
            return Err(self.not_finite("gradient", gradient_norm, batches));
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

    /// The batches of the step with this number, collated.
    fn collated(&self, batches: &[Drawn], step: usize) -> Vec<MicroBatch> {
        // Randomness in a micro step depends on its number alone, so that a resumed run repeats it.
        let seed = |at: usize| derive_seed(self.recipe.seed, (1 << 40) + (step * self.recipe.accumulate + at) as u64);
        batches.iter().enumerate().map(|(at, batch)| self.collate(batch, seed(at))).collect()
    }

    /// Splits the crops into one batch per worker, masks some of their pieces, and collects the targets.
    fn collate(&self, Drawn { source, crops }: &Drawn, seed: u64) -> MicroBatch {
        let mut random = SmallRng::seed_from_u64(seed ^ 1);
        let Source { data, head, .. } = self.sources[*source];
        let TrainingSet { documents, prefix, suffix, mask_id, .. } = data;
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
            targets.soft.extend(document.soft_of(crop, self.recipe.head(), prefix.len(), suffix.len()));
        }
        let weights: Vec<f64> =
            parts.iter().map(|part| self.replicas[0].models[head].model.weight(&part.targets) as f64).collect();
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
                part.targets.soft.extend_from_within(..);
            }
        }
        MicroBatch { parts, counted: all }
    }

    fn not_finite(&self, what: &'static str, value: f64, batches: &[Drawn]) -> TrainError {
        let ids = |Drawn { source, crops }: &Drawn| -> Vec<String> {
            crops.iter().map(|crop| self.sources[*source].data.documents[crop.document].id.clone()).collect()
        };
        let mut documents: Vec<String> = batches.iter().flat_map(ids).collect();
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

/// Start of the names of a head's parameters.
const HEAD: &str = "classifier.";

/// Start of the names of the parameters of auxiliary heads; the name of the corpus follows.
const AUXILIARY: &str = "classifier.auxiliary.";

/// A further source of batches for a training.
#[derive(Debug)]
pub struct Further<'d> {
    /// Its documents.
    pub data: &'d TrainingSet,
    /// Batches for each batch of the corpus; if it has fewer, all of them in each epoch.
    pub batches: f64,
    /// What is learned from it.
    pub task: FurtherTask,
}

/// What is learned from a further source.
#[derive(Debug)]
pub enum FurtherTask {
    /// What the teacher says ([`TrainingDocument::soft`](crate::TrainingDocument::soft)).
    Unlabelled,
    /// Its own labels, with a head of its own that is not part of the model.
    Auxiliary {
        /// Name of the corpus.
        name: String,
        /// Factor on its loss.
        weight: f64,
        /// Its new head: the parameters whose names start with `classifier.`.
        head: Parameters,
    },
}

/// A source of batches.
#[derive(Debug)]
struct Source<'d> {
    data: &'d TrainingSet,
    /// Number of its head in a [`Replica`].
    head: usize,
    /// Factor on its loss.
    weight: f64,
    /// Batches for each batch of the corpus.
    batches: f64,
    options: LossOptions,
}

/// A batch of one source.
#[derive(Clone, Debug)]
struct Drawn {
    source: usize,
    crops: Vec<Crop>,
}

/// The batches of an epoch from all sources: those of the corpus, and among them, in random places, those of the others.
fn all_batches(sources: &[Source<'_>], recipe: &Recipe, epoch: usize) -> Vec<Drawn> {
    let of = |source: usize, crops: Vec<Vec<Crop>>| crops.into_iter().map(move |crops| Drawn { source, crops });
    let own = batches(sources[0].data, recipe, epoch);
    let count = own.len() as f64;
    let mut all: Vec<Drawn> = of(0, own).collect();
    if sources.len() == 1 {
        return all;
    }
    for (at, source) in sources.iter().enumerate().skip(1) {
        let seed = derive_seed(recipe.seed, (2 << 40) + at as u64);
        // Their order is random, so that the first ones are a sample.
        let mut further = batches(source.data, &Recipe { seed, ..recipe.clone() }, epoch);
        further.truncate((source.batches * count).round() as usize);
        all.extend(of(at, further));
    }
    let seed = derive_seed(recipe.seed, (3 << 40) + epoch as u64);
    all.shuffle(&mut SmallRng::seed_from_u64(seed));
    all
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
    /// One for each head, on the same encoder.
    models: Vec<Model>,
    /// The trained parameters of all of them.
    leaves: Vec<Tensor>,
}

/// An encoder with one of the heads.
#[derive(Debug)]
struct Model {
    model: Classifier,
    /// Which of the leaves it has.
    leaves: Vec<usize>,
}

impl Replica {
    /// `heads` are the starts of the names of each head's parameters; that of the model's own is empty.
    fn new(config: &BertConfig, parameters: Parameters, recipe: &Recipe, heads: &[String]) -> Result<Self, TrainError> {
        let trained: Vec<(&str, &Tensor)> = parameters.iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
        let model = |prefix: &String| -> Result<Model, TrainError> {
            let is_own = |name: &str| match prefix.as_str() {
                "" => !name.starts_with(AUXILIARY),
                prefix => name.starts_with(prefix) || !name.starts_with(HEAD),
            };
            let own = parameters.iter().filter(|(name, _)| is_own(name));
            let named = own.map(|(name, tensor)| {
                let name = if prefix.is_empty() { name.to_owned() } else { name.replacen(prefix, HEAD, 1) };
                (name, tensor.shallow_clone())
            });
            let leaves = trained.iter().enumerate().filter(|(_, (name, _))| is_own(name)).map(|(at, _)| at);
            let view = Parameters::new(named.collect());
            Ok(Model { model: Classifier::new(config, &view, recipe.head())?, leaves: leaves.collect() })
        };
        let models = heads.iter().map(model).collect::<Result<_, _>>()?;
        Ok(Self { models, leaves: trained.into_iter().map(|(_, tensor)| tensor.shallow_clone()).collect() })
    }

    /// The gradients of a model's leaves as those of all leaves: 0 for the heads of other sources.
    fn of_all(&self, own: Vec<Tensor>, places: &[usize]) -> Vec<Tensor> {
        if own.len() == self.leaves.len() {
            return own;
        }
        let mut all: Vec<Tensor> = self.leaves.iter().map(|leaf| leaf.detach().zeros_like()).collect();
        for (gradient, place) in own.into_iter().zip(places) {
            all[*place] = gradient;
        }
        all
    }

    /// A part's contribution to the loss of its batch, a scalar, and the gradient of that loss times the factor. Neither
    /// waits for a card.
    fn gradients(&self, part: &Part, pass: &Pass<'_>) -> (Tensor, Vec<Tensor>) {
        let Pass { recipe, options, head, device, kind, embedding_size, factor } = *pass;
        let Model { model, leaves: places } = &self.models[head];
        let Part { batch, targets, seed, share } = part;
        let dropout = || {
            let mut dropout = TrainingPass::new(*seed, device, recipe.dropout, recipe.attention_dropout);
            dropout.gradient_checkpointing = recipe.gradient_checkpointing;
            dropout
        };
        let mut first = dropout();
        let mut leaves: Vec<&Tensor> = places.iter().map(|&place| &self.leaves[place]).collect();
        // A zero perturbation: its gradient points in the direction that increases the loss.
        let size = [batch.rows.len() as i64, batch.width() as i64, embedding_size];
        let origin =
            (recipe.adversarial > 0.0).then(|| Tensor::zeros(size, (Kind::Float, device)).set_requires_grad(true));
        if let Some(origin) = &origin {
            first.perturbation = Some(origin.shallow_clone());
            leaves.push(origin);
        }
        let loss = model.loss(batch, targets, kind, &mut first, options) * *share;
        let value = loss.detach();
        // Returned instead of accumulated into the leaves, which would cost one pass over all parameters to clear them
        // and another to add.
        let mut gradients = model.gradients(&(loss * factor), &leaves, &mut first);
        if origin.is_some()
            && let Some(uphill) = gradients.pop()
        {
            let norm = uphill.norm_scalaropt_dim(2.0, [1, 2], true).clamp_min(1e-12);
            // The same dropout as before: it depends on the seed alone.
            let mut second = dropout();
            second.perturbation = Some(uphill / norm * recipe.adversarial);
            let loss = model.loss(batch, targets, kind, &mut second, options) * *share;
            let leaves: Vec<&Tensor> = places.iter().map(|&place| &self.leaves[place]).collect();
            let more = model.gradients(&(loss * factor), &leaves, &mut second);
            gradients.iter_mut().zip(&more).for_each(|(sum, more)| *sum = sum.to_kind(Kind::Float) + more);
        }
        (value, self.of_all(gradients, places))
    }
}

/// Settings shared by all parts of a batch.
struct Pass<'r> {
    recipe: &'r Recipe,
    options: &'r LossOptions,
    /// Number of the head in a [`Replica`].
    head: usize,
    device: Device,
    kind: Kind,
    embedding_size: i64,
    /// Factor on the loss before the backward pass.
    factor: f64,
}
