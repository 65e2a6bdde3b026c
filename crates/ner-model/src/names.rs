//! Vectors of names: the mean of the encoder's last hidden states, of length one.

use crate::error::NOT_FINITE;
use crate::pretrained::weights_of;
use crate::{
    Batch, Bert, BertConfig, Cpu, FusedLayers, Head, ModelError, Parameters, Pretrained, TrainingPass, Workers,
    caught_on_device, load_encoder,
};
use ner_document::{Document, LabelSet, TagScheme};
use ner_text::{DocumentTokenizer, WindowSize, batches_by_length};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind, Tensor, no_grad};

/// Word pieces of a name; further ones are not read.
const MOST_PIECES: usize = 32;
/// Tokens of a batch, if rows of a batch never meet, or on a card.
const BATCH_TOKENS: usize = 256;

/// An encoder that turns names into vectors.
#[derive(Debug)]
pub struct NameEncoder {
    /// One for each worker; all share their weights.
    models: Vec<Mutex<Bert>>,
    workers: Workers,
    tokenizer: DocumentTokenizer,
    kind: Kind,
    /// Tokens of a batch.
    batch_tokens: usize,
    hidden_size: usize,
}

/// The encoder of a model folder, without what its head needs, and its tokenizer.
///
/// # Errors
/// If a file cannot be read, or describes an encoder that is not supported.
pub fn load_name_encoder(folder: &Path) -> Result<(Pretrained, DocumentTokenizer), ModelError> {
    let labels = LabelSet::new(TagScheme::default(), Vec::<String>::new());
    let weights = weights_of(folder)?;
    let mut model = load_encoder(&folder.join("config.json"), &weights, &labels, Head::Token, 0)?;
    let parts =
        Bert::shapes(&model.config).into_iter().map(|(name, _)| Ok((name.clone(), model.parameters.get(&name)?)));
    model.parameters = Parameters::new(parts.collect::<Result<_, ModelError>>()?);
    let tokenizer = DocumentTokenizer::from_folder(folder, WindowSize::default())?;
    let tokenizer = tokenizer.with_embeddings(model.config.vocab_size as usize)?;
    Ok((model, tokenizer))
}

/// The rows of names, with special tokens.
///
/// # Errors
/// If the tokenizer fails on one.
pub fn rows_of_names(tokenizer: &DocumentTokenizer, names: &[impl AsRef<str>]) -> Result<Vec<Vec<u32>>, ModelError> {
    let documents: Vec<Document> =
        names.iter().zip(1..).map(|(name, number)| Document::new(format!("name {number}"), name.as_ref())).collect();
    let (prefix, suffix) = tokenizer.special_ids();
    let encoded = tokenizer.encode(&documents)?;
    let row = |pieces: Vec<u32>| [prefix, &pieces, suffix].concat();
    Ok(encoded.iter().map(|name| row(name.tokens.iter().take(MOST_PIECES).map(|token| token.id).collect())).collect())
}

impl NameEncoder {
    /// Loads a model folder onto a device, to compute in `kind`.
    ///
    /// # Errors
    /// As [`load_name_encoder`].
    pub fn load(folder: &Path, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let load = || {
            let (model, tokenizer) = load_name_encoder(folder)?;
            Self::new(&model.config, &model.parameters, tokenizer, device, kind)
        };
        caught_on_device(load).unwrap_or_else(|message| Err(ModelError::Config { path: folder.into(), message }))
    }

    /// An encoder with these parameters on a device. On the CPU it computes in fp32 with [`FusedLayers`], in which rows never
    /// meet, or else, in `kind`, row by row: a name has the same vector beside any others.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(
        config: &BertConfig,
        parameters: &Parameters,
        tokenizer: DocumentTokenizer,
        device: Device,
        kind: Kind,
    ) -> Result<Self, ModelError> {
        let fused = (device == Device::Cpu && FusedLayers::supports(config))
            .then(|| FusedLayers::new(config, parameters, Cpu::current()?, false).map(Arc::new))
            .transpose()?;
        let kind = if fused.is_some() { Kind::Float } else { kind };
        let parameters = no_grad(|| parameters.for_computing(device, kind).packed());
        let workers = Workers::new(device);
        let model = |_| {
            let mut model = Bert::new(config, &parameters)?;
            if let Some(layers) = &fused {
                model.predict_with(Arc::clone(layers));
            }
            Ok(Mutex::new(model))
        };
        let models = (0..workers.count()).map(model).collect::<Result<_, ModelError>>()?;
        let batch_tokens = if device == Device::Cpu && fused.is_none() { 1 } else { BATCH_TOKENS };
        Ok(Self { models, workers, tokenizer, kind, batch_tokens, hidden_size: config.hidden_size as usize })
    }

    /// Length of a vector.
    pub const fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn flat(&self, model: &Bert, batch: Batch) -> Vec<f32> {
        let states = no_grad(|| model.forward(&batch, self.kind, None).to_kind(Kind::Float));
        let states = Vec::<f32>::try_from(states.contiguous().view(-1)).expect("a flat tensor of fp32");
        let vectors: Vec<f32> = batch
            .rows
            .iter()
            .zip(states.chunks_exact(batch.width() * self.hidden_size))
            .flat_map(|(row, states)| mean_of_length_one(&states[..row.len() * self.hidden_size], self.hidden_size))
            .collect();
        assert!(vectors.iter().all(|value| value.is_finite()), "{NOT_FINITE}");
        vectors
    }

    /// The vectors of names, `[names, hidden]`, each of length one. Panics if the model computes a number that is not finite.
    ///
    /// # Errors
    /// If the tokenizer fails on a name.
    pub fn vectors(&self, names: &[impl AsRef<str>]) -> Result<Vec<f32>, ModelError> {
        let rows = rows_of_names(&self.tokenizer, names)?;
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let batches = batches_by_length(&lengths, self.batch_tokens, self.batch_tokens / 8);
        let next = AtomicUsize::new(0);
        let found = self.workers.map(self.models.iter().collect(), |model| {
            let model = model.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = Vec::new();
            while let Some(numbers) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let batch = Batch { rows: numbers.iter().map(|&row| rows[row].clone()).collect() };
                found.push((numbers, self.flat(&model, batch)));
            }
            found
        });
        let mut vectors = vec![0.0; rows.len() * self.hidden_size];
        for (numbers, flat) in found.iter().flatten() {
            for (row, vector) in numbers.iter().zip(flat.chunks_exact(self.hidden_size)) {
                vectors[row * self.hidden_size..(row + 1) * self.hidden_size].copy_from_slice(vector);
            }
        }
        Ok(vectors)
    }
}

/// The mean of states, `[tokens, hidden]`, of length one: as [`name_vectors`], in an order that does not depend on other
/// rows.
fn mean_of_length_one(states: &[f32], hidden_size: usize) -> Vec<f32> {
    let mut sum = vec![0.0; hidden_size];
    for state in states.chunks_exact(hidden_size) {
        sum.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
    }
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter_mut().for_each(|value| *value /= length);
    sum
}

/// The mean of the states of each row's tokens, of length one: `[rows, hidden] f32`.
pub fn name_vectors(model: &Bert, batch: &Batch, kind: Kind, dropout: Option<&mut TrainingPass>) -> Tensor {
    let states = model.forward(batch, kind, dropout).to_kind(Kind::Float);
    let width = batch.width();
    let mut shares = vec![0f32; batch.rows.len() * width];
    for (row, shares) in batch.rows.iter().zip(shares.chunks_mut(width)) {
        shares[..row.len()].fill(1.0 / row.len() as f32);
    }
    // [rows, 1, tokens] × [rows, tokens, hidden]; states at padding are undefined, but finite or not they must not count.
    let shares =
        Tensor::from_slice(&shares).view([batch.rows.len() as i64, 1, width as i64]).to_device(states.device());
    let states = states.where_self(&shares.transpose(1, 2).gt(0.0), &Tensor::from(0f32).to_device(states.device()));
    let mean = shares.matmul(&states).squeeze_dim(1);
    let length = mean.norm_scalaropt_dim(2.0, [1], true).clamp_min(1e-12);
    mean / length
}
