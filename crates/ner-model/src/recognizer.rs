use crate::{InferenceConfig, ModelError, Precision, Pretrained, Tagger, TrainingPass, find_device, load_classifier};
use ner_document::{Document, LabelSet, Mention};
use ner_text::{DocumentTokenizer, EncodedDocument, ModelOutput, decode_mentions};
use std::borrow::Borrow;
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
    tokenizer: DocumentTokenizer,
    inference: InferenceConfig,
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
        let (model, labels, inference) = load_classifier(folder)?;
        let Pretrained { config, parameters, .. } = model;
        let tagger = Tagger::new(&config, &labels, inference.head, &parameters, device, kind)?;
        let tokenizer = inference.tokenizer(folder)?;
        Ok(Self { tagger, tokenizer, inference })
    }

    /// A recogniser of parts that are there already.
    pub const fn new(tagger: Tagger, tokenizer: DocumentTokenizer, inference: InferenceConfig) -> Self {
        Self { tagger, tokenizer, inference }
    }

    /// The same with another tokenizer: its own, with other windows.
    pub fn with_tokenizer(self, tokenizer: DocumentTokenizer) -> Self {
        Self { tokenizer, ..self }
    }

    /// The labels that it gives.
    pub const fn labels(&self) -> &LabelSet {
        self.tagger.labels()
    }

    /// How it reads documents.
    pub const fn inference(&self) -> &InferenceConfig {
        &self.inference
    }

    /// Its tokenizer. A clone of it can encode on another thread while this one computes.
    pub const fn tokenizer(&self) -> &DocumentTokenizer {
        &self.tokenizer
    }

    /// Finds the mentions of one text.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn annotate(&self, text: &str) -> Result<Vec<Mention>, ModelError> {
        let encoded = self.tokenizer.encode(&[Document::new("text", text)])?;
        Ok(self.mentions(&encoded, |_| {}).into_iter().next().unwrap_or_default())
    }

    /// Mentions of each document. `progress` is told the number of tokens after each batch.
    pub fn mentions<D>(&self, documents: &[D], progress: impl FnMut(usize) + Send) -> Vec<Vec<Mention>>
    where
        D: Borrow<EncodedDocument>,
    {
        let outputs = self.outputs(documents, progress);
        let none = vec![0.0; self.labels().types.len()];
        let decide = |(document, output): (&D, &ModelOutput)| {
            decode_mentions(&document.borrow().words, output, self.labels(), &none, self.inference.decode_options())
        };
        documents.iter().zip(&outputs).map(decide).collect()
    }

    /// What the model finds in each document, before anything is decided.
    pub fn outputs<D>(&self, documents: &[D], progress: impl FnMut(usize) + Send) -> Vec<ModelOutput>
    where
        D: Borrow<EncodedDocument>,
    {
        self.tagger.outputs(&self.tokenizer, &references(documents), progress)
    }

    /// What it might find: the findings of one pass in which `dropout`, given for each batch by its number, leaves hidden
    /// states out.
    pub fn outputs_under<D>(&self, documents: &[D], dropout: &(dyn Fn(u64) -> TrainingPass + Sync)) -> Vec<ModelOutput>
    where
        D: Borrow<EncodedDocument>,
    {
        self.tagger.outputs_under(&self.tokenizer, &references(documents), Some(dropout), |_| {})
    }

    /// The encoder's last hidden states, as [`Tagger::states`] gives them.
    pub fn states<D>(&self, documents: &[D], sink: impl FnMut(usize, usize, &[f32]))
    where
        D: Borrow<EncodedDocument>,
    {
        self.tagger.states(&self.tokenizer, &references(documents), sink);
    }
}

fn references<D: Borrow<EncodedDocument>>(documents: &[D]) -> Vec<&EncodedDocument> {
    documents.iter().map(Borrow::borrow).collect()
}
