use super::words::{RowWords, word_states};
use crate::{Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use std::ops::Range;
use tch::{Kind, Tensor};

/// An encoder with a linear layer over mentions that are given: says which value each of them has.
///
/// A mention is represented by its first token, its last token and the mean of its tokens, one behind the other.
///
/// Dimensions: `batch`, `mentions` (of the row with the most), `values`.
#[derive(Debug)]
pub struct AssertionHead {
    encoder: Bert,
    /// `[values, 3 hidden]`.
    weight: Tensor,
    /// `[values]`.
    bias: Tensor,
}

impl AssertionHead {
    /// Names and shapes of all parameters.
    pub fn shapes(config: &BertConfig, values: usize) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        let values = values as i64;
        shapes.push(("classifier.weight".to_owned(), vec![values, 3 * config.hidden_size]));
        shapes.push(("classifier.bias".to_owned(), vec![values]));
        shapes
    }

    /// A model that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Self, ModelError> {
        Ok(Self {
            encoder: Bert::new(config, parameters)?,
            weight: parameters.get("classifier.weight")?,
            bias: parameters.get("classifier.bias")?,
        })
    }

    /// The encoder.
    pub(crate) const fn encoder(&self) -> &Bert {
        &self.encoder
    }

    pub(crate) const fn encoder_mut(&mut self) -> &mut Bert {
        &mut self.encoder
    }

    /// Scores of the values, `[batch, mentions, values] f32`, from the tokens of each row's mentions; undefined behind
    /// the last mention of a row. At least one row must have a mention.
    pub fn forward(
        &self,
        batch: &Batch,
        mentions: &[RowWords],
        kind: Kind,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let states = self.encoder.forward(batch, kind, dropout.as_deref_mut());
        self.scores(states, mentions, dropout)
    }

    /// The same from the encoder's states, `[batch, tokens, hidden]`.
    pub(super) fn scores(&self, states: Tensor, mentions: &[RowWords], dropout: Option<&mut TrainingPass>) -> Tensor {
        let parts =
            |tokens: &Range<usize>| [tokens.start..tokens.start + 1, tokens.end - 1..tokens.end, tokens.clone()];
        let parts: Vec<RowWords> = mentions.iter().map(|row| row.iter().flat_map(parts).collect()).collect();
        // [batch, 3 mentions, hidden]
        let states = word_states(states, &parts, dropout);
        let (rows, width, hidden) = states.size3().expect("three dimensions");
        states.view([rows, width / 3, 3 * hidden]).linear(&self.weight, Some(&self.bias))
    }
}
