//! From documents to predicted mentions, for training and evaluation alike.

use crate::progress;
use anyhow::Result;
use ner_data::{Document, EncodedDocument, TextEncoder};
use ner_model::Tagger;

/// A split as the model sees it.
pub struct EncodedSplit<'d> {
    /// The documents with their gold mentions.
    pub documents: &'d [Document],
    /// Their tokens and windows.
    pub encoded: Vec<EncodedDocument>,
}

impl<'d> EncodedSplit<'d> {
    /// Encodes documents.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn new(encoder: &TextEncoder, documents: &'d [Document]) -> Result<Self> {
        Ok(Self { documents, encoded: encoder.encode(documents)? })
    }
}

/// The documents with the tagger's mentions in place of the gold ones.
pub fn predict(tagger: &Tagger, encoder: &TextEncoder, split: &EncodedSplit<'_>, what: &str) -> Vec<Document> {
    let tokens: usize = split.encoded.iter().map(|document| document.tokens.len()).sum();
    let bar = progress::tokens(what, tokens);
    let mentions = tagger.mentions(encoder, &split.encoded, |done| bar.inc(done as u64));
    let rows = split.documents.iter().zip(mentions);
    rows.map(|(document, mentions)| Document { mentions, relations: Vec::new(), ..document.clone() }).collect()
}
