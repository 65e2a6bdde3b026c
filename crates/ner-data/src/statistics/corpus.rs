use super::{
    AlignmentStatistics, Consistency, Distributions, Overlaps, PieceStatistics, SharedIds, SharedTexts,
    SplitStatistics, Unseen, shared_documents, shared_ids, shared_sentences,
};
use crate::dataset::LoadedSplit;
use crate::{Document, DocumentTokenizer, LabelSet, Splits, TokenizeError};
use serde::Serialize;

/// All counts of a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorpusStatistics {
    /// Counts of each split.
    pub splits: Splits<SplitReport>,
    /// Size distributions of documents and mentions.
    pub distributions: Distributions,
    /// Texts and ids that splits share.
    pub shared: Shared,
    /// Mentions that do not occur in training.
    pub unseen: UnseenMentions,
}

/// Counts of one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitReport {
    /// Documents and mentions.
    pub statistics: SplitStatistics,
    /// Mentions that share characters.
    pub overlaps: Overlaps,
    /// Strings that are labelled inconsistently.
    pub consistency: Consistency,
    /// Mentions that tags can express; `None` without an encoder.
    pub alignment: Option<AlignmentStatistics>,
    /// Word pieces; `None` without an encoder.
    pub pieces: Option<PieceStatistics>,
}

/// Texts and ids that splits share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shared {
    /// Whole documents, by text.
    pub documents: SharedTexts,
    /// Documents, by identifier.
    pub document_ids: Vec<SharedIds>,
    /// Sentences.
    pub sentences: SharedTexts,
}

/// Mentions of the dev and test splits, compared with those of the training split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnseenMentions {
    /// Mentions of the development split.
    pub dev: Unseen,
    /// Mentions of the test split.
    pub test: Unseen,
}

impl CorpusStatistics {
    /// Counts a corpus. With an encoder, also counts word pieces, and aligns mentions with its words and back using
    /// `labels`.
    ///
    /// # Errors
    /// If the tokenizer fails on a document.
    pub fn of(
        splits: &Splits<LoadedSplit>,
        tokenizer: Option<&DocumentTokenizer>,
        labels: &LabelSet,
    ) -> Result<Self, TokenizeError> {
        let documents = splits.map(|_, split| split.documents.as_slice());
        let encoded = match tokenizer {
            Some(tokenizer) => Some(documents.try_map(|_, documents| tokenizer.encode(documents))?),
            None => None,
        };
        let report = |split, loaded: &LoadedSplit| {
            let documents: &[Document] = &loaded.documents;
            let encoded = encoded.as_ref().map(|encoded| encoded.get(split));
            let unknown = tokenizer.and_then(DocumentTokenizer::unknown_id);
            SplitReport {
                statistics: SplitStatistics::of(loaded),
                overlaps: Overlaps::of(documents),
                consistency: Consistency::of(documents),
                alignment: encoded.map(|encoded| AlignmentStatistics::of(documents, encoded, labels)),
                pieces: encoded.map(|encoded| PieceStatistics::of(documents, encoded, unknown)),
            }
        };
        Ok(Self {
            splits: splits.map(report),
            distributions: Distributions::of(&documents, encoded.as_ref()),
            shared: Shared {
                documents: shared_documents(&documents),
                document_ids: shared_ids(&documents),
                sentences: shared_sentences(&documents),
            },
            unseen: UnseenMentions {
                dev: Unseen::of(documents.train, documents.dev),
                test: Unseen::of(documents.train, documents.test),
            },
        })
    }
}
