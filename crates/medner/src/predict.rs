//! From documents to predicted mentions, for training and evaluation alike.

use crate::progress;
use anyhow::Result;
use indicatif::ProgressBar;
use ner_annotate::{Annotator, Finding, Prepared};
use ner_data::{Document, EncodedDocument, Findings, Format, FormatOptions, Mention, Split, TextEncoder, Word};
use ner_model::Recognizer;
use ner_runs::{PredictedDocument, RunFolder, write_predictions};
use tracing::info;

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

/// The documents with the mentions of several models that are taken for one.
///
/// # Errors
/// Where a tokenizer fails.
pub fn predict_together(ensemble: &Annotator, split: &EncodedSplit<'_>, what: &str) -> Result<Vec<Document>> {
    let prepared = ensemble.encoders().prepare(split.documents.to_vec())?;
    let bar = progress::tokens(what, prepared.iter().map(Prepared::tokens).sum());
    let found = ensemble.find(&prepared, |done| bar.inc(done as u64));
    let to_mention = |finding: Finding| Mention {
        confidence: Some(finding.confidence),
        ..Mention::new(finding.span, finding.entity_type)
    };
    Ok(split.with_mentions(found.into_iter().map(|found| found.into_iter().map(to_mention).collect()).collect()))
}

fn bar(split: &EncodedSplit<'_>, what: &str) -> ProgressBar {
    progress::tokens(what, split.encoded.iter().map(|document| document.tokens.len()).sum())
}

/// How predictions are kept where they are kept with their text: as the corpus is.
pub struct TextForm {
    /// The format.
    pub format: Format,
    /// What it leaves open.
    pub options: FormatOptions,
}

/// Keeps the predictions for a split in a run folder: as offsets beside the gold ones, and with `text` in the format of
/// the corpus, too. Says what that cannot express.
///
/// # Errors
/// Where they cannot be written.
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
        // The name of the offsets' file must stay free.
        let extension = if *format == Format::Jsonl { "text.jsonl" } else { format.extension() };
        place.join(format!("{}.{extension}", split.name()))
    };
    if place.is_dir() {
        // Of a process that was killed between writing them and the end of its run.
        fs_err::remove_dir_all(&place)?;
    }
    let report = format.write(&place, predicted, options)?;
    for (item, tally) in report.items.iter().filter(|(_, tally)| tally.moved + tally.lost > 0) {
        info!("predictions as {format}: {item}: {} moved, {} lost", tally.moved, tally.lost);
    }
    Ok(())
}
