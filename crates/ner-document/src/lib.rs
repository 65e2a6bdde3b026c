//! Documents with mentions, and tags that mark mentions.
//!
//! Every other crate builds on these types. They know nothing of files, tokenizers or models. All offsets count Unicode
//! scalar values ([`Span`]). A fault in a corpus is a [`Diagnostic`] with its location.
//!
//! Where things are:
//!
//! - `span.rs`: [`Span`], half-open, in characters; [`CharIndex`] converts to bytes.
//! - `document.rs`: [`Document`], [`Mention`] and their parts.
//! - `diagnostic.rs`: counted faults of a corpus.
//! - `tags.rs`: tag schemes and label sets, encoding and decoding.
//! - `align.rs`: mentions to tags and to runs of words, and what does not fit.
//! - `label_map.rs`: types of a corpus to labels of a model.
//! - `fold.rs`: texts folded for comparison.
//! - `suggest.rs`: the nearest name to a misspelt one.
//! - `seed.rs`: seeds derived from a seed.
//! - `shown.rs`: foreign strings without characters that steer a terminal.

#![forbid(unsafe_code)]

mod align;
mod diagnostic;
mod document;
pub mod fold;
mod label_map;
mod seed;
mod shown;
mod span;
mod suggest;
mod tags;

pub use align::{Alignment, Misfit, MisfitReason, align, align_by_type, align_spans, mentions_of};
pub use diagnostic::{Diagnostic, DiagnosticKind, Diagnostics};
pub use document::{Argument, Confidence, Document, Mention, Passage, Relation, Target};
pub use label_map::LabelMap;
pub use seed::derive_seed;
pub use shown::{is_steering, shown, shown_lines};
pub use span::{CharIndex, Span};
pub use suggest::{nearest, nearest_key};
pub use tags::{ForeignLabels, LabelSet, Position, Tag, TagScheme, TaggedEntity};
