use crate::{ModelError, Pretrained, Reading, Tagger, load_classifier};
use ner_data::{Document, EncodedDocument, Findings, LabelSet, Mention, TextEncoder, mentions_from_findings};
use std::path::Path;
use tch::{Device, Kind};

/// A trained model with its tokenizer: text in, mentions out.
#[derive(Debug)]
pub struct Recognizer {
    tagger: Tagger,
    encoder: TextEncoder,
    reading: Reading,
}

impl Recognizer {
    /// Loads a model folder (a run's `model`, or any with a token-classification head) onto a device, to compute in
    /// `kind`.
    ///
    /// # Errors
    /// Where its files cannot be read or do not fit together.
    pub fn load(folder: &Path, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let (model, labels, reading) = load_classifier(folder)?;
        let Pretrained { config, parameters, .. } = model;
        let tagger = Tagger::new(&config, &labels, reading.head, &parameters, device, kind)?;
        let encoder = TextEncoder::from_folder(folder, reading.window)?;
        Ok(Self { tagger, encoder, reading })
    }

    /// A recogniser of parts that are there already.
    pub const fn new(tagger: Tagger, encoder: TextEncoder, reading: Reading) -> Self {
        Self { tagger, encoder, reading }
    }

    /// The labels that it gives.
    pub const fn labels(&self) -> &LabelSet {
        self.tagger.labels()
    }

    /// How it reads documents.
    pub const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Finds the mentions of one text.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn annotate(&self, text: &str) -> Result<Vec<Mention>, ModelError> {
        let encoded = self.encoder.encode(&[Document::new("text", text)])?;
        Ok(self.mentions(&encoded, |_| {}).into_iter().next().unwrap_or_default())
    }

    /// Mentions of each document. `progress` is told the number of tokens after each batch.
    pub fn mentions(&self, documents: &[EncodedDocument], progress: impl FnMut(usize)) -> Vec<Vec<Mention>> {
        let findings = self.findings(documents, progress);
        let none = vec![0.0; self.labels().types.len()];
        let decide = |(document, found): (&EncodedDocument, &Findings)| {
            mentions_from_findings(&document.words(), found, self.labels(), &none, self.reading.allowed())
        };
        documents.iter().zip(&findings).map(decide).collect()
    }

    /// What the model finds in each document, before anything is decided.
    pub fn findings(&self, documents: &[EncodedDocument], progress: impl FnMut(usize)) -> Vec<Findings> {
        self.tagger.findings(&self.encoder, documents, progress)
    }
}
