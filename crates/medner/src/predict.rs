//! From documents to predicted mentions, for training and evaluation alike.

use crate::{progress, threshold};
use anyhow::Result;
use ner_data::{Document, EncodedDocument, Mention, TextEncoder, Word};
use ner_model::Tagger;

/// A split as the model sees it.
pub struct EncodedSplit<'d> {
    /// The documents with their gold mentions.
    pub documents: &'d [Document],
    /// Their tokens and windows.
    pub encoded: Vec<EncodedDocument>,
    /// Their words.
    pub words: Vec<Vec<Word>>,
}

/// Probabilities of the labels, `[tokens, labels]` of each document.
pub type Probabilities = Vec<Vec<f32>>;

impl<'d> EncodedSplit<'d> {
    /// Encodes documents.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn new(encoder: &TextEncoder, documents: &'d [Document]) -> Result<Self> {
        let encoded = encoder.encode(documents)?;
        let words = encoded.iter().map(EncodedDocument::words).collect();
        Ok(Self { documents, encoded, words })
    }

    /// The documents with other mentions.
    pub fn with_mentions(&self, mentions: Vec<Vec<Mention>>) -> Vec<Document> {
        let rows = self.documents.iter().zip(mentions);
        rows.map(|(document, mentions)| Document { mentions, relations: Vec::new(), ..document.clone() }).collect()
    }
}

/// What the tagger thinks of each token.
pub fn probabilities(tagger: &Tagger, encoder: &TextEncoder, split: &EncodedSplit<'_>, what: &str) -> Probabilities {
    let tokens: usize = split.encoded.iter().map(|document| document.tokens.len()).sum();
    let bar = progress::tokens(what, tokens);
    tagger.probabilities(encoder, &split.encoded, |done| bar.inc(done as u64))
}

/// The documents with the tagger's mentions in place of the gold ones.
pub fn predict(tagger: &Tagger, encoder: &TextEncoder, split: &EncodedSplit<'_>, what: &str) -> Vec<Document> {
    let none = vec![0.0; tagger.labels().len()];
    let probabilities = probabilities(tagger, encoder, split, what);
    split.with_mentions(threshold::decode(split, &probabilities, tagger.labels(), &none))
}
