//! What a corpus holds, counted before anything is trained on it.
//!
//! Everything here takes time linear in the text, or n log n in the mentions of a document. A share of nothing is
//! none, never 0. Places are kept as numbers ([`TextPlace`]): no text of a document is in what these types hold, so whoever
//! prints them decides whether to show it.
//!
//! A *word* is a run of characters without whitespace, in every corpus alike: in a corpus that comes tokenised these
//! are its words, and elsewhere no tokenizer's taste enters into the figures. Texts are compared *folded*: in lower
//! case, each run of whitespace as one space, none at the ends.

mod alignment;
mod consistency;
mod corpus;
mod distribution;
mod examples;
mod overlap;
mod pieces;
mod shared;
mod split;
mod unseen;

pub use alignment::AlignmentStatistics;
pub use consistency::{Consistency, ConsistencyCounts, Inconsistency, TypePair};
pub use corpus::{CorpusStatistics, Shared, SplitReport, UnseenMentions};
pub use distribution::{Distribution, Distributions, Quantiles, Spread, words_of};
pub use examples::{Example, Examples, InconsistencyExample};
pub use overlap::Overlaps;
pub use pieces::{PieceCounts, PieceStatistics};
pub use shared::{SharedIds, SharedTexts, SharedTextsPair, shared_documents, shared_ids, shared_sentences};
pub use split::{SplitStatistics, TypeStatistics};
pub use unseen::{Unseen, UnseenCounts};

use crate::Span;

/// Where something stands in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextPlace {
    /// Place of the document in the split.
    pub document: usize,
    /// Place in its text.
    pub span: Span,
}

/// `part / whole`; none where there is no whole.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Words of a text: runs of characters without whitespace.
fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Sorts spans, and makes one of those that overlap or touch.
fn merge(spans: &mut Vec<Span>) {
    spans.sort_unstable();
    spans.dedup_by(|next, last| {
        let joined = next.start <= last.end;
        if joined {
            last.end = last.end.max(next.end);
        }
        joined
    });
}
