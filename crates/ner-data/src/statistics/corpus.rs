use super::{
    AlignmentStatistics, Consistency, Distributions, Overlaps, PieceStatistics, SharedIds, SharedTexts,
    SplitStatistics, Unseen, shared_documents, shared_ids, shared_sentences,
};
use crate::dataset::LoadedSplit;
use crate::{Document, DocumentTokenizer, LabelSet, Splits, TokenizeError};
use serde::Serialize;

/// Everything that is counted of a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorpusStatistics {
    /// What each split holds.
    pub splits: Splits<SplitReport>,
    /// How the sizes of documents and mentions are spread.
    pub distributions: Distributions,
    /// What splits have in common.
    pub shared: Shared,
    /// Mentions that training does not show.
    pub unseen: UnseenMentions,
}

/// What is counted of one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitReport {
    /// Its documents and mentions.
    pub statistics: SplitStatistics,
    /// Mentions that share characters.
    pub overlaps: Overlaps,
    /// Strings that are a mention here and none, or another, there.
    pub consistency: Consistency,
    /// What of the mentions tags can say; none without an encoder.
    pub alignment: Option<AlignmentStatistics>,
    /// Word pieces; none without an encoder.
    pub pieces: Option<PieceStatistics>,
}

/// What splits have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shared {
    /// Whole documents, by their text.
    pub documents: SharedTexts,
    /// Documents, by their identifier.
    pub document_ids: Vec<SharedIds>,
    /// Sentences.
    pub sentences: SharedTexts,
}

/// Mentions of the splits that are measured on, compared with those of the training split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnseenMentions {
    /// Those of the development split.
    pub dev: Unseen,
    /// Those of the test split.
    pub test: Unseen,
}

impl CorpusStatistics {
    /// Counts a corpus. Where there is an encoder, its words are counted, too, and mentions are brought onto them and
    /// back with `labels`.
    ///
    /// # Errors
    /// Where the tokenizer fails on a document.
    pub fn of(
        splits: &Splits<LoadedSplit>,
        encoder: Option<&DocumentTokenizer>,
        labels: &LabelSet,
    ) -> Result<Self, TokenizeError> {
        let documents = splits.map(|_, split| split.documents.as_slice());
        let encoded = match encoder {
            Some(encoder) => Some(documents.try_map(|_, documents| encoder.encode(documents))?),
            None => None,
        };
        let report = |split, loaded: &LoadedSplit| {
            let documents: &[Document] = &loaded.documents;
            let encoded = encoded.as_ref().map(|encoded| encoded.get(split));
            let unknown = encoder.and_then(DocumentTokenizer::unknown_id);
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
