use crate::span_classifier::RowWords;
use crate::{Answers, Batch, BertConfig, Classifier, Dropout, Head, ModelError, Parameters};
use ner_data::{EncodedDocument, Findings, FoundSpan, LabelSet, TextEncoder, Window, Word, batches_by_length};
use tch::{Device, Kind, no_grad};

/// A classifier ready to predict: weights on their device, in the kind of the computation.
#[derive(Debug)]
pub struct Tagger {
    model: Classifier,
    kind: Kind,
    labels: LabelSet,
}

/// Most tokens of a batch at prediction, padding included: enough to keep two dozen cores or a graphics card busy, and
/// less memory than a step of training.
const BATCH_TOKENS: usize = 8192;

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
        Ok(Self { model: Classifier::new(config, &parameters, head)?, kind, labels: labels.clone() })
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
        progress: impl FnMut(usize),
    ) -> Vec<Findings> {
        self.findings_under(encoder, documents, None, progress)
    }

    /// The same under `dropout`: what it finds is then by chance, and a sample of what it might find.
    pub fn findings_under(
        &self,
        encoder: &TextEncoder,
        documents: &[EncodedDocument],
        mut dropout: Option<&mut Dropout>,
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
        let windows = windows_of(documents);
        for rows in batches_of(&windows, encoder) {
            let batch = batch_of(&rows, &windows, documents, encoder);
            let row_words: Vec<(usize, RowWords)> =
                rows.iter().map(|&row| words_in(windows[row].1, &words[windows[row].0], encoder.offset())).collect();
            let (firsts, row_words): (Vec<usize>, Vec<RowWords>) = row_words.into_iter().unzip();
            match self.model.answers(&batch, &row_words, self.kind, dropout.as_deref_mut()) {
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

    /// The encoder's last hidden states of every token of every document. `sink` gets runs of them in no order: the
    /// document's place, the first token, and `[tokens, hidden]`, row by row; each token once, from the window whose core
    /// it stands in.
    pub fn states(&self, encoder: &TextEncoder, documents: &[EncodedDocument], mut sink: impl FnMut(usize, usize, &[f32])) {
        let windows = windows_of(documents);
        for rows in batches_of(&windows, encoder) {
            let batch = batch_of(&rows, &windows, documents, encoder);
            let states = self.model.hidden_states(&batch, self.kind);
            let (_, width, hidden) = states.size3().expect("three dimensions");
            let (width, hidden) = (width as usize, hidden as usize);
            let flat = Vec::<f32>::try_from(states.view(-1)).expect("a flat tensor of fp32");
            for (row, states) in rows.iter().zip(flat.chunks(width * hidden)) {
                let (document, Window { tokens, core, .. }) = windows[*row];
                let from = encoder.offset() + core.start - tokens.start;
                sink(document, core.start, &states[from * hidden..(from + core.len()) * hidden]);
            }
        }
    }
}

/// The windows of all documents. Not by the windows' own numbers: documents that were encoded apart may come together.
fn windows_of(documents: &[EncodedDocument]) -> Vec<(usize, &Window)> {
    let numbered = documents.iter().enumerate();
    numbered.flat_map(|(at, document)| document.windows.iter().map(move |window| (at, window))).collect()
}

fn batches_of(windows: &[(usize, &Window)], encoder: &TextEncoder) -> Vec<Vec<usize>> {
    let lengths: Vec<usize> = windows.iter().map(|(_, window)| window.tokens.len() + encoder.specials()).collect();
    batches_by_length(&lengths, BATCH_TOKENS)
}

fn batch_of(rows: &[usize], windows: &[(usize, &Window)], documents: &[EncodedDocument], encoder: &TextEncoder) -> Batch {
    let input_ids = |&row: &usize| encoder.input_ids(&documents[windows[row].0], windows[row].1);
    Batch { rows: rows.iter().map(input_ids).collect() }
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
