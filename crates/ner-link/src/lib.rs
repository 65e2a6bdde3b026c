//! From mention to concept: abbreviations of a document, vocabularies, and links from mentions to concepts.
//!
//! Where things are:
//!
//! - `abbreviations.rs`: definitions of short forms, and their uses.
//! - `apposition.rs`: mentions in brackets beside another.
//! - `record.rs`: [`Record`], a concept with its names. [`readers`] stream records from the formats of vocabularies.
//! - `normalise.rs`: the keys under which names and mentions meet.
//! - `build.rs`: [`Builder`], from records to a file. `layout.rs`: the layout of that file.
//! - `vocabulary.rs`: [`Vocabulary`], such a file mapped into memory.
//! - `ngrams.rs`: names that resemble a mention. `rank.rs`: which of them it means.
//! - `rerank.rs`: [`Reranker`], an encoder that decides between such names; it comes from outside this crate.
//! - `linker.rs`: [`Linker`], from a mention to its concepts. `composite.rs`: mentions of several concepts.
//! - `typed.rs`: [`Linkers`], a vocabulary for each entity type, and what a linked mention says.

// One exception, argued in `vocabulary.rs` and `rerank.rs`: mapping a file into memory.
#![deny(unsafe_code)]

mod abbreviations;
mod apposition;
mod build;
mod composite;
mod layout;
mod linker;
mod lock;
mod ngrams;
mod normalise;
mod rank;
pub mod readers;
mod record;
mod rerank;
mod typed;
mod vocabulary;

pub use abbreviations::{Definition, Use, definitions, long_forms, uses};
pub use build::{BuildError, BuildReport, Builder};
pub use linker::{Answer, Candidate, Compared, LinkOptions, Linker, Query, Stage};
pub use normalise::{key_of, variant_of};
pub use readers::{Format, OMOP_SYSTEM, ReadError, ReadOptions, ReadReport, read};
pub use record::Record;
pub use rerank::{
    NameVectors, RERANKER_VERSION, RerankError, RerankWeights, Reranker, RerankerSettings, SETTINGS_FILE,
    StoredVectors, TrainedFor, VectorWriter,
};
pub use typed::{Linkable, Linked, LinkedConcept, Linkers, LinkersError, Other};
pub use vocabulary::{Concept, OpenError, Vocabulary, is_vocabulary};
