//! Documents with their mentions, and the tags that say where mentions are.
//!
//! Every other crate builds on these types. They know no file, no tokenizer and no model. Offsets count Unicode scalar
//! values everywhere ([`Span`]); a fault of a corpus is a [`Diagnostic`] with its place.

#![forbid(unsafe_code)]

mod align;
mod diagnostic;
mod document;
pub mod fold;
mod label_map;
mod seed;
mod span;
mod suggest;
mod tags;

pub use align::{Alignment, Misfit, MisfitReason, align, align_by_type, align_spans, mentions_of};
pub use diagnostic::{Diagnostic, DiagnosticKind, Diagnostics};
pub use document::{Argument, Confidence, Document, Mention, Passage, Relation, Target};
pub use label_map::LabelMap;
pub use seed::derive_seed;
pub use span::{CharIndex, Span};
pub use suggest::{nearest, nearest_key};
pub use tags::{LabelSet, Position, Tag, TagScheme, TaggedEntity};
