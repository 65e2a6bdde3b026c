//! Corpora of annotated medical text: formats, descriptions, splits, statistics and synthetic samples.
//!
//! This crate knows nothing of libtorch, of models or of the network. Readers return what they read *and* what was wrong
//! with it ([`Diagnostics`]). It re-exports the crates that it stands on, so that one name is enough to read a corpus,
//! cut it into tokens and align its mentions.

#![forbid(unsafe_code)]

mod conversion;
pub mod dataset;
pub mod format;
pub mod frames;
pub mod statistics;
pub mod synthetic;

pub use ner_document::*;
pub use ner_text::*;

pub use conversion::{ConversionChange, ConversionReport, Fate, Item, Tally};
pub use dataset::{DatasetDescription, DatasetError, Split, Splits, i2b2_release};
pub use format::{Documents, Format, FormatOptions, Writer};
pub use statistics::{AlignmentStatistics, SplitStatistics};
