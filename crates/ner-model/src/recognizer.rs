use crate::{Dropout, ModelError, Precision, Pretrained, Reading, Tagger, find_device, load_classifier};
use ner_data::{Document, EncodedDocument, Findings, LabelSet, Mention, TextEncoder, mentions_from_findings};
use std::path::Path;
use tch::{Device, Kind};

/// A trained model with its tokenizer: text in, mentions out.
///
/// ```no_run
/// # fn main() -> Result<(), ner_model::ModelError> {
/// let recognizer = ner_model::Recognizer::open("experiments/runs/bc5cdr/20260102T030405Z-seed1/model")?;
/// for mention in recognizer.annotate("Aspirin relieved the fever.")? {
///     println!("{} {} {:?}", mention.span(), mention.entity_type, mention.confidence);
/// }
/// # Ok(())
/// # }
/// ```
///
/// A model that medner trained reads as it was chosen on dev: in the windows of its recipe, the pieces of a word
/// deciding together, or each span for itself. A model from elsewhere is read as transformers' pipeline reads it with the aggregation strategy
/// `first`. What remains different from the pipeline: long texts are read in
/// overlapping windows and never cut off; `E-X` and `L-X` end a mention and are no mention of their own; a type without
/// a position may hold a hyphen; and a word is a pre-token of the tokenizer, where the pipeline takes for a continuation
/// every piece that differs from its text in length (as those whose accent was a character of its own).
#[derive(Debug)]
pub struct Recognizer {
    tagger: Tagger,
    encoder: TextEncoder,
    reading: Reading,
}

impl Recognizer {
    /// Opens a model folder (a run's `model`, or any with a token-classification head) on the best device there is, in
    /// the numbers that suit it: bf16 where the hardware computes in it, else fp32.
    ///
    /// # Errors
    /// Where its files cannot be read or do not fit together.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let device = find_device("auto")?;
        Self::load(folder.as_ref(), device, Precision::Auto.resolve(device)?)
    }

    /// Loads a model folder onto a device, to compute in `kind`.
    ///
    /// # Errors
    /// Where its files cannot be read or do not fit together.
    pub fn load(folder: &Path, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let (model, labels, reading) = load_classifier(folder)?;
        let Pretrained { config, parameters, .. } = model;
        let tagger = Tagger::new(&config, &labels, reading.head, &parameters, device, kind)?;
        let encoder = reading.encoder(folder)?;
        Ok(Self { tagger, encoder, reading })
    }

    /// A recogniser of parts that are there already.
    pub const fn new(tagger: Tagger, encoder: TextEncoder, reading: Reading) -> Self {
        Self { tagger, encoder, reading }
    }

    /// The same with another tokenizer: its own, with other windows.
    pub fn with_encoder(self, encoder: TextEncoder) -> Self {
        Self { encoder, ..self }
    }

    /// The labels that it gives.
    pub const fn labels(&self) -> &LabelSet {
        self.tagger.labels()
    }

    /// How it reads documents.
    pub const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Its tokenizer. A clone of it can encode on another thread while this one computes.
    pub const fn encoder(&self) -> &TextEncoder {
        &self.encoder
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
    pub fn mentions(&self, documents: &[EncodedDocument], progress: impl FnMut(usize) + Send) -> Vec<Vec<Mention>> {
        let findings = self.findings(documents, progress);
        let none = vec![0.0; self.labels().types.len()];
        let decide = |(document, found): (&EncodedDocument, &Findings)| {
            mentions_from_findings(&document.words(), found, self.labels(), &none, self.reading.allowed())
        };
        documents.iter().zip(&findings).map(decide).collect()
    }

    /// What the model finds in each document, before anything is decided.
    pub fn findings(&self, documents: &[EncodedDocument], progress: impl FnMut(usize) + Send) -> Vec<Findings> {
        self.tagger.findings(&self.encoder, documents, progress)
    }

    /// What it might find: the findings of one pass in which `dropout`, given for each batch by its number, leaves hidden
    /// states out.
    pub fn findings_under(
        &self,
        documents: &[EncodedDocument],
        dropout: &(dyn Fn(u64) -> Dropout + Sync),
    ) -> Vec<Findings> {
        self.tagger.findings_under(&self.encoder, documents, Some(dropout), |_| {})
    }

    /// The encoder's last hidden states, as [`Tagger::states`] gives them.
    pub fn states(&self, documents: &[EncodedDocument], sink: impl FnMut(usize, usize, &[f32])) {
        self.tagger.states(&self.encoder, documents, sink);
    }
}
