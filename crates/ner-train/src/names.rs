//! Trains an encoder to bring the names of a concept together.
//!
//! The idea of SapBERT (Liu et al. 2021, "Self-alignment pretraining for biomedical entity representations"): the names of
//! a vocabulary are the only data. The loss is InfoNCE over the names of a batch. Batches hold runs of names that begin
//! with or end in the same word, which are the ones that are hard to tell apart.

use crate::optimizer::global_norm;
use crate::{AdamW, TrainError};
use ner_document::derive_seed;
use ner_model::{Batch, Bert, BertConfig, Parameters, TrainingPass, Workers, name_vectors};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor, no_grad};

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct NameRecipe {
    /// Optimisation steps, in as many passes over the names as they need.
    pub steps: usize,
    /// Pairs that a worker compares with each other.
    pub batch: usize,
    /// Highest learning rate; it rises over a tenth of the steps, and falls to zero.
    pub learning_rate: f64,
    /// Divisor of the cosines.
    pub temperature: f64,
    /// Most pairs of a concept in an epoch.
    pub pairs: usize,
    /// Probability of dropping a hidden state.
    pub dropout: f64,
    /// Seed of order and dropout.
    pub seed: u64,
}

impl NameRecipe {
    /// Pairs of a step on the CPU, at most.
    pub const fn pairs_of_step(&self) -> usize {
        4 * self.batch
    }
}

impl Default for NameRecipe {
    fn default() -> Self {
        Self { steps: 0, batch: 96, learning_rate: 1e-4, temperature: 0.05, pairs: 8, dropout: 0.1, seed: 0 }
    }
}

/// Pairs of a batch that stand together because their names are similar.
const RUN: usize = 12;
const MAX_GRAD_NORM: f64 = 1.0;

/// A model, and the parameters that get its gradients.
type Replica = (Bert, Vec<Tensor>);
type Pair<'n> = (usize, &'n [u32], &'n [u32]);

/// Trains a copy of `parameters` on concepts, each with the rows of its names. `progress` gets the step, the number of
/// steps and the loss.
///
/// # Errors
/// If the loss is not finite, no concept has two names, or a parameter is missing.
pub fn train_names(
    config: &BertConfig,
    parameters: &Parameters,
    concepts: &[Vec<Vec<u32>>],
    recipe: &NameRecipe,
    device: Device,
    kind: Kind,
    mut progress: impl FnMut(usize, usize, f64),
) -> Result<Parameters, TrainError> {
    let parameters = parameters.to_device(device).requiring_gradients(|_| true);
    let computing = parameters.for_computing(device, kind);
    let workers = Workers::new(device);
    let replica = |_| {
        let own = computing.share().requiring_gradients(|_| true);
        let leaves: Vec<Tensor> = own.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        Ok::<_, TrainError>((Bert::new(config, &own)?, leaves))
    };
    let mut replicas = (0..workers.count()).map(replica).collect::<Result<Vec<_>, _>>()?;
    let mut optimizer = AdamW::new(&parameters, &computing, 0.01, |_| 1.0);
    let group = recipe.batch * workers.count();
    if concepts.iter().all(|names| names.len() < 2) {
        return Err(TrainError::Recipe("no concept has two names, so that there is nothing to learn from".into()));
    }
    let (steps, mut step) = (recipe.steps, 0);
    for epoch in 0.. {
        if step == steps {
            break;
        }
        let pairs = pairs_of(concepts, recipe, epoch);
        for pairs in pairs.chunks(group).take(steps - step) {
            let share = pairs.len().div_ceil(workers.count());
            let parts: Vec<&[Pair]> = pairs.chunks(share).collect();
            let count = parts.len() as f64;
            let work = |(number, ((model, leaves), part)): (usize, (&mut Replica, &[Pair]))| {
                let seed = derive_seed(recipe.seed, (1 << 41) + (step * 8 + number) as u64);
                let mut dropout = TrainingPass::new(seed, device, recipe.dropout, recipe.dropout);
                let loss = loss_of(model, part, recipe.temperature, kind, Some(&mut dropout)) / count;
                let value = loss.double_value(&[]);
                (value, Tensor::run_backward(&[loss], &leaves.iter().collect::<Vec<_>>(), false, false))
            };
            let results = workers.map(replicas.iter_mut().zip(parts).enumerate().collect(), work);
            let (losses, gradients): (Vec<f64>, Vec<Vec<Tensor>>) = results.into_iter().unzip();
            let loss: f64 = losses.iter().sum();
            step += 1;
            let norm = global_norm(&gradients);
            if !loss.is_finite() || !norm.is_finite() {
                return Err(TrainError::NotFinite { what: "loss", value: loss, step, documents: Vec::new() });
            }
            let warm = (steps as f64 / 10.0).max(1.0);
            let factor = (step as f64 / warm).min((steps + 1 - step) as f64 / (steps as f64 + 1.0 - warm).max(1.0));
            optimizer.step(&gradients, recipe.learning_rate * factor.min(1.0), (MAX_GRAD_NORM / norm).min(1.0));
            progress(step, steps, loss);
        }
    }
    Ok(parameters.copy())
}

/// The loss on concepts that training did not see, of one batch of pairs; `None` if there are no two with two names each.
///
/// # Errors
/// If a parameter is missing.
pub fn loss_of_names(
    config: &BertConfig,
    parameters: &Parameters,
    concepts: &[Vec<Vec<u32>>],
    recipe: &NameRecipe,
    device: Device,
    kind: Kind,
) -> Result<Option<f64>, TrainError> {
    let mut pairs = pairs_of(concepts, &NameRecipe { pairs: 1, ..*recipe }, 0);
    pairs.truncate(recipe.batch);
    if pairs.len() < 2 {
        return Ok(None);
    }
    let model = Bert::new(config, &parameters.for_computing(device, kind))?;
    Ok(Some(no_grad(|| loss_of(&model, &pairs, recipe.temperature, kind, None).double_value(&[]))))
}

/// The pairs of an epoch, similar ones in runs, the runs in random order.
fn pairs_of<'n>(concepts: &'n [Vec<Vec<u32>>], recipe: &NameRecipe, epoch: usize) -> Vec<Pair<'n>> {
    let mut random = SmallRng::seed_from_u64(derive_seed(recipe.seed, epoch as u64));
    let mut pairs: Vec<Pair> = Vec::new();
    for (concept, names) in concepts.iter().enumerate().filter(|(_, names)| names.len() > 1) {
        let mut names: Vec<&[u32]> = names.iter().map(Vec::as_slice).collect();
        names.shuffle(&mut random);
        let count = if names.len() == 2 { 1 } else { names.len().min(recipe.pairs) };
        pairs.extend((0..count).map(|at| (concept, names[at], names[(at + 1) % names.len()])));
    }
    pairs.shuffle(&mut random);
    // By first pieces, or by last ones.
    let half = pairs.len() / 2;
    pairs[..half].sort_by(|one, other| one.1.cmp(other.1));
    pairs[half..].sort_by(|one, other| one.1.iter().rev().cmp(other.1.iter().rev()));
    let offset = random.random_range(0..RUN).min(pairs.len());
    let (first, rest) = pairs.split_at(offset);
    let mut runs: Vec<&[Pair]> = std::iter::once(first).chain(rest.chunks(RUN)).filter(|run| !run.is_empty()).collect();
    runs.shuffle(&mut random);
    runs.concat()
}

/// Cross entropy of finding each name's partner among those of the others, in both directions.
fn loss_of(model: &Bert, pairs: &[Pair], temperature: f64, kind: Kind, dropout: Option<&mut TrainingPass>) -> Tensor {
    let firsts = pairs.iter().map(|(_, first, _)| first.to_vec());
    let rows = firsts.chain(pairs.iter().map(|(.., second)| second.to_vec())).collect();
    let vectors = name_vectors(model, &Batch { rows }, kind, dropout);
    let device = vectors.device();
    let count = pairs.len() as i64;
    let (first, second) = (vectors.narrow(0, 0, count), vectors.narrow(0, count, count));
    let concepts = Tensor::from_slice(&pairs.iter().map(|(concept, ..)| *concept as i64).collect::<Vec<_>>());
    let diagonal = Tensor::eye(count, (Kind::Bool, Device::Cpu));
    let same = concepts.unsqueeze(0).eq_tensor(&concepts.unsqueeze(1)).logical_and(&diagonal.logical_not());
    let scores = (first.matmul(&second.tr()) / temperature).masked_fill(&same.to_device(device), f64::NEG_INFINITY);
    let targets = Tensor::arange(count, (Kind::Int64, device));
    (scores.cross_entropy_for_logits(&targets) + scores.tr().cross_entropy_for_logits(&targets)) / 2.0
}
