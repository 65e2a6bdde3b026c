use crate::{Batch, Bert, BertConfig, Dropout, ModelError, Parameters};
use ner_data::LabelSet;
use tch::{Kind, Reduction, Tensor};

/// Label of a token that the loss leaves out (special tokens, padding, context of another window).
pub const IGNORE_INDEX: i64 = -100;

/// An encoder with a linear layer over each token: transformers' `BertForTokenClassification`.
#[derive(Debug)]
pub struct TokenClassifier {
    encoder: Bert,
    weight: Tensor,
    bias: Tensor,
}

impl TokenClassifier {
    /// Names and shapes of all parameters.
    pub fn shapes(config: &BertConfig, labels: &LabelSet) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        let labels = labels.len() as i64;
        shapes.push(("classifier.weight".to_owned(), vec![labels, config.hidden_size]));
        shapes.push(("classifier.bias".to_owned(), vec![labels]));
        shapes
    }

    /// A model over `parameters`, which it shares.
    ///
    /// # Errors
    /// Where a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Self, ModelError> {
        Ok(Self {
            encoder: Bert::new(config, parameters)?,
            weight: parameters.get("classifier.weight")?,
            bias: parameters.get("classifier.bias")?,
        })
    }

    /// Scores of each label, `[batch, tokens, labels] f32`. The encoder computes in `kind`, the head in fp32.
    pub fn forward(&self, batch: &Batch, kind: Kind, mut dropout: Option<&mut Dropout>) -> Tensor {
        let mut states = self.encoder.forward(batch, kind, dropout.as_deref_mut());
        if let Some(dropout) = dropout {
            states = dropout.hidden_states(&states);
        }
        states.to_kind(Kind::Float).linear(&self.weight, Some(&self.bias))
    }
}

/// Mean cross-entropy over the labelled tokens of a batch, a scalar.
///
/// `labels` holds a row for each row of the batch, as long as it; [`IGNORE_INDEX`] leaves a token out.
/// `smoothing` spreads that share of the target over all labels (Szegedy et al. 2016).
pub fn cross_entropy(logits: &Tensor, labels: &[Vec<i64>], smoothing: f64) -> Tensor {
    let (rows, width, classes) = logits.size3().expect("logits have three dimensions");
    let mut flat = vec![IGNORE_INDEX; (rows * width) as usize];
    for (row, slots) in labels.iter().zip(flat.chunks_mut(width as usize)) {
        slots[..row.len()].copy_from_slice(row);
    }
    let target = Tensor::from_slice(&flat).to_device(logits.device());
    let flat_logits = logits.reshape([rows * width, classes]);
    flat_logits.cross_entropy_loss::<Tensor>(&target, None, Reduction::Mean, IGNORE_INDEX, smoothing)
}
