//! Corpora of annotated medical text, and the way from character offsets to tags on word pieces and back.
//!
//! This crate knows nothing of libtorch, of models or of the network. Offsets count Unicode scalar values
//! everywhere ([`Span`]); readers return what they read *and* what was wrong with it ([`Diagnostics`]).

mod align;
mod batches;
mod chain;
pub mod dataset;
mod diagnostic;
mod document;
mod ensemble;
mod findings;
pub mod format;
pub mod frames;
pub mod i2b2_release;
mod loss;
mod new_file;
mod pieces;
mod sentences;
mod span;
pub mod statistics;
mod suggest;
pub mod synthetic;
mod tags;
mod tokenize;

pub use align::{
    Alignment, Decision, Misfit, MisfitReason, align, align_by_type, align_spans, mentions_from_probabilities,
    mentions_of, piece_labels,
};
pub use batches::{batches_by_length, shuffled_batches};
pub use chain::{ChainEntity, Transitions};
pub use dataset::{DatasetDescription, DatasetError, Split, Splits};
pub use diagnostic::{Diagnostic, DiagnosticKind, Diagnostics};
pub use document::{Argument, Confidence, Document, Mention, Passage, Relation, Target};
pub use ensemble::{Elected, mean_findings, vote};
pub use findings::{Allowed, Findings, FoundSpan, WordScores, mentions_from_findings};
pub use format::{Documents, Format, FormatOptions, Writer};
pub use loss::{Fate, Item, Loss, LossReport, Tally};
pub use sentences::sentences;
pub use span::{CharIndex, Span};
pub use statistics::{AlignmentStatistics, SplitStatistics};
pub use suggest::{nearest, nearest_key};
pub use tags::{LabelSet, Position, Tag, TagScheme, TaggedEntity};
pub use tokenize::{EncodedDocument, TextEncoder, Token, TokenizeError, Window, WindowSize, Word};
