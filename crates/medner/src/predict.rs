//! From documents to predicted mentions, for training and evaluation alike.

use crate::progress;
use anyhow::Result;
use indicatif::ProgressBar;
use ner_data::{Document, EncodedDocument, Findings, Mention, TextEncoder, Word};
use ner_model::Recognizer;

/// A split as the model sees it.
pub struct EncodedSplit<'d> {
    /// The documents with their gold mentions.
    pub documents: &'d [Document],
    /// Their tokens and windows.
    pub encoded: Vec<EncodedDocument>,
    /// Their words.
    pub words: Vec<Vec<Word>>,
}

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

/// What a model finds in each document, before anything is decided.
pub fn findings(recognizer: &Recognizer, split: &EncodedSplit<'_>, what: &str) -> Vec<Findings> {
    let bar = bar(split, what);
    recognizer.findings(&split.encoded, |done| bar.inc(done as u64))
}

/// The documents with the model's mentions in place of the gold ones.
pub fn predict(recognizer: &Recognizer, split: &EncodedSplit<'_>, what: &str) -> Vec<Document> {
    let bar = bar(split, what);
    split.with_mentions(recognizer.mentions(&split.encoded, |done| bar.inc(done as u64)))
}

fn bar(split: &EncodedSplit<'_>, what: &str) -> ProgressBar {
    progress::tokens(what, split.encoded.iter().map(|document| document.tokens.len()).sum())
}
