use crate::{Batch, Bert, BertConfig, Dropout, ModelError, Parameters};
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
    /// Names and shapes of all parameters of a model with so many labels.
    pub fn shapes(config: &BertConfig, labels: usize) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        let labels = labels as i64;
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

    /// The encoder that the head stands on.
    pub(crate) const fn encoder(&self) -> &Bert {
        &self.encoder
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
    let flat_logits = logits.reshape([rows * width, classes]);
    let target = padded(labels, logits);
    flat_logits.cross_entropy_loss::<Tensor>(&target, None, Reduction::Mean, IGNORE_INDEX, smoothing)
}

/// How far the first half of a batch's rows and the second, the same rows under other dropout, are apart: the mean over
/// the labelled tokens of the symmetric Kullback-Leibler divergence, a scalar (R-Drop, Liang et al. 2021, equation 2).
pub fn divergence(logits: &Tensor, labels: &[Vec<i64>]) -> Tensor {
    let (rows, width, _) = logits.size3().expect("logits have three dimensions");
    let labelled = padded(labels, logits).view([rows, width]).narrow(0, 0, rows / 2).ne(IGNORE_INDEX);
    let halves = logits.log_softmax(-1, Kind::Float).chunk(2, 0);
    let (first, second) = (&halves[0], &halves[1]);
    let apart = ((first.exp() - second.exp()) * (first - second)).sum_dim_intlist(-1, false, Kind::Float);
    (apart * &labelled).sum(Kind::Float) / (2.0 * labelled.sum(Kind::Float))
}

/// The labels of a batch as one row, padded with [`IGNORE_INDEX`] to the width of `logits`.
fn padded(labels: &[Vec<i64>], logits: &Tensor) -> Tensor {
    let (rows, width, _) = logits.size3().expect("logits have three dimensions");
    let mut flat = vec![IGNORE_INDEX; (rows * width) as usize];
    for (row, slots) in labels.iter().zip(flat.chunks_mut(width as usize)) {
        slots[..row.len()].copy_from_slice(row);
    }
    Tensor::from_slice(&flat).to_device(logits.device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_the_mean_over_labelled_tokens_of_both_directions() {
        // Two passes of one row of two tokens, the second of which has no label; probabilities 1/2 and 3/4.
        let odd = 3f32.ln();
        let logits = Tensor::from_slice(&[0f32, 0.0, 9.0, 1.0, odd, 0.0, 2.0, 5.0]).view([2, 2, 2]);
        let labels = [vec![0, IGNORE_INDEX], vec![0, IGNORE_INDEX]];
        let kl = |p: [f64; 2], q: [f64; 2]| p[0] * (p[0] / q[0]).ln() + p[1] * (p[1] / q[1]).ln();
        let (p, q) = ([0.5, 0.5], [0.75, 0.25]);
        let expected = (kl(p, q) + kl(q, p)) / 2.0;
        assert!((divergence(&logits, &labels).double_value(&[]) - expected).abs() < 1e-6);
    }
}
