//! How sure a model must be, chosen on dev: cross-entropy asks for probabilities, not for the best F1 (Zhang et al.
//! 2014, "Optimizing the F-measure by thresholding"; an offset of a logit is a threshold of the odds).

use crate::predict::{EncodedSplit, Probabilities};
use ner_data::{Decision, LabelSet, Mention, Tag};
use ner_eval::score_mentions;
use rayon::prelude::*;

/// What may be added to the logits of a type. Further away than this, dev chooses by a few mentions.
const CANDIDATES: [f32; 11] = [0.0, -0.25, 0.25, -0.5, 0.5, -0.75, -1.0, -1.25, -1.5, -1.75, -2.0];

/// The offset for each label that gives the best micro F1 on `split`: the same for all labels of a type, none for `O`.
/// One type after the other; where two offsets are as good, that nearer to none.
pub fn choose(
    split: &EncodedSplit<'_>,
    probabilities: &Probabilities,
    labels: &LabelSet,
    line_boundaries: bool,
) -> Vec<f32> {
    let mut chosen = vec![0.0; labels.len()];
    let mut best = f1(&decode(split, probabilities, labels, &chosen, line_boundaries), split);
    for entity_type in 0..labels.types.len() {
        let of_type = |offset: f32, chosen: &[f32]| -> Vec<f32> {
            let is_of_type = |id: usize| matches!(labels.tag(id), Tag::Entity(_, found) if found == entity_type);
            chosen.iter().enumerate().map(|(id, &kept)| if is_of_type(id) { offset } else { kept }).collect()
        };
        for candidate in CANDIDATES.into_iter().skip(1) {
            let offsets = of_type(candidate, &chosen);
            let found = f1(&decode(split, probabilities, labels, &offsets, line_boundaries), split);
            if found > best {
                (best, chosen) = (found, offsets);
            }
        }
    }
    chosen
}

fn f1(predicted: &[Vec<Mention>], split: &EncodedSplit<'_>) -> Option<f64> {
    let gold = split.documents.iter().map(|document| document.mentions.as_slice());
    score_mentions(gold.zip(predicted.iter().map(Vec::as_slice))).overall.f1
}

/// Mentions of each document where `offsets` are added to the logits of the labels.
pub fn decode(
    split: &EncodedSplit<'_>,
    probabilities: &Probabilities,
    labels: &LabelSet,
    offsets: &[f32],
    line_boundaries: bool,
) -> Vec<Vec<Mention>> {
    let factors: Vec<f32> = offsets.iter().map(|offset| offset.exp()).collect();
    let shifted = |row: &[f32]| -> Vec<f32> {
        let row: Vec<f32> = row.iter().zip(&factors).map(|(probability, factor)| probability * factor).collect();
        let sum: f32 = row.iter().sum();
        row.into_iter().map(|probability| probability / sum).collect()
    };
    let documents = split.words.par_iter().zip(probabilities);
    let decode = |(words, rows): (&Vec<ner_data::Word>, &Vec<f32>)| {
        let rows: Vec<f32> = rows.chunks_exact(labels.len()).flat_map(shifted).collect();
        ner_data::mentions_from_probabilities(words, &rows, labels, Decision::Together, line_boundaries)
    };
    documents.map(decode).collect()
}
