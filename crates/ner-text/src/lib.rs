//! From documents to windows of tokens, and from a model's output to mentions.
//!
//! [`DocumentTokenizer`] splits a text into tokens and words and arranges them in windows. [`decode`] turns the scores
//! of a head into mentions. Both are plain data: this crate does not use libtorch, and the only files that it reads are
//! the tokenizer's.
//!
//! Where things are:
//!
//! - `tokenizer.rs`: [`DocumentTokenizer`]; `tokenizer_files.rs` loads it from the files of a model folder.
//! - `piece_cache.rs`: word pieces of a text, with a cache of earlier text.
//! - `encoded.rs`: [`EncodedDocument`], its tokens and words.
//! - `sentences.rs`: where a text may be cut. `windows.rs`: windows of whole sentences, or overlapping ones.
//! - `batches.rs`: batches of rows of similar length.
//! - `breaks.rs`: characters that separate words and pages.
//! - `caught.rs`: panics of libraries as errors, on other threads, too.
//! - [`decode`]: `tokens.rs` for heads that label tokens, `chain.rs` for the best sequence of tags that a scheme allows
//!   and the probability of its mentions, `ensemble.rs` for averages and votes of several models, `mod.rs` for spans
//!   and for any head's output.

#![forbid(unsafe_code)]

mod batches;
mod breaks;
mod caught;
pub mod decode;
mod encoded;
mod error;
mod piece_cache;
mod sentences;
mod tokenizer;
mod tokenizer_files;
mod windows;

pub use batches::{batches_by_length, shuffled_batches};
pub use caught::{carried, caught, in_parallel};
pub use decode::{
    Aggregation, DecodeOptions, ElectedMention, ModelOutput, ScoredEntity, Transitions, WordScores, decode_mentions,
    mean_output, mentions_from_probabilities, vote,
};
pub use encoded::{EncodedDocument, Token, Window, Word, piece_labels};
pub use error::TokenizeError;
pub use sentences::{sentences, sentences_of_text};
pub use tokenizer::DocumentTokenizer;
pub use windows::WindowSize;
