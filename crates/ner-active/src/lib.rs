//! Which sentences, or documents, to annotate next, and what choosing them saves.
//!
//! A model's [`ModelOutput`](ner_text::ModelOutput) become an [`Posterior`] of each unit of a pool; [`uncertainty`] makes scores
//! of posteriors, [`disagreement`] of the posteriors of several models; [`Rows`] hold embeddings and [`diversity`] picks rows
//! that are far from each other. A [`Selector`] does one of that for a [`Strategy`] until a [`Budget`] is spent. [`curve`]
//! says what a learning curve is worth; [`correct`] is what people do with the batch. This crate knows documents and numbers; it knows nothing of libtorch, of files or
//! of the command line.

#![forbid(unsafe_code)]

mod budget;
pub mod correct;
pub mod curve;
pub mod disagreement;
pub mod diversity;
mod posterior;
mod rows;
mod selector;
mod strategy;
pub mod uncertainty;

pub use budget::{Best, Budget, Cost, Unit};
pub use posterior::{DocumentPart, Posterior, parts};
pub use rows::Rows;
pub use selector::{Chosen, Offer, Selector};
pub use strategy::Strategy;

use ner_document::derive_seed;

/// A number from 0 up to 1 that is a function of a seed and a place alone: what chance says of an item, whatever else is
/// asked.
pub fn chance(seed: u64, place: u64) -> f64 {
    // 53 bits: what an f64 between 0 and 1 can tell apart.
    (derive_seed(seed, place) >> 11) as f64 / (1u64 << 53) as f64
}
