//! Annotates text with models: several at once, their findings merged, categorised and held against thresholds, one
//! document or a stream of any length.
//!
//! It knows nothing of files, formats, the network or the command line: the command and the server both stand on it.

#![forbid(unsafe_code)]

mod annotator;
mod ensemble;
mod merge;
mod stream;
mod wire;

pub use annotator::{Annotator, Model, Prepared, Tokenizers};
pub use ensemble::Combination;
pub use merge::{MergedMention, Thresholds, merge};
pub use stream::{BatchSize, Event, Outcome, Summary, stream};
pub use wire::{Offsets, WireMention, wire_mentions};
