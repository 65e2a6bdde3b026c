//! Annotates text with one or several models: merges their mentions, adds categories and applies thresholds. Works on
//! one document or on a stream of any length.
//!
//! It is the engine of both the command and the server, and does not depend on files, formats, the network or the
//! command line.
//!
//! # Where things are
//! - `annotator.rs`: [`Annotator`] holds the models. [`Tokenizers`] go to other threads and make [`Prepared`] documents
//!   there; one batch may hold documents of several callers.
//! - `merge.rs`: how mentions of several models become [`MergedMention`]s, and [`Thresholds`].
//! - `ensemble.rs`: whether models of an ensemble are averaged or vote. Averages and votes themselves are in
//!   `ner-text`.
//! - `stream.rs`: reads and tokenizes on one thread while the models compute on another.
//! - `wire.rs`: the JSON of a mention; `table.rs`: the same as Arrow.
//! - `worker.rs`: answers another program over pipes, with tables in Arrow's format.

#![forbid(unsafe_code)]

mod annotator;
mod ensemble;
mod merge;
mod model;
mod stream;
mod table;
mod wire;
mod worker;

pub use annotator::{Annotator, Prepared, Tokenizers};
pub use ensemble::Combination;
pub use merge::{LongForm, MergedMention, Thresholds, merge};
pub use model::Model;
pub use stream::{BatchSize, Event, Outcome, Summary, stream};
pub use table::columns;
pub use wire::{Offsets, WireAssertion, WireCandidate, WireConcept, WireMention, WirePart, wire_mentions};
pub use worker::answer;
