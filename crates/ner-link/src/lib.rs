//! From mention to concept: abbreviations of a document, vocabularies, and links from mentions to concepts.
//!
//! Where things are:

#![forbid(unsafe_code)]
