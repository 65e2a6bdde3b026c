use crate::{
    Batch, BatchOutput, BertConfig, Classifier, Cpu, FusedLayers, Head, ModelError, Parameters, Precision, RowWords,
    TrainingPass, Workers, cpu_has_bf16,
};
use ner_document::LabelSet;
use ner_text::{
    DocumentTokenizer, EncodedDocument, ModelOutput, ScoredEntity, Transitions, Window, Word, WordScores,
    batches_by_length,
};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind, no_grad};

/// A classifier for prediction: weights on their device, in the kind of the computation.
#[derive(Debug)]
pub struct Tagger {
    /// One model for each worker; all share their weights.
    models: Vec<Mutex<Classifier>>,
    workers: Workers,
    head: Head,
    /// Scores of label transitions, learned if the head has them.
    transitions: Arc<Transitions>,
    kind: Kind,
    labels: LabelSet,
    /// Whether [`FusedLayers`] predict.
    is_fused: bool,
    batch_tokens: usize,
    /// Overhead of a batch, in tokens.
    batch_cost: usize,
    /// Whether no batch has rows of two documents.
    apart: bool,
}

/// Maximum tokens of a batch at prediction, padding included: enough to keep a graphics card busy with less memory than
/// a training step.
const BATCH_TOKENS: usize = 16384;

/// The same for a worker on the CPU. Larger batches do not fit its caches: 2,048 tokens are a tenth slower.
const WORKER_BATCH_TOKENS: usize = 512;

/// Batches of fewer tokens are not worth splitting.
const LEAST_BATCH_TOKENS: usize = 256;
/// Approximate overhead of a batch on one thread, in tokens: the time of all operations on almost no data (2 ms for
/// MiniLM in bf16, at 0.1 ms a token).
const BATCH_COST: usize = 24;

/// From this many full batches on, padding by an eighth of a batch is better than smaller products.
const MUCH: usize = 8;
const WHOLE_BATCH_COST: usize = WORKER_BATCH_TOKENS / 8;

impl Tagger {
    /// A tagger with `parameters` on `device` that computes in `kind` (`QInt8`: int8, on the CPU). It may share their storage, so they must not
    /// change while it is used.
    ///
    /// # Errors
    /// If a parameter is missing, or the device or the encoder does not support the kind.
    pub fn new(
        config: &BertConfig,
        labels: &LabelSet,
        head: Head,
        parameters: &Parameters,
        device: Device,
        kind: Kind,
    ) -> Result<Self, ModelError> {
        let fused = fused_layers(config, parameters, device, kind)?;
        let tensors = no_grad(|| parameters.for_computing(device, tensor_kind(kind)).packed());
        let parameters = match fused {
            None if kind == Kind::QInt8 => tensors.with_int8(parameters, Cpu::current()?),
            _ => tensors,
        };
        let workers = Workers::for_prediction(device);
        let new_model = || -> Result<Classifier, ModelError> {
            let mut model = Classifier::new(config, &parameters, head)?;
            if let Some(layers) = &fused {
                model.predict_with(Arc::clone(layers));
            }
            Ok(model)
        };
        let model = new_model()?;
        let transitions = match &model {
            Classifier::Crf(model) => model.crf().transitions(),
            // The others need none, and a table of all pairs of thousands of labels would not fit in memory.
            _ => Transitions::constraints(labels.scheme, 0),
        };
        // A graphics card computes thousands of tokens in the time that it takes to launch a computation.
        let (batch_tokens, batch_cost) = match device {
            Device::Cpu => (WORKER_BATCH_TOKENS, BATCH_COST),
            _ => (BATCH_TOKENS, BATCH_TOKENS),
        };
        let mut models = vec![Mutex::new(model)];
        for _ in 1..workers.count() {
            models.push(Mutex::new(new_model()?));
        }
        Ok(Self {
            models,
            workers,
            head,
            transitions: Arc::new(transitions),
            kind,
            labels: labels.clone(),
            is_fused: fused.is_some(),
            batch_tokens,
            batch_cost,
            apart: false,
        })
    }

    /// From now on, the outputs of a document, to the last digit, depend neither on the documents beside it nor on the
    /// number of workers. With [`FusedLayers`] (int8, fp32) they never do. Elsewhere, each document has batches of its own
    /// from now on, and short documents take longer.
    pub const fn compute_apart(&mut self) {
        self.apart = !self.is_fused;
    }

    /// The kind that the encoder computes in; `QInt8` is int8.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The labels.
    pub const fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// The outputs for each document.
    ///
    /// Every token is labelled once, by the window whose core holds it. A word or span is scored once, by the window
    /// whose core holds its first token. `progress` gets the number of tokens after each batch, and may stop the
    /// computation ([`Progress`]).
    pub fn outputs<P: Progress>(
        &self,
        tokenizer: &DocumentTokenizer,
        documents: &[&EncodedDocument],
        progress: impl FnMut(usize) -> P + Send,
    ) -> Vec<ModelOutput> {
        self.outputs_under(tokenizer, documents, None, progress)
    }

    /// Same as `outputs` with dropout, as a random sample. `dropout` gets the number of each batch.
    pub fn outputs_under<P: Progress>(
        &self,
        tokenizer: &DocumentTokenizer,
        documents: &[&EncodedDocument],
        dropout: Option<&(dyn Fn(u64) -> TrainingPass + Sync)>,
        progress: impl FnMut(usize) -> P + Send,
    ) -> Vec<ModelOutput> {
        let classes = self.labels.len();
        let none = |document: &&EncodedDocument| match self.head {
            Head::Token => ModelOutput::Labels(vec![0.0; document.tokens.len() * classes]),
            Head::Span { .. } => ModelOutput::Spans(Vec::new()),
            Head::Crf { .. } => ModelOutput::Chains(WordScores {
                scores: vec![0.0; document.words.len() * classes],
                starts: chain_starts(&document.windows, &document.words),
                transitions: Arc::clone(&self.transitions),
            }),
            Head::Multilabel { .. } => ModelOutput::Types(vec![0.0; document.words.len() * (classes - 1)]),
            Head::Assertion => unreachable!("it finds no mentions, and `AssertionClassifier` has no method for that"),
        };
        let outputs: Vec<ModelOutput> = documents.iter().map(none).collect();
        let windows = windows_of(documents);
        let batches = self.batches(&windows, tokenizer);
        let places = Places { documents, windows: &windows, offset: tokenizer.offset(), classes };
        let (next, done) = (AtomicUsize::new(0), Mutex::new((outputs, progress)));
        self.workers.map(self.models.iter().collect(), |model| {
            let model = lock(model);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(rows) = batches.get(number) else { break };
                let batch = batch_of(rows, &windows, documents, tokenizer);
                let row_words: Vec<(usize, RowWords)> = rows
                    .iter()
                    .map(|&row| words_in(windows[row].1, &documents[windows[row].0].words, tokenizer.offset()))
                    .collect();
                let (firsts, row_words): (Vec<usize>, Vec<RowWords>) = row_words.into_iter().unzip();
                let mut dropout = dropout.map(|of_batch| of_batch(number as u64));
                let found = self.found(&model, &batch, &row_words, dropout.as_mut());
                let (outputs, progress) = &mut *lock(&done);
                let share = rows.len() / found.len();
                for ((rows, firsts), output) in rows.chunks(share).zip(firsts.chunks(share)).zip(found) {
                    places.keep(outputs, output, rows, firsts);
                }
                if progress(batch.tokens()).stops() {
                    next.store(batches.len(), Ordering::Relaxed);
                    break;
                }
            }
        });
        let (mut outputs, _) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        for found in &mut outputs {
            // Sorted, so that the order does not depend on which batch finished first.
            if let ModelOutput::Spans(spans) = found {
                spans.sort_by_key(|span| (span.words.start, span.words.end, span.entity_type));
            }
        }
        outputs
    }

    /// Log-probabilities of the values of given mentions, a row for each, from a head of given mentions. `mentions` holds
    /// the words of each document's mentions, not empty. The window whose core holds a mention's first token decides; it
    /// sees the mention as far as it reaches. `progress` gets the number of tokens after each batch.
    pub(crate) fn values(
        &self,
        tokenizer: &DocumentTokenizer,
        documents: &[&EncodedDocument],
        mentions: &[Vec<Range<usize>>],
        progress: impl FnMut(usize) + Send,
    ) -> Vec<Vec<Vec<f32>>> {
        // The mentions of each window, with their tokens in its row.
        let inside = |&(document, window): &(usize, &Window)| -> Vec<(usize, Range<usize>)> {
            let words = &documents[document].words;
            let tokens =
                |words_of: &Range<usize>| words[words_of.start].tokens.start..words[words_of.end - 1].tokens.end;
            let tokens = mentions[document].iter().map(tokens).enumerate();
            let own = tokens.filter(|(_, tokens)| window.core.contains(&tokens.start));
            let to_row = |at: usize| at.min(window.tokens.end) - window.tokens.start + tokenizer.offset();
            own.map(|(at, tokens)| (at, to_row(tokens.start)..to_row(tokens.end))).collect()
        };
        let windows = windows_of(documents).into_iter();
        let with_mentions = windows.map(|window| (window, inside(&window))).filter(|(_, inside)| !inside.is_empty());
        let (windows, inside): (Vec<_>, Vec<_>) = with_mentions.unzip();
        let batches = self.batches(&windows, tokenizer);
        let (next, progress) = (AtomicUsize::new(0), Mutex::new(progress));
        let found = self.workers.map(self.models.iter().collect(), |model| {
            let (model, mut found) = (lock(model), Vec::new());
            while let Some(rows) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let batch = batch_of(rows, &windows, documents, tokenizer);
                let tokens: Vec<RowWords> =
                    rows.iter().map(|&row| inside[row].iter().map(|(_, tokens)| tokens.clone()).collect()).collect();
                let scores = self.found(&model, &batch, &tokens, None).into_iter().flat_map(|output| match output {
                    BatchOutput::Words(scores) => scores,
                    _ => Vec::new(),
                });
                found.extend(rows.iter().copied().zip(scores));
                lock(&progress)(batch.tokens());
            }
            found
        });
        let values = self.labels.types.len();
        let mut all: Vec<Vec<Vec<f32>>> = mentions.iter().map(|mentions| vec![Vec::new(); mentions.len()]).collect();
        for (row, scores) in found.into_iter().flatten() {
            for ((at, _), scores) in inside[row].iter().zip(scores.chunks_exact(values)) {
                all[windows[row].0][*at] = scores.to_vec();
            }
        }
        all
    }

    /// Computes the encoder's last hidden states of every token. `sink` gets runs of them in arbitrary order: the
    /// document's index, the first token, and `[tokens, hidden]` in row-major order. Each token comes once, from the
    /// window whose core holds it.
    pub fn states(
        &self,
        tokenizer: &DocumentTokenizer,
        documents: &[&EncodedDocument],
        mut sink: impl FnMut(usize, usize, &[f32]),
    ) {
        let windows = windows_of(documents);
        let model = lock(&self.models[0]);
        for rows in self.batches(&windows, tokenizer) {
            let batch = batch_of(&rows, &windows, documents, tokenizer);
            let states = model.hidden_states(&batch, tensor_kind(self.kind));
            let (_, width, hidden) = states.size3().expect("three dimensions");
            let (width, hidden) = (width as usize, hidden as usize);
            let flat = Vec::<f32>::try_from(states.view(-1)).expect("a flat tensor of fp32");
            for (row, states) in rows.iter().zip(flat.chunks(width * hidden)) {
                let (document, Window { tokens, core, .. }) = windows[*row];
                let from = tokenizer.offset() + core.start - tokens.start;
                sink(document, core.start, &states[from * hidden..(from + core.len()) * hidden]);
            }
        }
    }

    /// The output of all rows; with [`FusedLayers`], in which rows never meet, one for each row.
    fn found(
        &self,
        model: &Classifier,
        batch: &Batch,
        words: &[RowWords],
        dropout: Option<&mut TrainingPass>,
    ) -> Vec<BatchOutput> {
        let kind = tensor_kind(self.kind);
        match dropout {
            None if self.is_fused => model.output_by_row(batch, words, kind),
            dropout => vec![model.output(batch, words, kind, dropout)],
        }
    }

    fn batches(&self, windows: &[(usize, &Window)], tokenizer: &DocumentTokenizer) -> Vec<Vec<usize>> {
        let lengths: Vec<usize> =
            windows.iter().map(|(_, window)| window.tokens.len() + tokenizer.specials()).collect();
        if self.apart {
            let (mut batches, mut from) = (Vec::new(), 0);
            for document in windows.chunk_by(|(one, _), (other, _)| one == other) {
                let lengths = &lengths[from..from + document.len()];
                let own = batches_by_length(lengths, self.batch_tokens, self.batch_cost).into_iter();
                batches.extend(own.map(|rows| rows.into_iter().map(|row| from + row).collect()));
                from += document.len();
            }
            return batches;
        }
        // Small enough that every worker gets tokens, if they are worth a batch.
        let tokens = lengths.iter().sum::<usize>();
        let share = tokens.div_ceil(self.models.len());
        let budget =
            if self.models.len() > 1 { share.clamp(LEAST_BATCH_TOKENS, self.batch_tokens) } else { self.batch_tokens };
        let is_much = tokens >= MUCH * budget;
        let cost = if is_much { self.batch_cost.max(WHOLE_BATCH_COST) } else { self.batch_cost };
        batches_by_length(&lengths, budget, cost)
    }
}

/// Where the rows of batches are in their documents.
struct Places<'d> {
    documents: &'d [&'d EncodedDocument],
    windows: &'d [(usize, &'d Window)],
    /// Tokens of a row before those of its window.
    offset: usize,
    /// Number of labels.
    classes: usize,
}

impl Places<'_> {
    /// Copies what `rows` found to the outputs of their documents. `firsts` are the documents' words that the rows begin
    /// with.
    fn keep(&self, outputs: &mut [ModelOutput], output: BatchOutput, rows: &[usize], firsts: &[usize]) {
        let classes = self.classes;
        match output {
            BatchOutput::Labels(probabilities) => {
                // The model's own labels; those after ours are outside as well.
                let (_, tokens, width) = probabilities.size3().expect("three dimensions");
                let (tokens, width) = (tokens as usize, width as usize);
                let mut flat = Vec::<f32>::try_from(probabilities.view(-1)).expect("a flat tensor of fp32");
                if width > classes {
                    flat = flat.chunks_exact(width).flat_map(|row| outside_together(row, classes)).collect();
                }
                for (row, predicted) in rows.iter().zip(flat.chunks(tokens * classes)) {
                    let (document, Window { tokens, core, .. }) = self.windows[*row];
                    let from = self.offset + core.start - tokens.start;
                    if let ModelOutput::Labels(known) = &mut outputs[document] {
                        known[core.start * classes..core.end * classes]
                            .copy_from_slice(&predicted[from * classes..(from + core.len()) * classes]);
                    }
                }
            }
            BatchOutput::Spans(found) => {
                for ((row, &first), found) in rows.iter().zip(firsts).zip(found) {
                    let (document, Window { core, .. }) = self.windows[*row];
                    let to_document = |span: ScoredEntity| ScoredEntity {
                        words: span.words.start + first..span.words.end + first,
                        ..span
                    };
                    let in_core = |span: &ScoredEntity| {
                        core.contains(&self.documents[document].words[span.words.start].tokens.start)
                    };
                    if let ModelOutput::Spans(known) = &mut outputs[document] {
                        known.extend(found.into_iter().map(to_document).filter(in_core));
                    }
                }
            }
            BatchOutput::Words(scores) => {
                for ((row, &first), scores) in rows.iter().zip(firsts).zip(scores) {
                    let (document, Window { core, .. }) = self.windows[*row];
                    let (known, width) = match &mut outputs[document] {
                        ModelOutput::Chains(known) => (&mut known.scores, classes),
                        ModelOutput::Types(known) => (known, classes - 1),
                        ModelOutput::Labels(_) | ModelOutput::Spans(_) => continue,
                    };
                    for (at, scores) in (first..).zip(scores.chunks_exact(width)) {
                        if core.contains(&self.documents[document].words[at].tokens.start) {
                            known[at * width..(at + 1) * width].copy_from_slice(scores);
                        }
                    }
                }
            }
        }
    }
}

/// The kind of tensors beside layers in int8: passes with dropout take the best that tensors can.
fn tensor_kind(kind: Kind) -> Kind {
    match kind {
        Kind::QInt8 if cpu_has_bf16() => Kind::BFloat16,
        Kind::QInt8 => Kind::Float,
        kind => kind,
    }
}

/// The layers for prediction in fp32 or int8 on the CPU; `None` if tensors compute them.
fn fused_layers(
    config: &BertConfig,
    parameters: &Parameters,
    device: Device,
    kind: Kind,
) -> Result<Option<Arc<FusedLayers>>, ModelError> {
    let int8 = kind == Kind::QInt8;
    if int8 {
        Precision::Int8.for_prediction(device, config)?;
    }
    let cpu = Cpu::current()?;
    // libtorch's products are faster than plain loops.
    let is_fast = int8 || device == Device::Cpu && kind == Kind::Float && cpu != Cpu::Portable;
    Ok(if is_fast && FusedLayers::supports(config) {
        Some(Arc::new(FusedLayers::new(config, parameters, cpu, int8)?))
    } else {
        None
    })
}

/// A row of probabilities with `classes` labels: the likeliest of the further labels counts for outside, as if each were
/// a label of its own that is dropped afterwards.
fn outside_together(row: &[f32], classes: usize) -> impl Iterator<Item = f32> {
    let outside = row[classes..].iter().fold(row[0], |best, &further| best.max(further));
    std::iter::once(outside).chain(row[1..classes].iter().copied())
}

/// What a callback for progress returns.
///
/// `()` always goes on. A [`ControlFlow`] can stop: batches that have not begun are then not computed, and the outputs
/// are incomplete, so the caller must discard them.
pub trait Progress {
    /// Whether to stop.
    fn stops(&self) -> bool;
}

impl Progress for () {
    fn stops(&self) -> bool {
        false
    }
}

impl Progress for ControlFlow<()> {
    fn stops(&self) -> bool {
        self.is_break()
    }
}

/// Ignores poisoning: a panic in a worker ends its call, but the locked data stay valid.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first words of windows without context from the window before; rows started like this in training.
fn chain_starts(windows: &[Window], words: &[Word]) -> Vec<usize> {
    let fresh = windows.iter().filter(|window| window.tokens.start == window.core.start);
    let mut starts: Vec<usize> =
        fresh.map(|window| words.partition_point(|word| word.tokens.start < window.core.start)).collect();
    starts.retain(|&start| start < words.len());
    starts.dedup();
    starts
}

/// The windows of all documents, with the index of their document. The windows' own numbers do not serve: documents may
/// come from different tokenizer calls.
fn windows_of<'d>(documents: &[&'d EncodedDocument]) -> Vec<(usize, &'d Window)> {
    let numbered = documents.iter().enumerate();
    numbered.flat_map(|(at, document)| document.windows.iter().map(move |window| (at, window))).collect()
}

fn batch_of(
    rows: &[usize],
    windows: &[(usize, &Window)],
    documents: &[&EncodedDocument],
    tokenizer: &DocumentTokenizer,
) -> Batch {
    let input_ids = |&row: &usize| tokenizer.input_ids(documents[windows[row].0], windows[row].1);
    Batch { rows: rows.iter().map(input_ids).collect() }
}

/// The words of a window: the index of the first one in the document, and the tokens of each in the row. `offset`
/// special tokens come first.
fn words_in(window: &Window, words: &[Word], offset: usize) -> (usize, RowWords) {
    let tokens = &window.tokens;
    let first = words.partition_point(|word| word.tokens.end <= tokens.start);
    let last = words.partition_point(|word| word.tokens.start < tokens.end);
    let place = |word: &Word| {
        let (start, end) = (word.tokens.start.max(tokens.start), word.tokens.end.min(tokens.end));
        start - tokens.start + offset..end - tokens.start + offset
    };
    (first, words[first..last].iter().map(place).collect())
}
