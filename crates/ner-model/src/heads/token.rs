use super::loss_options::LossOptions;
use crate::device::cuda::upload;
use crate::encoder::PredictionHead;
use crate::{Batch, Bert, BertConfig, ModelError, Parameters, TrainingPass};
use tch::{Kind, Reduction, Tensor};

/// Label of tokens that the loss ignores (special tokens, padding, context of another window).
pub const IGNORE_INDEX: i64 = -100;

/// An encoder with a linear layer over each token: transformers' `BertForTokenClassification`.
#[derive(Debug)]
pub struct TokenClassifier {
    encoder: Bert,
    /// Of ModernBERT.
    prediction_head: Option<PredictionHead>,
    weight: Tensor,
    bias: Tensor,
}

impl TokenClassifier {
    /// Names and shapes of all parameters of a model with `labels` labels.
    pub fn shapes(config: &BertConfig, labels: usize) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Bert::shapes(config);
        shapes.extend(PredictionHead::shapes(config));
        let labels = labels as i64;
        shapes.push(("classifier.weight".to_owned(), vec![labels, config.hidden_size]));
        shapes.push(("classifier.bias".to_owned(), vec![labels]));
        shapes
    }

    /// A model that shares `parameters`.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(config: &BertConfig, parameters: &Parameters) -> Result<Self, ModelError> {
        Ok(Self {
            encoder: Bert::new(config, parameters)?,
            prediction_head: PredictionHead::new(config, parameters)?,
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

    /// Scores of each label, `[batch, tokens, labels] f32`. The encoder computes in `kind`, the head in fp32.
    pub fn forward(&self, batch: &Batch, kind: Kind, mut dropout: Option<&mut TrainingPass>) -> Tensor {
        let states = self.encoder.forward(batch, kind, dropout.as_deref_mut());
        self.scores(states, dropout)
    }

    /// The same from the encoder's states, `[batch, tokens, hidden]`.
    pub(super) fn scores(&self, mut states: Tensor, dropout: Option<&mut TrainingPass>) -> Tensor {
        if let Some(head) = &self.prediction_head {
            states = head.forward(&states.to_kind(Kind::Float));
        }
        if let Some(dropout) = dropout {
            states = dropout.hidden_states(&states);
        }
        states.to_kind(Kind::Float).linear(&self.weight, Some(&self.bias))
    }
}

/// Mean cross-entropy over the labelled decisions of a batch, a scalar.
///
/// `labels` holds as many labels for each row as the row is long; [`IGNORE_INDEX`] excludes a decision.
/// `options.label_smoothing` spreads that share of the target over all labels (Szegedy et al. 2016). `options.focal`
/// scales each loss by (1 - p)^γ, with p the probability of the right label (Lin et al. 2017, "Focal loss", equation
/// 4). `weight_of` weighs a decision by its position in the row and its label; the mean is a weighted one.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &[Vec<i64>],
    options: &LossOptions,
    weight_of: impl Fn(usize, i64) -> f32,
) -> Tensor {
    let (rows, width, classes) = logits.size3().expect("logits have three dimensions");
    let flat_logits = logits.reshape([rows * width, classes]);
    let target = padded(labels, logits);
    let entropy = |reduction: Reduction| {
        flat_logits.cross_entropy_loss::<Tensor>(&target, None, reduction, IGNORE_INDEX, options.label_smoothing)
    };
    if options.focal == 0.0 && options.class_weights.is_empty() {
        return entropy(Reduction::Mean);
    }
    let mut losses = entropy(Reduction::None);
    if options.focal > 0.0 {
        let right = target.clamp_min(0).unsqueeze(-1);
        let probability = flat_logits.softmax(-1, Kind::Float).gather(1, &right, false).squeeze_dim(-1);
        // The power's slope is infinite at 0 if γ is below 1.
        let lacking: Tensor = 1.0 - probability;
        losses = lacking.clamp_min(1e-6).pow_tensor_scalar(options.focal) * losses;
    }
    let mut weights = vec![0f32; (rows * width) as usize];
    for (row, slots) in labels.iter().zip(weights.chunks_mut(width as usize)) {
        for (at, (&label, slot)) in row.iter().zip(slots).enumerate() {
            *slot = if label == IGNORE_INDEX { 0.0 } else { weight_of(at, label) };
        }
    }
    let weights = upload(&Tensor::from_slice(&weights), logits.device());
    (losses * &weights).sum(Kind::Float) / weights.sum(Kind::Float)
}

/// Symmetric Kullback-Leibler divergence between the first and the second half of a batch, which hold the same rows
/// with different dropout; mean over the labelled tokens, a scalar (R-Drop, Liang et al. 2021, equation 2).
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
    upload(&Tensor::from_slice(&flat), logits.device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighted_and_focal_losses_are_those_of_plain_loops() {
        let rows = [[0.2f32, -1.0, 0.7], [1.5, 0.3, -0.4], [0.0, 2.0, 1.0], [9.0, 9.0, 9.0]];
        let logits = Tensor::from_slice(rows.as_flattened()).view([2, 2, 3]);
        let labels = [vec![2, 0], vec![1, IGNORE_INDEX]];
        let weights = [0.5f64, 2.0, 3.0];
        for (focal, weighted, label_smoothing) in
            [(2.0, false, 0.0), (0.5, true, 0.0), (0.0, true, 0.1), (0.0, false, 0.1)]
        {
            let class_weights = if weighted { weights.to_vec() } else { Vec::new() };
            let options = LossOptions { focal, class_weights, label_smoothing, ..LossOptions::default() };
            let (mut sum, mut all) = (0.0, 0.0);
            for (row, right) in rows.iter().zip([2usize, 0, 1]) {
                let total: f64 = row.iter().map(|&score| f64::from(score).exp()).sum();
                let log = |label: usize| f64::from(row[label]) - total.ln();
                let smoothed = (0..3).map(|label| -log(label) * label_smoothing / 3.0).sum::<f64>();
                let weight = if weighted { weights[right] } else { 1.0 };
                let hard = 1.0 - log(right).exp();
                sum += weight * hard.powf(focal) * (smoothed - log(right) * (1.0 - label_smoothing));
                all += weight;
            }
            let weight_of = |_, label: i64| if weighted { weights[label as usize] as f32 } else { 1.0 };
            let found = cross_entropy(&logits, &labels, &options, weight_of).double_value(&[]);
            assert!((found - sum / all).abs() < 1e-5, "{options:?}: {found} and {}", sum / all);
        }
    }

    #[test]
    fn divergence_is_the_mean_over_labelled_tokens_of_both_directions() {
        // Two passes of one row with two tokens, the second without a label; probabilities 1/2 and 3/4.
        let odd = 3f32.ln();
        let logits = Tensor::from_slice(&[0f32, 0.0, 9.0, 1.0, odd, 0.0, 2.0, 5.0]).view([2, 2, 2]);
        let labels = [vec![0, IGNORE_INDEX], vec![0, IGNORE_INDEX]];
        let kl = |p: [f64; 2], q: [f64; 2]| p[0] * (p[0] / q[0]).ln() + p[1] * (p[1] / q[1]).ln();
        let (p, q) = ([0.5, 0.5], [0.75, 0.25]);
        let expected = (kl(p, q) + kl(q, p)) / 2.0;
        assert!((divergence(&logits, &labels).double_value(&[]) - expected).abs() < 1e-6);
    }
}
