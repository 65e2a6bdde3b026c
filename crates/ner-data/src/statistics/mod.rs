//! Statistics of a corpus, computed before training.
//!
//! All statistics take time linear in the text, or n log n in the mentions of a document. A share of nothing is `None`,
//! never 0. Locations are numbers ([`TextPlace`]); these types contain no text of a document, so the caller decides
//! whether to show any. Only `examples.rs`, which picks locations to inspect, returns text.
//!
//! Each kind of statistics has its own module with its counts and test; `corpus.rs` combines them.
//!
//! A *word* is a run of characters without white space, in every corpus: in a tokenised corpus these are its words, and
//! elsewhere the numbers do not depend on a tokenizer. Texts are compared *folded*: in lower case, each run of white
//! space as one space, trimmed.

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

/// A location in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextPlace {
    /// Index of the document in the split.
    pub document: usize,
    /// Position in its text.
    pub span: Span,
}

/// `part / whole`; `None` if `whole` is 0.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Number of words in a text: runs of characters without white space.
fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Sorts spans, and joins those that overlap or touch.
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
