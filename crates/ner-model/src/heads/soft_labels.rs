//! Losses against a teacher's probabilities.
//!
//! Source: Hinton, Vinyals and Dean (2015), "Distilling the knowledge in a neural network", section 2: both sides at a
//! temperature T, and the loss times T², so that its gradients keep their size.

use super::words::{RowWords, count};
use crate::device::cuda::upload;
use ner_text::ScoredEntity;
use tch::{Kind, Tensor};

/// What a teacher says of a document or of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum SoftLabels {
    /// For the head `span`: spans of words with their probabilities. All others have probability 0.
    Spans(Vec<ScoredEntity>),
    /// For the other heads: probabilities of the classes at each place, place by place. A place is a token for the head
    /// `token` and a word otherwise; for `multilabel` it has the classes of each type, outside first. All zeros at places
    /// of which nothing is known.
    Places(Vec<f32>),
}

/// Binary cross-entropy of all spans against the teacher's probabilities, summed over the spans that begin with a word
/// and averaged over the words of a batch; a scalar. `scores` are log-odds, `[batch, words, types, longest]`, and `real`
/// is 1 at spans within their rows.
pub(super) fn span_loss(
    scores: &Tensor,
    real: &Tensor,
    words: &[RowWords],
    soft: &[SoftLabels],
    temperature: f64,
) -> Tensor {
    let (_, width, types, longest) = scores.size4().expect("four dimensions");
    let (width, types, longest) = (width as usize, types as usize, longest as usize);
    let mut target = vec![0f32; words.len() * width * types * longest];
    for (row, (words, soft)) in words.iter().zip(soft).enumerate() {
        let SoftLabels::Spans(spans) = soft else { continue };
        for ScoredEntity { words: span, entity_type, probability } in spans {
            if span.end <= words.len() && span.len() <= longest {
                let at = ((row * width + span.start) * types + entity_type) * longest + (span.len() - 1);
                target[at] = tempered(*probability, temperature as f32);
            }
        }
    }
    let target = upload(&Tensor::from_slice(&target).view(scores.size().as_slice()), scores.device());
    let scores = scores / temperature;
    // softplus(x) - x t is the cross-entropy of a logit x with a target t.
    let losses = (scores.softplus() - scores * target) * real;
    losses.sum(Kind::Float) / count(words) * temperature.powi(2)
}

/// A probability whose log-odds are divided by the temperature.
fn tempered(probability: f32, temperature: f32) -> f32 {
    let odds = (probability / (1.0 - probability)).ln() / temperature;
    1.0 / (1.0 + (-odds).exp())
}

/// Cross-entropy against the teacher's probabilities, as a mean over the decisions that it knows; a scalar.
/// `log_probabilities` are `[batch, decisions, classes]`, of which each place of a row has one or several.
pub(super) fn place_loss(log_probabilities: &Tensor, soft: &[SoftLabels], temperature: f64) -> Tensor {
    let (_, width, classes) = log_probabilities.size3().expect("three dimensions");
    let row = (width * classes) as usize;
    let mut target = vec![0f32; soft.len() * row];
    for (soft, slots) in soft.iter().zip(target.chunks_mut(row)) {
        if let SoftLabels::Places(probabilities) = soft {
            slots[..probabilities.len()].copy_from_slice(probabilities);
        }
    }
    let mut target = Tensor::from_slice(&target).view(log_probabilities.size().as_slice());
    if temperature != 1.0 {
        let powers = target.pow_tensor_scalar(1.0 / temperature);
        target = &powers / powers.sum_dim_intlist(-1, true, Kind::Float).clamp_min(1e-12);
    }
    let target = upload(&target, log_probabilities.device());
    // Known decisions sum to 1, others to 0.
    let known = target.sum(Kind::Float).clamp_min(1.0);
    (target * log_probabilities).sum(Kind::Float) / known * -temperature.powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_those_of_plain_loops() {
        let ln = |p: f64| p.ln();
        // Two words, one type, spans of at most two words; the last span leaves the row.
        let numbers = [0.5f32, -1.0, 2.0, 9.0];
        let scores = Tensor::from_slice(&numbers).view([1, 2, 1, 2]);
        let real = Tensor::from_slice(&[1f32, 1.0, 1.0, 0.0]).view([1, 2, 1, 2]);
        let span = |start, end, probability| ScoredEntity { words: start..end, entity_type: 0, probability };
        let soft = [SoftLabels::Spans(vec![span(0, 2, 0.25), span(1, 2, 0.9)])];
        let words = [vec![0..1, 1..2]];
        for temperature in [1.0, 2.0] {
            let sum: f64 = [(0.5f64, 0.0), (-1.0, 0.25), (2.0, 0.9)]
                .iter()
                .map(|&(score, target)| {
                    let p = 1.0 / (1.0 + (-score / temperature).exp());
                    let q = f64::from(tempered(target as f32, temperature as f32));
                    -q * ln(p) - (1.0 - q) * ln(1.0 - p)
                })
                .sum();
            let found = span_loss(&scores, &real, &words, &soft, temperature).double_value(&[]);
            assert!((found - sum / 2.0 * temperature * temperature).abs() < 1e-5, "{found}");
        }
        // Two places of three classes; nothing is known of the second.
        let logits = Tensor::from_slice(&[1f32, 0.0, -1.0, 3.0, 3.0, 0.0]).view([1, 2, 3]);
        let soft = [SoftLabels::Places(vec![0.7, 0.2, 0.1, 0.0, 0.0, 0.0])];
        for temperature in [1.0f64, 3.0] {
            let power = |values: [f64; 3]| {
                let powers = values.map(|value| value.powf(1.0 / temperature));
                powers.map(|power| power / powers.iter().sum::<f64>())
            };
            let (q, p) = (power([0.7, 0.2, 0.1]), power([1f64.exp(), 1.0, (-1f64).exp()]));
            let sum: f64 = q.iter().zip(p).map(|(q, p)| -q * ln(p)).sum();
            let log_probabilities = (&logits / temperature).log_softmax(-1, Kind::Float);
            let found = place_loss(&log_probabilities, &soft, temperature).double_value(&[]);
            assert!((found - sum * temperature * temperature).abs() < 1e-5, "{found}");
        }
    }
}
