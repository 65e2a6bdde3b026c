//! Chooses the sentences or documents to annotate next, and measures what choosing saves.
//!
//! A model's [`ModelOutput`](ner_text::ModelOutput) becomes a [`Posterior`] for each unit of a pool. [`uncertainty`]
//! scores posteriors, [`disagreement`] scores the posteriors of several models. [`Rows`] hold embeddings, and
//! [`diversity`] picks rows that are far apart. A [`Selector`] applies one [`Strategy`] to a stream until a [`Budget`]
//! is spent.
//!
//! This crate works on documents and plain numbers, so that each paper's formula is tested without libtorch. It does
//! not depend on files or the command line.
//!
//! # Where things are
//! - `posterior.rs`: decisions of a model by word or by span, and which parts of that are the papers' and which are
//!   transferred.
//! - [`uncertainty`], [`disagreement`], [`diversity`]: the formulas; `strategy.rs`: their names and sources.
//! - `selector.rs`: a strategy over a stream, and its memory; `budget.rs`: costs and budgets; `rows.rs`: embeddings.
//! - [`curve`]: learning curves.
//! - [`correct`]: people's corrections of a batch.

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

/// A random number in [0, 1) that depends only on a seed and a place, not on earlier calls.
pub fn chance(seed: u64, place: u64) -> f64 {
    // 53 bits: the precision of an f64.
    (derive_seed(seed, place) >> 11) as f64 / (1u64 << 53) as f64
}
