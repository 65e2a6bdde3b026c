//! From documents to windows of tokens, and from what a head computes to mentions.
//!
//! [`DocumentTokenizer`] cuts a text into tokens and words and lays windows over them; [`decode`] makes mentions of a head's
//! scores. Both are plain data: this crate knows no libtorch and no format of files but the tokenizer's own.

#![forbid(unsafe_code)]

mod batches;
pub mod decode;
mod encoded;
mod piece_cache;
mod sentences;
mod tokenizer;
mod tokenizer_files;
mod windows;

pub use batches::{batches_by_length, shuffled_batches};
pub use decode::{
    Aggregation, DecodeOptions, ElectedMention, ModelOutput, ScoredEntity, Transitions, WordScores, decode_mentions,
    mean_output, mentions_from_probabilities, vote,
};
pub use encoded::{EncodedDocument, Token, Word, piece_labels};
pub use sentences::sentences;
pub use tokenizer::{DocumentTokenizer, TokenizeError};
pub use windows::{Window, WindowSize};
