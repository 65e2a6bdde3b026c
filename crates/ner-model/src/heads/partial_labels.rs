//! Training on several corpora that annotate different types: types that a corpus does not annotate add no loss on its
//! documents.

use crate::device::cuda::upload;
use ner_document::{LabelSet, Tag};
use tch::{Kind, Tensor};

/// Types that a row's corpus does not annotate. Predicting them there is neither right nor wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialLabels {
    /// Indexes of the types.
    pub types: Vec<i64>,
    /// Indexes of their labels.
    pub labels: Vec<i64>,
}

impl PartialLabels {
    /// All types except the `annotated` ones.
    pub fn of(labels: &LabelSet, annotated: &[String]) -> Self {
        let is_annotated: Vec<bool> = labels.types.iter().map(|name| annotated.contains(name)).collect();
        let is_open = |label: usize| matches!(labels.tag(label), Tag::Entity(_, of_type) if !is_annotated[of_type]);
        Self {
            types: (0..).zip(&is_annotated).filter(|(_, is_annotated)| !**is_annotated).map(|(at, _)| at).collect(),
            labels: (0..labels.len()).filter(|&label| is_open(label)).map(|label| label as i64).collect(),
        }
    }
}

/// A score so low that its probability is 0, and so is its part in a loss.
const NEVER: f64 = -1e9;

/// Masks span scores, `[batch, words, types, longest]`: types that a row's corpus does not annotate get a score so low
/// that they add no loss and get no gradient. Returns the scores unchanged if `rows` is empty.
pub fn hide_types(scores: &Tensor, rows: &[PartialLabels]) -> Tensor {
    let (_, _, types, _) = scores.size4().expect("scores have four dimensions");
    match mask(rows, types, |row| &row.types) {
        Some(mask) => scores.masked_fill(&upload(&mask.view([-1, 1, types, 1]), scores.device()), NEVER),
        None => scores.shallow_clone(),
    }
}

/// Marginalises label scores, `[batch, tokens, labels]`: `O` (label 0) of a row stands for `O` or any label of a type
/// that the row's corpus does not annotate, and those labels themselves become impossible. The cross-entropy of the
/// result is the marginal likelihood of Greenberg et al. (2018, "Marginal likelihood training of BiLSTM-CRF for
/// biomedical named entity recognition from disjoint label sets"), without transitions. Returns the scores unchanged if
/// `rows` is empty.
pub fn marginal_logits(logits: &Tensor, rows: &[PartialLabels]) -> Tensor {
    let (_, _, labels) = logits.size3().expect("logits have three dimensions");
    let Some(mask) = mask(rows, labels, |row| &row.labels) else { return logits.shallow_clone() };
    let mask = upload(&mask.view([-1, 1, labels]), logits.device());
    let mut is_outside = vec![false; labels as usize];
    is_outside[0] = true;
    let is_outside = upload(&Tensor::from_slice(&is_outside), logits.device());
    // [batch, tokens, 1]
    let outside = logits.masked_fill(&mask.logical_or(&is_outside).logical_not(), f64::NEG_INFINITY);
    let outside = outside.logsumexp([-1], true);
    Tensor::cat(&[outside, logits.masked_fill(&mask, NEVER).narrow(-1, 1, labels - 1)], -1)
}

/// Mask `[batch, classes]` of classes without annotation.
fn mask<'r>(rows: &'r [PartialLabels], classes: i64, of: impl Fn(&'r PartialLabels) -> &'r Vec<i64>) -> Option<Tensor> {
    if rows.is_empty() {
        return None;
    }
    let mut mask = vec![false; rows.len() * classes as usize];
    for (row, slots) in rows.iter().zip(mask.chunks_mut(classes as usize)) {
        for &class in of(row) {
            slots[class as usize] = true;
        }
    }
    Some(Tensor::from_slice(&mask).to_kind(Kind::Bool).view([rows.len() as i64, classes]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IGNORE_INDEX, LossOptions, RowWords, cross_entropy, span_cross_entropy};
    use ner_document::{TagScheme, TaggedEntity};
    use tch::Device;

    /// Pseudo-random numbers, as a leaf with gradients.
    fn numbers(size: &[i64]) -> Tensor {
        let count: i64 = size.iter().product();
        let numbers = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 1.7 + 0.3).sin() * 2.0;
        numbers.view(size).set_requires_grad(true)
    }

    /// Two rows: the first from a corpus that annotates X, the second from one that annotates Y.
    fn rows() -> [PartialLabels; 2] {
        let labels = LabelSet::new(TagScheme::Bio, ["X", "Y"]);
        let rows = ["X", "Y"].map(|name| PartialLabels::of(&labels, &[name.to_owned()]));
        assert_eq!((&rows[0].types, &rows[0].labels), (&vec![1], &vec![3, 4]));
        assert_eq!((&rows[1].types, &rows[1].labels), (&vec![0], &vec![1, 2]));
        rows
    }

    #[test]
    fn what_is_not_annotated_counts_as_outside_for_labels() {
        let (rows, logits) = (rows(), numbers(&[2, 3, 5]));
        // O, B-X, O; and B-Y, O, an ignored token.
        let gold = vec![vec![0, 1, 0], vec![3, 0, IGNORE_INDEX]];
        let loss = cross_entropy(&marginal_logits(&logits, &rows), &gold, &LossOptions::default(), |_, _| 1.0);
        let value = |row: usize, token: usize, label: usize| {
            logits.double_value(&[row as i64, token as i64, label as i64]).exp()
        };
        let mut expected = Vec::new();
        for (row, gold) in gold.iter().enumerate() {
            for (token, &label) in gold.iter().enumerate().filter(|(_, label)| **label != IGNORE_INDEX) {
                let all: f64 = (0..5).map(|label| value(row, token, label)).sum();
                let mut right = value(row, token, label as usize);
                if label == 0 {
                    right += rows[row].labels.iter().map(|&label| value(row, token, label as usize)).sum::<f64>();
                }
                expected.push(-(right / all).ln());
            }
        }
        let expected = expected.iter().sum::<f64>() / expected.len() as f64;
        assert!((loss.double_value(&[]) - expected).abs() < 1e-5, "{loss:?} {expected}");
        loss.backward();
        assert!(logits.grad().abs().max().double_value(&[]).is_finite());
        // If all types are annotated, nothing changes.
        let same = marginal_logits(&logits, &[PartialLabels::default(), PartialLabels::default()]);
        assert!((same - &logits).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn spans_of_what_is_not_annotated_have_no_part_in_the_loss() {
        let (rows, scores) = (rows(), numbers(&[2, 3, 2, 2]));
        let words: Vec<RowWords> = vec![vec![1..2, 2..3, 3..4], vec![1..2, 2..3]];
        let entities = vec![
            vec![TaggedEntity { units: 0..2, entity_type: 0 }],
            vec![TaggedEntity { units: 1..2, entity_type: 1 }],
        ];
        let loss = span_cross_entropy(&hide_types(&scores, &rows), &words, &entities, &LossOptions::default());
        let (mut expected, mut count) = (0.0, 0);
        for (row, words) in words.iter().enumerate() {
            count += words.len();
            let of_type = row;
            for start in 0..words.len() {
                for length in (0..2).filter(|length| start + length < words.len()) {
                    let score = scores.double_value(&[row as i64, start as i64, of_type as i64, length as i64]);
                    let units = start..start + length + 1;
                    let is_gold = entities[row].contains(&TaggedEntity { units, entity_type: of_type });
                    expected += score.exp().ln_1p() - if is_gold { score } else { 0.0 };
                }
            }
        }
        let expected = expected / count as f64;
        assert!((loss.double_value(&[]) - expected).abs() < 1e-5, "{loss:?} {expected}");
        loss.backward();
        let gradient = scores.grad();
        for row in 0..2 {
            assert_eq!(gradient.get(row).select(1, 1 - row).abs().max().double_value(&[]), 0.0);
            assert!(gradient.get(row).select(1, row).abs().max().double_value(&[]) > 0.0);
        }
    }
}
