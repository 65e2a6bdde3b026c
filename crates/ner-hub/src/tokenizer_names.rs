//! The files that hold a tokenizer.

/// The files of a tokenizer in order of preference; the last are those of byte-level BPE.
pub(crate) const TOKENIZERS: [&[&str]; 3] = [&["tokenizer.json"], &["vocab.txt"], &["vocab.json", "merges.txt"]];

/// [`TOKENIZERS`] in words.
pub(crate) const TOKENIZER: &str = "tokenizer.json, vocab.txt, or vocab.json with merges.txt";
