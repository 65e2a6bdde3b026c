use crate::error::NOT_FINITE;
use crate::pretrained::load_for_prediction;
use crate::{
    BertConfig, Cpu, FusedLayers, Head, InferenceConfig, ModelError, Precision, Pretrained, Progress, Tagger,
    TrainingPass, caught_on_device, find_device,
};
use ner_document::{Document, LabelSet, Mention};
use ner_text::{DocumentTokenizer, EncodedDocument, ModelOutput, decode_mentions, in_parallel};
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
/// A model trained by medner is applied as it was selected on dev: with the windows of its recipe, and all pieces of a
/// word, or each span, deciding. A model from elsewhere is applied as in transformers' pipeline with the aggregation
/// strategy `first`, with these differences: long texts are read in overlapping windows and never truncated; `E-X` and
/// `L-X` end a mention instead of being one of their own; a type without a position may contain a hyphen; tags of
/// other shapes (`b-x`, `B_X`, `X-B`, `B`) are tags, and labels of special tokens are outside, both with a warning
/// ([`ForeignLabels`](ner_document::ForeignLabels)); no mention goes over a form feed or the like; and a word is a
/// pre-token of the tokenizer, where the pipeline treats every piece that differs from its text in length as a
/// continuation (e.g. pieces whose accent was a separate character).
#[derive(Debug)]
pub struct Recognizer {
    tagger: Tagger,
    tokenizer: DocumentTokenizer,
    inference: InferenceConfig,
}

impl Recognizer {
    /// Opens a model folder (a run's `model`, or any with a token-classification head) on the best available device, in
    /// its fastest precision ([`Precision::Auto`]).
    ///
    /// # Errors
    /// If its files cannot be read or do not match each other.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        let device = find_device("auto")?;
        Self::open_in(folder.as_ref(), device, Precision::Auto)
    }

    /// Opens a model folder on a device, in a precision.
    ///
    /// # Errors
    /// If its files cannot be read or do not match each other, or the device or the encoder does not support the precision.
    pub fn open_in(folder: &Path, device: Device, precision: Precision) -> Result<Self, ModelError> {
        Self::load(folder, device, precision.for_prediction(device, &BertConfig::of_folder(folder)?)?)
    }

    /// The same with documents that do not affect each other, as [`Tagger::compute_apart`]. [`Precision::Auto`] is then int8
    /// wherever the CPU has instructions for it, even where bf16 is faster in common batches.
    ///
    /// # Errors
    /// As [`open_in`](Self::open_in).
    pub fn open_apart(folder: &Path, device: Device, precision: Precision) -> Result<Self, ModelError> {
        let supports_int8 = device == Device::Cpu && FusedLayers::supports(&BertConfig::of_folder(folder)?);
        let prefers_int8 = precision == Precision::Auto && supports_int8 && Cpu::current()?.has_int8();
        let mut opened = Self::open_in(folder, device, if prefers_int8 { Precision::Int8 } else { precision })?;
        opened.tagger.compute_apart();
        Ok(opened)
    }

    /// Loads a model folder onto a device, to compute in `kind` (`QInt8`: int8).
    ///
    /// # Errors
    /// If its files cannot be read or do not match each other.
    pub fn load(folder: &Path, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let (tagger, tokenizer, inference) = load_parts(folder, device, kind)?;
        if inference.head == Head::Assertion {
            let message = "it says which assertion a mention has and finds no mentions; use it with `assert --model`";
            return Err(ModelError::Config { path: folder.into(), message: message.into() });
        }
        Ok(Self { tagger, tokenizer, inference })
    }

    /// A recogniser made of loaded parts.
    pub const fn new(tagger: Tagger, tokenizer: DocumentTokenizer, inference: InferenceConfig) -> Self {
        Self { tagger, tokenizer, inference }
    }

    /// Replaces the tokenizer, e.g. by its own with other windows.
    pub fn with_tokenizer(self, tokenizer: DocumentTokenizer) -> Self {
        Self { tokenizer, ..self }
    }

    /// The kind that the encoder computes in; `QInt8` is int8.
    pub const fn kind(&self) -> Kind {
        self.tagger.kind()
    }

    /// The labels.
    pub const fn labels(&self) -> &LabelSet {
        self.tagger.labels()
    }

    /// The inference settings.
    pub const fn inference(&self) -> &InferenceConfig {
        &self.inference
    }

    /// The tokenizer. A clone of it can tokenize on another thread while the model computes.
    pub const fn tokenizer(&self) -> &DocumentTokenizer {
        &self.tokenizer
    }

    /// Finds the mentions of one text.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn annotate(&self, text: &str) -> Result<Vec<Mention>, ModelError> {
        let encoded = self.tokenizer.encode(&[Document::new("text", text)])?;
        Ok(self.mentions(&encoded, |_| {}).into_iter().next().unwrap_or_default())
    }

    /// The mentions of each document. `progress` gets the number of tokens after each batch, and may stop the
    /// computation ([`Progress`]).
    pub fn mentions<D, P>(&self, documents: &[D], progress: impl FnMut(usize) -> P + Send) -> Vec<Vec<Mention>>
    where
        D: Borrow<EncodedDocument>,
        P: Progress,
    {
        let outputs = self.outputs(documents, progress);
        let none = vec![0.0; self.labels().types.len()];
        let decide = |(document, output): (&EncodedDocument, &ModelOutput)| {
            decode_mentions(&document.words, output, self.labels(), &none, self.inference.decode_options())
        };
        in_parallel(references(documents).into_iter().zip(&outputs), decide)
    }

    /// The model's outputs for each document, before decoding. Panics if it computes a number that is not finite.
    pub fn outputs<D, P>(&self, documents: &[D], progress: impl FnMut(usize) -> P + Send) -> Vec<ModelOutput>
    where
        D: Borrow<EncodedDocument>,
        P: Progress,
    {
        let outputs = self.tagger.outputs(&self.tokenizer, &references(documents), progress);
        assert!(outputs.iter().all(ModelOutput::is_finite), "{NOT_FINITE}");
        outputs
    }

    /// The outputs of one pass with dropout, as a sample. `dropout` gets the number of each batch.
    pub fn outputs_under<D>(&self, documents: &[D], dropout: &(dyn Fn(u64) -> TrainingPass + Sync)) -> Vec<ModelOutput>
    where
        D: Borrow<EncodedDocument>,
    {
        self.tagger.outputs_under(&self.tokenizer, &references(documents), Some(dropout), |_| {})
    }

    /// The encoder's last hidden states, as in [`Tagger::states`].
    pub fn states<D>(&self, documents: &[D], sink: impl FnMut(usize, usize, &[f32]))
    where
        D: Borrow<EncodedDocument>,
    {
        self.tagger.states(&self.tokenizer, &references(documents), sink);
    }
}

/// Loads the parts of a model from its folder.
pub(crate) fn load_parts(
    folder: &Path,
    device: Device,
    kind: Kind,
) -> Result<(Tagger, DocumentTokenizer, InferenceConfig), ModelError> {
    let load = || {
        let (model, labels, inference) = load_for_prediction(folder)?;
        let Pretrained { config, parameters, .. } = model;
        let tokenizer = inference.tokenizer(folder)?.with_embeddings(config.vocab_size as usize)?;
        let tagger = Tagger::new(&config, &labels, inference.head, &parameters, device, kind)?;
        Ok((tagger, tokenizer, inference))
    };
    caught_on_device(load).unwrap_or_else(|message| Err(ModelError::Config { path: folder.into(), message }))
}

pub(crate) fn references<D: Borrow<EncodedDocument>>(documents: &[D]) -> Vec<&EncodedDocument> {
    documents.iter().map(Borrow::borrow).collect()
}
