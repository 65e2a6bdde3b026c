use crate::error::NOT_FINITE;
use crate::recognizer::{load_parts, references};
use crate::{Head, InferenceConfig, ModelError, Tagger};
use ner_document::{LabelSet, Span};
use ner_text::{DocumentTokenizer, EncodedDocument};
use std::borrow::Borrow;
use std::ops::Range;
use std::path::Path;
use tch::{Device, Kind};

/// A model that says which value given mentions have, with its tokenizer. It finds no mentions.
#[derive(Debug)]
pub struct AssertionClassifier {
    tagger: Tagger,
    tokenizer: DocumentTokenizer,
    inference: InferenceConfig,
}

impl AssertionClassifier {
    /// Loads a model folder onto a device, to compute in `kind`.
    ///
    /// # Errors
    /// If its files cannot be read or do not match each other, or it is another kind of model.
    pub fn load(folder: &Path, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let (tagger, tokenizer, inference) = load_parts(folder, device, kind)?;
        if inference.head != Head::Assertion {
            let message = "it finds mentions and says nothing of their assertions; train one with --task assertion";
            return Err(ModelError::Config { path: folder.into(), message: message.into() });
        }
        Ok(Self { tagger, tokenizer, inference })
    }

    /// A classifier made of loaded parts, with the head [`Head::Assertion`].
    pub const fn new(tagger: Tagger, tokenizer: DocumentTokenizer, inference: InferenceConfig) -> Self {
        Self { tagger, tokenizer, inference }
    }

    /// Names of the values, in order.
    pub fn values(&self) -> &[String] {
        let LabelSet { types, .. } = self.tagger.labels();
        types
    }

    /// The inference settings.
    pub const fn inference(&self) -> &InferenceConfig {
        &self.inference
    }

    /// The tokenizer.
    pub const fn tokenizer(&self) -> &DocumentTokenizer {
        &self.tokenizer
    }

    /// Log-probabilities of the values for each of a document's mentions. All values of a mention that touches no word
    /// have the same. `progress` gets the number of tokens after each batch. Panics if the model computes a number that
    /// is not finite.
    pub fn log_probabilities<D: Borrow<EncodedDocument>>(
        &self,
        documents: &[D],
        mentions: &[Vec<Span>],
        progress: impl FnMut(usize) + Send,
    ) -> Vec<Vec<Vec<f32>>> {
        let documents = references(documents);
        let words = |(document, mentions): (&&EncodedDocument, &Vec<Span>)| -> Vec<Range<usize>> {
            mentions.iter().map(|&mention| words_of(document, mention)).collect()
        };
        let words: Vec<Vec<Range<usize>>> = documents.iter().zip(mentions).map(words).collect();
        let touching = |words: &Vec<Range<usize>>| words.iter().filter(|words| !words.is_empty()).cloned().collect();
        let given: Vec<Vec<Range<usize>>> = words.iter().map(touching).collect();
        let found = self.tagger.values(&self.tokenizer, &documents, &given, progress);
        assert!(found.iter().flatten().flatten().all(|number| number.is_finite()), "{NOT_FINITE}");
        let uniform = vec![-(self.values().len() as f32).ln(); self.values().len()];
        let whole = |(words, found): (&Vec<Range<usize>>, Vec<Vec<f32>>)| {
            let mut found = found.into_iter();
            let of_mention = |words: &Range<usize>| {
                let found = if words.is_empty() { None } else { found.next() };
                found.unwrap_or_else(|| uniform.clone())
            };
            words.iter().map(of_mention).collect()
        };
        words.iter().zip(found).map(whole).collect()
    }
}

/// The words that a mention touches.
fn words_of(document: &EncodedDocument, mention: Span) -> Range<usize> {
    let first = document.words.partition_point(|word| word.span.end <= mention.start);
    let last = document.words.partition_point(|word| word.span.start < mention.end);
    first..last.max(first)
}
