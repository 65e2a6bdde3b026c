//! Predicts mentions for training and evaluation.

use crate::corpus::Corpus;
use crate::progress;
use anyhow::Result;
use indicatif::ProgressBar;
use ner_annotate::{Annotator, MergedMention, Prepared};
use ner_context::AssertionValue;
use ner_data::{
    Document, DocumentTokenizer, EncodedDocument, Format, FormatOptions, Item, Mention, ModelOutput, Split,
};
use ner_model::Recognizer;
use ner_runs::{PredictedDocument, RunFolder, write_predictions};
use tracing::info;

/// A split, encoded for a model.
pub struct EncodedSplit<'d> {
    /// The documents with their gold mentions.
    pub documents: &'d [Document],
    /// Their tokens and windows.
    pub encoded: Vec<EncodedDocument>,
    /// The types annotated in each document; empty for a single corpus.
    types: Vec<&'d [String]>,
    /// What the rules say of each mention of each document; empty if the corpus's types are no assertions.
    pub rule_values: &'d [Vec<AssertionValue>],
}

impl<'d> EncodedSplit<'d> {
    /// Encodes documents.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn new(tokenizer: &DocumentTokenizer, documents: &'d [Document]) -> Result<Self> {
        let encoded = tokenizer.encode(documents)?;
        Ok(Self { documents, encoded, types: Vec::new(), rule_values: &[] })
    }

    /// Encodes a split of a corpus, which may be joined.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn of(tokenizer: &DocumentTokenizer, corpus: &'d Corpus, split: Split) -> Result<Self> {
        let types = corpus.types_of(split);
        let rule_values = corpus.rule_values.as_ref().map_or(&[][..], |values| values.get(split).as_slice());
        Ok(Self { types, rule_values, ..Self::new(tokenizer, &corpus.splits.get(split).documents)? })
    }

    /// The types annotated in a document, for joined corpora.
    pub fn types_of(&self, document: usize) -> Option<&[String]> {
        self.types.get(document).copied()
    }

    /// Keeps the mentions whose types the document's corpus annotates.
    pub fn annotated(&self, document: usize, mut mentions: Vec<Mention>) -> Vec<Mention> {
        if let Some(types) = self.types_of(document) {
            mentions.retain(|mention| types.contains(&mention.entity_type));
        }
        mentions
    }

    /// The documents with other mentions, restricted to annotated types.
    pub fn with_mentions(&self, mentions: Vec<Vec<Mention>>) -> Vec<Document> {
        let of_document = |(at, mentions)| {
            let mentions = self.annotated(at, mentions);
            Document { mentions, relations: Vec::new(), ..self.documents[at].clone() }
        };
        mentions.into_iter().enumerate().map(of_document).collect()
    }
}

/// Model outputs for each document, before decoding.
pub fn model_outputs(recognizer: &Recognizer, split: &EncodedSplit<'_>, what: &str) -> Vec<ModelOutput> {
    let bar = bar(split, what);
    recognizer.outputs(&split.encoded, |done| bar.inc(done as u64))
}

/// The documents with predicted mentions in place of gold ones.
pub fn predict(recognizer: &Recognizer, split: &EncodedSplit<'_>, what: &str) -> Vec<Document> {
    let bar = bar(split, what);
    split.with_mentions(recognizer.mentions(&split.encoded, |done| bar.inc(done as u64)))
}

/// The documents with the mentions of an ensemble.
///
/// # Errors
/// If a tokenizer fails.
pub fn predict_together(ensemble: &Annotator, split: &EncodedSplit<'_>, what: &str) -> Result<Vec<Document>> {
    let prepared = ensemble.tokenizers().prepare(split.documents.to_vec())?;
    let bar = progress::tokens(what, prepared.iter().map(Prepared::tokens).sum());
    let found = ensemble.find(&prepared, |done| bar.inc(done as u64));
    let to_mention = |merged: MergedMention| Mention {
        confidence: Some(merged.confidence),
        ..Mention::new(merged.span, merged.entity_type)
    };
    Ok(split.with_mentions(found.into_iter().map(|found| found.into_iter().map(to_mention).collect()).collect()))
}

fn bar(split: &EncodedSplit<'_>, what: &str) -> ProgressBar {
    progress::tokens(what, split.encoded.iter().map(|document| document.tokens.len()).sum())
}

/// Format of predictions kept with their text: that of the corpus.
pub struct TextForm {
    /// The format.
    pub format: Format,
    /// Its options.
    pub options: FormatOptions,
}

/// Saves the predictions for a split in a run folder, as offsets beside the gold ones, and with `text` in the corpus's
/// format, too. Logs what that format cannot express.
///
/// # Errors
/// If they cannot be written.
pub fn keep_predictions(
    folder: &RunFolder,
    split: Split,
    gold: &[Document],
    predicted: &[Document],
    text: Option<&TextForm>,
) -> Result<()> {
    let pairs = gold.iter().zip(predicted);
    let offsets: Vec<PredictedDocument> =
        pairs.map(|(gold, predicted)| PredictedDocument::new(gold, predicted)).collect();
    write_predictions(folder, split.name(), &offsets)?;
    let Some(TextForm { format, options }) = text else { return Ok(()) };
    let place = folder.path().join("predictions");
    let place = if format.is_folder() {
        place.join(split.name())
    } else {
        // Keeps the name of the offsets' file free.
        let extension = if *format == Format::Jsonl { "text.jsonl" } else { format.extension() };
        place.join(format!("{}.{extension}", split.name()))
    };
    if place.is_dir() {
        // Left over from a killed process.
        fs_err::remove_dir_all(&place)?;
    }
    let report = format.write(&place, predicted, options)?;
    for (item, tally) in report.items.iter().filter(|(_, tally)| tally.moved + tally.lost > 0) {
        // The offsets file keeps confidences.
        if *item == Item::Confidence {
            continue;
        }
        info!("predictions as {format}: {item}: {} moved, {} lost", tally.moved, tally.lost);
    }
    Ok(())
}
