//! From documents to predicted mentions, for training and evaluation alike.

use crate::corpus::Corpus;
use crate::progress;
use anyhow::Result;
use indicatif::ProgressBar;
use ner_annotate::{Annotator, MergedMention, Prepared};
use ner_data::{
    Document, DocumentTokenizer, EncodedDocument, Format, FormatOptions, Item, Mention, ModelOutput, Split,
};
use ner_model::Recognizer;
use ner_runs::{PredictedDocument, RunFolder, write_predictions};
use tracing::info;

/// A split as the model sees it.
pub struct EncodedSplit<'d> {
    /// The documents with their gold mentions.
    pub documents: &'d [Document],
    /// Their tokens and windows.
    pub encoded: Vec<EncodedDocument>,
    /// The types that the corpus of each document annotates; empty where they are of one corpus.
    types: Vec<&'d [String]>,
}

impl<'d> EncodedSplit<'d> {
    /// Encodes documents.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn new(tokenizer: &DocumentTokenizer, documents: &'d [Document]) -> Result<Self> {
        let encoded = tokenizer.encode(documents)?;
        Ok(Self { documents, encoded, types: Vec::new() })
    }

    /// A split of a corpus, which may be several.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn of(tokenizer: &DocumentTokenizer, corpus: &'d Corpus, split: Split) -> Result<Self> {
        let types = corpus.types_of(split);
        Ok(Self { types, ..Self::new(tokenizer, &corpus.splits.get(split).documents)? })
    }

    /// What the document at this place annotates, where its corpus is one of several.
    pub fn types_of(&self, document: usize) -> Option<&[String]> {
        self.types.get(document).copied()
    }

    /// The mentions that the document at this place could hold: of the others its corpus says nothing.
    pub fn annotated(&self, document: usize, mut mentions: Vec<Mention>) -> Vec<Mention> {
        if let Some(types) = self.types_of(document) {
            mentions.retain(|mention| types.contains(&mention.entity_type));
        }
        mentions
    }

    /// The documents with other mentions, as far as they could hold them.
    pub fn with_mentions(&self, mentions: Vec<Vec<Mention>>) -> Vec<Document> {
        let of_document = |(at, mentions)| {
            let mentions = self.annotated(at, mentions);
            Document { mentions, relations: Vec::new(), ..self.documents[at].clone() }
        };
        mentions.into_iter().enumerate().map(of_document).collect()
    }
}

/// What a model finds in each document, before anything is decided.
pub fn model_outputs(recognizer: &Recognizer, split: &EncodedSplit<'_>, what: &str) -> Vec<ModelOutput> {
    let bar = bar(split, what);
    recognizer.outputs(&split.encoded, |done| bar.inc(done as u64))
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
        // The offsets beside keep them.
        if *item == Item::Confidence {
            continue;
        }
        info!("predictions as {format}: {item}: {} moved, {} lost", tally.moved, tally.lost);
    }
    Ok(())
}
