use ner_document::{LabelSet, Tag};
use ner_text::{Aggregation, EncodedDocument, ModelOutput, ScoredEntity, Word};
use std::ops::Range;

/// A part of a document that is annotated as a whole: a sentence or the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPart {
    /// Its tokens.
    pub tokens: Range<usize>,
    /// Its words, as indexes into the document's words.
    pub words: Range<usize>,
}

/// The parts of a document: its sentences, or with `whole` the document itself. Every part has a token.
pub fn parts(encoded: &EncodedDocument, whole: bool) -> Vec<DocumentPart> {
    let len = encoded.tokens.len();
    let starts: Vec<usize> = if whole { (0..len).take(1).collect() } else { encoded.sentences.clone() };
    let ends = starts.iter().skip(1).copied().chain([len]);
    let first_word = |token: usize| encoded.words.partition_point(|word| word.tokens.start < token);
    let pairs = starts.iter().zip(ends).filter(|(start, end)| *start < end);
    pairs.map(|(&start, end)| DocumentPart { tokens: start..end, words: first_word(start)..first_word(end) }).collect()
}

/// A model's probabilities for one part of a document, as decisions that are treated as independent.
///
/// The papers' measures are for taggers, which decide about tokens. For a head that labels tokens, each *word* is one
/// decision, as in medner's answers: outside or one of the types, with the mean of its pieces (or of its first piece,
/// if that alone decides). For a head that scores spans, each *span and type* is one decision: mention or not. Spans
/// that the head rules out (`ner-model` keeps probabilities above 0.01) have probability 0. This transfer is the
/// project's own and not in the papers.
#[derive(Clone, Debug, PartialEq)]
pub enum Posterior {
    /// Probabilities `[words, 1 + types]` in row-major order: outside, then each type.
    Words {
        /// Number of classes: one more than types.
        classes: usize,
        /// The rows.
        rows: Vec<f32>,
    },
    /// Spans that may be mentions, in words of the document.
    Spans {
        /// Number of words.
        words: usize,
        /// Number of types.
        types: usize,
        /// The spans, sorted by place and type.
        spans: Vec<ScoredEntity>,
    },
}

impl Posterior {
    /// The posterior of each of a document's `parts`. `None` for heads without independent decisions: a chain, and a
    /// head that decides for each type by itself. A span belongs to the part in which it begins.
    pub fn of_parts(
        parts: &[DocumentPart],
        words: &[Word],
        output: &ModelOutput,
        labels: &LabelSet,
        decision: Aggregation,
    ) -> Option<Vec<Self>> {
        let types = labels.types.len();
        match output {
            ModelOutput::Labels(rows) => {
                let class = |label: usize| match labels.tag(label) {
                    Tag::Outside => 0,
                    Tag::Entity(_, entity_type) => 1 + entity_type,
                };
                let classes: Vec<usize> = (0..labels.len()).map(class).collect();
                let word_row = |word: &Word| -> Vec<f32> {
                    let pieces = match decision {
                        Aggregation::Together | Aggregation::Constrained => word.tokens.clone(),
                        Aggregation::FirstPiece => word.tokens.start..word.tokens.start + 1,
                    };
                    let mut row = vec![0.0; 1 + types];
                    for piece in pieces.clone() {
                        for (label, &class) in classes.iter().enumerate() {
                            row[class] += rows[piece * classes.len() + label] / pieces.len() as f32;
                        }
                    }
                    row
                };
                let of_part = |part: &DocumentPart| Self::Words {
                    classes: 1 + types,
                    rows: words[part.words.clone()].iter().flat_map(word_row).collect(),
                };
                Some(parts.iter().map(of_part).collect())
            }
            ModelOutput::Spans(spans) => {
                let mut spans = spans.clone();
                spans.sort_by_key(|span| (span.words.start, span.words.end, span.entity_type));
                let from = |word: usize| spans.partition_point(|span| span.words.start < word);
                let of_part = |part: &DocumentPart| Self::Spans {
                    words: part.words.len(),
                    types,
                    spans: spans[from(part.words.start)..from(part.words.end)].to_vec(),
                };
                Some(parts.iter().map(of_part).collect())
            }
            ModelOutput::Chains(_) | ModelOutput::Types(_) => None,
        }
    }

    /// Number of words, at least 1. Sums are divided by it, so that a sentence is not uncertain just because it is
    /// long.
    pub fn words(&self) -> f64 {
        let words = match self {
            Self::Words { classes, rows } => rows.len() / classes,
            Self::Spans { words, .. } => *words,
        };
        words.max(1) as f64
    }

    /// Calls `of` with the probabilities of each decision.
    pub fn each(&self, mut of: impl FnMut(&[f64])) {
        match self {
            Self::Words { classes, rows } => {
                for row in rows.chunks_exact(*classes) {
                    let row: Vec<f64> = row.iter().map(|&probability| f64::from(probability)).collect();
                    of(&row);
                }
            }
            Self::Spans { spans, .. } => {
                for span in spans {
                    let probability = f64::from(span.probability);
                    of(&[probability, 1.0 - probability]);
                }
            }
        }
    }

    /// The embedding of a part: the mean of the hidden states of its tokens. `states` is `[tokens, hidden]`.
    pub fn embedding(part: &DocumentPart, states: &[f32], hidden: usize) -> Vec<f32> {
        let mut mean = vec![0.0; hidden];
        add_mean(&mut mean, 1.0, part.tokens.clone(), states, hidden);
        mean
    }

    /// BADGE's gradient embedding, as a mean over words: the gradient of the loss with respect to the weights of the
    /// last layer, with the model's own most probable answer as the target (Ash et al. 2020, section 3).
    ///
    /// The paper has one label for each item. For a head that labels tokens, it is summed over words, whose state is
    /// the mean of their pieces: `[1 + types, hidden]`. For a head that scores spans, it is the gradient of the binary
    /// cross-entropies with respect to the weights of the mean over a span's words (`c` in `SpanClassifier`), summed
    /// over the spans that the head does not rule out: `[types, hidden]`. `words` are the document's words, `states`
    /// the states of its tokens, `[tokens, hidden]`.
    pub fn gradient(&self, part: &DocumentPart, words: &[Word], states: &[f32], hidden: usize) -> Vec<f32> {
        let share = (1.0 / self.words()) as f32;
        match self {
            Self::Words { classes, rows } => {
                let mut gradient = vec![0.0; classes * hidden];
                for (row, word) in rows.chunks_exact(*classes).zip(&words[part.words.clone()]) {
                    let likeliest = likeliest(row);
                    for (class, probability) in row.iter().enumerate() {
                        let delta = probability - if class == likeliest { 1.0 } else { 0.0 };
                        let slot = &mut gradient[class * hidden..(class + 1) * hidden];
                        add_mean(slot, delta * share, word.tokens.clone(), states, hidden);
                    }
                }
                gradient
            }
            Self::Spans { types, spans, .. } => {
                let mut gradient = vec![0.0; types * hidden];
                for ScoredEntity { words: range, entity_type, probability } in spans {
                    let delta = probability - if *probability > 0.5 { 1.0 } else { 0.0 };
                    let slot = &mut gradient[entity_type * hidden..(entity_type + 1) * hidden];
                    for word in &words[range.clone()] {
                        add_mean(slot, delta * share / range.len() as f32, word.tokens.clone(), states, hidden);
                    }
                }
                gradient
            }
        }
    }
}

/// Index of the largest value; the first of several.
pub(crate) fn likeliest<T: PartialOrd + Copy>(row: &[T]) -> usize {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    best
}

/// Adds `factor` times the mean of the states of `tokens` to `sum`.
fn add_mean(sum: &mut [f32], factor: f32, tokens: Range<usize>, states: &[f32], hidden: usize) {
    let factor = factor / tokens.len().max(1) as f32;
    for token in tokens {
        for (slot, state) in sum.iter_mut().zip(&states[token * hidden..(token + 1) * hidden]) {
            *slot += factor * state;
        }
    }
}
