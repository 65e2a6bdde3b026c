use super::token::IGNORE_INDEX;
use super::words::{RowWords, word_states};
use crate::{Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use ner_document::{TagScheme, TaggedEntity};
use tch::{Kind, Tensor};

/// An encoder with a head that decides for each type by itself, so that mentions of different types may overlap.
///
/// With `x` the mean of a word's pieces, each type has a softmax over being outside of it, with the logit 0, and its
/// positions (`B` and `I`), with the logits `W x + b`: a tagger for each type on one encoder, trained jointly. In the
/// scheme `io` that is a sigmoid for each type and word. Of mentions of one type none can stand inside another.
///
/// Source: binary relevance over types, Tsoumakas and Katakis (2007), "Multi-label classification: an overview", section
/// 2.1 (PT4), with a tagger in place of each binary decision.
///
/// Dimensions: `batch`, `words` (of the longest row), `types`, `positions`.
#[derive(Debug)]
pub struct MultilabelClassifier {
    encoder: Bert,
    /// `[types positions, hidden]` and `[types positions]`.
    weight: Tensor,
    bias: Tensor,
    scheme: TagScheme,
}

impl MultilabelClassifier {
    /// Names and shapes of all parameters of a model with so many positions of types.
    pub fn shapes(config: &BertConfig, outputs: usize) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        let outputs = outputs as i64;
        shapes.push(("classifier.weight".to_owned(), vec![outputs, config.hidden_size]));
        shapes.push(("classifier.bias".to_owned(), vec![outputs]));
        shapes
    }

    /// A model over `parameters`, which it shares.
    ///
    /// # Errors
    /// Where a parameter is missing.
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

    /// Log-odds of each position of each type of each word against being outside of the type, `[batch, words, types *
    /// positions] f32`. The encoder computes in `kind`, the head in fp32.
    pub fn forward(
        &self,
        batch: &Batch,
        words: &[RowWords],
        kind: Kind,
        mut dropout: Option<&mut TrainingPass>,
    ) -> Tensor {
        let states = self.encoder.forward(batch, kind, dropout.as_deref_mut());
        word_states(states, words, dropout).linear(&self.weight, Some(&self.bias))
    }

    /// The scheme of the types.
    pub const fn scheme(&self) -> TagScheme {
        self.scheme
    }
}

/// The decisions of a batch, a row of them for each of its rows: `[batch, words * types, 1 + positions]` logits, that of
/// outside first, and for each the right label, [`IGNORE_INDEX`] behind the last word.
///
/// `entities` are each row's mentions by its words, of which none of one type overlap.
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
            // Each type is the only one of its tagger.
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
