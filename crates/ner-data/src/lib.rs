//! Corpora of annotated medical text: formats, descriptions, splits, statistics and synthetic samples.
//!
//! This crate knows nothing of libtorch, models or the network. Readers return what they read *and* the faults that
//! they found ([`Diagnostics`]). It re-exports the crates below it, so that one name is enough to read a corpus, split
//! it into tokens and align its mentions.
//!
//! Where things are:
//!
//! - [`mod@format`]: readers and writers, one module per corpus format. `conversion.rs` reports what a format cannot
//!   express.
//! - [`dataset`]: descriptions of corpora, their files, splits and label maps; [`i2b2_release`] imports that release as
//!   distributed.
//! - [`statistics`]: counts of a corpus.
//! - [`table`]: tables of texts in CSV and TSV.
//! - [`frames`]: documents and mentions as data frames (polars, Parquet).
//! - [`synthetic`]: generators of the samples.

#![forbid(unsafe_code)]

mod conversion;
pub mod dataset;
pub mod format;
pub mod frames;
pub mod statistics;
pub mod synthetic;
pub mod table;

pub use ner_document::*;
pub use ner_text::*;

pub use conversion::{ConversionChange, ConversionReport, Fate, Item, Tally};
pub use dataset::{DatasetDescription, DatasetError, Split, Splits, i2b2_release};
pub use format::{Documents, Format, FormatOptions, OffsetUnit, Writer};
pub use statistics::{AlignmentStatistics, SplitStatistics};
