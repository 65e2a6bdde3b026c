//! From word pieces to words.

use crate::TrainingPass;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// The words of a row: the range of tokens of each.
pub type RowWords = Vec<Range<usize>>;

/// Mean of each word's pieces, `[batch, words, hidden] f32`, from the encoder's `states`, `[batch, tokens, hidden]`;
/// zeros behind the last word of a row.
pub(crate) fn word_states(mut states: Tensor, words: &[RowWords], dropout: Option<&mut TrainingPass>) -> Tensor {
    if let Some(dropout) = dropout {
        states = dropout.hidden_states(&states);
    }
    let tokens = states.size()[1] as usize;
    word_means(words, tokens, states.device()).bmm(&states.to_kind(Kind::Float))
}

/// Number of words in the longest row, at least 1: rows may cut all their words.
pub(crate) fn width(words: &[RowWords]) -> usize {
    words.iter().map(Vec::len).max().unwrap_or(0).max(1)
}

/// Number of words in a batch, at least 1, for a mean over them.
pub(crate) fn count(words: &[RowWords]) -> f64 {
    words.iter().map(Vec::len).sum::<usize>().max(1) as f64
}

/// `[batch, words, tokens]`: the weight of each token in each word's mean.
fn word_means(words: &[RowWords], tokens: usize, device: Device) -> Tensor {
    let width = width(words);
    let mut shares = vec![0f32; words.len() * width * tokens];
    for (row, words) in words.iter().enumerate() {
        for (at, word) in words.iter().enumerate() {
            let from = (row * width + at) * tokens;
            shares[from + word.start..from + word.end].fill(1.0 / word.len() as f32);
        }
    }
    Tensor::from_slice(&shares).view([words.len() as i64, width as i64, tokens as i64]).to_device(device)
}
