//! Chooses decision thresholds on dev: cross-entropy training does not maximise F1 (Zhang et al. 2014, "Optimizing the
//! F-measure by thresholding"). A threshold of the odds is an offset of a logit.

use crate::predict::EncodedSplit;
use ner_data::{DecodeOptions, EncodedDocument, LabelSet, Mention, ModelOutput, Tag, decode_mentions};
use ner_eval::score_mentions;
use ner_model::Head;
use rayon::prelude::*;

/// Candidate offsets for the log-odds of a type. Larger offsets would depend on a few dev mentions.
const CANDIDATES: [f32; 13] = [0.0, -0.25, 0.25, -0.5, 0.5, -0.75, 0.75, -1.0, 1.0, -1.25, -1.5, -1.75, -2.0];

/// Chooses the offset of each type with the best micro F1 on `split`, one type after the other. On ties, the offset
/// closer to 0 wins.
pub fn choose(
    split: &EncodedSplit<'_>,
    outputs: &[ModelOutput],
    labels: &LabelSet,
    options: DecodeOptions,
) -> Vec<f32> {
    let mut chosen = vec![0.0; labels.types.len()];
    let mut best = f1(&decide(split, outputs, labels, &chosen, options), split);
    for entity_type in 0..labels.types.len() {
        for candidate in CANDIDATES.into_iter().skip(1) {
            let mut offsets = chosen.clone();
            offsets[entity_type] = candidate;
            let found = f1(&decide(split, outputs, labels, &offsets, options), split);
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

/// Mentions of each document with `offsets` added to the log-odds of the types.
pub fn decide(
    split: &EncodedSplit<'_>,
    outputs: &[ModelOutput],
    labels: &LabelSet,
    offsets: &[f32],
    options: DecodeOptions,
) -> Vec<Vec<Mention>> {
    let documents = split.encoded.par_iter().zip(outputs).enumerate();
    let decide = |(at, (encoded, output)): (usize, (&EncodedDocument, &ModelOutput))| {
        split.annotated(at, decode_mentions(&encoded.words, output, labels, offsets, options))
    };
    documents.map(decide).collect()
}

/// The offsets as an addition to the head's bias, which has a value per label, per label except `O`, or per type.
pub fn as_bias(offsets: &[f32], labels: &LabelSet, head: Head) -> Vec<f32> {
    let of_label = |label: usize| match labels.tag(label) {
        Tag::Outside => 0.0,
        Tag::Entity(_, entity_type) => offsets[entity_type],
    };
    match head {
        Head::Token | Head::Crf { .. } => (0..labels.len()).map(of_label).collect(),
        Head::Multilabel { .. } => (1..labels.len()).map(of_label).collect(),
        Head::Span { .. } | Head::Assertion => offsets.to_vec(),
    }
}
