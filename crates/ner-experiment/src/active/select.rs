//! Selects the next batch from a pool.

use super::acquisition::{Assessor, Cut, slice};
use super::batch::{self, Item, Manifest, To};
use crate::input::{self, Kind, Mark, Source};
use anyhow::{Context, Result, ensure};
use ner_active::{Budget, Chosen, Offer, Rows, Selector, Strategy, Unit};
use ner_annotate::{Annotator, Event};
use ner_data::{Document, decode_mentions};
use ner_model::{Recognizer, find_device};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tracing::{info, warn};

/// A selection request.
pub struct Request<'r> {
    /// Files and folders.
    pub pool: &'r [PathBuf],
    /// Their format; `None` detects it for each.
    pub from: Option<Kind>,
    /// Reader options.
    pub options: input::InputOptions,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: &'r str,
    /// Selection strategy.
    pub strategy: Strategy,
    /// Selection budget.
    pub budget: Budget,
    /// Whether to choose whole documents instead of sentences.
    pub whole_documents: bool,
    /// Random seed.
    pub seed: u64,
    /// Format of the batch.
    pub to: To,
}

/// The selected items.
pub struct Selection {
    manifest: Manifest,
    documents: Vec<Document>,
    bad: usize,
}

impl Selection {
    /// Whether no item was left to select.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Writes the batch; returns the number of unreadable documents in the pool.
    ///
    /// # Errors
    /// If the selection is empty, or the batch cannot be written.
    pub fn write(&self, folder: &std::path::Path) -> Result<usize> {
        ensure!(!self.is_empty(), "every item of the pool is already annotated");
        batch::write(folder, &self.manifest, &self.documents)?;
        let words: usize = self.manifest.items.iter().map(|item| item.words).sum();
        let suggested: usize = self.documents.iter().map(|document| document.mentions.len()).sum();
        info!(
            "{}: {} of {} items, {words} words, {suggested} suggestions; wrote {}",
            self.manifest.strategy,
            self.documents.len(),
            self.manifest.offered,
            folder.display()
        );
        Ok(self.bad)
    }
}

/// A part of a document of the pool.
struct Candidate {
    document: String,
    start: usize,
    item: Document,
}

/// Bytes of text assessed together: enough to fill the model's batches. Their token states are held at once: about 25
/// MB with MiniLM.
const CHUNK_BYTES: usize = 1 << 16;
const CHUNK_DOCUMENTS: usize = 1024;

impl Request<'_> {
    /// Selects from the pool, skipping ids in `known`.
    ///
    /// # Errors
    /// If the pool is missing, or the models do not support the strategy.
    pub fn select(&self, annotator: &Annotator, known: &[Document]) -> Result<Selection> {
        let models: Vec<&Recognizer> = annotator.models().iter().map(|model| &model.recognizer).collect();
        let first = *models.first().context("name a model")?;
        let found = input::find(self.pool, self.from, &self.options)?;
        let source = Source {
            inputs: found.inputs.into_iter().map(|input| (input, false)).collect(),
            bad: found.bad,
            stop: Arc::default(),
            options: self.options.clone(),
            done: input::Done::Nothing,
            together: true,
            bar: None,
        };
        let device = find_device(self.device)?;
        let assessor = Assessor { strategy: self.strategy, models, device, seed: self.seed };
        let begin = Instant::now();
        let mut choosing = Choosing {
            whole: self.whole_documents || self.budget.unit == Unit::Documents,
            selector: Selector::new(self.strategy, self.budget, self.seed),
            known: known.iter().map(|document| document.id.as_str()).collect(),
            waiting: Vec::new(),
            bytes: 0,
            words: 0,
            assessor,
            first,
        };
        let (mut bad, mut failed) = (0, None);
        source.read(&mut |event| {
            match event {
                Event::Document(document) | Event::Known(document) => {
                    if let Err(error) = choosing.push(document) {
                        failed = Some(error);
                    }
                }
                Event::Mark(Mark::Bad(message) | Mark::Cut(message) | Mark::Lost(message)) => {
                    bad += 1;
                    warn!("skipped: {message}");
                }
                Event::Mark(Mark::Begin(_) | Mark::End(_)) | Event::Flush => {}
            }
            failed.is_none()
        });
        if let Some(error) = failed {
            return Err(error);
        }
        choosing.flush()?;
        let rows = choosing.known_rows(known)?;
        let Choosing { selector, words, .. } = choosing;
        let (offered, bytes) = (selector.offered(), selector.held_bytes());
        let seconds = begin.elapsed().as_secs_f64();
        info!(
            "assessed {offered} items with {words} words in {seconds:.1} s; {} MB of representations held",
            bytes >> 20
        );
        let chosen = selector.finish(&rows);
        let documents = suggest(first, &chosen)?;
        let item = |(at, chosen): (usize, &Chosen<Candidate>)| Item {
            id: chosen.item.item.id.clone(),
            document: chosen.item.document.clone(),
            start: chosen.item.start,
            words: chosen.cost.words,
            rank: at + 1,
            score: chosen.score,
        };
        let manifest = Manifest {
            strategy: self.strategy,
            source: self.strategy.source().into(),
            budget: self.budget,
            seed: self.seed,
            types: first.labels().types.clone(),
            models: annotator.models().iter().map(|model| model.name.clone()).collect(),
            to: self.to,
            offered,
            items: chosen.iter().enumerate().map(item).collect(),
        };
        Ok(Selection { manifest, documents, bad })
    }
}

/// The model's mentions in the selected items, which it reads as exported.
fn suggest(model: &Recognizer, chosen: &[Chosen<Candidate>]) -> Result<Vec<Document>> {
    let mut documents: Vec<Document> = chosen.iter().map(|chosen| chosen.item.item.clone()).collect();
    let encoded = model.tokenizer().encode(&documents)?;
    let none = vec![0.0; model.labels().types.len()];
    let outputs = model.outputs(&encoded, |_| {});
    for ((document, encoded), found) in documents.iter_mut().zip(&encoded).zip(&outputs) {
        let options = model.inference().decode_options();
        document.mentions = decode_mentions(&encoded.words, found, model.labels(), &none, options);
    }
    Ok(documents)
}

/// A selection in progress.
struct Choosing<'m> {
    whole: bool,
    selector: Selector<Candidate>,
    known: HashSet<&'m str>,
    waiting: Vec<Document>,
    bytes: usize,
    words: usize,
    assessor: Assessor<'m>,
    first: &'m Recognizer,
}

impl Choosing<'_> {
    fn push(&mut self, document: Document) -> Result<()> {
        self.bytes += document.text.len();
        self.waiting.push(document);
        if self.bytes >= CHUNK_BYTES || self.waiting.len() >= CHUNK_DOCUMENTS {
            return self.flush();
        }
        Ok(())
    }

    fn cut(&self, documents: &[Document]) -> Result<Vec<Cut>> {
        let encoded = self.first.tokenizer().encode(documents)?;
        let pairs = documents.iter().zip(encoded);
        Ok(pairs.map(|(document, encoded)| Cut::new(document, encoded, self.whole)).collect())
    }

    fn flush(&mut self) -> Result<()> {
        let documents = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let cuts = self.cut(&documents)?;
        let assessed = self.assessor.assess(&documents.iter().collect::<Vec<_>>(), &cuts.iter().collect::<Vec<_>>())?;
        for ((document, cut), assessed) in documents.iter().zip(&cuts).zip(assessed) {
            let index = document.char_index();
            for (part, assessed) in assessed.into_iter().enumerate() {
                // A document with one sentence is exported as a whole.
                let is_all = self.whole || cut.parts.len() == 1;
                let id = if is_all { document.id.clone() } else { format!("{}.s{}", document.id, part + 1) };
                if self.known.contains(id.as_str()) || self.known.contains(document.id.as_str()) {
                    continue;
                }
                let place = cut.place(part);
                let (start, text) =
                    if is_all { (0, document.text.as_str()) } else { (place.start, slice(document, &index, place)) };
                let item = Candidate { document: document.id.clone(), start, item: Document::new(id, text) };
                self.words += cut.costs[part].words;
                let offer = Offer { cost: cut.costs[part], score: assessed.score, row: &assessed.row, item };
                self.selector.offer(offer);
            }
        }
        Ok(())
    }

    /// Embeddings of annotated items, if the strategy keeps away from them.
    fn known_rows(&self, known: &[Document]) -> Result<Rows> {
        let mut rows = Rows::new();
        if !matches!(self.assessor.strategy, Strategy::CoreSet | Strategy::Hybrid) {
            return Ok(rows);
        }
        for documents in known.chunks(CHUNK_DOCUMENTS) {
            let cuts = self.cut(documents)?;
            let assessed =
                self.assessor.assess(&documents.iter().collect::<Vec<_>>(), &cuts.iter().collect::<Vec<_>>())?;
            for assessed in assessed.into_iter().flatten() {
                rows.push(&assessed.row);
            }
        }
        Ok(rows)
    }
}
