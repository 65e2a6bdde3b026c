//! From mention to concept: abbreviations of a document, vocabularies, and links from mentions to concepts.
//!
//! Where things are:
//!
//! - `abbreviations.rs`: definitions of short forms, and their uses.

#![forbid(unsafe_code)]

mod abbreviations;

pub use abbreviations::{Definition, Use, definitions, uses};
