use super::token::IGNORE_INDEX;
use super::words::{RowWords, word_states};
use crate::{Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use ner_document::{TagScheme, TaggedEntity};
use tch::{Kind, Tensor};

/// An encoder with a head that decides for each type separately, so that mentions of different types may overlap.
///
/// With `x` the mean of a word's pieces, each type has a softmax over outside, with logit 0, and its positions (`B` and
/// `I`), with logits `W x + b`: one tagger for each type on one encoder, trained jointly. In the scheme `io` that is a
/// sigmoid for each type and word. Mentions of the same type cannot nest.
///
/// Source: binary relevance over types, Tsoumakas and Katakis (2007), "Multi-label classification: an overview", section
/// 2.1 (PT4), with a tagger in place of each binary decision.
///
/// Dimensions: `batch`, `words` (of the longest row), `types`, `positions`.
#[derive(Debug)]
pub struct MultilabelClassifier {
    encoder: Bert,
    /// `weight [types * positions, hidden]` and `bias [types * positions]`.
    weight: Tensor,
    bias: Tensor,
    scheme: TagScheme,
}

impl MultilabelClassifier {
    /// Names and shapes of all parameters of a model with `outputs` positions of types.
    pub fn shapes(config: &BertConfig, outputs: usize) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        let outputs = outputs as i64;
        shapes.push(("classifier.weight".to_owned(), vec![outputs, config.hidden_size]));
        shapes.push(("classifier.bias".to_owned(), vec![outputs]));
        shapes
    }

    /// A model that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters, scheme: TagScheme) -> Result<Self, ModelError> {
        Ok(Self {
            encoder: Bert::new(config, parameters)?,
            weight: parameters.get("classifier.weight")?,
            bias: parameters.get("classifier.bias")?,
            scheme,
        })
    }

    /// The encoder.
    pub(crate) const fn encoder(&self) -> &Bert {
        &self.encoder
    }

    pub(crate) const fn encoder_mut(&mut self) -> &mut Bert {
        &mut self.encoder
    }

    /// Log-odds of each word's positions of each type against outside, `[batch, words, types * positions] f32`. The
    /// encoder computes in `kind`, the head in fp32.
    pub fn forward(
        &self,
        batch: &Batch,
        words: &[RowWords],
        kind: Kind,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let states = self.encoder.forward(batch, kind, dropout.as_deref_mut());
        self.scores(states, words, dropout)
    }

    /// The same from the encoder's states, `[batch, tokens, hidden]`.
    pub(super) fn scores(&self, states: Tensor, words: &[RowWords], dropout: Option<&mut TrainingPass>) -> Tensor {
        word_states(states, words, dropout).linear(&self.weight, Some(&self.bias))
    }

    /// The scheme of the types.
    pub const fn scheme(&self) -> TagScheme {
        self.scheme
    }
}

/// The decisions of a batch as logits `[batch, words * types, 1 + positions]`, outside first, and the gold label of
/// each, [`IGNORE_INDEX`] behind the last word.
///
/// `entities` are each row's mentions in words. Those of one type must not overlap.
pub fn decisions(
    scores: &Tensor,
    words: &[RowWords],
    entities: &[Vec<TaggedEntity>],
    scheme: TagScheme,
) -> (Tensor, Vec<Vec<i64>>) {
    let (rows, places, outputs) = scores.size3().expect("three dimensions");
    let positions = scheme.width() as i64;
    let types = outputs / positions;
    let scores = scores.view([rows, places * types, positions]);
    let logits = Tensor::cat(&[&scores.zeros_like().narrow(2, 0, 1), &scores], 2);
    let types = types as usize;
    let labels_of = |(words, entities): (&RowWords, &Vec<TaggedEntity>)| {
        let mut labels = vec![IGNORE_INDEX; places as usize * types];
        for of_type in 0..types {
            // Each tagger has one type only.
            let own = entities.iter().filter(|entity| entity.entity_type == of_type);
            let own: Vec<TaggedEntity> =
                own.map(|entity| TaggedEntity { units: entity.units.clone(), entity_type: 0 }).collect();
            for (word, label) in scheme.encode(words.len(), &own).into_iter().enumerate() {
                labels[word * types + of_type] = label as i64;
            }
        }
        labels
    };
    (logits, words.iter().zip(entities).map(labels_of).collect())
}
