use crate::span_classifier::RowWords;
use crate::{Answers, Batch, BertConfig, Classifier, Head, ModelError, Parameters};
use ner_data::{EncodedDocument, Findings, FoundSpan, LabelSet, TextEncoder, Window, Word, batches_by_length};
use tch::{Device, Kind, no_grad};

/// A classifier ready to predict: weights on their device, in the kind of the computation.
#[derive(Debug)]
pub struct Tagger {
    model: Classifier,
    kind: Kind,
    labels: LabelSet,
    /// In tokens.
    batch_cost: usize,
}

/// Most tokens of a batch at prediction, padding included: enough to keep two dozen cores or a graphics card busy, and
/// less memory than a step of training.
const BATCH_TOKENS: usize = 8192;

/// What a batch of its own costs on one thread, about, in tokens: the time of all operations on next to nothing (2 ms of
/// MiniLM in bf16, against 0.1 ms a token).
const BATCH_COST: usize = 24;

impl Tagger {
    /// A tagger over `parameters` on `device`, which computes in `kind`. It may share their storage: it is good for as
    /// long as they do not change.
    ///
    /// # Errors
    /// Where a parameter is missing.
    pub fn new(
        config: &BertConfig,
        labels: &LabelSet,
        head: Head,
        parameters: &Parameters,
        device: Device,
        kind: Kind,
    ) -> Result<Self, ModelError> {
        let parameters = no_grad(|| parameters.for_prediction(device, kind));
        let model = Classifier::new(config, &parameters, head)?;
        // A graphics card computes thousands of tokens in the time that it takes to tell it to.
        let batch_cost =
            if device == Device::Cpu { BATCH_COST * tch::get_num_threads().max(1) as usize } else { BATCH_TOKENS };
        Ok(Self { model, kind, labels: labels.clone(), batch_cost })
    }

    /// The labels that it gives.
    pub const fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// What it finds in each document.
    ///
    /// Every token is labelled once, from the window whose core it stands in; a span is scored once, from the window
    /// whose core its first token stands in. `progress` is told the number of tokens after each batch.
    pub fn findings(
        &self,
        encoder: &TextEncoder,
        documents: &[EncodedDocument],
        mut progress: impl FnMut(usize),
    ) -> Vec<Findings> {
        let classes = self.labels.len();
        let words: Vec<Vec<Word>> = match self.model {
            Classifier::Token(_) => vec![Vec::new(); documents.len()],
            Classifier::Span(_) => documents.iter().map(EncodedDocument::words).collect(),
        };
        let none = |document: &EncodedDocument| match self.model {
            Classifier::Token(_) => Findings::Labels(vec![0.0; document.tokens.len() * classes]),
            Classifier::Span(_) => Findings::Spans(Vec::new()),
        };
        let mut findings: Vec<Findings> = documents.iter().map(none).collect();
        // Not by the windows' own numbers: documents that were encoded apart may come together.
        let windows: Vec<(usize, &Window)> = documents
            .iter()
            .enumerate()
            .flat_map(|(at, document)| document.windows.iter().map(move |window| (at, window)))
            .collect();
        let lengths: Vec<usize> = windows.iter().map(|(_, window)| window.tokens.len() + encoder.specials()).collect();
        for rows in batches_by_length(&lengths, BATCH_TOKENS, self.batch_cost) {
            let input_ids = |&row: &usize| encoder.input_ids(&documents[windows[row].0], windows[row].1);
            let batch = Batch { rows: rows.iter().map(input_ids).collect() };
            let row_words: Vec<(usize, RowWords)> =
                rows.iter().map(|&row| words_in(windows[row].1, &words[windows[row].0], encoder.offset())).collect();
            let (firsts, row_words): (Vec<usize>, Vec<RowWords>) = row_words.into_iter().unzip();
            match self.model.answers(&batch, &row_words, self.kind) {
                Answers::Labels(probabilities) => {
                    let flat = Vec::<f32>::try_from(probabilities.view(-1)).expect("a flat tensor of fp32");
                    for (row, predicted) in rows.iter().zip(flat.chunks(batch.width() * classes)) {
                        let (document, Window { tokens, core, .. }) = windows[*row];
                        let from = encoder.offset() + core.start - tokens.start;
                        if let Findings::Labels(known) = &mut findings[document] {
                            known[core.start * classes..core.end * classes]
                                .copy_from_slice(&predicted[from * classes..(from + core.len()) * classes]);
                        }
                    }
                }
                Answers::Spans(found) => {
                    for ((row, first), found) in rows.iter().zip(firsts).zip(found) {
                        let (document, Window { core, .. }) = windows[*row];
                        let to_document = |span: FoundSpan| FoundSpan {
                            words: span.words.start + first..span.words.end + first,
                            ..span
                        };
                        let in_core = |span: &FoundSpan| core.contains(&words[document][span.words.start].tokens.start);
                        if let Findings::Spans(known) = &mut findings[document] {
                            known.extend(found.into_iter().map(to_document).filter(in_core));
                        }
                    }
                }
            }
            progress(batch.tokens());
        }
        findings
    }
}

/// The words of a window, by their places in its row: the place of the first among the document's words, and the tokens
/// of each. `offset` special tokens stand before them.
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
