//! From word pieces to words.

use crate::TrainingPass;
use crate::device::cuda::upload;
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
    if states.device().is_cuda() {
        return sums_of_pieces(&states, words);
    }
    word_means(words, tokens, states.device()).bmm(&states.to_kind(Kind::Float))
}

/// The same without a weight for each pair of word and token, which a card would wait for: most of them are 0.
fn sums_of_pieces(states: &Tensor, words: &[RowWords]) -> Tensor {
    let (rows, tokens, hidden) = states.size3().expect("three dimensions");
    let (width, device) = (width(words) as i64, states.device());
    let (mut pieces, mut owners, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for (row, words) in words.iter().enumerate() {
        for (at, word) in words.iter().enumerate() {
            for piece in word.clone() {
                pieces.push(row as i64 * tokens + piece as i64);
                owners.push(row as i64 * width + at as i64);
                shares.push(1.0 / word.len() as f32);
            }
        }
    }
    let places = |places: &[i64]| upload(&Tensor::from_slice(places), device);
    let taken = states.reshape([rows * tokens, hidden]).index_select(0, &places(&pieces)).to_kind(Kind::Float);
    let weighted = taken * upload(&Tensor::from_slice(&shares).unsqueeze(-1), device);
    let sums = Tensor::zeros([rows * width, hidden], (Kind::Float, device));
    sums.index_add(0, &places(&owners), &weighted).view([rows, width, hidden])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded;

    #[test]
    fn both_ways_give_the_same_means_and_gradients() {
        let _turn = seeded(1);
        let words: Vec<RowWords> = vec![vec![1..3, 3..4, 5..9], vec![], vec![0..1, 2..10]];
        let states = Tensor::randn([3, 10, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let upstream = Tensor::randn([3, 3, 8], (Kind::Float, Device::Cpu));
        let [dense, sparse] = [word_means(&words, 10, Device::Cpu).bmm(&states), sums_of_pieces(&states, &words)];
        let gradient = |means: &Tensor| {
            Tensor::run_backward(&[(means * &upstream).sum(Kind::Float)], &[&states], false, false).remove(0)
        };
        for (left, right) in [(gradient(&dense), gradient(&sparse)), (dense, sparse)] {
            assert!((left - right).abs().max().double_value(&[]) < 1e-6);
        }
    }
}
